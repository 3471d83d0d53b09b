"""Plugins: loaded when they are named and never else, remembered by what they helped to make, blamed for faults."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from engine import worlds
from engine.attacks.base import attacks
from engine.cli.main import run_command_line
from engine.config.experiment import from_dict
from engine.config.objectives import objectives
from engine.core import plugins
from engine.core.errors import ConfigError, PluginMissingError
from engine.core.results import Filters
from engine.data.images import sources
from engine.figures.base import figures
from engine.images import data as loaded_images
from engine.models.base import networks
from engine.run.commands import SwitchPhase
from engine.run.index import RunIndex
from engine.run.live import live_probes
from engine.run.recipe import build
from engine.run.store import Store
from engine.studies.base import studies
from engine.studies.replay import replay
from tests.examples.conftest import IMAGES, THEORY, settings
from tests.plugin_files import EXAMPLES, example, loaded, none_left
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import run as train
from tests.tiny_runs import tiny_config

Ran = Callable[..., tuple[int, str, str]]
OWN = ("network.py", "objective.py")
SHORT = (*IMAGES, "schedule.clean_steps=2", "schedule.second_steps=2", "evaluation.every=100", "evaluation.size=16",
         "evaluation.report_size=16", "training.batch_size=16", "world.train_size=40")  # fmt: skip


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    with none_left():
        yield


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str]) -> Ran:
    """Run a command in this process, as if it were one of its own: no plugin is there but those that it names."""

    def inner(*arguments: object) -> tuple[int, str, str]:
        with none_left():
            code = run_command_line([str(each) for each in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return inner


def wrong(ran: Ran, *arguments: object, code: int = 2) -> str:
    """The one line of a command that fails."""
    found, _, err = ran(*arguments)
    assert (found, err.count("\n")) == (code, 1), err
    return err


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A run with a network and an objective of two plugins, and the arguments that load them."""
    folder = tmp_path_factory.mktemp("made")
    words = [word for name in OWN for word in ("--plugin", str(example(name, folder)))]
    own = [each for each in SHORT if not each.startswith("model.")]
    line = ["run", "digits", "--out", str(folder / "run"), *words]
    with none_left():
        chosen = settings("model.name=plain_conv", "schedule.second=uniform_noise", *own)
        assert run_command_line([*line, *chosen]) == 0
    return folder / "run", words


def record(folder: Path) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("plugins", [])
    return found


# --- the examples, as they are


def test_every_example_is_a_plugin_as_it_is() -> None:
    tables: dict[str, tuple[Any, str]] = {
        "attack.py": (attacks, "random_signs"),
        "objective.py": (objectives, "uniform_noise"),
        "data_set.py": (sources, "moons"),
        "network.py": (networks, "plain_conv"),
        "study.py": (studies, "noise"),
        "probe_with_view.py": (figures, "weight_norms"),
    }
    files = {each.name for each in EXAMPLES.glob("[a-z]*.py")} - {"conftest.py"}
    assert {name for name in files if not name.startswith("test_")} == set(tables)
    for name, (table, entry) in tables.items():
        before = list(table)
        with loaded(EXAMPLES / name):
            assert sorted(table) == sorted([*before, entry])
            (plugin,) = plugins.loaded()
            assert (plugin.name, plugin.version) == (name, "unversioned")
        assert list(table) == before  # and nothing but it was taken back
    assert all("WeightNorms" not in table for table in live_probes.values())


def test_every_command_takes_them_anywhere_on_its_line(ran: Ran, finished_run: Path, tmp_path: Path) -> None:
    signs, noise = example("attack.py", tmp_path / "a"), example("study.py", tmp_path / "a")
    words = ("evaluate", finished_run, "--n", "16")
    assert "got 'random_signs'" in wrong(ran, *words, "--attack", "random_signs")
    code, out, _ = ran("--plugin", signs, *words, "--attack", "random_signs")
    assert (code, "random signs (40 tries" in out) == (0, True)
    code, out, _ = ran(*words, f"--plugin={signs}", "--attack", "random_signs", "--plugin", noise)
    assert (code, "random signs (40 tries" in out) == (0, True)
    code, out, _ = ran("noise", "--help", "--plugin", noise)
    assert (code, "under Gaussian noise" in " ".join(out.split())) == (0, True)
    assert ran("noise", "--help")[0] == 2
    for line in (["--help"], ["evaluate", "--help"]):
        assert "--plugin FILE.py" in ran(*line)[1]


