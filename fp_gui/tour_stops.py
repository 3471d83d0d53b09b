"""The stops of the tour: what each points at, what it says, and how it sees that it was done.

A stop reads the window; all that it changes is which panel is in front, and the first pause. What it says is for
somebody who has not read the paper.
"""

from __future__ import annotations

from typing import ClassVar

from PySide6.QtWidgets import QWidget

from engine.config.experiment import IMAGES
from engine.run.snapshot import Snapshot
from fp_gui.fields import show
from fp_gui.parts.timeline import Timeline
from fp_gui.shell import Shell
from fp_gui.tour import reachable
from fp_gui.tour_accuracies import fallen, points, recovered, switched
from fp_gui.undo import KnobChange
from fp_gui.views.gallery_view import GalleryView

KNOB, OTHER = "attack.tau", "training.lr"  # the live one that is changed; if a run has none such, the other


class Stop:
    """One stop in ``window``; :meth:`done` says in a sentence what was done, empty: not yet."""

    title: ClassVar[str]
    keeps_keys: ClassVar[bool] = False  # the keys go to what it points at, and not to the card

    def __init__(self, window: Shell) -> None:
        self.window = window

    @property
    def snapshot(self) -> Snapshot | None:
        """What the window shows."""
        return self.window.controller.last

    @property
    def images(self) -> bool:
        """Whether the run is one of images."""
        run = self.window.controller.run
        return run is not None and run.config.kind == IMAGES

    @property
    def inputs(self) -> str:
        """What the network classifies, in the plural."""
        return "images" if self.images else "inputs"

    def arrive(self) -> None:
        """The stop is reached, from either side: bring what it points at, remember how things stand."""

    def text(self) -> str:
        """What there is to do or to see."""
        raise NotImplementedError

    def note(self) -> str:
        """How it stands; empty for nothing."""
        return ""

    def targets(self) -> list[QWidget]:
        """What stays bright."""
        return []

    def done(self) -> str:
        """What was done."""
        return ""

    def leave(self) -> None:
        """Another stop is next."""

    def bring(self, panel: str) -> None:
        """Bring a panel to the front."""
        self.window.panels.bring(panel)

    def running(self) -> list[QWidget]:
        """The button that lets the training go on, while it rests."""
        return [] if self.window.controller.playing else [self.window.toolbar.play]

    def adversarial(self) -> QWidget:
        """The button that switches."""
        return reachable(self.window.toolbar.objectives["adversarial"], self.window.toolbar.more)

    def accuracies(self) -> str:
        """The newest ones, in words."""
        found = points(self.snapshot) if self.snapshot is not None else []
        if not found:
            return ""
        step, clean, attacked = found[-1]
        return f"Step {step:,}: {clean:.0%} right, {attacked:.0%} under attack."


class Play(Stop):
    """Training begins."""

    title = "Let it learn"

    def text(self) -> str:
        """See :class:`Stop`."""
        return (
            "Press Play, or the space bar: a small neural network begins to learn, and every panel follows it live. "
            "Everything stays usable during this tour."
        )

    def targets(self) -> list[QWidget]:
        """See :class:`Stop`."""
        return [self.window.toolbar.play]

    def done(self) -> str:
        """See :class:`Stop`."""
        return "It learns." if self.window.controller.playing else ""


class Fall(Stop):
    """Clean training makes a network that is right, and easily fooled."""

    title = "Right, but easily fooled"

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self._pauses = False

    def arrive(self) -> None:
        """See :class:`Stop`. A run that has been here before is not stopped once more."""
        self.bring("robustness")
        self._pauses = self.snapshot is not None and fallen(self.snapshot) is None

    def text(self) -> str:
        """See :class:`Stop`."""
        run = self.window.controller.run
        radius = f" (at most {show(run.config.attack.tau)})" if run is not None else ""
        wait = "" if self.window.controller.playing else " Press Play to go on."
        return (
            f"The dashed line is the share of {self.inputs} that the network gets right, the solid one (PGD) the share "
            f"once an attacker has changed each of them a little{radius}. See how far apart they are.{wait}"
        )

    def note(self) -> str:
        """See :class:`Stop`."""
        return self.accuracies()

    def targets(self) -> list[QWidget]:
        """See :class:`Stop`."""
        return [self.window.panels.docks["robustness"], *self.running()]

    def done(self) -> str:
        """See :class:`Stop`."""
        found = fallen(self.snapshot) if self.snapshot is not None else None
        if found is None:
            return ""
        step, clean, attacked = found
        rests = " Training rests, so that you can look." if self._pauses else ""
        return f"At step {step:,}, {clean:.0%} are right, but {attacked:.0%} under attack.{rests}"

    def leave(self) -> None:
        """See :class:`Stop`. What the attack does is seen now, so the schedule is not to switch by itself meanwhile."""
        if self._pauses and self.done():
            self.window.controller.pause()
        self._pauses = False


