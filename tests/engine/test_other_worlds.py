"""Worlds beyond the simplest: targets of unequal size, more features than dimensions, and how worlds scale with d."""

from __future__ import annotations

import json
import math
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import worlds
from engine.config.experiment import Config, from_dict, to_dict, with_value
from engine.config.presets import load_preset
from engine.core import metrics
from engine.core.errors import ConfigError
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.slices import finish
from engine.data.sparse_coding import SparseCodingWorld
from engine.data.sparse_stream import SparseCoding
from engine.figures.export import export
from engine.figures.perturbation import reference
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import oracle
from engine.probes.feature_fates import feature_of
from engine.probes.mixture import mixture
from engine.probes.perturbation import perturbations
from engine.probes.robustness import accuracy, alignment
from engine.probes.winners import winners
from engine.run.store import Store
from engine.studies import baseline_training
from engine.studies.baseline_training import run_baselines
from engine.studies.dimension_sweep import Scaling, at_dimension
from engine.studies.questions import comparison
from engine.studies.questions.claims import claims_of
from engine.studies.questions.comparison import Comparison, ComparisonStudy, Entry
from tests.tiny_runs import TINY, advance, assert_same, drain, read, run, tiny_config

CPU = torch.device("cpu")
WIDE = {"world.dictionary": "overcomplete", "world.atoms": 40, "world.target_spread": 4.0}


def draw(seed: int = 3, **knobs: object) -> SparseCoding:
    return SparseCoding.draw(SparseCodingWorld(**knobs), torch.Generator().manual_seed(seed), CPU)  # type: ignore[arg-type]


def wide(**knobs: object) -> SparseCoding:
    return draw(**{"d": 16, "dictionary": "overcomplete", "atoms": 40, "target_spread": 4.0, **knobs})


# --- unequal targets


def test_targets_of_unequal_size_have_the_signs_of_equal_ones() -> None:
    equal, unequal = draw(d=256, dictionary="random"), draw(d=256, dictionary="random", target_spread=5.0)
    assert torch.equal(equal.dictionary, unequal.dictionary)
    assert torch.equal(equal.target, unequal.target.sign())
    size = unequal.target.abs()
    assert 4.5 < float(size.max() / size.min()) <= 5.0
    assert float(size.square().mean()) == pytest.approx(1, abs=1e-5)
    logs = size.log()
    assert float((logs - logs.min()).mean()) == pytest.approx(math.log(5) / 2, abs=0.1)  # uniform in the logarithm


def test_the_label_and_the_dense_direction_follow_the_sizes() -> None:
    world = draw(d=64, target_spread=3.0)
    x, y = world.noiseless(500, seeded(0, "x"))
    z = x @ world.dictionary  # orthonormal
    assert torch.equal(y, torch.sign(z @ world.target))
    assert torch.allclose(world.dense_direction, world.dictionary @ world.target / world.target.norm(), atol=1e-6)


def test_winners_compare_features_by_sign_not_by_the_targets_size() -> None:
    world, start = draw(d=16, target_spread=10.0), torch.randn(50, 16, generator=seeded(0, "w"))
    now = start.clone()
    sizes = winners(start, now, world.dictionary, world.target, 1.0)
    signs = winners(start, now, world.dictionary, world.target.sign(), 1.0)
    for name in ("feature", "right_sign", "became", "head_start", "winners"):
        assert np.array_equal(getattr(sizes, name), getattr(signs, name)), name


# --- more features than dimensions


