"""The features view on made-up neurons, each with a fate of its own: what it draws, tells and passes on."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPointF, QSettings, Qt

from engine import worlds
from engine.config.presets import load_preset
from engine.core import metrics
from engine.core.history import History
from engine.core.measurement import wilson
from engine.core.results import FeatureFates, FeatureOf, Mixture, Weights, Winners
from engine.run.snapshot import Event, Problem, Snapshot
from fp_gui.theme import DARK, LIGHT
from fp_gui.view_shelf import ViewShelf
from fp_gui.views.base import views
from fp_gui.views.feature_fates import FeatureFatesView
from fp_gui.views.mixtures import MixturesView
from fp_gui.views.neurons import NeuronsView
from tests.tiny_runs import advance, tiny_config

CONFIG = load_preset("small")
SWITCH = Event(1500, 0.0, "phase", "clean", "adversarial")


def moment(feature, alive, signs=None):
    feature, alive = np.array(feature), np.isin(np.arange(9), alive)
    return FeatureOf(feature, np.ones(9, np.int64) if signs is None else np.array(signs), alive, 9)


# Neurons 0, 1, 5 keep their features all the time; 2 changes early, 3 late, 4 turns its sign early; 6 dies late;
# 7 dies and comes back; 8 dies early for good.
START = moment([0, 1, 2, 3, 4, 5, 6, 7, 0], range(9))
CLEAN = moment([0, 1, 8, 3, 4, 5, 6, 7, 0], range(7), [1, 1, 1, 1, -1, 1, 1, 1, 1])
NOW = moment([0, 1, 8, 0, 4, 5, 6, 7, 0], (0, 1, 2, 3, 4, 5, 7), [1, 1, 1, 1, -1, 1, 1, 1, 1])
FATES = FeatureFates(START, CLEAN, NOW)
COUNTS = {  # kept, changed, died, revived, dead at both
    "start → clean": (5, 2, 2, 0, 0),
    "clean → now": (5, 1, 1, 1, 1),
    "start → now": (4, 3, 2, 0, 0),
}


def lottery():
    of_neurons = {
        "leads": [1, 1, 1, 1, 0, 0, 1, 1, 0], "right_sign": [1, 1, 0, 1, 1, 0, 1, 1, 1],
        "became": [1, 1, 0, 0, 1, 0, 0, 1, 0], "sound": [1, 1, 1, 1, 1, 1, 0, 1, 0],
    }  # fmt: skip
    marks = {name: np.array(values, bool) for name, values in of_neurons.items()}
    head = np.where(marks["sound"], 0.75, 0.0).astype(np.float32)
    winner = marks["leads"] & marks["right_sign"]
    return Winners(
        feature=START.feature, head_start=head, winners=np.bincount(START.feature[winner], minlength=9),
        fulfilled=np.bincount(START.feature[winner & marks["became"]], minlength=9), neurons=NOW.neurons,
        threshold=0.0316, **marks,
    )  # fmt: skip


def record(last=2000):
    history = History()
    for step in range(50, last + 1, 50):
        history.append(step, metrics.HELD, 9.0 - step // 1000)
        if step > 1500:
            history.append(step, metrics.KEPT, 1 - step / 10_000)
    return history


def make(found=FATES, winners=None, *, run="a", step=2000, history=None, problems=()):
    results = {} if found is None else {FeatureFates: found, Winners: winners or lottery()}
    clean_step = 1500 if found is not None and found.clean is not None else 0
    return Snapshot(
        run, Path(), step, "adversarial", True, False, "cpu", 2, CONFIG, record() if history is None else history,
        (SWITCH,), {}, results, problems, clean_step,
    )  # fmt: skip


@pytest.fixture
def view(qtbot):
    view = FeatureFatesView()
    qtbot.addWidget(view)
    view.resize(760, 560)
    view.show()
    qtbot.waitExposed(view)
    return view


def bar_of(view, row, place):
    """The scene position of a place in a bar."""
    return view.bars.getViewBox().mapViewToScene(QPointF(place + 0.5, 2 - row))


def cell_of(view, feature):
    return view.map.getViewBox().mapViewToScene(QPointF(feature % 3 + 0.5, feature // 3 + 0.5))


def test_it_is_registered_and_says_what_it_needs(view):
    assert views["feature_fates"] is FeatureFatesView
    assert (view.title, view.kinds) == ("Features", ("sparse_coding",))
    assert view.wants == {FeatureFates, Winners}
    view.render(make(None))
    assert view.pages.empty
    assert "Press play" in view.pages.message.text()
    view.render(make(None, problems=(Problem("FeatureFates", "no memory", 3, ""),)))
    assert "could not be measured. no memory" in view.pages.message.text()


def test_the_bars_count_every_neuron_once(view):
    view.render(make())
    for row, (name, counts) in enumerate(COUNTS.items()):
        widths = [float(part.opts["width"][row]) for part in view.bars.parts.values()]
        assert tuple(widths) == counts
        assert [float(part.opts["x0"][row]) for part in view.bars.parts.values()] == np.cumsum(
            [0, *counts[:4]]
        ).tolist()
        assert sum(counts) == 9
        assert view.bars.texts[row].toPlainText() == (
            f"{name}:  ● {counts[0]}  ◆ {counts[1]}  × {counts[2]}  ▲ {counts[3]}"
        )
    low, high = wilson(5, 6)
    assert f"kept since clean training {5 / 6:.3f} [{low:.3f}, {high:.3f}], n = 6 alive at both" in view.count.text()
    assert "alive 9 → 7 → 7 of 9 · features held 8 → 7 → 6 of 9" in view.count.text()
    assert "Alive: norm above 0.3 of the largest" in view.protocol.text()
    assert "Winners: lead by 0.0316 and 1.1 × the second" in view.protocol.text()
    assert "at least 0.0316 (σ₀·√(2 ln d)) and 1.1 times the second" in view.protocol.toolTip()


@pytest.mark.parametrize("row", [0, 1, 2])
def test_each_place_of_a_bar_is_a_neuron_of_that_fate(view, row):
    view.render(make())
    told = []
    view.neuron_hovered.connect(told.append)
    for place in range(9):
        view.bars._move(bar_of(view, row, place))
    assert sorted(told) == list(range(9))
    fates = view.transitions[row].fate
    assert fates[told].tolist() == sorted(fates.tolist())
    view.bars._move(QPointF(-5, -5))
    assert told[-1] == -1
    assert view.readout.text() == ""
    with_neuron = told[4]
    with_place = view.bars._place[row][with_neuron]
    view.highlight(with_neuron)
    x, y = view.bars.ticks.getData()
    assert x.reshape(3, 2)[row].tolist() == [with_place + 0.5] * 2
    assert sorted(y.reshape(3, 2).mean(1).tolist()) == [0, 1, 2]


def test_a_neuron_pointed_at_elsewhere_is_marked_and_told(view):
    view.render(make())
    view.highlight(3)
    assert view.map.ring.isVisible()
    assert view.map.ring.rect().getRect() == (0, 0, 1, 1)  # feature 0, now
    assert view.readout.text() == (
        "neuron 3: feature start +3, after clean training +3, now +0 · start → clean: kept, clean → now: changed, "
        "start → now: changed"
    )
    view.set_options({"moment": "clean"})
    assert view.map.ring.rect().getRect() == (0, 1, 1, 1)  # feature 3 of 3 × 3
    view.highlight(7)
    assert "after clean training +7 (not alive)" in view.readout.text()
    view.highlight(4)
    assert "start +4, after clean training −4" in view.readout.text()
    for nobody in (-1, 10_000):
        view.highlight(nobody)
        assert not view.map.ring.isVisible()
        assert view.readout.text() == ""


def test_a_feature_means_its_neurons_and_each_click_the_next(view, qtbot):
    view.render(make())
    hovered, chosen = [], []
    view.neuron_hovered.connect(hovered.append)
    view.neuron_hovered.connect(view.highlight)  # as the window does
    view.neuron_selected.connect(chosen.append)
    view.neuron_selected.connect(view.select)
    view.map._move(cell_of(view, 0))
    assert hovered == [0]
    assert view.map.ring.rect().getRect() == (0, 0, 1, 1)
    assert view.map.toolTip() == view.bars.toolTip() == view.readout.text()
    assert len(view.bars.ticks.getData()[0]) == 2 * 3 * 2  # neurons 0 and 3, in three bars, both ends
    assert view.readout.text() == (
        "feature 0 (DCT frequency 0 down, 0 across): neurons 2 start, 1 after clean training, 2 now · neurons now: "
        "0, 3 · winners 1 of 1 became"
    )
    for _ in range(3):
        at = view.map.mapFromScene(cell_of(view, 0))
        qtbot.mouseClick(view.map.viewport(), Qt.MouseButton.LeftButton, pos=at)
        qtbot.wait(1)
    assert chosen[:2] == [3, 0] or chosen[:2] == [0, 3]
    view.map._move(cell_of(view, 2))
    assert hovered[-1] == -1  # nobody has it now
    assert view.readout.text().startswith("feature 2 (DCT frequency 0 down, 2 across): neurons 1 start, 0 after")
    view.map.eventFilter(view.map.viewport(), QEvent(QEvent.Type.Leave))
    assert not view.map.ring.isVisible()


def test_before_clean_training_has_ended(view):
    view.render(make(FeatureFates(START, None, NOW), step=500))
    assert [each.name for each in view.transitions] == ["start → now"]
    assert [text.toPlainText() for text in view.bars.texts][1:] == ["", ""]
    assert "kept since the start 0.571" in view.count.text()
    assert "since start" in view.map_key.text()
    view.set_options({"moment": "clean"})
    assert "not yet" in view.map_title.text()
    assert view.map.image.image is None
    view.set_options({"moment": "start"})
    assert view.map_key.text() == "× no neuron"


def test_marks_are_chosen(view):
    view.render(make())
    signs = view.map.signs
    for mark, lost, gained, none in (
        ("both", 2, 1, 1), ("lost", 2, 0, 1), ("gained", 0, 1, 3), ("none", 0, 0, 3)
    ):  # fmt: skip
        view.set_options({"mark": mark})
        assert len(signs["lost"].getData()[0]) == lost
        assert len(signs["gained"].getData()[0]) == gained
        assert len(view.map.none.getData()[0]) == none  # a cross wherever no other sign says that nobody has it
    view.set_options({"mark": "both"})
    assert view.map_key.text() == "× no neuron  ▼ 2 lost ▲ 1 gained since clean"


def test_the_curves_over_steps_with_the_total(view):
    view.render(make())
    curve, history = view.time.curves["now"], record()
    np.testing.assert_array_equal(curve.y, history[metrics.HELD].values)
    assert view.total.value() == 9
    view.set_options({"quantity": "kept"})
    np.testing.assert_array_equal(curve.x, history[metrics.KEPT].steps)
    np.testing.assert_array_equal(curve.y, history[metrics.KEPT].values)
    assert view.total.value() == 1
    assert view.time.y_range[1] > 1


def test_what_lags_says_its_age_and_another_run_forgets(view):
    view.render(make())
    drawn = view.map.image.image
    view.render(dataclasses.replace(make(None), step=2300))
    assert "Step 2,000, 300 steps ago" in view.count.text()
    assert view.map.image.image is drawn
    view.highlight(3)
    view.render(make(None, run="b", history=History()))
    assert view.pages.empty
    assert view.map.image.image is None
    assert [text.toPlainText() for text in view.bars.texts] == ["", "", ""]
    assert (view.count.text(), view.readout.text(), view.protocol.text()) == ("", "", "")
    assert all(count.text() == "–" for count, _ in view.table.cells.values())
    assert not len(view.time.curves["now"].x)


def test_nothing_is_drawn_again_while_nothing_has_changed(view, monkeypatch):
    view.render(make())
    calls = []
    monkeypatch.setattr(view.map, "show_map", lambda *a: calls.append(a) or (0, 0))
    view.render(make())
    assert not calls
    view.render(make(step=2010))
    assert len(calls) == 1


def test_a_narrow_panel_stacks_the_halves(view):
    view.render(make())
    assert view.split.orientation() == Qt.Orientation.Horizontal
    view.resize(420, 900)
    assert view.split.orientation() == Qt.Orientation.Vertical
    view.resize(760, 560)
    assert view.split.orientation() == Qt.Orientation.Horizontal


def test_options_round_trip(view):
    before = view.options()
    assert before == {"moment": "now", "mark": "both", "quantity": "held"}
    view.set_options({"moment": "nonsense", "other": "1"})
    assert view.options() == before
    wanted = {"moment": "start", "mark": "lost", "quantity": "kept"}
    view.set_options(wanted)
    assert view.options() == wanted
    view.set_theme(DARK)
    assert not view.grab().isNull()


def test_a_live_run_shows_what_its_weights_say(view, tmp_path):
    session = worlds.create(tiny_config(), tmp_path / "run")
    advance(session, 60)
    while session.measuring:
        session.measure()
    snapshot = session.snapshot(frozenset({FeatureFates, Winners, Weights}))
    session.close()
    view.render(snapshot)
    found = snapshot.get(Weights)
    held, alive, feature = {}, {}, {}
    for name in ("start", "clean", "now"):
        weight = getattr(found, name).astype(float)
        norm = np.sqrt((weight**2).sum(1))
        alive[name], C = norm > 0.3 * norm.max(), weight @ found.dictionary
        largest = np.abs(C).argmax(1)
        feature[name] = [(j, C[i, j] > 0) for i, j in enumerate(largest.tolist())]
        held[name] = len(set(largest[alive[name]]))
    assert f"features held {held['start']} → {held['clean']} → {held['now']} of 16" in view.count.text()
    both = alive["clean"] & alive["now"]
    kept = sum(a == b for a, b, counted in zip(feature["clean"], feature["now"], both, strict=True) if counted)
    assert float(view.bars.parts["kept"].opts["width"][1]) == kept
    assert float(view.bars.parts["died"].opts["width"][1]) == (alive["clean"] & ~alive["now"]).sum()
    assert view.time.curves["now"].y[-1] == held["now"]  # recorded at the last live evaluation, of the same step
    assert view.time.curves["now"].x.tolist() == list(range(0, 61, 10))


def test_a_neuron_chosen_here_is_opened_in_the_gallery(qtbot, tmp_path):
    from tests.gui.test_views import make as make_theory

    settings = QSettings(str(tmp_path / "settings.ini"), QSettings.Format.IniFormat)
    owner = FeatureFatesView()
    qtbot.addWidget(owner)
    shelf = ViewShelf((NeuronsView, MixturesView, FeatureFatesView), settings, LIGHT, owner)
    neurons, mixtures, features = (shelf.get(name) for name in ("neurons", "mixtures", "feature_fates"))
    for each in (neurons, mixtures, features):
        qtbot.addWidget(each)
        each.neuron_selected.connect(shelf.choose)
    shelf.choose(1)  # nobody shows a run yet
    assert not neurons.inspecting
    snapshot = make_theory()
    neurons.render(snapshot)
    mixtures.render(snapshot)
    features.render(make())
    features.bars.picked.emit(5)
    assert (neurons.inspecting, neurons.inspector.neuron) == (True, 5)
    assert mixtures.scatter.unit == 5
    assert features.readout.text().startswith("neuron 5:")
    assert snapshot.get(Mixture) is not None
