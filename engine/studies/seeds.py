"""The claims of one config over several seeds: how often each verdict, and the spread of each piece of evidence."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engine.claims.base import Claim, Figure
from engine.config.experiment import Config, with_value
from engine.core.slices import Progress
from engine.run.store import Store
from engine.studies.base import part, write_record

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
    folder: Path, seeds: int, decide: Callable[[Path, Progress], Sequence[Claim]], progress: Progress
) -> tuple[ClaimOverSeeds, ...]:
    """Repeat the run's config with seeds 0 … seeds − 1 in ``folder``/seeds, ``decide`` the claims of each, and sum up.

    A seed whose run is there already, to the end of its schedule, is not trained again. Writes ``claims-seeds.json``.
    """
    with closing(Store.open(folder, read_only=True)) as store:
        config = store.config
    found: list[Sequence[Claim]] = []
    for seed in range(seeds):
        tell = part(progress, seed / seeds, (seed + 1) / seeds, f"seed {seed}: ")
        place = folder / "seeds" / f"seed-{seed}"
        train_to_the_end(place, with_value(config, "seed", seed), part(tell, 0.0, 0.5))
        found.append(decide(place, part(tell, 0.5, 1.0)))
    records = tuple(_over_seeds(claims) for claims in zip(*found, strict=True))
    write_record(folder / FILE, tuple[ClaimOverSeeds, ...], records)
    return records


def train_to_the_end(folder: Path, config: Config, progress: Progress) -> None:
    """Go through the whole schedule of ``config`` in ``folder``, from where a run there has stopped."""
    from engine import worlds

    total = config.schedule.total
    with closing(worlds.resume(folder) if folder.exists() else worlds.create(config, folder)) as session:
        while session.steps_done < total:
            session.step()
            if session.steps_done % 100 == 0:
                progress(session.steps_done / total, f"step {session.steps_done}")
        while session.measuring:
            session.measure()


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
