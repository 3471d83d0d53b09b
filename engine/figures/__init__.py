"""Publication figures drawn from a run folder: one view a file, filed in :data:`figures`.

Importing this package imports neither matplotlib nor torch. A file of this package that registers a view is found by
itself; its ``VIEW`` declares options, looks and contrast for the live view as well.
"""

from engine.figures.base import Drawer, FigureData, figures

__all__ = ["Drawer", "FigureData", "figures"]
