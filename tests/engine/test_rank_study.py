"""Robust accuracy against rank: the restriction holds, the full rank is the ordinary phase, and what is written."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from engine import worlds
from engine.config.experiment import from_dict
from engine.core import metrics
from engine.core.errors import ConfigError, StoreError
from engine.core.generators import number, seeded
from engine.figures.export import export
from engine.images.config import images
from engine.images.layout import GENERATORS
from engine.images.session import ImageSession
from engine.images.training import ImageTrainer, restrict
from engine.models.layers import layer, layers
from engine.run.store import Store
from engine.studies.base import NotMeasured
from engine.studies.clean_end import CleanEnd
from engine.studies.questions.low_rank import RankStudy
from engine.studies.rank_phases import NAME, adversarial_phase
from tests.engine.test_local_study import TINY, assert_fits, make
from tests.tiny_runs import assert_same, drain, run, tiny_config
from tests.tiny_runs import read as record_of

STEPS = 4


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run through its schedule; only its study may change."""
    grad = torch.is_grad_enabled()
    folder = make(tmp_path_factory.mktemp("runs") / "digits")
    torch.set_grad_enabled(grad)
    return folder


@pytest.fixture
def found(finished: Path) -> CleanEnd:
    return CleanEnd.load(finished, 32)


def changes(found: CleanEnd, trainer: ImageTrainer) -> dict[str, torch.Tensor]:
    """W − W_clean by layer, each (m, d)."""
    clean = found.network.network("clean")
    return {
        each.name: (each.matrix - before.matrix).double()
        for each, before in zip(layers(trainer.network), layers(clean), strict=True)
    }


def quiet(share: float) -> None:
    """A progress that nobody hears."""


def test_no_layer_changes_by_more_than_the_rank(found: CleanEnd) -> None:
    trainer = adversarial_phase(found, 2, "all", STEPS, quiet)
    for name, change in changes(found, trainer).items():
        values = torch.linalg.svdvals(change)
        assert values[0] > 1e-4, name
        assert float(values[2:].max()) < 1e-4 * float(values[0]), name


def test_the_merged_network_is_the_product_of_its_factors(found: CleanEnd) -> None:
    trainer = adversarial_phase(found, 2, "all", STEPS, quiet)
    clean = {each.name: each.matrix for each in layers(found.network.network("clean"))}
    assert set(trainer.factors) == set(clean)
    for name, factors in trainer.factors.items():
        assert factors.rank == 2
        assert torch.equal(factors.base, clean[name])
        merged = layer(trainer.network, name, "").matrix
        assert torch.equal(merged, torch.addmm(clean[name], factors.U, factors.V))
    x = found.x
    by_hand = found.network.network("clean")
    by_hand.load_state_dict(trainer.network.state_dict())
    assert torch.equal(trainer.classifier.logits(x), by_hand(x))


@pytest.mark.parametrize("rank", [2, 0])
def test_other_layers_are_frozen(found: CleanEnd, rank: int) -> None:
    trainer = adversarial_phase(found, rank, "conv2, fc1", STEPS, quiet)
    moved = {name for name, change in changes(found, trainer).items() if change.abs().max() > 0}
    assert moved == {"conv2", "fc1"}


def test_full_rank_is_the_ordinary_phase_bit_by_bit(found: CleanEnd) -> None:
    ours = adversarial_phase(found, 0, "all", STEPS, quiet)
    config = found.config
    network = found.network.network("clean").requires_grad_(True)
    generators = {kind: seeded(config.seed, f"{NAME} {kind}") for kind in GENERATORS}
    plain = ImageTrainer(network, found.placed, generators, config)
    loss = torch.empty(2)
    for step in range(STEPS):
        seed = number(config.seed, f"{NAME} adversarial dropout {step}")
        plain.step(config, "adversarial", step / STEPS, seed, loss[0], loss[1])
    for name, tensor in network.state_dict().items():
        assert torch.equal(ours.network.state_dict()[name], tensor), name


def test_a_rank_that_restricts_nothing_leaves_a_layer_free(found: CleanEnd) -> None:
    ranks = restrict(found.network.network("clean"), found.config, 9, 0, 0)  # conv1: 4 units of 9 pixels each
    assert [name for name, factors in ranks.items() if factors is None] == ["conv1", "conv2"]
    trainer = adversarial_phase(found, 9, "all", STEPS, quiet)
    assert trainer.unlimited == ("conv1", "conv2")
    assert all(change.abs().max() > 0 for change in changes(found, trainer).values())
    assert torch.linalg.matrix_rank(changes(found, trainer)["conv2"], rtol=1e-4) == 8


def test_a_session_keeps_such_a_layer_free_and_resumes(tmp_path: Path) -> None:
    config = images(from_dict(TINY | {"low_rank": {"rank": 9}, "schedule": {"clean_steps": 3, "second_steps": 6}}), "")
    whole = run(config, tmp_path / "whole")
    clean, now = whole.arrays["clean.conv1.weight"], whole.arrays["now.conv1.weight"]
    assert abs(now - clean).max() > 0
    session = worlds.create(config, tmp_path / "parts")
    while session.steps_done < 6:
        session.step()
    session.close()
    session = worlds.resume(tmp_path / "parts")
    assert isinstance(session, ImageSession)
    assert session._trainer.unlimited == ("conv1", "conv2")
    while not session.finished:
        session.step()
    drain(session)
    session.close()
    assert_same(record_of(tmp_path / "parts"), whole)


