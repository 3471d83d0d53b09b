"""An input, what the attack adds to it, their sum; and the perturbations in the dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import SPARSE_CODING
from engine.core.errors import ConfigError
from engine.core.measurement import NORM_SIGN, Measurement
from engine.core.results import Perturbations
from engine.figures.base import Array, Column, Drawer, FigureData, figures, provenance, training
from engine.figures.declare import (
    BLUE,
    ORANGE,
    SKY,
    VERMILION,
    Look,
    Option,
    ViewDeclaration,
    amplification,
    factor_option,
    round_up,
)
from engine.figures.panels import as_pictures
from engine.figures.style import legend_above, narrow, signed_colours
from engine.theory.config import sparse_coding

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from engine.run.store import Checkpoint, Store

N = 1000  # held-out inputs that are perturbed
VIEW = ViewDeclaration(
    "perturbation", "Perturbation", 70,
    "One input with its FGM perturbation, and the perturbations of many in the dictionary (SPEC.md section 4).",
    (SPARSE_CODING,),
    options=(
        Option("sample", "1", {}, "Which of the first held-out inputs is shown.", number=True),
        factor_option("by the round factor in its title, as far as the common colours allow."),
    ),
    looks={"delta": Look("Mᵀδ", BLUE, SKY), "dense": Look("−y·w*, same length", VERMILION, ORANGE)},
)  # fmt: skip
BINS = np.linspace(-1, 1, 41)


@dataclass(frozen=True)
class Perturbation(FigureData):
    """``anatomy`` with the input ``sample`` (from 0); δ is drawn ``factor`` times, all colours end at ``scale``."""

    perturbations: Perturbations
    sample: int
    scale: float
    factor: int

    def height(self, width: float) -> float:
        """Pictures above, plots below; stacked in a narrow figure."""
        return 4.9 if narrow(width) else 4.0

    def draw(self, figure: Figure) -> None:
        """Draw three pictures with one scale, the coefficients, and the cosines."""
        figure.set_layout_engine("constrained", w_pad=0.04, h_pad=0.04)
        small = narrow(figure.get_figwidth())
        ratios = (1.5, 3.4) if small else (2, 2)
        upper, lower = figure.subfigures(2, 1, height_ratios=ratios, squeeze=False).ravel()
        self._pictures(upper)
        self._plots(lower, small)

    def _pictures(self, figure: SubFigure) -> None:
        found, i = self.perturbations, self.sample
        titles = (
            f"x, margin\n{_verdict(found.before[i])}",
            f"δ × {self.factor}\n({NORM_SIGN[found.protocol.norm]} norm {self.size:.3g})",
            f"x + δ, margin\n{_verdict(found.after[i])}",
        )
        panels = figure.subplots(1, 3)
        for axes, vector, title in zip(panels, self.vectors(), titles, strict=True):
            image = axes.imshow(
                as_pictures(vector[None])[0, 0],
                cmap=signed_colours(),
                vmin=-self.scale,
                vmax=self.scale,
                interpolation="nearest",
            )
            axes.set_axis_off()
            axes.set_title(title, size=7)
        bar = figure.colorbar(image, ax=panels, shrink=0.9, aspect=14, pad=0.02)
        bar.set_ticks([-self.scale, 0, self.scale], labels=[f"−{self.scale:.3g}", "0", f"{self.scale:.3g}"])
        bar.outline.set_linewidth(0.5)

    def _plots(self, figure: SubFigure, small: bool) -> None:
        found, i = self.perturbations, self.sample
        stems, histogram = figure.subplots(*((2, 1) if small else (1, 2)), width_ratios=None if small else (3, 2))
        at = np.arange(len(found.target))
        delta, dense = VIEW.looks["delta"], VIEW.looks["dense"]
        label = f"{delta.label}, cosine {found.cosine[i]:.2f}"
        stems.vlines(at, 0, found.coefficients[i], color=delta.light, lw=1.2, label=label)
        stems.plot(at, reference(found, i), "o", mfc="none", mec=dense.light, ms=2.5, mew=0.6, label=dense.label)
        stems.axhline(0, color="0.6", lw=0.5)
        stems.set(xlabel="feature (dictionary coordinate)", ylabel="coefficient", xlim=(-0.5, len(at) - 0.5))
        legend_above(stems)
        n, mean = found.protocol.n, found.mean_cosine
        cosines = np.clip(found.cosine, -1, 1)
        histogram.hist(cosines, BINS.tolist(), color=delta.light, alpha=0.6, label=f"n = {n} inputs")
        histogram.axvline(mean, color="0.2", lw=0.9, ls=(0, (4, 1.5)), label=f"mean {mean:.3f}")
        histogram.set(xlim=(-1, 1), xticks=[-1, -0.5, 0, 0.5, 1], xlabel="cosine of δ with −y·M w*", ylabel="inputs")
        legend_above(histogram)

    def vectors(self) -> tuple[Array, Array, Array]:
        """What the three pictures show (d,): x, ``factor``·δ, x + δ."""
        x, delta = self.perturbations.x[self.sample], self.perturbations.delta[self.sample]
        return x, self.factor * delta, x + delta

    @property
    def size(self) -> float:
        """‖δ‖ in the norm of the ball."""
        order = 2 if self.perturbations.protocol.norm == "l2" else np.inf
        return float(np.linalg.norm(self.perturbations.delta[self.sample], ord=order))


def _verdict(margin: float) -> str:
    return f"{margin:+.2f} ({'right' if margin > 0 else 'wrong'})".replace("-", "−")


def reference(found: Perturbations, sample: int) -> NDArray[np.float64]:
    """The dense mixture −y·M w_star in the dictionary (D,), with the ℓ2 length of Mᵀδ (that of δ, M orthonormal)."""
    target = np.asarray(found.target, np.float64)
    length = np.linalg.norm(np.asarray(found.coefficients[sample], np.float64))
    result: NDArray[np.float64] = -float(found.y[sample]) * target * (length / np.linalg.norm(target))
    return result


@figures.register(VIEW.name, order=VIEW.order)
class PerturbationDrawer(Drawer):
    """One input with its FGM perturbation, and the perturbations of many in the dictionary (SPEC.md section 4)."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> Perturbation:
        """Perturb held-out inputs on the weights of the checkpoint; imports torch."""
        found = measure(checkpoint)
        sample = int(options["sample"]) - 1
        if sample >= len(found.y):
            raise ConfigError(f"sample: got {sample + 1}; allowed: a whole number from 1 to {len(found.y)}")
        largest = max(float(np.abs(a).max()) for a in (found.x, found.x + found.delta))
        scale = max(round_up(largest), 1e-9)
        factor = amplification(found.delta, scale) if options["factor"] == "auto" else 1
        per_input = (
            Column("input", "index", np.arange(1, found.protocol.n + 1)),
            Column("cosine", "1", found.cosine),
            Column("coordinates with 90% of the energy", "coordinates", found.coordinates90),
        )
        tables = {
            "": (
                Column("coordinate", "index", np.arange(len(found.target))),
                Column("coefficient", "input", found.coefficients[sample]),
                Column("dense mixture", "input", reference(found, sample)),
            ),
            "pixels": (
                Column("pixel", "index", np.arange(found.x.shape[1])),
                Column("x", "input", found.x[sample]),
                Column("perturbation", "input", found.delta[sample]),
                Column("sum", "input", found.x[sample] + found.delta[sample]),
            ),
            "inputs": per_input,
            "margins": (
                Column("input", "index", np.arange(1, len(found.y) + 1)),
                Column("label", "+1 or -1", found.y),
                Column("margin of x", "1", found.before),
                Column("margin of the sum", "1", found.after),
            ),
        }
        return Perturbation(
            tables=tables,
            caption=_caption(store, checkpoint, found, sample, scale, factor),
            perturbations=found, sample=sample, scale=scale, factor=factor,
        )  # fmt: skip


