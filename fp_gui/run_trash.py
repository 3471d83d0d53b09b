"""The trash of the list of runs: what was deleted can be put back until the trash is emptied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Qt, Slot
from PySide6.QtWidgets import QMenu, QMessageBox

from engine.core.errors import ExplorerError
from engine.run import moving
from fp_gui.banner import Offer
from fp_gui.run_lister import RunLister
from fp_gui.shell import Shell

MOST_LISTED = 15  # runs in the menu


class RunTrash(QObject):
    """The trash of the folders that ``lister`` lists, and its menu. ``window`` says what became of it."""

    def __init__(self, window: Shell, lister: RunLister) -> None:
        super().__init__(lister)
        self._window, self._lister = window, lister
        self.menu = QMenu(window)
        self.menu.aboutToShow.connect(self.fill)
        self.trashed: dict[Path, moving.Trashed] = {}  # by where it lies now: what this window has put into it
        self.question: QMessageBox | None = None  # that is open
        self._offer: Offer | None = None  # to undo the last deletion
        lister.emptied.connect(self._emptied)

    def put(self, folders: Sequence[Path], stays: Callable[[Path], bool]) -> list[moving.Trashed]:
        """Put the runs in ``folders`` into the trash, up to the first that ``stays`` or is in use; those that went."""
        done: list[moving.Trashed] = []
        for folder in folders:
            if stays(folder):
                break
            root = next((root for root in self._lister.roots if root in folder.parents), folder.parent)
            try:
                done.append(moving.put_into_trash(folder, root))
            except ExplorerError as error:
                self._window.banner.error(str(error))
                break
        self.trashed |= {each.place: each for each in done}
        if done:
            what, it = (done[0].folder.name, "it") if len(done) == 1 else (f"{len(done)} runs", "them")
            text = f"Deleted: {what}. Runs → Trash puts {it} back, too, or removes {it} for good."
            self._offer = Offer(text, "Put back", partial(self.put_back, *done))
            self._window.banner.offer(self._offer)
            self._lister.refresh()
        return done

    def content(self) -> list[moving.Trashed]:
        """What lies in the trash of the folders that are listed, the newest of this window first."""
        places = [(root, place) for root in self._trash_roots() for place in moving.in_trash(root)]
        found = {place: self.trashed.get(place, moving.Trashed(root / place.name, place)) for root, place in places}
        newest = list(self.trashed)[::-1]
        return sorted(
            found.values(), key=lambda each: newest.index(each.place) if each.place in newest else len(newest)
        )

    def _trash_roots(self) -> list[Path]:
        """The folders that may have a trash: those that are listed, and around runs that were listed by themselves."""
        return list(dict.fromkeys([*self._lister.roots, *(place.parent.parent for place in self.trashed)]))

    @Slot()
    def fill(self) -> None:
        """Write the menu anew."""
        self.menu.clear()
        found = self.content()
        for each in found[:MOST_LISTED]:
            self.menu.addAction(f"Put back {each.folder.name}", partial(self.put_back, each))
        if found:
            self.menu.addSeparator()
        title = f"Empty the trash ({len(found):,} run{'s' * (len(found) != 1)})…" if found else "The trash is empty"
        self.menu.addAction(title, self._ask_empty).setEnabled(bool(found))

    def put_back(self, *trashed: moving.Trashed) -> None:
        """Undo a deletion."""
        self._withdraw()
        for each in trashed:
            try:
                moving.take_back(each)
            except ExplorerError as error:
                self._window.banner.error(str(error))
                break
            self.trashed.pop(each.place, None)
            self._window.banner.notice(f"Put back: {each.folder.name}")
        self._lister.refresh()

    def _withdraw(self) -> None:
        """What the last deletion offers to put back is there again, or gone."""
        if self._offer is not None:
            self._window.banner.withdraw(self._offer)
            self._offer = None

    def _ask_empty(self) -> None:
        count = len(self.content())
        text = f"{count:,} run{'s' * (count != 1)} will be removed from the disk. That cannot be undone."
        box = QMessageBox(QMessageBox.Icon.Warning, "Empty the trash?", text, parent=self._window)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.addButton("Remove for good", QMessageBox.ButtonRole.DestructiveRole).clicked.connect(self.empty)
        keep = box.addButton("Keep", QMessageBox.ButtonRole.RejectRole)
        box.setDefaultButton(keep)
        box.setEscapeButton(keep)
        box.finished.connect(self._answered)
        self.question = box
        box.open()

    @Slot()
    def _answered(self) -> None:
        self.question = None

    @Slot()
    def empty(self) -> None:
        """Remove for good what is in the trash, in the lister's thread."""
        self._lister.empty(self._trash_roots())

    @Slot(int, str)
    def _emptied(self, count: int, problem: str) -> None:
        self.trashed.clear()
        self._withdraw()
        if problem:
            self._window.banner.error(problem)
        else:
            self._window.banner.notice(f"Removed for good: {count:,} run{'s' * (count != 1)}")
