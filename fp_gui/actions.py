"""Every action of the window, its key and its tooltip; the toolbar made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PySide6.QtCore import QObject, QSize, Qt, Signal, Slot
from PySide6.QtGui import QAction, QActionGroup, QKeyEvent, QKeySequence, QResizeEvent
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QScrollArea,
    QSizePolicy,
    QToolBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from engine.config.experiment import Config, resolve
from engine.config.knobs import About
from engine.config.objectives import objectives
from engine.config.presets import load_preset, preset_names
from engine.core.errors import ConfigError
from fp_gui.dialog_size import open_size
from fp_gui.focus import ARROWS, OPENS, Wheel, key_help
from fp_gui.icons import icon
from fp_gui.theme import MODES, Theme

# name: (text, keys, tooltip)
ACTIONS = {
    "play": ("Play", "Space", "Train until paused"),
    "step": ("Step", "Right", "Pause and take one training step"),
    "reset": ("Reset", "R", "Start a new run with these parameters; the present run stays on disk"),
    "toggle_phase": ("Switch phase", "T", "Switch training between clean and adversarial from the next step on"),
    "attack": ("Attack now", "A", "Measure clean and robust accuracy of the present weights now"),
    "export": ("Export", "Ctrl+E", "Write figures, their data and the recipe of this run to a folder"),
    "branch": ("Branch here…", "Ctrl+B", "Go on from this step or a checkpoint as a new run; the present run stays"),
    "animate": ("Animate…", "", "Draw the run at its stored steps as a GIF or a video"),
    "earlier": ("Earlier step", "[", "Look at the stored step before"),
    "later": ("Later step", "]", "Look at the stored step after"),
    "now": ("Now", "N", "Show the run as it is now"),
    "play_back": ("Play backwards", "Shift+[", "Play the stored steps backwards, or stop"),
    "play_forth": ("Play forwards", "Shift+]", "Play the stored steps forwards, or stop"),
    "copy_view": (
        "Copy view",
        "Ctrl+C",
        "Copy the view with the keys, or under the mouse: picture and numbers",
    ),
    "back": ("Back to the run before", "Alt+Left", "Open the run again that was left last"),
    "questions": ("Questions…", "Ctrl+N", "Choose what to ask: the presets with pictures of how they ended"),
    "open": ("Open run…", "Ctrl+O", "Go on with an earlier run"),
    "watch": ("Watch a run…", "Ctrl+Shift+O", "Follow a run that another process trains; it is only read"),
    "import": ("Import…", "", "Make a run of two networks that were trained elsewhere, from files of their weights"),
    "data": ("Data…", "Ctrl+D", "Image data sets: what is installed and where, choose a folder, download"),
    "reveal": ("Reveal run folder", "", "Open the run's folder in the file manager"),
    "copy_path": ("Copy path of run folder", "", "Copy the run folder's path to the clipboard"),
    "quit": ("Quit", "Ctrl+Q", "Close the window; the run stays on disk and can be opened again"),
    "unmark": ("Unmark neuron", "Esc", "Let the chosen neuron go, which every view marks"),
    "timeline": ("Timeline", "", "Show or hide the bar of training steps under the toolbar"),
    "reset_layout": ("Reset layout", "", "Bring every panel back to where it was at first"),
    "larger": ("Larger text", "Ctrl++", "Larger text in the window and in its plots, for a projector"),
    "smaller": ("Smaller text", "Ctrl+-", "Smaller text in the window and in its plots"),
    "normal": ("Normal text", "Ctrl+0", "Text of the system's own size"),
    "present": ("Full screen", "F11", "Show the view that has the keys on the whole screen; Esc leaves"),
    "palette": ("Commands…", "Ctrl+Shift+P", "Find every action, view, preset, parameter and run by its name"),
    "tour": ("Tour", "", "Be shown around: play, switch, look back, change, mark, export; Esc leaves"),
    "what": ("What is this?", "Shift+F1", "Explain the view that has the keys: formula, place in the paper, surprises"),
    "keys": ("Keys", "?", "Show the keys"),
}
MORE_KEYS = {"keys": ("F1",), "larger": ("Ctrl+=",)}  # of the same actions


@dataclass(slots=True)
class Actions:
    """The window's actions by name, and the group of theme choices."""

    by_name: dict[str, QAction] = field(default_factory=dict)
    themes: dict[str, QAction] = field(default_factory=dict)

    def __getitem__(self, name: str) -> QAction:
        return self.by_name[name]

    def set_theme(self, theme: Theme, playing: bool) -> None:
        """Redraw the icons in the theme's colours."""
        for name in ("step", "reset", "attack", "export"):
            self.by_name[name].setIcon(icon(name, theme.text))
        self.show_playing(theme, playing)

    def show_playing(self, theme: Theme, playing: bool) -> None:
        """Turn the play action into pause and back."""
        play = self.by_name["play"]
        play.setText("Pause" if playing else "Play")
        play.setToolTip(_tip("Stop after the present step" if playing else ACTIONS["play"][2], "Space"))
        play.setIcon(icon("pause" if playing else "play", "#000000" if theme.dark else "#ffffff"))


