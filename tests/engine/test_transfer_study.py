"""The transfer matrix in both worlds: against a plain loop, written, recorded, drawn, and refused in one line."""

from __future__ import annotations

import csv
import json
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text
from torch import Tensor

from engine import worlds
from engine.claims.images import CARRIED, STOPPED
from engine.config.experiment import Config
from engine.core import metrics
from engine.core.errors import ConfigError, StoreError
from engine.core.generators import seeded
from engine.core.labels import figure_name
from engine.core.measurement import wilson
from engine.core.slices import finish, silent
from engine.data.images import BOX
from engine.figures import figures
from engine.figures.export import export
from engine.figures.style import STYLE, WIDTHS
from engine.figures.transfer import COLOURS, ink
from engine.images.training import ImageTrainer
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes import robustness
from engine.run.commands import SetKnob, SwitchPhase
from engine.run.store import Store
from engine.run.timeline import Span
from engine.studies.base import NotMeasured, write_record
from engine.studies.clean_end import CleanEnd, Stages
from engine.studies.evidence import images as evidence
from engine.studies.other_seed import other_image_nets, other_theory_nets
from engine.studies.questions.claims import claims_of
from engine.studies.questions.transfer import TransferMatrix, TransferStudy
from engine.studies.transfer_matrix import measure_transfer
from engine.theory.loading import TheoryNetwork
from tests.gui.reading import contrast
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import advance, drain, table, tiny_config, values

N = 48
KEYS = ("start", "clean", "now", "other_clean", "other_now")
WORLDS = ("theory", "images")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished tiny run of each world; only its study may change."""
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    folders = {}
    made: dict[str, Config] = {"theory": tiny_config(lr=0.5), "images": tiny_images()}
    for name, config in made.items():
        folders[name] = tmp_path_factory.mktemp("transfer") / name
        session = worlds.create(config, folders[name])
        advance(session, config.schedule.total)
        drain(session)
        session.close()
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)
    return folders


@pytest.fixture(scope="module")
def written(runs: dict[str, Path]) -> dict[str, TransferMatrix]:
    """The study of each."""
    grad, threads = torch.is_grad_enabled(), torch.get_num_threads()
    found = {name: TransferStudy().run(folder, n=N) for name, folder in runs.items()}
    torch.set_grad_enabled(grad)
    torch.set_num_threads(threads)
    return found


def nets_of(folder: Path, world: str) -> tuple[dict[str, Any], Tensor, Tensor, Tensor | None]:
    """The five nets by themselves, held-out samples, and the dense direction."""
    if world == "theory":
        now, clean = TheoryNetwork.load(folder), TheoryNetwork.load(folder, 40)
        start = TheoryNetwork.load(folder, 0)
        held_out = now.held_out
        x, y = held_out.take(N, now.config.world.sigma_x)
        later = [Span(40, 80, "adversarial")]
        others = other_theory_nets(now.config, held_out.world, 40, later, 1, Stages(silent, [1.0, 1.0]))
        own: dict[str, Any] = {"start": start.model, "clean": clean.model, "now": now.model}
        return own | dict(zip(KEYS[3:], others, strict=True)), x, y, held_out.world.dense_direction
    found = CleanEnd.load(folder, N)
    others_ = other_image_nets(found, [Span(20, 40, "adversarial")], 1, Stages(silent, [1.0, 1.0]))
    own = {moment: found.network.classifier(moment) for moment in ("start", "clean", "now")}  # type: ignore[arg-type]
    return own | dict(zip(KEYS[3:], others_, strict=True)), found.x, found.y, None


@pytest.mark.parametrize("world", WORLDS)
def test_the_matrix_is_that_of_a_plain_loop(
    runs: dict[str, Path], written: dict[str, TransferMatrix], world: str
) -> None:
    study, (nets, x, y, direction) = written[world], nets_of(runs[world], world)
    box = BOX if world == "images" else None
    with _open(runs[world]) as store:
        config = store.config
    knobs, attack = config.evaluation, config.attack
    protocol = robustness.Measurement("pgd", attack.norm, attack.tau, knobs.report_steps, knobs.report_restarts, N)
    assert study.protocol == protocol.text()
    assert tuple(net.key for net in study.nets) == KEYS
    pgd = robustness.build(protocol, direction, box)
    assert pgd is not None
    for row, made_on in enumerate(KEYS):
        net = nets[made_on]
        sound = net.margin(x, y) > 0
        delta = torch.zeros_like(x)
        for members, name in ((sound, f"transfer {made_on}"), (~sound, f"transfer {made_on}, wrong without")):
            if bool(members.any()):
                delta[members] = pgd(net, x[members], y[members], seeded(config.seed, name, "cpu"))
        size = delta.flatten(1).norm(dim=1)
        assert float(size.max()) <= attack.tau * (1 + 1e-5)
        for column, key in enumerate(KEYS):
            answers = (nets[key].margin(x, y) > 0) & (nets[key].margin(x + delta, y) > 0)
            right, cell = int(answers.sum()), study.accuracy[row][column]
            assert cell.value == right / N, (made_on, key)
            assert (cell.low, cell.high) == wilson(right, N)
        draws = seeded(config.seed, f"transfer {made_on}", "cpu")
        white = finish(robustness.accuracy(net, x, y, protocol, direction, draws, box=box))
        assert study.accuracy[row][row].value == white.accuracy  # the diagonal is white-box accuracy
        assert study.nets[row].without.value == int(sound.sum()) / N
    values_ = np.array([[cell.value for cell in row] for row in study.accuracy])
    assert len(np.unique(values_)) > 4  # the nets differ


def _open(folder: Path) -> Any:
    return closing(Store.open(folder, read_only=True))


def test_the_other_seed_is_trained_as_a_session_trains(runs: dict[str, Path], tmp_path: Path) -> None:
    """On images it is the run of that seed, but for its training images' order: loss and weights move alike."""
    found = CleanEnd.load(runs["images"], N)
    shares: list[float] = []
    steps: list[tuple[int, str]] = []
    step = ImageTrainer.step

    def heard(self: ImageTrainer, config: Any, objective: Any, share: float, *rest: Any) -> None:
        shares.append(share)
        steps.append((config.seed, objective))
        step(self, config, objective, share, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageTrainer, "step", heard)
        clean, now = other_image_nets(found, [Span(20, 40, "adversarial")], 5, Stages(silent, [1.0, 1.0]))
    assert steps == [(5, "clean")] * 20 + [(5, "adversarial")] * 20
    assert shares == [i / 20 for i in range(20)] * 2
    weights = [dict(net.module.named_parameters())["conv1.weight"] for net in (clean, now)]
    assert not torch.equal(*weights)
    start = found.network.network("start").get_parameter("conv1.weight")
    assert not torch.allclose(start, weights[0], atol=1e-3)
    again, _ = other_image_nets(found, [Span(20, 40, "adversarial")], 5, Stages(silent, [1.0, 1.0]))
    assert torch.equal(again.module.get_parameter("conv1.weight"), weights[0])


