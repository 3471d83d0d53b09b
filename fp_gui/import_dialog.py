"""Asks for two networks that were trained elsewhere: files, network, data, normalisation; and makes a run of them.

The work is the engine's command ``import`` in another process, so that the window stays free; what it refuses is said
here, at the field, and the dialog stays.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import get_args

from PySide6.QtCore import QSettings, Qt, Signal, Slot
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from engine.config.assignments import parse_assignment
from engine.core.errors import ConfigError
from engine.core.files import absolute
from engine.data.images import sources
from engine.imports.request import ImportRequest, Normalisation
from engine.models.base import networks
from fp_gui.data_dialog import chosen_folder
from fp_gui.dialog_size import open_size
from fp_gui.tasks import EngineProcess
from fp_gui.theme import ORANGE, VERMILION, Theme
from fp_gui.views.widgets import line, tint

GRACE_MS = 3000  # for a cancelled import to remove what it had begun
THOUSAND = 1000  # steps of the progress bar
WEIGHTS = "Weights (*.safetensors *.pt *.pth *.ckpt)"
INTRO = (
    "Two networks that were trained elsewhere become a run that every view reads: one after clean training, one after "
    "adversarial training. The files are only read, and no code in them is run."
)
LABELS = {
    "--model": "Network", "--data": "Data", "world.folder": "Data folder", "--clean": "Clean weights",
    "--robust": "Robust weights", "--start": "Start weights", "--normalisation": "Normalisation", "--mean": "Mean",
    "--std": "Deviation", "--expect-accuracy": "Expected accuracy", "--set": "Other knobs", "--out": "Run folder",
}  # fmt: skip
FILES = ("--clean", "--robust", "--start")


def model_names() -> list[str]:
    """The networks, those of several depths once with each."""
    found = []
    for name in networks:
        field = networks[name].knobs.model_fields.get("depth")
        found += [f"{name}{depth}" for depth in get_args(field.annotation)] if field is not None else [name]
    return found


def arguments(words: list[str]) -> list[str]:
    """The command line after the Python interpreter."""
    return ["-m", "engine", "import", *words]


class ImportDialog(QDialog):
    """Fields by the option of the command that each stands for. Closing the dialog ends an import."""

    made = Signal(object, str)  # the folder of the new run, and what the user should know of it

    def __init__(self, settings: QSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Import")
        self.settings = settings
        self._folder = Path()
        self._process = EngineProcess(self, grace_ms=GRACE_MS)
        self._process.progressed.connect(self._progressed)
        self._process.succeeded.connect(self._succeeded)
        self._process.failed.connect(self._failed)
        self._process.cancelled.connect(self._cancelled)
        self.choices = {
            "--model": self._choice(model_names()),
            "--data": self._choice(list(sources)),
            "--normalisation": self._choice(["as the files say", *get_args(Normalisation)]),
        }
        self.texts = {option: QLineEdit() for option in LABELS if option not in self.choices}
        self._hints()
        self.problem = line()
        self.problem.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.bar = QProgressBar(textVisible=False)
        self.progress = line(wrap=False)
        self.go = QPushButton("Import", autoDefault=False)
        self.go.setDefault(True)
        self.go.clicked.connect(self._start)
        self.cancel = QPushButton("Cancel", autoDefault=False)
        self.cancel.clicked.connect(self.reject)
        self._lay_out()
        self.choices["--data"].currentIndexChanged.connect(self._data_chosen)
        self.choices["--normalisation"].currentIndexChanged.connect(self._show)
        self._data_chosen()

    # -- the fields ----------------------------------------------------------------------------------------------

    @staticmethod
    def _choice(names: list[str]) -> QComboBox:
        made = QComboBox()
        made.addItems(names)
        return made

    def _hints(self) -> None:
        for option, widget in (self.choices | self.texts).items():
            widget.setAccessibleName(LABELS[option])
        for option, hint in {
            "--start": "weights before any training, if they were kept",
            "--mean": "of pixels from 0 to 1, a number a channel: 0.491, 0.482, 0.447; empty: of the training images",
            "--std": "the same of the deviation",
            "--expect-accuracy": "clean accuracy of the clean network, e.g. 0.95; empty: not compared",
            "--set": "key=value, separated by spaces, e.g. attack.tau=0.5 model.width=32",
            "world.folder": "empty: the default place",
        }.items():
            self.texts[option].setPlaceholderText(hint)
            self.texts[option].setToolTip(hint)
        self.choices["--normalisation"].setToolTip(
            "Inside: the files hold mean and deviation. Outside: images were normalised before the network.\n"
            "None: the network takes pixels from 0 to 1 as they are."
        )

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        for option, label in LABELS.items():
            widget: QWidget = (self.choices | self.texts)[option]
            if option in (*FILES, "world.folder"):
                widget = self._with_browse(option, widget)
            form.addRow(label, widget)
        fields = QWidget()
        fields.setLayout(form)
        area = QScrollArea(widgetResizable=True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(fields)
        below = QHBoxLayout()
        below.addWidget(self.bar)
        below.addWidget(self.progress, 1)
        below.addWidget(self.go)
        below.addWidget(self.cancel)
        intro = line(INTRO)
        layout = QVBoxLayout(self)
        layout.addWidget(intro)
        layout.addWidget(area, 1)
        layout.addWidget(self.problem)
        layout.addLayout(below)
        open_size(self, 720, 560)

    def _with_browse(self, option: str, field: QWidget) -> QWidget:
        button = QPushButton("Browse…", autoDefault=False)
        button.setAccessibleName(f"Browse for {LABELS[option]}")
        button.clicked.connect(lambda: self._browse(option))
        row = QWidget()
        inner = QHBoxLayout(row)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.addWidget(field, 1)
        inner.addWidget(button)
        return row

    def _browse(self, option: str) -> None:
        text = self.texts[option]
        begin = str(Path(text.text()).parent) if text.text() else str(self.settings.value("import/folder", ""))
        if option == "world.folder":
            chosen = QFileDialog.getExistingDirectory(self, LABELS[option], begin)
        else:
            chosen, _ = QFileDialog.getOpenFileName(self, LABELS[option], begin, WEIGHTS)
        if chosen:
            text.setText(chosen)
            self.settings.setValue("import/folder", str(Path(chosen).parent))

    @Slot()
    def _data_chosen(self) -> None:
        name = self.choices["--data"].currentText()
        self.texts["world.folder"].setText(chosen_folder(self.settings, name) if sources[name].in_folder else "")
        self._show()

    @Slot()
    def _show(self) -> None:
        busy = self._process.busy
        for widget in (self.choices | self.texts).values():
            widget.setEnabled(not busy)
        outside = self.choices["--normalisation"].currentText() == "outside"
        for option in ("--mean", "--std"):
            self.texts[option].setEnabled(outside and not busy)
        self.texts["world.folder"].setEnabled(sources[self.choices["--data"].currentText()].in_folder and not busy)
        self.go.setEnabled(not busy)
        self.bar.setVisible(busy)
        self.cancel.setText("Cancel" if busy else "Close")
        if not busy:
            self.progress.setText("")

    # -- what the window tells the dialog ------------------------------------------------------------------------

    def present(self, folder: Path) -> None:
        """Come to the front; ``folder`` is where the run goes, if nothing else was said."""
        if not self.texts["--out"].text() or not self.isVisible():
            self.texts["--out"].setText(str(folder))
        self.show()
        self.raise_()
        self.activateWindow()

    def shut(self) -> None:
        """End what is under way and go: the window closes."""
        self.hide()
        self._process.close()

    def set_theme(self, theme: Theme) -> None:
        """Recolour the texts."""
        tint(self.progress, theme.muted)
        tint(self.problem, ORANGE if theme.dark else VERMILION)

    def reject(self) -> None:
        """Cancel an import that is under way, else close."""
        if self._process.busy:
            self.progress.setText("cancelling")
            self._process.cancel()
            return
        super().reject()

    # -- the work ------------------------------------------------------------------------------------------------

    def words(self) -> list[str]:
        """The command's arguments. Raises :class:`ConfigError` for a field, its option in front."""
        text = {option: field.text().strip() for option, field in self.texts.items()}
        for option in ("--clean", "--robust", "--out"):
            if not text[option]:
                raise ConfigError(f"{option}: none was given; allowed: a {'folder' if option == '--out' else 'file'}")
        try:
            settings = shlex.split(text["--set"])
        except ValueError as error:
            raise ConfigError(f"--set: {error}; allowed: key=value, separated by spaces") from None
        if text["world.folder"] and self.texts["world.folder"].isEnabled():
            settings.append(f"world.folder={absolute(Path(text['world.folder']))}")
        found = [f"{option}={self.choices[option].currentText()}" for option in ("--model", "--data")]
        found += [f"{option}={absolute(Path(text[option]))}" for option in (*FILES, "--out") if text[option]]
        if self.choices["--normalisation"].currentIndex():
            found.append(f"--normalisation={self.choices['--normalisation'].currentText()}")
        numbers = [option for option in ("--mean", "--std") if self.texts[option].isEnabled()]
        found += [f"{o}={text[o].replace(' ', '')}" for o in (*numbers, "--expect-accuracy") if text[o]]
        request = ImportRequest(
            self.choices["--model"].currentText(), self.choices["--data"].currentText(), Path(text["--clean"]),
            Path(text["--robust"]), Path(text["--out"]), settings=tuple(parse_assignment(each) for each in settings),
        )  # fmt: skip
        request.config()  # what can be seen without reading a file is said at once
        return [*found, *(f"--set={each}" for each in settings)]

    @Slot()
    def _start(self) -> None:
        self.problem.setText("")
        try:
            words = self.words()
        except ConfigError as error:
            self._say(str(error))
            return
        self._folder = absolute(Path(self.texts["--out"].text().strip()))
        self.bar.setRange(0, 0)
        self.progress.setText("starting")
        self._process.start(arguments(words))
        self._show()

    @Slot(float, str)
    def _progressed(self, share: float, text: str) -> None:
        self.bar.setRange(0, THOUSAND)
        self.bar.setValue(round(share * THOUSAND))
        self.progress.setText(f"{share:.0%} · {text}")

    @Slot()
    def _succeeded(self) -> None:
        self._show()
        self.hide()
        warnings = [each for each in self._process.errors.splitlines() if each.startswith("warning: ")]
        self.made.emit(self._folder, " ".join(each.removeprefix("warning: ") for each in warnings))

    @Slot(str, str)
    def _failed(self, text: str, details: str) -> None:
        self._show()
        self._say(text)

    @Slot()
    def _cancelled(self) -> None:
        self._show()
        self._say("The import was cancelled: no run was made.")

    def _say(self, text: str) -> None:
        """Say what is wrong, by the field's name on the screen, and put the cursor there."""
        option, separator, rest = text.partition(": ")
        field = (self.choices | self.texts).get(option)
        if field is None and separator and option.split(",")[0] in self.texts:  # of two fields the first
            field = self.texts[option.split(",")[0]]
        if field is None and separator and "." in option and " " not in option:  # a knob
            field = self.texts["--set"]
        elif field is not None:
            text = f"{LABELS.get(option, option)}: {rest}"
        self.problem.setText(text)
        if field is not None:
            field.setFocus()
