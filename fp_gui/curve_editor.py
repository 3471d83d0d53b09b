"""The window in which a knob's curve over steps is drawn and changed, while training goes on behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QSignalBlocker, Qt, Signal, Slot
from PySide6.QtGui import QBrush, QColor, QKeyEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from engine.config.assignments import read_value
from engine.config.curves import Curve
from engine.config.experiment import KnobInfo
from engine.core.errors import ConfigError
from fp_gui.curve_plot import CurvePlot
from fp_gui.dialog_size import open_size
from fp_gui.fields import show
from fp_gui.theme import ORANGE, mix, theme_of
from fp_gui.views.widgets import line, tint

HELP = "Drag a point to move it. Double-click beside the points adds one, on a point takes it away; so do the buttons."
Points = list[tuple[object, object]]
Check = Callable[[Sequence[Sequence[object]]], Curve]


def judge(points: Points, check: Check) -> tuple[Curve | None, str, int | None]:
    """The curve of ``points``; else what is wrong in a line, and which point it is, if it is one."""
    written = [list(point) for point in points]  # as the user would write them
    try:
        return check(written), "", None
    except ConfigError as error:
        text = str(error)
    good, bad = 0, len(points)  # the first good points are a curve, the first bad ones are none
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            check(written[:middle])
            good = middle
        except ConfigError:
            bad = middle
    return None, text, bad - 1 if points else None


class PointTable(QTableWidget):
    """A table that tells of Del while no cell of it is being typed into."""

    delete_pressed = Signal()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Tell of Del; every other key is the table's."""
        if event.key() in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.delete_pressed.emit()
        else:
            super().keyPressEvent(event)


