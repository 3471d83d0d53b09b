"""Names of recorded figures in words, for cards and captions."""

from __future__ import annotations

from engine.core import metrics
from engine.core.measurement import attack_words

_WORDS = {
    metrics.CLEAN: "clean accuracy",
    metrics.FGM: "accuracy under FGM",
    metrics.PGD: "accuracy under PGD",
    metrics.DENSE: "accuracy under the dense direction",
    metrics.ALIGNMENT: "mean cosine of the FGM perturbation with −y·M w*",
    metrics.mixture("dense_alignment", "mean"): "mean dense alignment",
    metrics.mixture("purity", "mean"): "mean purity",
    metrics.mixture("dense_share", "mean"): "mean share of a mixture along M w*",
    metrics.SMALL: "share of neurons whose mixture is smaller than their feature",
    metrics.ALIVE: "alive neurons",
    metrics.HELD: "features of the dictionary that an alive neuron has",
    metrics.REPRESENTED: "effective number of the dictionary's features",
    metrics.MIXED: "features that a neuron mixes, median",
    metrics.COHERENCE: "coherence of the dictionary, max |⟨M_i,M_j⟩|",
    metrics.OWN_PURITY: "mean purity of the dictionary's own features",
    metrics.KEPT: "share of neurons that kept feature and sign",
    "principle1/cos_start_clean": "mean cosine (w⁰, w)",
    "principle1/cos_start_now": "mean cosine (w⁰, w′)",
    "principle1/cos_clean_now": "mean cosine (w, w′)",
    "principle1/share": "share of neurons with ‖βw′‖ > ‖w − βw′‖",
    "training/fgm_share": "share of the phase's steps trained by FGM",
    "verified/clean": "verified clean accuracy",
    "transfer/own": "accuracy under the clean net's own perturbations",
    "transfer/other": "accuracy of another clean net under them",
    "transfer/purified": "accuracy of the purified net under them",
    "low_rank/robust": "robust accuracy of the low-rank update",
    "low_rank/robust_full": "robust accuracy of the full update",
    "low_rank/robust_clean": "robust accuracy before any update",
    "low_rank/robust_removed": "robust accuracy with the dense direction taken out by hand, W − (W u)uᵀ",
    "low_rank/gain": "share of the full update's gain that the low-rank one reaches",
    "low_rank/gain_removed": "share of it that taking the dense direction out by hand reaches",
    "low_rank/rank_used": "rank of the update",
    "low_rank/cosine_used": "cosine of its first direction with M w*",
}
_QUANTITIES = {
    "cos_start_clean": "mean cosine (w⁰, w)",
    "cos_start_now": "mean cosine (w⁰, w′)",
    "cos_clean_now": "mean cosine (w, w′)",
    "share": "share of units with ‖βw′‖ > ‖w − βw′‖",
    metrics.EFFECTIVE_RANK: "effective rank of W",
    metrics.PARTICIPATION: "participation ratio of the spectrum of W",
    metrics.CHANGE_RANK: "effective rank of W − W_clean",
    "active_share": "share of positive outputs",
    "clean_before": "clean accuracy before its adversarial phase",
    "clean_after": "clean accuracy after it",
    "robust_before": "robust accuracy before its adversarial phase",
    "robust_after": "robust accuracy after it",
}
AFTER_OBJECTIVE = {
    "purity": "mean purity",
    "kept": "share that kept feature and sign",
    "dense_alignment": "mean dense alignment",
    "alignment": "FGM alignment with −y·M w*",
    "cosine": "mean cosine (w, w′)",
}
MODELS = {
    "network": "this network", "oracle": "ideal network", "linear": "linear", "quadratic": "polynomial, degree 2",
    "cubic": "polynomial, degree 3", "ntk": "NTK", "ntk_now": "NTK of now",
}  # fmt: skip
NETS = {
    "start": "the untrained net", "clean": "the clean net", "now": "the net now",
    "other_clean": "another seed's clean net", "other_now": "another seed's net now",
}  # fmt: skip
TRAINED_BY = {"clean": "clean", "fgm": "FGM", "pgd": "PGD"}


def figure_name(name: str) -> str:
    """A metric in words, e.g. ``rival/robust/ntk`` as ``NTK: robust accuracy``; one not known as it is."""
    name = name.removeprefix(metrics.REPORT)
    if name in _WORDS:
        return _WORDS[name]
    kind, _, rest = name.partition("/")
    if kind == "verified":
        attack, _, tau = rest.partition("@")
        if attack == "certified":
            return f"certified accuracy at radius {tau}"
        if attack == "oracle":
            return f"the ideal network's accuracy at radius {tau}"
        if attack == "worst":
            return f"accuracy under the worst attack found, radius {tau}"
        if attack in attack_words:
            words = attack_words[attack]
            return f"accuracy {words.outcome.format(plain=words.plain)}, radius {tau}"
    if kind in ("layer", "local") and rest.rpartition("/")[2] in _QUANTITIES:
        layer, _, quantity = rest.rpartition("/")
        return f"{layer}{' trained alone' if kind == 'local' else ''}: {_QUANTITIES[quantity]}"
    if kind == "low_rank" and "@" in rest:
        what, _, rank = rest.partition("@")
        return f"{what} accuracy of the {'full update' if rank == '0' else f'update of rank {rank}'}"
    if kind == "objectives" and "@" in rest:
        what, _, objective = rest.partition("@")
        return f"{AFTER_OBJECTIVE.get(what, f'{what} accuracy')} after training with {objective}"
    if kind == "transfer":
        made_on, _, measured = rest.partition("@")
        how = "without perturbation" if made_on == metrics.NO_ATTACK else f"under those of {NETS.get(made_on, made_on)}"
        return f"accuracy of {NETS.get(measured, measured)} {how}"
    if kind == "rival":
        what, _, model = rest.partition("/")
        return f"{MODELS.get(model, model)}: {what} accuracy"
    return name
