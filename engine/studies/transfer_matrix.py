"""The transfer matrix of a run: its nets and those of another seed, each attacked, and each measured on that."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engine.attacks.base import Classifier
from engine.config.experiment import Config
from engine.core.errors import ConfigError
from engine.core.results import Transfer
from engine.core.slices import Progress, finish
from engine.data.images import BOX
from engine.images.loading import Moment
from engine.models.symmetric_relu import SymmetricRelu
from engine.probes.layers import chunk_of
from engine.probes.transfer import transfer
from engine.run.state import tensor
from engine.run.store import Store
from engine.run.timeline import Span, phases
from engine.studies.clean_end import CleanEnd, Stages, clean_end_of, protocols
from engine.studies.other_seed import other_image_nets, other_theory_nets
from engine.theory.config import bias_at
from engine.theory.loading import TheoryNetwork

HIGHEST_SEED = 2**31 - 1
MEASURING = "attacking every net, measuring all"
MOMENTS: tuple[Moment, ...] = ("start", "clean", "now")


@dataclass(frozen=True)
class MeasuredTransfer:
    """``found`` among nets called start, clean, now, other_clean, other_now; without the nows if clean training was
    the last phase, and of imported weights without the other seed's, and without a start that is not known. ``step`` is
    the run's newest, ``seeds`` are its own and the other's.
    """

    found: Transfer
    step: int
    clean_step: int
    seeds: tuple[int, int]


def measure_transfer(folder: Path, other_seed: int | None, n: int, progress: Progress) -> MeasuredTransfer:
    """Train the nets of ``other_seed`` (by default the one after the run's) and measure all pairs on ``n`` samples.

    Of imported weights nobody knows how to train another seed: their own nets are measured. Raises
    :class:`ConfigError` for the seed and for a run whose clean training has not ended, :class:`StoreError` for the
    folder.
    """
    theory, clean_step = clean_end_of(folder)
    with closing(Store.open(folder, read_only=True)) as store:
        checkpoint = store.load()
        spans = phases(store, checkpoint)
    config = checkpoint.config
    later = tuple(span for span in spans if span.start >= clean_step and span.end > span.start)
    seed = (config.seed + 1) % (HIGHEST_SEED + 1) if other_seed is None else other_seed
    if not 0 <= seed <= HIGHEST_SEED or seed == config.seed:
        allowed = f"a whole number from 0 to {HIGHEST_SEED} other than the run's {config.seed}"
        raise ConfigError(f"--other-seed: got {seed}; allowed: {allowed}")
    ask = _theory if theory else _images
    return MeasuredTransfer(
        ask(folder, clean_step, later, seed, n, progress), checkpoint.step, clean_step, (config.seed, seed)
    )


def _theory(folder: Path, clean_step: int, later: tuple[Span, ...], seed: int, n: int, tell: Progress) -> Transfer:
    now, clean = TheoryNetwork.load(folder), TheoryNetwork.load(folder, clean_step)
    config, world = now.config, now.held_out.world
    with closing(Store.open(folder, read_only=True)) as store:
        first = tensor(store.load(), "weight_init", world.target.device)
    x, y = now.held_out.take(n, config.world.sigma_x)
    own = {"start": SymmetricRelu(first, bias_at(config, 0)), "clean": clean.model, "now": now.model}
    stages = _stages(config, clean_step, later, len(y), tell)
    others = other_theory_nets(config, world, clean_step, later, seed, stages)
    nets = _named(own, others, later)
    how = protocols(config, len(y))[1]
    return finish(transfer(nets, x, y, how, world.dense_direction, config.seed), stages.begin(MEASURING))


def _images(folder: Path, clean_step: int, later: tuple[Span, ...], seed: int, n: int, tell: Progress) -> Transfer:
    found = CleanEnd.load(folder, n)
    config, y = found.config, found.y
    known = [moment for moment in MOMENTS if moment != "start" or found.network.has_start]
    own: dict[str, Classifier] = {moment: found.network.classifier(moment) for moment in known}
    if config.imported is None:
        stages = _stages(config, clean_step, later, len(y), tell)
        nets = _named(own, other_image_nets(found, later, seed, stages), later)
    else:
        stages, nets = Stages(tell, [1.0]), own
    how = protocols(config, len(y))[1]
    work = transfer(nets, found.x, y, how, None, config.seed, box=BOX, chunk=chunk_of(found.x.shape))
    return finish(work, stages.begin(MEASURING))


def _named(
    own: Mapping[str, Classifier], others: tuple[Classifier, Classifier], later: tuple[Span, ...]
) -> dict[str, Classifier]:
    """The nets in the order of the matrix; without a phase after clean training those of now are the clean ones."""
    nets = dict(own) | dict(zip(("other_clean", "other_now"), others, strict=True))
    return nets if later else {name: net for name, net in nets.items() if not name.endswith("now")}


def _stages(config: Config, clean_step: int, later: tuple[Span, ...], n: int, tell: Progress) -> Stages:
    """Clean training, each later phase, and measuring, by what they cost in gradients of a sample."""
    attack, knobs, batch = config.attack, config.evaluation, config.training.batch_size
    perturbed = 1.0 + attack.steps * attack.restarts
    phases_cost = [(s.end - s.start) * batch * (perturbed if s.objective == "adversarial" else 1.0) for s in later]
    nets = 5 if later else 3
    measuring = n * nets * (nets + float(knobs.report_steps * knobs.report_restarts))
    return Stages(tell, [float(clean_step * batch), *phases_cost, measuring])