# --- what is remembered


def test_config_checkpoint_and_recipe_keep_name_version_and_hash(
    made: tuple[Path, list[str]], ran: Ran, tmp_path: Path
) -> None:
    import hashlib

    folder, words = made
    hashes = [hashlib.sha256(Path(each).read_bytes()).hexdigest() for each in words[1::2]]
    kept = [{"name": n, "version": "unversioned", "sha256": h} for n, h in zip(OWN, hashes, strict=True)]
    assert record(folder) == kept
    assert str(folder.parent) not in (folder / "config.json").read_text(encoding="utf-8")  # no path of a plugin
    with safe_open(folder / "checkpoints" / "step-00000004.safetensors", framework="np") as file:
        assert json.loads(file.metadata()["plugins"]) == kept
    views = ("--view", "curves") if "curves" in figures else ("--view", "training")
    other = example("study.py", tmp_path / "b")
    code, _, err = ran(
        "export", folder, *views, "--out", tmp_path / "out", "--format", "svg", *words, "--plugin", other
    )
    assert (code, err) == (0, "")
    recipe = json.loads((tmp_path / "out" / "recipe.json").read_text(encoding="utf-8"))
    assert recipe["plugins"] == kept  # what drew the figure is no part of the run
    assert "--plugin" in (tmp_path / "out" / "reproduce.py").read_text(encoding="utf-8")
    with pytest.raises(PluginMissingError, match=r"recipe\.json: this run needs the plugins network\.py"):
        replay(tmp_path / "out" / "recipe.json", tmp_path / "again")
    with loaded(*map(Path, words[1::2])):
        assert replay(tmp_path / "out" / "recipe.json", tmp_path / "again").equal


