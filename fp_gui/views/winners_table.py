"""The winners of the start in figures: how many of each group became their leading feature's neuron."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QWidget

from engine.core.results import WINNER_GROUPS, Winners
from engine.figures.fate_counts import GROUPS, HEAD_START, head_start_text, share_text, winners_rule
from fp_gui.theme import Theme
from fp_gui.views.widgets import line, tint

HEADS = ("at the start", "became", "share [95% Wilson]")


class WinnersTable(QWidget):
    """The groups of neurons at the start, and how many of each became their leading feature's neuron."""

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(1)
        grid.setColumnStretch(0, 1)
        self.heads = [line(text, wrap=False) for text in HEADS]
        self.names = {group: line(group, wrap=False) for group in WINNER_GROUPS}
        for group, name in self.names.items():
            name.setToolTip(GROUPS[group])
        self.cells = {group: (line(wrap=False), line(wrap=False)) for group in WINNER_GROUPS}
        for column, head in enumerate(self.heads):
            grid.addWidget(head, 0, column)
        for row, group in enumerate(WINNER_GROUPS, start=1):
            grid.addWidget(self.names[group], row, 0)
            for column, cell in enumerate(self.cells[group], start=1):
                cell.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
                grid.addWidget(cell, row, column)
        self.head_start = line(wrap=False)
        self.head_start.setToolTip(HEAD_START.capitalize())
        grid.addWidget(self.head_start, len(WINNER_GROUPS) + 1, 0, 1, 3)
        grid.setRowStretch(len(WINNER_GROUPS) + 2, 1)

    def show_winners(self, found: Winners | None) -> None:
        """Fill the cells; None empties them."""
        for group, (count, share) in self.cells.items():
            became, n = found.fate(group) if found is not None else (0, 0)
            count.setText(f"{became:,} of {n:,}" if found is not None else "–")
            share.setText(share_text(became, n))
        self.head_start.setText("" if found is None else head_start_text(found).capitalize())
        self.setToolTip("" if found is None else winners_rule(found))

    def set_theme(self, theme: Theme) -> None:
        """Recolour the texts."""
        for label in (*self.heads, self.head_start):
            tint(label, theme.muted)
        for label in (*self.names.values(), *(cell for pair in self.cells.values() for cell in pair)):
            tint(label, theme.text)
