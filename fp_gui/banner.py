"""Messages to the user that do not stop the run: one line with a close button, details on request."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QFontDatabase, QResizeEvent
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QToolBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from fp_gui.folding import FoldingLabel
from fp_gui.icons import icon
from fp_gui.theme import LIGHT, ORANGE, VERMILION, Theme, restyle

NOTICE_MS = 12_000  # a notice leaves by itself; an error stays until it is closed


class BannerBar(QToolBar):
    """The row of the window that holds the banner, there while it has something to say."""

    def __init__(self, banner: Banner) -> None:
        super().__init__("Messages", movable=False)
        self.setObjectName("banner")
        self.toggleViewAction().setVisible(False)
        self.addWidget(banner)
        self.hide()
        banner.shown.connect(self.setVisible)


class Banner(QFrame):
    """Shows the latest message; an error is not covered by a notice."""

    shown = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._theme = LIGHT
        self.level = ""
        self.text = ""
        self.details = ""
        self._picture = QLabel()
        self._label = FoldingLabel(folds=False)
        self._label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.details_button = QPushButton("Details")
        self.details_button.setToolTip("Show the traceback")
        self.details_button.clicked.connect(self._show_details)
        self.close_button = QToolButton(autoRaise=True)
        self.close_button.setToolTip("Dismiss this message")
        self.close_button.setAccessibleName("Dismiss this message")
        self.close_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.close_button.clicked.connect(self.dismiss)
        line = QHBoxLayout(self)
        line.setContentsMargins(12, 3, 8, 3)
        line.setSpacing(10)
        line.addWidget(self._picture)
        line.addWidget(self._label, 1)
        line.addWidget(self.details_button)
        line.addWidget(self.close_button)
        self._timer = QTimer(self, singleShot=True, interval=NOTICE_MS)
        self._timer.timeout.connect(self.dismiss)

    @Slot(str, str)
    def error(self, text: str, details: str = "") -> None:
        """Show what went wrong until it is dismissed."""
        self._timer.stop()
        self._set("error", text, details)

    @Slot(str)
    def notice(self, text: str) -> None:
        """Show something worth knowing for a while."""
        if self.level != "error":
            self._set("notice", text, "")
            self._timer.start()

    @Slot()
    def dismiss(self) -> None:
        """Take the message away."""
        self._timer.stop()
        self.level = self.text = self.details = ""
        self.shown.emit(False)

    def set_theme(self, theme: Theme) -> None:
        """Redraw the icons."""
        self._theme = theme
        self.close_button.setIcon(icon("close", theme.text))
        if self.level:
            self._set_icon()

    def _set(self, level: str, text: str, details: str) -> None:
        self.level, self.text, self.details = level, text, details
        self._label.setText(text)
        self.details_button.setVisible(bool(details))
        self.setProperty("banner", level)
        restyle(self)
        self._set_icon()
        self._fit()
        self.shown.emit(True)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Be as high as the text needs at this width; a toolbar would give a wrapping label far more."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        line = self.layout()
        assert line is not None
        line.activate()  # the text knows its height once it has its width
        self.setFixedHeight(max(self._label.sizeHint().height() + 8, self.details_button.sizeHint().height()) + 10)

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
        dialog.resize(820, 420)
        dialog.open()
