"""What the probes measure, as frozen records of read-only numpy arrays that own their memory.

Symbols follow SPEC.md section 4: ``C = W M`` is a neuron in the dictionary, ``j(i) = argmax_j |C_ij|`` its feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.core.measurement import Measurement, wilson

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

ALIVE = 0.3  # a neuron is alive if its norm exceeds this share of the largest norm
GAP = 0.1  # a neuron leads on a feature if its coefficient there exceeds the second by this share
FATES = ("kept", "changed", "died", "revived", "dead")  # of a neuron between two moments, see FeatureOf.fate
WINNER_GROUPS = ("winners", "wrong sign", "unclear", "others")  # of neurons at the start, see Winners.fate


@dataclass(frozen=True, slots=True)
class Weights:
    """Hidden weights, one row a neuron, in pixel space.

    ``now`` and ``start`` (m, d); ``clean`` (m, d) once the clean phase has ended, else None; ``dictionary`` (d, D), and
    ``now @ dictionary`` is the same in the dictionary, by the matched filter; ``target`` (D,) is w_star; ``bias`` the
    current b.
    """

    now: FloatArray
    start: FloatArray
    clean: FloatArray | None
    dictionary: FloatArray
    target: FloatArray
    bias: float


@dataclass(frozen=True, slots=True)
class Mixture:
    """Per-neuron quantities of the current weights, each (m,).

    ``feature`` j(i); ``pure`` |C_ij(i)|; ``mixture`` ‖v_i‖ with v_i = C_i without coordinate j(i); ``relative``
    ‖v_i‖/‖C_i‖; ``purity`` |C_ij(i)|/‖C_i‖; ``dense_alignment`` |⟨v_i, w_star⟩|/(‖w_star‖·‖C_i‖); ``norm`` ‖w_i‖;
    ``alive`` ‖w_i‖ > 0.3·max.
    """

    feature: IntArray
    pure: FloatArray
    mixture: FloatArray
    relative: FloatArray
    purity: FloatArray
    dense_alignment: FloatArray
    norm: FloatArray
    alive: BoolArray

    @property
    def dense_share(self) -> FloatArray:
        """|⟨v_i, w_star⟩|/(‖w_star‖·‖v_i‖) (m,): how much of the mixture is the dense direction; 0 without one."""
        return np.divide(self.dense_alignment, self.relative, out=np.zeros_like(self.relative), where=self.relative > 0)


@dataclass(frozen=True, slots=True)
class CleanMixture:
    """The :class:`Mixture` of the weights at the end of clean training."""

    mixture: Mixture


@dataclass(frozen=True, slots=True)
class FeatureOf:
    """The feature of each neuron (m,) at one moment, out of ``total`` in the dictionary.

    ``feature`` j(i), ``sign`` (−1, 0, 1) of its coefficient C_ij(i), ``alive`` as in :class:`Mixture`.
    """

    feature: IntArray
    sign: IntArray
    alive: BoolArray
    total: int

    @property
    def neurons(self) -> IntArray:
        """How many alive neurons have each feature (total,)."""
        return np.bincount(self.feature[self.alive], minlength=self.total)

    @property
    def held(self) -> int:
        """How many of the features some alive neuron has."""
        return int((self.neurons > 0).sum())

    def same(self, other: FeatureOf) -> BoolArray:
        """Which neurons (m,) have the same feature with the same sign at both moments, alive or not."""
        same: BoolArray = (self.feature == other.feature) & (self.sign == other.sign)
        return same

    def fate(self, later: FeatureOf) -> IntArray:
        """What has become of each neuron (m,) until ``later``, as a place in :data:`FATES`.

        ``kept``: alive at both moments, with the same feature and sign; ``changed``: alive at both, with another
        feature or sign; ``died``: alive before alone; ``revived``: alive later alone; ``dead``: at neither.
        """
        both = self.alive & later.alive
        cases = [both & self.same(later), both, self.alive, later.alive]
        return np.select(cases, [np.int64(i) for i in range(4)], np.int64(4))


@dataclass(frozen=True, slots=True)
class FeatureFates:
    """What has become of every neuron's feature since the start and since clean training (None before its end)."""

    start: FeatureOf
    clean: FeatureOf | None
    now: FeatureOf

    @property
    def moments(self) -> dict[str, FeatureOf]:
        """``start``, ``clean`` once clean training has ended, and ``now``."""
        found = {"start": self.start, "clean": self.clean, "now": self.now}
        return {name: moment for name, moment in found.items() if moment is not None}

    @property
    def kept_share(self) -> float:
        """Of the neurons alive after clean training and now, the share that kept feature and sign; NaN without any."""
        if self.clean is None:
            return float("nan")
        both = self.clean.alive & self.now.alive
        return float(self.clean.same(self.now)[both].mean()) if both.any() else float("nan")


