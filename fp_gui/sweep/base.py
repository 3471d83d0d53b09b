"""What a sweep begins from: the parameters as the window's next reset would start them. No Qt, no torch."""

from __future__ import annotations

from dataclasses import dataclass

from engine.config.assignments import assigned
from engine.config.curves import PREFIX, Curve
from engine.config.experiment import Config, KnobInfo, knobs, setting_of, with_values
from engine.config.presets import load_preset
from engine.core.errors import ConfigError
from engine.sweeps.record import text_of
from fp_gui.runs import preset_name

ASIDE = ("about", "storage")  # groups of knobs that change no figure
ALONE = ("seed", "device", "world.folder")  # seeds have a field of their own; the others change no figure either


@dataclass(frozen=True, slots=True)
class SweepBase:
    """A ``preset`` by name, with ``settings``: what all runs have otherwise.

    ``config`` stands in for a preset where the parameters are no named one's.
    """

    preset: str
    settings: tuple[tuple[str, str], ...] = ()
    config: Config | None = None

    @property
    def whole(self) -> Config:
        """The parameters of which knobs are swept."""
        start = load_preset(self.preset) if self.config is None else self.config
        return with_values(start, assigned(start, self.settings))


def base_of(config: Config, label: str) -> SweepBase:
    """``config`` as a preset with what differs from it, as a command line says it; else as it is, called ``label``.

    Where it is a branch, it begins anew: runs of a sweep begin at their beginning.
    """
    config = config.model_copy(update={"branch": None})
    name = preset_name(config, "")
    if name:
        preset = load_preset(name)
        had = _settings(preset)
        changed = tuple(
            (f"{PREFIX}{path}", text_of(value.points)) if isinstance(value, Curve) else (path, text_of(value))
            for path, value in _settings(config).items()
            if had.get(path, value is None) != value
        )
        found = SweepBase(name, changed)
        try:
            if _settings(found.whole) == _settings(config):
                return found
        except ConfigError:
            pass
    return SweepBase(label, (), config)


def _settings(config: Config) -> dict[str, object]:
    return {knob.path: setting_of(config, knob.path) for knob in knobs(config) if knob.group != "about"}


def sweepable(config: Config) -> list[KnobInfo]:
    """The knobs that one can sweep, in the order of the form."""
    return [
        knob
        for knob in knobs(config)
        if knob.group not in ASIDE and knob.path not in ALONE and knob.kind in ("int", "float", "bool", "choice")
    ]
