"""Local purification: one layer of a finished run drawn again and trained alone (SPEC.md section 8; claim 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from engine.core import metrics
from engine.core.slices import Progress, silent
from engine.studies.base import (
    Answer,
    Cosine,
    Interval,
    Length,
    Proportion,
    RunFolder,
    Scalars,
    Study,
    accuracies,
    studies,
)

if TYPE_CHECKING:
    from engine.studies.layer_alone import LayerAlone

MOMENTS = ("clean_before", "robust_before", "clean_after", "robust_after")


@dataclass(frozen=True)
class LocalLayer:
    """One layer of ``local.json``: drawn again and trained alone for ``clean_steps``, then ``adversarial_steps``.

    The accuracies are the whole network's ``…_before`` and ``…_after`` the adversarial phase. With w⁰, w, w′ a unit's
    weights when drawn again, before and after that phase: cosines (means over alive units), ``share`` of these with
    ‖βw′‖ > ‖w − βw′‖, and per unit (units,) ``pure_part`` ‖βw′‖, ``rest`` ‖w − βw′‖, ``alive``.
    """

    name: str
    clean_steps: int
    adversarial_steps: int
    clean_before: Interval
    robust_before: Interval
    clean_after: Interval
    robust_after: Interval
    cos_start_clean: Cosine
    cos_start_now: Cosine
    cos_clean_now: Cosine
    share: Proportion
    pure_part: tuple[Length, ...]
    rest: tuple[Length, ...]
    alive: tuple[bool, ...]


@dataclass(frozen=True)
class LocalResult:
    """``local.json``: from the clean weights of step ``clean_step``; ``step`` was the newest when it was measured."""

    step: int
    clean_step: int
    norm: str
    tau: float
    protocol: str
    n: int
    layers: tuple[LocalLayer, ...]


@studies.register("local")
class LocalStudy(Study[LocalResult]):
    """Draw single layers of a run on images again and train them alone, clean, then adversarially; write local.json."""

    file = "local.json"
    made_by = "local {}"
    record = LocalResult

    def ask(
        self,
        folder: RunFolder,
        *,
        layer: Annotated[
            Sequence[str] | None, "A layer to draw again; may be repeated. Default: first and last convolution."
        ] = None,
        clean_steps: Annotated[int | None, "Clean steps of the layer alone. Default: half the run's."] = None,
        adversarial_steps: Annotated[int | None, "Adversarial steps. Default: half the run's."] = None,
        n: Annotated[int, "Held-out images."] = 1000,
        progress: Progress = silent,
    ) -> Answer[LocalResult]:
        """Study each layer; radius, attack and rates are the run's.

        Robust accuracy is measured as in the run's reports, on ``n`` held-out images or as many as there are. Raises
        :class:`ConfigError` for a layer that is not there, a run that is not of images or has no clean end, and
        :class:`StoreError` for the folder.
        """
        from engine.studies.layer_alone import train_layers

        end, found = train_layers(folder, layer, clean_steps, adversarial_steps, n, progress)
        (_, how), step = end.protocols, end.network.step
        rows = tuple(_row(each) for each in found)
        record = LocalResult(step, end.clean_step, how.norm, how.tau, how.text(), how.n, rows)
        return Answer(record, step, [scalar for each in found for scalar in _scalars(each)])

    @classmethod
    def check(cls, record: LocalResult) -> str:
        """Each unit has all three values."""
        for layer in record.layers:
            if not len(layer.pure_part) == len(layer.rest) == len(layer.alive):
                return f"layers: {layer.name} has units without values"
        return ""

    def table(self, record: LocalResult) -> str:
        """Four lines a layer."""
        lines = [f"{record.protocol}; from the clean weights of step {record.clean_step}, one layer alone"]
        for each in record.layers:
            lines += [
                f"  {each.name}: {each.clean_steps} clean, {each.adversarial_steps} adversarial steps, "
                f"{len(each.rest)} units",
                f"    clean  {each.clean_before.text()} → {each.clean_after.text()}",
                f"    robust {each.robust_before.text()} → {each.robust_after.text()}",
                f"    cosines (w⁰,w) {each.cos_start_clean:.2f}, (w⁰,w′) {each.cos_start_now:.2f}, "
                f"(w,w′) {each.cos_clean_now:.2f}; ‖βw′‖ > ‖w − βw′‖ for {each.share:.0%} of the alive units",
            ]
        return "\n".join(lines)


def _row(found: LayerAlone) -> LocalLayer:
    """One layer as ``local.json`` holds it."""
    measured = [Interval.of(each) for each in (*found.before, *found.after)]
    units = [getattr(found.units, name).tolist() for name in ("pure_part", "rest", "alive")]
    steps = (found.clean_steps, found.adversarial_steps)
    return LocalLayer(found.name, *steps, *measured, *found.means().values(), *map(tuple, units))  # type: ignore[arg-type]


def _scalars(found: LayerAlone) -> Scalars:
    """The figures of one layer by the names of :func:`engine.core.metrics.local`, accuracies with their protocols."""
    yield from ((metrics.local(found.name, name), value, None) for name, value in found.means().items())
    names = [metrics.local(found.name, moment) for moment in MOMENTS]
    yield from accuracies(names, (*found.before, *found.after))