def test_in_the_theory_the_phases_are_those_the_run_went_through(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = TheoryNetwork.load(runs["theory"])
    world = network.held_out.world
    later = [Span(40, 50, "gaussian_noise"), Span(50, 57, "adversarial")]
    heard: list[tuple[float, str]] = []
    stages = Stages(lambda share, what: heard.append((share, what)), [2.0, 1.0, 1.0])
    clean, now = other_theory_nets(network.config, world, 40, later, 3, stages)
    short, _ = other_theory_nets(network.config, world, 40, later[:1], 3, Stages(silent, [1.0, 1.0]))
    assert torch.equal(clean.weight, short.weight)
    assert not torch.equal(now.weight, clean.weight)
    assert list(dict.fromkeys(w for _, w in heard)) == [
        "seed 3: clean training", "seed 3: Gaussian noise training", "seed 3: adversarial training",
    ]  # fmt: skip
    assert [share for share, _ in heard] == sorted(share for share, _ in heard)
    assert isinstance(now, SymmetricRelu)


@pytest.mark.parametrize("world", WORLDS)
def test_written_recorded_and_read_back(runs: dict[str, Path], written: dict[str, TransferMatrix], world: str) -> None:
    folder, study = runs[world], written[world]
    write_record(folder / TransferStudy.file, TransferMatrix, study)
    assert TransferStudy.read(folder) == study
    assert (study.step, study.clean_step) == {"theory": (80, 40), "images": (40, 20)}[world]
    assert [net.seed for net in study.nets] == [0, 0, 0, 1, 1]
    assert [net.name for net in study.nets] == ["start", "clean", "now", "seed 1, clean", "seed 1, now"]
    rows = table(folder, "SELECT step, name, value FROM metrics")
    for made_on, net, found in study.cells():
        name = metrics.transfer("none" if made_on is None else made_on.key, net.key)
        assert values(rows, name) == {study.step: found.value}
        with _open(folder) as store:
            protocol = store.protocol(name, study.step)
        assert protocol is not None
        assert (protocol.attack, protocol.n) == ("clean" if made_on is None else "pgd", N)
    text = TransferStudy().table(study)
    assert f"{study.accuracy[1][3].value:.3f}" in text.splitlines()[4]
    assert text.splitlines()[2].split()[:2] == ["nothing", f"{study.nets[0].without.value:.3f}"]
    assert "another seed's clean net" in text.splitlines()[-1]
    assert figure_name(metrics.transfer("clean", "now")) == "accuracy of the net now under those of the clean net"
    assert figure_name("transfer/none@now") == "accuracy of the net now without perturbation"


def test_another_seed_is_another_matrix_and_the_run_stays_as_it_was(
    runs: dict[str, Path], written: dict[str, TransferMatrix]
) -> None:
    folder = runs["theory"]
    before = {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    shares: list[float] = []
    found = measure_transfer(folder, 7, N, lambda share, what: shares.append(share))
    assert found.seeds == (0, 7)
    assert shares == sorted(shares)
    first = np.array([[cell.value for cell in row] for row in written["theory"].accuracy])
    np.testing.assert_allclose(found.found.right[:3, :3] / N, first[:3, :3])
    assert not np.array_equal(found.found.right / N, first)
    assert {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()} == before


def test_right_after_clean_training_there_are_three_nets(tmp_path: Path) -> None:
    session = worlds.create(tiny_config(second_steps=0), tmp_path / "run")
    advance(session, 40)
    drain(session)
    session.close()
    found = TransferStudy().run(tmp_path / "run", n=N)
    assert [net.key for net in found.nets] == ["start", "clean", "other_clean"]
    assert found.of("clean", "now") is None
    assert "on the net now" not in found.sentence()


def test_a_phase_of_low_rank_is_one_for_the_other_seed_too(tmp_path: Path) -> None:
    session = worlds.create(tiny_config(**{"low_rank.rank": 2}), tmp_path / "run")
    advance(session, 45)
    session.close()
    network = TheoryNetwork.load(tmp_path / "run")
    later = [Span(40, 45, "adversarial")]
    clean, now = other_theory_nets(
        network.config, network.held_out.world, 40, later, 1, Stages(silent, [1.0, 1.0])
    )  # fmt: skip
    assert int(torch.linalg.matrix_rank((now.weight - clean.weight).double(), rtol=1e-5)) == 2


def test_what_cannot_be_measured_is_one_line(runs: dict[str, Path], tmp_path: Path) -> None:
    for seed in (0, -1, 2**31):
        with pytest.raises(ConfigError, match=f"^--other-seed: got {seed}; allowed: a whole number from 0 to"):
            TransferStudy().run(runs["theory"], other_seed=seed)
    with pytest.raises(StoreError, match="not a run folder"):
        TransferStudy().run(tmp_path)
    session = worlds.create(tiny_config(), tmp_path / "early")
    advance(session, 5)
    session.close()
    with pytest.raises(ConfigError, match="clean training has not ended"):
        TransferStudy().run(tmp_path / "early")
    session = worlds.create(
        tiny_images(**{"local.layer": "conv1", "local.redraw_at": 2, "clean_steps": 4}), tmp_path / "l"
    )
    advance(session, 5)
    session.close()
    with pytest.raises(ConfigError, match=r"^local\.layer: got 'conv1'; transfer needs"):
        TransferStudy().run(tmp_path / "l")
    assert not list(tmp_path.rglob("transfer.json"))


@pytest.mark.parametrize("damage", [{"nets": []}, {"accuracy": [[]]}, {"n": "many"}, {"twice": True}])
def test_a_damaged_file_is_one_line(written: dict[str, TransferMatrix], tmp_path: Path, damage: dict[str, Any]) -> None:
    write_record(tmp_path / "transfer.json", TransferMatrix, written["theory"])
    found = json.loads((tmp_path / "transfer.json").read_text(encoding="utf-8"))
    if "twice" in damage:
        found["nets"][1] = found["nets"][0]
    else:
        found |= damage
    (tmp_path / "transfer.json").write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(StoreError, match=r"transfer\.json is damaged") as met:
        TransferStudy.read(tmp_path)
    assert len(str(met.value).splitlines()) == 1


@pytest.mark.parametrize("world", WORLDS)
def test_exported_it_is_the_file(
    runs: dict[str, Path], written: dict[str, TransferMatrix], tmp_path: Path, world: str
) -> None:
    study = written[world]
    export(runs[world], ["transfer"], tmp_path / "out", formats=("svg",), width=6.75)
    folder = tmp_path / "out" / "transfer"
    with (folder / "transfer.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    for (made_on, net, found), row in zip(study.cells(), rows, strict=True):
        assert row["attacked on [net]"] == ("nothing" if made_on is None else made_on.name)
        assert row["evaluated on [net]"] == net.name
        assert [float(row[f"{c} [1]"]) for c in ("accuracy", "low", "high")] == [found.value, found.low, found.high]
    caption = (folder / "caption.txt").read_text(encoding="utf-8")
    assert f"Protocol: {study.protocol}" in caption
    assert "The nets of seed 1 were trained by the same config" in caption
    assert study.sentence() in caption


@pytest.mark.parametrize("width", WIDTHS)
def test_the_figure_shows_each_number_readably(runs: dict[str, Path], width: float) -> None:
    with _open(runs["theory"]) as store:
        data: Any = figures["transfer"]().collect(store, store.load(), {})
    study = data.study
    with mpl.rc_context(cast(Any, STYLE)):
        figure = Figure(figsize=(width, data.height(width)))
        data.draw(figure)
        figure.draw_without_rendering()
        texts = [t for t in figure.findobj(Text) if t.get_text().strip()]
        assert min(float(t.get_fontsize()) for t in texts) >= 7
        bounds: Any = figure.get_tightbbox()
    assert min(bounds.x0, bounds.y0) >= 0
    assert bounds.x1 <= width
    assert bounds.y1 <= data.height(width)
    image = figure.axes[0].images[0]
    expected = [[n.without.value for n in study.nets], *([c.value for c in row] for row in study.accuracy)]
    np.testing.assert_allclose(np.asarray(image.get_array()), expected)
    assert (image.get_cmap().name, image.get_clim()) == (COLOURS, (0, 1))
    written = [t.get_text() for t in figure.axes[0].texts]
    assert written == [f"{value:.2f}" for row in expected for value in row]


def test_numbers_are_read_on_every_colour() -> None:
    colours = mpl.colormaps[COLOURS]
    for value in np.linspace(0, 1, 101):
        ground = mpl.colors.to_hex(colours(float(value)))
        assert contrast(ink(float(value)), ground) >= 4.4, value


def test_without_the_file_the_command_is_named(tmp_path: Path, runs: dict[str, Path]) -> None:
    with pytest.raises(NotMeasured, match="python -m engine transfer"):
        TransferStudy.read(tmp_path)


def test_switches_by_hand_are_followed(tmp_path: Path) -> None:
    session = worlds.create(tiny_config(), tmp_path / "run")
    advance(session, 70, {20: [SwitchPhase("adversarial")], 50: [SwitchPhase("gaussian_noise"), SetKnob("lr", 0.05)]})
    drain(session)
    session.close()
    seen: list[str] = []
    found = measure_transfer(tmp_path / "run", None, N, lambda share, what: seen.append(what))
    assert found.clean_step == 20
    assert list(dict.fromkeys(seen))[:3] == [
        "seed 1: clean training", "seed 1: adversarial training", "seed 1: Gaussian noise training",
    ]  # fmt: skip


def test_verification_decides_claim_10_on_images_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other pieces of the verification are left out here: each takes longer, and has tests of its own."""
    folder = tmp_path / "run"
    session = worlds.create(tiny_images(), folder)
    advance(session, 40)
    drain(session)
    session.close()
    monkeypatch.setattr(evidence, "_verified", lambda *given: [])
    for study in ("LocalStudy", "RankStudy", "ComparisonStudy"):
        monkeypatch.setattr(getattr(evidence, study), "run", lambda *given, **options: None)
    (claim,) = [each for each in claims_of(folder, verify=True, n=N) if each.id == 10]
    study = TransferStudy.read(folder)
    assert [figure.value for figure in claim.evidence] == [
        value
        for place in map(KEYS.index, ("clean", "other_clean", "now"))
        for value in (study.nets[place].without.value, study.accuracy[1][place].value)
    ]
    own, other, now = (study.nets[i].without.value - study.accuracy[1][i].value for i in (1, 3, 2))
    holds = None if own <= 0 else other >= CARRIED * own and now <= STOPPED * own
    assert claim.verdict == {None: "not measured", True: "holds", False: "does not hold"}[holds]
    assert own > 0
    written = (folder / TransferStudy.file).stat().st_mtime_ns
    claims_of(folder, verify=True, n=N)
    assert (folder / TransferStudy.file).stat().st_mtime_ns == written
