"""Exported figures read back from their axes and files, beside the numbers and colours written out here."""

from __future__ import annotations

import json
import re
import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from engine.cli.main import run_command_line
from engine.core import metrics
from engine.core.measurement import Measurement
from engine.figures import figures
from engine.figures.base import FigureData
from engine.figures.race import RaceFigure
from engine.figures.radius import Bound, Radius
from engine.run.store import Store
from engine.studies.questions.comparison import ComparisonStudy
from engine.studies.questions.low_rank import RankStudy
from tests.engine.test_race_figure import RACE, write

BLUE, GREEN, ORANGE, VERMILION, PURPLE = "#0072b2", "#007a5a", "#e69f00", "#d55e00", "#a9517f"
INK, GREY, DARK_ORANGE = "#3b4149", "#5b6570", "#b37a00"


def collect(store: Store, view: str, step: int | None = None, **options: str) -> Any:
    drawer = figures[view]
    return drawer().collect(store, store.load(step), drawer.view.complete(options))


def draw(data: FigureData, width: float = 6.75) -> list[Axes]:
    figure = Figure(figsize=(width, data.height(width)))
    data.draw(figure)
    return list(figure.axes)


def lines(axes: Axes, *, marked: bool = True) -> list[tuple[list[float], list[float], str, str, str]]:
    """Every line: x, y, colour, dash and marker."""
    found = []
    for line in axes.lines:
        marker = str(line.get_marker())
        if marker not in ("_", "|") and (marker not in ("None", "")) == marked:  # caps of bars are no curves
            x, y = (np.round(np.asarray(v, float), 9).tolist() for v in line.get_data())
            found.append((x, y, to_hex(line.get_color()), str(line.get_linestyle()), marker))
    return found


def areas(axes: Axes) -> list[tuple[set[tuple[float, float]], str]]:
    """Every filled area: its corners and its colour."""
    return [
        ({(round(x, 9), round(y, 9)) for x, y in np.asarray(c.get_paths()[0].vertices).tolist()},
         to_hex(c.get_facecolor()[0]))
        for c in axes.collections if type(c).__name__ == "FillBetweenPolyCollection"
    ]  # fmt: skip


def wilson(p: float, n: int) -> tuple[float, float]:
    z2 = 1.959963984540054**2
    half = (z2 * (p * (1 - p) / n + z2 / (4 * n * n))) ** 0.5 / (1 + z2 / n)
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


# --- the files are as wide as they were asked to be


def png(file: Path) -> float:
    width, _ = struct.unpack(">II", file.read_bytes()[16:24])
    return float(width) / 300


def svg(file: Path) -> float:
    return float(ET.parse(file).getroot().attrib["width"].removesuffix("pt")) / 72


def pdf(file: Path) -> float:
    found = re.search(rb"/MediaBox \[ *0 0 ([\d.]+) [\d.]+ *\]", file.read_bytes())
    assert found is not None
    return float(found[1]) / 72


@pytest.mark.parametrize(("asked", "width"), [((), 6.75), (("--width", "3.25"), 3.25)])
def test_the_command_draws_files_of_the_width_it_was_given(
    finished_run: Path, tmp_path: Path, asked: tuple[str, ...], width: float
) -> None:
    forms = [a for form in ("png", "svg", "pdf") for a in ("--format", form)]
    line = ["export", str(finished_run), "--view", "robustness", "--out", str(tmp_path), *forms, *asked]
    assert run_command_line(line) == 0
    for form, measure in (("png", png), ("svg", svg), ("pdf", pdf)):
        assert measure(tmp_path / "robustness" / f"robustness.{form}") == pytest.approx(width, abs=0.01), form


