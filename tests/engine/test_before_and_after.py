"""The clean net's perturbations beside those of now: live, measured once, in the figures and their tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from engine import worlds
from engine.core.arrays import cosines
from engine.core.measurement import Measurement
from engine.core.results import CleanExamples, CleanPerturbations, Examples, Perturbations
from engine.core.slices import finish
from engine.figures import figures
from engine.figures.export import table_csv
from engine.figures.style import STYLE, WIDTHS
from engine.images.live import EXAMPLES
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import perturbation
from engine.run.commands import SaveCheckpoint, SetKnob
from engine.run.session import Session
from engine.run.store import Store
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import advance, drain, tiny_config

Create = Callable[..., Session]
BOTH = frozenset({Perturbations, CleanPerturbations})


def both(session: Session) -> tuple[Perturbations, CleanPerturbations | None]:
    snapshot = session.snapshot(BOTH)
    found = snapshot.get(Perturbations)
    assert found is not None
    return found, snapshot.get(CleanPerturbations)


def test_cosines_of_rows() -> None:
    a = np.array([[[3.0, 4.0]], [[1.0, 0.0]], [[0.0, 0.0]], [[1.0, 1.0]]], np.float32)
    b = np.array([[[6.0, 8.0]], [[0.0, 5.0]], [[1.0, 0.0]], [[-2.0, -2.0]]], np.float32)
    np.testing.assert_allclose(cosines(a, b), [1, 0, 0, -1], atol=1e-12)


# --- theory


def test_the_clean_net_is_perturbed_with_its_own_bias_on_the_same_inputs(new_session: Create) -> None:
    session: Any = new_session(**{"schedule.knobs.model.bias": [[0, 0.1], [40, 0.1], [60, 0.02]]})
    advance(session, 20)
    assert both(session)[1] is None  # clean training goes on
    advance(session, 60)
    found, clean = both(session)
    assert clean is not None
    assert session.clean_bias == pytest.approx(0.1)
    assert session.bias_at(60) == pytest.approx(0.02)
    x, y = session.held_out.take(perturbation.SIZE, session.config.world.sigma_x)
    model = SymmetricRelu(session.weight_clean, 0.1)
    protocol = Measurement("fgm", "l2", 0.2, 1, 1, perturbation.SIZE, True)
    deltas = [
        finish(perturbation.perturb(each, session.world, x, y, protocol))
        for each in (model, SymmetricRelu(session.model.weight.clone(), 0.02))
    ]
    of, few = clean.perturbations, slice(0, perturbation.EXAMPLES)
    np.testing.assert_allclose(of.delta, deltas[0][few].numpy())
    np.testing.assert_array_equal(of.x, found.x)
    np.testing.assert_allclose(of.after, model.margin(x[few] + deltas[0][few], y[few]).numpy(), atol=1e-6)
    wrong = SymmetricRelu(session.weight_clean, 0.02)
    assert not np.allclose(of.before, wrong.margin(x[few], y[few]).numpy())
    expected = cosines(deltas[0].numpy(), deltas[1].numpy())
    np.testing.assert_allclose(clean.between, expected, atol=1e-5)
    assert clean.mean_between == pytest.approx(float(expected.mean()), abs=1e-5)
    assert (clean.step, of.protocol) == (40, found.protocol)


def test_it_is_measured_once_for_all_that_decides_it(new_session: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    session: Any = new_session()
    advance(session, 45)
    measured: list[torch.Tensor] = []
    of_fgm = perturbation.of_fgm

    def heard(model: SymmetricRelu, *rest: Any) -> Any:
        measured.append(model.weight)
        return of_fgm(model, *rest)

    monkeypatch.setattr(perturbation, "of_fgm", heard)
    first = both(session)
    assert len(measured) == 2
    again = both(session)
    assert again[0] is first[0]
    assert again[1] is first[1]  # so that nothing is drawn anew while training pauses
    advance(session, 46)
    found, clean = both(session)
    assert len(measured) == 3  # the net now alone
    assert clean is not None
    assert first[1] is not None
    assert clean.perturbations is first[1].perturbations
    assert not np.array_equal(clean.between, first[1].between)
    for knob, value in (("attack.tau", 0.1), ("attack.norm", "linf"), ("world.sigma_x", 0.3)):
        before = len(measured)
        session.apply(SetKnob(knob, value))
        found, clean = both(session)
        assert len(measured) == before + 2, knob
        assert clean is not None
        assert clean.perturbations.protocol == found.protocol


@pytest.fixture(scope="module")
def theory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run whose bias falls after clean training."""
    grad = torch.is_grad_enabled()
    folder = tmp_path_factory.mktemp("beside") / "run"
    config = tiny_config(**{"schedule.knobs.model.bias": [[0, 0.1], [40, 0.1], [60, 0.02]]})
    session = worlds.create(config, folder)
    advance(session, 80)
    drain(session)
    session.close()
    torch.set_grad_enabled(grad)
    return folder


