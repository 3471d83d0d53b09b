"""One knob as a row of the form: its name, editor, curve, unit, the way back, and whether it is live."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pyqtgraph.parametertree import Parameter, ParameterItem  # type: ignore[import-untyped]
from PySide6.QtCore import QPoint, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QPalette
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QMenu, QPushButton, QWidget

from engine.config.curves import Curve
from engine.config.experiment import KnobInfo
from fp_gui.curve_field import EDIT, END, CurveButton
from fp_gui.fields import LineField, field_for, show
from fp_gui.folding import FoldingLabel
from fp_gui.theme import restyle

SWEEP = "Sweep this knob…"


def tooltip(knob: KnobInfo, default: object, curve: Curve | None = None, unused: str = "") -> str:
    """What one reads on hovering over a knob that follows ``curve``, or that ``unused`` decides in its place."""
    plan = f"<br>Right click: {EDIT} a curve over steps" if knob.follows_curves else ""
    if curve is not None:
        plan = f"<br><b>Follows a schedule</b>: {escaped(curve.brief())}. A value typed here ends it."
    unit = f" ({knob.unit})" if knob.unit else ""
    idle = f"<p><b>Not used now</b>: {unused} decides in its place.</p>" if unused else ""
    zero = f" 0 reads “{knob.zero}”." if knob.zero else ""
    when = "live: applies between two steps" if knob.live else "restarts: applies with the next reset"
    return (
        f"<p style='white-space:normal'><b>{knob.path}</b>{unit}<br>{escaped(knob.doc)}{zero}</p>{idle}"
        f"<p>Allowed: {escaped(knob.allowed)}<br>Preset: {escaped(show(default))}<br>{when}{plan}</p>"
    )


def chooses(knob: KnobInfo) -> bool:
    """Whether the knob's value decides which others its group has."""
    return knob.name == "name" and knob.kind == "choice"


def alike(one: KnobInfo, other: KnobInfo) -> bool:
    """Whether the same row can show both."""
    if chooses(one) and chooses(other):  # of such a row only the choices matter: it must outlive its own edit
        return one.path == other.path and one.choices == other.choices
    return replace(one, default=None) == replace(other, default=None)


