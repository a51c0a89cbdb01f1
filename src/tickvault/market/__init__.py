"""Market data: ticks in, stored by column, out."""
