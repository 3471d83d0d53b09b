"""The live views of networks on images, on synthetic results: colours, one contrast, deep units, layers, examples."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPointF, Qt

from engine.config.experiment import from_dict
from engine.config.presets import load_preset
from engine.core import metrics
from engine.core.errors import ConfigError
from engine.core.history import History
from engine.core.measurement import Measurement, wilson
from engine.core.results import (
    CleanExamples,
    Examples,
    FeatureRequest,
    Features,
    Filters,
    LayerInfo,
    LayersPrinciple1,
    Principle1,
    RadiusCurves,
)
from engine.figures.declare import round_up
from engine.figures.features import parse_units
from engine.figures.filters import VIEW as FILTERS
from engine.figures.order import UnitFacts
from engine.run.commands import Visualise
from engine.run.snapshot import Event, Snapshot
from fp_gui.folding import Folding, ViewArea
from fp_gui.theme import DARK, LIGHT
from fp_gui.views.base import views
from fp_gui.views.examples import ExamplesView, answer, first_classes
from fp_gui.views.feature_visualisation import NOTHING, protocol_text, units_text
from fp_gui.views.filters import PRESS_START, FiltersView
from fp_gui.views.gallery import ZERO, Grid, diverging, quantise
from fp_gui.views.gallery_view import NOT_YET
from fp_gui.views.layer_plot import Spread, share, short_names
from fp_gui.views.layers import NARROW, WAITING, LayersView
from fp_gui.views.mixtures import MixturesView
from fp_gui.views.neurons import NeuronsView
from fp_gui.views.perturbation import PerturbationView
from fp_gui.views.pictures import image_colours, tile_colours, weight_colours
from fp_gui.views.race import RaceView
from fp_gui.views.radius import RadiusView
from fp_gui.views.robustness import RobustnessView
from fp_gui.views.unit_text import layer_text

CONFIG = from_dict({"world": {"name": "digits"}})
SWITCH = Event(600, 0.0, "phase", "clean", "adversarial")
NET = (
    LayerInfo("conv1", "conv", (16, 3, 9, 9)),
    LayerInfo("conv2", "conv", (32, 16, 3, 3)),
    LayerInfo("fc", "linear", (10, 128)),
)
DIGITS = (LayerInfo("hidden", "linear", (256, 64)), LayerInfo("output", "linear", (10, 256)))
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ALL = [FiltersView, LayersView, ExamplesView]


def filters(layers=NET, shape=(16, 3, 9, 9), *, clean=True, seed=0):
    rng = np.random.default_rng(seed)
    start, middle, now = (s * rng.normal(size=shape).astype(np.float32) for s in (0.02, 0.2, 0.1))
    return Filters(layers, now, start, middle if clean else None)


def request(layer="conv2", units=tuple(range(9)), **changes):
    return FeatureRequest(layer, units, **changes)


def features(asked=None, share=1.0, *, shape=(3, 32, 32), clean=True, seed=0, step=1200):
    asked, rng = asked or request(), np.random.default_rng(seed)
    n = len(asked.units)
    moments = ("start", "clean", "now") if clean else ("start", "now")
    pictures = {m: rng.random((n, *shape), np.float32) for m in moments}
    activations = {m: rng.normal(size=n).astype(np.float32) for m in moments}
    return Features(asked, step, np.full(shape, 0.5, np.float32), pictures, activations, share)


def principle1(units, seed=0, alive=None):
    rng = np.random.default_rng(seed)
    cosines = [rng.uniform(-0.2, 1, units).astype(np.float32) for _ in range(4)]
    stays, rest = (rng.uniform(0.1, 0.6, units).astype(np.float32) for _ in range(2))
    return Principle1(*cosines, stays, rest, np.arange(units) % 4 > 0 if alive is None else alive)


def by_layer(layers=NET, seed=0):
    found = {each.name: principle1(each.units, seed + i) for i, each in enumerate(layers)}
    return LayersPrinciple1(1150, layers, found, {each.name: 0.3 for each in layers[:-1]}, 128)


def examples(k=12, shape=(3, 32, 32), classes=CLASSES, *, norm="l2", tau=0.5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.2, 0.8, (k, *shape)).astype(np.float32)
    delta = rng.normal(size=x.shape).astype(np.float32)
    delta *= tau / np.linalg.norm(delta.reshape(k, -1), axis=1).reshape(-1, 1, 1, 1)
    before, after = (rng.dirichlet(np.full(len(classes), 0.3), k).astype(np.float32) for _ in range(2))
    y = rng.integers(0, len(classes), k)
    return Examples(1150, Measurement("pgd", norm, tau, 10, 1, k, True), classes, x, delta, y, before, after)


def radius_curves():
    radii, pgd = np.linspace(0, 1, 5), np.array([0.8, 0.7, 0.6, 0.4, 0.3])
    return RadiusCurves(1150, "l2", 10, 1, 64, radii, pgd, None, pgd**2, None, None)


def make(*results, run="a", step=1200, phase="adversarial", events=(SWITCH,), history=None, protocols=None):
    found = {type(r): r for r in results}
    return Snapshot(
        run, Path(), step, phase, True, False, "cpu", 2, CONFIG, history or History(), events, protocols or {}, found
    )  # fmt: skip


def shown(qtbot, kind, theme=LIGHT, size=(660, 560)):
    view = kind()
    qtbot.addWidget(view)
    view.set_theme(theme)
    view.resize(*size)
    view.show()
    qtbot.waitExposed(view)
    return view


def choose(view, name):
    view.layer.setCurrentIndex(next(i for i in range(view.layer.count()) if view.layer.itemData(i) == name))


def commands(view):
    asked = []
    view.command_requested.connect(asked.append)
    return asked


def pixel(view, which, unit, row, column):
    """A pixel of a unit's tile."""
    gallery = view.galleries[which]
    rect = gallery.grid.rect(unit)
    return gallery.image.image[int(rect.y()) + 1 + row, int(rect.x()) + 1 + column].tolist()


