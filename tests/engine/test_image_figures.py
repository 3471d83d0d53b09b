"""The figures of networks on images: their numbers are those of the run, and nothing of the other world is in them."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from engine import worlds
from engine.config.experiment import IMAGES, SPARSE_CODING, from_dict
from engine.core import metrics
from engine.core.errors import ConfigError, StoreError
from engine.core.measurement import wilson
from engine.figures import figures
from engine.figures.declare import round_up
from engine.figures.export import export, table_csv
from engine.figures.features import fineness
from engine.figures.panels import tile
from engine.figures.pictures import colours
from engine.figures.style import FORMATS, STYLE, WIDTHS, render
from engine.images.loading import ImageNetwork
from engine.probes.principle1 import principle1
from engine.run.store import Store

TINY: dict[str, Any] = {
    "device": "cpu",
    "threads": 1,
    "world": {"name": "digits", "train_size": 200},
    "model": {"name": "alexnet", "kernel": 3, "stride": 1, "padding": 1, "width": 12},
    "training": {"batch_size": 50, "flip": False},
    "attack": {"tau": 0.6, "steps": 2},
    "schedule": {"clean_steps": 16, "second_steps": 8},
    "evaluation": {"every": 8, "size": 32, "steps": 2, "report_size": 40, "report_steps": 3},
    "storage": {"checkpoint_every": 12},
}
CHEAP = {"n": "40", "steps": "4"}  # options that make every figure quick
OF_IMAGES = ("filters", "layers", "cosines", "spectrum", "examples", "features", "radius", "robustness", "training")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A finished run of 24 steps on digits, everything measured."""
    grad = torch.is_grad_enabled()
    folder = tmp_path_factory.mktemp("image figures") / "run"
    session = worlds.create(from_dict(TINY), folder)
    while not session.finished:
        session.step()
    while session.measuring:
        session.measure()
    session.close()
    torch.set_grad_enabled(grad)
    return folder


