"""A stored run of the theory, looked at at any step (:mod:`engine.run.past`)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.run.past import Past, is_checkpoint
from engine.run.state import tensor
from engine.run.store import Checkpoint
from engine.theory.config import SparseCodingConfig, sparse_coding
from engine.theory.evaluation import HeldOut
from engine.theory.moment import TheoryMoment
from engine.theory.state import clean_bias, clean_step


@dataclass(frozen=True, slots=True)
class TheoryConstants:
    """Start and clean weights (m, d), and what belongs to the latter."""

    start: Tensor
    clean: Tensor | None
    clean_bias: float | None


class TheoryPast(TheoryMoment, Past):
    """A :class:`TheoryMoment` that is read."""

    config: SparseCodingConfig
    _rank = 0

    def _prepare(self, loaded: Checkpoint) -> None:
        knobs = sparse_coding(self._store.config, "this").world
        dictionary, target = (tensor(loaded, name, self.device) for name in ("dictionary", "target"))
        self.world = SparseCoding(knobs, dictionary, target)
        self.held_out = HeldOut(self.world, self.config.seed)

    def _origin(self, loaded: Checkpoint) -> int:
        return clean_step(loaded) if is_checkpoint(loaded) else int(loaded.state["clean_step"])

    def _constants_of(self, checkpoint: Checkpoint) -> TheoryConstants:
        known = next(iter(self._constants.values()), None)
        start = tensor(checkpoint, "weight_init", self.device) if known is None else known.start
        clean = tensor(checkpoint, "weight_clean", self.device) if "weight_clean" in checkpoint.arrays else None
        return TheoryConstants(start, clean, clean_bias(checkpoint))

    def _show(self, loaded: Checkpoint, constants: TheoryConstants) -> None:
        self.weight_init, self.weight_clean = constants.start, constants.clean
        self.clean_bias = constants.clean_bias
        self.clean_step = self._origin(loaded)
        if is_checkpoint(loaded):
            self._rank = loaded.arrays["low_rank.U"].shape[1] if "low_rank.U" in loaded.arrays else 0
        else:
            self._rank = int(loaded.state["rank"])
        self.model = SymmetricRelu(tensor(loaded, "weight", self.device), self.bias_at(loaded.step))

    @property
    def rank(self) -> int:
        """The rank that the phase restricted its change of the weights to; 0 is no restriction."""
        return self._rank