def action_tip(name: str) -> str:
    """What the action called ``name`` does, and its keys."""
    return _tip(ACTIONS[name][2], ACTIONS[name][1])


def _tip(text: str, keys: str) -> str:
    return f"{text} ({keys.replace('Right', '→')})" if keys else text


def make_actions(window: QMainWindow) -> Actions:
    """All actions, owned by ``window`` and reachable by their keys wherever the focus is in it."""
    actions = Actions()
    for name, (text, keys, tip) in ACTIONS.items():
        action = QAction(text, window)
        if keys:
            action.setShortcuts([QKeySequence(each) for each in (keys, *MORE_KEYS.get(name, ()))])
        action.setToolTip(_tip(tip, keys))
        action.setStatusTip("")
        action.setAutoRepeat(name in ("step", "earlier", "later"))
        window.addAction(action)
        actions.by_name[name] = action
    group = QActionGroup(window)
    for mode in MODES:
        action = QAction({"system": "Follow the system"}.get(mode, mode.capitalize()), group, checkable=True)
        action.setData(mode)
        actions.themes[mode] = action
    return actions


class Goto(QObject):
    """Actions that bring the views and tools, whose ``titles`` are given by name; keys 1 to 9 belong to the first."""

    chosen = Signal(str)

    def __init__(self, window: QMainWindow, titles: Mapping[str, str]) -> None:
        super().__init__(window)
        self._actions: dict[str, QAction] = {}
        for name, title in titles.items():
            action = QAction(f"Go to {title}", window)
            action.setData(name)
            action.triggered.connect(self._triggered)
            window.addAction(action)
            self._actions[name] = action

    def actions(self) -> list[QAction]:
        """One a panel, hidden ones included."""
        return list(self._actions.values())

    def show(self, names: Sequence[str]) -> None:
        """Offer the panels called ``names``, with the keys in this order, and no others."""
        for name, action in self._actions.items():
            number = names.index(name) + 1 if name in names else 0
            action.setShortcut(QKeySequence(str(number)) if 1 <= number <= 9 else QKeySequence())
            action.setVisible(number > 0)

    @Slot()
    def _triggered(self) -> None:
        sender = self.sender()
        if isinstance(sender, QAction):
            self.chosen.emit(str(sender.data()))


def objective_tip(objective: str) -> str:
    """What choosing an objective does."""
    return f"{objectives[objective].doc} from the next step on (T switches between clean and adversarial)"


def _about_tip(about: About) -> str:
    return f"<p><b>{about.question}</b></p><p>{about.expect}</p><p>{about.time}</p>"


