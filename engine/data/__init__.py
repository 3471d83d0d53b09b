"""Where data come from: the sparse-coding world, and data sets of images, one a file in ``sets``."""
