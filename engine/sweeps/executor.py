"""What carries out the jobs of a sweep, somewhere: processes of this machine (:mod:`engine.sweeps.pool`), or others.

A job is a function by its name, with arguments that are JSON. It is called as ``function(tell=…, stopped=…,
**arguments)``: ``tell(share, text)`` says how far it is, ``stopped()`` is true once it is to come to an end at the next
point from which it can be gone on with. What it returns is JSON, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from engine.config.experiment import Config, to_dict
from engine.core import plugins
from engine.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Job:
    """``function``, as ``package.module:name``, with ``arguments``; ``name`` tells it from the other jobs."""

    name: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def message_of(job: Job) -> dict[str, Any]:
    """The job as JSON for the process that is to do it, with the plugins that are loaded here."""
    given = [plugin.given for plugin in plugins.loaded()]
    return {"job": job.name, "function": job.function, "arguments": job.arguments, "plugins": given}


@dataclass(frozen=True, slots=True)
class JobBegun:
    """A job is being worked on."""

    name: str


@dataclass(frozen=True, slots=True)
class JobTold:
    """A job says how far it is, as a share in [0, 1], and what is under way."""

    name: str
    share: float
    text: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job has ended: ``done`` with its ``result``; ``failed``, the ``reason`` in one line; ``stopped`` before it had
    done anything that it could return; ``lost`` with the process that worked on it.

    ``seconds`` are those that it was worked on, 0 if it had not begun or nobody knows."""

    name: str
    how: Literal["done", "failed", "stopped", "lost"]
    result: Any = None
    reason: str = ""
    seconds: float = 0.0


JobEvent = JobBegun | JobTold | JobEnded


class JobStopped(BaseException):
    """Raised by ``tell`` in a job that is to stop, in the middle of what cannot be gone on with.

    No :class:`Exception`, as KeyboardInterrupt is none: no handler of errors is to swallow it.
    """


After = tuple[str, Mapping[str, Any]]
"""What follows training: the name of a function, called as ``function(folder, progress=…, **options)``, and options."""


def training_job(name: str, folder: Path, config: Config, after: After | None = None) -> Job:
    """The job called ``name`` that trains ``config`` in ``folder``: :func:`engine.sweeps.training.train_run`."""
    arguments = {"folder": str(folder), "config": to_dict(config), "after": None if after is None else list(after)}
    return Job(name, "engine.sweeps.training:train_run", arguments)


class Executor(Protocol):
    """Carries out jobs, :attr:`jobs` at a time. One thread uses it, and calls :meth:`wait` again and again."""

    @property
    def jobs(self) -> int:
        """How many are worked on at a time."""

    def submit(self, job: Job) -> None:
        """Work on ``job`` as soon as there is room, in the order in which jobs were submitted."""

    def stop(self, name: str) -> None:
        """Ask a job to end at the next point from which it can be gone on with; harmless if it has ended."""

    def wait(self, timeout: float) -> list[JobEvent]:
        """What has happened, in order; it waits at most ``timeout`` seconds for anything to happen."""

    def close(self) -> None:
        """End: jobs that are worked on are asked to stop, and waited for."""

    def kill(self) -> None:
        """End at once; what jobs did since the last point from which they can be gone on with is lost."""


def function_of(name: str) -> Any:
    """The function called ``package.module:name``. Raises :class:`ConfigError` if there is none."""
    module, _, leaf = name.partition(":")
    try:
        return getattr(import_module(module), leaf)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"function: got {name!r}; allowed: package.module:name of a function ({error})") from None
