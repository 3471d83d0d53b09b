"""The controls of feature visualisation: which units, from where, how far, and its progress."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Signal, Slot
from PySide6.QtWidgets import (
    QLineEdit,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from engine.core.errors import ConfigError
from engine.core.results import FeatureRequest, Features, LayerInfo
from engine.figures.features import ASCENT, MOST, parse_units
from fp_gui.folding import ControlRow
from fp_gui.number_boxes import DecimalBox, WholeBox
from fp_gui.theme import ORANGE, VERMILION, Theme
from fp_gui.views.widgets import Choice, line, tint

PAGE = 9  # units that are visualised at a time, unless others are asked for
IMAGES = 500  # held-out images that can be chosen before it is known how many there are
ASCENT_IMAGE = next(option for option in ASCENT if option.name == "image")
HUNDRED = 100  # per cent, steps of the progress bar
NOTHING = FeatureRequest("", ())  # asks for nothing: what is under way is given up


def units_text(first: int, count: int) -> str:
    """The page of units that begins with ``first``, of a layer of ``count``."""
    last = min(first + PAGE, count) - 1
    return f"{first}-{last}" if last > first else str(first)


def protocol_text(features: Features, seed: int) -> str:
    """How the pictures were made."""
    request = features.request
    origin = "noise" if request.origin == "noise" else f"held-out image {request.image + 1}"
    return (
        f"Gradient ascent, {request.steps} steps, ℓ2 ≤ {request.tau:g} from {origin}, pixels in [0, 1], seed {seed}; "
        f"estimate, step {features.step:,}."
    )


class FeatureControls(QWidget):
    """Asks for the units of one layer; ``requested`` carries a :class:`FeatureRequest`, one without units to stop."""

    requested = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.layer = LayerInfo("", "conv", (PAGE,))
        self.live: FeatureRequest | None = None  # what was asked for and not stopped
        options = {each.name: each for each in ASCENT}
        self.units = QLineEdit(units_text(0, PAGE))
        self.units.setToolTip(f"{options['units'].doc} At most {MOST} at a time.")
        self.units.setAccessibleName("Units")
        self.units.setMinimumWidth(60)
        self.previous = self._arrow("◀", "Previous units", -1)
        self.next = self._arrow("▶", "Next units", 1)
        self.origin = Choice.of(options["origin"])
        self.image = WholeBox()
        self.image.setRange(1, IMAGES)
        self.image.setToolTip(ASCENT_IMAGE.doc)
        self.image.setAccessibleName("Held-out image")
        self.image.setEnabled(False)
        self.tau = DecimalBox()
        self.tau.setRange(0.1, 100.0)
        self.tau.setDecimals(1)
        self.tau.setValue(NOTHING.tau)
        self.tau.setToolTip(options["tau"].doc)
        self.tau.setAccessibleName("Radius")
        self.steps = WholeBox()
        self.steps.setRange(1, 1000)
        self.steps.setValue(NOTHING.steps)
        self.steps.setToolTip(options["steps"].doc)
        self.steps.setAccessibleName("Steps")
        self.start = QPushButton("Make pictures")
        self.start.setToolTip(
            "Make the pictures beside training, as time allows. They are renewed while training goes on."
        )
        self.stop = QPushButton("Stop")
        self.stop.setToolTip("Give up what is under way; the pictures that are there stay.")
        self.bar = QProgressBar()
        self.bar.setRange(0, HUNDRED)
        self.bar.setMaximumHeight(self.fontMetrics().height() + 2)
        self.problem = line()
        self._build()
        self.units.textChanged.connect(self._check)
        self.units.returnPressed.connect(self._start)
        for spin in (self.image, self.steps, self.tau):
            spin.valueChanged.connect(self._check)
        self.origin.currentIndexChanged.connect(self._check)
        self.start.clicked.connect(self._start)
        self.stop.clicked.connect(self._stop)
        self._check()

    def _build(self) -> None:
        row = ControlRow()
        row.add(line("Units", wrap=False), self.previous, self.units, self.next)
        row.add(line("from", wrap=False), self.origin, self.image)
        for name, spin in (("ℓ2 ≤", self.tau), ("steps", self.steps)):
            row.add(line(name, wrap=False), spin)
        row.add(self.start, self.stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(row)
        layout.addWidget(self.bar)
        layout.addWidget(self.problem)

    def _arrow(self, text: str, tip: str, way: int) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setToolTip(tip)
        button.setAccessibleName(tip)
        button.setAutoRaise(True)
        button.clicked.connect(lambda: self._turn(way))
        return button

    def request(self) -> FeatureRequest | None:
        """What the controls ask for, or None if the units cannot be read."""
        try:
            units = parse_units(self.units.text(), self.layer.units)
        except ConfigError:
            return None
        return FeatureRequest(
            self.layer.name, units, self.origin.value, self.tau.value(), self.steps.value(), self.image.value() - 1
        )

    def set_layer(self, layer: LayerInfo) -> None:
        """Turn to another layer: to its first units, if the chosen ones are none of its; live pictures follow."""
        if layer == self.layer:
            return
        self.layer = layer
        if self.request() is None:
            self.units.setText(units_text(0, layer.units))
        self._check()
        if self.live is not None:
            self._start()

    def set_images(self, count: int) -> None:
        """How many held-out images there are to begin from; 0 if that is not known."""
        most = count or IMAGES
        if most != self.image.maximum():
            self.image.setMaximum(most)
            self.image.setToolTip(f"{ASCENT_IMAGE.doc} Allowed: 1 to {most:,}.")

    def show_progress(self, features: Features | None) -> None:
        """Show how much of ``features`` is done."""
        share = 0.0 if features is None else features.share
        self.bar.setValue(round(share * HUNDRED))
        self.bar.setVisible(self.live is not None)
        renewed = features is not None and share >= 1
        self.bar.setToolTip("Done; renewed when the weights have changed." if renewed else "Making the pictures.")

    def forget(self) -> None:
        """Another run: nothing was asked of it."""
        self.live = None
        self.show_progress(None)
        self._check()

    def _turn(self, way: int) -> None:
        """The page of units before or after; live pictures follow."""
        count, now = self.layer.units, self.request()
        units = now.units if now is not None else (0,)
        first = min(units) - PAGE if way < 0 else max(units) + 1
        self.units.setText(units_text(max(0, min(first, count - 1)), count))
        if self.live is not None:
            self._start()

    @Slot()
    def _check(self) -> None:
        """Say what is wrong with the units, and whether there is something to start or to stop."""
        self.image.setEnabled(self.origin.value == "image")
        text, request = "", self.request()
        try:
            units = parse_units(self.units.text(), self.layer.units)
        except ConfigError as error:
            text = str(error)
        else:
            self.previous.setEnabled(min(units) > 0)
            self.next.setEnabled(max(units) < self.layer.units - 1)
        self.problem.setText(text)
        self.problem.setVisible(bool(text))
        self.start.setEnabled(request is not None and request != self.live)
        self.stop.setEnabled(self.live is not None)

    @Slot()
    def _start(self) -> None:
        request = self.request()
        if request is not None and request != self.live:
            self.live = request
            self._check()
            self.show_progress(None)
            self.requested.emit(request)

    @Slot()
    def _stop(self) -> None:
        self.live = None
        self._check()
        self.show_progress(None)
        self.requested.emit(NOTHING)

    def set_theme(self, theme: Theme) -> None:
        """Recolour the message."""
        tint(self.problem, ORANGE if theme.dark else VERMILION)

    def options(self) -> dict[str, str]:
        """``units``, ``origin``, ``image`` (from 1), ``tau``, ``steps``."""
        return {
            "units": self.units.text(), "origin": self.origin.value, "image": str(self.image.value()),
            "tau": f"{self.tau.value():g}", "steps": str(self.steps.value()),
        }  # fmt: skip

    def set_options(self, options: dict[str, str]) -> None:
        """Inverse of :meth:`options`; nothing is started by it."""
        with QSignalBlocker(self.units), QSignalBlocker(self.origin):
            try:
                parse_units(options.get("units", ""), 10**6)
            except ConfigError:
                pass
            else:
                self.units.setText(options["units"])
            self.origin.value = options.get("origin", self.origin.value)
        for name, spin in (("image", self.image), ("steps", self.steps), ("tau", self.tau)):
            try:
                value = float(options.get(name, ""))
            except ValueError:
                continue
            if spin.minimum() <= value <= spin.maximum():
                with QSignalBlocker(spin):
                    spin.setValue(int(value) if isinstance(spin, WholeBox) else value)  # type: ignore[arg-type]
        self._check()
