"""Local purification: single layers drawn again and trained alone, their cosines, accuracies and units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.config.experiment import IMAGES
from engine.core.measurement import NORM_SIGN
from engine.figures.base import Column, Drawer, FigureData, Table, figures, provenance, training
from engine.figures.declare import (
    ACCURACY_LOOKS,
    BLUE,
    BRIGHT_VERMILION,
    COSINE_LOOKS,
    DARK_GREEN,
    DARK_ORANGE,
    DARK_PURPLE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Look,
    ViewDeclaration,
)
from engine.figures.meaning import Meaning
from engine.figures.style import DASHES, MARKERS, diagonal, legend_above, narrow, panels
from engine.studies.questions.local import LocalLayer, LocalResult, LocalStudy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store

VIEW = ViewDeclaration(
    "local", "Local", 110, "What one layer alone learns from adversarial training.", (IMAGES,),
    looks={  # points of different layers are not joined
        **{name: replace(look, dash="none") for name, look in COSINE_LOOKS.items()}, **ACCURACY_LOOKS
    },
    file=LocalStudy.file,
    meaning=Meaning(
        drawn="One layer at a time is drawn anew and trained alone, clean, then adversarially, while all "
        "others are frozen.",
        formula="Accuracy under PGD at {attack.norm} radius τ = {attack.tau}, and (w⁰,w), (w⁰,w′), (w,w′) of "
        "the layer, before and after its own adversarial phase; network {model.name} on {world.name}.",
        place="The paper's local purification: each layer's hidden weights purify given the others.",
        surprise="No gain in any layer: then robustness would need all layers to change together.",
    ),
)  # fmt: skip
LAYER_LOOKS = (  # of the layers' units, in turn
    Look("", BLUE, SKY, "circle"), Look("", VERMILION, BRIGHT_VERMILION, "triangle-up"),
    Look("", DARK_GREEN, GREEN, "square"), Look("", DARK_PURPLE, PURPLE, "diamond"),
    Look("", DARK_ORANGE, ORANGE, "star"),
)  # fmt: skip
QUANTITIES = ("cos_start_clean", "cos_start_now", "cos_clean_now", "share")


@dataclass(frozen=True)
class LocalFigure(FigureData):
    """Three panels: cosines by layer, accuracies before and after by layer, units."""

    study: LocalResult

    def height(self, width: float) -> float:
        """The panels in a row, or stacked in a narrow figure."""
        return 6.9 if narrow(width) else 2.5

    def draw(self, figure: Figure) -> None:
        """Draw the panels."""
        cosines, accuracies, units = panels(figure, 3)
        self._cosines(cosines)
        self._accuracies(accuracies)
        self._units(units)

    def _names(self, axes: Axes) -> None:
        names = [each.name for each in self.study.layers]
        axes.set(xlim=(-0.5, len(names) - 0.5), xticks=range(len(names)))
        axes.set_xticklabels(names, rotation=0 if len(names) <= 3 else 90)
        axes.grid(axis="y", color="0.9", lw=0.5)
        axes.set_axisbelow(True)

    def _cosines(self, axes: Axes) -> None:
        lowest = 0.0
        for place, quantity in enumerate(COSINE_LOOKS):
            look = VIEW.looks[quantity]
            values = [getattr(each, quantity) for each in self.study.layers]
            lowest = min(lowest, *values)
            axes.plot(
                np.arange(len(values)) + (place - 1) * 0.2,
                values,
                ls="",
                marker=MARKERS[look.marker],
                color=look.light,
                label=look.label,
            )
        axes.set(ylim=(1.1 * lowest, 1.05), ylabel="mean cosine")
        self._names(axes)
        legend_above(axes)

    def _accuracies(self, axes: Axes) -> None:
        for place, (kind, look) in enumerate(ACCURACY_LOOKS.items()):
            for i, each in enumerate(self.study.layers):
                pair = [getattr(each, f"{kind}_{moment}") for moment in ("before", "after")]
                x = i + (place - 0.5) * 0.4 + np.array([-0.07, 0.07])
                axes.vlines(x, [a.low for a in pair], [a.high for a in pair], color=look.light, lw=1.2)
                axes.plot(
                    x, [a.value for a in pair], color=look.light, marker=MARKERS[look.marker], ls=DASHES[look.dash],
                    lw=0.8, label=None if i else f"{kind}, before → after",
                )  # fmt: skip
        norm = NORM_SIGN.get(self.study.norm, self.study.norm)
        axes.set(ylim=(0, 1.02), ylabel=f"accuracy, {norm} radius {self.study.tau:g}")
        self._names(axes)
        legend_above(axes)

    def _units(self, axes: Axes) -> None:
        top = 0.0
        for i, each in enumerate(self.study.layers):
            rest, pure = scaled(each)
            look = LAYER_LOOKS[i % len(LAYER_LOOKS)]
            axes.plot(
                pure, rest, ls="", marker=MARKERS[look.marker], ms=2.2, color=look.light, mew=0, alpha=0.7,
                label=each.name,
            )  # fmt: skip
            top = max(top, *rest.tolist(), *pure.tolist(), 0.0)
        diagonal(axes, top, "kept ‖βw′‖ / mean ‖w‖", "dropped ‖w − βw′‖ / mean ‖w‖")


def scaled(layer: LocalLayer) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], ...]:
    """``rest`` and ``pure_part`` of the alive units, in units of the layer's mean ‖w‖."""
    alive = np.array(layer.alive, bool)
    rest, pure = np.array(layer.rest, np.float64)[alive], np.array(layer.pure_part, np.float64)[alive]
    size = float(np.mean(np.hypot(rest, pure))) if len(rest) else 0.0
    return (rest / size, pure / size) if size > 0 else (rest, pure)


