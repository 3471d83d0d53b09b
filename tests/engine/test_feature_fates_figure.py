"""The figure of the neurons' features: its numbers are those of the checkpoint's weights, worked out by numpy."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from engine.core import metrics
from engine.core.measurement import wilson
from engine.figures import figures
from engine.figures.export import table_csv
from engine.figures.fate_counts import course_range, feature_words, lost_and_gained, share_text, transitions
from engine.figures.feature_fates import FatesFigure
from engine.run.store import Store


def collect(store: Store, step: int | None = None, **options: str) -> Any:
    drawer = figures["feature_fates"]
    return drawer().collect(store, store.load(step), drawer.view.complete(options))


def columns(table: Any) -> dict[str, list[str]]:
    header, *rows = csv.reader(io.StringIO(table_csv(table).decode()))
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def worked_out(store: Store) -> dict[str, tuple[Any, Any, Any]]:
    """Moment → feature, sign and alive of every neuron."""
    arrays, found = store.load().arrays, {}
    for name, key in (("start", "weight_init"), ("after clean training", "weight_clean"), ("now", "weight")):
        weight = arrays[key].astype(np.float64)
        C = weight @ arrays["dictionary"].astype(np.float64)
        feature, norm = np.abs(C).argmax(1), np.sqrt((weight**2).sum(1))
        found[name] = feature, np.sign(C[np.arange(len(C)), feature]), norm > 0.3 * norm.max()
    return found


def test_the_tables_are_the_weights_own(finished_store: Store) -> None:
    data = collect(finished_store)
    neurons, features, fates = (columns(data.tables[name]) for name in ("", "features", "fates"))
    found = worked_out(finished_store)
    for name, (feature, sign, alive) in found.items():
        assert [int(v) for v in neurons[f"feature {name} [index]"]] == feature.tolist()
        assert [int(v) for v in neurons[f"sign {name} [-1 or 0 or 1]"]] == sign.tolist()
        assert [int(v) for v in neurons[f"alive {name} [0 or 1]"]] == alive.tolist()
        counts = [int((feature[alive] == j).sum()) for j in range(16)]
        assert [int(v) for v in features[f"neurons {name} [neurons]"]] == counts
    assert fates["from [text]"] == ["start", "after clean training", "start"]
    for row, (before, after) in enumerate(zip(fates["from [text]"], fates["to [text]"], strict=True)):
        (j, s, was), (k, t, now) = found[before], found[after]
        same = (j == k) & (s == t)
        expected = {
            "kept": was & now & same, "changed": was & now & ~same, "died": was & ~now, "revived": ~was & now,
            "dead": ~was & ~now,
        }  # fmt: skip
        for fate, which in expected.items():
            assert int(fates[f"{fate} [neurons]"][row]) == which.sum()
        both, kept = int((was & now).sum()), int(expected["kept"].sum())
        assert float(fates["kept share [1]"][row]) == kept / both
        assert [float(fates[f"{end} [1]"][row]) for end in ("low", "high")] == list(wilson(kept, both))


def test_winners_and_the_course_are_those_recorded(finished_store: Store) -> None:
    data = collect(finished_store)
    groups, course = columns(data.tables["winners"]), columns(data.tables["over_time"])
    assert groups["at the start [text]"] == ["winners", "wrong sign", "unclear", "others"]
    became, n = ([int(v) for v in groups[name]] for name in ("became [neurons]", "n [neurons]"))
    assert n[0] + n[1] + n[2] == n[0] + n[3] == 24
    assert became[0] + became[3] == data.winners.became.sum()
    held = finished_store.series(metrics.HELD)
    assert [int(v) for v in course["step [steps]"]] == held.steps.tolist()
    assert [int(v) for v in course["features held [features]"]] == held.values.tolist()
    kept = finished_store.series(metrics.KEPT)
    shown = [float(v) for v in course["share that kept feature and sign [1]"] if v]
    assert shown == kept.values.tolist()
    assert len(shown) < len(held)  # none before the end of clean training
    assert f"{became[0] / n[0]:.3f}" in share_text(became[0], n[0])
    assert share_text(0, 0) == "–"


def test_the_caption_says_how_it_was_counted(finished_store: Store) -> None:
    data = collect(finished_store, quantity="kept")
    threshold = 0.01 * np.sqrt(2 * np.log(16))
    for part in (
        "m = 24 neurons", "of the 16 features of the dictionary", "norm above 0.3 of the largest",
        f"at least {threshold:.3g} (σ₀·√(2 ln d)) and 1.1 times the second", "95% Wilson intervals over neurons",
        "over training the share kept", "no attack and no data enter",
        f"Run {finished_store.run}, checkpoint at step 80",
    ):  # fmt: skip
        assert part in data.caption


def draw(data: FatesFigure, width: float = 6.75) -> Figure:
    figure = Figure(figsize=(width, data.height(width)))
    data.draw(figure)
    return figure


def test_what_is_drawn_are_the_counts(finished_store: Store) -> None:
    data = collect(finished_store, mark="both")
    bars, cells, groups, course = draw(data).axes[:4]
    shown = transitions(data.found)
    widths = np.array([patch.get_width() for patch in bars.patches]).reshape(3, 5)
    np.testing.assert_array_equal(widths, [each.counts for each in reversed(shown)])
    assert to_rgba(bars.patches[0].get_facecolor())[:3] == to_rgba("#0072B2")[:3]
    texts = [t.get_text() for t in bars.texts]
    assert texts == [each.text for each in reversed(shown)]
    image = np.asarray(cells.images[0].get_array().filled(0)).ravel()  # type: ignore[union-attr]
    np.testing.assert_array_equal(image, data.found.now.neurons)
    assert cells.images[0].get_cmap().name == "cividis"
    assert cells.images[0].get_interpolation() == "none"
    lost, gained = lost_and_gained(data.found.now, data.found.clean)
    signs = {line.get_marker(): len(line.get_xdata()) for line in cells.lines}  # type: ignore[arg-type]
    assert signs == {"x": int(((data.found.now.neurons == 0) & ~lost).sum()), "v": lost.sum(), "^": gained.sum()}
    points = [line.get_xdata()[0] for line in groups.lines if line.get_marker() == "o"]  # type: ignore[index]
    fates = [data.winners.fate(group) for group in ("others", "unclear", "wrong sign", "winners")]
    assert points == pytest.approx([became / n for became, n in fates if n])
    np.testing.assert_array_equal(course.lines[-2].get_ydata(), data.series.values)
    assert course.lines[-1].get_ydata() == [16, 16]


def test_before_the_clean_phase_has_ended(finished_store: Store) -> None:
    data = collect(finished_store, 25, moment="clean")
    assert data.found.clean is None
    assert [each.name for each in transitions(data.found)] == ["start → now"]
    assert any("has not ended" in t.get_text() for axes in draw(data, 3.25).axes for t in axes.texts)
    assert "feature after clean training [index]" not in columns(data.tables[""])


def test_features_are_named_by_their_place() -> None:
    assert feature_words("dct", 17, 144) == "feature 17 (DCT frequency 1 down, 5 across)"
    assert feature_words("identity", 17, 144) == "feature 17 (pixel in row 1, column 5)"
    assert feature_words("random", 17, 144) == "feature 17"
    assert feature_words("dct", 5, 10) == "feature 5"


def test_the_dct_frequencies_are_rows_and_columns() -> None:
    """Feature 1·4 + 2 of a 4 × 4 dictionary changes once down and twice across."""
    import torch

    from engine.data.dictionaries import dictionaries

    atom = dictionaries["dct"](16, torch.Generator())[:, 6].reshape(4, 4).numpy()
    changes = lambda values: int((np.diff(np.sign(values)) != 0).sum())  # noqa: E731
    assert changes(atom[:, 0]) == 1
    assert changes(atom[0, :]) == 2


def test_the_course_fills_its_axis_and_never_leaves_it() -> None:
    for values, total in (([184.0, 196.0], 196.0), ([3.0, 64.0], 64.0), ([1.0], 1.0), ([], 16.0), ([0.0], 1.0)):
        low, high = course_range(np.array(values), total)
        assert 0 <= low <= min(values, default=total)
        assert total < high <= 1.25 * total
    assert course_range(np.array([184.0]), 196.0)[0] > 160
