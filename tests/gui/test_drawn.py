"""What every view draws, read back from its items, beside the numbers it was given and colours written out here.

A picture that is not empty may still show the wrong curve in the wrong colour. So the expected colours are literals,
on light and on dark ground, and the expected numbers are computed here from the snapshot, not by the view's own code.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.colors
import numpy as np
import pytest
from PySide6.QtGui import QColor

from engine.config.experiment import from_dict, to_dict, with_value
from engine.core import metrics
from engine.core.history import History
from engine.core.measurement import Z95
from engine.core.results import CleanExamples, Mixture, Weights
from engine.core.spectra import LayersSpectrum, Spectrum
from engine.figures import figures
from engine.run.schema import FORMAT
from engine.run.snapshot import Event
from fp_gui.theme import DARK, LIGHT
from fp_gui.views.base import view_types, views
from tests.engine.test_race_figure import CLAIMS, RACE
from tests.engine.test_race_figure import write as write_race
from tests.gui import test_claims_view as of_claims
from tests.gui import test_feature_fates_view as of_fates
from tests.gui import test_image_views as of_images
from tests.gui import test_objectives_view as of_objectives
from tests.gui import test_perturbation_view as of_perturbation
from tests.gui import test_radius_view as of_radius
from tests.gui import test_sparse_code_view as of_sparse_codes
from tests.gui import test_study_views as of_studies
from tests.gui import test_transfer_view as of_transfer
from tests.gui import test_views as of_theory
from tests.gui.reading import (
    BLUE,
    DARK_ORANGE,
    DASH_DOT,
    DASH_DOT_DOT,
    DASHED,
    DOTTED,
    GREEN,
    GREY,
    GROUND,
    INK,
    MUTED,
    ORANGE,
    PURPLE,
    RED_ORANGE,
    SOLID,
    TEXT,
    VERMILION,
    Reader,
    contrast,
    wilson,
)  # fmt: skip

# --- one function a view: what it is shown, and what must be seen


def byte(values, scale):
    return np.clip(np.rint(np.asarray(values, np.float64) * 127 / scale), -127, 127) + 128


def tile_of(gallery, unit, d):
    """The bytes of a unit's tile, without the room that is no pixel."""
    rect, (h, w) = gallery.grid.rect(unit), (gallery.grid.cell[0] - 1, gallery.grid.cell[1] - 1)
    top, left = int(rect.y()) + 1, int(rect.x()) + 1
    return gallery.image.image[top : top + h, left : left + w].ravel()[:d]


def neurons(read, folder):
    view, snapshot = read.view, of_theory.make()
    view.render(snapshot)
    found = snapshot.get(Weights)
    moments = found.start, found.clean, found.now
    bases = {
        "pixel": lambda w: w,
        "dictionary": lambda w: w @ found.dictionary,
    }
    for space, basis in bases.items():
        for normalise in ("false", "true"):
            view.set_options({"space": space, "normalise": normalise})
            scale = view.scale()
            alive = snapshot.get(Mixture).alive
            for gallery, weights in zip(view.galleries, moments, strict=True):
                rows = basis(weights)
                if normalise == "true":
                    rows = rows / np.sqrt((rows**2).sum(1, keepdims=True))
                for unit in view.order[[0, 3, -1]]:
                    shown = tile_of(gallery, int(unit), 16)
                    assert np.abs(shown - byte(rows[unit], scale)).max() <= 1  # rounding
            shown = [basis(w)[alive] for w in moments[1:]]
            if normalise == "true":
                shown = [s / np.sqrt((s**2).sum(1, keepdims=True)) for s in shown]
            largest = max(float(np.quantile(np.abs(s), 0.995)) for s in shown)
            assert 0.9 * largest <= scale <= 1.25 * largest
    table = view.galleries[2].image.lut
    assert np.abs(table[128, :3].astype(int) - QColor(GROUND[read.dark]).getRgb()[:3]).max() <= 1  # zero is the ground
    assert table[64, 2] > table[64, 0] + 40  # below zero blue, above orange
    assert table[192, 0] > table[192, 2] + 40
    assert "step 2,000, adversarial" in view.galleries[2].title.text()
    view.select(int(view.order[1]))
    inspector, unit = view.inspector, int(view.order[1])
    values = (found.now[unit] @ found.dictionary) * np.sign(found.target)
    feature = int(np.abs(values).argmax())
    read.line(inspector.top, [feature] * 2, [0, values[feature]], RED_ORANGE)
    before = (found.clean[unit] @ found.dictionary) * np.sign(found.target)
    read.hollow(inspector.before, np.arange(16), before, MUTED, "o")