def test_a_version_is_kept_and_said(ran: Ran, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text((EXAMPLES / "objective.py").read_text(encoding="utf-8") + '\n__version__ = "2.1"\n')
    with loaded(file):
        train(tiny_config(**{"schedule.second": "uniform_noise"}), tmp_path / "run", until=2)
    assert record(tmp_path / "run")[0]["version"] == "2.1"
    assert "needs the plugin mine.py 2.1 (sha256 " in wrong(ran, "evaluate", tmp_path / "run")


def test_a_run_without_plugins_says_nothing_of_them(finished_run: Path) -> None:
    assert "plugins" not in json.loads((finished_run / "config.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", ["evaluate", "run", "export", "branch", "claims"])
def test_without_them_a_run_says_in_one_line_which_it_needs(
    made: tuple[Path, list[str]], ran: Ran, tmp_path: Path, command: str
) -> None:
    folder, words = made
    line = {
        "evaluate": ["evaluate", folder], "run": ["run", "--out", folder, "--resume"],
        "export": ["export", folder, "--view", "all", "--out", tmp_path / "out"],
        "branch": ["branch", folder, "--step", "2", "--out", tmp_path / "new"], "claims": ["claims", folder],
    }[command]  # fmt: skip
    before = sorted((each, each.stat().st_mtime_ns) for each in folder.rglob("*") if each.is_file())
    assert wrong(ran, *line) == (
        f"error: {folder}: this run needs the plugins network.py (sha256 {record(folder)[0]['sha256'][:12]}…) and "
        f"objective.py (sha256 {record(folder)[1]['sha256'][:12]}…): --plugin FILE --plugin FILE\n"
    )
    assert "needs the plugin objective.py" in wrong(ran, *line, *words[:2])
    assert sorted((each, each.stat().st_mtime_ns) for each in folder.rglob("*") if each.is_file()) == before


def test_it_is_listed_all_the_same(made: tuple[Path, list[str]], ran: Ran, tmp_path: Path) -> None:
    folder, words = made
    code, out, _ = ran("runs", folder)
    assert code == 0
    assert f"run: {folder}: this run needs the plugins network.py (sha256 " in out
    (entry,) = json.loads(ran("runs", folder, "--json")[1])
    assert (entry["state"], [each["name"] for each in entry["plugins"]]) == ("plugin", list(OWN))
    index = RunIndex(folder, tmp_path / "cache")
    assert [run.standing for run in index.look()] == ["plugin"]
    assert ([run.standing for run in index.look()], index.read) == (["plugin"], 0)  # remembered
    with loaded(*map(Path, words[1::2])):
        (run,) = RunIndex(folder, tmp_path / "cache").look()
        assert (run.standing, run.entry.step, run.entry.phase) == ("finished", 4, "uniform_noise")
    assert [run.standing for run in RunIndex(folder, tmp_path / "cache").look()] == ["plugin"]


def test_with_them_it_is_opened_and_another_hash_is_a_warning(
    made: tuple[Path, list[str]], ran: Ran, tmp_path: Path
) -> None:
    folder, words = made
    code, out, err = ran("evaluate", folder, "--n", "16", *words)
    assert (code, err, "FGM" in out) == (0, "", True)
    other = example("network.py", tmp_path / "other")
    other.write_text(other.read_text(encoding="utf-8") + "\n# changed\n", encoding="utf-8")
    code, out, err = ran("evaluate", folder, "--n", "16", "--plugin", other, *words[2:])
    with loaded(other):
        now = plugins.loaded()[0].sha256[:12]
    assert code == 0
    assert err == (
        f"warning: {folder} was made with the plugin network.py (sha256 {record(folder)[0]['sha256'][:12]}…); loaded "
        f"is network.py (sha256 {now}…)\n"
    )


def test_a_run_that_can_be_read_without_them_is_with_a_warning(ran: Ran, tmp_path: Path) -> None:
    """As one that was made while a probe was loaded."""
    with loaded(example("attack.py", tmp_path / "a")):
        train(tiny_config(), tmp_path / "run", until=2)
    code, out, err = ran("evaluate", tmp_path / "run", "--n", "16")
    assert (code, "FGM" in out, err.count("\n")) == (0, True, 1)
    assert "run was made with the plugin attack.py (sha256 " in err
    assert err.endswith(", which is not loaded\n")
    worlds.branch(tmp_path / "run", 2, tmp_path / "branch").close()
    assert record(tmp_path / "branch") == record(tmp_path / "run")


def test_a_switch_by_hand_makes_a_run_need_what_brought_the_objective(ran: Ran, tmp_path: Path) -> None:
    train(tiny_config(), tmp_path / "run", until=2)
    with loaded(example("objective.py", tmp_path / "a")):
        session = worlds.resume(tmp_path / "run")
        session.step()
        session.apply(SwitchPhase("uniform_noise"))
        session.close()
    assert [each["name"] for each in record(tmp_path / "run")] == ["objective.py"]
    code, _, err = ran("evaluate", tmp_path / "run")
    assert (code, err.splitlines()[-1].startswith(f"error: {tmp_path / 'run'}: this run needs the plugin")) == (2, True)
    assert "needs the plugin objective.py" in ran("runs", tmp_path / "run")[1]


# --- nothing but the user loads one


def test_no_run_preset_or_config_loads_a_file(ran: Ran, tmp_path: Path) -> None:
    file = tmp_path / "trap.py"
    file.write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n", encoding="utf-8")
    train(tiny_config(), tmp_path / "run", until=1)
    path = tmp_path / "run" / "config.json"
    named = {"name": str(file), "version": "1", "sha256": "0" * 64}
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"plugins": [named]}), encoding="utf-8")
    code, _, err = ran("evaluate", tmp_path / "run", "--n", "16")
    assert (code, "which is not loaded" in err) == (0, True)
    preset = tmp_path / "mine.toml"
    for text in (f'plugin = "{file}"', f'plugins = ["{file}"]', f'[world]\nplugin = "{file}"'):
        preset.write_text(text, encoding="utf-8")
        assert "no knob has this name" in wrong(ran, "run", preset, "--out", tmp_path / "new")
    assert not (tmp_path / "sprung").exists()
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"plugins": "x"}), encoding="utf-8")
    assert "config.json is damaged: plugins" in wrong(ran, "evaluate", tmp_path / "run")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that offers the objective as ``noisy``, and something broken as ``broken``."""
    site = tmp_path / "site"
    (site / "fp_noisy-1.5.dist-info").mkdir(parents=True)
    (site / "fp_noisy-1.5.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: fp-noisy\nVersion: 1.5\n")
    points = "[feature_purification.plugins]\nnoisy = fp_noisy.objective\nbroken = fp_noisy.broken\n"
    (site / "fp_noisy-1.5.dist-info" / "entry_points.txt").write_text(points)
    example("objective.py", site / "fp_noisy")
    (site / "fp_noisy" / "__init__.py").write_text("")
    (site / "fp_noisy" / "broken.py").write_text("import fp_noisy\n\nraise ValueError('not today')\n")
    monkeypatch.syspath_prepend(str(site))
    return site


@pytest.mark.usefixtures("installed")
def test_an_installed_plugin_is_loaded_by_name_alone(ran: Ran, tmp_path: Path) -> None:
    line = ("run", "small", "--out", tmp_path / "run", *settings(*THEORY, "schedule.second=uniform_noise"))
    assert "schedule.second: got 'uniform_noise'" in wrong(ran, *line)
    assert ran(*line, "--plugin", "noisy")[0] == 0
    assert [(each["name"], each["version"]) for each in record(tmp_path / "run")] == [("noisy", "1.5")]
    assert "needs the plugin noisy 1.5 (sha256 " in (said := wrong(ran, "evaluate", tmp_path / "run"))
    assert said.endswith("…): --plugin noisy\n")
    said = wrong(ran, "runs", "--plugin", "nosy")
    assert said == (
        "error: --plugin: got 'nosy'; allowed: the path of a .py file, or a name: that of an installed plugin "
        "(broken, noisy)\n"
    )
    assert "broken.py, line 3: ValueError: not today" in wrong(ran, "runs", "--plugin", "broken")


# --- whose fault it is

HEAD = "from engine.config.objectives import objective\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\nx = = 2\n", "bad.py, line 2: SyntaxError: "),
        ("x = 1\n\nundefined\n", "bad.py, line 3: NameError: name 'undefined' is not defined"),
        ("import sys\nsys.exit('bye')\n", "bad.py, line 2: SystemExit: bye"),
        ("import not_there_at_all\n", "bad.py, line 1: ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("raise ValueError('two\\nlines')\n", "bad.py, line 1: ValueError: two lines"),
        (
            HEAD + "add = objective('fine', label='l', button='b', doc='d', colour='#000000')\nadd(print)\n1 / 0\n",
            "bad.py, line 4: ZeroDivisionError: division by zero",
        ),
        (
            HEAD + "objective('clean', label='l', button='b', doc='d', colour='#000000')(print)\n",
            "bad.py, line 2: ValueError: objective 'clean' is registered twice",
        ),
        ("", "bad.py: allowed: 1 to 16777216 bytes of Python"),
    ],
)
def test_one_that_cannot_be_loaded_is_one_line_and_leaves_nothing(
    ran: Ran, tmp_path: Path, text: str, words: str
) -> None:
    file, before = tmp_path / "bad.py", list(objectives)
    file.write_text(text, encoding="utf-8")
    said = wrong(ran, "runs", tmp_path, "--plugin", file)
    assert words in said
    assert str(file) in said
    assert list(objectives) == before
    assert ran("runs", tmp_path)[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--plugin"], "--plugin: none was named"),
        (["--plugin="], "--plugin: none was named"),
        (["--plugin", "--json"], "--plugin: none was named"),
        (["--plugin", "nowhere.py"], "--plugin: nowhere.py does not exist"),
        (["--plugin", "a/folder"], "--plugin: a/folder does not exist"),
        (["--plugin", "."], "--plugin: got '.'; allowed: the path of a .py file, or a name"),
        (["--plugin", "/"], "--plugin: / is no file"),
        (["--plugin", "x\0.py"], "does not exist"),
    ],
)
def test_what_names_none_is_one_line(ran: Ran, arguments: list[str], words: str) -> None:
    assert words in wrong(ran, "runs", *arguments)


def test_one_name_is_one_plugin(ran: Ran, tmp_path: Path) -> None:
    first, second = example("attack.py", tmp_path / "a"), example("attack.py", tmp_path / "b")
    assert ran("runs", tmp_path, "--plugin", first, "--plugin", first)[0] == 0
    said = wrong(ran, "runs", tmp_path, "--plugin", first, "--plugin", second)
    assert f"--plugin: {second} and {first} have one name" in said


def broken(name: str, folder: Path, old: str, new: str) -> tuple[Path, int]:
    """An example with a line of its code put in front of ``old``; the file and that line's number."""
    file = example(name, folder)
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new + old), encoding="utf-8")
    return file, text[: text.index(old)].count("\n") + new[: new.index("raise")].count("\n") + 1


