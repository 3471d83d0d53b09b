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
from engine.core.results import CleanPerturbations, Perturbations
from engine.figures.base import Array, Column, Drawer, FigureData, Table, figures, provenance, training
from engine.figures.declare import (
    BLUE,
    DARK_PURPLE,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Look,
    Option,
    ViewDeclaration,
    amplification,
    beside_option,
    factor_option,
    round_up,
)
from engine.figures.meaning import Meaning
from engine.figures.panels import as_pictures
from engine.figures.style import legend_above, narrow, signed_colours
from engine.theory.config import sparse_coding

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from engine.run.store import Checkpoint, Store

N = 1000  # held-out inputs that are perturbed
VIEW = ViewDeclaration(
    "perturbation", "Perturbation", 70,
    "One input with its FGM perturbation, and the perturbations of many in the dictionary.",
    (SPARSE_CODING,),
    options=(
        Option("sample", "1", {}, "Which of the first held-out inputs is shown.", number=True),
        factor_option("by the round factor in its title, as far as the common colours allow."),
        beside_option("the perturbations"),
    ),
    looks={
        "delta": Look("Mᵀδ", BLUE, SKY),
        "dense": Look("−y·w*, same length", VERMILION, ORANGE),
        "clean": Look("Mᵀδ of the clean net", DARK_PURPLE, PURPLE, "triangle-up", "dashed"),
    },
    meaning=Meaning(
        drawn="One input, what the attack adds to it, and their sum; below, the perturbations of many "
        "inputs written in the dictionary.",
        formula="δ = τ·g/‖g‖ (ℓ∞: τ·sign g), g the gradient of the loss at x; τ = {attack.tau} ({attack.norm}). In the "
        "dictionary Mᵀδ has {world.d} coordinates; an input itself uses about k = {world.k}. The "
        "dense direction is −y·w*.",
        place="Section 4: the perturbation of the clean network is the dense mixture −y·M w*, the same for "
        "all inputs of a class.",
        surprise="A perturbation of the clean network that is sparse or looks like the input's own features: "
        "then it is fragile for another reason.",
    ),
)  # fmt: skip
BINS = np.linspace(-1, 1, 41)


@dataclass(frozen=True)
class Perturbation(FigureData):
    """``anatomy`` with the input ``sample`` (from 0); δ is drawn ``factor`` times, all colours end at ``scale``.

    ``clean`` stands beside it, if it is not None.
    """

    perturbations: Perturbations
    clean: CleanPerturbations | None
    sample: int
    scale: float
    factor: int

    def height(self, width: float) -> float:
        """Pictures above, plots below; stacked in a narrow figure, where each net has a row of pictures of its own."""
        if narrow(width):
            return 4.9 if self.clean is None else 6.1
        return 4.0

    def draw(self, figure: Figure) -> None:
        """Draw the pictures with one scale, the coefficients, and the cosines."""
        figure.set_layout_engine("constrained", w_pad=0.04, h_pad=0.04)
        small = narrow(figure.get_figwidth())
        ratios = (1.5 if self.clean is None else 2.7, 3.4) if small else (2, 2)
        upper, lower = figure.subfigures(2, 1, height_ratios=ratios, squeeze=False).ravel()
        self._pictures(upper, small)
        self._plots(lower, small)

    def _pictures(self, figure: SubFigure, small: bool) -> None:
        x, *rest = self.vectors()
        named = list(zip(self._titles(), rest, strict=True))
        first = (f"x\n(y = {'+1' if self.perturbations.y[self.sample] > 0 else '−1'})", x)
        if small and self.clean is not None:
            panels = figure.subplots(2, 3)
            rows = [[first, *named[:2]], [first, *named[2:]]]
        else:
            panels = figure.subplots(1, 1 + len(named), squeeze=False)
            rows = [[first, *named]]
        for axes, (title, vector) in zip(panels.ravel(), [each for row in rows for each in row], strict=True):
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

    def _titles(self) -> list[str]:
        """Above δ and x + δ, the clean net's first."""
        nets = [("now", self.perturbations)]
        if self.clean is not None:
            nets.insert(0, ("clean net", self.clean.perturbations))
        titles = []
        for name, found in nets:
            sign, i = NORM_SIGN[found.protocol.norm], self.sample
            titles.append(f"{name}: δ × {self.factor}\n({sign} norm {size(found, i):.3g})")
            titles.append(f"x + δ, margin\n{_change(found, i)}")
        return titles

    def _plots(self, figure: SubFigure, small: bool) -> None:
        found, i = self.perturbations, self.sample
        stems, histogram = figure.subplots(*((2, 1) if small else (1, 2)), width_ratios=None if small else (3, 2))
        at = np.arange(len(found.target))
        delta, dense, other = VIEW.looks["delta"], VIEW.looks["dense"], VIEW.looks["clean"]
        label = f"{delta.label}, cosine {found.cosine[i]:.2f}"
        stems.vlines(at, 0, found.coefficients[i], color=delta.light, lw=1.2, label=label)
        stems.plot(at, reference(found, i), "o", mfc="none", mec=dense.light, ms=2.5, mew=0.6, label=dense.label)
        if self.clean is not None:
            clean = self.clean.perturbations
            label = f"{other.label}, cosine {clean.cosine[i]:.2f}"
            stems.plot(at, clean.coefficients[i], "^", color=other.light, ms=2, label=label)
        stems.axhline(0, color="0.6", lw=0.5)
        stems.set(xlabel="feature (dictionary coordinate)", ylabel="coefficient", xlim=(-0.5, len(at) - 0.5))
        legend_above(stems)
        n, mean = found.protocol.n, found.mean_cosine
        cosines = np.clip(found.cosine, -1, 1)
        histogram.hist(cosines, BINS.tolist(), color=delta.light, alpha=0.6, label=f"n = {n} inputs")
        histogram.axvline(mean, color="0.2", lw=0.9, ls=(0, (4, 1.5)), label=f"mean {mean:.3f}")
        if self.clean is not None:
            clean = self.clean.perturbations
            label = f"clean net, mean {clean.mean_cosine:.3f}"
            edges = np.clip(clean.cosine, -1, 1)
            histogram.hist(edges, BINS.tolist(), histtype="step", color=other.light, lw=1, label=label)
        histogram.set(xlim=(-1, 1), xticks=[-1, -0.5, 0, 0.5, 1], xlabel="cosine of δ with −y·M w*", ylabel="inputs")
        legend_above(histogram)

    def vectors(self) -> list[Array]:
        """What the pictures show, each (d,): x, then ``factor``·δ and x + δ of each net, the clean one's first."""
        nets = [self.perturbations] if self.clean is None else [self.clean.perturbations, self.perturbations]
        x = self.perturbations.x[self.sample]
        deltas = [found.delta[self.sample] for found in nets]
        return [x, *(each for delta in deltas for each in (self.factor * delta, x + delta))]


