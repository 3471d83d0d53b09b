"""The controls by which one sample of several is chosen, and how its perturbation is drawn."""

from __future__ import annotations

from PySide6.QtWidgets import QSpinBox, QToolButton

from fp_gui.views.widgets import Choice


def sample_box(noun: str, most: int, tip: str) -> QSpinBox:
    """A number from 1 to ``most`` behind ``noun``."""
    box = QSpinBox()
    box.setRange(1, most)
    box.setPrefix(f"{noun} ")
    box.setToolTip(tip)
    box.setAccessibleName(noun.capitalize())
    return box


def step_button(box: QSpinBox, text: str, tip: str, step: int) -> QToolButton:
    """A small button that moves ``box`` by ``step``."""
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    button.setAutoRaise(True)
    button.clicked.connect(lambda: box.setValue(box.value() + step))
    return button


def factor_choice(why: str) -> Choice:
    """Whether δ is drawn enlarged; ``why`` says how the factor is found."""
    return Choice({"auto": "δ enlarged", "1": "δ × 1"}, "auto", f"How δ is drawn. Enlarged: {why}")
