"""The commands that train, evaluate and export a run, and list presets and knobs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.console import Console

from engine.cli.app import INTERRUPTED, Data, Device, RunFolder, app, interruptible, say
from engine.cli.options import images_at, options_of
from engine.config.assignments import assigned, parse_assignment
from engine.config.experiment import at_step, value_of, with_value, with_values
from engine.config.experiment import knobs as all_knobs
from engine.config.presets import load_preset, preset_abouts, preset_names
from engine.core import plugins
from engine.core.cores import check_threads
from engine.core.errors import ConfigError, DivergedError, ExplorerError
from engine.core.measurement import Norm
from engine.core.quoting import quote

if TYPE_CHECKING:
    from engine.run.session import Session

MOST_STEPS = 10_000_000
SET_LIVE_HELP = "key=value of a live knob, e.g. training.lr=0.1; by a schedule too; may be repeated."
SET_HELP = "key=value, e.g. attack.tau=0.1; by a schedule, e.g. training.lr=[[0,2],[500,0.5]]; may be repeated."


@app.command
def run(
    preset: Annotated[str | None, Parameter(help="A preset's name, or the path of a .toml file.")] = None,
    *,
    out: Annotated[Path, Parameter(help="The run folder: a new or empty one; with --resume an existing run.")],
    set_: Annotated[list[str] | None, Parameter(name="--set", help=SET_HELP)] = None,
    device: Device = None,
    resume: Annotated[
        bool, Parameter(help="Go on with the run in --out from its newest checkpoint.", negative="")
    ] = False,
    data: Data = None,
) -> int:
    """Train a preset through its schedule into a run folder, or resume such a run.

    Ctrl+C saves a checkpoint and leaves a run that --resume continues.
    """
    assignments = [parse_assignment(text) for text in set_ or []]
    if resume:
        if preset is not None and preset not in preset_names() and not preset.endswith(".toml"):
            known = ", ".join(preset_names())
            raise ConfigError(f"preset: got {quote(preset)}; allowed: {known} (or none with --resume)")
        return _resume(out, assignments, device, data)
    if data is not None:
        raise ConfigError("--data: allowed with --resume; for a new run: --set world.folder=FOLDER")
    if preset is None:
        raise ConfigError(f"preset: none was given; allowed: {', '.join(preset_names())}, or the path of a .toml file")
    config = load_preset(preset)
    config = with_values(config, assigned(config, assignments))
    if device is not None:
        config = with_value(config, "device", device)
    check_threads(config.threads)
    from engine import worlds

    return _train(worlds.create(config, out))


def _resume(folder: Path, assignments: list[tuple[str, str]], device: str | None, data: Path | None) -> int:
    from engine import worlds
    from engine.run.commands import SetKnob

    session = worlds.resume(folder, device, data)
    try:
        # All are judged before one is applied: what is refused changes nothing.
        for name, value in worlds.live_values(session.config, assignments).items():
            session.apply(SetKnob(name, value))
    except ConfigError:
        session.close()
        raise
    return _train(session)


@app.command
def branch(
    folder: RunFolder,
    *,
    step: Annotated[int, Parameter(help="Step of the checkpoint to go on from.")],
    out: Annotated[Path, Parameter(help="Folder of the new run: a new or empty one.")],
    set_: Annotated[list[str] | None, Parameter(name="--set", help=SET_LIVE_HELP)] = None,
    phase: Annotated[
        str | None, Parameter(help="Train with this objective from there on, e.g. adversarial: a switch by hand.")
    ] = None,
    steps: Annotated[
        int | None, Parameter(help="Steps to train, 0 for none. Default: to the end of the run's schedule.")
    ] = None,
    device: Device = None,
    data: Data = None,
) -> int:
    """Go on from a checkpoint of a run with other settings, as a new run that knows its parent.

    The parent is only read. The schedule's lengths stay the parent's: --phase switches by hand, --steps says how far.
    """
    assignments = [parse_assignment(text) for text in set_ or []]
    if steps is not None and not 0 <= steps <= MOST_STEPS:
        raise ConfigError(f"--steps: got {steps}; allowed: a whole number from 0 to {MOST_STEPS}")
    from engine import worlds

    session = worlds.branch(folder, step, out, assignments, phase=phase, device=device, data=data)
    say(f"branched from {folder} at step {step}")
    if steps is None and step >= session.config.schedule.total:
        say("the schedule has ended by then: nothing is trained; --steps says how far to go on")
    return _train(session, None if steps is None else step + steps)


def _train(session: Session, end: int | None = None) -> int:
    from engine.cli.progress import progress
    from engine.run.branch import way_out

    total = session.config.schedule.total if end is None else end
    if session.data_words:
        say(f"data: {session.data_words}")
    if not session.scheduled and end is None:
        say("the schedule was left by a switch of the phase; going on until the scheduled number of steps")
    with interruptible() as interrupted:
        try:
            with progress(total, session.steps_done) as advance:
                while session.steps_done < total and not interrupted:
                    session.step()
                    advance(session)
                while session.measuring and not interrupted:
                    session.measure()
                    advance(session)
        except DivergedError as error:
            raise ExplorerError(f"{error}. With half the learning rate from there: {way_out(error)}") from None
        except Exception as error:
            stopped_at = f"; training stopped after step {session.steps_done}, what was saved is in {session.folder}"
            if (fault := plugins.fault(error, stopped_at)) is None or isinstance(error, ExplorerError):
                raise
            raise fault from error
        finally:
            session.close()
        summary, stopped = session.summary(), bool(interrupted)
    for problem in session.problems:
        sys.stderr.write(f"warning: {problem.measurement} of step {problem.step} failed: {problem.text}\n")
    if stopped:
        sys.stderr.write(
            f"interrupted at step {session.steps_done}; go on with: "
            f"{' '.join(['python -m engine run --out', str(session.folder), '--resume', *plugins.arguments()])}\n"
        )
        return INTERRUPTED
    _report(summary)
    say(f"run folder: {session.folder}")
    return 0


def _report(summary: dict[str, Any]) -> None:
    for report in summary["reports"]:
        say(f"after {report['step']} steps ({report['phase']}):")
        for name, found in report.items():
            if not isinstance(found, dict):
                continue
            interval = f" [{found['low']:.3f}, {found['high']:.3f}]  {found['text']}" if "low" in found else ""
            say(f"  {name:<30}{found['value']:9.3f}{interval}")


@app.command
def evaluate(
    folder: RunFolder,
    *,
    radius: Annotated[
        list[float] | None, Parameter(help="Radius of the ball; may be repeated. Default: the run's attack.tau.")
    ] = None,
    attack: Annotated[
        list[str] | None,
        Parameter(
            help="Any attack that there is, such as fgm, pgd, apgd or square; may be repeated. On images also "
            "autoattack (APGD-CE, APGD-T, Square and their worst case), in the sparse-coding world also dense. "
            "Default: fgm, pgd and, where it exists, dense."
        ),
    ] = None,
    norm: Annotated[Norm | None, Parameter(help="Default: the run's attack.norm.")] = None,
    steps: Annotated[int, Parameter(help="PGD steps.")] = 40,
    restarts: Annotated[int, Parameter(help="PGD restarts; the first starts at x, the others at random.")] = 5,
    n: Annotated[int, Parameter(help="Held-out samples.")] = 1000,
    checkpoint: Annotated[int | None, Parameter(help="Step of the checkpoint. Default: the newest.")] = None,
    device: Device = "cpu",
    data: Data = None,
    json_: Annotated[bool, Parameter(name="--json", help="Print JSON.", negative="")] = False,
) -> int:
    """Print clean and robust accuracies of a run's network, each with its protocol and 95% Wilson interval."""
    for name, value, high in (("--steps", steps, 10_000), ("--restarts", restarts, 1000), ("--n", n, 1_000_000)):
        if not 1 <= value <= high:
            raise ConfigError(f"{name}: got {value}; allowed: a whole number from 1 to {high}")
    for tau in radius or []:
        if not 0 <= tau <= 100:
            raise ConfigError(f"--radius: got {tau}; allowed: a number from 0 to 100")
    from engine import worlds

    network = worlds.load(folder, checkpoint, device or "cpu")
    knobs = network.config.attack
    radii = radius or [knobs.tau]
    with worlds.images_at(folder, data):
        rows = network.accuracies(attack or network.ATTACKS, norm or knobs.norm, radii, steps, restarts, n)
    if json_:
        figures = [
            {**r.figure, "attack": r.protocol.attack, "norm": r.protocol.norm, "tau": r.protocol.tau} for r in rows
        ]
        found = {"run": network.run, "step": network.step, "phase": network.phase, "figures": figures}
        if (known := network.config.imported) is not None:
            found["imported"] = known.model_dump(exclude_none=True)
        say(json.dumps(found, indent=1))
        return 0
    say(f"{network.folder}: step {network.step}, phase {network.phase}, run {network.run}")
    if (imported := network.config.imported) is not None:
        say(f"  {imported.words()}")
    for row in rows:
        f = row.figure
        say(f"  {f['value']:.3f} [{f['low']:.3f}, {f['high']:.3f}]  {f['text']}")
    return 0


