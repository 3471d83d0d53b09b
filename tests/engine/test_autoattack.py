"""The AutoAttack-style worst case: what survives all three attacks, cancellable, its protocols told."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from engine.core.measurement import Measurement, worst_case
from engine.core.slices import finish
from engine.models.classifier import ImageClassifier
from engine.probes.autoattack import AutoAttacked, autoattack
from engine.probes.robustness import accuracy
from tests.tiny_digits import held_out, trained

N, STEPS, QUERIES, TARGETS, SEED = 90, 10, 40, 3, 7
SIZES = {"apgd_ce": (STEPS, 1), "apgd_t": (STEPS, TARGETS), "square": (QUERIES, 1)}
RADII = [0.5, 0.3]


@pytest.fixture(scope="module")
def sample() -> tuple[Tensor, Tensor]:
    return held_out(N)


@pytest.fixture(scope="module")
def classifier() -> ImageClassifier:
    return ImageClassifier(trained())


def run(classifier: ImageClassifier, sample: tuple[Tensor, Tensor], **knobs: object) -> AutoAttacked:
    settings = {"sizes": SIZES, "chunk": 40, **knobs}
    return finish(autoattack(classifier, *sample, "l2", RADII, SEED, **settings))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def result(classifier: ImageClassifier, sample: tuple[Tensor, Tensor]) -> AutoAttacked:
    return run(classifier, sample)


def test_the_worst_is_not_above_any_attack_alone(
    result: AutoAttacked, classifier: ImageClassifier, sample: tuple[Tensor, Tensor]
) -> None:
    assert [at.tau for at in result.radii] == [0.3, 0.5]
    assert result.clean.right >= result.radii[0].worst.right > result.radii[1].worst.right > 0
    for at in result.radii:
        left = [m.right for m in at.attacks.values()]
        assert left == sorted(left, reverse=True)
        assert left[-1] == at.worst.right
        assert at.worst.right == N - int(at.fooled.sum())
        for name, steps, restarts in [("apgd_ce", STEPS, 1), ("apgd_t", STEPS, TARGETS), ("square", QUERIES, 1)]:
            protocol = Measurement(name, "l2", at.tau, steps, restarts, N)
            generator = torch.Generator().manual_seed(0)
            alone = finish(accuracy(classifier, *sample, protocol, None, generator, box=(0.0, 1.0)))
            assert at.worst.right <= alone.right + 1  # another seed
    wrong = classifier.margin(*sample) <= 0
    assert result.clean.right == N - int(wrong.sum())
    assert (torch.tensor(result.radii[0].fooled) | ~wrong).all()
    assert (result.radii[1].fooled >= result.radii[0].fooled).all()
    assert not result.radii[0].fooled.flags.writeable


def test_every_figure_says_how_it_was_measured(result: AutoAttacked) -> None:
    first, second = result.radii
    assert first.attacks["apgd_ce"].protocol.text().startswith("APGD-CE, 10 steps × 1 restart, ℓ2 radius 0.3, n = 90")
    words = first.attacks["apgd_t"].protocol.text()
    assert "(targeted DLR, 3 targets), 10 steps on what APGD-CE left right, ℓ2" in words
    words = first.attacks["square"].protocol.text()
    assert "Square (40 queries, no gradient) on what APGD-CE and APGD-T left right" in words
    assert "on what the smaller radii left right, ℓ2 radius 0.5" in second.attacks["apgd_ce"].protocol.text()
    words = "AutoAttack-style worst case of APGD-CE (10 steps × 1 restart), APGD-T (10 steps × 3 targets) and Square "
    assert second.worst.protocol.text().startswith(words + "(40 queries), ℓ2 radius 0.5, n = 90")
    assert second.worst.protocol.short() == "AutoAttack-style worst case · ℓ2 0.5 · n = 90"
    assert first.attacks["apgd_t"].protocol.short() == "APGD-T-10 × 3 on what APGD-CE left right · ℓ2 0.3 · n = 90"
    rows = result.figures()
    assert [row["kind"] for row in rows] == ["clean", *["attack", "attack", "attack", "worst"] * 2]
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
    json.dumps(rows)
    for at in result.radii:
        for measured in (*at.attacks.values(), at.worst):
            assert Measurement.from_json(measured.protocol.to_json()) == measured.protocol
            assert measured.protocol.n == N
            assert measured.which is not None
            assert int(measured.which.sum()) == measured.right


def test_the_seed_decides_and_chunks_are_attacked_apart(
    result: AutoAttacked, classifier: ImageClassifier, sample: tuple[Tensor, Tensor]
) -> None:
    assert run(classifier, sample) == result
    whole = run(classifier, sample, chunk=1000)
    assert abs(whole.radii[0].worst.right - result.radii[0].worst.right) <= 2


def test_progress_grows_to_the_end_and_closing_cancels(
    classifier: ImageClassifier, sample: tuple[Tensor, Tensor]
) -> None:
    told: list[tuple[str, float]] = []
    run(classifier, sample, progress=lambda share, what: told.append((what, share)))
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert told[-1] == ("done", 1.0)
    assert len({what for what, _ in told}) == 7
    slices = autoattack(classifier, *sample, "linf", [0.1], SEED)
    for _ in range(5):
        next(slices)
    slices.close()
    with pytest.raises(StopIteration):
        next(slices)


def test_few_classes_no_survivors_no_samples(sample: tuple[Tensor, Tensor]) -> None:
    x, y = sample
    two = ImageClassifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2)))
    hopeless = finish(autoattack(two, x, y % 2, "linf", [0.9], SEED, sizes=dict.fromkeys(SIZES, (5, 9))))
    assert hopeless.radii[0].worst.right == 0
    assert hopeless.radii[0].attacks["apgd_t"].protocol.restarts == 1
    with pytest.raises(ValueError, match="no samples"):
        next(autoattack(two, x[:0], y[:0], "l2", [0.1], SEED))


def test_worst_case_in_words() -> None:
    parts = [Measurement("pgd", "linf", 0.1, 20, 5, 50), Measurement("square", "linf", 0.1, 9, 1, 50)]
    assert (
        worst_case(parts).attack == "AutoAttack-style worst case of PGD (20 steps × 5 restarts) and Square (9 queries)"
    )
