"""A session on images: any network of :mod:`engine.models.layers` on a data set (SPEC.md section 8)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from engine.config.experiment import from_dict, resolve, to_dict, with_value
from engine.core.arrays import frozen
from engine.core.errors import ConfigError
from engine.core.generators import number
from engine.core.results import Examples, FeatureRequest, Features, Filters, LayersPrinciple1, RadiusCurves
from engine.data.images import HeldOutImages
from engine.images import live
from engine.images.config import ImageConfig, images, in_memory_order
from engine.images.data import load
from engine.images.evaluation import ImageRequest, evaluate
from engine.images.training import GENERATORS, ImageTrainer, low_rank_layers, restrict, start
from engine.models.classifier import ImageClassifier
from engine.models.layers import layer, layers, redraw
from engine.models.low_rank import Factors
from engine.probes.features import check, visualise
from engine.probes.layers import Weights
from engine.run.commands import Command, SetKnob, Visualise
from engine.run.scheduler import LiveProbe, ProbeTask
from engine.run.session import Session
from engine.run.state import Arrays
from engine.run.store import Checkpoint

State = dict[str, Tensor]  # a network's parameters and buffers by name
T = TypeVar("T")


class ImageSession(Session):
    """Trains ``network``, whose state was ``init`` at the start and, when clean training ended, ``clean``."""

    config: ImageConfig
    GENERATORS = GENERATORS
    REMEDY = "training.lr or training.momentum"

    def _start(self) -> None:
        self.images = load(self.config)
        self._data_hash = self.images.digest()
        self.network = start(self.config, self.images, self.device)
        self.clean: State | None = None
        self.redrawn = False
        self.phase_start = 0
        if self.config.local.layer:
            layer(self.network, self.config.local.layer, "local.layer")  # says at once what is allowed
        low_rank_layers(self.config, self.network)
        self._prepare(0)
        self.init = self._copy_state()
        self._begin_phase()

    def _restore(self, checkpoint: Checkpoint) -> None:
        self.images = load(self.config)
        state = checkpoint.state
        self._data_hash = self.images.digest()
        if self._data_hash != state["data_hash"]:
            raise ConfigError(
                f"world: the images of {self.config.world.name} are not those that this run began with "
                f"({self.images.source})"
            )
        self.network = start(self.config, self.images, self.device)
        self.network.load_state_dict(self._state_of(checkpoint, "now."))
        self.init = self._state_of(checkpoint, "init.")
        self.clean = self._state_of(checkpoint, "clean.") or None
        self.clean_step = int(state["clean_step"])
        self.redrawn = bool(state["redrawn"])
        self.phase_start = int(state["phase_start"])
        self._prepare(int(state["position"]))
        self._trainer.begin(self._factors_of(checkpoint) | dict.fromkeys(state["unlimited"]))
        if self.redrawn:
            self._trainer.only(layer(self.network, self.config.local.layer, "local.layer"))
        self._trainer.set_momenta(self._state_of(checkpoint, "momentum."))

    def _prepare(self, position: int) -> None:
        config = self.config
        placed = self.images.to(self.device, channels_last=config.training.channels_last)
        self.held_out = HeldOutImages(placed)
        self._trainer = ImageTrainer(self.network, placed, self._generators, config)
        self._trainer.stream.seek(position)
        self._start_matrices: Weights | None = None
        self._clean_matrices: Weights | None = None
        self._feature_request = FeatureRequest("", ())
        self._radius_cache: dict[Any, Any] = {}

    @property
    def classifier(self) -> ImageClassifier:
        """The network now, as attacks and probes see it."""
        return self._trainer.classifier

    def _copy_state(self) -> State:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def _state_of(self, checkpoint: Checkpoint, prefix: str) -> State:
        order = in_memory_order(self.config)
        found: State = {}
        for name, array in checkpoint.arrays.items():
            if name.startswith(prefix):
                tensor = torch.from_numpy(array.copy()).to(self.device)
                found[name.removeprefix(prefix)] = tensor.contiguous(
                    memory_format=order if tensor.dim() == 4 else torch.contiguous_format
                )
        return found

    # --- training

    def _train(self, loss: Tensor, accuracy: Tensor) -> None:
        local = self.config.local
        if local.layer and not self.redrawn and self.phase == "clean" and self.steps_done >= local.redraw_at:
            self._redraw()
        seed = number(self.config.seed, f"dropout {self.steps_done}")
        self._trainer.step(self.config, self.phase, self._share(), seed, loss, accuracy)

    def _share(self) -> float:
        """How much of the phase is done; a phase that trains one layer begins where that was drawn again."""
        schedule, local = self.config.schedule, self.config.local
        length = schedule.clean_steps if self.phase == "clean" else schedule.second_steps
        if schedule.second == "clean":
            length = schedule.total  # one long clean phase
        if self.phase == "clean" and local.layer and self.phase_start <= local.redraw_at:
            length = local.redraw_at - self.phase_start
        if self.phase == "clean" and self.redrawn:
            length = schedule.clean_steps - local.redraw_at
        return (self.steps_done - self.phase_start) / length if length > 0 else 1.0

    def _redraw(self) -> None:
        """Local purification begins: one layer from a new start, the others as they are now (SPEC.md section 8)."""
        chosen = layer(self.network, self.config.local.layer, "local.layer")
        redraw(self.network, chosen, self.config.model, self.config.seed)
        self._trainer.begin()
        self._trainer.only(chosen)
        self.redrawn, self.phase_start = True, self.steps_done
        self.init, self._start_matrices = self._copy_state(), None  # principle 1 compares with this start
        self._recorder.event(self.steps_done, "redraw", "", chosen.name)

    def _begin_phase(self) -> None:
        self.phase_start = self.steps_done
        rank = self.config.low_rank.rank if self.phase != "clean" else 0
        ranks = restrict(self.network, self.config, rank, self.config.seed, self.steps_done) if rank else None
        self._trainer.begin(ranks)
        if self.redrawn:
            self._trainer.only(layer(self.network, self.config.local.layer, "local.layer"))

    def _end_clean(self) -> None:
        self.clean, self._clean_matrices = self._copy_state(), None
        self._radius_cache.clear()

    # --- commands

    def apply(self, command: Command) -> None:
        """As every session; :class:`Visualise` is for images alone."""
        if isinstance(command, Visualise):
            if command.request.units:
                check(self.network, command.request)
            self._feature_request = command.request
            self._live_probes[Features].drop()
            return
        if isinstance(command, SetKnob) and resolve(command.path, self.config).path == "low_rank.layers":
            low_rank_layers(with_value(self.config, command.path, command.value), self.network)
        super().apply(command)

    # --- measuring

    def _matrices(self, state: State) -> Weights:
        return {each.name: state[f"{each.name}.weight"].flatten(1) for each in layers(self.network)}

    @property
    def start_matrices(self) -> Weights:
        """The start's weights by layer, one row a unit."""
        if self._start_matrices is None:
            self._start_matrices = self._matrices(self.init)
        return self._start_matrices

    @property
    def clean_matrices(self) -> Weights | None:
        """Those at the end of clean training."""
        if self._clean_matrices is None and self.clean is not None:
            self._clean_matrices = self._matrices(self.clean)
        return self._clean_matrices

    def _frozen(self, *, report: bool) -> ImageRequest:
        return ImageRequest(
            self.steps_done, report, self.config, self.classifier.copy(), self.start_matrices, self.clean_matrices,
            len(self.held_out),
        )  # fmt: skip

    def _evaluate(self, request: ImageRequest) -> Generator[None, None, None]:
        return evaluate(request, self.held_out, self._recorder.scalar, self._recorder.measured_by)

    def _make_live_probes(self) -> dict[type, LiveProbe[Any]]:
        return {
            RadiusCurves: LiveProbe(self._radius_moment),
            Examples: LiveProbe(self._examples_moment),
            LayersPrinciple1: LiveProbe(self._layers_moment),
            Features: LiveProbe(self._features_moment),
        }

    def _radius_moment(self) -> ProbeTask[RadiusCurves]:
        def begin() -> Generator[None, None, RadiusCurves]:
            x, y = self.held_out.take(live.RADIUS_SIZE)
            clean = None if self.clean is None else self._network_of(self.clean)
            return live.radius_curves(
                self.classifier.copy(), clean, self.clean_step, x, y, self.config.attack.norm, self.config.attack.tau,
                self.steps_done, self.config.seed, self._radius_cache,
            )  # fmt: skip

        return ProbeTask((self.steps_done, self.clean_step, self.config.attack), begin)

    def _examples_moment(self) -> ProbeTask[Examples]:
        def begin() -> Generator[None, None, Examples]:
            x, y = self.held_out.take(live.EXAMPLES)
            return live.examples(
                self.classifier.copy(), x, y, self.images.classes, self.config.attack, self.config.evaluation.steps,
                self.steps_done, self.config.seed,
            )  # fmt: skip

        return ProbeTask((self.steps_done, self.config.attack, self.config.evaluation.steps), begin)

    def _layers_moment(self) -> ProbeTask[LayersPrinciple1] | None:
        clean = self.clean_matrices
        if clean is None:
            return None

        def begin() -> Generator[None, None, LayersPrinciple1]:
            x, _ = self.held_out.take(self.config.evaluation.size)
            return live.layers_principle1(self.start_matrices, clean, self.classifier.copy(), x, self.steps_done)

        return ProbeTask((self.steps_done, self.clean_step), begin)

    def _features_moment(self) -> ProbeTask[Features] | None:
        request = self._feature_request
        if not request.units:
            return None

        def begin() -> Generator[Features | None, None, Features]:
            networks = {"start": self._network_of(self.init)}
            if self.clean is not None:
                networks["clean"] = self._network_of(self.clean)
            networks["now"] = self.classifier.copy()
            x, _ = self.held_out.take(request.image + 1)
            return visualise(
                {moment: c.module for moment, c in networks.items()}, request, x[-1], self.images.shape,
                self.steps_done, self.config.seed,
            )  # fmt: skip

        return ProbeTask((request, self.steps_done, self.clean_step), begin)

    def _network_of(self, state: Mapping[str, Tensor]) -> ImageClassifier:
        other: ImageClassifier = self.classifier.copy()
        other.module.load_state_dict(state)
        return other

    def _result(self, kind: type) -> object | None:
        if kind is Filters:
            first = layers(self.network)[0]
            name = f"{first.name}.weight"
            clean = None if self.clean is None else self._once("clean filters", self.clean[name])
            shape = live.picture_shape(first, self.images.shape)
            return Filters(
                layers=tuple(each.info for each in layers(self.network)),
                now=frozen(first.module.weight).reshape(shape),
                start=self._once("start filters", self.init[name]).reshape(shape),
                clean=None if clean is None else clean.reshape(shape),
            )
        return None  # of another world

    # --- checkpoints

    def _sound(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.network.parameters())

    def _arrays(self) -> Arrays:
        arrays: Arrays = {"generator.order": frozen(self._trainer.stream.epoch_state)}  # as at the epoch's start
        for prefix, state in (("now.", self.network.state_dict()), ("momentum.", self._trainer.momenta())):
            arrays |= {prefix + name: frozen(tensor) for name, tensor in state.items()}
        for prefix, state in (("init.", self.init), ("clean.", self.clean or {})):
            arrays |= {prefix + name: self._once(prefix + name, tensor) for name, tensor in state.items()}
        for name, factors in self._trainer.factors.items():
            arrays |= {f"factors.{name}.{part}": frozen(getattr(factors, part)) for part in ("base", "U", "V")}
        return arrays

    def _factors_of(self, checkpoint: Checkpoint) -> dict[str, Factors | None]:
        names = {n.removeprefix("factors.")[: -len(".U")] for n in checkpoint.arrays if n.endswith(".U")}
        state = self._state_of(checkpoint, "factors.")
        return {n: Factors(*(state[f"{n}.{part}"] for part in ("base", "U", "V"))) for n in sorted(names)}

    def _state(self) -> dict[str, Any]:
        return {
            "position": self._trainer.stream.position,
            "phase_start": self.phase_start,
            "redrawn": self.redrawn,
            "unlimited": list(self._trainer.unlimited),
            "data_hash": self._data_hash,
            "classes": list(self.images.classes),
        }

    def _pack_requests(self) -> tuple[Arrays, list[dict[str, Any]]]:
        arrays: Arrays = {}
        entries = []
        for i, request in enumerate(self._pending):
            for name, tensor in request.classifier.module.state_dict().items():
                arrays[f"pending.{i}.now.{name}"] = frozen(tensor)
            own = {"start": request.start, "clean": request.clean}
            same = {"start": request.start is self.start_matrices, "clean": request.clean is self.clean_matrices}
            for moment, weights in own.items():
                if weights is not None and not same[moment]:
                    arrays |= {f"pending.{i}.{moment}.{name}": frozen(w) for name, w in weights.items()}
            entries.append(
                {"step": request.step, "report": request.report, "config": to_dict(request.config), "same": same}
            )
        return arrays, entries

    def _unpack_requests(self, checkpoint: Checkpoint) -> Sequence[ImageRequest]:
        found = []
        for i, item in enumerate(checkpoint.state["pending"]):
            same, own = item["same"], {m: self._state_of(checkpoint, f"pending.{i}.{m}.") for m in ("start", "clean")}
            found.append(
                ImageRequest(
                    item["step"], item["report"], images(from_dict(item["config"]), "this checkpoint"),
                    self._network_of(self._state_of(checkpoint, f"pending.{i}.now.")),
                    self.start_matrices if same["start"] else own["start"],
                    self.clean_matrices if same["clean"] else own["clean"] or None,
                    len(self.held_out),
                )
            )  # fmt: skip
        return found
