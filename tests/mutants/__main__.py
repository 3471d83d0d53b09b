"""Put each fault of the table into a copy of the tree, run its tests there, and print which were caught."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.mutants.table import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
PARTS = ("engine", "fp_gui", "resources", "tests", "pyproject.toml")
OURS = ("engine", "fp_gui", "resources", "tests")
# Imported only once, by the parent: each child throws away what is ours and keeps the libraries that it brought along.
HEAVY = ("hypothesis", "sklearn.datasets", "pytest", "engine.worlds", "engine.cli.main", "fp_gui.main_window")
LIMIT = 300  # seconds for the tests of one fault; a test that hangs has noticed it
IMPORTED = "ignore::pytest.PytestAssertRewriteWarning"  # of what is imported already
CAUGHT, MISSED = "caught", "MISSED"


def copy(to: Path) -> None:
    """The tree, with times as they are, so that what was compiled is known to be of these files."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, to / part)
        else:
            shutil.copy2(ROOT / part, to / part)


def run(tree: Path, tests: Sequence[str]) -> int:
    """Begin to run ``tests`` in ``tree``, in a child that begins with what is heavy imported already; its process."""
    child = os.fork()
    if child:
        return child
    code = 70
    with suppress(BaseException):
        os.setpgid(0, 0)  # so that what the tests start ends with them
        quiet = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(quiet, number)
        os.chdir(tree)
        os.environ |= {"PYTHONPATH": str(tree), "QT_QPA_PLATFORM": "offscreen", "CI": "1"}
        sys.dont_write_bytecode = True
        sys.path[:] = [str(tree), *(p for p in sys.path if p and Path(p).resolve() != ROOT)]
        for name in [name for name in sys.modules if name.partition(".")[0] in OURS]:
            del sys.modules[name]
        pytest = importlib.import_module("pytest")
        code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-W", IMPORTED, *tests]))
    os._exit(code)


@dataclass
class Trial:
    """A fault that is in a tree, and the process that runs its tests; without a fault it sees that they pass."""

    tests: tuple[str, ...]
    mutant: Mutant | None
    tree: Path
    begin: float = field(default_factory=time.monotonic)
    child: int = 0
    text: bytes = b""
    times: tuple[int, int] = (0, 0)

    @property
    def file(self) -> Path:
        """The file that holds the fault."""
        assert self.mutant is not None
        return self.tree / self.mutant.file

    def start(self) -> None:
        """Put the fault in and begin."""
        if self.mutant is not None:
            found = self.file.stat()
            self.text, self.times = self.file.read_bytes(), (found.st_atime_ns, found.st_mtime_ns)
            self.file.write_bytes(self.text.replace(self.mutant.old.encode(), self.mutant.new.encode()))
        self.child = run(self.tree, self.tests)

    def ended(self) -> str | None:
        """What came of it, and the fault is out again; None while it runs."""
        done, status = os.waitpid(self.child, os.WNOHANG)
        late = time.monotonic() - self.begin > LIMIT
        if not done and not late:
            return None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child, signal.SIGKILL)
        if not done:
            os.waitpid(self.child, 0)
        if self.mutant is not None:
            self.file.write_bytes(self.text)
            os.utime(self.file, ns=self.times)
        code = 1 if late else os.waitstatus_to_exitcode(status)
        if code < 0:
            return CAUGHT  # a crash is noticed, too
        return {0: MISSED, 1: CAUGHT}.get(code, f"pytest ended with {code}")


def try_all(trials: Sequence[tuple[tuple[str, ...], Mutant | None]], jobs: int) -> dict[str, int]:
    """Run all in ``jobs`` copies of the tree at once, print each as it ends, and count what came of them."""
    counts: dict[str, int] = {}
    waiting, running = list(reversed(trials)), list[Trial]()
    with tempfile.TemporaryDirectory() as folder:
        trees = [Path(folder) / str(job) for job in range(jobs)]
        for tree in trees:
            tree.mkdir()
            copy(tree)
        try:
            while waiting or running:
                while waiting and trees:
                    running.append(Trial(*waiting.pop(), trees.pop()))
                    running[-1].start()
                time.sleep(0.05)
                for trial in [*running]:
                    found = trial.ended()
                    if found is not None:
                        running.remove(trial)
                        trees.append(trial.tree)
                        counts[found] = counts.get(found, 0) + 1
                        sys.stdout.write(f"{found:<7} {time.monotonic() - trial.begin:5.1f} s  {words(trial)}\n")
                        sys.stdout.flush()
        finally:
            for trial in running:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(trial.child, signal.SIGKILL)
    return counts


def words(trial: Trial) -> str:
    """What was tried, in a line."""
    if trial.mutant is None:
        return "nothing changed: " + " ".join(trial.tests)
    return " ".join(f"{trial.mutant.file}: {trial.mutant.old} → {trial.mutant.new or '(nothing)'}".split())


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each fault and the count; 0 if at least nine of ten were caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="TEXT", help="only faults whose file or text holds one of these")
    parser.add_argument("-j", "--jobs", type=int, default=2, help="copies of the tree to work in at once (default: 2)")
    parser.add_argument("--sound", action="store_true", help="see instead that all the tests pass without any fault")
    chosen = parser.parse_args(argv)
    mutants = [m for m in MUTANTS if not chosen.only or any(text in m.file + m.old for text in chosen.only)]
    os.environ["QT_QPA_PLATFORM"], os.environ["PYQTGRAPH_QT_LIB"] = "offscreen", "PySide6"
    for name in HEAVY:
        importlib.import_module(name)
    if chosen.sound:
        counts = try_all([(tests, None) for tests in dict.fromkeys(m.tests for m in mutants)], chosen.jobs)
        return 0 if set(counts) == {MISSED} else 1
    counts = try_all([(m.tests, m) for m in mutants], chosen.jobs)
    caught = counts.get(CAUGHT, 0)
    sys.stdout.write(f"{caught} of {len(mutants)} caught\n")
    return 0 if caught >= 0.9 * len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main())
