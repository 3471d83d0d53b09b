"""The documentation names every view and every command, and nothing in it leads nowhere."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from engine.figures import figures

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted([*DOCS.glob("*.md"), DOCS.parent / "README.md"])
TINY = {
    "world.d": 16, "model.m": 24, "threads": 1, "schedule.clean_steps": 20, "schedule.second_steps": 10,
    "evaluation.every": 10, "evaluation.size": 32, "evaluation.report_size": 32, "evaluation.report_restarts": 1,
}  # fmt: skip
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)|src=\"([^\"]+)\"")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_picture_is_there(page: Path) -> None:
    found = [link or source for link, source in LINK.findall(page.read_text(encoding="utf-8"))]
    links = [link for link in found if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_view_has_its_picture() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in figures if f"pictures/{name}.png" not in text] == []


def test_every_panel_has_its_picture() -> None:
    pytest.importorskip("PySide6")
    from fp_gui.tools.base import tools

    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in tools if f"pictures/{name}.png" not in text] == []


def test_pictures_are_small() -> None:
    sizes = [each.stat().st_size for each in (DOCS / "pictures").glob("*.png")]
    assert sum(sizes) / len(sizes) < 60_000
    assert (DOCS / "purify.gif").stat().st_size < 1_000_000


def test_no_picture_is_there_for_nothing() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [each.name for each in (DOCS / "pictures").glob("*.png") if f"pictures/{each.name}" not in text] == []


def test_the_key_sheet_has_every_key_that_is_named() -> None:
    """Of the table of keys: what the pages promise is what the window does."""
    pytest.importorskip("PySide6")
    from fp_gui.actions import ACTIONS

    known = {key for _, key, _ in ACTIONS.values()}
    text = (DOCS / "time.md").read_text(encoding="utf-8") + (DOCS / "guidance.md").read_text(encoding="utf-8")
    promised = set(re.findall(r"Ctrl\+(?:Shift\+)?[A-Z](?![\w+])|Shift\+F1|F11", text)) - {"Ctrl+Z", "Ctrl+Shift+Z"}
    assert {"Ctrl+B", "Ctrl+Shift+P"} <= promised
    assert promised <= known


def test_every_page_is_in_the_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8").splitlines()
    assert [page.stem for page in DOCS.glob("*.md") if page.stem not in (*index, "index")] == []


def test_every_example_of_the_tests_is_shown() -> None:
    shown = (DOCS / "examples.md").read_text(encoding="utf-8")
    examples = [p.name for p in (DOCS.parent / "tests" / "examples").glob("[a-z]*.py") if "test" not in p.name]
    assert [name for name in examples if name != "conftest.py" and f"tests/examples/{name}" not in shown] == []


def test_the_notebook_shows_what_it_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its blocks one after the other, on a tiny run."""
    text = (DOCS / "notebook.md").read_text(encoding="utf-8")
    tiny, found = re.subn(r"knobs = \{.*?\n\}", f"knobs = {TINY}", text, flags=re.DOTALL)
    assert found == 1
    monkeypatch.chdir(tmp_path)
    pictures = tmp_path / "_generated"
    pictures.mkdir()
    page = runpy.run_path(str(DOCS / "run_notebook.py"))["run"](tiny, pictures)
    names = [f"notebook-{number}.png" for number in range(1, 5)]
    assert re.findall(r"\(_generated/(.*)\)", page) == names == sorted(p.name for p in pictures.iterdir())
    shown = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    assert shown[0].startswith("clean accuracy/clean ")
    assert shown[1] == (tmp_path / "load_purified.py").read_text(encoding="utf-8")
    assert page.count("```python") == text.count("```python") == 7


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    """By the command of `make docs`: within this process warnings of Sphinx about itself would be errors."""
    for needed in ("sphinx", "furo", "myst_parser"):
        if find_spec(needed) is None:
            pytest.skip("needs the extra docs")
    options = ["-W", "--keep-going", "-q", "-b", "html", "-d", str(tmp_path / "trees")]
    line = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(tmp_path / "pages")]
    done = subprocess.run(line, capture_output=True, text=True, cwd=DOCS.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "pages" / "science.html").stat().st_size > 10_000
