"""The paper's claims, checked on one run: each with its rule, its evidence and a verdict (SPEC.md section 10).

A verdict is *holds*, *does not hold* or *not measured*, and follows from recorded figures and open thresholds alone.
The slow figures (``verified/…``, ``rival/…``, ``transfer/…``, ``low_rank/…``) come from :mod:`engine.studies.evidence`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

from engine.config.experiment import Config
from engine.config.knobs import AttackKnobs
from engine.core import metrics
from engine.core.history import Series
from engine.core.measurement import Measurement as How
from engine.core.measurement import wilson
from engine.core.registry import Registry
from engine.run.snapshot import Event

TRAINING_ATTACK = ("attack.steps", "attack.restarts", "attack.random_start")  # knobs that make it FGM or not
FGM_SHARE = "training/fgm_share"  # evidence that no run records: it follows from knobs and events

Verdict = Literal["holds", "does not hold", "not measured"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One piece of evidence: ``low``/``high`` its 95% interval where it is a proportion, ``protocol`` in words."""

    name: str
    value: float
    step: int
    low: float | None = None
    high: float | None = None
    protocol: str = ""

    def text(self) -> str:
        """Value, interval, step and protocol in one line."""
        interval = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.name} = {self.value:.3f}{interval} at step {self.step}" + (
            f" ({self.protocol})" if self.protocol else ""
        )


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim with what this run says of it; ``view`` is the view that shows it, ``about`` what it means."""

    id: int
    title: str
    verdict: Verdict
    rule: str
    evidence: tuple[Figure, ...]
    about: str
    view: str
    applies: bool = True  # False where the claim is about another kind of run than this one

    def record(self) -> dict[str, Any]:
        """The object that ``claims.json`` holds."""
        return {
            "id": self.id,
            "title": self.title,
            "verdict": self.verdict,
            "rule": self.rule,
            "evidence": [asdict(figure) for figure in self.evidence],
        }


class FigureSource(Protocol):
    """Where figures come from: a run folder or a live snapshot."""

    @property
    def config(self) -> Config:
        """The run's knobs now."""

    @property
    def events(self) -> tuple[Event, ...]:
        """The changes made, in order."""

    def names(self) -> Iterable[str]:
        """The metrics that were recorded."""

    def series(self, name: str) -> Series | None:
        """All values of a metric."""

    def protocol(self, name: str, step: int) -> How | None:
        """How it was measured at ``step``."""


class Facts:
    """The figures of a run by moment: at its start, at the end of clean training, at its end or now."""

    def __init__(self, source: FigureSource) -> None:
        self.source = source
        switches = [e for e in source.events if e.name == "phase"]
        ends = [e.step for e in switches if e.old == "clean"]
        reports = source.series(metrics.REPORT + metrics.CLEAN)
        if not switches and reports is not None and len(reports):  # trained clean alone, to the schedule's end
            ends = [] if source.config.schedule.clean_steps == 0 else [int(reports.steps[0])]
        self.clean_end = ends[-1] if ends else None
        self.second = switches[-1].new if switches else ("" if ends else source.config.schedule.second)
        self.second_start = switches[-1].step if switches else 0

    @property
    def adversarial(self) -> bool:
        """Whether the present phase, after the clean one, is adversarial training."""
        return self.second == "adversarial"

    def trained_by(self, end: int) -> Figure | None:
        """The share of the present phase's steps up to ``end`` whose training attack was FGM, and all attacks in words.

        By the knobs that were in force at each step, whatever they are now; None for a phase without a step by then.
        """
        start = self.second_start
        if end <= start:
            return None
        changes = [e for e in self.source.events if e.name in TRAINING_ATTACK]
        moments = sorted({start, *(e.step for e in changes if start < e.step < end)})
        by_fgm, words = 0, ""
        for moment, following in pairwise((*moments, end)):
            attack = self._attack_at(moment, changes)
            by_fgm += (following - moment) * attack.is_fgm
            name = attack.trained_by()
            words += f", from step {moment} on {name}" if words and not words.endswith(name) else "" if words else name
        return Figure(FGM_SHARE, by_fgm / (end - start), end, protocol=words)

    def _attack_at(self, step: int, changes: Sequence[Event]) -> AttackKnobs:
        """The attack's knobs after the changes made up to ``step``."""
        attack = self.source.config.attack
        for name in TRAINING_ATTACK:
            own = [e for e in changes if e.name == name]
            before = [e.new for e in own if e.step <= step]
            text = before[-1] if before else own[0].old if own else None
            if text is not None:
                field = name.partition(".")[2]
                value = text == "True" if isinstance(getattr(attack, field), bool) else int(text)
                attack = attack.model_copy(update={field: value})
        return attack

    def at_clean_end(self, name: str) -> Figure | None:
        """The figure at the end of clean training: the report's, else the verified one's own name."""
        if self.clean_end is None:
            return None
        return self._at(metrics.REPORT + name, self.clean_end) or self._at(name, self.clean_end)

    def now(self, name: str) -> Figure | None:
        """The newest figure after the end of clean training: the report's if there is one, else the live estimate."""
        if self.clean_end is None:
            return None
        for full in (metrics.REPORT + name, name):
            series = self.source.series(full)
            if series is not None and len(series) and int(series.steps[-1]) > self.clean_end:
                return self._at(full, int(series.steps[-1]))
        return None

    def start(self, name: str) -> Figure | None:
        """The figure of the untrained weights."""
        return self._at(name, 0)

    def last(self, name: str) -> Figure | None:
        """The newest figure, wherever it stands."""
        series = self.source.series(name)
        return self._at(name, int(series.steps[-1])) if series is not None and len(series) else None

    def layers(self, kind: str, quantity: str) -> list[str]:
        """Names of the layers of which ``kind``/<layer>/``quantity`` was recorded."""
        parts = (name.removeprefix(metrics.REPORT).split("/") for name in self.source.names())
        return sorted({part[1] for part in parts if len(part) == 3 and (part[0], part[2]) == (kind, quantity)})

    def names(self, prefix: str, known: Sequence[str]) -> list[Figure]:
        """The newest figures ``prefix + one of known``, as far as they were measured."""
        return [f for name in known if (f := self.last(prefix + name)) is not None]

    def _at(self, name: str, step: int) -> Figure | None:
        series = self.source.series(name)
        index = [] if series is None else (series.steps == step).nonzero()[0]
        if series is None or not len(index) or not math.isfinite(float(series.values[index[-1]])):
            return None
        value, how = float(series.values[index[-1]]), self.source.protocol(name, step)
        if how is None:
            return Figure(name, value, step)
        return Figure(name, value, step, *wilson(value * how.n, how.n), how.text())


