"""Text that gives way before plots do, and the rule by which a view that is lower than it needs makes room.

Heights are logical pixels. Nothing here uses Qt's height-for-width: a text knows the height that it needs at its
present width and asks for that, so that the least height of a layout is one number which can be compared with the
room that there is.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from PySide6.QtCore import QCoreApplication, QEvent, QObject, QRect, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QEnterEvent, QHelpEvent, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QAbstractScrollArea, QFrame, QLabel, QScrollArea, QSizePolicy, QToolTip, QWidget

from fp_gui.theme import named

LEAST_PLOT = 140  # no plot is lower
LEAST_AREA = QSize(240, 120)  # of a view's panel, so that no view's needs can make the window larger than the screen
ROWS = 3  # that a table of figures still shows where it scrolls
NARROWEST = 110  # pixels that a text has beside a control


class Fold(Enum):
    """How much of a text is seen."""

    FULL = "wrapped"
    LINE = "one line, the whole in the tooltip"
    AWAY = "nothing, the whole in the tooltip of the view's first text"


class FoldingLabel(QLabel):
    """Plain text, wrapped, that can fold into one line and away; :meth:`text` is always the whole.

    ``folds`` says whether it gives way at all, ``stays`` whether one line of it always stays. With ``wraps`` off it is
    one line from the beginning, cut at its end with an ellipsis where there is too little room.
    """

    def __init__(self, text: str = "", *, folds: bool = True, stays: bool = False, wraps: bool = True) -> None:
        super().__init__(text)
        self.folds, self.stays = folds, stays
        self._wraps = wraps
        self._fold = Fold.FULL
        self._wanted = True
        self.hidden_texts: tuple[str, ...] = ()  # of others, which this one's tooltip tells
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(wraps)
        self.setMinimumWidth(1)

    @property
    def fold(self) -> Fold:
        """How much is seen."""
        return self._fold

    @property
    def one_line(self) -> bool:
        """Whether it is drawn as one line."""
        return not self._wraps or self._fold is Fold.LINE

    @property
    def wanted(self) -> bool:
        """Whether its view wants it to be seen where there is room."""
        return self._wanted

    @property
    def cut(self) -> bool:
        """Whether less than the whole is seen."""
        return bool(self.hidden_texts) or (self.one_line and self._flat() != self._shown())

    def set_fold(self, fold: Fold, hidden_texts: tuple[str, ...] = ()) -> None:
        """Show as much as ``fold`` says, and tell ``hidden_texts`` in the tooltip."""
        if (fold, hidden_texts) == (self._fold, self.hidden_texts):
            return
        self._fold, self.hidden_texts = fold, hidden_texts
        self.setAccessibleDescription(self.whole())
        super().setVisible(self._wanted and fold is not Fold.AWAY)
        self.updateGeometry()
        self.update()

    def whole(self) -> str:
        """Everything that its tooltip has to say."""
        own = [self.text()] if self.cut else []
        return "\n".join(part for part in (*own, *self.hidden_texts, self.toolTip()) if part)

    def setText(self, text: str) -> None:
        """Another text; the same again costs nothing."""
        if text != self.text():
            super().setText(text)

    def setVisible(self, visible: bool) -> None:
        """Show it, unless it is folded away."""
        self._wanted = visible
        super().setVisible(visible and self._fold is not Fold.AWAY)

    # -- size ----------------------------------------------------------------------------------------------------

    def _flat(self) -> str:
        return self.text().replace("\n", " ")

    def _shown(self) -> str:
        """The one line that is drawn."""
        room = self._room(self.width()) - (self._sign() + 4 if self.hidden_texts else 0)
        return self.fontMetrics().elidedText(self._flat(), Qt.TextElideMode.ElideRight, max(1, room))

    def _sign(self) -> int:
        """The diameter of the ⓘ, which is drawn because many fonts have none."""
        return self.fontMetrics().height() - 3

    def _room(self, width: int) -> int:
        margins = self.contentsMargins()
        return max(1, width - margins.left() - margins.right() - 2 * self.margin())

    def _needed(self, width: int) -> int:
        """The height of the text at ``width``."""
        margins = self.contentsMargins()
        around = margins.top() + margins.bottom() + 2 * self.margin()
        metrics = self.fontMetrics()
        if not self.text():
            return around
        if self.one_line:
            return metrics.height() + around
        space = QRect(0, 0, self._room(width), 100_000)
        return metrics.boundingRect(space, int(Qt.TextFlag.TextWordWrap), self.text()).height() + around

    def _advance(self) -> int:
        """The width of the longest line."""
        return max(map(self.fontMetrics().horizontalAdvance, self.text().split("\n")), default=0) + 2

    def hasHeightForWidth(self) -> bool:
        """No: it asks for the height at its present width."""
        return False

    def heightForWidth(self, width: int) -> int:
        """None, as Qt says it."""
        return -1

    def sizeHint(self) -> QSize:
        """As wide as the text, as high as it needs now."""
        return QSize(self._advance(), self._needed(self.width()))

    def minimumSizeHint(self) -> QSize:
        """A few words wide, as high as the text needs now."""
        return QSize(min(self._advance(), NARROWEST), self._needed(self.width()))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width may need another height."""
        super().resizeEvent(event)
        if self._needed(event.size().width()) != self._needed(event.oldSize().width()):
            self.updateGeometry()

    # -- what is seen --------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        """The whole, or the one line that there is room for."""
        if not self.one_line:
            super().paintEvent(event)
            return
        painter = QPainter(self)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        room = self.contentsRect()
        if self.hidden_texts:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            circle = QRect(room.left(), room.top() + (room.height() - self._sign()) // 2, self._sign(), self._sign())
            painter.drawEllipse(circle)
            painter.drawText(circle, int(Qt.AlignmentFlag.AlignCenter), "i")
            room.setLeft(circle.right() + 5)
        painter.drawText(room, int(self.alignment()), self._shown())
        painter.end()

    def event(self, event: QEvent) -> bool:
        """Tell the whole where less is seen."""
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent) and self.cut:
            QToolTip.showText(event.globalPos(), self.whole(), self)
            return True
        return super().event(event)