@figures.register(VIEW.name, order=VIEW.order)
class LocalDrawer(Drawer):
    """What one layer alone learns from adversarial training (SPEC.md section 8)."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> LocalFigure:
        """Read ``local.json`` of the run."""
        study = LocalStudy.read(store.folder)
        tables: dict[str, Table] = {"": _layers(study), "units": _units(study)}
        return LocalFigure(tables, _caption(store, checkpoint, study), study)


def _layers(study: LocalResult) -> Table:
    layers = study.layers

    def numbers(name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.array([getattr(each, name) for each in layers], np.float64)

    columns = [
        Column("layer", "name", np.array([each.name for each in layers], np.str_)),
        Column("clean steps", "steps", np.array([each.clean_steps for each in layers], np.int64)),
        Column("adversarial steps", "steps", np.array([each.adversarial_steps for each in layers], np.int64)),
    ]
    for kind in ("clean", "robust"):
        for moment in ("before", "after"):
            found = [getattr(each, f"{kind}_{moment}") for each in layers]
            columns += [
                Column(f"{kind} accuracy {moment}", "1", np.array([f.value for f in found], np.float64)),
                Column(f"{kind} accuracy {moment} low", "1", np.array([f.low for f in found], np.float64)),
                Column(f"{kind} accuracy {moment} high", "1", np.array([f.high for f in found], np.float64)),
            ]
    return (*columns, *(Column(name, "1" if name == "share" else "cosine", numbers(name)) for name in QUANTITIES))


def _units(study: LocalResult) -> Table:
    rows = [
        (each.name, i, pure, rest, alive)
        for each in study.layers
        for i, (pure, rest, alive) in enumerate(zip(each.pure_part, each.rest, each.alive, strict=True))
    ]
    return (
        Column("layer", "name", np.array([r[0] for r in rows], np.str_)),
        Column("unit", "index", np.array([r[1] for r in rows], np.int64)),
        Column("pure part", "weight", np.array([r[2] for r in rows], np.float64)),
        Column("rest", "weight", np.array([r[3] for r in rows], np.float64)),
        Column("alive", "0 or 1", np.array([int(r[4]) for r in rows], np.int64)),
    )


def _caption(store: Store, checkpoint: Checkpoint, study: LocalResult) -> str:
    steps = "; ".join(
        f"{each.name}: {each.clean_steps} clean, then {each.adversarial_steps} adversarial steps, "
        f"‖βw′‖ > ‖w − βw′‖ for {each.share:.0%} of {sum(each.alive)} alive units"
        for each in study.layers
    )
    return "\n".join(
        [
            "Local purification: from the weights at the end of clean training one layer is drawn again (w⁰) and "
            "trained alone, clean (w), then adversarially (w′), all others frozen. First panel: mean cosines over "
            "alive units. Second: accuracy of the whole network before and after the adversarial phase, bars 95% "
            "intervals. Third: alive units, in units of the layer's mean ‖w‖; below the dotted line more of w is kept "
            "than dropped.",
            f"{steps}.",
            f"Protocol: {study.protocol}; from the clean weights of step {study.clean_step}.",
            training(store, checkpoint),
            provenance(store, checkpoint),
        ]
    )
