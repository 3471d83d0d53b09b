"""A new objective is offered, checked, trained with, shown and exported once its file is imported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PySide6.QtWidgets import QMainWindow
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.attacks.threat import threats
from engine.config.experiment import resolve
from engine.config.objectives import objectives
from engine.core.errors import ConfigError
from engine.run.commands import SwitchPhase
from fp_gui.actions import Toolbar, make_actions
from fp_gui.theme import LIGHT, stylesheet
from tests.examples.conftest import IMAGES, THEORY, Call, captions, example, settings
from tests.tiny_runs import run as train
from tests.tiny_runs import tiny_config


@pytest.fixture(autouse=True)
def _there() -> Iterator[None]:
    yield from example("objective", objectives, "uniform_noise")


def test_it_is_offered_and_checked(call: Call, tmp_path: Path) -> None:
    names = ("clean", "adversarial", "gaussian_noise", "trades", "smoothed_adversarial", "uniform_noise")
    assert resolve("schedule.second").choices == names
    assert "allowed" not in call("knobs")
    assert ", ".join(names) in " ".join(call("knobs").split())
    call(
        "run", "small", "--out", tmp_path / "run", "--set", "schedule.second=uniform",
        fails=f"schedule.second: got 'uniform'; allowed: {', '.join(names)}",
    )  # fmt: skip


def test_the_window_has_its_button_and_colour(qtbot: QtBot) -> None:
    window = QMainWindow()
    qtbot.addWidget(window)
    toolbar = Toolbar(make_actions(window), window)
    button = toolbar.objectives["uniform_noise"]
    assert button.text() == "Uniform"
    assert button.toolTip().startswith("Train on samples moved to a random point of the ball")
    with qtbot.waitSignal(toolbar.objective_chosen) as met:
        button.click()
    assert met.args == ["uniform_noise"]
    assert 'QLabel#phase[objective="uniform_noise"] { background: #F0E442' in stylesheet(LIGHT)


@pytest.mark.parametrize(("preset", "small"), [("small", THEORY), ("digits", IMAGES)])
def test_it_is_trained_with_and_exported(call: Call, tmp_path: Path, preset: str, small: tuple[str, ...]) -> None:
    run, out = tmp_path / "run", tmp_path / "figures"
    printed = call("run", preset, "--out", run, *settings(*small, "schedule.second=uniform_noise"))
    assert "after 24 steps (uniform_noise):" in printed
    call("export", run, "--view", "robustness", "--out", out, "--format", "svg")
    assert "12 steps of clean training, then 12 steps of uniform noise training" in captions(out)
    assert "Training noise at this step: uniform, l2 radius" in captions(out)
    assert "(uniform noise phase)" in captions(out)
    assert ">uniform noise</text>" in (out / "robustness" / "robustness.svg").read_text(encoding="utf-8")


def test_a_run_can_be_switched_to_it_and_goes_on_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(tiny_config(), folder, until=20, plan={10: [SwitchPhase("uniform_noise")]})
    session = worlds.resume(folder)
    try:
        assert session.phase == "uniform_noise"
        with pytest.raises(ConfigError, match=r"phase: got 'uniform'; allowed: .*uniform_noise"):
            session.apply(SwitchPhase("uniform"))
    finally:
        session.close()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_it_moves_samples_inside_the_ball(norm: str) -> None:
    config = tiny_config(**{"attack.norm": norm})
    x = torch.zeros(50, 16)
    objectives["uniform_noise"].perturb(config, None, x, torch.ones(50), torch.Generator().manual_seed(0))
    assert 0.1 < float(threats[norm].size(x).max()) <= 0.2 + 1e-6
