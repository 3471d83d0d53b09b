from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.attacks.threat import threats
from engine.core.generators import seeded
from engine.core.slices import finish
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import certificate, oracle
from engine.studies import verify as module
from engine.studies.verify import CertificateError, Verified, verify, verify_run
from tests.tiny_runs import tiny_config

N = 120
QUICK = {"pgd": (6, 2), "apgd": (8, 1), "square": (15, 1)}
NAMES = ["fgm", "dense", "pgd", "apgd", "square"]


@pytest.fixture(autouse=True)
def _small_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "FIT_SIZE", 100)


@pytest.fixture(scope="module")
def world() -> SparseCoding:
    return SparseCoding.draw(tiny_config().world, seeded(0, "world"), torch.device("cpu"))


@pytest.fixture(scope="module")
def model(world: SparseCoding) -> SymmetricRelu:
    """Features with some dense mixture: accurate, and fragile."""
    mixture = 0.1 * (world.dictionary @ world.target).unsqueeze(1)
    return SymmetricRelu((world.dictionary * world.target + mixture).T.contiguous(), 0.2)


@pytest.fixture(scope="module")
def sample(world: SparseCoding) -> tuple[Tensor, Tensor]:
    return world.sample(N, seeded(1, "held out"))


Run = Callable[..., Verified]


@pytest.fixture
def run(model: SymmetricRelu, world: SparseCoding, sample: tuple[Tensor, Tensor]) -> Run:
    def measure(norm: str = "l2", radii: tuple[float, ...] = (0.3, 0.0, 0.1), **options: Any) -> Verified:
        options = {"sizes": QUICK, **options}
        return finish(
            verify(options.pop("model", model), options.pop("world", world), *sample, norm, radii, 0, **options)
        )

    return measure


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_bounded_from_both_sides(run: Run, norm: str, model: SymmetricRelu, sample: tuple[Tensor, Tensor]) -> None:
    x, y = sample
    found = run(norm, keep_perturbations=True)
    assert [at.tau for at in found.radii] == [0.0, 0.1, 0.3]
    assert found.clean.right == int((model.margin(x, y) > 0).sum())
    for at in found.radii:
        assert [m.protocol.attack for m in at.attacks] == NAMES
        assert at.worst.protocol.attack == "worst of fgm, dense, pgd, apgd, square"
        assert at.certified is not None
        assert at.oracle is not None
        assert at.certified.right <= at.worst.right <= min(m.right for m in at.attacks)
        for m in (*at.attacks, at.worst, at.certified, at.oracle):
            assert (m.protocol.n, m.protocol.tau, m.protocol.norm, m.protocol.estimate) == (N, at.tau, norm, False)
        assert at.fooled.sum() == N - at.worst.right
        assert at.perturbation is not None
        delta = torch.from_numpy(at.perturbation.copy())
        assert (threats[norm].size(delta) <= at.tau * (1 + 1e-6)).all()
        assert np.allclose(model.margin(x + delta, y).numpy(), at.margin, atol=1e-5)
        assert np.array_equal(at.margin <= 0, at.fooled)
        assert at.lower is not None
        assert (at.lower <= at.margin + 1e-4).all()
        for array in (at.fooled, at.margin, at.lower, at.perturbation):
            assert not array.flags.writeable
    zero, small, large = found.radii
    assert all(m.right == found.clean.right for m in (*zero.attacks, zero.worst))
    assert found.clean.right > large.worst.right
    assert (small.fooled <= large.fooled).all()
    assert (small.margin >= large.margin).all()


