"""How figures look, and their rendering to bytes: matplotlib's object interface only, the same bytes every time."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.core.errors import ConfigError
from engine.core.quoting import quote
from engine.figures.base import FigureData
from engine.figures.declare import DIMMED, KNOT_LOOK, KNOT_PLACE, SHADE, Dash, Marker, branch_words, phase
from engine.figures.fonts import families, outlines_only
from engine.run.timeline import Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    from engine.config.knobs import Origin
    from engine.run.snapshot import Event
    from engine.run.timeline import Knot

WIDTHS = (3.25, 6.75)  # inches: one and two columns of a paper
FORMATS = ("png", "svg", "pdf")
DPI = 300

MARKERS: Mapping[Marker, str] = {
    "circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "triangle-down": "v", "star": "*", "plus": "+",
    "cross": "x",
}  # fmt: skip
Pattern = str | tuple[int, tuple[float, ...]]
DASHES: Mapping[Dash, Pattern] = {
    "solid": "-", "dashed": (0, (4, 1.5)), "dotted": (0, (1.2, 1.2)), "dash-dot": (0, (4, 1.5, 1, 1.5)),
    "dash-dot-dot": (0, (4, 1, 1, 1, 1, 1)), "none": "",
}  # fmt: skip

# Signed weights: blue below zero, white at zero, orange above.
SIGNED = ("#08306B", "#2171B5", "#9ECAE1", "#FFFFFF", "#FDC086", "#E6750A", "#7F2704")

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,  # a class may be called "$a_b$"
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "feature-purification-explorer",  # else element names are drawn anew in every file
    "pdf.fonttype": 42,  # TrueType: text can be searched and edited
}


def render(data: FigureData, form: str, width: float) -> bytes:
    """The bytes of the file in one format (:func:`render_all`)."""
    return render_all(data, (form,), width)[form]


def render_all(
    data: FigureData, formats: Sequence[str], width: float, say: Callable[[str], None] = lambda _: None
) -> dict[str, bytes]:
    """Draw ``data`` at ``width`` inches once; format → the file's bytes. ``say`` hears which is drawn next.

    ``formats`` are of :data:`FORMATS`, ``width`` one of :data:`WIDTHS`; else :class:`ConfigError`. Without dates and
    random names in it, the same data gives the same bytes, whatever the other formats are.
    """
    for form in formats:
        check_format(form)
    check_width(width)
    import matplotlib as mpl
    from matplotlib import figure as drawing

    metadata: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    found: dict[str, bytes] = {}
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph .* missing from", UserWarning
        )  # which names have none, the caption says
        mpl.rcdefaults()  # a user's own matplotlibrc must not change a published figure
        for key, value in STYLE.items():
            mpl.rcParams[key] = value  # type: ignore[index]
        fonts = families(" ".join((data.caption, *data.names())))
        if len(fonts) > 1:
            mpl.rcParams["font.family"] = list(fonts)
            mpl.rcParams["pdf.fonttype"] = 3 if outlines_only(fonts) else 42
        figure = drawing.Figure(figsize=(width, data.height(width)), dpi=DPI)
        data.draw(figure)
        _lay_out(figure)
        for form in formats:
            say(f"drawing {form}")
            file = io.BytesIO()
            figure.savefig(file, format=form, dpi=DPI, metadata=metadata.get(form))
            found[form] = file.getvalue()
    return found


def _lay_out(figure: Figure) -> None:
    """Place what is drawn, once: else every format would do it again, each with text of a slightly other size."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)


def check_format(form: str) -> None:
    """Raise :class:`ConfigError` unless ``form`` is one of :data:`FORMATS`."""
    if form not in FORMATS:
        raise ConfigError(f"format: got {quote(form)}; allowed: {', '.join(FORMATS)}")


def check_width(width: float) -> None:
    """Raise :class:`ConfigError` unless ``width`` is one of :data:`WIDTHS`."""
    if width not in WIDTHS:
        raise ConfigError(f"width: got {width:g}; allowed: {', '.join(f'{w:g}' for w in WIDTHS)} inches")


def narrow(width: float) -> bool:
    """Whether a figure of this width stacks its panels in one column."""
    return width < 5


def signed_colours() -> Colormap:
    """Blue–white–orange, with a light grey for what is no data."""
    from matplotlib.colors import LinearSegmentedColormap

    found: Colormap = LinearSegmentedColormap.from_list("signed", SIGNED, N=256)
    return found.with_extremes(bad="#C8C8C8")


GREYS = "gray"  # dark, middle grey at zero, bright


