"""A sweep from beginning to end: runs like any other, a row for each, whatever becomes of it, and going on."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import engine.cli.sweep
from engine import worlds
from engine.cli.main import run_command_line
from engine.config.experiment import with_values
from engine.core import metrics
from engine.core.errors import InUseError, StoreError
from engine.core.measurement import wilson
from engine.run.index import RunIndex
from engine.run.store import Store
from engine.sweeps.executor import JobTold
from engine.sweeps.planning import plan, read_grid, replan
from engine.sweeps.record import ENDS, RESULTS, RUNS, Sweep, read_sweep, run_folder
from engine.sweeps.results import SweepResults, columns, index_of, results, write_results
from engine.sweeps.runner import SweepProgress, SweepRunner
from tests.engine.inline_executor import InlineExecutor
from tests.tiny_runs import assert_same, read, run, table, tiny_config

TOML = """
[about]
title = "Tiny"
time = "about 2 s on a test"
[world]
d = 16
[model]
m = 24
[training]
batch_size = 32
[schedule]
clean_steps = 40
second_steps = 40
[evaluation]
every = 10
size = 32
steps = 3
report_size = 48
report_steps = 4
report_restarts = 2
certify_every = 0
[storage]
checkpoint_every = 25
"""


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The indexes of these runs are not kept in the user's own folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def preset(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("preset") / "tiny.toml"
    path.write_text('device = "cpu"\n' + TOML)
    return str(path)


def swept(sweep: Sweep, folder: Path, executor: InlineExecutor | None = None, **options: Any) -> SweepResults:
    """Train all runs, or what is left of them, in this process."""
    begin = SweepRunner.resume if (folder / "sweep.json").exists() else SweepRunner.create
    with closing(begin(folder, sweep, executor or InlineExecutor(), **options)) as runner:
        runner.run()
    return results(folder)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / RESULTS).open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def whole(preset: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that is finished; only to be read."""
    folder = tmp_path_factory.mktemp("sweeps") / "whole"
    swept(plan(preset, read_grid(["attack.tau=0.1,0.3"]), (0, 1)), folder)
    return folder


def test_runs_of_a_sweep_are_those_of_the_command_run(preset: str, whole: Path, tmp_path: Path) -> None:
    """Bit for bit, though other runs were trained before in the same process."""
    arguments = ["run", preset, "--out", str(tmp_path / "run")]
    for assignment in ("attack.tau=0.3", "seed=1", "threads=1"):
        arguments += ["--set", assignment]
    assert run_command_line(arguments) == 0
    assert_same(read(run_folder(whole, "tau=0.3-seed=1")), read(tmp_path / "run"))


def test_a_row_says_what_the_run_folder_holds(whole: Path) -> None:
    rows = rows_of(whole)
    assert [row["name"] for row in rows] == [f"tau={tau}-seed={seed}" for tau in ("0.1", "0.3") for seed in (0, 1)]
    assert list(rows[0]) == columns(read_sweep(whole))
    for row in rows:
        folder = run_folder(whole, row["name"])
        assert (row["state"], row["reason"], row["step"], row["total"]) == ("finished", "", "80", "80")
        assert float(row["seconds"]) == 1.0
        for end, step, phase in (("clean_end", 40, "clean"), ("second_end", 80, "adversarial")):
            assert (row[f"{end}.step"], row[f"{end}.phase"]) == (str(step), phase)
            for short, name in (("clean", metrics.CLEAN), ("pgd", metrics.PGD)):
                query = f"SELECT value FROM metrics WHERE step = {step} AND name = '{metrics.REPORT + name}'"
                ((value,),) = table(folder, query)
                assert float(row[f"{end}.{short}"]) == value
                low, high = wilson(value * 48, 48)
                assert (float(row[f"{end}.{short}.low"]), float(row[f"{end}.{short}.high"])) == (low, high)
            with closing(Store.open(folder, read_only=True)) as store:
                protocols = {(s, n): p.text() for s, n, p in store.protocols()}
            last = max(s for s, n in protocols if n == metrics.REPORT + metrics.PGD and s <= step)
            assert row[f"{end}.pgd.protocol"] == protocols[last, metrics.REPORT + metrics.PGD]
            assert 0 < float(row[f"{end}.purity"]) < 1
            assert row[f"{end}.certified"] == row[f"{end}.purity.protocol"] == ""


def test_the_index_lists_runs_of_a_sweep_below_its_root(whole: Path) -> None:
    assert [run.name for run in RunIndex(whole.parent).look()] == [run.name for run in read_sweep(whole).runs]