def test_a_network_that_fails_ends_the_run_and_what_was_saved_is_kept(ran: Ran, tmp_path: Path) -> None:
    """Its forward fails in the third step of training; it is resumed with a file that does not."""
    file, line = broken(
        "network.py", tmp_path / "a", "    channels, height, width = data.shape\n",
        "    from torch import nn as _nn\n"
        "    class Fuse(_nn.Identity):\n"
        "        def forward(self, x):\n"
        "            if self.training and getattr(self, 'lit', 0) == 2:\n"
        "                raise RuntimeError('it burnt')\n"
        "            self.lit = getattr(self, 'lit', 0) + self.training\n"
        "            return x\n",
    )  # fmt: skip
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("relu=nn.ReLU()", "relu=nn.ReLU(), fuse=Fuse()"), encoding="utf-8")
    own = [each for each in SHORT if not each.startswith("model.")]
    line_ = ("run", "digits", "--out", tmp_path / "run", *settings("model.name=plain_conv", *own))
    said = wrong(ran, *line_, "--plugin", file, code=1)
    assert said == (
        f"error: plugin {file}, line {line}: RuntimeError: it burnt; training stopped after step 2, what was saved is "
        f"in {tmp_path / 'run'}\n"
    )
    assert (tmp_path / "run" / "checkpoints" / "step-00000002.safetensors").exists()  # of the phase's end
    whole = example("network.py", tmp_path / "b")
    assert ran("run", "--out", tmp_path / "run", "--resume", "--plugin", whole)[0] == 0


