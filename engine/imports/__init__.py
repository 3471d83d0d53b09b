"""Weights that were trained elsewhere: read, fitted onto a network of ours, and made a run folder."""
