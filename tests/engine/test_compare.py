"""Comparisons of real tiny runs: what is drawn against what was recorded, means against numpy's, the real command."""

from __future__ import annotations

import csv
import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from engine.cli.main import run_command_line
from engine.compare.base import ComparedRuns, comparisons
from engine.compare.export import compare, config_hash
from engine.compare.galleries import GalleriesData
from engine.compare.naming import differences
from engine.compare.overlay import MOST_LOOKS, Overlay, common_phases, look_of, panels_of_csv
from engine.compare.record import read_runs
from engine.core import metrics
from engine.core.errors import ConfigError
from engine.core.measurement import wilson
from engine.figures.export import table_csv
from engine.figures.radius import measure
from engine.figures.style import STYLE
from engine.run.commands import SetKnob, SwitchPhase
from engine.run.store import Store
from engine.run.timeline import Span
from engine.studies.base import NotMeasured
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import run, table, tiny_config

SHORT = {"schedule.clean_steps": 20, "schedule.second_steps": 20}
ROOM = "torch", "matplotlib", "PySide6"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Seeds 0, 1 and 2 of one config; seed 0 with another tau; and one whose phase was switched early by hand."""
    base = tmp_path_factory.mktemp("compare")
    for seed in range(3):
        run(tiny_config(seed=seed, **SHORT), base / f"seed{seed}")
    run(tiny_config(tau=0.1, **SHORT), base / "weak")
    plan = {10: [SwitchPhase("adversarial")], 15: [SetKnob("attack.tau", 0.3)]}
    run(tiny_config(**SHORT), base / "early", 30, plan)
    return {folder.name: folder for folder in base.iterdir()}


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("networks")
    few = {"schedule.clean_steps": 4, "schedule.second_steps": 4, "evaluation.every": 4}
    for seed in range(2):
        run(tiny_images(seed=seed, **few), base / f"n{seed}")
    return [base / "n0", base / "n1"]


def compared(view: str, *folders: Path, mean: bool = False) -> ComparedRuns:
    return ComparedRuns.of(read_runs(folders, comparisons[view]().wants), mean=mean)


def collect(view: str, *folders: Path, mean: bool = False, **options: str) -> Overlay | GalleriesData:
    drawer = comparisons[view]()
    found = drawer.collect(compared(view, *folders, mean=mean), drawer.complete(options))
    assert isinstance(found, Overlay | GalleriesData)
    return found


def recorded(folder: Path, metric: str) -> dict[float, float]:
    rows = table(folder, "SELECT step, name, value FROM metrics ORDER BY step")
    return {float(step): value for step, name, value in rows if name == metric}


def lines_drawn(data: Overlay, place: int) -> list[tuple[str, list[float], list[float]]]:
    """Colour, x and y of the lines with more than two points in one panel of the figure."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.75, data.height(6.75)))
        data.draw(figure)
    lines = [line for line in figure.axes[place].get_lines() if len(line.get_xdata()) > 2]  # type: ignore[arg-type]
    return [(to_hex(each.get_color()), list(each.get_xdata()), list(each.get_ydata())) for each in lines]  # type: ignore[arg-type]


def test_what_is_drawn_is_what_was_recorded(runs: dict[str, Path]) -> None:
    folders = [runs["seed0"], runs["weak"]]
    data = collect("robustness", *folders)
    assert isinstance(data, Overlay)
    assert data.run_names == ("tau 0.2", "tau 0.1")
    place = [panel.key for panel in data.panels].index(metrics.PGD)
    for i, (line, folder) in enumerate(zip(lines_drawn(data, place), folders, strict=True)):
        stored = recorded(folder, metrics.PGD)
        assert (line[1], line[2]) == (list(stored), list(stored.values()))
        assert line[0].lower() == look_of(i, "").light.lower()
        drawn = data.panels[place].line(i)
        assert drawn is not None
        assert (drawn.low[-1], drawn.high[-1]) == wilson(drawn.y[-1] * 32, 32)
    mixture = collect("mixtures", *folders, quantity="purity")
    assert isinstance(mixture, Overlay)
    for line, folder in zip(lines_drawn(mixture, 0), folders, strict=True):
        assert line[2] == list(recorded(folder, "mixture/purity/median").values())


