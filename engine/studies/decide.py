"""Claims of a run folder, and of the same preset over several seeds, as tables and JSON."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine import worlds
from engine.claims.base import Claim, check
from engine.claims.source import StoreSource
from engine.config.experiment import with_value
from engine.core.files import write_json
from engine.run.store import Store

Progress = Callable[[float, str], None]


def claims_of(folder: Path, *, verify: bool = False, n: int = 1000, progress: Progress | None = None) -> list[Claim]:
    """Decide the claims of the run in ``folder`` and write ``claims.json``; ``verify`` measures the slow part first."""
    if verify:
        from engine.studies.evidence import gather

        gather(folder, n=n, progress=progress)
    store = Store.open(folder, read_only=True)
    try:
        claims = check(StoreSource(store))
    finally:
        store.close()
    write_json(folder / "claims.json", [claim.record() for claim in claims])
    return claims


def table(claims: Sequence[Claim]) -> str:
    """The claims as text: verdict, title, rule and evidence."""
    lines = []
    for claim in claims:
        elsewhere = "" if claim.applies else " (about another kind of run)"
        lines.append(f"{claim.id:>2}  {claim.verdict.upper():<14}{claim.title}{elsewhere}")
        lines.append(f"      rule: {claim.rule}")
        lines += [f"      {figure.text()}" for figure in claim.evidence]
    return "\n".join(lines)


def over_seeds(
    folder: Path, seeds: int, *, verify: bool = False, n: int = 1000, progress: Progress | None = None
) -> list[dict[str, Any]]:
    """Repeat the run's config with seeds 0 … seeds − 1 in ``folder``/seeds and summarise each claim over them.

    A seed whose run is there already, to the end of its schedule, is not trained again. Returns (and writes as
    ``claims-seeds.json``) one record a claim: id, title, rule, how often each verdict was reached, and mean, spread
    (standard deviation), least and greatest of each piece of evidence.
    """

    store = Store.open(folder, read_only=True)
    config = store.config
    store.close()
    total = config.schedule.total
    found: list[list[Claim]] = []
    for seed in range(seeds):

        def tell(share: float, what: str, seed: int = seed) -> None:
            if progress is not None:
                progress((seed + share) / seeds, f"seed {seed}: {what}")

        place = folder / "seeds" / f"seed-{seed}"
        session = worlds.resume(place) if place.exists() else worlds.create(with_value(config, "seed", seed), place)
        try:
            while session.steps_done < total:
                session.step()
                if session.steps_done % 100 == 0:
                    tell(0.5 * session.steps_done / total, f"step {session.steps_done}")
            while session.measuring:
                session.measure()
        finally:
            session.close()
        found.append(claims_of(place, verify=verify, n=n, progress=second_half(tell)))
    records = [_over_seeds([claims[i] for claims in found]) for i in range(len(found[0]))]
    write_json(folder / "claims-seeds.json", records)
    return records


def second_half(progress: Progress) -> Progress:
    """Report shares of a half that follows another."""
    return lambda share, what: progress(0.5 + share / 2, what)


def _over_seeds(claims: Sequence[Claim]) -> dict[str, Any]:
    first = claims[0]
    evidence = []
    for name in dict.fromkeys(figure.name for claim in claims for figure in claim.evidence):
        figures = [figure for claim in claims for figure in claim.evidence if figure.name == name]
        values = [figure.value for figure in figures]
        evidence.append(
            {
                "name": name,
                "n_seeds": len(values),
                "mean": statistics.fmean(values),
                "spread": statistics.stdev(values) if len(values) > 1 else 0.0,
                "least": min(values),
                "greatest": max(values),
                "protocol": figures[0].protocol,
            }
        )
    verdicts = {
        verdict: sum(c.verdict == verdict for c in claims) for verdict in dict.fromkeys(c.verdict for c in claims)
    }
    return {"id": first.id, "title": first.title, "rule": first.rule, "verdicts": verdicts, "evidence": evidence}


def seeds_table(records: Sequence[dict[str, Any]]) -> str:
    """The records of :func:`over_seeds` as text."""
    lines = []
    for record in records:
        verdicts = ", ".join(f"{verdict} in {count}" for verdict, count in record["verdicts"].items())
        lines.append(f"{record['id']:>2}  {record['title']}: {verdicts}")
        lines += [
            f"      {e['name']} = {e['mean']:.3f} ± {e['spread']:.3f} (standard deviation over {e['n_seeds']} seeds)"
            + (f" ({e['protocol']})" if e["protocol"] else "")
            for e in record["evidence"]
        ]
    return "\n".join(lines)
