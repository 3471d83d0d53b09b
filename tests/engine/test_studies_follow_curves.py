"""The studies that repeat a phase of a run on images take its knobs through the curves that they follow in the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from engine import worlds
from engine.core.slices import silent
from engine.images.config import ImageTraining
from engine.images.session import ImageSession
from engine.images.training import ImageTrainer
from engine.studies.clean_end import CleanEnd, Stages
from engine.studies.layer_alone import train_alone
from engine.studies.rank_phases import adversarial_phase
from tests.tiny_image_runs import tiny_images

SIZE, CLEAN, SECOND = 40, 9, 8
CURVES = {
    "training.lr": [[0, 0.3], [CLEAN, 0.05], [CLEAN + 3, 0.4], [CLEAN + SECOND, 0.1]],
    "training.momentum": [[CLEAN, 0.0], [CLEAN + 5, 0.8]],
    "attack.tau": [[0, 0.1], [CLEAN + SECOND, 0.9]],
}
Row = tuple[float, float]  # learning rate, momentum: those that the optimiser is given


def quiet(share: float) -> None:
    """A progress that nobody hears."""


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    """What every step of training, the run's and a study's, hands to the optimiser."""
    found: list[Row] = []
    step = ImageTrainer._sgd_step

    def heard(self: ImageTrainer, knobs: ImageTraining, lr: float) -> None:
        found.append((lr, knobs.momentum))
        step(self, knobs, lr)

    monkeypatch.setattr(ImageTrainer, "_sgd_step", heard)
    return found


def trained(folder: Path, **values: Any) -> dict[str, Tensor]:
    """A run of which each batch is the whole training set, so that no order of the images matters; its weights."""
    config = tiny_images(
        **{
            "model.name": "two_layer", "model.width": 12, "world.train_size": SIZE, "training.batch_size": SIZE,
            "training.flip": False, "training.crop": 0, "attack.random_start": False, "storage.checkpoint_every": 100,
            "evaluation.every": 100, "schedule.clean_steps": CLEAN, "schedule.second_steps": SECOND, **values,
        }
    )  # fmt: skip
    session = worlds.create(config, folder)
    assert isinstance(session, ImageSession)
    while not session.finished:
        session.step()
    session.close()
    return {name: tensor.clone() for name, tensor in session.network.state_dict().items()}


def gap(trainer: ImageTrainer, weights: dict[str, Tensor]) -> float:
    return max(float((tensor - weights[name]).abs().max()) for name, tensor in trainer.network.state_dict().items())


def test_the_full_arm_is_the_phase_of_the_run(tmp_path: Path, rows: list[Row]) -> None:
    weights = trained(tmp_path / "run", **CURVES)
    of_run = rows[CLEAN:]
    assert len(set(of_run)) == SECOND
    rows.clear()
    trainer = adversarial_phase(CleanEnd.load(tmp_path / "run", 16), 0, "all", SECOND, quiet)
    assert rows == of_run
    assert gap(trainer, weights) < 1e-5
    flat = trained(tmp_path / "flat", **CURVES | {"attack.tau": 0.9})
    assert gap(trainer, flat) > 1e-3  # the radius, too, has followed its curve


def test_a_shorter_phase_goes_through_the_whole_curve(tmp_path: Path, rows: list[Row]) -> None:
    trained(tmp_path / "run", **CURVES)
    of_run = rows[CLEAN:]
    rows.clear()
    adversarial_phase(CleanEnd.load(tmp_path / "run", 16), 0, "all", SECOND // 2, quiet)
    assert [momentum for _, momentum in rows] == [momentum for _, momentum in of_run[::2]]


def test_a_layer_alone_learns_clean_as_the_run_did(tmp_path: Path, rows: list[Row]) -> None:
    trained(tmp_path / "run", **CURVES)
    of_run = rows.copy()
    rows.clear()
    train_alone(CleanEnd.load(tmp_path / "run", 16), "hidden", CLEAN, SECOND, Stages(silent, [1.0] * 4))
    assert rows == of_run
