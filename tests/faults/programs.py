"""Real programs as subprocesses, in an environment and a folder of the test's choosing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ENGINE, WINDOW = "engine", "fp_gui"
LEFT_OUT = ("PYTHONUTF8", "PYTHONIOENCODING", "PYTHONUNBUFFERED", "PYTHONSAFEPATH", "DISPLAY", "WAYLAND_DISPLAY")


def environment(**changed: str | None) -> dict[str, str]:
    """This process's environment with these packages on the path; None takes a variable away."""
    kept = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    wanted = kept | {"PYTHONPATH": str(ROOT)} | changed
    return {name: value for name, value in wanted.items() if value is not None}


def program(package: str, *arguments: object, cwd: Path = ROOT, env: dict[str, str] | None = None, **more: Any) -> Any:
    """Run ``python -m package arguments`` to its end; stdout and stderr are bytes unless ``more`` says otherwise."""
    line = [sys.executable, "-m", package, *map(str, arguments)]
    more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "timeout": 60, "check": False} | more
    return subprocess.run(line, cwd=cwd, env=environment() if env is None else env, **more)


def one_line(done: Any, code: int) -> str:
    """The only line of stderr of a program that ended with ``code``."""
    text: str = done.stderr if isinstance(done.stderr, str) else done.stderr.decode()
    assert done.returncode == code, text
    assert "Traceback" not in text
    assert len(text.splitlines()) == 1, text
    return text