def test_only_the_formats_and_the_checkpoint_asked_for(finished_run: Path, tmp_path: Path) -> None:
    line = ["export", str(finished_run), "--view", "mixtures", "--out", str(tmp_path), "--format", "svg"]
    assert run_command_line([*line, "--checkpoint", "25", "--option", "quantity=magnitude"]) == 0
    assert {f.suffix for f in (tmp_path / "mixtures").iterdir()} == {".svg", ".csv", ".txt"}
    assert "checkpoint at step 25" in (tmp_path / "mixtures" / "caption.txt").read_text(encoding="utf-8")
    texts = "".join(ET.parse(tmp_path / "mixtures" / "mixtures.svg").getroot().itertext())
    assert "mixture magnitude" in texts


# --- what is drawn


def test_the_gallery_divides_by_the_norm_where_it_says_so(finished_store: Store) -> None:
    arrays = finished_store.load().arrays
    for space in ("pixel", "dictionary"):
        for normalise in ("false", "true"):
            data = collect(finished_store, "neurons", space=space, normalise=normalise, count="6")
            order = data.tables[""][0].values
            for panel, key in zip(data.panels.values(), ("weight_init", "weight_clean", "weight"), strict=True):
                rows = arrays[key][order].astype(float)
                rows = rows @ arrays["dictionary"].astype(float) if space == "dictionary" else rows
                if normalise == "true":
                    rows = np.stack([row / np.sqrt((row**2).sum()) for row in rows])
                np.testing.assert_allclose(panel.reshape(len(order), -1), rows, atol=1e-5)
            assert ("neuron's norm" in data.label) == (normalise == "true")


def test_each_area_of_the_radius_figure_lies_between_its_own_two_curves() -> None:
    radii = np.array([0.0, 0.1, 0.2])
    values = {
        "pgd": [0.95, 0.9, 0.8], "certified": [0.9, 0.7, 0.6], "pgd_clean": [0.85, 0.5, 0.3],
        "certified_clean": [0.8, 0.2, 0.0], "oracle": [1.0, 0.97, 0.93],
    }  # fmt: skip
    how = tuple(Measurement("pgd", "l2", float(r), 3, 1, 50) for r in radii)
    bounds = tuple(
        Bound(name, name.upper(), np.array(v), np.array(v) - 0.01, np.array(v) + 0.02, how)
        for name, v in values.items()
    )
    for intervals in (True, False):
        data = Radius({}, "", radii=radii, curves=bounds, tau=0.15, norm="linf", intervals=intervals)
        (axes,) = draw(data)
        found = {tuple(y): (x, *look) for x, y, *look in lines(axes)}
        looks = {
            "pgd": (BLUE, "-", "v"), "certified": (BLUE, "--", "^"), "pgd_clean": (VERMILION, "-", "v"),
            "certified_clean": (VERMILION, "--", "^"), "oracle": (GREEN, "--", "D"),
        }  # fmt: skip
        assert found == {tuple(values[name]): (radii.tolist(), *look) for name, look in looks.items()}
        fills = areas(axes)
        for (corners, colour), suffix, expected in zip(fills, ("_clean", ""), (VERMILION, BLUE), strict=True):
            assert colour == expected
            wanted = {
                (r, v) for name in ("pgd", "certified") for r, v in zip(radii, values[name + suffix], strict=True)
            }
            assert corners == wanted
        bars = [c for c in axes.collections if type(c).__name__ == "LineCollection"]
        assert len(bars) == (5 if intervals else 0)
        for bar, (name, v) in zip(bars, values.items(), strict=False):
            ends = [np.round(segment[:, 1], 9).tolist() for segment in bar.get_segments()]
            assert ends == [[round(y - 0.01, 9), round(y + 0.02, 9)] for y in v], name
            assert to_hex(bar.get_colors()[0]) == looks[name][0]
        (tau,) = [line for line in lines(axes, marked=False) if line[0] == [0.15, 0.15]]
        assert tau is not None
        assert "ℓ∞ norm" in axes.get_xlabel()
        assert [t.get_text() for t in axes.figure.legends[0].get_texts()] == [name.upper() for name in values]  # type: ignore[union-attr]


