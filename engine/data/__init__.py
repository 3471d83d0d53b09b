"""The worlds that data come from, one a file."""
