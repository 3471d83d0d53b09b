from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from engine.config.assignments import assigned, parse_assignment
from engine.config.experiment import (
    KnobInfo,
    from_dict,
    knobs,
    resolve,
    to_dict,
    value_of,
    with_value,
)
from engine.config.presets import load_preset, preset_names
from engine.core.errors import ConfigError
from engine.theory.config import SparseCodingConfig

ALL = knobs()


@pytest.mark.parametrize("knob", ALL, ids=lambda k: k.path)
def test_every_knob_is_documented_and_its_default_allowed(knob: KnobInfo) -> None:
    assert len(knob.doc) > 10
    assert knob.doc.endswith(".") or "." in knob.doc
    if knob.kind in ("int", "float"):
        assert knob.low is not None
        assert knob.high is not None
        assert isinstance(knob.default, int | float)
        assert knob.low <= knob.default <= knob.high
    if knob.kind == "choice":
        assert knob.default in knob.choices
    assert resolve(knob.path) == knob
    assert with_value(SparseCodingConfig(), knob.path, knob.default) == SparseCodingConfig()


def test_what_is_live_and_what_restarts() -> None:
    live = {k.path for k in ALL if k.live}
    for path in (
        "attack.tau", "attack.steps", "attack.restarts", "training.lr", "training.batch_size", "training.noise",
        "world.sigma_x", "model.lambda", "model.sigma_rho", "model.b_end", "model.bias_ramp", "evaluation.every",
        "evaluation.size", "attack.norm",
    ):  # fmt: skip
        assert path in live
    for path in ("world.d", "world.k", "model.m", "world.dictionary", "seed", "device", "model.sigma_0"):
        assert path not in live


# SPEC.md section 9, letter by letter.
TABLE: dict[str, dict[str, Any]] = {
    "small": {"d": 64, "m": 400, "lr": 1.5, "b_end": 0.3, "sigma_rho": 0.1, "lambda": 1e-4, "clean_steps": 1500},
    "standard": {"d": 144, "m": 1000, "lr": 3, "b_end": 0.3, "sigma_rho": 0.1, "lambda": 3e-5, "clean_steps": 2000},
    "wide": {"d": 256, "m": 1024, "lr": 3, "b_end": 0.25, "sigma_rho": 0.08, "lambda": 5e-5, "clean_steps": 2500},
}
COMMON: dict[str, Any] = {
    "k": 3, "p_large": 1, "sigma_x": 0.1, "tau": 0.2, "norm": "l2", "attack.steps": 1, "attack.restarts": 1,
    "random_start": False, "batch_size": 256, "sigma_0": 0.01, "bias_ramp": 0.6, "seed": 0, "second": "adversarial",
    "report_steps": 40, "report_restarts": 5,
}  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_presets_are_the_reference_table(name: str) -> None:
    config = load_preset(name)
    for knob, value in {**COMMON, **TABLE[name]}.items():
        assert value_of(config, resolve(knob).path) == value, knob
    assert config.schedule.second_steps == config.schedule.clean_steps
    assert config.evaluation.report_size >= 1000
    assert config.about.title
    assert config.about.question


def test_preset_names_begin_with_the_theorys() -> None:
    assert preset_names()[:5] == ("small", "theorem", "theorem-simple", "standard", "wide")


