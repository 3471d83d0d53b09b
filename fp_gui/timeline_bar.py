"""The timeline: a bar over training steps with phases, changes and stored weights, on which one step is looked at."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QColor, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSizePolicy, QToolButton, QToolTip, QWidget

from engine.figures.declare import phase as phase_look
from engine.run.snapshot import BRANCH, Event, StoredStep
from engine.run.timeline import Span
from fp_gui.theme import LIGHT, Theme, restyle
from fp_gui.views.plots import translucent

MARGIN = 10  # pixels left and right of the first and the last step
NEAR = 6  # pixels within which the mouse is at an event
NO_LIMIT = 16_777_215  # Qt's greatest size
SHADE = 70  # of 255: how strongly phases are coloured
VEIL = 150  # of 255: how much of what another run trained is covered
SPEEDS = (2, 5, 10, 20)  # stored steps a second
LOOKING = "Every view shows the run as it was at this step; what is changed meanwhile changes the run as it is now"
PLAYING, BACK = "▶", "◀"
HIGH, LOW = 30, 22  # pixels of the bar, and in a window that is low


class TimelineCanvas(QWidget):
    """The bar itself; a click, a drag or an arrow key looks at the nearest step whose weights are stored."""

    chosen = Signal(int)  # a step whose weights are stored
    live = Signal()  # the end of the bar was chosen: now

    def __init__(self) -> None:
        super().__init__()
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Timeline")
        self.theme = LIGHT
        self.stored: tuple[StoredStep, ...] = ()
        self.steps: list[int] = []
        self.spans: tuple[Span, ...] = ()
        self.events: tuple[Event, ...] = ()
        self.newest, self.end = 0, 1
        self.inherited = 0  # the step up to which another run, which this one is a branch of, trained it
        self.at: int | None = None  # the step looked at; None: now
        self.high = HIGH

    def sizeHint(self) -> QSize:
        """Low, and as wide as there is room."""
        return QSize(320, self.high)

    def minimumSizeHint(self) -> QSize:
        """What can still be used."""
        return QSize(120, self.high)

    def show_run(
        self, newest: int, total: int, spans: Sequence[Span], events: Sequence[Event], stored: Sequence[StoredStep],
        inherited: int = 0,
    ) -> None:  # fmt: skip
        """The run stands at step ``newest`` of ``total``; ``stored`` in the order of steps.

        It has taken over the steps up to ``inherited`` from another run.
        """
        found = (newest, max(newest, total, 1), tuple(spans), tuple(events), tuple(stored), inherited)
        if found == (self.newest, self.end, self.spans, self.events, self.stored, self.inherited):
            return
        self.newest, self.end, self.spans, self.events, self.stored, self.inherited = found
        self.steps = [each.step for each in self.stored]
        self.update()

    def show_step(self, step: int | None) -> None:
        """Mark the step looked at; None for now."""
        if step != self.at:
            self.at = step
            self.setAccessibleDescription("now" if step is None else self.words_at(step))
            self.update()

    def x_of(self, step: float) -> float:
        """Where ``step`` is, in pixels."""
        return MARGIN + (self.width() - 2 * MARGIN) * step / self.end

    def step_at(self, x: float) -> float:
        """The step at pixel ``x``."""
        return self.end * (x - MARGIN) / max(1, self.width() - 2 * MARGIN)

    def nearest(self, step: float) -> int | None:
        """The step nearest to ``step`` whose weights are stored; None where there is none."""
        if not self.steps:
            return None
        i = bisect_left(self.steps, step)
        around = self.steps[max(0, i - 1) : i + 1]
        return min(around, key=lambda each: abs(each - step))

    def neighbour(self, direction: int) -> int | None:
        """The next stored step before (−1) or after (1) the one looked at; None where there is none."""
        here = self.newest if self.at is None else self.at
        i = bisect_left(self.steps, here) - 1 if direction < 0 else bisect_right(self.steps, here)
        return self.steps[i] if 0 <= i < len(self.steps) else None

    def words_at(self, step: int) -> str:
        """What there is at and near ``step``, a line each."""
        near = self.end * NEAR / max(1, self.width() - 2 * MARGIN)
        kind = next((each.words for each in self.stored if each.step == step), "")
        phase = next((p.objective for p in self.spans if p.start < step <= p.end), "")
        first = " · ".join(filter(None, (f"step {step:,}", phase_look(phase).training if phase else "", kind)))
        if step < self.inherited:
            first += " · inherited from the run that this one is a branch of"
        changes = [f"step {e.step:,}: {e.words}" for e in self.events if abs(e.step - step) <= near]
        return "\n".join([first, *changes[-10:]])

    def go(self, direction: int) -> None:
        """Look at the next stored step in ``direction``; beyond the last one, at now."""
        found = self.neighbour(direction)
        if found is not None:
            self.chosen.emit(found)
        elif direction > 0 and self.at is not None:
            self.live.emit()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Look at the step under the mouse."""
        if event.button() == Qt.MouseButton.LeftButton:
            self._take(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Go on with a drag."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._take(event.position().x())

    def _take(self, x: float) -> None:
        step = self.step_at(x)
        found = self.nearest(step)
        if found is None or step > (self.steps[-1] + self.newest) / 2 >= self.steps[-1]:
            self.live.emit()
        elif found != self.at:
            self.chosen.emit(found)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows go from one stored step to the next, Home to the first, End to now."""
        match event.key():
            case Qt.Key.Key_Left | Qt.Key.Key_Down:
                self.go(-1)
            case Qt.Key.Key_Right | Qt.Key.Key_Up:
                self.go(1)
            case Qt.Key.Key_Home if self.steps:
                self.chosen.emit(self.steps[0])
            case Qt.Key.Key_End:
                self.live.emit()
            case _:
                super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        """Say what is under the resting mouse; keep the arrow keys while the bar has the keys."""
        if isinstance(event, QHelpEvent):
            step = round(min(max(0.0, self.step_at(event.pos().x())), float(self.end)))
            found = self.nearest(step)
            near = found is not None and abs(self.x_of(found) - event.pos().x()) <= NEAR
            QToolTip.showText(event.globalPos(), self.words_at(found if near and found is not None else step), self)
            return True
        if event.type() == QEvent.Type.ShortcutOverride and isinstance(event, QKeyEvent):
            plain = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier == Qt.KeyboardModifier.NoModifier
            if plain and event.key() in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Down):
                event.accept()
                return True
        return super().event(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Phases below, then stored weights, changes, and the step looked at."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        theme, height = self.theme, self.height()
        track = QRectF(MARGIN, 6, self.width() - 2 * MARGIN, height - 13)
        painter.fillRect(track, QColor(theme.base))
        for span in self.spans:
            left, right = self.x_of(span.start), self.x_of(span.end)
            painter.fillRect(
                QRectF(left, track.top(), right - left, track.height()),
                translucent(phase_look(span.objective).colour, SHADE),
            )
        painter.setPen(QPen(QColor(theme.grid)))
        painter.drawRect(track)
        self._paint_stored(painter, track)
        if self.inherited:
            veiled = QRectF(
                track.left() - 4, track.top() + 1, self.x_of(self.inherited) - track.left() + 4, track.height()
            )
            painter.fillRect(veiled, translucent(theme.base, VEIL))
        self._paint_events(painter, track)
        self._paint_here(painter, track)
        if self.hasFocus():
            painter.setPen(QPen(QColor(theme.accent), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(QRect(1, 1, self.width() - 3, height - 3))

    def _paint_stored(self, painter: QPainter, track: QRectF) -> None:
        """A frame is a short line, a checkpoint a diamond."""
        middle = track.center().y()
        painter.setPen(QPen(QColor(self.theme.muted), 1))
        for each in self.stored:
            if not each.checkpoint:
                x = self.x_of(each.step)
                painter.drawLine(QPointF(x, middle - 2), QPointF(x, middle + 2))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(self.theme.text))
        for each in self.stored:
            if each.checkpoint:
                x = self.x_of(each.step)
                around = ((x - 3.5, middle), (x, middle - 3.5), (x + 3.5, middle), (x, middle + 3.5))
                painter.drawPolygon(QPolygonF([QPointF(*corner) for corner in around]))

    def _paint_events(self, painter: QPainter, track: QRectF) -> None:
        """A switch of phases is a line through the bar, the branch a dashed one, another change a triangle above it."""
        for each in self.events:
            x = self.x_of(each.step)
            if each.name in ("phase", BRANCH):
                style = Qt.PenStyle.DashLine if each.name == BRANCH else Qt.PenStyle.SolidLine
                painter.setPen(QPen(QColor(self.theme.text), 1.5, style))
                painter.drawLine(QPointF(x, track.top() - 3), QPointF(x, track.bottom() + 3))
            elif each.name != "checkpoint":  # which is marked as what is stored
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QColor(self.theme.accent))
                top = track.top()
                painter.drawPolygon(QPolygonF([QPointF(x - 3.5, top - 6), QPointF(x + 3.5, top - 6), QPointF(x, top)]))

    def _paint_here(self, painter: QPainter, track: QRectF) -> None:
        x = self.x_of(self.newest if self.at is None else self.at)
        painter.setPen(QPen(QColor(self.theme.accent), 2))
        painter.setBrush(QColor(self.theme.accent if self.at is None else self.theme.base))
        painter.drawLine(QPointF(x, track.top() - 4), QPointF(x, track.bottom() + 4))
        painter.drawEllipse(QPointF(x, track.bottom() + 1), 4.5, 4.5)


class TimelineBar(QWidget):
    """The canvas with buttons that play it, and a button back to now."""

    chosen = Signal(int)
    live = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.canvas = TimelineCanvas()
        self.back = self._button(BACK, "Play backwards", "Play the stored steps backwards")
        self.forth = self._button(PLAYING, "Play forwards", "Play the stored steps forwards")
        self.speed = QComboBox()
        self.speed.addItems([f"{speed}/s" for speed in SPEEDS])
        self.speed.setCurrentIndex(SPEEDS.index(5))
        self.speed.setToolTip("Stored steps a second while playing")
        self.speed.setAccessibleName("Speed of playing")
        self.label = QLabel()
        self.label.setMinimumWidth(self.label.fontMetrics().horizontalAdvance("step 100,000 · checkpoint") + 16)
        self.label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.now = QToolButton()
        self.now.setText("Now")
        self.now.setToolTip("Show the run as it is now")
        line = QHBoxLayout(self)
        line.setContentsMargins(6, 0, 6, 0)
        line.setSpacing(4)
        for widget in (self.back, self.forth, self.speed):
            line.addWidget(widget)
        line.addWidget(self.canvas, 1)
        line.addWidget(self.label)
        line.addWidget(self.now)
        self._direction = 0
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._next)
        self.speed.currentIndexChanged.connect(self._set_speed)
        self.back.clicked.connect(self.toggle_back)
        self.forth.clicked.connect(self.toggle_forth)
        self.now.clicked.connect(self._go_live)
        self.canvas.chosen.connect(self._chosen)
        self.canvas.live.connect(self._go_live)
        self.show_step(None)

    @staticmethod
    def _button(text: str, name: str, tip: str) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setCheckable(True)
        button.setAccessibleName(name)
        button.setToolTip(tip)
        return button

    def show_step(self, step: int | None) -> None:
        """Mark the step looked at; None for now."""
        self.canvas.show_step(step)
        kind = next((s.words for s in self.canvas.stored if s.step == step), "")
        self.label.setText("now" if step is None else f"step {step:,}" + (f" · {kind}" if kind else ""))
        self.label.setProperty("looking", step is not None)
        self.label.setToolTip("" if step is None else LOOKING)
        restyle(self.label)
        self.now.setEnabled(step is not None)

    def set_low(self, low: bool) -> None:
        """Leave more of a low window to the views."""
        high = LOW if low else HIGH
        if high != self.canvas.high:
            self.canvas.high = high
            self.canvas.updateGeometry()
            for widget in (self.back, self.forth, self.speed, self.now):
                widget.setMaximumHeight(max(high, self.fontMetrics().height() + 4) if low else NO_LIMIT)

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self.canvas.theme = theme
        self.canvas.update()

    @property
    def playing(self) -> bool:
        """Whether stored steps are being played."""
        return self._timer.isActive()

    @Slot()
    def toggle_back(self) -> None:
        """Play backwards, or stop."""
        self.play(0 if self._direction == -1 else -1)

    @Slot()
    def toggle_forth(self) -> None:
        """Play forwards, or stop. At the end it begins at the first stored step."""
        self.play(0 if self._direction == 1 else 1)

    def play(self, direction: int) -> None:
        """Play the stored steps backwards (−1) or forwards (1); 0 stops."""
        steps = self.canvas.steps
        if direction and not steps:
            direction = 0
        self._direction = direction
        self.back.setChecked(direction == -1)
        self.forth.setChecked(direction == 1)
        if not direction:
            self._timer.stop()
            return
        if direction == 1 and (self.canvas.at is None or self.canvas.at >= steps[-1]):
            self.chosen.emit(steps[0])
        self._set_speed()
        self._timer.start()

    @Slot()
    def _set_speed(self) -> None:
        self._timer.setInterval(1000 // SPEEDS[self.speed.currentIndex()])

    @Slot()
    def _next(self) -> None:
        found = self.canvas.neighbour(self._direction)
        if found is None:
            self.play(0)
        else:
            self.chosen.emit(found)

    @Slot(int)
    def _chosen(self, step: int) -> None:
        self.play(0)
        self.chosen.emit(step)

    @Slot()
    def _go_live(self) -> None:
        self.play(0)
        self.live.emit()
