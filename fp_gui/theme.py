"""Colours of the window and the plots, in light and dark, and the manager that follows the system's choice."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication, QWidget

from engine.config.objectives import objectives

# Okabe and Ito's palette, told apart by the colour-blind; a dash pattern goes with each curve all the same.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours as ``#rrggbb``: ``window`` behind the docks, ``base`` behind plots and fields, ``text``, ``muted`` for
    secondary text, ``grid`` for lines, ``accent`` for selection and focus."""

    dark: bool
    window: str
    base: str
    text: str
    muted: str
    grid: str
    accent: str


LIGHT = Theme(False, "#f3f4f6", "#ffffff", "#1b1f24", "#5b6570", "#c9ced6", BLUE)
DARK = Theme(True, "#1e2126", "#15171b", "#e6e8eb", "#9aa3ad", "#3a4048", SKY)

MODES = ("system", "light", "dark")


def theme_of(widget: QWidget) -> Theme:
    """The theme that the widget's palette is of."""
    return DARK if widget.palette().color(QPalette.ColorRole.Base).lightness() < 128 else LIGHT


W = TypeVar("W", bound=QWidget)


def restyle(widget: QWidget) -> None:
    """Apply the window's style sheet to ``widget`` again, because a property that it selects by has changed.

    A sheet of its own, even an empty comment, makes Qt do that. Not by ``widget.style()``: once windows have come and
    gone, PySide can hand out a stale wrapper of another type for it.
    """
    widget.setStyleSheet("/* selected by property */")


def named(widget: W, name: str) -> W:
    """``widget`` under the object name by which :func:`stylesheet` and the stored layout find it."""
    widget.setObjectName(name)
    return widget


def mix(one: str, other: str, share: float) -> str:
    """The colour ``share`` of the way from ``one`` to ``other``, each ``#rrggbb``."""
    a, b = QColor(one), QColor(other)
    parts = ((x + (y - x) * share) for x, y in zip(a.getRgb()[:3], b.getRgb()[:3], strict=True))  # type: ignore[index]
    return "#" + "".join(f"{round(p):02x}" for p in parts)


def palette(theme: Theme) -> QPalette:
    """Every role of Qt's palette, so that no widget falls back to the desktop's own colours."""
    role, group = QPalette.ColorRole, QPalette.ColorGroup
    button = mix(theme.window, theme.text, 0.06) if theme.dark else "#ffffff"
    colours = {
        role.Window: theme.window,
        role.WindowText: theme.text,
        role.Base: theme.base,
        role.AlternateBase: mix(theme.base, theme.window, 0.5),
        role.Text: theme.text,
        role.PlaceholderText: theme.muted,
        role.Button: button,
        role.ButtonText: theme.text,
        role.BrightText: "#ffffff",
        role.ToolTipBase: mix(theme.base, theme.text, 0.08),
        role.ToolTipText: theme.text,
        role.Highlight: theme.accent,
        role.HighlightedText: "#000000" if theme.dark else "#ffffff",
        role.Accent: theme.accent,
        role.Link: theme.accent,
        role.LinkVisited: theme.accent,
        role.Light: mix(theme.window, "#ffffff", 0.1 if theme.dark else 0.8),
        role.Midlight: mix(theme.window, "#ffffff", 0.05 if theme.dark else 0.4),
        role.Mid: theme.grid,
        role.Dark: mix(theme.window, "#000000", 0.3),
        role.Shadow: "#000000" if theme.dark else mix(theme.window, "#000000", 0.5),
    }
    result = QPalette()
    for which, colour in colours.items():
        result.setColor(which, QColor(colour))
    for which in (role.WindowText, role.Text, role.ButtonText, role.HighlightedText):
        result.setColor(group.Disabled, which, QColor(mix(theme.muted, theme.window, 0.35)))
    result.setColor(group.Disabled, role.Highlight, QColor(theme.grid))
    return result


