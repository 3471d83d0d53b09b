"""All in a real window on every screen that students have: no plot is too low, no text cut, no control lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.config.experiment import from_dict
from tests import tiny_runs
from tests.engine.test_race_figure import RACE
from tests.gui.test_objectives_view import OBJECTIVES, ON_IMAGES
from tests.gui.test_sparse_code_view import CODES
from tests.gui.test_study_views import RANKS
from tests.gui.test_study_views import STUDY as LOCAL
from tests.gui.test_transfer_view import STUDY as TRANSFER
from tests.real_window import virtual_screen
from tests.tiny_image_runs import TINY
from tests.tiny_images import encoded, write

ROOT = Path(__file__).parents[2]
SIZES = (  # width, height, scale, how many sizes larger the text is
    (1366, 768, 1, 0), (1280, 720, 1, 0), (1920, 1080, 1.5, 0), (1920, 1080, 2, 0), (1024, 768, 1, 0),
    (3840, 2160, 2, 0), (1366, 768, 1, 2),
)  # fmt: skip
Screen = tuple[int, int, float, int]
FEW = ((1024, 768, 1, 0), (3840, 2160, 2, 0), (1366, 768, 1, 2))  # the narrowest, the densest, the largest text
WALKED = SIZES if os.environ.get("FP_EVERY_SCREEN") else FEW  # make faults walks all of them
pytestmark = [
    pytest.mark.window,
    pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs xvfb"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A finished run of either kind, with everything that its views show; its own images are read the fastest."""
    folder = tmp_path_factory.mktemp("screens")
    theory, images = folder / "theory", folder / "images"
    tiny_runs.run(tiny_runs.tiny_config(), theory)
    pictures = {
        f"{name}/{i}.png": encoded((i + 90 * n) % 256, (8, 8)) for n, name in enumerate("ab") for i in range(160)
    }
    world = {"name": "image_folder", "folder": str(write(folder / "pictures", pictures))}
    tiny_runs.run(from_dict(TINY | {"world": world}), images)
    both = {"race": RACE, "low_rank": RANKS, "transfer": TRANSFER}
    for finished, studies in (
        (theory, both | {"objectives": OBJECTIVES}),
        (images, both | {"objectives": ON_IMAGES, "local": LOCAL, "sparse_code": CODES}),
    ):
        for name, content in studies.items():
            (finished / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return [theory, images]


@pytest.fixture
def screen(request: pytest.FixtureRequest) -> Iterator[tuple[str, Screen]]:
    """A virtual screen of the size that the test is given; its name and the size."""
    with virtual_screen(*request.param[:2]) as name:
        yield name, request.param


@pytest.fixture(scope="module")
def walker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The process that walks, with all that takes long to import, and the file of what it says is amiss."""
    said = tmp_path_factory.mktemp("walker") / "stderr"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "QT_QPA_PLATFORM": "xcb", "PYTHONPATH": str(ROOT)}
    environment.pop("WAYLAND_DISPLAY", None)
    with said.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.screen_walk"], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
        )  # fmt: skip
    try:
        yield process, said
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # a walk that hangs, too
        process.communicate(timeout=10)


@pytest.mark.parametrize("screen", WALKED, indirect=True, ids=lambda s: f"{s[0]}x{s[1]}@{s[2]}+{s[3]}")
def test_every_view_fits(
    screen: tuple[str, Screen], runs: list[Path], walker: tuple[subprocess.Popen[str], Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    display, (width, height, scale, larger) = screen
    process, said = walker
    assert process.stdin is not None
    assert process.stdout is not None
    copies = [str(shutil.copytree(run, tmp_path / run.name)) for run in runs]
    for run in runs:
        shutil.copytree(run, tmp_path / f"{run.name}-again")  # to be compared with
    environment = {
        "DISPLAY": display, "QT_SCALE_FACTOR": str(scale), "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "FP_RUNS": str(tmp_path / "runs"),
    }  # fmt: skip
    report_file = tmp_path / "report.json"
    order = {"environment": environment, "runs": copies, "larger": larger, "report": str(report_file)}
    process.stdin.write(f"{json.dumps(order)}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "0\n", said.read_text(encoding="utf-8")[-3000:]
    report: dict[str, Any] = json.loads(report_file.read_text(encoding="utf-8"))
    room = report.pop("screen")
    assert [round(room[0] * scale), round(room[1] * scale), room[2]] == [width, height, scale]
    others = ("timeline", "compare", "dialog questions")
    assert {f"{kind} {name}" for kind in ("sparse_coding", "images") for name in others} <= set(report)
    assert len(report) >= 2 * (5 + 12) + 8 + 7, sorted(report)  # bars, panels, dialogs and views of two kinds of runs
    bad = {place: found for place, found in report.items() if found}
    assert not bad, "\n".join(f"{place}: {fault}" for place, found in bad.items() for fault in found)
