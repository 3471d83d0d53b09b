"""A session in the world of the theory: sparse-coding data, the symmetric ReLU network, closed-form steps."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.core.arrays import frozen
from engine.core.generators import seeded
from engine.data.sparse_stream import SparseCoding, Stream
from engine.models.low_rank import Factors
from engine.models.symmetric_relu import SymmetricRelu
from engine.run.session import Session
from engine.run.state import Arrays, tensor
from engine.run.store import Checkpoint
from engine.theory.config import SparseCodingConfig, bias_at
from engine.theory.evaluation import HeldOut, Request, evaluate
from engine.theory.layout import GENERATORS
from engine.theory.state import clean_bias, clean_step, pack_factors, pack_requests, unpack_factors, unpack_requests
from engine.theory.training import Trainer, initial_weight


class TheorySession(Session):
    """Trains ``model``, whose weights were ``weight_init`` and, when clean training ended, ``weight_clean`` (m, d).

    What live probes read (:mod:`engine.theory.live`), besides ``config``, ``steps_done`` and ``phase``: those weights;
    :meth:`bias_at`; ``clean_step`` and ``clean_bias``, the step at which clean training ended and the bias there; the
    ``world``, whose knobs are those of the start; ``held_out`` samples; :attr:`rank`; :meth:`frozen_once`; ``memory``,
    where a probe keeps what it need not measure again, under a key that holds all that decides it.
    """

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
        self.clean_bias: float | None = None
        self._prepare(0)
        self._begin_phase()

    def _restore(self, checkpoint: Checkpoint) -> None:
        arrays, device = checkpoint.arrays, self.device
        shape = (self.config.model.m, self.config.world.d)
        for name in ("weight", "weight_init", "weight_clean"):
            if name in arrays and arrays[name].shape != shape:
                raise ValueError(f"{name} is {arrays[name].shape}, the knobs say {shape}")
        dictionary, target = tensor(checkpoint, "dictionary", device), tensor(checkpoint, "target", device)
        self.world = SparseCoding(self.config.world, dictionary, target)
        self.model = SymmetricRelu(tensor(checkpoint, "weight", device), float(arrays["bias"]))
        self.weight_init = tensor(checkpoint, "weight_init", device)
        self.weight_clean = tensor(checkpoint, "weight_clean", device) if "weight_clean" in arrays else None
        self.clean_step, self.clean_bias = clean_step(checkpoint), clean_bias(checkpoint)
        self._prepare(int(checkpoint.state["position"]))
        self._trainer.factors = unpack_factors(checkpoint, device)

    def _prepare(self, position: int) -> None:
        self.stream = Stream(self.world, self._generators["pool"], self._generators["input_noise"])
        self.stream.seek(position)
        self.held_out = HeldOut(self.world, self.config.seed)
        self._trainer = Trainer(self.model, self.stream, self._generators)

    def bias_at(self, step: int) -> float:
        """The bias b in the step after ``step`` steps (SPEC.md section 2)."""
        return bias_at(self.config, step)

    # --- training

    def _train(self, loss: Tensor, accuracy: Tensor) -> None:
        losses, margin = self._trainer.step(self.config, self.phase, self.steps_done)
        torch.mean(margin > 0, dtype=torch.float32, out=accuracy)
        torch.mean(losses, dim=0, out=loss)

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
        self.clean_bias = self.bias_at(self.steps_done)  # the present knobs may say another one later

    # --- measuring

    def _frozen(self, *, report: bool) -> Request:
        weight, bias = self.model.weight.clone(), self.bias_at(self.steps_done)
        start, clean = self.weight_init, self.weight_clean
        return Request(self.steps_done, report, self.config, bias, weight, start, clean, self.rank)

    def _evaluate(self, request: Request) -> Generator[None, None, None]:
        return evaluate(request, self.held_out, self._recorder.scalar, self._recorder.measured_by)

    # --- checkpoints

    def _sound(self) -> bool:
        return bool(torch.isfinite(self.model.weight).all())

    def _arrays(self) -> Arrays:
        arrays: Arrays = {
            "weight": frozen(self.model.weight),
            "weight_init": self.frozen_once("start", self.weight_init),
            "bias": frozen(torch.tensor(self.bias_at(self.steps_done))),
            "dictionary": self.frozen_once("dictionary", self.world.dictionary),
            "target": self.frozen_once("target", self.world.target),
            "generator.pool": frozen(self.stream.pool_state),  # as it was at the pool's start
        }
        if self.weight_clean is not None:
            arrays["weight_clean"] = self.frozen_once("clean", self.weight_clean)
        return arrays | pack_factors(self._trainer.factors)

    def _state(self) -> dict[str, Any]:
        return {"position": self.stream.position, "clean_bias": self.clean_bias}

    def _pack_requests(self) -> tuple[Arrays, list[dict[str, Any]]]:
        return pack_requests(self._evaluations.requests)

    def _unpack_requests(self, checkpoint: Checkpoint) -> Sequence[Request]:
        return unpack_requests(checkpoint, self.weight_init)