@pytest.fixture(scope="module")
def two_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the two-layer network that has not made a step."""
    folder = tmp_path_factory.mktemp("image figures") / "start"
    worlds.create(from_dict(TINY | {"model": {"name": "two_layer", "width": 20}}), folder).close()
    return folder


@pytest.fixture
def store(run: Path) -> Iterator[Store]:
    opened = Store.open(run, read_only=True)
    yield opened
    opened.close()


@pytest.fixture
def network(store: Store) -> ImageNetwork:
    return ImageNetwork.of(store, store.load())


def collect(store: Store, view: str, step: int | None = None, **options: str) -> Any:
    drawer = figures[view]
    return drawer().collect(store, store.load(step), drawer.view.complete(CHEAP | options))


def columns(table: Any) -> dict[str, list[str]]:
    """The table as somebody reads it from the CSV file."""
    header, *rows = csv.reader(io.StringIO(table_csv(table).decode()))
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def numbers(column: list[str]) -> list[float]:
    return [float(text) for text in column]


def drawn(data: Any, width: float = 6.75) -> Figure:
    figure = Figure(figsize=(width, data.height(width)))
    data.draw(figure)
    return figure


# --- all of them


@pytest.mark.parametrize("view", OF_IMAGES)
@pytest.mark.parametrize("width", WIDTHS)
def test_everything_is_readable_and_inside(store: Store, view: str, width: float) -> None:
    import matplotlib as mpl
    from matplotlib.text import Text

    data = collect(store, view)
    with mpl.rc_context(STYLE):
        figure = drawn(data, width)
        figure.draw_without_rendering()
        texts = [t for t in figure.findobj(Text) if t.get_text().strip()]
        assert len(texts) > 4
        assert min(t.get_fontsize() for t in texts) >= 7
        bounds = figure.get_tightbbox()
    assert bounds.x0 >= 0
    assert bounds.x1 <= width
    assert bounds.y0 >= 0
    assert bounds.y1 <= data.height(width)


@pytest.mark.parametrize("view", OF_IMAGES)
def test_captions_name_n_protocol_seed_step_and_run(store: Store, view: str) -> None:
    caption = collect(store, view).caption
    assert "n = " in caption
    assert "Protocol" in caption
    assert "seed 0; 16 steps of clean training, then 8 steps of adversarial training" in caption
    assert caption.endswith(f"Run {store.run}, checkpoint at step 24 (adversarial phase).")
    assert not {"dictionary", "w_star", "Sparse-coding", "M w*"} & set(caption.split())


@pytest.mark.parametrize("view", OF_IMAGES)
def test_a_run_at_its_start_can_be_drawn(two_layer: Path, view: str) -> None:
    store = Store.open(two_layer, read_only=True)
    try:
        data = collect(store, view)
    finally:
        store.close()
    for form in FORMATS:
        assert len(render(data, form, 3.25)) > 1000


@pytest.mark.parametrize("view", OF_IMAGES)
def test_the_same_figure_twice_is_the_same_bytes(store: Store, view: str) -> None:
    a, b = collect(store, view), collect(store, view)
    assert render(a, "svg", 6.75) == render(b, "svg", 6.75)
    assert a.caption == b.caption


def test_an_export_of_all_takes_what_a_network_on_images_has(run: Path, tmp_path: Path) -> None:
    written = export(run, "all", tmp_path / "out", formats=("png",), options=CHEAP)
    views = {path.parent.name for path in written if path.name == "caption.txt"}
    assert views >= set(OF_IMAGES)
    assert not {"neurons", "mixtures", "perturbation"} & views
    with np.load(tmp_path / "out" / "filters" / "filters.npz", allow_pickle=False) as arrays:
        assert arrays["weight_now"].shape == (12, 1, 3, 3)
    with pytest.raises(ConfigError, match="view: got 'neurons'; allowed for a run on digits: "):
        export(run, ["neurons"], tmp_path / "no")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("view", ["filters", "layers", "examples", "features"])
def test_they_are_for_images_alone(view: str) -> None:
    assert figures[view].view.kinds == (IMAGES,)
    assert SPARSE_CODING not in figures[view].view.kinds


# --- filters


def test_filters_share_one_contrast_and_one_order(store: Store) -> None:
    data, arrays = collect(store, "filters", sort="norm"), store.load().arrays
    stored = {m: arrays[f"{p}.conv1.weight"] for m, p in (("start", "init"), ("clean", "clean"), ("now", "now"))}
    for moment, weights in stored.items():
        np.testing.assert_array_equal(data.arrays[f"weight_{moment}"], weights)
    norms = np.linalg.norm(stored["now"].reshape(12, -1), axis=1)
    order = np.argsort(-norms, kind="stable")
    assert list(data.panels) == ["start", "after clean training", "now (step 24, adversarial)"]
    sizes = [np.sort(np.abs(w).ravel()) for w in stored.values()]
    level = round_up(max(float(s[int(0.995 * len(s))]) for s in sizes))
    assert data.level == level
    assert f"−{level:.3g} is dark" in data.caption
    images = [axes.images[0].get_array() for axes in drawn(data).axes[:3]]
    for image, weights in zip(images, stored.values(), strict=True):  # the first unit, in the first tile
        np.testing.assert_allclose(image[1:4, 1:4], weights[order[0], 0], atol=1e-6)
    found = columns(data.tables[""])
    assert [int(u) for u in found["unit [index]"]] == order.tolist()
    cosine = principle1(*(torch.tensor(w.reshape(12, -1)) for w in stored.values())).cos_clean_now
    np.testing.assert_allclose(numbers(found["cos_clean_now [1]"]), cosine[order], atol=1e-5)


def test_filters_of_a_layer_of_pixels_are_pictures(two_layer: Path) -> None:
    store = Store.open(two_layer, read_only=True)
    data = collect(store, "filters", count="5", sort="index")
    weight = store.load().arrays["now.hidden.weight"]
    store.close()
    assert list(data.panels) == ["start", "now (step 0, clean)"]
    np.testing.assert_array_equal(data.panels["start"], weight[:5].reshape(5, 1, 8, 8))
    assert "n = 5 of 20 units, by index" in data.caption


def test_pictures_and_tiles() -> None:
    grey = np.linspace(0, 1, 8).reshape(2, 1, 2, 2)
    assert colours(grey).shape == (2, 2, 2, 3)
    assert (colours(grey)[..., 0] == colours(grey)[..., 2]).all()
    colour = np.stack([np.full((2, 2), v) for v in (0.1, 0.5, 2.0)])[None]
    np.testing.assert_allclose(colours(colour)[0, 0, 0], [0.1, 0.5, 1.0], atol=1e-6)  # red, green, blue; no overflow
    laid = tile(colours(np.zeros((3, 1, 2, 4))), 2, 1.0)
    assert laid.shape == (7, 11, 3)
    assert (laid == 0).sum() == 3 * 3 * 8  # each pixel in its place, white between and where none is left


# --- layers


def test_layers_equal_measuring_again(store: Store, network: ImageNetwork) -> None:
    data = collect(store, "layers", layer="conv2")
    arrays = store.load().arrays
    names = [layer.name for layer in network.layers]
    found = columns(data.tables[""])
    assert found["layer [text]"] == names == ["conv1", "conv2", "conv3", "fc1", "fc2"]
    for i, name in enumerate(names):
        rows = (torch.tensor(arrays[f"{p}.{name}.weight"]).flatten(1) for p in ("init", "clean", "now"))
        expected = principle1(*rows)
        for quantity in ("cos_start_clean", "cos_start_now", "cos_clean_now"):
            values = getattr(expected, quantity)[expected.alive]
            assert float(found[f"{quantity} median [1]"][i]) == pytest.approx(float(np.median(values)), abs=1e-6)
            assert float(found[f"{quantity} 10% [1]"][i]) == pytest.approx(float(np.quantile(values, 0.1)), abs=1e-6)
            np.testing.assert_array_equal(getattr(data.of[name], quantity), getattr(expected, quantity))
    x, _ = network.held_out(40)
    hidden = network.network("clean")[:2](x)  # normalise, conv1
    assert float(found["active_share clean [1]"][0]) == pytest.approx(float((hidden > 0).double().mean()))
    assert found["active_share now [1]"][-1] == ""  # logits are no activations
    units = columns(data.tables["units"])
    assert len(units["unit [index]"]) == sum(layer.units for layer in network.layers)
    scatter = drawn(data).axes[1].collections[0].get_offsets()
    rows = [i for i, name in enumerate(units["layer [text]"]) if name == "conv2" and units["alive [0 or 1]"][i] == "1"]
    alive = data.of["conv2"].alive
    for axis, part in enumerate(("pure_part", "rest")):
        column = np.array(units[f"{part} [weight]"], np.float32)
        np.testing.assert_allclose(scatter[:, axis], column[rows])
    assert f"n = {int(alive.sum())} of 24 units of conv2" in data.caption
    assert collect(store, "layers", layer="2").chosen.name == "conv2"


def test_layers_before_the_clean_phase_has_ended(store: Store) -> None:
    data = collect(store, "layers", 0)
    assert list(data.active) == ["start", "now"]
    assert data.of is None
    assert "nothing to compare" in data.caption
    assert len(render(data, "png", 6.75)) > 1000


def test_layers_of_a_deep_network_keep_their_names_apart(tmp_path: Path) -> None:
    import matplotlib as mpl

    config = TINY | {"model": {"name": "resnet", "width": 4}, "local": {"layer": "net.conv1", "redraw_at": 1}}
    session = worlds.create(from_dict(config | {"schedule": {"clean_steps": 2, "second_steps": 1}}), tmp_path / "run")
    while not session.finished:
        session.step()
    session.close()
    store = Store.open(tmp_path / "run", read_only=True)
    data, filters = collect(store, "layers", layer="net.layer1.0.conv2"), collect(store, "filters")
    assert next(iter(filters.panels)) == "start (net.conv1 redrawn)"
    deep = collect(store, "features", units="2", steps="1")
    assert "layer net.layer4.1.conv2" in deep.caption
    made = [deep.rows[title] for title in ("start (net.conv1 redrawn)", *list(deep.rows)[1:])]
    assert [each.shape for each in made] == [(2, 1, 8, 8)] * 3
    assert not any(np.array_equal(one, other) for one, other in itertools.combinations(made, 2))
    store.close()
    assert len(data.layers) == 21
    for width in WIDTHS:
        with mpl.rc_context(STYLE):
            figure = drawn(data, width)
            figure.draw_without_rendering()
            bounds = figure.get_tightbbox()
            names = [t.get_window_extent() for t in figure.axes[0].get_xticklabels()]
        assert bounds.y0 >= 0
        assert bounds.x1 <= width
        assert figure.axes[0].get_window_extent().height > 60
        gaps = [b.x0 - a.x1 for a, b in itertools.pairwise(names)]
        assert width < 6 or min(gaps) > -3


def test_the_scalars_of_the_run_are_those_of_its_layers(store: Store) -> None:
    found = columns(collect(store, "layers", n="32").tables[""])
    shares = store.series(metrics.layer("conv2", "active_share"))
    assert shares.steps.tolist()[-1] == 24
    assert float(found["active_share now [1]"][1]) == pytest.approx(float(shares.values[-1]), abs=1e-6)


# --- examples


def test_examples_equal_measuring_again(store: Store, network: ImageNetwork) -> None:
    data = collect(store, "examples", count="3", sample="2", beside="false")
    x, y = (each[1:4] for each in network.held_out(4))
    np.testing.assert_array_equal(data.arrays["x"], x)
    delta = torch.from_numpy(data.arrays["delta"].copy())
    assert (delta.flatten(1).norm(dim=1) <= 0.6 * (1 + 1e-5)).all()
    assert (x + delta).min() >= 0
    assert (x + delta).max() <= 1
    model = network.classifier()
    np.testing.assert_allclose(data.arrays["before"], model.logits(x).softmax(1), atol=1e-5)
    np.testing.assert_allclose(data.arrays["after"], model.logits(x + delta).softmax(1), atol=1e-5)
    assert data.arrays["after"][range(3), y].mean() < data.arrays["before"][range(3), y].mean()
    found = columns(data.tables[""])
    assert found["image [index]"] == ["2", "3", "4"]
    assert found["class [text]"] == [network.data.classes[k] for k in y]
    assert numbers(found["size of δ [ℓ2 norm]"]) == pytest.approx(delta.flatten(1).norm(dim=1).tolist(), rel=1e-5)
    assert "PGD-2 × 1 restart, ℓ2 radius 0.6, n = 3;" in data.caption
    assert f"drawn × {data.factor}" in data.caption
    shown = drawn(data).axes[1].images[0].get_array()
    np.testing.assert_allclose(shown[..., 1], 0.5 + data.factor * delta[0, 0], atol=1e-6)
    assert 0 <= shown.min() <= shown.max() <= 1


def test_examples_of_the_weights_after_clean_training(store: Store) -> None:
    now, clean = collect(store, "examples"), collect(store, "examples", moment="clean")
    np.testing.assert_array_equal(now.arrays["x"], clean.arrays["x"])
    assert not np.array_equal(now.arrays["before"], clean.arrays["before"])
    assert "weights after clean training" in clean.caption
    with pytest.raises(StoreError, match="clean training had not ended at step 0"):
        collect(store, "examples", 0, moment="clean")


# --- features


def test_features_equal_the_probe(store: Store, network: ImageNetwork) -> None:
    from engine.core.results import FeatureRequest
    from engine.core.slices import finish
    from engine.probes.features import visualise

    data = collect(store, "features", layer="conv2", units="3,0,7", origin="image", image="2", tau="0.9", steps="5")
    x, _ = network.held_out(2)
    networks = {m: network.network(m) for m in ("start", "clean", "now")}
    asked = FeatureRequest("conv2", (3, 0, 7), "image", 0.9, 5, 1)
    expected = finish(visualise(networks, asked, x[1], (1, 8, 8), 24, 0))
    for moment in networks:
        np.testing.assert_array_equal(data.arrays[f"pictures_{moment}"], expected.pictures[moment])
    np.testing.assert_array_equal(data.arrays["origin"], x[1])
    found = columns(data.tables[""])
    assert found["unit [index]"] == ["3", "0", "7"]
    np.testing.assert_allclose(numbers(found["activation now [pre-activation]"]), expected.activations["now"])
    assert max(numbers(found["distance now [ℓ2 norm]"])) <= 0.9 * (1 + 1e-5)
    fine = numbers(found["fine waves now [share of energy]"])
    assert fine == pytest.approx(fineness(expected.pictures["now"] - expected.origin))
    images = [axes.images[0].get_array() for axes in drawn(data).axes]
    assert len(images) == 9
    np.testing.assert_allclose(images[3][..., 0], data.arrays["pictures_clean"][0, 0])  # as they are: no contrast


def test_features_choose_the_last_convolution_and_a_radius_for_the_size(store: Store) -> None:
    data = collect(store, "features")
    assert data.units == tuple(range(9))
    assert "layer conv3" in data.caption
    assert f"ℓ2 distance {8 * (64 / 3072) ** 0.5:.3g} of the origin" in data.caption
    many = collect(store, "features", units="11", steps="1")
    assert len(drawn(many, 3.25).axes) == 33
    assert collect(store, "features", units="0,2", steps="1").units == (0, 2)


def test_what_does_not_depend_on_a_choice_is_clamped(store: Store, two_layer: Path) -> None:
    """What a view hands over before it knows the run: a range of units beyond the layer, an image that is not used."""
    assert collect(store, "filters", layer="conv3", units="33-99", image="9999", steps="1").units == (33, 34, 35)
    assert collect(store, "features", units="99", steps="1").units == tuple(range(36))
    assert collect(store, "filters", layer="", units="0-99").panels.keys() == collect(store, "filters").panels.keys()
    assert collect(store, "examples", sample="12").which.tolist() == [11]
    assert collect(store, "examples", first="12").which.tolist() == [11]  # the option's name before
    for view in ("layers", "features"):
        assert collect(store, view, layer=" ").caption == collect(store, view).caption
    assert collect(store, "layers").chosen.name == "conv1"


def test_filters_scaled_each_and_in_two_colours(store: Store) -> None:
    data = collect(store, "filters", scaled="true", signed="true", sort="change", count="all")
    assert (data.level, data.signed) == (1.0, True)
    for panel in data.panels.values():
        np.testing.assert_allclose(np.abs(panel).reshape(12, -1).max(1), 1, atol=1e-6)
    cosines = numbers(columns(data.tables[""])["cos_clean_now [1]"])
    assert cosines == sorted(cosines)
    assert "divided by its own largest weight" in data.caption
    assert not collect(store, "filters").signed


def test_fineness_is_the_share_of_energy_in_fine_waves() -> None:
    at = np.arange(20)
    waves = [np.cos(2 * np.pi * f * at)[None, None, :] * np.ones((1, 3, 20, 1)) for f in (0.1, 0.15, 0.25, 0.5)]
    slanted = np.cos(2 * np.pi * 0.15 * (at[:, None] + at))[None, None] * np.ones((1, 3, 1, 1))  # 0.21 along itself
    found = fineness(np.concatenate([*waves, slanted, waves[0] + 2 * waves[2], np.zeros((1, 3, 20, 20))]))
    assert found[:6] == pytest.approx([0, 0, 1, 1, 1, 0.8], abs=1e-12)
    assert np.isnan(found[6])


# --- figures of both worlds


def test_radius_is_pgd_alone(store: Store, network: ImageNetwork) -> None:
    data = collect(store, "radius")
    assert [c.name for c in data.curves] == ["pgd", "pgd_clean"]
    found = columns(data.tables[""])
    np.testing.assert_allclose(numbers(found["radius [ℓ2 norm]"]), np.linspace(0, 0.9, 7))
    x, y = network.held_out(40)
    for suffix, moment in (("", "now"), ("_clean", "clean")):
        values = numbers(found[f"pgd{suffix} [1]"])
        right = int((network.classifier(moment).logits(x).argmax(1) == y).sum())  # type: ignore[arg-type]
        assert values[0] == right / 40
        assert numbers(found[f"pgd{suffix} low [1]"])[0] == wilson(right, 40)[0]
        assert values[-1] <= values[0]
        assert found[f"pgd{suffix} n [samples]"] == ["40"] * 7
    assert "there is no certificate" in data.caption
    assert "PGD-10 × 1 restart, ℓ2 radii 0 to 0.9, n = 40" in data.caption
    assert "after clean training, step 16" in data.curves[1].label
    assert not [c for c in drawn(data).axes[0].collections if "FillBetween" in type(c).__name__]
    assert [c.name for c in collect(store, "radius", clean="false").curves] == ["pgd"]
    assert [c.name for c in collect(store, "radius", 0).curves] == ["pgd"]


def test_robustness_has_no_dense_direction(store: Store) -> None:
    data = collect(store, "robustness", alignment="true")
    assert [c.name for c in data.live] == [metrics.CLEAN, metrics.FGM, metrics.PGD]
    assert [c.name for c in data.reports] == [metrics.REPORT + n for n in (metrics.CLEAN, metrics.FGM, metrics.PGD)]
    assert data.alignment is None
    assert len(drawn(data).axes) == 1


# --- options


@pytest.mark.parametrize(
    ("view", "options", "message"),
    [
        ("filters", {"sort": "purity"}, "sort: got 'purity'; allowed: index, norm, change"),
        ("layers", {"layer": "conv9"}, "layer: got 'conv9'; allowed: conv1, conv2, conv3, fc1, fc2, or a number"),
        ("layers", {"layer": "6"}, "layer: got '6'"),
        ("layers", {"n": "20001"}, "n: got 20001; allowed: a whole number from 1 to 20000"),
        ("examples", {"sample": "13"}, "sample: got 13; allowed: a whole number from 1 to 12"),
        ("features", {"layer": "conv9"}, "layer: got 'conv9'"),
        ("features", {"units": "1,99"}, "units: got 99; allowed: 0 to 35, which this layer has"),
        ("features", {"units": "5-3"}, "units: got 5-3"),
        ("filters", {"layer": "conv3", "units": "36"}, "units: got 36; allowed: 0 to 35"),
        ("filters", {"layer": "conv9"}, "layer: got 'conv9'"),
        ("features", {"units": "a,b"}, "units: got 'a,b'"),
        ("features", {"tau": "-1"}, "tau: got '-1'; allowed: auto, a number above 0"),
        ("features", {"tau": "inf"}, "tau: got 'inf'"),
        ("features", {"steps": "0"}, "steps: got '0'; allowed: a whole number from 1"),
        ("features", {"origin": "sky"}, "origin: got 'sky'; allowed: noise, image"),
        ("features", {"origin": "image", "image": "100000"}, "image: got 100000; allowed: a whole number from 1 to "),
    ],
)
def test_errors_name_the_option(store: Store, view: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        collect(store, view, **options)