# --- all views


def test_views_are_registered_for_the_runs_they_serve():
    wants = {"filters": {Filters}, "layers": {LayersPrinciple1}, "examples": {Examples, CleanExamples}}
    for kind in ALL:
        assert views[kind.name] is kind
        assert kind.wants == wants[kind.name]
        assert CONFIG.kind in kind.kinds
        assert load_preset("small").kind not in kind.kinds
    for kind in (NeuronsView, MixturesView, PerturbationView):
        assert CONFIG.kind not in kind.kinds
        assert load_preset("small").kind in kind.kinds
    for kind in (RobustnessView, RadiusView, RaceView):
        assert CONFIG.kind in kind.kinds
        assert load_preset("small").kind in kind.kinds


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("size", [(400, 420), (1100, 700)])
@pytest.mark.parametrize(
    "results",
    [
        (filters(), by_layer(), examples()),
        (filters(clean=False), examples(1)),
        (filters(DIGITS, (256, 1, 8, 8)), by_layer(DIGITS), examples(12, (1, 8, 8), tuple("0123456789"))),
        (filters(DIGITS[1:], (1, 1, 1, 1)), by_layer(DIGITS[1:]), examples(2, (1, 1, 1), ("a", "b"))),
        (),
    ],
)
def test_every_view_draws_every_kind_of_snapshot(qtbot, results, size, theme):
    for kind in ALL:
        view = shown(qtbot, kind, theme, size)
        view.render(make(*results))
        for neuron in (0, 10_000, -1):
            view.highlight(neuron)
        assert not view.grab().isNull()
        assert view.width() == size[0]  # nothing forces a dock to be wider


@pytest.mark.parametrize("kind", ALL)
def test_an_empty_view_says_what_it_waits_for(qtbot, kind):
    view = shown(qtbot, kind)
    assert "Press play" in view.pages.message.text()
    view.render(make(step=300, phase="clean", events=()))
    assert view.pages.empty
    texts = {"filters": "Press play", "layers": WAITING, "examples": "being measured"}
    assert texts[kind.name] in view.pages.message.text()
    view.render(make(filters(), by_layer(), examples()))
    assert not view.pages.empty
    view.render(make(run="b", step=0, phase="clean", events=()))
    assert view.pages.empty or kind is FiltersView  # the filters are in every snapshot


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (
            FiltersView,
            {"layer": "conv2", "sort": "change", "count": "144", "scaled": "true", "signed": "true", "units": "3, 17",
             "origin": "image", "image": "7", "tau": "4.5", "steps": "50"},
        ),
        (LayersView, {"layer": "fc"}),
        (ExamplesView, {"sample": "5", "factor": "1", "beside": "false"}),
    ],
)  # fmt: skip
def test_options_round_trip_and_ignore_what_is_unknown(qtbot, kind, options):
    view = shown(qtbot, kind)
    before = view.options()
    assert before.keys() == options.keys()
    view.set_options(options)
    assert view.options() == options
    view.render(make(filters(), by_layer(), examples()))
    assert view.options() == options  # a layer that is known now
    view.set_options({"nonsense": "1", **dict.fromkeys(options, "nonsense")})
    assert view.options() == options
    view.set_options(before)
    assert view.options() == before
    other = shown(qtbot, kind)
    other.set_options({"layer": "gone"})
    other.render(make(filters(), by_layer(), examples()))
    assert other.options().get("layer", "") == ""


@pytest.mark.parametrize("kind", ALL)
def test_set_theme_recolours_the_ground(qtbot, kind):
    view = shown(qtbot, kind)
    view.render(make(filters(), by_layer(), examples()))
    light = view.grab().toImage()
    view.set_theme(DARK)
    dark = view.grab().toImage()
    pixels = [(x, y) for x in range(5, 655, 10) for y in range(5, 555, 10)]
    brighter = sum(light.pixelColor(*p).lightness() > dark.pixelColor(*p).lightness() + 10 for p in pixels)
    assert brighter > 0.15 * len(pixels)  # the pictures' own colours stay


# --- pictures


def test_a_red_filter_is_red_and_zero_is_grey():
    weights = np.zeros((1, 3, 2, 2), np.float32)
    weights[0, 0] = 0.4
    assert weight_colours(weights, 0.4)[0, 0, 0].tolist() == [255, ZERO, ZERO, 255]
    weights[0, 0] = -0.4
    assert weight_colours(weights, 0.4)[0, 0, 0].tolist() == [1, ZERO, ZERO, 255]
    grey = weight_colours(np.array([[[[0.2]]]], np.float32), 0.4)[0, 0, 0]
    assert grey.tolist() == [192, 192, 192, 255]  # half way, in all channels


def test_images_keep_their_colours():
    image = np.array([[[[1.0]], [[0.5]], [[0.0]]]], np.float32)
    assert image_colours(image)[0, 0, 0].tolist() == [255, 128, 0, 255]
    assert image_colours(image[:, :1])[0, 0, 0].tolist() == [255, 255, 255, 255]
    assert image_colours(2 * image)[0, 0, 0].tolist() == [255, 255, 0, 255]


