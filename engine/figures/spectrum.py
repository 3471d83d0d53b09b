"""Singular values of a layer's weights at each moment, and over time how many of them count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import SPARSE_CODING
from engine.core import metrics
from engine.core.history import Series
from engine.core.results import LayerInfo
from engine.core.spectra import EffectiveFeatures, Spectrum
from engine.figures.base import Column, Drawer, FigureData, Table, figures, provenance, training
from engine.figures.declare import (
    BLUE,
    DARK_GREEN,
    DARK_ORANGE,
    DARK_PURPLE,
    GREEN,
    MOMENT_LOOKS,
    ORANGE,
    PURPLE,
    SKY,
    Look,
    Option,
    ViewDeclaration,
)
from engine.figures.meaning import Meaning
from engine.figures.pictures import layer_named
from engine.figures.style import (
    DASHES,
    MARKERS,
    knob_key,
    knob_marks,
    legend_above,
    narrow,
    panels,
    time_axis,
)
from engine.figures.weights import WeightsByLayer, layer_option, weights_of
from engine.run.timeline import Span, knob_events, phases, until

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.run.snapshot import Event
    from engine.run.store import Checkpoint, Store

RANK_DOC = "Effective rank: exp of the entropy of σ/Σσ (Roy and Vetterli 2007)."
PARTICIPATION_DOC = "Participation ratio of the spectrum of W: (Σσ²)²/Σσ⁴."
FEATURES_DOC = (
    "Effective features: (Σe)²/Σe² with e_j = Σ_i C_ij² over alive neurons, C = W M; a neuron mixes "
    "(Σ_j C_ij²)²/Σ_j C_ij⁴ features (median over alive neurons)."
)
DISPUTED = (
    "Whether robust networks represent fewer features is disputed: fragility goes with features per dimension in "
    "Elhage et al. 2022 (arXiv 2209.10652), adversarial training may raise the effective number in "
    "Bereska et al. 2025 (arXiv 2512.13568)."
)
VIEW = ViewDeclaration(
    "spectrum", "Spectrum", 125, "Singular values of the weights and of what they changed by, and effective ranks.",
    options=(
        layer_option("Whose weights"),
        Option(
            "over_time", "rank", {"rank": "effective rank", "features": "effective features"},
            f"What is shown over time. {RANK_DOC} {PARTICIPATION_DOC} {FEATURES_DOC}",
        ),
    ),
    looks={
        **MOMENT_LOOKS,
        "change": Look("change since clean", DARK_PURPLE, PURPLE, "diamond", "dash-dot"),
        metrics.EFFECTIVE_RANK: Look("W", BLUE, SKY, "circle", tip=RANK_DOC),
        metrics.CHANGE_RANK: Look("W − W_clean", DARK_PURPLE, PURPLE, "diamond", "dash-dot", tip=RANK_DOC),
        metrics.PARTICIPATION: Look("directions of W", BLUE, SKY, "circle", tip=PARTICIPATION_DOC),
        metrics.REPRESENTED: Look("features", DARK_GREEN, GREEN, "square", "dashed", FEATURES_DOC),
        metrics.MIXED: Look("features in a neuron", DARK_ORANGE, ORANGE, "triangle-up", "dotted", FEATURES_DOC),
    },
    meaning=Meaning(
        drawn="The singular values of a layer's weights and of what training changed since the clean end, "
        "and over time how many directions really count.",
        formula="σ_1 ≥ σ_2 ≥ … of W and of W − W_clean; effective rank exp(−Σ p ln p) with p = σ/Σσ. The "
        "second phase: {schedule.second_steps} steps, rank limit {low_rank.rank} (0: none).",
        place="Version 4 of the paper: what adversarial training changes is of low rank; in the "
        "sparse-coding world its first direction is the dense mixture.",
        surprise="A change as flat as the weights themselves: then purification would not be a few directions.",
    ),
)  # fmt: skip
MOMENTS = ("start", "clean", "now", "change")
OVER_TIME = {
    "rank": (metrics.EFFECTIVE_RANK, metrics.CHANGE_RANK),
    "features": (metrics.PARTICIPATION, metrics.REPRESENTED, metrics.MIXED),
}
OF_DICTIONARY = (metrics.REPRESENTED, metrics.MIXED)  # not of one layer
ROUNDING = 1e-6  # of a matrix's largest singular value, float32 weights: what is below is not drawn


def metric(quantity: str, layer: str) -> str:
    """The recorded metric that a curve over time shows."""
    return quantity if quantity in OF_DICTIONARY else metrics.layer(layer, quantity)


def shown(spectrum: Spectrum) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Places from 1 and the singular values that are more than rounding."""
    values = spectrum.values
    keep = values > ROUNDING * values.max(initial=0.0)
    return np.arange(1, len(values) + 1)[keep], values[keep]


