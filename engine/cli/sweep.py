"""The command that trains a preset over values of knobs and over seeds, several runs at a time."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from engine.cli.app import INTERRUPTED, Device, app, interruptible, say
from engine.cli.run import SET_HELP
from engine.cli.studies import ProgressLines
from engine.config.assignments import parse_assignment
from engine.config.presets import preset_names
from engine.core.errors import ConfigError, StoreError
from engine.core.files import absolute
from engine.core.quoting import plain
from engine.core.streams import reader_gone
from engine.sweeps.cluster import RayCluster, check_devices
from engine.sweeps.estimate import in_words, seconds_of, seconds_together
from engine.sweeps.executor import After, Executor
from engine.sweeps.planning import plan, read_grid, read_seeds, replan
from engine.sweeps.pool import LocalPool, jobs_to_use
from engine.sweeps.record import RESULTS, Sweep, is_sweep, read_sweep, text_of
from engine.sweeps.results import SweepResults, results
from engine.sweeps.runner import DONE, Listener, SweepProgress, SweepRunner, check_new

VERIFY: After = ("engine.studies.questions.claims:claims_of", {"verify": True})
PLAIN_EVERY = 5.0  # seconds between two lines without a terminal
LINES_EVERY = 0.5  # seconds between two for a program
GRID_HELP = "knob=value,value,…, e.g. attack.tau=0.05,0.1,0.2; may be repeated: every combination is a run."


@app.command
def sweep(
    preset: Annotated[str | None, Parameter(help="A preset's name, or the path of a .toml file.")] = None,
    *,
    out: Annotated[Path, Parameter(help="The sweep's folder: a new or empty one; with --resume an existing sweep.")],
    grid: Annotated[list[str] | None, Parameter(help=GRID_HELP)] = None,
    seeds: Annotated[str | None, Parameter(help="Seeds, e.g. 0-4 or 0,2,5. Default: the preset's one.")] = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", help=SET_HELP)] = None,
    jobs: Annotated[int | None, Parameter(help="Runs at a time. Default: one a core, fewer without memory.")] = None,
    device: Device = None,
    address: Annotated[str | None, Parameter(help="Train on a Ray cluster: auto, or its HOST:PORT.")] = None,
    gpus: Annotated[float | None, Parameter(help="GPUs of the cluster for each run, e.g. 0.25. Default: none.")] = None,
    dry_run: Annotated[
        bool, Parameter(help="List the runs and the time that they will take; train nothing.", negative="")
    ] = False,
    verify: Annotated[
        bool, Parameter(help="After training, measure the slow figures of each run and decide its claims.", negative="")
    ] = False,
    resume: Annotated[
        bool, Parameter(help="Go on with the sweep in --out; more values and seeds may be given.", negative="")
    ] = False,
    progress: Annotated[
        bool, Parameter(help="Say how far it is in lines on stdout, for a program to read.", negative="")
    ] = False,
) -> int:
    """Train a preset with every combination of values of knobs and seeds, several runs at a time.

    Each is an ordinary run folder below OUT/runs; OUT/results.csv has a row for each. A run that fails or diverges is
    a row with its reason; the others go on. Ctrl+C saves all of them for --resume.
    """
    folder = absolute(out)
    planned = _planned(folder, preset, grid, seeds, set_, device, verify=verify, resume=resume)
    threads = max(planned.config_of(run).threads for run in planned.runs)
    with closing(_executor(folder, planned, threads, jobs, address, gpus)) as executor:
        if dry_run:
            done = {row.name for row in results(folder).rows if row.state in DONE} if resume else set()
            left = tuple(run for run in planned.runs if run.name not in done)
            _list(planned.model_copy(update={"runs": left}), min(executor.jobs, len(planned.runs)))
            return 0
        begin = SweepRunner.resume if resume else SweepRunner.create
        with _lines() if progress else _progress(len(planned.runs)) as listener:
            runner = begin(folder, planned, executor, after=VERIFY if planned.verify else None, listener=listener)
            try:
                with interruptible(runner.cancel) as interrupted:
                    runner.run()
            except BaseException:
                executor.kill()
                raise
            finally:
                runner.close()
    return _report(runner.found, stopped=bool(interrupted))


def _executor(
    folder: Path, planned: Sweep, threads: int, jobs: int | None, address: str | None, gpus: float | None
) -> Executor:
    if address is None:
        if gpus is not None:
            raise ConfigError(f"--gpus: got {gpus:g} without --address; allowed: on a Ray cluster alone")
        return LocalPool(jobs_to_use(jobs, len(planned.runs), threads))
    check_devices({planned.config_of(run).device for run in planned.runs}, gpus or 0.0)
    return RayCluster(address, folder, jobs, threads, gpus or 0.0)


def _planned(
    folder: Path,
    preset: str | None,
    grid: list[str] | None,
    seeds: str | None,
    set_: list[str] | None,
    device: str | None,
    *,
    verify: bool,
    resume: bool,
) -> Sweep:
    axes = None if grid is None else read_grid(grid)
    chosen = None if seeds is None else read_seeds(seeds)
    settings = None if set_ is None and device is None else [parse_assignment(text) for text in set_ or []]
    if settings is not None and device is not None:
        settings.append(("device", device))
    if resume:
        if not is_sweep(folder):
            raise StoreError(f"--out: {plain(str(folder))} holds no sweep to go on with")
        old = read_sweep(folder)
        if settings is not None and set_ is None:
            kept = ((path, text_of(value)) for path, value in old.settings.items() if path != "device")
            settings = [*kept, *settings]
        return replan(old, preset, axes, chosen, settings, verify=verify)
    if preset is None:
        raise ConfigError(f"preset: none was given; allowed: {', '.join(preset_names())}, or the path of a .toml file")
    if axes is None and chosen is None:
        raise ConfigError("--grid: none was given, and no --seeds; allowed: either or both, e.g. --seeds 0-4")
    planned = plan(preset, axes or {}, chosen, settings or (), verify=verify)
    check_new(folder)
    return planned


def _list(planned: Sweep, jobs: int) -> None:
    for run in planned.runs:
        seconds = seconds_of(planned, run)
        say(f"{run.name}{'' if seconds is None else f'  ({in_words(seconds)})'}")
    count = f"{len(planned.runs)} run{'s' if len(planned.runs) != 1 else ''}"
    together = seconds_together(planned, jobs)
    time_ = "a time that the preset does not say" if together is None else f"{in_words(together)} (estimated)"
    more = ", and their verification beside that" if planned.verify else ""
    say(f"{count}, {jobs} at a time: {time_}{more}")


@contextmanager
def _progress(total: int) -> Iterator[Listener]:
    """A bar on a terminal, a line for each run that ends and one now and then where there is none; on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        last = time.monotonic()

        def line(progress: SweepProgress) -> None:
            nonlocal last
            for name, state, reason in progress.ended:
                sys.stderr.write(f"{state} {name}{': ' + plain(reason) if reason else ''}\n")
            if progress.ended or time.monotonic() - last >= PLAIN_EVERY:
                last = time.monotonic()
                sys.stderr.write(f"{_words(progress)}\n")
            sys.stderr.flush()

        yield line
        return
    with Progress(
        TextColumn("sweep"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[words]}"),
        TimeElapsedColumn(), console=console,
    ) as bar:  # fmt: skip
        task = bar.add_task("", total=total, words="")

        def show(progress: SweepProgress) -> None:
            for name, state, reason in progress.ended:
                if state != "finished":
                    console.print(f"{state} {name}: {plain(reason)}", markup=False, highlight=False)
            bar.update(task, completed=progress.counts.get("finished", 0) + progress.failed, words=_words(progress))

        yield show


