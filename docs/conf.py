"""Sphinx: reads the pages of this folder; the pages of commands and knobs are written from the program itself."""

from __future__ import annotations

import os
import subprocess
import sys
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


def write_generated(app: object) -> None:
    """The pages that the program writes: every command with its help, every preset, every knob."""
    generated = HERE / "_generated"
    generated.mkdir(exist_ok=True)
    pages = [f"### {name}\n\n```text\n{engine(name, '--help')}\n```\n" for name in commands()]
    (generated / "commands.md").write_text("\n".join(pages), encoding="utf-8")
    (generated / "presets.md").write_text(f"```text\n{engine('presets')}\n```\n", encoding="utf-8")
    (generated / "knobs.md").write_text(f"```text\n{engine('knobs')}\n```\n", encoding="utf-8")


def setup(app: object) -> dict[str, bool]:
    """Connect to the build."""
    app.connect("builder-inited", write_generated)  # type: ignore[attr-defined]
    return {"parallel_read_safe": True}
