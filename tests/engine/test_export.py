"""The folder that an export writes: complete, readable by others, the same every time, or not there at all."""

from __future__ import annotations

import csv
import hashlib
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

import engine.figures.export
from engine import worlds
from engine.config.experiment import from_dict
from engine.core import metrics
from engine.core.errors import ConfigError, StoreError
from engine.core.measurement import wilson
from engine.figures.base import measure
from engine.figures.export import ExportError, export
from engine.figures.mixtures import MixturesDrawer
from engine.figures.style import FORMATS
from engine.run.commands import SetKnob
from engine.run.store import Store

VIEWS = ("mixtures", "neurons", "robustness")
OPTIONS = {"count": "all", "alignment": "true", "n": "40"}  # the radius curves are measured while they are drawn
CONFIG = {
    "threads": 1,
    "device": "cpu",
    "world": {"d": 16},
    "model": {"m": 24},
    "schedule": {"clean_steps": 20, "second_steps": 20},
    "evaluation": {"every": 10, "size": 40, "steps": 2, "report_size": 64, "report_steps": 3, "report_restarts": 2},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "run"
    session = worlds.create(from_dict(CONFIG), folder)
    while not session.finished:
        if session.steps_done == 30:
            session.apply(SetKnob("attack.tau", 0.3))
        session.step()
    while session.measuring:
        session.measure()
    session.close()
    return folder


@pytest.fixture(scope="module")
def out(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    before = state(run)
    said: list[tuple[float, str]] = []
    written = export(run, "all", folder, options=OPTIONS, progress=lambda *each: said.append(each))
    assert state(run) == before
    assert all(path.is_file() for path in written)
    assert sorted(written) == sorted(p for p in folder.rglob("*") if p.is_file())
    assert (0.0, "neurons: reading") in said
    assert [what for _, what in said if what.startswith("neurons: drawing")] == [
        f"neurons: drawing {form}" for form in ("png", "svg", "pdf")
    ]
    assert [share for share, _ in said] == sorted(share for share, _ in said)
    assert said[-1] == (1.0, "writing")
    return folder


def state(folder: Path) -> dict[str, tuple[int, str]]:
    """Name → time of change and content of every file; SQLite's lock files hold nothing of the run."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith(("-shm", "-wal")))
    return {str(p): (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest()) for p in files}


def table(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    return header, rows


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_is_a_complete_folder(out: Path, view: str) -> None:
    folder = out / view
    for name in (f"{view}.png", f"{view}.svg", f"{view}.pdf", f"{view}.csv", "caption.txt"):
        assert (folder / name).stat().st_size > 0, name
    pixels = matplotlib.image.imread(folder / f"{view}.png")
    assert pixels.shape[1] == round(6.75 * 300)
    assert (pixels[0, 0, :3] == 1).all()  # white ground
    assert pixels[..., :3].std() > 0.01
    root = ET.parse(folder / f"{view}.svg").getroot()
    assert root.attrib["width"] == "486pt"  # 6.75 in
    texts = ["".join(e.itertext()) for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"mixtures": "dense alignment", "neurons": "start", "robustness": "accuracy"}[view] in texts
    pdf = (folder / f"{view}.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-1.")
    assert b"/FontFile2" in pdf  # TrueType, not outlines
    assert pdf.rstrip().endswith(b"%%EOF")
    assert (folder / f"{view}.npz").exists() == (view == "neurons")  # matrices; the others are tables
    header, rows = table(folder / f"{view}.csv")
    assert all(cell.endswith("]") for cell in header)
    assert rows


@pytest.mark.parametrize("view", VIEWS)
def test_captions_name_n_protocol_step_and_run(out: Path, run: Path, view: str) -> None:
    caption = (out / view / "caption.txt").read_text(encoding="utf-8")
    run_id = json.loads((run / "config.json").read_text())["run"]
    assert "n = " in caption
    assert "Protocol" in caption
    assert f"Run {run_id}, checkpoint at step 40 (adversarial phase)." in caption
    assert "20 steps of clean training, then 20 steps of adversarial training" in caption


def test_gallery_in_vector_files_is_an_image_with_one_pixel_a_weight(out: Path) -> None:
    import base64
    import io

    root = ET.parse(out / "neurons" / "neurons.svg").getroot()
    images = root.findall(".//{http://www.w3.org/2000/svg}image")
    sizes = []
    for image in images:
        data = image.attrib["{http://www.w3.org/1999/xlink}href"].partition("base64,")[2]
        sizes.append(matplotlib.image.imread(io.BytesIO(base64.b64decode(data))).shape[:2])
    sizes.remove((1, 256))  # what the colours mean
    n = len(table(out / "neurons" / "neurons.csv")[1])
    assert len({size for size in sizes if (size[0] - 1) % 5 == 0 and (size[1] - 1) % 5 == 0}) == 1
    rows, columns = next((s[0] - 1) // 5 for s in sizes), next((s[1] - 1) // 5 for s in sizes)
    assert rows * columns >= n


def test_npz_equals_the_checkpoint(out: Path, run: Path) -> None:
    store = Store.open(run, read_only=True)
    arrays = store.load(40).arrays
    store.close()
    with np.load(out / "neurons" / "neurons.npz", allow_pickle=False) as saved:
        for name in ("weight", "weight_init", "weight_clean", "bias", "dictionary", "target"):
            np.testing.assert_array_equal(saved[name], arrays[name])
            assert saved[name].dtype == arrays[name].dtype


def test_csv_equals_the_store(out: Path, run: Path) -> None:
    store = Store.open(run, read_only=True)
    header, rows = table(out / "robustness" / "robustness.csv")
    assert header[0] == "step [steps]"
    columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
    assert f"{metrics.CERTIFIED} [1]" in columns
    for name in metrics.ACCURACIES:
        series = store.series(name)
        assert [float(v) for v in columns[f"{name} [1]"]] == series.values.tolist()
        assert [int(v) for v in columns["step [steps]"]] == series.steps.tolist()
        assert columns[f"{name} n [samples]"] == ["40"] * len(series)
        bounds = zip(columns[f"{name} low [1]"], columns[f"{name} high [1]"], strict=True)
        assert [(float(a), float(b)) for a, b in bounds] == [wilson(v * 40, 40) for v in series.values.tolist()]
    aligned = store.series(metrics.ALIGNMENT).values.tolist()
    assert [float(v) for v in columns["alignment/fgm [cosine]"]] == aligned
    _, over_time = table(out / "mixtures" / "mixtures.over_time.csv")
    assert [float(r[1]) for r in over_time] == store.series(metrics.mixture("purity", "median")).values.tolist()
    assert [int(r[4]) for r in over_time] == store.series(metrics.ALIVE).values.astype(int).tolist()
    report = table(out / "robustness" / "robustness.report.csv")[1]
    assert {(r[0], int(r[1])): float(r[2]) for r in report}[("report/accuracy/pgd", 20)] == (
        store.series("report/accuracy/pgd").values[0]
    )
    events = table(out / "robustness" / "robustness.events.csv")[1]
    assert events == [["20", "phase", "clean", "adversarial"], ["30", "attack.tau", "0.2", "0.3"]]
    store.close()


def test_neuron_table_reads_back_exactly(out: Path, run: Path) -> None:
    header, rows = table(out / "mixtures" / "mixtures.csv")
    store = Store.open(run, read_only=True)
    arrays = store.load().arrays
    store.close()
    found = measure(arrays["weight"], arrays["dictionary"], arrays["target"])
    for name, values in (("purity [1]", found.purity), ("mixture magnitude [weight]", found.mixture)):
        column = np.array([row[header.index(name)] for row in rows], np.float32)
        np.testing.assert_array_equal(column, values)
    assert len(rows) == 24


def test_no_number_stands_in_a_table_and_in_an_array(out: Path) -> None:
    for path in out.rglob("*.npz"):
        if path.name == "weight.npz":
            continue
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays:
                assert name.replace("_", "").isalpha(), name  # speaking, not numbered
                assert arrays[name].dtype != object
                assert arrays[name].ndim != 1 or arrays[name].dtype.kind == "U" or name == "target", name
            names = ", ".join(arrays)
        assert f"{path.name} ({names})" in (path.parent / "caption.txt").read_text()
    for path in out.rglob("*.csv"):
        assert path.name in (path.parent / "caption.txt").read_text()


def test_the_same_export_gives_the_same_bytes(out: Path, run: Path, tmp_path: Path) -> None:
    """Every view once more with the options that the recipe holds, each in one of the formats in turn."""
    recipe = json.loads((out / "recipe.json").read_text())
    views = recipe["figures"].pop("views")
    assert len(views) > 8
    for i, form in enumerate(FORMATS):
        chosen, folder = list(views)[i :: len(FORMATS)], tmp_path / form
        options = {f"{view}.{name}": value for view in chosen for name, value in views[view].items()}
        written = export(run, chosen, folder, formats=[form], options=options)
        assert {path.stem for path in written if path.suffix == f".{form}"} == set(chosen)
        again = json.loads((folder / "recipe.json").read_text())
        assert again["figures"] == {**recipe["figures"], "views": {v: views[v] for v in chosen}, "formats": [form]}
        assert {**again, "figures": recipe["figures"]} == recipe
        for second in written:
            first = out / second.relative_to(folder)
            assert second.name == "recipe.json" or first.read_bytes() == second.read_bytes(), first.name


def test_a_chosen_step_view_and_format(run: Path, tmp_path: Path) -> None:
    written = export(run, ["mixtures"], tmp_path, formats=["svg"], step=20, width=3.25, options={"quantity": "pure"})
    names = {str(p.relative_to(tmp_path)) for p in written}
    assert "mixtures/mixtures.svg" in names
    assert not any(n.endswith((".png", ".pdf")) for n in names)
    assert json.loads((tmp_path / "recipe.json").read_text())["step"] == 20
    assert ET.parse(tmp_path / "mixtures" / "mixtures.svg").getroot().attrib["width"] == "234pt"
    header, _ = table(tmp_path / "mixtures" / "mixtures.over_time.csv")
    assert header[1] == "pure magnitude median [weight]"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"views": ["curves"]}, ConfigError, r"view: got 'curves'; allowed: .*neurons, .*mixtures, .*robustness"),
        ({"views": []}, ConfigError, r"view: got none; allowed: neurons, mixtures, .*robustness, .*claims, or all"),
        ({"options": {"colour": "red"}}, ConfigError, r"option: got 'colour'; allowed: .*space, sort"),
        ({"options": {"space": "fourier"}}, ConfigError, r"space: got 'fourier'; allowed: pixel, dictionary"),
        ({"formats": ["gif"]}, ConfigError, r"format: got 'gif'; allowed: png, svg, pdf"),
        ({"width": 4}, ConfigError, r"width: got 4; allowed: 3.25, 6.75 inches"),
        ({"step": 7}, StoreError, r"checkpoint: got 7; allowed: 0, 20, 40"),
        ({"run_folder": Path("/nowhere")}, StoreError, r"/nowhere is not a run folder"),
    ],
)
def test_errors_name_the_field_and_write_nothing(
    run: Path, tmp_path: Path, change: dict[str, object], error: type[Exception], message: str
) -> None:
    arguments: dict[str, object] = {"run_folder": run, "views": "all", "out": tmp_path / "out"} | change
    with pytest.raises(error, match=message) as caught:
        export(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_failure_while_writing_leaves_whole_files_only(
    run: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    calls = 0
    real = os.fsync

    def fails(handle: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(StoreError, match=r"out: .* cannot be written: No space left on device"):
        export(run, ["neurons", "mixtures"], tmp_path, options={"count": "all"})
    found = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(found) == 2
    assert all(p.read_bytes() == (out / p.relative_to(tmp_path)).read_bytes() for p in found)


def test_a_failure_while_drawing_writes_nothing(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise RuntimeError("drawing failed")

    monkeypatch.setattr(engine.figures.export, "render_all", fails)
    with pytest.raises(ExportError, match="neurons: RuntimeError: drawing failed\nmixtures: RuntimeError"):
        export(run, "all", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_view_that_fails_is_named_and_the_others_are_written(
    run: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("no such\nfigure")

    monkeypatch.setattr(MixturesDrawer, "collect", fails)
    with pytest.raises(ExportError) as caught:
        export(run, ["neurons", "mixtures", "robustness"], tmp_path, options={"count": "all", "alignment": "true"})
    assert str(caught.value) == "mixtures: RuntimeError: no such figure"
    assert sorted(caught.value.written) == sorted(p for p in tmp_path.rglob("*") if p.is_file())
    for view in ("neurons", "robustness"):
        for path in (out / view).iterdir():
            assert (tmp_path / view / path.name).read_bytes() == path.read_bytes()
    assert not (tmp_path / "mixtures").exists()
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert set(recipe["figures"]["views"]) == {"neurons", "robustness"}


def test_one_recipe_holds_the_options_of_every_view(run: Path, tmp_path: Path) -> None:
    options = {"neurons.sort": "index", "sort": "purity", "quantity": "pure", "neurons.space": "dictionary"}
    views = ["neurons", "mixtures", "robustness"]
    export(run, views, tmp_path, formats=["svg"], step=20, options=options)
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert recipe["step"] == 20
    found = recipe["figures"]["views"]
    assert list(found) == views
    assert found["neurons"] == {
        "space": "dictionary", "sort": "index", "count": "64", "alive": "true", "normalise": "false"
    }  # fmt: skip
    assert found["mixtures"] == {"quantity": "pure", "clean": "true"}
    assert found["robustness"] == {"alignment": "false"}
    for view in views:
        assert "checkpoint at step 20" in (tmp_path / view / "caption.txt").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixtures.sort": "norm"}, r"option: got 'mixtures.sort'; allowed: quantity"),
        ({"radius.n": "3"}, r"option: got 'radius.n', but the views chosen are neurons, mixtures"),
        ({"neurons.sort": "size"}, r"sort: got 'size'; allowed: purity"),
        ({"alignment": "true"}, r"option: got 'alignment'; allowed: space, sort, count, alive, normalise, quantity"),
    ],
)
def test_an_option_must_be_one_of_a_chosen_view(
    run: Path, tmp_path: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        export(run, ["neurons", "mixtures"], tmp_path / "out", options=options)
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_file_is_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StoreError, match="out: "):
        export(run, ["robustness"], tmp_path / "out", formats=["svg"])
    assert (tmp_path / "out").read_text() == "mine"
