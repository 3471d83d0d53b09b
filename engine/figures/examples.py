"""Some test images, what the attack adds to them, the sums, and what the network says of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import IMAGES
from engine.config.objectives import objectives
from engine.core.errors import ConfigError
from engine.core.measurement import NORM_SIGN
from engine.core.results import Examples
from engine.figures.base import Array, Column, Drawer, FigureData, Option, figures, provenance, training
from engine.figures.pictures import FACTORS, colours, network_of, signed
from engine.figures.style import BLUE, VERMILLION, narrow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store

SHOWN = 5  # classes of which probabilities are drawn
ROW, NARROW_ROW, TITLE, AXIS, GAP = 0.95, 0.78, 0.24, 0.40, 0.05  # inches


@dataclass(frozen=True)
class ExampleRows(FigureData):
    """``found`` with the images ``which`` (indices); δ is drawn ``factor`` times around middle grey."""

    found: Examples
    which: NDArray[np.int64]
    factor: int

    def height(self, width: float) -> float:
        """One row an image."""
        return TITLE + AXIS + len(self.which) * _row(width)

    def draw(self, figure: Figure) -> None:
        """Draw image, perturbation, sum and probabilities in a row, for each image."""
        width, height = figure.get_size_inches()
        line = _row(width)
        side, names = (0.52, 0.66) if narrow(width) else (line - 0.12, 0.95)
        left = 0.06 + 3 * (side + GAP)
        for row, i in enumerate(self.which):
            bottom = height - TITLE - (row + 1) * line + 0.06
            for column, picture in enumerate(self._pictures(int(i))):
                box = (0.06 + column * (side + GAP), bottom + (line - 0.12 - side) / 2, side, side)
                axes = figure.add_axes(_share(box, width, height))
                axes.imshow(picture, interpolation="none")
                axes.set_axis_off()
                if row == 0:
                    axes.set_title(("x", f"δ × {self.factor}", "x + δ")[column], pad=3)
            box = (left + names, bottom, width - left - names - 0.16, line - 0.12)
            bars = figure.add_axes(_share(box, width, height))
            self._probabilities(bars, int(i), last=row == len(self.which) - 1, short=narrow(width))
            if row == 0:
                bars.legend(
                    loc="lower right", bbox_to_anchor=(1.0, 1), ncols=2, borderaxespad=0.2, handlelength=1,
                    columnspacing=1,
                )  # fmt: skip

    def _pictures(self, i: int) -> tuple[Array, ...]:
        x, delta = self.found.x[i], self.found.delta[i]
        return tuple(colours(p[None])[0] for p in (x, signed(delta * self.factor, 1.0), x + delta))

    def _probabilities(self, axes: Axes, i: int, *, last: bool, short: bool) -> None:
        found = self.found
        before, after = found.before[i], found.after[i]
        shown = np.argsort(-np.maximum(before, after), kind="stable")[:SHOWN]
        at = np.arange(len(shown))
        axes.barh(at - 0.19, before[shown], 0.36, color=BLUE, label="x")
        axes.barh(at + 0.19, after[shown], 0.36, color=VERMILLION, label="x + δ")
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


@figures.register("examples")
class ExamplesDrawer(Drawer):
    """The first test images under PGD at the radius of the run."""

    kinds = (IMAGES,)

    options = (
        Option("count", "4", (), "How many images are shown.", number=True),
        Option("first", "1", (), "The first of them, counted from 1.", number=True),
        Option("moment", "now", ("now", "clean", "start"), "Whose perturbations: the weights now, or earlier ones."),
        Option("factor", "auto", ("auto", "1"), "How δ is drawn: enlarged by a round factor, or as it is."),
    )

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> ExampleRows:
        """Attack the images on the weights of the checkpoint; imports torch."""
        from engine.core.slices import finish
        from engine.images.live import EXAMPLES, examples

        network, config = network_of(store, checkpoint), checkpoint.config
        x, y = network.held_out(EXAMPLES)
        first, count = int(options["first"]) - 1, int(options["count"])
        for name, value, end in (("first", first + 1, len(y)), ("count", count, len(y) - first)):
            if value > end:
                raise ConfigError(f"{name}: got {value}; allowed: a whole number from 1 to {end}")
        model = network.classifier(options["moment"])  # type: ignore[arg-type]
        found = finish(
            examples(model, x, y, network.data.classes, config.attack, config.evaluation.steps, checkpoint.step,
                     config.seed)
        )  # fmt: skip
        which = np.arange(first, first + count)
        largest = float(np.abs(found.delta[which]).max(initial=0.0))
        fitting = [f for f in FACTORS if f * largest <= 1.0] if options["factor"] == "auto" and largest > 0 else []
        factor = max(fitting, default=1)
        order = {"l2": 2, "linf": np.inf}[found.protocol.norm]
        sizes = np.linalg.norm(found.delta.reshape(len(y), -1), ord=order, axis=1)
        classes, right = np.array(found.classes, np.str_), np.arange(len(y))
        table = (
            Column("image", "index", which + 1),
            Column("class", "text", classes[found.y[which]]),
            Column("predicted for x", "text", classes[found.before[which].argmax(1)]),
            Column("predicted for x + δ", "text", classes[found.after[which].argmax(1)]),
            Column("probability of the class for x", "1", found.before[right, found.y][which]),
            Column("probability of the class for x + δ", "1", found.after[right, found.y][which]),
            Column("size of δ", f"{NORM_SIGN[found.protocol.norm]} norm", sizes[which]),
        )
        names = ("x", "delta", "y", "before", "after")
        return ExampleRows(
            tables={"": table}, arrays={n: getattr(found, n)[which] for n in names} | {"classes": classes},
            caption=_caption(store, checkpoint, found, which, factor, options["moment"]),
            found=found, which=which, factor=factor,
        )  # fmt: skip


def _caption(
    store: Store, checkpoint: Checkpoint, found: Examples, which: NDArray[np.int64], factor: int, moment: str
) -> str:  # fmt: skip
    weights = {
        "now": f"now (step {checkpoint.step}, {objectives[checkpoint.phase].label} phase)",
        "clean": "after clean training",
        "start": "at the start",
    }[moment]
    n = len(which)
    right = [int((p[which].argmax(1) == found.y[which]).sum()) for p in (found.before, found.after)]
    protocol = replace(found.protocol, n=n, estimate=False).text().replace(", 95% Wilson interval", "")
    return "\n".join(
        [
            f"Test images {which[0] + 1} to {which[-1] + 1}: x, its perturbation δ (drawn × {factor} around middle "
            "grey, the same for all) and x + δ; pixels in [0, 1], drawn as they are. Bars: probabilities of the "
            f"{min(SHOWN, len(found.classes))} likeliest classes for x and for x + δ, the true class marked ✓. "
            f"Attacked are the weights {weights}: {right[0]} of {n} right for x, {right[1]} for x + δ.",
            f"Protocol: {protocol}; images that the network gets wrong are perturbed as well.",
            training(store, checkpoint),
            provenance(store, checkpoint),
        ]
    )
