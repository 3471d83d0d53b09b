"""The slow figures that the claims need, measured on a run folder and recorded in its store with their protocols.

In the world of the theory four pieces: the verified evaluation of the clean-phase and the newest weights, the rivals,
the transfer of perturbations, and the low-rank adversarial phase. On images see :mod:`engine.studies.image_evidence`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from engine.claims.base import Facts
from engine.claims.source import StoreSource
from engine.config.experiment import SPARSE_CODING
from engine.core.errors import ConfigError
from engine.core.files import write_json
from engine.core.measurement import Measurement
from engine.core.slices import finish
from engine.run.store import Store
from engine.studies.baselines import run_baselines
from engine.studies.comparison import record
from engine.studies.files import WARNINGS
from engine.studies.low_rank import robust_vs_rank
from engine.studies.sanity import check, probe
from engine.studies.transfer import CLEAN, NOW, OTHER, between_phases_and_starts
from engine.studies.verify import verify
from engine.theory.loading import TheoryNetwork

RANK = 4  # of the low-rank phase that claim 9 compares with the unrestricted one
RELATIVE_RADII = (0.5, 1.0)  # of tau, at which networks are verified

Progress = Callable[[float, str], None]
T = TypeVar("T")


def gather(folder: Path, *, n: int = 1000, progress: Progress | None = None) -> None:
    """Measure and record everything for the newest checkpoint of the run in ``folder``.

    ``progress`` hears the share done and what is under way. Raises :class:`ConfigError` for a run whose clean phase has
    not ended: there is nothing to compare yet.
    """
    store = Store.open(folder)
    try:
        clean_end = Facts(StoreSource(store)).clean_end
        if clean_end is None:
            raise ConfigError(
                f"{folder}: clean training has not ended in this run; train on until the switch of the phase first"
            )
        tell = progress or (lambda share, text: None)
        if store.config.kind == SPARSE_CODING:
            _Gathering(store, clean_end, n, tell).run()
            return
    finally:
        store.close()
    from engine.studies import image_evidence

    image_evidence.gather(folder, clean_end, n=n, progress=tell)
    tell(1.0, "done")


class _Gathering:
    def __init__(self, store: Store, clean_end: int, n: int, progress: Progress) -> None:
        self.store = store
        self.clean_end = clean_end
        self.progress = progress
        self.warnings: list[dict[str, object]] = []
        self.now = TheoryNetwork.load(store.folder)
        self.clean = TheoryNetwork.load(store.folder, clean_end)
        self.config = self.now.config
        self.x, self.y = self.now.held_out.take(n, self.config.world.sigma_x)

    def run(self) -> None:
        """All pieces, one after the other."""
        self._verified(self.clean, 0.0, 0.15)
        if self.now.step != self.clean_end:
            self._verified(self.now, 0.15, 0.3)
        self._rivals(0.3, 0.75)
        self._transfer(0.75, 0.85)
        self._low_rank(0.85, 1.0)
        write_json(self.store.folder / WARNINGS, self.warnings)
        self.progress(1.0, "done")

    def _record(self, step: int, name: str, value: float, protocol: Measurement | None) -> None:
        self.store.record([(step, name, value)])
        if protocol is not None:
            self.store.set_protocol(step, name, protocol)

    def _verified(self, network: TheoryNetwork, start: float, end: float) -> None:
        attack = self.config.attack
        radii = [share * attack.tau for share in RELATIVE_RADII]

        def tell(what: str, share: float) -> None:
            self.progress(start + (end - start) * share, f"step {network.step}: {what}")

        found = finish(
            verify(
                network.model,
                network.held_out.world,
                self.x,
                self.y,
                attack.norm,
                radii,
                self.config.seed,
                progress=tell,
            )
        )
        tell("sanity checks", 1.0)
        measured_twice = finish(probe(network.model, self.x, self.y, attack.norm, attack.tau, self.config.seed))
        self.warnings += [{"step": network.step, **asdict(w)} for w in check(found, measured_twice)]
        self._record(network.step, "verified/clean", found.clean.accuracy, found.clean.protocol)
        for at in found.radii:
            rows = {m.protocol.attack: m for m in at.attacks} | {"worst": at.worst}
            rows |= {k: m for k, m in (("certified", at.certified), ("oracle", at.oracle)) if m is not None}
            for name, measured in rows.items():
                self._record(network.step, f"verified/{name}@{at.tau:g}", measured.accuracy, measured.protocol)

    def _rivals(self, start: float, end: float) -> None:
        work = run_baselines(self.config, world=self.now.held_out.world, n=len(self.y))
        results = finish(work, lambda at: self.progress(start + (end - start) * at.fraction, f"rivals: {at.text}"))
        record(self.store, self.now.step, results)

    def _transfer(self, start: float, end: float) -> None:
        attack, world = self.config.attack, self.now.held_out.world
        protocol = Measurement("fgm", attack.norm, attack.tau, 1, 1, len(self.y))
        work = between_phases_and_starts(
            self.config, world, self.clean.model, self.now.model, self.clean_end, self.x, self.y, protocol
        )
        found = self._through(work, start, end, "transfer of perturbations")
        for name, net in (("own", CLEAN), ("other", OTHER), ("purified", NOW)):
            self._record(self.now.step, f"transfer/{name}", found.accuracy(CLEAN, net), protocol)

    def _low_rank(self, start: float, end: float) -> None:
        attack, knobs = self.config.attack, self.config.schedule
        if not knobs.second_steps or knobs.second != "adversarial":
            return  # there is no adversarial phase to restrict: claim 9 stays unmeasured
        protocol = Measurement("pgd", attack.norm, attack.tau, 40, 1, len(self.y))
        work = robust_vs_rank(
            self.config,
            self.now.held_out.world,
            self.clean.model.weight,
            self.clean_end,
            self.x,
            self.y,
            (RANK, 0),
            protocol,
        )
        found = self._through(work, start, end, "low-rank adversarial training")
        step = self.now.step
        self._record(step, "low_rank/robust", float(found.right[0]) / protocol.n, protocol)
        self._record(step, "low_rank/robust_full", float(found.right[1]) / protocol.n, protocol)
        self._record(step, "low_rank/rank_used", float(RANK), None)
        self._record(step, "low_rank/cosine_used", float(found.cosine[0]), None)

    def _through(self, work: Generator[float, None, T], start: float, end: float, what: str) -> T:
        return finish(work, lambda share: self.progress(start + (end - start) * share, what))
