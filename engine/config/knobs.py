"""The base classes of the groups of knobs, each knob declared once: default, range, unit, meaning, live or restart.

A *live* knob may change between two training steps; the others take effect with a new run. What belongs to one world,
data set or network alone is declared beside it; :mod:`engine.config.experiment` reads them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from engine.config.curves import Curve, Curves
from engine.config.objectives import objectives
from engine.core.measurement import Norm
from engine.core.registry import Registry


@dataclass(frozen=True)
class OneOf:
    """Marks a knob that is a text: what is allowed are the names in a registry, at the time of asking."""

    names: Registry[Any]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: str) -> str:
        if value not in self.names:
            raise PydanticCustomError("one_of", "not registered")
        return value


Objective = Annotated[str, OneOf(objectives)]


def knob(
    default: object,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    live: bool = False,
    alias: str | None = None,
    zero: str = "",
) -> Any:
    """Declare a knob. ``low`` and ``high`` are inclusive; ``doc`` may hold the formula it enters.

    ``zero`` is what 0 means in a word where it is no number of the others' kind, e.g. ``all``.
    """
    return Field(
        default=default,
        ge=low,
        le=high,
        description=doc,
        alias=alias,
        json_schema_extra={"unit": unit, "live": live, "zero": zero},
    )


class Group(BaseModel):
    """A group of knobs: immutable, strict about types, and without room for unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


class About(Group):
    """What a preset asks and what to expect of it; shown to the user, never computed with."""

    title: str = knob("Untitled experiment", "Name shown in the window.")
    question: str = knob("", "The question this preset answers.")
    expect: str = knob("", "What one should see, in figures of a real run.")
    claim: str = knob("", "What the paper says of it, and where.")
    time: str = knob("", "Measured running time, and on what.")


class World(Group):
    """Where the data come from; ``name`` says which class it is."""

    name: str = knob("", "The world the data come from.")


class Model(Group):
    """The network; ``name`` says which class it is."""

    name: str = knob("", "The network.")


class Training(Group):
    """What every training has."""

    lr: float = knob(0.05, "Learning rate.", low=0, high=100, live=True)
    batch_size: int = knob(256, "Samples per step.", low=1, high=8192, unit="samples", live=True)
    noise: float = knob(
        0.2, "Gaussian-noise and smoothed adversarial training: x + N(0, noise²/d · I), so the noise has norm ≈ noise.",
        low=0, high=100, unit="ℓ2 norm", live=True,
    )  # fmt: skip
    beta: float = knob(
        6.0, "TRADES: the loss is the cross-entropy at x plus beta · KL(f(x) ‖ f(x′)), x′ the worst in the ball.",
        low=0, high=1000, live=True,
    )  # fmt: skip


class AttackKnobs(Group):
    """The ball ‖δ‖ ≤ tau and the attack that adversarial training uses inside it."""

    norm: Norm = knob("l2", "Norm of the ball: ℓ2 or ℓ∞.", live=True)
    tau: float = knob(0.2, "Radius of the ball, ‖δ‖ ≤ tau; used in training and evaluation.", low=0, high=10, live=True)
    steps: int = knob(
        1, "Gradient steps while training: 1 is FGM, n > 1 is PGD with step 2.5·tau/n.", low=1, high=100, live=True
    )
    restarts: int = knob(1, "Restarts while training; the worst perturbation is kept.", low=1, high=20, live=True)
    random_start: bool = knob(False, "Start the training attack at a random point of the ball.", live=True)

    @property
    def is_fgm(self) -> bool:
        """Whether training takes one gradient step, from x itself or from a random start, and once."""
        return self.steps == 1 and self.restarts == 1

    def trained_by(self) -> str:
        """The training attack in words, e.g. ``FGM from a random start`` or ``PGD-5 × 2 restarts``."""
        name = "FGM" if self.is_fgm else f"PGD-{self.steps}"
        restarts = f" × {self.restarts} restarts" if self.restarts > 1 else ""
        return f"{name}{restarts}{' from a random start' if self.random_start else ''}"


class LowRankKnobs(Group):
    """A phase that may change the weights only by a matrix of low rank, W = W_clean + U V (SPEC.md section 7)."""

    rank: int = knob(
        0,
        "Rank of what a phase other than clean may change, W = W_clean + U V; 0, or at least min(m, d): no limit. "
        "Read when such a phase begins: a change takes effect with the next switch.",
        low=0,
        high=4096,
        live=True,
        zero="full",
    )


class Origin(Group):
    """Where a run that is a branch comes from: the run ``run`` in the folder ``parent``, after ``step`` steps.

    Nothing is computed from it; the parent may be gone.
    """

    parent: str = Field(max_length=4096)
    run: str = Field(max_length=200)
    step: int = Field(ge=0)


class WeightFile(Group):
    """A file that weights were read from: its name, SHA-256 of its bytes, and what was taken off its keys."""

    file: str = Field(max_length=300)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    taken_off: str = Field(default="", max_length=4096)


class Imported(Group):
    """Where the weights of a run come from that were trained elsewhere; nothing is computed from it.

    ``normalisation`` says whether the files hold it (inside), it was done by whoever loaded the images (outside), or
    there is none; ``mean`` and ``std`` are those in force, in units of pixels from 0 to 1.
    """

    clean: WeightFile
    robust: WeightFile
    start: WeightFile | None = None
    normalisation: Literal["inside", "outside", "none"]
    mean: str = Field(max_length=4096)
    std: str = Field(max_length=4096)

    @property
    def files(self) -> dict[str, WeightFile]:
        """The files by what is in them, in the order of training."""
        found = {"start": self.start, "clean": self.clean, "robust": self.robust}
        return {what: file for what, file in found.items() if file is not None}

    def words(self) -> str:
        """Which files, each with the beginning of its SHA-256."""
        named = ", ".join(f"{what} {each.file} (SHA-256 {each.sha256[:12]}…)" for what, each in self.files.items())
        return f"Weights imported: {named}; normalisation {self.normalisation}"


class Schedule(Group):
    """Clean training first, then the second objective; the user may switch at any step instead."""

    clean_steps: int = knob(
        1500, "Clean steps, and the length the bias ramp refers to.", low=0, high=10_000_000, unit="steps"
    )
    second: Objective = knob("adversarial", "What the second phase trains with.")
    second_steps: int = knob(
        1500, "Steps of the second phase; then the run rests.", low=0, high=10_000_000, unit="steps"
    )
    knobs: Curves = Field(default=(), description="Live numbers that follow a curve over steps, by their paths.")

    def curve(self, path: str) -> Curve | None:
        """The curve that the knob at ``path`` follows, if any."""
        return next((curve for name, curve in self.knobs if name == path), None)

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
    frames_mb: int = knob(
        200,
        "Room for frames, the light copies of the weights that the timeline shows between checkpoints: dense after "
        "each phase switch, thinned out where there are too many. 0: none are taken.",
        low=0,
        high=1_000_000,
        unit="MB",
        live=True,
    )