def time_axis(
    axes: Axes, spans: tuple[Span, ...], end: int, *, origin: Origin | None = None, names: bool = True
) -> None:
    """Steps from 0 to ``end`` along x, phases as tints named above the axes, a line at every switch.

    What a branch took over from ``origin`` is dimmed, up to a line that says so. ``names``: whether words are written.
    """
    axes.set_xlim(0, max(end, 1))
    axes.set_xlabel("training step")
    axes.locator_params(axis="x", nbins=5)
    width_inches = axes.get_window_extent().width / axes.figure.dpi
    for i, span in enumerate(spans):
        axes.axvspan(span.start, span.end, color=phase(span.objective).colour, alpha=SHADE, lw=0, zorder=0)
        if i > 0:
            axes.axvline(span.start, color="0.35", lw=0.8, zorder=1)
        name = phase(span.objective).name
        # A name that is wider than its phase would run into the neighbour's.
        if names and (span.end - span.start) / max(end, 1) * width_inches > 0.06 * len(name) + 0.05:
            place = ((span.start + span.end) / 2, 1.02)
            axes.text(
                *place, name, transform=axes.get_xaxis_transform(), ha="center", va="bottom", size=7, color="0.25"
            )
    if origin is not None and origin.step <= end:
        _inherited(axes, origin, end, names=names)


def _inherited(axes: Axes, origin: Origin, end: int, *, names: bool) -> None:
    axes.axvspan(0, origin.step, color="white", alpha=DIMMED, lw=0, zorder=5)
    axes.axvline(origin.step, color="0.35", lw=0.8, ls=(0, (4, 2)), zorder=5)
    if names:
        side = "right" if origin.step > end / 2 else "left"
        words = branch_words(Path(origin.parent).name, origin.step)
        axes.annotate(
            words, (origin.step, 0.02), (-3 if side == "right" else 3, 0), xycoords=axes.get_xaxis_transform(),
            textcoords="offset points", ha=side, va="bottom", size=6.5, color="0.25", zorder=6,
        )  # fmt: skip


def knob_marks(axes: Axes, events: Iterable[Event]) -> None:
    """A dotted line with a letter for every step at which knobs were changed; the caption explains the letters."""
    for letter, step in lettered(events).items():
        axes.axvline(step, color="0.35", lw=0.7, ls=(0, (1, 1.5)), zorder=1)
        axes.text(
            step, 0.985, letter, transform=axes.get_xaxis_transform(), ha="center", va="top", size=7, zorder=7,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "0.35", "lw": 0.5},
        )  # fmt: skip


def knot_marks(axes: Axes, found: Iterable[Knot], end: int) -> None:
    """A hollow star at every step up to ``end`` at which the curve of a knob has a point."""
    steps = sorted({knot.step for knot in found if knot.step <= end})
    if steps:
        axes.plot(
            steps, [KNOT_PLACE] * len(steps), transform=axes.get_xaxis_transform(), ls="none", ms=6, mew=0.8,
            marker=MARKERS[KNOT_LOOK.marker], mfc="white", mec=KNOT_LOOK.light, clip_on=False, zorder=3,
        )  # fmt: skip


def lettered(events: Iterable[Event]) -> dict[str, int]:
    """Letter → step for the steps at which knobs were changed: a to z, then a1 and so on."""
    steps = dict.fromkeys(e.step for e in events)
    return {chr(97 + i % 26) + (str(i // 26) if i >= 26 else ""): step for i, step in enumerate(steps)}


def knob_key(events: tuple[Event, ...]) -> str:
    """What the letters of :func:`knob_marks` mean, for the caption; empty if there are none."""
    parts = []
    for letter, step in lettered(events).items():
        changes = ", ".join(e.words for e in events if e.step == step)
        parts.append(f"{letter}: step {step}, {changes}")
    return f"Knob changes: {'; '.join(parts)}." if parts else ""


def panels(figure: Figure, n: int, ratios: Sequence[float] | None = None) -> list[Axes]:
    """``n`` axes in a row, of widths in these ``ratios``, or below each other in a narrow figure."""
    figure.set_layout_engine("constrained", w_pad=0.05, h_pad=0.05)
    if narrow(figure.get_figwidth()):
        return list(figure.subplots(n, 1, squeeze=False).ravel())
    return list(figure.subplots(1, n, squeeze=False, width_ratios=ratios).ravel())


def diagonal(axes: Axes, largest: float, x: str, y: str) -> None:
    """Both axes from 0 to somewhat above ``largest``, with their names and the line where they are equal."""
    top = 1.06 * largest or 1.0
    axes.plot([0, top], [0, top], color="0.5", lw=0.7, ls=":", zorder=0)
    axes.set(xlim=(0, top), ylim=(0, top), xlabel=x, ylabel=y)
    legend_above(axes)


def legend_above(axes: Axes, *, names: bool = False) -> None:
    """A legend above the axes, where it covers nothing; ``names`` leaves room for the phases' names."""
    from matplotlib.transforms import ScaledTranslation

    lift = ScaledTranslation(0, (13 if names else 4) / 72, axes.figure.dpi_scale_trans)
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, 1), bbox_transform=axes.transAxes + lift, borderaxespad=0,
        handlelength=1.6, labelspacing=0.3,
    )  # fmt: skip


def unit_axis(axes: Axes, label: str) -> None:
    """A y axis from 0 to 1 with room above for the letters of knob changes."""
    axes.set(ylim=(0, 1.1), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1], ylabel=label)
    axes.grid(axis="y", color="0.85", lw=0.5)
    axes.set_axisbelow(True)
