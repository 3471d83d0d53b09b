"""Planning a sweep: which knobs, which values, which seeds; how many runs that are, and how long they will take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from PySide6.QtCore import Qt, QTimer, Signal, Slot
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from engine.config.experiment import Config, value_of
from engine.config.presets import preset_names
from engine.core.cores import cores_available
from engine.core.errors import ConfigError
from fp_gui.durations import in_words
from fp_gui.folding import ControlRow, FoldingLabel
from fp_gui.number_boxes import WholeBox
from fp_gui.runs import new_run_folder
from fp_gui.sweep.base import SweepBase, base_of, sweepable
from fp_gui.sweep.desk import PlanAnswer, PlanRequest
from fp_gui.sweep.knob_rows import KnobRows
from fp_gui.theme import ORANGE, Theme, mix
from fp_gui.views.widgets import Choice, Switch, tint

SOON_MS = 250  # from the last key to the judgement
HERE = ""  # the choice of the parameters in the window
NOTHING = "Choose a knob and give its values, or several seeds: every combination is a run."
JUDGING = "…"


def plan_words(answer: PlanAnswer) -> str:
    """E.g. ``12 runs · about 4 min with 2 jobs (estimated)``."""
    assert answer.sweep is not None
    n, jobs = len(answer.sweep.runs), answer.jobs
    at_once = f"{jobs} job{'s' * (jobs != 1)}"
    if answer.seconds is None:
        long = f"{at_once}; how long is not known: the preset does not say"
    else:
        long = f"{in_words(answer.seconds)} with {at_once} (estimated)"
    more = ", and their verification beside that" if answer.sweep.verify else ""
    return f"{n:,} run{'s' * (n != 1)} · {long}{more}"


class Planner(QScrollArea):
    """The page on which a sweep is planned. ``folder`` is where its runs will be."""

    wanted = Signal(object)  # PlanRequest
    started = Signal(object, object)  # PlanAnswer, Path
    open_asked = Signal()

    def __init__(self, runs: Path) -> None:
        super().__init__(widgetResizable=True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._runs = runs
        self._config: Config | None = None
        self._label = ""
        self._base: SweepBase | None = None
        self._serial = 0
        self._folder_given = False
        self.answer: PlanAnswer | None = None
        self._soon = QTimer(self, singleShot=True, interval=SOON_MS)
        self._soon.timeout.connect(self.ask)
        self._make()

    def _make(self) -> None:
        self.base = Choice({HERE: "the parameters in the window"}, HERE, "What the runs begin from.")
        for name in preset_names():
            self.base.addItem(f"preset {name}", name)
        self.base.currentIndexChanged.connect(self._base_changed)
        self.add_knob = QComboBox()
        self.add_knob.setAccessibleName("Sweep a knob")
        self.add_knob.setToolTip("Choose a knob whose values are swept; also by a right click on it in Parameters")
        self.add_knob.setMaximumWidth(220)
        self.add_knob.activated.connect(self._add_chosen)
        top = ControlRow()
        top.add(QLabel("From"), self.base)
        top.add(QLabel("Sweep"), self.add_knob)
        self.rows = KnobRows()
        self.rows.changed.connect(self.ask_soon)
        self.seeds = QLineEdit(placeholderText="the one of the parameters")
        self.seeds.setAccessibleName("Seeds")
        self.seeds.setToolTip("Each combination with each of these seeds: 0-4, or 0,2,5")
        self.seeds.textChanged.connect(self.ask_soon)
        self.seeds_wrong = FoldingLabel(folds=False)
        self.seeds_wrong.hide()
        self.folder = QLineEdit()
        self.folder.setAccessibleName("Folder of the sweep")
        self.folder.setToolTip("A new or empty folder, which will hold the runs, sweep.json and results.csv")
        self.folder.textEdited.connect(self._folder_typed)
        self.browse = QToolButton()
        self.browse.setText("…")
        self.browse.setAccessibleName("Choose the folder of the sweep")
        self.browse.setToolTip("Choose the folder of the sweep")
        self.browse.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.browse.clicked.connect(self._browse)
        self.jobs = WholeBox()
        self.jobs.setRange(0, max(1, 2 * cores_available()))
        self.jobs.setSpecialValueText("as many jobs as fit")
        self.jobs.setSuffix(" jobs")
        self.jobs.setAccessibleName("Jobs")
        self.jobs.setToolTip("Runs at a time; by default one a core, fewer where there is no memory for as many")
        self.jobs.valueChanged.connect(self.ask_soon)
        self.verify = Switch("Verify", "After its training measure each run's slow figures and decide its claims")
        self.verify.toggled.connect(self.ask_soon)
        fields = QGridLayout()
        fields.setColumnStretch(1, 1)
        fields.setVerticalSpacing(2)
        for row, (name, widget) in enumerate((("Seeds", self.seeds), ("Folder", self.folder))):
            label = QLabel(name)
            label.setBuddy(widget)
            fields.addWidget(label, 2 * row, 0)
            fields.addWidget(widget, 2 * row, 1)
        fields.addWidget(self.seeds_wrong, 1, 1)
        fields.addWidget(self.browse, 2, 2)
        self.words = FoldingLabel(NOTHING, folds=False)
        self.start = QPushButton("Start")
        self.start.setToolTip("Train all these runs in other processes; training in this window goes on beside them")
        self.start.clicked.connect(self._start)
        self.open = QPushButton("Open sweep…")
        self.open.setToolTip("Show a sweep that there is, and go on with it")
        self.open.clicked.connect(self.open_asked)
        bottom = ControlRow()
        bottom.add(self.jobs)
        bottom.add(self.verify)
        bottom.add(self.start)
        bottom.add(self.open)
        body = QWidget()
        layout = QVBoxLayout(body)
        layout.setContentsMargins(0, 0, 4, 0)
        for part in (top, self.rows):
            layout.addWidget(part)
        layout.addLayout(fields)
        layout.addWidget(self.words)
        layout.addWidget(bottom)
        layout.addStretch(1)
        self.setWidget(body)

    # -- what it begins from -------------------------------------------------------------------------------------

    def take(self, config: Config | None, label: str) -> None:
        """The window's parameters are now ``config``, from the preset called ``label``."""
        if (config, label) == (self._config, self._label):
            return
        self._config, self._label = config, label
        if self.base.value == HERE:
            self._base_changed()

    @Slot()
    def _base_changed(self) -> None:
        name = self.base.value
        try:
            if name != HERE:
                self._base = SweepBase(name)
            else:
                self._base = None if self._config is None else base_of(self._config, self._label)
            known = [] if self._base is None else sweepable(self._base.whole)
        except ConfigError as error:
            self._base, known = None, []
            self.words.setText(str(error))
        self.add_knob.clear()
        self.add_knob.addItem("a knob…", "")
        for knob in known:
            self.add_knob.addItem(knob.path, knob.path)
            self.add_knob.setItemData(self.add_knob.count() - 1, knob.doc, Qt.ItemDataRole.ToolTipRole)
        self.rows.keep(known)
        self._name_folder()
        self.ask_soon()

    def _name_folder(self) -> None:
        if not self._folder_given and self._base is not None:
            self.folder.setText(str(new_run_folder(self._runs, f"{Path(self._base.preset).name}-sweep")))

    @Slot(str)
    def _folder_typed(self, text: str) -> None:
        self._folder_given = bool(text.strip())

    @Slot()
    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "A new or empty folder for the sweep", str(self._runs))
        if chosen:
            self._folder_given = True
            self.folder.setText(chosen)

    # -- knobs ---------------------------------------------------------------------------------------------------

    @Slot(int)
    def _add_chosen(self, index: int) -> None:
        path = self.add_knob.itemData(index)
        self.add_knob.setCurrentIndex(0)
        if path:
            self.sweep_knob(path)

    def sweep_knob(self, path: str) -> bool:
        """Give the knob at ``path`` a row, and its field the keys; false if it cannot be swept."""
        if self._base is None:
            return False
        whole = self._base.whole
        knob = next((each for each in sweepable(whole) if each.path == path), None)
        if knob is None:
            return False
        row = self.rows.add(knob, value_of(whole, path))
        row.field.setFocus(Qt.FocusReason.ShortcutFocusReason)
        row.field.end(False)
        self.ensureWidgetVisible(row.field)
        return True

    # -- judging -------------------------------------------------------------------------------------------------

    @Slot()
    def ask_soon(self) -> None:
        """Something has changed: judge it once nothing more is typed."""
        self.answer = None
        self.start.setEnabled(False)
        self._serial += 1
        if self._base is not None and (self.rows.rows or self.seeds.text().strip()):
            self.words.setText(JUDGING)
            self._soon.start()
        else:
            self._soon.stop()
            self.words.setText(NOTHING)
            self._show_wrong({})

    @Slot()
    def ask(self) -> None:
        """Judge what is typed."""
        if self._base is not None:
            jobs = self.jobs.value() or None
            self.wanted.emit(
                PlanRequest(
                    self._serial, self._base, self.rows.axes, self.seeds.text(), jobs, self.verify.isChecked()
                )
            )  # fmt: skip

    @Slot(object)
    def show_plan(self, answer: PlanAnswer) -> None:
        """What came of it."""
        if answer.request.serial != self._serial:
            return
        self._show_wrong(answer.wrong)
        if answer.sweep is None:
            fields = ", ".join(answer.wrong)
            self.words.setText(answer.error or f"To be corrected: {fields}")
            return
        self.answer = answer
        self.words.setText(plan_words(answer))
        self.start.setEnabled(True)

    def _show_wrong(self, wrong: Mapping[str, str]) -> None:
        self.rows.show_wrong(wrong)
        text = wrong.get("seeds", "")
        self.seeds_wrong.setText(text)
        self.seeds_wrong.setVisible(bool(text))
        self.seeds.setAccessibleDescription(text)

    @Slot()
    def _start(self) -> None:
        if self.answer is not None and self.folder.text().strip():
            self.started.emit(self.answer, Path(self.folder.text().strip()).expanduser())

    def begun(self) -> None:
        """A sweep has been started with it: the next one gets a folder of its own."""
        self._folder_given = False
        self._name_folder()

    def set_theme(self, theme: Theme) -> None:
        """Recolour texts."""
        tint(self.words, theme.text)
        tint(self.seeds_wrong, mix(ORANGE, theme.text, 0.25))
        self.rows.set_theme(theme)
