"""The paper's claims, checked on one run: each with its rule, its evidence and a verdict (SPEC.md section 10).

A verdict is *holds*, *does not hold* or *not measured*, and follows from recorded figures and the thresholds below
alone. The slow figures (``verified/…``, ``rival/…``, ``transfer/…``, ``low_rank/…``) come from :mod:`engine.evidence`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from engine import metrics
from engine.config import Config, ImageConfig, SparseCodingConfig
from engine.history import Series
from engine.protocol import Protocol as How
from engine.protocol import wilson
from engine.snapshot import Event

Verdict = Literal["holds", "does not hold", "not measured"]

# Thresholds, in the open. Each stands in the rule that a claim shows.
ACCURATE = 0.90  # clean accuracy of an accurate net
FRAGILE = 0.50  # robust accuracy of a net that is not robust, at most
ALIGNED = 0.80  # mean cosine of a perturbation that is the dense mixture, at least
MIXED = 0.40  # mean dense alignment of neurons that hold the dense mixture, at least …
OVER_CHANCE = 2.0  # … and so many times what random weights have
PURE = 0.90  # mean purity of purified neurons, at least
MELTED = 0.25  # dense alignment after purification, at most this share of that before
CERTIFIED = 0.65  # certified accuracy of a net that is robust against any perturbation, at least
GAP = 0.10  # accuracy by which the network must beat each rival, at least
UNRELATED = 0.30  # mean cosine of trained weights with the start, at most
RELATED = 0.30  # by so much must (w, w′) exceed the other two cosines
MOST = 0.50  # share of neurons that counts as most
LOW_RANK_LOSS = 0.05  # robust accuracy that the low-rank phase may lose against the full one
TRANSFERS = 0.10  # a perturbation transfers if it leaves at most so much more accuracy than the net's own
IMMUNE = 0.90  # accuracy of the purified net on perturbations made for the clean one, at least


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


class Source(Protocol):
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

    def __init__(self, source: Source) -> None:
        self.source = source
        switches = [e for e in source.events if e.name == "phase"]
        ends = [e.step for e in switches if e.old == "clean"]
        reports = source.series(metrics.REPORT + metrics.CLEAN)
        if not switches and reports is not None and len(reports):  # trained clean alone, to the schedule's end
            ends = [] if source.config.schedule.clean_steps == 0 else [int(reports.steps[0])]
        self.clean_end = ends[-1] if ends else None
        self.second = switches[-1].new if switches else ("" if ends else source.config.schedule.second)

    @property
    def adversarial(self) -> bool:
        """Whether the present phase, after the clean one, is adversarial training."""
        return self.second == "adversarial"

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


Outcome = tuple[bool | None, Sequence[Figure | None]]


@dataclass(frozen=True, slots=True)
class _Rule:
    id: int
    title: str
    rule: str
    about: str
    view: str
    decide: Callable[[Facts], Outcome]
    worlds: tuple[type[Config], ...]


_RULES: list[_Rule] = []


THEORY: tuple[type[Config], ...] = (SparseCodingConfig,)
IMAGES: tuple[type[Config], ...] = (ImageConfig,)


def claim_rule(
    id: int, title: str, rule: str, about: str, view: str, worlds: tuple[type[Config], ...] = THEORY + IMAGES
) -> Callable[[Callable[[Facts], Outcome]], None]:
    """Enter a rule for a claim in ``worlds``; in the others it is not measured, unless it has another rule there."""

    def add(decide: Callable[[Facts], Outcome]) -> None:
        _RULES.append(_Rule(id, title, rule, about, view, decide, worlds))

    return add


def check(source: Source) -> list[Claim]:
    """Decide every claim from the figures in ``source``."""
    from engine import image_claims  # noqa: F401 - its rules enter themselves

    facts = Facts(source)
    claims = []
    for rule in sorted(_RULES, key=lambda rule: rule.id):
        here = isinstance(source.config, rule.worlds)
        if not here and any(r.id == rule.id and isinstance(source.config, r.worlds) for r in _RULES):
            continue
        decision, evidence = rule.decide(facts) if here else (None, ())
        found = tuple(f for f in evidence if f is not None)
        verdict: Verdict = "not measured" if decision is None else "holds" if decision else "does not hold"
        claims.append(Claim(rule.id, rule.title, verdict, rule.rule, found, rule.about, rule.view, here))
    return claims


DENSE_ALIGNMENT = metrics.mixture("dense_alignment", "mean")
PURITY = metrics.mixture("purity", "mean")


@claim_rule(
    1, "Clean training is accurate and not robust",
    f"after clean training: clean accuracy ≥ {ACCURATE:g} and PGD accuracy ≤ {FRAGILE:g}",
    "A net trained on clean samples answers almost all of them, and loses most answers to a perturbation of norm tau.",
    "robustness",
    THEORY,
)  # fmt: skip
def _fragile(facts: Facts) -> Outcome:
    clean, pgd = facts.at_clean_end(metrics.CLEAN), facts.at_clean_end(metrics.PGD)
    if clean is None or pgd is None:
        return None, (clean, pgd)
    return clean.value >= ACCURATE and pgd.value <= FRAGILE, (clean, pgd)


@claim_rule(
    2, "Its adversarial perturbation is the dense mixture",
    f"after clean training: mean cosine of the FGM perturbation with −y·M w* ≥ {ALIGNED:g}",
    "What fools the clean net is one direction for all inputs: the sum of all features, known without the net.",
    "perturbation",
    THEORY,
)  # fmt: skip
def _dense_perturbation(facts: Facts) -> Outcome:
    cosine, dense = facts.at_clean_end(metrics.ALIGNMENT), facts.at_clean_end(metrics.DENSE)
    return (None if cosine is None else cosine.value >= ALIGNED), (cosine, dense)


@claim_rule(
    3, "The dense mixture sits in the hidden weights",
    f"after clean training: mean dense alignment of alive neurons ≥ {MIXED:g} and ≥ {OVER_CHANCE:g} × the start's",
    "Each hidden neuron is one feature plus a small piece of the dense mixture; together these pieces are attacked.",
    "mixtures",
    THEORY,
)  # fmt: skip
def _dense_weights(facts: Facts) -> Outcome:
    chance, mixed = facts.start(DENSE_ALIGNMENT), facts.at_clean_end(DENSE_ALIGNMENT)
    if chance is None or mixed is None:
        return None, (chance, mixed)
    return mixed.value >= MIXED and mixed.value >= OVER_CHANCE * chance.value, (chance, mixed)


@claim_rule(
    4, "Adversarial training removes it (feature purification)",
    f"after adversarial training: mean purity ≥ {PURE:g} and mean dense alignment ≤ {MELTED:g} × that before it",
    "Adversarial training neither learns new features nor drops old ones: it takes the mixtures out of the neurons.",
    "mixtures",
    THEORY,
)  # fmt: skip
def _purification(facts: Facts) -> Outcome:
    before = facts.at_clean_end(DENSE_ALIGNMENT)
    after, purity = facts.now(DENSE_ALIGNMENT), facts.now(PURITY)
    if before is None or after is None or purity is None:
        return None, (before, after, purity)
    return purity.value >= PURE and after.value <= MELTED * before.value, (before, after, purity)


@claim_rule(
    5, "FGM training yields robustness against any perturbation of that radius",
    f"the last phase trains with FGM, and certified accuracy at tau ≥ {CERTIFIED:g}",
    "Training against one-step attacks is enough: the certificate bounds from below what no perturbation can undo.",
    "radius",
    THEORY,
)  # fmt: skip
def _certified(facts: Facts) -> Outcome:
    tau = f"{facts.source.config.attack.tau:g}"
    certified, worst = facts.last(f"verified/certified@{tau}"), facts.last(f"verified/worst@{tau}")
    evidence = (certified, worst)
    if certified is None or facts.clean_end is None or certified.step < facts.clean_end:
        return None, evidence
    knobs = facts.source.config.attack
    by_fgm = facts.adversarial and knobs.steps == 1 and certified.step > facts.clean_end
    return by_fgm and certified.value >= CERTIFIED, evidence


RIVALS = ("linear", "quadratic", "cubic", "ntk")


@claim_rule(
    6, "Linear models, low-degree polynomials and the NTK cannot",
    f"each rival's best robust accuracy stays ≥ {GAP:g} below the network's, under the worst attack found",
    "The same data, radius and objectives; only the function class differs. The paper proves that the gap grows.",
    "race",
    THEORY,
)  # fmt: skip
def _rivals(facts: Facts) -> Outcome:
    tau = f"{facts.source.config.attack.tau:g}"
    network = facts.last(f"verified/worst@{tau}")
    found = facts.names("rival/robust/", RIVALS)
    if network is None or {f.name.rpartition("/")[2] for f in found} != set(RIVALS):
        return None, (network, *found)
    return all(f.value <= network.value - GAP for f in found), (network, *found)


@claim_rule(
    7, "Principle 1: a clean neuron is its purified self plus a small mixture",
    f"over neurons alive after clean training: mean cosines (w⁰,w), (w⁰,w′) ≤ {UNRELATED:g}, (w,w′) larger than "
    f"both by ≥ {RELATED:g}, and ‖βw′‖ > ‖w − βw′‖ for more than {MOST:g} of them",
    "w⁰, w, w′ are a neuron at the start, after clean and after adversarial training; β projects w on w′.",
    "mixtures",
)  # fmt: skip
def _principle1(facts: Facts) -> Outcome:
    figures = [facts.now(name) for name in metrics.PRINCIPLE1]
    if any(f is None for f in figures) or not facts.adversarial:
        return (None if any(f is None for f in figures) else False), figures
    start_clean, start_now, clean_now, share = (f.value for f in figures if f is not None)
    unrelated = max(start_clean, start_now)
    return unrelated <= UNRELATED and clean_now >= unrelated + RELATED and share > MOST, figures


@claim_rule(
    9, "Low-rank updates are enough",
    f"adversarial training of W_clean + U V at low rank loses ≤ {LOW_RANK_LOSS:g} robust accuracy against the full one",
    "The mixtures are one direction, so taking them out needs few: a low-rank update purifies, too.",
    "mixtures",
    THEORY,
)  # fmt: skip
def _low_rank(facts: Facts) -> Outcome:
    low, full = facts.last("low_rank/robust"), facts.last("low_rank/robust_full")
    evidence = (low, full, facts.last("low_rank/rank_used"), facts.last("low_rank/cosine_used"))
    if low is None or full is None:
        return None, evidence
    return low.value >= full.value - LOW_RANK_LOSS, evidence


@claim_rule(
    10, "Perturbations transfer between clean nets, not to purified ones",
    f"perturbations made on the clean net leave another clean net ≤ {TRANSFERS:g} more accuracy than their own, and "
    f"the purified net ≥ {IMMUNE:g}",
    "All clean nets share the same weakness, the dense mixture of the world; a purified net no longer has it.",
    "perturbation",
    THEORY,
)  # fmt: skip
def _transfer(facts: Facts) -> Outcome:
    own, other, purified = (
        facts.names("transfer/", ("own",)),
        facts.last("transfer/other"),
        facts.last("transfer/purified"),
    )
    evidence = (*own, other, purified)
    if not own or other is None or purified is None:
        return None, evidence
    return other.value <= own[0].value + TRANSFERS and purified.value >= IMMUNE, evidence
