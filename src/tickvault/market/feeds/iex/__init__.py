"""IEX DEEP and TOPS."""