def test_every_preset_that_comes_with_the_explorer_loads() -> None:
    for name in preset_names():
        assert from_dict(to_dict(load_preset(name))) == load_preset(name)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"attack": {"tau": -0.5}}, ("attack.tau", "-0.5", "from 0 to 10")),
        ({"attack": {"tau": "big"}}, ("attack.tau", "'big'", "a number from 0 to 10")),
        ({"attack": {"tau": float("nan")}}, ("attack.tau", "nan", "from 0 to 10")),
        ({"attack": {"norm": "l1"}}, ("attack.norm", "'l1'", "l2, linf")),
        ({"attack": {"random_start": 1}}, ("attack.random_start", "1", "true, false")),
        ({"attack": {"steps": 1.0}}, ("attack.steps", "1.0", "a whole number from 1 to 100")),
        ({"attack": {"steps": True}}, ("attack.steps", "True", "a whole number")),
        ({"training": {"lr": True}}, ("training.lr", "True", "a number")),
        ({"training": {"batch_size": 0}}, ("training.batch_size", "got 0", "from 1 to 8192")),
        ({"model": {"lambda": 1}}, ("model.lambda", "got 1", "from 0 to 0.1")),
        ({"world": {"dictionary": "fourier"}}, ("world.dictionary", "'fourier'", "random, dct, haar, identity")),
        ({"seed": "zero"}, ("seed", "'zero'", "a whole number")),
        ({"attack": 3}, ("attack", "got 3", "table")),
        ({"schedule": {"second": "gauss"}}, ("schedule.second: got 'gauss'", "clean, adversarial, gaussian_noise")),
        ({"schedule": {"second": 3}}, ("schedule.second: got 3", "clean, adversarial, gaussian_noise")),
        ({"world": {"d": 10}}, ("world.d: got 10; allowed with world.dictionary = 'dct': a square (64",)),
        (
            {"world": {"d": 81, "dictionary": "haar"}},
            (
                "world.d: got 81; allowed",
                "'haar': the square of an even",
            ),
        ),
        ({"world": {"d": 4, "k": 5.0}}, ("world.k: got 5; allowed: at most world.d = 4",)),
        ({"world": {"d": 4, "p_large": 4.5}}, ("world.p_large: got 4.5; allowed: at most world.d = 4",)),
    ],
)
def test_an_error_names_field_value_and_what_is_allowed(data: dict[str, Any], parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(data)
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_errors_are_all_named() -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict({"attack": {"tau": -1.0}, "training": {"lr": -1.0}})
    assert "attack.tau" in str(caught.value)
    assert "training.lr" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "parts"),
    [
        ({"attack": {"tua": 0.1}}, ("attack.tua", "did you mean", "attack.tau")),
        ({"atack": {"tau": 0.1}}, ("atack",)),
        ({"attack": {"lr": 0.1}}, ("attack.lr",)),
        ({"tau": 0.1}, ("tau", "wrong group")),
        ({"model": {"lambda_": 1e-4}}, ("model.lambda_", "model.lambda")),
        ({"zzz": 1}, ("zzz", "allowed", "attack", "seed")),
    ],
)
def test_unknown_keys_are_refused_with_near_misses(data: dict[str, Any], parts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        from_dict(data)
    for part in parts:
        assert part in str(caught.value)


def test_resolve_takes_paths_and_unique_names() -> None:
    assert resolve("tau").path == "attack.tau"
    assert resolve("attack.steps").path == "attack.steps"
    with pytest.raises(ConfigError, match="several knobs") as caught:
        resolve("steps")
    assert "attack.steps" in str(caught.value)
    assert "evaluation.steps" in str(caught.value)
    with pytest.raises(ConfigError, match="did you mean"):
        resolve("batchsize")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("attack.tau=0.1", {"attack.tau": 0.1}),
        ("attack.tau = 1e-2", {"attack.tau": 0.01}),
        ("attack.norm=linf", {"attack.norm": "linf"}),
        ('attack.norm="linf"', {"attack.norm": "linf"}),
        ("seed=7", {"seed": 7}),
        ("clean_steps=1e3", {"schedule.clean_steps": 1000}),
        ("random_start=true", {"attack.random_start": True}),
        ("about.title=a = b", {"about.title": "a = b"}),
        ("about.title=", {"about.title": ""}),
    ],
)
def test_assignment(text: str, expected: dict[str, object]) -> None:
    found = assigned(SparseCodingConfig(), [parse_assignment(text)])
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


