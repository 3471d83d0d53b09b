"""Panels that are no figures, one file each: lists of runs, of events, a comparison (:mod:`fp_gui.tools.base`)."""
