"""Publication figures drawn from a run folder: one view a file, filed in :data:`figures`.

Importing this package imports neither matplotlib nor torch.
"""

from engine.figures import (
    claims,
    examples,
    features,
    filters,
    layers,
    local,
    low_rank,
    mixtures,
    neurons,
    perturbation,
    race,
    radius,
    robustness,
)
from engine.figures.base import Drawer, FigureData, Option, figures

__all__ = [
    "Drawer",
    "FigureData",
    "Option",
    "claims",
    "examples",
    "features",
    "figures",
    "filters",
    "layers",
    "local",
    "low_rank",
    "mixtures",
    "neurons",
    "perturbation",
    "race",
    "radius",
    "robustness",
]
