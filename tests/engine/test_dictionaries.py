from __future__ import annotations

import pytest
import torch

from engine.core.errors import ConfigError
from engine.data.dictionaries import dictionaries

SQUARES = {"random": (4, 10, 64), "identity": (4, 10, 64), "dct": (4, 9, 64, 144), "haar": (4, 36, 64, 144)}


@pytest.mark.parametrize(("name", "d"), [(name, d) for name, sizes in SQUARES.items() for d in sizes])
def test_columns_are_orthonormal(name: str, d: int, generator: torch.Generator) -> None:
    m = dictionaries[name](d, generator)
    assert m.shape == (d, d)
    assert m.dtype == torch.float32
    assert torch.allclose(m.T.double() @ m.double(), torch.eye(d, dtype=torch.float64), atol=2e-6)


def test_every_dictionary_is_tested() -> None:
    assert set(SQUARES) == set(dictionaries)


def test_random_depends_on_its_generator_alone(generator: torch.Generator) -> None:
    first = dictionaries["random"](16, generator)
    again = dictionaries["random"](16, torch.Generator().manual_seed(0))
    other = dictionaries["random"](16, torch.Generator().manual_seed(1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=0.1)


def test_dct_has_a_constant_and_separable_waves(generator: torch.Generator) -> None:
    m = dictionaries["dct"](64, generator)
    assert torch.allclose(m[:, 0], torch.full((64,), 1 / 8))
    signs = [int((column.view(8, 8)[:, 0].diff().sign() != 0).sum()) for column in m.T]
    assert signs[0] == 0
    for column in m.T:
        assert torch.linalg.matrix_rank(column.view(8, 8), atol=1e-4) == 1


def test_haar_on_12_by_12_stops_at_3_by_3(generator: torch.Generator) -> None:
    m = dictionaries["haar"](144, generator)
    sizes = sorted({int((column.abs() > 1e-6).sum()) for column in m.T})
    assert sizes == [4, 8, 16]  # 2 or 4 pixels along each axis
    smooth = [column for column in m.T if column.min() > -1e-6]
    assert len(smooth) == 9
    for column in smooth:
        assert sorted(column.unique().tolist()) == pytest.approx([0, 1 / 4], abs=1e-6)


@pytest.mark.parametrize(("name", "d"), [("dct", 10), ("haar", 10), ("haar", 9), ("haar", 81)])
def test_what_is_no_picture_is_refused(name: str, d: int, generator: torch.Generator) -> None:
    with pytest.raises(ConfigError, match=rf"world\.d: got {d}.*{name}.*allowed"):
        dictionaries[name](d, generator)
