"""A study in one file: how accurate a network is under Gaussian noise of growing size, which is no attack.

Importing it is enough: ``python -m engine noise DIR`` is then a command, ``noise.json`` a file that is read back and
checked, ``noise`` a view that is exported. In the explorer it would lie in ``engine/studies/questions`` and be found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np

from engine.config.experiment import SPARSE_CODING
from engine.core.errors import ConfigError
from engine.core.measurement import Measurement
from engine.core.slices import Progress, silent
from engine.figures.base import Column, Drawer, FigureData, figures, provenance
from engine.figures.declare import ViewDeclaration
from engine.studies.base import Answer, Interval, Length, RunFolder, Samples, Study, accuracies, studies

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from engine.run.store import Checkpoint, Store

SIZES = (0.0, 0.25, 0.5, 1.0)
VIEW = ViewDeclaration("noise", "Noise", 200, "Accuracy under Gaussian noise.", kinds=(SPARSE_CODING,))


@dataclass(frozen=True)
class NoiseRow:
    """The accuracy under noise of norm about ``size``."""

    size: Length
    accuracy: Interval


@dataclass(frozen=True)
class Noise:
    """``noise.json``: measured on ``n`` samples with the weights of step ``step``."""

    step: int
    n: int
    rows: tuple[NoiseRow, ...]


@studies.register("noise")
class NoiseStudy(Study[Noise]):
    """Measure accuracy under Gaussian noise of several sizes and write noise.json."""

    file = "noise.json"
    made_by = "noise {}"
    record = Noise

    def ask(
        self,
        folder: RunFolder,
        *,
        size: Annotated[Sequence[float] | None, "Norm of the noise; may be repeated. Default: 0 0.25 0.5 1."] = None,
        n: Samples = 1000,
        progress: Progress = silent,
    ) -> Answer[Noise]:
        """Measure at each size, on the same samples with the same noise. Raises :class:`ConfigError` for a size."""
        import torch

        from engine.core.generators import seeded
        from engine.probes.robustness import Measured
        from engine.theory.loading import TheoryNetwork

        sizes = SIZES if size is None else tuple(size)
        if any(not 0 <= each <= 100 for each in sizes):
            raise ConfigError(f"--size: got {', '.join(f'{each:g}' for each in sizes)}; allowed: 0 to 100")
        network = TheoryNetwork.load(folder)
        x, y = network.held_out.take(n, network.config.world.sigma_x)
        noise = torch.randn(x.shape, generator=seeded(network.config.seed, "noise study")).to(x) / x.shape[1] ** 0.5
        found = []
        for index, each in enumerate(sizes):
            progress(index / len(sizes), f"noise of size {each:g}")
            right = int((network.model.margin(x + each * noise, y) > 0).sum())
            found.append(Measured(right, Measurement(f"Gaussian noise, norm {each:g}", "l2", 0.0, 0, 0, len(y))))
        rows = tuple(NoiseRow(each, Interval.of(measured)) for each, measured in zip(sizes, found, strict=True))
        scalars = accuracies([f"noise/accuracy@{each:g}" for each in sizes], found)
        return Answer(Noise(network.step, len(y), rows), network.step, scalars)

    @classmethod
    def check(cls, record: Noise) -> str:
        """Sizes grow."""
        sizes = [row.size for row in record.rows]
        return "" if sizes == sorted(sizes) else "rows: sizes do not grow"

    def table(self, record: Noise) -> str:
        """A line a size."""
        rows = [f"  {row.size:<8g}{row.accuracy.text()}" for row in record.rows]
        return "\n".join([f"accuracy under noise at step {record.step}, n = {record.n}", *rows])


@dataclass(frozen=True)
class NoiseFigure(FigureData):
    """One curve."""

    def height(self, width: float) -> float:
        """Half as high as wide."""
        return width / 2

    def draw(self, figure: Figure) -> None:
        """Accuracy over size."""
        size, accuracy, *_ = (column.values for column in self.tables[""])
        axes = figure.subplots()
        axes.plot(size, accuracy, marker="o")
        axes.set_xlabel("norm of the noise")
        axes.set_ylabel("accuracy")


@figures.register(VIEW.name, order=VIEW.order)
class NoiseDrawer(Drawer):
    """Accuracy under Gaussian noise."""

    view = VIEW

    def collect(self, store: Store, checkpoint: Checkpoint, options: Mapping[str, str]) -> NoiseFigure:
        """Read ``noise.json`` of the run."""
        record = NoiseStudy.read(store.folder)
        accuracy = [row.accuracy for row in record.rows]
        values = {
            "size": [row.size for row in record.rows],
            "accuracy": [each.value for each in accuracy],
            "low": [each.low for each in accuracy],
            "high": [each.high for each in accuracy],
        }
        table = tuple(Column(name, "1", np.array(column)) for name, column in values.items())
        caption = f"Accuracy under Gaussian noise, n = {record.n}.\n{provenance(store, checkpoint)}"
        return NoiseFigure({"": table}, caption)
