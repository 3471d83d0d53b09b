"""What is to be imported, checked as far as no file need be read for it. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from engine.config.assignments import assigned
from engine.config.experiment import from_dict, with_values
from engine.core.errors import ConfigError
from engine.core.quoting import plain, quote
from engine.data.images import sources
from engine.images.config import ImageConfig
from engine.models.base import networks

Normalisation = Literal["inside", "outside", "none"]
TOLERANCE = 0.02  # by which the accuracy measured may differ from the one expected, beyond chance
NOMINAL = 1  # steps of each phase where nobody says how long it was
DEPTH = re.compile(r"([a-z_]+?)([0-9]+)")


@dataclass(frozen=True)
class ImportRequest:
    """Files of weights and what they are of.

    ``model`` is a network's name, or that with its depth (resnet18); ``data`` that of a data set; ``settings`` are
    knobs with their values as text. ``mean`` and ``std`` are in units of pixels from 0 to 1, one number a channel, by
    default the training images' own; ``normalisation`` None takes what the files hold. ``expected`` is the clean
    accuracy that the clean network should have.
    """

    model: str
    data: str
    clean: Path
    robust: Path
    out: Path
    start: Path | None = None
    settings: tuple[tuple[str, str], ...] = ()
    normalisation: Normalisation | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    expected: float | None = None
    tolerance: float = TOLERANCE

    def config(self) -> ImageConfig:
        """The config of the run to be made, without its ``imported``.

        Raises :class:`ConfigError` for the first field that is not allowed.
        """
        self._check()
        given = {"world": {"name": self.data}, "model": self._model()}
        nominal = {"clean_steps": NOMINAL, "second_steps": NOMINAL}
        about = {"title": f"Imported {self.model} on {self.data}"}
        plain_config = from_dict({**given, "schedule": nominal, "about": about})
        config = with_values(plain_config, assigned(plain_config, self.settings))
        found = config.expect(ImageConfig, "import needs a network on images")
        _check_schedule(found)
        return found

    def _model(self) -> dict[str, object]:
        if self.model in networks:
            return {"name": self.model}
        found = DEPTH.fullmatch(self.model)
        if found is not None and found[1] in networks:
            field = networks[found[1]].knobs.model_fields.get("depth")
            if field is not None and found[2] in get_args(field.annotation):
                return {"name": found[1], "depth": found[2]}
        raise ConfigError(f"--model: got {quote(self.model)}; allowed: {', '.join(networks)}, or resnet with its depth")

    def _check(self) -> None:
        if self.data not in sources:
            raise ConfigError(f"--data: got {quote(self.data)}; allowed: {', '.join(sources)}")
        if self.normalisation not in (None, *get_args(Normalisation)):
            allowed = ", ".join(get_args(Normalisation))
            raise ConfigError(f"--normalisation: got {quote(self.normalisation)}; allowed: {allowed}")
        for option, values, low in (("--mean", self.mean, -1.0), ("--std", self.std, 0.0)):
            if values and self.normalisation != "outside":
                raise ConfigError(f"{option}: allowed with --normalisation outside")
            if any(not low < value <= 10 for value in values):
                raise ConfigError(
                    f"{option}: got {plain(str(values))}; allowed: numbers above {low:g}, of pixels from 0 to 1"
                )
        if bool(self.mean) != bool(self.std):
            raise ConfigError("--mean, --std: got one of them; allowed: both, or none for the training images' own")
        for option, value in (("--expect-accuracy", self.expected), ("--tolerance", self.tolerance)):
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{option}: got {value:g}; allowed: a number from 0 to 1")


def _check_schedule(config: ImageConfig) -> None:
    schedule = config.schedule
    if schedule.knobs:
        raise ConfigError(f"schedule.knobs.{schedule.knobs[0][0]}: nothing is trained; allowed: a value, no curve")
    for name in ("clean_steps", "second_steps"):
        if getattr(schedule, name) < 1:
            raise ConfigError(f"schedule.{name}: got 0; allowed: at least 1 for imported weights")
    if schedule.second == "clean":
        raise ConfigError("schedule.second: got 'clean'; allowed: what the robust network was trained with")
    if config.local.layer:
        raise ConfigError(f"local.layer: got {quote(config.local.layer)}; allowed for imported weights: empty")
