"""``python -m fp_gui [PRESET | RUN_DIR]``: the window, or the same run without one where there is no screen."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.core.signals import INTERRUPTED, quiet_imports, run_child

quiet_imports()  # before the rest, which takes its time

from engine.config.presets import preset_names  # noqa: E402
from engine.core import plugins, streams  # noqa: E402
from engine.core.errors import ExplorerError  # noqa: E402
from engine.core.folders import runs_root  # noqa: E402
from engine.core.isolation import child_environment  # noqa: E402
from engine.core.quoting import escaped  # noqa: E402
from fp_gui import screen  # noqa: E402
from fp_gui.runs import new_run_folder, resolve_start  # noqa: E402

if TYPE_CHECKING:
    from engine.config.experiment import Config


def main(argv: list[str] | None = None) -> int:
    """Run the explorer; returns the exit code. Bad arguments are answered before torch or Qt are imported."""
    streams.prepare()
    try:
        return _main(argv)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def _main(argv: list[str] | None) -> int:
    args = _parser().parse_args(argv)
    try:
        code = _run(args)
    except ExplorerError as error:
        code = _fail(escaped(str(error)), 2)
    return streams.finish(code)


def _run(args: argparse.Namespace) -> int:
    if args.plugin:
        import torch

        plugins.load_all(args.plugin)
    label, config, folder = resolve_start(args.start)
    if args.watch and folder is None:
        return _fail(f"--watch: got {escaped(args.start)}; allowed: the folder of a run", 2)
    if args.watch and args.autoplay:
        return _fail("--autoplay: not with --watch: a run that is watched is trained elsewhere", 2)
    why = screen.obstacle()
    if why:
        return run_headless(args.start, label, folder, args.device, why)
    if wrong := screen.unknown_platform():
        return _fail(wrong, 2)
    runs_root()  # raises where there is no place for runs
    # torch before PySide6: in the other order their OpenMP and C++ runtimes can clash on some systems.
    import torch  # noqa: F401

    if lacking := screen.lacking_library():
        return run_headless(args.start, label, folder, args.device, lacking)
    return _run_window(label, config, folder, args)


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"fp-gui: {message}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fp-gui",
        description="Watch a ReLU network learn, become fragile under attack, and purify under adversarial training.",
    )
    parser.add_argument(
        "start",
        nargs="?",
        default="small",
        metavar="PRESET | RUN_DIR",
        help=f"a preset ({', '.join(preset_names())}), a .toml file, or the folder of an earlier run (default: small)",
    )
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), help="where the tensors live (default: the preset's choice)"
    )
    parser.add_argument(
        "--watch", action="store_true", help="follow the run in RUN_DIR while another process trains it; only read it"
    )
    parser.add_argument("--autoplay", action="store_true", help="start training at once")
    parser.add_argument(
        "--theme", choices=("system", "light", "dark"), help="colours (default: as chosen last, at first the system's)"
    )
    parser.add_argument(
        "--plugin", action="append", default=[], metavar="FILE.py | NAME",
        help="load networks, data sets, attacks, objectives, probes, views or studies of one's own; may be repeated",
    )  # fmt: skip
    return parser


def run_headless(start: str, label: str, folder: Path | None, device: str | None, why: str) -> int:
    """Train ``start`` without a window and draw every figure; a run folder is only drawn. Returns the exit code.

    ``why`` says what keeps a window from opening.
    """
    out = folder or new_run_folder(Path("runs"), label)
    sys.stdout.write(f"fp-gui: no display ({escaped(why)}): running without a window into {out}\n")
    sys.stdout.flush()
    engine, environment = [sys.executable, "-m", "engine"], child_environment(os.environ)
    if folder is None:
        train = [*engine, "run", start, "--out", str(out), *plugins.arguments()]
        if device is not None:
            train += ["--device", device]
        code = run_child(train, environment)
        if code != 0:
            return code
    draw = [*engine, "export", str(out), "--view", "all", "--out", str(out / "figures"), *plugins.arguments()]
    return run_child(draw, environment)


def _run_window(label: str, config: Config, folder: Path | None, args: argparse.Namespace) -> int:
    from fp_gui.app import run_app

    return run_app(
        label, config, folder, device=args.device, autoplay=args.autoplay, theme=args.theme, watch=args.watch
    )


if __name__ == "__main__":
    sys.exit(main())
