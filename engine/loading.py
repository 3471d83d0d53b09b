"""A network as a run folder keeps it, ready to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from engine.config import ImageConfig, SparseCodingConfig, sparse_coding
from engine.data.sparse_coding import SparseCoding
from engine.device import choose, prepare_thread
from engine.errors import ConfigError
from engine.evaluation import HeldOut
from engine.generators import seeded
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.robustness import Measured, accuracy
from engine.protocol import Protocol
from engine.slices import finish
from engine.store import Store
from engine.summary import figure

if TYPE_CHECKING:
    from engine.image_loading import ImageNetwork


def load_network(folder: Path, step: int | None = None, device: str = "cpu") -> Network | ImageNetwork:
    """The network of a checkpoint, whatever its world; errors as in :meth:`Network.load`."""
    store = Store.open(folder, read_only=True)
    is_image = isinstance(store.config, ImageConfig)
    store.close()
    if is_image:
        from engine.image_loading import ImageNetwork

        return ImageNetwork.load(folder, step, device)
    return Network.load(folder, step, device)


@dataclass(frozen=True, slots=True)
class Row:
    """One accuracy with its protocol."""

    measured: Measured

    @property
    def protocol(self) -> Protocol:
        """How it was measured."""
        return self.measured.protocol

    @property
    def figure(self) -> dict[str, Any]:
        """Value, interval and protocol."""
        return figure(self.measured.accuracy, self.protocol)


def protocols_of(
    attacks: Sequence[str], norm: str, radii: Sequence[float], steps: int, restarts: int, n: int
) -> list[Protocol]:
    """The protocols of clean accuracy, and of each attack (``fgm``, ``pgd``, ``dense``) at each radius."""
    protocols = [Protocol("clean", norm, 0.0, 0, 0, n)]
    for tau in radii:
        for attack in attacks:
            size = (steps, restarts) if attack == "pgd" else (1, 1) if attack == "fgm" else (0, 0)
            protocols.append(Protocol(attack, norm, tau, *size, n))
    return protocols


@dataclass(frozen=True)
class Network:
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
    def load(cls, folder: Path, step: int | None = None, device: str = "cpu") -> Network:
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
    ) -> list[Row]:
        """Clean accuracy, then that under each attack at each radius."""
        if "autoattack" in attacks:
            raise ConfigError("--attack: autoattack is for networks on images; allowed here: fgm, pgd, dense")
        return [self._measure(protocol) for protocol in protocols_of(attacks, norm, radii, steps, restarts, n)]

    def _measure(self, protocol: Protocol) -> Row:
        x, y = self.held_out.take(protocol.n, self.config.world.sigma_x)
        generator = seeded(self.config.seed, f"evaluate {self.step} {protocol.text()}", x.device)
        slices = accuracy(self.model, x, y, protocol, self.held_out.world.dense_direction, generator)
        return Row(finish(slices))
