"""The parameters: every control is generated from :func:`engine.config.knobs`, nothing is listed here by name.

A live edit leaves as :attr:`Form.live_edited`; an edit of a knob that restarts the run waits in :attr:`Form.pending`
until the next reset. The form never changes the session itself and follows what the session says.

Which knobs there are depends on the names that ``world`` and ``model`` have. While another name waits for a reset the
form shows the knobs that come with it, at their defaults, and they wait with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import shiboken6
from pyqtgraph.parametertree import ParameterTree  # type: ignore[import-untyped]
from pyqtgraph.parametertree.parameterTypes import GroupParameter  # type: ignore[import-untyped]
from PySide6.QtCore import QEvent, QObject, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from engine.config.curves import POINTS_ALLOWED, PREFIX, Curve
from engine.config.experiment import Config, KnobInfo, at_step, knobs, setting_of, value_of, with_values
from engine.core.errors import ConfigError
from engine.run.snapshot import Snapshot
from fp_gui.fields import show
from fp_gui.knob_row import KnobParameter, alike, chooses, escaped
from fp_gui.schedules import Schedules
from fp_gui.theme import named

GROUP_TITLES = {"": "Run"}
READ_ONLY = "Read-only: this run is watched, and its parameters are shown as it has them."
SKIPPED = "about"  # shown as the preset's description
NEUTRAL_GROUPS = (SKIPPED, "storage")  # what they say changes no figure
NEUTRAL = ("device", "threads", "world.folder")
LEAST_WIDTH, WIDER = 350, 430  # pixels, at the usual size of text and at larger ones


def changes(config: Config, preset: Config) -> list[str]:
    """The knobs of ``config`` whose values or curves are not the preset's, of those that decide what a run gives.

    Each with its value and the preset's, e.g. ``attack.tau 0.1 instead of 0.3``.
    """
    before = {knob.path: setting_of(preset, knob.path) for knob in knobs(preset)}
    found = []
    for knob in knobs(config):
        if knob.group in NEUTRAL_GROUPS or knob.path in NEUTRAL:
            continue
        value = setting_of(config, knob.path)
        if before.get(knob.path) != value:
            instead = f" instead of {show(before[knob.path])}" if knob.path in before else ""
            found.append(f"{knob.path} {show(value)}{instead}")
    return found


class Form(QWidget):
    """The parameters dock: the preset's description, the tree, and a bar for edits that wait for a reset."""

    live_edited = Signal(str, object, object)  # path, old, new
    rejected = Signal(str)
    accepted = Signal()  # another value, live or for the next reset
    pending_changed = Signal(int)
    reset_requested = Signal()
    sweep_asked = Signal(str)  # path of a knob

    def __init__(self, config: Config, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._config = config  # as the run has it now
        self._preset = config  # as it had it at first
        self._next = config  # as it will be with what is pending
        self.pending: dict[str, object] = {}
        self.parameters: dict[str, KnobParameter] = {}
        self._step = 0  # where the run stands, as far as the form was told
        self._read_only = False
        self.schedules = Schedules(self)
        self._groups: dict[str, GroupParameter] = {}
        self._about = QLabel(wordWrap=True)
        self._about.setTextFormat(Qt.TextFormat.RichText)
        self._about.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.search = QLineEdit(clearButtonEnabled=True, placeholderText="Filter parameters")
        self.search.setAccessibleName("Filter parameters")
        self.search.setToolTip("Show only the parameters whose name or description holds this text")
        self.search.textChanged.connect(self._filter)
        self.tree = ParameterTree(showHeader=False)
        # Qt deletes the root item without PySide's knowledge: left valid, its wrapper would be taken for whatever
        # object is made at that address next.
        root = self.tree._invRootItem._real_item
        self.tree.destroyed.connect(lambda *_: shiboken6.invalidate(root))
        self.tree.setAlternatingRowColors(False)
        self.tree.setIndentation(6)
        self.tree.setDragDropMode(self.tree.DragDropMode.NoDragDrop)
        self.tree.setSelectionMode(self.tree.SelectionMode.NoSelection)
        self.tree.setFrameShape(QFrame.Shape.NoFrame)
        self.tree.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # Tab goes through the editors themselves
        self.tree.installEventFilter(self)
        self._bar = self._make_bar()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 4, 4)
        layout.setSpacing(6)
        self.note = QLabel(READ_ONLY, wordWrap=True)
        self.note.setProperty("badge", "pending")
        self.note.hide()
        layout.addWidget(self._about)
        layout.addWidget(self.note)
        layout.addWidget(self.search)
        layout.addWidget(self._bar)
        layout.addWidget(self.tree, 1)
        self.setMinimumWidth(LEAST_WIDTH)
        self._root = GroupParameter(name="parameters")
        self._set_knobs(config)
        self.tree.setParameters(self._root, showTop=False)
        header = self.tree.header()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(False)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Fixed)
        header.sectionResized.connect(self._name_resized)
        self.tree.viewport().installEventFilter(self)
        self.start(config)

    def _make_bar(self) -> QFrame:
        bar = named(QFrame(), "pending")
        self._bar_text = QLabel(wordWrap=True)
        self.apply_button = QPushButton("Reset now")
        self.apply_button.setToolTip("Start a new run with these values; the present run stays on disk")
        self.apply_button.clicked.connect(self.reset_requested)
        self.discard_button = QPushButton("Discard")
        self.discard_button.setToolTip("Put the running values back")
        self.discard_button.clicked.connect(self.discard)
        line = QHBoxLayout(bar)
        line.setContentsMargins(8, 5, 6, 5)
        line.addWidget(self._bar_text, 1)
        line.addWidget(self.apply_button)
        line.addWidget(self.discard_button)
        return bar

    def _set_knobs(self, config: Config) -> None:
        """Have a row for every knob of ``config``, in their order; rows that stay are left alone."""
        wanted = [knob for knob in knobs(config) if knob.group != SKIPPED]
        stay = {k.path for k in wanted if k.path in self.parameters and alike(k, self.parameters[k.path].knob)}
        for knob in wanted:
            if knob.path in stay:
                self.parameters[knob.path].knob = knob  # of another class, perhaps with another default
        if len(stay) == len(wanted) == len(self.parameters):
            return
        for path in [path for path in self.parameters if path not in stay]:
            self._drop(self.parameters.pop(path))
        places: dict[str, int] = {}
        for knob in wanted:
            place = places[knob.group] = places.get(knob.group, -1) + 1
            if knob.path not in stay:
                param = KnobParameter(knob, value_of(config, knob.path))
                param.read_only = self._read_only
                param.sigValueChanged.connect(self._edited)
                param.schedule_asked.connect(self._edit_curve)
                param.sweep_asked.connect(self.sweep_asked)
                self.parameters[knob.path] = param
                self._group(knob.group, list(places)).insertChild(place, param)
        if self.search.text():
            self._filter(self.search.text())

    def _group(self, name: str, before: list[str]) -> GroupParameter:
        """The group called ``name``, made behind the others of ``before`` if it is not there."""
        if name not in self._groups:
            self._groups[name] = GroupParameter(name=GROUP_TITLES.get(name, name.replace("_", " ").capitalize()))
            self._root.insertChild(len(before) - 1, self._groups[name])
        return self._groups[name]

    def _drop(self, param: KnobParameter) -> None:
        param.sigValueChanged.disconnect(self._edited)  # its editor may still lose the focus with a text in it
        group = self._groups[param.knob.group]
        group.removeChild(param)
        if not group.children():
            self._root.removeChild(self._groups.pop(param.knob.group))

    # -- what the window tells the form --------------------------------------------------------------------------

    def start(self, config: Config, preset: Config | None = None) -> None:
        """A run of ``config`` began; ``preset`` holds the values to go back to (None: those). Nothing is pending."""
        self._config, self._preset, self._step = config, preset or config, 0
        self.pending.clear()
        self.schedules.close()
        self._show()

    def _tell_about(self) -> None:
        """What the preset asks and promises; its figures are those of its own values, not of changed ones."""
        about = self._config.about
        changed = changes(self._config, self._preset)
        lines = [f"<b>{escaped(about.title)}</b>"]
        lines += [f"<i>{escaped(about.question)}</i>"] if about.question else []
        if about.expect and changed:
            words = escaped(", ".join(changed))
            lines.append(f"<b>Expected of the preset's own values, not of this run</b> ({words}):")
        lines += [escaped(about.expect)] if about.expect else []
        lines += [f"Takes {escaped(about.time)}."] if about.time else []
        text = "<br>".join(lines)
        if text != self._about.text():
            self._about.setText(text)

    def sync(self, config: Config) -> None:
        """The session's values changed: show them, but keep what is pending."""
        self._config = config
        for path, param in self.parameters.items():
            own = chooses(param.knob) or not self.renamed(param.knob.group)  # the running class has this knob, too
            if path in self.pending and own and value_of(config, path) == self.pending[path]:
                del self.pending[path]
        self._show()

    def set_read_only(self, on: bool) -> None:
        """The knobs are those of a run that is only watched: they are shown, and none can be changed."""
        self._read_only = on
        self.note.setVisible(on)
        for param in self.parameters.values():
            param.show_read_only(on)

    @Slot(object)
    def follow(self, snapshot: Snapshot) -> None:
        """Show the knobs that follow a curve at the values they have after the snapshot's steps."""
        self._step = snapshot.newest
        self.schedules.show_step(snapshot.newest)
        if not self._config.schedule.knobs:
            return
        self._config = at_step(self._config, snapshot.newest)
        for path, _ in self._config.schedule.knobs:
            param = self.parameters.get(path)
            if param is not None and not self.renamed(param.knob.group):
                param.follow(value_of(self._config, path), snapshot.newest)

    def next_config(self) -> Config:
        """The running values with what is pending. Raises :class:`ConfigError` if they do not fit together."""
        return with_values(self._config, self.pending)

    def go_to(self, path: str) -> None:
        """Bring the row of a knob into view and give its editor the keys; nothing for a knob that is not there."""
        if (param := self.parameters.get(path)) is None:
            return
        if not param.opts.get("visible", True):
            self.search.clear()
        for item in list(param.items.keys()):
            item.parent().setExpanded(True)
            self.tree.scrollToItem(item, ParameterTree.ScrollHint.PositionAtCenter)
            item.field.control.setFocus(Qt.FocusReason.ShortcutFocusReason)

    @Slot()
    def discard(self) -> None:
        """Forget what is pending."""
        self.pending.clear()
        self._show()

    def renamed(self, group: str) -> bool:
        """Whether another name of ``group``, and with it other knobs, waits for a reset."""
        return f"{group}.name" in self.pending

    def _show(self) -> None:
        """Show the knobs there will be, each with its value: pending, as running, or what its group's name brings."""
        with suppress(ConfigError):  # the session's newest values may not fit what is pending: Reset will say so
            self._next = self.next_config()
        self._set_knobs(self._next)
        presets = {knob.path for knob in knobs(self._preset)}
        for path, param in self.parameters.items():
            knob, new = param.knob, self.renamed(param.knob.group)
            source = self._next if new else self._config
            value, curve = self.pending.get(path, value_of(source, path)), source.schedule.curve(path)
            pending = new or path in self.pending
            param.total, param.step = source.schedule.total, self._step
            if param.value() != value or param.pending != pending or param.curve != curve:
                param.show_value(value, pending, curve)
                self.schedules.show_curve(path, curve)
            own = path in presets and not (new and not chooses(knob))
            param.show_default(setting_of(self._preset, path) if own else knob.default)
        self._show_unused(self._next)
        self._show_pending()
        self._tell_about()
        self._fit_rows()

    def _show_unused(self, config: Config) -> None:
        """Grey the knobs that have no effect as ``config`` has the others."""
        unused = config.unused()
        for path, param in self.parameters.items():
            param.show_unused(unused.get(path, ""))

    # -- what the user does --------------------------------------------------------------------------------------

    def _edited(self, param: KnobParameter, value: object) -> None:
        path, knob = param.knob.path, param.knob
        if self._read_only:
            return  # whoever asks: no control offers it
        live = knob.live and not self.renamed(knob.group)
        old = self.pending.get(path, setting_of(self._next if self.renamed(knob.group) else self._config, path))
        pending = self._pending_with(knob, value)
        try:
            changed = with_values(self._config, {path: value} if live else pending)
        except ConfigError as error:
            param.show_value(param.value(), param.pending, param.curve)
            self.rejected.emit(f"{error}. Kept: {show(old)}.")
            return
        self.accepted.emit()
        value = setting_of(changed, path)
        if live:
            self._config = at_step(changed, self._step)
            curve = self._config.schedule.curve(path)
            param.show_value(value_of(self._config, path), False, curve)
            self.schedules.show_curve(path, curve)
            self._show_unused(self._config)
            self._tell_about()
            if value != old:
                self.live_edited.emit(path, old, value)
            return
        if path in pending:
            pending[path] = value
        self.pending = pending
        param.show_value(value, path in pending)
        self._show()

    def _edit_curve(self, param: KnobParameter) -> None:
        path = param.knob.path

        def check(points: Sequence[Sequence[object]]) -> Curve:
            found = with_values(self._config, {PREFIX + path: points}).schedule.curve(path)
            if found is None:
                raise ConfigError(f"{PREFIX}{path}: got no point; allowed: {POINTS_ALLOWED}")
            return found

        param.step = self._step
        self.schedules.open(param, check)

    def _pending_with(self, knob: KnobInfo, value: object) -> dict[str, object]:
        """What waits for a reset once ``knob`` has ``value``, too."""
        pending = dict(self.pending)
        if chooses(knob):  # what waited for knobs that this name does not bring waits no more
            pending = {path: v for path, v in pending.items() if path.rpartition(".")[0] != knob.group}
        if not self.renamed(knob.group) or chooses(knob):
            if value == value_of(self._config, knob.path):
                pending.pop(knob.path, None)
                return pending
        elif value == knob.default:
            pending.pop(knob.path, None)
            return pending
        pending[knob.path] = value
        return pending

    def _show_pending(self) -> None:
        n = len(self.pending)
        names = ", ".join(self.pending)
        self._bar_text.setText(f"{n} change{'s wait' if n != 1 else ' waits'} for a reset")
        self._bar_text.setToolTip(names)
        self._bar.setVisible(n > 0)
        self.pending_changed.emit(n)

    @Slot()
    def _take_font(self) -> None:
        """The text has another size: so have the groups' titles; pyqtgraph names the hidden root again, which goes."""
        font = self.tree.font()
        font.setBold(True)
        for group in self._groups.values():
            for item in list(group.items.keys()):
                item.setFont(0, font)
        for item in list(self._root.items.keys()):
            item.setText(0, "")
            item.setSizeHint(0, QSize(1, 1))
        for param in self.parameters.values():
            for row in list(param.items.keys()):
                row.take_font()
        self._fit_rows()

    @Slot()
    def _fit_rows(self) -> None:
        """Give the rows what is left beside the names, and no less than they need.

        For somewhat larger text the form is wider, where the window has room; else the tree scrolls sideways.
        """
        needed = max(
            (i.row.minimumSizeHint().width() for p in self.parameters.values() for i in list(p.items)), default=0
        )
        header = self.tree.header()
        if self.isVisible():  # else its parts have no widths yet
            whole = header.sectionSize(0) + needed + self.width() - self.tree.viewport().width()
            room = WIDER if self.isWindow() else min(WIDER, self.window().width() // 4)
            self.setMinimumWidth(max(LEAST_WIDTH, min(whole, room)))
        header.resizeSection(1, max(needed, self.tree.viewport().width() - header.sectionSize(0)))

    @Slot(int, int, int)
    def _name_resized(self, section: int, before: int, now: int) -> None:
        if section == 0:
            self._fit_rows()

    @Slot(str)
    def _filter(self, text: str) -> None:
        needle = text.strip().lower()
        for group in self._root.children():
            any_shown = False
            for param in group.children():
                hit = needle in param.knob.path.lower() or needle in param.knob.doc.lower()
                param.setOpts(visible=hit)
                any_shown = any_shown or hit
            group.setOpts(visible=any_shown)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave letters and arrows to the window's keys while the tree has the focus; follow its font."""
        if watched is self.tree and event.type() == QEvent.Type.FontChange:
            QTimer.singleShot(0, self, self._take_font)  # after the tree itself
        if watched is self.tree.viewport() and event.type() == QEvent.Type.Resize:
            self._fit_rows()
        if watched is self.tree and event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            event.ignore()
            return True
        return super().eventFilter(watched, event)
