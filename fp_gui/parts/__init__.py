"""Parts of the window, one file each: what happens on an action, a bar, a dialog (:mod:`fp_gui.parts.base`)."""
