"""One neuron, marked in every view that shows neurons: while it is pointed at, and for good once it was chosen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PySide6.QtCore import QSettings
from PySide6.QtTest import QTest

from engine.core.results import CleanMixture, Mixture
from fp_gui.theme import LIGHT
from fp_gui.view_shelf import ViewShelf
from fp_gui.views.base import View, view_types, views
from fp_gui.views.filters import FiltersView
from fp_gui.views.mixtures import MixturesView
from fp_gui.views.neurons import NeuronsView
from tests.gui import test_feature_fates_view as of_fates
from tests.gui import test_image_views as of_images
from tests.gui import test_views as of_theory
from tests.gui.test_views import shown

SNAPSHOTS = {
    "neurons": of_theory.make, "mixtures": of_theory.make, "feature_fates": of_fates.make,
    "filters": lambda: of_images.make(of_images.filters()), "layers": lambda: of_images.make(of_images.by_layer()),
    "cosines": lambda: of_images.make(of_images.by_layer()),
}  # fmt: skip
CHOSEN = 5


def picture(view: View) -> np.ndarray:
    """The pixels of the view's plots; texts beside them would change for any reason."""
    image = view.grab().toImage()
    return np.frombuffer(image.constBits(), np.uint8).copy()


def settled(view: View) -> np.ndarray:
    """The same once texts have folded and parts have taken their room."""
    before = picture(view)
    for _ in range(20):
        QTest.qWait(30)
        now = picture(view)
        if np.array_equal(now, before):
            break
        before = now
    return before


def test_every_view_that_shows_neurons_has_a_case() -> None:
    marking = {kind.name for kind in view_types() if kind.highlight is not View.highlight}
    assert marking == set(SNAPSHOTS)
    tells = {kind.name for kind in view_types() if kind.select is not View.select}
    assert tells <= marking


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_neuron_is_marked_and_unmarked_in_what_is_drawn(qtbot, name: str) -> None:
    view = shown(qtbot, views[name])
    view.render(SNAPSHOTS[name]())
    plain = picture(view)
    view.highlight(CHOSEN)
    marked = picture(view)
    assert (plain != marked).sum() > 20
    view.highlight(-1)
    np.testing.assert_array_equal(picture(view), plain)
    view.highlight(10_000)  # no such neuron
    assert (plain != picture(view)).sum() == 0


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_chosen_neuron_stays_marked_until_it_is_let_go(qtbot, qapp, name: str) -> None:
    shelf = ViewShelf([views[name]], QSettings(), LIGHT, qapp)
    view = shelf.get(name)
    qtbot.addWidget(view)
    view.resize(900, 600)
    view.show()
    qtbot.waitExposed(view)
    view.neuron_selected.connect(shelf.choose)
    view.render(SNAPSHOTS[name]())
    plain = settled(view)
    shelf.choose(CHOSEN)
    chosen = settled(view)
    assert len(chosen) != len(plain) or (plain != chosen).sum() > 20
    shelf.hover(2)
    shelf.hover(-1)  # the mouse has left: the chosen one is marked again
    np.testing.assert_array_equal(picture(view), chosen)
    shelf.choose(-1)
    assert (settled(view) != plain).mean() < 0.002  # but for a text that an order has changed


def test_a_view_that_is_seen_later_or_shows_another_run_is_told(qtbot, qapp) -> None:
    shelf = ViewShelf(view_types(), QSettings(), LIGHT, qapp)
    mixtures = shelf.get("mixtures")
    mixtures.render(of_theory.make(run="a"))
    named: list[int] = []
    shelf.chosen_changed.connect(named.append)
    shelf.choose(CHOSEN)
    fates = shelf.get("feature_fates")
    fates.render(of_fates.make())
    shelf.follow()
    assert mixtures.scatter.unit == CHOSEN
    assert f"neuron {CHOSEN}:" in fates.readout.text()
    shelf.forget()
    mixtures.render(of_theory.make(run="b"))
    shelf.follow()
    assert mixtures.scatter.unit == CHOSEN  # it is the user's choice
    assert named == [CHOSEN]
    shelf.choose(-1)
    assert named == [CHOSEN, -1]
    assert mixtures.scatter.unit == -1


def test_the_chosen_neurons_history_is_drawn_beside_the_medians(qtbot) -> None:
    view = shown(qtbot, MixturesView)
    first = of_theory.make(1900)
    view.render(dataclasses.replace(first, clean_step=1500))
    view.select(CHOSEN)
    view.set_options({"quantity": "magnitude"})
    curve = view.time.curves["neuron"]
    clean, now = first.get(CleanMixture), first.get(Mixture)
    assert clean is not None
    assert now is not None
    assert curve.x.tolist() == [1500, 1900]
    np.testing.assert_allclose(curve.y, [clean.mixture.mixture[CHOSEN], now.mixture[CHOSEN]], rtol=1e-6)
    view.render(dataclasses.replace(of_theory.make(1950), clean_step=1500))
    assert curve.x.tolist() == [1500, 1900, 1950]
    view.select(7)
    assert curve.x.tolist() == [1500, 1950]  # what was before it was chosen, nobody knows
    view.select(-1)
    assert not len(curve.x)


def test_closing_the_inspector_lets_the_neuron_go(qtbot, qapp) -> None:
    shelf = ViewShelf([NeuronsView, MixturesView], QSettings(), LIGHT, qapp)
    for kind in (NeuronsView, MixturesView):
        view = shelf.get(kind.name)
        qtbot.addWidget(view)
        view.neuron_selected.connect(shelf.choose)
        view.render(of_theory.make())
    neurons, mixtures = shelf.get("neurons"), shelf.get("mixtures")
    assert isinstance(neurons, NeuronsView)
    assert isinstance(mixtures, MixturesView)
    mixtures.scatter.picked.emit(CHOSEN)
    assert neurons.inspecting
    assert neurons.inspector.neuron == CHOSEN
    neurons.inspector.number.setValue(9)
    assert mixtures.scatter.unit == shelf.chosen == 9
    neurons.inspector.closed.emit()
    assert mixtures.scatter.unit == shelf.chosen == -1
    shelf.choose(400)  # this network has 40
    assert not neurons.inspecting


def test_a_unit_chosen_elsewhere_is_framed_among_the_filters(qtbot) -> None:
    view = shown(qtbot, FiltersView)
    view.render(of_images.make(of_images.filters()))
    view.select(CHOSEN)
    assert view.selected == CHOSEN
    assert f"unit {CHOSEN}:" in view.status.text()
    view.select(-1)
    assert view.selected == -1
