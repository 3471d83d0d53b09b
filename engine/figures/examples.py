"""Some test images, what the attack adds to them, the sums, and what the network says of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import IMAGES
from engine.core.arrays import cosines
from engine.core.errors import ConfigError
from engine.core.measurement import NORM_SIGN
from engine.core.results import Examples
from engine.figures.base import Array, Column, Drawer, FigureData, Table, figures, provenance, training
from engine.figures.declare import (
    BLUE,
    ORANGE,
    SKY,
    VERMILION,
    Look,
    Option,
    ViewDeclaration,
    amplification,
    beside_option,
    factor_option,
    phase,
)
from engine.figures.meaning import Meaning
from engine.figures.pictures import colours, network_of
from engine.figures.style import narrow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.images.loading import Moment
    from engine.run.store import Checkpoint, Store

VIEW = ViewDeclaration(
    "examples", "Perturbation", 80, "Some test images under PGD at the radius of the run.", (IMAGES,),
    options=(
        Option("sample", "1", {}, "Which test image is shown, the first if there are several.", number=True,
               was="first"),
        Option("count", "4", {}, "How many images are shown.", number=True),
        Option("moment", "now", {"now": "now", "clean": "after clean training", "start": "start"},
               "Whose perturbations: those of the weights now, or of earlier ones."),
        factor_option("by the round factor in its title, the same for all images."),
        beside_option("perturbations and answers"),
    ),
    looks={"before": Look("x", BLUE, SKY), "after": Look("x + δ", VERMILION, ORANGE)},
    meaning=Meaning(
        drawn="Test images, the perturbation that fools the network, enlarged, their sum, and what the "
        "network answers before and after.",
        formula="δ found by PGD inside ‖δ‖ ≤ τ = {attack.tau} ({attack.norm}), {evaluation.steps} steps, x + "
        "δ kept in [0, 1]; pictures of {world.name}.",
        place="Section 1 and the experiments: perturbations of clean nets look like noise, those of robust "
        "nets like parts of other classes.",
        surprise="Noise that fools the purified network as easily as the clean one.",
    ),
)  # fmt: skip
GREY = 0.5  # what is drawn where δ is zero
SHOWN = 5  # classes of which probabilities are drawn
ROW, NARROW_ROW, TITLE, AXIS, GAP = 0.95, 0.78, 0.24, 0.40, 0.05  # inches


@dataclass(frozen=True)
class ExampleRows(FigureData):
    """``found`` with the images ``which`` (indices); δ is drawn ``factor`` times around middle grey.

    ``clean`` is the same of the clean net: each of its rows stands above that of ``found``.
    """

    found: Examples
    clean: Examples | None
    which: NDArray[np.int64]
    factor: int

    def rows(self) -> list[tuple[str, Examples, int]]:
        """The rows: what the net is called where two are drawn, its examples, and the image's index."""
        if self.clean is None:
            return [("", self.found, int(i)) for i in self.which]
        return [row for i in self.which for row in (("clean", self.clean, int(i)), ("now", self.found, int(i)))]

    def height(self, width: float) -> float:
        """One row an image and net."""
        return TITLE + AXIS + len(self.rows()) * _row(width)

    def draw(self, figure: Figure) -> None:
        """Draw image, perturbation, sum and probabilities in a row, for each image and net."""
        width, height = figure.get_size_inches()
        line, rows = _row(width), self.rows()
        edge = 0.06 if self.clean is None else 0.24
        side, names = (0.5 if self.clean is not None else 0.52, 0.66) if narrow(width) else (line - 0.12, 0.95)
        left = edge + 3 * (side + GAP)
        for row, (net, found, i) in enumerate(rows):
            bottom = height - TITLE - (row + 1) * line + 0.06
            for column, picture in enumerate(self._pictures(found, i)):
                box = (edge + column * (side + GAP), bottom + (line - 0.12 - side) / 2, side, side)
                axes = figure.add_axes(_share(box, width, height))
                axes.imshow(picture, interpolation="none")
                axes.set_axis_off()
                if row == 0:
                    axes.set_title(("x", f"δ × {self.factor}", "x + δ")[column], pad=3)
            if net:
                place = (0.12 / width, (bottom + (line - 0.12) / 2) / height)
                figure.text(*place, net, rotation=90, ha="center", va="center", size=7)
            box = (left + names, bottom, width - left - names - 0.16, line - 0.12)
            bars = figure.add_axes(_share(box, width, height))
            self._probabilities(bars, found, i, last=row == len(rows) - 1, short=narrow(width))
            if row == 0:
                bars.legend(
                    loc="lower right", bbox_to_anchor=(1.0, 1), ncols=2, borderaxespad=0.2, handlelength=1,
                    columnspacing=1,
                )  # fmt: skip

    def _pictures(self, found: Examples, i: int) -> tuple[Array, ...]:
        x, delta = found.x[i], found.delta[i]
        return tuple(colours(p[None])[0] for p in (x, GREY + delta * self.factor, x + delta))

    @staticmethod
    def _probabilities(axes: Axes, found: Examples, i: int, *, last: bool, short: bool) -> None:
        before, after = found.before[i], found.after[i]
        shown = np.argsort(-np.maximum(before, after), kind="stable")[:SHOWN]
        at = np.arange(len(shown))
        for values, look, place in zip((before, after), VIEW.looks.values(), (at - 0.19, at + 0.19), strict=True):
            axes.barh(place, values[shown], 0.36, color=look.light, label=look.label)
        limit = 8 if short else 14
        names = [c if len(c) <= limit else c[: limit - 1] + "…" for c in (found.classes[k] for k in shown)]
        axes.set_yticks(at, [n + (" ✓" if k == found.y[i] else "") for n, k in zip(names, shown, strict=True)])
        axes.tick_params(axis="y", length=0, pad=2)
        axes.set(xlim=(0, 1), ylim=(len(shown) - 0.45, -0.55), xticks=[0, 0.5, 1])
        if last:
            axes.set_xlabel("probability")
        else:
            axes.set_xticklabels([])


