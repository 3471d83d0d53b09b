"""The training step of the theory, without a record: what a session and every comparison with it have in common."""

from __future__ import annotations

from collections.abc import Generator, Mapping

import torch
from torch import Tensor

from engine.config.experiment import at_step
from engine.config.knobs import Objective
from engine.config.objectives import objectives
from engine.core.generators import seeded
from engine.data.sparse_stream import SparseCoding, Stream
from engine.models.low_rank import Factors
from engine.models.symmetric_relu import NoisyRelu, Partner, SymmetricRelu
from engine.theory.config import SparseCodingConfig, bias_at, noise_of
from engine.theory.layout import GENERATORS


def initial_weight(config: SparseCodingConfig, seed: int) -> Tensor:
    """The random start w⁰ (m, d); drawn on the CPU, so that a seed means the same on every device."""
    empty = torch.empty(config.model.m, config.world.d)
    return empty.normal_(0, config.model.sigma_0, generator=seeded(seed, "weight"))


class Trainer:
    """Trains ``model`` by plain SGD on fresh batches of ``stream``; ``generators`` are those of :data:`GENERATORS`.

    With ``factors`` the update keeps to their rank (SPEC.md section 7); None is the ordinary step.
    """

    def __init__(self, model: SymmetricRelu, stream: Stream, generators: Mapping[str, torch.Generator]) -> None:
        self.model = model
        self.stream = stream
        self.generators = generators
        self.factors: Factors | None = None
        self._noisy = NoisyRelu(model)
        self._x = model.weight.new_empty(0, model.weight.shape[1])
        self._y = model.weight.new_empty(0)

    def step(self, config: SparseCodingConfig, objective: Objective, steps_done: int) -> tuple[Tensor, Tensor]:
        """One step after ``steps_done`` others; returns the batch's losses and margins (n,) before it.

        Where the loss is one of two batches together, the margins are those of the unperturbed one. Bias and scheduled
        knobs have their values of that step; everything else is read from ``config`` anew.
        """
        config = at_step(config, steps_done)
        n = config.training.batch_size
        if len(self._y) != n:
            self._x = self._x.new_empty(n, config.world.d)
            self._y = self._y.new_empty(n)
        x, y = self._x, self._y
        self.model.bias = bias_at(config, steps_done)
        self.stream.fill(x, y, config.world.sigma_x)
        rho = noise_of(config.model, self.model.bias)
        self._noisy.draw(n, rho, self.generators["rho"])
        kind = objectives[objective]
        loss = kind.pair_loss(config)
        partner = None if loss is None else Partner(x.clone(), loss)
        kind.perturb(config, self._noisy, x, y, self.generators["attack"])
        lr, decay = config.training.lr, config.model.lambda_
        if self.factors is None:
            found = self._noisy.sgd_step(x, y, lr, decay, partner)
        else:
            found = self.factors.sgd_step(self._noisy, x, y, lr, decay, partner)
        return found.loss, found.margin


def retrain(
    config: SparseCodingConfig, world: SparseCoding, weight: Tensor, objective: Objective, first: int, steps: int,
    name: str, seed: int, factors: Factors | None = None,
) -> Generator[float, None, SymmetricRelu]:  # fmt: skip
    """Train ``weight`` (m, d), overwritten, for ``steps`` steps as a session would after ``first`` steps.

    Batches and noise come from generators named by ``name`` and ``seed`` alone. Yields the share done after each step
    and returns the network with the bias reached.
    """
    generators = {kind: seeded(seed, f"{name}{kind}", weight.device) for kind in GENERATORS}
    model = SymmetricRelu(weight, bias_at(config, first))
    trainer = Trainer(model, Stream(world, generators["pool"], generators["input_noise"]), generators)
    trainer.factors = factors
    for done in range(steps):
        trainer.step(config, objective, first + done)
        yield (done + 1) / steps
    model.bias = bias_at(config, first + steps)
    return model
