"""The perturbation view on synthetic results: pictures on one scale, coefficients, cosines, and texts."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from engine.config.presets import load_preset
from engine.core.arrays import cosines
from engine.core.history import History
from engine.core.measurement import Measurement
from engine.core.results import CleanPerturbations, Perturbations
from engine.figures.declare import amplification, round_up
from engine.figures.panels import picture_size
from engine.figures.perturbation import reference, shared_scale
from engine.run.snapshot import Snapshot
from fp_gui.theme import DARK, LIGHT
from fp_gui.views.base import views
from fp_gui.views.gallery import quantise
from fp_gui.views.perturbation import PerturbationView

CONFIG = load_preset("small")


def anatomy(d=16, k=12, n=40, *, norm="l2", tau=0.2, seed=0):
    rng = np.random.default_rng(seed)
    M = np.linalg.qr(rng.normal(size=(d, d)))[0].astype(np.float32)
    target = np.sign(rng.normal(size=d)).astype(np.float32)
    x = rng.normal(size=(k, d)).astype(np.float32)
    delta = rng.normal(size=(k, d)).astype(np.float32)
    delta *= tau / np.linalg.norm(delta, axis=1, keepdims=True)
    y = np.sign(rng.normal(size=k)).astype(np.float32)
    before, after = np.linspace(-1, 3, k, dtype=np.float32), np.linspace(-2, 1, k, dtype=np.float32)
    cosine = rng.uniform(-1, 1, n).astype(np.float32)
    return Perturbations(
        Measurement("fgm", norm, tau, 1, 1, n, True), cosine, rng.integers(1, d + 1, n), x, delta, y, before, after,
        delta @ M, target,
    )  # fmt: skip


def clean_of(found, *, seed=9, step=1500):
    """The clean net's perturbations of the same inputs, and their cosines with ``found``."""
    of = dataclasses.replace(anatomy(*found.x.shape[::-1], found.protocol.n, seed=seed), x=found.x, y=found.y)
    between = np.random.default_rng(seed).uniform(-1, 1, found.protocol.n).astype(np.float32)
    between[: len(found.y)] = cosines(of.delta, found.delta)
    return CleanPerturbations(step, dataclasses.replace(of, protocol=found.protocol), between)


def make(*given, run="a", step=3000):
    results = {type(each): each for each in given if each is not None}
    return Snapshot(run, Path(), step, "adversarial", True, False, "cpu", 2, CONFIG, History(), (), {}, results)


@pytest.fixture
def view(qtbot):
    view = PerturbationView()
    qtbot.addWidget(view)
    view.resize(620, 420)
    view.show()
    qtbot.waitExposed(view)
    return view


def pixels(picture):
    return picture.image.image


def test_it_is_registered_and_wants_the_perturbations():
    assert views["perturbation"] is PerturbationView
    assert PerturbationView.wants == {Perturbations, CleanPerturbations}


def test_an_empty_view_says_what_it_waits_for(view):
    assert "Press play" in view.pages.message.text()
    view.render(make())
    assert view.pages.empty
    assert "being measured" in view.pages.message.text()
    view.render(make(anatomy()))
    assert not view.pages.empty
    view.render(make(run="b"))
    assert view.pages.empty


@pytest.mark.parametrize("d", [1, 10, 16])
def test_three_pictures_on_one_scale(view, d):
    found = anatomy(d)
    view.render(make(found))
    view.sample.setValue(3)
    scale = shared_scale(found)
    assert scale >= max(np.abs(found.x).max(), np.abs(found.x + found.delta).max())
    assert [p.scale for p in view.pictures] == [scale] * 3
    assert view.bar.texts()[2] == f"+{scale:.3g}"
    factor = amplification(found.delta, scale)
    assert f"δ × {factor}," in view.pictures[1].title.text()
    assert "‖δ‖ = 0.2 (ℓ2)" in view.pictures[1].title.text()
    x, delta = found.x[2], found.delta[2]
    shape = picture_size(d)
    for picture, vector in zip(view.pictures, (x, factor * delta, x + delta), strict=True):
        assert pixels(picture).shape == shape
        shown = pixels(picture).ravel()
        np.testing.assert_array_equal(shown[:d], quantise(vector.astype(np.float32), scale))
        assert (shown[d:] == 0).all()  # room that is no pixel
    view.set_options({"factor": "1"})
    assert "δ × 1," in view.pictures[1].title.text()
    np.testing.assert_array_equal(pixels(view.pictures[1]).ravel()[:d], quantise(delta, scale))


