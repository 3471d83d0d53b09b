"""Claims: what the paper says, what this run says of it, and the rule that decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from engine.claims.base import Claim, Figure, Part, Verdict, check, parts_text
from engine.config.experiment import Config
from engine.core.history import Series
from engine.core.labels import figure_name
from engine.core.measurement import Measurement
from engine.figures.claims import VIEW
from engine.figures.declare import ViewDeclaration
from engine.run.snapshot import Event, Snapshot, protocol_at
from engine.studies.questions.claims import ClaimRecord, ClaimsStudy, checked_at, read_claims
from engine.studies.sanity_warnings import read_warnings
from fp_gui.tasks import Task
from fp_gui.theme import LIGHT, VERMILION, Theme, mix, named
from fp_gui.views.base import views
from fp_gui.views.task_view import TaskView
from fp_gui.views.widgets import line, tint

VERIFY = Task("claims", "Verify (slow)", ("--verify",))
CAPTION = "The paper's claims, decided by the figures of this run and the rule on each card."
SLOW = "Press “Verify (slow)” to measure it."
UNDECIDED = "Not all figures that the rule needs were measured."
ELSEWHERE = "This claim is about another kind of run: sparse-coding presets and image presets decide different claims."


class Live:
    """A snapshot as the source of figures."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @property
    def config(self) -> Config:
        """The knobs now."""
        return self._snapshot.config

    @property
    def events(self) -> tuple[Event, ...]:
        """All changes."""
        return self._snapshot.events

    def names(self) -> Iterable[str]:
        """The metrics that were recorded."""
        return self._snapshot.history

    def series(self, name: str) -> Series | None:
        """All values of a metric."""
        return self._snapshot.history.get(name)

    def protocol(self, name: str, step: int) -> Measurement | None:
        """How it was measured at ``step``."""
        return protocol_at(self._snapshot.protocols.get(name, ()), step)


@dataclass(frozen=True, slots=True)
class Shown:
    """What one card shows: a claim, its verdict with evidence, and a remark on where they come from."""

    claim: Claim
    verdict: Verdict
    evidence: tuple[Figure, ...]
    rule: str
    remark: str
    parts: tuple[Part, ...] = ()


LIVE = (1, 2, 3, 4, 7, 11)  # decided by the run's own reports
VERIFIED = ("verified/", "rival/", "transfer/", "local/", "low_rank/")  # what only the slow evaluation records


def merge(live: Sequence[Claim], records: Sequence[ClaimRecord], step: int) -> tuple[Shown, ...]:
    """The live claims, but for those that the last verification decided; a claim only one of them has is kept."""
    found = {record.id: record for record in records}
    at = checked_at(records)
    merged = []
    for claim in live:
        record = found.get(claim.id)
        if record is None or record.verdict == "not measured":
            missing = claim.waits or (UNDECIDED if claim.id in LIVE else SLOW) if claim.applies else ELSEWHERE
            remark = "" if claim.verdict != "not measured" else missing
            merged.append(Shown(claim, claim.verdict, claim.evidence, claim.rule, remark, claim.parts))
            continue
        remark = f"{checked([record])} at step {at:,}."
        if step > at and claim.verdict not in ("not measured", record.verdict):
            remark += f" The live figures now say: {claim.verdict}."
        merged.append(Shown(claim, record.verdict, record.evidence, record.rule, remark, record.parts))
    return tuple(merged)


def checked(records: Sequence[ClaimRecord]) -> str:
    """``Verified`` if the slow evaluation is among the evidence, else ``Checked``."""
    verified = any(f.name.startswith(VERIFIED) for r in records for f in r.evidence)
    return "Verified" if verified else "Checked"


def age(records: Sequence[ClaimRecord], step: int) -> str:
    """How old the last verification is, e.g. ``Verified at step 3,000; now at step 3,761.``; empty without one."""
    if not records:
        return ""
    at = checked_at(records)
    return f"{checked(records)} at step {at:,}" + (f"; now at step {step:,}." if step > at else ".")


def summary(shown: Sequence[Shown]) -> str:
    """``5 hold · 1 does not hold · 3 not measured``."""
    counts = {verdict: sum(s.verdict == verdict for s in shown) for verdict in VIEW.looks}
    hold, fail, unknown = counts.values()
    parts = [f"{hold} hold{'s' if hold == 1 else ''}", f"{fail} do{'es' if fail == 1 else ''} not hold"]
    return " · ".join([*parts, f"{unknown} not measured"])


