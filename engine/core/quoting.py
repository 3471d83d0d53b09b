"""How what was given is quoted in a message: in one line, escaped, and no longer than can be read."""

from __future__ import annotations

LONGEST = 200  # characters of a quotation


def quote(value: object) -> str:
    """``value`` as Python writes it, at most :data:`LONGEST` characters: control and bidi characters are escaped."""
    if isinstance(value, str):
        value = value[:LONGEST]  # a text of megabytes need not be escaped whole
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists in lists in lists
        text = f"a {type(value).__name__} too large to be shown"
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def plain(text: str) -> str:
    """``text`` without quotation marks, escaped and cut like :func:`quote`: a name, a path, an argument."""
    shown = escaped(text[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def escaped(text: str) -> str:
    """``text`` with an escape sequence in place of each character that is not printed: line breaks, ESC, bidi marks."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
