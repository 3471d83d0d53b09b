"""Messages to the user that do not stop the run: one line with a close button, details on request.

They lie over the window's lower edge: what is about to be clicked stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QEvent, QObject, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QTabBar,
    QToolButton,
    QVBoxLayout,
)

from fp_gui.dialog_size import open_size
from fp_gui.folding import FoldingLabel
from fp_gui.icons import icon
from fp_gui.theme import LIGHT, ORANGE, VERMILION, Theme, restyle

NOTICE_MS = 12_000  # a notice leaves by itself; an error stays until it is closed


WIDEST = 900  # pixels
MARGIN = 12  # between the banner and the window's edges

Topic = Literal["run", "playing", "value", "export", "attack", ""]
"""What a message is about: it goes once another run is open (``run``), training goes on (``playing``), a value was
taken (``value``), the next export begins (``export``) or is measured anew (``attack``); without one it stays."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Something that can be done about a message: a button called ``label`` that calls ``act``.

    What ``failed`` is shown as an error, and over one.
    """

    text: str
    label: str
    act: Callable[[], None]
    failed: bool = False


class Banner(QFrame):
    """Shows the latest message; an error is not covered by a notice, and an offer comes back after either.

    In a main window it places itself, in front of everything, above the status bar.
    """

    shown = Signal(bool)

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._theme = LIGHT
        self.level = ""
        self.text = ""
        self.details = ""
        self.topic: Topic = ""
        self._offer: Offer | None = None
        self._picture = QLabel()
        self._label = FoldingLabel(folds=False)
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.offer_button = QPushButton("Do it")
        self.offer_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.offer_button.clicked.connect(self._take_offer)
        self.details_button = QPushButton("Details")
        self.details_button.setToolTip("Show the traceback")
        self.details_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.details_button.clicked.connect(self._show_details)
        self.close_button = QToolButton(autoRaise=True)
        self.close_button.setToolTip("Dismiss this message")
        self.close_button.setAccessibleName("Dismiss this message")
        self.close_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.close_button.clicked.connect(self._close)
        line = QHBoxLayout(self)
        line.setContentsMargins(12, 3, 8, 3)
        line.setSpacing(10)
        line.addWidget(self._picture)
        line.addWidget(self._label, 1)
        line.addWidget(self.offer_button)
        line.addWidget(self.details_button)
        line.addWidget(self.close_button)
        self._timer = QTimer(self, singleShot=True, interval=NOTICE_MS)
        self._timer.timeout.connect(self.dismiss)
        self.setAutoFillBackground(True)
        self.hide()
        window.installEventFilter(self)

    @Slot(str, str)
    def error(self, text: str, details: str = "", topic: Topic = "run") -> None:
        """Show what went wrong until it is dismissed or, by its ``topic``, no longer so."""
        self._timer.stop()
        self._set("error", text, details, topic)

    @Slot(str)
    def notice(self, text: str, topic: Topic = "run", *, stays: bool = False) -> None:
        """Show something worth knowing, for a while or, if it ``stays``, until its topic is settled."""
        if self.level != "error":
            self._timer.stop()
            self._set("notice", text, "", topic)
            if not stays:
                self._timer.start()

    def offer(self, offer: Offer) -> None:
        """Show what can be done until it is, another offer is made, or it is dismissed; after an error, not over it."""
        self._offer = offer
        if self.level == "error" and not offer.failed:
            return
        self._timer.stop()
        self._set("error" if offer.failed else "notice", offer.text, "", "", offering=True)

    def settle(self, topic: Topic) -> None:
        """Take away a message about ``topic``: it is no longer true."""
        if self.level and self.topic == topic:
            self.dismiss()

    def withdraw(self, offer: Offer | None = None) -> None:
        """Take the offer back, or this one if it still stands."""
        if offer is not None and offer is not self._offer:
            return
        offering, self._offer = self.offering, None
        if offering:
            self.dismiss()

    def dismiss_error(self) -> None:
        """Make room for the answer to what the user asks now."""
        if self.level == "error":
            self.dismiss()

    @property
    def offering(self) -> bool:
        """Whether the offer is what is shown."""
        return bool(self.level) and not self.offer_button.isHidden()

    @Slot()
    def dismiss(self) -> None:
        """Take the message away; what is on offer shows again."""
        self._timer.stop()
        self.level = self.text = self.details = self.topic = ""
        if self._offer is not None:
            self.offer(self._offer)
            return
        self.hide()
        self.shown.emit(False)

    @Slot()
    def _close(self) -> None:
        if self.offering:
            self._offer = None
        self.dismiss()

    @Slot()
    def _take_offer(self) -> None:
        offer, self._offer = self._offer, None
        self.dismiss()
        if offer is not None:
            offer.act()

    def set_theme(self, theme: Theme) -> None:
        """Redraw the icons."""
        self._theme = theme
        self.close_button.setIcon(icon("close", theme.text))
        if self.level:
            self._set_icon()

    def _set(self, level: str, text: str, details: str, topic: Topic, *, offering: bool = False) -> None:
        self.level, self.text, self.details, self.topic = level, text, details, topic
        self._label.setText(text)
        self.details_button.setVisible(bool(details))
        self.offer_button.setVisible(offering)
        if offering and self._offer is not None:
            self.offer_button.setText(self._offer.label)
        self.setProperty("banner", level)
        restyle(self)
        self._set_icon()
        self._place()
        self.show()
        self.raise_()
        self.shown.emit(True)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow the window's size."""
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest) and self.level:
            self._place()
        return False

    def _place(self) -> None:
        """Above the status bar and the tabs there, in the middle, as high as the text needs at this width."""
        room = self._window.rect()
        width = max(200, min(WIDEST, room.width() - 2 * MARGIN))
        others = (self._picture, self.offer_button, self.details_button, self.close_button)
        beside = sum(each.sizeHint().width() + 10 for each in others if not each.isHidden()) + 24
        wrapped = self.fontMetrics().boundingRect(
            0, 0, max(120, width - beside), 2000, Qt.TextFlag.TextWordWrap, self.text
        )
        height = max(wrapped.height() + 8, self.details_button.sizeHint().height()) + 10
        bar = self._window.statusBar()
        low = bar.y() if not bar.isHidden() and bar.y() > height else room.height()
        tabs = self._window.findChildren(QTabBar, options=Qt.FindChildOption.FindDirectChildrenOnly)
        below = [each.y() for each in tabs if each.isVisible() and 0 <= low - each.geometry().bottom() <= height]
        low = min([low, *below])  # a message hides no way to another panel
        self.setGeometry((room.width() - width) // 2, max(0, low - height - MARGIN // 2), width, height)

    def _set_icon(self) -> None:
        colour = {"error": ORANGE if self._theme.dark else VERMILION}.get(self.level, self._theme.accent)
        self._picture.setPixmap(icon(self.level, colour).pixmap(QSize(18, 18)))

    @Slot()
    def _show_details(self) -> None:
        dialog = QDialog(self)
        dialog.setWindowTitle("Details")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        text = QPlainTextEdit(f"{self.text}\n\n{self.details}", readOnly=True)
        text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(dialog.reject)
        layout = QVBoxLayout(dialog)
        layout.addWidget(text)
        layout.addWidget(buttons)
        open_size(dialog, 820, 420)
        dialog.open()