def size(found: Perturbations, sample: int) -> float:
    """‖δ‖ in the norm of the ball."""
    return float(np.linalg.norm(found.delta[sample], ord=2 if found.protocol.norm == "l2" else np.inf))


def shared_scale(found: Perturbations, clean: CleanPerturbations | None = None) -> float:
    """One end of the colours for all the inputs, before and after, of both nets."""
    nets = (found,) if clean is None else (found, clean.perturbations)
    shown = [np.abs(a).max(initial=0.0) for each in nets for a in (each.x, each.x + each.delta)]
    return max(round_up(float(max(shown))), 1e-9)


def shared_factor(found: Perturbations, clean: CleanPerturbations | None, scale: float) -> int:
    """By how much the δ of both nets are drawn larger, within one ``scale``."""
    deltas = [found.delta] if clean is None else [found.delta, clean.perturbations.delta]
    return amplification(np.concatenate(deltas), scale)


def _change(found: Perturbations, sample: int) -> str:
    """The margin before and after, and what it means, in two lines: ``+0.80 → −0.21``, ``(wrong)``."""
    before, after = (f"{margins[sample]:+.2f}".replace("-", "−") for margins in (found.before, found.after))
    return f"{before} → {after}\n({'right' if found.after[sample] > 0 else 'wrong'})"


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
        found, clean = measure(checkpoint, beside=options["beside"] == "true")
        sample = int(options["sample"]) - 1
        if sample >= len(found.y):
            raise ConfigError(f"sample: got {sample + 1}; allowed: a whole number from 1 to {len(found.y)}")
        scale = shared_scale(found, clean)
        factor = shared_factor(found, clean, scale) if options["factor"] == "auto" else 1
        return Perturbation(
            tables=_tables(found, clean, sample),
            caption=_caption(store, checkpoint, found, clean, sample, scale, factor),
            perturbations=found, clean=clean, sample=sample, scale=scale, factor=factor,
        )  # fmt: skip


