"""The paper's claims, checked on one run: each with its rule, its evidence and a verdict (SPEC.md section 10).

A verdict is *holds*, *does not hold* or *not measured*, and follows from recorded figures and open thresholds alone.
The slow figures (``verified/…``, ``rival/…``, ``transfer/…``, ``low_rank/…``) come from :mod:`engine.studies.evidence`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple, Protocol

from engine.config.curves import PREFIX
from engine.config.experiment import Config
from engine.config.knobs import AttackKnobs
from engine.core import metrics
from engine.core.history import Series
from engine.core.measurement import Measurement as How
from engine.core.measurement import wilson
from engine.core.registry import Registry
from engine.run.snapshot import Event
from engine.run.timeline import Span, curve_in_force, spans

TRAINING_ATTACK = ("attack.steps", "attack.restarts", "attack.random_start")  # knobs that make it FGM or not
FGM_SHARE = "training/fgm_share"  # evidence that no run records: it follows from knobs and events

Verdict = Literal["holds", "does not hold", "not measured"]
Needs = Literal["", "clean", "adversarial"]


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


def verdict_of(holds: bool | None) -> Verdict:
    """A decision in words."""
    return "not measured" if holds is None else "holds" if holds else "does not hold"


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a claim that says several things, with its own verdict; the claim holds if all its parts do."""

    name: str
    verdict: Verdict


def parts_text(parts: Iterable[Part]) -> str:
    """``dense: holds · small: does not hold``; empty for none."""
    return " · ".join(f"{part.name}: {part.verdict}" for part in parts)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim with what this run says of it.

    ``view`` is the view that shows it, ``beside`` another that shows a part of it, ``about`` what it means.
    """

    id: int
    title: str
    verdict: Verdict
    rule: str
    evidence: tuple[Figure, ...]
    about: str
    view: str
    applies: bool = True  # False where the claim is about another kind of run than this one
    waits: str = ""  # which phase's end it waits for, if it is not decided for that reason
    parts: tuple[Part, ...] = ()
    beside: str = ""

    def record(self) -> dict[str, Any]:
        """The object that ``claims.json`` holds."""
        return {
            "id": self.id,
            "title": self.title,
            "verdict": self.verdict,
            "rule": self.rule,
            "parts": [asdict(part) for part in self.parts],
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
    """The figures of a run by moment: at its start, at the end of clean training, at the adversarial phase's end.

    ``clean_end`` is the step at which the last clean phase ended, ``phase`` the last adversarial phase after it that
    has ended; None while there is none. A phase without a step is none, and one that is under way is not judged.
    """

    def __init__(self, source: FigureSource) -> None:
        self.source = source
        series = {name: found for name in source.names() if (found := source.series(name)) is not None and len(found)}
        self._reports = sorted({int(s) for n, f in series.items() if n.startswith(metrics.REPORT) for s in f.steps})
        switches = [e for e in source.events if e.name == "phase"]
        self._switched = {e.step for e in switches}
        schedule = source.config.schedule
        present = switches[-1].new if switches else "clean" if schedule.clean_steps else schedule.second
        self.step = max([*self._switched, *(int(found.steps[-1]) for found in series.values())], default=0)
        trained = spans(source.events, present, self.step)
        ends = [end for span in trained if span.objective == "clean" and (end := self._end(span)) is not None]
        self.clean_end = ends[-1] if ends else None
        after = [] if self.clean_end is None else [span for span in trained if span.start >= self.clean_end]
        self._after = [span for span in after if span.objective == "adversarial" and span.end > span.start]
        ended = [span for span in self._after if self._end(span) is not None]
        self.phase = ended[-1] if ended else None  # the adversarial phase that is judged

    def _end(self, span: Span) -> int | None:
        """The step at which a phase came to its end, by a switch or by the schedule; None while it is under way.

        Training on after the schedule's end takes nothing back. Only a phase's end is reported on.
        """
        if span.end in self._switched and span.end > span.start:
            return span.end
        return next((step for step in reversed(self._reports) if span.start < step <= span.end), None)

    def waits(self, needs: Needs) -> str:
        """Which phase's end a claim that ``needs`` one waits for, in a sentence; empty for none."""
        if needs and self.clean_end is None:
            return "Not yet: decided when clean training has ended."
        if needs != "adversarial" or self.phase is not None:
            return ""
        if self._after:
            return "Not yet: decided when the adversarial phase has ended."
        return "Not yet: decided after an adversarial phase that follows clean training."

    def trained_by(self, end: int) -> Figure | None:
        """The share of the judged phase's steps up to ``end`` whose training attack was FGM, and all attacks in words.

        By the knobs that were in force at each step, whatever they are now; None without such a phase.
        """
        if self.phase is None or end <= self.phase.start:
            return None
        start = self.phase.start
        changes = [e for e in self.source.events if e.name.removeprefix(PREFIX) in TRAINING_ATTACK]
        planned = any(e.name.startswith(PREFIX) for e in changes)
        planned |= any(self.source.config.schedule.curve(name) is not None for name in TRAINING_ATTACK)
        steps = range(start, end) if planned else (start, *(e.step for e in changes if start < e.step < end))
        moments = sorted(set(steps))
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
            field = name.partition(".")[2]
            curve = curve_in_force(self.source.config, changes, name, step)
            if curve is not None:
                attack = attack.model_copy(update={field: round(curve.at(step))})
            elif text is not None:
                value = text == "True" if isinstance(getattr(attack, field), bool) else int(text)
                attack = attack.model_copy(update={field: value})
        return attack

    def at_clean_end(self, name: str) -> Figure | None:
        """The figure at the end of clean training: the report's, else the verified one's own name."""
        if self.clean_end is None:
            return None
        return self._at(metrics.REPORT + name, self.clean_end) or self._at(name, self.clean_end)

    def now(self, name: str) -> Figure | None:
        """The figure of the judged adversarial phase's end: the report's, else what was recorded then or after it."""
        return self._at_end(metrics.REPORT + name) or self._at_end(name)

    def verified(self, name: str) -> Figure | None:
        """What the slow evaluation recorded last, if the judged adversarial phase had ended by then."""
        return self._at_end(name)

    def _at_end(self, name: str) -> Figure | None:
        series, phase = self.source.series(name), self.phase
        end = None if phase is None else self._end(phase)
        if series is None or phase is None or end is None:
            return None
        found = [int(step) for step in series.steps if end <= step <= phase.end]
        return self._at(name, found[-1]) if found else None

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
        """The verified figures ``prefix + one of known``, as far as they were measured."""
        return [f for name in known if (f := self.verified(prefix + name)) is not None]

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