def collect(folder: Path, view: str, step: int | None = None, **options: str) -> Any:
    with closing(Store.open(folder, read_only=True)) as store:
        drawer = figures[view]
        return drawer().collect(store, store.load(step), drawer.view.complete(options))


def columns(table: Any) -> dict[str, list[str]]:
    header, *rows = csv.reader(io.StringIO(table_csv(table).decode()))
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def assert_fits(data: Any, width: float) -> Figure:
    with mpl.rc_context(cast(Any, STYLE)):
        figure = Figure(figsize=(width, data.height(width)))
        data.draw(figure)
        figure.draw_without_rendering()
        texts = [t for t in figure.findobj(Text) if t.get_text().strip()]
        assert min(float(t.get_fontsize()) for t in texts) >= 7
        bounds: Any = figure.get_tightbbox()
    assert min(bounds.x0, bounds.y0) >= 0
    assert bounds.x1 <= width
    assert bounds.y1 <= data.height(width)
    return figure


def test_the_figure_and_its_tables_hold_both_nets(theory: Path) -> None:
    data = collect(theory, "perturbation", sample="3")
    found, clean = data.perturbations, data.clean
    pixels, inputs = columns(data.tables["pixels"]), columns(data.tables["inputs"])
    delta = np.array(pixels["perturbation of the clean net [input]"], float)
    np.testing.assert_allclose(delta, clean.perturbations.delta[2], rtol=1e-6)
    assert len(inputs["cosine between both perturbations [1]"]) == 1000
    a, b = np.array(pixels["perturbation [input]"], float), delta
    cosine = float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert float(inputs["cosine between both perturbations [1]"][2]) == pytest.approx(cosine, abs=1e-4)
    assert f"cosine between both perturbations {clean.between[2]:.3f}" in data.caption
    assert "end of clean training (step 40, with its own bias)" in data.caption
    with closing(Store.open(theory, read_only=True)) as store:
        model = SymmetricRelu(torch.from_numpy(store.load().arrays["weight_clean"].copy()), 0.1)
    margin = model.margin(torch.from_numpy(clean.perturbations.x.copy()), torch.from_numpy(found.y.copy()))
    told = np.array(columns(data.tables["margins"])["margin of x on the clean net [1]"], float)
    np.testing.assert_allclose(told, margin.numpy(), atol=1e-5)
    largest = max(np.abs(e.x + e.delta).max() for e in (found, clean.perturbations))
    assert data.scale >= largest


@pytest.mark.parametrize("width", WIDTHS)
def test_all_pictures_share_one_scale_and_stay_inside(theory: Path, width: float) -> None:
    data = collect(theory, "perturbation")
    figure = assert_fits(data, width)
    shown = [axes.images[0] for axes in figure.axes if axes.images and not axes.get_label().startswith("<colorbar")]
    assert len(shown) == (6 if width < 5 else 5)  # in a narrow figure x stands in both rows
    assert {image.get_clim() for image in shown} == {(-data.scale, data.scale)}
    expected = data.clean.perturbations.delta[0] * data.factor
    np.testing.assert_allclose(np.asarray(shown[1].get_array()).ravel(), expected, rtol=1e-6)