def mixtures(read, folder):
    history = History()
    for step in range(50, 2001, 50):
        for i, name in enumerate(metrics.MIXTURE_QUANTITIES):  # each has values of its own
            for summary, value in (("median", 0.5), ("q10", 0.25), ("q90", 0.75)):
                history.append(step, metrics.mixture(name, summary), value + 0.02 * i + step / 1e5)
    view, snapshot = read.view, of_theory.make(alive=np.arange(40) % 3 > 0, history=history)
    view.render(snapshot)
    now, weights = snapshot.get(Mixture), snapshot.get(Weights)
    clean = of_theory.mixture_of(weights.clean, weights.dictionary, weights.target)
    alive, lived = now.alive, clean.alive
    read.marks(view.scatter.alive, now.pure[alive], now.mixture[alive], BLUE, "o")
    read.hollow(view.scatter.dead, now.pure[~alive], now.mixture[~alive], MUTED, "x")
    read.hollow(view.clean_points, clean.pure[lived], clean.mixture[lived], VERMILION, "t1")
    for item, values, pair in (
        (view.bars, now.dense_alignment[alive], BLUE),
        (view.clean_bars, clean.dense_alignment[lived], VERMILION),
    ):
        counts = np.histogram(values, np.linspace(0, 1, 41))[0]
        np.testing.assert_allclose(item.xData, np.linspace(0, 1, 41))
        np.testing.assert_array_equal(item.yData, counts)
        read.is_(item.opts["pen"].color(), pair)
    read.is_(view.bars.opts["brush"].color(), BLUE)
    for quantity in ("purity", "pure", "magnitude", "relative", "dense_alignment"):
        view.set_options({"quantity": quantity})
        series = [snapshot.history[metrics.mixture(quantity, s)] for s in ("median", "q10", "q90")]
        curve = view.time.curves["median"]
        read.line(curve.line, series[0].steps, series[0].values, BLUE)
        read.area(curve.band, series[0].steps[1:], series[1].values[1:], series[2].values[1:], BLUE)
    assert read.label(view.time.plot, "left") == "dense alignment"
    view.highlight(4)
    read.hollow(view.scatter.ring, [now.pure[4]], [now.mixture[4]], TEXT, "o")


ACCURACIES = {
    metrics.CLEAN: (BLUE, SOLID, "o"),
    metrics.FGM: (ORANGE, DASHED, "s"),
    metrics.PGD: (VERMILION, DASH_DOT, "t"),
    metrics.DENSE: (PURPLE, DOTTED, "d"),
}


def robustness(read, folder):
    view = read.view
    history = of_theory.record(2000)
    history.append(1000, metrics.CERTIFIED, 0.25)
    history.append(2000, metrics.CERTIFIED, 0.375)
    certified = of_theory.Measurement("certified (no perturbation fools)", "l2", 0.2, 0, 0, 64, True)
    snapshot = of_theory.make(history=history)
    protocols = {**snapshot.protocols, metrics.CERTIFIED: ((1000, certified),)}
    snapshot = dataclasses.replace(snapshot, protocols=protocols)
    view.render(snapshot)
    for name, (pair, dash, symbol) in (ACCURACIES | {metrics.CERTIFIED: (INK, DASH_DOT_DOT, "t1")}).items():
        curve, series, n = view.plot.curves[name], history[name], 64 if name == metrics.CERTIFIED else 500
        read.line(curve.line, series.steps, series.values, pair, dash)
        low, high = wilson(series.values, n)
        read.area(curve.band, series.steps, low, high, pair)
        x, y = curve.marks.getData()
        where = {float(s): float(v) for s, v in zip(series.steps, series.values, strict=True)}
        assert [where[float(s)] for s in x] == y.tolist()
        read.marks(curve.marks, x, y, pair, symbol)
        row = view.rows[name]
        assert row.live.text() == f"{series.values[-1]:.3f} [{low[-1]:.3f}, {high[-1]:.3f}]"
        assert f"n = {n}" in row.protocol.text()
    report, low_high = view.plot.curves[metrics.PGD], wilson(0.33, 1000)
    read.hollow(report.points, [1500], [0.33], VERMILION, "t")
    read.line(report.bars, [1500, 1500], low_high, VERMILION)
    assert view.rows[metrics.PGD].report.text() == "0.330 [{:.3f}, {:.3f}]".format(*low_high)
    assert "step 1,500" in view.heads[3].text()
    view.set_options({"alignment": "true"})
    found = history[metrics.ALIGNMENT]
    read.line(view.plot.curves[metrics.ALIGNMENT].line, found.steps, found.values, GREEN)
    (clean, second), axis = view.plot.shades[:2], view.plot.plot.getPlotItem().getAxis("top")
    assert (clean.rect().left(), clean.rect().right()) == (0, 1500)
    assert (second.rect().left(), second.rect().right()) == (1500, 2000)
    assert clean.brush().color().name() != second.brush().color().name()
    assert [name for _, name in axis._tickLevels[0]] == ["clean training", "adversarial training"]
    np.testing.assert_array_equal(view.plot.marks.ticks.getData()[0], [1500, 1500])


def write_config(folder, config):
    """What says with which config a run was started."""
    record = {"format": FORMAT, "run": "a" * 32, "created": 1.0, "config": to_dict(config)}
    (folder / "config.json").write_text(json.dumps(record))


SETTINGS = {  # path → colour, dash
    "training.lr": (BLUE, SOLID), "model.bias": (DARK_ORANGE, DASHED), "model.sigma_rho": (PURPLE, DOTTED),
}  # fmt: skip


