"""Curves of several runs in plots, one plot a quantity, each run with its colour, dash and marker."""

from __future__ import annotations

from collections.abc import Sequence

import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QEvent, QPointF, Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from engine.compare.naming import SeedGroup
from engine.compare.overlay import LAYER, STEP, Overlay, OverlayPanel, common_phases, look_of
from engine.figures.declare import Look
from engine.run.timeline import Span
from fp_gui.folding import LEAST_PLOT, ControlRow, FoldingLabel
from fp_gui.theme import LIGHT, Theme
from fp_gui.views.curves import TimeCurve, TimePlot
from fp_gui.views.plots import DASHES, colour_of, pen_of, swatch
from fp_gui.views.widgets import tint

LEAST_WIDTH = 300  # pixels of a plot before another one stands beside it
THICK = 3  # pixels of a mean


class OverlayPlot(TimePlot):
    """One quantity of all runs; the text under it tells each run's value under the mouse."""

    def __init__(self, panel: OverlayPanel, names: Sequence[str], groups: Sequence[SeedGroup], axis: str) -> None:
        super().__init__("")
        self.title = FoldingLabel(panel.label, folds=False, wraps=False)
        layout = self.layout()
        assert isinstance(layout, QVBoxLayout)
        layout.insertWidget(0, self.title)
        self._thin: frozenset[str] = frozenset()  # the curves that are a seed of a mean
        self.axis, self.groups, self.layers = axis, tuple(groups), tuple[str, ...]()
        self._of = {run: group for group in groups for run in group.members}
        self.switches: list[pg.InfiniteLine] = []
        self.plot.getPlotItem().setLabel("bottom", {STEP: axis, LAYER: "layer"}.get(axis, "radius of the ball"))
        for run, name in enumerate(names):
            group = self._of.get(run)
            look = look_of(run if group is None else group.members[0], name)
            self.add_curve(str(run), look)
        for group in groups:
            self.add_curve(group.name, look_of(group.members[0], f"mean, {group.name}"))
        self.show_panel(panel)

    def show_panel(self, panel: OverlayPanel) -> None:
        """Draw the lines as they are now; a run that has no line has none here either."""
        for key in self.curves:
            self.set_curve(key, (), ())
        means = {group: found for group in self.groups if (found := panel.mean(group)) is not None}
        self._thin = frozenset(str(run) for group in means for run in group.members)
        for line in panel.lines:
            band = (None, None) if str(line.run) in self._thin else (line.low, line.high)
            self.set_curve(str(line.run), line.x, line.y, *band)
        for group, found in means.items():
            self.set_curve(group.name, found.x, found.mean, found.low, found.high)
        if panel.share:
            self.set_y(0.0, 1.0)
        else:
            self.set_y(*panel.bounds())

    def show_ends(self, end: float, spans: Sequence[tuple[Span, ...]], ticks: Sequence[str]) -> None:
        """How far x goes; the phases, shaded if all runs share them, else a line at each run's switches."""
        self.layers = tuple(ticks)
        self.phases = common_phases(spans) if self.axis == STEP else ()
        for line in self.switches:
            self.plot.removeItem(line)
        self.switches = []
        if self.axis == STEP and not self.phases:
            for run, found in enumerate(spans):
                for span in found[1:]:
                    line = pg.InfiniteLine(span.start, pen=pen_of(look_of(run, ""), self.theme))
                    self.plot.addItem(line, ignoreBounds=True)
                    self.switches.append(line)
        if self.axis == LAYER:
            self.plot.getPlotItem().getAxis("bottom").setTicks([list(enumerate(self.layers))])
        if end != self.x_end:
            self.x_end = end
            if self.follow:
                self.fit()
        self._draw_time()

    def fit(self) -> None:
        """Show all steps, radii or layers."""
        super().fit()
        if self.axis == LAYER:
            self.box.setXRange(-0.5, len(self.layers) - 0.5, padding=0)

    def _colour(self, curve: TimeCurve) -> None:
        super()._colour(curve)
        if any(curve is self.curves.get(group.name) for group in self.groups):
            curve.line.setPen(pen_of(curve.look, self.theme, THICK))
        elif any(curve is self.curves.get(str(run)) for run in self._of):
            curve.line.setPen(pg.mkPen(colour_of(curve.look, self.theme), width=1, style=DASHES["solid"]))

    def _draw(self, curve: TimeCurve) -> None:
        super()._draw(curve)
        if any(curve is self.curves[key] for key in self._thin):
            curve.marks.clear()  # the marker is the mean's

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        super().set_theme(theme)
        tint(self.title, theme.text)

    def _move(self, position: QPointF) -> None:
        super()._move(position)
        if self.axis != STEP and self.cross.isVisible():
            x = float(self.cross.value())
            near = self.layers[min(max(round(x), 0), len(self.layers) - 1)] if self.layers else f"radius {x:.3g}"
            self.readout.setText(f"{near}: " + " · ".join(self.values_at(x)))