@dataclass(frozen=True, slots=True)
class Principle1:
    """Principle 1 per neuron (m,), with w⁰, w, w′ the weights at the start, at the end of clean training, now.

    ``cos_start_clean``, ``cos_start_now``, ``cos_clean_now``; ``beta`` = ⟨w,w′⟩/‖w′‖²; ``pure_part`` ‖βw′‖ and
    ``rest`` ‖w − βw′‖; ``alive`` the neurons alive at the end of clean training, over which means are taken.
    """

    cos_start_clean: FloatArray
    cos_start_now: FloatArray
    cos_clean_now: FloatArray
    beta: FloatArray
    pure_part: FloatArray
    rest: FloatArray
    alive: BoolArray


@dataclass(frozen=True, slots=True)
class Sparsity:
    """Activation sparsity: ``per_neuron`` (m,) share of ``n`` held-out inputs on which the neuron is active."""

    per_neuron: FloatArray
    n: int


@dataclass(frozen=True, slots=True)
class Perturbations:
    """Perturbations in the dictionary: ``protocol.n`` held-out inputs perturbed as ``protocol`` says.

    Per sample (n,): ``cosine`` of δ with −y·M w_star (in pixels; 0 where δ = 0) and
    ``coordinates90``, the number of coordinates of Mᵀδ that carry 90% of its energy (0 where δ = 0). Of the first k
    samples, always the same ones: ``x`` (k, d), ``delta`` (k, d), ``y`` (k,), the margins y f(x) ``before`` and
    ``after`` (k,), and ``coefficients`` Mᵀδ (k, D). ``target`` (D,) is M w_star in the dictionary, MᵀM w_star: w_star
    itself where the columns of M are orthonormal.
    """

    protocol: Measurement
    cosine: FloatArray
    coordinates90: IntArray
    x: FloatArray
    delta: FloatArray
    y: FloatArray
    before: FloatArray
    after: FloatArray
    coefficients: FloatArray
    target: FloatArray

    @property
    def mean_cosine(self) -> float:
        """Mean over the n samples."""
        return float(self.cosine.mean(dtype=np.float64))

    @property
    def mean_coordinates90(self) -> float:
        """Mean over the n samples."""
        return float(self.coordinates90.mean(dtype=np.float64))


@dataclass(frozen=True, slots=True)
class CleanPerturbations:
    """The :class:`Perturbations` of the weights at the end of clean training (``step``), on the same inputs.

    ``between`` (n,) is each one's cosine with the perturbation of the weights now (0 where either is 0).
    """

    step: int
    perturbations: Perturbations
    between: FloatArray

    @property
    def mean_between(self) -> float:
        """Mean over the n samples."""
        return float(self.between.mean(dtype=np.float64))


@dataclass(frozen=True, slots=True)
class Transfer:
    """Accuracy of each of ``nets`` on the perturbations made on each of them, the same ``protocol.n`` samples.

    ``right[a, b]`` of the samples net b answers rightly without *and* with the perturbation made on net a: the diagonal
    is white-box accuracy. ``clean`` (b,) are right without.
    """

    nets: tuple[str, ...]
    right: IntArray
    clean: IntArray
    protocol: Measurement

    def accuracy(self, made_on: str, measured: str) -> float:
        """Accuracy of net ``measured`` on the perturbations made on net ``made_on``."""
        return int(self.right[self.nets.index(made_on), self.nets.index(measured)]) / self.protocol.n

    def interval(self, made_on: str, measured: str) -> tuple[float, float]:
        """Its 95% Wilson interval."""
        return wilson(int(self.right[self.nets.index(made_on), self.nets.index(measured)]), self.protocol.n)


