"""Local: single layers drawn again and trained alone, clean, then adversarially, with everything else frozen."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from engine.core.results import Filters
from engine.figures.declare import ACCURACY_LOOKS, COSINE_LOOKS, ViewDeclaration
from engine.figures.local import LAYER_LOOKS, VIEW, scaled
from engine.run.snapshot import Snapshot
from engine.studies.base import Interval
from engine.studies.layer_ends import default_layers
from engine.studies.questions.local import LocalLayer, LocalResult, LocalStudy
from fp_gui.tasks import Task
from fp_gui.views.base import views
from fp_gui.views.plots import SIGNS, SYMBOLS, colour_of, new_plot
from fp_gui.views.study_view import (
    Key,
    StudyView,
    draw_points,
    fill_row,
    layers_of,
    origin,
    steps_box,
    study_layers,
    study_table,
)
from fp_gui.views.widgets import line

RUN = Task("local", "Purify single layers")
EITHER = "an early and a deep layer"  # until it is known which the network has
ENDS, ALL = "", "*"  # choices beside the layers' names; a star is in no name
EMPTY = (
    "No layer of this run was trained alone yet.\n“Purify single layers” draws a layer again and freezes all others as "
    "they were after clean training; the layer is trained clean, then adversarially. If purification is local, its "
    "units lose their mixtures and the network gains robustness all the same."
)
COSINES = tuple(VIEW.looks[name] for name in COSINE_LOOKS)
ACCURACIES = tuple(VIEW.looks[name] for name in ACCURACY_LOOKS)
COLUMNS = (
    "layer", "steps", "clean before [95%]", "after", "robust before [95%]", "after", "(w⁰,w)", "(w⁰,w′)", "(w,w′)",
    "‖βw′‖ > ‖w − βw′‖",
)  # fmt: skip


@views.register(VIEW.name, order=VIEW.order)
class LocalView(StudyView[LocalResult]):
    """Per layer: cosines, accuracy before and after, and the two parts of every unit."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    wants: frozenset[type] = frozenset({Filters})  # for the names of the layers
    file: ClassVar[str] = LocalStudy.file
    empty: ClassVar[str] = EMPTY
    tasks: ClassVar[tuple[tuple[Task, str], ...]] = (
        (RUN, "Draw the chosen layers again, one at a time, and train each alone.\nTakes about as long as the run "
         "itself for each layer, in another process; training goes on. It can be cancelled."),
    )  # fmt: skip

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.layer = study_layers(
            {ENDS: EITHER, ALL: "all layers (slow)"},
            "Layers to purify. Each is drawn again and trained alone; a network without convolutions: its first layer.",
        )
        self.clean_steps = steps_box("half the run's", "Clean steps. How long the layer is trained on clean images.")
        self.adversarial_steps = steps_box(
            "half the run's", "Adversarial steps. How long the layer is then trained on perturbed images."
        )
        self.add_choice("Layer", self.layer, 1)
        self.add_choice("clean steps", self.clean_steps)
        self.add_choice("adversarial", self.adversarial_steps)
        self.cosines = new_plot("", "mean cosine", auto=True)
        self.accuracies = new_plot("", "accuracy", auto=True)
        self.scatter = new_plot("‖βw′‖, kept", "‖w − βw′‖, dropped", auto=True)
        self.plots = [self.cosines, self.accuracies, self.scatter]
        for widget in self.plots:  # the stretches below share the height out, whatever the plots would like
            widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.keys = [Key(COSINES), Key(ACCURACIES)]
        self.parts = line()
        self.table = study_table(COLUMNS, "Figures of all layers")
        left = QVBoxLayout()
        left.addWidget(self.keys[1])
        left.addWidget(self.accuracies, 1)
        below = QWidget()
        lower = QHBoxLayout(below)
        lower.setContentsMargins(0, 0, 0, 0)
        self.folding.secondary.append((below, "Accuracies, and the two parts of every unit"))
        lower.addLayout(left, 1)
        lower.addWidget(self.scatter, 1)
        self.content.addWidget(self.verdict)
        self.content.addWidget(self.keys[0])
        self.content.addWidget(self.cosines, 3)
        self.content.addWidget(below, 4)
        self.content.addWidget(self.parts)
        self.content.addWidget(self.table, 2)
        self.set_theme(self.theme)

    def complete(self, task: Task) -> Task:
        """The study of the chosen layers, with the chosen steps."""
        options: list[str] = []
        names = [each.name for each in self.layer.layers] if self.layer.value == ALL else [self.layer.value]
        for name in filter(None, names):
            options += ["--layer", name]
        for option, box in (("--clean-steps", self.clean_steps), ("--adversarial-steps", self.adversarial_steps)):
            if box.value():
                options += [option, str(box.value())]
        return Task(task.command, task.title, (*task.options, *options))

    def read(self, folder: Path) -> None:
        """Read the study that was made last."""
        self.found = LocalStudy.read(folder)

    def forget(self) -> None:
        """The layers may be others."""
        super().forget()
        self.layer.forget()

    def update_view(self, snapshot: Snapshot) -> None:
        """Draw the study if it is another one, and offer the network's layers."""
        self.layer.show_layers(layers_of(snapshot) or self.layer.layers)
        self.layer.setItemText(self.layer.findData(ENDS), " and ".join(default_layers(self.layer.layers)) or EITHER)
        super().update_view(snapshot)

    def caption(self, found: LocalResult, step: int) -> str:
        """Where the weights came from, the steps and the protocol."""
        trained = sorted({(each.clean_steps, each.adversarial_steps) for each in found.layers})
        steps = "; ".join(f"{a:,} clean, then {b:,} adversarial steps" for a, b in trained)
        return (
            f"{origin(found.clean_step, found.step, step)} Each layer drawn again and trained alone: {steps}. Robust "
            f"accuracy: {found.protocol}."
        )

    def draw(self, found: LocalResult) -> None:
        """Draw all parts."""
        self.verdict.setText("  ".join(sentence(each) for each in found.layers))
        ticks = [(i, each.name) for i, each in enumerate(found.layers)]
        for widget in (self.cosines, self.accuracies):
            item = widget.getPlotItem()
            item.clear()
            item.getAxis("bottom").setTicks([ticks])
            item.setXRange(-0.6, len(ticks) - 0.4, padding=0)
        self._draw_cosines(found)
        self._draw_accuracies(found)
        self._draw_scatter(found)
        self._fill(found)

    def _draw_cosines(self, found: LocalResult) -> None:
        item = self.cosines.getPlotItem()
        values = [(e.cos_start_clean, e.cos_start_now, e.cos_clean_now) for e in found.layers]
        for place, look in enumerate(COSINES):
            points = [(i + (place - 1) * 0.2, v[place], v[place], v[place]) for i, v in enumerate(values)]
            draw_points(item, look, self.theme, points)
            for x, y, _, _ in points:
                text = pg.TextItem(f"{y:.2f}", color=self.theme.text, anchor=(0.0, 0.5))
                text.setPos(x + 0.03, y)
                item.addItem(text)
        lowest = min((value for row in values for value in row), default=0.0)
        item.setYRange(min(0.0, lowest), 1, padding=0.05)

    def _draw_accuracies(self, found: LocalResult) -> None:
        item = self.accuracies.getPlotItem()
        for place, look in enumerate(ACCURACIES):
            for i, each in enumerate(found.layers):
                before, after = pairs(each)[place]
                x = i + (place - 0.5) * 0.4
                points = [
                    (x - 0.08, before.value, before.low, before.high),
                    (x + 0.08, after.value, after.low, after.high),
                ]
                draw_points(item, look, self.theme, points)
        item.setLabel("left", "accuracy, before → after")
        item.setYRange(0, 1, padding=0.03)

    def _draw_scatter(self, found: LocalResult) -> None:
        item = self.scatter.getPlotItem()
        item.clear()
        top, texts = 0.0, []
        for i, each in enumerate(found.layers):
            look = LAYER_LOOKS[i % len(LAYER_LOOKS)]
            rest, pure = scaled(each)  # layers differ in size, so each is drawn in units of its own
            symbol, colour = SYMBOLS[look.marker], colour_of(look, self.theme)
            item.plot(pure, rest, pen=None, symbol=symbol, symbolSize=6, symbolPen=None, symbolBrush=colour)
            top = max(top, *rest.tolist(), *pure.tolist(), 0.0)
            texts.append(f"{SIGNS[symbol]} {each.name}")
        item.addItem(pg.InfiniteLine((0, 0), angle=45, pen=pg.mkPen(self.theme.muted, style=Qt.PenStyle.DashLine)))
        item.setXRange(0, 1.05 * top or 1.0, padding=0)
        item.setYRange(0, 1.05 * top or 1.0, padding=0)
        self.parts.setText(
            f"Right: the alive units of {', '.join(texts)}, in units of the layer's mean ‖w‖. Below the dashed line "
            "more of a clean unit is kept than dropped."
        )

    def _fill(self, found: LocalResult) -> None:
        self.table.setRowCount(len(found.layers))
        for row, each in enumerate(found.layers):
            (clean, clean_after), (robust, robust_after) = pairs(each)
            texts = (
                each.name, f"{each.clean_steps:,} + {each.adversarial_steps:,}", clean.text(), clean_after.text(),
                robust.text(), robust_after.text(), f"{each.cos_start_clean:.3f}", f"{each.cos_start_now:.3f}",
                f"{each.cos_clean_now:.3f}", f"{each.share:.0%} of {sum(each.alive)} alive",
            )  # fmt: skip
            fill_row(self.table, row, texts)


def pairs(layer: LocalLayer) -> tuple[tuple[Interval, Interval], tuple[Interval, Interval]]:
    """Clean and robust accuracy, each before and after adversarial training."""
    return (layer.clean_before, layer.clean_after), (layer.robust_before, layer.robust_after)


def sentence(layer: LocalLayer) -> str:
    """What training this layer alone did."""
    return (
        f"{layer.name} alone: robust accuracy {layer.robust_before.value:.3f} → {layer.robust_after.value:.3f}, "
        f"(w,w′) {layer.cos_clean_now:.2f}."
    )