def training(read, folder):
    view = read.view
    curve, tau = "[[600, 1.0], [1000, 2.0]]", Event(1200, 0.0, "attack.tau", "0.2", "0.4")
    events = (Event(400, 0.0, "schedule.knobs.training.lr", "None", curve), tau, of_theory.SWITCH)
    history = History()
    for step in range(1, 2001):
        history.append(step, metrics.LOSS, 0.7 / step**0.5)
        history.append(step, metrics.TRAIN_ACCURACY, 1 - 0.5 / step**0.5)
    start = from_dict({"schedule": {"clean_steps": 1500}})
    write_config(folder, start)
    config = with_value(with_value(start, "training.lr", json.loads(curve)), "attack.tau", 0.4)
    view.render(dataclasses.replace(of_theory.make(events=events, history=history), folder=folder, config=config))
    for name, pair in ((metrics.LOSS, VERMILION), (metrics.TRAIN_ACCURACY, GREEN)):
        read.line(view.measured[name].curves[name].line, history[name].steps, history[name].values, pair)
        assert not len(view.measured[name].curves["smooth"].x)
    assert view.measured[metrics.LOSS].y_range == (0.0, 0.72)
    k = np.arange(2000.0)  # steps taken before
    first = 0.01 * np.sqrt(2 * np.log(start.world.d))
    used = {
        "training.lr": np.where(k < 400, 1.5, np.interp(k, [600, 1000], [1, 2])),
        "model.bias": first + (0.3 - first) * np.minimum(k / 900, 1),
        "model.sigma_rho": np.full(2000, 0.1),
        "other 0": np.where(k < 1200, 0.2, 0.4),
    }
    for key, values in used.items():
        drawn = view.settings.curves[key]
        at = drawn.x.astype(int)
        assert {1, 400, 401, 600, 1000, 1200, 1201, 2000} <= set(at.tolist())
        np.testing.assert_allclose(drawn.y * drawn.unit, values[at - 1], rtol=1e-6)
        assert drawn.y.max() == 1.0
        pair, dash = SETTINGS.get(key, (GREEN, DASH_DOT))
        read.line(drawn.line, drawn.x, drawn.y, pair, dash)
    assert "learning rate 1 to 2, now 2" in view.now.text()
    assert "attack.tau 0.2 to 0.4, now 0.4" in view.now.text()
    assert "learning rate 1.5" in " ".join(view.settings.values_at(400))
    view.set_options({"smooth": "100"})
    mean = np.convolve(history[metrics.LOSS].values, np.full(100, 0.01), "valid")
    smooth = view.measured[metrics.LOSS].curves["smooth"]
    read.line(smooth.line, *smooth.line.getData(), INK, DASHED)
    np.testing.assert_allclose(smooth.y[99:], mean, rtol=1e-9)
    view.set_options({"smooth": "1"})


RADIUS = {
    "pgd": (BLUE, SOLID, "t"),
    "certified": (BLUE, DASHED, "t1"),
    "pgd_clean": (VERMILION, SOLID, "t"),
    "certified_clean": (VERMILION, DASHED, "t1"),
    "oracle": (GREEN, DASH_DOT, "d"),
}


def radius(read, folder):
    view, result = read.view, of_radius.curves()
    # Four different curves, of which those after clean training lie lower: no area can be taken for the other.
    result = dataclasses.replace(result, pgd_clean=result.pgd - 0.2, certified_clean=np.linspace(0.5, 0.0, 7))
    view.render(of_radius.make(result))
    for name, (pair, dash, symbol) in RADIUS.items():
        values, curve = getattr(result, name), view.curves[name]
        read.line(curve.line, result.radii, values, pair, dash)
        read.marks(curve.marks, result.radii, values, pair, symbol)
        read.line(curve.bars, np.repeat(result.radii, 2), np.stack(wilson(values, 128), 1).ravel(), pair)
        at_tau = "{:.3f} [{:.3f}, {:.3f}]".format(values[4], *wilson(values[4], 128))
        assert view.cells[name].value.text() == at_tau
    for state, above, below, pair in (
        ("now", result.pgd, result.certified, BLUE),
        ("clean", result.pgd_clean, result.certified_clean, VERMILION),
    ):
        read.area(view.areas[state], result.radii, np.minimum(above, below), np.maximum(above, below), pair)
        assert view.areas[state].isVisible()
    read.level(view.tau, 0.2, TEXT, DOTTED)
    assert view.tau_name.toPlainText() == "tau = 0.2"
    assert read.label(view.plot, "left") == "accuracy (share right)"


def perturbation(read, folder):
    view, found = read.view, of_perturbation.anatomy()
    view.render(of_perturbation.make(found))
    view.sample.setValue(4)
    target = np.asarray(found.target, float)
    dense = -found.y[3] * target / np.linalg.norm(target) * np.linalg.norm(found.delta[3])
    read.line(
        view.coefficients, np.repeat(np.arange(16), 2), np.stack([0 * dense, found.coefficients[3]], 1).ravel(), BLUE
    )
    read.hollow(view.dense, np.arange(16), dense, RED_ORANGE, "o")
    np.testing.assert_array_equal(view.bars.yData, np.histogram(found.cosine, np.linspace(-1, 1, 41))[0])
    read.is_(view.bars.opts["pen"].color(), BLUE)
    read.level(view.mean, float(np.mean(found.cosine)), TEXT, DASHED)
    read.level(view.this, float(found.cosine[3]), RED_ORANGE)
    scale = view.pictures[0].scale
    for picture, values in zip(view.pictures, (found.x[3], None, found.x[3] + found.delta[3]), strict=True):
        if values is not None:
            assert np.abs(picture.image.image.ravel() - byte(values, scale)).max() <= 1


FATES = {"kept": BLUE, "changed": PURPLE, "died": VERMILION, "revived": GREEN, "dead": GREY}


