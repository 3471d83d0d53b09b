"""Sanity checks of robustness figures: signs that an attack is weak, a defence hides, or a measurement is wrong.

After Carlini et al. 2019 (arXiv 1902.06705, section 5). Pure functions of measured figures, each a
:class:`SanityWarning` or None; the thresholds stand at the top. :func:`probe` measures what a verified evaluation does
not hold already.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from engine.attacks.base import Classifier, attacks
from engine.core.generators import seeded
from engine.core.measurement import Measurement, wilson
from engine.probes.robustness import CHUNK, Measured, accuracy
from engine.studies.sanity_warnings import SanityWarning
from engine.studies.verify import Verified

HUGE = 10.0  # a radius so large, in units of the samples' largest norm, that every answer can be turned
HUGE_ACCURACY = 0.02  # what may be left there
FLAT_SHARE = 0.05  # this share of samples without a gradient makes gradient attacks doubtful
OVERFITTING = 0.15  # by so much may the accuracy under FGM exceed that under PGD
MORE = 4  # "more steps" are so many times as many


@dataclass(frozen=True, slots=True)
class Probes:
    """Figures measured for the checks: at radius 0, at a huge radius, with few and many steps, without gradient."""

    clean: Measured
    at_zero: Measured
    at_huge: Measured
    few_steps: Measured
    more_steps: Measured
    flat: Measured  # "right" counts the samples whose gradient is zero


def zero_radius(clean: Measured, at_zero: Measured) -> SanityWarning | None:
    """A perturbation of size 0 changes nothing, so the accuracy under attack at radius 0 is the clean one."""
    if (clean.right, clean.protocol.n) == (at_zero.right, at_zero.protocol.n):
        return None
    return SanityWarning(
        "zero radius",
        "At radius 0 the accuracy under attack differs from the accuracy without attack. The attack leaves its ball, "
        "or the two were measured on different samples or with a random network.",
        _evidence(clean, at_zero),
    )


def falls_with_radius(measured: Iterable[Measured]) -> SanityWarning | None:
    """A larger ball holds the smaller one, so an attack at a larger radius must not leave more samples right."""
    ordered = sorted(measured, key=lambda m: m.protocol.tau)
    for small, large in pairwise(ordered):
        if _above(large, small):
            return SanityWarning(
                "falls with radius",
                "The accuracy under attack grows with the radius. The attack does not use the room that it has: its "
                "step may be too large or too small, or the gradient misleads it.",
                _evidence(small, large),
            )
    return None


def more_steps(few: Measured, many: Measured) -> SanityWarning | None:
    """An attack with more steps must not leave more samples right, beyond the interval."""
    if not _above(many, few):
        return None
    return SanityWarning(
        "more steps",
        "An attack with more steps does less damage. Its steps do not converge; the figures bound robustness badly.",
        _evidence(few, many),
    )


def huge_radius(at_huge: Measured) -> SanityWarning | None:
    """With a radius far larger than the samples every answer can be turned."""
    if at_huge.accuracy <= HUGE_ACCURACY:
        return None
    return SanityWarning(
        "huge radius",
        "Even a perturbation far larger than the samples leaves many answers right. The attack is broken, or the "
        "gradient that it follows is masked: its figures at smaller radii say nothing.",
        _evidence(at_huge),
    )


def black_box(search: Measured, gradient: Measured) -> SanityWarning | None:
    """A random search sees less than a gradient attack, so it must not do clearly more damage."""
    if not _above(gradient, search):
        return None
    return SanityWarning(
        "black box",
        "A random search without gradients does more damage than the gradient attack. The gradient is masked: the "
        "network hides its weakness from gradient attacks and is less robust than they say.",
        _evidence(gradient, search),
    )


def certificate(certified: Measured, attacked: Measured) -> SanityWarning | None:
    """What is certified cannot be fooled, so certified accuracy is never above accuracy under attack."""
    if certified.right * attacked.protocol.n <= attacked.right * certified.protocol.n:
        return None
    return SanityWarning(
        "certificate",
        "More samples are certified than survive the attack. One of the two is wrong: please report this as a bug.",
        _evidence(certified, attacked),
    )


def zero_gradients(flat: Measured) -> SanityWarning | None:
    """Where the gradient is exactly zero, a gradient attack from x stays at x."""
    if flat.accuracy <= FLAT_SHARE:
        return None
    return SanityWarning(
        "zero gradients",
        "For many samples the gradient at x is exactly zero, so FGM and attacks that start at x do nothing there. "
        "Trust the attacks with random starts, the random search and the certificate.",
        _evidence(flat),
    )


def catastrophic_overfitting(fgm: Measured, pgd: Measured) -> SanityWarning | None:
    """Robust against one step, not against many: Wong, Rice and Kolter 2020 (arXiv 2001.03994)."""
    if fgm.accuracy - pgd.accuracy <= OVERFITTING or not _above(fgm, pgd):
        return None
    return SanityWarning(
        "catastrophic overfitting",
        "The network withstands FGM far better than PGD. Training with one step has taught it to bend the gradient "
        "at x, not to be robust. More attack steps, a random start or a smaller radius in training help.",
        _evidence(fgm, pgd),
    )


def probe(
    model: Classifier, x: Tensor, y: Tensor, norm: str, tau: float, seed: int, *, steps: int = 10
) -> Generator[None, None, Probes]:
    """Measure on x (n, d), y (n,) what the checks need beside a verified evaluation, yielding between slices."""
    n = len(y)
    largest = float(x.flatten(1).norm(dim=1).max()) if norm == "l2" else float(x.abs().max())

    def protocol(attack: str, radius: float, steps: int) -> Measurement:
        return Measurement(attack, norm, radius, steps, int(steps > 0), n)

    wanted = (
        protocol("clean", 0.0, 0),
        protocol("pgd", 0.0, steps),
        protocol("pgd", HUGE * max(largest, tau), steps),
        protocol("pgd", tau, steps),
        protocol("pgd", tau, MORE * steps),
    )
    measured = []
    for one in wanted:
        generator = seeded(seed, f"sanity {one.text()}", x.device)
        measured.append((yield from accuracy(model, x, y, one, None, generator)))
    flat = 0
    for start in range(0, n, CHUNK):
        rows = slice(start, start + CHUNK)
        flat += int((model.input_gradient(x[rows], y[rows]).flatten(1).abs().amax(1) == 0).sum())
        yield
    clean, at_zero, at_huge, few, many = measured
    share = Measured(flat, Measurement("share of samples without a gradient", norm, 0.0, 0, 0, n))
    return Probes(clean, at_zero, at_huge, few, many, share)


def check(verified: Verified | None, probes: Probes | None) -> tuple[SanityWarning, ...]:
    """All warnings that these figures give; none is the good case."""
    found: list[SanityWarning | None] = []
    if probes is not None:
        found += [
            zero_radius(probes.clean, probes.at_zero),
            huge_radius(probes.at_huge),
            more_steps(probes.few_steps, probes.more_steps),
            zero_gradients(probes.flat),
        ]
    if verified is not None:
        names = [m.protocol.attack for m in verified.radii[0].attacks] if verified.radii else []
        found += [falls_with_radius(at[name] for at in verified.radii) for name in names]
        for at in verified.radii:
            found += [black_box(m, at["pgd"]) for m in at.attacks if attacks[m.protocol.attack].black_box]
            found.append(catastrophic_overfitting(at["fgm"], at["pgd"]))
            if at.certified is not None:
                found += [certificate(at.certified, m) for m in (*at.attacks, at.worst)]
    return tuple(w for w in found if w is not None)


def _above(a: Measured, b: Measured) -> bool:
    """Whether a's accuracy is above b's by more than chance: outside b's interval."""
    return a.accuracy > wilson(b.right, b.protocol.n)[1]


def _evidence(*measured: Measured) -> str:
    return "; ".join(f"{m.accuracy:.3f} ({m.protocol.text()})" for m in measured)
