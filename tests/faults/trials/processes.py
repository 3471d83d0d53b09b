"""Processes killed, interrupted twice, and two of them in one folder: afterwards the run is what it would have been."""

from __future__ import annotations

import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from engine.config.experiment import Config
from tests.faults.trials import base
from tests.tiny_runs import Record, read

Verdict = tuple[str, str | None]  # what was tried, and what was wrong

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Whole:
    """An experiment, and what its undisturbed run records, says and takes."""

    def __init__(self, name: str, config: Config, folder: Path) -> None:
        self.name = name
        self.preset = base.preset(folder, config)
        began = time.monotonic()
        ended = base.command(folder, "run", self.preset, "--out", folder / "whole")
        self.seconds = time.monotonic() - began
        if ended.code != 0:
            raise RuntimeError(f"{name}: the undisturbed run ended with {ended.code}: {ended.text}")
        self.record: Record = read(folder / "whole")
        self.protocols = base.protocols(folder / "whole")

    def start(self, home: Path) -> base.Running:
        """Begin the run in ``home``, or go on with it."""
        out = home / "run"
        if out.exists():
            return base.Running(home, "run", "--out", out, "--resume")
        return base.Running(home, "run", self.preset, "--out", out)

    def finish(self, home: Path) -> str | None:
        """Bring the run to its end; what is wrong then."""
        with self.start(home) as running:
            ended = running.wait()
        if ended.code != 0 or ended.traceback:
            return f"{self.name}: going on ended with {ended.code}: {ended.text.strip()[-300:]}"
        wrong = base.difference(home / "run", self.record, self.protocols)
        return f"{self.name}: {wrong}" if wrong else None


def wholes(folder: Path) -> list[Whole]:
    """The undisturbed runs of the four experiments."""
    found = []
    for name, config in base.experiments().items():
        home = folder / name.replace(" ", "-")
        home.mkdir()
        found.append(Whole(name, config, home))
    return found


def kills(runs: list[Whole], count: int, folder: Path) -> Iterator[Verdict]:
    """``count`` kills at random moments: several a run, which then goes on to its end. A verdict for each kill."""
    done = 0
    for number, chance in base.rounds(count, 1):
        whole = runs[number % len(runs)]
        with tempfile.TemporaryDirectory(dir=folder) as home:
            killed = 0
            for _ in range(chance.randint(4, 10)):
                if done + killed >= count:
                    break
                with whole.start(Path(home)) as running:
                    time.sleep(chance.random() * whole.seconds)
                    running.signal(signal.SIGKILL)
                    ended = running.wait()
                if ended.code != -signal.SIGKILL:  # it was quicker
                    break
                killed += 1
            wrong = whole.finish(Path(home))
            done += killed
            for each in range(killed):
                yield f"kill, {whole.name}", wrong if each == 0 else None
        if done >= count:
            return


def interrupts(runs: list[Whole], count: int, folder: Path) -> Iterator[Verdict]:
    """Ctrl+C, SIGTERM or SIGHUP once or twice at random moments: an exit code of 130, no traceback, nothing lost."""
    for number, chance in base.rounds(count, 2):
        whole, twice = runs[number % len(runs)], number % 4 != 3
        first, second = chance.choice(ENDINGS), chance.choice(ENDINGS)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            yield (
                f"{'two signals' if twice else 'a signal'}, {whole.name}",
                _interrupt(whole, Path(name), (first, second) if twice else (first,), chance),
            )


def _interrupt(whole: Whole, home: Path, signals: tuple[int, ...], chance: random.Random) -> str | None:
    with whole.start(home) as running:
        base.until(lambda: (home / "run" / "config.json").exists())
        time.sleep(chance.random() * whole.seconds * 0.7)
        for number in signals:
            running.signal(number)
            time.sleep(chance.random() * 0.04)
        ended = running.wait(60)
    if ended.traceback:
        return f"{whole.name}: a traceback after {signals}: {ended.text.strip()[-300:]}"
    if ended.code not in (130, 0):
        return f"{whole.name}: exit {ended.code} after {signals}: {ended.text.strip()[-300:]}"
    return whole.finish(home)


def writers(runs: list[Whole], count: int, folder: Path) -> Iterator[Verdict]:
    """A second writer is refused with exit 2 and the first one's number, and harms nothing; the dead leave no lock."""
    for number, chance in base.rounds(count, 3):
        whole = runs[number % len(runs)]
        with tempfile.TemporaryDirectory(dir=folder) as name:
            yield f"two writers, {whole.name}", _second_writer(whole, Path(name), chance)


def _second_writer(whole: Whole, home: Path, chance: random.Random) -> str | None:
    out = home / "run"
    with whole.start(home) as first:
        if not base.until(lambda: (out / "run.sqlite").exists()):
            return f"{whole.name}: the run never began: {first.text}"
        first.signal(signal.SIGSTOP)  # in the middle of whatever it does
        try:
            time.sleep(chance.random() * 0.05)
            second = base.command(home, "run", "--out", out, "--resume", "--set", "attack.tau=0.123")
            reader = base.command(home, "evaluate", out, "--n", 16, "--steps", 1, "--restarts", 1)
        finally:
            first.signal(signal.SIGCONT)
        if second.code != 2 or f"in use by process {first.process.pid}" not in second.text:
            return f"{whole.name}: the second writer ended with {second.code}: {second.text.strip()[-300:]}"
        if reader.code != 0 and "none was written yet" not in reader.text and "no checkpoint" not in reader.text:
            return f"{whole.name}: a reader ended with {reader.code}: {reader.text.strip()[-300:]}"
        if chance.random() < 0.5:
            first.signal(signal.SIGKILL)
        first.wait()
    return whole.finish(home)
