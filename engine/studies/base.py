"""What a study is: a slow question to a run, asked by a command, whose answer a file of the run folder keeps.

One file in :mod:`engine.studies.questions` is one study: the frozen records that its file holds, the question, the
answer as a table. Entering its class into :data:`studies` gives it its command; views and figures read its file by
:meth:`Study.read`. These files import no torch, but inside their functions: the command line's help is read from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from engine.core.errors import ConfigError, StoreError
from engine.core.files import write_json
from engine.core.measurement import Measurement, wilson
from engine.core.reading import first_fault, parse_json, read_bytes
from engine.core.registry import Registry
from engine.core.slices import Progress, silent
from engine.run.access import check_writable
from engine.run.store import Store

if TYPE_CHECKING:
    from engine.probes.robustness import Measured

R = TypeVar("R")
Proportion = Annotated[float, Field(ge=0, le=1)]
Cosine = Annotated[float, Field(ge=-1.001, le=1.001)]  # rounding
Length = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Scalars = Iterable[tuple[str, float, Measurement | None]]  # name in the store, value, how it was measured
RunFolder = Annotated[Path, "A run folder."]
Samples = Annotated[int, "Held-out samples."]
FEWEST, MOST = 16, 100_000  # held-out samples of a study


class NotMeasured(StoreError):  # noqa: N818 - nothing went wrong, there is only nothing yet
    """A run holds nothing of this kind yet; the message names the command that measures it."""


@dataclass(frozen=True)
class Interval:
    """An accuracy with its 95% Wilson interval."""

    value: Proportion
    low: Proportion
    high: Proportion

    @classmethod
    def of(cls, measured: Measured) -> Interval:
        """That of a measured accuracy."""
        n = measured.protocol.n
        return cls(measured.accuracy, *wilson(measured.accuracy * n, n))

    def text(self) -> str:
        """Value and interval, e.g. ``0.862 [0.829, 0.889]``."""
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Answer(Generic[R]):
    """The ``record`` that a study's file is to hold, and ``scalars`` for the store at the run's ``step``."""

    record: R
    step: int
    scalars: Scalars = ()


class Study(Generic[R]):
    """A slow question. The docstring of a study is its command's help, its name in :data:`studies` the command.

    ``file`` is its file's name in the run folder, ``record`` the type of what that holds, ``made_by`` the arguments
    that make it, with ``{}`` for the folder. ``ask(folder, *, progress, …)`` finds the answer; its other arguments are
    the command's options, each with its help as ``Annotated[type, "help"]``.
    """

    file: ClassVar[str]
    made_by: ClassVar[str]
    record: ClassVar[Any]
    ask: Callable[..., Answer[R]]

    @property
    def options(self) -> Callable[..., object]:
        """The function whose arguments are those of the command."""
        return self.ask

    def table(self, record: R) -> str:
        """The record as text."""
        raise NotImplementedError

    @classmethod
    def check(cls, record: R) -> str:
        """What in a record read back contradicts itself, as ``field: reason``; empty if nothing does."""
        return ""

    def notes(self, folder: Path, record: R) -> list[str]:
        """What the command says below the table."""
        return []

    def run(self, folder: Path, *, progress: Progress = silent, **options: Any) -> R:
        """Ask the run in ``folder``, record the answer's scalars in its store, write the file and return its record.

        Raises :class:`ConfigError` for an option, :class:`StoreError` for the folder.
        """
        check_samples(options.get("n", FEWEST))
        check_writable(folder)
        answer = self.ask(folder, progress=progress, **options)
        record_scalars(folder, answer.step, answer.scalars)
        write_record(folder / self.file, self.record, answer.record)
        progress(1.0, "done")
        return answer.record

    @classmethod
    def read(cls, folder: Path) -> R:
        """The answer of the run in ``folder`` as written last.

        Raises :class:`NotMeasured` if there is no such file, and :class:`StoreError` in one line if it is damaged.
        """
        record: R = read_record(folder, cls.file, cls.record, cls.made_by)
        wrong = cls.check(record)
        if wrong:
            raise StoreError(f"{folder / cls.file} is damaged: {wrong}")
        return record


studies: Registry[type[Study[Any]]] = Registry("study", "engine.studies.questions")
"""The studies by the name of their command."""


def check_samples(n: int) -> None:
    """Raise :class:`ConfigError` for a number of held-out samples that no study takes."""
    if not FEWEST <= n <= MOST:
        raise ConfigError(f"--n: got {n}; allowed: a whole number from {FEWEST} to {MOST}")


def record_scalars(folder: Path, step: int, scalars: Scalars) -> None:
    """Record figures of the weights after ``step`` steps in the store of the run in ``folder``."""
    rows = list(scalars)
    if not rows:
        return
    with closing(Store.open(folder, beside=True)) as store:
        store.record([(step, name, value) for name, value, _ in rows])
        for name, _, protocol in rows:
            if protocol is not None:
                store.set_protocol(step, name, protocol)


def accuracies(names: Iterable[str], measured: Iterable[Measured]) -> Scalars:
    """Measured accuracies under their names, with their protocols."""
    return [(name, m.accuracy, m.protocol) for name, m in zip(names, measured, strict=True)]


def read_record(folder: Path, file: str, kind: Any, made_by: str) -> Any:
    """What the run folder's ``file`` holds, checked to be of type ``kind``; errors as in :meth:`Study.read`."""
    path = folder / file
    try:
        data = read_bytes(path)
        parse_json(data)  # which is stricter: finite numbers, and not too deep
        return TypeAdapter(kind).validate_json(data)
    except FileNotFoundError:
        command = made_by.format(folder)
        raise NotMeasured(f"{path} does not exist; it is made by: python -m engine {command}") from None
    except ValidationError as error:
        raise StoreError(f"{path} is damaged: {first_fault(error)}") from None
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from None


def write_record(path: Path, kind: Any, record: object) -> None:
    """Write a record of type ``kind`` as JSON."""
    write_json(path, TypeAdapter(kind).dump_python(record, by_alias=True))


def part(progress: Progress, start: float, end: float, before: str = "") -> Progress:
    """The progress of a part of the work from the share ``start`` to ``end``; its words follow ``before``."""
    return lambda share, what: progress(start + (end - start) * share, before + what)
