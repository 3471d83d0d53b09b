"""The presets as questions: what each asks, how it ended, what to expect, what the paper says, how long it takes."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt, Signal, Slot
from PySide6.QtGui import QIcon, QKeyEvent, QPixmap
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from engine.config.knobs import About
from engine.config.presets import outcome_picture, preset_abouts
from fp_gui.dialog_size import open_size
from fp_gui.knob_row import escaped

SMALL, LARGE = QSize(150, 100), QSize(360, 240)  # logical pixels of the picture in the list and beside it
SIZE = (900, 600)
KEY = (
    "Accuracy over training steps: clean dashed, under FGM dotted, under PGD solid; phases shaded. Below, eight hidden "
    "neurons with the largest weights: after clean training, and at the end."
)
NO_PICTURE = "No run of this preset has been brought to its end for a picture yet."
MOVES = (Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown)


def picture(name: str) -> QPixmap:
    """The picture of a preset's outcome; a null one where there is none."""
    found = QPixmap()
    if (data := outcome_picture(name)) is not None:
        found.loadFromData(data)
    return found


def matches(name: str, about: About, text: str) -> bool:
    """Whether every word of ``text`` occurs in the preset's name or in what is said of it."""
    whole = " ".join((name, about.title, about.question, about.expect, about.claim)).casefold()
    return all(word in whole for word in text.casefold().split())


def page(name: str, about: About) -> str:
    """What is said of a preset, as rich text."""
    parts = [
        f"<p><b>What to expect.</b> {escaped(about.expect)}</p>",
        f"<p><b>The paper.</b> {escaped(about.claim)}</p>" if about.claim else "",
        f"<p><b>Takes</b> {escaped(about.time)}.</p>",
        f"<p><b>Without a window:</b> <code>python -m engine run {name} --out FOLDER</code></p>",
    ]
    return "".join(parts)


class QuestionDialog(QDialog):
    """The chooser: a list of questions with their pictures, a search, and all about the one that is marked."""

    chosen = Signal(str)  # a preset's name

    def __init__(self, present: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Questions")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.search = QLineEdit(clearButtonEnabled=True, placeholderText="Search questions, answers and names")
        self.search.setAccessibleName("Search questions")
        self.search.textChanged.connect(self._filter)
        self.search.installEventFilter(self)
        self.list = self._list()
        self.picture = QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        self.question, self.key, self.text = (QLabel(wordWrap=True) for _ in range(3))
        self.key.setProperty("muted", True)
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.none = QLabel("No question holds these words.", wordWrap=True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.open_button = buttons.addButton("Open", QDialogButtonBox.ButtonRole.AcceptRole)
        self.open_button.setDefault(True)
        self.open_button.setToolTip("Start a new run of this preset; the present run stays on disk")
        buttons.accepted.connect(self.choose)
        buttons.rejected.connect(self.reject)
        left, right = QVBoxLayout(), self._about()
        for widget in (self.search, self.list, self.none):
            left.addWidget(widget)
        middle = QHBoxLayout()
        middle.addLayout(left, 5)
        middle.addWidget(right, 6)
        layout = QVBoxLayout(self)
        layout.addLayout(middle, 1)
        layout.addWidget(buttons)
        open_size(self, *SIZE)
        self._filter("")
        self.mark(present)

    def _list(self) -> QListWidget:
        found = QListWidget()
        found.setWordWrap(True)
        found.setIconSize(SMALL)
        found.setAccessibleName("Questions")
        found.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        found.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        blank = QPixmap(SMALL)
        blank.fill(Qt.GlobalColor.transparent)
        for name, about in preset_abouts().items():
            shown = picture(name)
            icon = QIcon()
            for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):  # not tinted where it is marked
                icon.addPixmap(blank if shown.isNull() else shown, mode)
            item = QListWidgetItem(icon, f"{about.question}\n{name}", found)
            item.setData(Qt.ItemDataRole.UserRole, name)
            item.setToolTip(about.title)
            item.setSizeHint(QSize(0, SMALL.height() + 14))
        found.currentItemChanged.connect(self._show)
        found.itemActivated.connect(self.choose)
        return found

    def _about(self) -> QScrollArea:
        inner = QWidget()
        column = QVBoxLayout(inner)
        for label in (self.question, self.picture, self.key, self.text):
            column.addWidget(label)
        column.addStretch(1)
        self.text.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.MinimumExpanding)
        area = QScrollArea(widgetResizable=True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inner)
        return area

    @property
    def name(self) -> str:
        """The preset that is marked; empty where none matches."""
        item = self.list.currentItem()
        return "" if item is None or item.isHidden() else str(item.data(Qt.ItemDataRole.UserRole))

    def names(self) -> list[str]:
        """The presets that are offered, in their order."""
        items = (self.list.item(i) for i in range(self.list.count()))
        return [str(item.data(Qt.ItemDataRole.UserRole)) for item in items if not item.isHidden()]

    def mark(self, name: str) -> None:
        """Mark a preset, if it is offered."""
        for i in range(self.list.count()):
            if self.list.item(i).data(Qt.ItemDataRole.UserRole) == name:
                self.list.setCurrentRow(i)

    @Slot(str)
    def _filter(self, text: str) -> None:
        abouts, first = preset_abouts(), None
        for i in range(self.list.count()):
            item = self.list.item(i)
            name = str(item.data(Qt.ItemDataRole.UserRole))
            item.setHidden(not matches(name, abouts[name], text))
            first = item if first is None and not item.isHidden() else first
        if not self.name and first is not None:
            self.list.setCurrentItem(first)
        self.none.setVisible(first is None)
        self._show()

    @Slot()
    def _show(self) -> None:
        name = self.name
        self.open_button.setEnabled(bool(name))
        for label in (self.question, self.picture, self.key, self.text):
            label.setVisible(bool(name))
        if not name:
            return
        about, shown = preset_abouts()[name], picture(name)
        self.question.setText(f"<h3>{escaped(about.question)}</h3>")
        if not shown.isNull():
            ratio = self.devicePixelRatio()
            shown = shown.scaled(
                LARGE * ratio, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
            )
            shown.setDevicePixelRatio(ratio)
        self.picture.setPixmap(shown)
        self.picture.setAccessibleName(f"How {name} ended")
        self.picture.setVisible(not shown.isNull())
        self.key.setText(NO_PICTURE if shown.isNull() else KEY)
        self.text.setText(page(name, about))

    @Slot()
    def choose(self) -> None:
        """Open the preset that is marked."""
        if name := self.name:
            self.accept()
            self.chosen.emit(name)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """The arrows go through the list while one types in the search."""
        moves = isinstance(event, QKeyEvent) and event.key() in MOVES and event.type() == QEvent.Type.KeyPress
        if watched is self.search and moves:
            self.list.event(event)
            return True
        return False
