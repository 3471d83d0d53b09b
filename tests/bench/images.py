"""Training on images: the Session against the plain PyTorch loop, step by step and as a whole."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import engine.image_session
import numpy as np
import torch

from engine import worlds
from engine.config.experiment import with_value
from engine.config.presets import load_preset
from engine.core.device import prepare_thread
from engine.data.augment import pixels
from engine.data.images import Images
from engine.images.config import ImageConfig, images
from engine.run.commands import SwitchPhase
from engine.run.session import Session
from tests.bench.image_loop import PlainImageLoop
from tests.bench.measure import Result, interleave
from tests.trial_data import find

STEPS = 10  # of a block
ROUNDS = 9


def data(config: ImageConfig) -> Images:
    """The trial images, or noise of the same size where they are missing: the time is the same."""
    from engine.data import catalogue
    from engine.data.sets.image_folder import ImageFolderWorld

    where = find()
    if where is not None:
        found = catalogue.load(ImageFolderWorld(folder=str(where)))
    else:
        draw = np.random.default_rng(0)
        parts = [(draw.integers(0, 256, (n, 3, 32, 32), np.uint8), np.arange(n) % 10) for n in (10_000, 1000)]
        found = Images.of("noise", *parts, [str(i) for i in range(10)], "noise")
    return found.subset(config.world.train_size, config.seed)


def session(config: ImageConfig) -> Session:
    """A headless session."""
    return worlds.create(config, Path(tempfile.mkdtemp(prefix="bench-")) / "run")


def run(preset: str = "cifar10-filters") -> list[Result]:
    """Time of a Session's steps over the plain loop's, in both phases, without the live evaluation."""
    config = with_value(images(load_preset(preset), "bench"), "device", "cpu")
    quiet = with_value(with_value(config, "evaluation.every", 100_000), "storage.checkpoint_every", 1_000_000)
    pictures = data(config)
    engine.images.session.load = lambda config: pictures  # type: ignore[attr-defined]
    results = []
    for phase in ("clean", "adversarial"):
        adversarial = phase == "adversarial"
        ours = session(quiet)
        prepare_thread(config.threads)
        plain = PlainImageLoop(config, pictures.train_x, pictures.train_y)
        if adversarial:
            ours.apply(SwitchPhase("adversarial"))
        while ours.measuring:
            ours.measure()

        def block(step: object) -> float:
            start = time.perf_counter()
            for _ in range(STEPS):
                step()  # type: ignore[operator]
            return time.perf_counter() - start

        mine, theirs = interleave(
            [lambda s=ours: block(s.step), lambda p=plain, a=adversarial: block(lambda: p.step(a))], ROUNDS
        )
        results.append(Result(f"{preset}, {phase}: Session / plain loop, time", mine.over(theirs), aim="<= 1.1"))
        results.append(Result(f"{preset}, {phase}: Session, a step", 1e3 * min(mine.seconds) / STEPS, "ms"))
        ours.close()
    return results


def whole(preset: str = "cifar10-filters") -> list[Result]:
    """The preset from start to end, evaluations and all, against the plain loop with the same two final evaluations."""
    config = with_value(images(load_preset(preset), "bench"), "device", "cpu")
    pictures = data(config)
    engine.images.session.load = lambda config: pictures  # type: ignore[attr-defined]
    start = time.perf_counter()
    ours = session(config)
    while not ours.finished:
        ours.step()
    while ours.measuring:
        ours.measure()
    figures = {r["phase"]: [r[f"accuracy/{k}"]["value"] for k in ("clean", "pgd")] for r in ours.summary()["reports"]}
    ours.close()
    mine = time.perf_counter() - start
    start = time.perf_counter()
    prepare_thread(config.threads)
    torch.manual_seed(0)
    plain = PlainImageLoop(config, pictures.train_x, pictures.train_y)
    x, y = pixels(pictures.test_x[: config.evaluation.report_size]), pictures.test_y[: config.evaluation.report_size]
    found = {}
    for phase, steps in (("clean", config.schedule.clean_steps), ("adversarial", config.schedule.second_steps)):
        plain.begin(steps)
        for _ in range(steps):
            plain.step(phase == "adversarial")
        found[phase] = list(plain.accuracies(x, y, config.evaluation.report_steps))
    theirs = time.perf_counter() - start
    rows = [Result(f"{preset}, whole run with evaluations: Session / plain loop, time", mine / theirs, "", "<= 1.1")]
    rows += [Result(f"{preset}: seconds of the Session's run", mine, "s"), Result("of the plain loop's", theirs, "s")]
    for phase in ("clean", "adversarial"):
        for who, table in (("Session", figures), ("plain loop", found)):
            for name, value in zip(("clean", "PGD-10"), table[phase], strict=True):
                rows.append(Result(f"{who}, after the {phase} phase: {name} accuracy", value))
    return rows