def test_images_too(tmp_path: Path) -> None:
    settings = {
        "world.train_size": "200", "model.width": "16", "schedule.clean_steps": "6", "schedule.second_steps": "6",
        "evaluation.report_size": "32", "evaluation.report_steps": "2", "evaluation.size": "16",
        "evaluation.steps": "2", "device": "cpu",
    }  # fmt: skip
    sweep = plan("digits", read_grid(["attack.steps=2"]), settings=list(settings.items()))
    found = swept(sweep, tmp_path / "sweep")
    assert [row.state for row in found.rows] == ["finished"]
    last = sweep.runs[-1]
    assert_same(read(found.rows[-1].folder), run(sweep.config_of(last), tmp_path / "alone"))
    purity = found.rows[0].figure("second", "purity")
    assert purity is None


def test_a_run_that_diverges_and_one_that_fails_are_rows_and_the_others_go_on(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sweep"
    sweep = plan(preset, read_grid(["training.lr=0.05,1e2"]), (0, 1), [("lambda", "0.1")])
    real = worlds.create

    def create(config: Any, place: Path) -> Any:
        if place.name == "lr=0.05-seed=1":
            raise StoreError("no room, for this one")
        return real(config, place)

    monkeypatch.setattr(worlds, "create", create)
    told: list[SweepProgress] = []
    found = swept(sweep, folder, listener=told.append)
    states = {row.name: row.state for row in found.rows}
    assert states == {
        "lr=0.05-seed=0": "finished", "lr=0.05-seed=1": "failed",
        "lr=100-seed=0": "diverged", "lr=100-seed=1": "diverged",
    }  # fmt: skip
    rows = {row["name"]: row for row in rows_of(folder)}
    assert rows["lr=0.05-seed=1"]["reason"] == "no room, for this one"
    assert rows["lr=100-seed=0"]["reason"].startswith("training diverged before step")
    assert "The checkpoint" not in rows["lr=100-seed=0"]["reason"]
    assert (told[-1].activity, told[-1].failed, told[-1].total) == ("ended", 3, 4)
    assert [name for word in told for name, _, _ in word.ended] == list(states)

    monkeypatch.undo()
    executor = InlineExecutor()
    again = swept(read_sweep(folder), folder, executor)
    assert [job.name for job in executor.submitted] == ["lr=0.05-seed=1"]  # the failed one alone is tried again
    assert again.counts() == {"finished": 2, "diverged": 2}
    assert {row.name: row.seconds for row in again.rows}["lr=0.05-seed=1"] == 2.0


def test_a_lost_process_is_made_up_for_once(preset: str, whole: Path, tmp_path: Path) -> None:
    sweep = plan(preset, read_grid(["attack.tau=0.1,0.3"]), (0, 1))
    once, twice = "tau=0.1-seed=1", "tau=0.3-seed=0"
    executor = InlineExecutor(lose=(once, twice, twice))
    found = swept(sweep, tmp_path / "sweep", executor)
    states = {row.name: (row.state, row.reason) for row in found.rows}
    assert states.pop(twice) == ("failed", "killed")
    assert set(states.values()) == {("finished", "")}
    assert [job.name for job in executor.submitted].count(once) == 2
    assert_same(read(run_folder(tmp_path / "sweep", once)), read(run_folder(whole, once)))


def stop_at(text: str, what: Callable[[], object]) -> Callable[[JobTold], None]:
    def heard(word: JobTold) -> None:
        if text in word.text:
            what()

    return heard


def test_pause_goes_on_and_cancel_is_resumed_as_if_nothing_had_happened(
    preset: str, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "sweep"
    sweep = plan(preset, read_grid(["attack.tau=0.1,0.3"]), (0, 1))
    told: list[SweepProgress] = []
    runner: SweepRunner
    seen: list[str] = []

    def pause_once() -> None:
        if not seen:
            seen.append("paused")
            runner.pause()
            executor.stop("tau=0.1-seed=0")  # as the runner asks of what works beside it

    executor = InlineExecutor(stop_at("step 30/80", pause_once))
    with closing(SweepRunner.create(folder, sweep, executor, listener=told.append)) as runner:
        for _ in range(8):
            assert runner.turn(0.0)
        assert runner.progress().activity == "paused"
        assert runner.progress().counts == {"interrupted": 1, "waiting": 3}
        with pytest.raises(InUseError, match="in use by this process"):
            SweepRunner.resume(folder, sweep, InlineExecutor())
        assert [row["state"] for row in rows_of(folder)] == ["interrupted", *["waiting"] * 3]  # it is there at once
        runner.go_on()
        while runner.progress().counts.get("finished", 0) < 2:
            assert runner.turn(0.0)
        runner.cancel()
        runner.run()
        assert runner.progress().counts == {"finished": 2, "waiting": 2}
    assert executor.closed
    assert [row["state"] for row in rows_of(folder)] == ["finished", "finished", "waiting", "waiting"]
    assert any(word.eta is not None and word.eta > 0 for word in told)
    found = swept(replan(read_sweep(folder)), folder)
    assert found.counts() == {"finished": 4}
    for row in found.rows:
        assert_same(read(row.folder), read(run_folder(whole, row.name)))


def test_what_follows_training_is_done_once_and_its_failure_is_a_row(preset: str, tmp_path: Path) -> None:
    folder, after = tmp_path / "sweep", ("tests.engine.test_sweep:leave_a_note", {"text": "seen"})
    sweep = plan(preset, {}, (0, 1))
    found = swept(sweep, folder)
    assert [row.verified for row in found.rows] == [False, False]
    more = replan(read_sweep(folder), verify=True)
    bad = ("tests.engine.test_sweep:refuse", {})
    assert [row.reason for row in swept(more, folder, after=bad).rows] == ["cannot be verified"] * 2
    found = swept(more, folder, after=after)
    assert [(row.state, row.verified) for row in found.rows] == [("finished", True)] * 2
    assert (run_folder(folder, "seed=1") / "note").read_text() == "seen"
    executor = InlineExecutor()
    swept(more, folder, executor, after=after)
    assert executor.submitted == []


def leave_a_note(folder: Path, *, text: str, progress: Callable[[float, str], None]) -> None:
    progress(0.5, "writing")
    (folder / "note").write_text(text)


def refuse(folder: Path, *, progress: Callable[[float, str], None]) -> None:
    raise StoreError("cannot be verified")


def test_what_lies_in_the_way_is_refused(preset: str, whole: Path, tmp_path: Path) -> None:
    sweep = plan(preset, {}, (0, 1))
    with pytest.raises(StoreError, match="holds a sweep; --resume goes on with it"):
        SweepRunner.create(whole, sweep, InlineExecutor())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(StoreError, match="is not empty; allowed: a new or empty folder"):
        SweepRunner.create(tmp_path / "full", sweep, InlineExecutor())
    folder = tmp_path / "sweep"
    run(sweep.config_of(sweep.runs[0]).model_copy(update={"seed": 9}), run_folder(folder, "elsewhere"), until=0)
    run_folder(folder, "elsewhere").rename(tmp_path / "elsewhere")
    (folder / RUNS).rmdir()
    with closing(SweepRunner.create(folder, sweep, InlineExecutor())) as runner:
        (folder / RUNS).mkdir()
        (tmp_path / "elsewhere").rename(run_folder(folder, "seed=0"))
        runner.run()
    states = [(row.state, row.reason) for row in results(folder).rows]
    assert states[0][0] == "failed"
    assert "holds a run with other knobs than this sweep's" in states[0][1]
    assert states[1] == ("finished", "")


def test_a_damaged_run_is_a_failed_row(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(whole, folder)
    (run_folder(folder, "tau=0.1-seed=0") / "config.json").write_text("{")
    (folder / ENDS).unlink()  # the run folders say it, too
    time.sleep(0.06)  # until what was written just now is believed to stay
    index = index_of(folder)
    found = write_results(folder, index)
    assert [row.state for row in found.rows] == ["failed", "finished", "finished", "finished"]
    assert "config.json is damaged" in rows_of(folder)[0]["reason"]
    write_results(folder, index)
    assert index.read == 0


# --- the command


def test_a_dry_run_lists_the_runs_and_their_time(
    preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["sweep", preset, "--grid", "attack.tau=0.1,0.3", "--seeds", "0-1", "--out", str(tmp_path / "sweep")]
    assert run_command_line([*line, "--dry-run", "--jobs", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "tau=0.1-seed=0  (2 s)", "tau=0.1-seed=1  (2 s)", "tau=0.3-seed=0  (2 s)", "tau=0.3-seed=1  (2 s)",
        "4 runs, 2 at a time: 4 s (estimated)",
    ]  # fmt: skip
    assert not (tmp_path / "sweep").exists()


def test_a_dry_run_of_going_on_lists_what_is_left(preset: str, whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(whole.rglob("*"))
    assert run_command_line(["sweep", "--out", str(whole), "--resume", "--seeds", "0-2", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["tau=0.1-seed=2  (2 s)", "tau=0.3-seed=2  (2 s)"]
    assert run_command_line(["sweep", "--out", str(whole), "--resume", "--dry-run", "--jobs", "1"]) == 0
    assert capsys.readouterr().out == "0 runs, 1 at a time: less than 1 s (estimated)\n"
    assert sorted(whole.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--grid", "attack.tau=20"], "attack.tau: got 20.0; allowed: a number from 0 to 10"),
        ([], "--grid: none was given, and no --seeds; allowed: either or both"),
        (["--seeds", "0-1", "--jobs", "0"], "--jobs: got 0; allowed on this machine"),
        (["--seeds", "0-1", "--resume"], "holds no sweep to go on with"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_made(
    arguments: list[str], says: str, preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["sweep", preset, "--out", str(tmp_path / "sweep"), *arguments]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_command_is_interrupted_and_goes_on(
    preset: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl+C in the middle of a run; then --resume, here without another process, and the same figures as alone."""
    folder, name = tmp_path / "sweep", "clean_steps=3000-seed=0"
    line = [
        "sweep", preset, "--grid", "schedule.clean_steps=3000,40", "--out", str(folder), "--jobs", "1",
        "--set", "storage.frames_mb=0", "--set", "evaluation.every=5000", "--set", "storage.checkpoint_every=100",
    ]  # fmt: skip
    child = subprocess.Popen([sys.executable, "-m", "engine", *line], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (run_folder(folder, name) / "checkpoints" / "step-00000100.safetensors").exists():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert said.endswith(f"interrupted; go on with: python -m engine sweep --out {folder} --resume\n")
    states = [row.state for row in results(folder).rows]
    assert states == ["interrupted", "waiting"]
    assert RunIndex(folder).look()[0].holder is None
    step = results(folder).rows[0].step
    assert 100 <= step < 3040
    capfd.readouterr()
    monkeypatch.setattr(engine.cli.sweep, "LocalPool", lambda jobs: InlineExecutor())
    assert run_command_line(["sweep", "--out", str(folder), "--resume", "--seeds", "0"]) == 0
    out, err = capfd.readouterr()
    assert out.splitlines() == ["2 finished", f"results: {folder / RESULTS}"]
    assert f"finished {name}" in err
    assert "2/2 runs done, 0 running, 0 failed" in err
    sweep = read_sweep(folder)
    assert_same(read(run_folder(folder, name)), run(sweep.config_of(sweep.runs[0]), tmp_path / "alone"))


def test_a_finished_run_that_is_open_somewhere_is_finished(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = read_sweep(whole)
    with closing(worlds.resume(results(whole).rows[0].folder)):
        assert results(whole).counts() == {"finished": 4}
        wanted = sweep.model_copy(update={"verify": True})
        monkeypatch.setattr("engine.sweeps.results.read_sweep", lambda folder: wanted)
        assert results(whole).counts() == {"training": 1, "interrupted": 3}  # it may just be verified


def test_progress_in_lines_for_a_program_and_what_is_done_when_that_has_ended(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engine.cli.sweep, "LocalPool", lambda jobs: InlineExecutor())
    monkeypatch.setattr(engine.cli.sweep, "LINES_EVERY", 0.0)
    line = ["sweep", preset, "--grid", "attack.tau=0.1,0.3", "--out", str(tmp_path / "sweep"), "--progress"]
    assert run_command_line(line) == 0
    said = [each for each in capfd.readouterr().out.splitlines() if each.startswith("progress ")]
    assert said[-1] == "progress 1.00 2/2 runs done, 0 running, 0 failed"
    assert "progress 0.50 1/2 runs done, 0 running, 0 failed" in " ".join(said)

    monkeypatch.setattr(engine.cli.sweep, "reader_gone", lambda: True)
    line[-2] = str(tmp_path / "other")
    assert run_command_line(line) == 130
    assert results(tmp_path / "other").counts() == {"finished": 1, "waiting": 1}


def test_a_sweep_of_what_is_no_preset_goes_on_without_its_file(tmp_path: Path) -> None:
    base = tiny_config(**{"schedule.clean_steps": 4, "schedule.second_steps": 4})
    old = plan("by hand", read_grid(["attack.tau=0.1"]), (0,), [("model.m", "20")], base=base)
    new = replan(old, None, read_grid(["attack.tau=0.1,0.4"]))
    configs = [new.config_of(run) for run in new.runs]
    assert [config.attack.tau for config in configs] == [0.1, 0.4]
    assert configs[0] == with_values(base, {"attack.tau": 0.1, "model.m": 20})
