"""The data sets of images, one a file: its knobs, its loader, and where it is looked for."""
