"""A network as a run folder keeps it, ready to be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch

from engine.config.experiment import SPARSE_CODING
from engine.core.device import choose, prepare_thread
from engine.core.errors import StoreError
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.slices import finish
from engine.data.sparse_stream import SparseCoding
from engine.models.plain import PlainNetwork, SymmetricNet, of_theory, symmetric_net
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.robustness import Measured, accuracy, protocols_of
from engine.run.store import Store
from engine.theory.config import SparseCodingConfig, bias_at, sparse_coding
from engine.theory.evaluation import HeldOut
from engine.theory.state import clean_bias

State = tuple[torch.Tensor, float]  # weights (m, d) and the bias that belongs to them


@dataclass(frozen=True)
class TheoryNetwork:
    """The weights of one checkpoint with their world and held-out sample; ``states`` by moment (``clean``: if any)."""

    folder: Path
    run: str
    step: int
    phase: str
    config: SparseCodingConfig
    model: SymmetricRelu
    held_out: HeldOut
    states: Mapping[str, State]

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
        states: dict[str, State] = {
            "start": (tensor("weight_init"), bias_at(sparse_coding(store.config, "this"), 0)),
            "now": (model.weight, model.bias),
        }
        if (bias := clean_bias(checkpoint)) is not None:
            states["clean"] = (tensor("weight_clean"), bias)
        held_out = HeldOut(world, config.seed)
        return cls(store.folder, store.run, checkpoint.step, checkpoint.phase, config, model, held_out, states)

    def network(self, moment: Literal["start", "clean", "now"] = "now") -> SymmetricNet:
        """The network at its start, after clean training or now, with tensors of its own, without gradients.

        Raises :class:`StoreError` if clean training had not ended.
        """
        if moment not in self.states:
            raise StoreError(f"{self.folder}: clean training had not ended at step {self.step}")
        world = self.held_out.world
        return symmetric_net(*self.states[moment], world.dictionary, world.target)

    def plain(self, moment: Literal["start", "clean", "now"] = "now") -> PlainNetwork:
        """That network as plain PyTorch has it."""
        return of_theory(self.network(moment))

    def samples(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The first ``n`` held-out samples: x (n, d), y (n,) of ±1."""
        return self.held_out.take(n, self.config.world.sigma_x)

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
