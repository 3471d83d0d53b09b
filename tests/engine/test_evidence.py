"""The slow commands on a run folder: what they record, write and leave alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine import worlds
from engine.claims.images import IMAGE_RANK
from engine.claims.theory import BASELINES
from engine.core.errors import ConfigError
from engine.run.store import Store
from engine.studies import baseline_training
from engine.studies.clean_end import protocols
from engine.studies.evidence import gather
from engine.studies.questions import comparison
from engine.studies.questions.claims import claims_of
from engine.studies.questions.comparison import CURVE_POINTS, ComparisonStudy
from engine.studies.sanity_warnings import read_warnings
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import run, tiny_config

SHOWN = (*BASELINES, "ntk_now")


@pytest.fixture
def folder(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Baselines that are trained for a moment."""
    monkeypatch.setattr(baseline_training, "SEARCH_STEPS", 5)
    monkeypatch.setattr(baseline_training, "STEPS", dict.fromkeys(baseline_training.STEPS, 60))


@pytest.mark.usefixtures("_short")
def test_verification_decides_every_claim(folder: Path) -> None:
    heard: list[float] = []
    claims = claims_of(folder, verify=True, n=64, progress=lambda share, text: heard.append(share))
    assert [claim.id for claim in claims] == list(range(1, 12))
    assert {claim.id for claim in claims if claim.verdict == "not measured"} <= {
        8,
        9,
        11,
    }  # about images, or nothing gained
    assert heard[-1] == 1
    assert heard == sorted(heard)
    store = Store.open(folder, read_only=True)
    tau = f"{store.load().config.attack.tau:g}"
    for step in (40, 80):  # both networks, each with bounds from both sides
        value = {
            n: dict(zip(*[a.tolist() for a in (s.steps, s.values)], strict=True)).get(step)
            for n in store.names()
            if (s := store.series(n))
        }
        assert value[f"verified/certified@{tau}"] <= value[f"verified/worst@{tau}"] <= value["verified/clean"]
        protocol = store.protocol(f"verified/worst@{tau}", step)
        assert protocol is not None
        assert protocol.n == 64
        assert not protocol.estimate
    for name in ("robust", "robust_full", "robust_clean", "robust_removed"):  # attacked as the run's reports are
        assert store.protocol(f"low_rank/{name}", 80) == protocols(store.config, 64)[1]
    store.close()
    assert isinstance(read_warnings(folder), tuple)
    session = worlds.resume(folder)  # what was recorded beside the run does not keep it from going on
    session.step()
    session.close()


def test_a_run_whose_clean_phase_has_not_ended_is_refused(tmp_path: Path) -> None:
    worlds.create(tiny_config(), tmp_path / "run").close()
    with pytest.raises(ConfigError, match="clean training has not ended"):
        gather(tmp_path / "run", n=64)


@pytest.mark.usefixtures("_short")
def test_the_comparison_is_written_recorded_and_told(folder: Path) -> None:
    shares: list[float] = []
    written = ComparisonStudy().run(folder, n=64, progress=lambda share, what: shares.append(share))
    found = ComparisonStudy.read(folder)
    assert found == written
    assert shares == sorted(shares)
    text = ComparisonStudy().table(found)
    assert set(found.best()) == set(SHOWN)
    assert {(r.name, r.trained_by) for r in found.baselines} == {(n, o) for n in SHOWN for o in ("clean", "fgm", "pgd")}
    assert {c.name for c in found.curves} == set(SHOWN)
    assert all(len(c.steps) == CURVE_POINTS for c in found.curves)
    store = Store.open(folder, read_only=True)
    for name, best in found.best().items():
        assert store.series(f"rival/robust/{name}").values[-1] == best.robust
        assert name in text
    store.close()
    raw = json.loads((folder / "race.json").read_text(encoding="utf-8"))
    assert set(raw) == {
        "tau", "norm", "protocol", "n", "step", "network", "oracle", "rivals", "curves", "sweep",
    }  # fmt: skip
    assert set(raw["network"]) == set(raw["oracle"]) == {"clean", "robust", "low", "high"}
    assert set(raw["rivals"][0]) == {"name", "trained_by", "steps", "note", "clean", "robust", "low", "high"}


@pytest.mark.usefixtures("quick")
def test_verification_decides_the_claims_about_images(tmp_path: Path) -> None:
    run(tiny_images(), tmp_path / "run")
    heard: list[float] = []
    claims = claims_of(tmp_path / "run", verify=True, n=16, progress=lambda share, text: heard.append(share))
    decided = {claim.id for claim in claims if claim.verdict != "not measured"}
    assert {1, 6, 7, 8, 11} <= decided <= {1, 6, 7, 8, 9, 11}  # 9 needs a full phase that gains something
    assert heard[-1] == 1
    assert heard == sorted(heard)
    store = Store.open(tmp_path / "run", read_only=True)
    for step in (20, 40):
        protocol = store.protocol("verified/worst@0.3", step)
        assert protocol is not None
        assert protocol.n == 16
    ranks = store.series(f"low_rank/robust@{IMAGE_RANK}")
    store.close()
    assert ranks.steps.tolist() == [40]
    again: list[str] = []
    claims_of(tmp_path / "run", verify=True, n=16, progress=lambda share, text: again.append(text))
    assert not any(
        text.startswith(("local", "low rank", "baselines")) for text in again
    )  # measured at this step already


def test_a_sweep_adds_a_row_a_dimension(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "SWEPT", (16,))
    monkeypatch.setattr(comparison, "CURVE_EVERY", 2)
    monkeypatch.setattr("engine.probes.oracle.FIT_SIZE", 100)
    monkeypatch.setattr(baseline_training, "STEPS", dict.fromkeys(baseline_training.STEPS, 10))
    monkeypatch.setattr(baseline_training, "SEARCH_STEPS", 5)
    shares: list[float] = []
    found = ComparisonStudy().run(folder, sweep=True, n=32, progress=lambda share, what: shares.append(share))
    assert (shares, shares[-1]) == (sorted(shares), 1)
    assert list(found.swept()) == ["network", "oracle", *SHOWN]
    assert all(d == [16] for d, _ in found.swept().values())
    assert "  d = 16  network 0." in ComparisonStudy().table(found)
    assert ComparisonStudy.read(folder) == found
