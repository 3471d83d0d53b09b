"""Draws how each preset ends: the small pictures of the chooser, resources/outcomes/PRESET.png.

    .venv/bin/python docs/outcomes.py RUNS [PRESET ...]

RUNS/PRESET is a run of the preset as it stands: where it is not there, it is trained first. A run of other settings is
refused, so that no picture promises what its preset does not give. Above are accuracy without attack (dashed), under
FGM (dotted) and under PGD over the steps, the phases shaded; below the same hidden neurons, those with the largest
weights now, after clean training and now, on one contrast. The picture's own text says which run it is of.
"""

from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from math import isqrt, prod
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from engine.config.experiment import Config, to_dict
from engine.config.presets import load_preset, preset_names
from engine.core import metrics
from engine.core.errors import ConfigError
from engine.core.files import write_atomically
from engine.figures.declare import ACCURACY_LOOKS, SHADE, VERMILION, phase
from engine.figures.style import signed_colours
from engine.run.store import Store

OUT = Path(__file__).parent.parent / "resources" / "outcomes"
SIZE, DPI = (2.4, 1.6), 200  # inches; twice the points at which the chooser shows it
NEURONS = 8
FIRST_LAYERS = ("conv1.weight", "hidden.weight")
CURVES = (
    (metrics.CLEAN, ACCURACY_LOOKS["clean"].light, "--"), (metrics.FGM, VERMILION, ":"),
    (metrics.PGD, ACCURACY_LOOKS["robust"].light, "-"),
)  # fmt: skip
QUANTILE = 0.995  # of the weights' sizes at both moments: the strongest colour
HERE = ("about", "device", "threads", "storage")  # knobs that decide nothing of what a run gives


def deciding(config: Config) -> dict[str, object]:
    """The knobs that decide what a run gives, its images' place left out."""
    found = {name: value for name, value in to_dict(config).items() if name not in HERE}
    found["world"] = {name: value for name, value in found["world"].items() if name not in ("folder", "name")}
    return found


def run_of(preset: str, folder: Path) -> Store:
    """The finished run of ``preset`` in ``folder``, trained now if it is not there."""
    if not folder.exists():
        subprocess.run([sys.executable, "-m", "engine", "run", preset, "--out", str(folder)], check=True)
    store = Store.open(folder, read_only=True)
    if deciding(store.config) != deciding(load_preset(preset)):
        raise ConfigError(f"{folder}: not a run of the preset {preset} as it stands")
    if store.checkpoints()[-1] < store.config.schedule.total:
        raise ConfigError(f"{folder}: not trained to its end")
    return store


def pictures(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights (n, d) or (n, C, h, w) as pictures (n, h, w): of several channels their mean."""
    if weights.ndim == 4:
        return weights.mean(1)
    side = isqrt(prod(weights.shape[1:]))
    return weights.reshape(len(weights), side, side)


def first_weights(arrays: dict[str, NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The first layer after clean training and now."""
    if "weight" in arrays:
        return arrays["weight_clean"], arrays["weight"]
    first = next(name for name in FIRST_LAYERS if f"now.{name}" in arrays)
    return arrays[f"clean.{first}"], arrays[f"now.{first}"]


def draw(store: Store) -> bytes:
    """The picture of a run as PNG."""
    config, last = store.config, store.config.schedule.total
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.02, 0.42, 0.96, 0.54))
    switch = config.schedule.clean_steps
    axes.axvspan(0, switch, color=phase("clean").colour, alpha=SHADE, lw=0)
    axes.axvspan(switch, last, color=phase(config.schedule.second).colour, alpha=2 * SHADE, lw=0)
    for name, colour, dash in CURVES:
        series = store.series(name)
        axes.plot(series.steps, series.values, color=colour, ls=dash, lw=1.4)
    axes.set(xlim=(0, last), ylim=(-0.03, 1.05), xticks=[], yticks=[0, 0.5, 1], yticklabels=[])
    axes.tick_params(length=2)
    axes.grid(axis="y", lw=0.4)
    checkpoint = store.load()
    clean, now = map(pictures, first_weights(checkpoint.arrays))
    strongest = np.argsort(-np.linalg.norm(now.reshape(len(now), -1), axis=1), kind="stable")[:NEURONS]
    level = max(float(np.quantile(np.abs(each[strongest]), QUANTILE)) for each in (clean, now))
    for row, moment in enumerate((clean, now)):
        for column, neuron in enumerate(strongest):
            place = (0.02 + 0.12 * column, 0.215 - 0.195 * row, 0.115, 0.185)
            cell = figure.add_axes(place)
            cell.imshow(moment[neuron], cmap=signed_colours(), vmin=-level, vmax=level, interpolation="nearest")
            cell.set_axis_off()
    out = BytesIO()
    text = f"{config.about.title}; seed {config.seed}; {last} steps on {config.device}; drawn by docs/outcomes.py"
    figure.savefig(out, format="png", metadata={"Description": text, "Software": None})
    return out.getvalue()


def main(runs: Path, presets: list[str]) -> None:
    """Draw the pictures of ``presets``."""
    OUT.mkdir(exist_ok=True)
    for preset in presets:
        store = run_of(preset, runs / preset)
        try:
            write_atomically(OUT / f"{preset}.png", draw(store))
        finally:
            store.close()
        print(preset)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(preset_names()))
