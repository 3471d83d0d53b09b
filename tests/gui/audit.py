"""Pictures of the main views against stored ones: ``python -m tests.gui.audit`` shows what has changed.

It writes for each view expected | actual | difference side by side, and with ``--accept`` the stored pictures anew.

Fonts, and so the places of everything, differ between machines: a picture holds what a view *draws* and no text. Each
of its plots is drawn at a size of its own, axes and texts hidden, and the drawings stand below each other. The
snapshots are made of fixed arrays: no training is in them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import torch  # noqa: F401  before PySide6, as the program does

from fp_gui.app import make_app

# isort: split
import numpy as np
import pyqtgraph as pg  # type: ignore[import-untyped]
from PIL import Image
from PySide6.QtCore import QCoreApplication, QEvent, QSize, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QGraphicsTextItem, QWidget

from engine.run.snapshot import Event, StoredStep
from engine.run.timeline import spans
from fp_gui.theme import LIGHT, Theme
from fp_gui.timeline_bar import TimelineCanvas
from fp_gui.views.base import View, views
from fp_gui.views.gallery import TileGallery
from tests.gui import test_feature_fates_view as of_fates
from tests.gui import test_image_views as of_images
from tests.gui import test_perturbation_view as of_perturbation
from tests.gui import test_views as of_theory

Pixels = np.ndarray[Any, Any]  # (height, width, 3), bytes
Made = Callable[[Theme], Pixels]

FOLDER = Path(__file__).parent / "baselines"
PLOT, BAR = QSize(240, 150), QSize(480, 30)  # pixels of one drawing
COLOURS = 128  # of a stored picture
APART = 32  # of 255: a pixel differs whose blurred colour is further away
ALLOWED = 0.004  # share of such pixels in a drawing


def layers_of(image: Pixels) -> list[Pixels]:
    """The drawings of a picture, which stand below each other with a red line between."""
    red = (image == (255, 0, 0)).all(-1).all(-1)
    cuts = [-1, *np.flatnonzero(red), len(image)]
    return [image[a + 1 : b] for a, b in pairwise(cuts)]


def stacked(drawings: list[Pixels]) -> Pixels:
    """One picture of them, below each other; see :func:`layers_of`."""
    line = np.full((1, drawings[0].shape[1], 3), (255, 0, 0), np.uint8)
    parts = [part for drawing in drawings for part in (line, drawing)]
    return np.concatenate(parts[1:])


def drawn(widget: QWidget, size: QSize) -> Pixels:
    """What ``widget`` draws, at ``size`` logical pixels whatever the screen's ratio."""
    image = QImage(size, QImage.Format.Format_RGB888)
    QWidget.render(widget, image)  # a view of graphics has another one of that name
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


def _without_text(plot: pg.GraphicsView) -> None:
    """Only curves, marks, bars and images stay: text, axes and keys take a room that depends on the font."""
    for item in plot.scene().items():
        if isinstance(item, pg.PlotItem):
            for side in ("left", "right", "top", "bottom"):
                item.hideAxis(side)
            item.setTitle(None)
            item.layout.setContentsMargins(0, 0, 0, 0)
    for item in plot.scene().items():
        if isinstance(item, (pg.TextItem, pg.LabelItem, pg.LegendItem, QGraphicsTextItem)):
            item.setOpacity(0)


def settle() -> None:
    """Let Qt do what it has put off."""
    for _ in range(4):
        QCoreApplication.sendPostedEvents()
        QApplication.processEvents()


def picture_of(view: QWidget) -> Pixels:
    """The drawings of all plots and galleries that are seen in ``view``, which is shown."""
    plots = [each for each in view.findChildren(pg.GraphicsView) if not each.isHidden() and each.isVisibleTo(view)]
    drawings = []
    for plot in plots:
        _without_text(plot)
        plot.setParent(None)
        plot.setMinimumSize(0, 0)
        plot.setFixedSize(PLOT)
        plot.show()
        settle()
        drawings.append(drawn(plot, PLOT))
        plot.close()
    return stacked(drawings)


def view_picture(name: str, snapshot: Any, theme: Theme = LIGHT) -> Pixels:
    """The picture of the view called ``name`` when it shows ``snapshot``."""
    view: View = views[name]()
    view.resize(1100, 900)
    view.set_theme(theme)
    for gallery in view.findChildren(TileGallery):  # how many columns it has depends on its room
        gallery.area = lambda: (PLOT.width(), PLOT.height())  # type: ignore[method-assign]
    view.show()
    settle()
    try:
        view.render(snapshot)
        settle()
        return picture_of(view)
    finally:
        view.close()
        view.deleteLater()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def timeline_picture(theme: Theme = LIGHT) -> Pixels:
    """The bar, live and looking at an earlier step."""
    drawings = []
    events = (Event(400, 0.0, "attack.tau", "0.2", "0.3"), Event(900, 0.0, "phase", "clean", "adversarial"))
    for at in (None, 620):
        canvas = TimelineCanvas()
        canvas.theme = theme
        canvas.setFixedSize(BAR)
        canvas.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # else a frame says that it has the keys
        canvas.show_run(
            1500, 2000, spans(events, "adversarial", 1500), events,
            [StoredStep(step, step % 300 == 0) for step in range(0, 1500, 20)],
        )  # fmt: skip
        canvas.show_step(at)
        canvas.show()
        settle()
        drawings.append(drawn(canvas, BAR))
        canvas.close()
        canvas.deleteLater()
    return stacked(drawings)