def test_fooled_once_is_fooled_at_larger_radii(run: Run, model: SymmetricRelu, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where every attack at the larger radius fails."""
    real = module.build

    def weak(protocol: Any, direction: Any) -> Any:
        attack = real(protocol, direction)
        if protocol.tau > 0.2:
            attack.tau = 0.0
            attack.run = lambda m, x, y, g: iter_zero(x)
        return attack

    def iter_zero(x: Tensor) -> Any:
        yield
        return torch.zeros_like(x)

    monkeypatch.setattr(module, "build", weak)
    found = run(radii=(0.15, 0.3), with_certificate=False, with_oracle=False)
    small, large = found.radii
    assert large["pgd"].right == found.clean.right > small.worst.right
    assert large.worst.right == small.worst.right
    assert np.array_equal(small.fooled, large.fooled)


def test_deterministic_and_the_radii_do_not_disturb_each_other(run: Run) -> None:
    first, again, alone = run(), run(), run(radii=(0.3,))
    assert first.figures() == again.figures()
    assert first.radii[-1].attacks == alone.radii[0].attacks
    assert first.radii[-1].oracle == alone.radii[0].oracle


def test_without_world_certificate_or_oracle(run: Run, model: SymmetricRelu) -> None:
    class Other:
        margin, input_gradient = model.margin, model.input_gradient

    bare = run(world=None, radii=(0.1,)).radii[0]
    assert [m.protocol.attack for m in bare.attacks] == ["fgm", "pgd", "apgd", "square"]
    assert bare.oracle is None
    assert bare.certified is not None
    assert bare.perturbation is None
    other = run(model=Other(), radii=(0.1,), with_oracle=False).radii[0]
    assert other.certified is None
    assert other.lower is None
    assert other.oracle is None
    assert other.attacks == run(radii=(0.1,)).radii[0].attacks


def test_a_contradiction_is_called_a_bug(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = certificate.bounds

    def optimistic(*args: Any, **options: Any) -> Any:
        found = yield from real(*args, **options)
        found.linear.add_(5.0)
        return found

    monkeypatch.setattr(certificate, "bounds", optimistic)
    with pytest.raises(CertificateError, match=r"this is a bug: at radius 0.3 sample \d+ has the certified margin"):
        run(radii=(0.3,))


def test_the_oracle_is_measured_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    cache: oracle.Cache = {}
    first = run(radii=(0.1, 0.2), cache=cache)
    monkeypatch.setattr(oracle, "best_bias", None)
    assert run(radii=(0.1, 0.2), cache=cache).figures() == first.figures()


def test_progress_and_giving_up(model: SymmetricRelu, world: SparseCoding, sample: tuple[Tensor, Tensor]) -> None:
    seen: list[tuple[float, str]] = []
    slices = verify(
        model,
        world,
        *sample,
        "l2",
        (0.1, 0.2),
        0,
        sizes=QUICK,
        progress=lambda share, what: seen.append((share, what)),
    )
    for _ in range(30):
        next(slices)
    slices.close()
    given_up = len(seen)
    assert given_up > 0
    assert seen[-1][0] < 0.9
    with pytest.raises(StopIteration):
        next(slices)
    assert len(seen) == given_up
    seen.clear()
    finish(verify(model, world, *sample, "l2", (0.1, 0.2), 0, sizes=QUICK, progress=lambda *s: seen.append(s)))
    shares = [share for share, _ in seen]
    assert shares == sorted(shares)
    assert seen[-1] == (1.0, "done")
    assert any("PGD-6 × 2 restarts" in what for _, what in seen)
    assert any(what.startswith("oracle: ") for _, what in seen)


def test_a_run_folder(finished_run: Path) -> None:
    grad = torch.is_grad_enabled()
    network, found = verify_run(finished_run, n=50, sizes=QUICK)
    torch.set_grad_enabled(grad)
    assert network.step == network.config.schedule.total
    assert [at.tau for at in found.radii] == [network.config.attack.tau]
    assert found.clean.protocol.n == 50
    figures = json.loads(json.dumps(found.figures()))
    assert [f["kind"] for f in figures] == ["clean", *["attack"] * 5, "worst", "certified", "oracle"]
    for f in figures:
        assert f["low"] <= f["value"] <= f["high"]
        assert f["protocol"]["n"] == 50
    assert "PGD-6 × 2 restarts, ℓ2 radius" in figures[3]["text"]