class Card(QFrame):
    """One claim."""

    show_pressed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        named(self, "claim")
        self.shown: Shown | None = None
        self._theme = LIGHT
        self.number = named(QLabel(), "number")
        self.title = named(line(), "title")
        self.badge = named(QLabel(), "verdict")
        self.badge.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.plain = named(line(), "plain")  # says a contradiction in so many words
        self.figures = QLabel(wordWrap=True)
        self.figures.setTextFormat(Qt.TextFormat.RichText)
        self.remark, self.rule, self.about = (named(line(), "muted") for _ in range(3))
        for label in (self.title, self.figures, self.remark, self.rule, self.about):
            label.setMinimumWidth(1)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.about.hide()
        self.ask = QToolButton(autoRaise=True)
        self.ask.setText("What is this?")
        self.ask.setCheckable(True)
        self.ask.setToolTip("Say in a sentence what the claim means")
        self.ask.toggled.connect(self.about.setVisible)
        self.show_button, self.beside_button = QPushButton("Show"), QPushButton()
        self.show_button.clicked.connect(self._press)
        self.beside_button.clicked.connect(self._press_beside)
        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(self.number, 0, Qt.AlignmentFlag.AlignTop)
        top.addWidget(self.title, 1)
        top.addWidget(self.badge, 0, Qt.AlignmentFlag.AlignTop)
        foot = QHBoxLayout()
        foot.addWidget(self.rule, 1)
        foot.addWidget(self.ask, 0, Qt.AlignmentFlag.AlignBottom)
        for button in (self.show_button, self.beside_button):
            foot.addWidget(button, 0, Qt.AlignmentFlag.AlignBottom)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(4)
        layout.addLayout(top)
        for label in (self.plain, self.figures, self.remark):
            layout.addWidget(label)
        layout.addLayout(foot)
        layout.addWidget(self.about)

    @Slot()
    def _press(self) -> None:
        if self.shown is not None:
            self.show_pressed.emit(self.shown.claim.view)

    @Slot()
    def _press_beside(self) -> None:
        if self.shown is not None:
            self.show_pressed.emit(self.shown.claim.beside)

    def set_shown(self, shown: Shown) -> None:
        """Show a claim; nothing is done if it is as before."""
        if shown == self.shown:
            return
        self.shown = shown
        claim = shown.claim
        self.number.setText(str(claim.id))
        self.title.setText(claim.title)
        words = "not yet" if shown.verdict == "not measured" and claim.waits else shown.verdict
        self.badge.setText(f"{VIEW.looks[shown.verdict].label} {words}")
        self.badge.setAccessibleName(f"Claim {claim.id}: {words}")
        contradicts = shown.verdict == "does not hold"
        plain = "The claim does not hold in this run: its figures contradict the paper." if contradicts else ""
        self.plain.setText(". ".join(filter(None, (parts_text(shown.parts), plain))))
        self.plain.setVisible(bool(self.plain.text()))
        self.remark.setText(shown.remark)
        self.remark.setVisible(bool(shown.remark))
        self.rule.setText(f"Rule: {shown.rule}")
        self.about.setText(claim.about)
        self.show_button.setEnabled(claim.applies)
        self.show_button.setToolTip(f"Bring the {views[claim.view].title} view, which shows it")
        self.show_button.setAccessibleName(f"Show claim {claim.id} in {views[claim.view].title}")
        self.beside_button.setVisible(bool(claim.beside))
        if claim.beside:
            self.beside_button.setText(f"Show {views[claim.beside].title}")
            self.beside_button.setToolTip(f"Bring the {views[claim.beside].title} view, which shows a part of it")
        self._paint()

    def set_theme(self, theme: Theme) -> None:
        """Take new colours."""
        self._theme = theme
        self._paint()

    def _paint(self) -> None:
        theme, shown = self._theme, self.shown
        if shown is None:
            return
        self.setStyleSheet(self._sheet(theme, shown.verdict))
        rows = [self._figure(figure, theme) for figure in shown.evidence]
        self.figures.setText("".join(rows))
        self.figures.setVisible(bool(rows))

    @staticmethod
    def _sheet(theme: Theme, verdict: Verdict) -> str:
        colour, share = VIEW.looks[verdict].colour(theme.dark), 0.22
        back = mix(theme.base, colour, share + 0.1 if theme.dark else share)
        edge = VERMILION if verdict == "does not hold" else theme.grid
        return f"""
            QFrame#claim {{ background: {theme.base}; border: 1px solid {edge}; border-radius: 6px; }}
            QLabel#title {{ color: {theme.text}; font-weight: bold; }}
            QLabel#plain {{ color: {mix(VERMILION, theme.text, 0.25)}; }}
            QLabel#muted {{ color: {theme.muted}; }}
            QLabel#number {{ color: {theme.muted}; font-weight: bold; min-width: 16px; }}
            QLabel#verdict {{ padding: 2px 9px; border-radius: 9px; font-weight: bold; color: {theme.text};
                background: {back}; }}
        """

    @staticmethod
    def _figure(figure: Figure, theme: Theme) -> str:
        interval = ""
        if figure.low is not None and figure.high is not None:
            interval = f" [{figure.low:.3f}, {figure.high:.3f}]"
        how = f" · {escape(figure.protocol)}" if figure.protocol else ""
        return (
            f'<div style="color:{theme.text}">{escape(figure_name(figure.name))} <b>{figure.value:.3f}</b>{interval}'
            f' <span style="color:{theme.muted}">at step {figure.step:,}{how}</span></div>'
        )


