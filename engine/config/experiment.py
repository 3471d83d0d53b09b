"""Whole experiments: groups of knobs put together, and how they are read, named, checked and changed.

The window's form, the command line, the presets and the checks of typed values are all generated from them. A kind of
experiment enters itself into :data:`kinds`; which data sets and networks there are, the kind asks their registries.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import UnionType
from typing import Any, ClassVar, Literal, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, create_model, model_validator
from pydantic.fields import FieldInfo

from engine.config.curves import POINTS_ALLOWED, PREFIX, is_curve
from engine.config.knobs import (
    About,
    AttackKnobs,
    Evaluation,
    Group,
    Imported,
    LowRankKnobs,
    Model,
    OneOf,
    Origin,
    Schedule,
    Storage,
    Training,
    World,
    knob,
)
from engine.core.errors import ConfigError
from engine.core.quoting import LONGEST, plain, quote
from engine.core.registry import Registry

C = TypeVar("C", bound="Config")

NO_KNOBS = {
    "branch": "parent, run and step of the run's origin",
    "imported": "the files that weights were read from, and their normalisation",
}
SPARSE_CODING, IMAGES = "sparse_coding", "images"  # the kinds of experiment that come with the explorer
EVERY_KIND = (SPARSE_CODING, IMAGES)


class Config(Group):
    """A whole experiment: what every world has. Immutable: :func:`with_value` returns a changed copy.

    It is always of one of the :data:`kinds`; ``world.name`` decides which. The groups ``world`` and ``model`` have a
    ``name`` that chooses their class among the kind's :meth:`variants`.
    """

    kind: ClassVar[str] = ""

    about: About = Field(default_factory=About)
    seed: int = knob(0, "Seed of every named generator.", low=0, high=2**31 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = knob(
        "auto", "Where the tensors live; auto takes cuda, then mps, then cpu."
    )
    threads: int = knob(
        0, "CPU threads of the training thread; 0 chooses.", low=0, high=256, unit="threads", zero="auto"
    )
    world: World
    model: Model
    training: Training = Field(default_factory=Training)
    attack: AttackKnobs = Field(default_factory=AttackKnobs)
    low_rank: LowRankKnobs = Field(default_factory=LowRankKnobs)
    schedule: Schedule = Field(default_factory=Schedule)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    storage: Storage = Field(default_factory=Storage)
    branch: Origin | None = Field(default=None, description="Where a branch comes from; None for any other run.")
    imported: Imported | None = Field(default=None, description="Which files the weights come from; None: trained.")

    @model_validator(mode="after")
    def _curves_fit(self) -> Config:
        table = {knob.path: knob for knob in knobs(self)} if self.schedule.knobs else {}
        for name, curve in self.schedule.knobs:
            known = table.get(name)
            if known is None or not known.follows_curves:
                why = "no knob has this name" if known is None else "is no live number"
                allowed = ", ".join(k.path for k in table.values() if k.follows_curves)
                raise ValueError(f"{PREFIX}{name}: {why}; allowed: {allowed}")
            for number, (step, value) in enumerate(curve.points, 1):
                where, last = f"{PREFIX}{name}: point {number}", self.schedule.total
                if step > last:
                    raise ValueError(f"{where}: got step {step}; allowed: at most {last}, the run's last step")
                if not known.takes(value):
                    raise ValueError(f"{where}: got {value:g} at step {step}; allowed: {known.allowed}")
        return self

    @property
    def untrained(self) -> bool:
        """Whether all weights come from files: nothing was trained. A branch of such a run has been trained since."""
        return self.imported is not None and self.branch is None

    @property
    def start_known(self) -> bool:
        """Whether the weights before any training are known: an import may lack them."""
        return self.imported is None or self.imported.start is not None

    @classmethod
    def variants(cls) -> Mapping[str, Mapping[str, type[Group]]]:
        """Group (``world``, ``model``) → name → the class of knobs that this name chooses."""
        raise NotImplementedError

    def describe(self) -> str:
        """World and network in words, for captions."""
        raise NotImplementedError

    def unused(self) -> dict[str, str]:
        """Knobs that have no effect as the others are set: path → the path of the knob that decides in their place."""
        return {}

    def in_force(self, moment: Moment) -> dict[str, float]:
        """What the step at ``moment`` uses where that is not simply the knob's value: by the knob's path.

        ``self`` is the config of that moment, its curves followed by :func:`at_step`.
        """
        return {}

    def expect(self, kind: type[C], refusal: str) -> C:
        """This config as one of ``kind``; else :class:`ConfigError`, ``refusal`` saying what was needed."""
        if self.kind != kind.kind:
            raise ConfigError(f"{refusal}; world.name of this run is {self.world.name!r}")
        return cast(C, self)


@dataclass(frozen=True, slots=True)
class Moment:
    """A step about to be taken, after ``step`` others: its objective ``phase`` came into force after ``start`` steps.

    ``redrawn``: a layer was drawn again before, and trains alone.
    """

    step: int
    phase: str
    start: int = 0
    redrawn: bool = False


kinds: Registry[type[Config]] = Registry("kind of experiment", "engine.theory.config", "engine.images.config")
"""The kinds of experiment by name, the first one being that of a config that names no world."""


@cache
def _specialised(kind: type[Config], world: type[Group], model: type[Group]) -> type[Config]:
    """``kind`` with these classes as its groups: an error then names just the knobs that there are."""
    if (kind.model_fields["world"].annotation, kind.model_fields["model"].annotation) == (world, model):
        return kind
    groups: dict[str, Any] = {
        "world": (world, Field(default_factory=world)),
        "model": (model, Field(default_factory=model)),
    }
    made: type[Config] = create_model(kind.__name__, __base__=kind, __module__=kind.__module__, **groups)
    return made


@dataclass(frozen=True, slots=True)
class KnobInfo:
    """One knob as the form, the command line and the documentation see it.

    ``path`` is its full name (``attack.tau``); ``kind`` one of ``int``, ``float``, ``bool``, ``choice``, ``text``, or
    ``curve`` for the curve of a knob (:mod:`engine.config.curves`), which is no knob of the form's own;
    ``choices`` is filled for ``choice`` only; ``low`` and ``high`` are inclusive or None; ``zero`` is a word for what 0
    means, if that is no number of the others' kind.
    """

    path: str
    group: str
    name: str
    kind: str
    default: object
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    unit: str
    doc: str
    live: bool
    zero: str = ""

    def expect_live(self) -> None:
        """Raise :class:`ConfigError` unless the knob may change while a run trains."""
        if not self.live:
            raise ConfigError(f"{self.path}: takes effect with a new run only; reset to apply it")

    @property
    def follows_curves(self) -> bool:
        """Whether this knob may change by a plan."""
        return self.live and self.kind in ("int", "float")

    def takes(self, value: float) -> bool:
        """Whether a number is a value of this knob."""
        whole = self.kind != "int" or value == int(value)
        return whole and (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        if self.kind == "curve":
            return POINTS_ALLOWED
        if self.kind == "choice":
            return ", ".join(self.choices)
        if self.kind == "bool":
            return "true, false"
        if self.kind == "text":
            return "a text"
        noun = "a whole number" if self.kind == "int" else "a number"
        if self.low is not None and self.high is not None:
            low, high = (int(v) if self.kind == "int" else v for v in (self.low, self.high))
            return f"{noun} from {low} to {high}" if self.kind == "int" else f"{noun} from {low:g} to {high:g}"
        return noun


def knobs(config: Config | None = None) -> tuple[KnobInfo, ...]:
    """All knobs of ``config`` (or of the defaults), in the order of their declaration."""
    whole = config or from_dict({})
    return tuple(_walk(whole, ""))


def _walk(
    group: BaseModel, prefix: str, variants: Mapping[str, Mapping[str, type[Group]]] | None = None
) -> Iterator[KnobInfo]:
    variants = variants if variants is not None else cast(Config, group).variants()
    for field_name, field in type(group).model_fields.items():
        value = getattr(group, field_name)
        name = field.alias or field_name
        if isinstance(value, BaseModel):
            yield from _walk(value, name, variants)
            continue
        if field.json_schema_extra is None:  # not a knob: the curves of others
            continue
        info = _info(field, f"{prefix}.{name}" if prefix else name, prefix, name)
        if name == "name" and prefix in variants:
            info = replace(info, kind="choice", choices=tuple(variants[prefix]))
        yield info


def _info(field: FieldInfo, path: str, group: str, name: str) -> KnobInfo:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    low = next((float(m.ge) for m in field.metadata if hasattr(m, "ge")), None)
    high = next((float(m.le) for m in field.metadata if hasattr(m, "le")), None)
    kind, choices = _kind(field.annotation)
    if named := next((mark.names for mark in field.metadata if isinstance(mark, OneOf)), None):
        kind, choices = "choice", tuple(named)
    return KnobInfo(
        path=path, group=group, name=name, kind=kind, default=field.default, low=low, high=high, choices=choices,
        unit=str(extra.get("unit", "")), doc=field.description or "", live=bool(extra.get("live", False)),
        zero=str(extra.get("zero", "")),
    )  # fmt: skip


def _kind(annotation: object) -> tuple[str, tuple[str, ...]]:
    if get_origin(annotation) is Literal:
        return "choice", tuple(str(a) for a in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        raise TypeError(f"a knob has one type, not {annotation}")
    return {int: "int", float: "float", bool: "bool", str: "text"}[annotation], ()  # type: ignore[index]


def resolve(name: str, config: Config | None = None) -> KnobInfo:
    """The knob called ``name``: a full path (``attack.tau``) or a last part that is unique (``tau``).

    Raises :class:`ConfigError` that names near misses for an unknown or ambiguous name.
    """
    table = knobs(config)
    if name.startswith(PREFIX):
        target = resolve(name.removeprefix(PREFIX), config)
        return replace(target, path=PREFIX + target.path, kind="curve", low=None, high=None, live=True)
    found = [k for k in table if k.path == name] or [k for k in table if k.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"{plain(name)}: several knobs have this name; allowed: {', '.join(k.path for k in found)}")
    near = difflib.get_close_matches(name[:LONGEST], [k.path for k in table] + [k.name for k in table], n=3)
    groups = dict.fromkeys(k.group or k.name for k in table)
    hint = f"did you mean {' or '.join(near)}?" if near else f"allowed: the knobs of {', '.join(groups)}"
    raise ConfigError(f"{plain(name)}: no knob has this name; {hint}")


def value_of(config: Config, path: str) -> object:
    """The value of the knob at ``path``; that of ``schedule.knobs.<path>`` is a curve or None."""
    if path.startswith(PREFIX):
        return config.schedule.curve(path.removeprefix(PREFIX))
    node: object = config
    for part in path.split("."):
        node = getattr(node, "lambda_" if part == "lambda" else part)
    return node


def setting_of(config: Config, path: str) -> object:
    """What the knob at ``path`` is set to: the curve that it follows, else its value."""
    curve = config.schedule.curve(path)
    return value_of(config, path) if curve is None else curve


def to_dict(config: Config) -> dict[str, Any]:
    """The config as plain nested dictionaries, with the names users see; :func:`from_dict` is its inverse."""
    return config.model_dump(by_alias=True, exclude_none=True)


def from_dict(data: Mapping[str, Any], *, source: str = "") -> Config:
    """Validate nested dictionaries. Raises :class:`ConfigError` naming each field, its value and what is allowed.

    ``world.name`` decides which kind of config it is; without it, it is the first of :data:`kinds`.
    """
    data = {name: dict(value) if isinstance(value, Mapping) else value for name, value in data.items()}
    where = f"{source}: " if source else ""
    kind = _kind_of(data, where)
    variants, problems = kind.variants(), []
    classes: dict[str, type[Group]] = {}
    for group, known in variants.items():
        given = data.get(group, {})
        first = next(iter(known))
        name = given.get("name", first) if isinstance(given, dict) else first
        if not isinstance(name, str) or name not in known:
            problems.append(f"{group}.name: got {quote(name)}; allowed: {', '.join(known)}")
            name = first
            data[group] = {}
        classes[group] = known[name]
    whole = _specialised(kind, classes["world"], classes["model"])
    try:
        made = whole.model_validate(data)
    except ValidationError as error:
        problems += [_explain(e, whole) for e in error.errors()]
    if problems:
        raise ConfigError(where + "; ".join(problems)) from None
    return made


def _kind_of(data: Mapping[str, Any], where: str) -> type[Config]:
    world = data.get("world")
    name = world.get("name") if isinstance(world, dict) else None
    if name is None:
        return kinds[next(iter(kinds))]
    for kind in map(kinds.__getitem__, kinds):
        if isinstance(name, str) and name in kind.variants()["world"]:
            return kind
    allowed = ", ".join(n for kind in map(kinds.__getitem__, kinds) for n in kind.variants()["world"])
    raise ConfigError(f"{where}world.name: got {quote(name)}; allowed: {allowed}")


def _explain(error: Any, whole: type[Config]) -> str:
    path = ".".join(str(part) for part in error["loc"])
    template = whole.model_validate({})  # of defaults: it knows which knobs there are
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "extra_forbidden":
        try:
            resolve(path, template)
        except ConfigError as unknown:
            return str(unknown)
        return f"{path}: stands in the wrong group"
    try:
        allowed = resolve(path, template).allowed
    except ConfigError:
        allowed = NO_KNOBS.get(path.partition(".")[0], "a table of knobs")
    return f"{path}: got {quote(error['input'])}; allowed: {allowed}"


def with_value(config: C, name: str, value: object) -> C:
    """A copy of ``config`` with one knob changed, the whole validated again.

    An int is accepted for a float knob. Raises :class:`ConfigError` for an unknown name or a value out of range.
    """
    return with_values(config, {resolve(name, config).path: value})


def with_values(config: C, values: Mapping[str, object]) -> C:
    """A copy of ``config`` with knobs changed by path, judged together; a new name brings its group's defaults with it.

    A number ends the curve that its knob follows; points in place of a number are its curve. A new name ends the curves
    of its group. Raises :class:`ConfigError`.
    """
    data, variants = to_dict(config), config.variants()
    curves: dict[str, object] = data["schedule"]["knobs"]
    for path, value in sorted(values.items(), key=lambda item: (not item[0].endswith(".name"), PREFIX in item[0])):
        target = path.removeprefix(PREFIX)
        if target != path or (is_curve(value) and not path.endswith(".name")):
            curves[target] = value
            if value is None or value == ():
                del curves[target]
            continue
        curves.pop(path, None)
        group, _, leaf = path.rpartition(".")
        node = data[group] if group else data
        if leaf == "name" and group in variants and node[leaf] != value:
            if not isinstance(value, str) or value not in variants[group]:
                raise ConfigError(f"{path}: got {quote(value)}; allowed: {', '.join(variants[group])}")
            node = data[group] = {}
            for followed in [name for name in curves if name.rpartition(".")[0] == group]:
                del curves[followed]
        node[leaf] = value
    return cast(C, from_dict(data))


def at_step(config: C, step: int) -> C:
    """``config`` with every knob that follows a curve at its value after ``step`` steps."""
    changed: dict[str, dict[str, object]] = {}
    for path, curve in config.schedule.knobs:
        group, _, leaf = path.partition(".")
        field = "lambda_" if leaf == "lambda" else leaf
        old, value = getattr(getattr(config, group), field), curve.at(step)
        if old != (value := round(value) if isinstance(old, int) else value):
            changed.setdefault(group, {})[field] = value
    if not changed:
        return config
    groups = {group: getattr(config, group).model_copy(update=values) for group, values in changed.items()}
    return config.model_copy(update=groups)
