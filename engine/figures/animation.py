"""A run as an animation: one view at the steps whose weights are stored, on one contrast, as GIF or MP4.

What is drawn comes from the same source as a stored step in the window (:mod:`engine.run.past`). All frames are read
before the first is drawn, as contrast and axes are those of all of them. Each frame carries its step and phase.
"""

from __future__ import annotations

import io
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.config.experiment import IMAGES, SPARSE_CODING
from engine.core.errors import ConfigError, ExplorerError
from engine.core.files import absolute, refusal, write_atomically
from engine.core.quoting import quote
from engine.core.results import Filters, FloatArray, Mixture, Weights
from engine.core.slices import Progress, silent
from engine.figures.declare import MOMENT_LOOKS, phase
from engine.figures.filters import VIEW as FILTERS
from engine.figures.mixtures import VIEW as MIXTURES
from engine.figures.neurons import VIEW as NEURONS
from engine.figures.order import neuron_order
from engine.figures.panels import as_pictures, columns_for, tile
from engine.figures.style import GREYS, STYLE, signed_colours
from engine.run.snapshot import Snapshot

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COUNT = 64  # neurons that are shown
DPI = 110
PANEL = 3.3  # inches, a panel's side
TITLE = 0.42  # inches above
FORMATS = (".gif", ".mp4")
Picture = NDArray[np.uint8]  # (height, width, 3)


class AnimationError(ExplorerError):
    """The animation cannot be made."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What one frame shows: ``content`` is the scene's own."""

    step: int
    phase: str
    content: Any


class Scene(ABC):
    """One view as an animation."""

    kind: ClassVar[str]
    wants: ClassVar[frozenset[type]]

    def __init__(self, beside: bool) -> None:
        self.beside = beside  # the start and the end of clean training beside each frame

    @abstractmethod
    def settle(self, newest: Snapshot) -> None:
        """Decide, by the newest weights, which neurons are shown and in which order."""

    @abstractmethod
    def take(self, snapshot: Snapshot) -> Any:
        """What a frame needs of a snapshot."""

    @abstractmethod
    def size(self) -> tuple[float, float]:
        """Width and height of the panels in inches."""

    @abstractmethod
    def begin(self, figure: Figure, contents: Sequence[Any], top: float) -> None:
        """Make the panels below ``top`` (share of the height), with one contrast for all ``contents``."""

    @abstractmethod
    def show(self, content: Any) -> None:
        """Draw one frame."""


class Pictures(Scene):
    """Weights as pictures; ``content`` is moment → pictures (n, C, h, w)."""

    def __init__(self, beside: bool) -> None:
        super().__init__(beside)
        self.order: NDArray[np.int64] = np.empty(0, np.int64)
        self._images: dict[str, Any] = {}
        self._level, self._columns = 1.0, 1

    @property
    def moments(self) -> dict[str, str]:
        """Moment → title of its panel."""
        return {"start": "start", "clean": "after clean training", "now": "now"} if self.beside else {"now": ""}

    def size(self) -> tuple[float, float]:
        """The panels beside each other."""
        return PANEL * len(self.moments), PANEL + (0.25 if self.beside else 0)

    @staticmethod
    @abstractmethod
    def level(contents: Sequence[Mapping[str, FloatArray]]) -> float:
        """Which weight has the strongest colour."""

    def begin(self, figure: Figure, contents: Sequence[Any], top: float) -> None:
        """A panel a moment."""
        self._level = self.level(contents) or 1.0
        pictures = contents[0]["now"]
        self._columns = columns_for(len(pictures), pictures.shape[2] / pictures.shape[3])
        colour = pictures.shape[1] >= 3
        look = {"cmap": GREYS if self.kind == IMAGES else signed_colours(), "vmin": -self._level, "vmax": self._level}
        share = 1 / len(self.moments)
        for i, (moment, title) in enumerate(self.moments.items()):
            height = top - (0.25 / (PANEL + TITLE) if title else 0)
            axes = figure.add_axes((i * share + 0.01, 0.01, share - 0.02, height - 0.01))
            axes.set_axis_off()
            axes.set_title(title, pad=3)
            empty = self._tiles(np.full_like(pictures, np.nan))
            self._images[moment] = axes.imshow(empty, interpolation="nearest", **({} if colour else look))  # type: ignore[arg-type]

    def show(self, content: Any) -> None:
        """Change the pictures; a moment that has not come yet stays empty."""
        for moment, image in self._images.items():
            if moment in content:
                image.set_data(self._tiles(content[moment]))
            else:
                image.set_data(self._tiles(np.full_like(content["now"], np.nan)))

    def _tiles(self, pictures: FloatArray) -> FloatArray:
        if pictures.shape[1] < 3:
            return np.ma.masked_invalid(tile(pictures[:, 0], self._columns, np.nan))
        shown = np.clip(0.5 + np.moveaxis(pictures[:, :3], 1, -1) / (2 * self._level), 0, 1)
        return np.nan_to_num(tile(shown, self._columns, 1.0), nan=1.0)


