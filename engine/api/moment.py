"""A stored run at one of its steps: its knobs then, and what the engine measures of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from engine.api.surroundings import as_it_was
from engine.core.errors import ConfigError, ExplorerError
from engine.core.quoting import quote

if TYPE_CHECKING:
    from engine.config.experiment import Config
    from engine.core.results import FeatureRequest, Features
    from engine.run.past import Past

R = TypeVar("R")


class RunAt:
    """A run after :attr:`step` steps: the newest stored step at or before the one that was asked for.

    Weights are on disk at checkpoints and, more densely, at frames; nothing is trained. Results are measured when they
    are asked for, as the window measures them.
    """

    def __init__(self, folder: Path, step: int | None, device: str | None, data: Path | None) -> None:
        self._folder, self._device, self._data = folder, device, data
        with self._open(step) as past:
            found = past.snapshot()
            self.step: int = past.steps_done
            self.config: Config = found.config
            self.phase: str = found.phase
            self.clean_step: int = found.clean_step

    def __repr__(self) -> str:
        return f"RunAt({str(self._folder)!r}, step={self.step}, phase={self.phase!r})"

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the results that there are for this kind of run."""
        from engine.run.live import live_probes

        return tuple(live_probes[self.config.kind])

    @overload
    def result(self, kind: type[R]) -> R: ...

    @overload
    def result(self, kind: str) -> Any: ...

    def result(self, kind: type[Any] | str) -> Any:
        """One of :attr:`kinds`, by its type or its name, e.g. ``run.at(100).result("Mixture")``.

        It is a frozen dataclass of read-only numpy arrays, of :mod:`engine.core.results` or :mod:`engine.core.spectra`;
        its class documents shapes and units. Raises :class:`ConfigError` for one that this kind of run does not have,
        :class:`ExplorerError` for one that there is not yet at this step, as before clean training ended.
        """
        from engine.run.live import live_probes

        name = kind if isinstance(kind, str) else kind.__name__
        if name not in self.kinds:
            raise ConfigError(f"result: got {quote(name)}; allowed: {', '.join(self.kinds)}")
        with self._open(self.step) as past:
            return self._measured(past, live_probes[self.config.kind][name].result)

    def visualise(self, request: FeatureRequest) -> Features:
        """Pictures that activate units of a layer most, at the start, after clean training and at this step.

        Raises :class:`ConfigError` for units or images that are not there, or in the sparse-coding world.
        """
        from engine.core.results import Features
        from engine.run.commands import Visualise

        with self._open(self.step) as past:
            past.apply(Visualise(request))
            return self._measured(past, Features)

    def _measured(self, past: Past, kind: type[R]) -> R:
        """The result, measured to its end."""
        from engine.core.slices import finish
        from engine.run.live import source_of

        source = source_of(self.config.kind, kind)
        found = None
        if source is not None and source.measure is not None:
            found = source.measure(past)
        elif source is not None and source.task is not None and (task := source.task(past)) is not None:
            found = finish(task.begin())
        if not isinstance(found, kind):
            when = "clean training had not ended" if not self.clean_step else "nothing was asked for"
            raise ExplorerError(f"{self._folder}: there is no {kind.__name__} at step {self.step}: {when}")
        return found

    @contextmanager
    def _open(self, step: int | None) -> Iterator[Past]:
        with as_it_was():
            from engine import worlds

            past = worlds.past(self._folder, self._device, self._data)
            try:
                past.go(step)
                yield past
            finally:
                past.close()
