"""A network on images as a run folder keeps it, ready to be measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from engine.config.experiment import IMAGES
from engine.core.device import choose, prepare_thread
from engine.core.errors import StoreError
from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.results import LayerInfo
from engine.core.slices import finish
from engine.data.images import BOX, HeldOutImages, Images
from engine.images.config import ImageConfig, images
from engine.images.data import describe, load_again
from engine.images.training import start
from engine.models.base import DataFacts
from engine.models.classifier import ImageClassifier
from engine.models.layers import layers
from engine.models.plain import PlainNetwork, of_images
from engine.probes.autoattack import autoattack
from engine.probes.layers import chunk_of
from engine.probes.robustness import Measured, accuracy, protocols_of
from engine.run.store import Checkpoint, Store

Moment = Literal["start", "clean", "now"]
NO_START = "the weights before any training were not imported"
PREFIX = {"start": "init.", "clean": "clean.", "now": "now."}


@dataclass(frozen=True)
class ImageNetwork:
    """The network of one checkpoint with its data; ``data`` is on the CPU, what is measured on ``device``.

    The images are read when they are first asked for: to look at the weights needs none.
    """

    folder: Path
    run: str
    checkpoint: Checkpoint
    config: ImageConfig
    device: torch.device

    ATTACKS: ClassVar[tuple[str, ...]] = ("fgm", "pgd")

    @classmethod
    def load(cls, folder: Path, step: int | None = None, device: str = "cpu") -> ImageNetwork:
        """Read the checkpoint at ``step``, the newest by default.

        Raises :class:`StoreError` for the folder.
        """
        store = Store.open(folder, read_only=True)
        try:
            return cls.of(store, store.load(step), device)
        finally:
            store.close()

    @classmethod
    def of(cls, store: Store, checkpoint: Checkpoint, device: str = "cpu") -> ImageNetwork:
        """The network of ``checkpoint``."""
        config = images(checkpoint.config, "this")
        where = choose(device)
        prepare_thread(config.threads)
        return cls(store.folder, store.run, checkpoint, config, where)

    @cached_property
    def data(self) -> Images:
        """The images that it was trained on, from where its config says, or that of the run's newest checkpoint.

        Raises :class:`ImagesMissing` if they are not there, or not the same.
        """
        return load_again(self.config, self.checkpoint.state["data_hash"], self._newest())

    def _newest(self) -> Iterator[ImageConfig]:
        """The config of the newest checkpoint: a run that went on with moved images says there where they are."""
        store = Store.open(self.folder, read_only=True)
        try:
            yield images(store.load().config, "this")
        finally:
            store.close()

    @cached_property
    def facts(self) -> DataFacts:
        """What the network knows of its data: their shape, classes, mean and deviation."""
        recorded = self.checkpoint.state.get("facts")  # older checkpoints have none
        return DataFacts.of_state(recorded) if recorded is not None else describe(self.data)

    @property
    def step(self) -> int:
        """Training steps behind it."""
        return self.checkpoint.step

    @property
    def phase(self) -> str:
        """The objective then."""
        return self.checkpoint.phase

    @property
    def has_clean(self) -> bool:
        """Whether clean training had ended."""
        return any(name.startswith("clean.") for name in self.checkpoint.arrays)

    @property
    def has_start(self) -> bool:
        """Whether the weights before any training are known."""
        return any(name.startswith("init.") for name in self.checkpoint.arrays)

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """The layers with weights, the first one first."""
        return tuple(each.info for each in layers(self.network("now")))

    def network(self, moment: Moment = "now") -> nn.Module:
        """A new copy of the network at its start, after clean training or now; in evaluation mode, without gradients.

        Raises :class:`StoreError` if clean training had not ended, or if the start was not imported.
        """
        prefix = PREFIX[moment]
        arrays = self.checkpoint.arrays
        state = {n.removeprefix(prefix): torch.from_numpy(a.copy()) for n, a in arrays.items() if n.startswith(prefix)}
        if not state:
            why = f"clean training had not ended at step {self.step}" if moment == "clean" else NO_START
            raise StoreError(f"{self.folder}: {why}")
        network = start(self.config, self.facts, self.device)
        try:
            network.load_state_dict(state)
        except RuntimeError as error:  # it lists what differs, a line each
            raise StoreError(
                f"{self.folder}: the checkpoint at step {self.step} is damaged: it is not of the network that the "
                f"knobs of model describe: {' '.join(str(error).split())[:200]}"
            ) from None
        return network.requires_grad_(False).eval()

    def plain(self, moment: Moment = "now") -> PlainNetwork:
        """That network as plain PyTorch has it."""
        return of_images(self.network(moment), self.config.model, self.facts)

    def samples(self, n: int) -> tuple[Tensor, Tensor]:
        """As :meth:`held_out`."""
        return self.held_out(n)

    def classifier(self, moment: Moment = "now") -> ImageClassifier:
        """That network as attacks see it."""
        return ImageClassifier(self.network(moment), autocast=self.config.training.bf16)

    def held_out(self, n: int) -> tuple[Tensor, Tensor]:
        """The first ``n`` test images (all, if there are fewer): x (n, C, H, W) in [0, 1], y (n,)."""
        x, y = HeldOutImages(self.data).take(n)
        return x.to(self.device), y.to(self.device)

    def accuracies(
        self, attacks: Sequence[str], norm: str, radii: Sequence[float], steps: int, restarts: int, n: int
    ) -> list[Measured]:
        """Clean accuracy, then that under each attack at each radius."""
        x, y = self.held_out(n)
        classes = len(self.data.classes)
        protocols = protocols_of(
            attacks, IMAGES, norm, radii, steps, restarts, len(y), classes=classes, also=("autoattack",)
        )
        model = self.classifier()
        rows = [self._measure(model, x, y, protocol) for protocol in protocols]
        if "autoattack" in attacks:
            found = finish(autoattack(model, x, y, norm, radii, self.config.seed, chunk=chunk_of(x.shape)))
            rows += [measured for at in found.radii for measured in (*at.attacks.values(), at.worst)]
        return rows

    def _measure(self, model: ImageClassifier, x: Tensor, y: Tensor, protocol: Measurement) -> Measured:
        generator = seeded(self.config.seed, f"evaluate {self.step} {protocol.text()}", x.device)
        return finish(accuracy(model, x, y, protocol, None, generator, box=BOX, chunk=chunk_of(x.shape)))