def test_tiles_stand_as_the_grid_says_with_room_under_them():
    pictures = np.arange(3 * 2 * 2 * 4, dtype=np.uint8).reshape(3, 2, 2, 4) + 1
    grid = Grid(np.array([7, 4, 9]), 2, 0, (2, 2), 3)
    image = tile_colours(pictures, grid)
    assert image.shape == (*grid.size, 4) == (13, 7, 4)
    for i, unit in enumerate(grid.order):
        rect = grid.rect(int(unit))
        assert (rect.width(), rect.height()) == (4, 4)
        x, y = int(rect.x()) + 1, int(rect.y()) + 1
        np.testing.assert_array_equal(image[y : y + 2, x : x + 2], pictures[i])
        assert grid.neuron_at(x, y) == unit
    assert (image[..., 3] > 0).sum() == 12  # lines, room and the empty place are transparent


# --- the first layer


def test_the_three_pictures_share_one_contrast(qtbot):
    view, found = shown(qtbot, FiltersView), filters()
    view.render(make(found))
    scale = round_up(max(FILTERS.contrast.size(a) for a in (found.start, found.clean, found.now)))
    assert view.scale() == pytest.approx(scale)
    assert view.bar.texts() == (f"−{scale:.3g}", "0", f"+{scale:.3g}")
    for which, weights in enumerate((found.start, found.clean, found.now)):
        for unit in (0, 5, 15):
            expected = quantise(weights[unit, :, 2, 3], scale).tolist()  # the largest few are clipped
            assert pixel(view, which, unit, 2, 3) == [*expected, 255]
    start = view.galleries[0].image.image[..., :3][view.galleries[0].image.image[..., 3] > 0]
    assert np.abs(start.astype(int) - ZERO).max() < 20  # small weights look small
    assert all(g.image.lut is None for g in view.galleries)


def test_the_contrast_holds_when_weights_shrink_and_is_new_in_a_new_run(qtbot):
    view, found = shown(qtbot, FiltersView), filters(clean=False)
    view.render(make(found, phase="clean", events=()))
    scale = view.scale()
    view.render(make(dataclasses.replace(found, now=found.now / 2), step=1201))
    assert view.scale() == scale
    view.render(make(dataclasses.replace(found, now=found.now / 2), run="b"))
    assert view.scale() == pytest.approx(round_up(FILTERS.contrast.size(found.now / 2)))


def test_each_filter_scaled_is_off_and_says_so_when_on(qtbot):
    view, found = shown(qtbot, FiltersView), filters()
    view.render(make(found))
    assert not view.scaled.isChecked()
    assert "One contrast for all three" in view.rule.text()
    view.scaled.setChecked(True)
    assert "cannot be compared" in view.rule.text()
    assert view.bar.texts()[2] == f"+{view.scale():.3g} largest"
    assert 0.9 < view.scale() <= 1
    largest = np.abs(found.start[3]).max()
    expected = quantise(found.start[3, :, 4, 4] / largest, view.scale()).tolist()
    assert pixel(view, 0, 3, 4, 4) == [*expected, 255]


def test_grey_filters_may_be_drawn_in_blue_and_orange(qtbot):
    view, found = shown(qtbot, FiltersView), filters(DIGITS, (256, 1, 8, 8))
    view.render(make(found))
    assert view.signed.isVisible()
    assert len(set(pixel(view, 2, 9, 3, 3)[:3])) == 1
    view.signed.setChecked(True)
    byte = quantise(found.now[9, 0, 3, 3], view.scale())
    assert pixel(view, 2, 9, 3, 3) == diverging(LIGHT)[byte].tolist()
    view.set_theme(DARK)
    assert pixel(view, 2, 9, 3, 3) == diverging(DARK)[byte].tolist()
    view.render(make(filters(), run="b"))
    assert not view.signed.isVisible()
    expected = quantise(view.filters.now[9, :, 3, 3], view.scale()).tolist()
    assert pixel(view, 2, 9, 3, 3)[:3] == expected


def test_order_and_number_of_units(qtbot):
    view, found = shown(qtbot, FiltersView), filters(DIGITS, (256, 1, 8, 8))
    view.render(make(found))
    assert view.order.tolist() == list(range(64))
    view.set_options({"sort": "norm", "count": "all"})
    norms = np.linalg.norm(found.now.reshape(256, -1), axis=1)
    assert len(view.order) == 256
    assert (np.diff(norms[view.order]) <= 0).all()
    view.set_options({"sort": "change", "count": "144"})
    cosines = UnitFacts.of({"start": found.start, "clean": found.clean, "now": found.now}).cosines["cos_clean_now"]
    assert view.order.tolist() == np.argsort(cosines, kind="stable")[:144].tolist()
    assert all(np.array_equal(g.grid.order, view.order) for g in view.galleries)


def test_the_order_is_renewed_after_a_pause(qtbot):
    view = shown(qtbot, FiltersView)
    view.set_options({"sort": "norm"})
    view.set_playing(True)
    view.render(make(filters()))
    first = view.order.copy()
    view.render(make(filters(seed=1), step=1201))
    assert view.order.tolist() == first.tolist()
    view.set_playing(False)
    assert (np.diff(view.facts.norms["now"][view.order]) <= 0).all()
    assert view.order.tolist() != first.tolist()


