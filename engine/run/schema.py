"""What a valid file of a run folder is, declared once; every way in checks what it reads against it.

A file is what this version writes, or an older one did: names that are not known are passed over, a newer ``format`` is
a :class:`VersionError`, and everything else a :class:`StoreError`, in one line that names file and field.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from engine.config.curves import PREFIX, read_curve
from engine.config.experiment import Config, KnobInfo, from_dict, knobs
from engine.config.knobs import Objective
from engine.core import plugins
from engine.core.errors import ConfigError, PluginMissingError, StoreError, VersionError
from engine.core.history import Series
from engine.core.measurement import Measurement, Norm
from engine.core.reading import first_fault, parse_json, quoted, read_json
from engine.run.ranges import range_of
from engine.run.snapshot import NO_KNOB, Event

FORMAT = 1
MOST_STEPS = 10**8 - 1  # as many as the names of checkpoints have digits for
MOST_EVENTS = 10**8

Step = Annotated[int, Field(ge=0, le=MOST_STEPS)]
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f]+$")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Device = Literal["cpu", "cuda", "mps"]
Threads = Annotated[int, Field(ge=1, le=4096)]

M = TypeVar("M", bound=BaseModel)


class Record(BaseModel):
    """What a file holds: strict about types, numbers finite, unknown names passed over."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class PluginRecord(Record):
    """A plugin that was loaded when a file was written (:class:`engine.core.plugins.MadeWith`)."""

    name: Name
    version: Name
    sha256: Digest


def _json(text: object) -> object:
    return parse_json(text) if isinstance(text, str) else text


class WithPlugins(Record):
    """A file that says which plugins it was made with; those of a version that knew none say nothing."""

    plugins: Annotated[list[PluginRecord], BeforeValidator(_json)] = []


class RunRecord(WithPlugins):
    """``config.json``: the run's id, when it was made (seconds since 1970) and its config as started."""

    run: Name
    created: float | None = None
    config: dict[str, Any]


class Waits(Record):
    """An evaluation that was still to be made when a checkpoint was written, in any world."""

    step: Step
    report: bool
    config: dict[str, Any]


class State(Record):
    """What every session keeps in a checkpoint beside tensors; a world declares a subclass with what it adds.

    What has a default is missing in checkpoints of the first version.
    """

    scheduled: bool
    clean_step: Step = 0
    device: Device
    threads: Threads | None = None
    position: Annotated[int, Field(ge=0, le=2**40)]
    pending: list[Any] = []


class FrameState(Record):
    """What every frame says beside tensors; a world declares a subclass with what it adds."""

    scheduled: bool
    clean_step: Step


def _number(text: object) -> object:
    """A whole number that is written as text, as in a checkpoint's header."""
    return int(text) if isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 20 else text


class CheckpointHeader(WithPlugins):
    """The text that a checkpoint carries beside its tensors."""

    run: Name
    step: Annotated[Step, BeforeValidator(_number)]
    phase: Objective
    events: Annotated[int, Field(ge=0, le=MOST_EVENTS), BeforeValidator(_number)]
    config: Annotated[dict[str, Any], BeforeValidator(_json)]
    state: Annotated[dict[str, Any], BeforeValidator(_json)]


class Summary(Record):
    """``summary.json``, as far as it is read back; what has a default is missing in those of earlier versions."""

    steps: Step | None = None
    diverged: bool = False
    device: Device | None = None
    threads: Threads | None = None


class Change(Record):
    """An event without its time."""

    step: Step
    name: Name
    old: str
    new: str


class Hardware(Record):
    """What a run was trained on."""

    device: Device | None
    threads: Threads | None


class Hashes(Record):
    """Of a run's data and weights."""

    data: Digest
    weight: Digest


class Recipe(WithPlugins):
    """``recipe.json``, as far as it is replayed."""

    model_config = ConfigDict(extra="allow")

    step: Step
    config: dict[str, Any]
    events: list[Change]
    hardware: Hardware
    versions: dict[str, str]
    hashes: Hashes


class Protocol(Record):
    """A row of ``protocols``: :class:`engine.core.measurement.Measurement`."""

    attack: Name
    norm: Norm
    tau: Annotated[float, Field(ge=0, le=1e6)]
    steps: Annotated[int, Field(ge=0, le=10**9)]
    restarts: Annotated[int, Field(ge=0, le=10**9)]
    n: Annotated[int, Field(ge=1, le=10**9)]
    estimate: bool = False


