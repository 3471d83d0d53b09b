"""What the scheduler of live probes keeps, forgets and does in turn, on probes that only count."""

from __future__ import annotations

from collections.abc import Generator

from engine.run.live import ProbeTask
from engine.run.scheduler import Scheduler


class Counted:
    """A probe of three slices that shows its second one; its result says for what and for the how-many-th time."""

    def __init__(self) -> None:
        self.key, self.begun = "a", 0
        self.slices: list[str] = []
        self.failures: list[Exception] = []

    def present(self) -> ProbeTask[str]:
        key = self.key

        def begin() -> Generator[str | None, None, str]:
            self.begun += 1
            self.slices.append("first")
            yield None
            self.slices.append("second")
            yield f"part of {key}"
            return f"{key} {self.begun}"

        return ProbeTask(key, begin)


def ask(scheduler: Scheduler, probe: Counted, kind: type = str) -> object:
    return scheduler.ask(kind, probe.present, probe.failures.append)


def test_a_part_is_shown_until_the_whole_is_there_and_nothing_is_measured_twice() -> None:
    scheduler, probe = Scheduler(), Counted()
    assert ask(scheduler, probe) is None
    seen = []
    while scheduler.behind:
        scheduler.slice()
        seen.append(ask(scheduler, probe))
    assert seen == [None, "part of a", "a 1"]
    scheduler.slice()
    assert (probe.begun, ask(scheduler, probe)) == (1, "a 1")


def test_what_has_changed_is_measured_again_and_the_old_stays_until_then() -> None:
    scheduler, probe = Scheduler(), Counted()
    ask(scheduler, probe)
    scheduler.slice()
    probe.key = "b"  # while a is under way: that is finished first, as what it is
    for expected in ("part of a", "a 1", "a 1", "part of b", "b 2"):
        assert scheduler.behind
        scheduler.slice()
        assert ask(scheduler, probe) == expected
    assert not scheduler.behind


def test_what_is_dropped_is_forgotten_and_measured_anew() -> None:
    scheduler, probe = Scheduler(), Counted()
    ask(scheduler, probe)
    for _ in range(3):
        scheduler.slice()
    assert ask(scheduler, probe) == "a 1"
    scheduler.drop(str)
    assert ask(scheduler, probe) is None
    scheduler.slice()
    scheduler.drop(str)  # under way, too
    assert ask(scheduler, probe) is None
    for _ in range(3):
        scheduler.slice()
    assert ask(scheduler, probe) == "a 3"


def test_several_probes_take_turns() -> None:
    scheduler, one, other = Scheduler(), Counted(), Counted()
    for probe, kind in ((one, str), (other, int)):
        ask(scheduler, probe, kind)
    for _ in range(2):
        scheduler.slice()
    assert (one.slices, other.slices) == (["first"], ["first"])
    for _ in range(4):
        scheduler.slice()
    assert (ask(scheduler, one, str), ask(scheduler, other, int)) == ("a 1", "a 1")
    assert not scheduler.behind