def test_norms_and_cosines_of_a_unit(qtbot):
    view, found = shown(qtbot, FiltersView), filters()
    view.render(make(found))
    a, b, c = (w[4].ravel().astype(float) for w in (found.start, found.clean, found.now))

    def cosine(p, q):
        return f"{p @ q / np.linalg.norm(p) / np.linalg.norm(q):.2f}".replace("-", "−")

    expected = (
        f"unit 4: norm {np.linalg.norm(c):.3g} · cos (w⁰, w) {cosine(a, b)} · cos (w⁰, w′) {cosine(a, c)} · "
        f"cos (w, w′) {cosine(b, c)}"
    )
    view.highlight(4)
    assert view.status.text() == expected
    assert view.galleries[1].plot.toolTip() == expected
    assert all(g._marks[0].rect() == g.grid.rect(4) for g in view.galleries)
    view.highlight(-1)
    assert view.status.text().startswith("16 of 16 units")
    assert view.galleries[1].plot.toolTip() == ""


def test_hovering_and_clicking_a_filter(qtbot):
    view = shown(qtbot, FiltersView)
    view.render(make(filters()))
    qtbot.wait(1)
    hovered = []
    view.neuron_hovered.connect(hovered.append)
    view.galleries[0].hovered.emit(3)
    view.galleries[0].hovered.emit(3)
    view.galleries[0].hovered.emit(-1)
    assert hovered == [3, -1]
    gallery = view.galleries[2]
    at = gallery.plot.mapFromScene(gallery.box.mapViewToScene(gallery.grid.rect(6).center()))
    with qtbot.waitSignal(view.neuron_selected) as selected:
        qtbot.mouseClick(gallery.plot.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert selected.args == [6]
    assert gallery._marks[1].rect() == gallery.grid.rect(6)


def test_after_clean_waits_and_nothing_is_done_twice(qtbot, monkeypatch):
    view, early = shown(qtbot, FiltersView), filters(clean=False)
    view.render(make(early, phase="clean", events=()))
    assert view.galleries[1].placeholder.isVisible()
    assert view.galleries[1].placeholder.text() == NOT_YET
    found = filters()
    view.render(make(found))
    assert not view.galleries[1].placeholder.isVisible()
    drawn = []
    for which, gallery in enumerate(view.galleries):
        monkeypatch.setattr(gallery, "show_pictures", lambda *a, which=which: drawn.append(which))
    view.render(make(found))
    assert drawn == []
    view.render(make(found, step=1201))
    assert drawn == [2]  # start and after clean are as they were


# --- deep layers


def test_a_deep_layer_needs_features_and_asks_when_told(qtbot):
    view = shown(qtbot, FiltersView)
    asked = commands(view)
    view.render(make(filters()))
    assert [view.layer.itemText(i) for i in range(3)] == [layer_text(i, each) for i, each in enumerate(NET)]
    assert view.layer.itemText(0) == "conv1 · conv, 16 units of 3×9×9"
    assert view.wants == {Filters}
    choose(view, "conv2")
    assert view.wants == {Filters, Features}
    assert view.feature_controls.isVisible()
    assert not view.bar.isVisible()
    assert not view.sort.isVisible()
    assert asked == []
    assert all(g.placeholder.text() == PRESS_START for g in view.galleries)
    view.feature_controls.start.click()
    assert asked == [Visualise(request())]
    assert not view.feature_controls.start.isEnabled()
    view.feature_controls.next.click()  # live: the next page follows at once
    assert asked[-1] == Visualise(request(units=tuple(range(9, 18))))
    choose(view, "fc")  # and so does another layer, which has no unit after 9
    assert asked[-1] == Visualise(request("fc", (9,)))
    choose(view, "")
    assert view.wants == {Filters}
    assert view.bar.isVisible()
    assert pixel(view, 2, 0, 0, 0)[3] == 255
    choose(view, "fc")
    view.feature_controls.stop.click()
    assert asked[-1] == Visualise(NOTHING)
    assert NOTHING.units == ()
    assert view.feature_controls.start.isEnabled()
    count = len(asked)
    choose(view, "conv2")
    assert len(asked) == count


def test_features_are_filled_in_progressively(qtbot):
    view = shown(qtbot, FiltersView)
    view.set_options({"layer": "conv2"})
    view.render(make(filters()))
    assert view.wants == {Filters, Features}
    view.feature_controls.start.click()
    assert "Making" in view.galleries[0].placeholder.text()
    for share_done in (0.25, 0.5, 1.0):
        found = features(share=share_done, seed=int(100 * share_done))
        view.render(make(filters(), found))
        for which, moment in enumerate(("start", "clean", "now")):
            for i, unit in enumerate(found.request.units):
                expected = image_colours(found.pictures[moment][i : i + 1])[0, 7, 5].tolist()
                assert pixel(view, which, unit, 7, 5) == expected
        assert view.feature_controls.bar.value() == round(100 * share_done)
        assert view.feature_controls.bar.isVisible()
        assert "done" not in view.rule.text()
    text = view.rule.text()
    for part in ("Gradient ascent, 40 steps", "ℓ2 ≤ 8 from noise", "seed 0", "estimate, step 1,200"):
        assert part in text
    assert "held-out image 4" in protocol_text(features(request(origin="image", image=3)), 0)
    assert view.galleries[2].title.text() == "Now: step 1,200"


def test_a_complete_set_stays_until_its_renewal_is_complete(qtbot):
    view = shown(qtbot, FiltersView)
    view.set_options({"layer": "conv2"})
    whole, part, new = features(), features(share=0.5, seed=1), features(seed=2)
    view.render(make(filters(), whole))
    view.render(make(filters(), part, step=1300))
    assert view.features is whole
    view.render(make(filters(), new, step=1300))
    assert view.features is new
    other = features(request(units=(1, 2)), share=0.1)
    view.render(make(filters(), other, step=1300))
    assert "10% done" in view.rule.text()
    assert view.features is other  # another request is shown from its beginning
    view.render(make(filters(), features(NOTHING, share=0.0), step=1301))
    assert view.features is other  # stopped: what is there stays
    choose(view, "fc")
    assert all(g.placeholder.isVisible() for g in view.galleries)
    view.render(make(filters(), run="b"))
    assert view.features is None


def test_activations_stand_under_the_pictures_and_before_clean_has_ended(qtbot):
    view = shown(qtbot, FiltersView, size=(900, 700))
    view.set_options({"layer": "conv2"})
    found = features(request(units=(3, 17)), clean=False)
    view.render(make(filters(clean=False), found, phase="clean", events=()))
    qtbot.wait(1)
    value = f"{found.activations['now'][1]:.2f}".replace("-", "−")
    assert view.galleries[2].captions()[1] == f"17 · {value}"
    assert view.galleries[1].placeholder.text() == NOT_YET
    view.galleries[2].hovered.emit(17)
    start = f"{found.activations['start'][1]:.2f}".replace("-", "−")
    assert view.status.text() == f"unit 17: activation start {start}, now {value}"
    hovered = []
    view.neuron_hovered.connect(hovered.append)
    view.galleries[2].hovered.emit(3)
    view.highlight(17)  # means a unit of the first layer
    assert hovered == []
    assert "unit 3:" in view.status.text()
    view.resize(400, 300)
    qtbot.wait(1)
    assert all(text in ("3", "17") or " · " in text for text in view.galleries[2].captions())


def test_grey_features(qtbot):
    view = shown(qtbot, FiltersView)
    view.set_options({"layer": "output"})
    found = features(request("output", tuple(range(10))), shape=(1, 8, 8))
    view.render(make(filters(DIGITS, (256, 1, 8, 8)), found))
    assert not view.signed.isVisible()
    value = int(np.rint(found.pictures["now"][9, 0, 7, 7] * np.float32(255)))
    assert pixel(view, 2, 9, 7, 7) == [value, value, value, 255]


@pytest.mark.parametrize(
    ("text", "units"),
    [("0-3", (0, 1, 2, 3)), ("3, 17", (3, 17)), ("5", (5,)), ("2, 0–2", (2, 0, 1)), ("31", (31,))],
)
def test_units_are_numbers_and_ranges(text, units):
    assert parse_units(text, 32) == units


@pytest.mark.parametrize("text", ["", "a", "3-", "-3", "5-2", "32", "1,,2", "1.5"])
def test_units_that_cannot_be_read_are_said(qtbot, text):
    with pytest.raises(ConfigError, match="units: "):
        parse_units(text, 32)
    view = shown(qtbot, FiltersView)
    asked = commands(view)
    view.set_options({"layer": "conv2"})
    view.render(make(filters()))
    view.feature_controls.units.setText(text)
    assert view.feature_controls.problem.isVisible()
    assert not view.feature_controls.start.isEnabled()
    qtbot.keyClick(view.feature_controls.units, Qt.Key.Key_Return)
    assert asked == []


def test_the_origin_is_one_of_the_held_out_images_that_are_there(qtbot):
    view = shown(qtbot, FiltersView)
    asked = commands(view)
    view.set_options({"layer": "conv2", "origin": "image", "image": "450"})
    view.render(make(dataclasses.replace(filters(), held_out=395)))
    controls = view.feature_controls
    assert controls.image.maximum() == 395
    assert "1 to 395" in controls.image.toolTip()
    controls.start.click()
    assert asked == [Visualise(request(origin="image", image=394))]  # the field shows 395
    assert view.options()["image"] == "395"
    controls.image.setValue(7)
    view.set_options({"image": "450"})  # from a stored layout
    assert view.options()["image"] == "7"


def test_paging_ends_at_the_first_and_the_last_unit(qtbot):
    view = shown(qtbot, FiltersView)
    view.set_options({"layer": "conv2"})
    view.render(make(filters()))
    pages = []
    while view.feature_controls.next.isEnabled():
        view.feature_controls.next.click()
        pages.append(view.feature_controls.units.text())
    assert pages == ["9-17", "18-26", "27-31"]
    while view.feature_controls.previous.isEnabled():
        view.feature_controls.previous.click()
    assert view.feature_controls.units.text() == "0-8"
    assert units_text(9, 10) == "9"
    with pytest.raises(ConfigError, match="at most 36"):
        parse_units("0-36", 100)
    with pytest.raises(ConfigError, match="at most 36"):
        parse_units("0-20, 30-50", 100)


# --- layers


def test_medians_bands_and_activity_by_layer(qtbot):
    view, found = shown(qtbot, LayersView), by_layer()
    view.render(make(found))
    for key in ("cos_start_clean", "cos_start_now", "cos_clean_now"):
        values = [getattr(found.of[each.name], key)[found.of[each.name].alive] for each in NET]
        np.testing.assert_allclose(view.lines[key].yData, [np.median(v) for v in values], rtol=1e-6)
        low_high = np.array([np.quantile(v, (0.1, 0.9)) for v in values]).ravel()
        np.testing.assert_allclose(view.bars[key].yData, low_high, rtol=1e-6)
    assert view.active.opts["x"].tolist() == [0, 1]  # logits have none
    assert view.active.opts["height"].tolist() == [0.3, 0.3]
    assert len({m.opts["symbol"] for m in view.marks.values()}) == 3
    assert len({item.opts["pen"].style() for item in view.lines.values()}) == 3
    (low, high) = view.cosines.getViewBox().viewRange()[1]
    assert low <= min(item.yData.min() for item in view.bars.values())
    assert high >= 1
    assert "n = 128" in view.summary.text()
    assert "Step 1,150" in view.summary.text()


def test_units_of_the_chosen_layer_and_the_share_above(qtbot):
    view, found = shown(qtbot, LayersView), by_layer()
    view.render(make(found))
    choose(view, "conv2")
    units = found.of["conv2"]
    x, y = view.scatter.alive.getData()
    np.testing.assert_array_equal(x, units.pure_part[units.alive])
    np.testing.assert_array_equal(y, units.rest[units.alive])
    assert len(view.scatter.dead.getData()[0]) == (~units.alive).sum()
    np.testing.assert_array_equal(view.diagonal.xData, view.diagonal.yData)
    count = int((units.pure_part > units.rest)[units.alive].sum())
    assert share(units) == (count, 24)
    assert view.words.text() == f"conv2: ‖βw′‖ > ‖v‖ for {count} of 24 alive units ({count / 24:.2f}), of 32 in all."
    assert view.readout.text().startswith("2 · conv2: cos (w⁰, w)")
    assert "active 0.30" in view.readout.text()
    assert view.cosines.chosen.getRegion() == (0.5, 1.5)
    view.cosines._move(view.cosines.getViewBox().mapViewToScene(QPointF(2.1, 0.5)))
    assert view.readout.text().startswith("3 · fc: ")
    view.eventFilter(view.cosines.viewport(), QEvent(QEvent.Type.Leave))
    view.cosines.eventFilter(view.cosines.viewport(), QEvent(QEvent.Type.Leave))
    assert view.readout.text().startswith("2 · conv2")
    view.activity.picked.emit(2)
    assert view.layer.value == "fc"


def test_no_unit_alive(qtbot):
    view, found = shown(qtbot, LayersView), by_layer()
    dead = principle1(32, alive=np.zeros(32, bool))
    view.render(make(dataclasses.replace(found, of={**found.of, "conv2": dead})))
    choose(view, "conv2")
    assert "no unit alive" in view.words.text()
    assert not view.grab().isNull()
    assert np.isnan(Spread.of(view.result, "cos_clean_now").median[1])


def test_the_first_layers_points_are_linked_with_other_views(qtbot):
    view, found = shown(qtbot, LayersView), by_layer()
    view.render(make(found))
    view.highlight(5)
    x, y = view.scatter.ring.getData()
    units = found.of["conv1"]
    assert (x[0], y[0]) == (pytest.approx(units.pure_part[5]), pytest.approx(units.rest[5]))
    hovered = []
    view.neuron_hovered.connect(hovered.append)
    at = view.scatter.getViewBox().mapViewToScene(QPointF(float(units.pure_part[7]), float(units.rest[7])))
    assert view.scatter.unit_at(at) == 7
    view.scatter._move(at)
    view.scatter._move(at)
    assert hovered == [7]
    assert view.scatter.toolTip().startswith("unit 7: ")
    view.scatter.eventFilter(view.scatter.viewport(), QEvent(QEvent.Type.Leave))
    assert hovered == [7, -1]
    choose(view, "fc")
    view.highlight(5)
    assert not len(view.scatter.ring.getData()[0])


def test_layers_say_that_they_are_measured_after_clean_training(qtbot):
    view = shown(qtbot, LayersView)
    view.render(dataclasses.replace(make(), clean_step=600))
    assert "being measured" in view.pages.message.text()
    view.render(make(by_layer()))
    view.render(make(step=1300))
    assert not view.pages.empty


def test_many_layers_are_numbered_where_names_do_not_fit(qtbot):
    view = shown(qtbot, LayersView)
    names = ["conv1", *(f"layer{i}.{j}.conv{k}" for i in range(1, 5) for j in range(2) for k in (1, 2)), "fc"]
    deep = tuple(LayerInfo(f"net.{name}", "conv", (8, 8, 3, 3)) for name in names)
    assert short_names(deep) == names
    view.render(make(by_layer(deep)))
    qtbot.wait(1)
    ticks = view.cosines.getPlotItem().getAxis("bottom")._tickLevels[0]
    assert ticks[0] == (0, "1")
    assert view.layer.itemText(0) == "1 · net.conv1 (conv, 8 units)"
    view.render(make(by_layer(), run="b"))
    ticks = view.cosines.getPlotItem().getAxis("bottom")._tickLevels[0]
    assert [name for _, name in ticks] == ["conv1", "conv2", "fc"]


def test_narrow_docks_stack_the_plots(qtbot):
    view = shown(qtbot, LayersView, size=(NARROW - 50, 600))
    area = ViewArea(view, view.folding)  # as in its panel
    qtbot.addWidget(area)
    area.resize(NARROW - 50, 600)
    area.show()
    assert view.split.orientation() == Qt.Orientation.Vertical
    area.resize(NARROW - 50, 300)  # too low for two
    assert view.split.orientation() == Qt.Orientation.Horizontal
    area.resize(NARROW - 50, 600)
    area.resize(NARROW + 50, 400)
    assert view.split.orientation() == Qt.Orientation.Horizontal


# --- examples


def picture(view, which):
    return view.pictures[which].image.image


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8)])
def test_image_perturbation_and_sum(qtbot, shape):
    view, found = shown(qtbot, ExamplesView), examples(shape=shape)
    view.render(make(found))
    view.sample.setValue(3)
    largest = float(np.abs(found.delta).max())
    factor = max(f for f in (1, 2, 5, 10, 20, 50, 100) if f * largest <= 0.5)
    assert view.pictures[1].title.text() == f"δ × {factor}"
    x, delta = found.x[2], found.delta[2]
    for which, image in enumerate((x, 0.5 + np.float32(factor) * delta, x + delta)):
        assert picture(view, which).shape == (*shape[1:], 4)
        np.testing.assert_array_equal(picture(view, which), image_colours(image[None].astype(np.float32))[0])
    view.set_options({"factor": "1"})
    assert view.pictures[1].title.text() == "δ × 1"
    assert np.abs(picture(view, 1)[..., :3].astype(int) - 128).max() <= round(255 * largest) + 1


