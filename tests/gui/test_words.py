"""What somebody reads who has not read the paper: marks have names, and no label says what is not so."""

from __future__ import annotations

import dataclasses

from engine.config.experiment import from_dict, with_value
from engine.core.results import LayerInfo
from engine.run.snapshot import Event
from engine.studies.layer_ends import default_layers
from engine.studies.questions.comparison import ComparisonStudy
from fp_gui.form import Form
from fp_gui.status import StatusBar
from fp_gui.views.curves import HINT, event_text
from fp_gui.views.examples import ProbabilityBars
from fp_gui.views.local import LocalView
from fp_gui.views.race import RaceView
from fp_gui.views.robustness import RobustnessView
from tests.engine.test_race_figure import RACE, write
from tests.gui import test_image_views as of_images
from tests.gui import test_views as of_theory
from tests.gui.test_claims_view import make as of_run
from tests.gui.test_views import SWITCH, make, shown

EVENTS = (
    Event(300, 0.0, "attack.tau", "0.2", "0.3"), Event(900, 0.0, "checkpoint", "", ""), SWITCH,
    Event(1510, 0.0, "training.lr", "1.5", "2.0"),
)  # fmt: skip


def names(plot) -> list[str]:
    return sorted(name.toPlainText() for name in plot.marks.names if name.isVisible())


def test_events_are_named_and_a_saved_checkpoint_looks_otherwise(qtbot) -> None:
    plot = (view := shown(qtbot, RobustnessView)).plot
    view.render(make(events=EVENTS))
    assert plot.marks.ticks.getData()[0].tolist() == [300, 300, 1500, 1500, 1510, 1510]
    assert plot.marks.saved.getData()[0].tolist() == [900]
    assert names(plot) == ["lr 2.0", "saved", "tau 0.3"]  # the switch has no room beside the newer change
    assert event_text(EVENTS[1]) == "step 900: checkpoint saved"
    assert "checkpoint saved" in HINT
    plot.box.setXRange(1495, 1520, padding=0)
    plot._zoomed()
    assert names(plot) == ["lr 2.0", "switched"]
    view.forget()
    assert names(plot) == []


def test_a_run_beyond_its_schedule_is_not_at_step_3105_of_3000(qtbot) -> None:
    bar = StatusBar()
    qtbot.addWidget(bar)
    bar.show_snapshot(dataclasses.replace(make(3105), scheduled=False))
    assert bar.step.text().replace("\u2009", ",") == "step 3,105 · 105 after the schedule's end"
    bar.show_snapshot(make(2000))
    assert bar.step.text().replace("\u2009", ",") == "step 2,000 of 3,000"


def test_the_mark_of_the_true_class_never_stands_without_its_meaning(qtbot) -> None:
    bars = ProbabilityBars("x")
    qtbot.addWidget(bars)
    bars.resize(600, 100)
    assert bars.fitted_title() == "Classes of x; ✓ marks the true one"
    for width in (10, 40, 80, 120, 200):
        bars.resize(width, 100)
        assert ("✓" in bars.fitted_title()) <= ("true" in bars.fitted_title())


def field(form: Form, path: str) -> str:
    return next(iter(form.parameters[path].items)).field.control.text()


def test_a_zero_that_means_all_says_so_and_can_be_typed(qtbot) -> None:
    form = Form(from_dict({"world": {"name": "digits"}}))
    qtbot.addWidget(form)
    assert (field(form, "world.train_size"), field(form, "low_rank.rank"), field(form, "threads")) == (
        "all", "full", "auto",
    )  # fmt: skip
    row = next(iter(form.parameters["world.train_size"].items))
    assert row.field.value() == 0
    row.field.control.setText("200")
    row.field.control.editingFinished.emit()
    assert form.pending == {"world.train_size": 200}
    row.field.control.setText("all")
    row.field.control.editingFinished.emit()
    assert form.pending == {}
    assert field(form, "world.train_size") == "all"


