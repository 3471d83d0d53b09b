"""A verdict follows from the rule printed on its card and the figures beside it, and from nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from engine.claims.base import FGM_SHARE, Claim, check
from engine.config.experiment import with_value
from engine.config.presets import load_preset
from engine.core import metrics
from engine.run.snapshot import Event
from tests.engine import test_claims, test_image_claims
from tests.engine.test_claims import CLEAN_END, NOW, Figures, verdicts

KINDS = {"small": test_claims.GOOD, "cifar10-filters": test_image_claims.GOOD}
Values = dict[str, float]


def numbers(rule: str) -> list[float]:
    """The thresholds that a rule prints: the numbers behind its signs and words of comparison."""
    return [float(n) for n in re.findall(r"(?:[≥≤]|more than|loses ≤|rank) (\d+(?:\.\d+)?)", rule)]


def end(values: Values, name: str) -> float:
    """The figure whose name ends with ``name``."""
    (found,) = [value for key, value in values.items() if key.removeprefix(metrics.REPORT).split("@")[0].endswith(name)]
    return found


def principle(values: Values, prefix: str) -> list[float]:
    return [v for k, v in values.items() if k.removeprefix(metrics.REPORT).startswith(prefix)]


def fragile(v: Values, n: list[float], rule: str) -> bool:
    clean, pgd = end(v, "accuracy/clean"), end(v, "accuracy/pgd")
    return clean >= n[0] and pgd <= n[1] * (clean if "× clean accuracy" in rule else 1)


def kept(four: list[float], margin: float, most: float) -> bool:
    start_clean, start_now, clean_now, share = four
    rest = max(start_clean, start_now)
    return clean_now > rest and clean_now >= rest + margin and share > most


def local(v: Values, n: list[float], rule: str) -> bool:
    layers = sorted({key.split("/")[1] for key in v})
    found = [{k.rpartition("/")[2]: value for k, value in v.items() if k.split("/")[1] == each} for each in layers]
    return all(
        kept([x[k] for k in metrics.LAYER_PRINCIPLE1], n[0], n[1]) and x["robust_after"] >= x["robust_before"] + n[2]
        for x in found
    )


def layers(v: Values, n: list[float], rule: str) -> bool:
    rows = [(k.removeprefix(metrics.REPORT), value) for k, value in v.items()]
    before, after = (value for k, value in rows if k.startswith("accuracy/"))
    first = [value for k, value in rows if k in metrics.PRINCIPLE1]
    deep = [value for k, value in rows if k.startswith("layer/")]
    fours = [deep[i : i + 4] for i in range(0, len(deep), 4)]
    return after >= before + n[0] and kept(first, n[1], n[2]) and all(kept(four, 0, n[2]) for four in fours)


def dense(v: Values, n: list[float], rule: str) -> bool:
    at_start, mixed, small = v.values()
    return mixed >= n[0] and mixed >= n[1] * at_start and small > n[2]


def purified(v: Values, n: list[float], rule: str) -> bool:
    before, after, purity, same, *_ = v.values()
    return purity >= n[0] and after <= n[1] * before and same >= n[2]


def turned(v: Values, n: list[float], rule: str) -> bool:
    start_clean, start_now, clean_now, _share_is_shown_beside = v.values()
    rest = max(start_clean, start_now)
    return rest <= n[0] and clean_now >= rest + n[1]


def low_rank(v: Values, n: list[float], rule: str) -> bool:
    if "gains any" in rule:
        clean, low, full = v.values()
        return low - clean >= n[1] * (full - clean)
    clean, low, full = (v[f"low_rank/{name}"] for name in ("robust_clean", "robust", "robust_full"))
    return low - clean >= n[0] * (full - clean)


def transferred(v: Values, n: list[float], rule: str) -> bool:
    if "transfer/other" in v:  # the theory's
        return v["transfer/other"] <= v["transfer/own"] + n[0] and v["transfer/purified"] >= n[1]
    cost = {net: v[f"transfer/none@{net}"] - v[f"transfer/clean@{net}"] for net in ("clean", "other_clean", "now")}
    return cost["other_clean"] >= n[0] * cost["clean"] and cost["now"] <= n[1] * cost["clean"]


DECIDING = tuple(f"rival/robust/{name}" for name in ("linear", "quadratic", "cubic", "ntk"))  # the NTK of now is shown

RULES: dict[int, Callable[[Values, list[float], str], bool]] = {
    1: fragile,
    2: lambda v, n, _: end(v, "alignment/fgm") >= n[0],
    3: dense,
    4: purified,
    5: lambda v, n, _: v[FGM_SHARE] == 1 and end(v, "verified/certified") >= n[0],
    6: lambda v, n, _: all(x <= end(v, "verified/worst") - n[0] for k, x in v.items() if k in DECIDING),
    7: turned,
    8: local,
    9: low_rank,
    10: transferred,
    11: layers,
}


def recomputed(claim: Claim) -> bool:
    """The verdict that a reader of the card comes to, with pencil and paper."""
    values: Values = {}
    for figure in claim.evidence:
        name = figure.name if figure.name not in values else f"{figure.name} "  # the same before and after
        values[name if name not in values else f"{name} "] = figure.value
    return RULES[claim.id](values, numbers(claim.rule), claim.rule)


@pytest.mark.parametrize("preset", KINDS)
def test_every_verdict_is_what_its_printed_rule_says_of_its_figures(preset: str) -> None:
    """On figures drawn around those that hold, so that each rule is met and missed."""
    rng, config = np.random.default_rng(5), load_preset(preset)
    seen: set[tuple[int, str]] = set()
    for turn in range(400):
        values = {
            key: value if rng.random() < 0.8 else float(np.clip(value + rng.normal(0, 0.4), 0, 1))
            for key, value in KINDS[preset].items()
        }
        source = Figures(values, with_value(config, "attack.steps", 5) if turn % 7 == 0 else config)
        for claim in check(source):
            if claim.verdict != "not measured":
                assert (claim.verdict == "holds") == recomputed(claim), claim
                seen.add((claim.id, claim.verdict))
    decided = {i for i, verdict in verdicts(check(Figures(KINDS[preset], config))).items() if verdict == "holds"}
    assert seen == {(i, verdict) for i in decided for verdict in ("holds", "does not hold")}


PHASE_END = {"small": (4, 5, 6, 7, 9, 10), "cifar10-filters": (7, 10, 11)}


def under_way(preset: str) -> Figures:
    """The same figures, but the adversarial phase goes on: no report, and a verification in its middle."""
    values = {
        (name.removeprefix(metrics.REPORT) if step == NOW else name, step): value
        for (name, step), value in KINDS[preset].items()
    }
    return Figures(values, load_preset(preset))


@pytest.mark.parametrize("preset", KINDS)
def test_nothing_is_said_of_a_phases_end_before_it_ends(preset: str) -> None:
    found = {claim.id: claim for claim in check(under_way(preset))}
    for i in PHASE_END[preset]:
        assert found[i].verdict == "not measured", found[i]
        assert found[i].waits == "Not yet: decided when the adversarial phase has ended."
    ended = under_way(preset)
    ended.events = (*ended.events, Event(NOW, 0.0, "phase", "adversarial", "clean"))  # T is pressed
    assert {verdicts(check(ended))[i] for i in PHASE_END[preset]} == {"holds"}


@pytest.mark.parametrize("preset", KINDS)
def test_while_clean_training_goes_on_every_claim_about_it_waits(preset: str) -> None:
    source = Figures({key: v for key, v in KINDS[preset].items() if key[1] == 0}, load_preset(preset))
    source.events = ()
    for claim in check(source):
        assert claim.verdict == "not measured"
        if claim.applies and claim.id != 8:  # which is about layers that are trained alone
            assert claim.waits == "Not yet: decided when clean training has ended."


def test_a_phase_without_a_step_decides_nothing_anew() -> None:
    good = test_claims.GOOD
    source = Figures(good)
    switches = [("adversarial", "clean"), ("clean", "adversarial")] * 2
    source.events = (*source.events, *(Event(NOW, 0.0, "phase", old, new) for old, new in switches))
    assert verdicts(check(source)) == verdicts(check(Figures(good)))
    source.events = (*source.events, Event(NOW, 0.0, "phase", "adversarial", "clean"))
    assert verdicts(check(source)) == verdicts(check(Figures(good)))


def test_a_clean_phase_after_purification_is_not_judged_as_purification() -> None:
    """The figures of the purified network stay, at their step, until that clean phase ends and is the reference."""
    again = {**test_claims.GOOD, (metrics.PRINCIPLE1[0], NOW + 50): 0.9, ("verified/certified@0.2", NOW + 50): 0.0}
    source = Figures(again)
    source.events = (*source.events, Event(NOW, 0.0, "phase", "adversarial", "clean"))
    found = {claim.id: claim for claim in check(source)}
    assert (found[7].verdict, found[5].verdict) == ("holds", "holds")
    assert {figure.step for figure in found[7].evidence} == {NOW}
    source.events = (*source.events, Event(NOW + 60, 0.0, "phase", "clean", "adversarial"))
    assert {verdicts(check(source))[i] for i in (1, 4, 5, 7)} == {"not measured"}


def test_every_rule_about_a_phase_names_it() -> None:
    for preset in KINDS:
        for claim in check(under_way(preset)):
            if claim.waits.startswith("Not yet: decided when the adversarial"):
                assert claim.rule.startswith("after adversarial training"), claim.rule
    assert CLEAN_END < NOW
