"""The caption of a sweep's figure: what is shown, on how many seeds it rests, what is missing, how it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.compare.sweeps.curves import seeds_words
from engine.compare.sweeps.declare import SweptQuantity
from engine.compare.sweeps.places import SweepLayout
from engine.compare.sweeps.values import SeedCell
from engine.core.measurement import Measurement
from engine.core.quoting import plain
from engine.sweeps.record import text_of, words
from engine.sweeps.results import STATES, SweepResults, SweepRow

MOST_TOLD = 8  # places or runs that are named one by one
Protocols = Mapping[str, tuple[Measurement, ...]]  # by the run's name, in the order of their use


def listed(parts: Sequence[str], what: str) -> str:
    """The parts, the first few if there are many."""
    more = f"; and {len(parts) - MOST_TOLD} more {what}" if len(parts) > MOST_TOLD else ""
    return "; ".join(parts[:MOST_TOLD]) + more


def seeds_line(layout: SweepLayout, cells: Sequence[tuple[SweptQuantity, SeedCell]], what: str) -> str:
    """On how many seeds each cell or point rests, and which rest on fewer."""
    seeds = sorted({row.seed for row in layout.rows})
    number = "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    text = f"Each {what} rests on {number} ({seeds_words(seeds).partition(' ')[2]})"
    fewer: dict[str, list[str]] = {}
    for quantity, cell in cells:
        if cell.rows and cell.n < len(cell.rows):
            where = words(cell.rows[0].values) or "all runs"
            told = f"{where}: {cell.n} of {len(cell.rows)} ({_without(cell)})"
            fewer.setdefault(told, []).append(quantity.label)
    total = len({quantity for quantity, _ in cells})
    parts = [f"{told}, {', '.join(of)}" if len(of) < total else told for told, of in fewer.items()]
    return f"{text}{', but ' + listed(parts, 'in the table of means') if parts else ''}."


def _without(cell: SeedCell) -> str:
    """The states of the runs without a value."""
    states = [
        row.state if row.state != "finished" else "not measured"
        for row, figure in zip(cell.rows, cell.figures, strict=True)
        if figure is None
    ]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def states_line(rows: Sequence[SweepRow]) -> str:
    """How the runs stand, those that ended without a figure with their reason."""
    counts = {state: sum(row.state == state for row in rows) for state in STATES}
    told = ", ".join(f"{n} {state}" for state, n in counts.items() if n)
    lost = [f"{row.name}: {plain(row.reason)}" for row in rows if row.state in ("failed", "diverged") and row.reason]
    return f"{len(rows)} runs: {told}.{' ' + listed(lost, 'in results.csv') + '.' if lost else ''}"


def protocol_lines(
    layout: SweepLayout, quantities: Sequence[SweptQuantity], protocols: Mapping[SweptQuantity, Protocols]
) -> list[str]:
    """How each quantity was measured: once, by the values of the knob that decides it, or by runs."""
    lines = []
    for quantity in quantities:
        of = {name: ", then ".join(how.text() for how in hows) for name, hows in protocols[quantity].items()}
        used: dict[str, list[SweepRow]] = {}
        for row in layout.rows:
            if of.get(row.name):
                used.setdefault(of[row.name], []).append(row)
        if len(used) == 1:
            lines.append(f"Protocol, {quantity.label}: {next(iter(used))}.")
        elif used:
            each = [f"{_which(rows, used)}: {text}" for text, rows in used.items()]
            lines.append(f"Protocol, {quantity.label}, DIFFERS between the runs: {listed(each, 'in the table')}.")
        else:
            lines.append(f"Protocol, {quantity.label}: computed from the weights, no attack enters.")
    return lines


def _which(rows: Sequence[SweepRow], used: Mapping[str, Sequence[SweepRow]]) -> str:
    """The runs of one protocol by the value of a knob that no others have, else by their names."""
    for path in rows[0].values:
        own = {text_of(row.values[path]) for row in rows}
        others = {text_of(row.values[path]) for each in used.values() if each is not rows for row in each}
        if not own & others:
            return f"{path} {' / '.join(own if len(own) == 1 else sorted(own))}"
    return ", ".join(row.name for row in rows[:3]) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")


def provenance(results: SweepResults, layout: SweepLayout) -> list[str]:
    """What was swept, and what all runs have in common."""
    sweep = results.sweep
    first = sweep.config_of(sweep.runs[0])
    schedule = first.schedule
    grid = [f"{path} in {' / '.join(map(text_of, values))}" for path, values in sweep.grid.items()]
    swept = f"Swept: {'; '.join([*grid, seeds_words(sweep.seeds)])}."
    settings = words({path: value for path, value in sweep.settings.items() if value is not None})
    drawn = "" if len(layout.rows) == len(sweep.runs) else f" Of {len(sweep.runs)} runs {len(layout.rows)} are drawn."
    return [
        f"{swept}{drawn}",
        f"Preset {plain(sweep.preset)}{f' with {settings}' if settings else ''}; its first run: {first.describe()}, "
        f"{schedule.clean_steps} steps of clean training, then {schedule.second_steps} of the second phase.",
        f"Sweep {results.folder.name}; {', '.join(f'{name} {found}' for name, found in sweep.versions.items())}.",
    ]
