"""Names of plots and pictures for screen readers: what their axes say, else the view that they are part of."""

from __future__ import annotations

import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QWidget


def name_plots(view: QWidget, title: str) -> None:
    """Name every plot and picture of ``view``; a click, not Tab, gives them the keys: these do nothing in them."""
    for number, plot in enumerate(view.findChildren(pg.GraphicsView), 1):
        if plot.focusPolicy() != Qt.FocusPolicy.NoFocus:
            plot.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        if not plot.accessibleName():
            axes = labels(plot) if isinstance(plot, pg.PlotWidget) else []
            plot.setAccessibleName(f"{title}: {' against '.join(axes)}" if axes else f"{title}: picture {number}")


def labels(plot: pg.PlotWidget) -> list[str]:
    """The labels of a plot's axes, the vertical one first."""
    item = plot.getPlotItem()
    return [text for side in ("left", "bottom") if (text := item.getAxis(side).labelText)]
