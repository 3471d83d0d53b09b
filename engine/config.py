"""Whole experiments: configs of the knobs in :mod:`engine.knobs`, how they are read, named, checked and changed.

The window's form, the command line, the presets and the checks of typed values are all generated from them.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic.fields import FieldInfo

from engine.errors import ConfigError
from engine.knobs import (
    About,
    AlexNetModel,
    Attack,
    CertifiedEvaluation,
    Cifar10World,
    DigitsWorld,
    Evaluation,
    Group,
    ImageEvaluation,
    ImageFolderWorld,
    ImageTraining,
    LayerLowRank,
    Local,
    LowRank,
    Mnist5kWorld,
    Model,
    ResNetModel,
    Schedule,
    SgdTraining,
    SparseCodingWorld,
    Storage,
    SymmetricReluModel,
    Training,
    TwoLayerModel,
    World,
    knob,
)


class Config(Group):
    """A whole experiment: what every world has. Immutable: :func:`with_value` returns a changed copy.

    It is always one of :class:`SparseCodingConfig` and :class:`ImageConfig`; ``world.name`` decides.
    """

    about: About = Field(default_factory=About)
    seed: int = knob(0, "Seed of every named generator.", low=0, high=2**31 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = knob(
        "auto", "Where the tensors live; auto takes cuda, then mps, then cpu."
    )
    threads: int = knob(0, "CPU threads of the training thread; 0 chooses.", low=0, high=256, unit="threads")
    world: World
    model: Model
    training: Training = Field(default_factory=Training)
    attack: Attack = Field(default_factory=Attack)
    low_rank: LowRank = Field(default_factory=LowRank)
    schedule: Schedule = Field(default_factory=Schedule)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    storage: Storage = Field(default_factory=Storage)


class SparseCodingConfig(Config):
    """An experiment in the world of the theory."""

    world: SparseCodingWorld = Field(default_factory=SparseCodingWorld)
    model: SymmetricReluModel = Field(default_factory=SymmetricReluModel)
    training: SgdTraining = Field(default_factory=SgdTraining)
    evaluation: CertifiedEvaluation = Field(default_factory=CertifiedEvaluation)

    @model_validator(mode="after")
    def _fits_together(self) -> SparseCodingConfig:
        w = self.world
        if max(w.k, w.p_large) > w.d:
            raise ValueError(f"world.k = {w.k:g} and world.p_large = {w.p_large:g} must not exceed world.d = {w.d}")
        if w.dictionary in ("dct", "haar") and picture_side(w.d) is None:
            raise ValueError(
                f"world.dictionary = {w.dictionary!r} needs world.d to be a square (64, 144, 256); got {w.d}"
            )
        if w.dictionary == "haar" and round(w.d**0.5) % 2:
            raise ValueError(
                f"world.dictionary = 'haar' needs world.d to be the square of an even number (64, 144, 256); got {w.d}"
            )
        return self


def _by_name(group: object) -> str:
    """Which class of a group it is: what its ``name`` says, or the first."""
    name = group.get("name") if isinstance(group, dict) else getattr(group, "name", None)
    return str(name) if name is not None else ""


AnyImageWorld = Annotated[
    Annotated[DigitsWorld, Tag("digits")]
    | Annotated[Mnist5kWorld, Tag("mnist5k")]
    | Annotated[Cifar10World, Tag("cifar10")]
    | Annotated[ImageFolderWorld, Tag("image_folder")],
    Discriminator(_by_name),
]
AnyImageModel = Annotated[
    Annotated[TwoLayerModel, Tag("two_layer")]
    | Annotated[AlexNetModel, Tag("alexnet")]
    | Annotated[ResNetModel, Tag("resnet")],
    Discriminator(_by_name),
]


class ImageConfig(Config):
    """An experiment on images (SPEC.md section 8)."""

    world: AnyImageWorld = Field(default_factory=DigitsWorld)
    model: AnyImageModel = Field(default_factory=TwoLayerModel)
    training: ImageTraining = Field(default_factory=ImageTraining)
    low_rank: LayerLowRank = Field(default_factory=LayerLowRank)
    evaluation: ImageEvaluation = Field(default_factory=ImageEvaluation)
    local: Local = Field(default_factory=Local)

    @model_validator(mode="after")
    def _fits_together(self) -> ImageConfig:
        if self.local.layer and self.local.redraw_at >= self.schedule.clean_steps:
            raise ValueError(
                f"local.redraw_at: got {self.local.redraw_at}; allowed with local.layer: less than "
                f"schedule.clean_steps = {self.schedule.clean_steps}"
            )
        if self.local.layer and self.low_rank.rank:
            raise ValueError(f"low_rank.rank: got {self.low_rank.rank}; allowed with local.layer: 0")
        if self.training.batch_size < 2 and self.model.name != "two_layer":
            raise ValueError(
                f"training.batch_size: got {self.training.batch_size}; allowed with the batch norm of "
                f"model.name = {self.model.name!r}: at least 2"
            )
        return self


# Which classes a group's name may choose, by the config's class and the group.
VARIANTS: Mapping[type[Config], Mapping[str, tuple[type[Group], ...]]] = {
    SparseCodingConfig: {"world": (SparseCodingWorld,), "model": (SymmetricReluModel,)},
    ImageConfig: {
        "world": (DigitsWorld, Mnist5kWorld, Cifar10World, ImageFolderWorld),
        "model": (TwoLayerModel, AlexNetModel, ResNetModel),
    },
}


def variant_names(kind: type[Config], group: str) -> tuple[str, ...]:
    """The names among which ``group`` (``world`` or ``model``) of a ``kind`` of config may choose."""
    return tuple(str(v.model_fields["name"].default) for v in VARIANTS[kind][group])


def picture_side(d: int) -> int | None:
    """Side of the square picture that a vector of R^d makes, or None."""
    side = round(d**0.5)
    return side if side * side == d else None


@dataclass(frozen=True, slots=True)
class KnobInfo:
    """One knob as the form, the command line and the documentation see it.

    ``path`` is its full name (``attack.tau``); ``kind`` one of ``int``, ``float``, ``bool``, ``choice``, ``text``;
    ``choices`` is filled for ``choice`` only; ``low`` and ``high`` are inclusive or None.
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

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
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
    whole = config or SparseCodingConfig()
    return tuple(_walk(whole, "", type(whole)))


