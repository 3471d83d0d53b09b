"""“What is this?” for every view: a button on its panel, and a page with the formula in this run's values."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QEvent, QObject, Qt, Slot
from PySide6.QtWidgets import (
    QAbstractButton,
    QDialog,
    QDialogButtonBox,
    QDockWidget,
    QLabel,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
)

from engine.config.experiment import Config
from engine.figures.declare import ViewDeclaration
from fp_gui.dialog_size import open_size
from fp_gui.knob_row import escaped
from fp_gui.parts.base import Part, parts
from fp_gui.shell import Shell

WIDTH, HEIGHT = 560, 420  # pixels of the page
FLOAT_BUTTON = "qt_dockwidget_floatbutton"  # Qt's name of the one that ours stands beside


def page(declaration: ViewDeclaration, config: Config) -> str:
    """What a view shows, how it is computed in a run of ``config``, where the paper says it, what would surprise."""
    meaning = declaration.meaning
    if meaning is None:
        return f"<h3>{escaped(declaration.title)}</h3><p>{escaped(declaration.doc)}</p>"
    rows = {
        "What one sees": meaning.drawn,
        "Formula, with the values of this run": meaning.filled(config),
        "In the paper": meaning.place,
        "A surprise would be": meaning.surprise,
    }
    text = "".join(f"<p><b>{head}</b><br>{escaped(body)}</p>" for head, body in rows.items())
    return f"<h3>{escaped(declaration.title)}</h3>{text}"


class HelpButton(QToolButton):
    """A question mark in the title of a panel, left of Qt's own buttons; away while the panel floats."""

    def __init__(self, dock: QDockWidget) -> None:
        super().__init__(dock)
        self._dock = dock
        self.setText("?")
        self.setAutoRaise(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # Shift+F1 does it for the view that has the keys
        self.setToolTip(f"What is this? {dock.windowTitle()}: formula, place in the paper, surprises")
        self.setAccessibleName(f"What is this? {dock.windowTitle()}")
        dock.installEventFilter(self)
        self._place()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the panel's size."""
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest, QEvent.Type.Show):
            self._place()
        return False

    def _place(self) -> None:
        qts = self._dock.findChild(QAbstractButton, FLOAT_BUTTON)
        self.setVisible(not self._dock.isFloating() and qts is not None)
        if qts is not None:
            side = max(qts.height(), 14)
            self.setGeometry(qts.x() - side - 2, qts.y() + (qts.height() - side) // 2, side, side)
            self.raise_()


@parts.register("what_is")
class WhatIs(Part):
    """Answers for the view whose button is pressed, or that has the keys."""

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        window.actions_["what"].triggered.connect(self.ask)
        self.buttons: dict[str, HelpButton] = {}
        for name in window.shelf.types:
            button = self.buttons[name] = HelpButton(window.panels.docks[name])
            button.clicked.connect(partial(self.show_page, name))

    @Slot()
    def ask(self) -> None:
        """Explain the view that has the keys."""
        if name := self.window.panels.attended():
            self.show_page(name)

    def show_page(self, name: str) -> None:
        """Explain the view called ``name``; nothing for a panel that is none, or before there is a run."""
        declaration = getattr(self.window.shelf.types.get(name), "declaration", None)
        last, run = self.window.controller.last, self.window.controller.run
        config = last.config if last is not None else run.config if run is not None else None
        if declaration is None or config is None:
            return
        dialog = QDialog(self.window)
        dialog.setWindowTitle(f"What is this? {declaration.title}")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        text = QLabel(page(declaration, config), wordWrap=True)
        text.setObjectName("what")
        text.setTextFormat(Qt.TextFormat.RichText)
        text.setAlignment(Qt.AlignmentFlag.AlignTop)
        text.setMargin(8)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        area = QScrollArea(widgetResizable=True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(text)
        area.setAccessibleName("Explanation")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(dialog.reject)
        layout = QVBoxLayout(dialog)
        layout.addWidget(area)
        layout.addWidget(buttons)
        open_size(dialog, WIDTH, HEIGHT)
        dialog.open()
