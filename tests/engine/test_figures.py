"""The figures' numbers against the store they come from, and what is drawn from them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from engine import worlds
from engine.config.experiment import SPARSE_CODING, Config, from_dict
from engine.core import metrics
from engine.core.errors import ConfigError
from engine.core.history import Series
from engine.core.measurement import wilson
from engine.figures import figures
from engine.figures.base import curve, measure
from engine.figures.declare import round_up
from engine.figures.neurons import VIEW
from engine.figures.order import neuron_order
from engine.figures.panels import PicturePanels, as_pictures, columns_for, tile
from engine.figures.style import FORMATS, WIDTHS, lettered, render, render_all
from engine.run.commands import SetKnob, SwitchPhase
from engine.run.snapshot import Event
from engine.run.store import Store
from engine.run.timeline import phases

TINY = {
    "threads": 1,
    "device": "cpu",
    "world": {"d": 16},
    "model": {"m": 24},
    "schedule": {"clean_steps": 30, "second_steps": 30},
    "evaluation": {"every": 10, "size": 40, "steps": 2, "report_size": 64, "report_steps": 3, "report_restarts": 2},
    "storage": {"checkpoint_every": 20},
}

# The others are drawn from a file that a slow command leaves in the run folder.
FROM_FILES = ("claims", "race", "low_rank", "objectives", "transfer")
FROM_THE_RUN = [name for name in figures if SPARSE_CODING in figures[name].view.kinds and name not in FROM_FILES]


def tiny() -> Config:
    return from_dict(TINY)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 60 steps with changed knobs, everything measured."""
    folder = tmp_path_factory.mktemp("figures") / "run"
    session = worlds.create(tiny(), folder)
    while not session.finished:
        if session.steps_done == 45:
            session.apply(SetKnob("attack.tau", 0.3))
            session.apply(SetKnob("training.lr", 1.0))
        session.step()
    while session.measuring:
        session.measure()
    session.close()
    return folder


@pytest.fixture
def store(run: Path) -> Iterator[Store]:
    opened = Store.open(run, read_only=True)
    yield opened
    opened.close()


def collect(store: Store, view: str, step: int | None = None, **options: str) -> object:
    drawer = figures[view]
    return drawer().collect(store, store.load(step), drawer.view.complete(options))


def test_views_and_their_options_are_named_in_errors() -> None:
    on_images = {"filters", "layers", "examples", "features", "local", "sparse_code"}
    assert set(figures) == {*FROM_THE_RUN, *FROM_FILES, *on_images}
    with pytest.raises(ConfigError, match=r"view: got 'nuerons'; allowed: .*neurons"):
        figures["nuerons"]
    with pytest.raises(ConfigError, match=r"sort: got 'size'; allowed: purity, mixture, norm, feature, index"):
        figures["neurons"].view.complete({"sort": "size"})
    for count in ("0", "-3", "many", "1.5"):
        with pytest.raises(ConfigError, match=r"count: got .*; allowed: a whole number from 1, all"):
            figures["neurons"].view.complete({"count": count})


@pytest.mark.parametrize("view", FROM_THE_RUN)
@pytest.mark.parametrize("width", WIDTHS)
def test_every_text_is_at_least_7_points(store: Store, view: str, width: float) -> None:
    import matplotlib as mpl
    from matplotlib.text import Text

    from engine.figures.style import STYLE

    data = collect(store, view)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, data.height(width)))
        data.draw(figure)
        figure.draw_without_rendering()
        texts = [t for t in figure.findobj(Text) if t.get_text().strip()]
        assert len(texts) > 4
        assert min(t.get_fontsize() for t in texts) >= 7
        bounds = figure.get_tightbbox()  # in inches, of all that is drawn
    assert bounds.x0 >= 0
    assert bounds.x1 <= width
    assert bounds.y0 >= 0
    assert bounds.y1 <= data.height(width)


