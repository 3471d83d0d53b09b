"""The faults: where, what stands there, what it becomes, and the few tests that are to notice."""

from __future__ import annotations

from dataclasses import dataclass

STEPS = ("tests/faults/test_attack_steps.py",)
RADII = ("tests/engine/test_certificate.py", "-k", "very_radius")
CERTIFIED = ("tests/faults/test_measured.py", "-k", "certified")
ONCE = ("tests/faults/test_measured.py", "-k", "fresh_start")
OLD = ("tests/faults/test_measured.py", "-k", "old")
FIGURES = ("tests/faults/test_figures_drawn.py", "-k", "not width and not formats")
WIDTH = ("tests/faults/test_figures_drawn.py", "-k", "width or formats")
UNDO = ("tests/gui/test_presses.py", "-k", "nudges or edit")
EXPORT = ("tests/gui/test_presses.py", "-k", "cancel")
FILES = ("tests/gui/test_presses.py", "-k", "folder")
SHARE = ("tests/gui/test_presses.py", "-k", "pictures or cores")
RADIUS = ("tests/gui/test_radius_view.py",)
THREAT = ("tests/engine/test_threat.py",)
CLAIMS = ("tests/engine/test_claims.py", "tests/engine/test_image_claims.py")
PROBES = ("tests/engine/test_probes.py",)
RECORDER = ("tests/engine/test_recorder.py",)


def drawn(*views: str) -> tuple[str, ...]:
    """The tests of what these views draw."""
    return ("tests/gui/test_drawn.py", "-k", " or ".join(f"numbers[{view}" for view in views))


