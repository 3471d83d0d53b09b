"""The radius view on synthetic curves: what it draws, what it says, and when it does nothing."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPointF, Qt

from engine.config.experiment import with_value
from engine.config.presets import load_preset
from engine.core import metrics
from engine.core.history import History
from engine.core.measurement import Measurement, wilson
from engine.core.results import RadiusCurves
from engine.probes import certificate
from engine.run.snapshot import Snapshot
from fp_gui.theme import DARK, LIGHT
from fp_gui.views.base import views
from fp_gui.views.plots import colour_of
from fp_gui.views.radius import CURVES, LINF_BOUND, RadiusView
from fp_gui.views.robustness import RobustnessView

CONFIG = load_preset("small")
RADII = np.linspace(0, 0.3, 7)


def curves(**changes):
    pgd = np.array([0.99, 0.97, 0.95, 0.93, 0.9, 0.84, 0.7])
    found = RadiusCurves(
        2950, "l2", 10, 1, 128, RADII, pgd, pgd**2, np.linspace(0.9, 0.1, 7), np.linspace(0.9, 0, 7), pgd**0.5
    )
    return dataclasses.replace(found, **changes)


def make(result=None, *, run="a", tau=0.2, step=3000):
    results = {} if result is None else {RadiusCurves: result}
    config = with_value(CONFIG, "attack.tau", tau)
    return Snapshot(run, Path(), step, "adversarial", True, False, "cpu", 2, config, History(), (), {}, results)


@pytest.fixture
def view(qtbot):
    view = RadiusView()
    qtbot.addWidget(view)
    view.resize(620, 420)
    view.show()
    qtbot.waitExposed(view)
    return view


def test_it_is_registered_and_wants_the_curves():
    assert views["radius"] is RadiusView
    assert RadiusView.wants == {RadiusCurves}


def test_it_says_that_it_is_being_measured(view):
    assert "Press play" in view.pages.message.text()
    view.render(make())
    assert view.pages.empty
    assert "is being measured" in view.pages.message.text()
    view.render(make(curves()))
    assert not view.pages.empty
    view.render(make())
    assert not view.pages.empty  # the last ones stay until there are new ones
    view.render(make(run="b"))
    assert view.pages.empty


def test_what_is_drawn_are_the_arrays(view):
    result = curves()
    view.render(make(result))
    for key, curve in view.curves.items():
        values = getattr(result, key)
        for item in (curve.line, curve.marks):
            x, y = item.getData()
            np.testing.assert_array_equal(x, RADII)
            np.testing.assert_array_equal(y, values)
            assert item.isVisible()
        low, high = np.array([wilson(v * 128, 128) for v in values]).T
        np.testing.assert_allclose(curve.bars.xData, np.repeat(RADII, 2))
        np.testing.assert_allclose(curve.bars.yData, np.stack([low, high], axis=1).ravel())
    assert view.tau.value() == 0.2
    assert "ℓ2 norm" in view.plot.getPlotItem().getAxis("bottom").labelText
    (x0, x1), (y0, y1) = view.box.viewRange()
    assert x0 <= 0 <= 0.3 <= x1
    assert y0 <= 0 <= 1 <= y1


def test_curves_are_told_apart_without_colour():
    looks = {(look.marker, look.dash) for look in CURVES.values()}
    assert len(looks) == 3  # attack, certificate, ideal network; now and after clean by colour, with two areas
    assert len({look.marker for look in CURVES.values()}) == 3


def test_the_area_lies_between_the_two_bounds(view):
    result = curves()
    view.render(make(result))
    for state, above, below in (
        ("now", result.pgd, result.certified),
        ("clean", result.pgd_clean, result.certified_clean),
    ):
        path = view.areas[state].path()
        for radius, top, bottom in zip(RADII[1:-1], above[1:-1], below[1:-1], strict=True):
            if top - bottom > 1e-3:
                assert path.contains(QPointF(radius, (top + bottom) / 2))
            assert not path.contains(QPointF(radius, top + 0.01))
            assert not path.contains(QPointF(radius, bottom - 0.01))


def test_the_table_tells_tau_and_the_hovered_radius(view):
    result = curves()
    view.render(make(result))
    view.grab()

    def expected(key, i):
        low, high = wilson(getattr(result, key)[i] * 128, 128)
        return f"{getattr(result, key)[i]:.3f} [{low:.3f}, {high:.3f}]"

    assert view.at.text() == "at radius 0.2 = tau"
    assert {key: cell.value.text() for key, cell in view.cells.items()} == {key: expected(key, 4) for key in CURVES}
    view._move(view.box.mapViewToScene(QPointF(0.11, 0.5)))
    assert view.at.text() == "at radius 0.1"
    assert view.cross.isVisible()
    assert view.cross.value() == pytest.approx(0.1)
    assert {key: cell.value.text() for key, cell in view.cells.items()} == {key: expected(key, 2) for key in CURVES}
    view.eventFilter(view.plot.viewport(), QEvent(QEvent.Type.Leave))
    assert view.at.text() == "at radius 0.2 = tau"
    assert not view.cross.isVisible()


def test_the_protocol_is_complete(view):
    view.render(make(curves()))
    text = view.protocol.text()
    for part in ("PGD-10 × 1 restart", "ℓ2 radii 0 to 0.3", "n = 128", "95% Wilson", "live estimate", "Step 2,950"):
        assert part in text
    assert LINF_BOUND not in text
    assert view.names["now"].text() == "now (step 2,950, 50 steps ago)"
    view.render(make(curves(norm="linf")))
    assert LINF_BOUND in view.protocol.text()
    assert "ℓ∞ radii" in view.protocol.text()
    assert "ℓ∞ norm" in view.plot.getPlotItem().getAxis("bottom").labelText
    assert LINF_BOUND in certificate.CERTIFIED_LINF


def test_before_the_clean_phase_has_ended(view):
    view.render(make(curves(pgd_clean=None, certified_clean=None, oracle=None)))
    for key in ("pgd_clean", "certified_clean", "oracle"):
        assert not view.curves[key].line.isVisible()
        assert view.cells[key].value.text() == "–"
    assert view.areas["clean"].path().isEmpty()
    assert view.names["clean"].text().endswith("not yet")
    assert view.names["oracle"].text().endswith("being measured")
    assert not view.grab().isNull()


def test_nothing_is_drawn_for_the_same_curves(view, monkeypatch):
    result = curves()
    view.render(make(result))
    drawn = []
    monkeypatch.setattr(view, "_draw", drawn.append)
    view.render(make(result, step=3001))
    view.render(make(None, step=3002))
    assert drawn == []
    view.render(make(result, tau=0.1))
    assert drawn == []
    assert view.tau.value() == 0.1
    other = curves(step=3000)
    view.render(make(other))
    assert drawn == [other]


def test_radii_may_all_be_zero(view):
    view.render(make(curves(radii=np.zeros(7)), tau=0.0))
    assert view.at.text() == "at radius 0 = tau"
    assert not view.grab().isNull()


def test_options(view):
    view.render(make(curves()))
    assert view.options() == {"clean": "true", "intervals": "true"}
    view.set_options({"clean": "maybe", "nonsense": "1"})
    assert view.options() == {"clean": "true", "intervals": "true"}
    view.set_options({"clean": "false", "intervals": "false"})
    assert view.options() == {"clean": "false", "intervals": "false"}
    assert not view.curves["pgd_clean"].line.isVisible()
    assert not view.areas["clean"].isVisible()
    assert not view.curves["pgd"].bars.isVisible()
    assert view.curves["pgd"].line.isVisible()


def test_themes(view):
    view.render(make(curves()))
    for theme in (LIGHT, DARK):
        view.set_theme(theme)
        assert view.curves["pgd"].line.opts["pen"].color() == colour_of(CURVES["pgd"], view.theme)
        assert view.areas["now"].brush().color().alpha() < 128
    assert view.curves["certified"].line.opts["pen"].style() == Qt.PenStyle.DashLine
    assert view.caption.toolTip() == view.heads[1].toolTip() != ""


# --- the certified accuracy over time, in the robustness view


def test_certified_accuracy_appears_where_it_was_measured(qtbot):
    view = RobustnessView()
    qtbot.addWidget(view)
    view.show()
    history = History()
    for step in (50, 100, 150):
        history.append(step, metrics.PGD, 0.9)
    protocol = certificate.protocol("l2", 0.2, 128)
    protocols = {
        metrics.PGD: ((50, Measurement("pgd", "l2", 0.2, 10, 1, 256, True)),),
        metrics.CERTIFIED: ((150, protocol),),
    }
    snapshot = dataclasses.replace(make(), history=history, protocols=protocols)
    view.render(snapshot)
    row, curve = view.rows[metrics.CERTIFIED], view.plot.curves[metrics.CERTIFIED]
    assert not row.protocol.isVisible()
    assert not curve.line.isVisible()
    assert not any("certified" in text for text in view.plot.values_at(100))
    history.append(150, metrics.CERTIFIED, 0.75)
    view.render(dataclasses.replace(snapshot, step=3001))
    assert row.protocol.isVisible()
    assert curve.line.isVisible()
    assert (curve.x.tolist(), curve.y.tolist()) == ([150], [0.75])
    low, high = wilson(96, 128)
    assert row.live.text() == f"0.750 [{low:.3f}, {high:.3f}]"
    assert row.protocol.text() == "certified · ℓ2 0.2 · n = 128"
    assert protocol.text() in row.protocol.toolTip()
    assert metrics.CERTIFIED not in metrics.ACCURACIES
    view.render(dataclasses.replace(snapshot, run="b", history=History()))
    assert not row.protocol.isVisible()