@contextmanager
def _lines() -> Iterator[Listener]:
    """Lines ``progress SHARE WORDS`` as of the other slow commands, the share that of the work of all runs.

    Whoever reads them may end, a window that is killed: the sweep is then interrupted as by Ctrl+C.
    """
    line, last, alone = ProgressLines(), 0.0, False

    def show(progress: SweepProgress) -> None:
        nonlocal last, alone
        if not alone and reader_gone():
            alone = True
            signal.raise_signal(signal.SIGTERM)  # SIGINT may be ignored
        if progress.ended or time.monotonic() - last >= LINES_EVERY:
            last = time.monotonic()
            done = progress.counts.get("finished", 0) + progress.failed
            done_in_part = sum(run.share for run in progress.running.values())
            line((done + done_in_part) / max(1, progress.total), _words(progress))

    yield show


def _words(progress: SweepProgress) -> str:
    done = f"{progress.counts.get('finished', 0)}/{progress.total} runs done"
    eta = "" if progress.eta is None or progress.activity != "running" else f", ETA {in_words(progress.eta)}"
    return f"{done}, {len(progress.running)} running, {progress.failed} failed{eta}"


def _report(found: SweepResults, *, stopped: bool) -> int:
    """Say how the sweep stands; returns the exit code."""
    say(", ".join(f"{count} {state}" for state, count in found.counts().items()))
    for row in found.rows:
        if row.state in ("failed", "diverged"):
            say(f"  {row.state} {row.name}: {plain(row.reason)}")
    say(f"results: {found.folder / RESULTS}")
    finished = all(row.state == "finished" for row in found.rows)
    if stopped and not finished:
        sys.stderr.write(f"interrupted; go on with: python -m engine sweep --out {found.folder} --resume\n")
        return INTERRUPTED
    return 0 if finished else 1
