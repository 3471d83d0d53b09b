"""Robustness: accuracy over steps, clean and under attacks, each with its interval and its protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from engine.config.experiment import IMAGES
from engine.core import metrics
from engine.core.history import Series
from engine.core.measurement import Measurement, wilson_bounds
from engine.figures.declare import ViewDeclaration
from engine.figures.robustness import VIEW
from engine.run.snapshot import ProtocolLog, Snapshot, protocol_at
from engine.run.timeline import spans
from fp_gui.folding import ControlRow, Figures, FiguresTable, FoldingLabel
from fp_gui.theme import Theme
from fp_gui.views.base import Place, View, views
from fp_gui.views.curves import TimePlot
from fp_gui.views.plots import Floats, swatch
from fp_gui.views.widgets import Pages, Switch, aged, line, restore, tint

CURVES = VIEW.looks
Band = tuple[Floats, Floats]
HEADS = ("", "protocol", "live estimate [95%]", "report [95%]")


def sample_sizes(steps: ArrayLike, log: ProtocolLog) -> Floats:
    """How many samples each of ``steps`` was measured on; 0 before the first protocol of ``log``."""
    at = np.asarray(steps)
    sizes = np.zeros(len(at))
    for first, protocol in log:
        sizes[at >= first] = protocol.n
    return sizes


def wilson_of(series: Series, log: ProtocolLog) -> tuple[Floats, Floats]:
    """The 95% Wilson intervals of a series measured by the protocols of ``log``."""
    sizes = sample_sizes(series.steps, log)
    return wilson_bounds(series.values * sizes, sizes)


def column_step(found: Mapping[str, Series]) -> int | None:
    """The step that a column is of: the newest at which the accuracy that is measured last was; None before one."""
    whole = [found[name] for name in metrics.ACCURACIES if name in found]
    steps = [int(series.steps[-1]) for series in whole if len(series)]
    return min(steps, default=None)


def figure_text(series: Series | None, band: tuple[Floats, Floats] | None, step: int | None, *, own: bool) -> str:
    """The value at ``step`` with its interval, e.g. ``0.862 [0.829, 0.889]``, a dash where nothing was measured then.

    With ``own`` it is the newest one up to that step, and says its step where that is another.
    """
    if series is None or step is None:
        return "–"
    at = int(np.searchsorted(series.steps, step, side="right")) - 1  # of several values of one step the last one
    if at < 0 or (series.steps[at] != step and not own):
        return "–"
    text = f"{series.values[at]:.3f}"
    text = text if band is None else f"{text} [{band[0][at]:.3f}, {band[1][at]:.3f}]"
    return text if series.steps[at] == step else f"{text} at step {series.steps[at]:,}"


NARROWEST = "certified"  # room that a protocol has at the least: what is measured can always be read


class Row:
    """One line of the table: marker, protocol, live estimate, report."""

    def __init__(self, grid: QGridLayout, row: int, key: str) -> None:
        self.key = key
        self.swatch = QLabel()
        self.protocol = FoldingLabel(folds=False, wraps=False)
        self.protocol.setMinimumWidth(self.protocol.fontMetrics().horizontalAdvance(NARROWEST))
        self.live, self.report = line(wrap=False), line(wrap=False)
        for column, label in enumerate((self.swatch, self.protocol, self.live, self.report)):
            label.setToolTip(CURVES[key].tip)
            grid.addWidget(label, row, column)
        for label in (self.live, self.report):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def forget(self) -> None:
        """Nothing was measured."""
        for label in (self.protocol, self.live, self.report):
            label.setText("")
            label.setToolTip(CURVES[self.key].tip)

    def set_visible(self, visible: bool) -> None:
        """Show or hide the whole line."""
        for label in (self.swatch, self.protocol, self.live, self.report):
            label.setVisible(visible)


@views.register(VIEW.name, order=VIEW.order)
class RobustnessView(View):
    """Accuracy over steps. Reads the history only, so it costs nothing between two evaluations."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    place: ClassVar[Place] = "lower"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = line(
            "Share of held-out inputs still classified right. Filled markers: live estimates; hollow: a phase's report."
        )
        self.caption.setToolTip(
            "Unperturbed and under attack. Bands and bars: 95% Wilson intervals. Small filled markers are live "
            "estimates;\nlarge hollow ones the fuller report at a phase's end. Every figure names its protocol below."
        )
        self.alignment = Switch.of("FGM alignment", VIEW.option("alignment"))
        self.plot = TimePlot("accuracy (share right)")
        self.plot.clicked.connect(self.step_requested)
        for key, look in CURVES.items():
            self.plot.add_curve(key, look)
        figures = FiguresTable()
        table = QGridLayout(figures)
        table.setContentsMargins(0, 0, 0, 0)
        table.setHorizontalSpacing(4)
        table.setVerticalSpacing(1)
        table.setColumnStretch(1, 1)
        self.heads = [FoldingLabel(t, folds=False, wraps=False) for t in HEADS]
        for column, head in enumerate(self.heads):
            table.addWidget(head, 0, column)
        self.rows = {key: Row(table, i + 1, key) for i, key in enumerate(CURVES)}
        self.report = line()
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(self.plot, 1)
        self.figures = Figures(figures, self.figures_text)
        self.folding.tables.append(self.figures)
        inner.addWidget(self.figures)
        inner.addWidget(self.report)
        self.pages = Pages(body)
        top = ControlRow()
        top.add(self.caption, stretch=1)
        top.add(self.alignment)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(top)
        layout.addWidget(self.pages, 1)
        self._seen: dict[str, object] = {}
        self._bands: dict[str, tuple[Band | None, Band | None]] = {}  # of estimates and reports, by quantity
        self._key: tuple[object, ...] = ()
        self.images = False
        self._show_alignment()
        self._show_certified(False)
        self.alignment.toggled.connect(self._show_alignment)
        self.set_theme(self.theme)

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Draw what the history has gained; nothing if it has gained nothing."""
        if snapshot.run != self.run:
            self.turn_to(snapshot)
            self._set_images(snapshot.config.kind == IMAGES)
        history = snapshot.history
        series = {key: history[key] for key in CURVES if key in history}
        reports = {key: history[metrics.REPORT + key] for key in CURVES if metrics.REPORT + key in history}
        counts = sum(map(len, series.values())), sum(map(len, reports.values()))
        key = (snapshot.run, snapshot.step, snapshot.phase, len(snapshot.events), *counts)
        if key == self._key:
            return
        self._key = key
        self.pages.show_content(any(counts))
        if not any(counts):
            every = snapshot.config.evaluation.every
            self.pages.message.setText(f"Press play (Space): the first accuracies appear after {every} steps.")
            return
        total = snapshot.config.schedule.total if snapshot.scheduled else 0
        phases = spans(snapshot.events, snapshot.phase, snapshot.step)
        self.plot.set_time(snapshot.step, total, phases, snapshot.events, snapshot.config)
        for name in CURVES:
            # A curve is drawn again only if it, its protocol or the sizes it was measured on have changed.
            state = (
                len(series.get(name, ())), len(reports.get(name, ())), len(snapshot.events),
                snapshot.protocols.get(name), snapshot.protocols.get(metrics.REPORT + name),
            )  # fmt: skip
            if self._seen.get(name) != state:
                self._seen[name] = state
                self._draw(name, series.get(name), reports.get(name), snapshot)
        self._fill(series, reports, snapshot)

    def forget(self) -> None:
        """An empty plot over an empty table."""
        super().forget()
        self._key = ()
        self._seen.clear()
        self._bands.clear()
        self._show_certified(False)
        for head, text in zip(self.heads, HEADS, strict=True):
            head.setText(text)
        for row in self.rows.values():
            row.forget()
        self.report.setText("")
        self.plot.clear()
        self.pages.forget()

    def _draw(self, name: str, series: Series | None, reports: Series | None, snapshot: Snapshot) -> None:
        proportion = name != metrics.ALIGNMENT
        protocol, report_protocol = snapshot.protocol(name), snapshot.protocol(metrics.REPORT + name)
        band = report_band = None
        if name == metrics.CERTIFIED:
            self._show_certified(series is not None or reports is not None)
        if series is not None:
            if proportion and protocol is not None:
                band = wilson_of(series, snapshot.protocols[name])
            self.plot.set_curve(name, series.steps, series.values, *(band or (None, None)))
        if reports is not None:
            if proportion and report_protocol is not None:
                report_band = wilson_of(reports, snapshot.protocols[metrics.REPORT + name])
            low, high = report_band or (reports.values, reports.values)
            self.plot.set_points(name, reports.steps, reports.values, low, high)
        self._bands[name] = band, report_band

    def _fill(self, series: Mapping[str, Series], reports: Mapping[str, Series], snapshot: Snapshot) -> None:
        """The table: each column is of one evaluation, with its step, radius and protocols; else a figure says its own.

        A report that is still being measured is not mixed with the one before it.
        """
        live, report = column_step(series), column_step(reports)
        for head, words, step, prefix in (
            (self.heads[2], HEADS[2], live, ""), (self.heads[3], HEADS[3], report, metrics.REPORT),
        ):  # fmt: skip
            how = self._protocol(snapshot, prefix + metrics.PGD, step)
            age = "" if step is None else f", {aged(step, snapshot.step) if not prefix else f'step {step:,}'}"
            head.setText(words + age + ("" if how is None else f", tau {how.tau:g}"))
        told = ""
        for name, row in self.rows.items():
            band, report_band = self._bands.get(name, (None, None))
            row.live.setText(figure_text(series.get(name), band, live, own=True))
            row.report.setText(figure_text(reports.get(name), report_band, report, own=False))
            tip, protocol = CURVES[name].tip, self._protocol(snapshot, name, live)
            row.protocol.setToolTip(f"{tip}\n{protocol.text() if protocol is not None else ''}".rstrip())
            row.protocol.setText(protocol.short() if protocol is not None else CURVES[name].label)
            if name == metrics.ALIGNMENT:
                row.protocol.setText("FGM alignment with −y·M w*: mean cosine")
            if name == metrics.CERTIFIED and protocol is not None:  # what kind of bound it is, the tooltip says
                row.protocol.setText(protocol.short().replace(protocol.attack, "certified"))
            how = self._protocol(snapshot, metrics.REPORT + name, report)
            row.report.setToolTip(tip if how is None else f"{tip}\nReport: {how.text()}")
            if how is not None and how.attack == "pgd":
                others = "FGM" if self.images else "FGM and dense direction"
                told = f"Report: {how.text()}; {others} on the same samples."
        self.report.setText(told)

    @staticmethod
    def _protocol(snapshot: Snapshot, name: str, step: int | None) -> Measurement | None:
        return None if step is None else protocol_at(snapshot.protocols.get(name, ()), step)

    def figures_text(self) -> str:
        """The table in words, a line a row."""
        rows = (row for row in self.rows.values() if not row.live.isHidden())
        return "\n".join(f"{row.protocol.text()}: {row.live.text()}; report {row.report.text()}" for row in rows)

    def set_theme(self, theme: Theme) -> None:
        """Recolour plot, table and texts."""
        super().set_theme(theme)
        self.plot.set_theme(theme)
        self.pages.set_theme(theme)
        for label in (self.caption, self.report, *self.heads):
            tint(label, theme.muted)
        for key, row in self.rows.items():
            row.swatch.setPixmap(swatch(CURVES[key], theme, self.devicePixelRatioF()))
            for label in (row.protocol, row.live, row.report):
                tint(label, theme.text)

    def _show_certified(self, shown: bool) -> None:
        self.plot.set_visible(metrics.CERTIFIED, shown)
        self.rows[metrics.CERTIFIED].set_visible(shown)

    def _set_images(self, images: bool) -> None:
        """Images have no dense direction: nothing of it is shown."""
        self.images = images
        self.alignment.setVisible(not images)
        self.plot.set_visible(metrics.DENSE, not images)
        self.rows[metrics.DENSE].set_visible(not images)
        self._show_alignment()

    def _show_alignment(self) -> None:
        shown = self.alignment.isChecked() and not self.images
        self.plot.set_visible(metrics.ALIGNMENT, shown)
        self.rows[metrics.ALIGNMENT].set_visible(shown)
        self.plot.set_y(0.0, 1.0, "accuracy (share right), cosine" if shown else "accuracy (share right)")

    def options(self) -> dict[str, str]:
        """``alignment``: whether the FGM alignment is drawn."""
        return {"alignment": self.alignment.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`."""
        restore({"alignment": self.alignment}, options)
        self._show_alignment()
