"""A new attack is offered, checked, measured, shown, verified and exported once its file is imported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engine.attacks.base import attacks
from engine.attacks.threat import threats
from engine.core.labels import figure_name
from engine.core.measurement import Measurement
from engine.core.slices import finish
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import robustness
from engine.run.store import Store
from engine.studies.sanity import check
from engine.studies.verify import verify
from tests.examples.conftest import IMAGES, THEORY, Call, captions, example, settings


@pytest.fixture(autouse=True)
def _there() -> Iterator[None]:
    yield from example("attack", attacks, "random_signs")


def test_it_is_offered_checked_and_measured(call: Call, finished_run: Path) -> None:
    out = call("evaluate", finished_run, "--attack", "random_signs", "--attack", "fgm", "--steps", "5", "--n", "48")
    assert "random signs (5 tries, no gradient), ℓ2 radius 0.2, n = 48" in out
    call(
        "evaluate", finished_run, "--attack", "random",
        fails="--attack: got 'random'; allowed for this run: fgm, dense, pgd, apgd, square, random_signs",
    )  # fmt: skip
    rows = json.loads(call("evaluate", finished_run, "--attack", "random_signs", "--n", "48", "--json"))["figures"]
    assert [row["attack"] for row in rows] == ["clean", "random_signs"]


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_is_verified_and_judged_on_the_theorys_networks(norm: str) -> None:
    draw = torch.Generator().manual_seed(0)
    model = SymmetricRelu(torch.randn(24, 16, generator=draw), 0.3)
    x = torch.randn(60, 16, generator=draw)
    y = model.logits(x).sign()
    sizes = {"pgd": (3, 1), "apgd": (3, 1), "square": (5, 1)}
    found = finish(verify(model, None, x, y, norm, (0.1, 0.2), 0, sizes=sizes))
    for at in found.radii:
        assert at["random_signs"].protocol == Measurement("random_signs", norm, at.tau, 7, 1, 60)
        assert at.worst.right <= at["random_signs"].right < 60
        assert at.worst.protocol.attack == "worst of fgm, pgd, apgd, square, random_signs"
    attack = robustness.build(found.radii[1]["random_signs"].protocol, None)
    assert attack is not None
    assert bool((threats[norm].size(attack(model, x, y, draw)) <= 0.2 + 1e-6).all())
    assert "black box" not in {warning.id for warning in check(found, None)}


def test_it_is_a_search_that_warns_of_masked_gradients() -> None:
    """Its file says that it looks at no gradient, so more damage than PGD's is a warning."""

    class Masked:
        """Wrong near the corners of the ball; its gradient leads nowhere."""

        def margin(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return 0.19 - x.abs().amin(1)

        def input_gradient(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.zeros_like(x)

    x, y = torch.zeros(40, 4), torch.ones(40)
    found = finish(verify(Masked(), None, x, y, "linf", (0.2,), 0, sizes={"square": (1, 1), "pgd": (3, 1)}))
    assert found.radii[0]["random_signs"].right == 0
    assert found.radii[0]["pgd"].right == 40
    evidence = [warning.evidence for warning in check(found, None) if warning.id == "black box"]
    assert any("random signs (7 tries, no gradient)" in text for text in evidence)


@pytest.mark.usefixtures("quick")
def test_it_is_in_the_verified_evaluation_of_a_run_on_images(call: Call, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "figures"
    call("run", "digits", "--out", run, *settings(*IMAGES, "schedule.second_steps=0"))
    printed = call("evaluate", run, "--attack", "autoattack", "--n", "16", "--radius", "0.1")
    assert "worst case of APGD-CE (5 steps × 1 restart), APGD-T (5 steps × 2 targets), Square (20 queries)" in printed
    assert "and random signs (7 tries), ℓ2 radius 0.1" in printed
    call("evaluate", run, "--attack", "dense", fails="allowed for this run: fgm, pgd, apgd, apgd_ce, apgd_t, square")
    call("claims", run, "--verify", "--n", "16")
    store = Store.open(run, read_only=True)
    try:
        name = f"verified/random_signs@{store.config.attack.tau / 2:g}"
        protocol = store.protocol(name, 12)
    finally:
        store.close()
    assert protocol is not None
    assert protocol.text().startswith("random signs (7 tries, no gradient) on what APGD-CE, APGD-T and Square left")
    assert figure_name(name) == f"accuracy under random signs, radius {name.partition('@')[2]}"
    call("export", run, "--view", "claims", "--out", out, "--format", "svg")
    assert "Digits (200 training images)" in captions(out)


def test_the_theorys_runs_know_it(call: Call, tmp_path: Path) -> None:
    call("run", "small", "--out", tmp_path / "run", *settings(*THEORY, "schedule.second_steps=0"))
    assert "random signs (40 tries" in call("evaluate", tmp_path / "run", "--attack", "random_signs", "--n", "16")


def test_it_is_forgotten_between_tests() -> None:
    assert list(attacks).count("random_signs") == 1
