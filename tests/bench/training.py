"""Steps per second of the Session against a plain loop, an autograd loop and its bare matrix products."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from engine import worlds
from engine.config.experiment import Config, with_value
from engine.config.knobs import Objective
from engine.config.presets import load_preset
from engine.run.commands import SwitchPhase
from engine.run.session import Session
from tests.bench.measure import FULL, Result, Sizes, Spent, interleave
from tests.bench.plain_loop import AutogradLoop, PlainLoop

NEVER = 100_000
PHASES: tuple[Objective, ...] = ("clean", "adversarial")


def quiet(config: Config) -> Config:
    """The preset without evaluations and without an end; the bias at its end, as in the plain loop."""
    for name, value in (
        ("evaluation.every", NEVER), ("storage.checkpoint_every", 1_000_000), ("model.bias_ramp", 0.01),
        ("device", "cpu"),
    ):  # fmt: skip
        config = with_value(config, name, value)
    return config


def session(config: Config, phase: str, warm_steps: int) -> Session:
    """A headless session in the given phase, warm."""
    made = worlds.create(config, Path(tempfile.mkdtemp(prefix="bench-")) / "run")
    if phase == "adversarial":
        made.apply(SwitchPhase("adversarial"))
    while made.measuring:
        made.measure()
    for _ in range(warm_steps):
        made.step()
    return made


def repeat(function: Callable[[], object], times: int) -> Callable[[], float]:
    """Seconds for so many calls."""

    def block() -> float:
        start = time.perf_counter()
        for _ in range(times):
            function()
        return time.perf_counter() - start

    return block


def run(sizes: Sizes = FULL, preset: str = "standard") -> list[Result]:
    """Session against plain loop (aim ≥ 0.97), autograd loop, and four matrix products (aim ≤ 2.0)."""
    config, count = quiet(load_preset(preset)), sizes.steps
    results = []
    for phase in PHASES:
        ours, adversarial = session(config, phase, sizes.warm_steps), phase == "adversarial"
        plain, autograd = PlainLoop(config), AutogradLoop(config)
        (mean_ours, mean_plain, mean_autograd) = interleave(
            [
                repeat(ours.step, count),
                repeat(lambda p=plain, a=adversarial: p.step(a), count),  # type: ignore[misc]
                repeat(lambda p=autograd, a=adversarial: p.step(a), count),  # type: ignore[misc]
            ],
            sizes.rounds,
        )
        speed = f"{preset}, {phase}: Session"
        results += [
            Result(f"{speed} / plain loop, steps per second", mean_plain.over(mean_ours), aim=">= 0.97"),
            Result(f"{speed} / autograd loop, steps per second", mean_autograd.over(mean_ours)),
        ]
        if adversarial:
            mine, bare = interleave([repeat(ours.step, count), repeat(products(ours), count)], sizes.rounds)
            name = f"{preset}: adversarial step / its four matrix products, time"
            results.append(Result(name, mine.over(bare), aim="<= 2.0"))
        ours.close()
    return results


def frames(sizes: Sizes = FULL, preset: str = "standard") -> list[Result]:
    """CPU time that frames take over that of training them, both phases, in one run (aim ≤ 0.02).

    Taking them is the training thread's, writing them another's, which has the same cores.
    """
    made = session(quiet(load_preset(preset)), "clean", 0)
    taken, written = Spent(), Spent()
    made._frame = taken.timed(made._frame)  # type: ignore[method-assign]
    made._recorder.frames.add = written.timed(made._recorder.frames.add)  # type: ignore[method-assign]
    start = time.process_time()
    for phase in PHASES:
        made.apply(SwitchPhase(phase))
        for _ in range(sizes.window_steps):
            made.step()
    made.flush(wait=True)
    whole = time.process_time() - start
    count = len(made._recorder.frames.steps)
    made.close()
    cost = taken.cpu + written.cpu
    name = f"{preset}: CPU time of {count} frames / of training {2 * sizes.window_steps:,} steps"
    return [Result(name, cost / (whole - cost), "", "<= 0.02")]


def products(ours: Session) -> Callable[[], None]:
    """The four matrix products of one FGM step, into arrays made once."""
    n, (m, d) = ours.config.training.batch_size, ours.model.weight.shape
    x, w, g = torch.randn(n, d), torch.randn(m, d), torch.rand(n, m)
    u, s, dw = torch.empty(n, m), torch.empty(n, d), torch.empty(m, d)

    def once() -> None:
        torch.mm(x, w.T, out=u)
        torch.mm(g, w, out=s)
        torch.mm(x, w.T, out=u)
        torch.mm(g.T, x, out=dw)

    return once


def live_evaluation(preset: str, sizes: Sizes = FULL) -> list[Result]:
    """Time of a run with the preset's live evaluation over that of one without, in both phases (aim ≤ 1.25)."""
    results = []
    for phase in PHASES:
        config = load_preset(preset)
        unsaved = with_value(with_value(config, "storage.checkpoint_every", 1_000_000), "device", "cpu")
        with_it = session(unsaved, phase, sizes.warm_steps)
        without = session(quiet(config), phase, sizes.warm_steps)
        on, off = interleave([repeat(each.step, sizes.steps) for each in (with_it, without)], sizes.rounds)
        results.append(Result(f"{preset}, {phase}: time with live evaluation / without", on.over(off), aim="<= 1.25"))
        with_it.close()
        without.close()
    return results
