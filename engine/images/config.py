"""An experiment on images (SPEC.md section 8): its knobs, and which belong together. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from engine.config.experiment import IMAGES, Config, Moment, kinds
from engine.config.knobs import Evaluation, Group, LowRankKnobs, Training, knob
from engine.data.images import ImageWorld, sources
from engine.models.base import networks

if TYPE_CHECKING:
    import torch

PEAK = 0.3  # share of a phase at which the one-cycle rate is highest
AFTER = 0.1  # rate behind a phase's end, in units of training.lr


class ImageTraining(Training):
    """SGD with momentum over epochs of a data set, its rate following a schedule in each phase."""

    lr: float = knob(0.05, "Learning rate: the schedule's highest.", low=0, high=10, live=True)
    lr_schedule: Literal["one_cycle", "cosine", "constant"] = knob(
        "one_cycle",
        "How the rate runs through a phase: one_cycle rises to lr over its first 30% and falls to almost 0, cosine "
        "falls from lr to 0, constant stays. Where the schedule was left, the rate stays at a tenth of lr.",
        live=True,
    )
    momentum: float = knob(0.9, "Momentum of SGD.", low=0, high=0.999, live=True)
    weight_decay: float = knob(5e-4, "Weight decay: adds weight_decay · w to each gradient.", low=0, high=1, live=True)
    flip: bool = knob(True, "Flip half of the training images, left and right.", live=True)
    crop: int = knob(
        0, "Random crop: shift each training image by up to so many pixels, zeros in place of what is missing.",
        low=0, high=16, unit="pixels", live=True,
    )  # fmt: skip
    bf16: bool = knob(False, "Compute in bfloat16 where the device is cuda (autocast); elsewhere without effect.")
    channels_last: bool = knob(True, "Keep images and kernels in channels-last memory order; it is usually faster.")


def rate(knobs: ImageTraining, share: float) -> float:
    """The learning rate where ``share`` of a phase is done; a phase that goes on beyond its end has ``AFTER`` · lr."""
    if share >= 1:
        return AFTER * knobs.lr
    if knobs.lr_schedule == "one_cycle":
        return knobs.lr * (share / PEAK if share < PEAK else (1 - share) / (1 - PEAK))
    if knobs.lr_schedule == "cosine":
        return knobs.lr * 0.5 * (1 + math.cos(share * math.pi))
    return knobs.lr


class LayerLowRank(LowRankKnobs):
    """The same for the layers of an image network, each kernel a matrix of (outputs, inputs · height · width)."""

    layers: str = knob(
        "all",
        "Layers whose change has that rank: all, or names separated by commas (the layer chooser lists them). The "
        "weights of the others are frozen meanwhile. Read when such a phase begins.",
        live=True,
    )


class LocalKnobs(Group):
    """Local purification: one layer drawn again and trained alone, clean, then adversarially (SPEC.md section 8)."""

    layer: str = knob("", "The layer to draw again, by name; empty: all layers train, nothing is drawn again.")
    redraw_at: int = knob(
        200, "Clean steps that train the whole network first; then the layer is drawn again, the rest frozen.",
        low=0, high=10_000_000, unit="steps",
    )  # fmt: skip


class ImageEvaluation(Evaluation):
    """The evaluation of an image classifier, whose gradients cost more."""

    every: int = knob(100, "Live evaluation every this many steps.", low=1, high=100_000, unit="steps", live=True)
    size: int = knob(128, "Held-out images of the live evaluation.", low=16, high=20_000, unit="images", live=True)
    report_size: int = knob(
        1000, "Held-out images of the report at a phase's end.", low=16, high=20_000, unit="images", live=True
    )
    report_steps: int = knob(10, "PGD steps of that report.", low=1, high=1000, live=True)
    report_restarts: int = knob(1, "PGD restarts of that report.", low=1, high=50, live=True)


@kinds.register(IMAGES)
class ImageConfig(Config):
    """An experiment on images (SPEC.md section 8); which data set and which network say their names."""

    kind: ClassVar[str] = IMAGES

    world: ImageWorld
    training: ImageTraining = Field(default_factory=ImageTraining)
    low_rank: LayerLowRank = Field(default_factory=LayerLowRank)
    evaluation: ImageEvaluation = Field(default_factory=ImageEvaluation)
    local: LocalKnobs = Field(default_factory=LocalKnobs)

    @model_validator(mode="after")
    def _fits_together(self) -> ImageConfig:
        if self.local.layer and self.local.redraw_at >= self.schedule.clean_steps:
            raise ValueError(
                f"local.redraw_at: got {self.local.redraw_at}; allowed with local.layer: less than "
                f"schedule.clean_steps = {self.schedule.clean_steps}"
            )
        if self.local.layer and self.low_rank.rank:
            raise ValueError(f"low_rank.rank: got {self.low_rank.rank}; allowed with local.layer: 0")
        if self.training.batch_size < 2 and networks[self.model.name].batch_norm:
            raise ValueError(
                f"training.batch_size: got {self.training.batch_size}; allowed with the batch norm of "
                f"model.name = {self.model.name!r}: at least 2"
            )
        return self

    @classmethod
    def variants(cls) -> Mapping[str, Mapping[str, type[Group]]]:
        """All data sets of images, all networks on them."""
        return {
            "world": {name: sources[name].knobs for name in sources},
            "model": {name: networks[name].knobs for name in networks},
        }

    def phase_share(self, moment: Moment) -> float:
        """How much of the phase is done; a phase that trains one layer begins where that was drawn again."""
        schedule, local = self.schedule, self.local
        clean = moment.phase == "clean"
        length = schedule.clean_steps if clean else schedule.second_steps
        if schedule.second == "clean":
            length = schedule.total  # one long clean phase
        if clean and local.layer and moment.start <= local.redraw_at:
            length = local.redraw_at - moment.start
        if clean and moment.redrawn:
            length = schedule.clean_steps - local.redraw_at
        return (moment.step - moment.start) / length if length > 0 else 1.0

    def in_force(self, moment: Moment) -> dict[str, float]:
        """The learning rate where the schedule of the phase has come to."""
        return {"training.lr": rate(self.training, self.phase_share(moment))}

    def describe(self) -> str:
        """Data and network in words, for captions."""
        size = self.world.train_size
        of = f"{size} training images" if size else "all training images"
        return f"{sources[self.world.name].title} ({of}), {networks[self.model.name].describe(self.model)}"


def images(config: Config, what: str) -> ImageConfig:
    """``config``, if it is of images; else :class:`ConfigError` that says ``what`` needs them."""
    return config.expect(ImageConfig, f"{what} needs a network on images")


def in_memory_order(config: ImageConfig) -> torch.memory_format:
    """How images and kernels lie in memory."""
    import torch

    return torch.channels_last if config.training.channels_last else torch.contiguous_format