def test_training_draws_every_step_and_what_it_used(finished_store: Store) -> None:
    data = collect(finished_store, "training", smooth="10")
    loss, accuracy, settings = draw(data)
    for axes, name, colour in ((loss, metrics.LOSS, VERMILION), (accuracy, metrics.TRAIN_ACCURACY, "#007a5a")):
        raw, mean = [line for line in lines(axes, marked=False) if len(line[0]) > 2][:2]
        series = finished_store.series(name)
        assert raw[:3] == (series.steps.tolist(), np.round(series.values, 9).tolist(), colour)
        assert mean[1][-1] == pytest.approx(series.values[-10:].mean(), abs=1e-8)
        assert mean[2] == INK
    columns = {column.header: column.values for column in data.tables["settings"]}
    config, steps = finished_store.load().config, columns["step [steps]"]
    assert columns["training.lr [1]"][-1] == config.training.lr  # type: ignore[attr-defined]
    drawn = [line for line in lines(settings, marked=False) if len(line[0]) == len(steps)]
    assert len(drawn) >= 3
    assert max(drawn[0][1]) == 1.0
    assert [c.header for c in data.tables[""]][:3] == ["step [steps]", "loss [nats]", "loss mean of 10 [nats]"]


def test_robustness_draws_each_accuracy_with_its_interval(finished_store: Store) -> None:
    data = collect(finished_store, "robustness", alignment="true")
    upper, lower = draw(data)
    looks = {
        metrics.CLEAN: (BLUE, "-", "o"), metrics.FGM: (ORANGE, "--", "s"), metrics.PGD: (VERMILION, "--", "v"),
        metrics.DENSE: (PURPLE, "--", "D"), metrics.CERTIFIED: (INK, "--", "^"),
    }  # fmt: skip
    found = lines(upper)
    for (name, look), line in zip(looks.items(), found, strict=False):
        series = finished_store.series(name)
        assert line == (series.steps.tolist(), np.round(series.values, 9).tolist(), *look), name
    dashes = [line._unscaled_dash_pattern[1] for line in upper.lines if str(line.get_marker()) in "os vD^"]  # type: ignore[attr-defined]
    assert [None if d is None else tuple(d) for d in dashes[: len(looks)]] == [
        None, (4, 1.5), (4, 1.5, 1, 1.5), (1.2, 1.2), (4, 1, 1, 1, 1, 1),
    ]  # fmt: skip
    for (name, look), (corners, colour) in zip(looks.items(), areas(upper), strict=True):
        series, n = finished_store.series(name), 32
        ends = [wilson(v, n) for v in series.values.tolist()]
        wanted = {(float(s), e) for s, both in zip(series.steps, ends, strict=True) for e in both}
        for x, y in wanted:
            assert any(abs(x - a) < 1e-9 and abs(y - b) < 1e-6 for a, b in corners), name
        assert colour == look[0]
    for line, name in zip(found[len(looks) :], looks, strict=False):  # the reports, set side by side
        series = finished_store.series(metrics.REPORT + name)
        assert np.abs(np.array(line[0]) - series.steps).max() < 3
        np.testing.assert_allclose(line[1], series.values, atol=1e-6)
    assert upper.get_ylim() == (0, 1.1)
    assert upper.get_ylabel() == "accuracy"
    (aligned,) = lines(lower, marked=False)[-1:]
    series = finished_store.series(metrics.ALIGNMENT)
    assert aligned[:3] == (series.steps.tolist(), np.round(series.values, 9).tolist(), GREEN)
    shades = [(p.get_x(), p.get_x() + p.get_width()) for p in upper.patches]  # type: ignore[attr-defined]
    assert shades == [(0, 40), (40, 80)]


