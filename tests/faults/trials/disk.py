"""A disk that is full, at many sizes: one line, exit 1, and nothing missing once there is room again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.faults.trials import base
from tests.faults.trials.processes import Verdict, Whole


def mountable(folder: Path) -> bool:
    """Whether this process may make a small file system of its own."""
    place = folder / "may-i-mount"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True).returncode:
        return False
    subprocess.run(["umount", place], check=True, capture_output=True)
    return True


def full(runs: list[Whole], sizes: int, folder: Path) -> Iterator[Verdict]:
    """The run in a file system of each of ``sizes`` sizes, from a few pages to nearly what it needs."""
    for number in range(sizes):
        whole = runs[number % len(runs)]
        need = sum(p.stat().st_size for p in (whole.preset.parent / "whole").rglob("*") if p.is_file())
        kilobytes = max(8, round(need / 1024 * (number + 0.5) / sizes))
        home = folder / f"disk-{number}"
        home.mkdir()
        yield f"full disk, {kilobytes} kB of {need // 1024} kB, {whole.name}", _fill(whole, home, kilobytes)


def _fill(whole: Whole, home: Path, kilobytes: int) -> str | None:
    place = home / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", place], check=True)
    try:
        out = place / "run"
        ended = base.command(home, "run", whole.preset, "--out", out)
        if ended.traceback or ended.code not in (0, 1):
            return f"exit {ended.code}: {ended.text.strip()[-400:]}"
        if ended.code == 1 and not ended.text.strip():
            return "exit 1 without a word"
        subprocess.run(["mount", "-o", "remount,size=1g", place], check=True)
        again = ("--out", out, "--resume") if (out / "config.json").exists() else (whole.preset, "--out", out)
        ended = base.command(home, "run", *again)
        if ended.code != 0 or ended.traceback:
            return f"with room again, exit {ended.code}: {ended.text.strip()[-400:]}"
        return base.difference(out, whole.record, whole.protocols)
    finally:
        subprocess.run(["umount", "-l", place], check=True)
