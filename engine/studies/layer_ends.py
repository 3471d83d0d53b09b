"""Which layers are trained alone where nobody names any. Imports no torch: the window says them, too."""

from __future__ import annotations

from collections.abc import Sequence

from engine.core.results import LayerInfo


def default_layers(infos: Sequence[LayerInfo]) -> tuple[str, ...]:
    """One early and one deep layer: the first and the last convolution; without any, the first layer of all."""
    convolutions = [info.name for info in infos if info.kind == "conv"]
    ends = (convolutions[0], convolutions[-1]) if convolutions else tuple(info.name for info in infos[:1])
    return tuple(dict.fromkeys(ends))