class RunChoice(QComboBox):
    """A choice of ``items`` that starts a new run, so no key chooses from it while its list is closed."""

    def __init__(self, name: str, items: Sequence[str]) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.addItems(list(items))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Open the list with whatever key would choose."""
        if event.key() in ARROWS | OPENS or (event.text().isprintable() and event.text()):
            self.showPopup()
        else:
            event.ignore()


class PresetBox(RunChoice):
    """The presets by name; each is read for its tooltip when the list first opens."""

    def __init__(self) -> None:
        super().__init__("Preset", preset_names())

    def showPopup(self) -> None:
        """Open the list, with what each preset asks as its tooltip."""
        for i in range(self.count()):
            if self.itemData(i, Qt.ItemDataRole.ToolTipRole) is None:
                try:
                    tip = _about_tip(load_preset(self.itemText(i)).about)
                except ConfigError as error:
                    tip = str(error)
                self.setItemData(i, tip, Qt.ItemDataRole.ToolTipRole)
        super().showPopup()


class Toolbar(QToolBar):
    """Preset, play, step, phase, attack, reset, device, export."""

    preset_chosen = Signal(str)
    device_chosen = Signal(str)
    objective_chosen = Signal(str)

    def __init__(self, actions: Actions, parent: QWidget | None = None) -> None:
        super().__init__("Toolbar", parent, movable=False)
        self.setObjectName("main")
        self.setIconSize(QSize(18, 18))
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.toggleViewAction().setVisible(False)
        self._owner: dict[QWidget, QAction] = {}  # by the widget that the action shows and hides
        self.buttons: list[QToolButton] = []  # of the actions, in their order
        self.preset = PresetBox()
        self.preset.activated.connect(self._preset)
        self.device = RunChoice("Device", resolve("device").choices)
        self.device.setToolTip("Where the tensors live; choosing another starts a new run there")
        self.device.activated.connect(self._device)

        self._words = [QLabel(word) for word in ("Preset", "Training", "Device")]
        preset, training, device = self._words
        self.addWidget(preset)
        self.addWidget(self.preset)
        self.addSeparator()
        self.play = self._button(actions["play"], "play")
        self._button(actions["step"])
        self.addSeparator()
        self.addWidget(training)
        self.addWidget(self._segments())
        self._button(actions["attack"])
        self.addSeparator()
        self._button(actions["reset"])
        spacer = QWidget()
        spacer.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.addWidget(spacer)
        self.addWidget(device)
        self.addWidget(self.device)
        self._button(actions["export"])
        self.more = self._more(actions["export"])
        Wheel(self).tame(self)

    def _button(self, action: QAction, name: str = "") -> QToolButton:
        """A button of our own: the wrapper of the one that Qt would make may be left over from another widget."""
        button = QToolButton()
        button.setObjectName(name)
        button.setAutoRaise(True)
        button.setDefaultAction(action)
        button.setIconSize(self.iconSize())
        button.setToolButtonStyle(self.toolButtonStyle())
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.addWidget(button)
        self.buttons.append(button)
        return button

    def _more(self, *actions: QAction) -> QToolButton:
        """The » button: the devices and ``actions``, for a window that has no room for them here."""
        self.device_menu = QMenu("Device", self)
        self._device_group = QActionGroup(self)
        for name in resolve("device").choices:
            choice = self.device_menu.addAction(name)
            choice.setCheckable(True)
            self._device_group.addAction(choice)
        self._device_group.triggered.connect(lambda choice: self.device_chosen.emit(choice.text()))
        self.more_menu = QMenu(self)
        self.more_menu.setToolTipsVisible(True)
        self.more_menu.addMenu(self.device_menu)
        self.more_menu.addActions(actions)
        button = QToolButton()
        button.setObjectName("more")
        button.setText("»")
        button.setToolTip("More: device and export")
        button.setAccessibleName("More")
        button.setAutoRaise(True)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setMenu(self.more_menu)
        self.addWidget(button)
        return button

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give up, in this order, what a narrower window has no room for: words, texts beside icons, and then the
        device and export, which stand in the » menu instead."""
        super().resizeEvent(event)
        self._fit(event.size().width())

    def _fit(self, width: int) -> None:
        icons, layout = Qt.ToolButtonStyle.ToolButtonIconOnly, self.layout()
        assert layout is not None
        for stage in range(4):
            for word in self._words:
                self._owner[word].setVisible(stage < 1)
            for button in self.buttons[1:]:
                button.setToolButtonStyle(icons if stage >= 2 else self.toolButtonStyle())
            for widget in (self.device, self.buttons[-1]):
                self._owner[widget].setVisible(stage < 3)
            self._owner[self.more].setVisible(stage == 3)
            if layout.sizeHint().width() <= width:
                return

    def addWidget(self, widget: QWidget) -> QAction:
        """Append a widget, which the action that is returned shows and hides."""
        self._owner[widget] = super().addWidget(widget)
        return self._owner[widget]

    def _segments(self) -> QWidget:
        box = QWidget()
        line = QHBoxLayout(box)
        line.setContentsMargins(2, 0, 4, 0)
        line.setSpacing(0)
        self._group = QButtonGroup(self)
        self.objectives: dict[str, QToolButton] = {}
        for objective in objectives:
            button = QToolButton()
            button.setCheckable(True)
            button.setText(objectives[objective].button)
            button.setProperty("segment", True)
            button.setProperty("objective", objective)
            button.setToolTip(objective_tip(objective))
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(self._objective)
            self._group.addButton(button)
            self.objectives[objective] = button
            line.addWidget(button)
        return box

    def _preset(self, index: int) -> None:
        self.preset_chosen.emit(self.preset.itemText(index))

    def _device(self, index: int) -> None:
        self.device_chosen.emit(self.device.itemText(index))

    def _objective(self) -> None:
        sender: QObject = self.sender()
        self.objective_chosen.emit(str(sender.property("objective")))

    def show_objective(self, objective: str) -> None:
        """Mark the segment of the objective in force."""
        self.objectives[objective].setChecked(True)

    def show_trains(self, why: str) -> None:
        """Offer the objectives, unless the run that is open is not trained here, and ``why``."""
        for name, button in self.objectives.items():
            button.setEnabled(not why)
            button.setToolTip(why or objective_tip(name))

    def show_run(self, label: str, config: Config) -> None:
        """Show the preset and the device of the run that is open; a run from elsewhere shows its name."""
        index = self.preset.findText(label)
        self.preset.setCurrentIndex(index)
        self.preset.setPlaceholderText(label)
        self.preset.setToolTip(_about_tip(config.about) if index >= 0 else label)
        self.device.setCurrentText(config.device)
        for choice in self._device_group.actions():
            choice.setChecked(choice.text() == config.device)


