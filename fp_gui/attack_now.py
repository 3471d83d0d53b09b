"""*Attack now*: says that it measures the present weights and, when it has, what it found and how."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Slot

from engine.core import metrics
from engine.core.measurement import wilson
from engine.run.commands import EvaluateNow
from engine.run.snapshot import Snapshot, protocol_at
from fp_gui.banner import Banner
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import Answer

SHOWN = ((metrics.CLEAN, "clean accuracy"), (metrics.PGD, "robust accuracy"))
PATIENCE = 3  # pictures after the evaluation ended, until its figures must be there


def found_text(snapshot: Snapshot, step: int) -> str:
    """The accuracies measured at ``step``, each with its 95% Wilson interval and protocol; empty if there are none."""
    parts = []
    for name, label in SHOWN:
        series = snapshot.history.get(name)
        protocol = protocol_at(snapshot.protocols.get(name, ()), step)
        if series is None or protocol is None or step not in series.steps:
            continue
        value = float(series.values[series.steps == step][-1])
        low, high = wilson(value * protocol.n, protocol.n)
        parts.append(f"{label} {value:.3f} [{low:.3f}, {high:.3f}] ({protocol.text()})")
    return "; ".join(parts)


def _measured(snapshot: Snapshot | None) -> int:
    """How many accuracies the run has recorded."""
    if snapshot is None:
        return 0
    return sum(len(series) for name, _ in SHOWN if (series := snapshot.history.get(name)) is not None)


class AttackNow(QObject):
    """Asks for an evaluation and follows it through the pictures of the run that it was asked for."""

    def __init__(self, controller: Controller, banner: Banner, parent: QObject) -> None:
        super().__init__(parent)
        self._controller, self._banner = controller, banner
        self._waiting: tuple[Path, int] | None = None  # the run and the step of the newest that was asked for
        self._pictures = 0
        self._known = 0  # accuracies that there were when it was asked for
        controller.snapshot_rendered.connect(self._look)
        controller.run_changed.connect(self._forget)

    @Slot()
    def ask(self) -> None:
        """Measure the weights of this moment."""
        self._banner.dismiss_error()  # whoever asks has read what stood there
        self._say("Attack now: measuring the present weights…")
        self._known = _measured(self._controller.last)
        self._controller.send(EvaluateNow(), self._answered)

    def _answered(self, answer: Answer) -> None:
        run = self._controller.run
        if answer.error or answer.folder is None or run is None or run.folder != answer.folder:
            self._banner.settle("attack")
            return
        self._waiting, self._pictures = (answer.folder, answer.step), 0
        self._say(f"Attack now: measuring the weights of step {answer.step:,}…")
        last = self._controller.last
        if last is not None and _measured(last) > self._known:  # a picture of its end may have overtaken the answer
            self._look(last)

    @Slot(object)
    def _look(self, snapshot: Snapshot) -> None:
        if self._waiting is None or snapshot.folder != self._waiting[0] or self._waiting[1] in snapshot.evaluating:
            return
        self._pictures += 1
        step = self._waiting[1]
        text = found_text(snapshot, step)
        if text or self._pictures >= PATIENCE:
            self._waiting = None
            self._say(f"Attack now, step {step:,}: {text or 'no accuracies were measured'}.")

    @Slot()
    def _forget(self) -> None:
        self._waiting = None

    def _say(self, text: str) -> None:
        self._banner.notice(text, "attack", stays=True)
