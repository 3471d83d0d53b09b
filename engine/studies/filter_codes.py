"""Images and perturbations rebuilt from the filters of a run's first layer, at three moments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.results import LayerInfo
from engine.core.slices import Progress, finish
from engine.data.images import BOX
from engine.images.loading import Moment
from engine.models.layers import layers
from engine.probes import sparse_code
from engine.probes.layers import chunk_of
from engine.probes.robustness import Measured, build
from engine.studies.base import MOST as MOST_INPUTS
from engine.studies.clean_end import CleanEnd, Stages, Tell

MOST = 128  # filters that are tried
NETS: tuple[Moment, ...] = ("clean", "now")  # whose perturbations are rebuilt
FILTERS: tuple[Moment, ...] = ("now", "clean", "start")
NAMES = {"now": "purified", "clean": "clean", "start": "start's"}
COSTS = {"omp": 0.5, "lasso": 3.0}  # of rebuilding, roughly, in units of one attack
INPUTS = {"omp": MOST_INPUTS, "lasso": 50}  # that are rebuilt at most: a Lasso path takes long


@dataclass(frozen=True)
class Coded:
    """One kind of ``vectors`` rebuilt from the filters of one moment by one method.

    ``errors`` (inputs, K + 1) are relative, with 0 … K filters; inputs whose vectors are zero are left out.
    """

    vectors: str
    filters: Moment
    method: str
    errors: NDArray[np.float64]


@dataclass(frozen=True)
class FilterCodes:
    """All that was rebuilt: from ``layer``, on ``patches`` of ``values`` numbers an input.

    ``atoms`` are the alive filters and ``robust`` the accuracy under the perturbations, both by moment.
    """

    end: CleanEnd
    protocol: Measurement
    layer: LayerInfo
    patches: int
    values: int
    atoms: Mapping[Moment, int]
    robust: Mapping[Moment, Measured]
    coded: tuple[Coded, ...]


def filter_codes(folder: Path, n: int, progress: Progress) -> FilterCodes:
    """Rebuild the first ``n`` held-out images, what PGD adds to them, and random vectors; errors of the run's study.

    PGD is that of the run's reports; it attacks every image, right or wrong.
    """
    end = CleanEnd.load(folder, n)
    known = [moment for moment in FILTERS if moment != "start" or end.network.has_start]
    stages = Stages(progress, [1.0, 1.0, *(COSTS[method] for _ in known for method in sparse_code.METHODS)])
    _, protocol = end.protocols
    network = end.network.network("now")
    first = layers(network)[0]
    channels = _channels(end, first.matrix.shape[1])
    seen = sparse_code.given(network, first, end.x)
    vectors, robust = {"image": seen}, {}
    for moment in NETS:
        tell = stages.begin(f"attacking the {NAMES[moment]} network")
        delta, robust[moment] = perturb(end, moment, protocol, tell)
        vectors[moment] = sparse_code.given(network, first, end.x + delta) - seen
    generator = seeded(end.config.seed, "sparse codes random")
    vectors["random"] = torch.randn(seen.shape, generator=generator, dtype=torch.float64)
    targets = {name: sparse_code.centred(each, channels) for name, each in vectors.items()}
    coded, counts = [], {}
    for moment in known:
        weights = layers(end.network.network(moment))[0].matrix
        atoms = sparse_code.dictionary(weights, channels)
        counts[moment] = len(atoms)
        most = min(MOST, len(atoms), seen.shape[-1] - channels)
        for method, rebuild in sparse_code.METHODS.items():
            tell = stages.begin(f"{NAMES[moment]} filters: {rebuild.__name__.replace('_', ' ')}")
            some = torch.stack([each[: INPUTS[method]] for each in targets.values()])
            with _one_thread():
                left = finish(rebuild(atoms, some.flatten(0, 2), most), tell).reshape(*some.shape[:3], -1)
            errors = [sparse_code.relative_errors(each) for each in left]
            coded += [Coded(name, moment, method, each) for name, each in zip(targets, errors, strict=True)]
    return FilterCodes(end, protocol, first.info, seen.shape[1], seen.shape[2], counts, robust, tuple(coded))


def perturb(end: CleanEnd, moment: Moment, protocol: Measurement, tell: Tell) -> tuple[Tensor, Measured]:
    """What the attack of ``protocol`` adds to the held-out images against the network of ``moment``; δ like them.

    With it comes the accuracy under these perturbations, of images that are right without them.
    """
    model = end.network.classifier(moment)
    attack = build(protocol, None, BOX)
    assert attack is not None
    generator = seeded(end.config.seed, f"sparse codes {moment} {protocol.text()}", end.x.device)
    delta, right = torch.zeros_like(end.x), 0
    chunk = chunk_of(end.x.shape)
    for start in range(0, len(end.y), chunk):
        rows = slice(start, start + chunk)
        x, y = end.x[rows], end.y[rows]
        delta[rows] = finish(attack.slices(model, x, y, generator))
        right += int(((model.margin(x, y) > 0) & (model.margin(x + delta[rows], y) > 0)).sum())
        tell(min(1.0, (start + chunk) / len(end.y)))
    return delta, Measured(right, protocol)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside, torch and the BLAS of numpy and scipy compute on one core.

    For thousands of small products more cores only wait for each other: three times the CPU time for a Lasso.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(threads)


def _channels(end: CleanEnd, values: int) -> int:
    """Channels in what the first layer is given: those of the images, if it is given all their pixels or a patch."""
    channels, height, width = end.network.facts.shape
    first = end.network.layers[0]
    if first.kind == "conv":
        return first.shape[1]
    return channels if values == prod((channels, height, width)) else 1
