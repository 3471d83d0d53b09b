"""The dialog that asks what to export: which views, in which formats, into which folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Slot
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from engine.run.snapshot import Snapshot
from fp_gui.export import FORMATS, WIDTHS

COLUMNS = 4  # of views


@dataclass(frozen=True, slots=True)
class LookedAt:
    """While the step ``step`` of ``run`` is looked at: the ``checkpoint`` drawn for it, its own or the nearest."""

    run: Path
    step: int
    checkpoint: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> LookedAt | None:
        """The nearest stored checkpoint, of two as near the earlier; None for the present, or if there is none."""
        step, known = snapshot.step, sorted(each.step for each in snapshot.stored if each.checkpoint)
        if not snapshot.looking or not known:
            return None
        return cls(snapshot.folder, step, min(known, key=lambda each: abs(each - step)))

    @property
    def choice(self) -> str:
        """What is chosen."""
        own = self.checkpoint == self.step
        return f"step {self.step:,} (looked at)" if own else f"step {self.checkpoint:,}, the checkpoint nearest"

    @property
    def words(self) -> str:
        """What that means."""
        if self.checkpoint == self.step:
            found = f"Step {self.step:,} is looked at, and is a checkpoint: figures are drawn of it. "
        else:
            found = (
                f"Step {self.step:,} is looked at, of which there is a frame alone: figures are drawn from the nearest "
                f"checkpoint, step {self.checkpoint:,}. "
            )
        return found + "Slow measurements and the claims' verifications are of the step at which they were made."


class ExportDialog(QDialog):
    """Asks which views, which formats and which folder.

    ``titles`` are the views' by name, ``visible`` the names chosen at first, ``empty`` those with nothing to draw yet
    and why. ``looked`` is what is drawn instead of the present while an earlier step is looked at.
    """

    def __init__(
        self,
        titles: Mapping[str, str],
        visible: Collection[str],
        empty: Mapping[str, str],
        folder: Path,
        parent: QWidget | None = None,
        looked: LookedAt | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Export figures")
        intro = QLabel(
            "Draws the figures from the stored run, with the plotted data as CSV or NPZ and a recipe that repeats it. "
            "Training goes on meanwhile.",
            wordWrap=True,
        )
        self.views = {name: self._box(title, name in visible and name not in empty) for name, title in titles.items()}
        for name, why in empty.items():
            self.views[name].setEnabled(False)
            self.views[name].setToolTip(why)
        reasons = {why: [titles[name] for name in empty if empty[name] == why] for why in empty.values()}
        self.why = QLabel("\n".join(f"{', '.join(of)}: {why}." for why, of in reasons.items()), wordWrap=True)
        self.why.setProperty("muted", True)
        self.why.setVisible(bool(empty))
        self.formats = {name: self._box(name.upper(), True) for name in FORMATS}
        self.everything = QPushButton("All views", autoDefault=False)
        self.everything.setToolTip("Choose every view that has something to draw; once more: only those visible now")
        self.everything.clicked.connect(self._choose_all)
        self._visible = frozenset(visible) - frozenset(empty)
        self.step = QComboBox()
        self.step.setAccessibleName("Step that is drawn")
        self.step.addItem("now", None)
        if looked is not None:
            self.step.insertItem(0, looked.choice, (looked.run, looked.checkpoint))
            self.step.setCurrentIndex(0)
        self.about_step = QLabel(looked.words if looked is not None else "", wordWrap=True)
        self.about_step.setProperty("muted", True)
        self.width_ = QComboBox()
        self.width_.addItems(list(WIDTHS))
        self.width_.setAccessibleName("Width of the figures")
        self.folder = QLineEdit(str(folder))
        self.folder.setMinimumWidth(380)
        self.browse = QPushButton("Browse…", autoDefault=False)  # Return exports, even while this has the focus
        self.browse.clicked.connect(self._browse)
        form = QFormLayout()
        form.addRow("Views", self._rows([*self.views.values()]))
        form.addRow("", self.why)
        form.addRow("", self._row([self.everything]))
        if looked is not None:
            form.addRow("Step", self._row([self.step]))
            form.addRow("", self.about_step)
        form.addRow("Formats", self._row([*self.formats.values()]))
        form.addRow("Width", self._row([self.width_]))
        form.addRow("Folder", self._row([self.folder, self.browse], stretch=False))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.export_button = QPushButton("Export", default=True)
        buttons.addButton(self.export_button, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addWidget(intro)
        layout.addLayout(form)
        layout.addWidget(buttons)
        for box in (*self.views.values(), *self.formats.values()):
            box.toggled.connect(self._check)
        self.folder.textChanged.connect(self._check)
        self._check()

    @staticmethod
    def _box(text: str, checked: bool) -> QCheckBox:
        box = QCheckBox(text)
        box.setChecked(checked)
        return box

    @staticmethod
    def _row(widgets: list[QWidget], stretch: bool = True) -> QWidget:
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        for widget in widgets:
            line.addWidget(widget)
        if stretch:
            line.addStretch(1)
        return row

    @staticmethod
    def _rows(boxes: list[QCheckBox]) -> QWidget:
        """Boxes in as many lines as they need, so that the dialog is never wider than a small screen."""
        block = QWidget()
        grid = QGridLayout(block)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setColumnStretch(COLUMNS, 1)
        for i, box in enumerate(boxes):
            grid.addWidget(box, *divmod(i, COLUMNS))
        return block

    @Slot()
    def _choose_all(self) -> None:
        able = {name for name, box in self.views.items() if box.isEnabled()}
        chosen = self._visible if able == set(self.chosen) else able
        for name, box in self.views.items():
            box.setChecked(name in chosen)

    @Slot()
    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder for the figures", self.folder.text())
        if chosen:
            self.folder.setText(chosen)

    @Slot()
    def _check(self) -> None:
        self.export_button.setEnabled(
            any(b.isChecked() for b in self.views.values())
            and any(b.isChecked() for b in self.formats.values())
            and bool(self.folder.text().strip())
        )

    @property
    def chosen(self) -> list[str]:
        """The names of the views to draw."""
        return [name for name, box in self.views.items() if box.isChecked()]

    @property
    def chosen_checkpoint(self) -> tuple[Path, int] | None:
        """The run and its checkpoint to draw; None for the present."""
        found: tuple[Path, int] | None = self.step.currentData()
        return found

    @property
    def chosen_formats(self) -> tuple[str, ...]:
        """The formats to draw them in."""
        return tuple(name for name, box in self.formats.items() if box.isChecked())

    @property
    def chosen_width(self) -> float:
        """The width of the figures in inches."""
        return WIDTHS[self.width_.currentText()]

    @property
    def out(self) -> Path:
        """The folder to write to."""
        return Path(self.folder.text().strip()).expanduser()
