"""Every group of the bench runs, with the sizes of ``--tiny``; what it measures then means nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine.images.session
from engine.cli.main import run_command_line
from engine.data.images import Images
from engine.images.config import ImageConfig
from tests.bench import clusters, images, looking, sweeps, window
from tests.bench.__main__ import GROUPS, main
from tests.bench.measure import Result
from tests.engine.inline_executor import InlineExecutor
from tests.engine.ray_nodes import Nodes
from tests.forked import CONTEXT

# What a line of each group's table says; a missing group fails the test that compares.
LINES = {
    "training": "four matrix products",
    "frames": "frames / of training",
    "images": "Session / plain loop, time",
    "images-whole": "PGD-10 accuracy",
    "evaluation": "with live evaluation / without",
    "certificate": "after the adversarial phase",
    "start": "window painted / import torch",
    "window": "GUI heartbeat lateness",
    "live": "with Robustness and Radius open / headless",
    "views": "time for them / training",
    "scrub": "views are painted, median",
    "draw": "animation of 2 frames",
    "memory": "steps trained in that time",
    "runs": "listed again by the same process",
    "sweep": "a run in the pool beyond its training",
    "sweep-figures": "results.csv and heatmaps (SVG)",
    "cluster": "on two nodes / two at a time in the pool",
}


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The bench gives sessions its own images; their loader comes back. No window on a real screen."""
    monkeypatch.setattr(engine.images.session, "load", engine.images.session.load)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")  # where there is no Xvfb, or a screen in use


@pytest.fixture
def _tasks_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups compare the window with the same training without one, which one process shows to run."""

    def task(name: str, *arguments: str, env: dict[str, str]) -> dict[str, Any]:
        if name != "headless":
            return forked(name, *arguments, env=env)
        if arguments not in HEADLESS:
            HEADLESS[arguments] = forked(name, *arguments, env=env)
        return HEADLESS[arguments]

    monkeypatch.setattr(window, "task", task)
    monkeypatch.setattr(looking, "task", task)


@pytest.fixture
def _pool_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes of a pool are tested elsewhere, and each imports torch; as are the nodes of a cluster."""
    for group in (sweeps, clusters):
        monkeypatch.setattr(group, "LocalPool", lambda jobs: InlineExecutor())
    monkeypatch.setattr(clusters, "MISSING", "")
    monkeypatch.setattr(clusters, "nodes", lambda: nullcontext(Nodes("nowhere", (0, 0))))
    monkeypatch.setattr(clusters, "RayCluster", lambda address, folder: InlineExecutor())


HEADLESS: dict[tuple[str, ...], dict[str, Any]] = {}


def forked(name: str, *arguments: str, env: dict[str, str]) -> dict[str, Any]:
    """As :func:`tests.bench.window.task`, in a process that need not import torch and Qt once more."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=perform, args=(sender, env, name, arguments), daemon=True)
    process.start()
    sender.close()
    with receiver:
        found: dict[str, Any] = receiver.recv()
    process.join(60)
    assert process.exitcode == 0
    return found


def perform(sender: Connection, env: dict[str, str], name: str, arguments: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(env, FP_RUNS=f"{home}/runs", XDG_CONFIG_HOME=home)
        sender.send(window.perform(name, *arguments))


def few_images(config: ImageConfig) -> Images:
    """Noise in place of the trial images."""
    draw = np.random.default_rng(0)
    parts = [(draw.integers(0, 256, (n, 3, 32, 32), np.uint8), np.arange(n) % 10) for n in (64, 32)]
    return Images.of("few", *parts, [str(i) for i in range(10)], "a test")


def table(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    main(["--tiny", *arguments])
    return capsys.readouterr().out.splitlines()


@pytest.fixture
def _drawn_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands that draw need no process of their own to be shown to run."""

    def timed(name: str, aim: str, *arguments: str | Path) -> Iterator[Result]:
        assert run_command_line([str(each) for each in arguments]) == 0
        yield Result(name, 0.0, "s", aim)

    monkeypatch.setattr(looking, "_timed", timed)


SAME = {"all-views": "live", "open": "scrub", "idle": "scrub"}  # start the same window: one of them shows that it runs


@pytest.mark.usefixtures("_drawn_in_this_process", "_pool_in_this_process")
@pytest.mark.parametrize("group", [name for name in GROUPS if name not in SAME])
def test_every_group_runs(
    group: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if group != "start":  # whose processes are started as the bench starts them
        request.getfixturevalue("_tasks_forked")
    monkeypatch.setattr(images, "trial_images", few_images)
    lines = table(capsys, group)
    assert any(LINES[group] in line for line in lines), lines
    assert not any("not measured" in line for line in lines)


def test_without_trial_images_the_whole_run_says_so_and_measures_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FP_TRIAL_DATA", str(tmp_path / "nowhere.zip"))
    (line,) = table(capsys, "images-whole")
    assert "trial images are missing" in line
    assert "not measured" in line
    assert "accuracy" not in line


def test_an_unknown_group_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["windows"])
    assert "got windows" in capsys.readouterr().err
