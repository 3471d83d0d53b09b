"""Real commands in processes of their own, for tests of what ends them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.config.experiment import Config, to_dict

ROOT = Path(__file__).parents[2]
ENGINE = [sys.executable, "-m", "engine"]


def toml(config: Config, path: Path) -> Path:
    """The config as a preset file."""
    data = to_dict(config)
    lines = [f"{k} = {json.dumps(v)}" for k, v in data.items() if not isinstance(v, dict)]
    for group, knobs in data.items():
        if isinstance(knobs, dict):
            lines += [f"[{group}]", *(f"{k} = {json.dumps(v)}" for k, v in knobs.items())]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@contextmanager
def started(line: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A command that is under way; it is gone at the end."""
    process = subprocess.Popen(
        line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(true: Callable[[], object], seconds: float = 60) -> None:
    """Return when ``true()`` is; fail after ``seconds``."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def one_line(text: str) -> str:
    """The only line of ``text``."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]
