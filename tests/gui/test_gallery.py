"""Tiling, contrast and sorting: the parts of the neuron view that need no run."""

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt

from engine.core.results import Mixture
from engine.figures.declare import round_up
from engine.figures.neurons import VIEW
from engine.figures.order import neuron_order
from engine.figures.panels import picture_size
from fp_gui.theme import DARK, LIGHT
from fp_gui.views.gallery import (
    ZERO,
    ColourBar,
    Grid,
    TileGallery,
    columns_for,
    diverging,
    quantise,
    tile,
)

# The offscreen platform says this of every window that is shown.
pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")


@pytest.mark.parametrize(
    ("d", "shape"), [(64, (8, 8)), (144, (12, 12)), (1, (1, 1)), (10, (3, 4)), (60, (8, 8)), (2, (1, 2))]
)
def test_picture_shape_holds_the_vector_in_a_near_square(d, shape):
    assert picture_size(d) == shape
    assert shape[0] * shape[1] >= d


@pytest.mark.parametrize("d", [4, 9, 10, 64])
def test_tiling_puts_each_neuron_in_its_tile_and_leaves_lines(d):
    n, columns = 7, 3
    pictures = (np.arange(n * d).reshape(n, d) % 250 + 1).astype(np.uint8)
    image = tile(pictures, columns)
    h, w = picture_size(d)
    assert image.shape == (3 * (h + 1) + 1, columns * (w + 1) + 1)
    for i in range(n):
        row, column = divmod(i, columns)
        part = image[row * (h + 1) + 1 : (row + 1) * (h + 1), column * (w + 1) + 1 : (column + 1) * (w + 1)]
        np.testing.assert_array_equal(part.ravel()[:d], pictures[i])
        assert not part.ravel()[d:].any()  # room that the vector does not fill
    assert not image[:: h + 1].any()
    assert not image[:, :: w + 1].any()
    assert not image[2 * (h + 1) + 1 :, (w + 1) + 1 :].any()  # places without a neuron


def test_quantise_is_symmetric_around_zero_and_clips():
    values = np.array([[-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0]], np.float32)
    found = quantise(values, 1.0)[0].astype(int)
    assert found.tolist()[:2] == [1, 1]
    assert found.tolist()[-2:] == [255, 255]
    assert found[3] == ZERO
    np.testing.assert_array_equal(found - ZERO, -(found - ZERO)[::-1])
    assert quantise(values, 0.0)[0, 3] == ZERO  # weights of zero on a scale of zero


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_colours_are_blue_below_zero_and_orange_above(theme):
    lut = diverging(theme).astype(int)
    assert lut.shape == (256, 4)
    red, blue = lut[:, 0], lut[:, 2]
    assert (blue[40:120] > red[40:120]).all()
    assert (red[136:216] > blue[136:216]).all()
    assert f"#{lut[ZERO, 0]:02x}{lut[ZERO, 1]:02x}{lut[ZERO, 2]:02x}" == theme.base
    assert len(np.unique(lut[1:], axis=0)) > 200


def test_grid_maps_every_pixel_and_nothing_beyond_its_edges():
    grid = Grid(np.array([5, 2, 9, 0]), 3, 4)  # 2 × 2 pictures, cells of 3
    assert grid.size == (7, 10)
    assert grid.neuron_at(0, 0) == 5
    assert grid.neuron_at(2.99, 2.99) == 5
    assert grid.neuron_at(3, 0) == 2
    assert grid.neuron_at(8.99, 0) == 9
    assert grid.neuron_at(0, 3) == 0
    for x, y in [(9, 0), (9.5, 0), (-0.01, 0), (0, -0.01), (0, 6), (3, 3), (8, 5), (100, 100)]:
        assert grid.neuron_at(x, y) == -1
    rect = grid.rect(9)
    assert rect is not None
    assert (rect.x(), rect.y(), rect.width(), rect.height()) == (6, 0, 4, 4)
    assert grid.rect(1) is None
    assert Grid(np.empty(0, np.int64), 1, 4).neuron_at(0, 0) == -1


def test_columns_make_tiles_largest():
    assert columns_for(64, (9, 9), 400, 400) == 8
    assert columns_for(64, (9, 9), 1600, 100) == 32
    assert columns_for(1, (9, 9), 400, 400) == columns_for(0, (9, 9), 400, 400) == 1