def test_columns_have_norm_one_and_their_coherence_is_said() -> None:
    world = wide()
    assert world.dictionary.shape == (16, 40)
    assert torch.allclose(torch.linalg.vector_norm(world.dictionary, dim=0), torch.ones(40), atol=1e-6)
    gram = (world.dictionary.T @ world.dictionary).numpy()
    own = np.mean(np.diag(gram) / np.linalg.norm(gram, axis=1))
    largest = np.abs(gram - np.diag(np.diag(gram))).max()
    assert world.limits() == pytest.approx((largest, own), abs=1e-5)
    assert draw(d=16).limits() == (0.0, 1.0)
    for block in (7, 40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("engine.data.dictionaries.BLOCK", block)
            assert wide().limits() == pytest.approx((largest, own), abs=1e-5)


def test_codes_have_k_active_features_of_all_and_make_the_inputs() -> None:
    world = wide(k=4.0, p_large=0.0)
    x, y = world.noiseless(4000, seeded(0, "x"))
    assert x.shape == (4000, 16)
    z = world.codes(4000, seeded(0, "x again"))
    assert z.shape[1] == 40
    assert float((z != 0).sum(1).float().mean()) == pytest.approx(4, abs=0.3)  # none with an unclear label
    assert set(np.round(np.unique(np.abs(z.numpy())), 4)) == {0.0, 0.5}
    assert set(y.unique().tolist()) == {-1.0, 1.0}


def test_the_dense_direction_is_a_unit_vector_and_what_fools_a_net_made_of_it() -> None:
    world = wide()
    direction = world.dense_direction
    assert float(direction.norm()) == pytest.approx(1, abs=1e-6)
    model = SymmetricRelu((world.dictionary @ world.target)[None].clone(), 0.0)
    x, y = world.sample(200, seeded(0, "x"))
    assert alignment(model, x, y, direction) == pytest.approx(1, abs=1e-5)
    found = finish(perturbations(model, world, x, y, Measurement("fgm", "l2", 0.2, 1, 1, 200)))
    assert found.mean_cosine == pytest.approx(1, abs=1e-5)
    assert len(found.target) == 40
    assert np.allclose(reference(found, 3), found.coefficients[3], atol=1e-5)  # δ is the dense direction itself


def test_neurons_that_are_features_are_found_as_these_by_every_probe() -> None:
    world = wide()
    weight = (world.dictionary * world.target.sign()).T.contiguous()
    found = mixture(weight, world.dictionary, world.target)
    assert found.feature.tolist() == list(range(40))
    assert float(found.purity.mean()) == pytest.approx(world.limits()[1], abs=1e-5)
    fates = feature_of(weight, world.dictionary)
    assert fates.feature.tolist() == list(range(40))
    assert fates.held == 40
    assert fates.sign.tolist() == world.target.sign().tolist()
    assert winners(weight, weight, world.dictionary, world.target, 0.1).became.all()


def test_the_ideal_network_knows_unequal_features_too() -> None:
    world = draw(d=64, dictionary="random", target_spread=3.0)
    x, y = world.sample(300, seeded(0, "x"))
    clean = Measurement("clean", "l2", 0.0, 0, 0, 300)
    (found,) = finish(oracle.measure(world, 0, x, y, [clean], fit_size=100))
    assert found.measured.accuracy > 0.9
    wrong = SymmetricRelu((world.dictionary * -world.target).T.contiguous(), found.bias)
    assert finish(accuracy(wrong, x, y, clean, None, seeded(0, "a"))).accuracy < 0.1


@pytest.mark.parametrize(
    ("world", "said"),
    [
        ({"atoms": 40}, r"world\.atoms: got 40; allowed with world\.dictionary = 'dct': world\.d = 16 or 0"),
        ({"dictionary": "overcomplete", "atoms": 8}, r"world\.atoms: got 8; allowed .*: world\.d = 16 or more"),
        ({"dictionary": "overcomplete", "atoms": 20, "k": 30}, r"world\.k: got 30; allowed: at most world\.atoms = 20"),
        ({"target_spread": 0.5}, r"world\.target_spread: got 0\.5"),
    ],
)
def test_what_does_not_fit_together_is_refused(world: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        from_dict(TINY | {"world": {"d": 16, **world}})


def wide_config() -> Config:
    world = {"d": 16, "dictionary": "overcomplete", "atoms": 40, "target_spread": 4.0}
    return from_dict(TINY | {"world": world})


@pytest.fixture(scope="module")
def wide_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wide") / "run"
    grad = torch.is_grad_enabled()
    run(wide_config(), folder)
    torch.set_grad_enabled(grad)
    return folder


def test_a_run_in_such_a_world_goes_on_to_the_bit(wide_run: Path, tmp_path: Path) -> None:
    record = read(wide_run)
    assert record.arrays["dictionary"].shape == (16, 40)
    assert record.arrays["target"].shape == (40,)
    session = worlds.create(wide_config(), tmp_path / "again")
    advance(session, 47)
    drain(session)
    session.close()
    session = worlds.resume(tmp_path / "again")
    advance(session, session.config.schedule.total)
    drain(session)
    session.close()
    assert_same(record, read(tmp_path / "again"))


def test_its_summary_and_captions_say_what_the_dictionary_is(wide_run: Path, tmp_path: Path) -> None:
    summary = json.loads((wide_run / "summary.json").read_text(encoding="utf-8"))
    last = summary["reports"][-1]
    assert 0.3 < last[metrics.COHERENCE]["value"] < 1
    assert last[metrics.OWN_PURITY]["value"] >= last[metrics.mixture("purity", "mean")]["value"] - 0.2
    folder = Path(shutil.copytree(wide_run, tmp_path / "run"))
    export(folder, ["neurons", "mixtures", "perturbation"], tmp_path / "out", formats=("svg",),
           options={"space": "dictionary"})  # fmt: skip
    for view in ("neurons", "mixtures", "perturbation"):
        caption = (tmp_path / "out" / view / "caption.txt").read_text(encoding="utf-8")
        assert "overcomplete dictionary of D = 40 random columns, d = 16" in caption
        assert "|w*_j| unequal, up to 4 : 1" in caption


def test_its_claims_are_decided(wide_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(wide_run, tmp_path / "run"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("linear", "quadratic", "cubic", "ntk", "ntk_now"):
            patch.setitem(baseline_training.STEPS, name, 5)
        patch.setattr("engine.studies.baseline_training.SEARCH_STEPS", 2)
        claims = claims_of(folder, verify=True, n=32)
    unmeasured = {c.id for c in claims if c.verdict == "not measured"}
    assert {8, 11} <= unmeasured <= {8, 9, 11}  # 9 needs a full phase that gains something


def test_ordinary_runs_say_nothing_of_coherence(finished_run: Path) -> None:
    with closing(Store.open(finished_run, read_only=True)) as store:
        assert not [name for name in store.names() if name.startswith(("world/", "report/world/"))]


# --- the paper's scaling


def test_k_grows_and_radius_bias_and_noise_fall_with_it() -> None:
    config = with_value(tiny_config(), "training.lr", 1.0)
    scaled = at_dimension(config, 64, Scaling(0.5, 0.25))
    assert scaled.world.k == pytest.approx(3 * 2)  # (64/16)^½
    assert scaled.attack.tau == pytest.approx(0.2 / 2**0.5 / 2**0.5)
    assert scaled.model.b_end == pytest.approx(0.3 / 2**0.5)
    assert scaled.model.sigma_rho == pytest.approx(0.1 / 2**0.5)
    assert (scaled.model.m, scaled.training.lr) == (96, 4.0)


def test_curves_are_scaled_as_their_knobs() -> None:
    config = load_preset("theorem")
    curves = dict(config.schedule.knobs)
    scaled = dict(at_dimension(config, 4 * 196, Scaling(0.5)).schedule.knobs)
    for name, factor in (("training.lr", 4.0), ("model.bias", 0.5**0.5)):
        assert [p[1] for p in scaled[name].points] == pytest.approx([factor * p[1] for p in curves[name].points])
        assert [p[0] for p in scaled[name].points] == [p[0] for p in curves[name].points]


def test_without_powers_and_at_its_own_dimension_nothing_changes() -> None:
    for config in (tiny_config(), tiny_config(**WIDE), load_preset("theorem")):
        assert to_dict(at_dimension(config, config.world.d)) == to_dict(config)  # type: ignore[attr-defined]
    assert at_dimension(tiny_config(**WIDE), 64).world.atoms == 160


@pytest.mark.parametrize(("name", "powers"), [("--k-power", (-0.1, 0.0)), ("--tau-power", (0.0, 1.5))])
def test_powers_that_no_world_has_are_refused(name: str, powers: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match=f"{name}: got .*; allowed: 0 to 1"):
        Scaling(*powers)


def test_a_power_without_a_sweep_is_refused(finished_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(finished_run, tmp_path / "run"))
    with pytest.raises(ConfigError, match="--sweep"):
        ComparisonStudy().run(folder, k_power=0.5, n=32)


def test_a_scaled_sweep_is_said_in_table_and_record() -> None:
    rows = tuple(
        comparison._swept(point, 100)
        for point in (
            _point(16, 3.0, 0.2, 0.9),
            _point(64, 6.0, 0.1, 0.8),
        )
    )
    record = Comparison(
        tau=0.2, norm="l2", protocol="PGD-30", n=100, step=80, network=Entry(robust=0.9), baselines=(), sweep=rows
    )
    assert record.swept() == {"network": ([16.0, 64.0], [0.9, 0.8])}
    assert record.scaling() == "k and tau go with d: d 16: k 3, tau 0.2, d 64: k 6, tau 0.1"
    assert record.scaling() in ComparisonStudy().table(record)


def _point(d: int, k: float, tau: float, share: float):  # type: ignore[no-untyped-def]
    from types import SimpleNamespace

    config = SimpleNamespace(world=SimpleNamespace(k=k), attack=SimpleNamespace(tau=tau))
    return SimpleNamespace(d=d, config=config, network=SimpleNamespace(accuracy=share), oracle=None, baselines=())


def test_the_ntk_of_now_stands_beside_the_others_where_there_is_a_network() -> None:
    config = tiny_config()
    world = draw(d=16)
    model = SymmetricRelu(torch.randn(24, 16, generator=seeded(0, "w")), 0.5)
    found = finish(run_baselines(config, world=world, steps=5, n=40, objectives=("fgm",), network=model))
    assert [r.name for r in found] == ["linear", "quadratic", "cubic", "ntk", "ntk_now"]
    assert "as they are now" in found[-1].features
