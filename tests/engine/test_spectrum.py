"""Spectra, effective ranks and effective features: by definition, by numpy, live, recorded and drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine.core import metrics
from engine.core.spectra import LayersSpectrum, Spectrum, participation_ratio
from engine.figures import figures
from engine.figures.base import Table
from engine.probes import spectrum
from engine.probes.spectrum import effective_features
from engine.run.ranges import range_of
from engine.run.session import Session
from engine.run.store import Store
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import advance, drain, run

Create = Callable[..., Session]
Matrix = NDArray[np.float64]
COUNT = st.integers(0, 8)


def orthonormal(n: int, k: int, seed: int) -> Matrix:
    """(n, k)"""
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, k)))[0]


# --- the definitions


@settings(max_examples=40, deadline=None)
@given(r=st.integers(1, 12), more=COUNT, wider=COUNT, s=st.floats(1e-3, 1e3), wide=st.booleans(), seed=COUNT)
def test_r_equal_singular_values_count_as_r(r: int, more: int, wider: int, s: float, wide: bool, seed: int) -> None:
    matrix = s * orthonormal(r + more + wider, r, seed) @ orthonormal(r + more, r, seed + 1).T
    found = spectrum.spectrum(torch.tensor(matrix.T if wide else matrix, dtype=torch.float32))
    assert len(found.values) == r + more
    assert found.values[:r] == pytest.approx(s, rel=1e-5)
    assert found.effective_rank == pytest.approx(r, rel=1e-3)
    assert found.participation == pytest.approx(r, rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=20), st.floats(1e-6, 1e6))
def test_scale_does_not_count_and_the_two_are_ordered(values: list[float], scale: float) -> None:
    sigma = np.sort(np.array(values))[::-1]
    one, other = Spectrum(sigma), Spectrum(scale * sigma)
    assert other.effective_rank == pytest.approx(one.effective_rank, rel=1e-9)
    assert other.participation == pytest.approx(one.participation, rel=1e-9)
    assert 1 - 1e-9 <= one.participation <= one.effective_rank + 1e-9 <= len(sigma) + 2e-9


def test_by_the_words_of_the_definitions() -> None:
    sigma = [4.0, 2.0, 1.0, 1.0]
    entropy = -sum(s / 8 * math.log(s / 8) for s in sigma)
    assert Spectrum(np.array(sigma)).effective_rank == pytest.approx(math.exp(entropy))
    assert Spectrum(np.array(sigma)).participation == pytest.approx((16 + 4 + 1 + 1) ** 2 / (256 + 16 + 1 + 1))
    assert participation_ratio(np.array([1.0, 1.0, 1.0, 0.0])) == 3


def test_nothing_and_no_numbers() -> None:
    nothing = spectrum.spectrum(torch.zeros(4, 3))
    assert (nothing.effective_rank, nothing.participation) == (0, 0)
    broken = spectrum.spectrum(torch.tensor([[1.0, float("nan")], [0.0, 1.0], [2.0, 1.0]]))
    assert len(broken.values) == 2
    assert math.isnan(broken.effective_rank)
    assert math.isnan(broken.participation)


@pytest.mark.parametrize("shape", [(40, 7), (7, 40), (9, 9)])
def test_singular_values_are_those_of_numpy_in_slices_too(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    expected = np.linalg.svd(matrix.double().numpy(), compute_uv=False)
    monkeypatch.setattr(spectrum, "SLICE", 3 * min(shape) ** 2)
    work, slices = spectrum.in_slices(matrix), 0
    try:
        while True:
            next(work)
            slices += 1
    except StopIteration as stop:
        np.testing.assert_allclose(stop.value.values, expected, rtol=1e-9)
    assert slices == math.ceil(max(shape) / 3) - 1


def test_effective_features_by_hand() -> None:
    D = 12
    dictionary = torch.tensor(orthonormal(D, D, 0), dtype=torch.float32)
    pure = dictionary[:, :5].T * 2  # five neurons, a feature each
    found = effective_features(torch.cat([pure, 0.01 * dictionary.T, torch.zeros(1, D)]), dictionary)
    assert found.alive.sum() == 5  # what is dead represents nothing
    assert found.represented == pytest.approx(5, rel=1e-4)
    assert found.per_neuron == pytest.approx(1, rel=1e-4)
    assert found.mixed[-1] == 0
    dense = effective_features((dictionary @ torch.ones(D)).repeat(3, 1), dictionary)
    assert dense.represented == pytest.approx(D, rel=1e-4)
    assert dense.per_neuron == pytest.approx(D, rel=1e-4)
    pairs = effective_features((dictionary[:, :4] + dictionary[:, 4:8]).T, dictionary)
    assert (pairs.represented, pairs.per_neuron) == (pytest.approx(8, rel=1e-4), pytest.approx(2, rel=1e-4))
    assert math.isnan(effective_features(torch.zeros(2, D), dictionary).per_neuron)


# --- live


def look(session: Session) -> LayersSpectrum:
    for _ in range(1000):
        found = session.snapshot(frozenset({LayersSpectrum})).get(LayersSpectrum)
        if found is not None and not session.measuring:
            return found
        session.measure()
    raise AssertionError("the spectra were never done")


def sigma(matrix: Matrix) -> Matrix:
    return np.linalg.svd(matrix.reshape(len(matrix), -1).astype(np.float64), compute_uv=False)


def test_live_in_the_theory(new_session: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    session = new_session()
    advance(session, 20)
    drain(session)
    assert set(look(session).of[metrics.HIDDEN]) == {"start", "now"}
    advance(session, 60)
    drain(session)
    found = look(session)
    arrays = session._arrays()
    w = {"start": arrays["weight_init"], "clean": arrays["weight_clean"], "now": arrays["weight"]}
    w["change"] = w["now"] - w["clean"]
    assert found.step == 60
    assert set(found.of) == {metrics.HIDDEN}
    assert set(found.of[metrics.HIDDEN]) == set(w)
    for moment, matrix in w.items():
        np.testing.assert_allclose(found.of[metrics.HIDDEN][moment].values, sigma(matrix), rtol=1e-5, atol=1e-7)
    energy = (w["now"].astype(float) @ arrays["dictionary"]) ** 2
    norms = np.sqrt(energy.sum(1))
    living = norms > 0.3 * norms.max()
    e = energy[living].sum(0)
    assert found.features["now"].represented == pytest.approx(e.sum() ** 2 / (e**2).sum(), rel=1e-4)
    mixed = energy.sum(1) ** 2 / (energy**2).sum(1)
    assert found.features["now"].per_neuron == pytest.approx(np.median(mixed[living]), rel=1e-4)
    measured: list[torch.Tensor] = []
    plain = spectrum.in_slices

    def counted(matrix: torch.Tensor) -> Generator[None, None, Spectrum]:
        measured.append(matrix)
        return plain(matrix)

    monkeypatch.setattr(spectrum, "in_slices", counted)
    session.step()
    assert look(session).step == 61
    assert len(measured) == 2  # now and the change; start and clean are known


def test_live_on_images(new_session: Create) -> None:
    session = new_session(tiny_images())
    advance(session, 30)
    drain(session)
    found, arrays = look(session), session._arrays()
    assert found.features == {}
    assert set(found.of) == {each.name for each in found.layers}
    for layer in found.layers:
        now, clean = (arrays[f"{moment}.{layer.name}.weight"] for moment in ("now", "clean"))
        np.testing.assert_allclose(found.of[layer.name]["now"].values, sigma(now), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found.of[layer.name]["change"].values, sigma(now - clean), rtol=1e-3, atol=1e-6)


def test_layers_too_large_are_left_to_figures(new_session: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "LARGEST", 9)
    session = new_session(tiny_images())
    found = look(session)
    small = {each.name for each in found.layers if min(each.shape[0], math.prod(each.shape[1:])) <= 9}
    assert 0 < len(small) < len(found.layers)
    assert set(found.of) == small


# --- recorded


def test_recorded_are_the_ranks_of_the_weights(finished_store: Store) -> None:
    checkpoint = finished_store.load()
    w = checkpoint.arrays
    change, rank = sigma(w["weight"] - w["weight_clean"]), sigma(w["weight"])
    expected = {
        metrics.layer("hidden", "effective_rank"): Spectrum(rank).effective_rank,
        metrics.layer("hidden", "participation"): Spectrum(rank).participation,
        metrics.layer("hidden", "change_rank"): Spectrum(change).effective_rank,
        "features/represented": None, "features/mixed": None,
    }  # fmt: skip
    for name, value in expected.items():
        series = finished_store.series(name)
        assert series.steps[-1] == checkpoint.step
        assert all(range_of(name).holds(v) for v in series.values.tolist())
        assert not range_of(name).holds(-1.0)
        if value is not None:
            assert series.values[-1] == pytest.approx(value, rel=1e-3)
    steps = finished_store.series(metrics.layer("hidden", "change_rank")).steps
    assert steps.min() > 40 - 10  # not before clean training has ended


def test_of_a_layer_that_is_too_dear_nothing_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "RECORDED", 10_000)
    names = {name for _, name, _ in run(tiny_images(), tmp_path / "run", until=10).metrics}
    ranked = {name.split("/")[1] for name in names if name.endswith("/effective_rank")}
    layered = {name.split("/")[1] for name in names if name.endswith("/active_share")}
    assert ranked
    assert layered - ranked


# --- drawn


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("spectrum") / "run"
    run(tiny_images(), folder, until=30)
    store = Store.open(folder, read_only=True)
    yield store
    store.close()


def collect(store: Store, view: str, step: int | None = None, **options: str) -> Any:
    drawer = figures[view]
    return drawer().collect(store, store.load(step), drawer.view.complete(options))


def columns(table: Table) -> dict[str, Any]:
    return {column.name: column.values for column in table}


def axes_of(data: Any) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.75, data.height(6.75)))
    data.draw(figure)
    return figure.axes


def weights(store: Store, layer: str) -> tuple[Matrix, Matrix, Matrix]:
    """Start, clean, now."""
    arrays = store.load().arrays
    if layer == metrics.HIDDEN:
        found = [arrays[name] for name in ("weight_init", "weight_clean", "weight")]
    else:
        found = [arrays[f"{moment}.{layer}.weight"] for moment in ("init", "clean", "now")]
    start, clean, now = (each.reshape(len(each), -1).astype(np.float64) for each in found)
    return start, clean, now


@pytest.mark.parametrize(("kind", "asked"), [("theory", ""), ("images", "2")])
def test_the_figure_of_the_cosines(kind: str, asked: str, finished_store: Store, images: Store) -> None:
    store = finished_store if kind == "theory" else images
    data = collect(store, "cosines", layer=asked)
    name = data.layer.name
    start, clean, now = weights(store, name)

    def cosine(a: Matrix, b: Matrix) -> Matrix:
        return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    expected = {
        "cos_start_clean": cosine(start, clean),
        "cos_start_now": cosine(start, now),
        "cos_clean_now": cosine(clean, now),
    }
    norm = np.linalg.norm(clean, axis=1)
    alive = norm > 0.3 * norm.max()
    bars, units, medians = (columns(data.tables[t]) for t in ("", "units", "medians"))
    (axes,) = axes_of(data)
    outlines = [p for p in axes.patches if type(p).__name__ == "StepPatch" and not p.get_fill()]
    assert len(outlines) == 3
    for i, (key, values) in enumerate(expected.items()):
        np.testing.assert_allclose(units[key], values, atol=1e-5)
        counted = np.histogram(units[key][alive], np.linspace(-1, 1, 51))[0]
        np.testing.assert_array_equal(bars[key], counted)
        np.testing.assert_array_equal(outlines[i].get_data().values, counted)
        assert medians["median"][i] == pytest.approx(np.median(values[alive]), abs=1e-5)
        assert medians["10%"][i] == pytest.approx(np.quantile(values[alive], 0.1), abs=1e-5)
    d = start.shape[1]
    assert medians["1/√d of random directions"][0] == pytest.approx(d**-0.5)
    assert f"n = {alive.sum()} alive of {len(alive)} units of {name}" in data.caption
    assert f"d = {d} dimensions; theoretical" in data.caption
    texts = [t.get_text() for t in axes.get_legend().get_texts()]
    assert any("theoretical" in t and f"1/√{d}" in t for t in texts)


def test_random_directions_have_the_cosines_that_the_reference_says() -> None:
    from engine.core.results import LayerInfo
    from engine.figures.cosines import spread

    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 20_000, 48, generator=generator)
    found = torch.nn.functional.cosine_similarity(a, b, dim=1)
    assert float(found.std()) == pytest.approx(spread(LayerInfo("conv", "conv", (9, 3, 4, 4))), rel=0.03)


@pytest.mark.parametrize(("kind", "asked"), [("theory", ""), ("images", "2")])
@pytest.mark.parametrize("over_time", ["rank", "features"])
def test_the_figure_of_the_spectrum(
    kind: str, asked: str, over_time: str, finished_store: Store, images: Store
) -> None:
    store = finished_store if kind == "theory" else images
    data = collect(store, "spectrum", layer=asked, over_time=over_time)
    name = data.layer.name
    start, clean, now = weights(store, name)
    matrices = {"start": start, "clean": clean, "now": now, "change": now - clean}
    values, over = axes_of(data)
    table, ranks = columns(data.tables[""]), columns(data.tables["ranks"])
    assert values.get_yscale() == "log"
    values.figure.draw_without_rendering()
    assert all("$" not in t.get_text() for t in values.get_yticklabels(which="both"))
    assert len(values.lines) == 4
    for i, (moment, matrix) in enumerate(matrices.items()):
        expected = sigma(matrix)
        np.testing.assert_allclose(table[f"singular value {moment}"], expected, rtol=1e-3, atol=1e-6)
        x, y = values.lines[i].get_data()
        np.testing.assert_allclose(y, table[f"singular value {moment}"][np.asarray(x) - 1])
        assert ranks["effective rank"][i] == pytest.approx(Spectrum(expected).effective_rank, rel=1e-3)
        assert values.lines[i].get_label().endswith(f"eff. rank {ranks['effective rank'][i]:.1f}")
    wanted = {
        "rank": ["effective_rank", "change_rank"],
        "features": ["participation", *(["features/represented", "features/mixed"] if kind == "theory" else [])],
    }[over_time]
    curves = [line for line in over.lines if line.get_label()[0] != "_"]
    assert len(curves) == len(wanted)
    for line, quantity in zip(curves, wanted, strict=True):
        series = store.series(quantity if "/" in quantity else metrics.layer(name, quantity))
        np.testing.assert_array_equal(line.get_xdata(), series.steps)
        np.testing.assert_array_equal(line.get_ydata(), series.values)
    for words in ("Roy and Vetterli 2007", "(Σσ²)²/Σσ⁴", "2512.13568", "2209.10652"):
        assert words in data.caption
    assert ("effective of 16 features in 16 dimensions" in data.caption) == (kind == "theory")
