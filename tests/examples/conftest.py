"""What the examples' tests share: an example is there while its test runs, and a command line to ask."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from engine.cli.main import run_command_line
from engine.core.registry import Registry

Call = Callable[..., str]

SMALL = (
    "threads=1", "schedule.clean_steps=12", "schedule.second_steps=12", "evaluation.every=6", "evaluation.size=32",
    "evaluation.steps=2", "evaluation.report_size=32", "evaluation.report_steps=2", "training.batch_size=32",
)  # fmt: skip
THEORY = ("world.d=16", "model.m=24", *SMALL)
IMAGES = ("model.name=two_layer", "model.width=16", "world.train_size=200", *SMALL)


def example(name: str, registry: Registry[Any], entry: str) -> Iterator[None]:
    """Import the example ``name``, once; forget it and its ``entry`` afterwards."""
    module = f"tests.examples.{name}"
    import_module(module)
    import_module(module)  # a second import is none
    yield
    registry.remove(entry)
    del sys.modules[module]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a command in this process and return what it printed; ``fails`` is what the only line of an error says."""

    def inner(*arguments: object, fails: str = "") -> str:
        code = run_command_line([str(a) for a in arguments])
        out, err = capsys.readouterr()
        if fails:
            assert code == 2
            assert fails in err
        else:
            assert code == 0, err
        return out

    return inner


def settings(*assignments: str) -> list[str]:
    """The assignments as the command line takes them; of two of one knob the last."""
    chosen = {each.partition("=")[0]: each for each in assignments}
    return [word for each in chosen.values() for word in ("--set", each)]


def captions(folder: Path) -> str:
    """All captions that were exported below ``folder``."""
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*caption*")))