def _row(width: float) -> float:
    """Height in inches of one image's row."""
    return NARROW_ROW if narrow(width) else ROW


def _share(box: tuple[float, float, float, float], width: float, height: float) -> tuple[float, float, float, float]:
    """A box in inches as shares of the figure."""
    x, y, w, h = box
    return x / width, y / height, w / width, h / height


@figures.register(VIEW.name, order=VIEW.order)
class ExamplesDrawer(Drawer):
    """Test images under PGD at the radius of the run."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> ExampleRows:
        """Attack the images on the weights of the checkpoint; imports torch."""
        from engine.core.slices import finish
        from engine.images.live import EXAMPLES, examples

        network, config = network_of(store, checkpoint), checkpoint.config
        x, y = network.held_out(EXAMPLES)
        first = int(options["sample"]) - 1
        if first >= len(y):
            raise ConfigError(f"sample: got {first + 1}; allowed: a whole number from 1 to {len(y)}")

        def of(moment: Moment, step: int) -> Examples:
            model, classes = network.classifier(moment), network.data.classes
            return finish(
                examples(model, x, y, classes, config.attack, config.evaluation.steps, step, config.seed)
            )  # fmt: skip

        moment: Moment = options["moment"]  # type: ignore[assignment]
        found, clean = of(moment, checkpoint.step), None
        if options["beside"] == "true" and moment == "now" and network.has_clean:
            clean = of("clean", int(checkpoint.state["clean_step"]))
        which = np.arange(first, min(first + int(options["count"]), len(y)))
        factor = shared_factor(found, clean) if options["factor"] == "auto" else 1
        names = ("x", "delta", "before", "after")
        arrays = {n: getattr(found, n)[which] for n in names} | {"classes": np.array(found.classes, np.str_)}
        if clean is not None:
            arrays |= {f"{n}_clean": getattr(clean, n)[which] for n in names[1:]}
        return ExampleRows(
            tables={"": _table(found, clean, which)}, arrays=arrays,
            caption=_caption(store, checkpoint, found, clean, which, factor, moment),
            found=found, clean=clean, which=which, factor=factor,
        )  # fmt: skip


def shared_factor(found: Examples, clean: Examples | None) -> int:
    """By how much the δ of both nets are drawn larger, around middle grey."""
    return amplification(found.delta if clean is None else np.concatenate([found.delta, clean.delta]), GREY)


def between(found: Examples, clean: Examples) -> NDArray[np.float64]:
    """Cosine of each image's perturbation with the clean net's (k,)."""
    return cosines(found.delta, clean.delta)


def sizes(found: Examples) -> NDArray[np.float64]:
    """‖δ‖ of each image (k,) in the norm of the ball."""
    order = 2 if found.protocol.norm == "l2" else np.inf
    size: NDArray[np.float64] = np.linalg.norm(found.delta.reshape(len(found.y), -1), ord=order, axis=1)
    return size


def _table(found: Examples, clean: Examples | None, which: NDArray[np.int64]) -> Table:
    """A row an image; the clean net's columns come last."""
    classes = np.array(found.classes, np.str_)
    table: Table = (
        Column("image", "index", which + 1),
        Column("class", "text", classes[found.y[which]]),
        *_answers(found, which, classes, ""),
    )
    if clean is None:
        return table
    of_clean = _answers(clean, which, classes, " on the clean net")
    return (*table, *of_clean, Column("cosine between both perturbations", "1", between(found, clean)[which]))