def validated(model: type[M], found: object, path: Path) -> M:
    """``found`` as ``model``; :class:`StoreError` that names ``path`` and the field."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise StoreError(f"{path} is damaged: {first_fault(error)}") from None


def check_format(found: Mapping[str, Any], path: Path) -> None:
    """Whether this version reads files of the ``format`` that ``found`` names."""
    form = _number(found.get("format"))
    if isinstance(form, int) and not isinstance(form, bool) and form > FORMAT:
        raise VersionError(f"{path}: format {quoted(form)}, written by a newer version; this one reads format {FORMAT}")
    if form != FORMAT or isinstance(form, bool):
        raise StoreError(f"{path} is damaged: format: got {quoted(form)}; allowed: {FORMAT}")


def read_run(path: Path) -> tuple[str, Config]:
    """Id and config of the run whose ``config.json`` is ``path``; ``FileNotFoundError`` if there is none."""
    record, config = read_record(path)
    return record.run, config


def read_record(path: Path) -> tuple[RunRecord, Config]:
    """All that ``config.json`` says, and its config; as :func:`read_run`."""
    found = _table(read_json(path), path)
    check_format(found, path)
    record = validated(RunRecord, found, path)
    with needing(record.plugins, path.parent):
        return record, config_of(record.config, path)


def plugins_of(path: Path) -> list[PluginRecord]:
    """The plugins that the run whose ``config.json`` is ``path`` was made with; its config need not be understood."""
    return validated(WithPlugins, _table(read_json(path), path), path).plugins


def read_summary(path: Path) -> Summary:
    """What ``summary.json`` says; nothing if there is none."""
    try:
        found = _table(read_json(path), path)
    except FileNotFoundError:
        return Summary()
    return validated(Summary, found, path)


def read_recipe(path: Path) -> tuple[Recipe, Config]:
    """A recipe and its config; ``FileNotFoundError`` if there is none."""
    found = _table(read_json(path), path)
    check_format(found, path)
    recipe = validated(Recipe, found, path)
    with needing(recipe.plugins, path):
        config = config_of(recipe.config, path)
        for at, change in enumerate(recipe.events):
            if wrong := change_fault(change.name, change.old, change.new, config):
                raise StoreError(f"{path} is damaged: events.{at}.{wrong}")
    return recipe, config


@contextmanager
def needing(made_with: Sequence[PluginRecord], where: Path) -> Iterator[None]:
    """Inside, what does not fit raises :class:`PluginMissingError` if a plugin that it was made with is not loaded.

    ``where`` is the run's folder, or the file that is read.
    """
    try:
        yield
    except StoreError as error:
        lacking = plugins.missing(made_with)
        if not lacking or isinstance(error, PluginMissingError):
            raise
        raise PluginMissingError(plugins.needs(where, lacking)) from None


def _table(found: object, path: Path) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise StoreError(f"{path} is damaged: got {quoted(found)}; allowed: a table of names and values")
    return found


def config_of(found: Mapping[str, Any], path: Path) -> Config:
    """A config in the file ``path``.

    Knobs that do not fit in a file that is whole are those of another version: :class:`VersionError` naming knob and
    allowed values.
    """
    try:
        return from_dict(found, source=str(path))
    except ConfigError as error:
        raise VersionError(str(error)) from None


def change_fault(name: str, old: str, new: str, config: Config) -> str:
    """What is wrong with a change, as ``field: reason``; empty if nothing is. ``config`` says which knobs there are."""
    if name in NO_KNOB:
        values = (old, new) if name == "phase" else ()
        for field, value in zip(("old", "new"), values, strict=False):
            try:
                TypeAdapter(Objective).validate_python(value)
            except ValidationError:
                return f"{field}: got {quoted(value)}, which is no phase"
        return ""
    knob = next((each for each in knobs(config) if each.path == name.removeprefix(PREFIX)), None)
    if knob is None or not knob.live:
        return f"name: got {quoted(name)}, which is no live knob of this run"
    for field, value in (("old", old), ("new", new)):
        if name.startswith(PREFIX):
            if wrong := _curve_fault(value, knob):
                return f"{field}: {wrong}"
        elif not _fits(value, knob):
            return f"{field}: got {quoted(value)}; allowed for {name}: {knob.allowed}"
    return ""


def _curve_fault(text: str, knob: KnobInfo) -> str:
    if text == str(None):
        return ""
    try:
        curve = read_curve(knob.path, parse_json(text))
    except ValueError as error:
        return str(error)
    good = knob.follows_curves and all(knob.takes(value) for _, value in curve.points)
    return "" if good else f"got {quoted(text)}; allowed for {knob.path}: {knob.allowed}"


def _fits(value: str, knob: KnobInfo) -> bool:
    if knob.kind == "choice":
        return value in knob.choices
    if knob.kind == "bool":
        return value.lower() in ("true", "false")
    if knob.kind == "text":
        return True
    try:
        number = float(value) if knob.kind == "float" else int(value)
    except ValueError:
        return False
    low, high = knob.low, knob.high
    return math.isfinite(number) and (low is None or low <= number) and (high is None or number <= high)


# --- rows of the database


def events(rows: Iterable[tuple[Any, ...]], config: Config, path: Path) -> tuple[Event, ...]:
    """Rows (id, step, time, name, old, new) as events."""
    found = []
    for number, step, time, name, old, new in rows:
        where = f"{path} is damaged: events, row {quoted(number)}"
        change = _row(Change, {"step": step, "name": name, "old": old, "new": new}, where)
        if not isinstance(time, float | int) or not math.isfinite(time):
            raise StoreError(f"{where}: time: got {quoted(time)}; allowed: a number of seconds")
        if wrong := change_fault(change.name, change.old, change.new, config):
            raise StoreError(f"{where}: {wrong}")
        found.append(Event(change.step, float(time), change.name, change.old, change.new))
    return tuple(found)


def protocol(row: tuple[Any, ...], path: Path) -> tuple[int, str, Measurement]:
    """A row (step, name, protocol) of ``protocols``."""
    step, name, text = row
    where = f"{path} is damaged: protocols, {quoted(name)} at step {quoted(step)}"
    if not _is_step(step) or not isinstance(name, str):
        raise StoreError(f"{where}: allowed: a metric's name, and a step from 0 to {MOST_STEPS}")
    try:
        found = parse_json(text) if isinstance(text, str) else text
    except ValueError as error:
        raise StoreError(f"{where}: {error}") from None
    return step, name, Measurement(**_row(Protocol, found, where).model_dump())


def _row(model: type[M], found: object, where: str) -> M:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise StoreError(f"{where}: {first_fault(error)}") from None


def _is_step(step: object) -> bool:
    return isinstance(step, int) and 0 <= step <= MOST_STEPS


def metrics(rows: Iterable[tuple[Any, ...]], path: Path) -> list[tuple[int, str, float]]:
    """Rows (step, name, value) of ``metrics``; a missing value, as SQLite keeps NaN, is NaN."""
    found = []
    usual: dict[str, tuple[float, float]] = {}  # a run has up to millions of rows, of few names
    for step, name, value in rows:
        if not _is_step(step) or not isinstance(name, str):
            raise StoreError(
                f"{path} is damaged: metrics: step {quoted(step)} of {quoted(name)}; "
                f"allowed: a metric's name, and a step from 0 to {MOST_STEPS}"
            )
        low, high = usual.get(name) or usual.setdefault(name, range_of(name).bounds)
        within = type(value) is float and low <= value <= high
        found.append((step, name, value if within else _value(step, name, value, path)))
    return found


def columns(rows: Iterable[tuple[Any, ...]], path: Path) -> dict[str, Series]:
    """The same by name, of rows in the order of steps; checked by columns, as a run has up to millions of rows."""
    found: dict[Any, tuple[list[Any], list[Any]]] = {}
    for step, name, value in rows:
        column = found.get(name)
        if column is None:
            column = found[name] = ([], [])
        column[0].append(step)
        column[1].append(value)
    return {name: _column(name, *column, path) for name, column in found.items()}


def _column(name: Any, steps: list[Any], values: list[Any], path: Path) -> Series:
    """One metric; only where it holds anything unusual it is read value by value."""
    if isinstance(name, str) and set(map(type, steps)) == {int} and set(map(type, values)) == {float}:
        at, found = np.array(steps, np.int64), np.array(values)
        low, high = range_of(name).bounds
        if at[0] >= 0 and at[-1] <= MOST_STEPS and ((found >= low) & (found <= high)).all():
            return Series(at, found)
    checked = metrics(((step, name, value) for step, value in zip(steps, values, strict=True)), path)
    return Series(np.array([r[0] for r in checked], np.int64), np.array([r[2] for r in checked], np.float64))


def _value(step: int, name: str, value: object, path: Path) -> float:
    allowed = range_of(name)
    number = math.nan if value is None else value
    if not isinstance(number, float | int) or not allowed.holds(float(number)):
        got = "none" if value is None else quoted(value)
        raise StoreError(
            f"{path} is damaged: metrics, {quoted(name)} at step {step}: got {got}; allowed: {allowed.text()}"
        )
    return float(number)


def series(name: str, rows: Iterable[tuple[Any, Any]], path: Path) -> Series:
    """Rows (step, value) of one metric."""
    found = list(rows)
    return _column(name, [step for step, _ in found], [value for _, value in found], path)
