"""A knob's curve, small: the picture beside its value, which is also the button that opens the curve."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPalette, QPen, QPolygonF
from PySide6.QtWidgets import QToolButton

from engine.config.curves import Curve

WIDTH, HEIGHT, MARGIN = 42, 18, 4  # pixels
EDIT = "Schedule…"
END = "End the schedule, keep the present value"


def outline(curve: Curve, end: int) -> list[tuple[float, float]]:
    """The corners of ``curve`` from step 0 to ``end``, to be joined by straight lines."""
    inside = [(float(step), value) for step, value in curve.points if 0 < step < end]
    return [(0.0, curve.at(0)), *inside, (float(end), curve.at(end))]


class CurveButton(QToolButton):
    """Draws the curve that the knob ``name`` follows over the whole run, and where on it the run stands."""

    def __init__(self, name: str) -> None:
        super().__init__(autoRaise=True)
        self.setFixedSize(WIDTH, HEIGHT + 2)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # so that Space plays after a click
        self.setAccessibleName(f"{name}: schedule")
        self.curve: Curve | None = None
        self.step, self._end = 0, 1
        self.hide()

    def show_curve(self, curve: Curve | None, total: int, step: int) -> None:
        """Draw ``curve`` (None: nothing, the button goes) of a run of ``total`` steps that stands at ``step``."""
        self.curve, self.step, self._end = curve, step, max(total, 1)
        self.setVisible(curve is not None)
        self.setToolTip("" if curve is None else f"Follows {curve.brief()}: click to see and change it")
        self.update()

    def show_step(self, step: int) -> None:
        """Move the mark."""
        if step != self.step:
            self.step = step
            self.update()

    def sizeHint(self) -> QSize:
        """The size that it always has."""
        return QSize(WIDTH, HEIGHT + 2)

    def place(self, step: float, value: float) -> QPointF:
        """Where on the button ``value`` at ``step`` is drawn."""
        assert self.curve is not None
        values = [v for _, v in self.curve.points]
        low, span = min(values), max(values) - min(values)
        box = QRectF(self.rect()).adjusted(MARGIN, MARGIN, -MARGIN, -MARGIN)
        share = (value - low) / span if span else 0.5
        end = max(self._end, self.step)
        return QPointF(box.left() + box.width() * step / end, box.bottom() - box.height() * share)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The button, the curve, and the mark of the present step."""
        super().paintEvent(event)
        if self.curve is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colours = self.palette()
        painter.setPen(QPen(colours.color(QPalette.ColorRole.Highlight), 1.5))
        corners = outline(self.curve, max(self._end, self.step))
        painter.drawPolyline(QPolygonF([self.place(*corner) for corner in corners]))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colours.color(QPalette.ColorRole.WindowText))
        painter.drawEllipse(self.place(self.step, self.curve.at(self.step)), 2.6, 2.6)
        painter.end()
