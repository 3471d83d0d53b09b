"""The toolbar's icons, drawn from paths in the theme's colour.

qtawesome would do as well, but loads ten fonts first: 0.2 s of the time until the window shows.
"""

from __future__ import annotations

from PySide6.QtCore import QByteArray, QRectF, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

_LINE = 'fill="none" stroke="{c}" stroke-width="2" stroke-linecap="round" stroke-linejoin="round"'
_SHAPES = {
    "play": '<path d="M7 4.5 L19.5 12 L7 19.5 Z" fill="{c}"/>',
    "pause": '<path d="M6 5 H10 V19 H6 Z M14 5 H18 V19 H14 Z" fill="{c}"/>',
    "step": '<path d="M5 5 L14 12 L5 19 Z M16 5 H19 V19 H16 Z" fill="{c}"/>',
    "reset": f'<path d="M5 12 A7.5 7.5 0 1 0 8 6 M8 2.5 V6.5 H12" {_LINE}/>',
    "export": f'<path d="M12 15 V4 M7.5 8 L12 3.5 L16.5 8 M4.5 14 V20 H19.5 V14" {_LINE}/>',
    "attack": f'<path d="M13 2.5 L5.5 13.5 H11.5 L10.5 21.5 L18.5 10 H12.5 Z" {_LINE}/>',
    "error": f'<path d="M12 3 L22 20 H2 Z M12 9.5 V14 M12 17 V17.2" {_LINE}/>',
    "notice": f'<path d="M12 3 A9 9 0 1 0 12.01 3 M12 11 V16.5 M12 7.6 V7.8" {_LINE}/>',
    "close": f'<path d="M6 6 L18 18 M18 6 L6 18" {_LINE}/>',
    "app": '<circle cx="8" cy="8" r="5" fill="#0072B2"/><circle cx="16" cy="8" r="5" fill="#E69F00"/>'
    '<circle cx="8" cy="16" r="5" fill="#E69F00"/><circle cx="16" cy="16" r="5" fill="#0072B2"/>',
}


def icon(name: str, colour: str = "#000000") -> QIcon:
    """The icon ``name`` in ``colour`` at the sizes a toolbar and a window frame use."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">{_SHAPES[name].format(c=colour)}</svg>'
    renderer = QSvgRenderer(QByteArray(svg.encode()))
    result = QIcon()
    for size in (20, 40, 64):
        pixmap = QPixmap(size, size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        renderer.render(painter, QRectF(0, 0, size, size))
        painter.end()
        result.addPixmap(pixmap)
    return result