def feature_fates(read, folder):
    view = read.view
    view.render(of_fates.make())
    for i, (name, pair) in enumerate(FATES.items()):
        bar = view.bars.parts[name]
        assert [float(w) for w in bar.opts["width"]] == [counts[i] for counts in of_fates.COUNTS.values()]
        assert list(bar.opts["y"]) == [2, 1, 0]
        read.is_(bar.opts["pen"].color(), pair)
        if name != "dead":
            read.is_(bar.opts["brush"].color(), pair)
    cells = view.map.image.image.reshape(9, 4).astype(int)
    counts = np.array([2, 1, 0, 0, 1, 1, 0, 1, 1])
    for count, colour in ((1, (0, 34, 78)), (2, (255, 234, 70))):  # both ends of cividis
        assert (np.abs(cells[counts == count] - (*colour, 255)) <= 2).all()
    assert (cells[counts == 0, 3] == 0).all()
    read.hollow(view.map.none, [2.5], [0.5], MUTED, "x")
    read.marks(view.map.signs["lost"], [0.5, 0.5], [1.5, 2.5], VERMILION, "t")
    read.marks(view.map.signs["gained"], [1.5], [2.5], GREEN, "t1")
    shown = {group: tuple(cell.text() for cell in cells) for group, cells in view.table.cells.items()}
    assert shown == {
        "winners": ("3 of 5", "0.600 [{:.3f}, {:.3f}]".format(*wilson(0.6, 5))),
        "wrong sign": ("0 of 1", "0.000 [{:.3f}, {:.3f}]".format(*wilson(0, 1))),
        "unclear": ("1 of 3", "0.333 [{:.3f}, {:.3f}]".format(*wilson(1 / 3, 3))),
        "others": ("1 of 4", "0.250 [{:.3f}, {:.3f}]".format(*wilson(0.25, 4))),
    }
    assert view.table.head_start.text() == "Head start 0.750, n = 7 (0.5: by chance)"
    history = of_fates.record()
    read.line(view.time.curves["now"].line, history[metrics.HELD].steps, history[metrics.HELD].values, BLUE)
    read.level(view.total, 9, TEXT, DOTTED)


def race(read, folder):
    view = read.view
    write_race(folder, RACE)
    view.render(of_claims.make(folder))
    dots = read.plots(view.dots.getPlotItem())
    filled = {(tuple(x), symbol, colour) for x, _, line, symbol, colour in dots if symbol is not None and line is None}
    c, base = read.colour, GROUND[read.dark]
    assert filled == {
        ((0.9,), "d", c(GREY)), ((0.88,), "o", c(BLUE)), ((0.66,), "star", c(VERMILION)), ((0.3,), "star", base),
        ((0.49,), "s", c(DARK_ORANGE)),
    }  # fmt: skip
    places = {x[0]: y[0] for x, y, _, symbol, _ in dots if symbol is not None}
    assert [places[x] for x in (0.49, 0.66, 0.88, 0.9)] == [0, 1, 2, 3]
    assert places[0.3] == places[0.66]
    bars = {(tuple(x), line) for x, _, line, symbol, _ in dots if symbol is None}
    assert bars == {
        ((0.86, 0.9), (c(BLUE), SOLID)), ((0.63, 0.69), (c(VERMILION), SOLID)), ((0.46, 0.52), (c(DARK_ORANGE), SOLID)),
    }  # fmt: skip
    lines = [each[:3] for each in read.plots(view.steps.getPlotItem()) if each[3] is None]
    assert lines == [([0, 100, 900], [0.1, 0.5, 0.66], (c(VERMILION), DASHED))]
    lines = [each[:3] for each in read.plots(view.sweep.getPlotItem()) if each[3] is None]
    assert lines == [([36, 64], [0.9, 0.88], (c(BLUE), SOLID)), ([36], [0.8], (c(VERMILION), DASHED))]
    for plot in (view.dots, view.steps):
        (level,) = [i for i in plot.getPlotItem().items if type(i).__name__ == "InfiniteLine"]
        read.level(level, 0.88, BLUE, DOTTED)


def low_rank(read, folder):
    view = read.view
    of_studies.write(folder, view.file, of_studies.RANKS)
    view.render(of_studies.make(folder))
    found, c = read.plots(view.accuracy.getPlotItem()), read.colour
    curves = [(x, y, line, symbol, fill) for x, y, line, symbol, fill in found if symbol is not None]
    assert curves == [
        ([0, 3], [0.9, 0.9], (c(GREEN), DASHED), "s", c(GREEN)), ([0, 3], [0.4, 0.43], (c(BLUE), SOLID), "o", c(BLUE)),
    ]  # fmt: skip
    bars = [(x, y, line) for x, y, line, symbol, _ in found if symbol is None]
    assert ([3, 3], [0.36, 0.44], (c(BLUE), SOLID)) in bars
    assert ([0, 0], [0.87, 0.92], (c(GREEN), SOLID)) in bars
    levels = [i for i in view.accuracy.getPlotItem().items if type(i).__name__ == "InfiniteLine"]
    expected = [(0.9, c(GREEN), SOLID), (0.9, c(GREEN), DOTTED), (0.44, c(BLUE), SOLID), (0.2, c(BLUE), DOTTED)]
    assert [(i.value(), i.pen.color().name(), i.pen.style()) for i in levels] == expected
    assert "ℓ2 radius 0.5" in read.label(view.accuracy, "left")


