"""The certificate's time over that of the eigenvalue problems that it would need without its shortcuts."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import torch

from engine import worlds
from engine.config.experiment import from_dict, to_dict
from engine.config.presets import load_preset
from engine.probes.certificate import lower_bounds
from engine.theory.loading import TheoryNetwork
from tests.bench.measure import FULL, Result, Sizes, interleave

D, M = 100, 1000
RADII = (0.05, 0.1, 0.15, 0.2)


def trained(steps: int) -> list[TheoryNetwork]:
    """The networks at both phases' ends of a shortened run of SPEC.md section 5."""
    data = to_dict(load_preset("small"))
    data["device"] = "cpu"
    data["world"].update(d=D, dictionary="random")
    data["model"].update(m=M, b_end=0.3, sigma_rho=0.1)
    data["training"]["lr"] = 2.0
    data["schedule"].update(clean_steps=steps, second_steps=steps)
    data["evaluation"]["every"] = 10 * steps
    folder = Path(tempfile.mkdtemp(prefix="bench-")) / "run"
    session = worlds.create(from_dict(data), folder)
    while not session.finished:
        session.step()
    session.close()
    return [TheoryNetwork.load(folder, step) for step in (steps, 2 * steps)]


def run(sizes: Sizes = FULL) -> list[Result]:
    """Some samples at four radii, both bounds for every sample, against torch.linalg.eigh of as many d × d matrices."""
    results, count = [], sizes.certificate_samples
    for network, phase in zip(trained(sizes.certificate_steps), ("clean", "adversarial"), strict=True):
        weight = network.model.weight
        x, y = network.held_out.take(count, network.config.world.sigma_x)
        matrices = torch.stack([(weight[i : i + D].T @ weight[i : i + D]).double() for i in range(count)])

        def ours(network: TheoryNetwork = network, x: torch.Tensor = x, y: torch.Tensor = y) -> float:
            start = time.perf_counter()
            for tau in RADII:
                lower_bounds(network.model.weight, network.model.bias, x, y, tau)
            return time.perf_counter() - start

        def eigenvalues(matrices: torch.Tensor = matrices) -> float:
            start = time.perf_counter()
            for _ in RADII:
                torch.linalg.eigh(matrices)
            return time.perf_counter() - start

        mine, bare = interleave([ours, eigenvalues], sizes.certificate_rounds)
        title = f"certificate after the {phase} phase, {len(RADII)} radii / eigh of as many Q, time"
        results.append(Result(title, mine.over(bare), aim="<= 3.0"))
    return results
