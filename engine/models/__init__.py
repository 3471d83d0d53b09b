"""The networks, one a file."""
