"""An animation is the run at its stored steps: their number, order, contrast and texts; nothing half-made is left."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine import worlds
from engine.cli.main import run_command_line
from engine.core.errors import ConfigError
from engine.core.results import Mixture, Weights
from engine.figures.animation import SCENES, AnimationError, MixturesScene, NeuronsScene, animate, chosen, draw
from engine.figures.animation import Moment as Drawn
from tests import tiny_image_runs, tiny_runs


@pytest.fixture(scope="module")
def theory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("animated") / "theory"
    tiny_runs.run(tiny_runs.tiny_config(), folder)
    return folder


def stored(folder: Path) -> list[int]:
    past = worlds.past(folder)
    try:
        return [each.step for each in past.stored]
    finally:
        past.close()


def test_frames_are_the_stored_steps_in_order(theory: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "purify.gif"
    said: list[tuple[float, str]] = []
    steps = animate(theory, "neurons", out, frames=12, fps=20, beside=True, progress=lambda *a: said.append(a))
    assert steps == chosen(stored(theory), 0, None, 12)
    assert (steps[0], steps[-1]) == (0, stored(theory)[-1])
    with Image.open(out) as image:
        assert image.n_frames == len(steps)
        assert image.info["duration"] == 50
        shown = []
        for i in range(image.n_frames):
            image.seek(i)
            shown.append(np.asarray(image.convert("RGB")))
        assert image.info["duration"] == 2000
    assert len({frame.tobytes() for frame in shown}) == len(steps)  # each has its step written on it, at least
    assert [share for share, _ in said] == sorted(share for share, _ in said)
    assert said[-1][0] == 1.0
    assert list(out.parent.iterdir()) == [out]


def test_one_contrast_and_one_order_for_all_frames(theory: Path) -> None:
    past = worlds.past(theory)
    try:
        scene = NeuronsScene(beside=False)
        past.go(None)
        newest = past.snapshot(scene.wants)
        scene.settle(newest)
        weights, mixture = newest.get(Weights), newest.get(Mixture)
        assert weights is not None
        assert mixture is not None
        norms = np.linalg.norm(weights.now, axis=1)[scene.order]
        assert (np.diff(norms) <= 1e-6).all()
        assert mixture.alive[scene.order].all()
        moments = []
        for step in stored(theory)[::5]:
            past.go(step)
            moments.append(Drawn(step, "clean training", scene.take(past.snapshot(scene.wants))))
    finally:
        past.close()
    assert all(set(each.content) == {"now"} for each in moments)
    pictures = list(draw(scene, moments, "x"))
    assert {picture.shape for picture in pictures} == {pictures[0].shape}
    assert all(side % 2 == 0 for side in pictures[0].shape[:2])  # which videos need
    image = scene._images["now"]
    assert image.get_clim() == (-scene._level, scene._level)
    largest = max(np.nanquantile(np.abs(each.content["now"]), 0.9) for each in moments)
    assert scene._level >= largest


def test_the_points_of_mixtures_are_the_alive_neurons(theory: Path) -> None:
    past = worlds.past(theory)
    try:
        scene = MixturesScene(beside=False)
        past.go(stored(theory)[-1])
        snapshot = past.snapshot(scene.wants)
        moment = Drawn(snapshot.step, "", scene.take(snapshot))
    finally:
        past.close()
    list(draw(scene, [moment], "x"))
    mixture = snapshot.get(Mixture)
    assert mixture is not None
    x, y = scene._points.get_data()
    assert np.allclose(x, mixture.pure[mixture.alive])
    assert np.allclose(y, mixture.mixture[mixture.alive])
    assert f"median purity {np.median(mixture.purity[mixture.alive]):.3f}" in scene._text.get_text()


def test_the_command_draws_filters_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    tiny_runs.run(tiny_image_runs.tiny_images(), folder)
    out = tmp_path / "filters.gif"
    line = ["animate", str(folder), "--view", "filters", "--out", str(out), "--frames", "4", "--from", "1"]
    assert run_command_line(line) == 0
    assert "4 frames, steps" in capsys.readouterr().out
    with Image.open(out) as image:
        assert image.n_frames == 4
    assert run_command_line([*line[:3], "neurons", "--out", str(out)]) == 2
    assert "allowed for a run on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"view": "radius"}, "view"), ({"out": "a.avi"}, "out"), ({"frames": 1}, "frames"), ({"fps": 0}, "fps"),
        ({"first": 10**6}, "from, to"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_named(theory: Path, tmp_path: Path, arguments: dict[str, object], named: str) -> None:
    given = {"view": "mixtures", "out": "a.gif"} | arguments
    with pytest.raises(ConfigError, match=f"^{named}: "):
        animate(theory, out=tmp_path / str(given.pop("out")), **given)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(theory: Path, tmp_path: Path) -> None:
    def stop(share: float, what: str) -> None:
        if share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        animate(theory, "mixtures", tmp_path / "a.gif", frames=4, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_video_holds_every_frame(theory: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        with pytest.raises(AnimationError, match="extra video"):
            animate(theory, "mixtures", out, frames=4)
        return
    import imageio_ffmpeg

    animate(theory, "mixtures", out, frames=4, fps=5)
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(out))
    assert (frames, round(seconds, 1)) == (3 + 10, 2.6)


def test_every_kind_of_weights_has_a_scene() -> None:
    assert set(SCENES) == {"neurons", "filters", "mixtures"}
