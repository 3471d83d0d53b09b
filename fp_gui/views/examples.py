"""Perturbations of test images: an image, what the attack adds to it, their sum, and what the network says of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from engine.core.measurement import NORM_SIGN
from engine.core.results import CleanExamples, Examples, FloatArray
from engine.figures.declare import ViewDeclaration
from engine.figures.examples import GREY, VIEW, between, shared_factor, sizes
from fp_gui.theme import Theme
from fp_gui.views.base import Place, views
from fp_gui.views.gallery import Grid
from fp_gui.views.pictures import PictureGallery, image_colours, tile_colours
from fp_gui.views.sample_view import OnePicture, SampleView, freeze, measured
from fp_gui.views.widgets import Pages, aged

TRUE, OTHER = VIEW.looks["before"], VIEW.looks["after"]  # colours of the true class and of the others
TOP, FEW = 5, 3  # classes that are named, and where there is little room
LOW = 400  # pixels of height under which there is little room
STRIP = 44  # pixels that the row of small images is high, per row
MEASURING = "The perturbations of a few test images are being measured."
TERMS = (
    "x: a test image; δ: what the attack adds to it; x + δ stays within 0 and 1.\n"
    "δ is drawn on grey: a grey pixel is left as it is, brighter ones are raised, darker ones lowered in each colour.\n"
    "Clean net: the same image on the net at the end of clean training, perturbed in the same way.\n"
    "Bars: the probabilities that the network gives to its first classes; the true one is always among them."
)


def delta_colours(delta: FloatArray, factor: int) -> FloatArray:
    """A perturbation (C, H, W) times ``factor`` as an image around grey."""
    found: FloatArray = np.float32(GREY) + np.float32(factor) * delta
    return found


def first_classes(probabilities: FloatArray, true: int, count: int = TOP) -> list[int]:
    """The ``count`` most probable classes, falling; the true one in place of the last if it is not among them."""
    found = [int(k) for k in np.argsort(-probabilities, kind="stable")[:count]]
    if true not in found:
        found[-1] = true
    return found


def answer(probabilities: FloatArray, true: int, classes: tuple[str, ...]) -> str:
    """What the network says, e.g. ``cat 0.93 (wrong)``."""
    said = int(probabilities.argmax())
    return f"{classes[said]} {probabilities[said]:.2f} ({'right' if said == true else 'wrong'})"


def right(found: Examples) -> tuple[int, int]:
    """How many of the images are right, and how many with their perturbations."""
    return int((found.before.argmax(1) == found.y).sum()), int((found.after.argmax(1) == found.y).sum())


def show_picture(picture: OnePicture, image: FloatArray) -> None:
    """Show one image (C, H, W) in its own colours."""
    grid = Grid(np.zeros(1, np.int64), 1, 0, image.shape[1:])
    picture.show_image(tile_colours(image_colours(image[None]), grid), grid)


class ProbabilityBars(QWidget):
    """The most probable classes of one image, with their probabilities; the true class says so."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.title = title
        self.count = TOP
        self.rows: list[tuple[str, float, bool]] = []  # name, probability, whether it is the true class
        self.theme: Theme | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(TERMS)

    def forget(self) -> None:
        """No classes."""
        self.rows = []
        self.setAccessibleName("")
        self.update()

    def show_rows(self, probabilities: FloatArray, true: int, classes: tuple[str, ...]) -> None:
        """Show the first of ``probabilities`` (K,)."""
        chosen = first_classes(probabilities, true, self.count)
        self.rows = [(classes[k], float(probabilities[k]), k == true) for k in chosen]
        self.setAccessibleName(f"{self.title}: " + ", ".join(self.texts()))
        self.updateGeometry()
        self.update()

    def texts(self) -> list[str]:
        """The rows as they are written."""
        return [f"{name}{' (true)' if true else ''} {p:.3f}" for name, p, true in self.rows]

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self.theme = theme
        self.update()

    def sizeHint(self) -> QSize:
        """A line for the title and one for each class."""
        return QSize(160, (self.count + 1) * (self.fontMetrics().height() + 3))

    def minimumSizeHint(self) -> QSize:
        """May be narrow, not low."""
        return QSize(60, self.sizeHint().height())

    def fitted_title(self) -> str:
        """The title with what the mark means, as far as there is room: never the mark without its meaning."""
        whole = f"Classes of {self.title}; ✓ marks the true one"
        shorter = (whole, f"{self.title}; ✓ true class", self.title)
        return next((t for t in shorter if self.fontMetrics().horizontalAdvance(t) <= self.width()), self.title)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the rows: name, bar, number; the true class bold and marked."""
        painter = QPainter(self)
        theme, metrics = self.theme, self.fontMetrics()
        height = metrics.height() + 3
        text = self.palette().color(QPalette.ColorRole.WindowText) if theme is None else QColor(theme.text)
        painter.setPen(text)
        left, number = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignRight
        middle = Qt.AlignmentFlag.AlignVCenter
        painter.drawText(QRectF(0, 0, self.width(), height), left | middle, self.fitted_title())
        dark = theme is not None and theme.dark
        digits = metrics.horizontalAdvance("0.000") + 4
        names = min(
            max((metrics.horizontalAdvance(self._name(r)) for r in self.rows), default=0) + 10, self.width() / 2
        )
        room = max(0.0, self.width() - names - digits)
        font = painter.font()
        for i, row in enumerate(self.rows, start=1):
            _, p, true = row
            line_rect = QRectF(0, i * height, self.width(), height)
            font.setBold(true)
            painter.setFont(font)
            name = painter.fontMetrics().elidedText(self._name(row), Qt.TextElideMode.ElideMiddle, int(names - 4))
            painter.setPen(text)
            painter.drawText(line_rect, left | middle, name)
            painter.drawText(line_rect, number | middle, f"{p:.3f}")
            colour = QColor(TRUE.colour(dark) if true else OTHER.colour(dark))
            bar = QRectF(names, i * height + 3, p * room, height - 6)
            painter.fillRect(bar, colour if true else QColor(colour.red(), colour.green(), colour.blue(), 150))
            if not true:
                painter.setPen(colour)
                painter.drawRect(bar)
        painter.end()

    @staticmethod
    def _name(row: tuple[str, float, bool]) -> str:
        return f"✓ {row[0]}" if row[2] else row[0]


class ImageStrip(PictureGallery):
    """The images to choose from, small, in one row."""

    def __init__(self) -> None:
        super().__init__("")
        self.title.hide()
        freeze(self)
        self.plot.setMinimumHeight(0)  # a chooser, not a plot
        self.setFixedHeight(STRIP)
        self.setToolTip("Click an image to choose it; the arrow keys in the field below do the same.")


class OneImage(OnePicture, PictureGallery):
    """One image in its own colours."""


@views.register(VIEW.name, order=VIEW.order)
class ExamplesView(SampleView[Examples]):
    """One of a few test images with its perturbation, and the network's answers before and after."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    place: ClassVar[Place] = "upper"
    wants: frozenset[type] = frozenset({Examples, CleanExamples})
    result: ClassVar[type] = Examples
    clean_result: ClassVar[type] = CleanExamples
    clean: CleanExamples | None
    noun: ClassVar[str] = "image"
    measuring: ClassVar[str] = MEASURING
    terms: ClassVar[str] = TERMS

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._told = ""
        self.strip = ImageStrip()
        self.bars = ProbabilityBars(VIEW.looks["before"].label), ProbabilityBars(VIEW.looks["after"].label)
        self.clean_bars = tuple(ProbabilityBars(f"clean: {VIEW.looks[n].label}") for n in ("before", "after"))
        self.pages = Pages(self._body())
        self.strip.clicked.connect(lambda i: self.sample.setValue(i + 1))
        self.strip.hovered.connect(lambda i: self.strip.mark(i, self.sample.value() - 1))
        self.fill(self.pages)

    def make_picture(self, title: str) -> OnePicture:
        """Pictures have colours of their own."""
        return OneImage(title, self.terms)

    def _body(self) -> QWidget:
        top = self.controls()
        top.add_stretch()
        top.add(self.beside)
        top.add(self.factor)
        answers = QWidget()
        pictures, bars = self.row_of_pictures(), QHBoxLayout(answers)
        bars.setContentsMargins(0, 0, 0, 0)
        bars.setSpacing(12)
        for each in (*self.clean_bars, *self.bars):
            bars.addWidget(each, 1)
        for each in self.clean_bars:
            each.hide()
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(4)
        inner.addWidget(self.strip)
        inner.addWidget(top)
        inner.addWidget(self.facts)
        inner.addLayout(pictures, 1)
        inner.addWidget(answers)
        inner.addWidget(self.summary)
        self.folding.secondary += [(self.strip, "All images in a row"), (answers, "Probabilities of the classes")]
        return body

    def size_of(self, found: Examples) -> int:
        """How many images there are."""
        return len(found.y)

    def forget(self) -> None:
        """No images."""
        super().forget()
        self.strip.forget()
        for bars in (*self.bars, *self.clean_bars):
            bars.forget()
        for bars in self.clean_bars:
            bars.hide()

    def choose(self) -> None:
        """Another image was chosen, or others are there."""
        self.strip.mark(-1, self.sample.value() - 1)
        super().choose()

    def protocol_of(self, found: Examples | CleanExamples | None) -> object:
        """The attack."""
        if found is None:
            return None
        return (found.examples if isinstance(found, CleanExamples) else found).protocol

    def draw_sample(self) -> None:
        """The pictures and the answers for the chosen image."""
        found, i = self.found, self.chosen
        if found is None or i < 0:
            return
        clean = None if self.clean is None else self.clean.examples
        factor = shared_factor(found, clean) if self.factor.value == "auto" else 1
        x, *now = self.pictures
        show_picture(x, found.x[i])
        self._show_net(found, i, factor, now, self.bars, "" if clean is None else "now: ")
        true = int(found.y[i])
        before, after = (answer(p[i], true, found.classes) for p in (found.before, found.after))
        sign = NORM_SIGN[found.protocol.norm]
        facts = (
            f"True class: {found.classes[true]} · x: {before} · x + δ: {after} · ‖δ‖ = {sizes(found)[i]:.3g} ({sign})"
        )
        if clean is not None:
            self._show_net(clean, i, factor, self.clean_pictures, self.clean_bars, "clean net: ")
            before, after = (answer(p[i], true, clean.classes) for p in (clean.before, clean.after))
            cosine = f"{between(found, clean)[i]:.3f}".replace("-", "−")
            facts += f" · clean net: x: {before}, x + δ: {after} · cosine between both δ {cosine}"
        self.facts.setText(facts)

    @staticmethod
    def _show_net(
        found: Examples, i: int, factor: int, pictures: Sequence[OnePicture], bars: Sequence[ProbabilityBars], name: str
    ) -> None:
        """δ, x + δ and both answers of one net, with its ``name`` before the titles."""
        for picture, image in zip(pictures, (delta_colours(found.delta[i], factor), found.x[i] + found.delta[i]),
                                  strict=True):  # fmt: skip
            show_picture(picture, image)
        pictures[0].title.setText(f"{name}δ × {factor}")
        pictures[1].title.setText(f"{name}x + δ")
        for each, probabilities in zip(bars, (found.before[i], found.after[i]), strict=True):
            each.show_rows(probabilities, int(found.y[i]), found.classes)

    def draw_all(self, found: Examples) -> None:
        """The row of images, and how many are right."""
        n, clean = len(found.y), self.clean
        grid = Grid(np.arange(n, dtype=np.int64), max(n, 1), 0, found.x.shape[2:])
        self.strip.show_pictures(image_colours(found.x), grid)
        before, after = right(found)
        self._told = f"Of these {n} images {before} are right, with their perturbations {after}"
        for bars, name in zip(self.bars, ("before", "after"), strict=True):
            bars.title = ("" if clean is None else "now: ") + VIEW.looks[name].label
        for bars in self.clean_bars:
            bars.setVisible(clean is not None)
        if clean is not None:
            before, after = right(clean.examples)
            cosine = f"{between(found, clean.examples).mean():.3f}".replace("-", "−")
            self._told += (
                f"; on the clean net (step {clean.examples.step:,}) {before} and {after}; mean cosine between both δ "
                f"{cosine}"
            )
        self._told += f". {measured(found.protocol)}."

    def tell_age(self, now: int) -> None:
        """The network's step, and how long ago that was."""
        if self.found is not None:
            self.summary.setText(f"{self._told} {aged(self.found.step, now).capitalize()}.")

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Name fewer classes where there is little room."""
        super().resizeEvent(event)
        count = FEW if self.height() < LOW else TOP
        if count != self.bars[0].count:
            for bars in (*self.bars, *self.clean_bars):
                bars.count = count
                bars.updateGeometry()
            self.draw_sample()

    def set_theme(self, theme: Theme) -> None:
        """Recolour pictures, bars and texts."""
        super().set_theme(theme)
        self.strip.set_theme(theme)
        for bars in (*self.bars, *self.clean_bars):
            bars.set_theme(theme)
