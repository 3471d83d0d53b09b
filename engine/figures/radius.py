"""Accuracy against the radius of the ball, bounded from both sides: attack above, certificate below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import IMAGES, SPARSE_CODING
from engine.core.errors import ConfigError
from engine.core.labels import MODELS
from engine.core.measurement import NORM_SIGN, Measurement, wilson
from engine.figures.base import Column, Drawer, FigureData, figures, provenance, training
from engine.figures.declare import (
    BLUE,
    BRIGHT_VERMILION,
    DARK_GREEN,
    GREEN,
    SKY,
    VERMILION,
    Look,
    Option,
    ViewDeclaration,
    switch,
)
from engine.figures.meaning import Meaning
from engine.figures.pictures import AFTER_CLEAN, network_of
from engine.figures.style import DASHES, MARKERS, narrow, unit_axis
from engine.theory.config import sparse_coding

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.models.symmetric_relu import SymmetricRelu
    from engine.run.store import Checkpoint, Store

LARGEST = 20_000  # held-out samples
STEPS, RESTARTS = 20, 2  # of PGD, at every radius
IMAGE_STEPS = 10  # the same for networks on images, whose gradients cost more; one restart
VIEW = ViewDeclaration(
    "radius", "Radius", 60,
    "Accuracy against the radius, now and after clean training: PGD above, certificate below.",
    options=(
        Option("n", "500", {}, "Held-out samples.", number=True),
        switch("clean", True, "Also show the weights after clean training."),
        switch("intervals", True, "Draw the 95% Wilson intervals."),
    ),
    looks={  # from above, from below
        "pgd": Look("now, under attack", BLUE, SKY, "triangle-down"),
        "certified": Look("now, certified", BLUE, SKY, "triangle-up", "dashed"),
        "pgd_clean": Look("after clean training, under attack", VERMILION, BRIGHT_VERMILION, "triangle-down"),
        "certified_clean": Look(
            "after clean training, certified", VERMILION, BRIGHT_VERMILION, "triangle-up", "dashed"
        ),
        "oracle": Look(MODELS["oracle"], DARK_GREEN, GREEN, "diamond", "dash-dot"),
    },
    meaning=Meaning(
        drawn="How many answers stay right as the perturbation may grow: under attack, which bounds from "
        "above, and certified, which bounds from below. The truth lies between.",
        formula={
            SPARSE_CODING: (
                "For each radius r from 0 past τ = {attack.tau} ({attack.norm}): share right under "
                "PGD with ‖δ‖ ≤ r, and share for which no δ with ‖δ‖₂ ≤ r can change the answer, by a "
                "quadratic lower bound of y·f(x+δ) over m = {model.m} neurons."
            ),
            IMAGES: (
                "For each radius r from 0 past τ = {attack.tau} ({attack.norm}): share right under "
                "PGD with ‖δ‖ ≤ r, x + δ kept in [0, 1]. For these networks there is no certificate."
            ),
        },
        place="Abstract, result (2): robust against ANY perturbation of the radius, not only those that "
        "were trained on.",
        surprise="A curve that rises with the radius, or certified above attacked: one of the measurements "
        "would be wrong.",
    ),
)  # fmt: skip
CACHE: dict[str, Any] = {}  # the ideal network's figures by all that decides them: many figures share one world


@dataclass(frozen=True)
class Bound:
    """One curve: ``values``, ``low``, ``high`` (k,), and how each radius was measured."""

    name: str
    label: str
    values: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    protocols: tuple[Measurement, ...]


@dataclass(frozen=True)
class Radius(FigureData):
    """The curves at ``radii`` (k,); those named ``…_clean`` are missing before the clean phase has ended."""

    radii: NDArray[np.float64]
    curves: tuple[Bound, ...]
    tau: float
    norm: str
    intervals: bool

    def height(self, width: float) -> float:
        """A stacked legend needs more."""
        return 2.5 + 0.16 * (len(self.curves) if narrow(width) else (len(self.curves) + 1) // 2)

    def draw(self, figure: Figure) -> None:
        """Draw the curves, the areas between bounds where there are both, and the radius of the run."""
        figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
        axes = figure.subplots()
        found = {c.name: c for c in self.curves}
        for suffix in ("_clean", ""):
            if "certified" + suffix in found:
                above, below = found["pgd" + suffix], found["certified" + suffix]
                colour = VIEW.looks[above.name].light
                axes.fill_between(self.radii, below.values, above.values, color=colour, alpha=0.18, lw=0)
        for curve in self.curves:
            self._curve(axes, curve)
        axes.axvline(self.tau, color="0.35", lw=0.8, ls=(0, (1, 1.5)), zorder=1)
        axes.text(
            self.tau, 0.99, f" tau = {self.tau:g}", transform=axes.get_xaxis_transform(), va="top", size=7,
            ha="left" if self.tau < 0.8 * self._end else "right",
        )  # fmt: skip
        unit_axis(axes, "accuracy")
        axes.set(
            xlim=(0, 1.02 * self._end), xlabel=f"radius of the ball around the input ({NORM_SIGN[self.norm]} norm)"
        )
        handles, labels = axes.get_legend_handles_labels()
        columns = 1 if narrow(figure.get_figwidth()) else 2
        figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=3.2)

    @property
    def _end(self) -> float:
        return float(self.radii.max(initial=0.0)) or 1.0

    def _curve(self, axes: Axes, curve: Bound) -> None:
        look = VIEW.looks[curve.name]
        axes.plot(
            self.radii, curve.values, color=look.light, ls=DASHES[look.dash], marker=MARKERS[look.marker],
            label=curve.label, clip_on=False,
        )  # fmt: skip
        if self.intervals:
            errors = np.maximum(np.stack([curve.values - curve.low, curve.high - curve.values]), 0)
            axes.errorbar(
                self.radii, curve.values, errors, fmt="none", ecolor=look.light, elinewidth=0.7, clip_on=False
            )


@figures.register(VIEW.name, order=VIEW.order)
class RadiusDrawer(Drawer):
    """Accuracy against the radius, now and after clean training: PGD above, certificate below (SPEC.md section 5).

    Networks on images have neither a certificate nor an ideal network beside them: there it is PGD alone.
    """

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> Radius:
        """Attack the weights of the checkpoint at every radius, and certify them if that can be; imports torch."""
        from engine.probes.radius import POINTS, REACH

        attack, n = checkpoint.config.attack, int(options["n"])
        if n > LARGEST:
            raise ConfigError(f"n: got {n}; allowed: a whole number from 1 to {LARGEST}")
        radii, clean = np.linspace(0.0, REACH * attack.tau, POINTS), options["clean"] == "true"
        if checkpoint.config.kind == IMAGES:
            curves = measure_images(store, checkpoint, radii, n, clean=clean)
        else:
            curves = measure(checkpoint, radii, n, clean=clean)
        columns = [Column("radius", f"{NORM_SIGN[attack.norm]} norm", radii)]
        for c in curves:
            columns += [
                Column(c.name, "1", c.values),
                Column(f"{c.name} low", "1", c.low),
                Column(f"{c.name} high", "1", c.high),
                Column(f"{c.name} n", "samples", np.array([p.n for p in c.protocols], np.int64)),
            ]
        return Radius(
            tables={"": tuple(columns)}, caption=_caption(store, checkpoint, radii, curves),
            radii=radii, curves=curves, tau=attack.tau, norm=attack.norm, intervals=options["intervals"] == "true",
        )  # fmt: skip


def measure(checkpoint: Checkpoint, radii: NDArray[np.float64], n: int, *, clean: bool) -> tuple[Bound, ...]:
    """Both bounds at every radius for the checkpoint's weights and those after clean training, and the ceiling."""
    import torch

    from engine.core.slices import finish
    from engine.data.sparse_stream import SparseCoding
    from engine.models.symmetric_relu import SymmetricRelu
    from engine.probes import oracle
    from engine.run.state import tensor
    from engine.theory.evaluation import HeldOut
    from engine.theory.state import clean_bias, clean_step

    config, cpu = sparse_coding(checkpoint.config, "radius"), torch.device("cpu")
    world = SparseCoding(config.world, tensor(checkpoint, "dictionary", cpu), tensor(checkpoint, "target", cpu))
    x, y = HeldOut(world, config.seed).take(n, config.world.sigma_x)
    protocols = tuple(Measurement("pgd", config.attack.norm, float(r), STEPS, RESTARTS, n) for r in radii)
    model = SymmetricRelu(tensor(checkpoint, "weight", cpu), float(checkpoint.arrays["bias"]))
    found = _both(model, x, y, protocols, config.seed, "", f"step {checkpoint.step}")
    bias = clean_bias(checkpoint)
    if clean and bias is not None:
        step = clean_step(checkpoint)
        before = SymmetricRelu(tensor(checkpoint, "weight_clean", cpu), bias)
        found += _both(before, x, y, protocols, config.seed, "_clean", f"after clean training, step {step}")
    ceilings = finish(oracle.measure(world, config.seed, x, y, protocols, CACHE))
    return (*found, _bound("oracle", f"ideal network, {_attack(protocols[0])}", [c.measured for c in ceilings]))


