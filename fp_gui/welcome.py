"""What a first start offers, above the parameters, where it covers nothing: the tour, and the questions."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QToolButton, QVBoxLayout

from fp_gui.folding import ControlRow
from fp_gui.icons import icon
from fp_gui.theme import Theme, named


class Welcome(QFrame):
    """Two buttons and a cross; :attr:`answered` says that it is not wanted any more, whatever was pressed."""

    tour_asked = Signal()
    questions_asked = Signal()
    answered = Signal()

    def __init__(self) -> None:
        super().__init__()
        named(self, "welcome")
        text = QLabel("New here? A tour of a few minutes shows what this window can do.", wordWrap=True)
        self.tour, self.questions = QPushButton("Take the tour"), QPushButton("Choose a question")
        self.tour.setToolTip("Again at any time: Help → Tour")
        self.questions.setToolTip("Presets with pictures of how they ended; again at any time: File → Questions")
        self.close_button = QToolButton(autoRaise=True)
        self.close_button.setToolTip("No, thanks")
        self.close_button.setAccessibleName("Dismiss the offer of a tour")
        for button in (self.tour, self.questions, self.close_button):
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        head, buttons, column = QHBoxLayout(), ControlRow(), QVBoxLayout(self)
        head.addWidget(text, 1)
        head.addWidget(self.close_button, 0, Qt.AlignmentFlag.AlignTop)
        buttons.add(self.tour)
        buttons.add(self.questions)
        buttons.add_stretch()
        column.setContentsMargins(9, 5, 5, 7)
        column.addLayout(head)
        column.addWidget(buttons)
        self.tour.clicked.connect(self.tour_asked)
        self.questions.clicked.connect(self.questions_asked)
        for each in (self.tour, self.questions, self.close_button):
            each.clicked.connect(self.answered)

    def set_theme(self, theme: Theme) -> None:
        """Redraw the cross."""
        self.close_button.setIcon(icon("close", theme.text))
