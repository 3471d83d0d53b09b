"""Small parts that the live views share: captions, empty pages, choices, switches, numbers."""

from __future__ import annotations

from collections.abc import Mapping

from PySide6.QtCore import QSignalBlocker, QSize, Qt
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QLabel,
    QStackedWidget,
    QWidget,
)

from engine.figures.declare import Option
from engine.run.snapshot import Snapshot
from fp_gui.folding import FoldingLabel
from fp_gui.theme import Theme

WIDEST = 320  # pixels of a drop-down
EMPTY = "Nothing has been computed yet.\nPress play (Space) to start training."


def tint(widget: QWidget, colour: str) -> None:
    """Write a label's text in ``colour``, whatever the application's palette says."""
    palette = widget.palette()
    palette.setColor(QPalette.ColorRole.WindowText, QColor(colour))
    widget.setPalette(palette)


def line(text: str = "", *, wrap: bool = True) -> QLabel:
    """A line of plain text; with ``wrap`` it may shrink and fold, so that it never forces a dock to be large."""
    if wrap:
        return FoldingLabel(text)
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def aged(step: int, now: int) -> str:
    """The step that something is of, and how far it lags behind ``now``, e.g. ``step 159, 799 steps ago``."""
    ago = now - step
    return f"step {step:,}" + (f", {ago:,} step{'s' if ago != 1 else ''} ago" if ago > 0 else "")


def moment_name(snapshot: Snapshot, step: int | None = None) -> str:
    """What the present picture is called: ``Now: step 159``; ``Step 159`` while an earlier one is looked at.

    ``step`` is that of what is drawn, where it lags behind.
    """
    text = aged(snapshot.step if step is None else step, snapshot.step)
    return text.capitalize() if snapshot.looking else f"Now: {text}"


class Pages(QStackedWidget):
    """Either the content of a view or, before there is anything to show, a text that says what to do."""

    def __init__(self, content: QWidget, message: str = EMPTY) -> None:
        super().__init__()
        self._first = message
        self.message = FoldingLabel(message, folds=False)
        self.message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.addWidget(self.message)
        self.addWidget(content)

    @property
    def empty(self) -> bool:
        """Whether the message is what one sees."""
        return self.currentIndex() == 0

    def show_content(self, present: bool = True) -> None:
        """Show the content, or the message again."""
        if self.empty == present:
            self.setCurrentIndex(int(present))

    def forget(self) -> None:
        """Show the first message again: there is nothing else yet."""
        self.message.setText(self._first)
        self.show_content(False)

    def set_theme(self, theme: Theme) -> None:
        """Recolour the message."""
        tint(self.message, theme.muted)


class Choice(QComboBox):
    """A drop-down of ``value → label``; the values are the strings that :meth:`View.options` stores."""

    def __init__(self, values: Mapping[str, str], current: str, tip: str) -> None:
        super().__init__()
        for value, label in values.items():
            self.addItem(label, value)
        self.setToolTip(tip)
        self.setAccessibleName(tip.partition(".")[0].partition(":")[0])
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.value = current

    @classmethod
    def of(cls, option: Option, more: str = "") -> Choice:
        """The choice that a declared option is, with ``more`` to say about it."""
        return cls(option.choices, option.default, f"{option.doc}{more}")

    def sizeHint(self) -> QSize:
        """As wide as its longest entry, within bounds: a dock must not be wide for one drop-down."""
        return super().sizeHint().boundedTo(QSize(WIDEST, 1000))

    def minimumSizeHint(self) -> QSize:
        """The same."""
        return self.sizeHint()

    @property
    def value(self) -> str:
        """The chosen value."""
        return str(self.currentData())

    @value.setter
    def value(self, value: str) -> None:
        index = self.findData(value)
        if index >= 0:  # unknown values come from a stored layout and are ignored
            self.setCurrentIndex(index)


class Switch(QCheckBox):
    """A check box with a tooltip whose state is stored as ``true`` or ``false``."""

    def __init__(self, label: str, tip: str, *, on: bool = False) -> None:
        super().__init__(label)
        self.setToolTip(tip)
        self.setChecked(on)

    @classmethod
    def of(cls, label: str, option: Option) -> Switch:
        """The switch that a declared option is."""
        return cls(label, option.doc, on=option.default == "true")

    @property
    def value(self) -> str:
        """``true`` or ``false``."""
        return "true" if self.isChecked() else "false"

    @value.setter
    def value(self, value: str) -> None:
        if value in ("true", "false"):
            self.setChecked(value == "true")


def restore(controls: Mapping[str, Choice | Switch], options: Mapping[str, str]) -> None:
    """Set several controls from stored options without a signal for each; unknown names are ignored."""
    for name, control in controls.items():
        if name in options:
            with QSignalBlocker(control):
                control.value = options[name]
