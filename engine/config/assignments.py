"""Values that come as text (``--set key=value``, a field of the form, a recorded event): the knob's kind decides."""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import isfinite

from engine.config.curves import PREFIX
from engine.config.experiment import Config, from_dict, resolve, value_of
from engine.core.errors import ConfigError
from engine.core.quoting import plain, quote


def read_value(text: str, kind: str) -> object:
    """What ``text`` means for a knob of ``kind`` (see :class:`engine.config.experiment.KnobInfo`).

    A text stays what it is, whatever it looks like. Where the text is no value of the kind it is returned as well, for
    the check of the config to name it. A decimal point is a point; a comma is no part of a number.
    """
    text = text.strip()
    if kind == "text":
        return text
    if kind == "choice":
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    if kind == "bool":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind == "curve" or text.startswith("["):
        return _points(text)
    try:
        number = float(text)
    except ValueError:
        return text
    if kind == "float":
        return number
    try:
        return int(text)
    except ValueError:  # 1e3, or thousands of digits
        return int(number) if isfinite(number) and number.is_integer() else text


def _points(text: str) -> object:
    """The points of a curve, None for no curve (``None``, as an event says it), else the text itself."""
    if text in ("", str(None)):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, list) else text


def parse_assignment(text: str) -> tuple[str, str]:
    """Split ``key=value`` of the command line. Raises :class:`ConfigError`, also for a value of several lines."""
    name, separator, value = text.partition("=")
    if not separator or not name.strip():
        raise ConfigError(f"--set: got {quote(text)}; allowed: key=value, e.g. attack.tau=0.1")
    if "".join(text.splitlines()) != text or "\0" in text:
        raise ConfigError(f"--set: got {quote(text)}; allowed: key=value in one line")
    return name.strip(), value


def assigned(config: Config, assignments: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Knob → value of assignments to ``config``, in whichever order they were written, sorted by knob.

    A name chosen for ``world`` or ``model`` decides which knobs there are for the others. Raises :class:`ConfigError`
    for an unknown knob and for one that is given two values.
    """
    pairs = list(assignments)
    names = {group: config.variants()[group] for group in config.variants()}
    chosen = {group: str(value_of(config, f"{group}.name")) for group in names}
    for name, text in pairs:
        group = name.removesuffix(".name")
        if group in names and name.endswith(".name"):
            chosen[group] = str(read_value(text, "choice"))
            if chosen[group] not in names[group]:
                raise ConfigError(f"{name}: got {quote(chosen[group])}; allowed: {', '.join(names[group])}")
    template = from_dict({group: {"name": name} for group, name in chosen.items()})
    found: dict[str, object] = {}
    given: dict[str, object] = {}  # a knob's value and its curve are two ways to set it
    for name, text in pairs:
        knob = resolve(name, template)
        value, target = read_value(text, knob.kind), knob.path.removeprefix(PREFIX)
        begun = knob.follows_curves and isinstance(value, str) and value.startswith("[")  # meant to be a curve
        if target in given and given[target] != value:
            raise ConfigError(f"{target}: is set twice, to {quote(given[target])} and to {plain(text.strip())}")
        found[PREFIX + target if begun else knob.path] = given[target] = value
    return dict(sorted(found.items()))
