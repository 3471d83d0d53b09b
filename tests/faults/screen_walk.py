"""Opens stored runs in the real window, walks through all views and prints what is wrong with their geometry.

``python -m tests.faults.screen_walk`` reads from stdin, a line of JSON each, an ``environment`` (which names a
display), ``runs``, how many sizes ``larger`` text is, and a ``report``: the file that one JSON object is written to.
Each is walked in a child process, so that the imports are paid for once; its exit status is printed. Lengths are
logical pixels.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import torch  # before PySide6, as the program does
import torch._dynamo  # noqa: F401  that every optimiser imports
from PySide6.QtCore import QRect, QSettings, Qt
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractScrollArea,
    QAbstractSpinBox,
    QApplication,
    QCheckBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QSpinBox,
    QTabBar,
    QWidget,
)

from fp_gui.app import make_app

# isort: split
import pyqtgraph as pg  # type: ignore[import-untyped]

from engine.config.presets import load_preset
from fp_gui.bridge.controller import Controller
from fp_gui.bridge.requests import Worlds
from fp_gui.folding import Figures
from fp_gui.main_window import MainWindow
from fp_gui.theme import ThemeManager
from fp_gui.views.base import view_types

LEAST = 140
BANNER = (
    "The newest checkpoint of this run could not be read and was set aside as checkpoint-00000080.damaged; the run "
    "goes on from step 75. Measurements that were taken after that step will be taken again."
)
NO_PLOTS = ("ImageStrip",)  # a row of small pictures to choose from
PARTS = (QLabel, QAbstractButton, QComboBox, QAbstractSpinBox, QLineEdit, pg.GraphicsView)


def pump(seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
    """Let the window work until ``until`` or for so long; whether it came true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        QApplication.processEvents()
        if until():
            return True
        time.sleep(0.002)
    return until()


def settle(widget: QWidget) -> None:
    """Wait until nothing in ``widget`` moves any more."""

    def places() -> list[object]:
        return [(w.isVisible(), w.geometry().getRect()) for w in widget.findChildren(QWidget)]

    pump(0.04)
    for _ in range(20):
        before = places()
        pump(0.025)
        if places() == before:
            return


def above(widget: QWidget) -> Iterator[QWidget]:
    """The widgets that hold ``widget``, the nearest first, within its window."""
    while not widget.isWindow() and (parent := widget.parentWidget()) is not None:
        yield parent
        widget = parent


def rect_in(widget: QWidget, top: QWidget) -> QRect:
    """Where ``widget`` is in ``top``."""
    return QRect(widget.mapTo(top, widget.rect().topLeft()), widget.size())


def seen(widget: QWidget, top: QWidget) -> QRect:
    """What of it is not clipped by what holds it."""
    found = rect_in(widget, top)
    for holder in above(widget):
        found &= rect_in(holder, top)
        if holder is top:
            break
    return found


def name_of(widget: QWidget) -> str:
    """A widget in an error message."""
    text = getattr(widget, "text", lambda: "")() or widget.accessibleName() or widget.objectName()
    return f"{type(widget).__name__} {str(text)[:50]!r}"


def parts(top: QWidget) -> list[QWidget]:
    """Everything in ``top`` that shows text, takes a click or is a plot, without the parts of these."""
    found = [w for w in top.findChildren(QWidget) if isinstance(w, PARTS) and w.isVisible()]
    return [
        w
        for w in found
        if not any(isinstance(h, PARTS) for h in above(w)) and w.objectName() != "qt_toolbar_ext_button"
    ]


def text_fault(widget: QWidget) -> str:
    """What is wrong with the text of one widget; empty if nothing is."""
    metrics, room = widget.fontMetrics(), widget.contentsRect()
    if isinstance(widget, QLabel):
        text = widget.text()
        if not text or not widget.pixmap().isNull():
            return ""
        if getattr(widget, "one_line", False):
            whole = widget.whole() if widget.cut else text  # type: ignore[attr-defined]
            return (
                "" if text in whole and room.height() >= metrics.height() else "one line, and no tooltip has the whole"
            )
        if widget.textFormat() == Qt.TextFormat.RichText or text.startswith("<"):
            return "" if widget.height() >= widget.heightForWidth(widget.width()) else "cut"
        space = QRect(0, 0, room.width(), 10_000)
        flag = Qt.TextFlag.TextWordWrap if widget.wordWrap() else Qt.TextFlag.TextExpandTabs
        needed = metrics.boundingRect(space, int(flag), text)
        high, wide = needed.height() > room.height() + 1, needed.width() > room.width() + 1
        return f"needs {needed.width()}×{needed.height()}, has {room.width()}×{room.height()}" if high or wide else ""
    if isinstance(widget, QComboBox):
        need = metrics.horizontalAdvance(widget.currentText()) + 24
        return "" if widget.width() >= need else f"needs {need}, has {widget.width()}"
    if isinstance(widget, (QCheckBox, QPushButton, QSpinBox)) and widget.width() < widget.minimumSizeHint().width():
        return f"needs {widget.minimumSizeHint().width()}, has {widget.width()}"
    return ""