def _walk(group: BaseModel, prefix: str, kind: type[Config]) -> Iterator[KnobInfo]:
    for field_name, field in type(group).model_fields.items():
        value = getattr(group, field_name)
        name = field.alias or field_name
        if isinstance(value, BaseModel):
            yield from _walk(value, name, kind)
            continue
        info = _info(field, f"{prefix}.{name}" if prefix else name, prefix, name)
        if name == "name" and prefix in VARIANTS[kind]:
            info = replace(info, choices=variant_names(kind, prefix))
        yield info


def _info(field: FieldInfo, path: str, group: str, name: str) -> KnobInfo:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    low = next((float(m.ge) for m in field.metadata if hasattr(m, "ge")), None)
    high = next((float(m.le) for m in field.metadata if hasattr(m, "le")), None)
    kind, choices = _kind(field.annotation)
    return KnobInfo(
        path=path, group=group, name=name, kind=kind, default=field.default, low=low, high=high, choices=choices,
        unit=str(extra.get("unit", "")), doc=field.description or "", live=bool(extra.get("live", False)),
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
    found = [k for k in table if k.path == name] or [k for k in table if k.name == name]
    if len(found) == 1:
        return found[0]
    if found:
        raise ConfigError(f"{name}: several knobs have this name; allowed: {', '.join(k.path for k in found)}")
    near = difflib.get_close_matches(name, [k.path for k in table] + [k.name for k in table], n=3)
    groups = dict.fromkeys(k.group or k.name for k in table)
    hint = f"did you mean {' or '.join(near)}?" if near else f"allowed: the knobs of {', '.join(groups)}"
    raise ConfigError(f"{name}: no knob has this name; {hint}")


def value_of(config: Config, path: str) -> object:
    """The value of the knob at ``path``."""
    node: object = config
    for part in path.split("."):
        node = getattr(node, "lambda_" if part == "lambda" else part)
    return node


def to_dict(config: Config) -> dict[str, Any]:
    """The config as plain nested dictionaries, with the names users see; :func:`from_dict` is its inverse."""
    return config.model_dump(by_alias=True)


def from_dict(data: Mapping[str, Any], *, source: str = "") -> Config:
    """Validate nested dictionaries. Raises :class:`ConfigError` naming each field, its value and what is allowed.

    ``world.name`` decides which kind of config it is; without it, it is the world of the theory.
    """
    data = {name: dict(value) if isinstance(value, Mapping) else value for name, value in data.items()}
    where = f"{source}: " if source else ""
    kind = _kind_of(data, where)
    for group, classes in VARIANTS[kind].items():
        if isinstance(given := data.get(group), dict):
            given.setdefault("name", classes[0].model_fields["name"].default)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise ConfigError(where + "; ".join(_explain(e, data, kind) for e in error.errors())) from None


def _kind_of(data: Mapping[str, Any], where: str) -> type[Config]:
    world = data.get("world")
    name = world.get("name") if isinstance(world, dict) else None
    if name is None:
        return SparseCodingConfig
    for kind in VARIANTS:
        if name in variant_names(kind, "world"):
            return kind
    allowed = ", ".join(n for kind in VARIANTS for n in variant_names(kind, "world"))
    raise ConfigError(f"{where}world.name: got {name!r}; allowed: {allowed}")


def _template(data: Mapping[str, Any], kind: type[Config]) -> Config:
    """A config of defaults with the groups that ``data`` chooses: it knows which knobs there are."""
    groups: dict[str, Any] = {}
    for group, classes in VARIANTS[kind].items():
        name = _by_name(data.get(group))
        groups[group] = next((c for c in classes if c.model_fields["name"].default == name), classes[0])()
    return kind.model_validate(groups)


def _explain(error: Any, data: Mapping[str, Any], kind: type[Config]) -> str:
    loc = [str(part) for part in error["loc"]]
    if len(loc) > 1 and loc[0] in VARIANTS[kind] and loc[1] in variant_names(kind, loc[0]):
        del loc[1]  # the class chosen by the group's name; users know the group alone
    path = ".".join(loc)
    if error["type"] == "union_tag_invalid" and not isinstance(data.get(path), dict):
        return f"{path}: got {data.get(path)!r}; allowed: a table of knobs"
    if error["type"] == "union_tag_invalid":
        name = _by_name(data[path])
        return f"{path}.name: got {name!r}; allowed: {', '.join(variant_names(kind, path))}"
    template = _template(data, kind)
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
        allowed = "a table of knobs"
    return f"{path}: got {error['input']!r}; allowed: {allowed}"


C = TypeVar("C", bound=Config)


def with_value(config: C, name: str, value: object) -> C:
    """A copy of ``config`` with one knob changed, the whole validated again.

    An int is accepted for a float knob. Raises :class:`ConfigError` for an unknown name or a value out of range.
    """
    path = resolve(name, config).path
    data = to_dict(config)
    node = data
    *parents, leaf = path.split(".")
    for part in parents:
        node = node[part]
    if leaf == "name" and parents and parents[0] in VARIANTS[type(config)]:
        node = _renamed(config, parents[0], node, value)
        data[parents[0]] = node
    node[leaf] = value
    changed = from_dict(data)
    assert isinstance(changed, type(config))  # no knob leads from one kind of world to another
    return changed


def sparse_coding(config: Config, what: str) -> SparseCodingConfig:
    """``config``, if it is of the world of the theory; else :class:`ConfigError` that says ``what`` needs it."""
    if not isinstance(config, SparseCodingConfig):
        raise ConfigError(f"{what} needs the sparse-coding world; world.name of this run is {config.world.name!r}")
    return config


def images(config: Config, what: str) -> ImageConfig:
    """``config``, if it is of images; else :class:`ConfigError` that says ``what`` needs them."""
    if not isinstance(config, ImageConfig):
        raise ConfigError(f"{what} needs a network on images; world.name of this run is {config.world.name!r}")
    return config


def _renamed(config: Config, group: str, old: Mapping[str, Any], name: object) -> dict[str, Any]:
    """The group's values that the class called ``name`` has, too; the others are gone with the old class."""
    known = VARIANTS[type(config)][group]
    new = next((c for c in known if c.model_fields["name"].default == name), None)
    if new is None:
        raise ConfigError(f"{group}.name: got {name!r}; allowed: {', '.join(variant_names(type(config), group))}")
    return {field: value for field, value in old.items() if field in new.model_fields}


def parse_assignment(text: str) -> tuple[str, object]:
    """Split ``key=value`` of the command line; the value is read as TOML, else taken as text."""
    name, separator, raw = text.partition("=")
    if not separator or not name.strip():
        raise ConfigError(f"--set: got {text!r}; allowed: key=value, e.g. attack.tau=0.1")
    try:
        return name.strip(), tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), raw.strip()


def preset_names() -> tuple[str, ...]:
    """Names of the presets that come with the explorer, in the order in which they are offered."""
    first = ("small", "standard", "wide", "digits", "mnist5k", "cifar10-filters")
    found = sorted(
        p.name.removesuffix(".toml")
        for p in files("resources").joinpath("presets").iterdir()
        if p.name.endswith(".toml")
    )
    return tuple(n for n in first if n in found) + tuple(n for n in found if n not in first)


def load_preset(name: str) -> Config:
    """Read a preset by name, or a TOML file by path.

    Raises :class:`ConfigError` if there is none, if it is no TOML, or if a knob in it is wrong.
    """
    if name in preset_names():
        text = files("resources").joinpath("presets", f"{name}.toml").read_text(encoding="utf-8")
    elif name.endswith(".toml") and Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise ConfigError(f"preset: got {name!r}; allowed: {', '.join(preset_names())}, or the path of a .toml file")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"preset {name}: not valid TOML: {error}") from None
    return from_dict(data, source=f"preset {name}")
