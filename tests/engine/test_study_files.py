"""The studies' files keep their names, keys and order: one written before is read, and written again the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.core.errors import ConfigError
from engine.studies.base import studies, write_record

MODEL = {"clean": 0.9375, "robust": 0.5, "low": 0.33, "high": 0.67}
INTERVAL = {"value": 0.5, "low": 0.33, "high": 0.67}
BOTH = {"robust": 0.5, "low": 0.33, "high": 0.67, "clean": 0.9, "clean_low": 0.8, "clean_high": 0.95}
HEAD = {"norm": "l2", "tau": 0.2, "protocol": "PGD-4", "n": 32}
FILES: dict[str, tuple[str, Any]] = {
    "race": (
        "race.json",
        {
            "tau": 0.2, "norm": "l2", "protocol": "PGD-30", "n": 32, "step": 80,
            "network": MODEL,
            "oracle": MODEL | {"clean": None},
            "rivals": [{"name": "ntk", "trained_by": "fgm", "steps": 600, "note": "NTK: ‖w‖", **MODEL}],
            "curves": [{"name": "ntk", "objective": "fgm", "steps": [60, 120], "robust": [0.1, 0.2]}],
            "sweep": [{"d": 36, "n": 32, "network": 0.9, "oracle": None, "ntk": 0.5}],
        },
    ),
    "local": (
        "local.json",
        {
            "step": 40, "clean_step": 20, **HEAD,
            "layers": [
                {
                    "name": "conv1", "clean_steps": 2, "adversarial_steps": 2,
                    "clean_before": INTERVAL, "robust_before": INTERVAL,
                    "clean_after": INTERVAL, "robust_after": INTERVAL,
                    "cos_start_clean": 0.1, "cos_start_now": 0.2, "cos_clean_now": 0.9, "share": 0.75,
                    "pure_part": [1.0, 2.0], "rest": [0.1, 0.2], "alive": [True, False],
                }
            ],
        },
    ),
    "low-rank": (
        "low_rank.json",
        {
            "step": 40, "clean_step": 20, **HEAD, "layers": "all", "steps": 3,
            "before": BOTH, "ranks": [{"rank": 1, **BOTH}, {"rank": 0, **BOTH}],
        },
    ),
    "objectives": (
        "objectives.json",
        {
            "step": 40, "clean_step": 20, "norm": "l2", "tau": 0.2, "protocol": "PGD-4", "certificate": "", "n": 32,
            "steps": 3, "features": 16,
            "before": {
                "objective": "before", "clean": INTERVAL, "robust": INTERVAL, "certified": INTERVAL, "purity": 0.5,
                "kept": 1.0, "held": 12, "dense_alignment": 0.25, "alignment": -0.5, "cosine": 1.0, "how": "",
            },
            "objectives": [
                {
                    "objective": "trades", "clean": INTERVAL, "robust": INTERVAL, "certified": None, "purity": None,
                    "kept": None, "held": None, "dense_alignment": None, "alignment": None, "cosine": 0.5, "how": "h",
                }
            ],
        },
    ),
    "transfer": (
        "transfer.json",
        {
            "step": 40, "clean_step": 20, **HEAD,
            "nets": [
                {"key": "clean", "seed": 0, "without": INTERVAL},
                {"key": "other_clean", "seed": 1, "without": INTERVAL},
            ],
            "accuracy": [[INTERVAL, INTERVAL], [INTERVAL, INTERVAL]],
        },
    ),
    "sparse": (
        "sparse_code.json",
        {
            "step": 40, "clean_step": 20, **HEAD, "layer": "hidden", "patches": 1, "values": 64, "error": 0.2,
            "atoms": {"now": 1, "clean": 1, "start": 1}, "robust": {"clean": INTERVAL, "now": INTERVAL},
            "curves": [
                {
                    "vectors": vectors, "filters": filters, "method": method, "n": 32,
                    "median": [1.0, 0.25], "q10": [1.0, 0.125], "q90": [1.0, 0.5],
                    "count": {
                        "median": 1, "low": 1, "high": None, "q10": 1, "q90": None, "mean": None, "reached": 0.75,
                    },
                }
                for filters in ("now", "clean", "start")
                for method in ("omp", "lasso")
                for vectors in ("image", "clean", "now", "random")
            ],
        },
    ),
    "claims": (
        "claims.json",
        [
            {
                "id": 1, "title": "t", "verdict": "holds", "rule": "r",
                "evidence": [
                    {"name": "loss", "value": 0.5, "step": 3, "low": None, "high": 0.6, "protocol": "PGD-40 × 5"}
                ],
                "parts": [{"name": "dense", "verdict": "holds"}],
            }
        ],
    ),
}  # fmt: skip


def test_every_study_has_a_file_of_before() -> None:
    assert set(studies) == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_read_and_written_again_it_is_the_same(name: str, tmp_path: Path) -> None:
    file, content = FILES[name]
    before = json.dumps(content, indent=1, ensure_ascii=False).encode()
    (tmp_path / file).write_bytes(before)
    study = studies[name]
    record = study.read(tmp_path)
    write_record(tmp_path / file, study.record, record)
    assert (tmp_path / file).read_bytes() == before


def test_an_unknown_study_names_the_known() -> None:
    allowed = "claims, local, low-rank, objectives, race, sparse, transfer"
    with pytest.raises(ConfigError, match=f"study: got 'noise'; allowed: {allowed}"):
        studies["noise"]
