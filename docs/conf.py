"""Sphinx: reads the pages of this folder; the pages of commands and knobs are written from the program itself."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
project = "Feature Purification Explorer"
author = "The developers of the Feature Purification Explorer"
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = project
html_static_path: list[str] = []
exclude_patterns = ["_build", "_generated"]  # what is generated is included by other pages
nitpicky = True
sys.path.insert(0, str(HERE.parent))

NOTEBOOK = "notebook"  # the page whose blocks are run
PLAIN = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}


def engine(*arguments: str) -> str:
    """What ``python -m engine`` prints."""
    line = [sys.executable, "-m", "engine", *arguments]
    done = subprocess.run(line, cwd=HERE.parent, env=PLAIN, capture_output=True, text=True, check=True)
    return done.stdout.rstrip()


def commands() -> list[str]:
    """The names of the commands, read from the help's own list: a name stands where the others begin."""
    lines = [line for line in engine("--help").splitlines() if line.startswith("│ ")]
    return [line[2:].split()[0] for line in lines if line[2] not in " -"]


def offered() -> Iterator[str]:
    """What :mod:`engine.api` offers: each function, and each class with its public members, as its docstring says."""
    from engine import api

    for name in api.__all__:
        thing = getattr(api, name)
        yield f"### {name}\n\n{described(name, thing)}"
        for each, member in vars(thing).items() if inspect.isclass(thing) else ():
            if not each.startswith("_") and (callable(member) or isinstance(member, property)):
                yield described(f"{name}.{each}", member)


class Bare(str):
    """An annotation, which signatures show without quotation marks."""

    __slots__ = ()
    __repr__ = str.__str__


def signature(thing: object) -> str:
    """How a function is called; empty for a class, which is made by a function, and for what is no function."""
    if inspect.isclass(thing) or not callable(thing):
        return ""
    found = inspect.signature(thing)
    parameters = [p.replace(annotation=Bare(p.annotation)) for p in found.parameters.values() if p.name != "self"]
    return str(found.replace(parameters=parameters, return_annotation=Bare(found.return_annotation)))


def described(name: str, thing: object) -> str:
    """Signature and docstring as Markdown: the roles of docstrings become plain code."""
    words = re.sub(r":mod:`([\w.]+)`", r"`\1`", inspect.getdoc(thing) or "")
    words = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", words).replace("``", "`")
    return f"```python\n{name}{signature(thing)}\n```\n\n{words}\n"


def write_notebook(page: str) -> None:
    """The page with what its blocks show, run in a folder of their own by another process."""
    path = os.pathsep.join(filter(None, (str(HERE.parent), os.environ.get("PYTHONPATH"))))
    line = [sys.executable, HERE / "run_notebook.py", HERE / f"{page}.md", HERE / "_generated" / f"{page}.md"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(line, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)


def show_notebook(app: object, page: str, source: list[str]) -> None:
    """Reading the notebook's page, Sphinx takes the one with what it shows."""
    if page == NOTEBOOK:
        source[0] = (HERE / "_generated" / f"{page}.md").read_text(encoding="utf-8")


def write_generated(app: object) -> None:
    """The pages that the program writes: every command with its help, every preset, every knob."""
    generated = HERE / "_generated"
    generated.mkdir(exist_ok=True)
    pages = [f"### {name}\n\n```text\n{engine(name, '--help')}\n```\n" for name in commands()]
    (generated / "commands.md").write_text("\n".join(pages), encoding="utf-8")
    write_notebook(NOTEBOOK)
    (generated / "api.md").write_text("\n".join(offered()), encoding="utf-8")
    (generated / "presets.md").write_text(f"```text\n{engine('presets')}\n```\n", encoding="utf-8")
    (generated / "knobs.md").write_text(f"```text\n{engine('knobs')}\n```\n", encoding="utf-8")


def setup(app: object) -> dict[str, bool]:
    """Connect to the build."""
    app.connect("builder-inited", write_generated)  # type: ignore[attr-defined]
    app.connect("source-read", show_notebook)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True}