def _tables(found: Perturbations, clean: CleanPerturbations | None, sample: int) -> dict[str, Table]:
    """The input ``sample`` in the dictionary and in pixels, and all inputs; columns of the clean net come last."""
    tables: dict[str, Table] = {
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
        "inputs": (
            Column("input", "index", np.arange(1, found.protocol.n + 1)),
            Column("cosine", "1", found.cosine),
            Column("coordinates with 90% of the energy", "coordinates", found.coordinates90),
        ),
        "margins": (
            Column("input", "index", np.arange(1, len(found.y) + 1)),
            Column("label", "+1 or -1", found.y),
            Column("margin of x", "1", found.before),
            Column("margin of the sum", "1", found.after),
        ),
    }
    if clean is None:
        return tables
    of = clean.perturbations
    tables[""] += (Column("coefficient of the clean net", "input", of.coefficients[sample]),)
    tables["pixels"] += (
        Column("perturbation of the clean net", "input", of.delta[sample]),
        Column("sum of the clean net", "input", of.x[sample] + of.delta[sample]),
    )
    tables["inputs"] += (
        Column("cosine of the clean net", "1", of.cosine),
        Column("coordinates of the clean net with 90% of the energy", "coordinates", of.coordinates90),
        Column("cosine between both perturbations", "1", clean.between),
    )
    tables["margins"] += (
        Column("margin of x on the clean net", "1", of.before),
        Column("margin of the sum on the clean net", "1", of.after),
    )
    return tables


def measure(checkpoint: Checkpoint, *, beside: bool = True) -> tuple[Perturbations, CleanPerturbations | None]:
    """FGM at the radius of the run on the first held-out inputs, and ``beside`` it that of the clean net, if there is.

    Imports torch.
    """
    import torch

    from engine.core.slices import finish
    from engine.data.sparse_stream import SparseCoding
    from engine.models.symmetric_relu import SymmetricRelu
    from engine.probes import perturbation
    from engine.run.state import tensor
    from engine.theory.evaluation import HeldOut
    from engine.theory.state import clean_bias, clean_step

    config, cpu = sparse_coding(checkpoint.config, "perturbation"), torch.device("cpu")
    world = SparseCoding(config.world, tensor(checkpoint, "dictionary", cpu), tensor(checkpoint, "target", cpu))
    x, y = HeldOut(world, config.seed).take(N, config.world.sigma_x)
    protocol = Measurement("fgm", config.attack.norm, config.attack.tau, 1, 1, N)

    def of(weight: str, bias: float) -> tuple[torch.Tensor, Perturbations]:
        model = SymmetricRelu(tensor(checkpoint, weight, cpu), bias)
        delta = finish(perturbation.perturb(model, world, x, y, protocol, config.seed))
        return delta, perturbation.anatomy(model, world, x, y, delta, protocol)

    delta, found = of("weight", float(checkpoint.arrays["bias"]))
    bias = clean_bias(checkpoint)
    if not beside or bias is None:
        return found, None
    before, clean = of("weight_clean", bias)
    return found, perturbation.beside(clean_step(checkpoint), clean, before, delta)


def _caption(
    store: Store, checkpoint: Checkpoint, found: Perturbations, clean: CleanPerturbations | None, sample: int,
    scale: float, factor: int,
) -> str:  # fmt: skip
    D, label = len(found.target), "+1" if found.y[sample] > 0 else "−1"
    protocol = found.protocol.text().replace(", 95% Wilson interval", "")
    lines = [
        f"Held-out input {sample + 1} with label y = {label}: x, its perturbation δ (drawn × {factor}) and x + δ in "
        f"pixel space, colours from −{scale:g} to {scale:g} for all; margin: y·f, for x → for x + δ. Below: Mᵀδ, and "
        f"the dense mixture −y·w* with the same ℓ2 length (circles); cosine {found.cosine[sample]:.3f}. Histogram: "
        f"cosines of δ with −y·M w* over n = {found.protocol.n} inputs, mean {found.mean_cosine:.3f}; 90% of the "
        f"energy lies in {found.mean_coordinates90:.1f} of {D} coordinates on average.",
        f"Protocol: {protocol}; inputs that the network gets wrong are perturbed as well.",
        training(store, checkpoint),
        provenance(store, checkpoint),
    ]
    if clean is not None:
        of, n = clean.perturbations, found.protocol.n
        text = (
            f"Beside it the net at the end of clean training (step {clean.step}, with its own bias), perturbed in the "
            f"same way on the same inputs (triangles, outline): cosine {of.cosine[sample]:.3f}, mean "
            f"{of.mean_cosine:.3f}, 90% of the energy in {of.mean_coordinates90:.1f} coordinates; cosine between both "
            f"perturbations {clean.between[sample]:.3f}, mean over the {n} inputs {clean.mean_between:.3f}."
        )
        lines.insert(1, text)
    return "\n".join(lines)
