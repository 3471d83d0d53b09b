"""Output never ends a program: whatever its encoding, closed, missing, full, or no longer read."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.programs import ENGINE, ROOT, WINDOW, environment, one_line, program

SHELL = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


def shell(line: str, *, env: dict[str, str] | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[bytes]:
    """Run ``line`` with ``$engine`` and ``$window`` as the programs."""
    given = (env or environment()) | {
        "engine": f"{sys.executable} -m {ENGINE}",
        "window": f"{sys.executable} -m {WINDOW}",
    }
    return subprocess.run(["bash", "-c", line], env=given, cwd=cwd, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1:strict"])
def test_any_encoding_does(encoding: str) -> None:
    done = program(ENGINE, "knobs", env=environment(PYTHONIOENCODING=encoding))
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode(encoding.partition(":")[0])
    assert "attack.tau = 0.2" in text
    assert "\\u2016" in text  # ‖, as what it is


def test_the_locale_c_without_utf8_does() -> None:
    done = program(ENGINE, "knobs", env=environment(PYTHONUTF8="0", PYTHONCOERCECLOCALE="0", LC_ALL="C"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"attack.tau = 0.2" in done.stdout


@SHELL
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_are_no_error(closed: str) -> None:
    done = shell(f"$engine presets {closed}")
    assert done.returncode == 0
    assert done.stderr == b""
    assert shell(f"$engine knobs nothing {closed}").returncode == 2


@SHELL
def test_a_file_that_is_opened_later_does_not_become_stderr(tmp_path: Path) -> None:
    code = (
        "from engine.core import streams; streams.prepare(); import os, sys; f = open('late', 'w'); "
        "sys.stderr.write('lost'); os.write(2, b'lost too'); f.write('kept'); f.close()"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(
        ["bash", "-c", 'exec "$@" 2>&- >&- <&-', "bash", *line],
        cwd=tmp_path,
        env=environment(),
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "late").read_text() == "kept"


@SHELL
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_error(unbuffered: str) -> None:
    done = shell("$engine knobs | head -1; exit ${PIPESTATUS[0]}", env=environment(PYTHONUNBUFFERED=unbuffered))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"seed = 0")
    assert done.stdout.count(b"\n") == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_that_cannot_be_kept_is_said() -> None:
    for arguments in (["knobs"], ["--help"]):
        assert "standard output" in one_line(shell(f"$engine {arguments[0]} > /dev/full"), 1)
    assert shell("$engine presets > /dev/full 2>&1").returncode == 1


@SHELL
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&- <&-"])
def test_the_window_opens_and_closes_without_streams(closed: str, tmp_path: Path) -> None:
    env = environment(QT_QPA_PLATFORM="offscreen", FP_RUNS=str(tmp_path), QT_LOGGING_RULES="qt.core.plugin.*=true")
    line = f'exec "{sys.executable}" -m fp_gui small {closed}'
    process = subprocess.Popen(["bash", "-c", line], env=env, cwd=tmp_path)
    try:
        end = time.monotonic() + 60
        while not list(tmp_path.glob("*/config.json")) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert process.poll() is None
        assert list(tmp_path.glob("*/config.json"))
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 130  # interrupted, and all is saved
    finally:
        process.kill()
        process.wait()
