"""Sparse or dense: the codes themselves beside scikit-learn's, what is written of a run, and what is exported."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso, orthogonal_mp
from threadpoolctl import threadpool_info, threadpool_limits
from torch import nn

from engine.core.errors import ConfigError, StoreError
from engine.core.slices import finish
from engine.figures.export import export
from engine.models.layers import layers
from engine.probes.sparse_code import dictionary, given, lasso, matching_pursuit, needed, relative_errors
from engine.studies.base import write_record
from engine.studies.clean_end import CleanEnd
from engine.studies.questions.sparse_code import FilterCount, SparseCodes, SparseStudy
from tests.engine.test_local_study import assert_fits, make


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def atoms() -> torch.Tensor:
    """Thirty atoms in twelve dimensions."""
    found = random(30, 12)
    return found / torch.linalg.vector_norm(found, dim=1, keepdim=True)


# --- the codes


def test_matching_pursuit_leaves_what_scikit_learn_leaves(atoms: torch.Tensor) -> None:
    vectors = random(70, 12, seed=1)  # more than a slice
    left = finish(matching_pursuit(atoms, vectors, 8)).numpy()
    np.testing.assert_allclose(left[:, 0], vectors.square().sum(1))
    for k in range(1, 9):
        coefficients = orthogonal_mp(atoms.numpy().T, vectors.numpy().T, n_nonzero_coefs=k)
        rest = vectors.numpy().T - atoms.numpy().T @ coefficients
        np.testing.assert_allclose(left[:, k], np.square(rest).sum(0), rtol=1e-8, atol=1e-12)


def test_the_lasso_leaves_the_least_of_its_penalties(atoms: torch.Tensor) -> None:
    vectors = random(3, 12, seed=2) * torch.tensor([[1.0], [1e-3], [50.0]])  # the size must not matter
    left = finish(lasso(atoms, vectors, 8)).numpy()
    for vector, found in zip(vectors.numpy(), left, strict=True):
        size = float(np.linalg.norm(vector))
        best = np.full(9, size**2)
        for penalty in np.geomspace(3e-3, 0.1, 150):
            model = Lasso(alpha=penalty, fit_intercept=False, tol=1e-8, max_iter=100_000)
            model.fit(atoms.numpy().T, vector / size)
            count = np.count_nonzero(model.coef_)
            rest = vector - atoms.numpy().T @ model.coef_ * size
            best[count:] = np.minimum(best[count:], np.square(rest).sum())
        assert (found <= best * (1 + 1e-6)).all()
        np.testing.assert_allclose(found, best, rtol=0.06)  # the penalties are a grid, the path is whole


def test_a_sum_of_two_filters_needs_two_and_a_random_vector_all(atoms: torch.Tensor) -> None:
    vectors = torch.stack([atoms[3] - 2 * atoms[17], random(12, seed=3)])
    errors = relative_errors(finish(matching_pursuit(atoms, vectors, 12)).unsqueeze(1))
    assert errors[0, 2] < 1e-7 < errors[0, 1]
    assert errors[1, 11] < 1e-7 or errors[1, 12] < 1e-7  # as many as there are dimensions are always enough
    assert needed(errors, 1e-6)[0] == 2
    assert needed(errors, 1e-6)[1] > 6
    assert needed(errors[:, :2], 1e-6).tolist() == [np.inf, np.inf]


def test_an_atom_that_others_span_adds_nothing() -> None:
    flat = torch.eye(2, 4, dtype=torch.float64)
    atoms = torch.cat([flat, (flat[:1] + flat[1:]) / 2**0.5])
    left = finish(matching_pursuit(atoms, torch.ones(1, 4, dtype=torch.float64), 3))[0]
    np.testing.assert_allclose(left, [4, 2, 2, 2], atol=1e-12)


def test_patches_of_an_input_count_together_and_zero_inputs_are_left_out() -> None:
    left = torch.tensor([[[9.0, 4.0], [7.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    np.testing.assert_allclose(relative_errors(left), [[1.0, 0.5]])


def test_atoms_are_the_alive_filters_without_mean_of_length_one() -> None:
    filters = random(5, 18).float() + 3
    filters[1] *= 0.01  # dead
    atoms = dictionary(filters, 2)
    assert atoms.shape == (4, 18)
    np.testing.assert_allclose(atoms.square().sum(1), 1)
    np.testing.assert_allclose(atoms.view(4, 2, 9).sum(2), 0, atol=1e-12)
    by_hand = filters[0].double().view(2, 9)
    by_hand = (by_hand - by_hand.mean(1, keepdim=True)).flatten()
    np.testing.assert_allclose(atoms[0], by_hand / by_hand.norm())
    assert dictionary(torch.ones(3, 4), 1).shape == (0, 4)  # nothing but a mean


def test_a_convolution_is_given_patches_of_its_grid_and_a_linear_layer_all() -> None:
    x = random(3, 2, 9, 9).float()
    conv = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(100, 2))
    found = given(conv, layers(conv)[0], x, chunk=2)
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    by_hand = [padded[:, :, i : i + 3, j : j + 3].flatten(1) for i in (0, 4, 8) for j in (0, 4, 8)]
    torch.testing.assert_close(found, torch.stack(by_hand, 1))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(162, 2))
    torch.testing.assert_close(given(linear, layers(linear)[0], x), x.flatten(1)[:, None])
    grouped = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2))
    with pytest.raises(ConfigError, match="grouped"):
        given(grouped, layers(grouped)[0], x)


# --- the numbers of filters


def test_a_count_is_a_median_with_order_statistics() -> None:
    numbers = np.random.default_rng(0).permutation(np.arange(1.0, 201.0))
    count = FilterCount.of(numbers)
    assert (count.median, count.low, count.high, count.q10, count.q90) == (100, 86, 115, 20, 180)
    assert (count.mean, count.reached) == (100.5, 1.0)
    assert count.text(200) == "100 [86, 115]"
    some = FilterCount.of(np.where(numbers > 110, np.inf, numbers))
    assert (some.median, some.high, some.mean, some.reached) == (100, None, None, 0.55)
    assert (some.text(110), some.spread(110)) == ("100 [86, >110]", "20 to >110")
    assert FilterCount.of(np.empty(0)).median is None
    low = FilterCount.of(numbers / 4)
    assert low.below(count)
    assert low.below(some)
    assert not some.below(count)
    assert not count.below(some)


# --- the study of a run


@pytest.fixture(scope="module")
def two_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a two-layer network through its schedule; only its study may change."""
    grad = torch.is_grad_enabled()
    folder = make(tmp_path_factory.mktemp("runs") / "two", model={"name": "two_layer", "width": 24})
    torch.set_grad_enabled(grad)
    return folder


