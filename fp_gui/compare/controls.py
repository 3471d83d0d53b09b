"""A row of controls of which some are of the comparison that is chosen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from PySide6.QtWidgets import QWidget

from fp_gui.folding import ControlRow


class ChangingRow(ControlRow):
    """Controls that come and go."""

    def put_after(self, place: QWidget, widgets: Sequence[QWidget], gone: Sequence[QWidget] = ()) -> None:
        """Set each of ``widgets`` as a group behind that of ``place``; those that are ``gone`` are deleted."""
        for widget in gone:
            widget.hide()
            widget.deleteLater()
        for widget in widgets:
            widget.setParent(self)
            widget.show()
        for before, widget in pairwise((place, *widgets)):
            self.setTabOrder(before, widget)
        kept = [group for group in self._groups if not set(group[0]) & set(gone)]
        at = next(i for i, (group, _) in enumerate(kept, 1) if place in group)
        self._groups = [*kept[:at], *(((widget,), 0) for widget in widgets), *kept[at:]]
        self.updateGeometry()


def shortened(text: str) -> str:
    """``text`` with the ids of runs cut short: a whole one is wider than a narrow panel, and no line breaks in it."""
    return re.sub(r"\b([0-9a-f]{8})[0-9a-f]{24}\b", r"\1…", text)
