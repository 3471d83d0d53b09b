"""The preset ``small`` reaches the figures of SPEC.md section 9, from a run as a user would start it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import worlds
from engine.config.experiment import with_value
from engine.config.presets import load_preset
from engine.core import metrics
from engine.studies.questions.claims import claims_of
from tests.tiny_runs import drain

TOLERANCE = {metrics.CLEAN: 0.03, metrics.PGD: 0.05, metrics.ALIGNMENT: 0.06, metrics.mixture("purity", "mean"): 0.06}
REFERENCE = {"clean": (0.97, 0.38, 0.97, 0.37), "adversarial": (0.98, 0.86, 0.23, 0.99)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preset's run, through its schedule."""
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    config = with_value(with_value(load_preset("small"), "device", "cpu"), "evaluation.every", 500)
    session = worlds.create(config, tmp_path_factory.mktemp("small") / "run")
    while not session.finished:
        session.step()
    drain(session)
    session.close()
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)
    return session.folder


@pytest.fixture
def small(folder: Path) -> dict[str, Any]:
    """Its summary."""
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(("index", "phase"), list(enumerate(REFERENCE)))
def test_small_reaches_the_reference(small: dict[str, Any], index: int, phase: str) -> None:
    report = small["reports"][index]
    assert report["phase"] == phase
    protocol = report[metrics.PGD]["protocol"]
    assert (protocol["steps"], protocol["restarts"], protocol["n"], protocol["tau"]) == (40, 5, 1000, 0.2)
    reached = {name: report[name]["value"] for name in TOLERANCE}
    for (name, tolerance), expected in zip(TOLERANCE.items(), REFERENCE[phase], strict=True):
        assert reached[name] == pytest.approx(expected, abs=tolerance), reached


def test_small_purifies(small: dict[str, Any]) -> None:
    """What the theory says, in order: the dense mixture fools the clean net alone, and leaves its weights after."""
    clean, after = small["reports"]
    assert clean[metrics.DENSE]["value"] < 0.6 < 0.9 < after[metrics.DENSE]["value"]
    dense = metrics.mixture("dense_alignment", "mean")
    assert clean[dense]["value"] > 3 * after[dense]["value"]
    principle = {name: after[name]["value"] for name in metrics.PRINCIPLE1}
    assert principle["principle1/cos_start_now"] < principle["principle1/cos_clean_now"]


def test_the_claims_about_mixtures_hold(folder: Path) -> None:
    """That others do not purify, and that the claims say so, is in test_claims.py."""
    found = {claim.id: claim for claim in claims_of(folder)}
    # Here the mixtures are dense, and far beyond small.
    assert {part.name: part.verdict for part in found[3].parts} == {"dense": "holds", "small": "does not hold"}
    assert {part.name: part.verdict for part in found[4].parts}["pure"] == "holds"
