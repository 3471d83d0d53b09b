"""The table of faults cannot rot: what it changes is there, once, and the tests that it names exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.__main__ import ROOT
from tests.mutants.table import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=[f"{m.file}-{i}" for i, m in enumerate(MUTANTS)])
def test_what_is_changed_stands_once_in_its_file_and_remains_python(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    compile(text.replace(mutant.old, mutant.new), mutant.file, "exec")
    files = [test for test in mutant.tests if test.startswith("tests/")]
    assert files
    assert all((ROOT / file).is_file() for file in files)


def test_each_fault_is_another_one() -> None:
    assert len({(m.file, m.old, m.new) for m in MUTANTS}) == len(MUTANTS) >= 40
    assert Path(__file__).parents[2] == ROOT
