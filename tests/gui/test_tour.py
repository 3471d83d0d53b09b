"""The tour, taken with the mouse and the keys over the real engine: it points, waits, moves on, and covers nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QPoint, QRect, QSettings, QSize, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from engine import worlds
from engine.config.experiment import with_values
from engine.config.presets import load_preset
from fp_gui.__main__ import _parser
from fp_gui.export import ExportRequest
from fp_gui.export_dialog import ExportDialog
from fp_gui.main_window import MainWindow
from fp_gui.parts.timeline import Timeline
from fp_gui.parts.tour import OFFERED, Tour
from fp_gui.question_dialog import QuestionDialog
from fp_gui.tour import FOLDED, place_for, shown_part
from fp_gui.tour_stops import STOPS
from fp_gui.views.base import views
from fp_gui.views.neurons import NeuronsView
from tests.gui.fakes import BOTH_KINDS, FakeFactory
from tests.gui.test_main_window import DIGITS, open_window

TITLES = [stop.title for stop in STOPS]
LEARNS = with_values(
    load_preset("small"),
    {
        "device": "cpu", "threads": 1, "world.d": 36, "model.m": 80, "training.batch_size": 64, "attack.tau": 0.22,
        "schedule.clean_steps": 3000, "schedule.second_steps": 300, "evaluation.every": 20, "evaluation.size": 128,
        "evaluation.steps": 5, "evaluation.certify_every": 0, "evaluation.report_size": 64,
        "evaluation.report_steps": 3, "evaluation.report_restarts": 1,
    },
)  # fmt: skip


@pytest.fixture
def window(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    """The home views over a network that learns, is fooled, and purifies within a second or two."""
    types = tuple(views[name] for name in ("neurons", "mixtures", "robustness"))
    made = open_window(worlds, qapp, types=types, config=LEARNS)
    made.activateWindow()
    qtbot.waitUntil(lambda: made.controller.last is not None, timeout=20_000)
    yield made
    made.close()
    made.deleteLater()


@pytest.fixture
def quick(qapp: QApplication, qtbot: QtBot) -> Iterator[MainWindow]:
    """The window over a session without torch."""
    made = open_window(FakeFactory(), qapp)
    made.activateWindow()
    qtbot.waitUntil(lambda: made.controller.last is not None and made.isActiveWindow())
    yield made
    made.close()
    made.deleteLater()


def tour(window: MainWindow) -> Tour:
    part = window.parts["tour"]
    assert isinstance(part, Tour)
    return part


def timeline(window: MainWindow) -> Timeline:
    part = window.parts["timeline"]
    assert isinstance(part, Timeline)
    return part


def click(widget: QWidget, at: QPoint | None = None) -> None:
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton, pos=widget.rect().center() if at is None else at)


def at_stop(window: MainWindow, qtbot: QtBot, title: str) -> str:
    """Waits until the tour stands there, sees that the card covers nothing it points at; what it says was done."""
    part, card = tour(window), tour(window).spotlight.card
    qtbot.waitUntil(lambda: part.stop is not None and card.title.text() == title, timeout=30_000)
    qtbot.waitUntil(lambda: not faults(window), timeout=2000)
    assert card.counter.text() == f"{TITLES.index(title) + 1} of {len(TITLES)}"
    assert card.text.text() in card.accessibleName()
    return card.said.text()


def faults(window: MainWindow) -> list[str]:
    """What is wrong with the card and the shade as they are now."""
    part = tour(window)
    card, shade = part.spotlight.card, part.spotlight.shade
    assert part.stop is not None
    targets = [shown_part(widget, window) for widget in part.stop.targets()]
    found = [f"{rect} is dark" for rect in targets if not any(bright.contains(rect) for bright in shade.bright)]
    found += [f"{bright} is covered" for bright in shade.bright if bright.intersects(card.geometry())]
    found += ["a target cannot be seen"] * any(rect.isEmpty() for rect in targets)
    found += ["the card leaves the window"] * (not window.rect().contains(card.geometry()))
    column = card.layout()
    assert column is not None
    found += ["the card cuts its text"] * (column.totalHeightForWidth(card.width()) > card.height())
    middle = window.childAt(card.geometry().center())
    found += ["something is in front of the card"] * (middle is not card and not card.isAncestorOf(middle))
    found += ["the shade does not cover the window"] * (shade.geometry() != window.rect())
    return found


def cut(widget: QWidget, window: MainWindow) -> bool:
    return shown_part(widget, window).size() != widget.size()


def knob(window: MainWindow) -> QLineEdit:
    row = next(iter(window.form.parameters["attack.tau"].items.keys()))
    assert isinstance(row.field.control, QLineEdit)
    return row.field.control


def take_export(window: MainWindow, qtbot: QtBot) -> None:
    """Presses Export in the dialog, as it is."""
    qtbot.waitUntil(lambda: bool(window.findChildren(ExportDialog)))
    (dialog,) = window.findChildren(ExportDialog)
    click(dialog.export_button)


def test_the_whole_tour_by_mouse_and_keys(window: MainWindow, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    part, card = tour(window), tour(window).spotlight.card
    assert part.welcome is not None
    assert part.welcome.isVisible()
    click(part.welcome.tour)
    assert not part.welcome.isVisible()
    assert at_stop(window, qtbot, "Let it learn") == ""
    click(window.toolbar.play)
    assert at_stop(window, qtbot, "Train against the attack").startswith("✓ At step ")
    qtbot.waitUntil(lambda: not window.controller.playing)  # so that the schedule does not switch while one reads
    last = window.controller.last
    assert last is not None
    assert last.newest_phase == "clean"
    qtbot.keyClick(card, Qt.Key.Key_T)
    assert "adversarial from step" in at_stop(window, qtbot, "Watch it purify")
    assert window.toolbar.play in part.stop.targets()  # type: ignore[union-attr]
    qtbot.keyClick(card, Qt.Key.Key_Space)
    assert "right under attack again" in at_stop(window, qtbot, "Go back in time")
    window.controller.pause()
    canvas = timeline(window).bar.canvas
    click(canvas, QPoint(round(canvas.x_of(40)), 12))
    assert at_stop(window, qtbot, "And back to now").startswith("✓ Every panel shows step ")
    click(timeline(window).bar.now)
    assert at_stop(window, qtbot, "Turn a knob") == "✓ This is the present."
    field = knob(window)
    qtbot.waitUntil(field.hasFocus)  # one types at once
    field.selectAll()
    qtbot.keyClicks(field, "0.3")
    qtbot.keyClick(field, Qt.Key.Key_Return)
    assert at_stop(window, qtbot, "Take it back") == "✓ attack.tau is 0.3."
    assert card.hasFocus()
    qtbot.keyClick(card, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert at_stop(window, qtbot, "Follow one neuron") == "✓ attack.tau is 0.22 again."
    view = window.shelf.get("neurons")
    assert isinstance(view, NeuronsView)
    gallery, neuron = view.galleries[2], int(view.order[3])
    assert gallery.grid is not None
    tile = gallery.grid.rect(neuron)
    assert tile is not None
    spot = gallery.plot.mapFromScene(gallery.box.mapViewToScene(tile.center()))
    QTest.mouseMove(gallery.plot.viewport(), spot)
    click(gallery.plot.viewport(), spot)
    assert at_stop(window, qtbot, "Take it with you") == f"✓ Neuron {neuron} is marked."
    asked: list[ExportRequest] = []
    monkeypatch.setattr(window.exporter, "request", asked.append)
    click(window.toolbar.buttons[-1])
    take_export(window, qtbot)
    window.exporter.done.emit(str(asked[0].out))
    assert str(asked[0].out) in at_stop(window, qtbot, "That is all you need")
    assert card.next.text() == "&Finish"
    qtbot.keyClick(card, Qt.Key.Key_Return)
    assert part.stop is None
    assert not card.isVisible()
    assert not part.spotlight.shade.isVisible()
    assert window.shelf.chosen == neuron
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    qtbot.keyClick(window, Qt.Key.Key_Escape)  # the key is the window's again
    qtbot.waitUntil(lambda: window.shelf.chosen == -1)


def test_what_was_done_before_waits_for_next_and_does_not_throw_one_forward(quick: MainWindow, qtbot: QtBot) -> None:
    part, card = tour(quick), tour(quick).spotlight.card
    quick.actions_["tour"].trigger()
    quick.controller.play()
    at_stop(quick, qtbot, "Right, but easily fooled")
    click(card.back)
    at_stop(quick, qtbot, "Let it learn")
    qtbot.wait(150)
    assert part.number == 0  # it plays, and one can read all the same
    assert not card.back.isEnabled()
    assert card.next.isDefault()
    quick.controller.pause()
    qtbot.waitUntil(lambda: not quick.controller.playing)
    quick.controller.play()  # this was done now
    at_stop(quick, qtbot, "Right, but easily fooled")
    quick.controller.pause()


def test_all_of_it_with_the_keys_of_the_card(quick: MainWindow, qtbot: QtBot) -> None:
    part, card = tour(quick), tour(quick).spotlight.card
    quick.actions_["tour"].trigger()
    for title in TITLES:
        at_stop(quick, qtbot, title)
        if title == "Turn a knob":
            assert knob(quick).hasFocus()
            qtbot.keyClick(card, Qt.Key.Key_N, Qt.KeyboardModifier.AltModifier)
        else:
            assert card.hasFocus()
            qtbot.keyClick(card, Qt.Key.Key_Return)
    assert part.stop is None
    quick.actions_["tour"].trigger()
    plain = card.grab().toImage()
    seen = []
    for _ in range(2):
        qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Tab)
        focused = QApplication.focusWidget()
        assert card.isAncestorOf(focused)
        seen.append(focused.accessibleName())
        assert card.grab().toImage() != plain
    assert seen == ["Skip the tour", "Next"]
    qtbot.keyClick(QApplication.focusWidget(), Qt.Key.Key_Space)  # the button's, not Play
    at_stop(quick, qtbot, "Right, but easily fooled")
    assert not quick.controller.playing


@pytest.mark.parametrize("marked", [False, True])
def test_escape_leaves_and_takes_no_mark_away(quick: MainWindow, qtbot: QtBot, marked: bool) -> None:
    quick.shelf.choose(4 if marked else -1)
    quick.actions_["tour"].trigger()
    at_stop(quick, qtbot, "Let it learn")
    qtbot.keyClick(quick, Qt.Key.Key_Escape)
    assert tour(quick).stop is None
    assert quick.shelf.chosen == (4 if marked else -1)
    assert quick.actions_["unmark"].shortcut().toString() == "Esc"


def test_it_follows_the_window_the_panels_and_the_size_of_the_text(quick: MainWindow, qtbot: QtBot) -> None:
    part = tour(quick)
    quick.panels.bring("robustness")
    quick.actions_["tour"].trigger()
    part.next()
    at_stop(quick, qtbot, "Right, but easily fooled")
    bright, dock = part.spotlight.shade.bright, quick.panels.docks["robustness"]
    quick.resize(1024, 768)
    qtbot.waitUntil(lambda: part.spotlight.shade.bright != bright and not faults(quick), timeout=2000)
    for name in ("events", "runs"):
        quick.panels.docks[name].raise_()  # the panel goes behind another
    quick.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, dock)
    qtbot.waitUntil(lambda: shown_part(dock, quick).left() < 40 and not faults(quick), timeout=2000)
    before = part.spotlight.card.size()
    for _ in range(3):
        quick.actions_["larger"].trigger()
    qtbot.waitUntil(lambda: part.spotlight.card.size() != before and not faults(quick), timeout=2000)
    dock.setFloating(True)
    qtbot.waitUntil(lambda: not part.spotlight.card.geometry().intersects(shown_part(dock, quick)), timeout=2000)
    quick.themes.set_mode("dark")
    assert part.spotlight.shade.theme.dark


def test_export_is_found_in_the_menu_that_it_folds_into(quick: MainWindow, qtbot: QtBot) -> None:
    part = tour(quick)
    quick.actions_["tour"].trigger()
    part._go(TITLES.index("Take it with you"))
    at_stop(quick, qtbot, "Take it with you")
    assert part.spotlight.card.text.text().startswith("Press Export")
    folded = set()
    for width in range(1040, 830, -24):  # first into the toolbar's own », then into Qt's
        quick.resize(width, 700)
        qtbot.wait(20)
        qts = quick.toolbar.findChild(QWidget, FOLDED)
        opener = next((w for w in (quick.toolbar.buttons[-1], quick.toolbar.more, qts) if w and w.isVisible()), None)
        assert opener is not None
        name = opener.objectName()
        if name in folded or opener is quick.toolbar.buttons[-1]:
            continue
        folded.add(name)
        at_stop(quick, qtbot, "Take it with you")
        assert part.spotlight.card.text.text().startswith("Press », then Export")
        assert part.spotlight.shade.bright[0].contains(shown_part(opener, quick))
    assert folded == {"more", FOLDED}


def test_the_shade_takes_no_click_and_another_run_begins_it_anew(quick: MainWindow, qtbot: QtBot) -> None:
    part = tour(quick)
    quick.actions_["tour"].trigger()
    part._go(4)
    dark = quick.toolbar.buttons[1]
    assert dark is quick.childAt(dark.mapTo(quick, dark.rect().center()))
    quick.reset()
    qtbot.waitUntil(lambda: part.number == 0, timeout=5000)
    at_stop(quick, qtbot, "Let it learn")


@pytest.mark.parametrize("larger", [0, 3])
def test_on_images_on_a_small_screen_it_speaks_of_images(qapp: QApplication, qtbot: QtBot, larger: int) -> None:
    made = open_window(FakeFactory(), qapp, BOTH_KINDS, DIGITS)
    made.resize(1024, 768)
    for _ in range(larger):
        made.actions_["larger"].trigger()
    qtbot.waitUntil(lambda: made.controller.last is not None)
    welcome = tour(made).welcome
    assert welcome is not None
    for button in (welcome.tour, welcome.questions):
        qtbot.waitUntil(lambda b=button: b.width() >= b.minimumSizeHint().width() and not cut(b, made))
    made.actions_["tour"].trigger()
    texts = []
    for title in TITLES:
        at_stop(made, qtbot, title)
        texts.append(tour(made).spotlight.card.text.text())
        tour(made).next()
    assert "share of images" in texts[1]
    assert "learns from images" in texts[2]
    assert "dot" not in texts[3]
    made.close()
    made.deleteLater()


def test_it_is_offered_once_and_covers_nothing(quick: MainWindow, qapp: QApplication, qtbot: QtBot) -> None:
    welcome = tour(quick).welcome
    assert welcome is not None
    assert welcome.isVisible()
    assert _parser().parse_args([]).start == "small"
    assert quick.controller.run is not None  # ready: the offer waits for nothing and holds nothing up
    around = [
        w for w in quick.form.findChildren(QWidget) if w.isVisible() and not (w is welcome or welcome.isAncestorOf(w))
    ]
    place = shown_part(welcome, quick)
    over = [w for w in around if w.parentWidget() is quick.form and shown_part(w, quick).intersects(place)]
    assert over == []
    assert not quick.banner.isVisible()
    click(welcome.questions)
    qtbot.waitUntil(lambda: bool(quick.findChildren(QuestionDialog)))
    quick.findChildren(QuestionDialog)[0].reject()
    assert not welcome.isVisible()
    assert QSettings().value(OFFERED, False, type=bool) is True
    second = open_window(FakeFactory(), qapp)
    assert tour(second).welcome is None
    second.close()
    second.deleteLater()


def test_an_offer_that_nobody_answered_is_not_made_again(qapp: QApplication, qtbot: QtBot) -> None:
    for offered in (True, False):
        made = open_window(FakeFactory(), qapp)
        assert (tour(made).welcome is not None) == offered
        made.close()
        made.deleteLater()


def test_the_play_button_is_the_one_that_stands_out(quick: MainWindow) -> None:
    play, others = quick.toolbar.play, quick.toolbar.buttons[1:]
    assert play.text() == "Play"
    assert all(play.width() > other.width() and play.height() > other.height() for other in others)
    accent = quick.themes.theme.accent.lower()
    fills = [button.grab().toImage().pixelColor(5, button.height() // 2).name() for button in (play, *others)]
    assert [fill == accent for fill in fills] == [True] + [False] * len(others)


def test_a_card_that_finds_no_free_place_covers_as_little_as_it_can() -> None:
    room, sizes = QRect(0, 0, 400, 300), [QSize(200, 100), QSize(100, 200)]
    assert not place_for(sizes, [QRect(0, 0, 400, 150)], room).intersects(QRect(0, 0, 400, 150))
    assert place_for(sizes, [QRect(110, 0, 290, 300)], room).size() == QSize(100, 200)  # the narrow one fits
    whole = place_for(sizes, [QRect(0, 0, 400, 260)], room)
    assert room.contains(whole)
    assert whole.bottom() == room.bottom()
    message = QRect(0, 200, 400, 100)
    assert not place_for(sizes, [QRect(150, 120, 60, 30)], room, [message]).intersects(message)


def test_without_a_run_it_says_so(qapp: QApplication, qtbot: QtBot) -> None:
    factory = FakeFactory()
    factory.create_delay = 0.3
    made = open_window(factory, qapp)
    made.actions_["tour"].trigger()
    assert tour(made).stop is None
    assert "No run is open yet" in made.banner.text
    made.close()
    made.deleteLater()


def test_a_stored_size_of_the_text_holds_for_the_card_and_the_whole_window(qapp: QApplication, qtbot: QtBot) -> None:
    own = qapp.font().pointSizeF()
    QSettings().setValue("text_size", 1.5)
    made = open_window(FakeFactory(), qapp)
    labels = [tour(made).spotlight.card.text, made.form.search, made.toolbar.play, made.status.step]
    try:
        assert [label.font().pointSizeF() for label in labels] == pytest.approx([1.5 * own] * len(labels))
    finally:
        made.close()
        made.deleteLater()