OBJECTIVE_LOOKS = {
    "clean": (GREEN, "s"), "robust": (BLUE, "o"), "certified": (PURPLE, "t1"), "purity": (BLUE, "o"),
    "kept": (GREEN, "s"), "dense_alignment": (VERMILION, "t"), "alignment": (DARK_ORANGE, "x"), "cosine": (GREY, "d"),
}  # fmt: skip


def objectives(read, folder):
    view, content, c = read.view, of_objectives.OBJECTIVES, read.colour
    of_studies.write(folder, view.file, content)
    view.render(of_studies.make(folder))
    rows = [content["before"], *content["objectives"]]
    for plot, names in ((view.accuracies, list(OBJECTIVE_LOOKS)[:3]), (view.weights, list(OBJECTIVE_LOOKS)[3:])):
        found = read.plots(plot.getPlotItem())
        marks = [(x, y, symbol, fill) for x, y, _, symbol, fill in found if symbol is not None]
        bars = [(x, [round(each) for each in y], line) for x, y, line, symbol, _ in found if symbol is None]
        assert len(marks) == len(names)
        for name, (x, y, symbol, fill) in zip(names, marks, strict=True):
            pair, expected = OBJECTIVE_LOOKS[name]
            values = [row[name]["value"] if isinstance(row[name], dict) else row[name] for row in rows]
            assert (x, [round(each) for each in y], symbol, fill) == (values, [3, 2, 1, 0], expected, c(pair)), name
            for place, row in enumerate(rows):
                if isinstance(row[name], dict):
                    assert ([row[name]["low"], row[name]["high"]], [3 - place] * 2, (c(pair), SOLID)) in bars
        assert len(bars) == (12 if plot is view.accuracies else 0)
    assert read.label(view.accuracies, "bottom") == "accuracy, ℓ2 radius 0.5"


def local(read, folder):
    view = read.view
    of_studies.write(folder, view.file, of_studies.STUDY)
    view.render(of_studies.make(folder))
    c = read.colour
    marks = [(x, y, s, fill) for x, y, _, s, fill in read.plots(view.cosines.getPlotItem()) if s is not None]
    assert marks == [
        ([-0.2, 0.8], [0.1, 0.1], "s", c(VERMILION)), ([0, 1], [-0.05, -0.05], "d", c(GREEN)),
        ([0.2, 1.2], [0.8, 0.8], "o", c(BLUE)),
    ]  # fmt: skip
    found = read.plots(view.accuracies.getPlotItem())
    lines = [(x, y, line, s) for x, y, line, s, _ in found if s is not None]
    assert lines[0] == ([-0.28, -0.12], [0.9, 0.88], (c(GREEN), DASHED), "s")
    assert lines[2] == ([0.12, 0.28], [0.2, 0.5], (c(BLUE), SOLID), "o")
    assert ([0.28, 0.28], [0.46, 0.54], (c(BLUE), SOLID)) in [each[:3] for each in found]
    first = read.plots(view.scatter.getPlotItem())[0]
    mean = np.mean([np.hypot(*pair) for pair in zip((3.0, 2.0, 1.0), (0.5, 0.4, 2.0), strict=True)])
    np.testing.assert_allclose(np.array(first[0]) / np.array([3.0, 2.0, 1.0]), 1 / mean, rtol=1e-4)
    np.testing.assert_allclose(np.array(first[1]) / np.array([0.5, 0.4, 2.0]), 1 / mean, rtol=1e-4)
    assert first[3:] == ("o", c(BLUE))


def sparse_code(read, folder):
    view = read.view
    of_studies.write(folder, view.file, of_sparse_codes.CODES)
    view.render(of_studies.make(folder))
    c, item = read.colour, view.errors.getPlotItem()
    found = read.plots(item)
    looks = {
        "image": (GREEN, DASHED, "s"), "clean": (VERMILION, DASH_DOT, "t1"), "now": (BLUE, SOLID, "o"),
        "random": (GREY, DOTTED, "d"),
    }  # fmt: skip
    curves = [each[:3] for each in found if len(each[0]) == 4]
    values = {name: of_sparse_codes.curve(name, "now", "omp") for name in looks}
    assert curves == [([0, 1, 2, 3], values[n]["median"], (c(pair), dash)) for n, (pair, dash, _) in looks.items()]
    marks = [(x, y, symbol, fill) for x, y, _, symbol, fill in found if symbol is not None]
    assert marks == [([k], [0.2], looks[n][2], c(looks[n][0])) for n, k in (("image", 1), ("clean", 3), ("now", 2))]
    bars = [each[:3] for each in found if len(each[0]) == 2]
    assert bars == [
        ([1, 2], [0.2, 0.2], (c(GREEN), SOLID)), ([3, 3], [0.2, 0.2], (c(VERMILION), SOLID)),
        ([2, 3], [0.2, 0.2], (c(BLUE), SOLID)),
    ]  # fmt: skip
    bands = [i for i in item.items if type(i).__name__ == "FillBetweenItem"]
    for band, (name, (pair, _, _)) in zip(bands, looks.items(), strict=True):
        read.area(band, [0, 1, 2, 3], values[name]["q10"], values[name]["q90"], pair)
    (level,) = [i for i in item.items if type(i).__name__ == "InfiniteLine"]
    read.level(level, 0.2, MUTED, DOTTED)


