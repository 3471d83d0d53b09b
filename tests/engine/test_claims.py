"""Claims: every verdict follows from figures and thresholds, and a run that should fail a claim does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import worlds
from engine.claims import theory
from engine.claims.base import FGM_SHARE, Claim, Facts, Figure, check
from engine.claims.source import StoreSource
from engine.config.experiment import Config, with_value
from engine.config.presets import load_preset
from engine.core import metrics
from engine.core.history import Series
from engine.core.measurement import Measurement
from engine.probes.principle1 import principle1
from engine.run.commands import SetKnob
from engine.run.snapshot import Event
from engine.run.store import Store
from engine.studies.questions.claims import ClaimsStudy, claims_of, table
from tests.tiny_runs import drain, tiny_config

CLEAN_END, NOW = 100, 200
DENSE, SHARE = theory.DENSE_ALIGNMENT, theory.DENSE_SHARE
PROTOCOL = Measurement("pgd", "l2", 0.2, 40, 5, 1000)

# A run in which every claim holds: (name, step) → value.
GOOD: dict[tuple[str, int], float] = {
    ("report/accuracy/clean", CLEAN_END): 0.97,
    ("report/accuracy/pgd", CLEAN_END): 0.2,
    ("report/accuracy/dense", CLEAN_END): 0.21,
    ("report/alignment/fgm", CLEAN_END): 0.95,
    (SHARE, 0): 0.1,
    (f"report/{SHARE}", CLEAN_END): 0.85,
    (f"report/{metrics.SMALL}", CLEAN_END): 0.88,
    (f"report/{metrics.HELD}", CLEAN_END): 185.0,
    (f"report/{metrics.HELD}", NOW): 195.0,
    (f"report/{metrics.KEPT}", NOW): 0.95,
    (f"report/{DENSE}", CLEAN_END): 0.6,
    (f"report/{DENSE}", NOW): 0.02,
    (f"report/{theory.PURITY}", NOW): 0.99,
    ("verified/certified@0.2", NOW): 0.8,
    ("verified/worst@0.2", NOW): 0.87,
    **{(f"rival/robust/{name}", NOW): 0.6 for name in theory.BASELINES},
    **{(f"report/{n}", NOW): v for n, v in zip(metrics.PRINCIPLE1, (0.2, 0.1, 0.8, 0.9), strict=True)},
    ("low_rank/robust", NOW): 0.85,
    ("low_rank/robust_full", NOW): 0.87,
    ("low_rank/robust_clean", NOW): 0.17,
    ("low_rank/robust_removed", NOW): 0.73,
    ("low_rank/rank_used", NOW): 4.0,
    ("low_rank/cosine_used", NOW): 0.99,
    ("transfer/own", NOW): 0.2,
    ("transfer/other", NOW): 0.22,
    ("transfer/purified", NOW): 0.97,
}
ON_IMAGES = (8, 11)  # claims that a run in the world of the theory says nothing of
ACCURACY = ("accuracy/", "verified/", "rival/", "transfer/", "low_rank/robust")


class Figures:
    """A source made by hand."""

    def __init__(self, values: Mapping[tuple[str, int], float], config: Config | None = None) -> None:
        self.values = values
        self.config = config or load_preset("small")
        self.events: tuple[Event, ...] = (Event(CLEAN_END, 0.0, "phase", "clean", "adversarial"),)

    def names(self) -> list[str]:
        return [name for name, _ in self.values]

    def series(self, name: str) -> Series | None:
        found = sorted((step, value) for (n, step), value in self.values.items() if n == name)
        return Series(np.array([s for s, _ in found]), np.array([v for _, v in found])) if found else None

    def protocol(self, name: str, step: int) -> Measurement | None:
        return PROTOCOL if any(part in name for part in ACCURACY) else None


def verdicts(found: list[Claim]) -> dict[int, str]:
    return {claim.id: claim.verdict for claim in found}


def test_all_nine_hold_on_a_run_as_the_paper_has_it() -> None:
    found = check(Figures(GOOD))
    expected = dict.fromkeys((1, 2, 3, 4, 5, 6, 7, 9, 10), "holds") | dict.fromkeys(ON_IMAGES, "not measured")
    assert verdicts(found) == expected
    for claim in found:
        if claim.id in ON_IMAGES:
            continue
        assert claim.evidence
        assert claim.rule
        assert claim.about
    accuracy = next(f for f in found[0].evidence if f.name.endswith("pgd"))
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low < accuracy.value < accuracy.high
    assert "PGD-40 × 5 restarts" in accuracy.protocol


@pytest.mark.parametrize(
    ("claim", "name", "step", "value"),
    [
        (1, "report/accuracy/clean", CLEAN_END, theory.ACCURATE - 0.001),
        (1, "report/accuracy/pgd", CLEAN_END, theory.FRAGILE + 0.001),
        (2, "report/alignment/fgm", CLEAN_END, theory.ALIGNED - 0.001),
        (3, f"report/{SHARE}", CLEAN_END, theory.MIXED - 0.001),
        (3, SHARE, 0, 0.86 / theory.OVER_CHANCE),
        (3, f"report/{metrics.SMALL}", CLEAN_END, theory.MOST),
        (4, f"report/{metrics.KEPT}", NOW, theory.KEPT - 0.001),
        (4, f"report/{DENSE}", NOW, 0.6 * theory.MELTED + 0.001),
        (4, f"report/{theory.PURITY}", NOW, theory.PURE - 0.001),
        (5, "verified/certified@0.2", NOW, theory.CERTIFIED - 0.001),
        (6, "rival/robust/cubic", NOW, 0.87 - theory.GAP + 0.001),
        (7, f"report/{metrics.PRINCIPLE1[0]}", NOW, theory.UNRELATED + 0.001),
        (7, f"report/{metrics.PRINCIPLE1[2]}", NOW, 0.2 + theory.RELATED - 0.001),
        (9, "low_rank/robust", NOW, 0.17 + 0.7 * theory.LOW_RANK_GAIN - 0.001),
        (10, "transfer/other", NOW, 0.2 + theory.TRANSFERS + 0.001),
        (10, "transfer/purified", NOW, theory.IMMUNE - 0.001),
    ],
)
def test_each_threshold_decides(claim: int, name: str, step: int, value: float) -> None:
    found = verdicts(check(Figures({**GOOD, (name, step): value})))
    assert found[claim] == "does not hold"
    assert [i for i, verdict in found.items() if verdict != "holds" and i not in ON_IMAGES] == [claim]


def test_the_ntk_of_now_is_shown_and_does_not_decide() -> None:
    claim = check(Figures({**GOOD, ("rival/robust/ntk_now", NOW): 0.95}))[5]
    assert (claim.id, claim.verdict) == (6, "holds")
    assert ("rival/robust/ntk_now", 0.95) in [(f.name, f.value) for f in claim.evidence]
    assert "does not decide" in claim.rule


@pytest.mark.parametrize("name", sorted({name for name, _ in GOOD} - {"low_rank/rank_used", "low_rank/cosine_used"}))
def test_what_was_not_measured_is_not_decided(name: str) -> None:
    found = verdicts(check(Figures({key: value for key, value in GOOD.items() if key[0] != name})))
    changed = {verdict for i, verdict in found.items() if verdict != "holds" and i not in ON_IMAGES}
    assert changed <= {"not measured"}
    assert bool(changed) == (name not in SHOWN)


SHOWN = (  # beside what decides
    "report/accuracy/dense", f"report/{metrics.HELD}", f"report/{metrics.PRINCIPLE1[3]}", "low_rank/robust_removed",
)  # fmt: skip


def claim(number: int, **changed: float) -> Claim:
    """One claim of the good run with these figures, by name and step: ``claim(3, small=0.2)``."""
    names = {
        "small": (f"report/{metrics.SMALL}", CLEAN_END), "share": (f"report/{SHARE}", CLEAN_END),
        "kept": (f"report/{metrics.KEPT}", NOW), "full": ("low_rank/robust_full", NOW),
        "removed": ("low_rank/robust_removed", NOW), "clean": ("low_rank/robust_clean", NOW),
    }  # fmt: skip
    values = {**GOOD, **{names[name]: value for name, value in changed.items()}}
    return next(c for c in check(Figures(values)) if c.id == number)


def test_dense_and_small_are_judged_each_for_itself() -> None:
    def parts(found: Claim) -> list[tuple[str, str]]:
        return [(part.name, part.verdict) for part in found.parts]

    assert parts(claim(3)) == [("dense", "holds"), ("small", "holds")]
    large = claim(3, small=0.01)
    assert large.verdict == "does not hold"
    assert parts(large) == [("dense", "holds"), ("small", "does not hold")]
    assert parts(claim(3, share=0.3)) == [("dense", "does not hold"), ("small", "holds")]
    assert "dense: holds · small: does not hold" in table([large])
    assert parts(claim(4, kept=0.5)) == [("pure", "holds"), ("kept", "does not hold")]


def test_the_gain_of_low_rank_and_of_the_removal_by_hand() -> None:
    found = {f.name: f for f in claim(9).evidence}
    assert found["low_rank/gain"].value == pytest.approx((0.85 - 0.17) / (0.87 - 0.17))
    assert found["low_rank/gain_removed"].value == pytest.approx((0.73 - 0.17) / (0.87 - 0.17))
    assert "PGD-40" in found["low_rank/gain"].protocol
    nothing_gained = claim(9, full=0.17)
    assert nothing_gained.verdict == "not measured"
    assert not [f for f in nothing_gained.evidence if "gain" in f.name]


def test_the_share_beside_the_cosines_is_a_cosine_itself() -> None:
    """‖βw′‖ > ‖w − βw′‖ exactly where |cos(w, w′)| > 1/√2, as the rule of claim 7 says."""
    generator = torch.Generator().manual_seed(0)
    clean, now = (torch.randn(500, 6, generator=generator) for _ in range(2))
    found = principle1(clean, clean, now)
    assert 0 < found.alive.sum() <= 500
    np.testing.assert_array_equal(found.pure_part > found.rest, np.abs(found.cos_clean_now) > 1 / np.sqrt(2))


def certified(events: Sequence[tuple[int, str, str, str]] = (), **knobs: object) -> tuple[str, Figure]:
    """Claim 5 with these changes and, at the end, these knobs: verdict, and what it says of the training."""
    config = load_preset("small")
    for name, value in knobs.items():
        config = with_value(config, f"attack.{name}", value)
    source = Figures(GOOD, config)
    made = [Event(step, 0.0, name, old, new) for step, name, old, new in events]
    source.events = tuple(sorted((*source.events, *made), key=lambda e: e.step))
    (claim,) = [c for c in check(source) if c.id == 5]
    (training,) = [f for f in claim.evidence if f.name == FGM_SHARE]
    return claim.verdict, training


def test_pgd_training_is_not_fgm_training() -> None:
    verdict, training = certified(steps=5)
    assert (verdict, training.value, training.protocol) == ("does not hold", 0.0, "PGD-5")


def test_fgm_from_a_random_start_is_fgm_by_its_name() -> None:
    verdict, training = certified(random_start=True)
    assert (verdict, training.value, training.protocol) == ("holds", 1.0, "FGM from a random start")
    assert certified(restarts=2)[0] == "does not hold"


STEPS_5 = ("attack.steps", "1", "5")


def test_knobs_changed_before_the_phase_are_those_it_was_trained_with() -> None:
    verdict, training = certified([(CLEAN_END - 20, *STEPS_5)], steps=5)
    assert (verdict, training.protocol) == ("does not hold", "PGD-5")
    back = [(20, *STEPS_5), (CLEAN_END, "attack.steps", "5", "1")]  # at the very step of the switch
    assert certified(back) == ("holds", Figure(FGM_SHARE, 1.0, NOW, protocol="FGM"))


def test_knobs_changed_within_the_phase_are_said_and_all_must_be_fgm() -> None:
    verdict, training = certified([(150, *STEPS_5)], steps=5)
    assert (verdict, training.value) == ("does not hold", 0.5)
    assert training.protocol == "FGM, from step 150 on PGD-5"
    events = [(120, *STEPS_5), (140, "attack.steps", "5", "1")]  # the knob of now says nothing of it
    verdict, training = certified(events)
    assert (verdict, training.value) == ("does not hold", 0.8)
    assert training.protocol == "FGM, from step 120 on PGD-5, from step 140 on FGM"
    verdict, training = certified([(150, "attack.random_start", "False", "True")], random_start=True)
    assert (verdict, training.value) == ("holds", 1.0)
    assert training.protocol == "FGM, from step 150 on FGM from a random start"


@pytest.mark.parametrize("step", [NOW, NOW + 50])
def test_knobs_changed_after_what_was_certified_change_nothing(step: int) -> None:
    assert certified([(step, *STEPS_5)], steps=5) == ("holds", Figure(FGM_SHARE, 1.0, NOW, protocol="FGM"))


def test_a_live_change_of_the_attack_decides_by_the_phase(tmp_path: Path) -> None:
    """The same on a run: the events are those that a session writes."""
    session = worlds.create(tiny_config(), tmp_path / "run")
    while session.steps_done < 80:
        if session.steps_done == 60:
            session.apply(SetKnob("attack.random_start", True))
            session.apply(SetKnob("attack.steps", 3))
        session.step()
    session.apply(SetKnob("attack.steps", 1))
    drain(session)  # the report says that the phase has ended
    session.close()
    with closing(Store.open(tmp_path / "run", read_only=True)) as store:
        found = Facts(StoreSource(store)).trained_by(80)
    assert found is not None
    assert (found.value, found.protocol) == (0.5, "FGM, from step 60 on PGD-3 from a random start")


def test_a_planned_attack_is_judged_step_by_step() -> None:
    planned = with_value(load_preset("small"), "attack.steps", [[0, 1], [NOW - 26, 1], [NOW - 25, 7]])
    source = Figures(GOOD, planned)
    (found,) = [c for c in check(source) if c.id == 5]
    (training,) = [f for f in found.evidence if f.name == FGM_SHARE]
    assert (found.verdict, training.value) == ("does not hold", 0.75)
    assert training.protocol == f"FGM, from step {NOW - 25} on PGD-7"
    by_hand = [Event(150, 0.0, "schedule.knobs.attack.steps", "[[0, 1], [149, 1], [150, 9]]", "None")]
    source = Figures(GOOD, load_preset("small"))
    source.events = (*source.events, *by_hand)
    (found,) = [c for c in check(source) if c.id == 5]
    assert found.verdict == "holds"  # ended before it left 1


def test_certified_on_the_clean_net_says_nothing_of_adversarial_training() -> None:
    moved = {key: value for key, value in GOOD.items() if not key[0].startswith("verified")}
    figures = Figures({**moved, ("verified/certified@0.2", CLEAN_END): 0.9, ("verified/worst@0.2", CLEAN_END): 0.95})
    assert verdicts(check(figures))[5] == "not measured"


def trained(folder: Path, **knobs: object) -> Path:
    """The preset ``small`` in a fifth of its steps, with these knobs."""
    config = load_preset("small")
    steps = {"schedule.clean_steps": 300, "schedule.second_steps": 300, "evaluation.every": 150}
    for name, value in {"device": "cpu", **steps, **knobs}.items():
        config = with_value(config, name.replace("__", "."), value)
    session = worlds.create(config, folder)
    while not session.finished:
        session.step()
    drain(session)
    session.close()
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, Any]]:
    """The claims of three runs, none of which is what the paper describes; that one is in test_reference.py."""
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    root = tmp_path_factory.mktemp("claims")
    kinds: dict[str, dict[str, object]] = {
        "clean only": {"schedule__second_steps": 0},
        "noise": {"schedule__second": "gaussian_noise"},
        "too large": {"attack__tau": 1.5},
    }
    found = {}
    for kind, knobs in kinds.items():
        folder = trained(root / kind, **knobs)
        claims_of(folder)
        found[kind] = {c["id"]: c for c in json.loads((folder / "claims.json").read_text(encoding="utf-8"))}
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)
    return found


def test_without_an_adversarial_phase_nothing_purifies(runs: dict[str, dict[int, Any]]) -> None:
    assert runs["clean only"][3]["parts"] == [
        {"name": "dense", "verdict": "holds"}, {"name": "small", "verdict": "does not hold"},
    ]  # fmt: skip
    assert runs["clean only"][4]["verdict"] == "not measured"
    assert runs["clean only"][5]["verdict"] == "not measured"


def test_gaussian_noise_is_no_adversarial_training(runs: dict[str, dict[int, Any]]) -> None:
    """The rules are about adversarial training: a run that trains something else neither confirms nor refutes them."""
    assert {runs["noise"][i]["verdict"] for i in (4, 5, 6, 7, 9, 10)} == {"not measured"}
    assert runs["noise"][3]["parts"][0] == {"name": "dense", "verdict": "holds"}


def test_a_radius_too_large_leaves_no_accuracy(runs: dict[str, dict[int, Any]]) -> None:
    """Nothing can be learned against a perturbation larger than the signal."""
    assert "holds" not in (runs["too large"][4]["verdict"],)


def test_the_file_holds_what_the_table_says(tmp_path: Path, finished_run: Path) -> None:
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))  # the fixture's is only to be read
    found = claims_of(folder)
    records = json.loads((folder / "claims.json").read_text(encoding="utf-8"))
    assert [set(r) for r in records] == [{"id", "title", "verdict", "rule", "parts", "evidence"}] * len(found)
    text = table(found)
    for record in records:
        assert record["title"] in text
        assert record["rule"] in text
        for figure in record["evidence"]:
            assert figure["name"] in text


def test_seeds_give_mean_and_spread(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    session = worlds.create(tiny_config(), folder)
    session.close()
    records = ClaimsStudy().run(folder, seeds=2)
    written = json.loads((folder / "claims-seeds.json").read_text(encoding="utf-8"))
    assert [r["verdicts"] for r in written] == [r.verdicts for r in records]
    each = [json.loads((folder / "seeds" / f"seed-{s}" / "claims.json").read_text(encoding="utf-8")) for s in (0, 1)]
    for index, record in enumerate(records):
        assert sum(record.verdicts.values()) == 2
        for piece in record.evidence:
            values = [f["value"] for claims_ in each for f in claims_[index]["evidence"] if f["name"] == piece.name]
            assert piece.mean == pytest.approx(np.mean(values))
            assert piece.spread == pytest.approx(np.std(values, ddof=1) if len(values) > 1 else 0)
