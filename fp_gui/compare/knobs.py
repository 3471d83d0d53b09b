"""The table of the knobs in which compared runs differ."""

from __future__ import annotations

from PySide6.QtWidgets import QTableWidget, QTableWidgetItem

from engine.compare.base import ComparedRuns

MOST_LINES = 6  # seen without scrolling


class DifferingKnobs(QTableWidget):
    """A line a knob, a column a run; no table where nothing differs."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Parameters that differ")
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.verticalHeader().hide()

    def show_runs(self, compared: ComparedRuns) -> None:
        """Show those of ``compared``."""
        rows = [(path, *values) for path, values in compared.differing.items()]
        self.setRowCount(len(rows))
        self.setColumnCount(1 + len(compared.names))
        self.setHorizontalHeaderLabels(["parameter", *compared.names])
        for i, row in enumerate(rows):
            for k, text in enumerate(row):
                self.setItem(i, k, QTableWidgetItem(text))
        self.resizeColumnsToContents()
        self.setVisible(bool(rows))
        line = self.fontMetrics().height() + 12
        self.setFixedHeight(line * (min(len(rows), MOST_LINES) + 1) + 20)