def claims(read, folder):
    view = read.view
    (folder / view.file).write_text(json.dumps(CLAIMS), encoding="utf-8")
    view.render(of_claims.make(folder, 4))
    cards = {card.shown.claim.id: card for card in view.cards}
    for number, pair, words in ((1, GREEN, "✓ holds"), (6, VERMILION, "✗ does not hold"), (9, GREY, "– not yet")):
        card = cards[number]
        assert card.badge.text() == words
        back = next(part for part in card.styleSheet().split("QLabel#verdict")[1].split("background:")[1:])
        shown, ground = QColor(back.split(";")[0].strip()), QColor(GROUND[read.dark])
        full, share = QColor(read.colour(pair)), 0.32 if read.dark else 0.22
        for part in ("red", "green", "blue"):
            mixed = getattr(ground, part)() * (1 - share) + getattr(full, part)() * share
            assert abs(getattr(shown, part)() - mixed) <= 1
        assert contrast(shown.name(), read.colour(TEXT)) > 4.5
    text = cards[1].figures.text()
    assert read.colour(TEXT) in text
    for part in ("0.300", "[0.200, 0.400]", "step 8", "PGD-40 × 5 restarts"):
        assert part in text


def filters(read, folder):
    view, found = read.view, of_images.filters()
    view.render(of_images.make(found))
    for gallery, weights in zip(view.galleries, (found.start, found.clean, found.now), strict=True):
        for unit in (0, 7, 15):
            rect = gallery.grid.rect(unit)
            top, left = int(rect.y()) + 1, int(rect.x()) + 1
            shown = gallery.image.image[top : top + 9, left : left + 9, :3].transpose(2, 0, 1)
            assert np.abs(shown - byte(weights[unit], view.scale())).max() <= 1
    grey = of_images.filters(of_images.DIGITS, (256, 1, 8, 8))
    view.set_options({"signed": "true"})
    view.render(of_images.make(grey, run="b"))
    row, column = (int(v[0]) for v in np.unravel_index([int(grey.now[0, 0].argmax())], (8, 8)))
    red, _, blue, _ = of_images.pixel(view, 2, 0, row, column)
    assert red > blue + 40  # above zero: orange


def layers(read, folder):
    view, found = read.view, of_images.by_layer()
    found = dataclasses.replace(found, active={"conv1": 0.25, "conv2": 0.6})
    view.render(of_images.make(found))
    for shift, (name, pair, dash, symbol) in zip(
        (-0.14, 0, 0.14),
        (
            ("cos_start_clean", VERMILION, DASH_DOT, "s"), ("cos_start_now", GREEN, DASHED, "d"),
            ("cos_clean_now", BLUE, SOLID, "o"),
        ),
        strict=True,
    ):  # fmt: skip
        units = [getattr(found.of[each.name], name)[found.of[each.name].alive] for each in of_images.NET]
        x, medians = np.arange(3) + shift, [np.median(u) for u in units]
        read.line(view.lines[name], x, medians, pair, dash)
        read.marks(view.marks[name], x, medians, pair, symbol)
        spread = np.array([np.quantile(u.astype(float), (0.1, 0.9)) for u in units])
        read.line(view.bars[name], np.repeat(x, 2), spread.ravel(), pair)
    assert list(view.active.opts["height"]) == [0.25, 0.6]
    read.is_(view.active.opts["brush"].color(), BLUE)
    units = found.of["conv1"]
    read.marks(view.scatter.alive, units.pure_part[units.alive], units.rest[units.alive], BLUE, "o")
    read.hollow(view.scatter.dead, units.pure_part[~units.alive], units.rest[~units.alive], MUTED, "x")


def cosines(read, folder):
    view, found = read.view, of_images.by_layer()
    view.render(of_images.make(found))
    view.highlight(5)
    for layer, d in ((0, 3 * 9 * 9), (1, 16 * 3 * 3)):
        view.layer.setCurrentIndex(layer)
        units = found.of[of_images.NET[layer].name]
        values = {name: getattr(units, name)[units.alive].astype(float) for name in COSINES}
        heights = {name: np.histogram(v, np.linspace(-1, 1, 51))[0] for name, v in values.items()}
        top = max(h.max() for h in heights.values())
        places = []
        for name, (pair, dash, symbol) in COSINES.items():
            item = view.bars[name]
            np.testing.assert_allclose(item.xData, np.linspace(-1, 1, 51))
            np.testing.assert_array_equal(item.yData, heights[name])
            assert (item.opts["pen"].color().name(), item.opts["pen"].style()) == (read.colour(pair), dash)
            (place,) = view.medians[name].getData()[1]
            read.marks(view.medians[name], [np.median(values[name])], [place], pair, symbol)
            low, high = np.quantile(values[name], (0.1, 0.9))
            read.line(view.ranges[name], [low, high], [place, place], pair)
            assert f"{np.median(values[name]):.2f} [" in view.legend[name].text().replace("−", "-")
            places.append(place)
            if layer == 0:
                read.hollow(view.rings[name], [getattr(units, name)[5]], [place], TEXT, "o")
            else:
                assert len(view.rings[name].getData()[0]) == 0
        assert len(set(places)) == 3
        assert min(places) > top  # above all bars
        assert max(places) < view.plot.getViewBox().viewRange()[1][1]
        assert view.band.getRegion() == pytest.approx((-(d**-0.5), d**-0.5))
        assert "theoretical" in view.named.toPlainText()
        assert f"n = {units.alive.sum()} alive of {len(units.alive)}" in view.summary.text()
    assert "Step 1,150, 50 steps ago" in view.summary.text()


