"""What a view means, for somebody who has not read the paper: drawn, formula with present values, place, surprise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.config.experiment import Config, value_of
from engine.core.measurement import NORM_SIGN

_KNOB = re.compile(r"\{([a-z_0-9.]+)\}")


def shown(value: object) -> str:
    """A knob's value as a formula has it: numbers short, norms by their signs, names as words."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return NORM_SIGN.get(str(value), str(value).replace("_", " "))


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a view shows, in plain words.

    ``drawn`` says what one sees, ``formula`` how it is computed, ``place`` where the paper speaks of it, and
    ``surprise`` what nobody should expect. In ``formula`` the path of a knob in braces, ``{attack.tau}``, stands for
    its present value; where the kinds of run differ, there is one formula for each.
    """

    drawn: str
    formula: str | Mapping[str, str]
    place: str
    surprise: str

    def filled(self, config: Config) -> str:
        """The formula for a run of ``config``, with its values. Raises :class:`AttributeError` for no such knob."""
        text = self.formula if isinstance(self.formula, str) else self.formula[config.kind]
        return _KNOB.sub(lambda found: shown(value_of(config, found[1])), text)