def axis_faults(plot: pg.PlotWidget) -> list[str]:
    """Axis labels that are longer than their axis."""
    found = []
    for side in ("left", "bottom"):
        axis = plot.getPlotItem().getAxis(side)
        if axis.label.isVisible() and axis.labelText:
            length = axis.height() if side == "left" else axis.width()
            written = axis.label.mapRectToScene(axis.label.boundingRect().adjusted(4, 4, -4, -4))
            if not plot.sceneRect().adjusted(-0.5, -0.5, 0.5, 0.5).contains(written):
                found.append(f"axis label {axis.labelText!r} is cut: {written.getRect()} in {plot.size().toTuple()}")
            if axis.label.boundingRect().width() > length + 8:
                found.append(
                    f"axis label {axis.labelText!r} is {axis.label.boundingRect().width():.0f} long on {length:.0f}"
                )
    return found


def faults(top: QWidget) -> list[str]:
    """All that is wrong in one view or bar."""
    found, shown = [], parts(top)
    places = {w: seen(w, top) for w in shown}
    for widget in shown:
        scrolled = any(isinstance(h, QAbstractScrollArea) and h is not top for h in above(widget) if top in above(h))
        if isinstance(widget, pg.GraphicsView):
            if widget.height() < LEAST and not any(type(h).__name__ in NO_PLOTS for h in above(widget)):
                found.append(f"{name_of(widget)} is {widget.height()} high")
            found += axis_faults(widget) if isinstance(widget, pg.PlotWidget) else []
        if fault := text_fault(widget):
            found.append(f"{name_of(widget)}: {fault}")
        if places[widget].size() != widget.size() and not scrolled:
            found.append(f"{name_of(widget)} is clipped: {rect_in(widget, top).getRect()} in {top.size().toTuple()}")
    for one, other in combinations(shown, 2):
        both = places[one] & places[other]
        if both.width() > 1 and both.height() > 1:
            found.append(f"{name_of(one)} over {name_of(other)}: {both.getRect()}")
    return found


def in_menu(menu: QMenu | None) -> set[str]:
    """The texts of a menu's entries."""
    return set() if menu is None else {action.text() for action in menu.actions()}


def bar_faults(window: MainWindow) -> list[str]:
    """Controls of the toolbar that are neither in the window nor in the » menu, and menus' bars that are too wide."""
    bar, found = window.toolbar, []
    held = in_menu(getattr(bar, "more_menu", None))
    controls: dict[str, QWidget] = {button.defaultAction().text(): button for button in bar.buttons}
    controls |= {"Preset": bar.preset, "Device": bar.device}
    controls |= {button.text(): button for button in bar.objectives.values()}
    for name, control in controls.items():
        inside = control.isVisible() and seen(control, window).size() == control.size()
        if not inside and name not in held:
            found.append(f"toolbar: {name} is neither in the window nor in the » menu")
    if held and not bar.more.isVisible() and not bar.device.isVisible():
        found.append("toolbar: » is hidden")
    return found + [f"toolbar: {fault}" for fault in faults(bar)]


def banner_faults(window: MainWindow) -> list[str]:
    """What is wrong with the banner, which lies over the window above its status bar."""
    banner, found = window.banner, faults(window.banner)
    place = rect_in(banner, window)
    if not banner.isVisible() or BANNER not in banner.text:
        found.append("the banner does not show the message")
    if seen(banner, window) != place or place.intersects(rect_in(window.statusBar(), window)):
        found.append(f"the banner is at {place.getRect()} in {window.size().toTuple()}, over the status bar or cut")
    return found


def tab_faults(window: MainWindow) -> list[str]:
    """Names of panels that are cut short on their tabs."""
    return [
        f"tab {bar.tabText(i)!r} is {bar.tabRect(i).width()} wide"
        for bar in window.findChildren(QTabBar) if bar.isVisible()
        for i in range(bar.count())
        if bar.tabRect(i).width() < bar.fontMetrics().horizontalAdvance(bar.tabText(i)) + 8
    ]  # fmt: skip


