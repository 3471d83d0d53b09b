"""An exception in a measurement is that measurement's: it is reported once, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from engine import worlds
from engine.cli.main import run_command_line
from engine.core import metrics
from engine.core.errors import ConfigError, StoreError
from engine.core.results import Examples, FeatureRequest, Features, Mixture, RadiusCurves
from engine.probes import mixture, radius, robustness
from engine.run.commands import EvaluateNow, SetKnob, Visualise
from engine.run.moment import MOST_PROBLEMS
from engine.run.session import Session
from engine.studies.verify import CertificateError
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import advance, assert_same, drain, read, run, tiny_config

Create = Callable[..., Session]


def watch(session: Session, *kinds: type) -> None:
    """Ask while paused until all is measured."""
    for _ in range(10_000):
        session.snapshot(frozenset(kinds))
        if not session.measuring:
            return
        session.measure()
    raise AssertionError("the measuring never ended")


def test_features_without_memory_leave_the_run_alone(new_session: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = 0

    def visualise(*_: object) -> Generator[None, None, None]:
        nonlocal tried
        tried += 1
        yield
        raise RuntimeError("out of memory: tried to allocate 20 GiB\nand more lines")

    monkeypatch.setattr("engine.images.live.visualise", visualise)
    session = new_session(tiny_images())
    session.apply(Visualise(FeatureRequest("conv2", (0, 3), steps=3)))
    drain(session)
    watch(session, Features, Examples)
    assert tried == 1  # nothing has changed since: it is not tried again
    (problem,) = session.snapshot().problems
    assert (problem.measurement, problem.step) == ("Features", 0)
    assert problem.text == "RuntimeError: out of memory: tried to allocate 20 GiB"
    assert "visualise" in problem.details
    assert session.snapshot(frozenset({Examples})).get(Examples) is not None  # the others are measured
    advance(session, 3)
    watch(session, Features)
    assert 2 <= tried <= 4  # once for each state of the weights at most
    assert len(session.problems) == 1  # the same problem again


def test_a_probe_that_cannot_even_begin(new_session: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no curves")

    monkeypatch.setattr(radius, "radius_curves", broken)
    session = new_session()
    drain(session)
    watch(session, RadiusCurves)
    assert [p.text for p in session.problems] == ["ValueError: no curves"]


def test_a_probe_of_a_snapshot(new_session: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def broken(*_: object) -> None:
        nonlocal calls
        calls += 1
        raise AssertionError

    monkeypatch.setattr(mixture, "mixture", broken)
    session = new_session(every=1000)
    for _ in range(5):
        assert session.snapshot(frozenset({Mixture})).get(Mixture) is None
    assert calls == 1
    assert [p.text for p in session.problems] == ["AssertionError"]
    session.step()
    session.snapshot(frozenset({Mixture}))
    assert calls == 2


@pytest.mark.parametrize("error", [MemoryError("none left"), CertificateError("this is a bug: at radius 0.3")])
def test_an_evaluation_that_fails_is_reported_and_training_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    whole = run(tiny_config(), tmp_path / "whole")
    real = robustness.accuracy

    def accuracy(model, x, y, protocol, *rest, **options):  # type: ignore[no-untyped-def]
        if protocol.attack == "pgd" and not protocol.estimate:
            raise error
        return (yield from real(model, x, y, protocol, *rest, **options))

    monkeypatch.setattr(robustness, "accuracy", accuracy)
    session = worlds.create(tiny_config(), tmp_path / "run")
    advance(session, 80)
    drain(session)
    (problem,) = session.problems
    assert (problem.measurement, problem.step) == ("report", 40)
    assert problem.text == f"{type(error).__name__}: {error}"
    session.close()
    broken = read(tmp_path / "run")
    left_out = {(s, n) for s, n, _ in whole.metrics if n.startswith(metrics.REPORT)}
    assert {row for row in whole.metrics if row[:2] not in left_out} <= set(broken.metrics)
    broken.metrics[:] = whole.metrics
    assert_same(broken, whole)


def test_a_record_that_cannot_be_written_stops_the_run(new_session: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    session = new_session()

    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(session._recorder, "scalar", full)
        with pytest.raises(StoreError, match="full"):
            drain(session)
    assert session.problems == ()


def test_problems_do_not_pile_up(new_session: Create, monkeypatch: pytest.MonkeyPatch) -> None:
    session = new_session(every=1)

    def accuracy(*_: object, **__: object) -> None:
        raise RuntimeError(f"tried to allocate {session.steps_done} bytes")

    monkeypatch.setattr(robustness, "accuracy", accuracy)
    advance(session, 2 * MOST_PROBLEMS)
    assert len(session.problems) == MOST_PROBLEMS


def test_commands_that_a_run_does_not_know_are_refused(new_session: Create) -> None:
    session = new_session()
    for command in (Visualise(FeatureRequest("conv1", (0,))), "evaluate", None):
        with pytest.raises(ConfigError, match=r"command: got .*; a run on sparse_coding has no such command"):
            session.apply(command)  # type: ignore[arg-type]
    session.apply(EvaluateNow())
    session.apply(SetKnob("attack.tau", 0.1))


@pytest.mark.parametrize("image", [-1, 395, 450])
def test_a_held_out_image_that_is_not_there_is_refused(new_session: Create, image: int) -> None:
    session = new_session(tiny_images())
    with pytest.raises(ConfigError, match=f"image: got {image}; allowed: 0 to 394"):
        session.apply(Visualise(FeatureRequest("conv2", (0,), origin="image", image=image)))
    session.apply(Visualise(FeatureRequest("conv2", (0,), origin="image", image=394)))
    session.apply(Visualise(FeatureRequest("conv2", (0,), origin="noise", image=image)))  # of no account
    watch(session, Features)
    assert session.problems == ()


def test_the_command_line_names_what_failed_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def accuracy(*_: object, **__: object) -> None:
        raise MemoryError("none left")

    config = tmp_path / "tiny.toml"
    config.write_text("threads = 1\n[world]\nd = 16\n[model]\nm = 8\n[schedule]\nclean_steps = 2\nsecond_steps = 1\n")
    monkeypatch.setattr(robustness, "accuracy", accuracy)
    assert run_command_line(["run", str(config), "--out", str(tmp_path / "run")]) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert "warning: live evaluation of step 0 failed: MemoryError: none left" in warnings
    assert "warning: report of step 2 failed: MemoryError: none left" in warnings
