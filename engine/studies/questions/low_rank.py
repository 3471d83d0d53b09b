"""Robust accuracy against the rank of what an adversarial phase may change (SPEC.md section 7; claim 9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_serializer

from engine.core import metrics
from engine.core.slices import Progress, silent
from engine.studies.base import Answer, Interval, Proportion, RunFolder, Samples, Study, accuracies, studies

if TYPE_CHECKING:
    from engine.probes.robustness import Measured

RANKS = (1, 2, 4, 8, 16, 0)  # 0: unrestricted


@dataclass(frozen=True)
class RankRow:
    """Accuracies after an adversarial phase of this ``rank`` (0: unrestricted), with their 95% intervals."""

    rank: Annotated[int, Field(ge=0)] = field(default=0, kw_only=True)
    robust: Proportion
    low: Proportion
    high: Proportion
    clean: Proportion
    clean_low: Proportion
    clean_high: Proportion

    @classmethod
    def of(cls, measured: tuple[Measured, Measured], rank: int = 0) -> RankRow:
        """From clean and robust accuracy."""
        clean, robust = map(Interval.of, measured)
        return cls(robust.value, robust.low, robust.high, clean.value, clean.low, clean.high, rank=rank)

    def text(self) -> str:
        """Both in one line."""
        robust = Interval(self.robust, self.low, self.high).text()
        return f"robust {robust}  clean {Interval(self.clean, self.clean_low, self.clean_high).text()}"


@dataclass(frozen=True)
class RankComparison:
    """``low_rank.json``: phases of ``steps`` steps from the clean weights of step ``clean_step``, measured ``before``.

    ``step`` was the newest when it was measured; ``layers`` are those whose change had that rank.
    """

    step: int
    clean_step: int
    norm: str
    tau: float
    protocol: str
    n: int
    layers: str
    steps: int
    before: RankRow
    ranks: tuple[RankRow, ...]

    @field_serializer("before")
    def _written(self, before: RankRow) -> dict[str, float]:
        """In the file it has no rank."""
        return {name: value for name, value in vars(before).items() if name != "rank"}

    def limited(self) -> tuple[RankRow, ...]:
        """The restricted phases, of ascending rank."""
        return tuple(sorted((row for row in self.ranks if row.rank), key=lambda row: row.rank))

    def full(self) -> RankRow | None:
        """The unrestricted phase, if it was trained."""
        return next((row for row in self.ranks if not row.rank), None)


@studies.register("low-rank")
class RankStudy(Study[RankComparison]):
    """Repeat the adversarial phase from the clean weights at several ranks and write low_rank.json."""

    file = "low_rank.json"
    made_by = "low-rank {}"
    record = RankComparison

    def ask(
        self,
        folder: RunFolder,
        *,
        rank: Annotated[
            Sequence[int] | None, "Rank; may be repeated; 0 is the full update. Default: 1 2 4 8 16 0."
        ] = None,
        layers: Annotated[str, "all, or names separated by commas."] = "all",
        steps: Annotated[int | None, "Steps of each phase. Default: the run's."] = None,
        n: Samples = 1000,
        progress: Progress = silent,
    ) -> Answer[RankComparison]:
        """Train the phase at each rank; radius, attack and rates are the run's.

        On images ``layers`` are those whose change has that rank, or any at rank 0; the weights of the others are
        frozen meanwhile, biases and batch norms are free. Robust accuracy is measured as in the run's reports on ``n``
        held-out samples, or as many as there are. Raises :class:`ConfigError` for wrong ranks, layers or steps and for
        a run whose clean training has not ended, :class:`StoreError` for the folder.
        """
        from engine.studies.rank_phases import train_ranks

        found = train_ranks(folder, RANKS if rank is None else rank, layers, steps, n, progress)
        robust = found.before[1].protocol
        after = tuple(map(RankRow.of, found.after, found.ranks))
        record = RankComparison(
            found.step, found.clean_step, robust.norm, robust.tau, robust.text(), robust.n, layers, found.steps,
            RankRow.of(found.before), after,
        )  # fmt: skip
        rows = zip(found.ranks, found.after, strict=True)
        scalars = [s for r, pair in rows for s in accuracies([metrics.rank(k, r) for k in ("clean", "robust")], pair)]
        return Answer(record, found.step, scalars)

    def table(self, record: RankComparison) -> str:
        """A line before, and one a rank."""
        rows = {"before": record.before} | {f"rank {r.rank}" if r.rank else "full": r for r in record.ranks}
        title = (
            f"{record.protocol}; {record.steps} adversarial steps from the clean weights of step {record.clean_step}, "
            f"layers: {record.layers}"
        )
        return "\n".join([title, *(f"  {name:<12}{row.text()}" for name, row in rows.items())])
