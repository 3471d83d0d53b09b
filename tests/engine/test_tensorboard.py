"""A run's scalars as TensorBoard reads them: every value at its step, and in words what was trained and measured."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from engine.cli.main import run_command_line
from engine.run.store import Store


def export(run: Path, out: Path, *arguments: str) -> int:
    return run_command_line(["export", str(run), "--out", str(out), *arguments])


def test_every_scalar_is_read_back_at_its_step(
    finished_run: Path, finished_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert export(finished_run, tmp_path / "logs", "--format", "tensorboard") == 0
    assert export(finished_run, tmp_path / "logs", "--format", "tensorboard") == 0  # the same file, not a second run
    (file,) = (tmp_path / "logs").iterdir()
    assert file.name.startswith("events.out.tfevents.")
    assert capsys.readouterr().out == 2 * f"scalars: {file}\n"
    found = EventAccumulator(str(tmp_path / "logs"), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    assert sorted(found.Tags()["scalars"]) == finished_store.names()
    for name in finished_store.names():
        series, events = finished_store.series(name), found.Scalars(name)
        assert [event.step for event in events] == series.steps.tolist()
        values = np.array([event.value for event in events], np.float32)
        assert np.array_equal(values, series.values.astype(np.float32), equal_nan=True)
    words = {tag: found.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in found.Tags()["tensors"]}
    assert "| attack.tau | 0.2 |" in words["knobs"]
    assert "| 40 | phase clean → adversarial |" in words["changes"]
    assert "| report/accuracy/pgd | 40 | PGD-4 × 2 restarts, ℓ2 radius 0.2, n = 48, 95% Wilson" in words["protocols"]


def test_beside_figures(finished_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    both = ("--format", "tensorboard", "--format", "svg", "--view", "robustness")
    assert export(finished_run, tmp_path, *both) == 0
    assert (tmp_path / "robustness" / "robustness.svg").exists()
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1


def test_where_it_is_not_installed(
    finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert export(finished_run, tmp_path / "logs", "--format", "tensorboard") == 2
    assert capsys.readouterr().err == (
        "error: --format: got 'tensorboard', which needs tensorboard; install it by pip install "
        "'feature-purification-explorer[tensorboard]'\n"
    )
    assert not (tmp_path / "logs").exists()


def test_views_are_for_figures(finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert export(finished_run, tmp_path / "a") == 2
    assert capsys.readouterr().err == "error: --view: none was given; allowed: a view of the run, or all\n"
    assert export(finished_run, tmp_path / "a", "--format", "tensorboard", "--view", "robustness") == 2
    assert capsys.readouterr().err == (
        "error: --view: got 'robustness'; allowed with --format tensorboard alone: none\n"
    )
    assert export(tmp_path, tmp_path / "a", "--format", "tensorboard") == 2
    assert "is not a run folder" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_written(
    finished_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "file").touch()
    assert export(finished_run, tmp_path / "file", "--format", "tensorboard") == 2
    assert capsys.readouterr().err.startswith(f"error: out: {tmp_path / 'file'}/events.out.tfevents.")
