"""Training on from the end of a run's clean training: what the studies of local purification and of rank share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from engine.claims.base import Facts
from engine.claims.source import StoreSource
from engine.config.experiment import SPARSE_CODING, Config, at_step
from engine.config.knobs import Objective
from engine.core.device import available
from engine.core.errors import ConfigError, ExplorerError
from engine.core.generators import number, seeded
from engine.core.measurement import Measurement
from engine.core.slices import Progress, finish
from engine.data.images import BOX, Images
from engine.images.config import ImageConfig
from engine.images.layout import GENERATORS
from engine.images.loading import ImageNetwork
from engine.images.training import ImageTrainer
from engine.models.classifier import ImageClassifier
from engine.probes.layers import chunk_of
from engine.probes.robustness import Measured, accuracy
from engine.run.store import Store

Tell = Callable[[float], None]  # share done of one stage, from 0 to 1


class Stages:
    """Progress over stages of unequal length: ``tell`` hears the share of all, and what is under way."""

    def __init__(self, tell: Progress, costs: Sequence[float]) -> None:
        self._tell = tell
        self._costs = costs
        self._next = 0

    def begin(self, what: str) -> Tell:
        """The next stage begins; what is returned hears its own share."""
        total = sum(self._costs)
        before, cost = sum(self._costs[: self._next]), self._costs[self._next]
        self._next += 1

        def tell(share: float) -> None:
            self._tell((before + cost * share) / total, what)

        tell(0.0)
        return tell


@dataclass(frozen=True)
class CleanEnd:
    """A run on images at the end of its clean training, with its knobs as they were at the newest checkpoint.

    ``x`` (n, C, H, W) and ``y`` (n,) are held out; ``placed`` is the data as training wants it.
    """

    network: ImageNetwork
    placed: Images
    x: Tensor
    y: Tensor

    @classmethod
    def load(cls, folder: Path, n: int) -> CleanEnd:
        """Read the newest checkpoint, onto the device that the run asks for, or the best of this machine.

        Raises :class:`ConfigError` for a run whose clean training has not ended, :class:`StoreError` for the folder.
        """
        with closing(Store.open(folder, read_only=True)) as store:
            device = store.config.device
        network = ImageNetwork.load(folder, device=device if device in available() else "auto")
        if not network.has_clean:
            raise not_ended(folder)
        placed = network.data.to(network.device, channels_last=network.config.training.channels_last)
        return cls(network, placed, *network.held_out(n))

    def expect_trained(self, study: str) -> None:
        """Raise :class:`ConfigError` if how the network was trained is not known, which ``study`` would repeat."""
        if self.config.imported is not None:
            raise ConfigError(
                f"{self.network.folder}: {study} trains as the run was trained, which is not known of imported weights"
            )

    @property
    def config(self) -> ImageConfig:
        """The run's knobs."""
        return self.network.config

    @property
    def clean_step(self) -> int:
        """Training steps behind the clean weights."""
        return int(self.network.checkpoint.state["clean_step"])

    @property
    def clean_phase(self) -> range:
        """The run's steps of clean training."""
        return range(self.clean_step)

    @property
    def protocols(self) -> tuple[Measurement, Measurement]:
        """How clean and robust accuracy are measured."""
        return protocols(self.config, len(self.y))

    def trainer(self, name: str) -> ImageTrainer:
        """Trains a network of its own from the clean weights; its batches depend on seed and ``name`` alone."""
        network = self.network.network("clean").requires_grad_(True)
        generators = {kind: seeded(self.config.seed, f"{name} {kind}", self.network.device) for kind in GENERATORS}
        return ImageTrainer(network, self.placed, generators, self.config)

    def train(
        self, trainer: ImageTrainer, objective: Objective, steps: int, name: str, tell: Tell,
        phase: range | None = None,
    ) -> None:  # fmt: skip
        """A phase of ``steps`` steps at the run's knobs, in place of the run's steps ``phase``: its second by default.

        The learning rate runs through its whole schedule, and a knob that follows a curve through all of it that lies
        in ``phase``, stretched or shrunk where that has another length.
        """
        first, length = self.clean_step, self.config.schedule.second_steps
        phase = phase or range(first, first + (length or steps))
        loss, right = self.x.new_empty(()), self.x.new_empty(())
        for step in range(steps):
            seed = number(self.config.seed, f"{name} {objective} dropout {step}")
            config = at_step(self.config, phase[step * len(phase) // steps])
            trainer.step(config, objective, step / steps, seed, loss, right)
            tell((step + 1) / steps)
        if not bool(loss.isfinite()):
            raise ExplorerError(f"{name}: {objective} training diverged after {steps} steps: the loss is no number")

    def measure(self, model: ImageClassifier, name: str, tell: Tell) -> tuple[Measured, Measured]:
        """Clean and robust accuracy; the attack's random numbers depend on seed and ``name`` alone."""
        found = []
        for protocol in self.protocols:
            generator = seeded(self.config.seed, f"{name} {protocol.text()}", self.x.device)
            chunk = chunk_of(self.x.shape)
            work = accuracy(model, self.x, self.y, protocol, None, generator, box=BOX, chunk=chunk)
            found.append(finish(work))
            tell(len(found) / 2)
        return found[0], found[1]

    def costs(self, clean_steps: int, second_steps: int) -> tuple[float, float, float]:
        """What clean training, adversarial training and measuring once cost, in gradients of a sample."""
        attack, knobs = self.config.attack, self.config.evaluation
        batch = self.config.training.batch_size
        adversarial = second_steps * batch * (1.0 + attack.steps * attack.restarts)
        measuring = len(self.y) * (2.0 + knobs.report_steps * knobs.report_restarts)
        return float(clean_steps * batch), adversarial, measuring


def clean_end_of(folder: Path) -> tuple[bool, int]:
    """Whether the run in ``folder`` is one of the theory's world, and the step at which its clean training ended.

    Raises :class:`ConfigError` for a run whose clean training goes on: there is nothing to begin with yet.
    """
    with closing(Store.open(folder, read_only=True)) as store:
        clean_end = Facts(StoreSource(store)).clean_end
        if clean_end is None:
            raise not_ended(folder)
        return store.config.kind == SPARSE_CODING, clean_end


def protocols(config: Config, n: int) -> tuple[Measurement, Measurement]:
    """How clean and robust accuracy are measured: as in the run's reports, on ``n`` samples."""
    attack, knobs = config.attack, config.evaluation
    return (
        Measurement("clean", attack.norm, 0.0, 0, 0, n),
        Measurement("pgd", attack.norm, attack.tau, knobs.report_steps, knobs.report_restarts, n),
    )


def not_ended(folder: Path) -> ConfigError:
    """The error for a run whose clean training goes on."""
    return ConfigError(
        f"{folder}: clean training has not ended in this run; train on until the switch of the phase first"
    )


def steps_of(given: int | None, otherwise: int, option: str, knob: str) -> int:
    """``given`` steps of a study, or those that follow from ``knob``. Raises :class:`ConfigError` for less than 1."""
    if given is None and otherwise < 1:
        raise ConfigError(f"{option}: none was given and {knob} is 0 in this run; allowed: a whole number from 1")
    steps = otherwise if given is None else given
    if not 1 <= steps <= 10_000_000:
        raise ConfigError(f"{option}: got {steps}; allowed: a whole number from 1 to 10000000")
    return steps
