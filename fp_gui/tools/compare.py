"""Compare: two or more runs' curves overlaid or their galleries side by side, and the knobs that differ."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from engine.compare.base import ComparedCurves, ComparedRuns, comparisons
from engine.compare.galleries import GalleriesData
from engine.compare.overlay import Overlay, panels_of_csv
from engine.core.errors import ExplorerError
from engine.figures.base import FigureData
from engine.run.snapshot import Snapshot
from fp_gui.bridge.requests import Answer, RunInfo
from fp_gui.compare.chooser import RunChooser
from fp_gui.compare.controls import ChangingRow, shortened
from fp_gui.compare.galleries import GalleryRow
from fp_gui.compare.knobs import DifferingKnobs
from fp_gui.compare.plots import OverlayPlots
from fp_gui.compare.reader import CompareAnswer, CompareRequest, Reading
from fp_gui.folding import FoldingLabel
from fp_gui.shell import Shell
from fp_gui.tasks import EngineProcess
from fp_gui.theme import LIGHT, Theme
from fp_gui.tools.base import Tool, tools
from fp_gui.views.base import Place
from fp_gui.views.widgets import Choice, Pages, Switch, tint

LIVE_MS = 500  # between two readings while the run that is open goes on
SWITCHES = {"normalise": "Normalise each neuron", "scaled": "Each filter scaled", "signed": "Blue–orange"}
SCALE = 1000  # steps of the progress bar
CHOOSE = "Check two or more runs on the left: their curves are overlaid, their galleries stand side by side."
MEASURE = "Accuracy against the radius is measured anew, at the same radii for all runs: press Measure."


@tools.register("compare", order=2)
class ComparePanel(Tool):
    """The runs that are checked, in one of the comparisons."""

    name, title = "compare", "Compare"
    place: ClassVar[Place] = "lower"

    def __init__(self, window: Shell) -> None:
        super().__init__(window)
        self.theme: Theme = LIGHT
        self.compared: ComparedRuns | None = None
        self.data: FigureData | None = None
        self._serial, self._kind = 0, ""
        self._counts: tuple[object, ...] = ()
        self._measured: dict[object, FigureData] = {}  # what was measured of these runs with these options
        self._then: Callable[[], None] = lambda: None  # once the process has ended well
        self._scratch: Path | None = None
        self._make_controls()
        self.chooser = RunChooser()
        self.plots, self.galleries = OverlayPlots(), GalleryRow()
        self.knobs = DifferingKnobs()
        self.caption = FoldingLabel(folds=False)
        self.caption.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(0, 0, 0, 0)
        for widget in (self.plots, self.galleries):
            inner.addWidget(widget, 1)
            widget.hide()
        inner.addWidget(self.knobs)
        inner.addWidget(self.caption)
        self.area = QScrollArea(widgetResizable=True)
        self.area.setFrameShape(QScrollArea.Shape.NoFrame)
        self.area.setAccessibleName("Comparison")
        self.area.setWidget(body)
        self.pages = Pages(self.area, CHOOSE)
        self.pages.setMinimumSize(120, 60)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.addWidget(self.chooser)
        split.addWidget(self.pages)
        split.setStretchFactor(1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.controls)
        layout.addWidget(split, 1)
        self.reading = Reading(self)
        self.process = EngineProcess(self)
        self._soon = QTimer(self, singleShot=True, interval=LIVE_MS)
        self._connect()
        self._offer(self._present_kind())

    def _make_controls(self) -> None:
        self.view = Choice({}, "", "What is compared.")
        self.boxes: dict[str, Choice | Switch] = {}
        self.mean = Switch(
            "Mean and range", "Draw runs that differ in the seed alone as their mean; the band is their range."
        )
        self.measure = QPushButton("Measure")
        self.measure.setToolTip("Measure accuracy against the radius on each run's newest checkpoint")
        self.refresh = QPushButton("Refresh")
        self.refresh.setToolTip("Look for new runs, and read again what the runs have recorded")
        self.export = QPushButton("Export…")
        self.export.setToolTip("Write this comparison as figures with its data, captions and a recipe of all the runs")
        self.bar = QProgressBar(textVisible=True)
        self.bar.setFixedWidth(150)
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop measuring or exporting; what is compared stays")
        self.controls = ChangingRow()
        self.controls.add(self.view)
        self.controls.add(self.mean)
        self.controls.add(self.measure)
        self.controls.add(self.refresh)
        self.controls.add(self.export)
        self.controls.add(self.bar, self.cancel)
        for widget in (self.measure, self.bar, self.cancel):
            widget.hide()

    def _connect(self) -> None:
        controller = self.main.controller
        controller.snapshot_rendered.connect(self._follow)
        controller.run_changed.connect(self._run_changed)
        self.reading.answered.connect(self._answered)
        self.reading.listed.connect(self._listed)
        self.chooser.chosen_changed.connect(self.ask)
        self.view.currentIndexChanged.connect(self._view_changed)
        self.mean.toggled.connect(self.ask)
        self.refresh.clicked.connect(self._refresh)
        self.export.clicked.connect(self._ask_folder)
        self.measure.clicked.connect(self._measure)
        self.cancel.clicked.connect(self.process.cancel)
        self.galleries.hovered.connect(self._hovered)
        self.galleries.clicked.connect(self._clicked)
        self._soon.timeout.connect(self.ask)
        self.process.progressed.connect(self._progressed)
        self.process.succeeded.connect(self._succeeded)
        self.process.failed.connect(self._failed)
        self.process.cancelled.connect(lambda: self._show_busy(False))

    # --- what is compared

    def compare(self, folders: Sequence[Path]) -> None:
        """Compare the runs in ``folders``, whatever was compared before."""
        known = [self.chooser.item(i).data(Qt.ItemDataRole.UserRole) for i in range(self.chooser.count())]
        self.chooser.show_runs(known, self._present_folder(), [Path(each) for each in folders])
        self.ask()

    def _present_folder(self) -> Path | None:
        run = self.main.controller.run
        return None if run is None else run.folder

    def _present_kind(self) -> str:
        run = self.main.controller.run
        return next(iter(comparisons[next(iter(comparisons))].view.kinds)) if run is None else run.config.kind

    def _offer(self, kind: str) -> None:
        """Offer the comparisons of runs of this kind."""
        if kind == self._kind:
            return
        self._kind = kind
        self.view.blockSignals(True)
        self.view.clear()
        for name in sorted(comparisons, key=lambda name: (name != "robustness", comparisons[name].view.order)):
            view = comparisons[name].view
            if kind in view.kinds:
                self.view.addItem(view.title, name)
        self.view.blockSignals(False)
        self._view_changed()

    @Slot()
    def _view_changed(self) -> None:
        drawer = comparisons[self.view.value]
        before, self.boxes = list(self.boxes.values()), {}
        for option in drawer.options:
            if set(option.choices) == {"true", "false"}:
                box: Choice | Switch = Switch.of(SWITCHES[option.name], option)
                box.toggled.connect(self.ask)  # type: ignore[union-attr]
            elif option.choices:
                box = Choice.of(option)
                box.currentIndexChanged.connect(self.ask)
            else:
                continue
            self.boxes[option.name] = box
        self.controls.put_after(self.view, list(self.boxes.values()), before)
        self.main.shelf.tame(self.controls)  # those that came, too
        self.measure.setVisible(drawer.slow)
        self.mean.setVisible(issubclass(drawer, ComparedCurves))
        self.ask()

    def given(self) -> dict[str, str]:
        """The options of the comparison as they are chosen."""
        return {name: box.value for name, box in self.boxes.items()}

    @property
    def _mean_chosen(self) -> bool:
        return self.mean.isChecked() and not self.mean.isHidden()

    @Slot()
    def ask(self) -> None:
        """Read the runs that are checked, without waiting for it."""
        folders = self.chooser.chosen()
        self._soon.stop()
        self._serial += 1
        self.export.setEnabled(len(folders) > 1)
        self.measure.setEnabled(len(folders) > 1)
        if len(folders) < 2:
            self.compared = self.data = None
            self._say(CHOOSE)
            return
        live = self.main.controller.last
        self.reading.ask(
            CompareRequest(
                self._serial, folders, self.view.value, self.given(), self._mean_chosen,
                live if live is not None and live.folder in folders else None,
            )
        )  # fmt: skip

    @Slot(object)
    def _answered(self, answer: CompareAnswer) -> None:
        if answer.request.serial != self._serial:
            return
        self.compared = answer.compared
        if answer.compared is not None:
            kind = answer.compared.runs[0].config.kind
            if kind != self._kind:
                self._offer(kind)  # which asks again
                return
        self.data = answer.data
        if answer.error or self.compared is None:
            self._say(answer.error)
            return
        if comparisons[answer.request.view].slow:
            self.data = self._measured.get(self._key(answer.request))
            if self.data is None:
                self._say(MEASURE)
                return
        self._show(self.compared)

    @staticmethod
    def _key(request: CompareRequest) -> object:
        return request.folders, request.view, tuple(sorted(request.options.items())), request.mean

    def _say(self, text: str) -> None:
        self.plots.clear()
        self.galleries.clear()
        self.pages.message.setText(text)
        self.pages.show_content(False)

    def _show(self, compared: ComparedRuns) -> None:
        data = self.data
        overlaid, beside = isinstance(data, Overlay), isinstance(data, GalleriesData)
        self.plots.setVisible(overlaid)
        self.galleries.setVisible(beside)
        if isinstance(data, Overlay):
            self.plots.show_overlay(data)
        if isinstance(data, GalleriesData):
            self.galleries.show_galleries(data)
            self.highlight(self.main.shelf.shown)
        self.knobs.show_runs(compared)
        self.caption.setText(shortened(data.caption) if data is not None else "")
        self.pages.show_content()

    # --- the run that is open

    @Slot(object)
    def _follow(self, snapshot: Snapshot) -> None:
        """Read again soon if the open run is compared and has measured something new."""
        if not self.isVisible() or snapshot.folder not in self.chooser.chosen() or self._soon.isActive():
            return
        wants = comparisons[self.view.value]().wants
        history = snapshot.history
        counts = (snapshot.run, len(snapshot.events), *(len(history[name]) for name in history if wants(name)))
        if counts != self._counts:
            self._counts = counts
            self._soon.start()

    @Slot(object)
    def _run_changed(self, info: RunInfo) -> None:
        if not self.chooser.chosen():
            self._offer(info.config.kind)
        self._refresh()

    @Slot()
    def _refresh(self) -> None:
        if self.isVisible():
            self.reading.find(self.main.controller.runs)
            self.ask()

    @Slot(object)
    def _listed(self, folders: list[Path]) -> None:
        self.chooser.show_runs(folders, self._present_folder(), self.chooser.chosen())

    def showEvent(self, event: QShowEvent) -> None:
        """Look which runs there are now."""
        super().showEvent(event)
        self.reading.find(self.main.controller.runs)
        self.ask()

    # --- neurons

    def _place_of_present(self) -> int:
        folder = self._present_folder()
        runs = self.compared.runs if self.compared is not None else ()
        return next((i for i, run in enumerate(runs) if run.folder == folder), -1)

    def highlight(self, neuron: int) -> None:
        """Mark a neuron of the open run in the galleries of it and of all runs that began as it did; −1 unmarks."""
        self.galleries.mark(self._place_of_present(), neuron)

    @Slot(int, int)
    def _hovered(self, run: int, neuron: int) -> None:
        if neuron < 0 or self._is_own(run):
            self.neuron_hovered.emit(neuron)  # the window marks it here, too
        else:
            self.galleries.mark(run, neuron)

    @Slot(int, int)
    def _clicked(self, run: int, neuron: int) -> None:
        if self._is_own(run):
            self.neuron_selected.emit(neuron)

    def _is_own(self, run: int) -> bool:
        """Whether the run at place ``run`` is the open one, or began with the same neurons."""
        data, present = self.galleries.data, self._place_of_present()
        if data is None or present not in data.runs:
            return False
        return data.starts[data.runs.index(run)] == data.starts[data.runs.index(present)]

    # --- the command

    def arguments(self, out: Path, formats: Sequence[str] = ()) -> list[str]:
        """The command line that draws what is shown into ``out``, after the Python interpreter."""
        line = ["-m", "engine", "compare", *map(str, self.chooser.chosen()), "--view", self.view.value]
        for name, value in self.given().items():
            line += ["--option", f"{name}={value}"]
        for name in formats:
            line += ["--format", name]
        return [*line, *(["--mean"] if self._mean_chosen else []), "--out", str(out)]

    @Slot()
    def _ask_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Export the comparison to", str(self.main.controller.runs))
        if chosen:
            self.export_to(Path(chosen))

    def export_to(self, out: Path, formats: Sequence[str] = ()) -> None:
        """Draw what is shown into ``out``, in another process; the open run is saved for it first. All formats if none.

        It is what :meth:`arguments` says.
        """
        self._run(self.arguments(out, formats), lambda: self.main.banner.notice(f"Exported to {out}"))

    @Slot()
    def _measure(self) -> None:
        """Measure by the same command, and draw what it has written."""
        request = CompareRequest(0, self.chooser.chosen(), self.view.value, self.given(), self._mean_chosen)
        self._scratch = Path(tempfile.mkdtemp(prefix="fp-compare-"))
        self._run(self.arguments(self._scratch, ("png",)), lambda: self._take_measured(request))

    def _take_measured(self, request: CompareRequest) -> None:
        drawer = comparisons[request.view]()
        if self._scratch is None or self.compared is None or not isinstance(drawer, ComparedCurves):
            return
        folder = self._scratch / request.view
        try:
            panels = panels_of_csv(folder / f"{request.view}.csv", self.compared.names, drawer.labels)
            data = drawer.overlay(self.compared, panels, request.options)
            caption = (folder / "caption.txt").read_text(encoding="utf-8").rpartition("Data: ")[0].strip()
        except (ExplorerError, OSError) as error:
            self.main.banner.error(f"Compare: {error}")
        else:
            self._measured = {self._key(request): replace(data, caption=caption)}  # only the newest is kept
            self.ask()
        self._clean()

    def _run(self, line: list[str], then: Callable[[], None]) -> None:
        if self.process.busy or not self.bar.isHidden():
            self.main.banner.notice("A comparison is being written: wait or cancel first.")
            return
        self._then = then
        self._show_busy(True)
        if self._present_folder() in self.chooser.chosen():
            self.main.controller.save_checkpoint(lambda answer: self._saved(line, answer))
        else:
            self.process.start(line)

    def _saved(self, line: list[str], answer: Answer) -> None:
        if answer.error:
            self._failed(f"the run could not be saved: {answer.error}", answer.details)
        else:
            self.process.start(line)

    def _show_busy(self, busy: bool) -> None:
        self.bar.setRange(0, 0)
        self.bar.setVisible(busy)
        self.cancel.setVisible(busy)
        if not busy:
            self._clean()

    @Slot(float, str)
    def _progressed(self, share: float, text: str) -> None:
        self.bar.setRange(0, SCALE)
        self.bar.setValue(round(share * SCALE))
        self.bar.setToolTip(text)

    @Slot()
    def _succeeded(self) -> None:
        self._then()
        self._show_busy(False)

    @Slot(str, str)
    def _failed(self, text: str, details: str) -> None:
        self._show_busy(False)
        self.main.banner.error(f"Compare: {text}", details)

    def _clean(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    # --- the window

    def set_theme(self, theme: Theme) -> None:
        """Recolour plots, galleries and texts."""
        self.theme = theme
        self.pages.set_theme(theme)
        self.plots.set_theme(theme)
        self.galleries.set_theme(theme)
        tint(self.caption, theme.muted)

    def close_down(self) -> None:
        """End the reading and what is being written."""
        self._soon.stop()
        self.reading.close()
        self.process.close()
        self._clean()