@pytest.fixture(scope="module")
def written(two_layer: Path) -> SparseCodes:
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    found = SparseStudy().run(two_layer, n=20, error=0.5)
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)
    return found


def test_written_and_read_back(two_layer: Path, written: SparseCodes) -> None:
    read = SparseStudy.read(two_layer)
    assert read == written
    assert (read.step, read.clean_step, read.n, read.tau, read.norm, read.error) == (20, 12, 20, 0.3, "l2", 0.5)
    assert read.protocol == "PGD-3 × 2 restarts, ℓ2 radius 0.3, n = 20"
    assert (read.layer, read.patches, read.values) == ("hidden", 1, 64)
    assert len(read.curves) == 4 * 3 * 2
    for curve in read.curves:
        assert curve.most == read.atoms[curve.filters] <= 24
        assert curve.median[0] == 1
        assert list(curve.median) == sorted(curve.median, reverse=True)


def test_the_curve_of_the_images_is_that_of_scikit_learn(two_layer: Path, written: SparseCodes) -> None:
    end = CleanEnd.load(two_layer, 20)
    facts = end.network.facts
    images = ((end.x - facts.mean) / facts.std).flatten(1).double().numpy()
    images -= images.mean(1, keepdims=True)
    filters = layers(end.network.network("clean"))[0].matrix.double().numpy()
    filters = filters[np.linalg.norm(filters, axis=1) > 0.3 * np.linalg.norm(filters, axis=1).max()]
    filters -= filters.mean(1, keepdims=True)
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    curve = written.chosen("clean", "omp")["image"]
    for k in (1, 3, 9):
        rest = images.T - filters.T @ orthogonal_mp(filters.T, images.T, n_nonzero_coefs=k)
        errors = np.linalg.norm(rest, axis=0) / np.linalg.norm(images, axis=1)
        assert curve.median[k] == pytest.approx(float(np.median(errors)), abs=1e-5)
        assert curve.q90[k] == pytest.approx(float(np.quantile(errors, 0.9)), abs=1e-5)


def test_the_same_again_and_the_share_done_only_grows(two_layer: Path, written: SparseCodes) -> None:
    heard: list[tuple[float, str]] = []
    again = SparseStudy().run(two_layer, n=20, error=0.5, progress=lambda share, what: heard.append((share, what)))
    assert again == written
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert {"attacking the clean network", "purified filters: matching pursuit", "start's filters: lasso"} <= {
        what for _, what in heard
    }


def test_rebuilding_takes_one_core_and_gives_the_others_back(two_layer: Path) -> None:
    """With two, the small products of a Lasso path took three times the CPU time."""

    def of_blas() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    within: list[set[int]] = []
    with threadpool_limits(2, user_api="blas"):
        SparseStudy().run(two_layer, n=20, error=0.5, progress=lambda *_: within.append(of_blas()))
        assert of_blas() == {2}
    assert {1} in within
    assert {2} in within


def test_patches_of_a_convolution(tmp_path: Path) -> None:
    folder = make(tmp_path / "conv")
    found = SparseStudy().run(folder, n=16)
    assert (found.layer, found.patches, found.values) == ("conv1", 9, 9)
    assert max(curve.most for curve in found.curves) <= 4
    assert "the 9 patches of an image" in found.what
    end = CleanEnd.load(folder, 16)
    delta = np.array(found.chosen("start", "omp")["clean"].median)
    assert delta[0] == 1
    assert len(delta) == 1 + len(dictionary(layers(end.network.network("start"))[0].matrix, 1))


