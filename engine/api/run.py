"""A stored run, read: its record, its networks, its data, its figures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine.api.moment import RunAt
from engine.api.surroundings import as_it_was
from engine.api.weights import When, WrittenWeights, check_moment, write_weights
from engine.core.errors import ExplorerError, StoreError
from engine.core.files import absolute
from engine.core.history import Series
from engine.core.measurement import Measurement
from engine.core.reading import read_bytes
from engine.run.event_file import write_event_file
from engine.run.index import RunIndex
from engine.run.snapshot import Event
from engine.run.store import Store

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

    from engine.config.experiment import Config
    from engine.images.loading import ImageNetwork
    from engine.probes.robustness import Measured
    from engine.theory.loading import TheoryNetwork


class ScalarHistory(Mapping[str, Series]):
    """Name of a metric → its :class:`~engine.core.history.Series`: ``steps`` (t,) int64, ``values`` (t,) float64."""

    def __init__(self, columns: Mapping[str, Series]) -> None:
        self._columns = dict(columns)

    def __getitem__(self, name: str) -> Series:
        return self._columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"ScalarHistory({', '.join(f'{name} ({len(each)})' for name, each in self.items())})"

    def frame(self) -> Any:
        """A ``pandas.DataFrame``: a row a step, a column a metric, NaN where it was not measured at that step.

        Raises :class:`ExplorerError` if pandas is not installed.
        """
        from importlib import import_module

        try:
            pandas = import_module("pandas")
        except ImportError:
            raise ExplorerError("frame() needs pandas; install it by: pip install pandas") from None
        found = pandas.DataFrame({name: pandas.Series(each.values, each.steps) for name, each in self.items()})
        return found.rename_axis("step").sort_index()


class Run:
    """The run in :attr:`folder`, only read; every property is read anew, so that one in training is seen to grow.

    ``id`` is the run's own, ``config`` its knobs as started. Made by :func:`open_run`.
    """

    def __init__(self, folder: Path, *, device: str | None = None, data: Path | None = None) -> None:
        self._device, self._data = device, data
        with closing(Store.open(folder, read_only=True)) as store:
            self.folder: Path = store.folder
            self.id: str = store.run
            self.config: Config = store.config

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}, {self.config.about.title!r}, seed={self.config.seed})"

    # --- the record

    @property
    def history(self) -> ScalarHistory:
        """All scalars; keep it in a variable where it is read often."""
        with self._store() as store:
            return ScalarHistory(store.columns())

    @property
    def events(self) -> tuple[Event, ...]:
        """Every change with its step: phases, knobs, checkpoints saved by hand."""
        with self._store() as store:
            return store.events()

    def protocol(self, name: str, step: int | None = None) -> Measurement | None:
        """How the metric ``name`` was measured at ``step``, by default at its end; None if it carries no protocol."""
        with self._store() as store:
            known = [(first, how) for first, metric, how in store.protocols() if metric == name]
        return next((how for first, how in reversed(known) if step is None or first <= step), None)

    @property
    def summary(self) -> dict[str, Any]:
        """What ``summary.json`` says: the figures at each phase's end and the newest, each with interval and protocol.

        Raises :class:`StoreError` if there is none yet, as the run is still in training.
        """
        path = self.folder / "summary.json"
        try:
            found: dict[str, Any] = json.loads(read_bytes(path))  # NaN, too, where training diverged
        except FileNotFoundError:
            raise StoreError(f"{self.folder} has no summary.json yet") from None
        except ValueError as error:
            raise StoreError(f"{path} is damaged: {error}") from None
        return found

    @property
    def checkpoints(self) -> list[int]:
        """The steps of the checkpoints, ascending."""
        with self._store() as store:
            return store.checkpoints()

    @property
    def steps(self) -> list[int]:
        """The steps at which one can look, ascending: checkpoints and frames."""
        with self._store() as store:
            return sorted({*store.checkpoints(), *store.frames()})

    # --- networks, data, measuring

    def network(self, moment: When = "now", *, step: int | None = None) -> nn.Module:
        """The network at its ``"start"``, after ``"clean"`` training or ``"now"``, at the checkpoint ``step``.

        The newest checkpoint by default. In evaluation mode, its parameters asking for no gradient
        (``network.requires_grad_()`` changes that), on the CPU unless :func:`open_run` was given a device. In the
        sparse-coding world it is a :class:`~engine.models.plain.SymmetricNet`, x (n, d) → f(x) (n,), else pixels in
        [0, 1] (n, C, H, W) → logits (n, K), the normalisation inside. Raises :class:`ConfigError` for another moment,
        :class:`StoreError` for a step without a checkpoint, or a clean phase that had not ended.
        """
        check_moment(moment)
        with as_it_was():
            return self._load(step).network(moment)

    def data(self, n: int) -> tuple[Tensor, Tensor]:
        """``n`` held-out samples: x (n, d) and y (n,) of ±1, or images (n, C, H, W) in [0, 1] and classes (n,).

        Of images no more than there are. Raises :class:`ConfigError` where images are not where the run says.
        """
        with as_it_was(), self._images():
            return self._load(None).samples(n)

    def evaluate(
        self,
        attacks: Sequence[str] = ("pgd",),
        *,
        radii: Sequence[float] | None = None,
        norm: Literal["l2", "linf"] | None = None,
        steps: int = 40,
        restarts: int = 5,
        n: int = 1000,
        step: int | None = None,
    ) -> list[Measured]:
        """Clean accuracy and that under each attack at each radius, as ``python -m engine evaluate`` measures them.

        By default radius and norm are the run's. Each has ``accuracy``, ``protocol`` and ``figure``, a dict with its
        95% Wilson interval. Raises :class:`ConfigError` for an attack that there is none of.
        """
        with as_it_was(), self._images():
            network = self._load(step)
            knobs = network.config.attack
            ball = (norm or knobs.norm, radii or [knobs.tau])
            return network.accuracies(attacks, *ball, steps, restarts, n)

    def at(self, step: int | None = None) -> RunAt:
        """The run at the newest stored step at or before ``step``, by default the newest of all."""
        return RunAt(self.folder, step, self._device, self._data)

    # --- out

    def figure(self, view: str, *, step: int | None = None, width: float = 6.75, **options: object) -> Figure:
        """The figure of ``view``, e.g. ``"robustness"``, as a matplotlib ``Figure``, drawn at the checkpoint ``step``.

        ``options`` are the view's, e.g. ``sort="purity"``; ``width`` is 3.25 or 6.75 inches. A notebook shows it,
        ``figure.savefig`` writes it, and :meth:`export` writes it with data, caption and recipe. Raises
        :class:`ConfigError` for view, option or width, :class:`StoreError` for the step,
        :class:`engine.studies.base.NotMeasured` for what was not measured on this run.
        """
        from engine.figures.export import draw

        with as_it_was(), self._images():
            given = {name: _option(value) for name, value in options.items()}
            return draw(self.folder, view, step=step, options=given, width=width)

    def export(
        self,
        views: Sequence[str] | str,
        out: str | PathLike[str],
        *,
        formats: Sequence[str] = ("png", "svg", "pdf"),
        step: int | None = None,
        options: Mapping[str, object] | None = None,
        width: float = 6.75,
    ) -> list[Path]:
        """Write ``views`` (a name, several, or ``"all"``) into the folder ``out``, as ``python -m engine export`` does.

        With data, captions and a recipe; returns the files. Raises as :func:`engine.figures.export.export`.
        """
        from engine.figures.export import export

        chosen: Any = views if views == "all" or not isinstance(views, str) else [views]
        given = {name: _option(value) for name, value in (options or {}).items()}
        with as_it_was(), self._images():
            return export(self.folder, chosen, Path(out), formats=formats, step=step, options=given, width=width)

    def write_weights(
        self, out: str | PathLike[str], *, moment: When = "now", step: int | None = None
    ) -> WrittenWeights:
        """Write a plain state dict, and beside it Python that loads it: :func:`engine.api.weights.write_weights`."""
        with as_it_was(), self._images():
            return write_weights(self.folder, Path(out), moment=moment, step=step)

    def write_event_file(self, out: str | PathLike[str]) -> Path:
        """Write all scalars for TensorBoard into the folder ``out``: :func:`engine.run.event_file.write_event_file`."""
        return write_event_file(self.folder, Path(out))

    # --- inside

    def _store(self) -> closing[Store]:
        return closing(Store.open(self.folder, read_only=True))

    def _load(self, step: int | None) -> TheoryNetwork | ImageNetwork:
        from engine import worlds

        return worlds.load(self.folder, step, self._device or "cpu")

    def _images(self) -> AbstractContextManager[None]:
        from engine import worlds

        return worlds.images_at(self.folder, self._data)


def open_run(folder: str | PathLike[str], *, device: str | None = None, data: str | PathLike[str] | None = None) -> Run:
    """Open the run in ``folder`` to be read; nothing in it is changed.

    ``device`` is where networks and data live: ``cpu`` by default; ``data`` is where its images are now, if they were
    moved. Raises :class:`StoreError` if the folder is no run or is damaged.
    """
    return Run(absolute(Path(folder)), device=device, data=None if data is None else Path(data))


def open_runs(folder: str | PathLike[str]) -> list[Run]:
    """All runs below ``folder``, the newest first, without those that cannot be read.

    Raises :class:`StoreError` if there is no such folder.
    """
    root = absolute(Path(folder))
    if not root.is_dir():
        raise StoreError(f"folder: {root} does not exist")
    return [Run(each.folder) for each in RunIndex(root).look() if not each.entry.reason]


def _option(value: object) -> str:
    """As a view's options are written: true, false, or the text."""
    return str(value).lower() if isinstance(value, bool) else str(value)
