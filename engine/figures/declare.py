"""What a view is, declared once for the live view and the exported figure: options, looks, contrast, phases.

A view's :class:`ViewDeclaration` is the ``VIEW`` of its figure's file, e.g. :data:`engine.figures.robustness.VIEW`; the
window draws it with its plots, the figure with matplotlib. Importing this imports neither, and no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil, floor, log10
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import EVERY_KIND
from engine.config.objectives import objectives
from engine.core.errors import ConfigError
from engine.core.quoting import quote
from engine.figures.meaning import Meaning

# Okabe and Ito's palette, told apart by the colour-blind; a marker or a dash goes with each colour all the same.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
# Those that are too pale for thin lines on white, darker; and vermilion, brighter for dark ground.
DARK_ORANGE, DARK_GREEN, DARK_PURPLE, BRIGHT_VERMILION = "#B37A00", "#007A5A", "#A9517F", "#FF7A33"
GREY, PALE_GREY = "#5B6570", "#9AA3AD"  # on light and on dark ground

Marker = Literal["circle", "square", "diamond", "triangle-up", "triangle-down", "star", "plus", "cross"]
Dash = Literal["solid", "dashed", "dotted", "dash-dot", "dash-dot-dot", "none"]  # none: points are not joined


@dataclass(frozen=True, slots=True)
class Look:
    """How one quantity is drawn: ``light`` and ``dark`` are its colours on such a ground; figures are on light.

    ``tip`` explains it in a sentence or two.
    """

    label: str
    light: str
    dark: str
    marker: Marker = "circle"
    dash: Dash = "solid"
    tip: str = ""

    def colour(self, dark: bool) -> str:
        """The colour on this ground."""
        return self.dark if dark else self.light


@dataclass(frozen=True, slots=True)
class Option:
    """A choice that a view offers: ``choices`` are value → words; ``number`` allows a positive whole number as well.

    ``was`` is a name that the option had before and that is still understood.
    """

    name: str
    default: str
    choices: Mapping[str, str]
    doc: str
    number: bool = False
    was: str = ""

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        words = [choice for choice in self.choices if not (self.number and choice.isdecimal())]
        return ", ".join([*(["a whole number from 1"] if self.number else []), *words])

    def check(self, value: str) -> str:
        """Return ``value`` if it is allowed; else raise :class:`ConfigError` naming the option."""
        if value in self.choices or (self.number and value.isdecimal() and int(value) > 0):
            return value
        raise ConfigError(f"{self.name}: got {quote(value)}; allowed: {self.allowed}")


@dataclass(frozen=True, slots=True)
class TextOption(Option):
    """An option whose value can only be checked beside the run, as a layer's name is; ``meaning`` says what it is.

    An empty text is the default.
    """

    meaning: str = "a text"

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        return ", ".join((*self.choices, self.meaning))

    def check(self, value: str) -> str:
        """Any text."""
        return value.strip() or self.default


def switch(name: str, default: bool, doc: str) -> Option:
    """An option that is ``true`` or ``false``."""
    return Option(name, "true" if default else "false", {"true": "yes", "false": "no"}, doc)


def plain(*values: str) -> dict[str, str]:
    """Choices whose values are their own words."""
    return {value: value.replace("_", " ") for value in values}


@dataclass(frozen=True, slots=True)
class Contrast:
    """Which weight has the strongest colour: one level for all the moments that are shown beside each other.

    It is the ``quantile`` of the weights' sizes at each of ``moments``, the largest of these, rounded up to two digits
    (:meth:`level`). Within a run it only grows: if each moment had its own, a network that only shrinks would look as
    if it changed.
    """

    quantile: float
    moments: tuple[str, ...]
    rows: int = 256  # that it is taken from, evenly chosen: enough for a quantile, cheap at any width

    def sample(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of ``rows`` (n,) the quantile is taken from."""
        return rows[:: max(1, -(-len(rows) // self.rows))]

    def size(self, weights: NDArray[Any]) -> float:
        """The quantile of the sizes of ``weights`` (n, …), of which :meth:`sample` is enough; 0 if there are none."""
        if not weights.size:
            return 0.0
        flat = np.abs(weights).ravel()
        place = min(len(flat) - 1, int(self.quantile * len(flat)))
        return float(np.partition(flat, place)[place])

    def level(self, *sizes: float, before: float = 0.0) -> float:
        """The level for moments of these :meth:`size`; ``before`` is the run's level so far, below which it never goes.

        It is 0 where all weights are.
        """
        found = max(sizes, default=0.0)
        return round_up(found) if found > before else before


@dataclass(frozen=True, slots=True)
class ViewDeclaration:
    """A view: its command-line ``name``, its ``title``, the ``kinds`` of run that have it, its options and looks.

    Views are shown and listed by ``order``. ``looks`` are by the quantity's name. ``contrast`` is set where weights are
    pictures. ``file`` is the study's file that is drawn, ``metrics`` those of which one at least must be recorded:
    without them there is nothing to draw (:meth:`missing`). ``meaning`` answers “What is this?”.
    """

    name: str
    title: str
    order: int
    doc: str
    kinds: tuple[str, ...] = EVERY_KIND
    options: tuple[Option, ...] = ()
    looks: Mapping[str, Look] = field(default_factory=dict)
    contrast: Contrast | None = None
    file: str = ""
    metrics: tuple[str, ...] = ()
    meaning: Meaning | None = None

    def missing(self, folder: Path, recorded: Callable[[str], bool]) -> str:
        """Why there is nothing to draw of the run in ``folder``, in a clause; empty if there is something.

        ``recorded`` says whether a metric has any value.
        """
        if self.file and not (folder / self.file).is_file():
            return "Not measured on this run yet: the view's buttons start that"
        if self.metrics and not any(map(recorded, self.metrics)):
            return "Nothing of it is recorded yet"
        return ""

    def option(self, name: str) -> Option:
        """The option of this name."""
        return next(o for o in self.options if name in (o.name, o.was))

    def complete(self, given: Mapping[str, str]) -> dict[str, str]:
        """The view's options with defaults filled in; other names in ``given`` are left out.

        Raises :class:`ConfigError` for a value that is not allowed.
        """
        return {o.name: o.check(given.get(o.name, given.get(o.was, o.default))) for o in self.options}


# Looks that several views share: the same quantity looks alike everywhere.
ACCURACY_LOOKS = {
    "clean": Look("clean accuracy", DARK_GREEN, GREEN, "square", "dashed"),
    "robust": Look("robust accuracy", BLUE, SKY, "circle"),
}
COSINE_LOOKS = {
    "cos_start_clean": Look("(w⁰, w)", VERMILION, BRIGHT_VERMILION, "square", "dash-dot"),
    "cos_start_now": Look("(w⁰, w′)", DARK_GREEN, GREEN, "diamond", "dashed"),
    "cos_clean_now": Look("(w, w′)", BLUE, SKY, "circle"),
}
MOMENT_LOOKS = {
    "start": Look("start", GREY, PALE_GREY, "square"),
    "clean": Look("after clean training", VERMILION, BRIGHT_VERMILION, "triangle-up"),
    "now": Look("now", BLUE, SKY, "circle"),
}


KNOT_LOOK = Look(
    "schedule", GREY, PALE_GREY, "star", "none", "A point of the curve that a knob follows (schedule.knobs)."
)
KNOT_PLACE = 0.09  # of the height of a plot over steps: above the marks of changes by hand


@dataclass(frozen=True, slots=True)
class Phase:
    """How a phase of training is named and shaded: ``name`` stands before “training” or “phase”."""

    name: str
    colour: str

    @property
    def training(self) -> str:
        """E.g. ``adversarial training``."""
        return f"{self.name} training"


SHADE = 0.1  # opacity of a phase's colour behind curves
DIMMED = 0.6  # opacity of the ground over what a branch took over from its parent


def branch_words(parent: str, step: int) -> str:
    """What is written where a branch of the run called ``parent`` begins."""
    return f"branched from {parent} at step {step}"


def phase(objective: str) -> Phase:
    """The phase that trains with ``objective``."""
    found = objectives[objective]
    return Phase(found.label, found.colour)


def round_up(value: float, digits: int = 2) -> float:
    """Up to ``digits`` significant digits, so that a scale that grows does so in few steps."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (floor(log10(value)) + 1 - digits)
    return float(f"{ceil(value / unit - 1e-9) * unit:.{digits + 1}g}")


FACTORS = (1, 2, 5, 10, 20, 50, 100, 200)


def amplification(delta: NDArray[Any], room: float) -> int:
    """The largest of :data:`FACTORS` by which perturbations can be drawn without leaving ±``room``."""
    largest = float(np.abs(delta).max(initial=0.0))
    return max((f for f in FACTORS if f * largest <= room), default=1) if largest > 0 else 1


def factor_option(why: str) -> Option:
    """Whether δ is drawn enlarged; ``why`` says how the factor is found."""
    return Option("factor", "auto", {"auto": "δ enlarged", "1": "δ × 1"}, f"How δ is drawn. Enlarged: {why}")


def beside_option(what: str) -> Option:
    """Whether ``what`` of the clean net stand beside those of the net now."""
    return switch("beside", True, f"Beside them {what} of the net at the end of clean training, on one scale.")