# Thresholds, in the open. Each stands in the rule that a claim shows.
UNRELATED = 0.30  # mean cosine of trained weights with the start, at most
RELATED = 0.30  # by so much must (w, w′) exceed the other two cosines
MOST = 0.50  # share of neurons that counts as most

Outcome = tuple[bool | None, Sequence[Figure | None]]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a claim is decided on runs of ``kinds`` (none: of every kind); all else are fields of :class:`Claim`."""

    id: int
    title: str
    rule: str
    about: str
    view: str
    decide: Callable[[Facts], Outcome]
    kinds: tuple[str, ...]

    def about_runs_of(self, kind: str) -> bool:
        """Whether the rule is for runs of this kind of experiment."""
        return not self.kinds or kind in self.kinds


rules: Registry[Rule] = Registry("claim", "engine.claims")
"""The rules, those of every file in this package."""


def claim_rule(
    id: int, title: str, rule: str, about: str, view: str, *kinds: str
) -> Callable[[Callable[[Facts], Outcome]], None]:
    """Enter a rule for a claim on runs of ``kinds``; on the others, without a rule of its own, it is not measured."""

    def add(decide: Callable[[Facts], Outcome]) -> None:
        where = ", ".join(kinds) or "every kind"
        rules.register(f"{id} on {where}")(Rule(id, title, rule, about, view, decide, kinds))

    return add


def decided(
    figures: Sequence[Figure | None], holds: Callable[..., bool], *shown: Figure | None, only_if: bool = True
) -> Outcome:
    """Whether ``holds`` of the values of ``figures``, None where one is missing; ``shown`` are beside the evidence.

    Without ``only_if`` the claim does not hold, whatever the values.
    """
    values = [figure.value for figure in figures if figure is not None]
    measured = len(values) == len(figures)
    return (only_if and holds(*values) if measured else None), (*figures, *shown)


def check(source: FigureSource) -> list[Claim]:
    """Decide every claim from the figures in ``source``."""
    facts = Facts(source)
    claims = []
    known = [rules[name] for name in rules]
    for rule in sorted(known, key=lambda rule: rule.id):
        here = rule.about_runs_of(source.config.kind)
        if not here and any(r.id == rule.id and r.about_runs_of(source.config.kind) for r in known):
            continue
        decision, evidence = rule.decide(facts) if here else (None, ())
        found = tuple(f for f in evidence if f is not None)
        verdict: Verdict = "not measured" if decision is None else "holds" if decision else "does not hold"
        claims.append(Claim(rule.id, rule.title, verdict, rule.rule, found, rule.about, rule.view, here))
    return claims
