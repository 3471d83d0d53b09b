"""However a run is interrupted, what it saved is a state that the uninterrupted run went through."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from engine import worlds
from engine.config.experiment import Config
from engine.core.errors import ExplorerError
from engine.run.commands import SaveCheckpoint
from engine.run.session import Session
from tests.faults.processes import ENGINE, started, toml, wait_for
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import Record, advance, assert_same, drain, read, run, tiny_config

CONFIGS: dict[str, Callable[..., Config]] = {"theory": tiny_config, "images": tiny_images}
AT = 12  # steps done when the interruption comes; the last checkpoint is that of step 0


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    return {kind: run(make(), tmp_path_factory.mktemp(kind) / "run") for kind, make in CONFIGS.items()}


def interrupted_step(session: Session, after: int | None) -> int:
    """One step with a KeyboardInterrupt before its line number ``after``, or the number of its lines."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if "/engine/" not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines += 1
            if lines == after:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        session.step()
    finally:
        sys.settrace(None)
    return lines


def finish(folder: Path) -> Record:
    session = worlds.resume(folder)
    advance(session, session.config.schedule.total)
    drain(session)
    session.close()
    return read(folder)


@pytest.mark.parametrize(("kind", "trials"), [("theory", 5), ("images", 2)])
def test_a_step_interrupted_at_any_line_is_never_saved(
    kind: str, trials: int, tmp_path: Path, whole: dict[str, Record]
) -> None:
    def at(folder: Path) -> Session:
        session = worlds.create(CONFIGS[kind](), folder)
        advance(session, AT)
        return session

    session = at(tmp_path / "counted")
    lines = interrupted_step(session, None)
    session.close()
    assert lines > 20
    for i in range(trials):
        folder = tmp_path / f"run-{i}"
        session = at(folder)
        with pytest.raises(KeyboardInterrupt):
            interrupted_step(session, 3 + (lines - 4) * i // (trials - 1))
        session.close()
        assert_same(finish(folder), whole[kind])


def test_an_error_inside_a_step_ends_the_run_there(tmp_path: Path, whole: dict[str, Record]) -> None:
    """Whoever presses on gets neither another step nor a checkpoint of the half-done one."""
    session = worlds.create(tiny_config(), tmp_path / "run")
    advance(session, 30)
    train = session._trainer.step  # type: ignore[attr-defined]

    def broken(*given: object) -> None:
        train(*given)
        raise RuntimeError("out of memory")

    session._trainer.step = broken  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="out of memory"):
        session.step()
    for press in (session.step, lambda: session.apply(SaveCheckpoint())):
        with pytest.raises(ExplorerError, match="interrupted inside a step, after step 30"):
            press()
    session.close()
    assert_same(finish(tmp_path / "run"), whole["theory"])


# --- real processes

LONG = tiny_config(clean_steps=4000, second_steps=100, every=100, **{"checkpoint_every": 50, "storage.keep": 3})


def begun(folder: Path) -> Callable[[], bool]:
    """Whether it has saved anything after its start; which checkpoints are kept changes."""
    return lambda: any((folder / "checkpoints").glob("step-*[1-9]*.safetensors"))


def command(tmp_path: Path, name: str = "run") -> list[str]:
    return [*ENGINE, "run", str(toml(LONG, tmp_path / "long.toml")), "--out", str(tmp_path / name)]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_hangup_and_termination_save_like_ctrl_c_and_a_second_signal_saves_nothing(tmp_path: Path) -> None:
    hangup, twice = tmp_path / "hangup", tmp_path / "twice"
    with started(command(tmp_path, "hangup")) as first, started(command(tmp_path, "twice")) as second:
        wait_for(lambda: begun(hangup)() and begun(twice)())
        first.send_signal(signal.SIGHUP)
        while second.poll() is None:  # as fast as they come: the second is seen before the run has closed
            second.send_signal(signal.SIGINT)
            time.sleep(0.0002)
        said = first.communicate(timeout=60)[1], second.communicate()[1]
        assert (first.returncode, second.returncode) == (130, 130)
    assert "Traceback" not in said[0] + said[1]
    assert f"interrupted at step {read(hangup).step};" in said[0]
    saved = read(twice)  # what is on disk is what an uninterrupted run has at that step
    assert 50 <= saved.step < 4100
    session = worlds.create(LONG, tmp_path / "again")
    advance(session, saved.step)
    session.close()
    same = read(tmp_path / "again")
    for name in ("weight", "weight_init", "generator.pool"):
        assert (saved.arrays[name] == same.arrays[name]).all(), name


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("line", [["engine", "run", "small", "--out"], ["fp_gui", "small"]])
def test_ctrl_c_amid_an_import_is_one_line(line: list[str], tmp_path: Path) -> None:
    """torch is replaced by a module that says when it is being imported, and takes its time."""
    marker = tmp_path / "importing"
    (tmp_path / "torch.py").write_text(
        f"import pathlib, time\npathlib.Path({str(marker)!r}).touch()\ntime.sleep(30)\n", encoding="utf-8"
    )
    full = [sys.executable, "-m", *line, *([str(tmp_path / "run")] if line[-1] == "--out" else [])]
    with started(
        full, PYTHONPATH=f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}", QT_QPA_PLATFORM="offscreen"
    ) as p:
        wait_for(marker.exists)
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=20)
    assert (p.returncode, out, err) == (130, "", "interrupted\n")
    assert not (tmp_path / "run").exists()
