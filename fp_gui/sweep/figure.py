"""What a sweep has come to so far: its figure with the options that the engine declares, or the table of its runs."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QSignalBlocker, Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QScrollArea, QStackedWidget, QToolButton, QVBoxLayout, QWidget

from engine.compare.overlay import Overlay
from engine.compare.sweeps.collect import SweepFigure
from engine.compare.sweeps.declare import AUTO, QUANTITIES, VIEW
from engine.compare.sweeps.heatmap import SweepHeatmap
from engine.sweeps.record import Sweep
from fp_gui.compare.controls import shortened
from fp_gui.folding import ControlRow, FoldingLabel
from fp_gui.sweep.curves import KnobPlots
from fp_gui.sweep.desk import ReadAnswer
from fp_gui.sweep.heatmap import HeatmapGrid
from fp_gui.sweep.run_rows import SweepRunsTable
from fp_gui.theme import Theme
from fp_gui.views.widgets import Choice, Pages, tint

READING = "Reading the sweep…"
OFFERED = ("quantity", "kind", "over", "by", "phase")  # of the view's options
FIGURE, RUNS = "figure", "runs"


class SweepPage(QWidget):
    """The figure fills in as runs end; a place in it, or a row of the table, tells which runs are wanted."""

    options_changed = Signal()
    runs_chosen = Signal(object)  # tuple[SweepRow, ...]

    def __init__(self) -> None:
        super().__init__()
        self.boxes = {name: Choice.of(VIEW.option(name)) for name in OFFERED}
        for key, quantity in QUANTITIES.items():
            self.boxes["quantity"].addItem(quantity.label, key)
        self.shown = Choice(
            {FIGURE: "Figure", RUNS: "Table of runs"}, FIGURE, "Figure or runs: what is shown of the sweep."
        )
        self.more = QToolButton()
        self.more.setText("Axes")
        self.more.setToolTip("Choose the kind of figure, the knobs along its axes and the phase")
        self.more.setCheckable(True)
        self.more.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.more.toggled.connect(self._show_boxes)
        self._knobs = 0
        self.controls = ControlRow()
        self.controls.add(self.shown)
        self.controls.add(self.boxes["quantity"])
        self.controls.add(self.more)
        for name, box in self.boxes.items():
            if name != "quantity":
                self.controls.add(box)
            box.currentIndexChanged.connect(self.options_changed)
        self._show_boxes()
        self.heatmap, self.plots, self.runs = HeatmapGrid(), KnobPlots(), SweepRunsTable()
        for part in (self.heatmap, self.plots, self.runs):
            part.runs_chosen.connect(self.runs_chosen)
        self.caption = FoldingLabel(folds=False)
        self.caption.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        for widget in (self.heatmap, self.plots):
            inner.addWidget(widget, 1)
            widget.hide()
        inner.addWidget(self.caption)
        area = QScrollArea(widgetResizable=True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setAccessibleName("Figure of the sweep")
        area.setWidget(body)
        self.pages = Pages(area, READING)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.pages)
        self.stack.addWidget(self.runs)
        self.shown.currentIndexChanged.connect(self.stack.setCurrentIndex)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.controls)
        layout.addWidget(self.stack, 1)

    def given(self) -> dict[str, str]:
        """The options as they are chosen."""
        return {name: box.value for name, box in self.boxes.items()}

    def turn_to(self, sweep: Sweep) -> None:
        """Another sweep: offer its knobs, and show nothing of the one before."""
        for name in ("over", "by"):
            box = self.boxes[name]
            with QSignalBlocker(box):
                box.clear()
                arrow = "→" if name == "over" else "↑"
                for value, words in VIEW.option(name).choices.items():
                    box.addItem(f"{arrow} {words}", value)
                for path in sweep.grid:
                    box.addItem(f"{arrow} {path}", path)
                box.value = AUTO
        self._knobs = len(sweep.grid)
        self._show_boxes()
        self.forget()

    @Slot()
    def _show_boxes(self) -> None:
        """Those of the axes are shown when asked for, those of the knobs where there is a choice."""
        for name, box in self.boxes.items():
            box.setVisible(
                name == "quantity" or (self.more.isChecked() and (name in ("kind", "phase") or self._knobs > 1))
            )

    def forget(self) -> None:
        """Show nothing yet."""
        self.heatmap.clear()
        self.plots.clear()
        self.caption.setText("")
        self.runs.show_runs(())
        self.pages.forget()

    def show_answer(self, answer: ReadAnswer) -> None:
        """Show what was read."""
        if answer.found is not None:
            self.runs.show_runs(answer.found.rows)
        if answer.figure is None:
            self.pages.message.setText(answer.error)
            self.pages.show_content(False)
            return
        self._draw(answer.figure)

    def _draw(self, figure: SweepFigure) -> None:
        heat = isinstance(figure, SweepHeatmap)
        self.heatmap.setVisible(heat)
        self.plots.setVisible(not heat)
        if isinstance(figure, SweepHeatmap):
            self.heatmap.show_heatmap(figure)
        elif isinstance(figure, Overlay):
            self.plots.show_overlay(figure)
        self.caption.setText(shortened(figure.caption))
        self.pages.show_content()

    def set_options(self, options: Mapping[str, str]) -> None:
        """Choose these."""
        for name, value in options.items():
            self.boxes[name].value = value

    def set_theme(self, theme: Theme) -> None:
        """Recolour."""
        self.pages.set_theme(theme)
        self.heatmap.set_theme(theme)
        self.plots.set_theme(theme)
        tint(self.caption, theme.muted)
