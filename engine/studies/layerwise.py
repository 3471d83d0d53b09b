"""Local purification: one layer of a finished run drawn again and trained alone (SPEC.md section 8; claim 8).

The study begins with the weights at the end of clean training, not those of now: all that adversarial training has
changed so far is gone, so what the layer learns from it in the second phase it has learned alone, beside layers that
have never seen a perturbation. Everything but the layer and its batch norm is frozen, running statistics included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.core import metrics
from engine.core.files import write_json
from engine.core.results import LayerInfo, Principle1
from engine.images.training import ImageTrainer
from engine.models.layers import Layer, layer, redraw
from engine.probes import principle1
from engine.probes.robustness import Measured
from engine.run.store import Store
from engine.studies.clean_end import CleanEnd, Progress, Stages, entry, steps_of
from engine.studies.files import LOCAL

QUANTITIES = ("cos_start_clean", "cos_start_now", "cos_clean_now", "share")  # in the order of metrics.PRINCIPLE1
NAME = "local purification"  # of the random generators: every layer sees the same batches


@dataclass(frozen=True)
class LocalResult:
    """One layer, drawn again and trained alone: accuracies (clean, robust) of the whole network after the clean phase
    (``before``) and after the adversarial one (``after``), and principle 1 of its units, w⁰ being the new start."""

    name: str
    before: tuple[Measured, Measured]
    after: tuple[Measured, Measured]
    units: Principle1

    def scalars(self) -> dict[str, float]:
        """Cosines (means over alive units) and share, by the names of :data:`QUANTITIES`."""
        found = principle1.scalars(self.units)
        return {short: found[name] for short, name in zip(QUANTITIES, metrics.PRINCIPLE1, strict=True)}


def default_layers(infos: Sequence[LayerInfo]) -> tuple[str, ...]:
    """One early and one deep layer: the first and the last convolution; without any, the first layer of all."""
    convolutions = [info.name for info in infos if info.kind == "conv"]
    ends = (convolutions[0], convolutions[-1]) if convolutions else (infos[0].name,)
    return tuple(dict.fromkeys(ends))


def local_study(
    folder: Path,
    layer_names: Sequence[str] | None = None,
    *,
    clean_steps: int | None = None,
    adversarial_steps: int | None = None,
    n: int = 1000,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Study each of ``layer_names`` (:func:`default_layers` by default) of the run in ``folder``.

    ``clean_steps`` and ``adversarial_steps`` are half of the run's own phases by default; radius, attack and rates are
    the run's, robust accuracy is measured as in its reports, on ``n`` held-out images or as many as there are.
    ``progress`` hears the share done and what is under way. Writes ``local.json``, records ``local/<layer>/…`` at the
    newest checkpoint's step, and returns what it wrote. Raises :class:`ConfigError` for a layer that is not there, a
    run that is not of images or has no clean end, and :class:`StoreError` for the folder.
    """
    found = CleanEnd.load(folder, n)
    schedule = found.config.schedule
    first = steps_of(clean_steps, schedule.clean_steps // 2, "--clean-steps", "half of schedule.clean_steps")
    second = steps_of(
        adversarial_steps, schedule.second_steps // 2, "--adversarial-steps", "half of schedule.second_steps"
    )
    names = tuple(dict.fromkeys(layer_names or default_layers(found.network.layers)))
    untouched = found.network.network("clean")
    for name in names:
        layer(untouched, name, "--layer")
    clean_cost, second_cost, measuring = found.costs(first, second)
    stages = Stages(progress, [clean_cost, measuring, second_cost, measuring] * len(names))
    results = [study(found, name, first, second, stages) for name in names]
    written = {
        "step": found.network.step,
        "clean_step": found.clean_step,
        "norm": found.robust.norm,
        "tau": found.robust.tau,
        "protocol": found.robust.text(),
        "n": found.robust.n,
        "layers": [_written(result, first, second) for result in results],
    }
    store = Store.open(folder)
    try:
        for result in results:
            record(store, found.network.step, result)
    finally:
        store.close()
    write_json(folder / LOCAL, written)
    if progress is not None:
        progress(1.0, "done")
    return written


def study(found: CleanEnd, name: str, clean_steps: int, adversarial_steps: int, stages: Stages) -> LocalResult:
    """Draw the layer called ``name`` again, train it alone, clean, then adversarially, and measure after each phase."""
    trainer = found.trainer(NAME)
    chosen = layer(trainer.network, name, "--layer")
    redraw(trainer.network, chosen, found.config.model, found.config.seed)
    start = _matrix(chosen)
    _begin(trainer, chosen)
    found.train(trainer, "clean", clean_steps, NAME, stages.begin(f"{name}: clean training"))
    clean = _matrix(chosen)
    before = found.measure(trainer.classifier, f"{NAME} {name} before", stages.begin(f"{name}: measuring"))
    _begin(trainer, chosen)
    found.train(trainer, "adversarial", adversarial_steps, NAME, stages.begin(f"{name}: adversarial training"))
    after = found.measure(trainer.classifier, f"{NAME} {name} after", stages.begin(f"{name}: measuring"))
    return LocalResult(name, before, after, principle1.principle1(start, clean, _matrix(chosen)))


def _begin(trainer: ImageTrainer, chosen: Layer) -> None:
    """A phase for one layer alone: first all is let go, then the rest is frozen."""
    trainer.begin()
    trainer.only(chosen)


def _matrix(chosen: Layer) -> Tensor:
    return chosen.matrix.clone()


def record(store: Store, step: int, result: LocalResult) -> None:
    """Record the figures of one layer by the names of :func:`engine.core.metrics.local`, accuracies with protocols."""
    store.record((step, metrics.local(result.name, name), value) for name, value in result.scalars().items())
    for moment, pair in (("before", result.before), ("after", result.after)):
        for kind, measured in zip(("clean", "robust"), pair, strict=True):
            name = metrics.local(result.name, f"{kind}_{moment}")
            store.record([(step, name, measured.accuracy)])
            store.set_protocol(step, name, measured.protocol)


def _written(result: LocalResult, clean_steps: int, adversarial_steps: int) -> dict[str, Any]:
    """One layer as ``local.json`` holds it."""
    accuracies = {
        f"{kind}_{moment}": entry(measured)
        for moment, pair in (("before", result.before), ("after", result.after))
        for kind, measured in zip(("clean", "robust"), pair, strict=True)
    }
    units = {name: value.tolist() for name, value in asdict(result.units).items()}
    return {
        "name": result.name,
        "clean_steps": clean_steps,
        "adversarial_steps": adversarial_steps,
        **accuracies,
        **result.scalars(),
        "pure_part": units["pure_part"],
        "rest": units["rest"],
        "alive": units["alive"],
    }


def table(found: dict[str, Any]) -> str:
    """The content of ``local.json`` as text."""
    lines = [f"{found['protocol']}; from the clean weights of step {found['clean_step']}, one layer alone"]
    for each in found["layers"]:
        lines.append(
            f"  {each['name']}: {each['clean_steps']} clean, {each['adversarial_steps']} adversarial steps, "
            f"{len(each['rest'])} units"
        )
        for kind in ("clean", "robust"):
            before, after = (_interval(each[f"{kind}_{moment}"]) for moment in ("before", "after"))
            lines.append(f"    {kind:<7}{before} → {after}")
        lines.append(
            f"    cosines (w⁰,w) {each['cos_start_clean']:.2f}, (w⁰,w′) {each['cos_start_now']:.2f}, "
            f"(w,w′) {each['cos_clean_now']:.2f}; ‖βw′‖ > ‖w − βw′‖ for {each['share']:.0%} of the alive units"
        )
    return "\n".join(lines)


def _interval(entry: dict[str, Any]) -> str:
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}]"
