"""The claims as cards: verdicts in words, live against verified, and the way to the view that shows each."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from engine.claims.base import Claim, Figure, check
from engine.config.presets import load_preset
from engine.core import metrics
from engine.core.history import History
from engine.core.labels import figure_name
from engine.core.measurement import Measurement, wilson
from engine.run.snapshot import Event, Snapshot
from engine.studies.base import NotMeasured
from engine.studies.questions.claims import ClaimRecord, checked_at, read_claims
from fp_gui.theme import DARK, LIGHT
from fp_gui.views.base import views
from fp_gui.views.claims import VERIFY, ClaimsView, Live, age, merge, summary

REPORT = metrics.REPORT
PROTOCOLS = {
    REPORT + metrics.CLEAN: ((1500, Measurement("clean", "l2", 0.2, 0, 0, 1000)),),
    REPORT + metrics.PGD: ((1500, Measurement("pgd", "l2", 0.2, 40, 5, 1000)),),
}


def make(folder: Path, step: int = 2000, *, pgd: float = 0.33, run: str = "a", ended: bool = True) -> Snapshot:
    history = History()
    history.append(0, metrics.mixture("dense_share", "mean"), 0.1)
    events: tuple[Event, ...] = ()
    if ended:
        events = (Event(1500, 0.0, "phase", "clean", "adversarial"),)
        for name, value in (
            (metrics.CLEAN, 0.97), (metrics.PGD, pgd), (metrics.ALIGNMENT, 0.95),
            (metrics.mixture("dense_share", "mean"), 0.8), (metrics.SMALL, 0.9),
        ):  # fmt: skip
            history.append(1500, REPORT + name, value)
    config = load_preset("small")
    return Snapshot(
        run, folder, step, "adversarial", True, False, "cpu", 2, config, history, events, PROTOCOLS, {}
    )  # fmt: skip


def record(id: int, verdict: str, step: int = 1800, name: str = "verified/worst@0.2") -> dict[str, Any]:
    evidence = [
        {"name": name, "value": 0.5, "step": step, "low": 0.47, "high": 0.53, "protocol": "worst of all, n = 1000"}
    ]
    return {"id": id, "title": "t", "verdict": verdict, "rule": f"rule {id}", "evidence": evidence}


def write(folder: Path, *records: dict[str, Any]) -> None:
    (folder / "claims.json").write_text(json.dumps(records), encoding="utf-8")


def shown(qtbot: QtBot, snapshot: Snapshot) -> ClaimsView:
    view = ClaimsView()
    qtbot.addWidget(view)
    view.resize(640, 700)
    view.show()
    view.render(snapshot)
    return view


def test_registered_and_needs_no_probe() -> None:
    assert views["claims"] is ClaimsView
    assert ClaimsView.wants == frozenset()


def test_each_verdict_has_a_sign_and_a_word(qtbot: QtBot, tmp_path: Path) -> None:
    view = shown(qtbot, make(tmp_path, pgd=0.7))
    cards = {c.shown.claim.id: c for c in view.cards if c.shown is not None}
    assert [cards[i].badge.text() for i in (1, 2, 6)] == ["✗ does not hold", "✓ holds", "– not yet"]
    assert "does not hold in this run" in cards[1].plain.text()
    assert not cards[1].plain.isHidden()
    assert cards[2].plain.isHidden()
    for i in (4, 6):  # the phase is under way
        assert cards[i].remark.text().startswith("Not yet: decided ")
        assert "adversarial phase" in cards[i].remark.text()
    assert view.summary.text() == "2 hold · 1 does not hold · 8 not measured"
    for card in cards.values():
        assert card.shown is not None
        assert card.rule.text() == f"Rule: {card.shown.claim.rule}"
        assert not card.rule.isHidden()


def test_a_claim_of_two_parts_says_the_verdict_of_each(qtbot: QtBot, tmp_path: Path) -> None:
    view = shown(qtbot, make(tmp_path))
    card = view.cards[2]
    assert card.badge.text() == "✓ holds"
    assert card.plain.text() == "dense: holds · small: holds"
    assert not card.plain.isHidden()


def test_evidence_names_value_interval_step_and_protocol(qtbot: QtBot, tmp_path: Path) -> None:
    view = shown(qtbot, make(tmp_path))
    text = view.cards[0].figures.text()
    low, high = wilson(330, 1000)
    for part in (
        "accuracy under PGD",
        "0.330",
        f"[{low:.3f}, {high:.3f}]",
        "step 1,500",
        "PGD-40 × 5 restarts",
        "1000",
    ):
        assert part in text
    assert "mean cosine of the FGM perturbation" in view.cards[1].figures.text()


def test_what_is_this_opens_the_text(qtbot: QtBot, tmp_path: Path) -> None:
    view = shown(qtbot, make(tmp_path))
    card = view.cards[0]
    assert card.about.isHidden()
    card.ask.click()
    assert not card.about.isHidden()
    assert card.shown is not None
    assert card.about.text() == card.shown.claim.about


def test_show_asks_for_the_view_of_the_claim(qtbot: QtBot, tmp_path: Path) -> None:
    view = shown(qtbot, make(tmp_path))
    asked: list[str] = []
    view.view_requested.connect(asked.append)
    for card in view.cards:
        card.show_button.click()
    assert asked == [c.view for c in check(Live(make(tmp_path))) if c.applies]
    assert set(asked) <= {"neurons", "mixtures", "robustness", "radius", "perturbation", "race", "transfer"}
    (features,) = [card for card in view.cards if not card.beside_button.isHidden()]
    assert features.number.text() == "4"
    assert features.beside_button.text() == "Show Features"
    with qtbot.waitSignal(view.view_requested) as brought:
        features.beside_button.click()
    assert brought.args == ["feature_fates"]


def test_verify_asks_for_the_slow_command(qtbot: QtBot, tmp_path: Path) -> None:
    view = shown(qtbot, make(tmp_path))
    with qtbot.waitSignal(view.task_requested) as asked:
        view.task_bar.buttons[0].click()
    assert asked.args == [VERIFY]
    assert (VERIFY.command, VERIFY.options) == ("claims", ("--verify",))


def test_verified_claims_win_and_others_stay_live(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, record(1, "does not hold"), record(2, "not measured"), record(6, "holds"))
    view = shown(qtbot, make(tmp_path, 1800))
    by = {s.claim.id: s for s in view.shown}
    assert [by[i].verdict for i in (1, 2, 3, 6)] == ["does not hold", "holds", "holds", "holds"]
    assert by[6].rule == "rule 6"
    assert "step 1,800" in view.cards[5].figures.text()
    assert by[6].remark == "Verified at step 1,800."
    assert view.caption.text().endswith("Verified at step 1,800.")
    assert by[3].remark == ""


def test_sanity_warnings_stand_above_the_cards(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, record(1, "holds"))
    warned = [{"step": 1800, "id": "black_box", "text": "Square does better than PGD.", "evidence": "0.3 < 0.6"}]
    (tmp_path / "warnings.json").write_text(json.dumps(warned), encoding="utf-8")
    view = shown(qtbot, make(tmp_path, 1800))
    assert view.warnings.isVisible()
    assert view.warnings.text() == "⚠ Step 1,800: Square does better than PGD. (0.3 < 0.6)"
    assert not shown(qtbot, make(tmp_path / "another", 1800)).warnings.isVisible()


def test_only_slow_figures_make_a_claim_verified(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, record(1, "holds", name="report/accuracy/pgd"), record(10, "holds", name="transfer/own"))
    by = {s.claim.id: s for s in shown(qtbot, make(tmp_path, 1800)).shown}
    assert by[1].remark == "Checked at step 1,800."
    assert by[10].remark == "Verified at step 1,800."


def test_training_since_is_said_and_so_is_a_contradiction(qtbot: QtBot, tmp_path: Path) -> None:
    write(tmp_path, record(1, "does not hold"), record(6, "holds"))
    view = shown(qtbot, make(tmp_path, 2500))
    by = {s.claim.id: s for s in view.shown}
    assert view.caption.text().endswith("Verified at step 1,800; now at step 2,500.")
    assert by[1].remark == "Verified at step 1,800. The live figures now say: holds."
    assert by[6].remark == "Verified at step 1,800."


def test_words_for_what_was_checked_without_the_slow_figures() -> None:
    figure = Figure("report/accuracy/pgd", 0.3, 1500)
    records = [ClaimRecord(1, "t", "holds", "r", (figure,))]
    assert age(records, 1500) == "Checked at step 1,500."
    assert age([], 10) == ""
    assert checked_at(()) == 0
    claim = Claim(1, "t", "holds", "r", (), "", "race")
    other = dataclasses.replace(claim, id=9, verdict="not measured")
    assert [s.verdict for s in merge([claim, other], records, 3000)] == ["holds", "not measured"]
    assert summary(merge([claim], [], 0)) == "1 holds · 0 do not hold · 0 not measured"


@pytest.mark.parametrize(
    "text", ["{", '[{"id": 1}]', '[{"id":1,"title":"","verdict":"perhaps","rule":"","evidence":[]}]']
)
def test_damaged_file_is_a_message_and_the_live_claims_stay(qtbot: QtBot, tmp_path: Path, text: str) -> None:
    (tmp_path / "claims.json").write_text(text)
    view = shown(qtbot, make(tmp_path))
    assert view.problem.isVisible()
    assert "claims.json is damaged" in view.problem.text()
    assert "\n" not in view.problem.text()
    assert view.summary.text().startswith("3 hold")
    write(tmp_path, record(6, "holds"))
    view.refresh()
    assert not view.problem.isVisible()
    assert view.summary.text().startswith("4 hold")


def test_another_run_forgets_the_verified_claims(qtbot: QtBot, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    write(old, record(6, "holds"))
    view = shown(qtbot, make(old))
    assert view.records
    view.render(make(new, 0, run="b", ended=False))
    assert view.records == ()
    assert view.summary.text() == "0 hold · 0 do not hold · 11 not measured"
    with pytest.raises(NotMeasured, match="python -m engine claims"):
        read_claims(new)


def test_at_most_once_a_second_and_only_what_changed(
    qtbot: QtBot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = shown(qtbot, make(tmp_path))
    calls: list[int] = []
    real = check
    monkeypatch.setattr("fp_gui.views.claims.check", lambda source: calls.append(1) or real(source))
    painted = [card.figures.text() for card in view.cards]
    for step in range(2001, 2031):
        view.render(make(tmp_path, step))
    assert calls == []
    qtbot.waitUntil(lambda: calls == [1], timeout=3000)
    assert [card.figures.text() for card in view.cards] == painted
    view._pause.stop()
    view.refresh()
    assert calls == [1]  # the history has gained nothing


def test_themes(qtbot: QtBot, tmp_path: Path) -> None:
    view = shown(qtbot, make(tmp_path, pgd=0.7))
    for theme in (DARK, LIGHT):
        view.set_theme(theme)
        assert theme.text in view.cards[0].figures.text()
        assert not view.grab().isNull()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("report/accuracy/pgd", "accuracy under PGD"),
        ("verified/certified@0.2", "certified accuracy at radius 0.2"),
        ("verified/worst@0.1", "accuracy under the worst attack found, radius 0.1"),
        ("rival/robust/ntk", "NTK: robust accuracy"),
        ("something/else", "something/else"),
    ],
)
def test_figures_have_names_in_words(name: str, words: str) -> None:
    assert figure_name(name) == words
