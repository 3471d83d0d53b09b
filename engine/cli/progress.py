"""A progress bar on a terminal; plain lines now and then where there is none."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine.core import metrics
from engine.core.history import History

if TYPE_CHECKING:
    from engine.run.session import Session

EVERY = 0.25  # seconds between two updates of the bar
PLAIN_EVERY = 5.0  # seconds between two lines without a terminal

Advance = Callable[["Session"], None]


@contextmanager
def progress(total: int, done: int) -> Iterator[Advance]:
    """Yield a function to call after each step: it shows steps, loss, accuracies and time left on stderr."""
    console = Console(stderr=True)
    if console.is_terminal:
        with Progress(
            TextColumn("{task.fields[phase]:<14}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
        ) as bar:
            task = bar.add_task("", total=total, completed=done, phase="", figures="")
            last = 0.0

            def show(session: Session) -> None:
                nonlocal last
                now = time.monotonic()
                if now - last >= EVERY or session.steps_done >= total:
                    last = now
                    history = session.snapshot().history
                    bar.update(task, completed=session.steps_done, phase=_phase(session), figures=figures(history))

            yield show
    else:
        start, last_line = time.monotonic(), time.monotonic()

        def line(session: Session) -> None:
            nonlocal last_line
            now = time.monotonic()
            if now - last_line >= PLAIN_EVERY:
                last_line = now
                made = session.steps_done - done
                eta = (total - session.steps_done) * (now - start) / made if made else 0.0
                shown = figures(session.snapshot().history)
                sys.stderr.write(f"{_phase(session)} step {session.steps_done}/{total} {shown} ETA {eta:.0f} s\n")
                sys.stderr.flush()

        yield line


def _phase(session: Session) -> str:
    return "measuring" if session.finished else session.phase


def figures(history: History) -> str:
    """The newest loss and accuracies in few words."""
    shown = (("loss", metrics.LOSS), ("acc", metrics.CLEAN), ("pgd", metrics.PGD))
    return " ".join(
        f"{label} {history[name].values[-1]:.3f}" for label, name in shown if name in history and len(history[name])
    )
