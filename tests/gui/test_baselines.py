"""What the main views draw, against stored pictures; ``python -m tests.gui.audit`` shows a difference and accepts it.

Text, axes and their places depend on a machine's fonts and are left out: compared are curves, marks, bars and tiles.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PySide6.QtWidgets import QApplication

from engine.core import metrics
from engine.core.history import History
from engine.core.results import Filters, Mixture, Perturbations, Weights
from fp_gui import timeline_bar
from fp_gui.theme import DARK
from fp_gui.views import gallery
from tests.gui import audit


@pytest.fixture(autouse=True)
def _plain_pixels(qapp: QApplication) -> None:
    if qapp.devicePixelRatio() != 1:
        pytest.skip("marks and lines have other sizes, in pixels, on a scaled screen")


@pytest.mark.parametrize("name", audit.NAMES)
def test_a_view_draws_what_is_stored(qapp: QApplication, tmp_path: Path, name: str) -> None:
    good, line = audit.report(name, tmp_path)
    assert good, f"{line}; look at it, and if it is meant: python -m tests.gui.audit --accept {name}"


@pytest.fixture
def large_text(qapp: QApplication):
    own = qapp.font()
    font = qapp.font()
    font.setPointSizeF(1.6 * own.pointSizeF())
    font.setBold(True)
    qapp.setFont(font)
    yield
    qapp.setFont(own)


@pytest.mark.parametrize("name", ["neurons", "mixtures", "feature_fates", "filters", "layers"])
def test_another_font_makes_no_difference(large_text: None, name: str) -> None:
    assert audit.shares(audit.expected(name), audit.actual(name)) == pytest.approx(
        [0] * len(audit.layers_of(audit.expected(name))), abs=audit.ALLOWED
    )


def replaced(name: str, kind: type, **parts: object):
    """The snapshot of a stored picture with parts of a result exchanged."""
    snapshot = audit.snapshot_of(name)
    results = dict(snapshot.results)
    results[kind] = dataclasses.replace(results[kind], **parts)
    return dataclasses.replace(snapshot, results=results)


def signs():
    return replaced("neurons", Weights, now=-audit.snapshot_of("neurons").get(Weights).now)


def axes():
    found = audit.snapshot_of("mixtures").get(Mixture)
    return replaced("mixtures", Mixture, pure=found.mixture, mixture=found.pure)


def attacks():
    snapshot = audit.snapshot_of("robustness")
    other = {metrics.CLEAN: metrics.PGD, metrics.PGD: metrics.CLEAN}
    history = History()
    for name in snapshot.history:
        series = snapshot.history[name]
        for step, value in zip(series.steps, series.values, strict=True):
            history.append(int(step), other.get(name, name), float(value))
    return dataclasses.replace(snapshot, history=history)


def perturbations():
    found = audit.snapshot_of("perturbation").get(Perturbations)
    return replaced("perturbation", Perturbations, coefficients=-found.coefficients)


def moments():
    found = audit.snapshot_of("filters").get(Filters)
    return replaced("filters", Filters, now=found.clean, clean=found.now)


def layers():
    return audit.of_images.make(audit.of_images.by_layer(seed=5))


@pytest.mark.parametrize("change", [signs, axes, attacks, perturbations, moments, layers])
def test_other_numbers_are_seen(qapp: QApplication, change) -> None:
    name = {
        signs: "neurons", axes: "mixtures", attacks: "robustness", perturbations: "perturbation", moments: "filters",
        layers: "layers",
    }[change]  # fmt: skip
    assert not audit.same(audit.expected(name), audit.view_picture(name, change()))


def test_other_colours_are_seen(qapp: QApplication, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not audit.same(audit.expected("timeline"), audit.actual("timeline", DARK))
    own = gallery.diverging
    monkeypatch.setattr(gallery, "diverging", lambda theme: own(theme)[:, [2, 1, 0, 3]])
    assert not audit.same(audit.expected("neurons"), audit.actual("neurons"))
    monkeypatch.setattr(timeline_bar, "SHADE", 200)
    assert not audit.same(audit.expected("timeline"), audit.actual("timeline"))


def test_the_difference_is_shown_and_accepted(
    qapp: QApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = audit.expected("timeline")
    monkeypatch.setattr(audit, "FOLDER", tmp_path / "stored")
    audit.accept("timeline", before)
    changed = before.copy()
    changed[5:20, 100:160] = (200, 30, 30)
    good, line = audit.report("timeline", tmp_path / "out", changed)
    assert not good
    assert "timeline:" in line
    with Image.open(tmp_path / "out" / "timeline.png") as image:
        side = np.asarray(image.convert("RGB"))
    wide = before.shape[1]
    assert side.shape == (len(before), 3 * wide + 12, 3)
    red = (side[:, 2 * wide + 12 :] == (220, 0, 0)).all(-1)
    assert red[6:19, 101:159].all()
    assert not red[:, :98].any()
    audit.accept("timeline", changed)
    assert audit.report("timeline", tmp_path / "out", changed)[0]