def test_mean_and_range_are_those_of_numpy(runs: dict[str, Path]) -> None:
    folders = [runs[name] for name in ("seed0", "weak", "seed1", "seed2")]
    data = collect("robustness", *folders, mean=True)
    assert isinstance(data, Overlay)
    (group,) = data.groups
    assert (group.members, group.name) == ((0, 2, 3), "tau 0.2, seeds 0, 1, 2")
    place = [panel.key for panel in data.panels].index(metrics.PGD)
    table = np.array([list(recorded(runs[f"seed{i}"], metrics.PGD).values()) for i in range(3)])
    found = data.panels[place].mean(group)
    assert found is not None
    assert np.allclose(found.mean, np.mean(table, axis=0))
    assert np.array_equal(found.low, np.min(table, axis=0))
    assert np.array_equal(found.high, np.max(table, axis=0))
    drawn = lines_drawn(data, place)
    assert [line[2] for line in drawn[:3]] == table.tolist()  # each seed, thin
    assert np.allclose(drawn[3][2], np.mean(table, axis=0))
    assert len(drawn) == 5  # and the one that is no seed of them
    assert len({line[0] for line in drawn[:4]}) == 1


def test_mean_is_over_the_steps_that_all_have(runs: dict[str, Path], tmp_path: Path) -> None:
    run(tiny_config(seed=7, **SHORT), tmp_path / "short", 20)
    data = collect("robustness", runs["seed1"], tmp_path / "short", mean=False, quantity="clean")
    assert isinstance(data, Overlay)
    ends = [float(line.x[-1]) for line in data.panels[0].lines]
    assert ends == [40.0, 20.0]
    with pytest.raises(ConfigError, match="mean: no two of these runs differ in the seed alone"):
        compared("robustness", runs["seed0"], runs["weak"], mean=True)


def test_knobs_that_differ_with_the_changes_by_hand(runs: dict[str, Path]) -> None:
    found = differences(read_runs([runs["seed0"], runs["early"]], lambda _: False))
    assert found == {
        "attack.tau": ("0.2", "0.2, 0.3 from step 15"),
        "phases": ("clean from step 0, adversarial from step 20", "clean from step 0, adversarial from step 10"),
    }
    with pytest.raises(ConfigError, match="mean"):  # it was changed: no run of the same config any more
        compared("robustness", runs["seed1"], runs["early"], mean=True)


def test_protocols_that_differ_and_what_is_missing_are_said(runs: dict[str, Path], tmp_path: Path) -> None:
    caption = collect("robustness", runs["seed0"], runs["weak"]).caption
    assert "Protocol, clean accuracy: no attack, n = 32" in caption
    assert "Protocol, PGD accuracy, DIFFERS between the runs: “tau 0.2”: PGD-3" in caption
    run(tiny_config(seed=1, **SHORT, **{"evaluation.certify_every": 0}), tmp_path / "plain", 10)
    caption = collect("robustness", runs["seed0"], tmp_path / "plain").caption
    assert "Not recorded: certified accuracy in “seed 1”." in caption


def test_phases_are_shared_only_if_the_switches_are() -> None:
    long = (Span(0, 20, "clean"), Span(20, 40, "adversarial"))
    assert common_phases([(Span(0, 15, "clean"),), long]) == long
    assert common_phases([(Span(0, 10, "clean"), Span(10, 40, "adversarial")), long]) == ()
    assert common_phases([(Span(0, 30, "clean"),), long]) == ()


def test_no_two_runs_look_alike() -> None:
    looks = [look_of(i, "") for i in range(MOST_LOOKS)]
    assert len({(look.light, look.dash) for look in looks}) == MOST_LOOKS
    assert len({look.light for look in looks[:7]}) == 7


def test_neurons_of_one_start_stand_in_the_same_places(runs: dict[str, Path]) -> None:
    data = collect("neurons", runs["seed0"], runs["weak"], runs["seed1"])
    assert isinstance(data, GalleriesData)
    assert data.starts == (0, 0, 2)
    assert np.array_equal(data.order[0], data.order[1])
    neuron = int(data.order[0][3])
    assert data.places(neuron, 0) == {0: 3, 1: 3}
    assert data.places(int(data.order[2][0]), 2) == {2: 0}
    stores = [Store.open(runs[name], read_only=True) for name in ("seed0", "weak", "seed1")]
    weights = [store.load().arrays["weight"] for store in stores]
    for store in stores:
        store.close()
    for pictures, order, weight in zip(data.panels.values(), data.order, weights, strict=True):
        assert np.array_equal(pictures[: len(order)].reshape(len(order), -1), weight[order])
    sizes = [np.quantile(np.abs(w), 0.995, method="higher") for w in weights]
    assert 0.98 * max(sizes) <= data.level <= 1.1 * max(sizes)  # one level, that of the strongest, rounded up


