"""The status bar: where the run is, how fast it goes, what the window costs it, and how promptly the window answers."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer, Slot
from PySide6.QtWidgets import QLabel, QProgressBar, QStatusBar, QWidget

from engine.config.objectives import objectives
from engine.run.snapshot import Snapshot
from fp_gui.bridge.controller import Stats
from fp_gui.folding import FoldingLabel
from fp_gui.theme import named, restyle

LOADING_MS = 200  # what opens sooner does not flicker


class StatusBar(QStatusBar):
    """Filled by :meth:`show_snapshot` at every picture and by :meth:`show_stats` twice a second."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizeGripEnabled(False)
        self.phase = named(QLabel("starting…"), "phase")
        self.phase.setToolTip("What training minimises at present")
        self.step = self._label("Steps taken, of those that the preset schedules")
        self.progress = QProgressBar(textVisible=False)
        self.progress.setFixedSize(130, 10)
        self.progress.setToolTip("How much of the preset's schedule is done")
        self.speed = self._label("Training steps per second")
        self.display = self._label("Share of time the window spends on display, which training cannot use on few cores")
        self.late = self._label(
            "How late the window's 16 ms heartbeat comes, 99th percentile: above 50 ms would feel slow"
        )
        self.device = self._label("Where the tensors live, and CPU threads of the training thread")
        self.folder = FoldingLabel(folds=False, wraps=False)
        self.show_data("")
        self.folder.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.folder.setContentsMargins(6, 0, 6, 0)
        self.neuron = self._label("The chosen neuron, marked in every view that shows neurons; Esc lets it go")
        self.neuron.hide()
        for widget in (self.phase, self.step, self.progress, self.speed, self.neuron):
            self.addWidget(widget)
        for widget in (self.display, self.late, self.device, self.folder):
            self.addPermanentWidget(widget)
        self.setContentsMargins(8, 2, 8, 2)
        self.watching = False  # the run is trained elsewhere, if at all
        self._opening = ""  # the label of the run that is being opened
        self._soon = QTimer(self, singleShot=True, interval=LOADING_MS)
        self._soon.timeout.connect(self._loading)

    def _label(self, tip: str) -> QLabel:
        label = QLabel()
        label.setToolTip(tip)
        label.setContentsMargins(6, 0, 6, 0)
        return label

    def show_loading(self, label: str) -> None:
        """A run called ``label`` is being opened, its data loaded: say so if it takes a while."""
        self._opening = label
        self._soon.start()

    @Slot()
    def _loading(self) -> None:
        self._show_phase(f"loading {self._opening}…", "")
        self.progress.setRange(0, 0)

    def show_loaded(self) -> None:
        """It is open; its first snapshot says the rest."""
        if self._soon.isActive():
            self._soon.stop()
        else:
            self._show_phase("ready", "")
            self.progress.setRange(0, 1)

    def show_data(self, words: str) -> None:
        """Classes and counts of what the run learns, where it reads them from files; else empty."""
        tip = "The run's folder; File → Reveal run folder opens it"
        self.folder.setToolTip(f"{tip}\nData: {words}" if words else tip)

    def show_no_run(self) -> None:
        """It could not be opened, and there is no other."""
        self.show_loaded()
        self._show_phase("no run", "")

    def _show_phase(self, text: str, objective: str) -> None:
        self.phase.setText(text)
        self.phase.setProperty("objective", objective)
        restyle(self.phase)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Phase, step, progress, device and folder."""
        phase = snapshot.newest_phase
        if self.phase.property("objective") != phase:
            self._show_phase(objectives[phase].title, phase)
        total = snapshot.config.schedule.total
        by_hand = "" if snapshot.scheduled or snapshot.finished else " · schedule off"
        beyond = snapshot.newest - total
        where = f" of {total:,}" if beyond <= 0 else f" · {beyond:,} after the schedule's end"
        if snapshot.looking:
            text = f"looking at step {snapshot.step:,} · now {snapshot.newest:,}"
        else:
            text = f"step {snapshot.newest:,}{where}{by_hand if beyond <= 0 else ''}"
        self.step.setText(text.replace(",", "\u2009"))
        self.progress.setRange(0, max(1, total))
        self.progress.setValue(min(snapshot.newest, max(1, total)))
        threads = f"{snapshot.threads} thread{'s' if snapshot.threads != 1 else ''}"
        self.device.setText(f"{snapshot.device} · {threads}")
        self.folder.setText(snapshot.folder.name)

    def show_neuron(self, neuron: int) -> None:
        """Name the chosen neuron; −1 for none."""
        self.neuron.setText(f"neuron {neuron}" if neuron >= 0 else "")
        self.neuron.setVisible(neuron >= 0)

    def show_stats(self, stats: Stats, playing: bool) -> None:
        """Speed, display share and lateness."""
        speed = stats.steps_per_second
        still = "watching" if self.watching else "paused"
        self.speed.setText(f"{speed:.{0 if speed >= 10 else 1}f} steps/s" if playing else still)
        self.display.setText(f"display {stats.display_share:.0%}")
        self.late.setText(f"lateness p99 {stats.lateness_ms:.0f} ms")
