"""Sweeps: a preset over values of knobs and over seeds, each combination an ordinary run, trained side by side."""