COSINES = {
    "cos_start_clean": (VERMILION, DASH_DOT, "s"),
    "cos_start_now": (GREEN, DASHED, "d"),
    "cos_clean_now": (BLUE, SOLID, "o"),
}
SPECTRUM = {
    "start": (GREY, SOLID, "s"),
    "clean": (VERMILION, SOLID, "t1"),
    "now": (BLUE, SOLID, "o"),
    "change": (PURPLE, DASH_DOT, "d"),
}
OVER_TIME = {
    "rank": {"layer/conv2/effective_rank": (BLUE, SOLID), "layer/conv2/change_rank": (PURPLE, DASH_DOT)},
    "features": {
        "layer/conv2/participation": (BLUE, SOLID), "features/represented": (GREEN, DASHED),
        "features/mixed": (DARK_ORANGE, DOTTED),
    },
}  # fmt: skip


def spectrum(read, folder):
    view, rng = read.view, np.random.default_rng(3)
    values = {m: np.sort(10 ** rng.uniform(-2, 1, 16))[::-1] for m in SPECTRUM}
    values["change"][10:] = 1e-9  # rounding: not drawn
    of = {m: Spectrum(v) for m, v in values.items()}
    history = History()
    for k, name in enumerate(name for curves in OVER_TIME.values() for name in curves):
        for step in range(100, 1101, 100):
            history.append(step, name, 3.0 + k + step / 1000)
    found = LayersSpectrum(1150, of_images.NET, {"conv2": of}, {})
    view.layer.setCurrentIndex(0)
    view.render(of_images.make(found, history=history))
    assert "too large" in view.summary.text()  # the first layer is not in it
    view.layer.setCurrentIndex(1)
    for moment, (pair, dash, symbol) in SPECTRUM.items():
        sigma = values[moment][:10] if moment == "change" else values[moment]
        read.line(view.lines[moment], np.arange(1, len(sigma) + 1), np.log10(sigma), pair, dash)
        x, _ = view.marks[moment].getData()
        assert len(x) >= 5
        read.marks(view.marks[moment], x, np.log10(sigma)[np.asarray(x, int) - 1], pair, symbol)
        p = values[moment] / values[moment].sum()
        assert view.legend[moment].text() == f"{moment}: {np.exp(-(p * np.log(p)).sum()):.1f}"
    (ticks,) = view.values.getPlotItem().getAxis("left")._tickLevels
    assert 2 <= len(ticks) <= 5
    assert [float(name) for _, name in ticks] == pytest.approx([10**at for at, _ in ticks], rel=1e-2)
    for chosen, curves in OVER_TIME.items():
        view.set_options({"over_time": chosen})
        drawn = {n: c for n, c in view.time.curves.items() if c.line.isVisible()}
        assert len(drawn) == len(curves)
        for name, (pair, dash) in curves.items():
            curve = drawn[name if name in drawn else name.rpartition("/")[2]]
            read.line(curve.line, history[name].steps, history[name].values, pair, dash)
            assert history[name].values.max() < view.time.y_range[1]
    p = values["now"] ** 2
    assert f"{p.sum() ** 2 / (p**2).sum():.1f}." in view.summary.text()
    assert "step 1,150, 50 steps ago" in view.summary.text()


def examples(read, folder):
    view, found = read.view, of_images.examples()
    view.render(of_images.make(found))
    view.sample.setValue(2)
    largest = np.abs(found.delta).max()
    factor = max(f for f in (1, 2, 5, 10, 20, 50, 100, 200) if f * largest <= 0.5)
    for picture, image in zip(
        view.pictures, (found.x[1], 0.5 + factor * found.delta[1], found.x[1] + found.delta[1]), strict=True
    ):
        shown = picture.image.image[..., :3].transpose(2, 0, 1)
        assert np.abs(shown - 255 * np.clip(image, 0, 1)).max() <= 0.51
    for bars, p in zip(view.bars, (found.before[1], found.after[1]), strict=True):
        assert [row[1] for row in bars.rows][:4] == pytest.approx(sorted(p.tolist(), reverse=True)[:4])
        picture, height = bars.grab().toImage(), bars.fontMetrics().height() + 3
        row = next(i for i, (_, share, _) in enumerate(bars.rows) if share > 0.2)
        pair = BLUE if bars.rows[row][2] else RED_ORANGE
        y = (row + 1) * height + 3  # the bar's upper edge, drawn in full colour
        names = {picture.pixelColor(x, y).name() for x in range(picture.width())}
        assert read.colour(pair) in names


def perturbation_beside(read, folder):
    """The clean net's on the same input: pictures on one scale, coefficients, cosines."""
    view, found = read.view, of_perturbation.anatomy()
    clean = of_perturbation.clean_of(found)
    view.render(of_perturbation.make(found, clean))
    view.sample.setValue(4)
    of = clean.perturbations
    read.marks(view.clean_coefficients, np.arange(16), of.coefficients[3], PURPLE, "t1")
    np.testing.assert_array_equal(view.clean_bars.yData, np.histogram(of.cosine, np.linspace(-1, 1, 41))[0])
    read.is_(view.clean_bars.opts["pen"].color(), PURPLE)
    scale = view.pictures[0].scale
    assert scale >= max(np.abs(a).max() for each in (found, of) for a in (each.x, each.x + each.delta))
    factor = max(
        f for f in (1, 2, 5, 10, 20, 50, 100, 200) if f * max(np.abs(e.delta).max() for e in (found, of)) <= scale
    )
    shown = (of.delta[3] * factor, of.x[3] + of.delta[3], found.delta[3] * factor, found.x[3] + found.delta[3])
    for picture, values in zip((*view.clean_pictures, *view.pictures[1:]), shown, strict=True):
        assert picture.isVisible()
        assert np.abs(picture.image.image.ravel() - byte(values, scale)).max() <= 1
    a, b = of.delta[3].astype(float), found.delta[3].astype(float)
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert f"cosine between both δ {cosine:.3f}".replace("-", "−") in view.facts.text()


