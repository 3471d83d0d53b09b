"""One slow question to a run a file: what it asks, the records of its file, its command and its table."""
