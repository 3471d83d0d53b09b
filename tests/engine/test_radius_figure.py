"""The figures of radius and perturbation: their numbers are those that measuring again gives."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.core.measurement import Measurement, wilson
from engine.core.slices import finish
from engine.figures import figures
from engine.figures.export import table_csv
from engine.figures.panels import as_pictures
from engine.figures.perturbation import reference
from engine.figures.style import render
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import certificate, oracle, perturbation, robustness
from engine.run.store import Store
from engine.theory.config import bias_at
from engine.theory.loading import TheoryNetwork

N = 60


def collect(store: Store, view: str, step: int | None = None, **options: str) -> Any:
    drawer = figures[view]
    return drawer().collect(store, store.load(step), drawer.view.complete(options))


def columns(table: Any) -> dict[str, list[float]]:
    """The table as somebody reads it from the CSV file."""
    header, *rows = csv.reader(io.StringIO(table_csv(table).decode()))
    return {name: [float(row[i]) for row in rows] for i, name in enumerate(header)}


@pytest.fixture
def network(finished_run: Path) -> TheoryNetwork:
    return TheoryNetwork.load(finished_run)


def test_radius_equals_measuring_again(finished_store: Store, network: TheoryNetwork) -> None:
    data = collect(finished_store, "radius", n=str(N))
    found = columns(data.tables[""])
    tau, seed, config = network.config.attack.tau, network.config.seed, network.config
    radii = np.linspace(0, 1.5 * tau, 7)
    np.testing.assert_array_equal(found["radius [ℓ2 norm]"], radii)
    x, y = network.held_out.take(N, config.world.sigma_x)
    protocols = [Measurement("pgd", "l2", float(r), 20, 2, N) for r in radii]
    arrays = finished_store.load().arrays
    before = SymmetricRelu(torch.from_numpy(arrays["weight_clean"].copy()), bias_at(config, 40))
    for suffix, model in (("", network.model), ("_clean", before)):
        upper = []
        for protocol in protocols:
            generator = seeded(seed, f"radius {protocol.tau}", x.device)
            upper.append(finish(robustness.accuracy(model, x, y, protocol, None, generator)).right)
        lower = [m.right for m in finish(certificate.certified(model.weight, model.bias, x, y, radii.tolist()))]
        for name, right in (("pgd", upper), ("certified", lower)):
            assert found[f"{name}{suffix} [1]"] == [r / N for r in right]
            assert found[f"{name}{suffix} low [1]"] == [wilson(r, N)[0] for r in right]
            assert found[f"{name}{suffix} high [1]"] == [wilson(r, N)[1] for r in right]
            assert found[f"{name}{suffix} n [samples]"] == [N] * 7
        assert all(low <= high for low, high in zip(lower, upper, strict=True))
        assert upper[0] == int((model.margin(x, y) > 0).sum())
    ceilings = finish(oracle.measure(network.held_out.world, seed, x, y, protocols))
    assert found["oracle [1]"] == [c.measured.accuracy for c in ceilings]
    np.testing.assert_array_equal(data.curves[0].values, found["pgd [1]"])


def test_radius_caption_names_everything(finished_store: Store) -> None:
    caption = collect(finished_store, "radius", n=str(N)).caption
    assert f"PGD-20 × 2 restarts, ℓ2 radii 0 to 0.3, n = {N}, 95% Wilson interval." in caption
    assert f"certified (no perturbation fools), ℓ2 radii 0 to 0.3, n = {N}" in caption
    assert "tau = 0.2" in caption
    assert f"Run {finished_store.run}, checkpoint at step 80 (adversarial phase)." in caption


def test_radius_before_the_clean_phase_has_ended(finished_store: Store) -> None:
    data = collect(finished_store, "radius", 25, n=str(N))
    assert [c.name for c in data.curves] == ["pgd", "certified", "oracle"]
    assert "had not ended" in data.caption
    data = collect(finished_store, "radius", n=str(N), clean="false", intervals="false")
    assert [c.name for c in data.curves] == ["pgd", "certified", "oracle"]
    assert len(render(data, "png", 3.25)) > 1000


def test_radius_draws_the_area_between_the_bounds(finished_store: Store) -> None:
    from matplotlib.figure import Figure

    data = collect(finished_store, "radius", n=str(N))
    figure = Figure(figsize=(6.75, data.height(6.75)))
    data.draw(figure)
    axes = figure.axes[0]
    areas = [c.get_paths()[0] for c in axes.collections if c.__class__.__name__ == "FillBetweenPolyCollection"]
    assert len(areas) == 2
    now = {c.name: c.values for c in data.curves}
    vertices = {tuple(v) for v in np.asarray(areas[1].vertices).tolist()}
    for radius, top, bottom in zip(data.radii, now["pgd"], now["certified"], strict=True):
        assert {(radius, top), (radius, bottom)} <= vertices
    assert len({(line.get_marker(), line.get_linestyle()) for line in axes.lines if line.get_marker() != "None"}) >= 3
    assert "ℓ2 norm" in axes.get_xlabel()


def test_radius_options_are_checked(finished_store: Store) -> None:
    with pytest.raises(ConfigError, match="n: got '0'; allowed: a whole number from 1"):
        collect(finished_store, "radius", n="0")
    with pytest.raises(ConfigError, match="n: got 20001; allowed: a whole number from 1 to 20000"):
        collect(finished_store, "radius", n="20001")
    with pytest.raises(ConfigError, match="clean: got 'maybe'"):
        collect(finished_store, "radius", clean="maybe")


# --- perturbation


def test_perturbation_equals_measuring_again(finished_store: Store, network: TheoryNetwork) -> None:
    data = collect(finished_store, "perturbation", sample="3")
    x, y = network.held_out.take(1000, network.config.world.sigma_x)
    protocol = Measurement("fgm", "l2", network.config.attack.tau, 1, 1, 1000)
    again = finish(
        perturbation.perturbations(network.model, network.held_out.world, x, y, protocol, network.config.seed)
    )
    inputs, pixels, main = (columns(data.tables[name]) for name in ("inputs", "pixels", ""))
    np.testing.assert_allclose(inputs["cosine [1]"], again.cosine, rtol=1e-6)
    np.testing.assert_array_equal(inputs["coordinates with 90% of the energy [coordinates]"], again.coordinates90)
    np.testing.assert_allclose(pixels["x [input]"], again.x[2], rtol=1e-6)
    np.testing.assert_allclose(pixels["perturbation [input]"], again.delta[2], rtol=1e-6)
    np.testing.assert_allclose(pixels["sum [input]"], again.x[2] + again.delta[2], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(main["coefficient [input]"], again.coefficients[2], rtol=1e-6)
    dense = -again.y[2] * again.target * 0.2 / 4
    np.testing.assert_allclose(main["dense mixture [input]"], dense, rtol=1e-5)
    assert (
        f"mean {again.mean_cosine:.3f}; 90% of the energy lies in {again.mean_coordinates90:.1f} of 16" in data.caption
    )
    assert "Protocol: FGM (1 step), ℓ2 radius 0.2, n = 1000;" in data.caption
    assert f"(drawn × {data.factor})" in data.caption
    assert "checkpoint at step 80" in data.caption


def test_perturbation_pictures_share_one_scale(finished_store: Store) -> None:
    from matplotlib.figure import Figure

    data = collect(finished_store, "perturbation")
    figure = Figure(figsize=(6.75, data.height(6.75)))
    data.draw(figure)
    images = [image for axes in figure.axes for image in axes.get_images()]
    assert [image.get_clim() for image in images] == [(-data.scale, data.scale)] * 5  # the clean net's δ and x + δ, too
    images = [images[0], *images[-2:]]
    x, enlarged, total = (np.asarray(image.get_array()).ravel() for image in images)
    np.testing.assert_allclose(x + enlarged / data.factor, total, atol=1e-6)
    assert max(np.abs(x).max(), np.abs(total).max()) <= data.scale
    assert np.abs(data.factor * data.perturbations.delta).max() <= data.scale
    assert any(f"δ × {data.factor}" in axes.get_title() for axes in figure.axes)
    assert collect(finished_store, "perturbation", factor="1").factor == 1


def test_perturbation_errors_name_the_sample(finished_store: Store) -> None:
    with pytest.raises(ConfigError, match="sample: got 13; allowed: a whole number from 1 to 12"):
        collect(finished_store, "perturbation", sample="13")
    with pytest.raises(ConfigError, match="sample: got '0'; allowed: a whole number from 1"):
        collect(finished_store, "perturbation", sample="0")


def test_a_vector_of_any_length_is_a_picture() -> None:
    assert as_pictures(np.arange(16)[None]).shape == (1, 1, 4, 4)
    odd = as_pictures(np.arange(10.0)[None])[0, 0]
    assert odd.shape == (3, 4)
    np.testing.assert_array_equal(odd.ravel()[:10], np.arange(10))
    assert np.isnan(odd.ravel()[10:]).all()


def test_the_reference_is_as_long_as_the_perturbation(finished_store: Store) -> None:
    found = collect(finished_store, "perturbation").perturbations
    for sample in range(12):
        assert np.linalg.norm(reference(found, sample)) == pytest.approx(np.linalg.norm(found.delta[sample]), rel=1e-5)