@dataclass(frozen=True, slots=True)
class Winners:
    """Lottery tickets: neurons whose start leads on one feature with the right sign, and their fate.

    Per neuron (m,): ``feature`` its leading feature j(i) at the start; ``leads`` whether that leads clearly (at least
    ``threshold``, the bias at the start, and 1 + :data:`GAP` times the second); ``right_sign`` whether it has the sign
    of w_star there; ``became`` whether the neuron is alive now, with the same feature and the right sign. Winners lead
    with the right sign. ``sound`` (m,) are the neurons alive now with the right sign on their feature of now, whatever
    they began as, and ``head_start`` (m,) is the share of features on which such a neuron's start had less of the right
    sign than on that one (0 for the rest): 0.5 on average if the start decides nothing.

    Per feature (D,): ``winners``; ``fulfilled``, those of them that became the feature's neuron; ``neurons``, all the
    sound ones that are this feature's now.
    """

    feature: IntArray
    leads: BoolArray
    right_sign: BoolArray
    became: BoolArray
    sound: BoolArray
    head_start: FloatArray
    winners: IntArray
    fulfilled: IntArray
    neurons: IntArray
    threshold: float

    @property
    def winner(self) -> BoolArray:
        """Which neurons are winners (m,)."""
        return self.leads & self.right_sign

    @property
    def mean_head_start(self) -> float:
        """Mean of ``head_start`` over the sound neurons; not a number if there are none."""
        found = self.head_start[self.sound]
        return float(found.mean(dtype=np.float64)) if len(found) else float("nan")

    def fate(self, group: str) -> tuple[int, int]:
        """How many of a group became their leading feature's neuron, and how many there are.

        ``group`` is one of :data:`WINNER_GROUPS`: ``winners``; ``wrong sign``, which lead as clearly with the wrong
        sign; ``unclear``, which lead on nothing; ``others``, all but the winners.
        """
        members = {
            "winners": self.winner,
            "wrong sign": self.leads & ~self.right_sign,
            "unclear": ~self.leads,
            "others": ~self.winner,
        }[group]
        return int(self.became[members].sum()), int(members.sum())


@dataclass(frozen=True, slots=True)
class LowRank:
    """What the weights have changed by since the end of clean training, W − W_clean (m, d).

    ``singular_values`` (min(m, d),) descending; ``direction`` (d,) the first right singular vector, signed to agree
    with M w_star; ``cosine`` its cosine with M w_star/‖w_star‖ (0 where nothing has changed); ``rank`` the restriction
    in force, 0 for none.
    """

    singular_values: FloatArray
    direction: FloatArray
    cosine: float
    rank: int


@dataclass(frozen=True, slots=True)
class RankCurve:
    """Robust accuracy after an adversarial phase of restricted rank, from the same clean weights, on the same batches.

    For each of ``ranks`` (0 is the unrestricted phase): ``right`` of ``protocol.n`` samples under the attack and
    ``clean`` without; ``cosine`` and ``sigma1`` as in :class:`LowRank`.
    """

    ranks: tuple[int, ...]
    right: IntArray
    clean: IntArray
    cosine: FloatArray
    sigma1: FloatArray
    protocol: Measurement


