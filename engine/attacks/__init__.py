"""Attacks inside a ball, one a file."""
