"""Errors that are meant for the user: one line that says what happened and what is allowed."""

from __future__ import annotations

from pathlib import Path


class ExplorerError(Exception):
    """An error whose message is complete in one line and needs no traceback."""


class ConfigError(ExplorerError):
    """A knob, preset or command has a wrong name, type or value."""


class StoreError(ExplorerError):
    """A run folder or a checkpoint cannot be created, read or resumed."""


class DivergedError(ExplorerError):
    """Training has diverged. ``step`` is that of the last sound checkpoint of the run in ``folder``; ``setting`` half
    the learning rate in force, as text that ``--set training.lr=`` takes."""

    def __init__(self, message: str, folder: Path, step: int, setting: str) -> None:
        super().__init__(message)
        self.folder, self.step, self.setting = folder, step, setting


class VersionError(StoreError):
    """A file was written by a newer version: it is refused, never set aside, guessed at or trained over."""


class PluginMissingError(VersionError):
    """What a run names is a plugin's, and that is not loaded."""


class WriteError(StoreError):
    """A run folder can no longer be written (a full disk, a folder that is gone): the run has failed, exit 1."""


class InUseError(StoreError):
    """Another process is writing this run folder."""


class DeviceError(ExplorerError):
    """The device asked for does not exist on this machine."""