def test_contrast_is_the_high_quantile_of_absolute_weights():
    values = np.linspace(-1, 0.5, 1000, dtype=np.float32).reshape(10, 100)
    assert VIEW.contrast.size(values) == pytest.approx(np.quantile(np.abs(values), 0.995), abs=2e-3)
    assert VIEW.contrast.size(np.empty((0, 4), np.float32)) == 0.0
    assert VIEW.contrast.size(np.array([[3.0]], np.float32)) == 3.0


@pytest.mark.parametrize(("value", "rounded"), [(0.0123, 0.013), (0.651, 0.66), (0.65, 0.65), (27.3, 28), (0, 0)])
def test_levels_round_up_to_two_digits(value, rounded):
    assert round_up(value) == pytest.approx(rounded)


def mixture(**columns):
    m = len(columns["norm"])
    filled = {name: np.zeros(m, np.float32) for name in Mixture.__dataclass_fields__}
    filled |= {"feature": np.zeros(m, np.int64), "alive": np.ones(m, bool)} | columns
    return Mixture(**filled)


def test_sort_orders():
    found = mixture(
        norm=np.array([1.0, 3.0, 2.0, 0.1]),
        purity=np.array([0.2, 0.1, 0.9, 1.0]),
        mixture=np.array([4.0, 5.0, 4.0, 0.0]),
        pure=np.array([1.0, 2.0, 3.0, 4.0]),
        feature=np.array([7, 0, 7, 3]),
        alive=np.array([True, True, True, False]),
    )
    orders = {
        s: neuron_order(found, s, count=None, alive=False).tolist()
        for s in ("purity", "mixture", "norm", "feature", "index")
    }
    assert orders == {
        "purity": [3, 2, 0, 1],
        "mixture": [1, 0, 2, 3],  # equal ones stay in the order of their numbers
        "norm": [1, 2, 0, 3],
        "feature": [1, 3, 2, 0],  # of one feature, the purest first
        "index": [0, 1, 2, 3],
    }
    assert neuron_order(found, "purity", count=2, alive=True).tolist() == [2, 0]
    assert neuron_order(mixture(norm=np.ones(3), alive=np.zeros(3, bool)), "norm", count=5, alive=True).tolist() == []


def test_gallery_tells_the_neuron_under_a_click_and_under_the_mouse(qtbot):
    gallery = TileGallery("now")
    qtbot.addWidget(gallery)
    gallery.resize(300, 320)
    gallery.show()
    qtbot.waitExposed(gallery)
    grid = Grid(np.array([11, 4, 8, 15]), 2, 9)
    gallery.show_tiles(np.zeros((4, 9), np.float32), grid, 1.0)
    qtbot.wait(1)
    rect = grid.rect(8)
    assert rect is not None
    at = gallery.plot.mapFromScene(gallery.box.mapViewToScene(rect.center()))
    with qtbot.waitSignal(gallery.clicked, timeout=2000) as clicked:
        qtbot.mouseClick(gallery.plot.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert clicked.args == [8]
    with qtbot.waitSignal(gallery.hovered, timeout=2000, check_params_cb=lambda n: n == 15):
        other = grid.rect(15)
        assert other is not None
        qtbot.mouseMove(gallery.plot.viewport(), gallery.plot.mapFromScene(gallery.box.mapViewToScene(other.center())))
    qtbot.wait(30)  # pyqtgraph drops moves that follow too soon
    with qtbot.waitSignal(gallery.hovered, timeout=2000, check_params_cb=lambda n: n == -1):
        qtbot.mouseMove(gallery.plot.viewport(), QPoint(1, 1))


def test_gallery_shows_the_placeholder_until_it_has_tiles(qtbot):
    gallery = TileGallery("after clean", "not yet")
    qtbot.addWidget(gallery)
    gallery.show()
    assert gallery.placeholder.isVisible()
    gallery.show_tiles(np.ones((1, 4), np.float32), Grid(np.array([0]), 1, 4), 2.0)
    assert not gallery.placeholder.isVisible()
    assert gallery.image.image[1, 1] == ZERO + 64
    gallery.show_placeholder()
    assert gallery.placeholder.isVisible()


def test_colour_bar_prints_its_numbers(qtbot):
    bar = ColourBar()
    qtbot.addWidget(bar)
    bar.set_scale(0.65)
    assert bar.texts() == ("−0.65", "0", "+0.65")
    bar.set_scale(0.65, " norm")
    assert bar.texts() == ("−0.65 norm", "0", "+0.65 norm")
    bar.show()
    assert not bar.grab().isNull()
