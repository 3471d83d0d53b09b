"""Values given as text, presets given as files: each means what it says, or takes one line."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cli.main import run_command_line
from engine.config.assignments import assigned, parse_assignment
from engine.config.experiment import Config, from_dict, with_values
from engine.config.presets import LARGEST, load_preset
from engine.core.errors import ConfigError
from engine.core.quoting import LONGEST, escaped, plain, quote
from fp_gui.runs import resolve_start
from tests.faults.programs import ENGINE, one_line, program

IMAGES = from_dict({"world": {"name": "digits"}})


def settle(config: Config, *texts: str) -> Config:
    return with_values(config, assigned(config, map(parse_assignment, texts)))


@pytest.mark.parametrize(
    "text", ["123", "true", "0x10", "nan", "1e5", "2024-01-01", "[1, 2]", '"quoted"', "007", "a = b", "a#b", "{x}", "ü"]
)
def test_a_text_stays_what_it_is(text: str) -> None:
    assert settle(IMAGES, f"about.title={text}").about.title == text
    folder = settle(IMAGES, "world.name=image_folder", f"world.folder={text}").world
    assert folder.folder == text  # type: ignore[attr-defined]


def test_the_order_does_not_matter() -> None:
    texts = ("model.name=alexnet", "world.name=cifar10", "schedule.clean_steps=7", "attack.tau=0.5", "world.folder=12")
    found = [settle(IMAGES, *order) for order in itertools.permutations(texts)]
    assert all(each == found[0] for each in found)
    assert (found[0].model.name, found[0].world.name, found[0].schedule.clean_steps) == ("alexnet", "cifar10", 7)
    assert list(assigned(IMAGES, [("attack.tau", "1"), ("seed", "2")])) == ["attack.tau", "seed"]


def test_two_values_for_one_knob_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"attack.tau: is set twice, to 0.1 and to 0.2"):
        settle(IMAGES, "tau=0.1", "attack.tau=0.2")
    assert settle(IMAGES, "tau=0.1", "attack.tau=0.10").attack.tau == 0.1


@pytest.mark.parametrize("end", ["\n", "\r", "\u2028", "\x85", "\0", "\x0b"])
def test_a_value_of_several_lines_is_refused_not_cut(end: str) -> None:
    for text in (f"about.title=a{end}b", f"attack.tau=0.1{end}", f"world.folder={end}x"):
        with pytest.raises(ConfigError, match="in one line"):
            parse_assignment(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("attack.tau=0,25", "attack.tau: got '0,25'; allowed: a number from 0 to 10"),
        ("attack.tau=nan", "attack.tau: got nan"),
        ("attack.tau=" + "[" * 20_000, "schedule.knobs.attack.tau: got '[["),
        ("seed=" + "1" * 5000, "seed: got '111"),
        ("seed=1.5", "seed: got '1.5'; allowed: a whole number"),
        ("random_start=yes", "attack.random_start: got 'yes'; allowed: true, false"),
        ("world.name=" + "x" * 5000, "world.name: got 'xxx"),
        (".".join("a" * 20_000) + "=1", "a.a.a"),
        ("\x1b[31mred=1", "\\x1b[31mred: no knob"),
        ("about.title\u202e=1", "about.title\\u202e: no knob"),
    ],
)
def test_what_is_wrong_takes_one_short_line(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["run", "digits", "--out", "never", "--set", text]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {shown}")
    assert err.count("\n") == 1
    assert len(err) < 2 * LONGEST + 500
    assert err[:-1].isprintable()


def test_long_arguments_of_any_kind_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    long = "y" * 5000
    for arguments in (
        [long],
        ["run", long, "--out", "x"],
        ["run", "small", f"--{long}"],
        ["knobs", long],
        ["knobs", long + ".toml"],
    ):
        assert run_command_line(arguments) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert len(err) < 1000, arguments[0][:20]


@given(st.text() | st.lists(st.text()) | st.integers() | st.floats())
def test_quotations_are_short_and_in_one_line(value: object) -> None:
    assert len(quote(value)) <= LONGEST
    assert escaped(quote(value)) == quote(value)
    assert len(plain(str(value))) <= LONGEST
    assert all(c.isprintable() for c in plain(str(value)))


def test_what_cannot_be_written_out_is_quoted_too() -> None:
    deep: object = []
    for _ in range(100_000):
        deep = [deep]
    assert "list" in quote(deep)
    assert "int" in quote(10**5000)
    assert quote("short") == "'short'"


BAD_PRESETS = {
    "deep lists": b"seed = " + b"[" * 20_000,
    "deep tables": b"x = " + b"{a=" * 20_000,
    "deep keys": b".".join([b"a"] * 20_000) + b" = 1",
    "a deep table": b"[" + b".".join([b"a"] * 20_000) + b"]",
    "a few levels": b"world.a.b.c.d = 1",
    "digits": b"seed = " + b"1" * 5000,
    "many digits": b"seed = " + b"1" * 4000,
    "too large": b"# " + b"x" * (LARGEST + 1),
    "latin-1": '[about]\ntitle = "\u00fc"'.encode("latin-1"),
    "utf-16": '[about]\ntitle = "x"'.encode("utf-16"),
    "a list": b"world = [1]",
    "a number": b"world = 1",
    "a long text": b'[world]\nname = "' + b"z" * 10_000 + b'"',
    "nothing to quote": b'[attack]\ntau = "\\u001b[31m\\u202e"',
}


@pytest.mark.parametrize("data", BAD_PRESETS.values(), ids=BAD_PRESETS)
def test_bad_presets_take_one_line(data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(data)
    assert run_command_line(["knobs", str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: preset ")
    assert "bad.toml" in err
    assert err.count("\n") == 1
    assert err[:-1].isprintable()
    assert len(err) < 1500
    with pytest.raises(ConfigError):  # the window's way in
        resolve_start(str(path))


def test_a_mark_of_utf8_at_the_start_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "notepad.toml"
    path.write_text("seed = 4\r\n", encoding="utf-8-sig")
    assert load_preset(str(path)).seed == 4


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX")
def test_presets_that_are_no_files_take_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "loop.toml").symlink_to(tmp_path / "loop.toml")
    for name in ("pipe.toml", "zero.toml", "folder.toml", "loop.toml", "n" * 300 + ".toml", "nul\0.toml"):
        with pytest.raises(ConfigError, match="preset"):
            load_preset(str(tmp_path / name))
    assert "pipe.toml" in one_line(program(ENGINE, "knobs", tmp_path / "pipe.toml"), 2)
