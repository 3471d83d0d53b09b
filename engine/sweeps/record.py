"""What a sweep's folder holds: ``sweep.json``, ``ends.jsonl`` and the run folders below ``runs``. Imports no torch.

``sweep.json`` says which runs there are to be; it is written before the first one starts. ``ends.jsonl`` has a line for
each time a run's training ended, for whatever reason, and for how long it had gone on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from engine.config.curves import PREFIX
from engine.config.experiment import Config, from_dict, with_values
from engine.core.errors import ConfigError, StoreError, VersionError
from engine.core.files import refusal, write_json
from engine.core.reading import first_fault, parse_json, read_bytes
from engine.run.index import RUNS, SWEEP
from engine.run.schema import Record, check_format

FORMAT = 1
ENDS, RESULTS = "ends.jsonl", "results.csv"
MOST_RUNS = 10_000
Value = bool | int | float | str | list[Any]  # of a knob, as JSON; a list is the points of a curve
Ending = Literal["finished", "interrupted", "failed", "diverged"]


class PlannedRun(Record):
    """A run of a sweep: the folder's ``name`` below ``runs``, the swept knobs' ``values`` by path, and its seed."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._=+-]{1,150}$")]
    values: dict[str, Value]
    seed: int


class Sweep(Record):
    """``sweep.json``.

    ``config`` is the preset's; ``settings`` are the knobs by path that all runs have otherwise; ``grid`` the swept ones
    with the values of each, in the order given; ``verify`` whether each run is verified when it is trained; ``created``
    in seconds since 1970.
    """

    preset: str
    config: dict[str, Any]
    settings: dict[str, Value | None]
    grid: dict[str, tuple[Value, ...]]
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    verify: bool = False
    created: float
    versions: dict[str, str]
    runs: Annotated[tuple[PlannedRun, ...], Field(min_length=1, max_length=MOST_RUNS)]

    def config_of(self, run: PlannedRun) -> Config:
        """What ``run`` is trained with. Raises :class:`ConfigError` for a knob that this version does not have."""
        config = with_values(from_dict(self.config), {**self.settings, **run.values})
        return config.model_copy(update={"seed": run.seed})

    def run(self, name: str) -> PlannedRun:
        """The run called ``name``. Raises :class:`StoreError` if there is none."""
        found = next((each for each in self.runs if each.name == name), None)
        if found is None:
            raise StoreError(f"run: got {name!r}; this sweep has no run of that name")
        return found


class RunEnd(Record):
    """A line of ``ends.jsonl``: how training the run ``run`` ended, why, and the seconds that it had taken.

    ``verified``: its figures have been verified, and its claims decided. ``ended`` in seconds since 1970.
    """

    run: str
    state: Ending
    reason: str = ""
    seconds: Annotated[float, Field(ge=0)] = 0.0
    verified: bool = False
    ended: float


def is_sweep(folder: Path) -> bool:
    """Whether ``folder`` holds a sweep."""
    return (folder / SWEEP).is_file()


def run_folder(folder: Path, name: str) -> Path:
    """The folder of the run ``name`` of the sweep in ``folder``."""
    return folder / RUNS / name


def read_sweep(folder: Path) -> Sweep:
    """The sweep in ``folder``. Raises :class:`StoreError`, naming file and field, if there is none or it is damaged."""
    path = folder / SWEEP
    try:
        data = read_bytes(path)
        found = parse_json(data)
        if not isinstance(found, dict):
            raise ValueError("allowed: a table of names and values")
        check_format(found, path)
        sweep = Sweep.model_validate_json(data)
        sweep.config_of(sweep.runs[0])
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist: {folder} holds no sweep") from None
    except ValidationError as error:
        raise StoreError(f"{path} is damaged: {first_fault(error)}") from None
    except ConfigError as error:
        raise VersionError(f"{path}: {error}") from None
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from None
    names = [run.name.lower() for run in sweep.runs]
    if len(set(names)) < len(names):
        raise StoreError(f"{path} is damaged: runs: two have the same name")
    if wrong := next((run for run in sweep.runs if set(run.values) != set(sweep.grid)), None):
        raise StoreError(f"{path} is damaged: runs: {wrong.name} does not have the knobs of the grid")
    return sweep


def write_sweep(folder: Path, sweep: Sweep) -> None:
    """Write ``sweep.json``. Raises :class:`StoreError` where that is not possible."""
    write_json(folder / SWEEP, {"format": FORMAT, **sweep.model_dump(mode="json")})


def read_ends(folder: Path) -> dict[str, list[RunEnd]]:
    """Run → how its trainings ended, the newest last; runs that never did are not there.

    A last line that was cut off is passed over. Raises :class:`StoreError` if another one is damaged.
    """
    path = folder / ENDS
    found: dict[str, list[RunEnd]] = {}
    for number, line in enumerate(_lines(path), 1):
        try:
            end = RunEnd.model_validate_json(line)
        except ValidationError as error:
            raise StoreError(f"{path} is damaged: line {number}: {first_fault(error)}") from None
        found.setdefault(end.run, []).append(end)
    return found


def _lines(path: Path) -> Iterator[bytes]:
    """The whole lines of the file; what follows the last line break was being written when its process died."""
    try:
        *whole, _ = read_bytes(path).split(b"\n")
    except FileNotFoundError:
        return
    yield from whole


class EndsFile:
    """``ends.jsonl``, open to be added to; by one process at a time, that of the sweep."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ENDS
        whole = b"".join(line + b"\n" for line in _lines(self._path))
        if self._path.exists() and self._path.stat().st_size > len(whole):
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        self.known = read_ends(folder)

    def add(self, run: str, state: Ending, reason: str, seconds: float, *, verified: bool) -> RunEnd:
        """Write how training ``run`` has ended. Raises :class:`StoreError` where that is not possible."""
        end = RunEnd(
            run=run, state=state, reason=reason, seconds=round(seconds, 3), verified=verified, ended=time.time()
        )
        try:
            with self._path.open("ab") as file:
                file.write(end.model_dump_json().encode() + b"\n")
        except OSError as error:
            raise refusal(f"{self._path} cannot be written", error) from None
        self.known.setdefault(run, []).append(end)
        return end


def words(values: Mapping[str, Value]) -> str:
    """Knobs with their values in one line, e.g. ``attack.tau=0.1, schedule.second=trades``."""
    return ", ".join(f"{path.removeprefix(PREFIX)}={text_of(value)}" for path, value in values.items())


def text_of(value: object) -> str:
    """A value as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(text_of(each) for each in value)}]"
    return str(value)
