"""The files of a run's checkpoints, or of its frames: ``step-XXXXXXXX.safetensors`` in a folder of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save as save_tensors

from engine.config.experiment import Config, to_dict
from engine.config.knobs import Objective
from engine.core import plugins
from engine.core.errors import StoreError
from engine.core.files import write_atomically
from engine.core.registry import Registry
from engine.run.contents import CHECKPOINT_NAME, Arrays, Layout, read_checkpoint
from engine.run.schema import FORMAT, CheckpointHeader


class StateFiles:
    """Those in ``folder`` of the run with this id; ``kinds`` says what one must hold (:mod:`engine.run.contents`)."""

    def __init__(self, folder: Path, run: str, kinds: Registry[Layout]) -> None:
        self.folder = folder
        self.run = run
        self._kinds = kinds

    def path(self, step: int) -> Path:
        """Where the file of ``step`` is, or would be."""
        return self.folder / f"step-{step:08d}.safetensors"

    def steps(self) -> list[int]:
        """Steps of those that are there, ascending. Raises :class:`StoreError` if the folder cannot be read."""
        try:
            names = [path.name for path in self.folder.iterdir()]
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise StoreError(f"{self.folder} cannot be read: {error.strerror}") from None
        return sorted(int(found[1]) for each in names if (found := CHECKPOINT_NAME.fullmatch(each)))

    def sizes(self) -> dict[int, int]:
        """Size in bytes by step, ascending."""
        found = {}
        for step in self.steps():
            with suppress(OSError):  # who trains this run has just thinned it out
                found[step] = self.path(step).stat().st_size
        return found

    def write(
        self, step: int, arrays: Mapping[str, np.ndarray[Any, Any]], config: Config, phase: Objective, state: Any,
        events: int, *, durable: bool = True,
    ) -> int:  # fmt: skip
        """Write one, ``events`` being the id of the last event before it; its size in bytes."""
        metadata = {
            "format": str(FORMAT),
            "run": self.run,
            "step": str(step),
            "phase": phase,
            "events": str(events),
            "config": json.dumps(to_dict(config), ensure_ascii=False),
            "state": json.dumps(state),
            **({"plugins": json.dumps(made_with)} if (made_with := plugins.all_of(plugins.loaded())) else {}),
        }
        contiguous = {name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in arrays.items()}
        data = save_tensors(contiguous, metadata)
        write_atomically(self.path(step), data, durable=durable)
        return len(data)

    def read(self, step: int) -> tuple[CheckpointHeader, Config, Arrays]:
        """Its header, config and tensors. Raises :class:`StoreError` for one that is missing or damaged."""
        return read_checkpoint(self.path(step), self.run, step, self._kinds)

    def remove(self, step: int) -> None:
        """Remove one, if it is there."""
        self.path(step).unlink(missing_ok=True)
