"""Every mutation of a run folder through every command and the window: one line each, and nothing is made worse."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from engine.config.experiment import Config
from tests.faults.mutations import MUTATIONS_OF_IMAGES, MUTATIONS_OF_THEORY, Mutation
from tests.faults.trials import base
from tests.faults.trials.processes import Verdict
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import run, tiny_config

WINDOW_SECONDS = 300  # for a chunk of folders
CHUNK = 50


def every(folder: Path) -> list[tuple[str, Mutation, Path]]:
    """All mutations, each with the sound run that it damages."""
    sources: dict[str, tuple[Config, dict[str, Mutation]]] = {
        "theory": (tiny_config(), MUTATIONS_OF_THEORY),
        "images": (tiny_images(), MUTATIONS_OF_IMAGES),
    }
    found = []
    for name, (config, mutations) in sources.items():
        run(config, folder / name)
        found += [(f"{name}: {what}", how, folder / name) for what, how in mutations.items()]
    return found


def commands(count: int, folder: Path) -> Iterator[Verdict]:
    """At least ``count`` damaged folders, each through evaluate, export, claims and ``run --resume``."""
    table = every(folder)
    for number in range(max(count, len(table))):
        name, how, source = table[number % len(table)]
        for command in ("claims", "evaluate", "export", "resume"):
            with tempfile.TemporaryDirectory(dir=folder) as home:
                yield f"{name}, {command}", _command(command, how, source, Path(home))


def _command(command: str, how: Mutation, source: Path, home: Path) -> str | None:
    damaged = home / "run"
    shutil.copytree(source, damaged)
    how.damage(damaged)
    arguments: dict[str, tuple[object, ...]] = {
        "claims": ("claims", damaged),
        "evaluate": ("evaluate", damaged, "--n", 16, "--attack", "fgm"),
        "export": ("export", damaged, "--view", "robustness", "--format", "png", "--out", home / "figures"),
        "resume": ("run", "--out", damaged, "--resume"),
    }
    try:
        ended = base.in_process(*arguments[command])
    except BaseException:
        return traceback.format_exc()[-500:]
    return _judge(ended)


def _judge(ended: base.Outcome) -> str | None:
    """A damaged run is refused in a line, or what is damaged was not needed or is said to have been set aside."""
    if ended.code not in (0, 1, 2) or ended.traceback:
        return f"exit {ended.code}: {ended.text[-300:]}"
    if ended.code and len([line for line in ended.text.splitlines() if line.startswith("error: ")]) != 1:
        return f"not one line: {ended.text[-300:]}"
    if ended.code == 0 and re.search(r"\bnan\b", ended.text.replace("mixture", "")):
        return f"a NaN as a figure: {ended.text[-300:]}"
    return None


def window(count: int, folder: Path) -> Iterator[Verdict]:
    """At least ``count`` damaged folders opened one after the other in one window, which goes on living."""
    table = every(folder)
    folders = []
    for number in range(max(count, len(table))):
        name, how, source = table[number % len(table)]
        damaged = folder / f"damaged-{number}"
        shutil.copytree(source, damaged)
        how.damage(damaged)
        folders.append((name, damaged))
    for first in range(0, len(folders), CHUNK):
        yield from _open_all(folders[first : first + CHUNK], folder)


def _open_all(folders: list[tuple[str, Path]], home: Path) -> Iterator[Verdict]:
    settings = home / "settings"
    environment = os.environ | {
        "QT_QPA_PLATFORM": "offscreen", "FP_RUNS": str(home / "runs"), "XDG_CONFIG_HOME": str(settings),
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.faults.trials.open_in_window", *(str(at) for _, at in folders)]
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WINDOW_SECONDS)
    except subprocess.TimeoutExpired as hung:
        yield "the window", f"hung: {str(hung.stdout)[-200:]}"
        return
    said = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    for (name, at), found in zip(folders, said, strict=False):
        wrong = None
        if found["state"] not in ("refused", "opened"):
            wrong = f"the window is {found['state']}"
        elif found["state"] == "refused" and ("\n" in found["text"] or not found["text"]):
            wrong = f"not one line: {found['text']!r}"
        yield f"{name}, the window", wrong and f"{at.name}: {wrong}"
    if ended.returncode != 0 or "Traceback" in ended.stderr or len(said) != len(folders):
        yield "the window", f"exit {ended.returncode} after {len(said)} folders: {ended.stderr[-500:]}"