def test_networks_layer_by_layer_and_their_filters(networks: list[Path]) -> None:
    data = collect("layers", *networks)
    assert isinstance(data, Overlay)
    assert data.ticks == ("conv1", "conv2", "conv3", "fc1", "fc2")
    panel = next(p for p in data.panels if p.key == "cos_clean_now")
    for i, folder in enumerate(networks):
        line = panel.line(i)
        assert line is not None
        stored = [list(recorded(folder, f"layer/{name}/cos_clean_now").values())[-1] for name in data.ticks]
        assert line.y.tolist() == stored
    assert lines_drawn(data, 0)[0][2] == data.panels[0].lines[0].y.tolist()
    filters = collect("filters", *networks)
    assert isinstance(filters, GalleriesData)
    assert list(filters.panels) == ["seed 0", "seed 1"]
    assert filters.starts == (0, 1)


def test_radius_is_measured_at_the_same_radii_for_all(runs: dict[str, Path], tmp_path: Path) -> None:
    data = collect("radius", runs["seed0"], runs["weak"], n="60")
    assert isinstance(data, Overlay)
    assert [panel.key for panel in data.panels] == ["pgd", "certified"]
    store = Store.open(runs["weak"], read_only=True)
    line = data.panels[0].line(1)
    assert line is not None
    assert line.x[-1] == pytest.approx(0.3)  # as far as the run of the larger tau asks for
    alone = measure(store.load(), line.x, 60, clean=False)
    store.close()
    assert line.y.tolist() == alone[0].values.tolist()
    (tmp_path / "radius.csv").write_bytes(table_csv(data.tables[""]))
    for again, panel in zip(panels_of_csv(tmp_path / "radius.csv", data.run_names, {}), data.panels, strict=True):
        for line, first in zip(again.lines, panel.lines, strict=True):
            for part in ("x", "y", "low", "high"):
                assert np.array_equal(getattr(line, part), getattr(first, part))
    assert "accuracy under PGD: PGD-20 × 2 restarts, ℓ2 radii 0 to 0.3, n = 60" in data.caption