def test_without_it_or_before_clean_training_ended_it_is_as_it_was(theory: Path) -> None:
    for data in (collect(theory, "perturbation", beside="false"), collect(theory, "perturbation", 25)):
        assert data.clean is None
        assert "clean training (step" not in data.caption
        assert not [c for table in data.tables.values() for c in table if "clean net" in c.name]
        assert len([axes for axes in assert_fits(data, 6.75).axes if axes.images]) == 3 + 0


# --- images


@pytest.fixture(scope="module")
def image_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """An open session on digits some steps into its adversarial phase, saved."""
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    session = worlds.create(tiny_images(), tmp_path_factory.mktemp("beside") / "images")
    advance(session, 30)
    drain(session)
    session.apply(SaveCheckpoint())
    yield session
    session.close()
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)


def measured(session: Session) -> tuple[Examples, CleanExamples]:
    wanted = frozenset({Examples, CleanExamples})
    for _ in range(200):
        snapshot = session.snapshot(wanted)
        session.measure()
        if not session.measuring:
            break
    snapshot = session.snapshot(wanted)
    found, clean = snapshot.get(Examples), snapshot.get(CleanExamples)
    assert found is not None
    assert clean is not None
    return found, clean


def test_images_of_the_clean_net_are_the_same_ones(image_session: Any) -> None:
    found, clean = measured(image_session)
    of = clean.examples
    assert (found.step, of.step) == (30, 20)
    np.testing.assert_array_equal(of.x, found.x)
    assert of.protocol == found.protocol
    model = image_session.classifier_of(image_session.clean)
    x, _ = image_session.held_out.take(EXAMPLES)
    np.testing.assert_allclose(of.before, model.logits(x).softmax(1), atol=1e-5)
    sums = x + torch.from_numpy(of.delta.copy())
    np.testing.assert_allclose(of.after, model.logits(sums).softmax(1), atol=1e-5)
    assert not np.allclose(of.delta, found.delta)
    advance(image_session, 31)
    later, same = measured(image_session)
    assert later.step == 31
    assert same is clean  # measured once: its weights never change
    image_session.apply(SetKnob("attack.tau", 0.2))
    later, other = measured(image_session)
    assert other.examples.protocol.tau == later.protocol.tau == 0.2
    image_session.apply(SetKnob("attack.tau", 0.3))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_figure_of_images_has_a_row_for_each_net(image_session: Any, width: float) -> None:
    data = collect(image_session.folder, "examples", 30, count="2", sample="2")
    assert [(net, i) for net, _, i in data.rows()] == [("clean", 1), ("now", 1), ("clean", 2), ("now", 2)]
    figure = assert_fits(data, width)
    shown = [axes.images[0].get_array() for axes in figure.axes if axes.images]
    assert len(shown) == 12
    np.testing.assert_allclose(np.asarray(shown[1])[..., 0], 0.5 + data.factor * data.clean.delta[1, 0], atol=1e-6)
    np.testing.assert_allclose(np.asarray(shown[4])[..., 0], 0.5 + data.factor * data.found.delta[1, 0], atol=1e-6)
    assert data.factor * max(np.abs(e.delta).max() for e in (data.found, data.clean)) <= 0.5
    found = columns(data.tables[""])
    told = np.array(found["cosine between both perturbations [1]"], float)
    np.testing.assert_allclose(told, cosines(data.found.delta, data.clean.delta)[1:3])
    true = data.clean.y[1:3]
    told = np.array(found["probability of the class for x + δ on the clean net [1]"], float)
    np.testing.assert_allclose(told, data.clean.after[[1, 2], true])
    np.testing.assert_array_equal(data.arrays["delta_clean"], data.clean.delta[1:3])
    assert "net at the end of clean training (step 20)" in data.caption


def test_the_figure_of_images_without_it(image_session: Any) -> None:
    for options in ({"beside": "false"}, {"moment": "clean"}, {"moment": "start"}):
        data = collect(image_session.folder, "examples", 30, count="2", **options)
        assert data.clean is None
        assert "Above each" not in data.caption
    early = collect(image_session.folder, "examples", 15, count="2")
    assert early.clean is None
