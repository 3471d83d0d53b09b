"""Sets up Qt once, opens the window, and turns unexpected errors into messages in it."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

os.environ["PYQTGRAPH_QT_LIB"] = "PySide6"

import pyqtgraph  # type: ignore[import-untyped]
from PySide6.QtCore import (
    QEvent,
    QMessageLogContext,
    QObject,
    QSettings,
    Qt,
    QTimer,
    QtMsgType,
    Signal,
    qInstallMessageHandler,
)
from PySide6.QtWidgets import QApplication, QWidget

from engine.config.experiment import Config, with_value
from engine.core import plugins
from engine.core.folders import APP
from engine.core.signals import INTERRUPTED, noted
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import SessionFactory, Worlds
from fp_gui.main_window import MainWindow
from fp_gui.theme import ThemeManager
from fp_gui.views.base import view_types


class Problems(QObject):
    """Collects unexpected errors from any thread; the window's banner listens."""

    met = Signal(str, str)

    def exception(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        """Take the place of ``sys.excepthook``: keep the traceback on stderr too, for bug reports."""
        details = "".join(traceback.format_exception(kind, error, trace))
        sys.stderr.write(details)
        if issubclass(kind, KeyboardInterrupt):
            QApplication.exit(INTERRUPTED)
            return
        text = f"Unexpected error, training is not affected: {kind.__name__}: {error}"
        self.met.emit(plugins.named(text, error), details)

    def qt_message(self, level: QtMsgType, context: QMessageLogContext, text: str) -> None:
        """Pass Qt's messages to stderr, and errors into the window too."""
        sys.stderr.write(f"Qt: {text}\n")
        if level in (QtMsgType.QtCriticalMsg, QtMsgType.QtFatalMsg):
            self.met.emit(f"Qt reports: {text}", "")


class AfterPaint(QObject):
    """Calls ``then`` once, as soon as ``window`` has been painted, or after ``patience`` ms (it may open minimised)."""

    def __init__(self, window: QWidget, then: Callable[[], None], patience: int = 1000) -> None:
        super().__init__(window)
        self._then: Callable[[], None] | None = then
        window.installEventFilter(self)
        QTimer.singleShot(patience, self._call)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Wait for the window's own paint event; those of what is in it follow at once."""
        if event.type() == QEvent.Type.Paint:
            watched.removeEventFilter(self)
            QTimer.singleShot(0, self._call)
        return False

    def _call(self) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()


def make_app(argv: list[str] | None = None) -> QApplication:
    """The application object with its names and pyqtgraph's options; call once."""
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        app = QApplication(argv if argv is not None else sys.argv[:1])
    app.setOrganizationName(APP)
    app.setApplicationName(APP)
    app.setApplicationDisplayName("Feature Purification Explorer")
    app.setDesktopFileName(APP)
    pyqtgraph.setConfigOptions(imageAxisOrder="row-major", antialias=False)
    return app


def run_app(
    label: str,
    config: Config,
    folder: Path | None,
    *,
    device: str | None = None,
    autoplay: bool = False,
    theme: str | None = None,
    watch: bool = False,
    factory: SessionFactory | None = None,
) -> int:
    """Open the window on a new run of ``config``, or on the run in ``folder``, only to ``watch`` it; the exit code."""
    app = make_app()
    problems = Problems()
    qInstallMessageHandler(problems.qt_message)
    sys.excepthook = problems.exception
    if device is not None:
        config = with_value(config, "device", device)
    settings = QSettings()
    themes = ThemeManager(app, theme or str(settings.value("theme", "system")))
    controller = Controller(factory or Worlds())
    try:
        window = MainWindow(controller, view_types(), themes, label, config, settings)
        problems.met.connect(window.banner.error, Qt.ConnectionType.QueuedConnection)

        def begin() -> None:
            if folder is None:
                window.begin(config, label)
            elif watch:
                controller.watch(folder, device)
            else:
                controller.load(folder, device)
            if autoplay:
                controller.play()

        def leave() -> None:
            window.close()  # saves a checkpoint
            app.exit(INTERRUPTED)  # a dialog that is open would keep the loop going

        AfterPaint(window, begin)  # making a session and painting the window would only slow each other down
        window.show()
        # The heartbeat lets Python look for signals 60 times a second.
        with noted(lambda: QTimer.singleShot(0, leave)) as asked:
            code = app.exec()
            controller.close()
        return INTERRUPTED if asked else code
    finally:
        controller.close()
        sys.excepthook = sys.__excepthook__
        qInstallMessageHandler(None)