@pytest.mark.parametrize("options", [{"space": "pixel"}, {"space": "dictionary"}, {"normalise": "true"}])
def test_gallery_shares_one_symmetric_level(store: Store, options: dict[str, str]) -> None:
    data = collect(store, "neurons", **options)
    assert isinstance(data, PicturePanels)
    assert list(data.panels)[:2] == ["start", "after clean training"]
    rule, arrays, shown = VIEW.contrast, store.load().arrays, list(data.panels.values())
    assert rule is not None
    alive = measure(arrays["weight"], arrays["dictionary"], arrays["target"]).alive
    everyone = list(collect(store, "neurons", **options, alive="false", count="all", sort="index").panels.values())
    sizes = [np.sort(np.abs(each[alive]).ravel()) for each in everyone[1:]]  # after clean training, and now
    assert data.level == round_up(max(float(s[int(0.995 * len(s))]) for s in sizes))
    assert max(np.abs(p).max() for p in shown[1:]) <= 1.5 * data.level
    figure = Figure(figsize=(6.75, data.height(6.75)))
    data.draw(figure)
    images = [image for axes in figure.axes for image in axes.images]
    assert len(images) == 4  # with the key
    assert {image.get_clim() for image in images} == {(-data.level, data.level)}
    assert {image.get_interpolation() for image in images} == {"none"}
    assert f"{data.level:.3g}" in data.caption


def test_gallery_shows_the_same_neurons_in_each_panel(store: Store) -> None:
    checkpoint = store.load()
    data = collect(store, "neurons", space="dictionary", count="5", sort="norm")
    order = data.tables[""][0].values
    norms = np.linalg.norm(checkpoint.arrays["weight"], axis=1)
    assert order.tolist() == np.argsort(-norms, kind="stable")[:5].tolist()
    keys = ("weight_init", "weight_clean", "weight")
    for panel, key in zip(data.panels.values(), keys, strict=True):
        shown = checkpoint.arrays[key][order] @ checkpoint.arrays["dictionary"]
        np.testing.assert_allclose(panel.reshape(5, 16), shown, atol=1e-6)
    assert "n = 5 alive neurons" in data.caption


def test_gallery_before_the_clean_phase_has_ended_has_two_panels(store: Store) -> None:
    assert list(collect(store, "neurons", step=0).panels) == ["start", "now (step 0, clean)"]


@pytest.mark.parametrize("sort", ["purity", "mixture", "norm", "feature", "index"])
def test_order(store: Store, sort: str) -> None:
    arrays = store.load().arrays
    found = measure(arrays["weight"], arrays["dictionary"], arrays["target"])
    order = neuron_order(found, sort, alive=False, count=None)
    assert sorted(order.tolist()) == list(range(24))
    key = {"index": np.arange(24), "feature": found.feature}.get(sort)
    values = key[order] if key is not None else -getattr(found, sort)[order]
    assert (np.diff(values) >= 0).all()
    living = neuron_order(found, sort, alive=True, count=None)
    assert set(living.tolist()) == set(np.flatnonzero(found.alive).tolist())


def test_tiles_keep_every_weight_in_its_place() -> None:
    rows = np.arange(24, dtype=np.float32).reshape(6, 4)
    tiles = tile(as_pictures(rows)[:, 0], 3, np.nan)
    assert tiles.shape == (7, 10)
    np.testing.assert_array_equal(tiles[1:3, 1:3], rows[0].reshape(2, 2))
    np.testing.assert_array_equal(tiles[4:6, 7:9], rows[5].reshape(2, 2))
    assert np.isnan(tiles).sum() == tiles.size - 24


def test_columns_leave_few_places_empty() -> None:
    assert columns_for(64, 1.0) == 8
    assert columns_for(64, 2.0) == 16
    assert [columns_for(n, 1.0) >= 1 for n in (0, 1, 2)] == [True] * 3