class NeuronsScene(Pictures):
    """The gallery of hidden neurons, those with the largest norm at the newest step."""

    kind = SPARSE_CODING
    wants = frozenset({Weights, Mixture})

    def settle(self, newest: Snapshot) -> None:
        """The order of the gallery at its defaults."""
        mixture = newest.get(Mixture)
        assert mixture is not None
        self.order = neuron_order(mixture, NEURONS.option("sort").default, count=COUNT, alive=True)

    def take(self, snapshot: Snapshot) -> dict[str, FloatArray]:
        """The chosen neurons' weights at each moment."""
        weights = snapshot.get(Weights)
        assert weights is not None
        found = {"start": weights.start, "clean": weights.clean, "now": weights.now}
        return {m: as_pictures(w[self.order]) for m, w in found.items() if w is not None and m in self.moments}

    @staticmethod
    def level(contents: Sequence[Mapping[str, FloatArray]]) -> float:
        """The gallery's rule, over all frames."""
        contrast = NEURONS.contrast
        assert contrast is not None
        return contrast.level(*(contrast.size(np.nan_to_num(each["now"])) for each in contents))


class FiltersScene(Pictures):
    """The first layer's filters of a network on images."""

    kind = IMAGES
    wants = frozenset({Filters})

    def settle(self, newest: Snapshot) -> None:
        """The order of the view at its defaults: by index."""
        filters = newest.get(Filters)
        assert filters is not None
        self.order = np.arange(min(COUNT, len(filters.now)))

    def take(self, snapshot: Snapshot) -> dict[str, FloatArray]:
        """The filters at each moment."""
        filters = snapshot.get(Filters)
        assert filters is not None
        found = {"start": filters.start, "clean": filters.clean, "now": filters.now}
        return {m: w[self.order] for m, w in found.items() if w is not None and m in self.moments}

    @staticmethod
    def level(contents: Sequence[Mapping[str, FloatArray]]) -> float:
        """The view's rule, over all frames."""
        contrast = FILTERS.contrast
        assert contrast is not None
        return contrast.level(*(contrast.size(each["now"]) for each in contents))


