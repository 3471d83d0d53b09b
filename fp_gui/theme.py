"""Colours of the window and the plots, in light and dark."""

from __future__ import annotations

from dataclasses import dataclass

# Okabe and Ito's palette, told apart by the colour-blind; a dash pattern goes with each curve all the same.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours as ``#rrggbb``: ``window`` behind the docks, ``base`` behind plots and fields, ``text``, ``muted`` for
    secondary text, ``grid`` for lines, ``accent`` for selection and focus."""

    dark: bool
    window: str
    base: str
    text: str
    muted: str
    grid: str
    accent: str


LIGHT = Theme(False, "#f3f4f6", "#ffffff", "#1b1f24", "#5b6570", "#c9ced6", BLUE)
DARK = Theme(True, "#1e2126", "#15171b", "#e6e8eb", "#9aa3ad", "#3a4048", SKY)