def badge(form: Form, path: str) -> str:
    return next(iter(form.parameters[path].items)).badge.text()


def test_a_knob_that_another_decides_is_greyed_and_says_which(qtbot) -> None:
    config = from_dict({})
    form = Form(config)
    qtbot.addWidget(form)
    paths = ("model.b_end", "model.bias_ramp", "model.sigma_rho")
    assert {badge(form, path) for path in paths} == {"live"}
    form.sync(with_value(config, "model.bias", [[0, 0.1], [100, 0.3]]))
    assert [badge(form, path) for path in paths] == ["unused", "unused", "live"]
    row = next(iter(form.parameters["model.b_end"].items))
    assert "<b>Not used now</b>: model.bias decides" in row.field.control.toolTip()
    assert row.field.control.property("muted") is True
    form.sync(with_value(config, "model.rho_per_bias", 0.3))
    assert [badge(form, path) for path in paths] == ["live", "live", "unused"]
    assert row.field.control.property("muted") is False
    assert "Not used" not in row.field.control.toolTip()


def test_the_layers_offered_are_those_of_the_network(qtbot, tmp_path) -> None:
    view = shown(qtbot, LocalView)
    view.render(dataclasses.replace(of_images.make(of_images.filters()), folder=tmp_path))
    texts = [view.layer.itemText(i) for i in range(view.layer.count())]
    assert texts[0] == " and ".join(default_layers(of_images.NET))
    linear = (LayerInfo("hidden", "linear", (8, 4)), LayerInfo("out", "linear", (2, 8)))
    view.render(dataclasses.replace(of_images.make(of_images.filters(linear, (8, 1, 2, 2)), run="b"), folder=tmp_path))
    assert view.layer.itemText(0) == "hidden"
    assert "convolution" not in view.layer.itemText(0)
    assert "kept" in view.scatter.getPlotItem().getAxis("bottom").labelText  # as in Mixtures: what stays is across


def test_every_model_of_the_race_has_a_curve_or_a_reason_and_its_whole_note(qtbot, tmp_path) -> None:
    note = "4096 features x·1[|⟨w,x⟩| > 0.3] of 400 neurons at their start, with the gates of the start held fixed"
    entries = [RACE["rivals"][0], RACE["rivals"][1], RACE["rivals"][2] | {"note": note}]
    fgm = {"name": "ntk", "objective": "fgm", "steps": [0, 50], "robust": [0.2, 0.4]}
    write(tmp_path, RACE | {"rivals": entries, "curves": [fgm]})
    found = ComparisonStudy.read(tmp_path)
    assert [curve.objective for curve in found.shown_curves()] == ["fgm"]  # the best training has no curve of its own
    view = RaceView()
    qtbot.addWidget(view)
    view.resize(420, 800)
    view.show()
    view.render(of_run(tmp_path))
    assert view.over_steps.text() == "Over steps: NTK by FGM training. No curve of linear: not recorded over steps."
    lines = view.steps.getPlotItem().listDataItems()
    assert lines[0].getData()[1].tolist() == [0.2, 0.4]
    table = view.table
    last = table.columnCount() - 1
    (row,) = [r for r in range(table.rowCount()) if table.item(r, last).text() == note]
    assert table.columnWidth(last) >= 220
    metrics = table.fontMetrics()
    lines_needed = -(-metrics.horizontalAdvance(note) // table.columnWidth(last))
    assert table.rowHeight(row) >= lines_needed * metrics.height()


def test_start_is_not_said_to_be_enlarged_once(qtbot) -> None:
    from fp_gui.views.neurons import NeuronsView

    view = shown(qtbot, NeuronsView)
    view.render(of_theory.make())
    assert view.galleries[0].title.text() == "Start"
    view.amplify.setChecked(True)
    assert view.galleries[0].title.text() == "Start × 10, drawn stronger than it is"
    assert view.amplify.text() != view.galleries[0].title.text()
