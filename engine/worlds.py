"""The only place that turns a config into a kind of world: its session, its network, by what ``world.name`` says."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.config.experiment import Config, with_value
from engine.core.device import choose
from engine.core.errors import StoreError
from engine.run.session import Session
from engine.run.store import Store

if TYPE_CHECKING:
    from engine.images.loading import ImageNetwork
    from engine.theory.loading import TheoryNetwork

SESSIONS = {
    "sparse_coding": ("engine.theory.session", "TheorySession"),
    "images": ("engine.images.session", "ImageSession"),
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
    kind: type[Session] = _of(SESSIONS, config)
    store = Store.create(folder, config)
    try:
        return _begin(kind, store, config)
    except BaseException:
        store.discard()
        raise


def _begin(kind: type[Session], store: Store, config: Config) -> Session:
    try:
        return kind(store, config, None)
    except BaseException:
        store.close()
        raise


def resume(folder: Path, device: str | None = None) -> Session:
    """Go on from the newest checkpoint of a run, bit-identically on the same device and thread count.

    What had been recorded after that checkpoint is forgotten and will be measured again. Raises :class:`StoreError` if
    the folder is no run or its checkpoints cannot be read; then nothing of it is changed.
    """
    store = Store.open(folder)
    try:
        store.check()
        if not store.checkpoints():
            store.check_fresh()  # killed before the first one: nothing was trained yet
            config = store.config if device is None else with_value(store.config, "device", device)
            return _begin(_of(SESSIONS, config), store, config)
        checkpoint = store.load()
        config = checkpoint.config
        if device is not None:
            config = with_value(config, "device", device)
        choose(config.device)
        session: Session = _of(SESSIONS, config)(store, config, checkpoint)
        return session
    except (KeyError, ValueError, RuntimeError) as error:
        store.close()
        reason = " ".join(str(error).split())[:300]
        raise StoreError(f"{folder}: the newest checkpoint does not fit this version: {reason}") from error
    except BaseException:
        store.close()
        raise


def load(folder: Path, step: int | None = None, device: str = "cpu") -> TheoryNetwork | ImageNetwork:
    """The network of a checkpoint, the newest by default, ready to be measured.

    Raises :class:`StoreError` for the folder, :class:`ConfigError` for its data, :class:`DeviceError` for the device.
    """
    store = Store.open(folder, read_only=True)
    config = store.config
    store.close()
    network: TheoryNetwork | ImageNetwork = _of(NETWORKS, config).load(folder, step, device)
    return network
