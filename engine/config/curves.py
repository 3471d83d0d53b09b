"""Knobs that change by a plan: the value of a live number as a piecewise linear curve over steps.

In a preset ``[schedule.knobs]`` names them (``"training.lr" = [[0, 6.5], [1650, 6.5], [1651, 3.0]]``); a curve given
as the value of the knob itself means the same (``--set training.lr=[[0,6.5],[1651,3]]``).
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

PREFIX = "schedule.knobs."
MOST_POINTS = 1000
SHOWN = 6  # points that :meth:`Curve.brief` names
POINTS_ALLOWED = "[[step, value], …] with whole, rising steps, e.g. [[0, 6.5], [1650, 6.5], [1651, 3.0]]"


@dataclass(frozen=True, slots=True)
class Curve:
    """``points`` (step, value) in rising order of steps; linear between them, constant before and after."""

    points: tuple[tuple[int, float], ...]

    def at(self, step: int) -> float:
        """The value after ``step`` steps."""
        points = self.points
        right = bisect_right(points, step, key=lambda point: point[0])
        if right == 0:
            return points[0][1]
        if right == len(points):
            return points[-1][1]
        (before, low), (after, high) = points[right - 1], points[right]
        return low + (high - low) * ((step - before) / (after - before))

    def __str__(self) -> str:
        return json.dumps([list(point) for point in self.points])

    def brief(self) -> str:
        """The points in a few words: of many only the first and the last, of long numbers six digits."""
        shown = [f"[{step}, {value:.6g}]" for step, value in self.points]
        if len(shown) > SHOWN:
            shown = [*shown[: SHOWN - 2], "…", shown[-1]]
        return f"[{', '.join(shown)}]"


def read_curve(name: str, value: object) -> Curve:
    """A curve from nested lists. Raises :class:`ValueError` naming the knob, the point and what is allowed."""
    if isinstance(value, Curve):
        return value
    where = PREFIX + name
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MOST_POINTS:
        raise ValueError(f"{where}: got {str(value)[:80]!r}; allowed: {POINTS_ALLOWED}, at most {MOST_POINTS} points")
    points: list[tuple[int, float]] = []
    for number, point in enumerate(value, 1):
        pair = tuple(point) if isinstance(point, list | tuple) else ()
        if len(pair) != 2 or not _whole(pair[0]) or not _number(pair[1]):
            raise ValueError(f"{where}: point {number}: got {str(point)[:80]!r}; allowed: {POINTS_ALLOWED}")
        step = int(pair[0])
        if points and step <= points[-1][0]:
            raise ValueError(
                f"{where}: point {number}: step {step} comes after step {points[-1][0]}; allowed: rising steps"
            )
        points.append((step, float(pair[1])))
    return Curve(tuple(points))


def is_curve(value: object) -> bool:
    """Whether a value given for a knob is a curve, or points to make one of."""
    return isinstance(value, list | tuple | Curve)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 10**9


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _read(value: object) -> object:
    if not isinstance(value, Mapping):  # a tuple made by :func:`_read` before
        return value
    flat = dict(_flat(value, ""))
    return tuple((name, read_curve(name, points)) for name, points in sorted(flat.items()))


def _flat(table: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, object]]:
    """TOML reads an unquoted ``training.lr`` as a table in a table: both are understood."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _plain(curves: tuple[tuple[str, Curve], ...]) -> dict[str, list[list[float]]]:
    return {name: [list(point) for point in curve.points] for name, curve in curves}


Curves = Annotated[
    tuple[tuple[str, Curve], ...],
    BeforeValidator(_read),
    PlainSerializer(_plain),
]
"""Knob → its curve, in the order of names; a mapping of nested lists in files."""
