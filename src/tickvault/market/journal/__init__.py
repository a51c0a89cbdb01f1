"""The journal: live rows of a series, durable and readable as they come; see ``docs/formats/journal.md``."""
