"""A run's scalars as an event file of TensorBoard, with its knobs, changes and protocols as texts beside them.

The package ``tensorboard`` (extra ``tensorboard``) is imported only here, and only when a file is written. An event
file keeps values in 32 bits, and a run keeps no clock time for a scalar: all carry the time at which the run was made.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from engine.config.experiment import knobs, value_of
from engine.core.errors import ConfigError
from engine.core.files import absolute, refusal, write_atomically
from engine.run.schema import read_record
from engine.run.store import Store

FORMAT_NAME = "tensorboard"
INSTALL = "pip install 'feature-purification-explorer[tensorboard]'"
VERSION = "brain.Event:2"  # how a file says that it is one of these


def write_event_file(run_folder: Path, out: Path) -> Path:
    """Write all scalars of the run in ``run_folder`` to an event file in the folder ``out``, which TensorBoard opens.

    A run has one name for its file: writing it again replaces it. Raises :class:`ConfigError` if the package is not
    installed, and :class:`StoreError` if there is no such run or ``out`` cannot be written. Returns the file.
    """
    event, summary, text, record_writer = _tensorboard()
    with closing(Store.open(run_folder, read_only=True)) as store:
        created = read_record(store.folder / "config.json")[0].created or 0.0
        series, texts = store.columns(), dict(_texts(store))
        name = f"events.out.tfevents.{int(created):010d}.{store.run}"
    file = io.BytesIO()
    writer = record_writer(file)
    writer.write(event(wall_time=created, file_version=VERSION).SerializeToString())
    for tag, words in texts.items():
        writer.write(event(wall_time=created, step=0, summary=text(tag, words)).SerializeToString())
    rows = ((step, tag, value) for tag, each in series.items() for step, value in _pairs(each.steps, each.values))
    for step, tag, value in sorted(rows):  # by steps: TensorBoard takes an earlier step for a run begun anew
        of_tag = summary(value=[summary.Value(tag=tag, simple_value=value)])
        writer.write(event(wall_time=created, step=step, summary=of_tag).SerializeToString())
    path = absolute(out) / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, file.getvalue())
    except OSError as error:
        raise refusal(f"out: {path} cannot be written", error) from None
    return path


def _tensorboard() -> tuple[Any, Any, Any, Any]:
    """Its messages for an event and a summary, its texts, and the writer of its records."""
    from importlib import import_module

    try:
        return (
            import_module("tensorboard.compat.proto.event_pb2").Event,
            import_module("tensorboard.compat.proto.summary_pb2").Summary,
            import_module("tensorboard.plugins.text.summary_v2").text_pb,
            import_module("tensorboard.summary.writer.record_writer").RecordWriter,
        )
    except ImportError:
        raise ConfigError(f"--format: got {FORMAT_NAME!r}, which needs tensorboard; install it by {INSTALL}") from None


def _pairs(steps: Any, values: Any) -> Iterator[tuple[int, float]]:
    return zip(steps.tolist(), values.tolist(), strict=True)


def _texts(store: Store) -> Iterator[tuple[str, str]]:
    """What is said in words, as tables that TensorBoard shows."""
    config = store.config
    about = [(knob.path, str(value_of(config, knob.path))) for knob in knobs(config) if knob.group != "about"]
    yield "knobs", _table(("knob", "at the start"), about)
    changes = [(str(event.step), event.words) for event in store.events()]
    yield "changes", _table(("after step", "change"), changes)
    measured = [(name, str(step), how.text()) for step, name, how in store.protocols()]
    yield "protocols", _table(("metric", "from step", "how it is measured"), measured)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