def measure(checkpoint: Checkpoint) -> Perturbations:
    """FGM at the radius of the run on the first held-out inputs."""
    import torch

    from engine.core.slices import finish
    from engine.data.sparse_stream import SparseCoding
    from engine.models.symmetric_relu import SymmetricRelu
    from engine.probes.perturbation import perturbations
    from engine.run.state import tensor
    from engine.theory.evaluation import HeldOut

    config, cpu = sparse_coding(checkpoint.config, "perturbation"), torch.device("cpu")
    world = SparseCoding(config.world, tensor(checkpoint, "dictionary", cpu), tensor(checkpoint, "target", cpu))
    model = SymmetricRelu(tensor(checkpoint, "weight", cpu), float(checkpoint.arrays["bias"]))
    x, y = HeldOut(world, config.seed).take(N, config.world.sigma_x)
    protocol = Measurement("fgm", config.attack.norm, config.attack.tau, 1, 1, N)
    return finish(perturbations(model, world, x, y, protocol, config.seed))


def _caption(
    store: Store, checkpoint: Checkpoint, found: Perturbations, sample: int, scale: float, factor: int
) -> str:  # fmt: skip
    D, label = len(found.target), "+1" if found.y[sample] > 0 else "−1"
    protocol = found.protocol.text().replace(", 95% Wilson interval", "")
    lines = [
        f"Held-out input {sample + 1} with label y = {label}: x, its perturbation δ (drawn × {factor}) and x + δ in "
        f"pixel space, colours from −{scale:g} to {scale:g} for all three; margin: y·f. Below: Mᵀδ, and the dense "
        f"mixture −y·w* with the same ℓ2 length (circles); cosine {found.cosine[sample]:.3f}. Histogram: cosines of δ "
        f"with −y·M w* over n = {found.protocol.n} inputs, mean {found.mean_cosine:.3f}; 90% of the energy lies in "
        f"{found.mean_coordinates90:.1f} of {D} coordinates on average.",
        f"Protocol: {protocol}; inputs that the network gets wrong are perturbed as well.",
        training(store, checkpoint),
        provenance(store, checkpoint),
    ]
    return "\n".join(lines)
