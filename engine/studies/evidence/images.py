"""The slow figures that the claims about a network on images need.

Five pieces: the verified evaluation of the clean-phase and the newest weights, local purification of two layers, the
adversarial phase at a low rank beside the full one, the baselines, where images have no more than ``PIXELS`` values,
and the transfer of perturbations between seeds. What was measured at the newest step already is not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from math import prod
from pathlib import Path

from engine.claims.images import IMAGE_RANK
from engine.core import metrics
from engine.core.slices import Progress, finish
from engine.data.images import BOX
from engine.images.config import ImageConfig
from engine.images.loading import ImageNetwork
from engine.probes.autoattack import autoattack
from engine.probes.layers import chunk_of
from engine.run.store import Store
from engine.studies.base import Scalars, accuracies, part, record_scalars
from engine.studies.questions.comparison import ComparisonStudy
from engine.studies.questions.local import LocalStudy
from engine.studies.questions.low_rank import RankStudy
from engine.studies.questions.transfer import TransferStudy

PIXELS = 1024  # for larger images the baselines take longer than all else; ``race DIR`` trains them all the same


def gather(folder: Path, clean_end: int, relative_radii: Sequence[float], n: int, progress: Progress) -> None:
    """Measure and record everything for the newest checkpoint; clean training ended at step ``clean_end``."""
    now = ImageNetwork.load(folder)
    networks = [(ImageNetwork.load(folder, clean_end), 0.0), *([(now, 0.2)] if now.step != clean_end else [])]
    for network, start in networks:
        tell = part(progress, start, start + 0.2, f"step {network.step}: ")
        record_scalars(folder, network.step, _verified(network, now.config, relative_radii, n, tell))
    schedule = now.config.schedule
    if not schedule.second_steps or schedule.second != "adversarial":
        return  # there is no adversarial phase to repeat: claims 6, 8, 9 and 10 stay unmeasured
    trained = now.config.imported is None  # else nobody knows how to train as the run was trained
    if trained and not _measured(folder, now.step, "local/", "/share", at_least=2):
        LocalStudy().run(folder, n=n, progress=part(progress, 0.4, 0.6, "local: "))
    if trained and not _measured(folder, now.step, metrics.rank("robust", IMAGE_RANK), "", at_least=1):
        RankStudy().run(folder, rank=(IMAGE_RANK, 0), n=n, progress=part(progress, 0.6, 0.8, "low rank: "))
    measured = _measured(folder, now.step, "rival/robust/", "", at_least=1)
    if prod(now.facts.shape) <= PIXELS and not measured:
        ComparisonStudy().run(folder, n=n, progress=part(progress, 0.8, 0.9, "baselines: "))
    if now.config.local.layer:
        return  # another seed would have to draw that layer again, too
    other = "other_clean" if trained else "now"  # of imported weights there is no other seed
    if not _measured(folder, now.step, metrics.transfer("clean", other), "", at_least=1):
        TransferStudy().run(folder, n=n, progress=part(progress, 0.9, 1.0, "transfer: "))


def _measured(folder: Path, step: int, prefix: str, suffix: str, *, at_least: int) -> bool:
    with closing(Store.open(folder, read_only=True)) as store:
        names = [name for name in store.names() if name.startswith(prefix) and name.endswith(suffix)]
        return sum(step in store.series(name).steps for name in names) >= at_least


def _verified(
    network: ImageNetwork, config: ImageConfig, relative_radii: Sequence[float], n: int, tell: Progress
) -> Scalars:
    attack, (x, y) = config.attack, network.held_out(n)
    radii = [share * attack.tau for share in relative_radii]
    chunk = chunk_of(x.shape)
    work = autoattack(network.classifier(), x, y, attack.norm, radii, config.seed, box=BOX, chunk=chunk, progress=tell)
    found = finish(work)
    rows = {"verified/clean": found.clean}
    for at in found.radii:
        named = at.attacks | {"worst": at.worst}
        rows |= {f"verified/{name}@{at.tau:g}": measured for name, measured in named.items()}
    return accuracies(rows, rows.values())