@app.command
def export(
    folder: RunFolder,
    *,
    view: Annotated[
        list[str] | None,
        Parameter(help="A view of the run, e.g. neurons, filters, robustness; or all. May be repeated."),
    ] = None,
    out: Annotated[Path, Parameter(help="Folder to write to; made if it is not there.")],
    checkpoint: Annotated[int | None, Parameter(help="Step of the checkpoint. Default: the newest.")] = None,
    format_: Annotated[
        list[Literal["png", "svg", "pdf", "tensorboard"]] | None,
        Parameter(
            name="--format",
            help="May be repeated. Default: png, svg and pdf. tensorboard (extra tensorboard) writes all scalars as an "
            "event file and needs no view.",
        ),
    ] = None,
    width: Annotated[float, Parameter(help="Width in inches; 3.25 is one column, 6.75 two.")] = 6.75,
    option: Annotated[
        list[str] | None,
        Parameter(
            help="view.name=value, e.g. neurons.sort=norm, or name=value for every view that has it; may be repeated."
        ),
    ] = None,
    data: Data = None,
) -> int:
    """Write views of a run as figures, with the plotted data, captions and a recipe; or its scalars for TensorBoard.

    All views are drawn from one checkpoint. Those that fail are named at the end; the others are written. The folder of
    a sweep has one view, sweep.
    """
    from engine.cli.studies import ProgressLines
    from engine.figures.export import export as write
    from engine.run.event_file import FORMAT_NAME, write_event_file
    from engine.sweeps.record import is_sweep

    if "sweep" in (view or ()) or is_sweep(folder):
        return _export_sweep(folder, view or [], out, checkpoint, format_, width, option, data)
    drawn = tuple(each for each in format_ or ("png", "svg", "pdf") if each != FORMAT_NAME)
    if not view and drawn:
        raise ConfigError("--view: none was given; allowed: a view of the run, or all")
    if view and not drawn:
        raise ConfigError(f"--view: got {quote(view[0])}; allowed with --format {FORMAT_NAME} alone: none")
    if FORMAT_NAME in (format_ or ()):
        say(f"scalars: {write_event_file(folder, out)}")
    if not view:
        return 0
    with images_at(folder, data):
        write(
            folder,
            "all" if "all" in view else view,
            out,
            formats=drawn,
            step=checkpoint,
            options=options_of(option or []),
            width=width,
            progress=ProgressLines(),
        )
    return 0