def test_no_perturbation_is_grey(qtbot):
    view, found = shown(qtbot, ExamplesView), examples()
    view.render(make(dataclasses.replace(found, delta=0 * found.delta)))
    assert (picture(view, 1)[..., :3] == 128).all()
    assert view.pictures[1].title.text() == "δ × 1"


def test_answers_before_and_after(qtbot):
    view, found = shown(qtbot, ExamplesView), examples()
    view.render(make(found))
    view.sample.setValue(4)
    true = int(found.y[3])
    for bars, p in zip(view.bars, (found.before[3], found.after[3]), strict=True):
        expected = first_classes(p, true)
        assert len(expected) == 5
        assert true in expected
        assert bars.rows == [(CLASSES[k], pytest.approx(float(p[k])), k == true) for k in expected]
        assert f"{CLASSES[true]} (true)" in bars.accessibleName()
    before, after = (answer(p[3], true, CLASSES) for p in (found.before, found.after))
    assert view.facts.text() == f"True class: {CLASSES[true]} · x: {before} · x + δ: {after} · ‖δ‖ = 0.5 (ℓ2)"
    right = [int((p.argmax(1) == found.y).sum()) for p in (found.before, found.after)]
    assert f"Of these 12 images {right[0]} are right, with their perturbations {right[1]}." in view.summary.text()
    assert "PGD-10 × 1 restart, ℓ2 radius 0.5, n = 12 (live estimate)" in view.summary.text()
    assert "Step 1,150" in view.summary.text()
    view.resize(500, 320)
    assert [len(bars.rows) for bars in view.bars] == [3, 3]
    assert any(is_true for *_, is_true in view.bars[1].rows)
    view.resize(660, 560)
    assert [len(bars.rows) for bars in view.bars] == [5, 5]
    few = examples(classes=("a", "b", "c"), norm="linf", tau=0.03)
    view.render(make(few, run="b"))
    assert len(view.bars[0].rows) == 3
    assert "(ℓ∞)" in view.facts.text()
    assert answer(np.array([0.2, 0.8], np.float32), 0, ("a", "b")) == "b 0.80 (wrong)"
    assert first_classes(np.array([0.1, 0.4, 0.3, 0.2], np.float32), 0, 2) == [1, 0]


