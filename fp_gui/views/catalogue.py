"""The live views in the order in which they are shown. Importing this module imports them all."""

from __future__ import annotations

from importlib import import_module

from fp_gui.views.base import View, views

NAMES = (
    "neurons", "mixtures", "filters", "layers", "robustness", "radius", "perturbation", "examples", "race", "local",
    "low_rank", "claims",
)  # fmt: skip


def view_types() -> tuple[type[View], ...]:
    """The view classes in display order."""
    for name in NAMES:
        import_module(f"fp_gui.views.{name}")
    return tuple(views[name] for name in NAMES)
