"""What lies in the current folder, or in the environment, does not take the place of the program's own modules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.core.isolation import ROOT as PACKAGES
from engine.core.isolation import child_environment
from engine.run import recipe
from tests.faults.programs import ENGINE, ROOT, WINDOW, environment, one_line, program

STRANGERS = ("random", "numpy", "argparse", "platform", "cyclopts", "resources", "pydantic")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder of modules that end whoever imports them."""
    for name in STRANGERS:
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('imported the stranger {name}')")
    return tmp_path


def package(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(f"raise SystemExit('imported the stranger {name}')")


def test_the_command_line_imports_nothing_from_the_current_folder(hostile: Path) -> None:
    done = program(ENGINE, "presets", cwd=hostile)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"small" in done.stdout


def test_the_window_imports_nothing_from_the_current_folder(hostile: Path) -> None:
    package(hostile, "engine")
    assert "preset: got 'smal'" in one_line(program(WINDOW, "smal", cwd=hostile), 2)


def test_the_source_tree_stays_usable_without_a_path() -> None:
    done = program(ENGINE, "presets", cwd=ROOT, env=environment(PYTHONPATH=None))
    assert done.returncode == 0
    assert program(WINDOW, "--help", cwd=ROOT, env=environment(PYTHONPATH=None)).returncode == 0


def test_the_environment_of_a_helper_keeps_what_is_absolute() -> None:
    made = child_environment({"PYTHONPATH": os.pathsep.join(["", "here", "/elsewhere"]), "HOME": "/home/x"})
    assert made["PYTHONPATH"].split(os.pathsep) == [str(PACKAGES), "/elsewhere"]
    assert made["HOME"] == "/home/x"


def test_reproduce_imports_nothing_that_lies_beside_it(hostile: Path) -> None:
    package(hostile, "engine")
    (hostile / "reproduce.py").write_text(recipe.script(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "reproduce.py", "again"], cwd=hostile, env=environment(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert "stranger" not in done.stderr
    assert "recipe.json" in one_line(done, 2)  # it came to the point: there is no recipe here


@pytest.mark.skipif(recipe.git_commit() is None, reason="not in a git tree")
def test_the_commit_is_that_of_the_package_whatever_git_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = recipe.git_commit()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert recipe.git_commit() == expected