def test_an_objective_that_fails_ends_the_run(ran: Ran, tmp_path: Path) -> None:
    file, line = broken(
        "objective.py", tmp_path, "    from engine.attacks.threat import threats\n", "    raise KeyError('lost')\n"
    )
    chosen = settings(*THEORY, "schedule.second=uniform_noise", "schedule.clean_steps=2", "schedule.second_steps=2")
    said = wrong(ran, "run", "small", "--out", tmp_path / "run", *chosen, "--plugin", file, code=1)
    assert f"plugin {file}, line {line}: KeyError: 'lost'; training stopped after step 2" in said
    assert (tmp_path / "run" / "checkpoints" / "step-00000002.safetensors").exists()


def test_a_data_set_or_an_attack_that_fails_is_named(ran: Ran, finished_run: Path, tmp_path: Path) -> None:
    file, line = broken("data_set.py", tmp_path, '    report(0.0, "drawing', "    raise ValueError('the moons set')\n")
    chosen = settings("world.name=moons", *IMAGES)
    said = wrong(ran, "run", "digits", "--out", tmp_path / "run", *chosen, "--plugin", file, code=1)
    assert said == f"error: plugin {file}, line {line}: ValueError: the moons set\n"
    assert not (tmp_path / "run").exists()
    file, line = broken("attack.py", tmp_path, "        best, margin = ", "        raise ValueError('no signs')\n")
    said = wrong(ran, "evaluate", finished_run, "--attack", "random_signs", "--n", "16", "--plugin", file, code=1)
    assert said == f"error: plugin {file}, line {line}: ValueError: no signs\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("nn.Linear(outputs, data.classes)", "nn.Linear(outputs, 3)", "answers an image by a tensor of shape (1, 3); "),
        (
            "conv=nn.Conv2d(channels, knobs.filters, knobs.side),\n            relu=nn.ReLU(), flatten=nn.Flatten(), "
            "output=nn.Linear(outputs, data.classes),", "flatten=nn.Flatten(),",
            "has no convolution and no linear layer",
        ),
    ],
)  # fmt: skip
def test_a_network_that_does_not_answer_is_refused_at_once(
    ran: Ran, tmp_path: Path, old: str, new: str, words: str
) -> None:
    file = example("network.py", tmp_path)
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), encoding="utf-8")
    own = [each for each in SHORT if not each.startswith("model.")]
    chosen = settings("model.name=plain_conv", *own)
    said = wrong(ran, "run", "digits", "--out", tmp_path / "run", *chosen, "--plugin", file)
    assert said.startswith(f"error: model.name: 'plain_conv' {words}")
    assert not (tmp_path / "run").exists()