def test_wilson_bounds_and_protocols_of_a_curve(store: Store) -> None:
    found = curve(store, metrics.PGD, 60)
    series = store.series(metrics.PGD)
    np.testing.assert_array_equal(found.values, series.values)
    np.testing.assert_array_equal(found.steps, series.steps)
    assert [p.tau for p in found.protocols if p is not None] == [0.2] * 5 + [0.3] * 2
    for value, low, high in zip(found.values, found.low, found.high, strict=True):
        assert (low, high) == wilson(value * 40, 40)
        assert low <= value <= high
    assert [step for step, _ in found.changes()] == [0, 50]
    # By hand, for 20 of 40 (Wilson 1927): centre 0.5, half-width z/(1+z²/n)·sqrt(1/4n + z²/4n²).
    assert wilson(20, 40) == pytest.approx((0.351995, 0.648005), abs=1e-5)


def test_robustness_data_equal_the_store(store: Store) -> None:
    data = collect(store, "robustness", alignment="true")
    assert [c.name for c in data.live] == [*metrics.ACCURACIES, metrics.CERTIFIED]
    assert [c.name for c in data.reports] == [metrics.REPORT + n for n in (*metrics.ACCURACIES, metrics.CERTIFIED)]
    for c in (*data.live, *data.reports):
        np.testing.assert_array_equal(c.values, store.series(c.name).values)
    columns = {c.name: c.values for c in data.tables[""]}
    for c in data.live:
        found = columns[c.name]
        np.testing.assert_array_equal(found[np.isfinite(found)], store.series(c.name).values)
    for text in ("PGD-2 × 1 restart, ℓ2 radius 0.2, n = 40", "from step 50: PGD-2 × 1 restart, ℓ2 radius 0.3"):
        assert text in data.caption
    assert "PGD-3 × 2 restarts" in data.caption
    assert "a: step 45, attack.tau 0.2 → 0.3, training.lr 1.5 → 1.0" in data.caption
    figure = Figure(figsize=(6.75, data.height(6.75)))
    data.draw(figure)
    legend = [t.get_text() for t in figure.legends[0].get_texts()]
    assert "PGD-2×1, ℓ2 0.3, n = 40 *" in legend
    assert "report: clean, n = 64" in legend
    assert legend[-1] == "report: certified, ℓ2 0.3, n = 64 *"  # the first report had another radius
    looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in figure.axes[0].lines]
    curves = [look for look in looks if look[2] not in ("None", "", None)]
    assert len({dash for _, dash, _ in curves[:4]}) + len({m for *_, m in curves[:4]}) >= 5


def test_data_stop_at_the_exported_step(store: Store) -> None:
    data = collect(store, "robustness", step=30)
    assert data.tables[""][0].values.max() == 30
    assert [e.name for e in data.events] == []
    assert "Knob changes" not in data.caption
    over_time = collect(store, "mixtures", step=20).tables["over_time"]
    assert over_time[0].values.tolist() == [0, 10, 20]


@pytest.mark.parametrize("quantity", metrics.MIXTURE_QUANTITIES)
def test_mixtures_over_time_equal_the_store(store: Store, quantity: str) -> None:
    data = collect(store, "mixtures", quantity=quantity)
    for row, summary in zip(data.over_time, ("median", "q10", "q90"), strict=True):
        np.testing.assert_array_equal(row, store.series(metrics.mixture(quantity, summary)).values)
    alive = int(data.now.alive.sum())
    assert f"n = {alive} alive of m = 24 neurons now" in data.caption
    figure = Figure(figsize=(6.75, data.height(6.75)))
    data.draw(figure)
    labels = [t.get_text() for axes in figure.axes for t in axes.get_legend().get_texts()]
    assert f"now (step 60), n = {alive}" in labels
    assert any(label.startswith("after clean, n = ") for label in labels)