class MixturesScene(Scene):
    """Each neuron as a point: its one feature, and all that is mixed into it."""

    kind = SPARSE_CODING
    wants = frozenset({Mixture})

    def settle(self, newest: Snapshot) -> None:
        """All neurons are shown."""

    def take(self, snapshot: Snapshot) -> tuple[NDArray[np.float64], NDArray[np.bool_], float]:
        """Points (m, 2), which neurons are alive, and the median purity of those."""
        mixture = snapshot.get(Mixture)
        assert mixture is not None
        points = np.stack([mixture.pure, mixture.mixture], axis=1).astype(np.float64)
        purity = float(np.median(mixture.purity[mixture.alive])) if mixture.alive.any() else float("nan")
        return points, mixture.alive, purity

    def size(self) -> tuple[float, float]:
        """One panel with its axes."""
        return 1.25 * PANEL, PANEL

    def begin(self, figure: Figure, contents: Sequence[Any], top: float) -> None:
        """Axes that hold every point of every frame."""
        self._axes: Axes = figure.add_axes((0.14, 0.15, 0.83, top - 0.17))
        largest = max(float(points.max()) for points, _, _ in contents) * 1.05 or 1.0
        look = MOMENT_LOOKS["now"]
        (self._points,) = self._axes.plot([], [], "o", color=look.light, markersize=3, alpha=0.6, linestyle="")
        self._axes.plot([0, largest], [0, largest], color="#C9CED6", linewidth=0.6)
        self._text = self._axes.text(0.98, 0.97, "", transform=self._axes.transAxes, ha="right", va="top")
        self._axes.set(xlim=(0, largest), ylim=(0, largest))
        self._axes.set_xlabel("pure magnitude |C_ij| (weight units)")
        self._axes.set_ylabel("mixture ‖v_i‖ (ℓ2, weight units)")

    def show(self, content: Any) -> None:
        """Move the points of the alive neurons."""
        points, alive, purity = content
        self._points.set_data(points[alive, 0], points[alive, 1])
        self._text.set_text(f"alive {alive.sum()} of {len(alive)}, median purity {purity:.3f}")


SCENES: Mapping[str, type[Scene]] = {
    NEURONS.name: NeuronsScene, FILTERS.name: FiltersScene, MIXTURES.name: MixturesScene,
}  # fmt: skip


def animate(
    folder: Path,
    view: str,
    out: Path,
    *,
    frames: int = 60,
    fps: int = 10,
    first: int = 0,
    last: int | None = None,
    beside: bool = False,
    progress: Progress = silent,
) -> list[int]:
    """Write the animation of ``view`` (:data:`SCENES`) of the run in ``folder`` to ``out``; return the steps drawn.

    At most ``frames`` of the stored steps from ``first`` to ``last`` (the newest by default) are drawn, evenly chosen:
    they lie densest after a switch, where most changes. ``fps`` frames a second; the last one stays for two seconds.
    ``beside`` draws the start and the end of clean training beside each. The format is that of the name's end:
    ``.gif``, or ``.mp4``, which needs the extra ``video``.

    Raises :class:`ConfigError` for an argument, :class:`StoreError` for the folder or ``out``,
    :class:`AnimationError` without an encoder. Nothing is left of a file that was not finished.
    """
    from engine import worlds

    out = absolute(out)
    _check(view, out, frames, fps)
    encoder = _encoder() if out.suffix == ".mp4" else ""
    past = worlds.past(folder)
    try:
        scene = SCENES[view](beside)
        if past.config.kind != scene.kind:
            fitting = ", ".join(name for name, each in SCENES.items() if each.kind == past.config.kind)
            raise ConfigError(f"view: got {quote(view)}; allowed for a run on {past.config.world.name}: {fitting}")
        steps = chosen([each.step for each in past.stored], first, last, frames)
        past.go(None)
        scene.settle(past.snapshot(scene.wants))
        moments = []
        for i, step in enumerate(steps):
            progress(0.4 * i / len(steps), f"reading step {step}")
            past.go(step)
            snapshot = past.snapshot(scene.wants)
            moments.append(Moment(snapshot.step, phase(snapshot.phase).training, scene.take(snapshot)))
        name = f"{past.folder.name}, seed {past.config.seed}"
    finally:
        past.close()
    pictures = draw(scene, moments, name)
    told = _told(pictures, len(moments), progress)
    content = _mp4(told, fps, encoder) if encoder else _gif(told, fps)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, content)
    except OSError as error:
        raise refusal(f"out: {out} cannot be written", error) from None
    return [each.step for each in moments]


def _check(view: str, out: Path, frames: int, fps: int) -> None:
    if view not in SCENES:
        raise ConfigError(f"view: got {quote(view)}; allowed: {', '.join(SCENES)}")
    if out.suffix not in FORMATS:
        raise ConfigError(f"out: got {quote(out.name)}; allowed: a name that ends with {' or '.join(FORMATS)}")
    if not 2 <= frames <= 1000:
        raise ConfigError(f"frames: got {frames}; allowed: 2 to 1000")
    if not 1 <= fps <= 50:
        raise ConfigError(f"fps: got {fps}; allowed: 1 to 50")