@dataclass(frozen=True, slots=True)
class RadiusCurves:
    """Accuracy against the radius of the ball, ``radii`` (k,) ascending from 0, over the same ``n`` held-out samples.

    ``pgd`` (k,) under PGD with ``steps`` and ``restarts`` (an upper bound of robust accuracy) and ``certified`` (k,)
    (a lower bound; None for networks without a certificate), for the weights after ``step`` steps; ``pgd_clean`` and
    ``certified_clean`` the same for the weights at the end of clean training, None before that; ``oracle`` (k,) the
    oracle's PGD accuracy, None until it is known, or where there is none. ``norm`` is ``l2`` or ``linf``. All
    are live estimates.
    """

    step: int
    norm: str
    steps: int
    restarts: int
    n: int
    radii: NDArray[np.float64]
    pgd: NDArray[np.float64]
    certified: NDArray[np.float64] | None
    pgd_clean: NDArray[np.float64] | None
    certified_clean: NDArray[np.float64] | None
    oracle: NDArray[np.float64] | None


# --- networks on images. Pictures are (C, H, W) in [0, 1]; a layer's weights are seen as a matrix of one row a unit.


@dataclass(frozen=True, slots=True)
class LayerInfo:
    """A layer with weights, as the layer chooser lists it: the weights' ``shape``, ``kind`` ``conv`` or ``linear``."""

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def units(self) -> int:
        """Its outputs: neurons or channels."""
        return self.shape[0]


@dataclass(frozen=True, slots=True)
class Filters:
    """The first layer's weights as pictures, each (units, C, h, w); C is 1 (grey) or 3 (colour).

    ``clean`` is None until the clean phase has ended, ``start`` if nobody knows it. ``layers`` are all of the
    network's, the first one's first. ``held_out`` is the number of held-out images that feature visualisation may begin
    from, 0 if that is not told.
    """

    layers: tuple[LayerInfo, ...]
    now: FloatArray
    start: FloatArray | None
    clean: FloatArray | None
    held_out: int = 0


@dataclass(frozen=True, slots=True)
class LayersPrinciple1:
    """Principle 1 in every layer, after ``step`` steps: layer name → :class:`Principle1` over its units.

    ``active`` is the share of the layer's outputs that are positive on the live evaluation's images, by layer name
    (the last layer's, which are logits, are left out), ``n`` how many images; the theory's one layer has none here.
    """

    step: int
    layers: tuple[LayerInfo, ...]
    of: Mapping[str, Principle1]
    active: Mapping[str, float]
    n: int


@dataclass(frozen=True, slots=True)
class Examples:
    """Some test images and what the attack of ``protocol`` adds to them, for the weights after ``step`` steps.

    ``x`` and ``delta`` (k, C, H, W); ``y`` (k,) the true classes; ``before`` and ``after`` (k, K) the predicted
    probabilities of the K ``classes`` for x and for x + δ. The same images every time.
    """

    step: int
    protocol: Measurement
    classes: tuple[str, ...]
    x: FloatArray
    delta: FloatArray
    y: IntArray
    before: FloatArray
    after: FloatArray


@dataclass(frozen=True, slots=True)
class CleanExamples:
    """The :class:`Examples` of the weights at the end of clean training, whose step they tell; the same images."""

    examples: Examples


@dataclass(frozen=True, slots=True)
class FeatureRequest:
    """What to visualise: ``units`` of ``layer``, by ``steps`` of gradient ascent from ``origin``.

    ``origin`` is ``noise`` (a fixed grey picture with a little noise) or ``image`` (a fixed test image); the picture
    stays in [0, 1] and within ``tau`` (ℓ2) of the origin. ``image`` is the index of the held-out image.
    """

    layer: str
    units: tuple[int, ...]
    origin: str = "noise"
    tau: float = 8.0
    steps: int = 40
    image: int = 0


@dataclass(frozen=True, slots=True)
class Features:
    """Pictures that activate units most, as far as they are done (paper, section 5; SPEC.md section 8).

    ``pictures`` and ``activations`` by moment (``start``, ``clean``, ``now``): (n, C, H, W) for the units of
    ``request`` in its order, and (n,) the mean activation over the unit's positions. ``origin`` (C, H, W) is where the
    ascent began. ``share`` in [0, 1] says how much is done: pictures not begun are the origin. ``step`` is that of
    ``now``.
    """

    request: FeatureRequest
    step: int
    origin: FloatArray
    pictures: Mapping[str, FloatArray]
    activations: Mapping[str, FloatArray]
    share: float
