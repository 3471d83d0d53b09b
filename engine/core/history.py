"""The lossless record of scalars in memory: written by the training thread, read by any other without a lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Series:
    """One metric over time: ``steps`` (t,) int64 ascending and ``values`` (t,) float64, both read-only."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.steps)


class _Column:
    """Append-only arrays that double in place of growing one by one.

    A reader takes ``length`` first: the first ``length`` entries stay (but for what is measured again), and a larger
    array that replaces a smaller one holds them too, so no lock is needed.
    """

    __slots__ = ("length", "steps", "values")

    def __init__(self, recorded: Series | None = None) -> None:
        self.length = 0 if recorded is None else len(recorded)
        room = max(64, self.length)
        self.steps = np.empty(room, np.int64)
        self.values = np.empty(room, np.float64)
        if recorded is not None:
            self.steps[: self.length] = recorded.steps
            self.values[: self.length] = recorded.values

    def append(self, step: int, value: float) -> None:
        if self.length and step <= self.steps[self.length - 1]:
            place = int(np.searchsorted(self.steps[: self.length], step))
            if self.steps[place] != step:
                raise ValueError(f"step {step} comes after step {self.steps[self.length - 1]}")
            self.values[place] = value  # measured again: with another radius, say, or after a resume
            return
        if self.length == len(self.steps):
            self.steps = np.concatenate([self.steps, np.empty_like(self.steps)])
            self.values = np.concatenate([self.values, np.empty_like(self.values)])
        self.steps[self.length] = step
        self.values[self.length] = value
        self.length += 1

    def view(self) -> Series:
        n = self.length
        steps, values = self.steps[:n], self.values[:n]
        steps.flags.writeable = values.flags.writeable = False
        return Series(steps, values)


class History(Mapping[str, Series]):
    """Metric name → :class:`Series` of everything recorded so far, without copying."""

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}

    def append(self, step: int, name: str, value: float) -> None:
        """Record one value; called by the training thread only. Steps of one metric must not fall.

        A second value for a step replaces the first.
        """
        column = self._columns.get(name)
        if column is None:
            column = self._columns.setdefault(name, _Column())
        column.append(step, value)

    def begin(self, name: str, recorded: Series) -> None:
        """Start a metric with what was recorded of it before."""
        self._columns[name] = _Column(recorded)

    def __getitem__(self, name: str) -> Series:
        return self._columns[name].view()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._columns))

    def __len__(self) -> int:
        return len(self._columns)
