"""The slow figures that the claims about the world of the theory need.

Four pieces: the verified evaluation of the clean-phase and the newest weights, the baselines, the transfer of
perturbations, and the low-rank adversarial phase.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from engine.core.generators import seeded
from engine.core.measurement import Measurement
from engine.core.slices import Progress, finish
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.low_rank import without_direction
from engine.probes.robustness import accuracy
from engine.studies.base import Scalars, accuracies, part, record_scalars, write_record
from engine.studies.baseline_training import run_baselines
from engine.studies.clean_end import protocols
from engine.studies.questions.comparison import baseline_scalars
from engine.studies.rank_phases import robust_vs_rank
from engine.studies.sanity import check, probe
from engine.studies.sanity_warnings import WARNINGS, Warned
from engine.studies.transfer import CLEAN, NOW, OTHER, between_phases_and_starts
from engine.studies.verify import verify
from engine.theory.config import SparseCodingConfig
from engine.theory.loading import TheoryNetwork

RANK = 4  # of the low-rank phase that claim 9 compares with the unrestricted one


def gather(folder: Path, clean_end: int, relative_radii: Sequence[float], n: int, progress: Progress) -> None:
    """Measure and record everything for the newest checkpoint; clean training ended at step ``clean_end``."""
    now, clean = TheoryNetwork.load(folder), TheoryNetwork.load(folder, clean_end)
    config, step, world = now.config, now.step, now.held_out.world
    x, y = now.held_out.take(n, config.world.sigma_x)
    warnings: list[Warned] = []
    for network, start in ((clean, 0.0), (now, 0.15)) if step != clean_end else ((clean, 0.0),):
        tell = part(progress, start, start + 0.15, f"step {network.step}: ")
        scalars, found = _verified(network, config, x, y, relative_radii, tell)
        record_scalars(folder, network.step, scalars)
        warnings += found
    baselines = run_baselines(config, world=world, n=len(y), network=now.model)
    tell = part(progress, 0.3, 0.75, "baselines: ")
    record_scalars(folder, step, baseline_scalars(finish(baselines, lambda at: tell(at.fraction, at.text))))
    record_scalars(folder, step, _transfer(now, clean, clean_end, x, y, part(progress, 0.75, 0.85)))
    record_scalars(folder, step, _low_rank(now, clean, clean_end, x, y, part(progress, 0.85, 1.0)))
    write_record(folder / WARNINGS, tuple[Warned, ...], tuple(warnings))


def _verified(
    network: TheoryNetwork,
    config: SparseCodingConfig,
    x: Tensor,
    y: Tensor,
    relative_radii: Sequence[float],
    tell: Progress,
) -> tuple[Scalars, list[Warned]]:
    """By the knobs of now, ``config``, whichever the network was trained with: the figures, and what is odd in them."""
    norm, tau, seed = config.attack.norm, config.attack.tau, config.seed
    radii = [share * tau for share in relative_radii]
    found = finish(verify(network.model, network.held_out.world, x, y, norm, radii, seed, progress=tell))
    tell(1.0, "sanity checks")
    measured_twice = finish(probe(network.model, x, y, norm, tau, seed))
    rows = {"verified/clean": found.clean}
    for at in found.radii:
        bounds = {"worst": at.worst, "certified": at.certified, "oracle": at.oracle}
        named = {m.protocol.attack: m for m in at.attacks} | {k: m for k, m in bounds.items() if m is not None}
        rows |= {f"verified/{name}@{at.tau:g}": measured for name, measured in named.items()}
    return accuracies(rows, rows.values()), [
        Warned(step=network.step, **asdict(warning)) for warning in check(found, measured_twice)
    ]


def _transfer(
    now: TheoryNetwork, clean: TheoryNetwork, clean_end: int, x: Tensor, y: Tensor, tell: Progress
) -> Scalars:
    attack, world = now.config.attack, now.held_out.world
    protocol = Measurement("fgm", attack.norm, attack.tau, 1, 1, len(y))
    work = between_phases_and_starts(now.config, world, clean.model, now.model, clean_end, x, y, protocol)
    found = finish(work, lambda share: tell(share, "transfer of perturbations"))
    named = (("own", CLEAN), ("other", OTHER), ("purified", NOW))
    return [(f"transfer/{name}", found.accuracy(CLEAN, net), protocol) for name, net in named]


def _low_rank(
    now: TheoryNetwork, clean: TheoryNetwork, clean_end: int, x: Tensor, y: Tensor, tell: Progress
) -> Scalars:
    schedule = now.config.schedule
    if not schedule.second_steps or schedule.second != "adversarial":
        return []  # there is no adversarial phase to restrict: claim 9 stays unmeasured
    _, protocol = protocols(now.config, len(y))  # as the reports of the run, and at every rank the same
    start, ranks = clean.model.weight, (RANK, 0)
    work = robust_vs_rank(now.config, now.held_out.world, start, clean_end, x, y, ranks, protocol)
    found = finish(work, lambda share: tell(0.9 * share, "low-rank adversarial training"))
    direction = now.held_out.world.dense_direction
    by_hand = SymmetricRelu(without_direction(start, direction), clean.model.bias)
    untrained = {}
    for name, model in (("clean", clean.model), ("removed", by_hand)):
        generator = seeded(now.config.seed, "rank attack", x.device)  # as every rank is attacked
        untrained[name] = finish(accuracy(model, x, y, protocol, direction, generator)).accuracy
    tell(1.0, "the dense direction taken out by hand")
    return [
        *((f"low_rank/robust_{name}", value, protocol) for name, value in untrained.items()),
        ("low_rank/robust", float(found.right[0]) / protocol.n, protocol),
        ("low_rank/robust_full", float(found.right[1]) / protocol.n, protocol),
        ("low_rank/rank_used", float(RANK), None),
        ("low_rank/cosine_used", float(found.cosine[0]), None),
    ]
