"""A session on images: any network of :mod:`engine.models.layers` on a data set (SPEC.md section 8)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.config.experiment import Moment, from_dict, resolve, to_dict, with_value
from engine.core.arrays import frozen
from engine.core.generators import number
from engine.data.images import HeldOutImages
from engine.images.config import ImageConfig, images, in_memory_order
from engine.images.data import describe, load, load_again
from engine.images.evaluation import ImageRequest, evaluate
from engine.images.layout import GENERATORS
from engine.images.moment import ImageMoment, NetworkState
from engine.images.training import ImageTrainer, low_rank_layers, restrict, start
from engine.models.classifier import ImageClassifier
from engine.models.layers import check_answers, layer, redraw
from engine.models.low_rank import Factors
from engine.probes.layers import chunk_of
from engine.probes.robustness import CHUNK
from engine.run.commands import Command, SetKnob, Visualise
from engine.run.session import Session
from engine.run.state import Arrays
from engine.run.store import Checkpoint


class ImageSession(ImageMoment, Session):
    """Trains an :class:`ImageMoment`'s ``network``."""

    config: ImageConfig
    GENERATORS = GENERATORS
    REMEDY = "training.lr or training.momentum"

    def _start(self) -> None:
        self.images = load(self.config)
        self._data_hash = self.images.digest()
        self.facts = describe(self.images)
        self.network = start(self.config, self.facts, self.device)
        check_answers(self.network, self.config.model, self.facts)
        if self.config.local.layer:
            layer(self.network, self.config.local.layer, "local.layer")  # says at once what is allowed
        low_rank_layers(self.config, self.network)
        self._prepare(0)
        self.init = self._copy_state()
        self._begin_phase()

    def _restore(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        self._data_hash = state["data_hash"]
        self.images = load_again(self.config, self._data_hash)
        self.facts = describe(self.images)
        self.network = start(self.config, self.facts, self.device)
        self.init = self._state_of(checkpoint, "init.") or None
        self.clean = self._state_of(checkpoint, "clean.") or None
        for fitting in (self.init, self.clean, self._state_of(checkpoint, "now.")):
            if fitting is not None:
                self.network.load_state_dict(fitting)  # the first two to see that they fit, too
        self.clean_step = int(state["clean_step"])
        self.redrawn = bool(state["redrawn"])
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

    @property
    def classifier(self) -> ImageClassifier:
        """The network now, as attacks and probes see it."""
        return self._trainer.classifier

    @property
    def _chunk(self) -> int:
        """Images in one slice of an evaluation."""
        return chunk_of(self.facts.shape, CHUNK)

    def _copy_state(self) -> NetworkState:
        return {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def _state_of(self, checkpoint: Checkpoint, prefix: str) -> NetworkState:
        order = in_memory_order(self.config)
        found: NetworkState = {}
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
        moment = Moment(self.steps_done, self.phase, self.phase_start, self.redrawn)
        self._trainer.step(self.config, self.phase, self.config.phase_share(moment), seed, loss, accuracy)

    def _redraw(self) -> None:
        """Local purification begins: one layer from a new start, the others as they are now (SPEC.md section 8)."""
        chosen = layer(self.network, self.config.local.layer, "local.layer")
        redraw(self.network, chosen, self.config.model, self.facts, self.config.seed)
        self._trainer.begin()
        self._trainer.only(chosen)
        self.redrawn, self.phase_start = True, self.steps_done  # the phase's schedule begins anew
        self.init, self._start_matrices = self._copy_state(), None  # principle 1 compares with this start
        self._recorder.event(self.steps_done, "redraw", "", chosen.name)

    def _begin_phase(self) -> None:
        rank = self.config.low_rank.rank if self.phase != "clean" else 0
        ranks = restrict(self.network, self.config, rank, self.config.seed, self.steps_done) if rank else None
        self._trainer.begin(ranks)
        if self.redrawn:
            self._trainer.only(layer(self.network, self.config.local.layer, "local.layer"))

    def _end_clean(self) -> None:
        self.clean, self._clean_matrices = self._copy_state(), None

    # --- commands

    def apply(self, command: Command) -> None:
        """As every session; :class:`Visualise` is for images alone."""
        if isinstance(command, Visualise):
            self.visualise(command.request)
            return
        if isinstance(command, SetKnob) and resolve(command.path, self.config).path == "low_rank.layers":
            low_rank_layers(with_value(self.config, command.path, command.value), self.network)
        super().apply(command)

    # --- measuring

    def _frozen(self, *, report: bool) -> ImageRequest:
        return ImageRequest(
            self.steps_done, report, self.config, self.classifier.copy(), self.start_matrices, self.clean_matrices,
            len(self.held_out), self._chunk,
        )  # fmt: skip

    def _evaluate(self, request: ImageRequest) -> Generator[None, None, None]:
        return evaluate(request, self.held_out, self._recorder.scalar, self._recorder.measured_by)

    # --- checkpoints

    def _sound(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.network.parameters())

    def _arrays(self) -> Arrays:
        arrays: Arrays = {"generator.order": frozen(self._trainer.stream.epoch_state)}  # as at the epoch's start
        for prefix, state in (("now.", self.network.state_dict()), ("momentum.", self._trainer.momenta())):
            arrays |= {prefix + name: frozen(tensor) for name, tensor in state.items()}
        for prefix, known in (("init.", self.init), ("clean.", self.clean)):
            once = (known or {}).items()
            arrays |= {prefix + name: self.frozen_once(prefix + name, tensor) for name, tensor in once}
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
            "redrawn": self.redrawn,
            "unlimited": list(self._trainer.unlimited),
            "data_hash": self._data_hash,
            "facts": self.facts.to_state(),
            "classes": list(self.images.classes),
        }

    def _frame(self) -> tuple[Arrays, dict[str, Any]]:
        now = {f"now.{name}": frozen(tensor) for name, tensor in self.network.state_dict().items()}
        return now, {"redrawn": self.redrawn}

    def _pack_requests(self) -> tuple[Arrays, list[dict[str, Any]]]:
        arrays: Arrays = {}
        entries = []
        for i, request in enumerate(self._evaluations.requests):
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
                    self.classifier_of(self._state_of(checkpoint, f"pending.{i}.now.")),
                    self.start_matrices if same["start"] else own["start"],
                    self.clean_matrices if same["clean"] else own["clean"] or None,
                    len(self.held_out), self._chunk,
                )
            )  # fmt: skip
        return found
