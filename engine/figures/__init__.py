"""Publication figures drawn from a run folder: one view a file, filed in :data:`figures`.

Importing this package imports neither matplotlib nor torch. A file of this package that registers a view is found by
itself; its ``VIEW`` declares options, looks and contrast for the live view as well.
"""

from engine.figures.base import Drawer, FigureData, figures

__all__ = ["Drawer", "FigureData", "figures"]

import logging
import os

# matplotlib reads these when it is imported, which happens when the first figure is drawn. Figures go to files alone,
# by the object interface and with settings of their own: a backend that the environment asks for can only fail, and
# what matplotlib has to say of a settings file, a cache or a font is nothing to whoever exports. One that is named by
# its module cannot, as it is loaded when a window is wanted: so a notebook names the one that shows its own figures.
if not os.environ.get("MPLBACKEND", "").startswith("module://"):
    os.environ.pop("MPLBACKEND", None)
logging.getLogger("matplotlib").setLevel(logging.ERROR)
