"""An experiment in the world of the theory: its knobs, and which belong together. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from engine.config.experiment import SPARSE_CODING, Config, Moment, kinds
from engine.config.knobs import Evaluation, Group, Model, Training, knob
from engine.core.arrays import picture_side
from engine.data.sparse_coding import OVERCOMPLETE, SparseCodingWorld

DICTIONARY_NAMES = {"dct": "DCT", "haar": "Haar wavelet", "random": "random orthogonal", OVERCOMPLETE: "overcomplete"}


class SymmetricReluModel(Model):
    """f(x) = Σᵢ [ReLU(⟨wᵢ,x⟩ + ρᵢ − b) − ReLU(−⟨wᵢ,x⟩ + ρᵢ − b)] (SPEC.md section 2)."""

    name: Literal["symmetric_relu"] = knob("symmetric_relu", "The network.")
    m: int = knob(400, "Number of hidden neurons m.", low=1, high=16384)
    sigma_0: float = knob(0.01, "Initial weights: wᵢ ~ N(0, sigma_0² I).", low=1e-6, high=1)
    sigma_rho: float = knob(
        0.1, "Pre-activation noise while training: ρᵢ ~ N(0, sigma_rho²).", low=0, high=2, live=True
    )
    rho_per_bias: float = knob(
        0.0, "The same noise as a multiple of the bias, sigma_rho = rho_per_bias · b; 0: as sigma_rho says.",
        low=0, high=10, live=True, zero="off",
    )  # fmt: skip
    bias: float = knob(
        0.0, "Bias b of every neuron, by hand or by a curve over steps; 0: the ramp of b_end and bias_ramp.",
        low=0, high=5, live=True, zero="ramp",
    )  # fmt: skip
    b_end: float = knob(
        0.3, "Bias at the end of its ramp; it starts at sigma_0·√(2 ln d) and grows linearly.", low=0, high=5, live=True
    )
    bias_ramp: float = knob(
        0.6, "Share of the scheduled clean phase over which the bias grows.", low=0.01, high=1, live=True
    )
    lambda_: float = knob(
        1e-4, "Weight decay: lambda · Σᵢ (‖wᵢ‖²/2 + ‖wᵢ‖³/3).", low=0, high=0.1, live=True, alias="lambda"
    )


class SgdTraining(Training):
    """Plain SGD; every batch is fresh."""

    lr: float = knob(1.5, "Learning rate of plain SGD.", low=0, high=100, live=True)
    batch_size: int = knob(256, "Fresh samples per step.", low=1, high=8192, unit="samples", live=True)


class CertifiedEvaluation(Evaluation):
    """The evaluation of a network that has a certificate (SPEC.md section 5)."""

    certify_every: int = knob(
        1000, "Certified accuracy at tau every this many steps, and in reports; 0 never.", low=0, high=100_000,
        unit="steps", live=True, zero="never",
    )  # fmt: skip


@kinds.register(SPARSE_CODING, order=-1)
class SparseCodingConfig(Config):
    """An experiment in the world of the theory."""

    kind: ClassVar[str] = SPARSE_CODING

    world: SparseCodingWorld = Field(default_factory=SparseCodingWorld)
    model: SymmetricReluModel = Field(default_factory=SymmetricReluModel)
    training: SgdTraining = Field(default_factory=SgdTraining)
    evaluation: CertifiedEvaluation = Field(default_factory=CertifiedEvaluation)

    @model_validator(mode="after")
    def _fits_together(self) -> SparseCodingConfig:
        w = self.world
        for name, value in (("k", w.k), ("p_large", w.p_large)):
            if value > w.features:
                of = "world.atoms" if w.atoms else "world.d"
                raise ValueError(f"world.{name}: got {value:g}; allowed: at most {of} = {w.features}")
        if w.atoms and (w.atoms < w.d if w.dictionary == OVERCOMPLETE else w.atoms != w.d):
            others = "or more" if w.dictionary == OVERCOMPLETE else "or 0, as it is orthonormal"
            raise ValueError(
                f"world.atoms: got {w.atoms}; allowed with world.dictionary = {w.dictionary!r}: world.d = {w.d} "
                f"{others}"
            )
        side = picture_side(w.d)
        allowed = {"dct": "a square", "haar": "the square of an even number"}.get(w.dictionary)
        if allowed and (side is None or (w.dictionary == "haar" and side % 2)):
            raise ValueError(
                f"world.d: got {w.d}; allowed with world.dictionary = {w.dictionary!r}: {allowed} (64, 144, 256)"
            )
        return self

    @classmethod
    def variants(cls) -> Mapping[str, Mapping[str, type[Group]]]:
        """One world, one network."""
        return {"world": {"sparse_coding": SparseCodingWorld}, "model": {"symmetric_relu": SymmetricReluModel}}

    def unused(self) -> dict[str, str]:
        """The ramp of a bias that is given by hand or by a curve, and noise that is given by the bias."""
        model = self.model
        curve = self.schedule.curve("model.bias")
        found: dict[str, str] = {}
        if model.bias if curve is None else all(value for _, value in curve.points):
            found |= dict.fromkeys(("model.b_end", "model.bias_ramp"), "model.bias")
        follows = self.schedule.curve("model.rho_per_bias")
        if model.rho_per_bias if follows is None else all(value for _, value in follows.points):
            found["model.sigma_rho"] = "model.rho_per_bias"
        return found

    def in_force(self, moment: Moment) -> dict[str, float]:
        """The learning rate as it is, and the bias and the noise, which may follow from other knobs."""
        bias = bias_at(self, moment.step)
        return {"training.lr": self.training.lr, "model.bias": bias, "model.sigma_rho": noise_of(self.model, bias)}

    def describe(self) -> str:
        """World and network in words, for captions."""
        world = self.world
        dictionary = DICTIONARY_NAMES.get(world.dictionary, world.dictionary)
        size = f" of D = {world.features} random columns" if world.dictionary == OVERCOMPLETE else ""
        spread = f", |w*_j| unequal, up to {world.target_spread:g} : 1" if world.target_spread > 1 else ""
        return (
            f"Sparse-coding world ({dictionary} dictionary{size}, d = {world.d}, k = {world.k:g}{spread}), "
            f"symmetric ReLU network with m = {self.model.m} neurons"
        )


def bias_at(config: SparseCodingConfig, step: int) -> float:
    """The bias b in the step after ``step`` steps (SPEC.md section 2): by its curve, by hand, or by the ramp."""
    model, schedule = config.model, config.schedule
    curve = schedule.curve("model.bias")
    given = model.bias if curve is None else curve.at(step)
    if given:
        return given
    first = model.sigma_0 * math.sqrt(2 * math.log(config.world.d))
    ramp = model.bias_ramp * schedule.clean_steps
    return first + (model.b_end - first) * (min(1.0, step / ramp) if ramp else 1.0)


def noise_of(model: SymmetricReluModel, bias: float) -> float:
    """The standard deviation of the pre-activation noise ρ at this bias."""
    return model.rho_per_bias * bias or model.sigma_rho


def sparse_coding(config: Config, what: str) -> SparseCodingConfig:
    """``config``, if it is of the world of the theory; else :class:`ConfigError` that says ``what`` needs it."""
    return config.expect(SparseCodingConfig, f"{what} needs the sparse-coding world")
