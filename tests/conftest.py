"""What holds for every test: no thread left behind, torch as a fresh process has it."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import torch
from hypothesis import settings

from engine import worlds
from engine.attacks.base import Size, attacks
from engine.config.experiment import Config
from engine.run.session import Session
from engine.run.store import Store
from engine.studies import image_baselines
from tests import tiny_runs

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # those that want a real window say so

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell starts what it runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # here Ctrl+C is tested

# Continuous integration tries the same examples each time; at a desk every run looks for new ones.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests in a real window come first: the longest, which mostly wait, else end when there is nothing beside them."""
    items.sort(key=lambda item: item.get_closest_marker("window") is None)


def pytest_collection_finish() -> None:
    """Python's collector passes over what the imports made (torch, Qt: a million objects): GUI tests collect each time.

    What a test makes it still sees.
    """
    _pass_over_what_is_alive()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """So it does with what a module's tests leave for good (late imports, caches), once their fixtures are gone."""
    yield
    if nextitem is None or nextitem.path != item.path:
        _pass_over_what_is_alive()


def _pass_over_what_is_alive() -> None:
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_thread_left() -> Iterator[None]:
    """Fail a test that leaves a thread running."""
    before = set(threading.enumerate())
    yield
    end = time.monotonic() + 2
    while (left := [t for t in threading.enumerate() if t not in before and t.is_alive()]) and time.monotonic() < end:
        time.sleep(0.01)
    assert not left, f"threads left behind: {', '.join(t.name for t in left)}"


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    """Few threads, and grad mode on: a session (that of a fixture for a whole module, too) switches both."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.set_grad_enabled(True)
    yield
    torch.set_grad_enabled(True)
    torch.set_num_threads(threads)


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def tiny_config() -> Callable[..., Config]:
    """Build a config that trains in a tenth of a second."""
    return tiny_runs.tiny_config


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verified evaluation of images that takes a second, and baselines trained in another."""
    monkeypatch.setattr(image_baselines, "STEPS", 5)
    monkeypatch.setattr(image_baselines, "SEARCH_STEPS", 2)
    for name, size in (("apgd_ce", (5, 1)), ("apgd_t", (5, 2)), ("square", (20, 1))):
        monkeypatch.setitem(cast(dict[str, Size], attacks[name].verified), "images", size)


@pytest.fixture
def new_session(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Open sessions that are closed when the test ends, whatever happens in it."""
    opened: list[Session] = []

    def create(config: Config | None = None, **knobs: object) -> Session:
        session = worlds.create(config or tiny_runs.tiny_config(**knobs), tmp_path / f"run-{len(opened)}")
        opened.append(session)
        return session

    yield create
    for session in opened:
        session.close()


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run that went through its schedule; only to be read."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    grad = torch.is_grad_enabled()
    tiny_runs.run(tiny_runs.tiny_config(), folder)
    torch.set_grad_enabled(grad)
    return folder


@pytest.fixture
def finished_store(finished_run: Path) -> Iterator[Store]:
    """That run, open for reading."""
    store = Store.open(finished_run, read_only=True)
    yield store
    store.close()