@pytest.mark.parametrize("view", FROM_THE_RUN)
def test_a_run_without_measurements_can_be_drawn(tmp_path: Path, view: str) -> None:
    session = worlds.create(from_dict(TINY | {"world": {"d": 15, "dictionary": "random"}}), tmp_path / "run")
    session.close()
    store = Store.open(tmp_path / "run", read_only=True)
    try:
        data = collect(store, view)
    finally:
        store.close()
    for form in FORMATS:
        assert len(render(data, form, 3.25)) > 1000


def test_the_caption_names_fgm_from_a_random_start(tmp_path: Path) -> None:
    session = worlds.create(from_dict(TINY | {"attack": {"random_start": True}}), tmp_path / "run")
    session.apply(SwitchPhase("adversarial"))
    session.step()
    session.close()
    store = Store.open(tmp_path / "run", read_only=True)
    caption = collect(store, "neurons").caption
    store.close()
    assert "Training perturbations at this step: FGM from a random start, ℓ2 radius 0.2." in caption


def test_phases_and_letters(tmp_path: Path) -> None:
    session = worlds.create(tiny(), tmp_path / "run")
    for phase in ("clean", "adversarial", "gaussian_noise", "clean"):
        session.apply(SwitchPhase(phase))
        for _ in range(5):
            session.step()
    session.close()
    store = Store.open(tmp_path / "run", read_only=True)
    spans = phases(store, store.load())
    store.close()
    assert [(s.start, s.end, s.objective) for s in spans] == [
        (0, 5, "clean"), (5, 10, "adversarial"), (10, 15, "gaussian_noise"), (15, 20, "clean"),
    ]  # fmt: skip
    many = [Event(step, 0.0, "attack.tau", "0", "1") for step in range(30)]
    assert list(lettered([*many, many[0]]).items())[25:28] == [("z", 25), ("a1", 26), ("b1", 27)]


def test_series_keeps_the_last_of_several_values_of_a_step() -> None:
    from engine.run.timeline import until

    series = until(Series(np.array([0, 5, 5, 9]), np.array([1.0, 2.0, 3.0, 4.0])), 8)
    assert series.steps.tolist() == [0, 5]
    assert series.values.tolist() == [1.0, 3.0]


def test_width_and_format_are_checked(store: Store) -> None:
    data = collect(store, "robustness")
    with pytest.raises(ConfigError, match=r"width: got 5; allowed: 3.25, 6.75"):
        render(data, "png", 5)
    with pytest.raises(ConfigError, match=r"format: got 'eps'; allowed: png, svg, pdf"):
        render(data, "eps", 6.75)


def test_importing_the_figures_is_light() -> None:
    code = (
        "import sys, engine.figures.export; "
        "print([m for m in ('matplotlib', 'torch', 'PySide6') if m in sys.modules])"
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_figures_that_need_no_network_import_no_torch(finished_run: Path, tmp_path: Path) -> None:
    views = [word for view in ("robustness", "training", "mixtures", "neurons") for word in ("--view", view)]
    arguments = ["export", str(finished_run), *views, "--out", str(tmp_path / "out"), "--format", "svg"]
    code = (
        "import sys; from engine.cli.main import run_command_line; "
        f"assert run_command_line({arguments!r}) == 0; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
    assert (tmp_path / "out" / "training" / "training.svg").is_file()


@pytest.mark.parametrize("view", ["robustness", "mixtures"])
def test_a_file_is_the_same_whatever_other_formats_are_drawn(store: Store, view: str) -> None:
    data, heard = collect(store, view), list[str]()
    found = render_all(data, FORMATS, 3.25, heard.append)
    assert heard == ["drawing png", "drawing svg", "drawing pdf"]
    assert {form: render(data, form, 3.25) for form in FORMATS} == found


def test_mixtures_without_the_neurons_after_clean_training(store: Store) -> None:
    both, alone = collect(store, "mixtures"), collect(store, "mixtures", clean="false")
    assert "after_clean" in both.tables
    assert "after_clean" not in alone.tables
    assert "after clean training" not in alone.caption
