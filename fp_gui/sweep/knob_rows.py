"""The knobs that are swept: a row each, with its values and what is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QGridLayout, QLineEdit, QMenu, QSizePolicy, QToolButton, QWidget

from engine.config.experiment import KnobInfo
from engine.sweeps.record import text_of
from fp_gui.folding import FoldingLabel
from fp_gui.theme import ORANGE, Theme, mix
from fp_gui.views.widgets import tint


class ValuesRow:
    """A knob's name, the field of its values, the ticks of its choices, the way out, and the line below for errors."""

    def __init__(self, knob: KnobInfo, value: object) -> None:
        self.knob = knob
        self.name = FoldingLabel(f"{knob.path}{f' [{knob.unit}]' if knob.unit else ''}", folds=False, wraps=False)
        self.name.setToolTip(f"{knob.doc}\nAllowed: {knob.allowed}")
        self.field = QLineEdit(text_of(value))
        self.field.setAccessibleName(f"Values of {knob.path}")
        self.field.setToolTip(f"Values, separated by commas\nAllowed: {knob.allowed}")
        self.field.setPlaceholderText(f"values: {knob.allowed}")
        self.ticks = QToolButton()
        self.ticks.setText("Choose")
        self.ticks.setToolTip(f"Tick the values of {knob.path}")
        self.ticks.setAccessibleName(f"Choose values of {knob.path}")
        self.ticks.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.ticks.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.menu = QMenu(self.ticks)
        self.ticks.setMenu(self.menu)
        self.menu.aboutToShow.connect(self._fill)
        self.out = QToolButton(autoRaise=True)
        self.out.setText("✕")
        self.out.setToolTip(f"Do not sweep {knob.path}")
        self.out.setAccessibleName(f"Do not sweep {knob.path}")
        self.out.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.wrong = FoldingLabel(folds=False)
        self.wrong.hide()

    @property
    def choices(self) -> tuple[str, ...]:
        """The values that can be ticked; none of a number."""
        return ("true", "false") if self.knob.kind == "bool" else self.knob.choices

    @property
    def widgets(self) -> tuple[QWidget, ...]:
        """All of the row."""
        return self.name, self.field, self.ticks, self.out, self.wrong

    @property
    def values(self) -> list[str]:
        """The values as they are typed."""
        return [text.strip() for text in self.field.text().split(",") if text.strip()]

    def _fill(self) -> None:
        self.menu.clear()
        for choice in self.choices:
            action = self.menu.addAction(choice)
            action.setCheckable(True)
            action.setChecked(choice in self.values)
            action.toggled.connect(partial(self._tick, choice))

    def _tick(self, choice: str, on: bool) -> None:
        chosen = {*self.values, choice} if on else set(self.values) - {choice}
        self.field.setText(", ".join(each for each in self.choices if each in chosen))

    def show_wrong(self, text: str) -> None:
        """What is wrong with the values; empty: nothing."""
        self.wrong.setText(text)
        self.wrong.setVisible(bool(text))
        self.field.setAccessibleDescription(text)


class KnobRows(QWidget):
    """The rows, in the order in which knobs were added."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[ValuesRow] = []
        self._colour = ORANGE
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setVerticalSpacing(2)
        self._grid.setColumnStretch(1, 1)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    @property
    def axes(self) -> tuple[tuple[str, str], ...]:
        """Each knob with its values as they are typed."""
        return tuple((row.knob.path, row.field.text()) for row in self.rows)

    def row(self, path: str) -> ValuesRow | None:
        """That of a knob; None if it is not swept."""
        return next((row for row in self.rows if row.knob.path == path), None)

    def add(self, knob: KnobInfo, value: object) -> ValuesRow:
        """Sweep ``knob``, from its ``value`` on; the row that is there if it is swept already."""
        row = self.row(knob.path)
        if row is None:
            row = ValuesRow(knob, value)
            self.rows.append(row)
            row.field.textChanged.connect(self.changed)
            row.out.clicked.connect(partial(self.remove, row))
            row.ticks.setVisible(bool(row.choices))
            tint(row.wrong, self._colour)
            self._lay()
            self.changed.emit()
        return row

    @Slot()
    def remove(self, row: ValuesRow) -> None:
        """Sweep it no more."""
        self.rows.remove(row)
        for widget in row.widgets:
            self._grid.removeWidget(widget)
            widget.hide()
            widget.deleteLater()
        self._lay()
        self.changed.emit()

    def keep(self, known: Sequence[KnobInfo]) -> None:
        """Drop the rows of knobs that there are not any more."""
        paths = {knob.path for knob in known}
        for row in [row for row in self.rows if row.knob.path not in paths]:
            self.remove(row)

    def _lay(self) -> None:
        for i, row in enumerate(self.rows):
            for column, widget in enumerate((row.name, row.field, row.ticks, row.out)):
                self._grid.addWidget(widget, 2 * i, column)
            self._grid.addWidget(row.wrong, 2 * i + 1, 1, 1, 3)

    def show_wrong(self, wrong: Mapping[str, str]) -> None:
        """What is wrong, by knob."""
        for row in self.rows:
            row.show_wrong(wrong.get(row.knob.path, ""))

    def set_theme(self, theme: Theme) -> None:
        """Recolour the errors."""
        self._colour = mix(ORANGE, theme.text, 0.25)
        for row in self.rows:
            tint(row.wrong, self._colour)