def window_faults(window: MainWindow) -> list[str]:
    """Whether the window fits the screen."""
    room = window.screen().availableGeometry()
    found = (
        []
        if room.contains(window.frameGeometry())
        else [f"window {window.frameGeometry().getRect()} on {room.getRect()}"]
    )
    least = window.minimumSizeHint()
    if least.width() > room.width() or least.height() > room.height() - 40:
        found.append(f"window cannot be smaller than {least.toTuple()}")
    return found


def walk(window: MainWindow, controller: Controller, run: Path, report: dict[str, Any], sideways: bool) -> None:
    """Open ``run`` and look at every view of it; ``sideways``: whether a view may scroll so."""
    window.open_run(run)
    opened = pump(
        60, lambda: controller.run is not None and controller.run.folder == run and controller.last is not None
    )
    assert opened, f"{run} was not opened: {window.banner.text}"
    window.banner.error(BANNER)
    settle(window)
    kind = controller.config.kind if controller.config is not None else ""
    report[f"{kind} banner"] = banner_faults(window)
    window.banner.dismiss()
    settle(window)
    report[f"{kind} toolbar"] = bar_faults(window)
    report[f"{kind} status"] = faults(window.statusBar())
    report[f"{kind} parameters"] = faults(window.form)
    report[f"{kind} window"] = window_faults(window)
    for name in window.shelf.names(kind):
        window.panels.bring(name)
        pump(3, lambda name=name: not window.shelf.get(name).visibleRegion().isEmpty())  # type: ignore[misc]
        view = window.shelf.get(name)
        pages = getattr(view, "pages", None)
        pump(20, lambda pages=pages: pages is None or not pages.empty)  # type: ignore[misc]
        settle(window)
        found = faults(view)
        area = window.panels.docks[name].widget()
        if isinstance(area, QAbstractScrollArea) and view.width() > area.viewport().width() and not sideways:
            found.append(f"scrolls sideways: {view.width()} in {area.viewport().width()}")
        found += [
            f"a table of figures is {table.widget().width()} wide in {table.viewport().width()}"
            for table in view.findChildren(Figures)
            if table.isVisible() and table.widget().width() > table.viewport().width()
        ]
        if pages is not None and pages.empty:
            found.append(f"shows nothing: {pages.message.text()[:60]!r}")
        report[f"{kind} {name}"] = found + tab_faults(window)


def walk_others(window: MainWindow, run: Path, report: dict[str, Any]) -> None:
    """Look at what is no view: the timeline, the tools' panels and the dialogs."""
    from tests.faults.screen_extras import timeline_faults, walk_dialogs, walk_tools

    kind = window.panels.kind
    report[f"{kind} timeline"] = timeline_faults(window)
    walk_tools(window, [run, run.parent / f"{run.name}-again"], kind, report)
    walk_dialogs(window, kind, report)
    report[f"{kind} window after dialogs"] = window_faults(window)


def look(runs: list[str], larger: int, to: Path) -> None:
    """Walk through all ``runs`` in one window, with text so many sizes ``larger``, and write what is wrong."""
    app = make_app(["screens"])
    with tempfile.TemporaryDirectory() as folder:
        settings = QSettings(str(Path(folder) / "settings.ini"), QSettings.Format.IniFormat)
        controller = Controller(Worlds(), Path(folder))
        window = MainWindow(
            controller, view_types(), ThemeManager(app, "light"), "small", load_preset("small"), settings
        )
        window.banner.error(BANNER)  # before there is anything to see
        window.show()
        for _ in range(larger):
            window.actions_["larger"].trigger()
        pump(0.1)
        settle(window)
        room = window.screen().availableGeometry()
        report: dict[str, Any] = {"screen": [room.width(), room.height(), window.devicePixelRatioF()]}
        report["banner at start"] = banner_faults(window)
        try:
            for run in runs:
                walk(window, controller, Path(run), report, larger > 0)
                walk_others(window, Path(run), report)
        finally:
            window.close()
            controller.close()
    to.write_text(json.dumps(report), encoding="utf-8")


def main() -> None:
    """Walk wherever the lines of stdin say."""
    gc.freeze()  # else every child looks at all that was imported, several times, when it ends
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            os.environ.update(order["environment"])
            look(order["runs"], order["larger"], Path(order["report"]))
            gc.freeze()
            sys.exit()
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