def _export_sweep(
    folder: Path, views: list[str], out: Path, checkpoint: int | None, formats: list[Any] | None, width: float,
    option: list[str] | None, data: Path | None,
) -> int:  # fmt: skip
    """The same of a sweep's folder."""
    from engine.cli.studies import ProgressLines
    from engine.compare.sweeps.export import export_sweep

    if given := "checkpoint" if checkpoint is not None else "data" if data is not None else "":
        raise ConfigError(f"--{given}: is for the folder of a run; allowed: leaving it out, {folder} is a sweep")
    export_sweep(
        folder, "all" if "all" in views else views, out, formats=tuple(formats or ("png", "svg", "pdf")),
        options=options_of(option or []), width=width, progress=ProgressLines(),
    )  # fmt: skip
    return 0


@app.command
def presets() -> int:
    """List the presets: the question that each answers, what to expect, how long it takes, what the paper says."""
    console = Console()
    for name, about in preset_abouts().items():
        console.print(f"[bold]{name}[/]  {about.question}\n    {about.expect} ({about.time})")
        if about.claim:
            console.print(f"    The paper: {about.claim}", highlight=False)
    return 0


@app.command
def knobs(preset: Annotated[str, Parameter(help="Show this preset's values.")] = "small") -> int:
    """List every knob: value at the start, allowed values, whether it is live, what it means, and its schedule."""
    console = Console()
    config = at_step(load_preset(preset), 0)
    for knob in all_knobs(config):
        if knob.group == "about":
            continue
        unit = f" {knob.unit}" if knob.unit else ""
        when, curve = "live" if knob.live else "restarts", config.schedule.curve(knob.path)
        console.print(f"[bold]{knob.path}[/] = {value_of(config, knob.path)}{unit}  [dim]{when}; {knob.allowed}[/]")
        console.print(f"    {knob.doc}", highlight=False)
        if curve is not None:
            console.print(f"    By schedule: {curve}", highlight=False, markup=False, soft_wrap=True)
    return 0