@pytest.mark.parametrize("text", ["attack.tau", "=3", " = 3", ""])
def test_parse_assignment_refuses(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        parse_assignment(text)


def test_with_value() -> None:
    config = SparseCodingConfig()
    changed = with_value(config, "training.lr", 3)
    assert changed.training.lr == 3.0
    assert isinstance(changed.training.lr, float)
    assert config.training.lr == 1.5
    assert with_value(config, "lambda", 0).model.lambda_ == 0.0
    with pytest.raises(ConfigError, match=r"world\.dictionary"):
        with_value(config, "world.d", 65)
    with pytest.raises(ConfigError, match=r"training\.lr"):
        with_value(config, "training.lr", "3")


def test_config_is_frozen() -> None:
    config = SparseCodingConfig()
    with pytest.raises(ValidationError):
        config.seed = 3
    with pytest.raises(ValidationError):
        config.attack.tau = 3.0
    assert hash(config) == hash(SparseCodingConfig())


def test_toml_files_by_path(tmp_path: Path) -> None:
    good, bad, wrong = (tmp_path / f"{name}.toml" for name in ("good", "bad", "wrong"))
    good.write_text("seed = 5\n[attack]\ntau = 1\n")
    bad.write_text("seed = = 5\n")
    wrong.write_text("[attack]\ntau = -1\n")
    assert load_preset(str(good)).attack.tau == 1.0
    for path, match in ((bad, "not valid TOML"), (wrong, r"wrong\.toml: attack\.tau"), (tmp_path / "none.toml", "got")):
        with pytest.raises(ConfigError, match=match):
            load_preset(str(path))
    with pytest.raises(ConfigError, match="small, theorem, theorem-simple, standard, wide"):
        load_preset("smal")


def in_range(knob: KnobInfo) -> st.SearchStrategy[object]:
    low, high = knob.low or 0.0, knob.high or 0.0
    if knob.path == "world.d":
        return st.sampled_from([64, 100, 144, 256, 4096])
    if knob.path == "world.atoms":
        return st.just(0)  # other values depend on the dictionary and d
    return {
        "int": lambda: st.integers(int(low), int(high)),
        "float": lambda: st.floats(low, high),
        "bool": st.booleans,
        "choice": lambda: st.sampled_from(knob.choices),
        "text": lambda: st.text(max_size=20),
    }[knob.kind]()


@settings(max_examples=40, deadline=None)
@given(st.fixed_dictionaries({knob.path: in_range(knob) for knob in ALL}))
def test_dictionaries_round_trip(drawn: dict[str, object]) -> None:
    nested: dict[str, Any] = {}
    for path, value in drawn.items():
        *groups, leaf = path.split(".")
        node = nested
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    config = from_dict(nested)
    assert from_dict(to_dict(config)) == config
    for path, value in drawn.items():
        assert value_of(config, path) == value


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([k for k in ALL if k.kind in ("int", "float")]), st.floats(1e-3, 1e3), st.booleans())
def test_values_out_of_range_are_refused(knob: KnobInfo, by: float, above: bool) -> None:
    assert knob.low is not None
    assert knob.high is not None
    outside = knob.high + by * max(1.0, knob.high) if above else knob.low - by
    value = (int(outside) + (1 if above else -1)) if knob.kind == "int" else outside
    with pytest.raises(ConfigError, match=knob.path.replace(".", r"\.")):
        with_value(SparseCodingConfig(), knob.path, value)


def test_preset_files_are_toml_with_no_unknown_key() -> None:
    for path in Path(__file__).parents[2].joinpath("resources", "presets").glob("*.toml"):
        assert from_dict(tomllib.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("value", [{"a": {"b": 1}}, [1], None, 3])
def test_a_name_that_is_no_text_is_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigError, match=r"model\.name: got .*; allowed: symmetric_relu"):
        with_value(from_dict({}), "model.name", value)