def test_stepping_and_choosing_by_the_small_images(qtbot):
    view, found = shown(qtbot, ExamplesView), examples(3)
    view.render(make(found))
    assert view.sample.maximum() == 3
    np.testing.assert_array_equal(view.strip.image.image[1:33, 1:33], image_colours(found.x[:1])[0])
    assert not view.previous.isEnabled()
    view.next.click()
    assert view.sample.value() == 2
    view.strip.clicked.emit(2)
    assert view.sample.value() == 3
    assert not view.next.isEnabled()
    assert view.strip._marks[1].rect() == view.strip.grid.rect(2)
    qtbot.keyClick(view.sample, Qt.Key.Key_Down)
    assert view.options()["sample"] == "2"


def test_examples_do_nothing_for_the_same_result(qtbot, monkeypatch):
    view, found = shown(qtbot, ExamplesView), examples()
    view.render(make(found))
    calls = []
    monkeypatch.setattr(view, "draw_sample", lambda: calls.append(1))
    view.render(make(found, step=1201))
    view.render(make(step=1202))
    assert calls == []
    view.render(make(examples(seed=1), step=1203))
    assert calls == [1]


# --- radius and robustness, of images


def test_radius_of_images_has_no_certificate_and_no_ideal_network(qtbot):
    view, found = shown(qtbot, RadiusView), radius_curves()
    view.render(make())
    assert "certificate" not in view.pages.message.text()
    view.render(make(found))
    for key in ("certified", "certified_clean", "oracle"):
        assert not view.curves[key].line.isVisible()
        assert not view.cells[key].value.isVisible()
    assert not view.names["oracle"].isVisible()
    assert not view.heads[1].isVisible()
    assert all(area.path().isEmpty() for area in view.areas.values())
    for key in ("pgd", "pgd_clean"):
        np.testing.assert_array_equal(view.curves[key].line.yData, getattr(found, key))
        assert view.curves[key].line.isVisible()
    looks = {
        (view.curves[k].line.opts["pen"].style(), view.curves[k].marks.opts["symbol"]) for k in ("pgd", "pgd_clean")
    }
    assert len(looks) == 2  # told apart without colour
    texts = (view.caption.text(), view.protocol.text(), view.caption.toolTip(), view.heads[0].toolTip())
    assert "no certificate" in texts[0]
    assert "PGD-10 × 1 restart, ℓ2 radii 0 to 1, n = 64" in texts[1]
    assert not any("Certif" in t or "deal" in t for t in texts[1:])
    view.set_theme(DARK)
    assert not view.names["oracle"].isVisible()
    theory = dataclasses.replace(make(found, run="b"), config=load_preset("small"))
    curves = dataclasses.replace(found, certified=found.pgd / 2, certified_clean=found.pgd / 3, oracle=found.pgd)
    view.render(dataclasses.replace(theory, results={RadiusCurves: curves}))
    assert view.cells["certified"].value.isVisible()
    assert view.names["oracle"].isVisible()
    assert view.curves["pgd_clean"].marks.opts["symbol"] == "t"
    assert "certificate (▲" in view.caption.text()


