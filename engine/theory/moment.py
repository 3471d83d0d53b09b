"""What can be looked at in the world of the theory: the network now, at its start and after clean training."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.run.moment import Moment
from engine.theory.config import SparseCodingConfig, bias_at
from engine.theory.evaluation import HeldOut


class TheoryMoment(Moment):
    """``model``, whose weights were ``weight_init`` and, when clean training ended, ``weight_clean`` (m, d) or None.

    What live probes read (:mod:`engine.theory.live`), besides ``config``, ``steps_done`` and ``phase``: those weights;
    :meth:`bias_at`; ``clean_step`` and ``clean_bias``, the step at which clean training ended and the bias there; the
    ``world``, whose knobs are those of the start; ``held_out`` samples; :attr:`rank`; :meth:`frozen_once`,
    :meth:`once` and :meth:`at_step`; ``memory``, where a probe keeps what it need not measure again, under a key that
    holds all that decides it.
    """

    config: SparseCodingConfig
    world: SparseCoding
    held_out: HeldOut
    model: SymmetricRelu
    weight_init: Tensor
    weight_clean: Tensor | None = None
    clean_bias: float | None = None

    def bias_at(self, step: int) -> float:
        """The bias b in the step after ``step`` steps (SPEC.md section 2)."""
        return bias_at(self.config, step)

    @property
    @abstractmethod
    def rank(self) -> int:
        """The rank that the current phase restricts its change of the weights to; 0 is no restriction."""