def stylesheet(theme: Theme) -> str:
    """The few rules that the palette cannot express, for widgets of the main window found by name or property."""
    line, hover = theme.grid, mix(theme.window, theme.text, 0.09)
    on_accent = "#000000" if theme.dark else "#ffffff"
    check = Path(str(files("resources") / "icons" / f"check-{'dark' if theme.dark else 'light'}.svg")).as_posix()
    warn = mix(theme.window, ORANGE, 0.28)
    bad = mix(theme.window, VERMILION, 0.30)
    info = mix(theme.window, theme.accent, 0.20)
    phases = "\n    ".join(
        f'QLabel#phase[objective="{name}"] {{ background: {objectives[name].colour}; color: #000000; }}'
        for name in objectives
    )
    return f"""
    QToolBar#main {{ border: 0; border-bottom: 1px solid {line}; padding: 4px 6px; spacing: 4px; }}
    QToolBar#main QToolButton {{ border: 1px solid transparent; border-radius: 5px; padding: 4px 7px; }}
    QToolBar#main QToolButton:hover {{ background: {hover}; }}
    QToolBar#main QToolButton:focus {{ border: 1px solid {theme.accent}; }}
    QToolBar#main QToolButton#play {{ background: {theme.accent}; color: {on_accent}; font-weight: bold;
        padding: 6px 16px; min-width: 84px; }}
    QToolBar#main QToolButton#play:hover {{ background: {mix(theme.accent, theme.text, 0.2)}; }}
    QToolBar#main QToolButton#play:disabled {{ background: {line}; color: {theme.muted}; }}
    QToolBar#main QToolButton#play:focus {{ border: 2px solid {theme.text}; }}
    QToolBar#main QToolButton[segment="true"] {{ border: 1px solid {line}; background: {theme.base};
        padding: 5px 11px; border-radius: 0; margin: 0; }}
    QToolBar#main QToolButton[segment="true"]:checked {{ background: {theme.accent}; color: {on_accent};
        border-color: {theme.accent}; font-weight: bold; }}
    QToolBar#main QToolButton[segment="true"]:focus {{ border: 2px solid {theme.text}; }}
    QToolBar#main QLabel {{ color: {theme.muted}; padding: 0 2px 0 6px; }}
    QDockWidget {{ font-weight: bold; }}
    QMainWindow > QTabBar {{ qproperty-elideMode: ElideNone; qproperty-usesScrollButtons: true; }}
    QFrame[banner="error"] {{ background: {bad}; border: 1px solid {VERMILION}; border-radius: 5px; }}
    QFrame[banner="notice"] {{ background: {info}; border: 1px solid {theme.accent}; border-radius: 5px; }}
    QFrame#welcome {{ background: {info}; border: 1px solid {theme.accent}; border-radius: 5px; }}
    QFrame#tour {{ background: {theme.base}; border: 1px solid {line}; border-radius: 8px; }}
    QFrame#tour:focus {{ border: 2px solid {theme.accent}; }}
    QFrame#pending {{ background: {warn}; border: 1px solid {ORANGE}; border-radius: 5px; }}
    QLabel[looking="false"] {{ color: {theme.muted}; padding: 1px 8px; }}
    QLabel[looking="true"] {{ background: {warn}; border: 1px solid {ORANGE}; border-radius: 5px; padding: 0 7px; }}
    QLabel[muted="true"] {{ color: {theme.muted}; }}
    QLabel[badge="live"] {{ color: {mix(GREEN, theme.text, 0.25)}; }}
    QLabel[badge="unused"] {{ color: {theme.muted}; font-style: italic; }}
    QLineEdit[muted="true"] {{ color: {theme.muted}; }}
    QLabel[badge="restarts"] {{ color: {theme.muted}; }}
    QLabel[badge="pending"] {{ color: {mix(ORANGE, theme.text, 0.35)}; font-weight: bold; }}
    QLabel#phase {{ font-weight: bold; padding: 1px 9px; border-radius: 8px; background: {line}; }}
    {phases}
    QLineEdit {{ background: {theme.base}; border: 1px solid {line}; border-radius: 3px; padding: 2px 4px; }}
    QLineEdit:read-only {{ background: transparent; color: {theme.muted}; }}
    QLineEdit:focus {{ border-color: {theme.accent}; }}
    QCheckBox::indicator {{ width: 13px; height: 13px; border: 1px solid {theme.muted}; border-radius: 3px;
        background: {theme.base}; }}
    QCheckBox::indicator:checked {{ background: {theme.accent}; border-color: {theme.accent}; image: url("{check}"); }}
    QCheckBox::indicator:disabled {{ border-color: {line}; }}
    QAbstractItemView::indicator {{ width: 11px; height: 11px; border: 1px solid {theme.muted}; border-radius: 3px;
        background: {theme.base}; }}
    QAbstractItemView::indicator:checked {{ background: {theme.accent}; border-color: {theme.accent};
        image: url("{check}"); }}
    QDialogButtonBox {{ dialogbuttonbox-buttons-have-icons: 0; }}
    QToolBar#timeline {{ border: 0; border-bottom: 1px solid {line}; padding: 0; spacing: 0; }}
    QCheckBox:focus {{ color: {theme.accent}; }}
    QPushButton[flat="true"] {{ border: 1px solid transparent; border-radius: 3px; }}
    QPushButton[flat="true"]:hover {{ background: {hover}; }}
    QPushButton[flat="true"]:focus {{ border-color: {theme.accent}; }}
    QStatusBar {{ border-top: 1px solid {line}; }}
    QStatusBar::item {{ border: 0; }}
    QLabel#about-title {{ font-weight: bold; }}
    QMainWindow::separator {{ background: {line}; width: 3px; height: 3px; }}
    QMainWindow::separator:hover {{ background: {theme.accent}; }}
    """


class ThemeManager(QObject):
    """Applies the light or the dark theme to the application and follows the system while the mode is ``system``."""

    changed = Signal(object)

    def __init__(self, app: QApplication, mode: str = "system", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._app = app
        self._mode = ""
        self.theme = LIGHT
        app.setStyle("Fusion")
        app.styleHints().colorSchemeChanged.connect(self._follow)
        self.set_mode(mode)

    @property
    def mode(self) -> str:
        """``system``, ``light`` or ``dark``."""
        return self._mode

    def set_mode(self, mode: str) -> None:
        """Follow the system, or keep to one theme. An unknown mode (from old settings) means ``system``."""
        self._mode = mode if mode in MODES else "system"
        hints = self._app.styleHints()
        # The hint makes native dialogs and window frames agree; alone it does nothing on many Linux desktops.
        if self._mode == "system":
            hints.unsetColorScheme()
        else:
            hints.setColorScheme(Qt.ColorScheme.Dark if self._mode == "dark" else Qt.ColorScheme.Light)
        self._apply()

    @Slot()
    def _follow(self) -> None:
        self._apply()

    def _apply(self) -> None:
        dark = self._mode == "dark" or (
            self._mode == "system" and self._app.styleHints().colorScheme() == Qt.ColorScheme.Dark
        )
        theme = DARK if dark else LIGHT
        if theme is self.theme and self._app.property("fp_theme") == dark:
            return
        self.theme = theme
        self._app.setProperty("fp_theme", dark)
        self._app.setPalette(palette(theme))
        self.changed.emit(theme)