class Switch(Stop):
    """The other training."""

    title = "Train against the attack"

    def text(self) -> str:
        """See :class:`Stop`."""
        if self.done():
            return f"The network trains on attacked {self.inputs} already. T goes to clean training and back."
        return f"Press T, or Adversarial: from now on the network learns from {self.inputs} that are attacked first."

    def targets(self) -> list[QWidget]:
        """See :class:`Stop`."""
        return [self.adversarial()]

    def done(self) -> str:
        """See :class:`Stop`."""
        begin = switched(self.snapshot) if self.snapshot is not None else None
        return "" if begin is None else f"Training is adversarial from step {begin:,} on."


class Melt(Stop):
    """The weights purify."""

    title = "Watch it purify"

    def arrive(self) -> None:
        """See :class:`Stop`."""
        self.bring("filters" if self.images else "mixtures")

    def text(self) -> str:
        """See :class:`Stop`."""
        play = "" if self.window.controller.playing else "Press Play. "
        if self._clean():
            play = f"Press Adversarial first. {play}"
        if self.images:
            return (
                f"{play}Each picture is what one neuron looks for. Compare Now with After clean training, while "
                "accuracy under attack returns."
            )
        return (
            f"{play}Each dot is a neuron: right is the one feature that it looks for, up is everything else mixed into "
            "it. The dots sink: the mixtures melt, and accuracy under attack returns."
        )

    def note(self) -> str:
        """See :class:`Stop`."""
        return self.accuracies()

    def targets(self) -> list[QWidget]:
        """See :class:`Stop`."""
        found = [self.window.panels.docks["filters" if self.images else "mixtures"], *self.running()]
        return [*found, self.adversarial()] if self._clean() else found

    def _clean(self) -> bool:
        return self.snapshot is not None and switched(self.snapshot) is None

    def done(self) -> str:
        """See :class:`Stop`."""
        found = recovered(self.snapshot) if self.snapshot is not None else None
        return "" if found is None else f"At step {found[0]:,}, {found[2]:.0%} are right under attack again."


class Past(Stop):
    """An earlier step."""

    title = "Go back in time"

    def text(self) -> str:
        """See :class:`Stop`."""
        return (
            "Click or drag on the timeline: every panel shows the network as it was then. The keys [ and ] go from one "
            "stored step to the next."
        )

    def targets(self) -> list[QWidget]:
        """See :class:`Stop`."""
        part = self.window.parts["timeline"]
        return [part.bar] if isinstance(part, Timeline) else []

    def done(self) -> str:
        """See :class:`Stop`."""
        last = self.snapshot
        return f"Every panel shows step {last.step:,}." if last is not None and last.looking else ""


class Present(Past):
    """The present again."""

    title = "And back to now"

    def text(self) -> str:
        """See :class:`Stop`."""
        return "Press Now, or the key N, to see the present again. Training can go on while you look at the past."

    def done(self) -> str:
        """See :class:`Stop`."""
        last = self.snapshot
        return "This is the present." if last is not None and not last.looking else ""


