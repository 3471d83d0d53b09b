"""What the figures of networks on images share: reading the network, and pictures beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from engine.core.errors import ConfigError
from engine.core.quoting import quote
from engine.figures.base import Array
from engine.figures.declare import phase
from engine.images.config import images

if TYPE_CHECKING:
    from engine.config.experiment import Config
    from engine.core.results import LayerInfo
    from engine.images.loading import ImageNetwork
    from engine.run.store import Checkpoint, Store

AFTER_CLEAN = "after clean training"


def network_of(store: Store, checkpoint: Checkpoint) -> ImageNetwork:
    """The network of ``checkpoint`` on its own device, or the best there is here; imports torch."""
    from engine.core.device import choose
    from engine.core.errors import DeviceError
    from engine.images.loading import ImageNetwork

    device = images(checkpoint.config, "this figure").device
    try:
        choose(device)
    except DeviceError:
        device = "auto"
    return ImageNetwork.of(store, checkpoint, device)


def now_name(checkpoint: Checkpoint) -> str:
    """Title of what belongs to the weights of the checkpoint."""
    return f"now (step {checkpoint.step}, {phase(checkpoint.phase).name})"


def moments_of(network: ImageNetwork, checkpoint: Checkpoint) -> Mapping[str, str]:
    """Moment → title, in the order of time; without ``clean`` before clean training has ended, and without a start that
    nobody knows.

    Where a layer was drawn again, the start is the network with that layer new and the others trained.
    """
    clean = {"clean": AFTER_CLEAN} if network.has_clean else {}
    start = f"start ({network.config.local.layer} redrawn)" if checkpoint.state.get("redrawn") else "start"
    before = {"start": start} if network.has_start else {}
    return {**before, **clean, "now": now_name(checkpoint)}


def not_compared(config: Config) -> str:
    """Why there is no principle 1 where it is missing, in a few words."""
    return "clean training has not ended" if config.start_known else "not measured: no start was imported"


def layer_named(value: str, layers: tuple[LayerInfo, ...]) -> LayerInfo:
    """The layer that an option names, by name or by number from 1, else the first for an empty text.

    Raises :class:`ConfigError` if there is none.
    """
    if not value:
        return layers[0]
    if value.isdecimal() and 1 <= int(value) <= len(layers):
        return layers[int(value) - 1]
    for layer in layers:
        if layer.name == value:
            return layer
    names = ", ".join(layer.name for layer in layers)
    raise ConfigError(f"layer: got {quote(value)}; allowed: {names}, or a number from 1 to {len(layers)}")


def colours(pictures: Array) -> Array:
    """Pictures (n, C, h, w) of values in [0, 1] as colours (n, h, w, 3); with C = 1 as greys, else of 3 channels."""
    n, channels, h, w = pictures.shape
    shown = pictures[:, :3] if channels >= 3 else np.broadcast_to(pictures[:, :1], (n, 3, h, w))
    return np.clip(np.moveaxis(shown, 1, -1), 0, 1).astype(np.float32)