class FiguresTable(QWidget):
    """What a :class:`Figures` scrolls; ``changed`` is told when rows come or go."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: Callable[[], None] = lambda: None
        self._least = QSize()

    def event(self, event: QEvent) -> bool:
        """Look for rows that came or went."""
        done = super().event(event)
        if event.type() == QEvent.Type.LayoutRequest:
            least = self.minimumSizeHint().boundedTo(QSize(LEAST_AREA.width(), self.maximumHeight()))
            if least != self._least:  # a figure that has changed needs no other room, and comes often
                self._least = least
                self.changed()
        return done


class Figures(QScrollArea):
    """A table of figures, which scrolls where there is too little room for all its rows. ``texts`` tells them."""

    def __init__(self, table: FiguresTable, texts: Callable[[], str]) -> None:
        super().__init__(widgetResizable=True)
        self.texts = texts
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._table = named(table, "figures")
        self.setWidget(table)
        self.viewport().setAutoFillBackground(False)
        table.setAutoFillBackground(False)
        table.changed = self.updateGeometry

    def sizeHint(self) -> QSize:
        """All rows."""
        return self._table.minimumSizeHint()

    def minimumSizeHint(self) -> QSize:
        """A few rows."""
        least = self._table.minimumSizeHint()
        return QSize(
            min(least.width(), LEAST_AREA.width()), min(least.height(), ROWS * (self.fontMetrics().height() + 2))
        )


class Folding(QObject):
    """Makes room in ``view``: while it is lower than it needs, texts fold, then ``tables``, then ``secondary`` parts.

    In this order: texts into one line each; all texts but the first away, into its tooltip behind an ⓘ; the tables and
    then the secondary parts, the first first. What does not fit even then is the scroll area's, if there is one.
    """

    def __init__(self, view: QWidget) -> None:
        super().__init__(view)
        self._view = view
        self.area: QScrollArea | None = None  # what the view stands in
        self.tables: list[Figures] = []
        self.secondary: list[tuple[QWidget, str]] = []  # a part that no one else hides, and what it shows
        self.stage = 0
        self._busy = False
        self._last: tuple[int, ...] = ()
        self._soon = QTimer(self, singleShot=True, interval=0)
        self._soon.timeout.connect(self.check)

    def look_soon(self, event: QEvent) -> None:
        """Look again if ``event`` says that the view or what it needs has changed its size."""
        if event.type() in (QEvent.Type.Resize, QEvent.Type.LayoutRequest, QEvent.Type.Show) and not self._busy:
            self._soon.start()

    def room(self) -> int:
        """The height that there is."""
        return self._view.height() if self.area is None else self.area.maximumViewportSize().height()

    def needed(self) -> int:
        """The least height of the view as it is folded now."""
        layout = self._view.layout()
        if layout is None:
            return 0
        for _ in range(3):  # a text's new width may ask for another height
            QCoreApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest)
            layout.activate()
        return layout.totalMinimumSize().height()

    @Slot()
    def check(self) -> None:
        """Fold no more than the room asks for."""
        if self._busy or not self._view.isVisible():
            return
        self._busy = True
        try:
            seen = (self._view.width(), self.room(), self.needed(), self.stage)
            if seen != self._last:
                self._fit()
                self._last = (self._view.width(), self.room(), self.needed(), self.stage)
        finally:
            self._busy = False

    def _fit(self) -> None:
        for stage in range(3 + len(self.tables) + len(self.secondary)):
            self._apply(stage)
            if self.needed() <= self.room():
                return

    def _texts(self) -> list[FoldingLabel]:
        """The texts that give way, the first one first; not those in a part that scrolls by itself."""
        found = [label for label in self._view.findChildren(FoldingLabel) if label.folds and not self._scrolls(label)]
        caption = getattr(self._view, "caption", None)
        return sorted(found, key=lambda label: label is not caption)

    def _scrolls(self, widget: QWidget) -> bool:
        above = widget.parentWidget()
        while above is not None and above is not self._view:
            if isinstance(above, QAbstractScrollArea):
                return True
            above = above.parentWidget()
        return False

    def _apply(self, stage: int) -> None:
        self.stage = stage
        labels = self._texts()
        folded = stage - 2
        told: list[str] = []
        for place, table in enumerate(self.tables):
            table.setVisible(place >= folded)
            told += [table.texts()] if place < folded else []
        for place, (part, name) in enumerate(self.secondary, start=len(self.tables)):
            part.setVisible(place >= folded)
            told += [f"{name}: hidden for want of room; make the panel higher to see it."] if place < folded else []
        first = next((label for label in labels if label.wanted and label.text()), None)
        away = [label for label in labels if stage >= 2 and label is not first and not label.stays]
        told[:0] = [label.text() for label in away if label.wanted and label.text()]
        for label in labels:
            if label in away:
                label.set_fold(Fold.AWAY)
            else:
                hidden = tuple(told) if label is first else ()
                label.set_fold(Fold.LINE if stage >= 1 else Fold.FULL, hidden)


class ViewArea(QScrollArea):
    """The panel of one view; it scrolls where the view is larger, with all that can give way given way."""

    visited = Signal(bool)  # the mouse is in the panel, or has left it

    def __init__(self, view: QWidget, folding: Folding) -> None:
        super().__init__(widgetResizable=True)
        folding.area = self
        self._folding = folding
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMinimumSize(LEAST_AREA)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFocusProxy(view)
        self.setWidget(view)
        for part in (self.viewport(), view):
            part.setAutoFillBackground(False)  # else nothing of a panel in a window of its own counts as visible

    def enterEvent(self, event: QEnterEvent) -> None:
        """Say so."""
        super().enterEvent(event)
        self.visited.emit(True)

    def leaveEvent(self, event: QEvent) -> None:
        """Say so."""
        super().leaveEvent(event)
        self.visited.emit(False)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Look for room, also where the view is at its least height already and keeps its size."""
        super().resizeEvent(event)
        self._folding.look_soon(event)


