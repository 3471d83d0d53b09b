"""What the views of perturbed samples share: one of several is chosen, and drawn before, as δ and after."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

import pyqtgraph as pg  # type: ignore[import-untyped]
from PySide6.QtCore import QRectF, QSignalBlocker, Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

from engine.core.measurement import Measurement
from engine.run.snapshot import Snapshot
from fp_gui.folding import ControlRow
from fp_gui.number_boxes import WholeBox
from fp_gui.theme import Theme
from fp_gui.views.base import View
from fp_gui.views.gallery import Bytes, Grid, TileGallery
from fp_gui.views.widgets import Choice, Pages, Switch, line, restore, tint

R = TypeVar("R")
TITLES = ("x", "δ", "x + δ")
CLEAN_TITLES = ("clean net: δ", "clean net: x + δ")
SAMPLES = 12  # that can be chosen before the first result says how many there are


def measured(protocol: Measurement) -> str:
    """The protocol of means, which have no interval of proportions."""
    return protocol.text().replace(", 95% Wilson interval", "")


def step_button(box: WholeBox, text: str, tip: str, step: int) -> QToolButton:
    """A small button that moves ``box`` by ``step``."""
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setAccessibleName(tip)
    button.setAutoRaise(True)
    button.clicked.connect(lambda: box.setValue(box.value() + step))
    return button


def freeze(gallery: TileGallery) -> None:
    """Let the mouse neither zoom nor move a picture."""
    gallery.box.setMouseEnabled(x=False, y=False)


class OnePicture(TileGallery):
    """One picture without a line around it and without zooming."""

    def __init__(self, title: str, tip: str) -> None:
        super().__init__(title)
        freeze(self)
        self.setToolTip(tip)

    def show_image(self, image: Bytes, grid: Grid) -> None:
        """Show ``image``, tiled as ``grid`` says, without the lines around its only tile."""
        super().show_image(image, grid)
        self.image.setImage(self.image.image[1:-1, 1:-1], autoLevels=False, levels=(0, 255))

    def fit(self) -> None:
        """Show the whole picture."""
        if self.grid is not None:
            height, width = self.grid.size
            self.box.setRange(QRectF(0, 0, width - 2, height - 2), padding=0)

    def set_theme(self, theme: Theme) -> None:
        """Take new colours, with a thin edge around the picture."""
        super().set_theme(theme)
        self.plot.setBackground(theme.base)
        self.image.setBorder(pg.mkPen(theme.grid, width=1))


class SampleView(View, Generic[R]):
    """One of a few perturbed samples. Subclasses fill the class's variables, ``pages`` and the drawing.

    ``result`` is the type of what is shown, ``noun`` what a sample is called, ``measuring`` what stands there before
    it is measured, ``terms`` explains the signs. ``clean_result`` is the type of the same of the clean net, which
    stands beside it on the same scale.
    """

    result: ClassVar[type]
    clean_result: ClassVar[type]
    noun: ClassVar[str]
    measuring: ClassVar[str]
    terms: ClassVar[str]
    pages: Pages

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.sample = WholeBox()
        self.sample.setRange(1, SAMPLES)
        self.sample.setPrefix(f"{self.noun} ")
        self.sample.setToolTip(f"{self.declaration.option('sample').doc} They are always the same ones.")
        self.sample.setAccessibleName(self.noun.capitalize())
        self.previous = step_button(self.sample, "◀", f"Previous {self.noun}", -1)
        self.next = step_button(self.sample, "▶", f"Next {self.noun}", 1)
        self.factor = Choice.of(self.declaration.option("factor"))
        self.facts, self.summary = line(), line()
        for label in (self.facts, self.summary):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setToolTip(self.terms)
        self.pictures = tuple(self.make_picture(title) for title in TITLES)
        self.clean_pictures = tuple(self.make_picture(title) for title in CLEAN_TITLES)
        self.beside = Switch.of("clean net", self.declaration.option("beside"))
        self.found: R | None = None
        self._clean: Any = None  # as measured, shown or not
        self._now = 0  # step of the last snapshot
        self.wants = frozenset({self.result, self.clean_result})
        self.sample.valueChanged.connect(self.choose)
        self.factor.currentIndexChanged.connect(self.draw_sample)
        self.beside.toggled.connect(self._draw_again)

    def make_picture(self, title: str) -> OnePicture:
        """One of the three pictures."""
        return OnePicture(title, self.terms)

    def row_of_pictures(self) -> QHBoxLayout:
        """x, then δ and x + δ of the clean net, if it is beside, and of the net now."""
        row = QHBoxLayout()
        x, *now = self.pictures
        for picture in (x, *self.clean_pictures, *now):
            row.addWidget(picture, 1)
        return row

    @property
    def clean(self) -> Any:
        """What of the clean net is shown: None if it is not wanted, not there, or measured in another way so far."""
        fits = self._clean is not None and self.protocol_of(self._clean) == self.protocol_of(self.found)
        return self._clean if fits and self.beside.isChecked() else None

    def protocol_of(self, found: Any) -> object:
        """What must be the same where two nets stand beside each other; None of None."""
        raise NotImplementedError

    def _draw_again(self) -> None:
        """With the clean net, or without it, from now on."""
        wanted = {self.result, self.clean_result} if self.beside.isChecked() else {self.result}
        self.wants = frozenset(wanted)
        if self.found is not None:
            self._draw(self.found)
            self.tell_age(self._now)

    def _draw(self, found: R) -> None:
        for picture in self.clean_pictures:
            picture.setVisible(self.clean is not None)
        self.draw_all(found)
        self.choose()

    def controls(self) -> ControlRow:
        """The row of controls by which a sample is chosen, to be added to."""
        row = ControlRow()
        row.add(self.previous, self.sample, self.next)
        return row

    def fill(self, *parts: QWidget) -> None:
        """Lay ``parts`` out from above to below; the pages take what is left."""
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        for part in parts:
            layout.addWidget(part, int(part is self.pages))
        for picture in self.clean_pictures:
            picture.hide()
        self.set_theme(self.theme)
        self.choose()

    def size_of(self, found: R) -> int:
        """How many samples there are."""
        raise NotImplementedError

    def draw_sample(self) -> None:
        """Draw the chosen sample, if there is any."""
        raise NotImplementedError

    def draw_all(self, found: R) -> None:
        """Draw what is told of all samples."""
        raise NotImplementedError

    def forget(self) -> None:
        """No samples."""
        super().forget()
        self.found = self._clean = None
        titles = (*TITLES, *CLEAN_TITLES)
        for picture, title in zip((*self.pictures, *self.clean_pictures), titles, strict=True):
            picture.forget()
            picture.title.setText(title)
        for label in (self.facts, self.summary):
            label.setText("")
        with QSignalBlocker(self.sample):
            self.sample.setRange(1, SAMPLES)
        self.pages.forget()
        self.choose()

    @property
    def chosen(self) -> int:
        """The chosen sample, from 0; −1 if nothing of it is known."""
        found, i = self.found, self.sample.value() - 1
        return i if found is not None and i < self.size_of(found) else -1

    def render(self, snapshot: Snapshot) -> None:  # type: ignore[override]
        """Show the perturbations of ``snapshot`` if they are not those that are shown already."""
        self.turn_to(snapshot)
        found: R | None = snapshot.get(self.result)
        clean: Any = snapshot.get(self.clean_result)
        self._now = snapshot.step
        if found is None and self.found is None:
            self.pages.message.setText(self.failure(snapshot, self.result) or self.measuring)
        self.pages.show_content(found is not None or self.found is not None)
        if found is None or (found is self.found and clean is self._clean):
            self.tell_age(snapshot.step)
            return
        self.found, self._clean = found, clean
        with QSignalBlocker(self.sample):
            self.sample.setRange(1, max(self.size_of(found), 1))
        self._draw(found)
        self.tell_age(snapshot.step)

    def tell_age(self, now: int) -> None:
        """Say how far what is shown lags behind step ``now``, where it can."""

    def choose(self) -> None:
        """Another sample was chosen, or others are there."""
        self.previous.setEnabled(self.sample.value() > 1)
        self.next.setEnabled(self.sample.value() < self.sample.maximum())
        self.draw_sample()

    def set_theme(self, theme: Theme) -> None:
        """Recolour pictures and texts."""
        super().set_theme(theme)
        self.pages.set_theme(theme)
        for picture in (*self.pictures, *self.clean_pictures):
            picture.set_theme(theme)
        labels: tuple[tuple[QLabel, str], ...] = ((self.facts, theme.text), (self.summary, theme.muted))
        for label, colour in labels:
            tint(label, colour)

    def options(self) -> dict[str, str]:
        """``sample``: which one, from 1; ``factor``: how δ is drawn; ``beside``: whether the clean net's, too."""
        return {"sample": str(self.sample.value()), "factor": self.factor.value, "beside": self.beside.value}

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`."""
        sample = options.get("sample", "")
        if sample.isdecimal() and 1 <= int(sample) <= self.sample.maximum():
            self.sample.setValue(int(sample))
        restore({"factor": self.factor, "beside": self.beside}, options)
        self._draw_again()
        self.draw_sample()