class CurveEditor(QDialog):
    """Shows and changes the curve of ``knob`` in a run of ``total`` steps; not modal.

    ``check`` makes a curve of points or raises :class:`ConfigError`. ``follows``: whether the knob follows one now.
    """

    taken = Signal(object)  # the Curve that the knob is to follow from now on
    ended = Signal()  # it is to follow none

    def __init__(
        self, knob: KnobInfo, curve: Curve, total: int, check: Check, *, follows: bool, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.knob, self._total, self._check = knob, total, check
        self.setWindowTitle(f"Schedule of {knob.path}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.points: Points = list(curve.points)
        self.curve: Curve | None = curve
        self._source = curve  # what the knob follows, as far as is known
        about = line(knob.doc)
        self.plot = CurvePlot(knob)
        self._help = line(HELP)
        self.table = self._make_table()
        self.add_button = self._button("Add point", "Add a point behind the chosen one", self.add_point)
        self.remove_button = self._button("Remove point", "Take the chosen point away (Del)", self.remove_point)
        self.message = QLabel(wordWrap=True)
        self.message.setTextFormat(Qt.TextFormat.PlainText)
        self.buttons = self._make_buttons(follows)

        side = QVBoxLayout()
        side.addWidget(self.table, 1)
        pair = QHBoxLayout()
        pair.addWidget(self.add_button)
        pair.addWidget(self.remove_button)
        side.addLayout(pair)
        drawn = QVBoxLayout()
        drawn.addWidget(self.plot, 1)
        drawn.addWidget(self._help)
        body = QHBoxLayout()
        body.addLayout(drawn, 1)
        body.addLayout(side)
        layout = QVBoxLayout(self)
        layout.addWidget(about)
        layout.addLayout(body, 1)
        layout.addWidget(self.message)
        layout.addWidget(self.buttons)
        open_size(self, 760, 430)

        self.plot.moved.connect(self._move)
        self.plot.dropped.connect(self._judge)
        self.plot.added.connect(self._insert)
        self.plot.removed.connect(self._remove)
        self.plot.chosen.connect(lambda row: self.table.setCurrentCell(row, 1))
        self._fill()
        self._judge()
        self.set_theme()

    def _make_table(self) -> QTableWidget:
        table = PointTable(0, 2)
        table.setHorizontalHeaderLabels(["step", self.knob.name])
        table.setAccessibleName(f"{self.knob.path}: points of the schedule")
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setToolTip(f"Values: {self.knob.allowed}. Steps: rising, at most {self._total}.")
        table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        table.setTabKeyNavigation(False)  # Tab leaves it, the arrows go through it
        table.setFixedWidth(230)
        table.itemChanged.connect(self._typed)
        table.delete_pressed.connect(self.remove_point)
        return table

    @staticmethod
    def _button(text: str, tip: str, slot: Callable[[], None]) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.setAutoDefault(False)
        button.clicked.connect(slot)
        return button

    def _make_buttons(self, follows: bool) -> QDialogButtonBox:
        kind = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(kind.Ok | kind.Apply | kind.Cancel)
        self.end_button = buttons.addButton("End schedule", QDialogButtonBox.ButtonRole.DestructiveRole)
        self.end_button.setToolTip("The parameter keeps its present value from now on")
        self.end_button.setEnabled(follows)
        self.end_button.clicked.connect(self._end)
        self.ok_button, self.apply_button = buttons.button(kind.Ok), buttons.button(kind.Apply)
        self.apply_button.setToolTip("From the next step on the parameter follows this curve")
        self.ok_button.clicked.connect(self._take_and_close)
        self.apply_button.clicked.connect(self._take)
        buttons.rejected.connect(self.reject)
        return buttons

    # -- what is shown -------------------------------------------------------------------------------------------

    def show_step(self, step: int) -> None:
        """Mark the present step."""
        self.plot.show_step(step)

    def show_curve(self, curve: Curve | None) -> None:
        """The knob follows ``curve`` now, if any; it is shown unless the user has begun to change the one before."""
        self.end_button.setEnabled(curve is not None)
        if curve is not None:
            untouched, self._source = self.points == list(self._source.points), curve
            if untouched:
                self.points = list(curve.points)
                self._fill()
                self._judge()

    def set_theme(self) -> None:
        """Take the colours of the palette."""
        theme = theme_of(self)
        self.plot.set_theme(theme)
        tint(self._help, theme.muted)
        self._bad_ground = QBrush(QColor(mix(theme.base, ORANGE, 0.35)))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Return takes what was typed into the table, no more: it presses no button."""
        if event.key() not in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            super().keyPressEvent(event)

    def changeEvent(self, event: QEvent) -> None:
        """Follow the theme."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange and hasattr(self, "buttons"):  # not while it is being made
            self.set_theme()

    def _fill(self) -> None:
        """Write the points into the table."""
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(self.points))
            for row, point in enumerate(self.points):
                for column, value in enumerate(point):
                    item = self.table.item(row, column)
                    if item is None:
                        item = QTableWidgetItem()
                        self.table.setItem(row, column, item)
                    item.setText(show(value))

    @Slot()
    def _judge(self) -> None:
        """Check the points; draw them, or say what is wrong with which."""
        found, text, bad = judge(self.points, self._check)
        self.curve = found
        if found is not None:
            self.plot.show_curve(found, self._total)
        self.plot.setEnabled(found is not None)  # what is typed and wrong is first to be put right
        self.message.setText(text)
        self.message.setVisible(bool(text))
        for button in (self.ok_button, self.apply_button):
            button.setEnabled(found is not None)
        self.remove_button.setEnabled(len(self.points) > 1)
        with QSignalBlocker(self.table):
            for row in range(self.table.rowCount()):
                for column in (0, 1):
                    if (item := self.table.item(row, column)) is not None:
                        item.setBackground(self._bad_ground if row == bad else QBrush())

    # -- what the user does --------------------------------------------------------------------------------------

    @Slot(QTableWidgetItem)
    def _typed(self, item: QTableWidgetItem) -> None:
        point = list(self.points[item.row()])
        point[item.column()] = read_value(item.text(), "int" if item.column() == 0 else self.knob.kind)
        self.points[item.row()] = point[0], point[1]
        self._judge()

    @Slot(int, int, object)
    def _move(self, index: int, step: int, value: float) -> None:
        """A point is being dragged: it stays between its neighbours and in its range, so it need not be judged."""
        self.points[index] = step, value
        self._fill()
        old = self.plot.curve.points
        self.plot.show_curve(Curve((*old[:index], (step, float(value)), *old[index + 1 :])), self._total, fit=False)
        self.table.setCurrentCell(index, 1)

    @Slot(int, object)
    def _insert(self, step: int, value: object) -> None:
        """Add a point where it belongs, unless there is one at this step."""
        steps = [s for s, _ in self.points if isinstance(s, int)]
        if step in steps:
            return
        row = sum(s < step for s in steps)
        self.points.insert(row, (step, value))
        self._fill()
        self._judge()
        self.table.setCurrentCell(row, 1)

    @Slot(int)
    def _remove(self, row: int) -> None:
        """Take a point away; the last one stays."""
        if 0 <= row < len(self.points) > 1:
            del self.points[row]
            self._fill()
            self._judge()

    @Slot()
    def add_point(self) -> None:
        """A point halfway between the chosen one and the next, or behind the last one."""
        curve, row = self.curve, self.table.currentRow()
        if curve is None:
            return
        steps = [step for step, _ in curve.points]
        row = row if 0 <= row < len(steps) else len(steps) - 1
        after = steps[row + 1] if row + 1 < len(steps) else self._total + 1
        middle = (steps[row] + after) // 2
        if middle <= steps[row]:  # no step is free there: the next gap from the start
            free = (step for step in range(self._total + 1) if step not in set(steps))
            middle = next(free, -1)
        if middle >= 0:
            value = curve.at(middle)
            self._insert(middle, round(value) if self.knob.kind == "int" else float(f"{value:.6g}"))

    @Slot()
    def remove_point(self) -> None:
        """Take the chosen point away."""
        self._remove(self.table.currentRow())

    @Slot()
    def _take(self) -> None:
        if self.curve is not None:
            self.taken.emit(self.curve)

    @Slot()
    def _take_and_close(self) -> None:
        self._take()
        self.accept()

    @Slot()
    def _end(self) -> None:
        self.ended.emit()
        self.accept()
