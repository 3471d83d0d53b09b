"""Every knob of the explorer, declared once: default, range, unit, meaning, live or restart.

The window's form, the command line, the presets and the checks of typed values are all generated from the models
below. A *live* knob may change between two training steps; the others take effect with a new run.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from engine.errors import ConfigError

Objective = Literal["clean", "adversarial", "gaussian_noise"]
Dictionary = Literal["random", "dct", "haar", "identity"]
Norm = Literal["l2", "linf"]


def knob(
    default: object,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    live: bool = False,
    alias: str | None = None,
) -> Any:
    """Declare a knob. ``low`` and ``high`` are inclusive; ``doc`` may hold the formula it enters."""
    return Field(
        default=default,
        ge=low,
        le=high,
        description=doc,
        alias=alias,
        json_schema_extra={"unit": unit, "live": live},
    )


class Group(BaseModel):
    """A group of knobs: immutable, strict about types, and without room for unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


class About(Group):
    """What a preset asks and what to expect of it; shown to the user, never computed with."""

    title: str = knob("Untitled experiment", "Name shown in the window.")
    question: str = knob("", "The question this preset answers.")
    expect: str = knob("", "What one should see, and the paper's claim.")
    time: str = knob("", "Measured running time, and on what.")


class SparseCodingWorld(Group):
    """The world of the theory: x = M z + ξ with sparse z, labels sign⟨w*, z⟩ (SPEC.md section 1)."""

    name: Literal["sparse_coding"] = knob("sparse_coding", "The world the data come from.")
    d: int = knob(64, "Input dimension d; a square (64, 144, 256) makes every weight a picture.", low=4, high=4096)
    dictionary: Dictionary = knob("dct", "The orthonormal dictionary M whose columns are the features.")
    k: float = knob(3.0, "Sparsity k: a coordinate of z is ±1/√k with probability k/d.", low=0.5, high=64)
    p_large: float = knob(1.0, "A coordinate of z is ±1 with probability p_large/d.", low=0, high=64)
    sigma_x: float = knob(
        0.1, "Input noise: ξ ~ N(0, sigma_x²/d · I), so ‖ξ‖ ≈ sigma_x.", low=0, high=2, unit="ℓ2 norm", live=True
    )


class SymmetricReluModel(Group):
    """f(x) = Σᵢ [ReLU(⟨wᵢ,x⟩ + ρᵢ − b) − ReLU(−⟨wᵢ,x⟩ + ρᵢ − b)] (SPEC.md section 2)."""

    name: Literal["symmetric_relu"] = knob("symmetric_relu", "The network.")
    m: int = knob(400, "Number of hidden neurons m.", low=1, high=16384)
    sigma_0: float = knob(0.01, "Initial weights: wᵢ ~ N(0, sigma_0² I).", low=1e-6, high=1)
    sigma_rho: float = knob(
        0.1, "Pre-activation noise while training: ρᵢ ~ N(0, sigma_rho²).", low=0, high=2, live=True
    )
    b_end: float = knob(
        0.3, "Bias at the end of its ramp; it starts at sigma_0·√(2 ln d) and grows linearly.", low=0, high=5, live=True
    )
    bias_ramp: float = knob(
        0.6, "Share of the scheduled clean phase over which the bias grows.", low=0.01, high=1, live=True
    )
    lambda_: float = knob(
        1e-4, "Weight decay: lambda · Σᵢ (‖wᵢ‖²/2 + ‖wᵢ‖³/3).", low=0, high=0.1, live=True, alias="lambda"
    )


class Training(Group):
    """Plain SGD; every batch is fresh."""

    lr: float = knob(1.5, "Learning rate of plain SGD.", low=0, high=100, live=True)
    batch_size: int = knob(256, "Fresh samples per step.", low=1, high=8192, unit="samples", live=True)
    noise: float = knob(
        0.2, "Gaussian-noise training: x + N(0, noise²/d · I), so the noise has norm ≈ noise.",
        low=0, high=10, unit="ℓ2 norm", live=True,
    )  # fmt: skip


class Attack(Group):
    """The ball ‖δ‖ ≤ tau and the attack that adversarial training uses inside it."""

    norm: Norm = knob("l2", "Norm of the ball: ℓ2 or ℓ∞.", live=True)
    tau: float = knob(0.2, "Radius of the ball, ‖δ‖ ≤ tau; used in training and evaluation.", low=0, high=10, live=True)
    steps: int = knob(
        1, "Gradient steps while training: 1 is FGM, n > 1 is PGD with step 2.5·tau/n.", low=1, high=100, live=True
    )
    restarts: int = knob(1, "Restarts while training; the worst perturbation is kept.", low=1, high=20, live=True)
    random_start: bool = knob(False, "Start the training attack at a random point of the ball.", live=True)


class LowRank(Group):
    """A phase that may change the weights only by a matrix of low rank, W = W_clean + U V (SPEC.md section 7)."""

    rank: int = knob(
        0,
        "Rank of what a phase other than clean may change, W = W_clean + U V; 0, or at least min(m, d): no limit. "
        "Read when such a phase begins: a change takes effect with the next switch.",
        low=0,
        high=4096,
        live=True,
    )