def test_the_command_writes_figures_data_and_recipe(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [runs["seed0"], runs["seed1"]]
    line = ["compare", *map(str, folders), "--view", "robustness", "--view", "mixtures"]
    line += ["--mean", "--format", "svg", "--option", "mixtures.quantity=purity", "--out", str(tmp_path / "out")]
    assert run_command_line(line) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "seed  0       1" in said.out.splitlines()
    out = tmp_path / "out"
    found = {str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()}
    each = [f"{v}/{v}{end}" for v in ("mixtures", "robustness") for end in (".svg", ".csv", ".mean.csv")]
    again = {f"runs/{i}/{name}" for i in (1, 2) for name in ("recipe.json", "weight.npz")} | {"reproduce.py"}
    assert found == {"knobs.csv", "recipe.json", "mixtures/caption.txt", "robustness/caption.txt", *each, *again}
    with (out / "robustness/robustness.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    drawn = {
        (row["run [name]"], float(row["step [steps]"])): float(row["value [1]"])
        for row in rows
        if row["quantity [name]"] == metrics.PGD
    }
    assert drawn == {(f"seed {i}", s): v for i in (0, 1) for s, v in recorded(folders[i], metrics.PGD).items()}
    recipe = json.loads((out / "recipe.json").read_text(encoding="utf-8"))
    for i, (each, folder) in enumerate(zip(recipe["runs"], folders, strict=True)):
        store = Store.open(folder, read_only=True)
        assert each["folder"] == str(folder)
        assert each["config_hash"] == config_hash(store.config)
        assert (each["run"], each["seed"], each["step"], each["name"]) == (store.run, i, 40, f"seed {i}")
        store.close()
    assert recipe["comparison"]["mean"] is True
    assert recipe["comparison"]["views"] == {"robustness": {"quantity": "all"}, "mixtures": {"quantity": "purity"}}


def test_reproduce_trains_every_run_and_draws_the_same(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, again = tmp_path / "out", tmp_path / "again"
    compare([runs["seed0"], runs["seed1"]], ["robustness"], out, formats=["svg"], mean=True)
    assert "--plugin" in (out / "reproduce.py").read_text(encoding="utf-8")
    assert "@" not in (out / "reproduce.py").read_text(encoding="utf-8")
    assert run_script(out / "reproduce.py", again, monkeypatch) == 0
    said = capsys.readouterr().out
    assert "run 1: step 40: the weights are bit-identical" in said
    assert "run 2: step 40: the weights are bit-identical" in said
    for name in ("robustness.csv", "robustness.mean.csv", "robustness.svg"):
        assert (again / "comparison/robustness" / name).read_bytes() == (out / "robustness" / name).read_bytes()
    for number in "12":
        one = out / "runs" / number / "recipe.json"
        recipe = json.loads(one.read_text(encoding="utf-8"))
        recipe["config"]["training"]["lr"] *= 1.5
        one.write_text(json.dumps(recipe), encoding="utf-8")
    assert run_script(out / "reproduce.py", tmp_path / "other", monkeypatch) == 1
    assert "run 2: step 40: the weights differ" in capsys.readouterr().out
    assert run_script(out / "reproduce.py", again, monkeypatch) == 2
    assert "is not empty; allowed: a new or empty folder" in capsys.readouterr().err
    (out / "recipe.json").write_text("{}", encoding="utf-8")
    assert run_script(out / "reproduce.py", tmp_path / "third", monkeypatch) == 2
    assert "recipe.json is damaged: 'comparison'" in capsys.readouterr().err


def run_script(script: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """The exit code of the script, in this process."""
    monkeypatch.setattr(sys, "argv", [str(script), str(folder)])
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    return ended.value.code


Call = Callable[..., tuple[int, str]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    def inner(*arguments: object) -> tuple[int, str]:
        code = run_command_line(["compare", *map(str, arguments), "--out", str(tmp_path / "out")])
        assert not (tmp_path / "out").exists()
        return code, capsys.readouterr().err

    return inner


def test_refusals_are_one_line(call: Call, runs: dict[str, Path], networks: list[Path], tmp_path: Path) -> None:
    a, b = runs["seed0"], runs["seed1"]
    for arguments, said in (
        ((a, "--view", "robustness"), "runs: got 1; allowed: 2 to 35 run folders"),
        ((a, b, a, "--view", "robustness"), "is given twice; allowed: each run once"),
        ((a, networks[0], "--view", "robustness"), "is on sparse_coding and"),
        ((a, tmp_path, "--view", "robustness"), "is not a run folder"),
        ((a, b, "--view", "race"), "view: got 'race'; allowed: neurons, mixtures, filters, layers, robustness"),
        ((a, b, "--view", "layers"), "allowed for runs on sparse_coding: neurons, mixtures, robustness, radius"),
        ((a, b, "--view", "neurons", "--option", "radius.n=9"), "option: got 'radius.n'; allowed: neurons.count"),
        ((a, b, "--view", "neurons", "--option", "moment=late"), "moment: got 'late'; allowed: now, clean, start"),
        ((a, runs["weak"], "--view", "robustness", "--mean"), "mean: no two of these runs"),
        ((a, b, "--view", "robustness", "--checkpoint", "7"), "checkpoint: got 7; allowed:"),
    ):  # fmt: skip
        code, error = call(*arguments)
        assert code == 2, error
        assert said in error
        assert error.count("\n") == 1


def test_nothing_recorded_is_said(tmp_path: Path) -> None:
    for seed in (0, 1):
        run(tiny_config(seed=seed, **{"evaluation.every": 50}), tmp_path / str(seed), 1)
    with pytest.raises(NotMeasured, match="neurons: clean training has not ended in any of these runs"):
        collect("neurons", tmp_path / "0", tmp_path / "1", moment="clean")


def test_reading_records_imports_neither_torch_nor_matplotlib(runs: dict[str, Path]) -> None:
    code = (
        "import sys; from pathlib import Path; from engine.compare.base import ComparedRuns, comparisons\n"
        "from engine.compare.record import read_runs\n"
        "for view in ('robustness', 'mixtures', 'neurons'):\n"
        "    drawer = comparisons[view]()\n"
        "    runs = read_runs([Path(each) for each in sys.argv[1:]], drawer.wants)\n"
        "    find = drawer.panels if view == 'robustness' else drawer.collect\n"  # torch's files name attacks
        "    find(ComparedRuns.of(runs, mean=True), drawer.complete({}))\n"
        f"print([name for name in {ROOM} if name in sys.modules])"
    )
    line = [sys.executable, "-c", code, str(runs["seed0"]), str(runs["seed1"])]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