def _answers(found: Examples, which: NDArray[np.int64], classes: Array, net: str) -> Table:
    right = np.arange(len(found.y))
    return (
        Column(f"predicted for x{net}", "text", classes[found.before[which].argmax(1)]),
        Column(f"predicted for x + δ{net}", "text", classes[found.after[which].argmax(1)]),
        Column(f"probability of the class for x{net}", "1", found.before[right, found.y][which]),
        Column(f"probability of the class for x + δ{net}", "1", found.after[right, found.y][which]),
        Column(f"size of δ{net}", f"{NORM_SIGN[found.protocol.norm]} norm", sizes(found)[which]),
    )


def _caption(
    store: Store, checkpoint: Checkpoint, found: Examples, clean: Examples | None, which: NDArray[np.int64],
    factor: int, moment: str,
) -> str:  # fmt: skip
    weights = {
        "now": f"now (step {checkpoint.step}, {phase(checkpoint.phase).name} phase)",
        "clean": "after clean training",
        "start": "at the start",
    }[moment]
    n = len(which)
    right = [int((p[which].argmax(1) == found.y[which]).sum()) for p in (found.before, found.after)]
    beside = []
    if clean is not None:
        fooled = [int((p[which].argmax(1) == clean.y[which]).sum()) for p in (clean.before, clean.after)]
        cosine = float(between(found, clean)[which].mean())
        beside = [
            f"Above each (“clean”) the net at the end of clean training (step {clean.step}) on the same image, "
            f"perturbed in the same way: {fooled[0]} of {n} right for x, {fooled[1]} for x + δ; mean cosine between "
            f"both perturbations {cosine:.3f}."
        ]
    protocol = replace(found.protocol, n=n, estimate=False).text().replace(", 95% Wilson interval", "")
    return "\n".join(
        [
            f"Test images {which[0] + 1} to {which[-1] + 1}: x, its perturbation δ (drawn × {factor} around middle "
            "grey, the same for all) and x + δ; pixels in [0, 1], drawn as they are. Bars: probabilities of the "
            f"{min(SHOWN, len(found.classes))} likeliest classes for x and for x + δ, the true class marked ✓. "
            f"Attacked are the weights {weights}: {right[0]} of {n} right for x, {right[1]} for x + δ.",
            *beside,
            f"Protocol: {protocol}; images that the network gets wrong are perturbed as well.",
            training(store, checkpoint),
            provenance(store, checkpoint),
        ]
    )
