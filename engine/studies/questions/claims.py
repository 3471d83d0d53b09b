"""The paper's claims decided on a run, and on the same config over several seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from engine.claims.base import Claim, Figure, Part, Verdict, check, parts_text
from engine.claims.source import StoreSource
from engine.core.errors import ConfigError
from engine.core.slices import Progress, silent
from engine.run.access import check_writable, writable
from engine.run.store import Store
from engine.studies.base import RunFolder, Study, check_samples, studies, write_record
from engine.studies.sanity_warnings import read_warnings
from engine.studies.seeds import ClaimOverSeeds, over_seeds, seeds_table

MOST_SEEDS = 1000


@dataclass(frozen=True)
class ClaimRecord:
    """One claim as ``claims.json`` holds it."""

    id: int
    title: str
    verdict: Verdict
    rule: str
    evidence: tuple[Figure, ...]
    parts: tuple[Part, ...] = ()


@studies.register("claims")
class ClaimsStudy(Study[Any]):
    """Decide the paper's claims on a run, print the table and write claims.json (with --seeds claims-seeds.json)."""

    file = "claims.json"
    made_by = "claims {} --verify"
    record = tuple[ClaimRecord, ...]

    @property
    def options(self) -> Callable[..., object]:
        """Those of :meth:`run`."""
        return self.run

    def run(  # type: ignore[override]
        self,
        folder: RunFolder,
        *,
        verify: Annotated[
            bool, "First measure the slow figures: verified evaluation, baselines, transfer, low rank."
        ] = False,
        n: Annotated[int, "Held-out samples of the slow figures."] = 1000,
        seeds: Annotated[
            int, "Repeat the run's config with seeds 0 … N−1, below DIR/seeds; print mean and spread."
        ] = 0,
        jobs: Annotated[int, "With --seeds, runs at a time, each in a process of its own."] = 1,
        progress: Progress = silent,
    ) -> Sequence[Claim] | Sequence[ClaimOverSeeds]:
        """Decide the claims, or with ``seeds`` those of the repeated runs; ``verify`` measures the slow part first.

        Decided is from what the store holds already, and what is measured first records itself.
        """
        check_samples(n)
        if not 0 <= seeds <= MOST_SEEDS:
            raise ConfigError(f"--seeds: got {seeds}; allowed: a whole number from 0 to {MOST_SEEDS}")
        if seeds or verify:
            check_writable(folder)
        if seeds:
            measure = (f"{__name__}:claims_of", {"verify": verify, "n": n})
            return over_seeds(folder, seeds, measure, claims_of, progress, jobs)
        if jobs != 1:
            raise ConfigError("--jobs: got a number without --seeds; allowed: with it")
        return claims_of(folder, verify=verify, n=n, progress=progress)

    def table(self, record: Any) -> str:
        """The claims with rule and evidence; of several seeds how often each verdict was reached."""
        return seeds_table(record) if isinstance(record[0], ClaimOverSeeds) else table(record)

    def notes(self, folder: Path, record: Any) -> list[str]:
        """The sanity warnings of the last verification."""
        if isinstance(record[0], ClaimOverSeeds):
            return []
        kept = [] if writable(folder) else [f"not kept in {self.file}: {folder} may only be read"]
        warnings = read_warnings(folder)
        return kept + [f"WARNING at step {w.step}: {w.text} ({w.evidence})" for w in warnings]


def claims_of(folder: Path, *, verify: bool = False, n: int = 1000, progress: Progress = silent) -> list[Claim]:
    """Decide the claims of the run in ``folder``; ``verify`` measures the slow part first.

    They are written to ``claims.json``, unless the folder may only be read.
    """
    if verify:
        from engine.studies.evidence import gather

        gather(folder, n=n, progress=progress)
    with closing(Store.open(folder, read_only=True)) as store:
        claims = check(StoreSource(store))
    records = tuple(ClaimRecord(c.id, c.title, c.verdict, c.rule, c.evidence, c.parts) for c in claims)
    if writable(folder):
        write_record(folder / ClaimsStudy.file, ClaimsStudy.record, records)
    return claims


def read_claims(folder: Path) -> tuple[ClaimRecord, ...]:
    """The claims of the run in ``folder`` as decided last; errors as in :meth:`Study.read`."""
    records: tuple[ClaimRecord, ...] = ClaimsStudy.read(folder)
    return records


def checked_at(records: Sequence[ClaimRecord]) -> int:
    """The newest step that any evidence of ``records`` comes from."""
    return max((figure.step for record in records for figure in record.evidence), default=0)


def table(claims: Sequence[Claim]) -> str:
    """The claims as text: verdict, title, rule and evidence."""
    lines = []
    for claim in claims:
        elsewhere = "" if claim.applies else " (about another kind of run)"
        lines.append(f"{claim.id:>2}  {claim.verdict.upper():<14}{claim.title}{elsewhere}")
        lines.append(f"      rule: {claim.rule}")
        if claim.parts:
            lines.append(f"      {parts_text(claim.parts)}")
        lines += [f"      {claim.waits}"] if claim.waits else []
        lines += [f"      {figure.text()}" for figure in claim.evidence]
    return "\n".join(lines)
