"""Publication figures drawn from a run folder: one view a file, filed in :data:`figures`.

Importing this package imports neither matplotlib nor torch.
"""

from engine.figures import mixtures, neurons, robustness
from engine.figures.base import Drawer, FigureData, Option, figures

__all__ = ["Drawer", "FigureData", "Option", "figures", "mixtures", "neurons", "robustness"]