@dataclass(frozen=True, slots=True)
class Mutant:
    """``old``, which stands once in ``file``, becomes ``new``; ``tests`` are pytest's arguments."""

    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = (
    # --- attacks
    Mutant("engine/attacks/apgd.py", "(len(y),), 2 * self.tau)", "(len(y),), self.tau)", STEPS),
    Mutant("engine/attacks/apgd.py", "delta + MOMENTUM * (target", "delta + (1 - MOMENTUM) * (target", STEPS),
    Mutant(
        "engine/attacks/apgd.py", "(1 - MOMENTUM) * (delta - previous)", "(1 - MOMENTUM) * (previous - delta)", STEPS
    ),
    Mutant("engine/attacks/apgd.py", "PROGRESS = 0.75", "PROGRESS = 0.5", STEPS),
    Mutant(
        "engine/attacks/apgd.py", "delta = torch.where(stalled.view(column), best, delta)", "delta = delta + 0", STEPS
    ),
    Mutant("engine/attacks/apgd.py", "~halved & (best_value", "halved & (best_value", STEPS),
    Mutant(
        "engine/attacks/apgd.py", "torch.where(stalled, size / 2, size)", "torch.where(stalled, size, size / 2)", STEPS
    ),
    Mutant("engine/attacks/apgd.py", "- 0.03, 0.06)", "- 0.03, 0.05)", ("tests/engine/test_strong_attacks.py", *STEPS)),
    Mutant("engine/attacks/pgd.py", "RELATIVE_STEP = 2.5", "RELATIVE_STEP = 2.0", STEPS),
    Mutant(
        "engine/attacks/pgd.py", "self.feasible(x, delta.add_(direction", "self.clip(x, delta.add_(direction", STEPS
    ),
    Mutant(
        "engine/attacks/pgd.py",
        "better = found < margin[rows]",
        "better = found > margin[rows]",
        ("tests/engine/test_attacks.py",),
    ),
    Mutant("engine/attacks/fgm.py", "RANDOM_STEP = 1.25", "RANDOM_STEP = 1.0", STEPS),
    Mutant("engine/attacks/threat.py", "delta.clamp_(-tau, tau)", "delta.clamp_(-tau, 2 * tau)", THREAT),
    Mutant("engine/attacks/threat.py", "pow_(1 / delta[0].numel())", "pow_(1.0)", THREAT),
    Mutant("engine/attacks/threat.py", "gradient.sign_()", "gradient.sign_().neg_()", THREAT),
    Mutant("engine/attacks/base.py", "below, above = low - x, high - x", "below, above = low - x, low + x", STEPS),
    # --- the certificate
    Mutant("engine/theory/evaluation.py", "rows = survivors.nonzero()", "rows = (~survivors).nonzero()", CERTIFIED),
    Mutant("engine/theory/evaluation.py", "sure.right / certified.n", "sure.right / max(len(rows), 1)", CERTIFIED),
    Mutant(
        "engine/theory/evaluation.py",
        "values[metrics.CERTIFIED] = sure.right",
        "values[metrics.CERTIFIED] = len(rows)",
        CERTIFIED,
    ),
    Mutant("engine/probes/certificate.py", "dual = 2 if norm", "dual = 2 if True or norm", RADII),
    Mutant("engine/probes/certificate.py", "sum(1) - radius[rows] * torch", "sum(1) + radius[rows] * torch", CERTIFIED),
    Mutant(
        "engine/probes/certificate.py",
        "radius * math.sqrt(w.shape[1])",
        "radius",
        ("tests/engine/test_certificate.py",),
    ),
    Mutant(
        "engine/probes/certificate.py",
        "        open_ = ~sure",
        "        open_ = sure.clone()",
        ("tests/engine/test_certificate.py",),
    ),
    # --- what is measured once
    Mutant("engine/probes/radius.py", "ball = (norm, tau, world", "ball = (tau, world", ONCE),
    Mutant("engine/probes/radius.py", "ball = (norm, tau, world", "ball = (norm, world", ONCE),
    Mutant("engine/probes/radius.py", "tau, world.knobs.sigma_x)", "tau)", ONCE),
    Mutant("engine/probes/radius.py", 'clean", clean_step, clean', 'clean", clean', ONCE),
    Mutant("engine/probes/radius.py", "clean_step, clean.bias, *ball", "clean_step, *ball", ONCE),
    Mutant(
        "engine/probes/radius.py", "cache[key] = yield from _both(clean,", "cache[key] = yield from _both(model,", ONCE
    ),
    Mutant("engine/images/live.py", 'clean", clean_step, norm, tau)', 'clean", clean_step, tau)', ONCE),
    Mutant("engine/images/live.py", 'clean", clean_step, norm, tau)', 'clean", clean_step, norm)', ONCE),
    Mutant(
        "engine/theory/live.py",
        "session.clean_bias, attack.norm, attack.tau, sigma_x",
        "session.clean_bias, attack.tau, sigma_x",
        OLD,
    ),
    Mutant(
        "engine/theory/live.py",
        "session.clean_bias, attack.norm, attack.tau, sigma_x",
        "session.clean_bias, attack.norm, attack.tau",
        OLD,
    ),
    Mutant(
        "engine/images/live.py",
        "step, session.config.seed)\n\n    return ProbeTask((step, attack.norm, attack.tau, steps)",
        "step, session.config.seed)\n\n    return ProbeTask((step, attack.norm, steps)",
        OLD,
    ),
    Mutant("engine/probes/oracle.py", "{seed} {ball} {tau!r}", "{seed} {ball}", ("tests/engine/test_oracle.py",)),
    # --- other probes
    Mutant(
        "engine/probes/robustness.py", "model.margin(cx + delta, cy) > 0", "model.margin(cx - delta, cy) > 0", PROBES
    ),
    Mutant("engine/probes/robustness.py", "* -y[rows]).sum()", "* y[rows]).sum()", PROBES),
    Mutant(
        "engine/probes/mixture.py", "relative=sealed(rest_size / floor)", "relative=sealed(rest_size / pure)", PROBES
    ),
    Mutant(
        "engine/probes/mixture.py",
        "found: Norms = norm > ALIVE * norm.max()",
        "found: Norms = norm > ALIVE * norm.mean()",
        PROBES,
    ),
    Mutant("engine/probes/principle1.py", "(now * now).sum(1).clamp", "(clean * clean).sum(1).clamp", PROBES),
    Mutant("engine/probes/principle1.py", "alive(of_clean)", "alive(of_now)", PROBES),
    Mutant(
        "engine/probes/low_rank.py", "first if cosine >= 0 else -first", "first", ("tests/engine/test_low_rank.py",)
    ),
    Mutant("engine/core/measurement.py", "Z95 = 1.959963984540054", "Z95 = 1.644853626951472", FIGURES),
    Mutant("engine/core/measurement.py", "+ z2 / (4 * known * known)", "+ z2 / (2 * known * known)", FIGURES),
    # --- claims
    Mutant("engine/claims/theory.py", "gain >= LOW_RANK_GAIN", "gain >= 0", CLAIMS),
    Mutant("engine/claims/theory.py", "other <= own + TRANSFERS", "other <= own - TRANSFERS", CLAIMS),
    Mutant("engine/claims/theory.py", "after <= MELTED * before", "after <= before", CLAIMS),
    Mutant("engine/claims/theory.py", "value <= network - GAP", "value <= network", CLAIMS),
    Mutant("engine/claims/theory.py", "mixed >= OVER_CHANCE * chance", "mixed >= chance", CLAIMS),
    Mutant("engine/claims/theory.py", "kept >= KEPT", "kept > 0", CLAIMS),
    Mutant("engine/claims/theory.py", "share > MOST", "share > 0", CLAIMS),
    Mutant(
        "engine/probes/mixture.py",
        "result.mixture < result.pure",
        "result.mixture > result.pure",
        ("tests/engine/test_feature_fates.py",),
    ),
    Mutant(
        "engine/probes/low_rank.py",
        "weight - torch.outer",
        "weight + torch.outer",
        ("tests/engine/test_feature_fates.py",),
    ),
    Mutant(
        "engine/config/curves.py",
        "(step - before) / (after - before)",
        "(step - before) / after",
        ("tests/engine/test_curves.py", "-k", "piecewise"),
    ),
    Mutant(
        "engine/theory/config.py",
        "model.rho_per_bias * bias or",
        "model.rho_per_bias or",
        ("tests/engine/test_curves.py", "-k", "multiple"),
    ),
    # --- what a run records
    Mutant(
        "engine/run/store.py",
        "DELETE FROM metrics WHERE step > ?",
        "DELETE FROM metrics WHERE step >= ?",
        ("tests/engine/test_session.py", "-k", "resumed_run or forgotten"),
    ),
    Mutant(
        "engine/run/store.py",
        "DELETE FROM events WHERE id > ?",
        "DELETE FROM events WHERE id >= ?",
        ("tests/engine/test_session.py", "-k", "resumed_run or forgotten"),
    ),
    Mutant("engine/run/recorder.py", "known[-1][1] != protocol", "known[0][1] != protocol", RECORDER),
    Mutant(
        "engine/run/recorder.py",
        "len(self._cadence) > config.storage.keep",
        "len(self._cadence) >= config.storage.keep",
        RECORDER,
    ),
    Mutant("engine/run/recorder.py", "(now - steps[i])", "now", RECORDER),
    Mutant(
        "engine/run/scheduler.py",
        "task.key != self._measured",
        "task.key == self._measured",
        ("tests/faults/test_live_probe.py",),
    ),
    Mutant(
        "engine/run/scheduler.py",
        "self._under_way = task.key",
        "self._under_way = None",
        ("tests/faults/test_live_probe.py",),
    ),
    Mutant(
        "engine/run/scheduler.py",
        "self._latest, self._measured = None, None",
        "self._measured = None",
        ("tests/faults/test_live_probe.py",),
    ),
    Mutant(
        "engine/run/scheduler.py",
        "self._latest = part if part is not None else self._latest",
        "self._latest = part",
        ("tests/faults/test_live_probe.py",),
    ),
    Mutant(
        "engine/run/scheduler.py",
        "self._probes[kind] = self._probes.pop(kind)",
        "self._probes[kind] = probe",
        ("tests/faults/test_live_probe.py",),
    ),
    Mutant("engine/run/timeline.py", "keep = steps <= step", "keep = steps < step", ("tests/engine/test_figures.py",)),
    Mutant(
        "engine/theory/config.py",
        "min(1.0, step / ramp)",
        "min(1.0, (step + 1) / ramp)",
        ("tests/engine/test_session.py", "-k", "ramp"),
    ),
    # --- views
    Mutant(
        "engine/figures/declare.py", "return self.dark if dark else self.light", "return self.light", drawn("mixtures")
    ),
    Mutant("fp_gui/views/plots.py", "look.colour(theme.dark)", "look.light", drawn("robustness")),
    Mutant("fp_gui/views/plots.py", 'DASHES["solid" if solid else look.dash]', 'DASHES["solid"]', drawn("robustness")),
    Mutant(
        "fp_gui/views/radius.py",
        "self.curves[above].y, self.curves[below].y",
        'self.curves["pgd"].y, self.curves[below].y',
        drawn("radius"),
    ),
    Mutant(
        "fp_gui/views/radius.py",
        "colour_of(self.look(STATES[state][1]), theme), 70",
        'colour_of(self.look("pgd"), theme), 70',
        drawn("radius"),
    ),
    Mutant(
        "fp_gui/views/radius.py",
        "np.full(len(curve.y), result.n)",
        "np.full(len(curve.y), 2 * result.n)",
        drawn("radius"),
    ),
    Mutant("fp_gui/views/robustness.py", "sizes[at >= first]", "sizes[at > first]", drawn("robustness")),
    Mutant(
        "fp_gui/views/robustness.py",
        "wilson_of(reports, snapshot.protocols[metrics.REPORT + name])",
        "wilson_of(reports, snapshot.protocols[name])",
        drawn("robustness"),
    ),
    Mutant(
        "fp_gui/views/curves.py",
        "curve.band.setBrush(translucent(colour,",
        "curve.band.setBrush(translucent(self.theme.text,",
        drawn("robustness"),
    ),
    Mutant(
        "fp_gui/views/mixtures.py",
        "[metrics.mixture(quantity, s) for s in",
        "[metrics.mixture('purity', s) for s in",
        drawn("mixtures"),
    ),
    Mutant(
        "fp_gui/views/mixtures.py",
        "setData(clean.pure[clean.alive], clean",
        "setData(clean.mixture[clean.alive], clean",
        drawn("mixtures"),
    ),
    Mutant(
        "fp_gui/views/mixtures.py",
        "self.clean_bars.setPen(pg.mkPen(clean,",
        "self.clean_bars.setPen(pg.mkPen(now,",
        drawn("mixtures"),
    ),
    Mutant("fp_gui/views/neurons.py", "found = found / np.maximum(", "found = found * np.maximum(", drawn("neurons")),
    Mutant(
        "fp_gui/views/gallery.py",
        "np.float32(127.0 / max(scale, 1e-12))",
        "np.float32(-127.0 / max(scale, 1e-12))",
        drawn("filters"),
    ),
    Mutant(
        "engine/studies/questions/comparison.py",
        "c.objective != best.get(c.name)",
        "c.objective == best.get(c.name)",
        drawn("race"),
    ),
    Mutant(
        "engine/figures/training.py",
        "first = np.maximum(at - n, 0)",
        "first = np.maximum(at - n - 1, 0)",
        drawn("training"),
    ),
    Mutant("fp_gui/views/race.py", "self._level(0, race.network.robust)", "self._level(0, race.tau)", drawn("race")),
    Mutant(
        "fp_gui/views/low_rank.py",
        "return row.clean, row.clean_low",
        "return row.robust, row.clean_low",
        drawn("low_rank"),
    ),
    Mutant("fp_gui/views/layer_plot.py", "(0.5, 0.1, 0.9)", "(0.5, 0.25, 0.75)", drawn("layers")),
    Mutant(
        "fp_gui/views/local.py",
        "before, after = pairs(each)[place]",
        "after, before = pairs(each)[place]",
        drawn("local"),
    ),
    Mutant("fp_gui/views/examples.py", "GREY) + np.float32(factor)", "GREY) - np.float32(factor)", drawn("examples")),
    Mutant(
        "fp_gui/views/examples.py",
        "TRUE.colour(dark) if true else OTHER.colour(dark)",
        "TRUE.light if true else OTHER.light",
        drawn("examples"),
    ),
    Mutant(
        "fp_gui/views/perturbation.py",
        "self.this.setValue(cosine)",
        "self.this.setValue(found.mean_cosine)",
        drawn("perturbation"),
    ),
    Mutant(
        "engine/figures/perturbation.py", "= -float(found.y[sample])", "= float(found.y[sample])", drawn("perturbation")
    ),
    # --- figures and export
    Mutant("engine/figures/neurons.py", "found = found / np.maximum(", "found = found * np.maximum(", FIGURES),
    Mutant(
        "engine/figures/radius.py",
        'found["pgd" + suffix], found["certified" + suffix]',
        'found["pgd" + suffix], found["certified"]',
        FIGURES,
    ),
    Mutant(
        "engine/figures/radius.py", "colour = VIEW.looks[above.name].light", 'colour = VIEW.looks["pgd"].light', FIGURES
    ),
    Mutant(
        "engine/figures/robustness.py",
        "found.steps, found.low, found.high, color",
        "found.steps, found.low, found.values, color",
        FIGURES,
    ),
    Mutant(
        "engine/figures/mixtures.py",
        "found.pure[found.alive], found.mixture[found.alive]",
        "found.pure[found.alive], found.norm[found.alive]",
        FIGURES,
    ),
    Mutant(
        "engine/figures/order.py",
        "np.argsort(-by[neurons]",
        "np.argsort(by[neurons]",
        ("tests/engine/test_figures.py", "-k", "order"),
    ),
    Mutant("engine/figures/style.py", "DPI = 300", "DPI = 200", WIDTH),
    Mutant("engine/cli/run.py", "        width=width,", "        width=6.75,", WIDTH),
    Mutant(
        "engine/figures/export.py",
        "render_all(data, formats, width, say)",
        "render_all(data, formats, 6.75, say)",
        WIDTH,
    ),
    Mutant(
        "fp_gui/export.py",
        "for name in request.formats:",
        "for name in FORMATS:",
        ("tests/gui/test_export.py", "-k", "line"),
    ),
    Mutant("fp_gui/export.py", "if self._request is not request:", "if self._request is None:", EXPORT),
    Mutant(
        "fp_gui/export.py",
        "        elif self.busy:\n            self._cancelled()",
        "        elif self.busy:\n            return",
        EXPORT,
    ),
    # --- the window
    Mutant("fp_gui/undo.py", " or other._time - self._time > MERGE_SECONDS", "", UNDO),
    Mutant("fp_gui/undo.py", "self._send(self.path, self.old)", "self._send(self.path, self.new)", UNDO),
    Mutant("fp_gui/undo.py", "self.new, self._time = other.new, other._time", "self.new = other.new", UNDO),
    Mutant("fp_gui/views/task_view.py", "found.st_mtime_ns, found.st_size)", "0, found.st_size)", FILES),
    Mutant("fp_gui/bridge/controller.py", "max(FRAME, self._cost / self.share)", "max(FRAME, 0.0)", SHARE),
    Mutant("fp_gui/bridge/controller.py", "max(FRAME, self._cost / self.share)", "max(FRAME, self._cost)", SHARE),
    Mutant("fp_gui/bridge/controller.py", "min(SLOWEST, max(FRAME", "max(FRAME, max(FRAME", SHARE),
    Mutant(
        "fp_gui/form.py",
        "self.live_edited.emit(path, old, value)",
        "self.live_edited.emit(path, value, value)",
        ("tests/gui/test_form.py", "-k", "live"),
    ),
    Mutant(
        "fp_gui/form.py",
        "param.show_value(param.value(), param.pending, param.curve)",
        "param.show_value(value, param.pending, param.curve)",
        ("tests/gui/test_form.py", "-k", "bad"),
    ),
)
