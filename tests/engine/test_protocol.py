from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.measurement import Measurement, wilson


# Published or exactly computable: n = 10, 0 successes → 1 − 1/(1+z²/n); Newcombe 1998, table II; Agresti and Coull.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0000),
        (500, 1000, 0.4691, 0.5309),
    ],
)
def test_wilson_against_newcombe(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=6e-5)


def test_wilson_without_samples() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_wilson_holds_the_share_and_is_symmetric(n: int, share: float) -> None:
    successes = round(share * n)
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n + 1e-12
    assert successes / n - 1e-12 <= high <= 1
    mirrored = wilson(n - successes, n)
    assert (1 - high, 1 - low) == pytest.approx(mirrored, abs=1e-9)


@pytest.mark.parametrize(
    ("protocol", "words"),
    [
        (Measurement("clean", "l2", 0, 0, 0, 500), ("no attack", "n = 500", "Wilson")),
        (Measurement("fgm", "linf", 0.05, 1, 1, 500), ("FGM", "ℓ∞ radius 0.05", "n = 500")),
        (Measurement("pgd", "l2", 0.2, 40, 5, 1000), ("PGD-40 × 5 restarts", "ℓ2 radius 0.2", "n = 1000", "95%")),
        (Measurement("pgd", "l2", 0.2, 10, 1, 500, True), ("PGD-10 × 1 restart,", "live estimate")),
        (Measurement("dense", "l2", 0.2, 0, 0, 500), ("dense direction", "radius 0.2")),
    ],
)
def test_text_says_everything_and_json_round_trips(protocol: Measurement, words: tuple[str, ...]) -> None:
    for word in words:
        assert word in protocol.text()
    assert Measurement.from_json(protocol.to_json()) == protocol