def measure_images(
    store: Store, checkpoint: Checkpoint, radii: NDArray[np.float64], n: int, *, clean: bool
) -> tuple[Bound, ...]:  # fmt: skip
    """The same of a network on images, of which there is only the upper bound; n or as many images as there are."""
    from engine.data.images import BOX
    from engine.probes.layers import chunk_of

    network, config = network_of(store, checkpoint), checkpoint.config
    x, y = network.held_out(n)
    protocols = tuple(Measurement("pgd", config.attack.norm, float(r), IMAGE_STEPS, 1, len(y)) for r in radii)
    named = {"": ("now", f"step {checkpoint.step}")}
    if clean and network.has_clean:
        named["_clean"] = ("clean", f"{AFTER_CLEAN}, step {checkpoint.state['clean_step']}")
    found = []
    for suffix, (moment, when) in named.items():
        model = network.classifier(moment)  # type: ignore[arg-type]
        upper = _under_attack(model, x, y, protocols, config.seed, box=BOX, chunk=chunk_of(x.shape))
        found.append(_bound("pgd" + suffix, f"{when}: {_attack(protocols[0])}", upper))
    return tuple(found)


def _both(
    model: SymmetricRelu, x: Any, y: Any, protocols: Sequence[Measurement], seed: int, suffix: str, when: str
) -> list[Bound]:
    from engine.core.slices import finish
    from engine.probes import certificate

    upper = _under_attack(model, x, y, protocols, seed)
    radii, norm, n = [p.tau for p in protocols], protocols[0].norm, protocols[0].n
    lower = finish(certificate.certified(model.weight, model.bias, x, y, radii, norm))
    return [
        _bound("pgd" + suffix, f"{when}: {_attack(protocols[0])}", upper),
        _bound("certified" + suffix, f"{when}: certified, n = {n}", lower),
    ]


