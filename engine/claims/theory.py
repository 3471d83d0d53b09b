"""The claims about the world of the theory (SPEC.md section 10), and principle 1 in every world."""

from __future__ import annotations

from engine.claims.base import MOST, RELATED, UNRELATED, Facts, Figure, Outcome, claim_rule, decided, in_parts
from engine.config.experiment import SPARSE_CODING
from engine.core import metrics

# Thresholds, in the open. Each stands in the rule that a claim shows.
ACCURATE = 0.90  # clean accuracy of an accurate net
FRAGILE = 0.50  # robust accuracy of a net that is not robust, at most
ALIGNED = 0.80  # mean cosine of a perturbation that is the dense mixture, at least
MIXED = 0.50  # mean share of a mixture along M w* that makes it dense, at least …
OVER_CHANCE = 5.0  # … and so many times what random weights have
PURE = 0.90  # mean purity of purified neurons, at least
MELTED = 0.25  # dense alignment after purification, at most this share of that before
CERTIFIED = 0.65  # certified accuracy of a net that is robust against any perturbation, at least
GAP = 0.10  # accuracy by which the network must beat each baseline, at least
KEPT = 0.85  # share of the neurons that keep feature and sign, at least
LOW_RANK_GAIN = 0.80  # share of the full update's gain in robust accuracy that a low-rank one must reach
TRANSFERS = 0.10  # a perturbation transfers if it leaves at most so much more accuracy than the net's own
IMMUNE = 0.90  # accuracy of the purified net on perturbations made for the clean one, at least

DENSE_ALIGNMENT = metrics.mixture("dense_alignment", "mean")
PURITY = metrics.mixture("purity", "mean")
DENSE_SHARE = metrics.mixture("dense_share", "mean")
LOW_RANK = ("robust_clean", "robust", "robust_full", "robust_removed", "rank_used", "cosine_used")


@claim_rule(
    1, "Clean training is accurate and not robust",
    f"after clean training: clean accuracy ≥ {ACCURATE:g} and PGD accuracy ≤ {FRAGILE:g}",
    "A net trained on clean samples answers almost all of them, and loses most answers to a perturbation of norm tau.",
    "robustness",
    SPARSE_CODING,
    needs="clean",
)  # fmt: skip
def _fragile(facts: Facts) -> Outcome:
    found = (facts.at_clean_end(metrics.CLEAN), facts.at_clean_end(metrics.PGD))
    return decided(found, lambda clean, pgd: clean >= ACCURATE and pgd <= FRAGILE)


@claim_rule(
    2, "Its adversarial perturbation is the dense mixture",
    f"after clean training: mean cosine of the FGM perturbation with −y·M w* ≥ {ALIGNED:g}",
    "What fools the clean net is one direction for all inputs: the sum of all features, known without the net.",
    "perturbation",
    SPARSE_CODING,
    needs="clean",
)  # fmt: skip
def _dense_perturbation(facts: Facts) -> Outcome:
    cosine = facts.at_clean_end(metrics.ALIGNMENT)
    return decided((cosine,), lambda cosine: cosine >= ALIGNED, facts.at_clean_end(metrics.DENSE))


@claim_rule(
    3, "Small dense mixtures sit in the hidden weights",
    f"after clean training, over alive neurons. Dense: the mean share of a mixture along M w* is ≥ {MIXED:g} and ≥ "
    f"{OVER_CHANCE:g} × the start's. Small: more than {MOST:g} of them have a mixture smaller than their feature, "
    "‖v‖ < |C_ij|",
    "Each hidden neuron is one feature plus a small piece of the dense mixture; together these pieces are attacked.",
    "mixtures",
    SPARSE_CODING,
    needs="clean",
)  # fmt: skip
def _dense_weights(facts: Facts) -> Outcome:
    shares = (facts.start(DENSE_SHARE), facts.at_clean_end(DENSE_SHARE))
    small = (facts.at_clean_end(metrics.SMALL),)
    return in_parts(
        ("dense", decided(shares, lambda chance, mixed: mixed >= MIXED and mixed >= OVER_CHANCE * chance)),
        ("small", decided(small, lambda share: share > MOST)),
    )


@claim_rule(
    4, "Adversarial training removes it and keeps the features (feature purification)",
    f"after adversarial training. Pure: mean purity ≥ {PURE:g} and mean dense alignment ≤ {MELTED:g} × that before it. "
    f"Kept: of the neurons alive before and after, ≥ {KEPT:g} have the same feature with the same sign",
    "Adversarial training neither learns new features nor drops old ones: it takes the mixtures out of the neurons.",
    "mixtures",
    SPARSE_CODING,
    needs="adversarial",
    beside="feature_fates",
)  # fmt: skip
def _purification(facts: Facts) -> Outcome:
    pure = (facts.at_clean_end(DENSE_ALIGNMENT), facts.now(DENSE_ALIGNMENT), facts.now(PURITY))
    held = (facts.at_clean_end(metrics.HELD), facts.now(metrics.HELD))
    return in_parts(
        ("pure", decided(pure, lambda before, after, purity: purity >= PURE and after <= MELTED * before)),
        ("kept", decided((facts.now(metrics.KEPT),), lambda kept: kept >= KEPT, *held)),
    )