def with_counts(record: SparseCodes, **medians: float) -> SparseCodes:
    """The record with other numbers of filters in the purified filters by matching pursuit."""
    curves = tuple(
        dataclasses.replace(c, count=FilterCount.of(np.full(20, float(medians[c.vectors]))))
        if (c.filters, c.method) == ("now", "omp")
        else c
        for c in record.curves
    )
    return dataclasses.replace(record, curves=curves)


def test_what_is_found_is_said_for_and_against_the_paper(written: SparseCodes) -> None:
    numbers, *words = with_counts(written, image=5, clean=12, now=8, random=20).findings()
    assert numbers.startswith("Filters for 50% error: images 5 [5, 5], the clean network's perturbations 12 [12, 12],")
    assert [w.partition(",")[0] for w in words[:1]] == ["As in the paper"]
    assert "fewer than the clean" in words[1]
    assert "sparser than random" in words[2]
    against = with_counts(written, image=12, clean=5, now=8, random=5).findings()
    assert against[1] == "Against the paper, images need more than the clean network's perturbations."
    assert "more than the clean" in against[2]
    assert "as dense as random" in against[3]
    undecided = with_counts(written, image=5, clean=5, now=5, random=4).findings()
    assert "cannot be told apart, against the paper" in undecided[1]
    assert "denser than random" in undecided[3]


def test_an_error_that_nothing_reaches_decides_nothing(written: SparseCodes) -> None:
    none = float("inf")
    _, *words = with_counts(written, image=none, clean=none, now=none, random=none).findings()
    (said,) = words
    assert said.startswith(
        "Where all filters leave both of two kinds above 50%, nothing is decided; another --error may"
    )
    curve = written.chosen("now", "omp")["image"]
    assert f"leave: images {curve.median[-1]:.0%}, the clean network's" in said
    _, *words = with_counts(written, image=5, clean=none, now=none, random=none).findings()
    assert words[0].startswith("As in the paper")
    assert (len(words), words[1][:9]) == (2, "Where all")


@pytest.mark.parametrize("damage", ["missing", "short", "error", "atoms"])
def test_a_damaged_file_is_one_line(written: SparseCodes, tmp_path: Path, damage: str) -> None:
    write_record(tmp_path / SparseStudy.file, SparseCodes, written)
    found: dict[str, Any] = json.loads((tmp_path / SparseStudy.file).read_text(encoding="utf-8"))
    if damage == "missing":
        found["curves"].pop()
    elif damage == "short":
        found["curves"][3]["q10"].pop()
    elif damage == "error":
        found["error"] = 3
    else:
        del found["atoms"]["start"]
    (tmp_path / SparseStudy.file).write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(StoreError, match=r"sparse_code\.json is damaged") as met:
        SparseStudy.read(tmp_path)
    assert len(str(met.value).splitlines()) == 1


def test_what_cannot_be_asked_is_one_line(two_layer: Path, tmp_path: Path, finished_run: Path) -> None:
    for error in (0.0, 1.0, -0.2):
        with pytest.raises(ConfigError, match=r"^--error: got .*; allowed: a number above 0 and below 1"):
            SparseStudy().run(two_layer, error=error)
    with pytest.raises(ConfigError, match="needs a network on images"):
        SparseStudy().run(finished_run)
    with pytest.raises(StoreError, match="not a run folder"):
        SparseStudy().run(tmp_path)
    assert not (finished_run / SparseStudy.file).exists()


def test_export_draws_the_chosen_filters_and_writes_all_numbers(
    two_layer: Path, written: SparseCodes, tmp_path: Path
) -> None:
    for width in (6.75, 3.25):
        options = {"filters": "clean", "method": "lasso"}
        export(two_layer, ["sparse_code"], tmp_path / "out", formats=("svg",), width=width, options=options)
    assert_fits(two_layer, "sparse_code", filters="now", method="omp")
    folder = tmp_path / "out" / "sparse_code"
    with (folder / "sparse_code.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    curve = written.chosen("clean", "lasso")["now"]
    found = [float(r["relative error [1]"]) for r in rows if r["vectors [name]"].startswith("the purified")]
    assert found == list(curve.median)
    with (folder / "sparse_code.numbers.csv").open(encoding="utf-8", newline="") as file:
        numbers = list(csv.DictReader(file))
    assert [r["median [filters]"] for r in numbers] == [
        "" if c.count.median is None else str(c.count.median) for c in written.curves
    ]
    caption = (folder / "caption.txt").read_text(encoding="utf-8")
    for words in (written.protocol, "clean filters", "by Lasso", "medians over 20 inputs", "‖rest‖₂/‖vector‖₂"):
        assert words in caption
    assert "number of clean filters" in (folder / "sparse_code.svg").read_text(encoding="utf-8")
