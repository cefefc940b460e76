"""What long work shows of its events: a live bar on a terminal, else plain lines. Used by the CLI and in Python."""
