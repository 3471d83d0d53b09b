from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.labels import figure_name
from engine.core.measurement import Measurement, attack_words, wilson, worst_case


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


@pytest.mark.parametrize(
    ("attack", "text", "short", "effort", "label"),
    [
        ("fgm", "FGM (1 step)", "FGM", "FGM (7 steps × 1 restart)", "accuracy under FGM"),
        ("dense", "dense direction (no network)", "dense direction", None, "accuracy under the dense direction"),
        ("pgd", "PGD-7 × 1 restart", "PGD-7 × 1", "PGD (7 steps × 1 restart)", "accuracy under PGD"),
        ("apgd", "APGD-7 × 1 restart", "APGD-7 × 1", "APGD (7 steps × 1 restart)", "accuracy under APGD"),
        (
            "apgd_ce", "APGD-CE, 7 steps × 1 restart", "APGD-CE-7 × 1", "APGD-CE (7 steps × 1 restart)",
            "accuracy under APGD-CE",
        ),
        (
            "apgd_t", "APGD-T (targeted DLR, 1 target), 7 steps", "APGD-T-7 × 1", "APGD-T (7 steps × 1 target)",
            "accuracy after APGD-T, too",
        ),
        ("square", "Square (7 queries, no gradient)", "Square-7", "Square (7 queries)", "accuracy under Square"),
    ],
)  # fmt: skip
def test_every_attack_in_words(attack: str, text: str, short: str, effort: str | None, label: str) -> None:
    """The whole protocol is also what generators are named by, so that it must stay as it is."""
    protocol = Measurement(attack, "l2", 0.2, 7, 1, 50)
    assert protocol.text() == f"{text}, ℓ2 radius 0.2, n = 50, 95% Wilson interval"
    assert (protocol.name, protocol.short()) == (short, f"{short} · ℓ2 0.2 · n = 50")
    assert figure_name(f"verified/{attack}@0.2") == f"{label}, radius 0.2"
    if effort is not None:
        assert worst_case([protocol, protocol]).attack.endswith(f" of {effort} and {effort}")


def test_the_row_above_holds_every_attack() -> None:
    marks = [m for m in test_every_attack_in_words.pytestmark if m.name == "parametrize"]
    assert [row[0] for row in marks[0].args[1]] == list(attack_words)


def test_what_is_no_attack_is_said_as_it_is() -> None:
    assert Measurement("worst of pgd, fgm", "linf", 0.1, 0, 0, 9).text().startswith("worst of pgd, fgm, ℓ∞ radius 0.1")
    after = Measurement("pgd after fgm, dense, the smaller radii", "l2", 0.1, 3, 2, 9)
    assert after.name == "PGD-3 × 2 on what FGM, the dense direction and the smaller radii left right"
