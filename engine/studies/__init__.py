"""Slow questions to a run: each trains or attacks for minutes and leaves a file in the run folder."""
