"""The dialog that asks what to export: which views, in which formats, into which folder."""

from __future__ import annotations

from collections.abc import Collection, Mapping
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

from fp_gui.export import FORMATS, WIDTHS

COLUMNS = 4  # of views


class ExportDialog(QDialog):
    """Asks which views, which formats and which folder.

    ``titles`` are the views' by name, ``visible`` the names chosen at first, ``empty`` those with nothing to draw yet
    and why.
    """

    def __init__(
        self,
        titles: Mapping[str, str],
        visible: Collection[str],
        empty: Mapping[str, str],
        folder: Path,
        parent: QWidget | None = None,
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
