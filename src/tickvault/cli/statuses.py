"""Exit statuses of the command line beside those of `tickvault.errors.EXIT_CODES`."""

EXIT_SEVERAL = 1
"""What could not be copied failed in more than one way."""
EXIT_USAGE = 2
EXIT_LOCAL_FILE = 11
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141