def chosen(steps: Sequence[int], first: int, last: int | None, most: int) -> list[int]:
    """At most ``most`` of the steps from ``first`` to ``last``, evenly chosen among them, both ends included.

    Raises :class:`ConfigError` if there are fewer than two.
    """
    within = [step for step in steps if step >= first and (last is None or step <= last)]
    if len(within) < 2:
        raise ConfigError(f"from, to: {len(within)} stored steps lie between; allowed: at least 2 of {len(steps)}")
    at = np.unique(np.linspace(0, len(within) - 1, min(most, len(within))).round().astype(int))
    return [within[i] for i in at]


def draw(scene: Scene, moments: Sequence[Moment], name: str) -> Iterator[Picture]:
    """Draw one frame after the other, each (height, width, 3) with even sides."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context():
        mpl.rcdefaults()
        for key, value in STYLE.items():
            mpl.rcParams[key] = value  # type: ignore[index]
        width, height = scene.size()
        figure = Figure(figsize=(width, height + TITLE), dpi=DPI)
        canvas = FigureCanvasAgg(figure)
        top = height / (height + TITLE)
        title = figure.text(0.5, (1 + top) / 2, "", ha="center", va="center")
        scene.begin(figure, [each.content for each in moments], top)
        for moment in moments:
            scene.show(moment.content)
            title.set_text(f"{name}\nstep {moment.step:,}, {moment.phase}")
            canvas.draw()  # type: ignore[no-untyped-call]
            shown = np.asarray(canvas.buffer_rgba())[:, :, :3]  # type: ignore[no-untyped-call]
            yield shown[: shown.shape[0] // 2 * 2, : shown.shape[1] // 2 * 2].copy()


def _told(pictures: Iterator[Picture], total: int, progress: Progress) -> Iterator[Picture]:
    for i, picture in enumerate(pictures):
        progress(0.4 + 0.6 * i / total, f"drawing frame {i + 1} of {total}")
        yield picture
    progress(1.0, "writing")


def _gif(pictures: Iterator[Picture], fps: int) -> bytes:
    from PIL import Image

    images = [Image.fromarray(picture) for picture in pictures]
    palette = _palette([images[0], images[len(images) // 2], images[-1]])
    frames = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    durations = [round(1000 / fps)] * (len(frames) - 1) + [2000]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=False)
    return file.getvalue()


def _palette(images: Sequence[Any]) -> Any:
    """The colours of several frames: one palette for all, or what stays the same would flicker."""
    from PIL import Image

    height = sum(image.height for image in images)
    joined = Image.new("RGB", (images[0].width, height))
    top = 0
    for image in images:
        joined.paste(image, (0, top))
        top += image.height
    return joined.quantize(255)


def _encoder() -> str:
    """The path of ffmpeg that the extra brings."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise AnimationError("mp4 needs the extra video: pip install '.[video]'; gif needs nothing more") from None
    return str(get_ffmpeg_exe())


def _mp4(pictures: Iterator[Picture], fps: int, encoder: str) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "animation.mp4"
        first = next(pictures)
        height, width = first.shape[:2]
        line = [encoder, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
        line += ["-r", str(fps), "-i", "-", "-an", "-vcodec", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", str(file)]
        process = subprocess.Popen(line, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin is not None
        try:
            process.stdin.write(first.tobytes())
            last = first
            for last in pictures:
                process.stdin.write(last.tobytes())
            for _ in range(2 * fps - 1):  # the end stays for two seconds
                process.stdin.write(last.tobytes())
            _, errors = process.communicate()
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        if process.returncode:
            raise AnimationError(f"the video could not be encoded: {errors.decode(errors='replace').strip()[-300:]}")
        return file.read_bytes()