@views.register(VIEW.name, order=VIEW.order)
class ClaimsView(TaskView):
    """One card a claim. The live figures decide until a verification has."""

    declaration: ClassVar[ViewDeclaration] = VIEW
    file: ClassVar[str] = ClaimsStudy.file
    tasks: ClassVar[tuple[tuple[Task, str], ...]] = (
        (
            VERIFY,
            "Save a checkpoint and measure everything that the claims need: strong attacks, certificate, baselines, "
            "transfer, low rank.\nTakes minutes, in another process; training goes on. It can be cancelled.",
        ),
    )

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.records: tuple[ClaimRecord, ...] = ()
        self.shown: tuple[Shown, ...] = ()
        self._live: tuple[Claim, ...] = ()
        self._key: tuple[object, ...] = ()
        self.cards: list[Card] = []
        self.summary = line()
        font = self.summary.font()
        font.setBold(True)
        self.summary.setFont(font)
        self.caption = line(CAPTION)
        self.warnings = line()
        self.warnings.hide()
        self.task_bar.add_note(self.summary)
        self._column = QVBoxLayout()
        self._column.setContentsMargins(0, 0, 4, 0)
        self._column.setSpacing(7)
        self.body = QWidget()
        outer = QVBoxLayout(self.body)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addLayout(self._column)
        outer.addStretch(1)
        self.area = QScrollArea(widgetResizable=True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setAccessibleName("The claims")
        self.area.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # so that the arrow keys scroll
        self.area.setBackgroundRole(QPalette.ColorRole.Window)
        self.area.setWidget(self.body)
        self.setFocusProxy(self.area)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addWidget(self.task_bar)
        for label in (self.caption, self.warnings, self.problem):
            layout.addWidget(label)
        layout.addWidget(self.area, 1)
        self.set_theme(self.theme)

    def read(self, folder: Path) -> None:
        """Read the claims that were decided last."""
        self.records = read_claims(folder)
        found = read_warnings(folder)
        self.warnings.setText("\n".join(f"⚠ Step {w.step:,}: {w.text} ({w.evidence})" for w in found))
        self.warnings.setVisible(bool(found))

    def unread(self) -> None:
        """Only the live figures count."""
        self.records = ()
        self.warnings.hide()
        self.warnings.setText("")

    def forget(self) -> None:
        """No claim is decided."""
        super().forget()
        self._live, self._key, self.shown = (), (), ()
        while self.cards:
            card = self.cards.pop()
            card.setParent(None)
            card.deleteLater()
        self.caption.setText(CAPTION)
        self.summary.setText("")

    def update_view(self, snapshot: Snapshot) -> None:
        """Decide the claims anew if the run has got any further, and show those that changed."""
        history = snapshot.history
        counts = tuple(len(history[name]) for name in history)
        key = (snapshot.run, snapshot.step, snapshot.config, len(snapshot.events), counts)
        if key != self._key:
            self._key = key
            self._live = tuple(check(Live(snapshot)))
        self.caption.setText(f"{CAPTION} {age(self.records, snapshot.step)}".rstrip())
        shown = merge(self._live, self.records, snapshot.step)
        if shown != self.shown:
            self.shown = shown
            self._show()

    def _show(self) -> None:
        while len(self.cards) < len(self.shown):
            card = Card()
            card.set_theme(self.theme)
            card.show_pressed.connect(self.view_requested)
            self.cards.append(card)
            self._column.addWidget(card)
        for card, shown in zip(self.cards, self.shown, strict=True):
            card.set_shown(shown)
        self.summary.setText(summary(self.shown))

    def set_theme(self, theme: Theme) -> None:
        """Recolour the cards."""
        super().set_theme(theme)
        tint(self.caption, theme.muted)
        tint(self.warnings, theme.text)
        tint(self.summary, theme.text)
        for card in self.cards:
            card.set_theme(theme)
