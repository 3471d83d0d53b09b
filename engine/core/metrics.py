"""Names of the scalars in the store, declared once for engine, exporters and window.

Metrics recorded at every step: ``loss``, ``train_accuracy``. The others at every live evaluation, except ``report/…``
(the fuller evaluation at a phase's end). Accuracies carry a :class:`engine.core.measurement.Measurement` under the same
name.
"""

LOSS = "loss"
TRAIN_ACCURACY = "train_accuracy"

CLEAN = "accuracy/clean"
FGM = "accuracy/fgm"
PGD = "accuracy/pgd"
DENSE = "accuracy/dense"
ACCURACIES = (CLEAN, FGM, PGD, DENSE)
CERTIFIED = "accuracy/certified"  # share that no perturbation of the ball fools; at a lower cadence
REPORT = "report/"  # prefix: report/accuracy/pgd is the fuller evaluation of accuracy/pgd

ALIGNMENT = "alignment/fgm"  # mean cosine of the FGM perturbation with −y·M w_star
COORDINATES90 = "anatomy/coordinates90"  # mean number of its dictionary coordinates that carry 90% of its energy

# While a phase may change the weights by a matrix of low rank only; of W − W_clean:
LOW_RANK_COSINE = "low_rank/cosine"  # |cosine| of its first right singular vector with M w_star
LOW_RANK_SIGMA1 = "low_rank/sigma1"  # its largest singular value

# Over alive neurons: median, 10% and 90% quantile, mean, as mixture/purity/median and so on.
MIXTURE_QUANTITIES = ("purity", "pure", "magnitude", "relative", "dense_alignment", "dense_share")
SUMMARIES = ("median", "q10", "q90", "mean")
ALIVE = "mixture/alive"  # number of alive neurons
SMALL = "mixture/small"  # share of the alive neurons whose mixture is smaller than their feature, ‖v_i‖ < |C_ij(i)|
COHERENCE = "world/coherence"  # of an overcomplete dictionary: max |⟨M_i,M_j⟩|, i ≠ j
OWN_PURITY = "world/own_purity"  # mean purity of a neuron that is one of its features: what purity can reach there
HELD = "features/held"  # number of the dictionary's features that some alive neuron has as its own
REPRESENTED = "features/represented"  # effective number of the dictionary's features in the alive neurons
MIXED = "features/mixed"  # how many of them an alive neuron mixes, median
KEPT = "features/kept"  # of the neurons alive after clean training and now: share with the same feature and its sign

PRINCIPLE1 = (
    "principle1/cos_start_clean",
    "principle1/cos_start_now",
    "principle1/cos_clean_now",
    "principle1/share",  # share of neurons with ‖βw′‖ > ‖w − βw′‖
)
ACTIVE_SHARE = "sparsity/active_share"

# Of each layer of a network on images, as layer/conv1/share and so on: those of PRINCIPLE1, and the active share.
LAYER_PRINCIPLE1 = ("cos_start_clean", "cos_start_now", "cos_clean_now", "share")
LAYER_ACTIVE_SHARE = "active_share"

# Of each layer that is small enough, by the same names; the theory's one layer is called HIDDEN.
HIDDEN = "hidden"
EFFECTIVE_RANK = "effective_rank"  # of W
PARTICIPATION = "participation"  # ratio of the spectrum of W
CHANGE_RANK = "change_rank"  # effective rank of W − W_clean, once clean training has ended


def mixture(quantity: str, summary: str) -> str:
    """Name of a summary of a per-neuron quantity, e.g. ``mixture('purity', 'q10')``."""
    return f"mixture/{quantity}/{summary}"


def layer(name: str, quantity: str) -> str:
    """Name of a quantity of one layer of a network on images, e.g. ``layer('conv1', 'cos_start_clean')``."""
    return f"layer/{name}/{quantity}"


def local(layer: str, quantity: str) -> str:
    """Name of a quantity of a layer that was drawn again and trained alone, e.g. ``local('conv1', 'robust_after')``."""
    return f"local/{layer}/{quantity}"


def rank(quantity: str, r: int) -> str:
    """Name of a quantity after an adversarial phase of rank r (0: full), e.g. ``rank('robust', 4)``."""
    return f"low_rank/{quantity}@{r}"


def after_objective(quantity: str, name: str) -> str:
    """Name of a quantity after training with an objective, e.g. ``after_objective('robust', 'trades')``."""
    return f"objectives/{quantity}@{name}"


NO_ATTACK = "none"  # in place of the net that perturbations were made on: accuracy without any


def transfer(made_on: str, measured: str) -> str:
    """Name of the accuracy of one net under perturbations made on another, e.g. ``transfer('clean', 'now')``."""
    return f"transfer/{made_on}@{measured}"
