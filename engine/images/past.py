"""A stored run on images, looked at at any step (:mod:`engine.run.past`)."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

import torch

from engine.data.images import HeldOutImages
from engine.images.config import ImageConfig, images, in_memory_order
from engine.images.data import describe, load_again
from engine.images.layout import NOW
from engine.images.moment import ImageMoment, NetworkState
from engine.images.training import start
from engine.models.classifier import ImageClassifier
from engine.probes.layers import Matrices
from engine.run.commands import Command, Visualise
from engine.run.past import Past
from engine.run.snapshot import Snapshot
from engine.run.store import Checkpoint


@dataclass(frozen=True, slots=True)
class ImageConstants:
    """The network at its start and after clean training, as far as known, and the matrices of both by layer."""

    init: NetworkState | None
    clean: NetworkState | None
    start_matrices: Matrices | None
    clean_matrices: Matrices | None


class ImagePast(ImageMoment, Past):
    """An :class:`ImageMoment` that is read."""

    config: ImageConfig

    def _prepare(self, loaded: Checkpoint) -> None:
        if isinstance(self._beside, ImageMoment):
            self.images, self.held_out, self.facts = self._beside.images, self._beside.held_out, self._beside.facts
        else:
            self.images = load_again(self.config, loaded.state["data_hash"], self._others())
            self.facts = describe(self.images)
            placed = self.images.to(self.device, channels_last=self.config.training.channels_last)
            self.held_out = HeldOutImages(placed)
        self.network = start(self.config, self.facts, self.device).requires_grad_(False).eval()
        self._classifier = ImageClassifier(self.network, autocast=self.config.training.bf16)

    def _others(self) -> Iterator[ImageConfig]:
        """A run that went on with moved images says in its newest checkpoint where they are."""
        yield images(self._store.load().config, "this")

    @property
    def classifier(self) -> ImageClassifier:
        """The network at this step, as attacks and probes see it."""
        return self._classifier

    def _origin(self, loaded: Checkpoint) -> Hashable:
        return int(loaded.state["clean_step"]), bool(loaded.state["redrawn"])

    def _constants_of(self, checkpoint: Checkpoint) -> ImageConstants:
        init, clean = (self._state_of(checkpoint, prefix) or None for prefix in ("init.", "clean."))
        start, after = (None if state is None else self._matrices(state) for state in (init, clean))
        return ImageConstants(init, clean, start, after)

    def _state_of(self, loaded: Checkpoint, prefix: str) -> NetworkState:
        order = in_memory_order(self.config)
        found: NetworkState = {}
        for name, array in loaded.arrays.items():
            if name.startswith(prefix):
                tensor = torch.from_numpy(array.copy()).to(self.device)
                whole = order if tensor.dim() == 4 else torch.contiguous_format
                found[name.removeprefix(prefix)] = tensor.contiguous(memory_format=whole)
        return found

    def _show(self, loaded: Checkpoint, constants: ImageConstants) -> None:
        self.network.load_state_dict(self._state_of(loaded, NOW))
        self.init, self.clean = constants.init, constants.clean
        self._start_matrices, self._clean_matrices = constants.start_matrices, constants.clean_matrices
        self.clean_step, self.redrawn = int(loaded.state["clean_step"]), bool(loaded.state["redrawn"])

    def snapshot(self, wanted: frozenset[type] = frozenset()) -> Snapshot:
        """As of any run; the pictures that are asked for are those that are asked of the session beside."""
        if isinstance(self._beside, ImageMoment) and self._beside.feature_request != self.feature_request:
            self.visualise(self._beside.feature_request)
        return super().snapshot(wanted)

    def apply(self, command: Command) -> None:
        """Which pictures to measure may be chosen, though the run is only read."""
        if isinstance(command, Visualise):
            self.visualise(command.request)
            return
        super().apply(command)
