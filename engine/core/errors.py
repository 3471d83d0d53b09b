"""Errors that are meant for the user: one line that says what happened and what is allowed."""


class ExplorerError(Exception):
    """An error whose message is complete in one line and needs no traceback."""


class ConfigError(ExplorerError):
    """A knob, preset or command has a wrong name, type or value."""


class StoreError(ExplorerError):
    """A run folder or a checkpoint cannot be created, read or resumed."""


class VersionError(StoreError):
    """A file was written by a newer version: it is refused, never set aside, guessed at or trained over."""


class WriteError(StoreError):
    """A run folder can no longer be written (a full disk, a folder that is gone): the run has failed, exit 1."""


class InUseError(StoreError):
    """Another process is writing this run folder."""


class DeviceError(ExplorerError):
    """The device asked for does not exist on this machine."""
