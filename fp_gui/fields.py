"""One small editor per kind of knob. All speak the same: ``value``, ``set_value``, ``committed``."""

from __future__ import annotations

from decimal import Decimal
from math import floor, inf, log10

from PySide6.QtCore import QEvent, QSize, Qt, Signal, Slot
from PySide6.QtGui import QFocusEvent, QKeyEvent, QWheelEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QToolButton,
    QWidget,
)

from engine.config.assignments import read_value
from engine.config.curves import Curve
from engine.config.experiment import KnobInfo
from engine.data.tree import PATTERNS


def show(value: object) -> str:
    """A value in as few characters as bring it back exactly: ``3e-05``, ``0.2``, ``1500``; a curve in brief."""
    if isinstance(value, Curve):
        return value.brief()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def nudged(value: float, knob: KnobInfo, steps: int) -> float:
    """``value`` moved by ``steps`` within the knob's range: whole numbers by one, others by their second digit."""
    moved: float
    if knob.kind == "int":
        moved = int(value) + steps
    else:
        digit = floor(log10(abs(value))) - 1 if value else -2
        moved = float(Decimal(repr(float(value))) + steps * Decimal(10) ** digit)
    low = -inf if knob.low is None else knob.low
    high = inf if knob.high is None else knob.high
    moved = min(max(moved, low), high)
    return int(moved) if knob.kind == "int" else moved


ARROW = 26  # pixels of a drop-down list beside its text


class Field(QWidget):
    """An editor for one knob; subclasses hold the control."""

    committed = Signal()

    def __init__(self, knob: KnobInfo) -> None:
        super().__init__()
        self.knob = knob
        self.control: QWidget = self._make()
        self.control.setAccessibleName(knob.path)
        self.setFocusProxy(self.control)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.control, 1)

    def _make(self) -> QWidget:
        raise NotImplementedError

    def value(self) -> object:
        """What the control shows, as typed."""
        raise NotImplementedError

    def set_value(self, value: object) -> None:
        """Show ``value`` without emitting :attr:`committed`."""
        raise NotImplementedError

    def set_read_only(self, on: bool) -> None:
        """The value can be read, and no more."""
        self.setEnabled(not on)


