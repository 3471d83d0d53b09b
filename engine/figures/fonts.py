"""Which fonts a figure needs for names in any script, and which names none of the installed ones can draw."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import cache

FIRST = "DejaVu Sans"  # comes with matplotlib, and holds all that the figures say by themselves
NO_GLYPH = ("Cc", "Cf", "Mn", "Zs", "Zl", "Zp")  # categories of characters that need no picture of their own


def families(text: str) -> tuple[str, ...]:
    """:data:`FIRST` and the installed fonts that have what it lacks of ``text``; imports matplotlib."""
    lacking = _lacking(text)
    found = [FIRST]
    if lacking:
        for name, characters in _others().items():
            if lacking & characters:
                found.append(name)
                lacking -= characters
            if not lacking:
                break
    return tuple(found)


def undrawable(names: Iterable[str]) -> tuple[str, ...]:
    """Those of ``names``, each once, with a character that no installed font has."""
    known = frozenset[int]().union(*_others().values()) if any(_lacking(name) for name in names) else frozenset()
    return tuple(dict.fromkeys(name for name in names if _lacking(name) - known))


def outlines_only(fonts: Iterable[str]) -> bool:
    """Whether one of ``fonts`` cannot be embedded as TrueType, so that a PDF must hold its outlines."""
    return any(name in _others() and not _is_truetype(_paths()[name]) for name in fonts)


def _lacking(text: str) -> frozenset[int]:
    drawn = (c for c in set(text) if unicodedata.category(c) not in NO_GLYPH)
    return frozenset(map(ord, drawn)) - _characters(_paths()[FIRST])


@cache
def _characters(path: str) -> frozenset[int]:
    """The code points of a font that can be drawn at any size; none if it cannot, as pictures of emoji cannot."""
    from matplotlib.font_manager import get_font

    try:
        font = get_font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()
    except (OSError, RuntimeError):
        return frozenset()


def _paths() -> dict[str, str]:
    """Family → file of its upright regular face."""
    from matplotlib.font_manager import fontManager

    regular = (f for f in fontManager.ttflist if f.style == "normal" and str(f.weight) in ("400", "normal", "regular"))
    return {f.name: f.fname for f in sorted(regular, key=lambda f: (f.name, f.fname))}


def _others() -> dict[str, frozenset[int]]:
    """Family → characters of every font but the first; those that draw boxes for all characters do not count."""
    return {
        name: _characters(path)
        for name, path in _paths().items()
        if name != FIRST and not name.startswith(("Last Resort", "cm", "STIX", "DejaVu Math"))
    }


def _is_truetype(path: str) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123 - a path as matplotlib gives it
        head = file.read(16)
        if head[:4] == b"ttcf":
            file.seek(int.from_bytes(head[12:16], "big"))
            head = file.read(4)
    return head[:4] != b"OTTO"