def test_a_data_set_that_cannot_be_looked_for_is_listed_with_its_fault(ran: Ran, tmp_path: Path) -> None:
    file, line = broken("data_set.py", tmp_path, '    return True, "made by the', "    raise ValueError('clouds')\n")
    code, out, _ = ran("data", "--plugin", file)
    assert code == 0
    assert "Moons: not installed; grey images of 8×8 pixels, 2 classes" in out
    assert f"ValueError: clouds (plugin {file}, line {line})" in out
    assert "Digits" in out


def test_a_probe_that_fails_is_a_problem_and_the_others_go_on(tmp_path: Path) -> None:
    file, line = broken("probe_with_view.py", tmp_path, "    return WeightNorms(", "    raise ValueError('no norm')\n")
    with loaded(file):
        result = live_probes["images"]["WeightNorms"].result
        session = worlds.create(tiny_images(**{"schedule.clean_steps": 2}), tmp_path / "run")
        try:
            found = session.snapshot(frozenset({result, Filters}))
            session.step()
        finally:
            session.close()
    assert [(each.measurement, each.text) for each in found.problems] == [
        ("WeightNorms", f"ValueError: no norm (plugin {file}, line {line})")
    ]
    assert found.get(Filters) is not None
    assert found.get(result) is None


def test_a_fault_of_our_own_is_no_plugins() -> None:
    with loaded(EXAMPLES / "attack.py"):
        with pytest.raises(ConfigError) as met:
            from_dict({"world": {"name": "nowhere"}})
        assert plugins.blame(met.value) == ""
        assert plugins.fault(met.value) is None
        assert plugins.brief(met.value).startswith("ConfigError: world.name: got 'nowhere'")


def test_other_processes_of_the_program_are_given_the_same(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, words = made
    with loaded(*map(Path, words[1::2])):
        assert plugins.arguments() == words
        with closing(Store.open(folder, read_only=True)) as store:
            assert build(store, store.load())["plugins"] == record(folder)


# --- the file of the documentation


def test_the_timm_network_of_the_documentation_is_a_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for timm, which is no dependency."""
    import sys
    from types import ModuleType

    from torch import nn

    asked: list[object] = []

    def create_model(name: str, **how: Any) -> nn.Module:
        asked.append((name, how))
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})")
        channels, classes = how["in_chans"], how["num_classes"]
        first = nn.Conv2d(channels, 4, 3, bias=False)
        return nn.Sequential(first, nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(classes))

    fake = ModuleType("timm")
    fake.create_model = create_model  # type: ignore[attr-defined]
    fake.list_models = lambda pattern: ["tiny"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "timm", fake)
    docs = Path(__file__).parents[2] / "docs"
    with loaded(docs / "timm_network.py"):
        model = {"name": "timm", "arch": "tiny"}
        config = tiny_images(**{"schedule.clean_steps": 2, "schedule.second_steps": 2})
        config = from_dict(config.model_dump(by_alias=True, exclude_none=True) | {"model": model})
        session = worlds.create(config, tmp_path / "run")
        for _ in range(2):
            session.step()
        session.close()
        assert session.problems == ()
        assert asked[0] == ("tiny", {"pretrained": False, "in_chans": 1, "num_classes": 10})
        worlds.resume(tmp_path / "run").close()
        assert "timm's tiny" in config.describe()
        wrong_one = from_dict(config.model_dump(by_alias=True, exclude_none=True) | {"model": model | {"arch": "tyny"}})
        with pytest.raises(ConfigError, match=r"^model\.arch: got 'tyny'; allowed: timm's names, such as tiny"):
            worlds.create(wrong_one, tmp_path / "other")
    assert record(tmp_path / "run")[0]["name"] == "timm_network.py"
    loaded_images._latest = None
