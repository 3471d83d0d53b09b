"""The only place that turns a config into a kind of world: its session, its network, by what ``world.name`` says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.assignments import assigned
from engine.config.experiment import Config, resolve, with_value, with_values
from engine.config.objectives import known
from engine.core.device import choose
from engine.core.errors import StoreError
from engine.run.branch import make, source
from engine.run.commands import SetKnob, SwitchPhase
from engine.run.moment import Moment
from engine.run.past import Past
from engine.run.session import Session
from engine.run.store import Checkpoint, Store

if TYPE_CHECKING:
    from engine.images.loading import ImageNetwork
    from engine.theory.loading import TheoryNetwork

SESSIONS = {
    "sparse_coding": ("engine.theory.session", "TheorySession"),
    "images": ("engine.images.session", "ImageSession"),
}
PASTS = {
    "sparse_coding": ("engine.theory.past", "TheoryPast"),
    "images": ("engine.images.past", "ImagePast"),
}
NETWORKS = {
    "sparse_coding": ("engine.theory.loading", "TheoryNetwork"),
    "images": ("engine.images.loading", "ImageNetwork"),
}


def _of(table: dict[str, tuple[str, str]], config: Config) -> Any:
    """The class that ``table`` names for this kind of config; imported when it is needed."""
    module, name = table[config.kind]
    return getattr(import_module(module), name)


def create(config: Config, folder: Path) -> Session:
    """Start a new run in ``folder``, which must not exist or be empty.

    Raises :class:`StoreError` for the folder, :class:`DeviceError` for a device that is not there, and
    :class:`ConfigError` for knobs that do not fit the data; then no folder is left.
    """
    choose(config.device)
    config = settled(config).model_copy(
        update={"branch": None, "imported": None}
    )  # it begins anew, whatever its config is from
    kind: type[Session] = _of(SESSIONS, config)
    store = Store.create(folder, config)
    try:
        return _begin(kind, store, config)
    except BaseException:
        store.discard()
        raise


def settled(config: Config) -> Config:
    """``config`` with the folder of its data absolute: it is to mean the same wherever the run is opened from."""
    folder = getattr(config.world, "folder", "")
    return with_value(config, "world.folder", str(Path(folder).expanduser().absolute())) if folder else config


def _begin(kind: type[Session], store: Store, config: Config) -> Session:
    try:
        return kind(store, config, None)
    except BaseException:
        store.close()
        raise


def resume(folder: Path, device: str | None = None, data: Path | None = None) -> Session:
    """Go on from the newest checkpoint of a run, bit-identically on the same device and thread count.

    What had been recorded after that checkpoint is forgotten and will be measured again. Raises :class:`StoreError` if
    the folder is no run, was imported or its checkpoints cannot be read; then nothing of it is changed. ``data`` is
    where its images are now, if they were moved, and is kept with the checkpoints to come.
    """
    store = Store.open(folder)
    try:
        store.check()
        if store.config.untrained:
            raise StoreError(
                f"{folder} was imported: its weights stay as they are; a branch trains on: python -m engine branch "
                f"{folder} --step {max(store.checkpoints(), default=0)} --out NEW --steps N"
            )
        if not store.checkpoints():
            store.check_fresh()  # killed before the first one: nothing was trained yet
            config = _changed(store.config, device, data)
            return _begin(_of(SESSIONS, config), store, config)
        checkpoint = store.load()
        config = _changed(checkpoint.config, device, data)
        choose(config.device)
        return _go_on(store, config, checkpoint, folder)
    except BaseException:
        store.close()
        raise


def past(folder: Path, device: str | None = None, data: Path | None = None, beside: Moment | None = None) -> Past:
    """The stored run in ``folder``, to be looked at at any step or watched while another process writes it.

    ``beside`` is a session of the same run, in this thread, that goes on meanwhile; ``data`` is where its images are
    now. Raises :class:`StoreError` for the folder, :class:`ConfigError` for its data, :class:`DeviceError` for the
    device.
    """
    with images_at(folder, data):
        store = Store.open(folder, read_only=True)
        try:
            found: Past = _of(PASTS, store.config)(store, device, beside)
        except BaseException:
            store.close()
            raise
        return found


def branch(
    folder: Path,
    step: int,
    out: Path,
    settings: Iterable[tuple[str, str]] = (),
    *,
    phase: str | None = None,
    device: str | None = None,
    data: Path | None = None,
) -> Session:
    """Go on from the checkpoint at ``step`` of the run in ``folder`` as a new run in ``out``; the parent is only read.

    ``settings`` are live knobs with their values as text, ``phase`` the objective to train with from there on: changes
    made at that step. Without any, it trains what the parent trained, bit for bit on the same device. Raises, before
    a folder is made, :class:`ConfigError` for a setting and :class:`StoreError` for the parent, the step or ``out``;
    no folder is left if the run cannot be opened.
    """
    checkpoint = source(folder, step)
    config = _changed(checkpoint.config, device, data)
    values = live_values(config, settings)
    switch = None if phase is None else SwitchPhase(known(phase))
    choose(config.device)
    store = make(folder, checkpoint, out)
    session = None
    try:
        checkpoint = store.load(step)
        session = _go_on(store, _changed(checkpoint.config, device, data), checkpoint, folder)
        for path, value in values.items():
            session.apply(SetKnob(path, value))
        if switch is not None:
            session.apply(switch)
    except BaseException:
        if session is not None:
            with suppress(StoreError):
                session.close()
        store.discard()
        raise
    return session


def live_values(config: Config, settings: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Knob → value of ``settings`` to a run of ``config``, all judged together.

    Raises :class:`ConfigError` for an unknown knob, a value that is not allowed, one that is not live.
    """
    values = assigned(config, settings)
    for path in values:
        resolve(path, config).expect_live()
    with_values(config, values)
    return values


def _go_on(store: Store, config: Config, checkpoint: Checkpoint, folder: Path) -> Session:
    try:
        session: Session = _of(SESSIONS, config)(store, config, checkpoint)
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        words = f"{folder}: the checkpoint at step {checkpoint.step} does not fit this version"
        raise StoreError(f"{words}: {reason}") from error
    return session


def _changed(config: Config, device: str | None, data: Path | None) -> Config:
    """``config`` on another device, with its images elsewhere."""
    if device is not None:
        config = with_value(config, "device", device)
    if data is not None:
        from engine.images.data import moved

        config = moved(config, data)
    return config


@contextmanager
def images_at(folder: Path, data: Path | None) -> Iterator[None]:
    """Inside, in this thread, the images of the run in ``folder`` are read from ``data``, if it is given.

    Raises :class:`StoreError` for the folder, :class:`ConfigError` if the run's data are in no folder.
    """
    if data is None:
        yield
        return
    from engine.images.data import images_at as these

    with closing(Store.open(folder, read_only=True)) as store:
        config = store.config
    with these(config, data):
        yield


def load(folder: Path, step: int | None = None, device: str = "cpu") -> TheoryNetwork | ImageNetwork:
    """The network of a checkpoint, the newest by default, ready to be measured.

    Raises :class:`StoreError` for the folder, :class:`ConfigError` for its data, :class:`DeviceError` for the device.
    """
    store = Store.open(folder, read_only=True)
    config = store.config
    store.close()
    network: TheoryNetwork | ImageNetwork = _of(NETWORKS, config).load(folder, step, device)
    return network
