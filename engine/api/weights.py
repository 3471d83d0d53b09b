"""A run's network for others: a plain state dict, and the few lines of plain PyTorch that load it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from engine.config.experiment import to_dict
from engine.core.errors import ConfigError
from engine.core.files import absolute, refusal, write_atomically
from engine.core.quoting import quote

if TYPE_CHECKING:
    from engine.models.plain import PlainNetwork

When = Literal["start", "clean", "now"]
MOMENTS: tuple[When, ...] = ("start", "clean", "now")
SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class WrittenWeights:
    """The file of weights, and the script beside it that loads them: None where plain PyTorch has no such network."""

    weights: Path
    script: Path | None


def write_weights(folder: Path, out: Path, *, moment: When = "now", step: int | None = None) -> WrittenWeights:
    """Write the network at a ``moment`` of the run in ``folder`` to ``out``, whose name ends with ``.safetensors``.

    The keys are those of plain PyTorch: no moment's prefix, no normalisation of images (the script has it), of a
    ResNet torchvision's own. In the sparse-coding world ``dictionary`` and ``target`` are with them. ``step`` is that
    of the checkpoint, by default the newest; ``clean`` is the end of its clean training. The metadata hold run, step,
    config and the script, too.

    Raises :class:`ConfigError` for a wrong moment or name, :class:`StoreError` for the run, a step that there is no
    checkpoint of, a clean phase that had not ended, or a file that cannot be written.
    """
    check_moment(moment)
    out = absolute(out)
    if out.suffix != SUFFIX:
        raise ConfigError(f"--out: got {quote(out.name)}; allowed: a name that ends with {SUFFIX}")
    from safetensors.torch import save

    from engine import worlds

    network = worlds.load(folder, step)
    plain = network.plain(moment)
    when = {"start": "at its start", "clean": "after clean training", "now": f"after {network.step} steps"}[moment]
    text = script(plain, f"Run {network.run}, {when}", out.name) if plain.code else ""
    about = {"format": "pt", "run": network.run, "step": str(network.step), "moment": moment, "load": text}
    about["config"] = json.dumps(to_dict(network.config), ensure_ascii=False)
    files = {out: save(dict(plain.state), about)}
    beside = out.with_name(f"load_{out.stem}.py")
    if text:
        files[beside] = text.encode()
    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)
        except OSError as error:
            raise refusal(f"--out: {path} cannot be written", error) from None
    return WrittenWeights(out, beside if text else None)


def check_moment(moment: str) -> None:
    """Raise :class:`ConfigError` unless ``moment`` is one of :data:`MOMENTS`."""
    if moment not in MOMENTS:
        raise ConfigError(f"moment: got {quote(moment)}; allowed: {', '.join(MOMENTS)}")


def script(plain: PlainNetwork, title: str, name: str) -> str:
    """Python that loads the file ``name`` beside it, with torch and safetensors alone (a ResNet: torchvision)."""
    ordered = "from collections import OrderedDict\n" if "OrderedDict" in plain.code else ""
    gap = "\n" if plain.code.startswith(("class", "def")) else ""
    takes = "x (n, d)" if plain.before == "x" else "pixels x (n, C, H, W) in [0, 1]"
    return f'''"""{title}: the network in plain PyTorch, in evaluation mode."""

{ordered}from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

{gap}{plain.code}
network.load_state_dict(load_file(Path(__file__).with_name({json.dumps(name, ensure_ascii=False)})))
network.requires_grad_(False).eval()


def logits(x: Tensor) -> Tensor:
    """What the network makes of {takes}."""
    return network({plain.before})
'''