def escaped(text: str) -> str:
    """``text`` as rich text that says just that."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


class KnobItem(ParameterItem):  # type: ignore[misc]
    """A row of the tree: name, editor, unit, and whether the knob is live."""

    def __init__(self, param: KnobParameter, depth: int) -> None:
        super().__init__(param, depth)
        knob = param.knob
        self.field = field_for(knob)
        self.field.set_value(param.value())
        self.field.committed.connect(self._commit)
        self.unit = FoldingLabel(knob.unit, folds=False, wraps=False)
        self.unit.setProperty("muted", True)
        self.badge = QLabel()
        self.back = QPushButton("↺")
        self.back.setFlat(True)
        self.back.setFixedWidth(20)
        self.back.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.back.setToolTip("Back to the preset's value")
        self.back.setAccessibleName(f"{knob.path}: back to the preset's value")
        self.back.clicked.connect(self._to_default)
        self.curve = CurveButton(knob.path)
        self.row = QWidget()
        line = QHBoxLayout(self.row)
        line.setContentsMargins(0, 1, 4, 1)
        line.setSpacing(6)
        if knob.kind in ("int", "float"):
            line.addWidget(self.field)
            line.addWidget(self.curve)
            if knob.unit:
                line.addWidget(self.unit)
            line.addStretch(1)
        else:
            line.addWidget(self.field, 1)
        line.addWidget(self.back)
        line.addWidget(self.badge)
        if knob.follows_curves:
            self.curve.clicked.connect(self._edit_curve)
        for part in (self.row, self.field.control):
            part.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
            part.customContextMenuRequested.connect(partial(self._offer, part))
        self.setSizeHint(1, QSize(200, self.row.sizeHint().height()))
        self.refresh()

    def treeWidgetChanged(self) -> None:
        """Put the row into the tree that this item joined."""
        super().treeWidgetChanged()
        tree = self.treeWidget()
        if tree is not None:
            tree.setItemWidget(self, 1, self.row)

    def valueChanged(self, param: Parameter, value: object, force: bool = False) -> None:
        """Follow the parameter; ``value`` may be one that was refused and put back meanwhile."""
        super().valueChanged(param, value)
        self._show_value()
        self.refresh()

    def defaultChanged(self, param: Parameter, default: object) -> None:
        """The preset changed: the tooltip and the way back change with it."""
        self.refresh()

    def selected(self, sel: bool) -> None:
        """Nothing opens on selection: the editor is always there."""

    def refresh(self) -> None:
        """Show again whether the value is the preset's, live or pending."""
        param: KnobParameter = self.param
        knob, pending = param.knob, param.pending
        self.badge.setText("pending" if pending else "unused" if param.unused else "live" if knob.live else "restarts")
        self.badge.setProperty("badge", self.badge.text())
        restyle(self.badge)
        changed = param.setting != param.defaultValue()
        self.back.setVisible(changed and not param.read_only)
        self.field.set_read_only(param.read_only)
        self.curve.setEnabled(not param.read_only)
        self.curve.show_curve(param.curve, param.total, param.step)
        self._share_room(param.curve is not None, changed)
        font = self.font(0)
        font.setBold(pending)
        self.setFont(0, font)
        muted = self.row.palette().brush(QPalette.ColorGroup.Disabled, QPalette.ColorRole.WindowText)
        self.setForeground(0, muted if param.unused else QBrush())
        self.field.control.setProperty("muted", bool(param.unused))
        restyle(self.field.control)
        tip = tooltip(knob, param.defaultValue(), param.curve, param.unused)
        for part in (self.field.control, self.badge):
            part.setToolTip(tip)
        self.setToolTip(0, tip)

    def take_font(self) -> None:
        """The text has another size: so has the row."""
        self.refresh()
        self.setSizeHint(1, QSize(200, self.row.sizeHint().height()))

    def _share_room(self, follows: bool, changed: bool) -> None:
        """What follows a curve has the curve's picture in its row, and less room for the rest."""
        width = self.field.fontMetrics().horizontalAdvance
        if self.param.knob.kind in ("int", "float"):
            self.field.setFixedWidth(width("0" * (6 if follows else 8)) + 18)
        self.unit.setVisible(bool(self.param.knob.unit) and not follows)
        self.badge.setMinimumWidth(0 if follows and changed else width("restarts") + 4)

    def follow(self) -> None:
        """Move with the curve; the value stands still while the keys are in it."""
        param: KnobParameter = self.param
        self.curve.show_step(param.step)
        if not self.field.control.hasFocus():
            self._show_value()

    def _show_value(self) -> None:
        param: KnobParameter = self.param
        if param.curve is not None and isinstance(self.field, LineField):
            self.field.set_moving(param.value())
        else:
            self.field.set_value(param.value())

    def _commit(self) -> None:
        self.param.ask(self.field.value())

    def _to_default(self) -> None:
        self.param.ask(self.param.defaultValue())

    def _edit_curve(self) -> None:
        self.param.schedule_asked.emit(self.param)

    def _offer(self, part: QWidget, place: QPoint) -> None:
        """The own menu of a field with text, its curve, and a sweep over its values."""
        param: KnobParameter = self.param
        menu = part.createStandardContextMenu() if isinstance(part, QLineEdit) else QMenu(part)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        if isinstance(part, QLineEdit):
            menu.addSeparator()
        if param.knob.follows_curves:
            draw, end = menu.addAction(EDIT), menu.addAction(END)
            draw.setEnabled(not param.pending and not param.read_only)
            end.setEnabled(param.curve is not None and not param.read_only)
            draw.triggered.connect(self._edit_curve)
            end.triggered.connect(lambda: param.ask(param.value()))
        menu.addAction(SWEEP).triggered.connect(lambda: param.sweep_asked.emit(param.knob.path))
        menu.popup(part.mapToGlobal(place))


class KnobParameter(Parameter):  # type: ignore[misc]
    """A knob as a parameter of the tree; ``pending`` while its value waits for a reset.

    It may follow ``curve``, in a run of ``total`` steps that stands at ``step``.
    """

    itemClass = KnobItem  # noqa: N815 (pyqtgraph's name)
    schedule_asked = Signal(object)  # itself
    sweep_asked = Signal(str)  # its path

    def __init__(self, knob: KnobInfo, value: object) -> None:
        self.knob = knob
        self.pending = self.read_only = False
        self.curve: Curve | None = None
        self.unused = ""  # the path of the knob that decides in its place
        self.total, self.step = 1, 0
        super().__init__(name=knob.path, title=knob.name, type="knob", value=value, default=value)

    @property
    def setting(self) -> object:
        """The curve that the knob follows, else its value."""
        return self.value() if self.curve is None else self.curve

    def ask(self, setting: object) -> None:
        """The user wants ``setting``, a value or a curve: the form decides."""
        self.sigValueChanged.emit(self, setting)

    def follow(self, value: object, step: int) -> None:
        """The run stands at ``step``, where the curve has this value."""
        self.opts["value"], self.step = value, step
        for item in list(self.items.keys()):
            item.follow()

    def show_value(self, value: object, pending: bool, curve: Curve | None = None) -> None:
        """Take ``value`` from outside: nobody hears of it but the row."""
        self.pending, self.curve = pending, curve
        items = list(self.items.keys())
        self.opts["value"] = value
        for item in items:
            item.valueChanged(self, value)

    def show_unused(self, by: str) -> None:
        """Whether the knob at the path ``by`` decides in this one's place; empty: none does."""
        if by != self.unused:
            self.unused = by
            for item in list(self.items.keys()):
                item.refresh()

    def show_read_only(self, on: bool) -> None:
        """Whether the value can be read alone."""
        if on != self.read_only:
            self.read_only = on
            for item in list(self.items.keys()):
                item.refresh()

    def show_default(self, value: object) -> None:
        """Make ``value`` the one to go back to."""
        self.setDefault(value)
