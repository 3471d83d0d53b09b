"""Text in figures is text: names with signs of mathematics, and names in any script, or the caption says which not."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from engine.figures import fonts
from engine.figures.base import Column, FigureData
from engine.figures.export import caption
from engine.figures.style import FORMATS, render

AWKWARD = (r"$\frac", "a_b$c", "$x^2$", r"50\%", "a_{b", "ж", "数字", "😀", "𓀀", "é̀")
CHINESE = "数字"


@dataclass(frozen=True)
class Named(FigureData):
    """Names wherever a figure writes some: ticks, title, legend, text, labels."""

    title: str = ""

    def height(self, width: float) -> float:
        return 3.0

    def draw(self, figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        names = self.names()
        axes.set_yticks(range(len(names)), names)
        axes.plot([0, 1], [0, 1], label=self.title)
        axes.legend()
        axes.set(title=self.title, xlabel=self.title)
        axes.text(0.5, 0.5, self.title)


def named(*names: str) -> Named:
    table = (Column("class", "text", np.array(names, np.str_)),)
    return Named(tables={"": table}, caption="Some classes, n = 2.", title=names[0])


@pytest.fixture
def chinese(tmp_path: Path) -> Iterator[str]:
    """An installed font that has the two characters of ``CHINESE``, as black boxes."""
    family = "Two Boxes"
    pen = TTGlyphPen(None)
    for i, point in enumerate(((0, 0), (0, 900), (900, 900), (900, 0))):
        (pen.lineTo if i else pen.moveTo)(point)
    pen.closePath()
    glyph, names = pen.glyph(), [".notdef", "one", "two"]
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap(dict(zip(map(ord, CHINESE), names[1:], strict=True)))
    builder.setupGlyf(dict.fromkeys(names, glyph))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    builder.setupHorizontalHeader(ascent=900, descent=-100)
    builder.setupNameTable({"familyName": family, "styleName": "Regular", "psName": "TwoBoxes-Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "boxes.ttf")
    before = list(fontManager.ttflist)
    fontManager.addfont(tmp_path / "boxes.ttf")
    yield family
    fontManager.ttflist[:] = before
    fontManager._findfont_cached.cache_clear()  # type: ignore[attr-defined]


def texts(svg: bytes) -> list[str]:
    root = ET.parse(io.BytesIO(svg)).getroot()
    return ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("name", AWKWARD)
def test_any_name_is_drawn_literally_in_all_formats(name: str) -> None:
    """Warnings are errors, so that a glyph that matplotlib misses would show."""
    data = named(name, "plain")
    found = {form: render(data, form, 3.25) for form in FORMATS}
    assert texts(found["svg"]).count(name) >= 4
    assert all(len(file) > 1000 for file in found.values())


def test_what_no_font_has_the_caption_names() -> None:
    data = named("ж", "plain", "\U0001304f boat", r"$\frac", "\U0001304f boat")
    assert "No font here has all characters of: \U0001304f boat.\n" in caption("classes", data)
    assert "No font" not in caption("classes", named(r"$\frac", "ж", "a_b$c", "é̀"))
    assert caption("classes", data).endswith("Data: classes.csv.\n")


def test_a_name_is_drawn_by_a_font_that_has_it(chinese: str) -> None:
    assert fonts.families(f"{CHINESE} and ж") == (fonts.FIRST, chinese)
    assert fonts.families("plain ж") == (fonts.FIRST,)
    data = named(CHINESE, "plain")
    assert "No font" not in caption("classes", data)
    assert chinese in render(data, "svg", 3.25).decode()
    assert b"TwoBoxes-Regular" in render(data, "pdf", 3.25)
    boxes = pixels(render(data, "png", 3.25))
    assert (boxes < 0.1).sum() > (pixels(render(named("ab", "plain"), "png", 3.25)) < 0.1).sum() + 500


def pixels(png: bytes) -> np.ndarray[Any, Any]:
    return np.asarray(matplotlib.image.imread(io.BytesIO(png))[..., 0])


def test_a_font_that_cannot_be_scaled_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    assert fonts._characters(str(broken)) == frozenset()
