"""The claims as a table: each with this run's verdict, the figures behind it and the rule that decided."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.claims.base import parts_text
from engine.core.labels import figure_name
from engine.figures.base import Column, Drawer, FigureData, figures, provenance, training
from engine.figures.declare import (
    BRIGHT_VERMILION,
    DARK_GREEN,
    GREEN,
    GREY,
    PALE_GREY,
    VERMILION,
    Look,
    ViewDeclaration,
)
from engine.figures.meaning import Meaning
from engine.figures.style import narrow
from engine.studies.questions.claims import ClaimRecord, ClaimsStudy, checked_at, read_claims

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store

LINE = 0.135  # inches from one line of text to the next
GAP = 0.10  # inches between two claims
CHARACTER = 0.062  # inches that a character of 7 pt takes, on average and with some reserve
VIEW = ViewDeclaration(
    "claims", "Claims", 130, "The paper's claims as decided last on this run.",
    looks={  # labels are signs
        "holds": Look("✓", DARK_GREEN, GREEN),
        "does not hold": Look("✗", VERMILION, BRIGHT_VERMILION),
        "not measured": Look("–", GREY, PALE_GREY),
    },
    file=ClaimsStudy.file,
    meaning=Meaning(
        drawn="The paper's claims, each with what this run measured and the rule that decided. A claim that "
        "does not hold is said to not hold.",
        formula="Each rule compares measured figures of this run (seed {seed}, {attack.norm} radius τ = "
        "{attack.tau}, {schedule.clean_steps} clean and {schedule.second_steps} further steps) with a "
        "threshold that stands beside it.",
        place="Abstract; each card names its part.",
        surprise="Claims 1, 4 and 5 not holding on a preset of the sparse-coding world.",
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Row:
    """The wrapped lines of one claim: title (bold), rule, and figures; in a narrow figure they stand in one column."""

    record: ClaimRecord
    title: list[str]
    rule: list[str]
    figures: list[str]
    stacked: bool

    @property
    def lines(self) -> int:
        left = len(self.title) + len(self.rule)
        return left + 1 + len(self.figures) if self.stacked else max(left, 1, len(self.figures))


@dataclass(frozen=True)
class ClaimsTable(FigureData):
    """The claims in their order."""

    records: tuple[ClaimRecord, ...]

    def rows(self, width: float) -> list[_Row]:
        """What is written about every claim at this width."""
        stacked = narrow(width)
        left = width - 0.35 if stacked else 0.44 * width - 0.3
        right = width - 0.45 if stacked else 0.40 * width - 0.1
        rows = []
        for record in self.records:
            found = []
            for f in record.evidence:
                interval = "" if f.low is None or f.high is None else f" [{f.low:.3f}, {f.high:.3f}]"
                text = f"{figure_name(f.name)}: {f.value:.3f}{interval}, step {f.step}"
                found += textwrap.wrap(text, int(right / CHARACTER), subsequent_indent="  ")
            title = textwrap.wrap(record.title, int(left / (1.12 * CHARACTER)))
            rule = textwrap.wrap(f"Rule: {record.rule}", int(left / CHARACTER))
            rows.append(_Row(record, title, rule, found, stacked))
        return rows

    def height(self, width: float) -> float:
        """As high as the text needs."""
        return 0.2 + sum(row.lines * LINE + GAP for row in self.rows(width))

    def draw(self, figure: Figure) -> None:
        """Write the table, a thin line between two claims."""
        from matplotlib.lines import Line2D

        width, height = figure.get_size_inches()
        y = height - 0.12

        def write(x: float, y: float, text: str, **style: object) -> None:
            figure.text(x / width, y / height, text, size=7, va="top", **style)  # type: ignore[arg-type]

        for row in self.rows(width):
            record, top = row.record, y
            write(0.08, top, str(record.id), weight="bold", color="0.4")
            for i, text in enumerate(row.title):
                write(0.3, top - i * LINE, text, weight="bold")
            for i, text in enumerate(row.rule, len(row.title)):
                write(0.3, top - i * LINE, text, color="0.4")
            look = VIEW.looks[record.verdict]
            verdict = f"{look.label} {record.verdict}"
            if record.parts:
                verdict += f" ({parts_text(record.parts)})"
            style = {"weight": "bold", "color": look.light}
            below = len(row.title) + len(row.rule)
            write(0.3 if row.stacked else 0.44 * width, top - below * LINE if row.stacked else top, verdict, **style)
            for i, text in enumerate(row.figures, below + 1 if row.stacked else 0):
                write(0.4 if row.stacked else 0.6 * width, top - i * LINE, text)
            y -= row.lines * LINE + GAP
            rule_y = (y + 0.6 * GAP) / height
            figure.add_artist(Line2D([0.01, 0.99], [rule_y, rule_y], color="0.85", lw=0.5))


@figures.register(VIEW.name, order=VIEW.order)
class ClaimsDrawer(Drawer):
    """The claims as decided last on this run (SPEC.md section 10)."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> ClaimsTable:
        """Read ``claims.json`` of the run."""
        records = read_claims(store.folder)
        evidence = [(r.id, f) for r in records for f in r.evidence]
        nan = float("nan")
        tables = {
            "": (
                Column("claim", "number", np.array([r.id for r in records], np.int64)),
                Column("title", "text", np.array([r.title for r in records], np.str_)),
                Column("verdict", "text", np.array([r.verdict for r in records], np.str_)),
                Column("rule", "text", np.array([r.rule for r in records], np.str_)),
                Column("parts", "text", np.array([parts_text(r.parts) for r in records], np.str_)),
            ),
            "evidence": (
                Column("claim", "number", np.array([i for i, _ in evidence], np.int64)),
                Column("figure", "name", np.array([f.name for _, f in evidence], np.str_)),
                Column("value", "1", np.array([f.value for _, f in evidence], np.float64)),
                Column("low", "1", np.array([nan if f.low is None else f.low for _, f in evidence], np.float64)),
                Column("high", "1", np.array([nan if f.high is None else f.high for _, f in evidence], np.float64)),
                Column("step", "steps", np.array([f.step for _, f in evidence], np.int64)),
                Column("protocol", "text", np.array([f.protocol for _, f in evidence], np.str_)),
            ),
        }
        protocols = dict.fromkeys(f.protocol for _, f in evidence if f.protocol)
        caption = "\n".join(
            [
                f"The paper's claims on this run, decided by the figures recorded up to step {checked_at(records)}: "
                "value [95% interval], step. A claim without the figures that its rule needs is not measured.",
                f"Protocols: {'; '.join(protocols) or 'none'}. {training(store, checkpoint)}",
                provenance(store, checkpoint),
            ]
        )
        return ClaimsTable(tables, caption, records)