def snapshot_of(name: str) -> Any:
    """What the view called ``name`` shows in its stored picture."""
    units = of_images.principle1(16)
    match name:
        case "neurons" | "mixtures" | "robustness":
            return of_theory.make()
        case "perturbation":
            return of_perturbation.make(of_perturbation.anatomy())
        case "feature_fates":
            return of_fates.make()
        case "filters":
            return of_images.make(of_images.filters(), units)
        case _:
            return of_images.make(of_images.by_layer())


NAMES = ("neurons", "mixtures", "robustness", "perturbation", "feature_fates", "filters", "layers", "timeline")


def actual(name: str, theme: Theme = LIGHT) -> Pixels:
    """The picture as the program draws it now."""
    return timeline_picture(theme) if name == "timeline" else view_picture(name, snapshot_of(name), theme)


def expected(name: str) -> Pixels:
    """The stored picture."""
    with Image.open(FOLDER / f"{name}.png") as image:
        return np.asarray(image.convert("RGB"))


def accept(name: str, image: Pixels) -> None:
    """Store ``image`` as what is expected from now on."""
    FOLDER.mkdir(exist_ok=True)
    small = Image.fromarray(image).quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(FOLDER / f"{name}.png", optimize=True)


def _blurred(image: Pixels) -> Pixels:
    """The mean of each pixel and those around it: where a line's edge falls between two pixels may differ."""
    wide = np.pad(image.astype(np.float32), ((1, 1), (1, 1), (0, 0)), mode="edge")
    h, w = image.shape[:2]
    return sum(wide[i : i + h, k : k + w] for i in range(3) for k in range(3)) / 9  # type: ignore[return-value]


def differing(a: Pixels, b: Pixels) -> Pixels:
    """Which pixels (height, width) of two pictures of one size differ."""
    found: Pixels = np.abs(_blurred(a) - _blurred(b)).max(-1) > APART
    return found


def shares(a: Pixels, b: Pixels) -> list[float]:
    """The share of differing pixels in each drawing; ``[1.0]`` if there are more or fewer, or of another size."""
    if a.shape != b.shape:
        return [1.0]
    pairs = list(zip(layers_of(a), layers_of(b), strict=False))
    if len(layers_of(a)) != len(layers_of(b)) or any(x.shape != y.shape for x, y in pairs):
        return [1.0]
    return [float(differing(x, y).mean()) for x, y in pairs]


def same(a: Pixels, b: Pixels) -> bool:
    """Whether no drawing differs by more than is allowed."""
    return max(shares(a, b)) <= ALLOWED


def beside(a: Pixels, b: Pixels) -> Pixels:
    """Expected, actual, and the difference: what differs in red on the faint expected picture."""
    height = max(len(a), len(b))
    a, b = (np.pad(each, ((0, height - len(each)), (0, 0), (0, 0)), constant_values=255) for each in (a, b))
    parts = [a, b]
    if a.shape == b.shape:
        faint = (255 - (255 - a.astype(int)) // 4).astype(np.uint8)
        faint[differing(a, b)] = (220, 0, 0)
        parts.append(faint)
    gap = np.full((height, 6, 3), 128, np.uint8)
    return np.concatenate([piece for part in parts for piece in (part, gap)][:-1], axis=1)


def report(name: str, out: Path, image: Pixels | None = None) -> tuple[bool, str]:
    """Compare, and write the three side by side into ``out``; whether they are the same, and a line that says so."""
    now = actual(name) if image is None else image
    if not (FOLDER / f"{name}.png").exists():
        return False, f"{name}: there is no stored picture; --accept stores this one"
    before = expected(name)
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{name}.png"
    Image.fromarray(beside(before, now)).save(file)
    found = shares(before, now)
    words = ", ".join(f"{100 * share:.2f}" for share in found)
    return same(before, now), f"{name}: {words} % of the pixels of each drawing differ ({file})"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.gui.audit", description=__doc__.splitlines()[0])
    parser.add_argument("views", nargs="*", metavar="VIEW", help=f"which (default: all of {', '.join(NAMES)})")
    parser.add_argument("--out", type=Path, default=Path("audit"), help="folder for the pictures side by side")
    parser.add_argument("--accept", action="store_true", help="store the present pictures as what is expected")
    args = parser.parse_args(argv)
    if unknown := [name for name in args.views if name not in NAMES]:
        parser.error(f"VIEW: got {unknown[0]!r}; allowed: {', '.join(NAMES)}")
    make_app(["audit"])
    wrong = 0
    for name in args.views or NAMES:
        image = actual(name)
        good, line = report(name, args.out, image)
        sys.stdout.write(f"{'same   ' if good else 'DIFFERS'} {line}\n")
        wrong += not good
        if args.accept and not good:
            accept(name, image)
            sys.stdout.write(f"        stored: {FOLDER / name}.png\n")
    return int(wrong > 0 and not args.accept)


if __name__ == "__main__":
    sys.exit(main())