class Outcome(NamedTuple):
    """Whether a claim holds (None: not measured), its evidence, and the parts that are decided each for itself."""

    holds: bool | None
    evidence: Sequence[Figure | None]
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """How a claim is decided on runs of ``kinds`` (none: of every kind); all else are fields of :class:`Claim`.

    ``needs`` is the phase whose end the rule is about.
    """

    id: int
    title: str
    rule: str
    about: str
    view: str
    decide: Callable[[Facts], Outcome]
    kinds: tuple[str, ...]
    needs: Needs
    beside: str = ""

    def about_runs_of(self, kind: str) -> bool:
        """Whether the rule is for runs of this kind of experiment."""
        return not self.kinds or kind in self.kinds


rules: Registry[Rule] = Registry("claim", "engine.claims")
"""The rules, those of every file in this package."""


def claim_rule(
    id: int, title: str, rule: str, about: str, view: str, *kinds: str, needs: Needs, beside: str = ""
) -> Callable[[Callable[[Facts], Outcome]], None]:
    """Enter a rule for a claim on runs of ``kinds``; on the others, without a rule of its own, it is not measured."""

    def add(decide: Callable[[Facts], Outcome]) -> None:
        where = ", ".join(kinds) or "every kind"
        rules.register(f"{id} on {where}")(Rule(id, title, rule, about, view, decide, kinds, needs, beside))

    return add


def decided(figures: Sequence[Figure | None], holds: Callable[..., bool], *shown: Figure | None) -> Outcome:
    """Whether ``holds`` of the values of ``figures``, None where one is missing; ``shown`` are beside the evidence.

    Everything that decides stands in the rule that the card shows: what is not said there may not be asked here.
    """
    values = [figure.value for figure in figures if figure is not None]
    measured = len(values) == len(figures)
    return Outcome(holds(*values) if measured else None, (*figures, *shown))


def in_parts(*parts: tuple[str, Outcome]) -> Outcome:
    """A claim of several parts: it holds if all do, and does not if one does not."""
    found = [outcome.holds for _, outcome in parts]
    holds = False if False in found else None if None in found else True
    evidence = tuple(dict.fromkeys(f for _, outcome in parts for f in outcome.evidence if f is not None))
    return Outcome(holds, evidence, tuple(Part(name, verdict_of(outcome.holds)) for name, outcome in parts))


def check(source: FigureSource) -> list[Claim]:
    """Decide every claim from the figures in ``source``."""
    facts = Facts(source)
    claims = []
    known = [rules[name] for name in rules]
    for rule in sorted(known, key=lambda rule: rule.id):
        here = rule.about_runs_of(source.config.kind)
        if not here and any(r.id == rule.id and r.about_runs_of(source.config.kind) for r in known):
            continue
        outcome = rule.decide(facts) if here else Outcome(None, ())
        found = tuple(f for f in outcome.evidence if f is not None)
        waits = facts.waits(rule.needs) if here and outcome.holds is None else ""
        claims.append(
            Claim(
                rule.id, rule.title, verdict_of(outcome.holds), rule.rule, found, rule.about, rule.view, here, waits,
                outcome.parts, rule.beside,
            )
        )  # fmt: skip
    return claims
