"""Where the runs of a sweep stand in its figure: which knob lies along which axis, and what stands apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from engine.compare.sweeps.declare import ALL, AUTO, MOST_QUANTITIES, SweptQuantity, quantity_of
from engine.config.curves import PREFIX
from engine.config.experiment import knobs
from engine.core.errors import ConfigError
from engine.core.quoting import quote
from engine.sweeps.record import Sweep, Value, text_of
from engine.sweeps.results import SweepResults, SweepRow

Kind = Literal["curves", "heatmap", "steps"]
Scale = Literal["linear", "log", "named"]
DECADES = 10.0  # a knob whose values span as much has a logarithmic axis


@dataclass(frozen=True)
class KnobAxis:
    """A swept knob along an axis: its ``values`` in their order along it, and what is written at each.

    ``scale`` is ``named`` where the values are no numbers, or have none to be spread by: they stand side by side.
    """

    path: str
    label: str
    values: tuple[Value, ...]
    scale: Scale

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as they are typed; the curves of a knob by number."""
        return tuple(
            f"curve {i + 1}" if isinstance(value, list | tuple) else text_of(value)
            for i, value in enumerate(self.values)
        )

    @property
    def x(self) -> NDArray[np.float64]:
        """Where along the axis each value stands (n,): the value, or its place."""
        if self.scale == "named":
            return np.arange(len(self.values), dtype=np.float64)
        return np.array([float(cast(float, value)) for value in self.values])

    @cached_property
    def _places(self) -> dict[str, int]:
        return {text_of(value): place for place, value in enumerate(self.values)}

    def place(self, row: SweepRow) -> int:
        """Which of the values the run has."""
        return self._places[text_of(row.values[self.path])]


def axis_of(sweep: Sweep, path: str, rows: Sequence[SweepRow]) -> KnobAxis:
    """The knob at ``path`` with those of its values that any of ``rows`` has: numbers ascending, else as given."""
    used = {text_of(row.values[path]) for row in rows}
    values = [value for value in sweep.grid[path] if text_of(value) in used]
    scale: Scale = "named"
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        values.sort(key=lambda value: cast(float, value))
        numbers = [float(cast(float, value)) for value in values]
        above = [number for number in numbers if number > 0]
        wide = len(above) > 1 and above[-1] >= DECADES * above[0]
        scale = "linear" if not wide else "log" if len(above) == len(numbers) else "named"
    unit = next((knob.unit for knob in knobs(sweep.config_of(sweep.runs[0])) if knob.path == path), "")
    return KnobAxis(path, f"{path} [{unit}]" if unit else path, tuple(values), scale)


@dataclass(frozen=True)
class SweepLayout:
    """What is drawn, and where: ``over`` lies along x, ``by`` along the y of a heatmap or is one of ``apart``.

    ``apart`` are the other swept knobs, each combination of which is a curve or a heatmap of its own. ``quantities`` is
    empty where all that were measured are drawn. ``rows`` are the runs that are drawn.
    """

    kind: Kind
    phase: str
    quantities: tuple[SweptQuantity, ...]
    over: KnobAxis | None
    by: KnobAxis | None
    apart: tuple[KnobAxis, ...]
    rows: tuple[SweepRow, ...]

    def groups(self) -> list[tuple[str, list[SweepRow]]]:
        """The runs of each combination of the knobs ``apart``, under its name; one without a name if there are none."""
        found: dict[tuple[int, ...], list[SweepRow]] = {
            key: [] for key in product(*(range(len(axis.values)) for axis in self.apart))
        }
        for row in self.rows:
            found[tuple(axis.place(row) for axis in self.apart)].append(row)
        leaves = [axis.path.rpartition(".")[2] for axis in self.apart]
        called = [leaf if leaves.count(leaf) == 1 else axis.path for leaf, axis in zip(leaves, self.apart, strict=True)]
        named = []
        for key, rows in found.items():
            values = [axis.texts[place] for axis, place in zip(self.apart, key, strict=True)]
            named.append((", ".join(f"{name} {value}" for name, value in zip(called, values, strict=True)), rows))
        return [(name, rows) for name, rows in named if rows]


def layout_of(results: SweepResults, options: Mapping[str, str]) -> SweepLayout:
    """What the complete ``options`` ask for. Raises :class:`ConfigError`, naming the option."""
    sweep = results.sweep
    rows = _chosen_rows(results, options["where"])
    swept = [path for path in sweep.grid if len({text_of(row.values[path]) for row in rows}) > 1]
    over, by = _knob("over", options["over"], swept), _knob("by", options["by"], swept)
    if over is not None and over == by:
        raise ConfigError(f"by: got {quote(by)}; allowed: another knob than that of over")
    kind = options["kind"]
    if kind == AUTO:
        kind = "steps" if not swept else "curves" if len(swept) == 1 else "heatmap"
    needed = {"curves": 1, "heatmap": 2}.get(kind, 0)
    if len(swept) < needed:
        count = f"{len(swept)} swept knob{'' if len(swept) == 1 else 's'}"
        allowed = ", ".join([*(["curves"] if swept else []), "steps"])
        raise ConfigError(f"kind: got {quote(kind)}; allowed for {count}: {allowed}")
    free = [path for path in swept if path not in (over, by)]
    if needed:
        over = over or free.pop(0)
    if needed == 2:
        by = by or free.pop(0)
    taken = {"steps": (), "curves": (over,), "heatmap": (over, by)}[kind]
    apart = [path for path in swept if path not in taken]
    if kind == "curves" and by is not None:  # what it is asked for tells curves apart first
        apart = [by, *(path for path in apart if path != by)]
    axes = {path: axis_of(sweep, path, rows) for path in swept}
    names = options["quantity"].split(",")
    if len(names) > MOST_QUANTITIES:
        raise ConfigError(f"quantity: got {len(names)}; allowed: {MOST_QUANTITIES} at most")
    return SweepLayout(
        cast(Kind, kind), options["phase"],
        () if options["quantity"] == ALL else tuple(quantity_of(name) for name in dict.fromkeys(map(str.strip, names))),
        axes[over] if over is not None and needed else None, axes[by] if by is not None and needed == 2 else None,
        tuple(axes[path] for path in apart), rows,
    )  # fmt: skip


def _knob(option: str, name: str, allowed: Sequence[str]) -> str | None:
    """The swept knob of this name, its path or the last part of it; None if the choice is left open."""
    if name == AUTO:
        return None
    found = [path for path in allowed if path == name or path.endswith(f".{name}")]
    if len(found) != 1:
        raise ConfigError(f"{option}: got {quote(name)}; allowed: {', '.join([AUTO, *allowed])}")
    return found[0]


def _chosen_rows(results: SweepResults, where: str) -> tuple[SweepRow, ...]:
    rows = results.rows
    for part in [] if where == ALL else where.split(";"):
        name, separator, text = part.partition("=")
        path = _knob("where", name.strip().removeprefix(PREFIX), list(results.sweep.grid)) if separator else None
        if path is None:
            raise ConfigError(f"where: got {quote(part)}; allowed: knob=value, e.g. attack.tau=0.2")
        values = [text_of(value) for value in results.sweep.grid[path]]
        if text.strip() not in values:
            raise ConfigError(f"where: got {quote(part)}; allowed for {path}: {', '.join(values)}")
        rows = tuple(row for row in rows if text_of(row.values[path]) == text.strip())
    if not rows:
        raise ConfigError(f"where: got {quote(where)}; no run of this sweep is such a one")
    return rows