def test_amplification_is_a_round_factor_that_stays_within_the_scale():
    delta = np.array([[0.03, -0.07]], np.float32)
    assert amplification(delta, 1.0) == 10
    assert amplification(delta, 0.05) == 1
    assert amplification(np.zeros((1, 2), np.float32), 1.0) == 1
    assert amplification(np.float32(1e-9) * delta, 1.0) == 200


def test_margins_say_right_or_wrong(view):
    found = anatomy()
    view.render(make(found))
    view.sample.setValue(12)
    assert view.pictures[0].title.text() == "x: margin +3.000 (right)"
    assert view.pictures[2].title.text() == "x + δ: margin +1.000 (right)"
    view.sample.setValue(1)
    assert view.pictures[0].title.text() == "x: margin −1.000 (wrong)"
    assert view.pictures[2].title.text() == "x + δ: margin −2.000 (wrong)"
    cosine = f"{found.cosine[0]:.3f}".replace("-", "−")
    label = "+1" if found.y[0] > 0 else "−1"
    assert view.facts.text() == f"y = {label} · cosine {cosine} · 90% of energy in {found.coordinates90[0]} of 16"
    assert view.this.value() == pytest.approx(float(found.cosine[0]))


def test_coefficients_and_the_dense_mixture_of_this_label(view):
    found = anatomy()
    view.render(make(found))
    view.sample.setValue(5)
    np.testing.assert_allclose(view.coefficients.yData[1::2], found.coefficients[4])
    assert not view.coefficients.yData[::2].any()
    x, y = view.dense.getData()
    np.testing.assert_array_equal(x, np.arange(16))
    np.testing.assert_allclose(y, -found.y[4] * found.target * 0.2 / np.sqrt(16), rtol=1e-6)
    low, high = view.stems.getViewBox().viewRange()[1]
    assert low <= found.coefficients.min()
    assert high >= found.coefficients.max()


def test_in_linf_the_dense_mixture_is_as_long_as_the_perturbation(view):
    found = anatomy(norm="linf", tau=0.05)
    delta = np.float32(0.05) * np.sign(found.delta)
    found = dataclasses.replace(found, delta=delta, coefficients=delta)  # as in the dictionary of the pixels
    assert np.linalg.norm(reference(found, 0)) == pytest.approx(0.05 * 4, rel=1e-5)
    view.render(make(found))
    assert "‖δ‖ = 0.05 (ℓ∞)" in view.pictures[1].title.text()
    assert "same length" in view.key.text()


def test_histogram_and_means_over_all_inputs(view):
    found = anatomy()
    view.render(make(found))
    assert view.bars.yData.sum() == 40
    np.testing.assert_array_equal(view.bars.yData, np.histogram(found.cosine, np.linspace(-1, 1, 41))[0])
    assert view.mean.value() == pytest.approx(found.cosine.mean(), abs=1e-6)
    text = view.summary.text()
    assert f"in {found.coordinates90.mean():.1f} of 16 coordinates on average" in text
    assert "FGM (1 step), ℓ2 radius 0.2, n = 40 (live estimate)" in text
    assert "Wilson" not in text  # these are means
    assert f"Mean cosine {found.cosine.mean():.3f}".replace("-", "−") in text


def test_stepping_through_the_inputs(view):
    view.render(make(anatomy(k=3)))
    assert view.sample.maximum() == 3
    assert not view.previous.isEnabled()
    view.next.click()
    view.next.click()
    assert view.sample.value() == 3
    assert not view.next.isEnabled()
    view.previous.click()
    assert view.options() == {"sample": "2", "factor": "auto", "beside": "true"}
    view.render(make(anatomy(k=1, n=1), run="b"))
    assert view.options()["sample"] == "1"
    assert not view.next.isEnabled()


def test_options_round_trip_and_ignore_what_is_unknown(view):
    assert view.options() == {"sample": "1", "factor": "auto", "beside": "true"}
    for wrong in ("0", "-1", "99", "many"):
        view.set_options({"sample": wrong, "factor": "3", "nonsense": "1"})
        assert view.options() == {"sample": "1", "factor": "auto", "beside": "true"}
    view.set_options({"sample": "7", "factor": "1", "beside": "false"})
    assert view.options() == {"sample": "7", "factor": "1", "beside": "false"}
    found = anatomy()
    view.render(make(found))
    np.testing.assert_allclose(view.coefficients.yData[1::2], found.coefficients[6])


