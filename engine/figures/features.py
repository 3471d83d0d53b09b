"""Feature visualisation: what activates deep units most, at the start, after clean training and now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite, prod
from typing import TYPE_CHECKING

import numpy as np

from engine.config.experiment import IMAGES
from engine.core.errors import ConfigError
from engine.core.quoting import quote
from engine.core.results import FeatureRequest
from engine.figures.base import Array, Column, Drawer, FigureData, figures, provenance, training
from engine.figures.declare import Option, TextOption, ViewDeclaration
from engine.figures.meaning import Meaning
from engine.figures.pictures import colours, layer_named, moments_of, network_of
from engine.figures.style import narrow

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.core.results import Features, LayerInfo
    from engine.run.store import Checkpoint, Store

ASCENT = (  # options of the ascent, on every view that shows its pictures
    TextOption("units", "0-8", {}, "Which units: numbers and ranges, e.g. 0-8 or 3, 17; a range ends with the layer.",
               meaning="numbers from 0 and ranges, separated by commas"),
    Option("origin", "noise", {"noise": "noise", "image": "an image"},
           "Where the ascent begins: a fixed grey picture with a little noise, or a held-out image."),
    Option("image", "1", {}, "Which held-out image that is.", number=True),
    TextOption("tau", "auto", {"auto": "auto"}, "How far the picture may go from where it began, in ℓ2.",
               meaning="a number above 0"),
    Option("steps", "60", {}, "Steps of gradient ascent for each picture.", number=True),
)  # fmt: skip
VIEW = ViewDeclaration(
    "features", "Feature visualisation", 90, "Pictures made by gradient ascent on the input, nothing else.", (IMAGES,),
    options=(
        TextOption("layer", "auto", {"auto": "the last convolution"}, "Which layer, by name, or by number from 1.",
                   meaning="a layer's name or number"),
        replace(ASCENT[0], doc="How many of the first units, or numbers and ranges, e.g. 0-8 or 3, 17."),
        *ASCENT[1:],
    ),
    meaning=Meaning(
        drawn="For a few units, the picture that excites each most, found from noise by climbing the "
        "gradient: at the start, after clean training, now.",
        formula="max_z unit(z) over pictures z in [0, 1] within an ℓ2 ball, by gradient ascent on the input "
        "alone, no smoothing; {model.name} on {world.name}, weights trained at τ = {attack.tau} "
        "({attack.norm}).",
        place="Section 5: deep layers purify, too, seen by visualising features.",
        surprise="Pictures of the purified network as grainy as those of the clean one.",
    ),
)  # fmt: skip
MARGIN, GAP, TITLE, UNITS = 0.06, 0.05, 0.19, 0.18  # inches; UNITS is the line with the units' numbers
PER_LINE = 9
MOST = 36  # units that are visualised at a time
FINE = 0.2  # cycles a pixel: waves of less than five pixels
TAU = 8.0 / prod((3, 32, 32)) ** 0.5  # ``auto``: 8 for CIFAR-10, the same change of each pixel for other sizes


@dataclass(frozen=True)
class FeatureRows(FigureData):
    """``rows``: title → pictures (n, C, H, W) of ``units``, drawn as they are: pixels in [0, 1]."""

    rows: Mapping[str, Array]
    units: tuple[int, ...]

    def height(self, width: float) -> float:
        """Lines of nine pictures under the title of each moment."""
        return MARGIN + len(self.rows) * (TITLE + self._lines * (self._side(width)[1] + UNITS))

    def draw(self, figure: Figure) -> None:
        """Draw the moments below each other, the same unit always in the same column."""
        width, height = figure.get_size_inches()
        w, h = self._side(width)
        top = height - MARGIN
        for title, pictures in self.rows.items():
            figure.text(MARGIN / width, top / height, title, va="top", size=8)
            top -= TITLE
            for i, picture in enumerate(colours(pictures)):
                left = MARGIN + i % PER_LINE * (w + GAP)
                bottom = top - i // PER_LINE * (h + UNITS) - h
                axes = figure.add_axes((left / width, bottom / height, w / width, h / height))
                axes.imshow(picture, interpolation="none", aspect="auto")
                axes.set_axis_off()
                name = f"{self.units[i]}" if narrow(width) else f"unit {self.units[i]}"
                place = ((left + w / 2) / width, (bottom - 0.02) / height)
                figure.text(*place, name, ha="center", va="top", size=7, color="0.3")
            top -= self._lines * (h + UNITS)

    @property
    def _lines(self) -> int:
        return -(-len(self.units) // PER_LINE)

    def _side(self, width: float) -> tuple[float, float]:
        """Width and height of a picture in inches."""
        h, w = next(iter(self.rows.values())).shape[2:]
        columns = min(PER_LINE, max(5, len(self.units)))
        size = (width - 2 * MARGIN - (columns - 1) * GAP) / columns
        return size, size * h / w


@figures.register(VIEW.name, order=VIEW.order)
class FeaturesDrawer(Drawer):
    """Pictures made by gradient ascent on the input, nothing else (SPEC.md section 8)."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> FeatureRows:
        """Climb on the weights of the checkpoint, of the start and of the end of clean training; imports torch."""
        units = options["units"]
        first = {"units": f"0-{max(int(units), 1) - 1}"} if units.isdecimal() else {}
        return feature_rows(store, checkpoint, {**options, **first})