HIGHEST, SCROLL = 640, 70  # pixels: of the sheet of keys; that its margins and scroll bar take


class KeySheet(QDialog):
    """The keys, as a list."""

    def __init__(self, rows: list[tuple[str, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        inner = QWidget()
        grid = QGridLayout(inner)
        grid.setHorizontalSpacing(24)
        grid.setVerticalSpacing(7)
        for i, (keys, text) in enumerate(rows):
            key = QLabel(f"<b>{keys}</b>")
            grid.addWidget(key, i, 0)
            grid.addWidget(QLabel(text), i, 1)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 18, 20, 14)
        layout.setSpacing(16)
        area = QScrollArea(widgetResizable=True)  # there are more keys than a small screen has lines
        area.setAccessibleName("Keys")
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidget(inner)
        layout.addWidget(area)
        layout.addWidget(buttons)
        open_size(self, inner.sizeHint().width() + SCROLL, HIGHEST)


def key_rows(view_titles: list[str]) -> list[tuple[str, str]]:
    """The key sheet's rows: keys and what they do."""
    rows = [(keys.replace("Right", "→"), tip) for _, keys, tip in ACTIONS.values() if keys]
    rows[0] = ("Space", "Play or pause")
    rows += [(str(i + 1), f"Show {title}") for i, title in enumerate(view_titles[:9])]
    rows += [("Ctrl+Z", "Undo a change of a live parameter"), ("Ctrl+Shift+Z", "Redo it")]
    rows += key_help()
    rows += [("↑ ↓", "In a number field: change its second digit (Shift: ten at once)")]
    return rows
