"""What a comparison is: a view whose numbers of several runs are put into one picture, and the table of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from engine.compare.naming import Differences, SeedGroup, differences, names_of, seed_groups
from engine.compare.overlay import STEP, Overlay, OverlayPanel, RunLine, overlay_tables
from engine.compare.record import RecordedRun
from engine.core.registry import Registry
from engine.figures.base import FigureData, trained
from engine.figures.declare import Option, ViewDeclaration, phase
from engine.studies.base import NotMeasured


@dataclass(frozen=True)
class ComparedRuns:
    """The ``runs`` side by side: the knobs that differ, a name for each, and the groups to be drawn as their mean."""

    runs: tuple[RecordedRun, ...]
    differing: Differences
    names: tuple[str, ...]
    groups: tuple[SeedGroup, ...] = ()

    @classmethod
    def of(cls, runs: Sequence[RecordedRun], *, mean: bool = False) -> ComparedRuns:
        """Name the runs; with ``mean`` find those that differ in the seed alone.

        Raises :class:`ConfigError` if ``mean`` is asked for and no two do.
        """
        found = differences(runs)
        return cls(tuple(runs), found, names_of(runs, found), seed_groups(runs, found) if mean else ())

    def provenance(self) -> list[str]:
        """The last lines of a caption: what differs, and each run with its training."""
        told = [f"{path}: {' / '.join(values)}" for path, values in self.differing.items()]
        lines = [f"Knobs that differ: {'; '.join(told)}." if told else "No knob differs between these runs."]
        for name, run in zip(self.names, self.runs, strict=True):
            lines.append(
                f"“{name}”: {trained(run.present, run.events, run.phases)} Run {run.run} ({run.folder.name}), step "
                f"{run.step} ({phase(run.objective).name} phase)."
            )
        return lines


class ComparedView(ABC):
    """One file of :mod:`engine.compare.views`. ``view`` is the single run's view of the same name."""

    view: ClassVar[ViewDeclaration]
    options: ClassVar[tuple[Option, ...]] = ()
    slow: ClassVar[bool] = False  # whether it must be measured anew

    def wants(self, metric: str) -> bool:
        """Whether it draws the recorded metric of this name."""
        return False

    def complete(self, given: Mapping[str, str]) -> dict[str, str]:
        """The options with defaults filled in. Raises :class:`ConfigError` for a value that is not allowed."""
        return {o.name: o.check(given.get(o.name, o.default)) for o in self.options}

    @abstractmethod
    def collect(self, compared: ComparedRuns, options: Mapping[str, str]) -> FigureData:
        """Read what is plotted; ``options`` is complete. Raises :class:`NotMeasured` if no run has anything of it."""

    def look_at(self, compared: ComparedRuns, options: Mapping[str, str]) -> FigureData:
        """What a screen shows of it."""
        return self.collect(compared, options)


class ComparedCurves(ComparedView):
    """Curves, overlaid. ``shown`` says in a sentence what they are."""

    axis: ClassVar[str] = STEP
    labels: ClassVar[Mapping[str, str]] = {}  # of what is measured anew, by the quantity's name

    @abstractmethod
    def panels(self, compared: ComparedRuns, options: Mapping[str, str]) -> tuple[OverlayPanel, ...]:
        """The quantities, those that no run has left out."""

    @abstractmethod
    def shown(self, options: Mapping[str, str]) -> str:
        """The first sentence of the caption."""

    def how(self, line: RunLine) -> str:
        """The protocols of a line in words; empty if none was recorded."""
        return ", then ".join(protocol.text() for protocol in line.used())

    def ticks(self, compared: ComparedRuns) -> tuple[str, ...]:
        """The names of the places along x, where these are no numbers."""
        return ()

    def collect(self, compared: ComparedRuns, options: Mapping[str, str]) -> Overlay:
        """Overlay the curves of all runs."""
        return self.overlay(compared, self.panels(compared, options), options)

    def look_at(self, compared: ComparedRuns, options: Mapping[str, str]) -> Overlay:
        """The same for a screen, without the tables, which take long."""
        return self.overlay(compared, self.panels(compared, options), options, tables=False)

    def overlay(
        self, compared: ComparedRuns, panels: tuple[OverlayPanel, ...], options: Mapping[str, str], *,
        tables: bool = True,
    ) -> Overlay:  # fmt: skip
        """The picture of these panels. Raises :class:`NotMeasured` if there are none."""
        ticks = self.ticks(compared)
        if not panels:
            raise NotMeasured(f"{self.view.name}: nothing of it is recorded yet in any of these runs")
        ends = [float(line.x.max(initial=0)) for panel in panels for line in panel.lines]
        return Overlay(
            tables=overlay_tables(panels, compared.names, compared.groups, self.axis, ticks) if tables else {},
            caption=self._caption(compared, panels, options),
            panels=panels, run_names=compared.names, groups=compared.groups, axis=self.axis,
            spans=tuple(run.phases for run in compared.runs),
            end=max([*ends, *(run.step for run in compared.runs)] if self.axis == STEP else ends), ticks=ticks,
        )  # fmt: skip

    def _caption(
        self, compared: ComparedRuns, panels: Sequence[OverlayPanel], options: Mapping[str, str]
    ) -> str:  # fmt: skip
        n = len(compared.runs)
        lines = [f"{n} runs overlaid. {self.shown(options)}"]
        for group in compared.groups:
            lines.append(
                f"“{group.name}”: n = {len(group.members)} runs that differ in the seed alone; thick their mean, the "
                "band from the least to the greatest, thin each seed, at the places where all have a value."
            )
            lines += [
                f"No mean of {panel.label} over “{group.name}”: not all of them have it."
                for panel in panels
                if panel.mean(group) is None
            ]
        lines += missing_lines(panels, compared.names)
        lines += protocol_lines(panels, compared.names, self.how)
        return "\n".join([*lines, *compared.provenance()])


def missing_lines(panels: Sequence[OverlayPanel], names: Sequence[str]) -> list[str]:
    """Which runs have no values of which quantity, in sentences."""
    found = []
    for panel in panels:
        without = [f"“{name}”" for i, name in enumerate(names) if panel.line(i) is None]
        if without:
            found.append(f"Not recorded: {panel.label} in {', '.join(without)}.")
    return found


def protocol_lines(
    panels: Sequence[OverlayPanel], names: Sequence[str], how: Callable[[RunLine], str]
) -> list[str]:  # fmt: skip
    """How each quantity was measured in each run, once for all runs if that is the same in all."""
    lines = []
    for panel in panels:
        used = {names[line.run]: how(line) or "not recorded" for line in panel.lines if line.protocols}
        if len(set(used.values())) > 1:
            by = {words: [f"“{name}”" for name, other in used.items() if other == words] for words in used.values()}
            each = "; ".join(f"{', '.join(those)}: {words}" for words, those in by.items())
            lines.append(f"Protocol, {panel.label}, DIFFERS between the runs: {each}.")
        elif used:
            lines.append(f"Protocol, {panel.label}: {next(iter(used.values()))}.")
    return lines or ["Protocol: computed from the weights, no attack enters."]


comparisons: Registry[type[ComparedView]] = Registry("view", "engine.compare.views")
"""By the name of the view that they compare."""