def test_mixtures_draws_the_neurons_and_their_history(finished_store: Store) -> None:
    data = collect(finished_store, "mixtures", quantity="relative")
    scatter, over_time, histogram = draw(data)
    arrays = finished_store.load().arrays
    clean, now = scatter.collections
    for points, key, colour, filled in ((clean, "weight_clean", VERMILION, False), (now, "weight", BLUE, True)):
        C = (arrays[key].astype(float)) @ arrays["dictionary"].astype(float)
        size = np.sqrt((C**2).sum(1))
        alive = size > 0.3 * size.max()
        pure = np.abs(C).max(1)
        rest = np.sqrt(size**2 - pure**2)
        np.testing.assert_allclose(points.get_offsets(), np.stack([pure, rest], 1)[alive], atol=1e-4)
        shown = points.get_facecolor() if filled else points.get_edgecolor()
        assert to_hex(shown[0]) == colour
        assert len(points.get_facecolor()) == int(filled)
    names = [metrics.mixture("relative", s) for s in ("median", "q10", "q90")]
    median, low, high = (finished_store.series(name) for name in names)
    line = lines(over_time, marked=False)[-1]
    assert line[:3] == (median.steps.tolist(), np.round(median.values, 9).tolist(), BLUE)
    ((corners, colour),) = areas(over_time)
    assert colour == BLUE
    for steps, ends in ((low.steps, low.values), (high.steps, high.values)):
        assert {(float(s), round(float(v), 9)) for s, v in zip(steps, ends, strict=True)} <= corners
    assert over_time.get_ylabel() == "relative mixture"
    heights = [p.get_height() for p in histogram.patches if hasattr(p, "get_height")]
    assert sum(heights) == int(data.now.alive.sum())


def test_race_draws_each_model_in_its_own_look(tmp_path: Path) -> None:
    write(tmp_path, RACE)
    dots, steps, sweep = draw(RaceFigure({}, "", ComparisonStudy.read(tmp_path)))
    best = {line[0][0]: line[2:] for line in lines(dots) if len(line[0]) == 1 and line[0][0] != 0.3}
    assert {x: (look[0], look[2]) for x, look in best.items()} == {
        0.49: (DARK_ORANGE, "s"), 0.66: (VERMILION, "*"), 0.88: (BLUE, "o"), 0.9: (GREY, "D"),
    }  # fmt: skip
    bars = {(tuple(line[0]), line[2]) for line in lines(dots, marked=False)}
    assert {((0.63, 0.69), VERMILION), ((0.46, 0.52), DARK_ORANGE), ((0.86, 0.9), BLUE), ((0.88, 0.88), BLUE)} <= bars
    assert [line[:3] for line in lines(steps)] == [([0, 100, 900], [0.1, 0.5, 0.66], VERMILION)]
    assert [line[:3] for line in lines(sweep)] == [([36, 64], [0.9, 0.88], BLUE), ([36], [0.8], VERMILION)]
    assert "ℓ2 radius 0.2" in dots.get_xlabel()


def test_low_rank_draws_clean_above_robust(tmp_path: Path, finished_store: Store) -> None:
    from engine.figures.low_rank import LowRankFigure

    row = {"robust": 0.4, "low": 0.36, "high": 0.44, "clean": 0.9, "clean_low": 0.87, "clean_high": 0.92}
    study = {
        "step": 6, "clean_step": 4, "norm": "l2", "tau": 0.5, "protocol": "PGD", "n": 500, "layers": "all", "steps": 2,
        "before": row | {"robust": 0.2, "low": 0.17, "high": 0.23, "clean": 0.8, "clean_low": 0.77, "clean_high": 0.83},
        "ranks": [row | {"rank": 8, "robust": 0.43}, row | {"rank": 1}, row | {"rank": 0, "robust": 0.44}],
    }  # fmt: skip
    (tmp_path / RankStudy.file).write_text(json.dumps(study), encoding="utf-8")
    (axes,) = draw(LowRankFigure({}, "", RankStudy.read(tmp_path)))
    assert [(y, colour, marker) for _, y, colour, _, marker in lines(axes)] == [
        ([0.9, 0.9], GREEN, "s"), ([0.4, 0.43], BLUE, "o"),
    ]  # fmt: skip
    levels = {(line[1][0], line[2], line[3]) for line in lines(axes, marked=False) if line[1]}
    assert levels == {(0.9, GREEN, "-"), (0.8, GREEN, ":"), (0.44, BLUE, "-"), (0.2, BLUE, ":")}
