"""Train every run of an exported comparison again, and draw the comparison anew."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.compare.export import compare
from engine.compare.script import FIGURES, RUNS
from engine.core.errors import StoreError
from engine.core.files import absolute
from engine.core.reading import parse_json, quoted, read_bytes
from engine.core.slices import Progress, silent
from engine.run.recipe import RECIPE
from engine.studies.base import part
from engine.studies.replay import Replay, replay


@dataclass(frozen=True, slots=True)
class Reproduced:
    """The ``replays``, run by run, and the ``figures`` that were written (none if nothing was recorded)."""

    replays: tuple[Replay, ...]
    figures: tuple[Path, ...]

    @property
    def equal(self) -> bool:
        """Whether all weights are the recorded ones to the bit."""
        return all(each.equal for each in self.replays)

    def text(self) -> str:
        """A line or two a run, in the comparison's order."""
        return "\n".join(f"run {i}: {each.text()}" for i, each in enumerate(self.replays, start=1))


def reproduce(
    exported: Path, out: Path, *, device: str | None = None, data: Path | None = None, progress: Progress = silent
) -> Reproduced:
    """Replay the runs of the comparison in the folder ``exported`` into ``out``/1 and so on, and compare them there.

    ``device`` and ``data`` as in :func:`engine.studies.replay.replay`. Raises its errors, and :class:`StoreError` for a
    folder that holds no comparison or whose ``recipe.json`` is damaged.
    """
    exported, out = absolute(exported), absolute(out)
    drawn = _comparison(exported / RECIPE)
    folders = sorted((exported / RUNS).glob("[0-9]*"), key=lambda folder: int(re.sub(r"\D", "", folder.name)))
    if len(folders) < 2:
        raise StoreError(f"{exported / RUNS}: holds {len(folders)} recipes; allowed: two or more")
    if out.exists() and any(out.iterdir()):
        raise StoreError(f"{quoted(str(out))} is not empty; allowed: a new or empty folder")
    replays = []
    for i, folder in enumerate(folders):
        tell = part(progress, i / len(folders), (i + 1) / len(folders), f"run {folder.name}: ")
        replays.append(replay(folder / RECIPE, out / folder.name, device=device, data=data, progress=tell))
    options = {f"{view}.{name}": value for view, given in drawn["views"].items() for name, value in given.items()}
    figures = compare(
        [each.folder for each in replays], list(drawn["views"]), out / FIGURES, formats=drawn["formats"],
        options=options, width=drawn["width"], mean=drawn["mean"],
    ).files  # fmt: skip
    return Reproduced(tuple(replays), figures)


def _comparison(path: Path) -> Mapping[str, Any]:
    """What a comparison's ``recipe.json`` says of its figures."""
    try:
        recipe = parse_json(read_bytes(path))
        found = recipe["comparison"]
        kinds: dict[str, type] = {"views": dict, "formats": list, "width": float, "mean": bool}
        if not all(isinstance(found[name], kind) for name, kind in kinds.items()):
            raise ValueError("comparison")
    except FileNotFoundError:
        raise StoreError(f"{path} does not exist") from None
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged: {error}") from None
    return dict(found)
