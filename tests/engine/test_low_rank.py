from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine import worlds
from engine.config.experiment import resolve
from engine.core import metrics
from engine.core.errors import ConfigError, ExplorerError
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.results import LowRank
from engine.data.sparse_stream import SparseCoding
from engine.models.low_rank import Factors
from engine.models.symmetric_relu import NoisyRelu, SymmetricRelu
from engine.probes.low_rank import low_rank
from engine.run.commands import SetKnob, SwitchPhase
from engine.run.session import Session
from engine.run.store import Store
from engine.studies.rank_phases import robust_vs_rank
from tests.tiny_runs import Plan, advance, assert_same, drain, read, run, tiny_config, values

Create = Callable[..., Session]
BIAS, SIGMA, LR, DECAY = 0.2, 0.1, 0.7, 1e-2


def batch(generator: torch.Generator, n: int = 40, d: int = 12) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, d, generator=generator)
    return x, torch.randint(0, 2, (n,), generator=generator).float() * 2 - 1


def noisy(weight: Tensor, n: int) -> NoisyRelu:
    model = NoisyRelu(SymmetricRelu(weight.clone(), BIAS))
    model.draw(n, SIGMA, torch.Generator().manual_seed(1))
    return model


def rank_of(weight: Tensor) -> int:
    return int(torch.linalg.matrix_rank(weight.double(), rtol=1e-5))


# --- the step


