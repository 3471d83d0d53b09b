"""What the trials share: the four experiments, a command run in a child process, and how runs are compared."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from engine.config.experiment import Config, to_dict, with_value
from tests.forked import CONTEXT
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import Record, assert_same, read, table, tiny_config

Trial = Callable[[Path, random.Random], str | None]  # a folder of its own → what was wrong, or None


def experiments() -> dict[str, Config]:
    """The four experiments that are broken on purpose, by name."""
    theory = tiny_config(clean_steps=200, second_steps=200, every=20, checkpoint_every=25, keep=5)
    low_rank = with_value(with_value(theory, "low_rank.rank", 2), "attack.norm", "linf")
    images = tiny_images(**{
        "schedule.clean_steps": 30, "schedule.second_steps": 30, "evaluation.every": 5, "storage.checkpoint_every": 10,
    })  # fmt: skip
    dense = tiny_images(**{
        "model.name": "two_layer", "schedule.clean_steps": 60, "schedule.second_steps": 60,
        "schedule.second": "gaussian_noise", "evaluation.every": 10, "storage.checkpoint_every": 15,
    })  # fmt: skip
    return {"sparse coding": theory, "low rank": low_rank, "AlexNet": images, "two layers": dense}


@dataclass(frozen=True)
class Outcome:
    """How a command ended: its exit code (negative for a signal) and what it wrote to both streams."""

    code: int | None
    text: str

    @property
    def traceback(self) -> bool:
        """Whether a traceback was shown."""
        return "Traceback (most recent call last)" in self.text


def preset(folder: Path, config: Config) -> Path:
    """The config as a preset file; JSON's numbers, texts and truths are TOML's, too."""
    tables = to_dict(config)
    lines = [f"{name} = {json.dumps(value)}" for name, value in tables.items() if not isinstance(value, dict)]
    for group, values in tables.items():
        if isinstance(values, dict):
            lines += [f"[{group}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    path = folder / "preset.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _command(arguments: list[str], log: str) -> None:
    """Target of a child process: the command line, its output in a file."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    from engine.core.signals import quiet_imports

    quiet_imports()  # as the command line's own entry does
    from engine.cli.main import run_command_line

    code = run_command_line(arguments)
    os._exit(code)


class Running:
    """A command in a process of its own; ``with`` ends it whatever happens."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self._log = folder / f"log-{time.monotonic_ns()}.txt"
        self.process: BaseProcess = CONTEXT.Process(
            target=_command, args=([str(a) for a in arguments], str(self._log)), daemon=True
        )

    def __enter__(self) -> Running:
        self.process.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join(30)

    def signal(self, number: int) -> None:
        """Send a signal, if there is still somebody to take it."""
        with contextlib.suppress(ProcessLookupError):
            if self.process.pid is not None:
                os.kill(self.process.pid, number)

    def wait(self, seconds: float = 120) -> Outcome:
        """Its end; still running after ``seconds`` is an outcome without a code."""
        self.process.join(seconds)
        return Outcome(self.process.exitcode, self.text)

    @property
    def text(self) -> str:
        """What it has said so far."""
        return self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""


def command(folder: Path, *arguments: object) -> Outcome:
    """Run a command to its end."""
    with Running(folder, *arguments) as running:
        return running.wait()


def in_process(*arguments: object) -> Outcome:
    """A command run in this process: for those that train nothing or next to nothing."""
    from engine.cli.main import run_command_line

    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = run_command_line([str(a) for a in arguments])
    return Outcome(code, out.getvalue())


def until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait for a condition; whether it came true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.005)
    return False


def protocols(folder: Path) -> list[tuple[object, ...]]:
    """All protocols of a run."""
    return table(folder, "SELECT step, name, protocol FROM protocols ORDER BY step, name")


def difference(folder: Path, whole: Record, protocol_rows: list[tuple[object, ...]]) -> str | None:
    """What the run in ``folder`` has recorded or reached differently, in words; None if nothing."""
    try:
        assert_same(read(folder), whole)
        assert protocols(folder) == protocol_rows, "protocols"
    except AssertionError as wrong:
        return f"{folder}: {str(wrong).splitlines()[0] if str(wrong) else 'differs'}"
    return None


@dataclass
class Draw:
    """Which of the many possible series of trials is run."""

    seed: int = 0


draw = Draw()


def rounds(count: int, seed: int) -> Iterator[tuple[int, random.Random]]:
    """``count`` numbered trials, each with chances of its own."""
    for number in range(count):
        yield number, random.Random(f"{draw.seed} {seed} {number}")
