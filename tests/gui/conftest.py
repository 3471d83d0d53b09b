"""Every GUI test: no screen, its own settings and runs folder, and nothing left running afterwards."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["PYQTGRAPH_QT_LIB"] = "PySide6"

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QSettings, QThread
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.qt_log_level_fail("WARNING"))
            # Qt's offscreen platform says this of every window; it has no window manager to tell sizes and order to.
            says = r"This plugin does not support (propagateSizeHints|raise)\(\)"
            item.add_marker(pytest.mark.qt_log_ignore(says, extend=True))


@pytest.fixture(scope="session")
def qapp_args() -> list[str]:
    return ["fp-gui-tests"]


@pytest.fixture
def qtbot(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> Iterator[QtBot]:
    """The plugin's, which keeps a widget until it has closed it; by itself it only knows where it was.

    A view refers to itself through its parts, so it would live until Python's collector comes round. That may be while
    the view, which is a window of its own here, is being painted: the painter then paints into freed memory.
    """
    kept: list[QWidget] = []
    add = qtbot.addWidget

    def keep(widget: QWidget, **how: Any) -> None:
        kept.append(widget)
        add(widget, **how)

    monkeypatch.setattr(qtbot, "addWidget", keep)
    monkeypatch.setattr(qtbot, "add_widget", keep)
    yield qtbot
    kept.clear()


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """Replaces the check of the same name for all tests; :func:`isolated` looks at Qt's threads.

    Python gives every Qt thread that asked for ``threading.current_thread()`` a dummy entry that outlives the thread.
    """
    before = set(threading.enumerate())
    yield
    left = [t for t in set(threading.enumerate()) - before if not isinstance(t, threading._DummyThread)]
    assert not left, f"threads left running: {left}"


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Settings and runs in a temporary folder; the test fails if it leaves a thread or a window behind."""
    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))
    monkeypatch.setenv("FP_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield
    app = QApplication.instance()
    if app is not None:
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    gc.collect()
    running = [o for o in gc.get_objects() if type(o) is QThread and o.isRunning() and not o.isMainThread()]
    assert not running, f"QThreads left running: {running}"
    if isinstance(app, QApplication):
        windows = [w for w in app.topLevelWidgets() if w.isVisible()]
        for window in windows:
            window.hide()
        assert not windows, f"windows left open: {windows}"