def examples_beside(read, folder):
    view, found, of = read.view, of_images.examples(), of_images.examples(seed=1)
    of = dataclasses.replace(of, x=found.x, y=found.y, step=600)
    view.render(of_images.make(found, CleanExamples(of)))
    view.sample.setValue(2)
    largest = max(np.abs(e.delta).max() for e in (found, of))
    factor = max(f for f in (1, 2, 5, 10, 20, 50, 100, 200) if f * largest <= 0.5)
    images = [(0.5 + factor * e.delta[1], e.x[1] + e.delta[1]) for e in (of, found)]
    pictures = (*view.clean_pictures, *view.pictures[1:])
    for picture, image in zip(pictures, (*images[0], *images[1]), strict=True):
        shown = picture.image.image[..., :3].transpose(2, 0, 1)
        assert np.abs(shown - 255 * np.clip(image, 0, 1)).max() <= 0.51
    for bars, p in zip((*view.clean_bars, *view.bars), (of.before, of.after, found.before, found.after), strict=True):
        assert bars.isVisible()
        assert [row[1] for row in bars.rows][:4] == pytest.approx(sorted(p[1].tolist(), reverse=True)[:4])
    a, b = (e.delta[1].ravel().astype(float) for e in (found, of))
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert f"cosine between both δ {cosine:.3f}".replace("-", "−") in view.facts.text()


def transfer(read, folder):
    view = read.view
    of_transfer.write(folder)
    view.render(of_studies.make(folder))
    table = view.map
    assert [table.verticalHeaderItem(i).text() for i in range(4)] == ["nothing", "clean", "now", "seed 1, clean"]
    assert [table.horizontalHeaderItem(i).text() for i in range(3)] == ["clean", "now", "seed 1,\nclean"]
    rows = [of_transfer.WITHOUT, *of_transfer.MATRIX]
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            cell = table.item(row, column)
            assert cell.text() == f"{value:.2f}"
            ground = matplotlib.colors.to_hex(matplotlib.colormaps["cividis"](value))  # on any ground the same
            shown = cell.background().color()
            assert np.abs(np.subtract(shown.getRgb()[:3], QColor(ground).getRgb()[:3])).max() <= 12  # two editions
            assert contrast(cell.foreground().color().name(), shown.name()) > 4.4


BESIDE: dict[str, Callable[[Reader, Path], None]] = {"perturbation": perturbation_beside, "examples": examples_beside}
CASES: dict[str, Callable[[Reader, Path], None]] = {
    "neurons": neurons, "mixtures": mixtures, "robustness": robustness, "radius": radius, "perturbation": perturbation,
    "race": race, "low_rank": low_rank, "local": local, "claims": claims, "filters": filters, "layers": layers,
    "examples": examples, "objectives": objectives, "transfer": transfer, "cosines": cosines, "spectrum": spectrum,
    "feature_fates": feature_fates, "sparse_code": sparse_code, "training": training,
}  # fmt: skip


def test_every_view_has_a_case():
    assert set(CASES) == {kind.name for kind in view_types()}


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_drawn_are_the_numbers(qtbot, tmp_path, name, theme):
    view = of_theory.shown(qtbot, views[name], theme)
    CASES[name](Reader(view, theme), tmp_path)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", BESIDE)
def test_what_is_drawn_of_the_clean_net_are_its_numbers(qtbot, tmp_path, name, theme):
    view = of_theory.shown(qtbot, views[name], theme)
    BESIDE[name](Reader(view, theme), tmp_path)


RECOLOURED = (
    "mixtures", "robustness", "radius", "feature_fates", "race", "low_rank", "layers", "cosines", "spectrum",
    "sparse_code", "training",
)  # fmt: skip


@pytest.mark.parametrize("name", RECOLOURED)
def test_a_change_of_theme_recolours_what_is_drawn_already(qtbot, tmp_path, name):
    view = of_theory.shown(qtbot, views[name], DARK)
    CASES[name](Reader(view, DARK), tmp_path)
    view.set_theme(LIGHT)
    CASES[name](Reader(view, LIGHT), tmp_path)


def test_every_colour_is_seen_on_its_ground():
    """Literal grounds, and the contrast as WCAG defines it: dark ground 4.5, thin coloured lines on white less."""
    assert (LIGHT.base, DARK.base) == (GROUND[False], GROUND[True])
    looks = [(n, k, look) for n in figures for k, look in figures[n].view.looks.items()]
    assert len(looks) > 30
    for view, name, look in looks:
        assert contrast(look.dark.lower(), GROUND[True]) >= 4.5, (view, name)
        assert contrast(look.light.lower(), GROUND[False]) >= 2.1, (view, name)
    for theme in (LIGHT, DARK):
        assert contrast(theme.text, theme.base) > 10
        assert contrast(theme.muted, theme.base) > 4.5
    assert pytest.approx(1.959964, abs=1e-6) == Z95