def test_robustness_of_images_has_no_dense_direction_and_no_alignment(qtbot):
    view = shown(qtbot, RobustnessView)
    view.set_options({"alignment": "true"})
    history = History()
    for name in (metrics.CLEAN, metrics.FGM, metrics.PGD):
        history.append(100, name, 0.75)
    history.append(600, metrics.REPORT + metrics.PGD, 0.5)
    protocols = {
        metrics.PGD: ((0, Measurement("pgd", "l2", 0.5, 10, 1, 128, True)),),
        metrics.REPORT + metrics.PGD: ((0, Measurement("pgd", "l2", 0.5, 10, 1, 1000)),),
    }
    view.render(make(history=history, protocols=protocols))
    for name in (metrics.DENSE, metrics.CERTIFIED, metrics.ALIGNMENT):
        assert not view.rows[name].protocol.isVisible()
        assert not view.plot.curves[name].line.isVisible()
    assert not view.alignment.isVisible()
    assert view.options() == {"alignment": "true"}  # kept for runs that have it
    low, high = wilson(96, 128)
    assert view.rows[metrics.PGD].live.text() == f"0.750 [{low:.3f}, {high:.3f}]"
    assert "dense" not in view.report.text()
    assert "cosine" not in view.plot.plot.getPlotItem().getAxis("left").labelText
    theory = dataclasses.replace(make(history=history, protocols=protocols, run="b"), config=load_preset("small"))
    view.render(theory)
    assert view.rows[metrics.DENSE].protocol.isVisible()
    assert view.alignment.isVisible()
    assert view.rows[metrics.ALIGNMENT].protocol.isVisible()