class ControlRow(QWidget):
    """Controls beside each other, in as many lines as the width asks for; a group of them stays together."""

    def __init__(self, spacing: int = 6) -> None:
        super().__init__()
        self._spacing = spacing
        self._groups: list[tuple[tuple[QWidget, ...], int]] = []
        policy = self.sizePolicy()
        policy.setVerticalPolicy(QSizePolicy.Policy.Fixed)
        self.setSizePolicy(policy)

    def add(self, *widgets: QWidget, stretch: int = 0) -> None:
        """Append a group; with ``stretch`` its last widget takes a share of what is left of its line."""
        for widget in widgets:
            widget.setParent(self)
        self._groups.append((widgets, stretch))
        self.updateGeometry()

    def add_stretch(self) -> None:
        """Append room that takes what is left."""
        self._groups.append(((), 1))

    @staticmethod
    def _width(widget: QWidget) -> int:
        hint = widget.minimumSizeHint() if isinstance(widget, FoldingLabel) else widget.sizeHint()
        return max(widget.minimumWidth(), min(hint.width(), widget.maximumWidth()))

    def _lines(self, width: int) -> list[list[tuple[list[tuple[QWidget, int]], int]]]:
        """The groups of each line, with their widgets' least widths and their stretch."""
        lines: list[list[tuple[list[tuple[QWidget, int]], int]]] = [[]]
        left = width
        for widgets, stretch in self._groups:
            shown = [(widget, self._width(widget)) for widget in widgets if not widget.isHidden()]
            if widgets and not shown:
                continue
            wide = sum(w for _, w in shown) + self._spacing * len(shown)
            if wide > left + self._spacing and any(group for group, _ in lines[-1]):
                lines.append([])
                left = width
            lines[-1].append((shown, stretch))
            left -= wide
        return lines

    @staticmethod
    def _height(line: list[tuple[list[tuple[QWidget, int]], int]]) -> int:
        return max((widget.sizeHint().height() for group, _ in line for widget, _ in group), default=0)

    def _place(self) -> None:
        y = 0
        for line in self._lines(self.width()):
            height = self._height(line)
            used = sum(w + self._spacing for group, _ in line for _, w in group)
            over, shares = self.width() + self._spacing - used, sum(stretch for _, stretch in line)
            x = 0
            for group, stretch in line:
                more = max(0, over) * stretch // shares if stretch else 0
                if not group:
                    x += more
                for i, (widget, w) in enumerate(group):
                    wide = w + (more if i == len(group) - 1 else 0)
                    wide = min(wide, max(self.width() - x, 1))
                    tall = min(height, widget.sizeHint().height())
                    widget.setGeometry(x, y + (height - tall) // 2, wide, tall)
                    x += wide + self._spacing
            y += height + 4

    def sizeHint(self) -> QSize:
        """All in one line, as high as the present width asks for."""
        least = sum(self._width(w) + self._spacing for group, _ in self._groups for w in group if not w.isHidden())
        return QSize(least, self.minimumSizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """The widest group, as high as the present width asks for."""
        lines = self._lines(max(self.width(), 1))
        groups = [group for line in self._lines(1) for group, _ in line]
        widest = max((sum(w + self._spacing for _, w in group) - self._spacing for group in groups if group), default=0)
        return QSize(widest, sum(self._height(line) + 4 for line in lines) - 4)

    def event(self, event: QEvent) -> bool:
        """Lay out again when a control came, went or changed its size."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
            self._place()
        return super().event(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Another width may need another number of lines."""
        super().resizeEvent(event)
        self._place()
        if event.size().width() != event.oldSize().width():
            self.updateGeometry()
