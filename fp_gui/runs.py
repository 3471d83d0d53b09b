"""Where runs live, what a new one is called, and whether a folder is a run. No Qt, no torch."""

from __future__ import annotations

import os
import time
from itertools import islice
from pathlib import Path

from engine.config.experiment import IMAGES, Config, from_dict, knobs, to_dict, value_of, with_value
from engine.config.presets import load_preset, preset_names, preset_titles
from engine.core.errors import ConfigError, StoreError
from engine.core.quoting import plain
from engine.data.images import sources

FOLDER = "world.folder"


def new_run_folder(root: Path, name: str) -> Path:
    """A path in ``root`` that does not exist yet, from the time and the preset's ``name``."""
    base = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"
    folder, n = root / base, 2
    while folder.exists():
        folder, n = root / f"{base}-{n}", n + 1
    return folder


def recent_runs(root: Path, most: int) -> list[Path]:
    """The runs in ``root`` whose folders changed last, the newest first, ``most`` at most."""
    try:
        with os.scandir(root) as entries:
            dated = sorted(((e.stat().st_mtime, e.path) for e in entries if e.is_dir()), reverse=True)
    except OSError:
        return []
    found = (Path(path) for _, path in dated)
    return list(islice((folder for folder in found if (folder / "config.json").is_file()), most))


def preset_label(name: str) -> str:
    """The part of a run folder's name that says which preset it started from."""
    return Path(name).stem if name.endswith(".toml") else name


def preset_of(config: Config) -> Config:
    """The preset that ``config`` was made from, known by its title; ``config`` itself if it is none's."""
    name = preset_name(config, "")
    return load_preset(name) if name else config


def preset_name(config: Config, otherwise: str) -> str:
    """The name of that preset, ``otherwise`` where there is none."""
    return preset_titles().get(config.about.title, otherwise)


def with_folder(config: Config, folder: str) -> Config:
    """``config`` with its data in ``folder``, if it leaves open where they are and ``folder`` is not empty."""
    return with_value(config, FOLDER, folder) if folder and folder_open(config) else config


def folder_open(config: Config) -> bool:
    """Whether the data of ``config`` are in a folder, but it does not say in which."""
    return any(knob.path == FOLDER for knob in knobs(config)) and not value_of(config, FOLDER)


def with_data(config: Config, label: str, name: str, folder: str) -> tuple[Config, str]:
    """An experiment on the data set ``name`` in ``folder`` (empty: the default place), and its label.

    It is ``config`` called ``label`` with those data if that is of similar images, else the preset that fits them.
    Raises :class:`ConfigError` if there is no such data set.
    """
    preset = sources[name].preset
    if config.kind != IMAGES or sources[config.world.name].preset != preset:
        label = preset or name
        config = load_preset(preset) if preset in preset_names() else from_dict({"world": {"name": name}})
    world = {"name": name} if config.world.name != name else to_dict(config)["world"]
    world.pop("folder", None)
    return with_folder(from_dict(to_dict(config) | {"world": world}), folder), label


def check_run(folder: Path) -> Config:
    """The config of the run in ``folder``. Raises :class:`StoreError` if it is no run folder."""
    from engine.run.store import Store  # imports safetensors: only needed once a folder is opened

    if not folder.is_dir():
        raise StoreError(f"run folder: {folder} does not exist")
    store = Store.open(folder, read_only=True)
    try:
        return store.config
    finally:
        store.close()


def resolve_start(text: str) -> tuple[str, Config, Path | None]:
    """What the command line's only argument means: ``(label, config, run folder or None)``.

    Raises :class:`engine.core.errors.ExplorerError` in one line if it is neither a preset nor a run folder.
    """
    try:
        folder = Path(text).expanduser()
    except RuntimeError as error:  # ~ of a user who is not known, or without a home
        raise StoreError(f"run folder: {plain(text)}: {error}") from None
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
