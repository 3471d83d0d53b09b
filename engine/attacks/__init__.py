"""Attacks inside a ball, one a file, and what training makes of them, one a file in ``objectives``."""
