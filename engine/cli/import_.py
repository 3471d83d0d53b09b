"""The command that makes a run folder of weights trained elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from engine.cli.app import INTERRUPTED, Device, app, interruptible, say
from engine.cli.run import SET_HELP
from engine.cli.studies import ProgressLines
from engine.config.assignments import parse_assignment
from engine.core.errors import ConfigError
from engine.core.quoting import quote
from engine.data.images import Cancelled
from engine.imports.request import TOLERANCE, ImportRequest

FILE_HELP = ".safetensors, or .pt, .pth, .ckpt of torch.save with tensors in plain dictionaries."


@app.command(name="import")
def import_(
    *,
    model: Annotated[str, Parameter(help="The network: a name of model.name, or resnet18, resnet34.")],
    data: Annotated[str, Parameter(help="The data set: a name of world.name, e.g. cifar10.")],
    clean: Annotated[Path, Parameter(help=f"Weights of the network after clean training: {FILE_HELP}")],
    robust: Annotated[Path, Parameter(help="Weights of the network after adversarial training.")],
    out: Annotated[Path, Parameter(help="The run folder: a new or empty one.")],
    start: Annotated[Path | None, Parameter(help="Weights before any training, if they are kept.")] = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", help=SET_HELP)] = None,
    normalisation: Annotated[
        Literal["inside", "outside", "none"] | None,
        Parameter(
            help="inside: the files hold mean and std (the default, if they do). outside: images were normalised "
            "before they came to the network, as --mean and --std say. none: pixels from 0 to 1 as they are."
        ),
    ] = None,
    mean: Annotated[
        str | None, Parameter(help="Of pixels from 0 to 1: a number a channel, e.g. 0.491,0.482,0.447. Default: of the "
                              "training images.")
    ] = None,
    std: Annotated[str | None, Parameter(help="The same of the deviation.")] = None,
    expect_accuracy: Annotated[
        float | None, Parameter(help="Clean accuracy that the clean network should have, e.g. 0.95; else refused.")
    ] = None,
    tolerance: Annotated[
        float, Parameter(help="By how much it may differ, beyond the 95% interval of the test images measured.")
    ] = TOLERANCE,
    device: Device = None,
) -> int:  # fmt: skip
    """Make a run folder of a clean and a robust network that were trained elsewhere; every view then reads it.

    The files are only read, and no code in them is run. What was taken off their keys is said. Nothing is trained:
    what needs the training's history, or a start that was not given, is "not measured".
    """
    settings = tuple(parse_assignment(text) for text in set_ or [])
    request = ImportRequest(
        model, data, clean, robust, out, start, settings, normalisation, _numbers("--mean", mean),
        _numbers("--std", std), expect_accuracy, tolerance,
    )  # fmt: skip
    request.config()  # what is wrong with it is said before torch is imported
    from engine.imports.importing import import_checkpoints

    with interruptible() as seen:
        try:
            found = import_checkpoints(
                request, device=device, progress=ProgressLines(), cancelled=lambda: bool(seen)
            )  # fmt: skip
        except Cancelled:
            say("interrupted: no run folder was made")
            return INTERRUPTED
    for line in found.lines():
        say(line)
    say(f"run folder: {found.folder}")
    return 0


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    try:
        return () if text is None else tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{option}: got {quote(text)}; allowed: numbers separated by commas") from None