@claim_rule(
    5, "FGM training yields robustness against any perturbation of that radius",
    f"after adversarial training: it trained with FGM at all its steps, and certified accuracy at tau ≥ {CERTIFIED:g}",
    "Training against one-step attacks is enough: the certificate bounds from below what no perturbation can undo.",
    "radius",
    SPARSE_CODING,
    needs="adversarial",
)  # fmt: skip
def _certified(facts: Facts) -> Outcome:
    tau = f"{facts.source.config.attack.tau:g}"
    certified, worst = facts.verified(f"verified/certified@{tau}"), facts.verified(f"verified/worst@{tau}")
    by_fgm = None if certified is None else facts.trained_by(certified.step)
    return decided((certified, by_fgm), lambda value, share: share == 1 and value >= CERTIFIED, worst)


BASELINES = ("linear", "quadratic", "cubic", "ntk")


@claim_rule(
    6, "Linear models, low-degree polynomials and the NTK cannot",
    f"after adversarial training: each baseline's best robust accuracy stays ≥ {GAP:g} below the network's, under the "
    "worst attack found. Shown beside: the NTK of now, whose gates are the trained network's. It does not decide: the "
    "theorem is about the kernel of a random start, and this one has learned its features",
    "The same data, radius and objectives; only the function class differs. The paper proves that the gap grows.",
    "race",
    SPARSE_CODING,
    needs="adversarial",
)  # fmt: skip
def _baselines(facts: Facts) -> Outcome:
    tau = f"{facts.source.config.attack.tau:g}"
    network = facts.verified(f"verified/worst@{tau}")
    found = facts.names("rival/robust/", BASELINES)
    now = facts.verified("rival/robust/ntk_now")
    if network is None or {f.name.rpartition("/")[2] for f in found} != set(BASELINES):
        return Outcome(None, (network, *found, now))
    return decided((network, *found), lambda network, *others: all(value <= network - GAP for value in others), now)


@claim_rule(
    7, "Principle 1: a clean neuron is its purified self plus a small mixture",
    f"after adversarial training, over neurons alive after clean training: mean cosines (w⁰,w), (w⁰,w′) ≤ "
    f"{UNRELATED:g}, and (w,w′) larger than both by ≥ {RELATED:g}. Shown beside: the share with ‖βw′‖ > ‖w − βw′‖, "
    "which is the same as |cos(w,w′)| > 1/√2",
    "w⁰, w, w′ are a neuron at the start, after clean and after adversarial training; β projects w on w′.",
    "mixtures",
    needs="adversarial",
)  # fmt: skip
def _principle1(facts: Facts) -> Outcome:
    def holds(start_clean: float, start_now: float, clean_now: float) -> bool:
        unrelated = max(start_clean, start_now)
        return unrelated <= UNRELATED and clean_now >= unrelated + RELATED

    *cosines, share = (facts.now(name) for name in metrics.PRINCIPLE1)
    return decided(cosines, holds, share)


@claim_rule(
    9, "Low-rank updates are enough",
    f"after adversarial training: that of W_clean + U V at low rank reaches ≥ {LOW_RANK_GAIN:g} of the full update's "
    "gain in robust accuracy. Shown beside: the share that W − (W u)uᵀ, u = M w*/‖w*‖, reaches without any training",
    "The mixtures are one direction, so taking them out needs few: a low-rank update purifies, too.",
    "mixtures",
    SPARSE_CODING,
    needs="adversarial",
)  # fmt: skip
def _low_rank(facts: Facts) -> Outcome:
    found = [facts.verified(f"low_rank/{name}") for name in LOW_RANK]
    clean, low, full, removed, *_ = found
    gains = [_share_of_gain("gain", clean, low, full), _share_of_gain("gain_removed", clean, removed, full)]
    return decided(gains[:1], lambda gain: gain >= LOW_RANK_GAIN, gains[1], *found)


def _share_of_gain(name: str, clean: Figure | None, some: Figure | None, full: Figure | None) -> Figure | None:
    """(some − clean)/(full − clean); None where one is missing, or the full update gains nothing."""
    if clean is None or some is None or full is None or full.value <= clean.value:
        return None
    share = (some.value - clean.value) / (full.value - clean.value)
    return Figure(f"low_rank/{name}", share, full.step, protocol=full.protocol)


@claim_rule(
    10, "Perturbations transfer between clean nets, not to purified ones",
    f"after adversarial training: perturbations made on the clean net leave another clean net ≤ {TRANSFERS:g} more "
    f"accuracy than their own, and the purified net ≥ {IMMUNE:g}",
    "All clean nets share the same weakness, the dense mixture of the world; a purified net no longer has it.",
    "transfer",
    SPARSE_CODING,
    needs="adversarial",
)  # fmt: skip
def _transfer(facts: Facts) -> Outcome:
    found = [facts.verified(f"transfer/{name}") for name in ("own", "other", "purified")]
    return decided(found, lambda own, other, purified: other <= own + TRANSFERS and purified >= IMMUNE)
