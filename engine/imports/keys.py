"""Fitting the tensors of a file onto a network of ours: what wraps the names is taken off, and said.

Names are compared without what usual wrappers put in front of them, in the file as in the network. A few projects call
the same layers otherwise; of those :data:`RENAMES` says how.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.core.errors import ConfigError
from engine.core.quoting import plain

PREFIXES = (
    "module.", "_orig_mod.", "attacker.model.", "model.", "net.", "network.", "encoder.", "backbone.", "basic_net.",
    "classifier_model.",
)  # fmt: skip
IN_SEQUENCE = "1."  # the network behind a layer of normalisation, the two being a sequence
SEQUENCES = tuple(f"{each}{IN_SEQUENCE}" for each in ("", "module.", "model.", "_orig_mod."))
RENAMES = (("shortcut.", "downsample."), ("linear.", "fc."))  # of the usual CIFAR ResNets → torchvision's names
NORMALISER = re.compile(
    r"(?:^|.*\.)(?:normalis|normaliz)\w*\.(?:new_)?(mean|std|mu|sigma)$|"
    r"(?:^|.*\.)norm(?:_layer)?\.(?:new_)?(mean|std)$|"
    r"^(?:(?:module|model|_orig_mod)\.)*(?:0\.)?(?:new_)?(mean|std|mu|sigma)$"
)
COUNTER = "num_batches_tracked"  # which older files lack; only a momentum of None reads it
SHOWN = 4  # names of each kind that are listed


@dataclass(frozen=True)
class Fitted:
    """``state`` is the network's, whole but for its normalisation; ``mean`` and ``std`` (C,) are the file's, if it has
    them; ``taken_off`` are the prefixes and renamings, in words."""

    state: dict[str, Tensor]
    mean: Tensor | None
    std: Tensor | None
    taken_off: tuple[str, ...]


def fit(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], channels: int, where: str) -> Fitted:
    """The tensors ``found`` by the names of ``wanted``, the network's state without its normalisation.

    Raises :class:`ConfigError` in one line, ``where`` in front, that lists what is missing, unexpected or misshapen.
    """
    mean, std, rest = _normalisation(found, channels, where)
    behind = len(rest) < len(found) and all(name.startswith(SEQUENCES) for name in rest)
    targets = {_bare(name, False)[0]: name for name in wanted}
    taken: dict[str, None] = {}
    bare: dict[str, tuple[str, Tensor]] = {}
    for name, tensor in rest.items():
        short, prefixes = _bare(name, behind)
        target = targets.get(short, "")
        if target and name.endswith(target):  # what stands before the whole name, and no more, is taken off
            prefixes = [each for each in [name.removesuffix(target)] if each]
        taken.update(dict.fromkeys(prefixes))
        known = bare.get(short)
        if known is not None and not torch.equal(known[1], tensor):
            raise ConfigError(
                f"{where}: {plain(known[0])} and {plain(name)} are two different tensors for {plain(short)}; "
                "allowed: the weights of one network"
            )
        bare.setdefault(short, (name, tensor))
    bare, renamed = _renamed(bare, targets)
    misfit = _misfit(bare, {short: wanted[name] for short, name in targets.items()})
    if misfit:
        raise ConfigError(f"{where}: {misfit}")
    state = {
        name: bare[short][1].clone() if short in bare else torch.zeros_like(wanted[name])
        for short, name in targets.items()
    }
    return Fitted(state, mean, std, (*taken, *renamed))


def _bare(name: str, behind: bool) -> tuple[str, list[str]]:
    """``name`` without what wrappers put in front, and those; ``behind`` a normalisation there is a place, too."""
    taken: list[str] = []
    while True:
        first = next((each for each in PREFIXES if name.startswith(each) and name != each), None)
        if first is None and behind and name.startswith(IN_SEQUENCE):
            first, behind = IN_SEQUENCE, False
        if first is None:
            return name, taken
        taken.append(first)
        name = name.removeprefix(first)


def _renamed(
    bare: Mapping[str, tuple[str, Tensor]], targets: Mapping[str, str]
) -> tuple[dict[str, tuple[str, Tensor]], list[str]]:
    """The same under the network's names, where it has none of theirs."""
    found: dict[str, tuple[str, Tensor]] = {}
    said: dict[str, None] = {}
    for short, each in bare.items():
        other = short
        for old, new in RENAMES:
            if short not in targets and old in short and (changed := short.replace(old, new)) in targets:
                other = changed
                said[f"{old} → {new}"] = None
        found[other] = each
    return found, list(said)


def _normalisation(
    found: Mapping[str, Tensor], channels: int, where: str
) -> tuple[Tensor | None, Tensor | None, dict[str, Tensor]]:
    """Mean and deviation (C,) that the file keeps for its images, and all other tensors."""
    parts: dict[str, Tensor] = {}
    rest: dict[str, Tensor] = {}
    for name, tensor in found.items():
        match = NORMALISER.match(name)
        if match is None or tensor.numel() not in (1, channels):
            rest[name] = tensor
            continue
        kind = {"mu": "mean", "sigma": "std"}.get(word := next(filter(None, match.groups())), word)
        value = tensor.float().flatten().expand(channels).clone()
        if kind in parts and not torch.equal(parts[kind], value):
            raise ConfigError(f"{where}: {plain(name)} and another tensor are two different {kind}s of the images")
        parts[kind] = value
    if len(parts) == 1:
        raise ConfigError(
            f"{where}: it holds a {next(iter(parts))} of the images alone; allowed: mean and std, or none"
        )
    if "std" in parts and not bool((parts["std"] > 0).all()):
        raise ConfigError(f"{where}: std of the images: got a value that is not above 0")
    return parts.get("mean"), parts.get("std"), rest


def _misfit(bare: Mapping[str, tuple[str, Tensor]], wanted: Mapping[str, Tensor]) -> str:
    missing = [name for name in wanted if name not in bare and not name.endswith(COUNTER)]
    unexpected = [
        original for short, (original, _) in bare.items() if short not in wanted and not short.endswith(COUNTER)
    ]
    misshapen = [
        f"{name} {tuple(bare[name][1].shape)} in place of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in bare and bare[name][1].shape != tensor.shape
    ]
    lists = (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
    parts = [f"{len(names)} {what}: {_listed(names)}" for what, names in lists if names]
    if not parts:
        return ""
    hint = _hint(missing, unexpected)
    return f"it does not fit the network; {'; '.join(parts)}{hint}"


def _hint(missing: Iterable[str], unexpected: Iterable[str]) -> str:
    """Batch norms on one side alone: no renaming helps."""
    theirs, ours = (any("running_mean" in name for name in names) for names in (unexpected, missing))
    if theirs and not ours:
        return "; the file has batch norms that this network has not"
    if ours and not theirs:
        return "; this network has batch norms that the file has not"
    return ""


def _listed(names: list[str]) -> str:
    more = f", … {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(plain(name)[:100] for name in names[:SHOWN]) + more
