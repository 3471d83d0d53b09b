"""Local purification of a finished run on images: what is trained, what is frozen, what is written and drawn."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from engine import worlds
from engine.config.experiment import from_dict
from engine.core import metrics
from engine.core.errors import ConfigError, StoreError
from engine.core.results import LayerInfo
from engine.core.slices import silent
from engine.figures import figures
from engine.figures.export import export
from engine.figures.style import STYLE, WIDTHS
from engine.images.training import ImageTrainer
from engine.models.layers import layer, redraw
from engine.probes.principle1 import principle1
from engine.run.store import Store
from engine.studies.base import NotMeasured, write_record
from engine.studies.clean_end import CleanEnd, Stages
from engine.studies.layer_alone import NAME, train_alone
from engine.studies.layer_ends import default_layers
from engine.studies.questions.local import LocalResult, LocalStudy
from tests.tiny_runs import drain

TINY: dict[str, Any] = {
    "device": "cpu", "threads": 1,
    "world": {"name": "digits", "train_size": 300},
    "model": {"name": "alexnet", "kernel": 3, "stride": 1, "padding": 1, "width": 4, "dropout": 0.2},
    "training": {"batch_size": 16, "flip": False, "lr": 0.05},
    "attack": {"tau": 0.3, "steps": 2},
    "schedule": {"clean_steps": 12, "second_steps": 8},
    "evaluation": {"every": 100, "size": 16, "steps": 1, "report_size": 16, "report_steps": 3, "report_restarts": 2},
}  # fmt: skip


def make(folder: Path, until: int = 20, **groups: dict[str, Any]) -> Path:
    """A tiny run on digits, trained for ``until`` steps."""
    session = worlds.create(from_dict(TINY | groups), folder)
    while session.steps_done < until:
        session.step()
    drain(session)
    session.close()
    return folder


def assert_fits(folder: Path, view: str, **options: str) -> None:
    """At both widths the figure of the run's study stays in its bounds, with no text below 7 points."""
    store = Store.open(folder, read_only=True)
    data = figures[view]().collect(store, store.load(), figures[view].view.complete(options))
    store.close()
    for width in WIDTHS:
        with mpl.rc_context(cast(Any, STYLE)):
            figure = Figure(figsize=(width, data.height(width)))
            data.draw(figure)
            figure.draw_without_rendering()
            texts = [text for text in figure.findobj(Text) if text.get_text().strip()]
            assert min(float(text.get_fontsize()) for text in texts) >= 7
            bounds: Any = figure.get_tightbbox()  # in inches, of all that is drawn
        assert min(bounds.x0, bounds.y0) >= 0
        assert bounds.x1 <= width
        assert bounds.y1 <= data.height(width)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run through its schedule; only its study may change."""
    grad = torch.is_grad_enabled()
    folder = make(tmp_path_factory.mktemp("runs") / "digits")
    torch.set_grad_enabled(grad)
    return folder


@pytest.fixture(scope="module")
def written(finished: Path) -> LocalResult:
    """The study of its default layers."""
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    found = LocalStudy().run(finished, n=32)
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)
    return found


def state(trainer: ImageTrainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}


def test_the_first_and_the_last_convolution_are_the_default() -> None:
    conv, linear = (LayerInfo(n, "conv", (2, 1, 3, 3)) for n in ("a", "b", "c")), LayerInfo("d", "linear", (2, 3))
    a, b, c = conv
    assert default_layers((a, b, c, linear)) == ("a", "c")
    assert default_layers((linear, b, linear)) == ("b",)
    assert default_layers((linear, LayerInfo("out", "linear", (2, 2)))) == ("d",)


@pytest.mark.parametrize("name", ["conv2", "conv1", "fc2"])
def test_only_the_chosen_layer_and_its_norm_move(finished: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[ImageTrainer] = []
    trainer = CleanEnd.trainer

    def keep(self: CleanEnd, of: str) -> ImageTrainer:
        made.append(trainer(self, of))
        return made[-1]

    monkeypatch.setattr(CleanEnd, "trainer", keep)
    found = CleanEnd.load(finished, 16)
    before = {n: t.clone() for n, t in found.network.network("clean").state_dict().items()}
    train_alone(found, name, 3, 2, Stages(silent, [1.0] * 4))
    after = state(made[0])
    moved = {n for n in before if not torch.equal(before[n], after[n])}
    norm = {"conv2": "norm2"}.get(name)
    assert {f"{name}.weight", f"{name}.bias"} <= moved
    allowed = (f"{name}.", f"{norm}.") if norm else (f"{name}.",)
    assert all(n.startswith(allowed) for n in moved)
    assert norm is None or f"{norm}.running_mean" in moved


def test_the_start_is_drawn_again_as_the_layer_was(finished: Path) -> None:
    found = CleanEnd.load(finished, 16)
    network = found.network.network("clean")
    for name in ("conv1", "conv2"):
        chosen = layer(network, name, "--layer")
        old = chosen.matrix.clone()
        redraw(network, chosen, found.config.model, found.network.facts, found.config.seed)
        first = layer(found.network.network("start"), name, "--layer").matrix
        assert not torch.allclose(chosen.matrix, old)
        assert not torch.allclose(chosen.matrix, first)
        assert float(chosen.matrix.std() / first.std()) == pytest.approx(1.0, abs=0.4)
        again = chosen.matrix.clone()
        redraw(network, chosen, found.config.model, found.network.facts, found.config.seed)
        assert torch.equal(chosen.matrix, again)


def test_figures_are_those_of_the_network_trained_by_hand(finished: Path, written: LocalResult) -> None:
    found = CleanEnd.load(finished, 32)
    trainer = found.trainer(NAME)
    chosen = layer(trainer.network, "conv3", "--layer")
    redraw(trainer.network, chosen, found.config.model, found.network.facts, found.config.seed)
    weights = [chosen.matrix.clone()]
    for objective, steps in (("clean", 6), ("adversarial", 4)):
        trainer.begin()
        trainer.only(chosen)
        found.train(trainer, objective, steps, NAME, lambda share: None)  # type: ignore[arg-type]
        weights.append(chosen.matrix.clone())
    by_hand = principle1(*weights)
    (each,) = [e for e in written.layers if e.name == "conv3"]
    assert each.rest == tuple(by_hand.rest.tolist())
    assert each.pure_part == tuple(by_hand.pure_part.tolist())
    assert each.cos_clean_now == pytest.approx(float(by_hand.cos_clean_now[by_hand.alive].mean()), abs=1e-6)
    clean = int((trainer.classifier.margin(found.x, found.y) > 0).sum()) / 32
    assert each.clean_after.value == clean


def test_written_recorded_and_read_back(finished: Path, written: LocalResult) -> None:
    read = LocalStudy.read(finished)
    assert read == written
    assert [each.name for each in read.layers] == ["conv1", "conv3"]
    assert (read.step, read.clean_step, read.n, read.tau, read.norm) == (20, 12, 32, 0.3, "l2")
    assert read.protocol == "PGD-3 × 2 restarts, ℓ2 radius 0.3, n = 32, 95% Wilson interval"
    first = read.layers[0]
    assert (first.clean_steps, first.adversarial_steps, len(first.rest)) == (6, 4, 4)
    assert first.robust_after.low <= first.robust_after.value <= first.robust_after.high
    store = Store.open(finished, read_only=True)
    try:
        for kind in ("clean", "robust"):
            name = metrics.local("conv1", f"{kind}_before")
            assert store.series(name).values.tolist() == [getattr(first, f"{kind}_before").value]
            protocol = store.protocol(name, 20)
            assert protocol is not None
            assert (protocol.attack, protocol.n) == ({"clean": "clean", "robust": "pgd"}[kind], 32)
        for quantity in ("cos_start_clean", "cos_start_now", "cos_clean_now", "share"):
            assert store.series(metrics.local("conv1", quantity)).values.tolist() == [getattr(first, quantity)]
        assert store.protocol(metrics.local("conv1", "share"), 20) is None
    finally:
        store.close()
    assert "conv3: 6 clean, 4 adversarial steps, 12 units" in LocalStudy().table(written)


def test_the_same_again_and_the_run_as_it_was(finished: Path, written: LocalResult) -> None:
    shares: list[float] = []
    checkpoints = {p.name: p.read_bytes() for p in (finished / "checkpoints").iterdir()}
    again = LocalStudy().run(finished, layer=["conv3"], n=32, progress=lambda share, what: shares.append(share))
    assert again.layers == tuple(e for e in written.layers if e.name == "conv3")
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert {p.name: p.read_bytes() for p in (finished / "checkpoints").iterdir()} == checkpoints


def test_steps_are_those_asked_for_and_n_at_most_what_there_is(finished: Path) -> None:
    found = LocalStudy().run(finished, layer=["fc1"], clean_steps=2, adversarial_steps=1, n=100_000)
    (each,) = found.layers
    assert (each.clean_steps, each.adversarial_steps) == (2, 1)
    assert found.n == len(CleanEnd.load(finished, 100_000).y) < 100_000


def test_what_cannot_be_studied_is_one_line(finished: Path, tmp_path: Path, finished_run: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--layer: got 'conv9'; allowed: conv1, conv2"):
        LocalStudy().run(finished, layer=["conv9"])
    with pytest.raises(ConfigError, match=r"^--clean-steps: got 0; allowed"):
        LocalStudy().run(finished, clean_steps=0)
    with pytest.raises(ConfigError, match="needs a network on images"):
        LocalStudy().run(finished_run)
    with pytest.raises(StoreError, match="not a run folder"):
        LocalStudy().run(tmp_path)
    early = make(tmp_path / "early", until=5)
    with pytest.raises(ConfigError, match="clean training has not ended"):
        LocalStudy().run(early)
    assert not (early / "local.json").exists()


def test_export_draws_it_and_says_what_is_missing(finished: Path, written: LocalResult, tmp_path: Path) -> None:
    write_record(finished / "local.json", LocalResult, written)
    for width in (6.75, 3.25):
        export(finished, ["local"], tmp_path / "out", formats=("svg",), width=width)
    assert_fits(finished, "local")
    folder = tmp_path / "out" / "local"
    with (folder / "local.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["layer [name]"] for r in rows] == ["conv1", "conv3"]
    assert rows[0]["robust accuracy after [1]"] == str(written.layers[0].robust_after.value)
    with (folder / "local.units.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 4 + 12
    caption = (folder / "caption.txt").read_text(encoding="utf-8")
    assert "Protocol: PGD-3 × 2 restarts, ℓ2 radius 0.3, n = 32" in caption
    assert "conv1" in (folder / "local.svg").read_text(encoding="utf-8")
    (finished / "local.json").unlink()
    with pytest.raises(NotMeasured, match="python -m engine local"):
        export(finished, ["local"], tmp_path / "none", formats=("svg",))


@pytest.mark.parametrize("damage", [{"layers": 3}, {"n": "many"}, {"rest": [0.1]}, {"share": 7}])
def test_a_damaged_file_is_one_line(written: LocalResult, tmp_path: Path, damage: dict[str, Any]) -> None:
    (key, value), *_ = damage.items()
    write_record(tmp_path / "local.json", LocalResult, written)
    found = json.loads((tmp_path / "local.json").read_text(encoding="utf-8"))
    (found["layers"][0] if key in ("rest", "share") else found)[key] = value
    (tmp_path / "local.json").write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(StoreError, match=r"local\.json is damaged") as met:
        LocalStudy.read(tmp_path)
    assert len(str(met.value).splitlines()) == 1


def test_a_network_without_convolutions(tmp_path: Path) -> None:
    folder = make(tmp_path / "two", until=12, model={"name": "two_layer", "width": 8})
    found = LocalStudy().run(folder, clean_steps=2, adversarial_steps=2, n=16)
    assert [each.name for each in found.layers] == ["hidden"]