def test_nothing_is_done_for_the_same_result(view, monkeypatch):
    found = anatomy()
    view.render(make(found))
    calls = []
    monkeypatch.setattr(view, "draw_sample", lambda: calls.append(1))
    view.render(make(found, step=3001))
    view.render(make(None, step=3002))
    assert calls == []
    view.render(make(anatomy(seed=1), step=3003))
    assert calls == [1]


def test_no_perturbation_at_radius_zero(view):
    found = anatomy()
    nothing = dataclasses.replace(
        found, protocol=Measurement("fgm", "l2", 0.0, 1, 1, 40, True), delta=0 * found.delta,
        coefficients=0 * found.coefficients, cosine=0 * found.cosine, coordinates90=0 * found.coordinates90,
    )  # fmt: skip
    view.render(make(nothing))
    assert "δ × 1, ‖δ‖ = 0 (ℓ2)" in view.pictures[1].title.text()
    assert not view.grab().isNull()


def test_scale_is_rounded_up():
    found = anatomy()
    largest = max(np.abs(found.x).max(), np.abs(found.x + found.delta).max())
    assert shared_scale(found) == round_up(float(largest))


def test_themes_and_tooltips(view):
    view.render(make(anatomy()))
    light = view.grab().toImage()
    view.set_theme(DARK)
    dark = view.grab().toImage()
    assert light.pixelColor(300, 250).lightness() > dark.pixelColor(300, 250).lightness()
    view.set_theme(LIGHT)
    for widget in (view.facts, view.stems, view.histogram, view.sample, view.next, view.bar, *view.pictures):
        assert widget.toolTip()


def test_the_clean_net_stands_beside(view):
    found = anatomy()
    clean = clean_of(found)
    view.render(make(found))
    assert not any(picture.isVisible() for picture in view.clean_pictures)
    assert "clean net" not in view.facts.text() + view.summary.text() + view.key.text()
    view.render(make(found, clean))
    assert all(picture.isVisible() for picture in view.clean_pictures)
    titles = [picture.title.text() for picture in (*view.pictures, *view.clean_pictures)]
    before, after = clean.perturbations.before[0], clean.perturbations.after[0]
    assert titles[0] == "x: margin −1.000 (wrong), clean net −1.000 (wrong)"
    assert titles[2] == "now: x + δ: margin −2.000 (wrong)"
    assert titles[3].startswith("clean net: δ × ")
    assert titles[4] == f"clean net: x + δ: margin {after:+.3f} (wrong)".replace("-", "−")
    assert before < 0
    assert [p.scale for p in view.clean_pictures] == [view.pictures[0].scale] * 2
    mean = f"{clean.between.mean():.3f}".replace("-", "−")
    assert f"The clean net's (step 1,500): {clean.perturbations.cosine.mean():.3f}".replace("-", "−") in (
        view.summary.text()
    )
    assert f"mean cosine between both δ {mean}" in view.summary.text()
    low, high = view.stems.getViewBox().viewRange()[1]
    assert low <= min(found.coefficients.min(), clean.perturbations.coefficients.min())
    assert high >= max(found.coefficients.max(), clean.perturbations.coefficients.max())
    view.render(make(run="b"))
    assert view.pages.empty
    assert view.clean is None
    view.render(make(found, run="b"))
    assert not any(picture.isVisible() for picture in view.clean_pictures)
    assert view.clean_bars.yData.sum() == 0


def test_it_can_be_left_out_and_then_is_not_measured(view):
    found = anatomy()
    view.render(make(found, clean_of(found)))
    view.beside.setChecked(False)
    assert view.wants == {Perturbations}
    assert not any(picture.isVisible() for picture in view.clean_pictures)
    assert len(view.clean_coefficients.getData()[0]) == 0
    assert view.options()["beside"] == "false"
    view.set_options({"beside": "true"})
    assert view.wants == {Perturbations, CleanPerturbations}
    assert all(picture.isVisible() for picture in view.clean_pictures)


def test_nets_attacked_in_different_ways_do_not_stand_beside_each_other(view):
    """As when the radius was changed and only one of them is measured anew yet."""
    found = anatomy()
    clean = clean_of(found)
    other = dataclasses.replace(found, protocol=dataclasses.replace(found.protocol, tau=0.3))
    view.render(make(other, clean))
    assert view.clean is None
    view.render(make(found, clean))
    assert view.clean is clean


@pytest.mark.parametrize("size", [(420, 300), (620, 420), (1100, 700)])
def test_with_the_clean_net_it_still_fits(view, size):
    found = anatomy()
    view.resize(*size)
    view.render(make(found, clean_of(found)))
    assert not view.grab().isNull()
    assert view.width() == size[0]
    assert view.minimumSizeHint().width() <= 420
