"""A branch: a new run that goes on from a checkpoint of another one, its parent, which is only read.

Its folder holds what the parent had recorded up to that step, and the checkpoints that the clean phase's end and the
step itself need: it is whole without the parent. Its config as started is the parent's, so that a recipe replays both.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from engine.config.curves import Curve
from engine.config.experiment import setting_of
from engine.config.knobs import Origin
from engine.core import plugins
from engine.core.errors import DivergedError, StoreError, VersionError, WriteError
from engine.core.files import absolute
from engine.core.notices import notice
from engine.run.snapshot import BRANCH, Event

if TYPE_CHECKING:
    from engine.config.experiment import Config
    from engine.run.store import Checkpoint, Store

RATE = "training.lr"


def source(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of the run in ``folder`` at ``step``. Raises :class:`StoreError`, naming those that there are."""
    from engine.run.store import Store

    with closing(Store.open(folder, read_only=True)) as parent:
        known = parent.checkpoints()
        if step not in known:
            allowed = f"allowed: {', '.join(map(str, known))}" if known else "none was written yet"
            raise StoreError(f"step: got {step}; {folder} holds no checkpoint of it; {allowed}")
        return parent.load(step)


def make(folder: Path, checkpoint: Checkpoint, out: Path) -> Store:
    """The new run folder ``out`` with the run in ``folder`` up to ``checkpoint``, open to be trained.

    Raises :class:`StoreError` if ``out`` holds anything or lies in the parent, or if the parent is damaged.
    """
    from engine.run.store import Store

    folder, out = absolute(folder), absolute(out)
    if out.resolve().is_relative_to(folder.resolve()):
        raise StoreError(f"--out: {out} lies in the run that is branched from; choose a folder outside of it")
    with closing(Store.open(folder, read_only=True)) as parent:
        origin = Origin(parent=str(folder), run=parent.run, step=checkpoint.step)

        def of_branch(config: Config) -> Config:
            return config.model_copy(update={"branch": origin})

        def begin(new: Store) -> None:
            step = checkpoint.step
            events = parent.events()[: checkpoint.events]
            new.record(row for row in parent.metrics() if row[0] <= step)
            for first, name, protocol in parent.protocols():
                if first <= step:
                    new.set_protocol(first, name, protocol)
            switches = {0, *(event.step for event in events if event.name == "phase")}
            written = 0
            for each in (*_earlier(parent, switches, step), checkpoint):
                for event in events[written : each.events]:
                    new.event(event)
                written = max(written, each.events)
                if each is checkpoint:
                    new.event(Event.now(step, BRANCH, "", folder.name))
                new.save(each.step, each.arrays, of_branch(each.config), each.phase, each.state)

        try:
            return Store.create(out, of_branch(parent.config), begin, parent.plugins)
        except WriteError as error:  # it names the folder by what it is called until it is whole
            raise WriteError(f"{out} cannot be written: {error.__cause__ or error}") from None


def _earlier(parent: Store, steps: set[int], end: int) -> Iterator[Checkpoint]:
    """The checkpoints at ``steps`` before ``end``, as far as there are any that can be read."""
    for step in parent.checkpoints():
        if step in steps and step < end:
            try:
                yield parent.load(step)
            except VersionError:
                raise
            except StoreError as error:  # the branch goes on without it, as the parent does
                notice(f"{error}; the branch has no checkpoint of step {step}")


def new_name(folder: Path, step: int) -> str:
    """What a branch at ``step`` of the run in ``folder`` is called, without ``-2`` and so on if there is one."""
    return f"{folder.name}-from-{step}"


def new_folder(parent: Path, name: str) -> Path:
    """A folder in ``parent`` that does not exist yet, called ``name`` or, if that is taken, ``name-2`` and so on."""
    folder, number = parent / name, 2
    while folder.exists() or folder.is_symlink():
        folder, number = parent / f"{name}-{number}", number + 1
    return folder


# --- after a divergence


def divergence(store: Store, config: Config, steps: int, remedy: str) -> DivergedError:
    """What to say, and what can be done, when training has diverged by step ``steps``; ``remedy`` names knobs."""
    saved = max((step for step in store.checkpoints() if step <= steps), default=0)
    return DivergedError(
        f"training diverged before step {steps}: the loss is not finite; lower {remedy}. "
        f"The checkpoint at step {saved} is sound: open the run folder again to go on from it",
        store.folder, saved, halved(config),
    )  # fmt: skip


def halved(config: Config) -> str:
    """Half the learning rate that ``config`` is set to, a number or a curve, as text."""
    setting = setting_of(config, RATE)
    if isinstance(setting, Curve):
        return str(Curve(tuple((step, value / 2) for step, value in setting.points)))
    return repr(float(str(setting)) / 2)


def way_out(error: DivergedError) -> str:
    """The command that goes on from the last sound checkpoint with half the learning rate, for a shell."""
    out = new_folder(error.folder.parent, new_name(error.folder, error.step))
    words = [
        "python", "-m", "engine", "branch", str(error.folder), "--step", str(error.step), "--out", str(out),
        "--set", f"{RATE}={error.setting}", *plugins.arguments(),
    ]  # fmt: skip
    return shlex.join(words)
