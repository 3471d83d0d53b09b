"""Every objective from the same clean weights: what is trained, measured, written, drawn and refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from engine.config.experiment import with_value
from engine.core import metrics
from engine.core.errors import ConfigError, ExplorerError, StoreError
from engine.core.labels import figure_name
from engine.core.slices import finish
from engine.figures.export import export
from engine.figures.objectives import VIEW, ObjectivesFigure, dots
from engine.probes import certificate
from engine.probes.feature_fates import feature_of
from engine.probes.mixture import mixture
from engine.run.store import Store
from engine.studies.base import NotMeasured
from engine.studies.questions.objectives import ACCURACIES, WEIGHTS, ObjectivesStudy
from engine.theory.loading import TheoryNetwork
from engine.theory.training import retrain
from tests.engine.test_local_study import assert_fits, make
from tests.tiny_runs import run, tiny_config

ALL = ["clean", "adversarial", "gaussian_noise", "trades", "smoothed_adversarial"]


@pytest.fixture(scope="module")
def theory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run through its schedule, its objectives compared."""
    folder = tmp_path_factory.mktemp("theory") / "run"
    run(tiny_config(**{"model.sigma_0": 0.2}), folder)
    ObjectivesStudy().run(folder, steps=30, n=60)
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on images."""
    grad = torch.is_grad_enabled()
    folder = make(tmp_path_factory.mktemp("images") / "run", model={"name": "two_layer", "width": 8})
    torch.set_grad_enabled(grad)
    ObjectivesStudy().run(folder, steps=3, n=32)
    return folder


def test_the_figures_of_the_theory_are_those_of_the_network_trained_again(theory: Path) -> None:
    found = ObjectivesStudy.read(theory)
    assert (found.step, found.clean_step, found.steps, found.n, found.features) == (80, 40, 30, 60, 16)
    assert found.protocol == "PGD-4 × 2 restarts, ℓ2 radius 0.2, n = 60, 95% Wilson interval"
    assert [row.objective for row in found.rows] == ["before", *ALL]
    clean = TheoryNetwork.load(theory, 40)
    world, config = clean.held_out.world, clean.config
    x, y = clean.held_out.take(60, config.world.sigma_x)
    weight = clean.model.weight
    for row in found.rows:
        model = clean.model
        if row.objective != "before":
            training = retrain(config, world, weight.clone(), row.objective, 40, 30, "objectives ", config.seed)
            model = finish(training)
        assert row.clean.value == int((model.margin(x, y) > 0).sum()) / 60
        (sure,) = finish(certificate.certified(model.weight, model.bias, x, y, [0.2]))
        assert row.certified is not None
        assert row.certified.value == sure.right / 60
        assert row.certified.value <= row.robust.value <= row.clean.value
        seen = mixture(model.weight, world.dictionary, world.target)
        assert row.purity == pytest.approx(float(seen.purity[seen.alive].mean()), abs=1e-6)
        assert row.dense_alignment == pytest.approx(float(seen.dense_alignment[seen.alive].mean()), abs=1e-6)
        before, now = feature_of(weight, world.dictionary), feature_of(model.weight, world.dictionary)
        both = before.alive & now.alive
        same = (before.feature == now.feature) & (before.sign == now.sign)
        assert row.kept == pytest.approx(float(np.mean(same[both])))
        assert row.held == len(set(now.feature[now.alive].tolist()))
        cosine = torch.cosine_similarity(weight, model.weight, dim=1).numpy()[before.alive].mean()
        assert row.cosine == pytest.approx(float(cosine), abs=1e-5)
    assert (found.before.kept, found.before.cosine) == (1, pytest.approx(1, abs=1e-5))
    assert len({row.purity for row in found.rows}) == 6  # six different networks
    assert "beta = 6" in found.objectives[3].how


def test_images_have_no_dictionary(digits: Path) -> None:
    found = ObjectivesStudy.read(digits)
    assert [row.objective for row in found.rows] == ["before", *ALL]
    assert found.measured(ACCURACIES) == ["clean", "robust"]
    assert found.measured(WEIGHTS) == ["cosine"]
    assert (found.features, found.certificate) == (0, "")
    cosines = [row.cosine for row in found.objectives]
    assert len(set(cosines)) == 5
    assert all(c is not None and 0.5 < c < 1 for c in cosines)


@pytest.mark.parametrize("which", ["theory", "digits"])
def test_recorded_drawn_and_told(which: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    folder: Path = request.getfixturevalue(which)
    found = ObjectivesStudy.read(folder)
    store = Store.open(folder, read_only=True)
    try:
        for row in found.objectives:
            for quantity in ("robust", "cosine"):
                series = store.series(metrics.after_objective(quantity, row.objective))
                value = row.robust.value if quantity == "robust" else row.cosine
                assert series.values.tolist() == [pytest.approx(value)]
            protocol = store.protocol(metrics.after_objective("robust", row.objective), found.step)
            assert protocol is not None
            assert protocol.text() == found.protocol
    finally:
        store.close()
    for width in (6.75, 3.25):
        export(folder, ["objectives"], tmp_path / "out", formats=("svg",), width=width)
    assert_fits(folder, "objectives")
    with (tmp_path / "out" / "objectives" / "objectives.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["objective [name]"] for r in rows] == ["before", *ALL]
    assert [float(r["robust accuracy [1]"]) for r in rows] == [row.robust.value for row in found.rows]
    assert ("features held [features]" in rows[0]) == (which == "theory")
    caption = (tmp_path / "out" / "objectives" / "caption.txt").read_text(encoding="utf-8")
    assert found.protocol in caption
    assert "Gaussian noise: Training noise at this step: Gaussian, norm about 0.2." in caption
    text = ObjectivesStudy().table(found)
    for row in found.rows:
        assert f"{row.title}  " in text
        assert row.robust.text() in text
    assert figure_name("objectives/purity@trades") == "mean purity after training with trades"
    assert figure_name("objectives/robust@clean") == "robust accuracy after training with clean"


def test_the_clean_weights_are_the_top_row(theory: Path) -> None:
    found = ObjectivesStudy.read(theory)
    marks = dots(found, ["clean", "robust", "certified"])
    for name, each in marks.items():
        values = [row.value(name) for row in found.rows]
        assert [dot.x for dot in each] == [value.value for value in values]  # type: ignore[union-attr]
        assert [round(dot.y) for dot in each] == [5, 4, 3, 2, 1, 0]
    assert marks["clean"][0].y > marks["robust"][0].y > marks["certified"][0].y
    assert [dot.ends for dot in dots(found, ["purity"])["purity"]] == [None] * 6


def test_the_figure_draws_the_numbers(theory: Path) -> None:
    found, figure = ObjectivesStudy.read(theory), Figure(figsize=(6.75, 4))
    ObjectivesFigure({}, "", found).draw(figure)
    left, right = figure.axes
    for axes, names in ((left, ACCURACIES), (right, WEIGHTS)):
        drawn = {str(line.get_label()): line for line in axes.get_lines()}
        for name in names:
            line = drawn[VIEW.looks[name].label]
            values = [row.value(name) for row in found.rows]
            assert list(np.asarray(line.get_xdata())) == [getattr(value, "value", value) for value in values]
            assert line.get_linestyle() == "None"
    assert [text.get_text() for text in left.get_yticklabels()] == [row.title for row in found.rows]
    bars = [tuple(np.asarray(line.get_xdata())) for line in left.get_lines()]
    for row in found.rows:
        assert (row.robust.low, row.robust.high) in bars
    assert "ℓ2 radius 0.2" in left.get_xlabel()


def test_only_those_asked_for_and_shares_rise(theory: Path) -> None:
    before = (theory / "objectives.json").read_bytes()
    shares: list[float] = []
    asked = ("trades", "clean", "trades")
    found = ObjectivesStudy().run(theory, objective=asked, steps=2, n=16, progress=lambda s, _: shares.append(s))
    assert [row.objective for row in found.objectives] == ["trades", "clean"]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    (theory / "objectives.json").write_bytes(before)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"objective": ("pgd",)}, r"^--objective: got 'pgd'; allowed: clean, adversarial, gaussian_noise, trades, smo"),
        ({"objective": ()}, r"^--objective: got none; allowed"),
        ({"steps": 0}, r"^--steps: got 0; allowed"),
        ({"n": 3}, r"^--n: got 3; allowed"),
    ],
)
def test_what_is_not_allowed_is_one_line(theory: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ObjectivesStudy().run(theory, **({"n": 16} | wrong))


def test_damaged_missing_and_early(theory: Path, tmp_path: Path) -> None:
    content = json.loads((theory / "objectives.json").read_text(encoding="utf-8"))
    content["before"]["purity"] = 1.5
    (tmp_path / "objectives.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(StoreError, match=r"objectives\.json is damaged: before\.purity"):
        ObjectivesStudy.read(tmp_path)
    (tmp_path / "objectives.json").unlink()
    with pytest.raises(NotMeasured, match="python -m engine objectives"):
        ObjectivesStudy.read(tmp_path)
    run(tiny_config(), tmp_path / "early", until=10)
    with pytest.raises(ConfigError, match="clean training has not ended"):
        ObjectivesStudy().run(tmp_path / "early", n=16)


def test_a_training_that_diverges_is_said(tmp_path: Path) -> None:
    config = with_value(tiny_config(), "schedule.knobs.training.lr", [[0, 1.0], [40, 1.0], [41, 100.0], [80, 100.0]])
    run(with_value(config, "schedule.second_steps", 41), tmp_path / "run", until=40)
    with pytest.raises(ExplorerError, match="objectives: trades training diverged after 200 steps"):
        ObjectivesStudy().run(tmp_path / "run", objective=("trades",), steps=200, n=16)
