"""Figures of a sweep: curves over a knob, two knobs as a heatmap, curves over steps, with mean and range over seeds."""
