"""How a session comes by what its snapshots show: the table of live probes, which any file may extend.

A probe is a function of what is looked at (:class:`engine.run.moment.Moment`: a session that trains, or a stored step
of a run), entered under the type of its result (a frozen dataclass of read-only arrays, see
:mod:`engine.core.results`) for the kinds of experiment that it is for. Once the file is imported, a view that wants the
type gets it::

    @at_once(WeightNorms, SPARSE_CODING)
    def weight_norms(moment: TheoryMoment) -> WeightNorms:
        return WeightNorms(frozen(moment.model.weight.norm(dim=1)))

What a probe gets may be training: the probe reads what its class documents as public and copies the
tensors that it keeps; it never trains, and draws random numbers from generators of its own. Nothing of it is recorded,
so that a run's history does not depend on who looked. An exception in it is reported, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from engine.config.experiment import IMAGES, SPARSE_CODING
from engine.core.registry import Registry

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ProbeTask(Generic[R]):
    """Something to measure in slices: measuring another moment with the same ``key`` would give the same.

    So ``key`` holds everything that decides the result, the step for the weights, and nothing else. ``begin`` copies
    the weights and returns the work; what a slice yields, if not None, is shown meanwhile.
    """

    key: Hashable
    begin: Callable[[], Generator[R | None, None, R]]


Measure = Callable[[Any], R | None]
Task = Callable[[Any], ProbeTask[R] | None]


@dataclass(frozen=True, slots=True)
class ResultSource:
    """How a session comes by a ``result``: at once by ``measure``, or in slices by ``task``; the other is None."""

    result: type
    measure: Measure[Any] | None = None
    task: Task[Any] | None = None


live_probes: dict[str, Registry[ResultSource]] = {
    SPARSE_CODING: Registry("live probe", "engine.theory.live"),
    IMAGES: Registry("live probe", "engine.images.live"),
}
"""Kind of experiment → name of a result's type → where it comes from; a run imports those of its own kind alone."""


def at_once(result: type[R], *kinds: str) -> Callable[[Measure[R]], Measure[R]]:
    """Enter a function that measures in a few milliseconds whenever a snapshot is taken; None: there is none yet."""

    def add(measure: Measure[R]) -> Measure[R]:
        _enter(ResultSource(result, measure=measure), kinds)
        return measure

    return add


def in_slices(result: type[R], *kinds: str) -> Callable[[Task[R]], Task[R]]:
    """Enter a function that says what there is to measure at present, in time beside training; None: nothing yet."""

    def add(task: Task[R]) -> Task[R]:
        _enter(ResultSource(result, task=task), kinds)
        return task

    return add


def _enter(source: ResultSource, kinds: tuple[str, ...]) -> None:
    for kind in kinds:
        live_probes[kind].register(source.result.__name__)(source)


def source_of(kind: str, result: type) -> ResultSource | None:
    """How sessions of ``kind`` come by ``result``; None for what they do not have."""
    known = live_probes[kind]
    return next((each for each in map(known.__getitem__, known) if each.result is result), None)