def test_written_recorded_and_read_back(finished: Path, tmp_path: Path) -> None:
    shares: list[float] = []
    written = RankStudy().run(
        finished, rank=(1, 4, 0), steps=3, n=32, progress=lambda share, what: shares.append(share)
    )
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    read = RankStudy.read(finished)
    assert read == written
    assert [row.rank for row in read.ranks] == [1, 4, 0]
    assert [row.rank for row in read.limited()] == [1, 4]
    full = read.full()
    assert full is not None
    assert (read.step, read.clean_step, read.steps, read.n, read.layers) == (20, 12, 3, 32, "all")
    assert read.protocol == "PGD-3 × 2 restarts, ℓ2 radius 0.3, n = 32, 95% Wilson interval"
    for row in (*read.ranks, read.before):
        assert row.low <= row.robust <= row.high
        assert row.robust <= row.clean
    store = Store.open(finished, read_only=True)
    try:
        for row in read.ranks:
            assert store.series(metrics.rank("robust", row.rank)).values.tolist() == [row.robust]
            assert store.series(metrics.rank("clean", row.rank)).values.tolist() == [row.clean]
            protocol = store.protocol(metrics.rank("robust", row.rank), 20)
            assert protocol is not None
            assert protocol.text() == read.protocol
    finally:
        store.close()
    assert "full" in RankStudy().table(written)
    for width in (6.75, 3.25):
        export(finished, ["low_rank"], tmp_path / "out", formats=("svg",), width=width)
    assert_fits(finished, "low_rank")
    with (tmp_path / "out" / "low_rank" / "low_rank.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["phase [name]"], r["rank [1]"]) for r in rows] == [
        ("before", ""), ("restricted", "1"), ("restricted", "4"), ("full", ""),
    ]  # fmt: skip
    assert read.protocol in (tmp_path / "out" / "low_rank" / "caption.txt").read_text(encoding="utf-8")
    found = json.loads((finished / "low_rank.json").read_text(encoding="utf-8"))
    assert "rank" not in found["before"]
    (finished / "low_rank.json").write_text(json.dumps(found | {"ranks": [{"rank": -1}]}), encoding="utf-8")
    with pytest.raises(StoreError, match=r"low_rank\.json is damaged: ranks"):
        RankStudy.read(finished)
    (finished / "low_rank.json").unlink()
    with pytest.raises(NotMeasured, match="python -m engine low-rank"):
        export(finished, ["low_rank"], tmp_path / "none", formats=("svg",))


def test_before_is_the_network_of_clean_training(found: CleanEnd, finished: Path) -> None:
    written = RankStudy().run(finished, rank=(0,), steps=1, n=32)
    clean = found.network.classifier("clean")
    assert written.before.clean == int((clean.margin(found.x, found.y) > 0).sum()) / 32


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rank": ()}, r"^--rank: got none; allowed: 1 to 4096, and 0"),
        ({"rank": (2, -1)}, r"^--rank: got 2, -1"),
        ({"layers": "conv2, conv9"}, r"^--layers: got 'conv2, conv9'; allowed: all, or some of conv1"),
        ({"steps": 0}, r"^--steps: got 0; allowed"),
    ],
)
def test_what_is_not_allowed_is_one_line(finished: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RankStudy().run(finished, **({"n": 16} | wrong))


def test_the_world_of_the_theory(tmp_path: Path) -> None:
    folder = tmp_path / "theory"
    run(tiny_config(), folder)
    shares: list[float] = []
    written = RankStudy().run(folder, rank=(1, 0), steps=5, n=60, progress=lambda share, what: shares.append(share))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    read = RankStudy.read(folder)
    assert read.protocol == "PGD-4 × 2 restarts, ℓ2 radius 0.2, n = 60, 95% Wilson interval"
    assert (read.step, read.clean_step, read.steps, [row.rank for row in read.ranks]) == (80, 40, 5, [1, 0])
    store = Store.open(folder, read_only=True)
    try:
        assert store.series(metrics.rank("robust", 1)).values.tolist() == [read.ranks[0].robust]
    finally:
        store.close()
    export(folder, ["low_rank"], tmp_path / "out", formats=("svg",))
    with pytest.raises(ConfigError, match=r"^--layers: got 'conv1'; allowed: all"):
        RankStudy().run(folder, rank=(1,), layers="conv1")
    assert written.layers == "all"


def test_a_run_whose_clean_training_goes_on(tmp_path: Path) -> None:
    run(tiny_config(), tmp_path / "theory", until=10)
    for folder in (tmp_path / "theory", make(tmp_path / "early", until=5)):
        with pytest.raises(ConfigError, match="clean training has not ended"):
            RankStudy().run(folder, n=16)
        assert not (folder / "low_rank.json").exists()