class Schedule(Group):
    """Clean training first, then the second objective; the user may switch at any step instead."""

    clean_steps: int = knob(
        1500, "Clean steps, and the length the bias ramp refers to.", low=0, high=10_000_000, unit="steps"
    )
    second: Objective = knob("adversarial", "What the second phase trains with.")
    second_steps: int = knob(
        1500, "Steps of the second phase; then the run rests.", low=0, high=10_000_000, unit="steps"
    )

    @property
    def total(self) -> int:
        """Steps after which the scheduled run rests."""
        return self.clean_steps + self.second_steps


class Evaluation(Group):
    """The live estimate while training runs, and the fuller report at the end of each phase."""

    every: int = knob(50, "Live evaluation every this many steps.", low=1, high=100_000, unit="steps", live=True)
    size: int = knob(256, "Held-out samples of the live evaluation.", low=16, high=20_000, unit="samples", live=True)
    steps: int = knob(10, "PGD steps of the live evaluation.", low=1, high=500, live=True)
    restarts: int = knob(1, "PGD restarts of the live evaluation.", low=1, high=50, live=True)
    certify_every: int = knob(
        1000, "Certified accuracy at tau every this many steps, and in reports; 0 never.", low=0, high=100_000,
        unit="steps", live=True,
    )  # fmt: skip
    report_size: int = knob(
        1000, "Held-out samples of the report at a phase's end.", low=16, high=20_000, unit="samples", live=True
    )
    report_steps: int = knob(40, "PGD steps of that report.", low=1, high=1000, live=True)
    report_restarts: int = knob(5, "PGD restarts of that report.", low=1, high=50, live=True)


class Storage(Group):
    """What is written besides the metrics."""

    checkpoint_every: int = knob(
        500, "Write a checkpoint every this many steps.", low=10, high=1_000_000, unit="steps", live=True
    )
    keep: int = knob(
        64,
        "Of those, how many to keep: older ones are thinned out. Phase switches and requests are always kept.",
        low=2,
        high=100_000,
        unit="checkpoints",
        live=True,
    )


class Config(Group):
    """A whole experiment. Immutable: :func:`with_value` returns a changed copy."""

    about: About = Field(default_factory=About)
    seed: int = knob(0, "Seed of every named generator.", low=0, high=2**31 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = knob(
        "auto", "Where the tensors live; auto takes cuda, then mps, then cpu."
    )
    threads: int = knob(0, "CPU threads of the training thread; 0 chooses.", low=0, high=256, unit="threads")
    world: SparseCodingWorld = Field(default_factory=SparseCodingWorld)
    model: SymmetricReluModel = Field(default_factory=SymmetricReluModel)
    training: Training = Field(default_factory=Training)
    attack: Attack = Field(default_factory=Attack)
    low_rank: LowRank = Field(default_factory=LowRank)
    schedule: Schedule = Field(default_factory=Schedule)
    evaluation: Evaluation = Field(default_factory=Evaluation)
    storage: Storage = Field(default_factory=Storage)

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
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
            return f"{noun} from {self.low:g} to {self.high:g}"
        return noun


def knobs(config: Config | None = None) -> tuple[KnobInfo, ...]:
    """All knobs of ``config`` (or of the defaults), in the order of their declaration."""
    return tuple(_walk(config or Config(), ""))


def _walk(group: BaseModel, prefix: str) -> Iterator[KnobInfo]:
    for field_name, field in type(group).model_fields.items():
        value = getattr(group, field_name)
        name = field.alias or field_name
        if isinstance(value, BaseModel):
            yield from _walk(value, name)
        else:
            yield _info(field, f"{prefix}.{name}" if prefix else name, prefix, name)


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
    """Validate nested dictionaries. Raises :class:`ConfigError` naming each field, its value and what is allowed."""
    try:
        return Config.model_validate(dict(data))
    except ValidationError as error:
        where = f"{source}: " if source else ""
        raise ConfigError(where + "; ".join(_explain(e) for e in error.errors())) from None


def _explain(error: Any) -> str:
    path = ".".join(str(part) for part in error["loc"])
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "extra_forbidden":
        try:
            resolve(path)
        except ConfigError as unknown:
            return str(unknown)
        return f"{path}: stands in the wrong group"
    try:
        allowed = resolve(path).allowed
    except ConfigError:
        allowed = "a table of knobs"
    return f"{path}: got {error['input']!r}; allowed: {allowed}"


def with_value(config: Config, name: str, value: object) -> Config:
    """A copy of ``config`` with one knob changed, the whole validated again.

    An int is accepted for a float knob. Raises :class:`ConfigError` for an unknown name or a value out of range.
    """
    path = resolve(name, config).path
    data = to_dict(config)
    node = data
    *parents, leaf = path.split(".")
    for part in parents:
        node = node[part]
    node[leaf] = value
    return from_dict(data)


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
    first = ("small", "standard", "wide")
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
