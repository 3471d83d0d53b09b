"""Branching: a new run that goes on from a checkpoint of another one, which stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QComboBox, QDialog, QDialogButtonBox, QFormLayout, QLabel, QVBoxLayout, QWidget

from engine.core.errors import DivergedError, ExplorerError
from engine.run.branch import RATE
from fp_gui.banner import Offer
from fp_gui.bridge.requests import Answer
from fp_gui.parts.base import Part, parts
from fp_gui.run_actions import RunAction, run_actions
from fp_gui.shell import Shell

EXPLAINED = (
    "A new run goes on from the step chosen; the present run stays as it is. "
    "It opens paused: change what you like, then press Play."
)


class BranchDialog(QDialog):
    """Asks from which of ``steps`` a branch of the run called ``name`` goes on.

    ``now`` is its newest step, if it is open; ``looked_at`` the step that the window shows instead, if it does: the
    last checkpoint up to it is chosen at first.
    """

    def __init__(
        self, name: str, steps: list[int], now: int | None, parent: QWidget, looked_at: int | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(f"Branch {name}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.steps = QComboBox()
        self.steps.setAccessibleName("Step to go on from")
        if now is not None:
            self.steps.addItem(f"now, step {now:,}", None)
        for step in reversed(steps):
            self.steps.addItem(f"checkpoint of step {step:,}", step)
        if looked_at is not None and (before := [step for step in steps if step <= looked_at]):
            self.steps.setCurrentIndex(self.steps.findData(max(before)))
        words = QLabel(EXPLAINED)
        words.setWordWrap(True)
        form = QFormLayout()
        form.addRow("From", self.steps)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.go = buttons.addButton("Branch", QDialogButtonBox.ButtonRole.AcceptRole)
        self.go.setEnabled(self.steps.count() > 0)
        self.go.setDefault(True)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(words)
        layout.addLayout(form)
        layout.addWidget(buttons)

    @property
    def chosen(self) -> int | None:
        """The step, None for the present one."""
        step: int | None = self.steps.currentData()
        return step


@parts.register("branching")
class Branching(Part):
    """The action, its dialog, and what is offered after a divergence. The run itself is made by the training thread."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self._offer: Offer | None = None
        window.actions_["branch"].triggered.connect(self._ask_here)
        window.controller.diverged.connect(self._diverged)
        window.controller.opening.connect(self._withdraw)

    @Slot()
    def _ask_here(self) -> None:
        run = self.window.controller.run
        if run is None:
            self.window.banner.notice("No run is open yet.")
        else:
            self.ask(run.folder)

    def ask(self, folder: Path) -> None:
        """Ask from which checkpoint of the run in ``folder``, or from its present step if it is open, to branch."""
        from engine.run.store import Store  # imports safetensors

        try:
            with closing(Store.open(folder, read_only=True)) as store:
                steps = store.checkpoints()
        except ExplorerError as error:
            self.window.banner.error(str(error))
            return
        controller = self.window.controller
        run, present = controller.run, controller.run is not None and controller.run.folder == folder
        shown = controller.last if present else None
        now = None if shown is None or (run is not None and run.watched) else shown.newest
        looked_at = shown.step if shown is not None and shown.looking else None
        dialog = BranchDialog(folder.name, steps, now, self.window, looked_at)
        dialog.accepted.connect(lambda: self._chosen(folder, dialog.chosen))
        dialog.open()

    def _chosen(self, folder: Path, step: int | None) -> None:
        if step is None:  # always saved anew: a knob may have changed since the checkpoint of this very step
            self.window.controller.save_checkpoint(self._saved)
        else:
            self.branch(folder, step)

    def _saved(self, answer: Answer) -> None:
        if not answer.error and answer.folder is not None:
            self.branch(answer.folder, answer.step)

    def branch(self, folder: Path, step: int, settings: tuple[tuple[str, str], ...] = ()) -> None:
        """Go on from the checkpoint at ``step`` of the run in ``folder`` with live knobs set, as a new run, paused."""
        self.window.leave(lambda: self.window.controller.branch(folder, step, settings))

    @Slot(object)
    def _diverged(self, error: DivergedError) -> None:
        text = f"{error}, or branch: a new run from that step with half the learning rate."
        self._offer = Offer(
            text, "Branch", lambda: self.branch(error.folder, error.step, ((RATE, error.setting),)), failed=True
        )
        self.window.banner.offer(self._offer)

    @Slot()
    def _withdraw(self) -> None:
        if self._offer is not None:
            self.window.banner.withdraw(self._offer)
            self._offer = None


def _branch(window: Shell, folders: Sequence[Path]) -> None:
    part = window.parts["branching"]
    assert isinstance(part, Branching)
    part.ask(folders[0])


run_actions.register("branch", order=2)(
    RunAction("Branch…", "Go on from one of its checkpoints as a new run; this one stays as it is", _branch)
)
