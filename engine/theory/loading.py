"""A network as a run folder keeps it, ready to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from engine.config.experiment import SPARSE_CODING
from engine.core.device import choose, prepare_thread
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.slices import finish
from engine.data.sparse_stream import SparseCoding
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.robustness import Measured, accuracy, protocols_of
from engine.run.store import Store
from engine.theory.config import SparseCodingConfig, sparse_coding
from engine.theory.evaluation import HeldOut

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class TheoryNetwork:
    """The weights of one checkpoint with their world and held-out sample."""

    folder: Path
    run: str
    step: int
    phase: str
    config: SparseCodingConfig
    model: SymmetricRelu
    held_out: HeldOut

    ATTACKS: ClassVar[tuple[str, ...]] = ("fgm", "pgd", "dense")

    @classmethod
    def load(cls, folder: Path, step: int | None = None, device: str = "cpu") -> TheoryNetwork:
        """Read the checkpoint at ``step``, the newest by default.

        Raises :class:`StoreError` for the folder or :class:`DeviceError` for the device.
        """
        where = choose(device)
        store = Store.open(folder, read_only=True)
        try:
            checkpoint = store.load(step)
        finally:
            store.close()
        config, arrays = sparse_coding(checkpoint.config, "this"), checkpoint.arrays
        prepare_thread(config.threads)

        def tensor(name: str) -> torch.Tensor:
            return torch.from_numpy(arrays[name].copy()).to(where)

        world = SparseCoding(config.world, tensor("dictionary"), tensor("target"))
        model = SymmetricRelu(tensor("weight"), float(arrays["bias"]))
        return cls(
            store.folder, store.run, checkpoint.step, checkpoint.phase, config, model, HeldOut(world, config.seed)
        )

    def accuracies(
        self, attacks: Sequence[str], norm: str, radii: Sequence[float], steps: int, restarts: int, n: int
    ) -> list[Measured]:
        """Clean accuracy, then that under each attack at each radius."""
        protocols = protocols_of(attacks, SPARSE_CODING, norm, radii, steps, restarts, n)
        return [self._measure(protocol) for protocol in protocols]

    def _measure(self, protocol: Measurement) -> Measured:
        x, y = self.held_out.take(protocol.n, self.config.world.sigma_x)
        generator = seeded(self.config.seed, f"evaluate {self.step} {protocol.text()}", x.device)
        slices = accuracy(self.model, x, y, protocol, self.held_out.world.dense_direction, generator)
        return finish(slices)
