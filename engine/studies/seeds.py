"""The claims of one config over several seeds: how often each verdict, and the spread of each piece of evidence."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engine.claims.base import Claim, Figure
from engine.config.experiment import with_value
from engine.core.errors import ExplorerError
from engine.core.slices import Progress
from engine.run.store import Store
from engine.studies.base import write_record
from engine.sweeps.executor import After, training_job
from engine.sweeps.together import together

FILE = "claims-seeds.json"


@dataclass(frozen=True)
class EvidenceSpread:
    """A piece of evidence over seeds; ``spread`` is the standard deviation."""

    name: str
    n_seeds: int
    mean: float
    spread: float
    least: float
    greatest: float
    protocol: str


@dataclass(frozen=True)
class ClaimOverSeeds:
    """One claim as ``claims-seeds.json`` holds it: how often each verdict was reached, and its evidence."""

    id: int
    title: str
    rule: str
    verdicts: dict[str, int]
    evidence: tuple[EvidenceSpread, ...]


def over_seeds(
    folder: Path, seeds: int, after: After, decide: Callable[[Path], Sequence[Claim]], progress: Progress, jobs: int = 1
) -> tuple[ClaimOverSeeds, ...]:
    """Repeat the run's config with seeds 0 … seeds − 1 in ``folder``/seeds, ``decide`` the claims of each, and sum up.

    ``jobs`` are trained at a time, each in a process of its own; ``after`` measures what claims need. A seed whose run
    is there already, to the end of its schedule, is not trained again. Writes ``claims-seeds.json``. Raises
    :class:`ExplorerError` if training diverges.
    """
    with closing(Store.open(folder, read_only=True)) as store:
        config = store.config
    places = [folder / "seeds" / f"seed-{seed}" for seed in range(seeds)]
    work = [
        training_job(f"seed {seed}", place, with_value(config, "seed", seed), after)
        for seed, place in enumerate(places)
    ]
    for job, ended in zip(work, together(work, jobs, progress), strict=True):
        if ended["state"] != "finished":
            raise ExplorerError(f"{job.name}: {ended['reason']}")
    records = tuple(_over_seeds(claims) for claims in zip(*map(decide, places), strict=True))
    write_record(folder / FILE, tuple[ClaimOverSeeds, ...], records)
    return records


def _over_seeds(claims: Sequence[Claim]) -> ClaimOverSeeds:
    first = claims[0]
    by_name: dict[str, list[Figure]] = {}
    for claim in claims:
        for figure in claim.evidence:
            by_name.setdefault(figure.name, []).append(figure)
    verdicts = [claim.verdict for claim in claims]
    return ClaimOverSeeds(
        first.id,
        first.title,
        first.rule,
        {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)},
        tuple(_spread(name, [f.value for f in figures], figures[0].protocol) for name, figures in by_name.items()),
    )


def _spread(name: str, values: list[float], protocol: str) -> EvidenceSpread:
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return EvidenceSpread(name, len(values), statistics.fmean(values), spread, min(values), max(values), protocol)


def seeds_table(records: Sequence[ClaimOverSeeds]) -> str:
    """The records as text."""
    lines = []
    for record in records:
        verdicts = ", ".join(f"{verdict} in {count}" for verdict, count in record.verdicts.items())
        lines.append(f"{record.id:>2}  {record.title}: {verdicts}")
        lines += [
            f"      {e.name} = {e.mean:.3f} ± {e.spread:.3f} (standard deviation over {e.n_seeds} seeds)"
            + (f" ({e.protocol})" if e.protocol else "")
            for e in record.evidence
        ]
    return "\n".join(lines)