def gradients(base: Tensor, U: Tensor, V: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """∂loss/∂U and ∂loss/∂V by automatic differentiation of the loss as SPEC.md section 2 writes it, in float64."""
    noise = torch.empty(len(y), len(base)).normal_(-BIAS, SIGMA, generator=torch.Generator().manual_seed(1)).double()
    base, U, V, x, y = (t.double() for t in (base, U, V, x, y))
    with torch.enable_grad():
        U.requires_grad_()
        V.requires_grad_()
        W = base + U @ V
        u = x @ W.T
        f = (torch.relu(u + noise) - torch.relu(-u + noise)).sum(1)
        norms = W.norm(dim=1)
        loss = torch.nn.functional.softplus(-y * f).mean() + DECAY * (norms**2 / 2 + norms**3 / 3).sum()
        dU, dV = torch.autograd.grad(loss, (U, V))
    return dU, dV


@pytest.mark.parametrize("rank", [1, 3, 8])
@pytest.mark.parametrize("shape", [(20, 12), (9, 12)], ids=str)
def test_the_closed_form_is_autograd(generator: torch.Generator, rank: int, shape: tuple[int, int]) -> None:
    base = torch.randn(shape, generator=generator) * 0.3
    start = Factors.begin(base, rank, 0, 0)
    assert start is not None
    start.U = torch.randn(shape[0], rank, generator=generator) * 0.2
    x, y = batch(generator)
    dU, dV = gradients(base, start.U, start.V, x, y)
    U, V = start.U.double(), start.V.double()
    inverse = torch.linalg.inv(U.T @ U + start._damping.double())
    turned = V - LR * inverse @ (dV - dV @ V.T @ V)
    expected = base + (U - LR * dU) @ turned  # the factors themselves are fixed up to a change of basis
    model = noisy(base + start.U @ start.V, len(y))
    margin = model.margin(x, y)
    found = start.sgd_step(model, x.clone(), y, LR, DECAY).margin
    assert torch.allclose(found, margin, atol=1e-6)
    assert torch.allclose(model.model.weight.double(), expected.double(), atol=2e-5)
    assert torch.equal(model.model.weight, torch.addmm(base, start.U, start.V))
    assert torch.allclose(start.V @ start.V.T, torch.eye(rank), atol=1e-5)


def test_at_full_rank_it_is_the_full_step(generator: torch.Generator) -> None:
    base = torch.randn(20, 12, generator=generator) * 0.3
    V = torch.linalg.qr(torch.randn(12, 12, generator=generator)).Q
    factors = Factors(base, torch.zeros(20, 12), V)
    one, other = noisy(base, 40), noisy(base, 40)
    for _ in range(5):
        x, y = batch(generator)
        factors.sgd_step(one, x.clone(), y, LR, DECAY)
        other.sgd_step(x.clone(), y, LR, DECAY)
    assert torch.allclose(one.model.weight, other.model.weight, atol=1e-5)
    assert float((one.model.weight - base).norm()) > 0.1


def test_the_first_step_is_the_full_one_seen_through_v(generator: torch.Generator) -> None:
    base = torch.randn(20, 12, generator=generator) * 0.3
    factors = Factors.begin(base, 2, 0, 0)
    assert factors is not None
    V = factors.V.clone()
    one, other = noisy(base, 40), noisy(base, 40)
    x, y = batch(generator)
    factors.sgd_step(one, x.clone(), y, LR, 0)
    other.sgd_step(x.clone(), y, LR, 0)
    assert torch.allclose(one.model.weight - base, (other.model.weight - base) @ V.T @ V, atol=1e-6)


def test_begin(generator: torch.Generator) -> None:
    base = torch.randn(20, 12, generator=generator)
    assert all(Factors.begin(base, rank, 0, 0) is None for rank in (0, 12, 13, 4096))
    first, again, later, other = (Factors.begin(base, 3, *key) for key in ((0, 5), (0, 5), (0, 6), (1, 5)))
    assert first is not None
    assert again is not None
    assert torch.equal(first.V, again.V)
    for third in (later, other):
        assert third is not None
        assert not torch.allclose(first.V, third.V)
    assert first.rank == 3
    assert not bool(first.U.any())
    assert torch.allclose(first.V @ first.V.T, torch.eye(3), atol=1e-6)
    base.zero_()
    assert bool(first.base.any())  # the base is a copy: the dense weights go on changing


def test_divergence_is_seen_in_the_loss_and_nowhere_else(new_session: Create) -> None:
    session = new_session(lr=100, sigma_0=1.0, **{"lambda": 0.1, "schedule.clean_steps": 0, "low_rank.rank": 2})
    with pytest.raises(ExplorerError, match="diverged"):
        advance(session, 500)


# --- in a session


def test_the_knob_is_read_when_a_phase_begins_and_no_sooner(new_session: Create) -> None:
    assert resolve("low_rank.rank").live
    session = new_session()
    session.apply(SetKnob("low_rank.rank", 3))
    advance(session, 40)
    assert (session.phase, session.rank) == ("adversarial", 3)
    session.apply(SetKnob("low_rank.rank", 1))
    advance(session, 60)
    assert session.rank == 3
    assert session.weight_clean is not None
    assert rank_of(session.model.weight - session.weight_clean) == 3
    session.apply(SwitchPhase("adversarial"))  # no switch: it is this phase already
    assert session.rank == 3
    session.apply(SwitchPhase("clean"))
    assert session.rank == 0
    advance(session, 65)
    session.apply(SetKnob("low_rank.rank", 2))
    assert session.rank == 0
    session.apply(SwitchPhase("gaussian_noise"))
    assert session.rank == 2
    session.apply(SetKnob("low_rank.rank", 0))
    before = session.model.weight.clone()
    advance(session, 75)
    assert rank_of(session.model.weight - before) == 2
    session.apply(SwitchPhase("adversarial"))
    assert session.rank == 0
    advance(session, 80)


def test_the_clean_phase_is_never_restricted(tmp_path: Path) -> None:
    free = run(tiny_config(second_steps=0), tmp_path / "free")
    assert_same(free, run(tiny_config(second_steps=0, **{"low_rank.rank": 2}), tmp_path / "low"))


def test_rank_d_and_more_is_the_unrestricted_run(tmp_path: Path) -> None:
    assert_same(run(tiny_config(), tmp_path / "0"), run(tiny_config(**{"low_rank.rank": 16}), tmp_path / "16"))


def test_from_one_restricted_phase_to_another_the_weights_do_not_jump(new_session: Create) -> None:
    session = new_session(**{"low_rank.rank": 2})
    advance(session, 50)
    before = session.model.weight.clone()
    session.apply(SwitchPhase("gaussian_noise"))
    assert torch.equal(session.model.weight, before)
    advance(session, 60)
    assert session.weight_clean is not None
    assert rank_of(session.model.weight - before) == 2
    assert rank_of(session.model.weight - session.weight_clean) == 4


def test_without_a_clean_phase_the_start_is_the_base(new_session: Create) -> None:
    session = new_session(clean_steps=0, **{"low_rank.rank": 2})
    assert session.rank == 2
    advance(session, 10)
    assert rank_of(session.model.weight - session.weight_init) == 2


PLAN: Plan = {
    10: [SetKnob("low_rank.rank", 3)],
    30: [SwitchPhase("adversarial"), SetKnob("low_rank.rank", 1)],
    45: [SwitchPhase("clean")],
    55: [SwitchPhase("gaussian_noise")],
    65: [SwitchPhase("adversarial"), SetKnob("low_rank.rank", 0)],
    75: [SwitchPhase("gaussian_noise")],
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> object:
    return run(tiny_config(), tmp_path_factory.mktemp("low rank") / "run", 85, PLAN)


@pytest.mark.parametrize(
    "breaks", [[29], [30], [31], [44, 45, 46], [58], [65, 70], [75], list(range(5, 85, 9))], ids=str
)
def test_a_resumed_run_is_the_uninterrupted_one(breaks: list[int], uninterrupted: object, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    session = worlds.create(tiny_config(), folder)
    given: set[int] = set()
    for end in [*breaks, 85]:
        while True:
            if session.steps_done not in given:
                given.add(session.steps_done)
                for command in PLAN.get(session.steps_done, []):
                    session.apply(command)
            if session.steps_done == end:
                break
            session.step()
        rank = session.rank
        if end != 85:
            session.close()
            session = worlds.resume(folder)
            assert session.rank == rank
    drain(session)
    session.close()
    assert_same(read(folder), uninterrupted)  # type: ignore[arg-type]


def test_checkpoints_hold_the_factors_and_their_product(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arrays = run(tiny_config(**{"low_rank.rank": 3}), folder, 60).arrays
    assert {n: arrays[f"low_rank.{n}"].shape for n in "UV"} == {"U": (24, 3), "V": (3, 16)}
    assert np.array_equal(arrays["low_rank.base"], arrays["weight_clean"])
    product = arrays["weight_clean"] + arrays["low_rank.U"] @ arrays["low_rank.V"]
    assert np.allclose(arrays["weight"], product, atol=1e-5)
    store = Store.open(folder, read_only=True)
    assert not any(name.startswith("low_rank") for name in store.load(25).arrays)
    store.close()


def test_scalars_are_recorded_while_the_rank_is_restricted(tmp_path: Path) -> None:
    free = run(tiny_config(), tmp_path / "free").metrics
    assert not values(free, metrics.LOW_RANK_COSINE)
    low = run(tiny_config(**{"low_rank.rank": 2}), tmp_path / "low").metrics
    for name in (metrics.LOW_RANK_COSINE, metrics.LOW_RANK_SIGMA1):
        assert set(values(low, name)) == {50, 60, 70, 80}  # that of step 40 was asked for in the clean phase
        assert set(values(low, metrics.REPORT + name)) == {80}
    assert all(0 <= value <= 1 for value in values(low, metrics.LOW_RANK_COSINE).values())


# --- what is measured


def test_singular_values_and_direction(generator: torch.Generator) -> None:
    for m, d in ((20, 12), (7, 12)):
        clean = torch.randn(m, d, generator=generator)
        left = torch.linalg.qr(torch.randn(m, 2, generator=generator)).Q
        right = torch.linalg.qr(torch.randn(d, 2, generator=generator)).Q
        now = clean + left @ torch.diag(torch.tensor([3.0, 0.5])) @ right.T
        found = low_rank(now, clean, right[:, 0], 2)
        assert found.singular_values.shape == (min(m, d),)
        assert found.singular_values[:2] == pytest.approx([3, 0.5], abs=1e-4)
        assert found.singular_values[2:] == pytest.approx(0, abs=1e-4)
        assert found.cosine == pytest.approx(1, abs=1e-5)
        assert found.direction == pytest.approx(right[:, 0].numpy(), abs=1e-4)  # signed to agree
        opposite = low_rank(now, clean, -right[:, 0], 2)  # whichever sign the decomposition came with
        assert opposite.direction == pytest.approx(-right[:, 0].numpy(), abs=1e-4)
        assert opposite.cosine == pytest.approx(1, abs=1e-5)
        assert low_rank(now, clean, right[:, 1], 2).cosine == pytest.approx(0, abs=1e-3)
        same = low_rank(clean, clean, right[:, 0], 0)
        assert (same.cosine, float(np.abs(same.direction).max()), float(same.singular_values.max())) == (0, 0, 0)


def test_the_probe_is_there_once_the_clean_phase_has_ended(new_session: Create) -> None:
    session = new_session(**{"low_rank.rank": 2})
    assert session.snapshot(frozenset({LowRank})).get(LowRank) is None
    advance(session, 60)
    found = session.snapshot(frozenset({LowRank})).get(LowRank)
    assert found is not None
    assert found.rank == 2
    assert found.singular_values[1] > 1e-4 > found.singular_values[2]


def test_accuracy_by_rank(generator: torch.Generator) -> None:
    config = tiny_config(clean_steps=20, second_steps=15)
    world = SparseCoding.draw(config.world, seeded(0, "world"), torch.device("cpu"))
    clean = torch.randn(24, 16, generator=generator) * 0.1
    x, y = world.sample(50, generator)
    protocol = Measurement("pgd", "l2", 0.2, 3, 2, 50)

    def curve(ranks: tuple[int, ...]) -> tuple[object, list[float]]:
        slices, seen = robust_vs_rank(config, world, clean, 20, x, y, ranks, protocol), []
        while True:
            try:
                seen.append(next(slices))
            except StopIteration as stop:
                return stop.value, seen

    kept = clean.clone()
    found, seen = curve((1, 3, 0))
    assert torch.equal(clean, kept)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    assert found.ranks == (1, 3, 0)
    assert (found.right <= found.clean).all()
    alone, _ = curve((3,))
    assert (alone.right[0], alone.sigma1[0]) == (found.right[1], found.sigma1[1])  # no rank disturbs another
    with pytest.raises(ConfigError, match="second_steps"):
        next(robust_vs_rank(tiny_config(second_steps=0), world, clean, 20, x, y, (1,), protocol))
