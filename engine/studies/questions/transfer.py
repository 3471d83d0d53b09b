"""Transfer: perturbations made on each net of a run and of another seed, and what every net says of them (claim 10)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from engine.core import metrics
from engine.core.measurement import Measurement, wilson
from engine.core.slices import Progress, silent
from engine.studies.base import Answer, Interval, RunFolder, Samples, Scalars, Study, studies

Key = Literal["start", "clean", "now", "other_clean", "other_now"]
WORDS: dict[str, str] = {
    "start": "start", "clean": "clean", "now": "now", "other_clean": "clean", "other_now": "now",
}  # fmt: skip


@dataclass(frozen=True)
class TransferNet:
    """One net: which it is, the ``seed`` it was trained with, and its accuracy without perturbation."""

    key: Key
    seed: Annotated[int, Field(ge=0)]
    without: Interval

    @property
    def name(self) -> str:
        """In words; another seed's net is told by its seed."""
        words = WORDS[self.key]
        return f"seed {self.seed}, {words}" if self.key.startswith("other") else words


@dataclass(frozen=True)
class TransferMatrix:
    """``transfer.json``: ``accuracy[a][b]`` of net b on the samples perturbed on net a, both of ``nets``.

    Counted are samples that net b answers rightly without *and* with the perturbation: the diagonal is white-box
    accuracy. ``step`` was the run's newest when it was measured; ``clean_step`` is that of the clean nets, and the
    other seed's nets have had as many steps as the run's in each phase.
    """

    step: int
    clean_step: int
    norm: str
    tau: float
    protocol: str
    n: int
    nets: tuple[TransferNet, ...]
    accuracy: tuple[tuple[Interval, ...], ...]

    def cells(self) -> Iterator[tuple[TransferNet | None, TransferNet, Interval]]:
        """Each entry with the net attacked and the net measured, row by row; first, on None, without perturbation."""
        for net in self.nets:
            yield None, net, net.without
        for made_on, row in zip(self.nets, self.accuracy, strict=True):
            for net, found in zip(self.nets, row, strict=True):
                yield made_on, net, found

    def of(self, made_on: Key, measured: Key) -> Interval | None:
        """One entry; None where one of the nets is not there."""
        keys = [net.key for net in self.nets]
        both = made_on in keys and measured in keys
        return self.accuracy[keys.index(made_on)][keys.index(measured)] if both else None

    def sentence(self) -> str:
        """What becomes of the clean net's perturbations, in one sentence."""
        named = (("clean", "on that net"), ("other_clean", "on another seed's clean net"), ("now", "on the net now"))
        found = [(self.of("clean", key), words) for key, words in named]  # type: ignore[arg-type]
        parts = [f"{interval.value:.3f} {words}" for interval, words in found if interval is not None]
        return f"Under perturbations made on the clean net, accuracy is {', '.join(parts)}."


@studies.register("transfer")
class TransferStudy(Study[TransferMatrix]):
    """Train the run's config with another seed, perturb on every net, measure every net on it; write transfer.json."""

    file = "transfer.json"
    made_by = "transfer {}"
    record = TransferMatrix

    def ask(
        self,
        folder: RunFolder,
        *,
        other_seed: Annotated[int | None, "Seed of the other nets. Default: the one after the run's."] = None,
        n: Samples = 1000,
        progress: Progress = silent,
    ) -> Answer[TransferMatrix]:
        """Attack and measure start, clean net and net now of the run, and clean net and net now of the other seed.

        The other seed's nets are trained here, which takes about as long as the run itself was trained. The attack is
        that of the run's reports, on ``n`` held-out samples or as many as there are. Raises :class:`ConfigError` for
        the seed and for a run whose clean training has not ended, :class:`StoreError` for the folder.
        """
        from engine.studies.transfer_matrix import measure_transfer

        measured = measure_transfer(folder, other_seed, n, progress)
        found, (own, other) = measured.found, measured.seeds
        how = found.protocol
        nets = tuple(
            TransferNet(name, other if name.startswith("other") else own, _interval(int(sound), how.n))  # type: ignore[arg-type]
            for name, sound in zip(found.nets, found.clean, strict=True)
        )
        rows = tuple(tuple(_interval(int(right), how.n) for right in row) for row in found.right)
        record = TransferMatrix(
            measured.step, measured.clean_step, how.norm, how.tau, how.text(), how.n, nets, rows
        )  # fmt: skip
        return Answer(record, measured.step, list(_scalars(record, how)))

    @classmethod
    def check(cls, record: TransferMatrix) -> str:
        """As many rows and columns as nets, each net once."""
        size = len(record.nets)
        if not size or len({net.key for net in record.nets}) < size:
            return "nets: each net once, at least one"
        if len(record.accuracy) != size or any(len(row) != size for row in record.accuracy):
            return f"accuracy: {size} rows of {size} values are needed, one a net"
        return ""

    def table(self, record: TransferMatrix) -> str:
        """A line for each net attacked, a column for each net measured; then intervals follow in the file."""
        names = [net.name for net in record.nets]
        width = max(map(len, (*names, "attacked on")))
        lines = [
            f"{record.protocol}; clean nets of step {record.clean_step}, the others of step {record.step}",
            "  ".join([f"  {'attacked on':<{width}}", *(f"{name:>{max(len(name), 5)}}" for name in names)]),
        ]
        rows = [("nothing", [net.without for net in record.nets]), *zip(names, record.accuracy, strict=True)]
        for name, row in rows:
            values = (f"{found.value:>{max(len(n), 5)}.3f}" for n, found in zip(names, row, strict=True))
            lines.append("  ".join([f"  {name:<{width}}", *values]))
        return "\n".join([*lines, record.sentence()])


def _interval(right: int, n: int) -> Interval:
    return Interval(right / n, *wilson(right, n))


def _scalars(record: TransferMatrix, how: Measurement) -> Scalars:
    """Every entry by the names of :func:`engine.core.metrics.transfer`."""
    plain = Measurement("clean", how.norm, 0.0, 0, 0, how.n)
    for made_on, net, found in record.cells():
        name = metrics.transfer(metrics.NO_ATTACK if made_on is None else made_on.key, net.key)
        yield name, found.value, plain if made_on is None else how