class Knob(Stop):
    """A live change."""

    title = "Turn a knob"
    keeps_keys = True

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self._before = 0

    @property
    def path(self) -> str:
        """The knob's."""
        return KNOB if KNOB in self.window.form.parameters else OTHER

    def arrive(self) -> None:
        """See :class:`Stop`. The keys go to the knob's field."""
        self.bring("parameters")
        self.window.form.go_to(self.path)
        self._before = self.window.undo_stack.index()

    def text(self) -> str:
        """See :class:`Stop`."""
        what = "how far the attacker may go" if self.path == KNOB else "how large the steps of training are"
        return (
            f"This is {what}: type another number, and Return. What says “live” holds from the next step on, with no "
            "restart."
        )

    def targets(self) -> list[QWidget]:
        """See :class:`Stop`."""
        items = self.window.form.parameters[self.path].items
        return [item.row for item in list(items.keys())]

    def done(self) -> str:
        """See :class:`Stop`."""
        stack = self.window.undo_stack
        change = stack.command(stack.index() - 1) if stack.index() > self._before else None
        return f"{change.path} is {show(change.new)}." if isinstance(change, KnobChange) else ""


class Undo(Knob):
    """The change is taken back."""

    title = "Take it back"

    keeps_keys = False  # else Ctrl+Z would be the field's

    def text(self) -> str:
        """See :class:`Stop`."""
        press = "Press Ctrl+Z" if self._before else "Nothing was changed. Ctrl+Z"
        verb = ", or Edit → Undo" if self._before else ", or Edit → Undo, takes the last change back"
        return f"{press}{verb}. Every change is marked on the timeline and on each plot over steps."

    def done(self) -> str:
        """See :class:`Stop`."""
        stack = self.window.undo_stack
        change = stack.command(stack.index()) if stack.index() < self._before else None
        return f"{change.path} is {show(change.old)} again." if isinstance(change, KnobChange) else ""


class Neuron(Stop):
    """A neuron is marked."""

    title = "Follow one neuron"

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self._before = -1

    @property
    def panel(self) -> str:
        """Where neurons are shown as pictures."""
        return "filters" if self.images else "neurons"

    def arrive(self) -> None:
        """See :class:`Stop`."""
        self.bring(self.panel)
        self._before = self.window.shelf.chosen

    def text(self) -> str:
        """See :class:`Stop`."""
        return (
            "Each picture is what one neuron looks for. Click any of them: that neuron is marked in every panel that "
            "shows it."
        )

    def targets(self) -> list[QWidget]:
        """See :class:`Stop`. The pictures of the present, if they are shown."""
        view = self.window.shelf.get(self.panel)
        found = [each for each in view.galleries if each.isVisible()] if isinstance(view, GalleryView) else []
        return found[-1:] or [self.window.panels.docks[self.panel]]

    def done(self) -> str:
        """See :class:`Stop`."""
        chosen = self.window.shelf.chosen
        return f"Neuron {chosen} is marked." if chosen >= 0 and chosen != self._before else ""


class Export(Stop):
    """Figures are written."""

    title = "Take it with you"

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self._folder = ""

    def arrive(self) -> None:
        """See :class:`Stop`."""
        self._folder = ""
        self.window.exporter.done.connect(self._written)

    def leave(self) -> None:
        """See :class:`Stop`."""
        self.window.exporter.done.disconnect(self._written)

    def _written(self, folder: str) -> None:
        self._folder = folder

    def text(self) -> str:
        """See :class:`Stop`."""
        if self.window.exporter.busy:
            return "The figures are being drawn. That takes a moment; the bar at the bottom shows how far it is."
        where = self.targets()[0] is self.window.toolbar.buttons[-1]
        press = "Press Export" if where else "Press », then Export"
        return (
            f"{press}, or Ctrl+E, and Export once more: figures for a paper, their numbers, and a script that repeats "
            "this run."
        )

    def targets(self) -> list[QWidget]:
        """See :class:`Stop`."""
        if self.window.exporter.busy:
            return [self.window.status]
        return [reachable(self.window.toolbar.buttons[-1], self.window.toolbar.more)]

    def done(self) -> str:
        """See :class:`Stop`."""
        return f"Written to {self._folder}." if self._folder else ""


class End(Stop):
    """Where to go on."""

    title = "That is all you need"

    def text(self) -> str:
        """See :class:`Stop`."""
        return (
            "File → Questions (Ctrl+N) has more to try, each with what to expect; the ? on a panel explains what it "
            "shows. Help → Tour comes back to this."
        )


STOPS: tuple[type[Stop], ...] = (Play, Fall, Switch, Melt, Past, Present, Knob, Undo, Neuron, Export, End)
