"""Which runs a sweep has, what it refuses, and how it may grow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.config.curves import Curve
from engine.config.presets import load_preset
from engine.core.errors import ConfigError, StoreError, VersionError
from engine.sweeps.estimate import in_words, seconds_of, seconds_together
from engine.sweeps.planning import plan, read_grid, read_seeds, replan
from engine.sweeps.record import ENDS, SWEEP, EndsFile, Sweep, read_ends, read_sweep, write_sweep


def small(*grid: str, seeds: str | None = None, **settings: str) -> Sweep:
    pairs = [(name.replace("__", "."), value) for name, value in settings.items()]
    return plan("small", read_grid(grid), None if seeds is None else read_seeds(seeds), pairs)


def test_every_combination_with_every_seed() -> None:
    found = small("attack.tau=0.05, 0.1", "schedule.second=adversarial,trades", seeds="0-1,7", training__lr="1")
    assert len(found.runs) == 12
    assert [run.name for run in found.runs[:4]] == [
        "tau=0.05-second=adversarial-seed=0", "tau=0.05-second=adversarial-seed=1",
        "tau=0.05-second=adversarial-seed=7", "tau=0.05-second=trades-seed=0",
    ]  # fmt: skip
    assert found.grid == {"attack.tau": (0.05, 0.1), "schedule.second": ("adversarial", "trades")}
    last = found.config_of(found.runs[-1])
    assert (last.attack.tau, last.schedule.second, last.seed, last.training.lr) == (0.1, "trades", 7, 1.0)
    assert last.threads == 1
    assert found.config_of(found.runs[0]).model == load_preset("small").model


def test_threads_stay_as_they_are_told() -> None:
    assert small(seeds="0", threads="2").config_of(small(seeds="0", threads="2").runs[0]).threads == 2
    found = small("threads=1,2")
    assert [found.config_of(run).threads for run in found.runs] == [1, 2]
    assert "threads" not in found.settings


def test_curves_names_and_short_names() -> None:
    found = small("lr=[[0,2],[50,1]],[[0,3]],0.1", "schedule.clean_steps=100,200")
    names = [run.name for run in found.runs]
    assert names[::2] == [f"lr={x}-clean_steps=100-seed=0" for x in ("curve1", "curve2", "0.1")]
    config = found.config_of(found.runs[0])
    assert config.schedule.curve("training.lr") == Curve(((0, 2.0), (50, 1.0)))
    assert found.config_of(found.runs[-1]).schedule.knobs == ()
    by_path = small("schedule.knobs.training.lr=[[0,2],[50,1]]", seeds="0-1")
    assert list(by_path.grid) == ["training.lr"]
    assert by_path.config_of(by_path.runs[1]).schedule.curve("training.lr") == Curve(((0, 2.0), (50, 1.0)))


def test_names_are_safe_and_unlike_on_any_file_system() -> None:
    found = small("about.title=a/b,A b,a_b", "world.k=3")
    names = [run.name for run in found.runs]
    assert names == ["title=a_b-k=3-seed=0", "title=A_b-k=3-seed=0-2", "title=a_b-k=3-seed=0-3"]
    long = small(f"about.title={'x' * 300},{'x' * 301}")
    assert [len(run.name) for run in long.runs] == [100, 102]


def test_a_network_by_name_brings_its_knobs() -> None:
    found = plan("digits", read_grid(["model.name=two_layer,alexnet", "seed=3,4"]))
    assert [run.seed for run in found.runs] == [3, 4, 3, 4]
    assert found.config_of(found.runs[-1]).model.name == "alexnet"


@pytest.mark.parametrize(
    ("grid", "seeds", "settings", "says"),
    [
        (["attack.tau=0.1,20"], None, [], "attack.tau: got 20.0; allowed: a number from 0 to 10"),
        (["attack.tua=1"], None, [], "attack.tua: no knob has this name; did you mean attack.tau"),
        (["attack.tau=1", "batch_size=1.5"], None, [], "--grid attack.tau=1, batch_size=1.5: training.batch_size: got"),
        (["attack.tau=0.1,0.10"], None, [], "--grid attack.tau: got '0.10' twice; allowed: different values"),
        (["attack.tau"], None, [], "--grid: got 'attack.tau'; allowed: knob=value,value,…"),
        (["attack.tau=1,,2"], None, [], "--grid: got 'attack.tau=1,,2'; allowed"),
        (["attack.tau=1", "attack.tau=2"], None, [], "--grid attack.tau: is given twice"),
        (["attack.tau=1"], None, [("tau", "2")], "attack.tau: is set twice, to 2.0 and to 1"),
        (["seed=1,2"], "0", [], "--grid seed: got seeds, and --seeds as well"),
        ([], "0-1", [("seed", "3")], "--set seed: got a seed, and seeds to sweep"),
        ([], "4-1", [], "--seeds: got '4-1'; allowed: whole numbers and ranges, e.g. 0-4 or 0,2,5"),
        ([], "1,0-2", [], "--seeds: got '1,0-2'; allowed: different seeds"),
        ([], "3000000000", [], "seed: got 3000000000; allowed"),
        (["attack.tau=0.1,0.2"], "0-9998", [], "--grid: got 19998 runs; allowed: 1 to 10000"),
        (["threads=1,1000"], None, [], "threads: got 1000; allowed"),
        (["schedule.knobs.training.lr=None"], None, [], "--grid training.lr: got no points"),
    ],
)
def test_what_is_refused(grid: list[str], seeds: str | None, settings: list[tuple[str, str]], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan("small", read_grid(grid), None if seeds is None else read_seeds(seeds), settings)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_sweep_grows_and_its_runs_keep_their_names() -> None:
    old = small("about.title=a/b,a_b", "tau=0.1,0.2", seeds="0-1")
    grown = replan(old, grid=read_grid(["about.title=new,a_b,a/b", "tau=0.1,0.2"]), seeds=(0, 1, 2))
    assert len(grown.runs) == 18
    kept = {(str(run.values), run.seed): run.name for run in grown.runs}
    assert all(kept[str(run.values), run.seed] == run.name for run in old.runs)
    assert len({run.name.lower() for run in grown.runs}) == 18
    assert grown.created == old.created
    assert replan(old) == old
    assert replan(old, verify=True).verify


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"grid": {"attack.tau": ["0.1"]}}, "--grid attack.tau: 0.2 is missing, of which there are runs"),
        ({"grid": {"attack.steps": ["2"]}}, "--grid: got attack.steps; this sweep is over attack.tau"),
        ({"seeds": (1, 2)}, "--seeds: 0 is missing"),
        ({"settings": [("training.lr", "0.7")]}, "training.lr: got 0.7; this sweep has 1.0, which cannot change"),
        ({"preset": "standard"}, "this sweep has"),
        ({"preset": "digits"}, "this sweep has"),
    ],
)
def test_a_sweep_that_differs_is_refused_by_name(given: dict[str, object], says: str) -> None:
    old = small("tau=0.1,0.2", seeds="0-1", training__lr="1")
    with pytest.raises(ConfigError) as error:
        replan(old, **given)  # type: ignore[arg-type]
    assert says in str(error.value)


def test_sweep_json_is_read_back_and_damage_is_named(tmp_path: Path) -> None:
    sweep = small("lr=[[0,2],[50,1]],0.1", seeds="0-1")
    write_sweep(tmp_path, sweep)
    assert read_sweep(tmp_path) == sweep
    path = tmp_path / SWEEP
    whole = json.loads(path.read_text())
    for change, says in (
        ({"runs": []}, "runs: Tuple should have at least 1 item"),
        ({"runs": [whole["runs"][0] | {"name": "../../elsewhere"}]}, "runs.0.name: String should match"),
        ({"runs": [whole["runs"][0]] * 2}, "runs: two have the same name"),
        ({"runs": [whole["runs"][0] | {"values": {}}]}, "does not have the knobs of the grid"),
        ({"seeds": "0"}, "seeds: "),
    ):
        path.write_text(json.dumps(whole | change))
        with pytest.raises(StoreError, match=f"sweep.json is damaged: .*{says}"):
            read_sweep(tmp_path)
    path.write_text(json.dumps(whole | {"format": 2}))
    with pytest.raises(VersionError, match="written by a newer version"):
        read_sweep(tmp_path)
    path.write_text(json.dumps(whole | {"settings": {"attack.new": 1}}))
    with pytest.raises(VersionError, match=r"attack\.new: no knob has this name"):
        read_sweep(tmp_path)
    with pytest.raises(StoreError, match="holds no sweep"):
        read_sweep(tmp_path / "nowhere")


def test_a_last_line_that_was_cut_off_is_passed_over_and_damage_is_named(tmp_path: Path) -> None:
    EndsFile(tmp_path).add("a", "failed", "why", 1.5, verified=False)
    with (tmp_path / ENDS).open("a") as file:
        file.write('{"run": "b", "sta')
    assert list(read_ends(tmp_path)) == ["a"]
    EndsFile(tmp_path).add("a", "finished", "", 2.0, verified=True)
    (first, second) = read_ends(tmp_path)["a"]
    assert (first.state, first.reason, second.seconds, second.verified) == ("failed", "why", 2.0, True)
    with (tmp_path / ENDS).open("a") as file:
        file.write('{"run": "b", "sta\n')
    with pytest.raises(StoreError, match=r"ends\.jsonl is damaged: line 3"):
        read_ends(tmp_path)


def test_the_time_is_estimated_from_the_presets() -> None:
    sweep = small("schedule.clean_steps=1500,0", seeds="0-1")  # the preset: about 10 s for 3,000 steps
    assert [seconds_of(sweep, run) for run in sweep.runs] == [10, 10, 5, 5]
    assert seconds_together(sweep, 1) == 30
    assert seconds_together(sweep, 2) == 15
    assert seconds_together(sweep, 100) == 10
    assert [in_words(s) for s in (0.4, 12.4, 200, 8000)] == ["less than 1 s", "12 s", "3 minutes", "2.2 hours"]
    untimed = sweep.model_copy(update={"config": {**sweep.config, "about": {}}})
    assert seconds_together(untimed, 1) is None