def _under_attack(
    model: Any, x: Any, y: Any, protocols: Sequence[Measurement], seed: int, **how: Any
) -> list[Any]:  # fmt: skip
    """:func:`engine.probes.robustness.accuracy` by each protocol, ``how`` passed on to it."""
    from engine.core.generators import seeded
    from engine.core.slices import finish
    from engine.probes import robustness

    upper = []
    for protocol in protocols:
        generator = seeded(seed, f"radius {protocol.tau}", x.device)
        upper.append(finish(robustness.accuracy(model, x, y, protocol, None, generator, **how)))
    return upper


def _attack(protocol: Measurement) -> str:
    return f"PGD-{protocol.steps}×{protocol.restarts}, n = {protocol.n}"


def _bound(name: str, label: str, measured: Sequence[Any]) -> Bound:
    bounds = np.array([wilson(m.right, m.protocol.n) for m in measured])
    values = np.array([m.accuracy for m in measured])
    return Bound(name, label, values, bounds[:, 0], bounds[:, 1], tuple(m.protocol for m in measured))


def _caption(store: Store, checkpoint: Checkpoint, radii: NDArray[np.float64], curves: tuple[Bound, ...]) -> str:
    named = {c.name: c.protocols[-1] for c in curves}
    span = f"radii 0 to {radii[-1]:.3g}"

    def words(name: str) -> str:
        protocol = named[name]
        return protocol.text().replace(f"radius {protocol.tau:g}", span)

    shown = (
        "Accuracy on held-out samples against the radius of the ball: under PGD (▼, solid: an upper bound of robust "
    )
    if "certified" in named:
        shown += (
            "accuracy) and certified (▲, dashed: a lower bound, whatever the attack); the area between them is filled. "
            "The line with diamonds is the ideal network under the same attack, its b chosen anew for each "
            "radius on another sample"
        )
    else:
        shown += "accuracy); there is no certificate for this network"
    before = "" if "pgd_clean" in named else " The clean phase had not ended, or its weights were left out."
    certificate = [f"Protocol, certificate: {words('certified')}."] if "certified" in named else []
    return "\n".join(
        [
            f"{shown}; the vertical line is tau = {checkpoint.config.attack.tau:g} of this run.{before}",
            f"Protocol, attack: {words('pgd')}.",
            *certificate,
            training(store, checkpoint),
            provenance(store, checkpoint),
        ]
    )
