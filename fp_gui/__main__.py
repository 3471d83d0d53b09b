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
from engine.core.errors import ExplorerError  # noqa: E402
from fp_gui.runs import new_run_folder, resolve_start  # noqa: E402

if TYPE_CHECKING:
    from engine.config.experiment import Config

OFFSCREEN = ("offscreen", "minimal", "vnc")  # Qt platforms that need no screen


def main(argv: list[str] | None = None) -> int:
    """Run the explorer; returns the exit code. Bad arguments are answered before torch or Qt are imported."""
    try:
        return _main(argv)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def _main(argv: list[str] | None) -> int:
    args = _parser().parse_args(argv)
    try:
        label, config, folder = resolve_start(args.start)
    except ExplorerError as error:
        sys.stderr.write(f"fp-gui: {error}\n")
        return 2
    if not has_screen():
        return run_headless(args.start, label, folder, args.device)
    return _run_window(label, config, folder, args)


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
    parser.add_argument("--autoplay", action="store_true", help="start training at once")
    parser.add_argument(
        "--theme", choices=("system", "light", "dark"), help="colours (default: as chosen last, at first the system's)"
    )
    return parser


def has_screen() -> bool:
    """Whether a window can open: always assumed but on Linux and other X11 or Wayland systems without a display."""
    if sys.platform in ("win32", "darwin"):
        return True
    platform = os.environ.get("QT_QPA_PLATFORM", "").partition(":")[0]
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")) or platform in OFFSCREEN


def run_headless(start: str, label: str, folder: Path | None, device: str | None) -> int:
    """Train ``start`` without a window and draw every figure; a run folder is only drawn. Returns the exit code."""
    out = folder or new_run_folder(Path("runs"), label)
    sys.stdout.write(f"fp-gui: no display (DISPLAY, WAYLAND_DISPLAY unset): running without a window into {out}\n")
    sys.stdout.flush()
    engine = [sys.executable, "-m", "engine"]
    if folder is None:
        train = [*engine, "run", start, "--out", str(out)]
        if device is not None:
            train += ["--device", device]
        code = run_child(train)
        if code != 0:
            return code
    draw = [*engine, "export", str(out), "--view", "all", "--out", str(out / "figures")]
    return run_child(draw)


def _run_window(label: str, config: Config, folder: Path | None, args: argparse.Namespace) -> int:
    # torch before PySide6: in the other order their OpenMP and C++ runtimes can clash on some systems.
    import torch  # noqa: F401

    from fp_gui.app import run_app

    return run_app(label, config, folder, device=args.device, autoplay=args.autoplay, theme=args.theme)


if __name__ == "__main__":
    sys.exit(main())