class _Edit(QLineEdit):
    """A line that keeps its keys: Up and Down nudge, Escape puts the old text back."""

    nudge = Signal(int)
    cancelled = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Nudge or cancel, else edit."""
        step = 10 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 1
        if event.key() == Qt.Key.Key_Up:
            self.nudge.emit(step)
        elif event.key() == Qt.Key.Key_Down:
            self.nudge.emit(-step)
        elif event.key() == Qt.Key.Key_Escape:
            self.cancelled.emit()
        else:
            super().keyPressEvent(event)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Select all when reached by Tab, so that typing replaces."""
        super().focusInEvent(event)
        if event.reason() in (Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason):
            self.selectAll()

    def sizeHint(self) -> QSize:
        """Room for seven digits; the row gives more where there is more."""
        return QSize(self.fontMetrics().horizontalAdvance("0" * 7) + 14, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """No narrower."""
        return self.sizeHint()


class LineField(Field):
    """Numbers and texts: any text can be typed, what it means is judged when it is committed."""

    def _make(self) -> QWidget:
        self._edit = _Edit()
        self._edit.setProperty("number", self.knob.kind != "text")
        self._shown = ""
        self._value: object = None
        self._edit.editingFinished.connect(self._finish)
        self._edit.nudge.connect(self._nudge)
        self._edit.cancelled.connect(self._cancel)
        return self._edit

    def value(self) -> object:
        """See :class:`Field`."""
        text = self._edit.text()
        if self.knob.zero and text.strip() == self.knob.zero:
            return 0
        return self._value if text == self._shown else read_value(text, self.knob.kind)

    def set_value(self, value: object) -> None:
        """See :class:`Field`."""
        self._show(value, self.knob.zero if self.knob.zero and value == 0 else show(value))

    def set_moving(self, value: object) -> None:
        """The same for a value that changes by itself: no more digits than one can read, though it is kept exactly."""
        self._show(value, f"{value:.4g}" if isinstance(value, float) else show(value))

    def _show(self, value: object, text: str) -> None:
        self._value, self._shown = value, text
        self._edit.setText(text)
        self._edit.setCursorPosition(0)

    def set_read_only(self, on: bool) -> None:
        """See :class:`Field`; a text can still be selected and copied."""
        self._edit.setReadOnly(on)
        for button in self.findChildren(QAbstractButton):
            button.setEnabled(not on)

    @Slot()
    def _finish(self) -> None:
        if self._edit.text() != self._shown:
            self.committed.emit()

    @Slot(int)
    def _nudge(self, steps: int) -> None:
        old, knob = self.value(), self.knob
        if isinstance(old, (int, float)) and knob.kind in ("int", "float") and not self._edit.isReadOnly():
            self._edit.setText(show(nudged(old, knob, steps)))
            self._finish()

    @Slot()
    def _cancel(self) -> None:
        self._edit.setText(self._shown)


class PathField(LineField):
    """A folder: typed, or chosen by a button; where the knob allows it also a .zip."""

    def __init__(self, knob: KnobInfo) -> None:
        super().__init__(knob)
        optional = "empty:" in knob.doc
        self._edit.setPlaceholderText("empty: default place" if optional else "none chosen")
        self.button = QToolButton(autoRaise=True)
        self.button.setText("…")
        self.button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.button.setToolTip("Choose it")
        self.button.setAccessibleName(f"{knob.path}: choose")
        if ".zip" in knob.doc:
            menu = QMenu(self.button)
            menu.addAction("Folder…").triggered.connect(self._choose_folder)
            menu.addAction(".zip file…").triggered.connect(self._choose_zip)
            self.button.setMenu(menu)
            self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        else:
            self.button.clicked.connect(self._choose_folder)
        layout = self.layout()
        assert layout is not None
        layout.addWidget(self.button)

    @Slot()
    def _choose_folder(self) -> None:
        self._take(QFileDialog.getExistingDirectory(self, "Folder with the images", self._edit.text()))

    @Slot()
    def _choose_zip(self) -> None:
        self._take(QFileDialog.getOpenFileName(self, "File with the images", self._edit.text(), PATTERNS)[0])

    def _take(self, path: str) -> None:
        if path:
            self._edit.setText(path)
            self._finish()


class BoolField(Field):
    """A check box. A click leaves the focus where it was, so that Space still plays."""

    def _make(self) -> QWidget:
        self._box = QCheckBox()
        self._box.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._box.clicked.connect(self.committed)
        return self._box

    def value(self) -> object:
        """See :class:`Field`."""
        return self._box.isChecked()

    def set_value(self, value: object) -> None:
        """See :class:`Field`."""
        self._box.setChecked(value is True)


class _Combo(QComboBox):
    def minimumSizeHint(self) -> QSize:
        """Room for the present choice."""
        least, text = super().minimumSizeHint(), self.fontMetrics().horizontalAdvance(self.currentText())
        return QSize(max(least.width(), text + ARROW), least.height())

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll the form, never the choice."""
        event.ignore()

    def event(self, event: QEvent) -> bool:
        """Open on Return, too."""
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent) and event.key() in (
            Qt.Key.Key_Return, Qt.Key.Key_Enter,
        ):  # fmt: skip
            self.showPopup()
            return True
        return super().event(event)


class ChoiceField(Field):
    """A drop-down list of the allowed values."""

    def _make(self) -> QWidget:
        self._combo = _Combo()
        self._combo.addItems(list(self.knob.choices))
        self._combo.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._combo.setMinimumContentsLength(7)
        self._combo.activated.connect(self.committed)
        return self._combo

    def value(self) -> object:
        """See :class:`Field`."""
        return self._combo.currentText()

    def set_value(self, value: object) -> None:
        """See :class:`Field`."""
        self._combo.setCurrentText(str(value))


def field_for(knob: KnobInfo) -> Field:
    """The editor for ``knob``'s kind; a text called ``folder`` is a path."""
    if knob.kind == "text" and knob.name == "folder":
        return PathField(knob)
    return {"bool": BoolField, "choice": ChoiceField}.get(knob.kind, LineField)(knob)
