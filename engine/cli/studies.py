"""The commands of the studies, each built from its declaration, and the command about data sets.

A window runs them in another process and reads their ``progress`` lines; SIGTERM and Ctrl+C end them.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from cyclopts import Parameter

from engine.cli.app import Data, app, interruptible, say
from engine.core.errors import ConfigError
from engine.core.files import absolute
from engine.core.quoting import quote
from engine.studies.base import Study, studies

_offered: dict[str, type[Study[Any]]] = {}


class ProgressLines:
    """Prints a line for each percent: a window reads it, and a person understands it."""

    def __init__(self) -> None:
        self._last = ""

    def __call__(self, share: float, what: str) -> None:
        """Say that ``share`` of the work is done, and what is under way."""
        line = f"progress {share:.2f} {what}"
        if line != self._last:
            self._last = line
            say(line)


def offer_studies() -> None:
    """Make a command of each study that is registered now, and of no other."""
    known = {name: studies[name] for name in studies}
    for name in [name for name, study in _offered.items() if known.get(name) is not study]:
        del app[name], _offered[name]
    for name, study in known.items():
        if name not in _offered:
            app.command(_command(study()), name=name)
            _offered[name] = study


def _command(study: Study[Any]) -> Callable[..., int]:
    """A function with the arguments of the study that runs it, and says its table and notes."""

    def command(folder: Path, *, data: Path | None = None, **options: Any) -> int:
        from engine import worlds

        folder = absolute(folder)
        with worlds.images_at(folder, data):
            record = study.run(folder, progress=ProgressLines(), **options)
        say(study.table(record))
        for line in study.notes(folder, record):
            say(line)
        return 0

    signature = inspect.signature(study.options, eval_str=True)
    arguments = [_argument(each) for each in signature.parameters.values() if each.name != "progress"]
    arguments.append(inspect.Parameter("data", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Data))
    command.__signature__ = inspect.Signature(arguments, return_annotation=int)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in arguments}
    command.__doc__ = study.__doc__
    return command


def _argument(given: inspect.Parameter) -> inspect.Parameter:
    """The argument as the command line takes it: a text in its annotation is its help, a bool a flag without a no."""
    if get_origin(given.annotation) is not Annotated:
        return given
    kind, *notes = get_args(given.annotation)
    words = [note for note in notes if isinstance(note, str)]
    shown = Parameter(help=" ".join(words), negative="" if kind is bool else None)
    return given.replace(annotation=Annotated[kind, shown])


@app.command
def data(
    name: Annotated[
        str | None, Parameter(help="One of them; with --download one that can be had, such as cifar10. Default: all.")
    ] = None,
    *,
    download: Annotated[bool, Parameter(help="Download it.", negative="")] = False,
    folder: Annotated[
        Path | None, Parameter(help="Where to look or to put it. Default: the user's data folder.")
    ] = None,
    json_: Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")] = False,
) -> int:
    """List the data sets: installed or not, where, how large; or download one."""
    from engine.data import catalogue
    from engine.data.images import sources

    where = "" if folder is None else str(folder)
    if download:
        with interruptible() as seen:  # so that nothing half-done is left behind
            saved = catalogue.download(name, where, progress=ProgressLines(), cancelled=lambda: bool(seen))
        say(f"saved: {saved}")
        return 0
    if name is not None and name not in sources:
        raise ConfigError(f"data: got {quote(name)}; allowed: {', '.join(sources)}")
    found = catalogue.survey(where) if name is None else (catalogue.look(name, where),)
    if json_:
        say(json.dumps([asdict(each) for each in found]))
        return 0
    for each in found:
        state = f"{each.size_bytes / 1e6:.1f} MB" if each.installed else "not installed"
        say(f"{each.name:<13}{each.title}: {state}; {each.images}\n{'':13}{each.where}")
        if each.note:
            say(f"{'':13}{each.note}")
    return 0
