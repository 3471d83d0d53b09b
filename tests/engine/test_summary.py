from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import worlds
from engine.core import metrics
from engine.core.measurement import Measurement, wilson
from engine.run.commands import SwitchPhase
from engine.run.store import Store
from engine.run.summary import PLAIN, figure
from tests.tiny_runs import advance, drain, table, tiny_config, values


@pytest.fixture(scope="module")
def summary(finished_run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((finished_run / "summary.json").read_text(encoding="utf-8"))
    return found


def test_the_frame(summary: dict[str, Any], finished_store: Store) -> None:
    assert summary["run"] == finished_store.run
    assert (summary["steps"], summary["phase"]) == (80, "adversarial")
    assert (summary["device"], summary["threads"]) == ("cpu", 1)
    assert [(r["step"], r["phase"]) for r in summary["reports"]] == [(40, "clean"), (80, "adversarial")]


def test_every_figure_is_that_of_the_metrics_table(summary: dict[str, Any], finished_run: Path) -> None:
    rows = table(finished_run, "SELECT step, name, value FROM metrics")
    parts = [(metrics.REPORT, report["step"], report) for report in summary["reports"]]
    parts.append(("", 80, summary["latest"]))
    for prefix, step, part in parts:
        expected = {n for n in (*metrics.ACCURACIES, metrics.CERTIFIED, *PLAIN) if step in values(rows, prefix + n)}
        assert {n for n in part if n not in ("step", "phase")} == expected
        assert {*metrics.ACCURACIES, metrics.ALIGNMENT, metrics.mixture("purity", "mean")} <= expected
        for name in expected:
            assert part[name]["value"] == values(rows, prefix + name)[step], name


def test_accuracies_carry_protocol_and_interval(summary: dict[str, Any], finished_store: Store) -> None:
    for report in summary["reports"]:
        for name in metrics.ACCURACIES:
            found = report[name]
            assert Measurement(**found["protocol"]) == finished_store.protocol(metrics.REPORT + name, report["step"])
            assert found["protocol"]["n"] == 48
            assert not found["protocol"]["estimate"]
            assert (found["low"], found["high"]) == wilson(found["value"] * 48, 48)
            assert "n = 48" in found["text"]
    assert summary["latest"][metrics.PGD]["protocol"]["estimate"]
    assert summary["reports"][0][metrics.PGD]["protocol"] == {
        "attack": "pgd", "norm": "l2", "tau": 0.2, "steps": 4, "restarts": 2, "n": 48, "estimate": False,
    }  # fmt: skip


def test_figure() -> None:
    found = figure(0.5, Measurement("clean", "l2", 0.0, 0, 0, 100))
    assert found["value"] == 0.5
    assert found["low"] == pytest.approx(0.404, abs=1e-3)
    assert found["high"] == pytest.approx(0.596, abs=1e-3)


def test_a_run_that_was_switched_by_hand(tmp_path: Path) -> None:
    session = worlds.create(tiny_config(), tmp_path / "run")
    advance(session, 35, {10: [SwitchPhase("gaussian_noise")], 20: [SwitchPhase("clean")]})
    drain(session)
    session.close()
    found = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert [(r["step"], r["phase"]) for r in found["reports"]] == [(10, "clean"), (20, "gaussian_noise")]
    assert (found["steps"], found["phase"]) == (35, "clean")


def test_before_anything_was_measured(tmp_path: Path) -> None:
    session = worlds.create(tiny_config(), tmp_path / "run")
    session.close()
    found = json.loads((tmp_path / "run" / "summary.json").read_text(encoding="utf-8"))
    assert (found["reports"], found["latest"], found["steps"]) == ([], {}, 0)