class OverlayPlots(QWidget):
    """The plots of an :class:`Overlay`, in as many columns as there is room for, under what tells the runs apart."""

    def __init__(self) -> None:
        super().__init__()
        self.theme: Theme = LIGHT
        self.plots: list[OverlayPlot] = []
        self.key: QWidget | None = None
        self._made: tuple[object, ...] = ()
        self._entries: list[tuple[QLabel, Look, FoldingLabel]] = []
        self.grid = QGridLayout(self)
        self.grid.setContentsMargins(0, 0, 0, 0)

    def show_overlay(self, data: Overlay) -> None:
        """Draw it: the plots stay if the quantities and the runs are the same."""
        made = self._same(data)
        if made != self._made:
            self.clear()
            self._made = made
            self.plots = [self._plot(panel, data) for panel in data.panels]
            self.key = self._key(data)
            self._lay()
            self.set_theme(self.theme)
        for plot, panel in zip(self.plots, data.panels, strict=True):
            plot.show_panel(panel)
            plot.show_ends(float(data.end), data.spans, data.ticks)

    def _same(self, data: Overlay) -> tuple[object, ...]:
        """What must be as it was for the plots to stay."""
        return tuple(panel.key for panel in data.panels), data.run_names, data.groups, data.axis

    def _plot(self, panel: OverlayPanel, data: Overlay) -> OverlayPlot:
        return OverlayPlot(panel, data.run_names, data.groups, data.axis)

    def clear(self) -> None:
        """Nothing is compared."""
        for widget in (*self.plots, *([self.key] if self.key is not None else [])):
            self.grid.removeWidget(widget)
            widget.hide()
            widget.deleteLater()
        self.plots, self.key, self._made, self._entries = [], None, (), []

    def _key(self, data: Overlay) -> QWidget:
        """A swatch and a name for each run, or for those that are drawn as one."""
        key, grouped = ControlRow(), {run for group in data.groups for run in group.members}
        looks = [look_of(group.members[0], f"mean and range, {group.name}") for group in data.groups]
        looks += [look_of(run, name) for run, name in enumerate(data.run_names) if run not in grouped]
        for look in looks:
            entry, picture, name = QWidget(), QLabel(), FoldingLabel(look.label, folds=False, wraps=False)
            line = QHBoxLayout(entry)
            line.setContentsMargins(0, 0, 8, 0)
            line.addWidget(picture)
            line.addWidget(name)
            self._entries.append((picture, look, name))
            key.add(entry)
        return key

    def _lay(self) -> None:
        columns = max(1, min(len(self.plots), self.width() // LEAST_WIDTH))
        for column in range(max(self.grid.columnCount(), columns)):
            self.grid.setColumnStretch(column, int(column < columns))
        for i, plot in enumerate(self.plots):
            plot.setMinimumHeight(LEAST_PLOT + 70)
            plot.setSizePolicy(
                QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred
            )  # equally wide, whatever they ask
            self.grid.addWidget(plot, 1 + i // columns, i % columns)
        if self.key is not None:
            self.grid.addWidget(self.key, 0, 0, 1, columns)

    def event(self, event: QEvent) -> bool:
        """Another width may have room for another number of columns."""
        done = super().event(event)
        if event.type() == QEvent.Type.Resize and getattr(self, "plots", None):
            for widget in (*self.plots, self.key):
                if widget is not None:
                    self.grid.removeWidget(widget)
            self._lay()
        return done

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self.theme = theme
        for plot in self.plots:
            plot.set_theme(theme)
            for line in plot.switches:
                line.setPen(pg.mkPen(theme.muted, style=Qt.PenStyle.DashLine))
        for picture, look, name in self._entries:
            picture.setPixmap(swatch(look, theme, self.devicePixelRatioF()))
            tint(name, theme.text)