def rank_text(moment: str, spectrum: Spectrum) -> str:
    """A moment with its effective rank, e.g. ``now: eff. rank 23.4``."""
    return f"{VIEW.looks[moment].label}: eff. rank {spectrum.effective_rank:.1f}"


@dataclass(frozen=True)
class SpectrumFigure(FigureData):
    """``spectra``: moment → singular values of ``layer``; ``curves``: quantity → its values over steps."""

    layer: LayerInfo
    spectra: Mapping[str, Spectrum]
    curves: Mapping[str, Series]
    over_time: str
    spans: tuple[Span, ...]
    events: tuple[Event, ...]
    end: int

    def height(self, width: float) -> float:
        """Two panels in a row, or stacked in a narrow figure."""
        return 5.6 if narrow(width) else 2.9

    def draw(self, figure: Figure) -> None:
        """Draw the singular values and the numbers over time."""
        values, over_time = panels(figure, 2)
        self._values(values)
        self._over_time(over_time)

    def _values(self, axes: Axes) -> None:
        for moment, spectrum in self.spectra.items():
            look, (at, values) = VIEW.looks[moment], shown(spectrum)
            every = max(1, len(at) // 6)
            axes.plot(
                at, values, color=look.light, ls=DASHES[look.dash], marker=MARKERS[look.marker], markevery=every,
                label=rank_text(moment, spectrum),
            )  # fmt: skip
        axes.set(yscale="log", xlabel=f"singular value of {self.layer.name}, by size", ylabel="singular value (weight)")
        axes.yaxis.set_major_formatter(lambda x, _: f"{x:g}")  # powers would need mathematical text
        axes.yaxis.set_minor_formatter(lambda x, _: f"{x:g}" if f"{x:e}"[0] in "25" else "")
        axes.grid(axis="y", color="0.85", lw=0.5)
        axes.set_axisbelow(True)
        legend_above(axes)

    def _over_time(self, axes: Axes) -> None:
        time_axis(axes, self.spans, self.end, origin=self.origin)
        knob_marks(axes, self.events)
        top = 1.0
        for name, series in self.curves.items():
            look, every = VIEW.looks[name], max(1, len(series) // 8)
            axes.plot(
                series.steps, series.values, color=look.light, ls=DASHES[look.dash], marker=MARKERS[look.marker],
                markevery=every, label=look.label,
            )  # fmt: skip
            top = max(top, float(np.nanmax(series.values, initial=1.0)))
        axes.set(ylim=(0, 1.12 * top), ylabel=VIEW.option("over_time").choices[self.over_time])
        axes.grid(axis="y", color="0.85", lw=0.5)
        axes.set_axisbelow(True)
        if self.curves:
            legend_above(axes, names=True)
        else:
            axes.text(
                0.5, 0.5, "not recorded\nof this layer", transform=axes.transAxes, ha="center", va="center", size=7
            )


@figures.register(VIEW.name, order=VIEW.order)
class SpectrumDrawer(Drawer):
    """Singular values of the weights and of what they changed by, and effective ranks."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> SpectrumFigure:
        """Decompose the weights of the checkpoint and read what was recorded up to it; imports torch."""
        weights, over_time = weights_of(store, checkpoint), options["over_time"]
        layer = layer_named(options["layer"], weights.layers)
        spectra = _spectra(weights, layer.name)
        features = _features(checkpoint, weights)
        read = {q: until(store.series(metric(q, layer.name)), checkpoint.step) for q in OVER_TIME[over_time]}
        curves = {name: series for name, series in read.items() if len(series)}
        tables = {
            "": (
                Column("place", "index from 1", np.arange(1, len(spectra["now"].values) + 1)),
                *(Column(f"singular value {m}", "weight", s.values) for m, s in spectra.items()),
            ),
            "ranks": _ranks(spectra, features),
            "over_time": _recorded(curves),
        }
        if features:
            energies = (Column(f"energy {m}", "weight²", f.energy) for m, f in features.items())
            tables["features"] = (Column("feature", "index", np.arange(len(features["now"].energy))), *energies)
        events = knob_events(store, checkpoint)
        return SpectrumFigure(
            tables=tables, caption=_caption(store, checkpoint, layer, spectra, features, events),
            layer=layer, spectra=spectra, curves=curves, over_time=over_time, events=events, end=checkpoint.step,
            spans=phases(store, checkpoint), origin=checkpoint.config.branch,
        )  # fmt: skip


def _spectra(weights: WeightsByLayer, layer: str) -> dict[str, Spectrum]:
    from engine.probes.spectrum import spectrum

    matrices = {moment: of[layer] for moment, of in weights.of.items()}
    if "clean" in matrices:
        matrices["change"] = matrices["now"] - matrices["clean"]
    return {moment: spectrum(matrices[moment]) for moment in MOMENTS if moment in matrices}


def _features(checkpoint: Checkpoint, weights: WeightsByLayer) -> dict[str, EffectiveFeatures]:
    """By moment; none on images, whose features nobody knows."""
    if checkpoint.config.kind != SPARSE_CODING:
        return {}
    import torch

    from engine.probes.spectrum import effective_features

    dictionary = torch.tensor(checkpoint.arrays["dictionary"])
    return {m: effective_features(weights.of[m][metrics.HIDDEN], dictionary) for m in MOMENTS if m in weights.of}


def _ranks(spectra: Mapping[str, Spectrum], features: Mapping[str, EffectiveFeatures]) -> Table:
    """One line a moment."""

    def told(values: list[float]) -> NDArray[np.float64]:
        return np.array(values, np.float64)

    columns = [
        Column("moment", "name", np.array(list(spectra), np.str_)),
        Column("effective rank", "1", told([s.effective_rank for s in spectra.values()])),
        Column("participation ratio of the spectrum", "1", told([s.participation for s in spectra.values()])),
    ]
    if features:
        nan = float("nan")
        of = [features.get(moment) for moment in spectra]
        columns += [
            Column("effective features", "1", told([nan if f is None else f.represented for f in of])),
            Column("features in a neuron, median", "1", told([nan if f is None else f.per_neuron for f in of])),
        ]
    return tuple(columns)


def _recorded(curves: Mapping[str, Series]) -> Table:
    """One line a step; what was not measured then is empty."""
    steps = np.unique(np.concatenate([s.steps for s in curves.values()] or [np.empty(0, np.int64)]))
    columns = [Column("step", "steps", steps)]
    for name, series in curves.items():
        values = np.full(len(steps), np.nan)
        values[np.searchsorted(steps, series.steps)] = series.values
        columns.append(Column(name, "1", values))
    return tuple(columns)


def _caption(
    store: Store, checkpoint: Checkpoint, layer: LayerInfo, spectra: Mapping[str, Spectrum],
    features: Mapping[str, EffectiveFeatures], events: tuple[Event, ...],
) -> str:  # fmt: skip
    alone = "" if "clean" in spectra else " Clean training has not ended at this step."
    lines = [
        f"Singular values of the weights of {layer.name} (n = {layer.units} units in rows, all) at each moment, "
        f"and of the change since clean training; those below {ROUNDING:g} of a matrix's largest are left out.{alone} "
        f"Right: recorded over training. {RANK_DOC} {PARTICIPATION_DOC}",
    ]
    if features:
        now = features["now"]
        lines[0] += (
            f" {FEATURES_DOC} n = {int(now.alive.sum())} alive of {len(now.alive)} neurons now: {now.represented:.1f} "
            f"effective of {len(now.energy)} features in {layer.shape[1]} dimensions."
        )
    else:
        lines[0] += (
            " No features are known on images: directions of W stand in for them, at most as many as dimensions."
        )
    lines += [
        f"{DISPUTED}",
        "Protocol: weights as stored, singular values by a Gram matrix in float64; no attack and no data enter. "
        f"{training(store, checkpoint)} {knob_key(events)}".rstrip(),
        provenance(store, checkpoint),
    ]
    return "\n".join(lines)
