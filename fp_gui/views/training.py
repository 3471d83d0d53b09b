"""Training: loss and training accuracy of every step, and what the steps used: rate, bias, noise, changed knobs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSplitter, QVBoxLayout, QWidget

from engine.core import metrics
from engine.figures.declare import ViewDeclaration
from engine.figures.training import KNOBS, MEASURED, VIEW, knob_looks, knob_text, loss_top, running_mean, scaled
from engine.run.course import Course, started_with
from engine.run.snapshot import Snapshot
from engine.run.timeline import spans
from fp_gui.folding import ControlRow
from fp_gui.theme import Theme
from fp_gui.views.base import Place, View, views
from fp_gui.views.curves import TimePlot
from fp_gui.views.plots import SIGNS, SYMBOLS
from fp_gui.views.widgets import Choice, Pages, line, restore, tint

PIXELS = 400  # while training goes on curves are drawn again when they have grown by one part of so many
SMOOTH = "smooth"


@views.register(VIEW.name, order=VIEW.order)
class TrainingView(View):
    """Three plots over steps. Reads the history and the events only; settings are computed from the run's config."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    place: ClassVar[Place] = "lower"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = line("Loss and accuracy of every step on its own training batch, and the settings it used.")
        self.caption.setToolTip(VIEW.doc)
        self.smooth = Choice.of(VIEW.option("smooth"))
        self.now = line()
        self.now.setToolTip("\n".join(look.tip for look in VIEW.looks.values()))
        self.now.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.measured: dict[str, TimePlot] = {}
        for name, label in MEASURED.items():
            self.measured[name] = plot = TimePlot(label)
            plot.add_curve(name, VIEW.looks[name])
            plot.add_curve(SMOOTH, VIEW.looks[SMOOTH])
        self.settings = TimePlot(KNOBS)
        upper = QSplitter(Qt.Orientation.Horizontal)
        for plot in self.measured.values():
            upper.addWidget(plot)
        body = QSplitter(Qt.Orientation.Vertical)
        body.addWidget(upper)
        body.addWidget(self.settings)
        body.setSizes([300, 300])
        self.pages = Pages(body)
        self.folding.secondary += [(self.settings, "Settings over steps")]
        top = ControlRow()
        top.add(self.caption, stretch=1)
        top.add(self.smooth)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(top)
        layout.addWidget(self.pages, 1)
        layout.addWidget(self.now)
        self._course: Course | None = None
        self._snapshot: Snapshot | None = None
        self._key: tuple[object, ...] = ()
        self._drawn, self._playing = -1, False  # the step up to which the curves are drawn
        self._top = 0.0  # of the loss: it only grows in a run
        self.smooth.currentIndexChanged.connect(self._redraw)
        for plot in self.plots:
            plot.clicked.connect(self.step_requested)
        self.set_theme(self.theme)

    @property
    def plots(self) -> tuple[TimePlot, ...]:
        """All plots."""
        return (*self.measured.values(), self.settings)

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Draw what the history has gained, as soon as that can be seen."""
        if snapshot.run != self.run:
            self.turn_to(snapshot)
            self._course = Course(started_with(snapshot.folder, snapshot.config))
        counts = [len(snapshot.history.get(name, ())) for name in MEASURED]
        looked = snapshot.step if snapshot.looking else None
        for plot in self.plots:
            plot.set_looked(looked)
        key = (snapshot.newest, snapshot.newest_phase, len(snapshot.events), *counts)
        if key == self._key:
            return
        self._key, self._snapshot = key, snapshot
        self.pages.show_content(any(counts))
        if not any(counts):
            return
        total = snapshot.config.schedule.total if snapshot.scheduled else 0
        phases = spans(snapshot.events, snapshot.phase, snapshot.newest)
        for plot in self.plots:
            plot.set_time(snapshot.newest, total, phases, snapshot.events, snapshot.config)
        grown = snapshot.newest - self._drawn
        if not self._playing or grown < 0 or grown * PIXELS >= self.settings.x_end:
            self._draw(snapshot)

    def forget(self) -> None:
        """Empty plots."""
        super().forget()
        self._course = self._snapshot = None
        self._key, self._drawn, self._top = (), -1, 0.0
        self.now.setText("")
        for plot in self.plots:
            plot.clear()
        self.pages.forget()

    def set_playing(self, playing: bool) -> None:
        """Once training pauses the last steps are drawn, too."""
        super().set_playing(playing)
        self._playing = playing
        if not playing:
            self._redraw()

    def _redraw(self) -> None:
        if self._snapshot is not None and not self.pages.empty:
            self._draw(self._snapshot)

    def _draw(self, snapshot: Snapshot) -> None:
        self._drawn, n = snapshot.newest, int(self.smooth.value)
        told = []
        for name, plot in self.measured.items():
            found = snapshot.history[name]
            plot.set_curve(name, found.steps, found.values)
            plot.set_curve(SMOOTH, found.steps if n > 1 else [], running_mean(found.values, n) if n > 1 else [])
            plot.curves[SMOOTH].label = VIEW.option("smooth").choices[self.smooth.value]
            if len(found):
                told.append(f"{VIEW.looks[name].label} {found.values[-1]:.3g} at step {found.steps[-1]:,}")
        self._top = max(self._top, loss_top(snapshot.history[metrics.LOSS].values))
        self.measured[metrics.LOSS].set_y(0.0, self._top)
        self.now.setText(" · ".join(told + self._draw_settings(snapshot)))

    def _draw_settings(self, snapshot: Snapshot) -> list[str]:
        """Draw what the steps used; returns the legend."""
        assert self._course is not None
        self._course.follow(snapshot.events)
        found = self._course.sampled(snapshot.newest, [knot.step for knot in self.settings.knots])
        told, others = [], 0
        for path, look in knob_looks(list(found.values)).items():
            key = path
            if path not in VIEW.looks:  # another run may change others: a curve is known by its place among them
                key, others = f"other {others}", others + 1
            if key not in self.settings.curves:
                self.settings.add_curve(key, look)
            self.settings.curves[key].label = look.label
            values = found.values[path]
            top = float(np.abs(values).max(initial=0.0))
            self.settings.set_curve(key, found.steps, scaled(values), unit=top or 1.0)
            told.append(f"{SIGNS[SYMBOLS[look.marker]]} {knob_text(look.label, values)}")
        return told

    def set_theme(self, theme: Theme) -> None:
        """Recolour plots and texts."""
        super().set_theme(theme)
        for plot in self.plots:
            plot.set_theme(theme)
        self.pages.set_theme(theme)
        for label in (self.caption, self.now):
            tint(label, theme.muted)

    def options(self) -> dict[str, str]:
        """``smooth``: over how many steps the mean is drawn; 1: the raw curves alone."""
        return {"smooth": self.smooth.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`."""
        restore({"smooth": self.smooth}, options)
        self._redraw()
