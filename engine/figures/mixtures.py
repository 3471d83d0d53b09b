"""How pure the neurons are: pure against mixture magnitude, distribution over time, dense alignment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import SPARSE_CODING
from engine.core import metrics
from engine.core.results import Mixture
from engine.figures.base import (
    Column,
    Drawer,
    FigureData,
    alive_rule,
    figures,
    knot_key,
    knot_tables,
    measure,
    neuron_table,
    provenance,
    scheduled,
    training,
)
from engine.figures.declare import MOMENT_LOOKS, Option, ViewDeclaration, switch
from engine.figures.meaning import Meaning
from engine.figures.style import (
    MARKERS,
    diagonal,
    knob_key,
    knob_marks,
    knot_marks,
    legend_above,
    narrow,
    panels,
    time_axis,
    unit_axis,
)
from engine.run.timeline import Span, knob_events, phases, until

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from engine.run.snapshot import Event
    from engine.run.store import Checkpoint, Store
    from engine.run.timeline import Knot

VIEW = ViewDeclaration(
    "mixtures", "Mixtures", 20, "Pure and mixed parts of the neurons in the dictionary.",
    (SPARSE_CODING,),
    options=(
        Option(
            "quantity", "purity",
            {
                "purity": "purity  |C_ij|/‖C_i‖",
                "pure": "pure magnitude  |C_ij|",
                "magnitude": "mixture magnitude  ‖v_i‖",
                "relative": "relative mixture  ‖v_i‖/‖C_i‖",
                "dense_alignment": "dense alignment  |⟨v_i,w*⟩|/(‖w*‖·‖C_i‖)",
                "dense_share": "dense share of the mixture  |⟨v_i,w*⟩|/(‖w*‖·‖v_i‖)",
            },
            "What is shown over time, over alive neurons.",
        ),
        switch("clean", True, "Also show where the neurons were after clean training."),
    ),
    looks=MOMENT_LOOKS,
    meaning=Meaning(
        drawn="Each point is one neuron: to the right how strong its one largest feature is, upwards all "
        "that is mixed into it. Below, the same over training, as median and the middle 80% of "
        "neurons.",
        formula="C = W M; j(i) = argmax_j |C_ij|; pure magnitude |C_i,j(i)|, mixture ‖v_i‖ with v_i = C_i "
        "without j(i), over the alive of m = {model.m} neurons in d = {world.d} dimensions (‖w_i‖ "
        "above 0.3 of the largest).",
        place="Abstract and section 4: the accumulation of small dense mixtures. “Small” means below the "
        "diagonal; of the presets, theorem and theorem-simple are in that regime.",
        surprise="Points that stay above the diagonal after adversarial training, or a median mixture that "
        "rises in it.",
    ),
)  # fmt: skip
UNBOUNDED = ("pure", "magnitude")  # in weight units; the others lie in 0..1


def quantity_name(quantity: str) -> str:
    """A quantity without its formula, e.g. ``mixture magnitude``."""
    return VIEW.option("quantity").choices[quantity].partition("  ")[0]


@dataclass(frozen=True)
class Mixtures(FigureData):
    """Per-neuron records at the checkpoint (and after clean training), and one quantity's quantiles over time.

    ``over_time`` rows are median, 10% and 90% quantile (3, t) at ``steps`` (t,).
    """

    quantity: str
    now: Mixture
    clean: Mixture | None
    now_name: str
    steps: NDArray[np.int64]
    over_time: NDArray[np.float64]
    spans: tuple[Span, ...]
    events: tuple[Event, ...]
    knots: tuple[Knot, ...]
    end: int

    def height(self, width: float) -> float:
        """Three panels in a row, or stacked in a narrow figure."""
        return 6.6 if narrow(width) else 2.55

    def draw(self, figure: Figure) -> None:
        """Draw scatter, distribution over time and histogram."""
        scatter, over_time, histogram = panels(figure, 3)
        self._scatter(scatter)
        self._over_time(over_time)
        self._histogram(histogram)

    def _scatter(self, axes: Axes) -> None:
        largest = 0.0
        for found, name, colour, marker in self._moments():
            x, y = found.pure[found.alive], found.mixture[found.alive]
            filled = (
                {"c": colour, "linewidths": 0} if found is self.now else {"facecolors": "none", "edgecolors": colour}
            )
            label = f"{name}, n = {len(x)}"
            axes.scatter(x, y, s=9, marker=marker, alpha=0.75, label=label, rasterized=len(x) > 3000, **filled)
            largest = max(largest, float(x.max(initial=0)), float(y.max(initial=0)))
        diagonal(axes, largest, "pure magnitude |C|", "mixture magnitude ‖v‖")

    def _over_time(self, axes: Axes) -> None:
        time_axis(axes, self.spans, self.end, origin=self.origin)
        knob_marks(axes, self.events)
        knot_marks(axes, self.knots, self.end)
        median, low, high = self.over_time
        colour = VIEW.looks["now"].light
        axes.fill_between(self.steps, low, high, color=colour, alpha=0.22, lw=0, label="10–90%")
        marker = "o" if len(self.steps) < 2 else None
        axes.plot(self.steps, median, color=colour, marker=marker, label="median of alive neurons")
        if self.quantity in UNBOUNDED:
            axes.set(ylim=(0, 1.12 * float(np.nanmax(high, initial=0)) or 1), ylabel=quantity_name(self.quantity))
        else:
            unit_axis(axes, quantity_name(self.quantity))
        legend_above(axes, names=True)

    def _histogram(self, axes: Axes) -> None:
        records = [found.dense_alignment[found.alive] for found, *_ in self._moments()]
        top = max(float(np.ceil(10 * max((r.max(initial=0) for r in records), default=0)) / 10), 0.1)
        bins = np.linspace(0, top, 31).tolist()
        for (found, name, colour, _), values in zip(self._moments(), records, strict=True):
            label = f"{name}, n = {len(values)}"
            if found is self.now:
                axes.hist(values, bins, color=colour, alpha=0.6, label=label)
            else:
                axes.hist(values, bins, histtype="step", color=colour, lw=1.1, ls=(0, (3, 1)), label=label)
        axes.set(xlim=(0, top), xlabel="dense alignment", ylabel="alive neurons")
        legend_above(axes)

    def _moments(self) -> list[tuple[Mixture, str, str, str]]:
        """Record, name, colour and marker of each moment, the older one first."""
        found = [(self.clean, "after clean", "clean")] if self.clean is not None else []
        looks = [(record, name, VIEW.looks[key]) for record, name, key in (*found, (self.now, self.now_name, "now"))]
        return [(record, name, look.light, MARKERS[look.marker]) for record, name, look in looks]


@figures.register(VIEW.name, order=VIEW.order)
class MixturesDrawer(Drawer):
    """Pure and mixed parts of the neurons in the dictionary (SPEC.md section 4)."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> Mixtures:
        """Measure the neurons at the checkpoint and read the quantiles recorded up to it."""
        arrays, quantity = checkpoint.arrays, options["quantity"]
        now = measure(arrays["weight"], arrays["dictionary"], arrays["target"])
        clean = None
        if "weight_clean" in arrays and options["clean"] == "true":
            clean = measure(arrays["weight_clean"], arrays["dictionary"], arrays["target"])
        series = {
            s: until(store.series(metrics.mixture(quantity, s)), checkpoint.step) for s in ("median", "q10", "q90")
        }
        steps = series["median"].steps
        over_time = np.stack([s.values for s in series.values()])
        counts = until(store.series(metrics.ALIVE), checkpoint.step)
        recorded: Mapping[int, float] = dict(zip(counts.steps.tolist(), counts.values.tolist(), strict=True))
        alive = np.array([recorded.get(s, np.nan) for s in steps.tolist()])
        events, knots = knob_events(store, checkpoint), scheduled(store, checkpoint)
        unit = "weight" if quantity in UNBOUNDED else "1"
        tables = {
            "": neuron_table(np.arange(len(now.norm)), now),
            "over_time": (
                Column("step", "steps", steps),
                *(Column(f"{quantity_name(quantity)} {s}", unit, v) for s, v in zip(series, over_time, strict=True)),
                Column("alive", "neurons", alive, whole=True),
            ),
        }
        if clean is not None:
            tables["after_clean"] = neuron_table(np.arange(len(clean.norm)), clean)
        return Mixtures(
            tables=tables | knot_tables(knots),
            caption=self._caption(store, checkpoint, quantity, now, clean, events, knots),
            quantity=quantity, now=now, clean=clean, now_name=f"now (step {checkpoint.step})",
            steps=steps, over_time=over_time, events=events, knots=knots, end=checkpoint.step,
            spans=phases(store, checkpoint), origin=checkpoint.config.branch,
        )  # fmt: skip

    @staticmethod
    def _caption(
        store: Store, checkpoint: Checkpoint, quantity: str, now: Mixture, clean: Mixture | None,
        events: tuple[Event, ...], knots: tuple[Knot, ...],
    ) -> str:  # fmt: skip
        m = len(now.alive)
        count = f"n = {int(now.alive.sum())} alive of m = {m} neurons now"
        if clean is not None:
            count += f", n = {int(clean.alive.sum())} after clean training (triangles, dashed outline)"
        how = " ".join(filter(None, (training(store, checkpoint), knot_key(knots), knob_key(events))))
        lines = [
            "Pure magnitude |C_ij(i)| against mixture magnitude ‖v_i‖ of each alive neuron, C = W M; "
            f"{quantity_name(quantity)} over training (median and 10–90% band over the neurons alive at each step); "
            f"histogram of the dense alignment |⟨v_i, w*⟩|/(‖w*‖‖C_i‖). {count}; {alive_rule()}.",
            f"Protocol: computed from the weights and the dictionary, no attack and no data enter. {how}",
            provenance(store, checkpoint),
        ]
        return "\n".join(lines)
