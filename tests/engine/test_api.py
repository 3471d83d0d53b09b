"""The explorer from Python: what ``engine.api`` gives is what the commands and the window give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from engine import api, worlds
from engine.api import Run, attack, certificate, certified_radius, open_run, open_runs, train
from engine.cli.main import run_command_line
from engine.config.experiment import to_dict
from engine.core.errors import ConfigError, DivergedError, ExplorerError, StoreError
from engine.core.results import CleanMixture, FeatureRequest, Filters, Mixture, RadiusCurves
from engine.core.spectra import LayersSpectrum
from engine.images.data import describe, load
from engine.models.plain import SymmetricNet
from engine.run.store import Store
from engine.studies.base import NotMeasured
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import assert_same, read, table, tiny_config


@pytest.fixture
def run(finished_run: Path) -> Run:
    return open_run(finished_run)


@pytest.fixture(scope="module")
def images_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    short = {"model.name": "two_layer", "model.width": 8, "schedule.clean_steps": 6, "schedule.second_steps": 4}
    return train(tiny_images(**short), tmp_path_factory.mktemp("api") / "images")


# --- opening and training


def test_importing_it_is_light_and_leaves_a_notebook_its_backend() -> None:
    code = (
        "import os, sys, engine.api, engine.figures; print(os.environ['MPLBACKEND'], "
        "sorted({'torch', 'matplotlib', 'PySide6', 'pandas'} & set(sys.modules)))"
    )
    env = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "module://matplotlib_inline.backend_inline []\n"


def test_everything_that_is_offered_is_documented() -> None:
    for name in api.__all__:
        offered = getattr(api, name)
        assert offered.__doc__, name
        for each, member in vars(offered).items() if isinstance(offered, type) else ():
            assert each.startswith("_") or not callable(member) or member.__doc__, f"{name}.{each}"


def test_training_is_what_the_command_trains(finished_run: Path, tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    run = train(tiny_config(), tmp_path / "run", progress=lambda *done: heard.append(done))
    assert heard == [(step, 80) for step in range(1, 81)]
    assert run.folder == tmp_path / "run"
    assert_same(read(tmp_path / "run"), read(finished_run))


def test_knobs_are_set_by_name(tmp_path: Path) -> None:
    knobs = {"tau": 0.1, "training.lr": [[0, 2], [4, np.float64(0.5)]], "schedule.clean_steps": 6, "second_steps": 2}
    preset = tmp_path / "mine.toml"
    preset.write_text('device = "cpu"\nthreads = 1\n[world]\nd = 16\n[model]\nm = 8\n[evaluation]\nsize = 16\n')
    run = train(preset, str(tmp_path / "run"), set=knobs)
    assert run.config.attack.tau == 0.1
    assert str(run.config.schedule.curve("training.lr")) == "[[0, 2.0], [4, 0.5]]"
    assert run.checkpoints == [0, 6, 8]
    with pytest.raises(ConfigError, match=r"attack\.tau: got 'much'"):
        train(preset, tmp_path / "other", set={"tau": "much"})
    with pytest.raises(ConfigError, match="preset: got 'smal'"):
        train("smal", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_run_goes_on(tmp_path: Path, error: type[BaseException]) -> None:
    def stop(done: int, total: int) -> None:
        if done == 7:
            raise error

    with pytest.raises(error):
        train(tiny_config(), tmp_path / "run", progress=stop)
    assert torch.is_grad_enabled()
    assert open_run(tmp_path / "run").checkpoints[-1] == 7


def test_diverged_training_says_so(tmp_path: Path) -> None:
    with pytest.raises(DivergedError):
        train(tiny_config(**{"training.lr": 100.0}), tmp_path / "run", set={"model.lambda": 0.1})
    assert open_run(tmp_path / "run").summary["diverged"]


def test_runs_below_a_folder(finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = open_runs(finished_run.parent)
    assert [each.id for each in found if each.folder == finished_run] == [open_run(finished_run).id]
    with pytest.raises(StoreError, match="does not exist"):
        open_runs(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="is not a run folder"):
        open_run(tmp_path)


# --- the record


def test_history_is_what_was_stored(run: Run, finished_store: Store) -> None:
    history = run.history
    assert sorted(history) == finished_store.names()
    for name in history:
        series = finished_store.series(name)
        assert np.array_equal(history[name].steps, series.steps)
        assert np.array_equal(history[name].values, series.values)
        assert not history[name].values.flags.writeable or history[name].values.base is None
    assert run.events == finished_store.events()
    assert run.config == finished_store.config
    assert run.protocol("report/accuracy/pgd") == finished_store.protocol("report/accuracy/pgd", 80)
    assert run.protocol("loss") is None
    assert run.protocol("accuracy/pgd", step=0) == finished_store.protocol("accuracy/pgd", 0)
    assert run.summary == json.loads((run.folder / "summary.json").read_text(encoding="utf-8"))


def test_history_as_a_frame(run: Run) -> None:
    pytest.importorskip("pandas")
    frame = run.history.frame()
    assert frame.index.name == "step"
    assert frame.index.is_monotonic_increasing
    stored = {(s, n): v for s, n, v in table(run.folder, "SELECT step, name, value FROM metrics")}
    assert int(frame.notna().sum().sum()) == len(stored)
    assert all(frame.loc[step, name] == value for (step, name), value in stored.items())


def test_a_frame_needs_pandas(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ExplorerError, match="needs pandas; install it by: pip install pandas"):
        run.history.frame()


def test_nothing_of_a_run_is_changed(run: Run, tmp_path: Path) -> None:

    def files() -> dict[Path, bytes]:
        """All but what SQLite keeps while somebody reads."""
        found = (path for path in run.folder.rglob("*") if path.is_file())
        return {path: path.read_bytes() for path in found if not path.name.startswith("run.sqlite-")}

    before = files()
    run.at(50).result(Mixture)
    run.network("clean")
    run.figure("robustness")
    run.evaluate(n=16)
    run.write_weights(tmp_path / "w.safetensors")
    assert files() == before


# --- networks, data, attacks


def test_figures_are_those_of_evaluate(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["evaluate", str(run.folder), "--attack", "pgd", "--steps", "4", "--restarts", "2", "--n", "50", "--json"]
    assert run_command_line(line) == 0
    told = json.loads(capsys.readouterr().out)["figures"]
    found = run.evaluate(steps=4, restarts=2, n=50)
    assert [each.figure for each in found] == [{k: f[k] for k in found[0].figure} for f in told]
    assert found[1].protocol.text() == "PGD-4 × 2 restarts, ℓ2 radius 0.2, n = 50, 95% Wilson interval"


def test_attack_and_certificate_enclose_the_truth(run: Run) -> None:
    network, (x, y) = run.network(), run.data(200)
    assert isinstance(network, SymmetricNet)
    clean = float((network(x).sign() == y).float().mean())
    assert clean == pytest.approx(run.evaluate((), n=200)[0].accuracy, abs=1e-6)
    for norm, radius in (("l2", 0.1), ("linf", 0.02)):
        moved = attack(network, x, y, norm=norm, radius=radius, steps=10, restarts=2)  # type: ignore[arg-type]
        size = torch.linalg.vector_norm(moved - x, ord=2 if norm == "l2" else torch.inf, dim=1)
        assert float(size.max()) <= radius * (1 + 1e-5)
        right = network(moved).sign() == y
        sure = certificate(network, x, y, radius=radius, norm=norm)  # type: ignore[arg-type]
        assert right[sure.certified].all()
        assert bool((sure.best <= y * network(moved) + 1e-4).all())
        assert 0 < sure.certified.float().mean() <= right.float().mean() < clean
    radii = certified_radius(network, x, y, limit=1.0)
    assert bool(((radii >= 0.1) == certificate(network, x, y, radius=0.1).certified).float().mean() > 0.98)
    dense = attack(network, x, y, name="dense", radius=0.2) - x
    along = network.dictionary @ network.target
    assert torch.allclose((dense @ along).abs() / along.norm(), torch.full((200,), 0.2), atol=1e-5)


def test_torch_stays_as_the_caller_has_it(run: Run) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        network, (x, y) = run.network(), run.data(20)
        attack(network, x, y, radius=0.1, steps=1, restarts=1)
        run.at().result(Mixture)
        assert torch.is_grad_enabled()
        assert torch.get_num_threads() == 2
        network.requires_grad_()
        network(x).sum().backward()
        with torch.no_grad():
            run.network()
            assert not torch.is_grad_enabled()
    finally:
        torch.set_num_threads(threads)


def test_networks_of_every_moment(run: Run, finished_store: Store) -> None:
    arrays = finished_store.load().arrays
    for moment, name in (("start", "weight_init"), ("clean", "weight_clean"), ("now", "weight")):
        network = run.network(moment)  # type: ignore[arg-type]
        assert np.array_equal(network.weight.numpy(), arrays[name])  # type: ignore[operator, union-attr]
    assert float(run.network().bias) == float(arrays["bias"])  # type: ignore[arg-type]
    assert float(run.network("start").bias) < float(run.network("clean").bias)  # type: ignore[arg-type]
    early = run.network(step=25)
    assert not np.array_equal(early.weight.numpy(), arrays["weight"])  # type: ignore[operator, union-attr]
    with pytest.raises(StoreError, match="clean training had not ended at step 25"):
        run.network("clean", step=25)
    with pytest.raises(StoreError, match="checkpoint: got 26; allowed: 0, 25"):
        run.network(step=26)
    with pytest.raises(ConfigError, match="moment: got 'then'; allowed: start, clean, now"):
        run.network("then")  # type: ignore[arg-type]


def test_images(images_run: Run) -> None:
    network, (x, y) = images_run.network("clean"), images_run.data(64)
    assert (x.shape, y.dtype) == ((64, 1, 8, 8), torch.int64)
    loaded = worlds.load(images_run.folder)
    torch.set_grad_enabled(True)
    assert torch.equal(network(x), loaded.classifier("clean").logits(x))  # type: ignore[union-attr]
    moved = attack(network, x, y, norm="linf", radius=0.1, steps=3, restarts=1)
    assert float((moved - x).abs().max()) <= 0.1 + 1e-6
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1
    accuracy = [float((network(each).argmax(1) == y).float().mean()) for each in (x, moved)]
    assert accuracy[1] < accuracy[0]
    own = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10)).train()
    assert torch.equal(*(attack(own, x, y, name=n, radius=0.5, steps=2, restarts=2) for n in ("apgd", "apgd")))
    assert own.training
    at = images_run.at()
    assert (at.step, at.phase, at.result(Filters).now.shape) == (10, "adversarial", (8, 1, 8, 8))
    found = at.visualise(FeatureRequest("hidden", (0, 3), steps=2))
    assert found.pictures["clean"].shape == (2, 1, 8, 8)
    with pytest.raises(ConfigError):
        at.visualise(FeatureRequest("hidden", (99,)))
    with pytest.raises(ConfigError, match="network: got Sequential; allowed: the network of a run in the sparse"):
        certificate(network, x, y, radius=0.1)  # type: ignore[arg-type]
    assert describe(load(images_run.config)).classes == network(x).shape[1]  # type: ignore[arg-type]


def test_what_cannot_be_attacked(run: Run, images_run: Run) -> None:
    network, (x, y) = run.network(), run.data(4)
    wrong: list[tuple[Callable[[], object], str]] = [
        (
            lambda: attack(network, x, y, name="gpd", radius=0.1),
            "name: got 'gpd'; allowed: fgm, dense, pgd, apgd, square",
        ),
        (lambda: attack(network, x, y, radius=-1), "radius: got -1; allowed: a number from 0 to 100"),
        (lambda: attack(network, x, y, radius=1, steps=0), "steps: got 0; allowed: a whole number from 1"),
        (lambda: attack(network, x, y, radius=1, norm="l1"), "norm: got 'l1'; allowed: l2, linf"),  # type: ignore[arg-type]
        (lambda: attack(nn.Linear(16, 2), x, y, radius=1), r"x: got 'shape \(4, 16\)'; allowed: pictures"),
        (
            lambda: attack(nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), *images_run.data(4), radius=1),
            "network: got '1 output'; allowed: one logit a class, at least 2",
        ),
    ]
    for call, words in wrong:
        with pytest.raises(ConfigError, match=words):
            call()


# --- one step


def test_at_a_step(run: Run, finished_store: Store) -> None:
    at = run.at(51)
    assert (at.step, at.phase, at.clean_step) == (51, "adversarial", 40)
    assert at.step in run.steps
    known = worlds.past(run.folder)
    known.go(51)
    there = known.snapshot(frozenset({Mixture, CleanMixture}))
    known.close()
    torch.set_grad_enabled(True)
    assert np.array_equal(at.result(Mixture).purity, there.results[Mixture].purity)  # type: ignore[attr-defined]
    assert at.result(RadiusCurves).step == 51
    assert at.result(LayersSpectrum).step == at.result("LayersSpectrum").step == 51
    assert run.at().step == 80
    first = run.at(0)
    assert (first.step, first.phase) == (0, "clean")
    with pytest.raises(ExplorerError, match="there is no CleanMixture at step 0: clean training had not ended"):
        first.result(CleanMixture)
    with pytest.raises(ConfigError, match="result: got 'Filters'; allowed: CleanMixture"):
        first.result(Filters)
    assert "Mixture" in first.kinds
    assert to_dict(at.config) == to_dict(run.config)


# --- figures


def test_figures_are_those_of_export(run: Run, tmp_path: Path) -> None:
    figure = run.figure("neurons", sort="norm", width=3.25)
    assert isinstance(figure, Figure)
    assert figure.get_figwidth() == 3.25
    files = run.export("neurons", tmp_path / "a", formats=["svg"], options={"neurons.sort": "norm"})
    assert (tmp_path / "a" / "neurons" / "neurons.svg") in files
    line = ["export", str(run.folder), "--view", "neurons", "--format", "svg", "--option", "neurons.sort=norm"]
    assert run_command_line([*line, "--out", str(tmp_path / "b")]) == 0
    drawn = [(tmp_path / each / "neurons" / "neurons.svg").read_bytes() for each in "ab"]
    assert drawn[0] == drawn[1]
    early = run.figure("robustness", step=25)
    assert max(axes.get_xlim()[1] for axes in early.axes) == 25
    with pytest.raises(ConfigError, match="view: got 'filters'; allowed for a run on sparse_coding"):
        run.figure("filters")
    with pytest.raises(ConfigError, match="option: got 'colour'; allowed: "):
        run.figure("neurons", colour="red")
    with pytest.raises(ConfigError, match="width: got 5; allowed: "):
        run.figure("neurons", width=5)
    with pytest.raises(NotMeasured):
        run.figure("race")
