"""The three live views on synthetic snapshots: what they show, and that they do nothing when nothing has changed."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QMainWindow

from engine.config.experiment import with_value
from engine.config.presets import load_preset
from engine.core import metrics
from engine.core.history import History, Series
from engine.core.measurement import Measurement, wilson
from engine.core.results import CleanMixture, Mixture, Weights
from engine.figures import figures
from engine.figures.declare import ViewDeclaration, round_up
from engine.figures.mixtures import VIEW as MIXTURES
from engine.figures.neurons import VIEW as NEURONS
from engine.figures.robustness import VIEW as ROBUSTNESS
from engine.run.snapshot import Event, Snapshot
from engine.run.timeline import spans
from fp_gui.panels import Panels
from fp_gui.theme import DARK, LIGHT
from fp_gui.views import curves
from fp_gui.views.base import View, view_types, views
from fp_gui.views.gallery import quantise, tile
from fp_gui.views.inspector import Inspector
from fp_gui.views.layer_plot import LayerPlot
from fp_gui.views.mixtures import MixturesView
from fp_gui.views.neurons import NeuronsView
from fp_gui.views.plots import DASHES, SYMBOLS, new_plot
from fp_gui.views.robustness import RobustnessView, sample_sizes, wilson_of
from fp_gui.views.unit_scatter import UnitScatter

# The offscreen platform says this of every window that is shown.
pytestmark = pytest.mark.qt_log_ignore("propagateSizeHints")

CONFIG = load_preset("small")
SWITCH = Event(1500, 0.0, "phase", "clean", "adversarial")


def mixture_of(weight, dictionary, target, alive=None):
    C = weight @ dictionary
    rows, norm = np.arange(len(C)), np.linalg.norm(C, axis=1)
    feature = np.abs(C).argmax(1)
    pure = np.abs(C[rows, feature])
    V = C.copy()
    V[rows, feature] = 0
    rest = np.linalg.norm(V, axis=1)
    dense = np.abs(V @ target) / np.linalg.norm(target) / norm
    alive = norm > 0.3 * norm.max() if alive is None else alive
    return Mixture(feature, pure, rest, rest / norm, pure / norm, dense, norm, alive)


def make(
    step=2000,
    *,
    m=40,
    d=16,
    run="a",
    phase="adversarial",
    clean=True,
    seed=0,
    events=(SWITCH,),
    alive=None,
    history=None,
):
    rng = np.random.default_rng(seed)
    dictionary = np.linalg.qr(rng.normal(size=(d, d)))[0].astype(np.float32)
    target = np.sign(rng.normal(size=d)).astype(np.float32)
    start, middle, now = (s * rng.normal(size=(m, d)).astype(np.float32) for s in (0.01, 0.2, 0.4))
    weights = Weights(now, start, middle if clean else None, dictionary, target, 0.3)
    results = {Weights: weights, Mixture: mixture_of(now, dictionary, target, alive)}
    if clean:
        results[CleanMixture] = CleanMixture(mixture_of(middle, dictionary, target))
    past = history or record(step)
    return Snapshot(
        run, Path(), step, phase, True, False, "cpu", 2, CONFIG, past, tuple(events), PROTOCOLS, results
    )  # fmt: skip


PROTOCOLS = {
    metrics.CLEAN: ((0, Measurement("clean", "l2", 0.2, 0, 0, 500, True)),),
    metrics.FGM: ((0, Measurement("fgm", "l2", 0.2, 1, 0, 500, True)),),
    metrics.PGD: ((0, Measurement("pgd", "l2", 0.2, 10, 1, 500, True)),),
    metrics.DENSE: ((0, Measurement("dense", "l2", 0.2, 0, 0, 500, True)),),
    metrics.REPORT + metrics.PGD: ((0, Measurement("pgd", "l2", 0.2, 40, 5, 1000)),),
}


def record(last, every=50):
    history = History()
    for step in range(every, last + 1, every):
        for k, name in enumerate(metrics.ACCURACIES):
            history.append(step, name, 0.9 - 0.1 * k + 0.0001 * (step % 500))
        history.append(step, metrics.ALIGNMENT, 0.5)
        for quantity in metrics.MIXTURE_QUANTITIES:
            for summary, value in (("median", 0.5), ("q10", 0.25), ("q90", 0.75)):
                history.append(step, metrics.mixture(quantity, summary), value + step / 1e5)
    if last >= 1500:
        history.append(1500, metrics.REPORT + metrics.PGD, 0.33)
    return history


def shown(qtbot, kind, theme=LIGHT):
    view = kind()
    qtbot.addWidget(view)
    view.set_theme(theme)
    view.resize(900, 600)
    view.show()
    qtbot.waitExposed(view)
    return view


def bytes_of(view, which):
    return view.galleries[which].image.image


ALL = [NeuronsView, MixturesView, RobustnessView]


# --- all views


@pytest.mark.parametrize("kind", ALL)
def test_views_are_registered_and_say_what_they_need(qtbot, kind):
    assert views[kind.name] is kind
    wants = {"neurons": {Weights, Mixture}, "mixtures": {Mixture, CleanMixture}, "robustness": set()}
    assert kind.wants == wants[kind.name]


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize(
    "case",
    [
        {},
        {"clean": False, "phase": "clean", "events": ()},
        {"d": 10},
        {"m": 1},
        {"m": 1, "d": 1},
        {"alive": np.zeros(40, bool)},
        {"step": 0, "clean": False, "phase": "clean", "events": ()},
        {"events": (SWITCH, Event(1700, 0.0, "phase", "adversarial", "gaussian_noise")), "phase": "gaussian_noise"},
    ],
)
def test_every_view_draws_every_kind_of_snapshot(qtbot, case, theme):
    for kind in ALL:
        view = shown(qtbot, kind, theme)
        view.render(make(**case))
        view.highlight(0)
        view.highlight(10_000)
        view.highlight(-1)
        assert not view.grab().isNull()


@pytest.mark.parametrize("kind", ALL)
def test_an_empty_view_says_press_play(qtbot, kind):
    view = shown(qtbot, kind)
    assert view.pages.message.isVisible()
    assert "Press play" in view.pages.message.text()
    view.render(make(0, history=record(0), phase="clean", clean=False, events=()))
    assert view.pages.empty == (kind is RobustnessView)
    view.render(make())
    assert not view.pages.empty


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (NeuronsView, {"space": "dictionary", "sort": "purity", "count": "144", "alive": "false", "normalise": "true"}),
        (MixturesView, {"quantity": "dense_alignment", "clean": "false"}),
        (RobustnessView, {"alignment": "true"}),
    ],
)
def test_options_round_trip_and_ignore_what_is_unknown(qtbot, kind, options):
    view = shown(qtbot, kind)
    before = view.options()
    assert before.keys() == options.keys()
    view.set_options({"nonsense": "1", **dict.fromkeys(options, "nonsense")})
    assert view.options() == before
    view.set_options(options)
    assert view.options() == options
    view.render(make())
    view.set_options(before)
    assert view.options() == before


@pytest.mark.parametrize("kind", ALL)
def test_set_theme_recolours_the_ground(qtbot, kind):
    view = shown(qtbot, kind)
    view.render(make())
    light = view.grab().toImage()
    view.set_theme(DARK)
    dark = view.grab().toImage()
    assert view.theme is DARK
    pixels = [(x, y) for x in range(5, 895, 10) for y in range(100, 500, 10)]
    brighter = sum(light.pixelColor(*p).lightness() > dark.pixelColor(*p).lightness() for p in pixels)
    assert brighter > 0.6 * len(pixels)


@pytest.mark.parametrize("kind", view_types(), ids=lambda kind: kind.name)
def test_a_view_offers_what_its_figure_declares(qtbot, kind):
    """Names and values of options are those that the exported figure takes, and every declared value can be shown."""
    declared = figures[kind.name].view
    assert kind.declaration is declared
    assert (kind.name, kind.title, kind.kinds) == (declared.name, declared.title, declared.kinds)
    view = shown(qtbot, kind)
    options = view.options()
    assert options.keys() <= {option.name for option in declared.options}
    assert declared.complete(options).items() >= options.items()
    for option in declared.options:
        for value in option.choices if option.name in options and option.name not in ("layer", "tau") else ():
            view.set_options({option.name: value})
            assert view.options()[option.name] == value


def test_a_new_view_is_one_file_that_says_what_it_is_and_where_it_stands(qtbot):
    declared = ViewDeclaration("tally", "Tally", MIXTURES.order, "Counts steps.", (CONFIG.kind,))

    @views.register(declared.name, order=declared.order)
    class TallyView(View):
        declaration = declared
        place = "upper"

    try:
        names = [kind.name for kind in view_types()]
        assert names[names.index("mixtures") :][:2] == ["mixtures", "tally"]  # by order and name
        assert (TallyView.name, TallyView.title, TallyView.kinds) == ("tally", "Tally", (CONFIG.kind,))
        titles = {"parameters": "Parameters"} | {kind.name: kind.title for kind in view_types()}
        places = {kind.name: kind.place for kind in view_types()}
        window = QMainWindow()
        qtbot.addWidget(window)
        window.resize(1400, 900)  # a smaller one has fewer stacks
        panels = Panels(window, titles, places, CONFIG.kind, list(titles))
        stacks = [[dock.objectName() for dock in stack] for stack in panels._stacks()]
        assert stacks[1][:2] == ["mixtures", "tally"]
        assert sorted(name for stack in stacks for name in stack) == sorted(places)
    finally:
        views.remove("tally")


# --- neurons


def test_the_three_pictures_share_neurons_places_and_scale(qtbot):
    view = shown(qtbot, NeuronsView)
    snapshot = make()
    view.render(snapshot)
    weights = snapshot.get(Weights)
    scale = round_up(max(NEURONS.contrast.size(weights.clean), NEURONS.contrast.size(weights.now)))
    assert view.scale() == pytest.approx(scale)
    grids = [g.grid for g in view.galleries]
    assert all(np.array_equal(g.order, view.order) for g in grids)
    for which, values in enumerate((weights.start, weights.clean, weights.now)):
        assert view.galleries[which].scale == scale
        np.testing.assert_array_equal(
            bytes_of(view, which), tile(quantise(values[view.order], scale), grids[0].columns)
        )
        assert tuple(view.galleries[which].image.levels) == (0, 255)
    assert view.bar.texts() == (f"−{scale:.3g}", "0", f"+{scale:.3g}")


def test_the_scale_holds_across_phases_when_weights_shrink(qtbot):
    view = shown(qtbot, NeuronsView)
    view.render(make(1000, phase="clean", clean=False, events=()))
    scale = view.scale()
    small = make(2000)
    weights = dataclasses.replace(small.get(Weights), now=small.get(Weights).now * np.float32(0.1))
    view.render(dataclasses.replace(small, results={**small.results, Weights: weights}))
    assert view.scale() == scale == view.galleries[2].scale == view.galleries[1].scale
    assert np.abs(bytes_of(view, 2).astype(int)[bytes_of(view, 2) > 0] - 128).max() < 40  # seen as small as they are
    view.render(dataclasses.replace(small, run="b", results={**small.results, Weights: weights}))
    assert view.scale() == round_up(NEURONS.contrast.size(weights.clean)) < scale  # another run begins anew


def test_dictionary_space_shows_coefficients(qtbot):
    view = shown(qtbot, NeuronsView)
    view.set_options({"space": "dictionary"})
    snapshot = make()
    view.render(snapshot)
    weights = snapshot.get(Weights)
    expected = quantise(weights.now[view.order] @ weights.dictionary, view.scale())
    np.testing.assert_array_equal(bytes_of(view, 2), tile(expected, view.galleries[2].grid.columns))


def test_amplify_and_normalise_are_off_and_say_so_when_on(qtbot):
    view = shown(qtbot, NeuronsView)
    view.render(make())
    assert view.galleries[0].title.text() == "Start"
    view.amplify.setChecked(True)
    assert "× 10" in view.galleries[0].title.text()
    assert view.galleries[0].scale == pytest.approx(view.scale() / 10)
    assert view.galleries[1].scale == view.galleries[2].scale == view.scale()
    view.normalise.setChecked(True)
    assert "cannot be compared" in view.rule.text()
    start = view.weights.start[view.order]
    expected = quantise(start / np.linalg.norm(start, axis=1, keepdims=True), view.scale())
    np.testing.assert_array_equal(bytes_of(view, 0), tile(expected, view.galleries[0].grid.columns))
    assert view.bar.texts()[2] == f"+{view.scale():.3g} norm"


def test_fixed_scale_is_the_users(qtbot):
    view = shown(qtbot, NeuronsView)
    view.render(make())
    view.limit.setValue(3.0)
    view.fixed.setChecked(True)
    assert [g.scale for g in view.galleries] == [3.0] * 3
    assert view.bar.texts()[2] == "+3"


def test_at_a_pause_the_tiles_are_sorted_and_the_chosen_neuron_stays_in_sight(qtbot):
    view = shown(qtbot, NeuronsView)
    view.set_options({"count": "64"})
    view.set_playing(True)
    view.render(make(2000, m=100, seed=1))
    first = view.order.copy()
    hidden = next(i for i in range(len(view.mixture.norm)) if i not in first)
    view.select(hidden)  # clicked in another view
    assert view.order[-1] == hidden
    np.testing.assert_array_equal(view.order[:-1], first[:-1])
    view.render(make(2001, m=100, seed=2))
    np.testing.assert_array_equal(view.order[:-1], first[:-1])
    view.set_playing(False)
    assert not np.array_equal(view.order[:-1], first[:-1])
    assert hidden in view.order
    assert all(gallery.grid.rect(hidden) is not None for gallery in view.galleries if gallery.grid is not None)


def test_order_is_renewed_on_request_and_at_a_pause_and_can_be_frozen(qtbot):
    view = shown(qtbot, NeuronsView)
    view.set_playing(True)
    view.render(make(2000, seed=1))
    first = view.order.copy()
    view.render(make(2001, seed=2))
    np.testing.assert_array_equal(view.order, first)  # tiles stay under the reader's eye
    assert view.resort.isEnabled()  # lit: others would come first
    view.resort.click()
    assert not view.resort.isEnabled()
    second = view.order.copy()
    norm = view.mixture.norm
    assert (np.diff(norm[second]) <= 0).all()
    assert not np.array_equal(first, second)
    view.freeze.setChecked(True)
    view.set_playing(False)
    view.render(make(2002, seed=3))
    np.testing.assert_array_equal(view.order, second)
    view.freeze.setChecked(False)
    view.render(make(2003, seed=3))
    assert (np.diff(view.mixture.norm[view.order]) <= 0).all()


def test_alive_only_and_count(qtbot):
    alive = np.arange(400) % 4 == 0
    view = shown(qtbot, NeuronsView)
    view.render(make(m=400, alive=alive))
    assert len(view.order) == 64
    assert alive[view.order].all()
    assert view.status.text() == "64 shown · n alive = 100 of 400"
    view.set_options({"alive": "false", "count": "all"})
    assert sorted(view.order) == list(range(400))


def test_nothing_is_done_for_the_same_step(qtbot, monkeypatch):
    view = shown(qtbot, NeuronsView)
    snapshot = make()
    view.render(snapshot)
    calls = []
    for which, gallery in enumerate(view.galleries):
        monkeypatch.setattr(gallery, "show_tiles", lambda *a, which=which: calls.append(which))
    view.render(dataclasses.replace(snapshot))
    assert calls == []
    view.render(make(2001))
    assert calls == [2]  # start and after clean are as they were


def test_after_clean_waits_for_the_end_of_the_phase(qtbot):
    view = shown(qtbot, NeuronsView)
    view.render(make(1500, phase="clean", clean=False, events=()))
    assert view.galleries[1].placeholder.isVisible()
    view.render(make(1500))  # the switch happens between two steps
    assert not view.galleries[1].placeholder.isVisible()


def test_clicking_a_tile_inspects_that_neuron(qtbot):
    view = shown(qtbot, NeuronsView)
    view.render(make())
    qtbot.wait(1)
    gallery, neuron = view.galleries[2], int(view.order[5])
    at = gallery.plot.mapFromScene(gallery.box.mapViewToScene(gallery.grid.rect(neuron).center()))
    with qtbot.waitSignal(view.neuron_selected) as selected:
        qtbot.mouseClick(gallery.plot.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert selected.args == [neuron]
    assert view.inspector.isVisible()
    mixture = view.mixture
    assert f"feature j = {mixture.feature[neuron]}" in view.inspector.facts.text()
    assert f"dense alignment {mixture.dense_alignment[neuron]:.3f}" in view.inspector.facts.text()
    weights = view.weights
    expected = (weights.now[neuron] @ weights.dictionary) * weights.target
    feature = mixture.feature[neuron]
    assert view.inspector.top.yData[1] == pytest.approx(expected[feature], abs=1e-5)
    np.testing.assert_allclose(view.inspector.stems.yData[1::2], np.delete(expected, feature), atol=1e-5)
    view.render(make(2001, seed=1))
    view.render(make(2002, seed=2))
    assert [row[0] for row in view.inspector.record] == [2000, 2001, 2002]
    assert view.inspector.record[2][1] == pytest.approx(float(view.mixture.purity[neuron]))
    view.inspector.number.setValue(3)
    assert view.inspector.neuron == 3
    assert [row[0] for row in view.inspector.record] == [2002]
    view.inspector.closed.emit()
    assert not view.inspector.isVisible()


def test_the_inspector_is_made_when_it_is_first_needed(qtbot):
    view = shown(qtbot, NeuronsView)
    view.render(make())
    view.highlight(3)
    view.set_theme(DARK)
    assert not view.findChildren(Inspector)
    whole = view.galleries[0].height()
    view.inspect.click()
    (made,) = view.findChildren(Inspector)
    qtbot.waitUntil(lambda: view.galleries[0].height() < whole - 150)
    assert made.isVisible()
    assert made.height() < view.galleries[0].height()
    assert made.bars.backgroundBrush().color().name() == QColor(DARK.base).name()
    view.inspect.click()
    assert not made.isVisible()


def test_no_plot_makes_a_menu(qtbot):
    plots = (new_plot(), UnitScatter("x", "y", MIXTURES.looks["now"]), LayerPlot("y"))
    for plot in plots:
        qtbot.addWidget(plot)
        assert plot.getViewBox().menu is None


def test_hovering_is_told_once_and_highlight_frames_the_tile(qtbot):
    view = shown(qtbot, NeuronsView)
    view.render(make())
    told = []
    view.neuron_hovered.connect(told.append)
    neuron = int(view.order[2])
    view.galleries[0].hovered.emit(neuron)
    view.galleries[0].hovered.emit(neuron)
    view.galleries[0].hovered.emit(-1)
    assert told == [neuron, -1]
    view.highlight(neuron)
    for gallery in view.galleries:
        assert gallery._marks[0].isVisible()
        assert gallery._marks[0].rect() == gallery.grid.rect(neuron)
    assert view.status.text().startswith(f"neuron {neuron}: feature {view.mixture.feature[neuron]}")


# --- mixtures


def test_scatter_and_histogram_show_the_arrays(qtbot):
    alive = np.arange(40) % 3 > 0
    view = shown(qtbot, MixturesView)
    snapshot = make(alive=alive)
    view.render(snapshot)
    mixture = snapshot.get(Mixture)
    for item, chosen in ((view.scatter.alive, alive), (view.scatter.dead, ~alive)):
        x, y = item.getData()
        np.testing.assert_allclose(x, mixture.pure[chosen])
        np.testing.assert_allclose(y, mixture.mixture[chosen])
    assert view.scatter.alive.opts["symbol"] != view.scatter.dead.opts["symbol"]
    assert view.bars.yData.sum() == alive.sum()
    assert view.count.text() == f"n alive = {alive.sum()} of 40"
    (x0, x1), (y0, y1) = view.scatter.getViewBox().viewRange()
    assert x0 <= 0 <= mixture.pure.max() <= x1
    assert y0 <= 0 <= mixture.mixture.max() <= y1


def test_rays_are_lines_of_equal_purity(qtbot):
    view = shown(qtbot, MixturesView)
    view.render(make())
    x, y = view.rays.xData[1::2], view.rays.yData[1::2]
    np.testing.assert_allclose(x / np.hypot(x, y), [0.2, 0.4, 0.6, 0.8, 0.95], atol=1e-6)


def test_the_neurons_after_clean_training_are_drawn_faintly(qtbot):
    view = shown(qtbot, MixturesView)
    snapshot = make()
    weights = snapshot.get(Weights)
    view.render(snapshot)
    expected = mixture_of(weights.clean, weights.dictionary, weights.target)
    x, y = view.clean_points.getData()
    np.testing.assert_allclose(x, expected.pure[expected.alive], rtol=1e-4)
    np.testing.assert_allclose(y, expected.mixture[expected.alive], rtol=1e-4)
    view.show_clean.setChecked(False)
    assert not len(view.clean_points.getData()[0])
    assert "after clean" not in view.key.text()


def drawn(view):
    return [item.getData()[0] for item in (view.clean_points, view.clean_bars, view.scatter.alive)]


def test_mixtures_draws_what_its_snapshot_holds_whatever_other_views_asked_for(qtbot):
    """Another view in front had brought the weights along; what was seen before had stood for the end of clean."""
    alone, beside = (shown(qtbot, MixturesView) for _ in range(2))
    early = make(1450, phase="clean", clean=False, events=(), seed=1)
    for snapshot in (early, make(1600)):
        beside.render(snapshot)
        wanted = {kind: found for kind, found in snapshot.results.items() if kind in MixturesView.wants}
        alone.render(dataclasses.replace(snapshot, results=wanted))
        for ours, theirs in zip(drawn(alone), drawn(beside), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert alone.key.text() == beside.key.text()
    late = shown(qtbot, MixturesView)  # opened after the switch
    late.render(make(1600))
    for ours, theirs in zip(drawn(late), drawn(alone), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_neurons_after_clean_training_do_not_survive_into_another_run(qtbot):
    view = shown(qtbot, MixturesView)
    view.render(make())
    assert len(view.clean_points.getData()[0])
    view.render(dataclasses.replace(make(10, run="b", phase="clean", clean=False, events=()), results={}))
    assert not len(view.clean_points.getData()[0])
    view.render(make(10, run="b", phase="clean", clean=False, events=()))
    assert not len(view.clean_points.getData()[0])
    assert "after clean" not in view.key.text()


@pytest.mark.parametrize("quantity", MIXTURES.option("quantity").choices)
def test_distribution_over_time_is_the_history(qtbot, quantity):
    view = shown(qtbot, MixturesView)
    view.set_options({"quantity": quantity})
    snapshot = make()
    view.render(snapshot)
    curve = view.time.curves["median"]
    for values, summary in ((curve.y, "median"), (curve.low, "q10"), (curve.high, "q90")):
        np.testing.assert_array_equal(values, snapshot.history[metrics.mixture(quantity, summary)].values)
    assert view.time.y_range[1] >= curve.high.max()


def test_highlight_rings_the_point_and_hover_finds_it(qtbot):
    view = shown(qtbot, MixturesView)
    view.render(make())
    view.highlight(7)
    x, y = view.scatter.ring.getData()
    assert (x[0], y[0]) == (pytest.approx(view.mixture.pure[7]), pytest.approx(view.mixture.mixture[7]))
    box = view.scatter.getViewBox()
    at = box.mapViewToScene(QPointF(float(x[0]), float(y[0])))
    assert view.scatter.unit_at(at) == 7
    assert view.scatter.unit_at(QPointF(-5, -5)) == -1
    told = []
    view.neuron_hovered.connect(told.append)
    view.highlight(-1)
    view.scatter._move(at)
    view.scatter._move(at)
    assert told == [7]


def test_mixtures_do_nothing_for_the_same_step(qtbot, monkeypatch):
    view = shown(qtbot, MixturesView)
    snapshot = make()
    view.render(snapshot)
    calls = []
    for item in (view.scatter.alive, view.scatter.dead, view.bars, view.time.curves["median"].line):
        monkeypatch.setattr(item, "setData", lambda *a, **k: calls.append(1))
    view.render(dataclasses.replace(snapshot))
    assert calls == []


# --- robustness and curves


def test_the_band_is_the_interval_of_the_protocol_of_its_step():
    series = Series(np.array([50, 150, 250]), np.array([0.0, 0.862, 0.5]))
    log = ((50, dataclasses.replace(PROTOCOLS[metrics.PGD][0][1], n=500)), (150, PROTOCOLS[metrics.CLEAN][0][1]))
    low, high = wilson_of(series, log)
    for i, (p, n) in enumerate(((0.0, 500), (0.862, 500), (0.5, 500))):
        assert (low[i], high[i]) == wilson(p * n, n)
    low, high = wilson_of(series, ())  # nobody knows how it was measured
    assert (low.tolist(), high.tolist()) == ([0.0] * 3, [1.0] * 3)


def test_the_band_uses_the_size_of_its_time():
    def of(n: int) -> Measurement:
        return Measurement("pgd", "l2", 0.2, 10, 1, n)

    log = ((50, of(500)), (150, of(200)), (200, of(1000)))
    sizes = sample_sizes(np.array([0, 50, 100, 150, 200, 250]), log)
    assert sizes.tolist() == [0, 500, 500, 200, 1000, 1000]
    assert sample_sizes(np.array([1]), ()).tolist() == [0]


def test_robustness_shows_curves_bands_reports_and_protocols(qtbot):
    view = shown(qtbot, RobustnessView)
    snapshot = make()
    view.render(snapshot)
    for name in metrics.ACCURACIES:
        curve, series = view.plot.curves[name], snapshot.history[name]
        np.testing.assert_array_equal(curve.x, series.steps)
        np.testing.assert_array_equal(curve.y, series.values)
        assert (curve.low[3], curve.high[3]) == pytest.approx(wilson(series.values[3] * 500, 500))
        assert snapshot.protocols[name][-1][1].text() in view.rows[name].protocol.toolTip()
        assert curve.band.path().boundingRect().height() > 0
    row = view.rows[metrics.PGD]
    assert row.protocol.text() == "PGD-10 × 1 · ℓ2 0.2 · n = 500"
    low, high = wilson(snapshot.history[metrics.PGD].values[-1] * 500, 500)
    assert row.live.text() == f"{snapshot.history[metrics.PGD].values[-1]:.3f} [{low:.3f}, {high:.3f}]"
    x, y = view.plot.curves[metrics.PGD].points.getData()
    assert (x.tolist(), y.tolist()) == ([1500], [0.33])
    low, high = wilson(330, 1000)
    np.testing.assert_allclose(view.plot.curves[metrics.PGD].bars.yData, [low, high])
    assert row.report.text().startswith("0.330 [")
    assert "PGD-40" in row.report.toolTip()
    for name, drawn_curve in view.plot.curves.items():  # as the figure draws it
        look, line = ROBUSTNESS.looks[name], drawn_curve.line.opts["pen"]
        assert (line.color().name().upper(), line.style()) == (look.light.upper(), DASHES[look.dash])
        assert drawn_curve.marks.opts["symbol"] == SYMBOLS[look.marker]
    assert len({c.look.marker for c in view.plot.curves.values()}) == len(view.plot.curves)
    assert view.plot.box.viewRange()[1] == pytest.approx([0, 1], abs=0.05)


def test_another_run_leaves_no_curve_and_no_report_of_the_one_before(qtbot):
    robustness, mixtures = shown(qtbot, RobustnessView), shown(qtbot, MixturesView)
    for view in (robustness, mixtures):
        view.render(make())
    history = History()
    history.append(0, metrics.CLEAN, 0.5)
    for view in (robustness, mixtures):
        view.render(dataclasses.replace(make(0, run="b"), history=history, events=(), protocols={}, results={}))
    curves_ = robustness.plot.curves
    assert curves_[metrics.CLEAN].x.tolist() == [0]
    for name, curve in curves_.items():
        assert not len(curve.points.data), name
        assert not len(curve.bars.xData), name
        assert name == metrics.CLEAN or not len(curve.x), name
    assert robustness.heads[3].text() == "report [95%]"
    assert not any(len(curve.x) for curve in mixtures.time.curves.values())


@pytest.mark.parametrize("kind", [RobustnessView, MixturesView])
def test_another_run_leaves_no_event_and_no_phase_of_the_one_before(qtbot, kind):
    view = shown(qtbot, kind)
    plot = view.plot if kind is RobustnessView else view.time
    view.render(make())
    assert plot.marks.ticks.xData.tolist() == [1500, 1500]
    empty = make(0, run="b", phase="clean", clean=False, events=())
    view.render(dataclasses.replace(empty, history=History(), results={}))
    assert not len(plot.marks.ticks.xData)
    view.render(make(1700, run="c", events=(dataclasses.replace(SWITCH, step=1600),)))  # as many as in the run before
    assert plot.marks.ticks.xData.tolist() == [1600, 1600]


def test_alignment_is_drawn_only_when_asked_for(qtbot):
    view = shown(qtbot, RobustnessView)
    view.render(make())
    assert not view.plot.curves[metrics.ALIGNMENT].line.isVisible()
    view.alignment.setChecked(True)
    assert view.plot.curves[metrics.ALIGNMENT].line.isVisible()
    assert view.rows[metrics.ALIGNMENT].live.isVisible()
    assert any("FGM alignment" in text for text in view.plot.values_at(2000))


def test_phases_come_from_the_events(qtbot):
    events = (Event(40, 0.0, "training.lr", "1", "2"), SWITCH, Event(1800, 0.0, "phase", "adversarial", "clean"))
    expected = [(0, 1500, "clean"), (1500, 1800, "adversarial"), (1800, 2000, "clean")]
    assert [(p.start, p.end, p.objective) for p in spans(events, "clean", 2000)] == expected
    assert [(p.start, p.end, p.objective) for p in spans((), "clean", 10)] == [(0, 10, "clean")]
    assert [(p.start, p.end, p.objective) for p in spans(events, "clean", 1500)] == expected[:1]
    view = shown(qtbot, RobustnessView)
    view.render(make(events=events, phase="clean"))
    found = [s.rect() for s in view.plot.shades if s.isVisible()]
    assert [(r.left(), r.right()) for r in found] == [(a, b) for a, b, _ in expected]
    np.testing.assert_array_equal(view.plot.marks.ticks.xData, [40, 40, 1500, 1500, 1800, 1800])
    assert curves.event_text(events[0]) == "step 40: training.lr 1 → 2"


def test_x_ends_at_the_schedule_or_beyond_the_step(qtbot):
    view = shown(qtbot, RobustnessView)
    view.render(make(2000))
    assert view.plot.x_end == CONFIG.schedule.total == 3000
    free = dataclasses.replace(make(4000), scheduled=False)
    view.render(free)
    assert 4000 <= view.plot.x_end <= 4400
    long = dataclasses.replace(make(4000, run="b"), config=with_value(CONFIG, "schedule.second_steps", 9000))
    view.render(long)
    assert view.plot.x_end == 10500


def test_robustness_does_nothing_when_the_history_has_not_grown(qtbot, monkeypatch):
    view = shown(qtbot, RobustnessView)
    history = record(2000)
    view.render(make(2000, history=history))
    calls = []
    monkeypatch.setattr(view.plot, "set_curve", lambda key, *a: calls.append(key))
    view.render(make(2000, history=history))
    view.render(make(2010, history=history))
    assert calls == []
    history.append(2050, metrics.PGD, 0.4)
    view.render(make(2050, history=history))
    assert calls == [metrics.PGD]


def test_decimation_keeps_extremes_and_ends():
    x = np.arange(10_001, dtype=float)
    y = np.sin(x / 50)
    y[1234], y[8765] = 7.0, -7.0
    thin_x, thin_y = curves.decimate(x, y)
    assert len(thin_x) <= 2010
    assert (thin_y.max(), thin_y.min()) == (7.0, -7.0)
    assert (thin_x[0], thin_x[-1]) == (0, 10_000)
    assert (np.diff(thin_x) > 0).all()
    np.testing.assert_array_equal(y[thin_x.astype(int)], thin_y)
    few = curves.decimate(x[:50], y[:50])
    np.testing.assert_array_equal(few[1], y[:50])


def test_band_outline_covers_the_band():
    x = np.arange(5000, dtype=float)
    low, high = np.cos(x), np.cos(x) + 1
    at, thin_low, thin_high = curves.envelope(x, low, high)
    assert len(at) <= 162
    assert thin_low.min() == low.min()
    assert thin_high.max() == high.max()
    assert (at[0], at[-1]) == (0, 4999)


def test_zooming_in_brings_every_point_back(qtbot):
    view = shown(qtbot, RobustnessView)
    history = History()
    for step in range(5000):
        history.append(step, metrics.CLEAN, 0.5 + 0.4 * (step % 2))
    view.render(make(4999, history=history))
    curve = view.plot.curves[metrics.CLEAN]
    assert len(curve.line.xData) <= 2010
    view.plot.box.setXRange(1000, 1100, padding=0)
    view.plot._zoomed()
    assert set(range(1000, 1101)) <= set(curve.line.xData.astype(int))
    view.plot.fit()
    assert len(curve.line.xData) > 1500


def test_crosshair_tells_raw_values(qtbot):
    view = shown(qtbot, RobustnessView)
    view.render(make())
    view.plot._move(view.plot.box.mapViewToScene(QPointF(1000.0, 0.5)))
    assert view.plot.cross.isVisible()
    assert "step 1,000: clean 0.900 [" in view.plot.readout.text()
