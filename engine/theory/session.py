"""A session in the world of the theory: sparse-coding data, the symmetric ReLU network, closed-form steps."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.core.arrays import frozen
from engine.core.generators import seeded
from engine.core.results import (
    CleanMixture,
    LowRank,
    Mixture,
    Perturbations,
    Principle1,
    RadiusCurves,
    Sparsity,
    Weights,
    Winners,
)
from engine.data.sparse_stream import SparseCoding, Stream
from engine.models.low_rank import Factors
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import perturbation, radius
from engine.probes.low_rank import low_rank
from engine.probes.mixture import mixture
from engine.probes.principle1 import principle1
from engine.probes.sparsity import sparsity
from engine.probes.winners import winners
from engine.run.scheduler import LiveProbe, ProbeTask
from engine.run.session import Session
from engine.run.state import Arrays, tensor
from engine.run.store import Checkpoint
from engine.theory.config import SparseCodingConfig
from engine.theory.evaluation import HeldOut, Request, evaluate
from engine.theory.state import clean_step, pack_factors, pack_requests, unpack_factors, unpack_requests
from engine.theory.training import GENERATORS, Trainer, bias_at, initial_weight


class TheorySession(Session):
    """Trains ``model``, whose weights were ``weight_init`` and, when clean training ended, ``weight_clean`` (m, d)."""

    config: SparseCodingConfig
    GENERATORS = GENERATORS
    REMEDY = "training.lr or model.lambda"

    def _start(self) -> None:
        config = self.config
        self.world = SparseCoding.draw(config.world, seeded(config.seed, "world"), self.device)
        weight = initial_weight(config, config.seed)
        self.model = SymmetricRelu(weight.to(self.device), self.bias_at(0))
        self.weight_init = self.model.weight.clone()
        self.weight_clean: Tensor | None = None
        self._prepare(0)
        self._begin_phase()

    def _restore(self, checkpoint: Checkpoint) -> None:
        arrays, device = checkpoint.arrays, self.device
        dictionary, target = tensor(checkpoint, "dictionary", device), tensor(checkpoint, "target", device)
        self.world = SparseCoding(self.config.world, dictionary, target)
        self.model = SymmetricRelu(tensor(checkpoint, "weight", device), float(arrays["bias"]))
        self.weight_init = tensor(checkpoint, "weight_init", device)
        self.weight_clean = tensor(checkpoint, "weight_clean", device) if "weight_clean" in arrays else None
        self.clean_step = clean_step(checkpoint)
        self._prepare(int(checkpoint.state["position"]))
        self._trainer.factors = unpack_factors(checkpoint, device)

    def _prepare(self, position: int) -> None:
        self.stream = Stream(self.world, self._generators["pool"], self._generators["input_noise"])
        self.stream.seek(position)
        self.held_out = HeldOut(self.world, self.config.seed)
        self._trainer = Trainer(self.model, self.stream, self._generators)
        self._radius_cache: radius.Cache = {}
        self._clean_mixture: tuple[Tensor, CleanMixture] | None = None

    def bias_at(self, step: int) -> float:
        """The bias b in the step after ``step`` steps (SPEC.md section 2)."""
        return bias_at(self.config, step)

    # --- training

    def _train(self, loss: Tensor, accuracy: Tensor) -> None:
        margin = self._trainer.step(self.config, self.phase, self.steps_done)
        torch.mean(margin > 0, dtype=torch.float32, out=accuracy)
        torch.mean(torch.nn.functional.softplus(margin.neg_()), dim=0, out=loss)

    def _begin_phase(self) -> None:
        """With ``low_rank.rank`` the new phase may change the present weights by a matrix of that rank only."""
        factors = None
        if self.phase != "clean":
            rank = self.config.low_rank.rank
            factors = Factors.begin(self.model.weight, rank, self.config.seed, self.steps_done)
        self._trainer.factors = factors

    @property
    def rank(self) -> int:
        """The rank that the current phase restricts its change of the weights to; 0 is no restriction."""
        factors = self._trainer.factors
        return 0 if factors is None else factors.rank

    def _end_clean(self) -> None:
        self.weight_clean = self.model.weight.clone()

    # --- measuring

    def _frozen(self, *, report: bool) -> Request:
        weight, bias = self.model.weight.clone(), self.bias_at(self.steps_done)
        start, clean = self.weight_init, self.weight_clean
        return Request(self.steps_done, report, self.config, bias, weight, start, clean, self.rank)

    def _evaluate(self, request: Request) -> Generator[None, None, None]:
        return evaluate(request, self.held_out, self._recorder.scalar, self._recorder.measured_by)

    def _make_live_probes(self) -> dict[type, LiveProbe[Any]]:
        return {RadiusCurves: LiveProbe(self._radius_moment)}

    def _radius_moment(self) -> ProbeTask[RadiusCurves]:
        config = self.config
        return ProbeTask((self.steps_done, self.clean_step, config.attack, config.world), self._radius_curves)

    def _radius_curves(self) -> Generator[None, None, RadiusCurves]:
        config, attack = self.config, self.config.attack
        x, y = self.held_out.take(radius.SIZE, config.world.sigma_x)
        clean = None if self.weight_clean is None else SymmetricRelu(self.weight_clean, self.bias_at(self.clean_step))
        now = SymmetricRelu(self.model.weight.clone(), self.bias_at(self.steps_done))
        return radius.radius_curves(
            now, clean, self.clean_step, self.world, x, y, attack.norm, attack.tau, self.steps_done, config.seed,
            self._radius_cache,
        )  # fmt: skip

    def _result(self, kind: type) -> object | None:
        weight, world, clean = self.model.weight, self.world, self.weight_clean
        if kind is Weights:
            return Weights(
                now=frozen(weight),
                start=self._once("start", self.weight_init),
                clean=None if clean is None else self._once("clean", clean),
                dictionary=self._once("dictionary", world.dictionary),
                target=self._once("target", world.target),
                bias=self.bias_at(self.steps_done),
            )
        if kind is Mixture:
            return mixture(weight, world.dictionary, world.target)
        if kind is CleanMixture:
            return None if clean is None else self._mixture_after_clean(clean)
        if kind is Principle1:
            return None if clean is None else principle1(self.weight_init, clean, weight)
        if kind is Sparsity:
            model = SymmetricRelu(weight, self.bias_at(self.steps_done))
            x, _ = self.held_out.take(self.config.evaluation.size, self.config.world.sigma_x)
            return sparsity(model, x)
        if kind is Perturbations:
            model = SymmetricRelu(weight, self.bias_at(self.steps_done))
            x, y = self.held_out.take(perturbation.SIZE, self.config.world.sigma_x)
            return perturbation.of_fgm(model, world, x, y, self.config.attack.norm, self.config.attack.tau)
        if kind is Winners:
            return winners(self.weight_init, weight, world.dictionary, world.target, self.config.model.sigma_0)
        if kind is LowRank:
            return None if clean is None else low_rank(weight, clean, world.dense_direction, self.rank)
        return None  # of another world

    def _mixture_after_clean(self, clean: Tensor) -> CleanMixture:
        """Measured once: these weights never change."""
        known = self._clean_mixture
        if known is None or known[0] is not clean:
            found = CleanMixture(mixture(clean, self.world.dictionary, self.world.target))
            known = self._clean_mixture = (clean, found)
        return known[1]

    # --- checkpoints

    def _sound(self) -> bool:
        return bool(torch.isfinite(self.model.weight).all())

    def _arrays(self) -> Arrays:
        arrays: Arrays = {
            "weight": frozen(self.model.weight),
            "weight_init": self._once("start", self.weight_init),
            "bias": frozen(torch.tensor(self.bias_at(self.steps_done))),
            "dictionary": self._once("dictionary", self.world.dictionary),
            "target": self._once("target", self.world.target),
            "generator.pool": frozen(self.stream.pool_state),  # as it was at the pool's start
        }
        if self.weight_clean is not None:
            arrays["weight_clean"] = self._once("clean", self.weight_clean)
        return arrays | pack_factors(self._trainer.factors)

    def _state(self) -> dict[str, Any]:
        return {"position": self.stream.position}

    def _pack_requests(self) -> tuple[Arrays, list[dict[str, Any]]]:
        return pack_requests(self._pending)

    def _unpack_requests(self, checkpoint: Checkpoint) -> Sequence[Request]:
        return unpack_requests(checkpoint, self.weight_init)
