"""Features: what has become of every neuron's feature, which features have neurons, and the winners of the start."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar

import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSplitter, QVBoxLayout, QWidget

from engine.core.results import FATES, FeatureFates, FeatureOf, Winners
from engine.figures.declare import ViewDeclaration
from engine.figures.fate_counts import (
    NAMES,
    RULE,
    SHORT_RULE,
    SIGNS,
    SINCE,
    Transition,
    at_moment,
    course_range,
    feature_words,
    most_neurons,
    share_text,
    short_winners_rule,
    transitions,
    winners_rule,
)
from engine.figures.feature_fates import METRICS, VIEW
from engine.run.snapshot import Snapshot
from engine.run.timeline import spans
from engine.theory.config import sparse_coding
from fp_gui.folding import ControlRow
from fp_gui.theme import Theme
from fp_gui.views.base import Place, View, views
from fp_gui.views.curves import TimePlot
from fp_gui.views.dictionary_map import DictionaryMap, ramp
from fp_gui.views.fate_bars import FateBars
from fp_gui.views.plots import NONE
from fp_gui.views.widgets import Choice, Pages, aged, line, restore, tint
from fp_gui.views.winners_table import WinnersTable

NARROW = 560  # pixels: where there are fewer, the halves stand one below the other
CAPTION = "A neuron's feature is the one it points at most. Hover or click a bar or a feature."


def column_of(parts: Sequence[QWidget | QHBoxLayout], *, grows: Collection[QWidget]) -> QWidget:
    """Widgets and rows below each other; those that ``grows`` names take the room."""
    made = QWidget()
    column = QVBoxLayout(made)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(2)
    for part in parts:
        if isinstance(part, QHBoxLayout):
            column.addLayout(part)
        else:
            column.addWidget(part, int(part in grows))
    return made


@views.register(VIEW.name, order=VIEW.order)
class FeatureFatesView(View):
    """Bars of fates, the dictionary with its numbers of neurons, the winners of the start, and a curve over steps.

    Pointing at a bar means one neuron, pointing at a feature its neurons: of these the first is told to the other
    views, and each click chooses the next.
    """

    declaration: ClassVar[ViewDeclaration] = VIEW
    place: ClassVar[Place] = "upper"
    wants: frozenset[type] = frozenset({FeatureFates, Winners})

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = line(CAPTION)
        self.caption.setToolTip(RULE)
        self.count = line()
        self.moment = Choice.of(VIEW.option("moment"))
        self.marks = Choice.of(VIEW.option("mark"))
        self.quantity = Choice.of(VIEW.option("quantity"))
        self.bars = FateBars()
        self.signs = {name: line(SIGNS[name], wrap=False) for name in FATES if name != "dead"}
        self.words: list[QLabel] = []
        self.map = DictionaryMap()
        self.map_title, self.map_key, self.ramp = line(wrap=False), line(), QLabel()
        self.ramp.setToolTip("Neurons of a feature, on a logarithmic scale that is the same for the three moments.")
        self.ends = line(wrap=False), line(wrap=False)  # of the colour scale
        self.table = WinnersTable()
        self.time = TimePlot("features")
        self.time.clicked.connect(self.step_requested)
        self.time.add_curve("now", VIEW.looks["now"])
        self.total = pg.InfiniteLine(angle=0)
        self.total.hide()
        self.time.plot.addItem(self.total, ignoreBounds=True)
        self.readout = line()
        self.readout.setMinimumHeight(2 * self.fontMetrics().lineSpacing())  # room for two lines: plots must not jump
        self.protocol = line()
        self.protocol.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.pages = Pages(self._body())
        top = ControlRow()
        for label, control in (("Held", self.moment), ("mark", self.marks), ("curve", self.quantity)):
            top.add(line(label, wrap=False), control)
        top.add_stretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.caption)
        layout.addWidget(top)
        layout.addWidget(self.count)
        layout.addWidget(self.pages, 1)

        self.found: FeatureFates | None = None
        self.winners: Winners | None = None
        self.transitions: tuple[Transition, ...] = ()
        self._snapshot: Snapshot | None = None
        self._key: tuple[object, ...] = ()
        self._time_key: tuple[object, ...] = ()
        self._step = 0  # that the features are of
        self._dictionary = ""
        self._neuron = self._feature = -1  # that are pointed at
        self._told = -1  # the neuron that the other views were told
        self._chosen = -1  # the neuron that was clicked last
        self.moment.currentIndexChanged.connect(self._draw_map)
        self.marks.currentIndexChanged.connect(self._draw_map)
        self.quantity.currentIndexChanged.connect(self._redraw_time)
        self.bars.pointed.connect(self._point_at_neuron)
        self.bars.picked.connect(self.neuron_selected)
        self.map.pointed.connect(self._point_at_feature)
        self.map.picked.connect(self._pick_feature)
        self.folding.secondary.append((self.time, "Course over steps"))
        self.set_theme(self.theme)
        self.forget()

    def _body(self) -> QWidget:
        key, scale = QHBoxLayout(), QHBoxLayout()
        for name, sign in self.signs.items():
            key.addWidget(sign)
            word = line(name, wrap=False)
            word.setToolTip(VIEW.looks[name].tip)
            key.addWidget(word)
            self.words.append(word)
        key.addStretch(1)
        scale.addWidget(self.map_title, 1)
        for end in (self.ends[0], self.ramp, self.ends[1]):
            scale.addWidget(end)
        for row in (key, scale):
            row.setSpacing(4)
        left, right = QSplitter(Qt.Orientation.Vertical), QSplitter(Qt.Orientation.Vertical)
        growing = (self.bars, self.map, self.time, self.table)
        for split, parts in (
            (left, ((self.bars, key), (self.time,))),
            (right, ((scale, self.map, self.map_key), (self.table,))),
        ):
            for each in parts:
                split.addWidget(column_of(each, grows=growing))
            split.setSizes([600, 400])
            split.setChildrenCollapsible(False)
        self.split = QSplitter(Qt.Orientation.Horizontal)
        self.split.addWidget(left)
        self.split.addWidget(right)
        self.split.setSizes([480, 520])
        self.split.setChildrenCollapsible(False)
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(2)
        inner.addWidget(self.split, 1)
        inner.addWidget(self.readout)
        inner.addWidget(self.protocol)
        return body

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show the features of ``snapshot`` if they are not those that are shown already, and its history."""
        self.turn_to(snapshot)
        self._snapshot = snapshot
        found, winners = snapshot.get(FeatureFates), snapshot.get(Winners)
        if found is None and self.found is None:
            if failed := self.failure(snapshot, FeatureFates):
                self.pages.message.setText(failed)
            self.pages.show_content(False)
            return
        self.pages.show_content()
        key = (snapshot.step, snapshot.clean_step, snapshot.phase, winners is None)
        if found is not None and key != self._key:
            self._key, self._step = key, snapshot.step
            self._dictionary = sparse_coding(snapshot.config, f"view {VIEW.name}").world.dictionary
            self._draw(found, winners)
        self._tell_count(snapshot.step)
        self._draw_time(snapshot)

    def forget(self) -> None:
        """No neurons, no dictionary, no winners, no curve."""
        super().forget()
        self._snapshot = self.found = self.winners = None
        self._key = self._time_key = ()
        self.transitions = ()
        self._step, self._dictionary = 0, ""
        self._neuron = self._feature = self._told = self._chosen = -1
        self.bars.clear_bars()
        self.map.clear_map()
        self.table.show_winners(None)
        for part in (self.bars, self.map):
            part.setToolTip("")
        self.time.clear()
        self.total.hide()
        for label in (self.count, self.readout, self.protocol, self.map_title, self.map_key, *self.ends):
            label.setText("")
        self.ramp.hide()
        self.pages.forget()

    # -- what is drawn -------------------------------------------------------------------------------------------

    def _draw(self, found: FeatureFates, winners: Winners | None) -> None:
        self.found, self.winners = found, winners
        self.transitions = transitions(found)
        self.bars.show_transitions(self.transitions, found.now.feature)
        self.table.show_winners(winners)
        self.protocol.setText(SHORT_RULE + ("" if winners is None else f" {short_winners_rule(winners)}"))
        self.protocol.setToolTip(RULE + ("" if winners is None else f"\n{winners_rule(winners)}"))
        self._draw_map()

    def _tell_count(self, now: int) -> None:
        if self.found is None:
            return
        moments = self.found.moments.values()
        alive = " → ".join(f"{each.alive.sum():,}" for each in moments)
        held = " → ".join(f"{each.held:,}" for each in moments)
        kept, n = self.transitions[-2 if len(self.transitions) > 1 else -1].kept
        since = SINCE["start" if self.found.clean is None else "clean"]
        self.count.setText(
            f"{aged(self._step, now).capitalize()} · alive {alive} of {len(self.found.now.alive):,} · features held "
            f"{held} of {self.found.now.total:,} · kept since {since} {share_text(kept, n)}, n = {n:,} alive at both"
        )

    def _draw_map(self) -> None:
        if self.found is None:
            return
        present, before, earlier = at_moment(self.found, self.moment.value)
        if present is None:
            self.map.clear_map()
            self.map_title.setText("not yet: clean training goes on")
            self.map_key.setText("")
        else:
            top = most_neurons(self.found)
            lost, gained = self.map.show_map(present, before, self.marks.value, top)
            self.map_title.setText(f"{present.held:,} of {present.total:,} held")
            words = ["× no neuron"]
            if before is not None:
                told = (("▼", lost, "lost"), ("▲", gained, "gained"))
                shown = [f"{sign} {n} {what}" for sign, n, what in told if self.marks.value in ("both", what)]
                words += [" ".join((*shown, f"since {earlier}"))] if shown else []
            self.map_key.setText("  ".join(words))
            for label, text in zip(self.ends, ("1", f"{top:,} neurons"), strict=True):
                label.setText(text)
        for part in (self.ramp, *self.ends):
            part.setVisible(present is not None)
        self._mark()

    def _redraw_time(self) -> None:
        self._time_key = ()
        if self._snapshot is not None:
            self._draw_time(self._snapshot)

    def _draw_time(self, snapshot: Snapshot) -> None:
        quantity, history = self.quantity.value, snapshot.history
        total = snapshot.config.schedule.total if snapshot.scheduled else 0
        phases = spans(snapshot.events, snapshot.phase, snapshot.step)
        self.time.set_time(snapshot.step, total, phases, snapshot.events, snapshot.config)
        name = METRICS[quantity]
        series = history.get(name)
        key = (quantity, 0 if series is None else len(series), self.found is None)
        if key == self._time_key:
            return
        self._time_key = key
        most = 1.0 if quantity == "kept" or self.found is None else float(self.found.now.total)
        steps, values = (NONE, NONE) if series is None else (series.steps, series.values)
        self.time.set_curve("now", steps, values)
        self.time.curves["now"].label = VIEW.option("quantity").choices[quantity]
        self.total.setValue(most)
        self.total.setVisible(self.found is not None)
        self.time.set_y(
            *course_range(values, most), "features held" if quantity == "held" else "kept feature and sign (share)"
        )

    # -- what is pointed at --------------------------------------------------------------------------------------

    def _at(self) -> FeatureOf | None:
        return None if self.found is None else at_moment(self.found, self.moment.value)[0]

    def _of(self, feature: int) -> list[int]:
        """The alive neurons that have ``feature`` at the chosen moment."""
        present = self._at()
        if present is None or not 0 <= feature < present.total:
            return []
        found: list[int] = np.flatnonzero(present.alive & (present.feature == feature)).tolist()
        return found

    def highlight(self, neuron: int) -> None:
        """Mark one neuron in the bars and its feature in the dictionary, and tell what became of it."""
        if self._feature >= 0 and neuron == self._told:
            return  # what this view has said itself of a feature
        self._neuron, self._feature = neuron, -1
        self._mark()

    def _mark(self) -> None:
        present = self._at()
        known = self.found is not None and 0 <= self._neuron < len(self.found.now.alive)
        if self._feature >= 0:
            self.bars.mark(self._of(self._feature))
            self.map.mark(self._feature)
            told = self.feature_text(self._feature)
        else:
            self.bars.mark([self._neuron] if known else [])
            self.map.mark(int(present.feature[self._neuron]) if known and present is not None else -1)
            told = self.neuron_text(self._neuron) if known else ""
        self.readout.setText(told)
        for part in (self.bars, self.map):
            part.setToolTip(told)  # in a low panel there may be no room for it elsewhere

    def neuron_text(self, neuron: int) -> str:
        """A neuron's feature at each moment, and what became of it."""
        assert self.found is not None
        signs = {-1: "−", 0: "0", 1: "+"}
        at = [
            f"{NAMES[name]} {signs[int(each.sign[neuron])]}{each.feature[neuron]}"
            + ("" if each.alive[neuron] else " (not alive)")
            for name, each in self.found.moments.items()
        ]
        told = [f"{each.name}: {VIEW.looks[FATES[each.fate[neuron]]].label}" for each in self.transitions]
        return f"neuron {neuron}: feature {', '.join(at)} · {', '.join(told)}"

    def feature_text(self, feature: int) -> str:
        """How many neurons a feature has at each moment, and which at the chosen one."""
        found, neurons = self.found, self._of(feature)
        if found is None or feature >= found.now.total:
            return ""
        counts = ", ".join(f"{each.neurons[feature]} {NAMES[name]}" for name, each in found.moments.items())
        which = ", ".join(map(str, neurons[:6])) + (", …" if len(neurons) > 6 else "")
        told = f" · neurons {NAMES[self.moment.value]}: {which}" if neurons else ""
        winners = self.winners
        began = (
            "" if winners is None else f" · winners {winners.fulfilled[feature]} of {winners.winners[feature]} became"
        )
        return f"{feature_words(self._dictionary, feature, found.now.total)}: neurons {counts}{told}{began}"

    def _point_at_neuron(self, neuron: int) -> None:
        self._told = neuron
        self._neuron, self._feature = neuron, -1
        self._mark()
        self.neuron_hovered.emit(neuron)

    def _point_at_feature(self, feature: int) -> None:
        neurons = self._of(feature)
        self._told = neurons[0] if neurons else -1
        self._neuron, self._feature = self._told, feature
        self._mark()
        self.neuron_hovered.emit(self._told)

    def _pick_feature(self, feature: int) -> None:
        """Choose the next of the feature's neurons."""
        neurons = self._of(feature)
        if not neurons:
            return
        later = [n for n in neurons if n > self._chosen]
        self._chosen = self._told = (later or neurons)[0]
        self._feature = feature
        self._mark()
        self.neuron_selected.emit(self._chosen)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Side by side, or one below the other where that is too narrow."""
        super().resizeEvent(event)
        wanted = Qt.Orientation.Vertical if self.width() < NARROW else Qt.Orientation.Horizontal
        if self.split.orientation() != wanted:
            self.split.setOrientation(wanted)

    # -- looks ---------------------------------------------------------------------------------------------------

    def set_theme(self, theme: Theme) -> None:
        """Recolour the plots and texts."""
        super().set_theme(theme)
        for part in (self.pages, self.bars, self.map, self.table, self.time):
            part.set_theme(theme)
        self.total.setPen(pg.mkPen(theme.text, width=1, style=Qt.PenStyle.DotLine))
        self.ramp.setPixmap(ramp())
        for label in (self.caption, *self.words, self.map_key, self.protocol, *self.ends):
            tint(label, theme.muted)
        for name, sign in self.signs.items():
            tint(sign, VIEW.looks[name].colour(theme.dark))
        for label in (self.count, self.map_title, self.readout):
            tint(label, theme.text)

    def options(self) -> dict[str, str]:
        """``moment`` and ``mark`` of the dictionary, ``quantity`` over time."""
        return {"moment": self.moment.value, "mark": self.marks.value, "quantity": self.quantity.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`."""
        restore({"moment": self.moment, "mark": self.marks, "quantity": self.quantity}, options)
        self._draw_map()
        self._redraw_time()
