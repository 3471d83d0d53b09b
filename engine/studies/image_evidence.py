"""The slow figures that the claims about a network on images need, recorded in the run's store with their protocols.

Three pieces: the verified evaluation of the clean-phase and the newest weights, local purification of two layers, and
the adversarial phase at a low rank beside the full one. What was measured at the newest step already is not repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.claims.images import IMAGE_RANK
from engine.core import metrics
from engine.core.measurement import Measurement
from engine.core.slices import finish
from engine.data.images import BOX
from engine.images.loading import ImageNetwork
from engine.probes.autoattack import AutoAttacked, autoattack
from engine.probes.layers import CHUNK
from engine.run.store import Store
from engine.studies.layerwise import local_study
from engine.studies.low_rank import rank_study

RELATIVE_RADII = (0.5, 1.0)  # of tau, at which networks are verified

Progress = Callable[[float, str], None]


def gather(folder: Path, clean_end: int, *, n: int, progress: Progress) -> None:
    """Measure and record everything for the newest checkpoint of the run in ``folder``.

    ``clean_end`` is the step at which clean training ended.
    """
    now = ImageNetwork.load(folder)
    _verified(now, ImageNetwork.load(folder, clean_end), n, 0.0, 0.2, progress)
    if now.step != clean_end:
        _verified(now, now, n, 0.2, 0.4, progress)
    schedule = now.config.schedule
    if not schedule.second_steps or schedule.second != "adversarial":
        return  # there is no adversarial phase to repeat: claims 8 and 9 stay unmeasured
    if not _measured(folder, now.step, "local/", "/share", at_least=2):
        local_study(folder, n=n, progress=lambda share, what: progress(0.4 + 0.3 * share, f"local: {what}"))
    if not _measured(folder, now.step, metrics.rank("robust", IMAGE_RANK), "", at_least=1):
        ranks = (IMAGE_RANK, 0)
        rank_study(folder, ranks, n=n, progress=lambda share, what: progress(0.7 + 0.3 * share, f"low rank: {what}"))


def _measured(folder: Path, step: int, prefix: str, suffix: str, *, at_least: int) -> bool:
    store = Store.open(folder, read_only=True)
    try:
        names = [name for name in store.names() if name.startswith(prefix) and name.endswith(suffix)]
        return sum(step in store.series(name).steps for name in names) >= at_least
    finally:
        store.close()


def _verified(now: ImageNetwork, network: ImageNetwork, n: int, start: float, end: float, progress: Progress) -> None:
    attack = now.config.attack
    x, y = network.held_out(n)

    def tell(what: str, share: float) -> None:
        progress(start + (end - start) * share, f"step {network.step}: {what}")

    radii = [share * attack.tau for share in RELATIVE_RADII]
    work = autoattack(
        network.classifier(), x, y, attack.norm, radii, now.config.seed, box=BOX, chunk=CHUNK, progress=tell
    )
    _record(network, finish(work))


def _record(network: ImageNetwork, found: AutoAttacked) -> None:
    rows: list[tuple[str, float, Measurement]] = [("verified/clean", found.clean.accuracy, found.clean.protocol)]
    for at in found.radii:
        named = at.attacks | {"worst": at.worst}
        rows += [(f"verified/{name}@{at.tau:g}", m.accuracy, m.protocol) for name, m in named.items()]
    store = Store.open(network.folder)
    try:
        store.record([(network.step, name, value) for name, value, _ in rows])
        for name, _, protocol in rows:
            store.set_protocol(network.step, name, protocol)
    finally:
        store.close()
