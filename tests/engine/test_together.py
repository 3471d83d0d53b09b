"""Studies several jobs at a time: the same answers as one after the other in this process, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import engine.sweeps.together
from engine.core.errors import ConfigError, ExplorerError
from engine.core.slices import silent
from engine.studies import baseline_training, dimension_sweep
from engine.studies.questions import comparison
from engine.studies.questions.claims import ClaimsStudy
from engine.studies.questions.comparison import ComparisonStudy
from engine.studies.questions.objectives import ObjectivesStudy
from engine.sweeps.executor import Job
from engine.sweeps.together import together
from tests.engine.inline_executor import InlineExecutor
from tests.tiny_runs import assert_same, read, run, tiny_config


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[InlineExecutor]:
    """The pools that were made; their jobs are worked on here, with arguments and results through JSON all the same."""
    made: list[InlineExecutor] = []

    def pool(jobs: int) -> InlineExecutor:
        made.append(InlineExecutor())
        return made[-1]

    monkeypatch.setattr(engine.sweeps.together, "LocalPool", pool)
    monkeypatch.setattr("engine.sweeps.pool.most_threads", lambda: 8)
    return made


def job(name: str, function: str, **arguments: object) -> Job:
    return Job(name, f"tests.engine.sweep_jobs:{function}", arguments)


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_jobs(jobs: int, pools: list[InlineExecutor]) -> None:
    told: list[float] = []
    work = [job(f"job {number}", "double", number=number) for number in range(3)]
    found = together(work, jobs, lambda share, text: told.append(share))
    assert [each["number"] for each in found] == [0, 2, 4]
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    assert len(pools) == jobs - 1
    assert all(pool.closed for pool in pools)


def test_an_error_ends_them_all(pools: list[InlineExecutor]) -> None:
    work = [job("one", "refuse"), job("two", "double", number=2)]
    with pytest.raises(ConfigError, match="got 11; allowed: a number from 0 to 10"):
        together(work, 1, silent)
    with pytest.raises(ExplorerError, match=r"one: attack\.tau: got 11; allowed: a number from 0 to 10"):
        together(work, 2, silent)
    assert pools[0].closed
    with pytest.raises(ConfigError, match="--jobs: got 9; allowed on this machine"):
        together(work, 9, silent)


@pytest.fixture(scope="module")
def theory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "run"
    run(tiny_config(), folder)
    return folder


def answers(ask: Callable[..., Any], **options: Any) -> tuple[Any, Any]:
    """What is answered one after the other, and two at a time; records and scalars."""
    found = [ask(**options, jobs=jobs) for jobs in (1, 2)]
    return tuple((each.record, each.step, list(each.scalars)) for each in found)  # type: ignore[return-value]


def test_objectives(theory: Path, pools: list[InlineExecutor]) -> None:
    names = ("gaussian_noise", "adversarial")
    one, other = answers(ObjectivesStudy().ask, folder=theory, objective=names, steps=10, n=32)
    assert one == other
    assert [each.objective for each in one[0].objectives] == list(names)
    assert len(pools[0].submitted) == 2


def test_the_sweep_over_d(theory: Path, pools: list[InlineExecutor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "SWEPT", (16, 36))
    monkeypatch.setattr(comparison, "curves", lambda network, n, tell: ())
    few: dict[str, Any] = {"steps": 5, "objectives": ("fgm",), "baselines": ("linear",)}
    monkeypatch.setattr(baseline_training, "run_baselines", partial(baseline_training.run_baselines, **few))
    monkeypatch.setattr(dimension_sweep, "sweep", partial(dimension_sweep.sweep, **few, with_oracle=False))
    one, other = answers(ComparisonStudy().ask, folder=theory, sweep=True, n=32)
    assert one == other
    assert [row["d"] for row in one[0].sweep] == [16, 36]
    assert [each.name for each in pools[0].submitted] == ["d = 36", "d = 16"]  # the slower first
    with pytest.raises(ConfigError, match="--jobs: got a number without --sweep"):
        ComparisonStudy().ask(folder=theory, jobs=2)


def test_claims_over_seeds(tmp_path: Path, pools: list[InlineExecutor]) -> None:
    found = {}
    for jobs in (1, 2):
        folder = tmp_path / str(jobs)
        run(tiny_config(), folder, until=0)
        found[jobs] = ClaimsStudy().run(folder, seeds=2, jobs=jobs)
    assert found[1] == found[2]
    places = [tmp_path / str(jobs) / "seeds" / "seed-1" for jobs in (1, 2)]
    assert_same(*map(read, places))
    assert len(pools) == 1
    with pytest.raises(ConfigError, match="--jobs: got a number without --seeds"):
        ClaimsStudy().run(tmp_path / "1", jobs=2)
