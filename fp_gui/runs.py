"""Where runs live, what a new one is called, and whether a folder is a run. No Qt, no torch."""

from __future__ import annotations

import os
import time
from pathlib import Path

import platformdirs

from engine.config import Config, load_preset, preset_names
from engine.errors import ConfigError, StoreError

APP = "feature-purification-explorer"


def runs_root() -> Path:
    """The folder that holds the runs: the environment variable ``FP_RUNS``, else the user's data folder."""
    chosen = os.environ.get("FP_RUNS")
    return Path(chosen) if chosen else Path(platformdirs.user_data_path(APP, appauthor=False)) / "runs"


def new_run_folder(root: Path, name: str) -> Path:
    """A path in ``root`` that does not exist yet, from the time and the preset's ``name``."""
    base = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    folder, n = root / base, 2
    while folder.exists():
        folder, n = root / f"{base}-{n}", n + 1
    return folder


def preset_label(name: str) -> str:
    """The part of a run folder's name that says which preset it started from."""
    return Path(name).stem if name.endswith(".toml") else name


def check_run(folder: Path) -> Config:
    """The config of the run in ``folder``. Raises :class:`StoreError` if it is no run folder."""
    from engine.store import Store  # imports safetensors: only needed once a folder is opened

    if not folder.is_dir():
        raise StoreError(f"run folder: {folder} does not exist")
    store = Store.open(folder, read_only=True)
    try:
        return store.config
    finally:
        store.close()


def resolve_start(text: str) -> tuple[str, Config, Path | None]:
    """What the command line's only argument means: ``(label, config, run folder or None)``.

    Raises :class:`engine.errors.ExplorerError` in one line if it is neither a preset nor a run folder.
    """
    folder = Path(text).expanduser()
    if text not in preset_names() and folder.is_dir():
        return folder.name, check_run(folder), folder.resolve()
    try:
        return preset_label(text), load_preset(text), None
    except ConfigError as error:
        if os.sep in text and not folder.exists() and not text.endswith(".toml"):
            raise StoreError(f"run folder: {text} does not exist") from None
        if str(error).startswith("preset: got"):
            raise ConfigError(f"{error}, or a run folder") from None
        raise
