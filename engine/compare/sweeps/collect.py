"""The figure of a sweep as data: a file's drawing and a window's begin here.

    data = collect(results(folder), VIEW.complete({"kind": "heatmap"}))

It is a :class:`SweepHeatmap`, a :class:`SweepCurves`, or for curves over steps an ordinary :class:`Overlay`.
Importing this imports neither torch nor matplotlib; an attack is asked for its name when a caption names a protocol.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing

import numpy as np

from engine.compare.naming import SeedGroup
from engine.compare.overlay import MOST_LOOKS, STEP, Overlay, OverlayPanel, RunLine, overlay_tables
from engine.compare.record import RecordedRun
from engine.compare.sweeps.curves import SweepCurves, curves_of, seeds_words
from engine.compare.sweeps.declare import QUANTITIES, SweptQuantity
from engine.compare.sweeps.heatmap import SweepHeatmap, heatmap_panels
from engine.compare.sweeps.places import SweepLayout, layout_of
from engine.compare.sweeps.tables import end_lines, long_table, mean_table, step_lines
from engine.compare.sweeps.values import SeedCell, at_end, cell_of
from engine.compare.sweeps.words import protocol_lines, provenance, seeds_line, states_line
from engine.core.errors import ConfigError, StoreError
from engine.figures.base import bounded
from engine.run.store import Store
from engine.studies.base import NotMeasured
from engine.sweeps.results import SweepResults, SweepRow, SweptFigure

SweepFigure = SweepHeatmap | SweepCurves | Overlay


def collect(results: SweepResults, options: Mapping[str, str]) -> SweepFigure:
    """What the complete ``options`` of :data:`engine.compare.sweeps.declare.VIEW` ask for.

    Figures at a phase's end are those of ``results``; other scalars, and curves over steps, are read from the runs.
    Raises :class:`ConfigError` for what does not fit this sweep, and :class:`NotMeasured` if no run has anything of it.
    """
    layout = layout_of(results, options)
    return _over_steps(results, layout) if layout.kind == "steps" else _at_ends(results, layout)


def _at_ends(results: SweepResults, layout: SweepLayout) -> SweepHeatmap | SweepCurves:
    wanted = layout.quantities or tuple(QUANTITIES.values())
    found = {quantity: at_end(layout.rows, quantity, layout.phase) for quantity in wanted}
    present = {quantity: values for quantity, values in found.items() if values}
    ended = "clean training" if layout.phase == "clean" else "the phase after clean training"
    if not present:
        names = ", ".join(quantity.key for quantity in wanted)
        told = f"no run has any of {names} at the end of {ended}; {states_line(layout.rows)}"
        raise NotMeasured(f"sweep: {told} Allowed: phase=clean or second, figures that are measured")
    knobs, over, by = list(results.sweep.grid), layout.over, layout.by
    assert over is not None
    if by is not None:
        panels = heatmap_panels(layout, present)
        cells = [(panel.quantity, cell) for panel in panels for line in panel.cells for cell in line]
        shown = [
            f"Phase diagram at the end of {ended}: {over.path} along x, {by.path} along y; a cell is the mean over its "
            "seeds, whose range is in the table of means."
        ]
        if any(not cell.n for _, cell in cells):
            shown.append("Hatched: every run failed or diverged; blank: no value yet; the word says why.")
    else:
        curves, names_, groups = curves_of(layout, present)
        cells = [
            (quantity, cell)
            for quantity, panel in zip(present, curves, strict=True)
            for line in panel.cells
            for cell in line
        ]
        shown = [f"Over {over.path}, at the end of {ended}. {_key(layout, cells)}"]
    unmeasured = [quantity.label for quantity in layout.quantities if quantity not in present]
    used = {
        quantity: {name: (figure.protocol,) for name, figure in values.items() if figure.protocol is not None}
        for quantity, values in present.items()
    }
    caption = "\n".join([
        *shown,
        seeds_line(layout, cells, "cell" if by is not None else "point"),
        *([f"Not measured in any run: {', '.join(unmeasured)}."] if unmeasured else []),
        states_line(layout.rows),
        *protocol_lines(layout, list(present), used),
        *provenance(results, layout),
    ])  # fmt: skip
    tables = {"": long_table(end_lines(layout.rows, present, layout.phase), knobs), "mean": mean_table(cells, knobs)}
    if by is not None:
        return SweepHeatmap(tables, caption, panels, over, by)
    return SweepCurves(tables, caption, curves, names_, groups, over.label, ticks=over.texts, over=over)


def _key(layout: SweepLayout, cells: Sequence[tuple[SweptQuantity, SeedCell]]) -> str:
    """What lines, bands and marks mean, as far as there are any."""
    if len({row.seed for row in layout.rows}) > 1:
        found = ["Thin: each seed, thick: their mean, the band from the least to the greatest of them"]
    else:
        found = ["Each point is one run"]
    if any(cell.n == 1 and np.isfinite(cell.bounds[0]) for _, cell in cells):
        found.append("bars: the 95% Wilson interval where there is one seed")
    if any(0 < cell.n < len(cell.rows) for _, cell in cells):
        found.append("hollow: the mean of fewer seeds than planned")
    if any(not cell.n for _, cell in cells):
        found.append("crosses above the plot: no run there has a value, and the curve is interrupted")
    return "; ".join(found) + "."


def _over_steps(results: SweepResults, layout: SweepLayout) -> Overlay:
    wanted = layout.quantities or tuple(QUANTITIES.values())
    named = layout.groups()
    if len(named) > MOST_LOOKS:
        told = f"{len(named)} combinations over steps; allowed: {MOST_LOOKS} at most"
        raise ConfigError(f"kind: {told}; where=knob=value leaves some out")
    names = {quantity.metric for quantity in wanted}
    # By place among a group's runs first: each group begins with a run, and a look, of its own.
    read = [
        [(row, record) for row in rows if (record := _record(row, names)) is not None and record.metrics]
        for _, rows in named
    ]
    order = [
        (i, *of_group[place])
        for place in range(max(map(len, read), default=0))
        for i, of_group in enumerate(read)
        if place < len(of_group)
    ]
    lines = {
        quantity: {
            row.name: line for run, (_, row, record) in enumerate(order) if (line := _line(run, record, quantity))
        }
        for quantity in wanted
    }
    present = {quantity: found for quantity, found in lines.items() if found}
    if not present:
        told = f"no run has recorded any of {', '.join(sorted(names))} yet; {states_line(layout.rows)}"
        raise NotMeasured(f"sweep: {told}")
    groups = []
    for i, (name, _) in enumerate(named):
        members = tuple(run for run, (group, *_) in enumerate(order) if group == i)
        if len(members) > 1:
            seeds = seeds_words(sorted(order[run][1].seed for run in members))
            groups.append(SeedGroup(members, ", ".join(filter(None, (name, seeds)))))
    called = tuple(", ".join(filter(None, (named[i][0], f"seed {row.seed}"))) for i, row, _ in order)
    panels = tuple(
        OverlayPanel(quantity.key, quantity.label, tuple(found.values()), quantity.share)
        for quantity, found in present.items()
    )
    last = {q: {name: SweptFigure(float(line.y[-1])) for name, line in found.items()} for q, found in present.items()}
    cells = [(quantity, cell_of(rows, values)) for quantity, values in last.items() for _, rows in named]
    used = {quantity: {name: line.used() for name, line in found.items()} for quantity, found in present.items()}
    caption = "\n".join([
        "Over training steps, as recorded while training. Thin: each seed, thick: their mean, the band from the "
        "least to the greatest of them, at the steps that all of them have recorded; alone, a run has its 95% Wilson "
        "intervals as a band.",
        seeds_line(layout, cells, "curve"),
        states_line(layout.rows),
        *protocol_lines(layout, list(present), used),
        *provenance(results, layout),
    ])  # fmt: skip
    told_lines = [
        each for row in layout.rows for q, found in present.items() for each in step_lines(row, q, found.get(row.name))
    ]
    means = overlay_tables(panels, called, groups, STEP, ())
    return Overlay(
        {"": long_table(told_lines, list(results.sweep.grid))} | {k: v for k, v in means.items() if k == "mean"},
        caption, panels, called, tuple(groups), STEP,
        spans=tuple(record.phases for *_, record in order), end=max(record.step for *_, record in order),
    )  # fmt: skip


def _record(row: SweepRow, metrics: Collection[str]) -> RecordedRun | None:
    """What the run recorded; None of one that has not begun or cannot be read, as its state says."""
    try:
        with closing(Store.open(row.folder, read_only=True)) as store:
            return RecordedRun.of_store(store, lambda name: name in metrics)
    except StoreError:
        return None


def _line(run: int, record: RecordedRun, quantity: SweptQuantity) -> RunLine | None:
    series = record.series(quantity.metric)
    if not len(series):
        return None
    found = bounded(quantity.metric, series, record.protocols_of(quantity.metric))
    hows = found.protocols if any(found.protocols) else ()
    return RunLine(run, found.steps.astype(np.float64), found.values, found.low, found.high, hows)