# --- examples beside those of the clean net


def both(**changes):
    found, of = examples(), examples(seed=1)
    return found, CleanExamples(dataclasses.replace(of, x=found.x, y=found.y, step=600, **changes))


def test_examples_of_the_clean_net_stand_beside(qtbot):
    found, clean = both()
    view = shown(qtbot, ExamplesView, size=(400, 420))
    view.render(make(found))
    assert not any(w.isVisible() for w in (*view.clean_pictures, *view.clean_bars))
    view.render(make(found, clean))
    assert all(w.isVisible() for w in (*view.clean_pictures, *view.clean_bars))
    assert view.width() == 400
    of = clean.examples
    right = [int((p.argmax(1) == of.y).sum()) for p in (of.before, of.after)]
    assert f"on the clean net (step 600) {right[0]} and {right[1]}; mean cosine between both δ" in view.summary.text()
    assert [bars.title for bars in (*view.clean_bars, *view.bars)] == [
        "clean: x", "clean: x + δ", "now: x", "now: x + δ",
    ]  # fmt: skip
    view.beside.setChecked(False)
    assert view.wants == {Examples}
    assert not any(w.isVisible() for w in (*view.clean_pictures, *view.clean_bars))
    assert [bars.title for bars in view.bars] == ["x", "x + δ"]
    assert "clean net" not in view.facts.text() + view.summary.text()
    view.beside.setChecked(True)
    view.render(make(run="b"))
    assert view.pages.empty
    assert view.clean is None
    assert all(not bars.rows for bars in view.clean_bars)


def test_examples_measured_in_another_way_are_not_beside(qtbot):
    found, clean = both(protocol=Measurement("pgd", "l2", 0.25, 10, 1, 12, True))
    view = shown(qtbot, ExamplesView)
    view.render(make(found, clean))
    assert view.clean is None
    assert not any(w.isVisible() for w in view.clean_pictures)


def test_a_low_view_of_layers_folds_once_and_rests(qtbot, monkeypatch):
    fits = []
    fit = Folding._fit
    monkeypatch.setattr(Folding, "_fit", lambda folding: (fits.append(folding.stage), fit(folding)))
    view = shown(qtbot, LayersView)
    area = ViewArea(view, view.folding)
    qtbot.addWidget(area)
    area.resize(593, 273)
    area.show()
    view.render(make(by_layer()))
    qtbot.waitUntil(lambda: view.folding.stage > 0)
    qtbot.wait(50)
    before = len(fits)
    qtbot.wait(100)
    assert len(fits) == before
    assert view.folding.needed() <= view.folding.room()
    assert view.width() == area.width()  # it fits, and no scroll bar takes width