def feature_rows(store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> FeatureRows:
    """The pictures of the units that ``options`` name, of each moment; imports torch."""
    from engine.core.slices import finish
    from engine.probes.features import visualise

    network = network_of(store, checkpoint)
    titles = moments_of(network, checkpoint)
    request = _request(options, network.layers, network.facts.shape)
    x, _ = network.held_out(request.image + 1 if request.origin == "image" else 1)
    if request.origin == "image" and request.image >= len(x):
        raise ConfigError(f"image: got {request.image + 1}; allowed: a whole number from 1 to {len(x)}")
    networks = {moment: network.network(moment) for moment in titles}  # type: ignore[arg-type]
    seed = checkpoint.config.seed
    found = finish(visualise(networks, request, x[-1], network.facts.shape, checkpoint.step, seed))
    moved = {m: found.pictures[m] - found.origin for m in titles}
    fine = {m: fineness(delta) for m, delta in moved.items()}
    table = (
        Column("unit", "index", np.array(request.units, np.int64)),
        *(Column(f"activation {m}", "pre-activation", found.activations[m]) for m in titles),
        *(Column(f"distance {m}", "ℓ2 norm", np.linalg.norm(d.reshape(len(d), -1), axis=1)) for m, d in moved.items()),
        *(Column(f"fine waves {m}", "share of energy", fine[m]) for m in titles),
    )
    arrays: dict[str, Array] = {"origin": found.origin} | {f"pictures_{m}": found.pictures[m] for m in titles}
    return FeatureRows(
        tables={"": table},
        arrays=arrays,
        caption=_caption(store, checkpoint, found, titles, fine),
        rows={title: found.pictures[m] for m, title in titles.items()},
        units=request.units,
    )


def _request(options: Mapping[str, str], layers: tuple[LayerInfo, ...], shape: tuple[int, int, int]) -> FeatureRequest:
    chosen = default_layer(layers) if options["layer"] == "auto" else layer_named(options["layer"], layers)
    return FeatureRequest(
        layer=chosen.name, units=parse_units(options["units"], chosen.units), origin=options["origin"],
        tau=TAU * prod(shape) ** 0.5 if options["tau"] == "auto" else _tau(options["tau"]),
        steps=int(options["steps"]), image=int(options["image"]) - 1,
    )  # fmt: skip


def default_layer(layers: tuple[LayerInfo, ...]) -> LayerInfo:
    """The last convolution, or the layer before the logits where there is none."""
    convolutions = [layer for layer in layers if layer.kind == "conv"]
    return convolutions[-1] if convolutions else layers[max(0, len(layers) - 2)]


def parse_units(text: str, count: int) -> tuple[int, ...]:
    """The units that ``text`` names, e.g. ``0-8`` or ``3, 17``, of a layer of ``count``; a range ends with the layer.

    Raises :class:`ConfigError` for another text, a unit that is not there, or more than :data:`MOST` units.
    """
    found: dict[int, None] = {}
    for part in text.replace("–", "-").replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ConfigError(f"units: got {quote(text)}; allowed: numbers and ranges, e.g. 0-8 or 3, 17")
        low, high = int(first), int(last) if dash else int(first)
        if low > high or low >= count:
            raise ConfigError(f"units: got {part}; allowed: 0 to {count - 1}, which this layer has")
        found |= dict.fromkeys(range(low, min(high, count - 1, low + MOST) + 1))
    if len(found) > MOST:
        raise ConfigError(f"units: got {quote(text)}; allowed: at most {MOST} at a time")
    return tuple(found)


def _tau(text: str) -> float:
    try:
        tau = float(text)
    except ValueError:
        tau = 0.0
    if not (isfinite(tau) and tau > 0):
        raise ConfigError(f"tau: got {quote(text)}; allowed: auto, a number above 0")
    return tau


def fineness(moved: Array) -> Array:
    """Of pictures less their origin (n, C, H, W), the share of energy in waves finer than ``FINE`` cycles a pixel (n,).

    White noise has 0.87 of it there. NaN for a picture that did not move.
    """
    energy = np.abs(np.fft.fft2(moved.astype(np.float64))) ** 2
    waves = np.hypot(np.fft.fftfreq(moved.shape[2])[:, None], np.fft.fftfreq(moved.shape[3])) > FINE
    total = energy.sum((1, 2, 3))
    fine = (energy * waves).sum((1, 2, 3))
    return np.asarray(np.divide(fine, total, out=np.full(len(total), np.nan), where=total > 0))


def _caption(
    store: Store, checkpoint: Checkpoint, found: Features, titles: Mapping[str, str], fine: Mapping[str, Array]
) -> str:  # fmt: skip
    request, seed = found.request, checkpoint.config.seed
    origin = (
        f"grey with a little noise (seed {seed})" if request.origin == "noise" else f"test image {request.image + 1}"
    )
    means = ", ".join(f"{float(found.activations[m].mean()):.3g} {t}" for m, t in titles.items()).replace("-", "−")
    moved = {m: share[np.isfinite(share)] for m, share in fine.items()}
    shares = ", ".join(f"{np.mean(moved[m]) if len(moved[m]) else 0:.2f} {t}" for m, t in titles.items())
    return "\n".join(
        [
            f"Pictures that activate units of layer {request.layer} most, as found by gradient ascent on the input, "
            f"for n = {len(request.units)} units; the same unit in the same column of every row. Pixels in [0, 1], "
            "drawn as they are, without any change of contrast.",
            f"Protocol: {request.steps} steps along the normalised gradient of the unit's mean pre-activation over its "
            f"positions, within ℓ2 distance {request.tau:.3g} of the origin and within [0, 1], the best step kept; "
            f"origin: {origin}, the same for all; no smoothing and no prior. Mean over the units of what was reached: "
            f"{means}. Of the energy of what was added to the origin, waves of less than {1 / FINE:g} pixels have the "
            f"share (white noise: 0.87) {shares}. {training(store, checkpoint)}",
            provenance(store, checkpoint),
        ]
    )
