"""The training step on images: SGD with momentum on the batch as it is, with noise, or perturbed (SPEC.md section 8).

A phase may restrict what it changes: to a low rank in some layers (section 7), or to a single layer (section 8).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from engine.config.knobs import Objective
from engine.config.objectives import objectives
from engine.core.errors import ConfigError
from engine.core.generators import number
from engine.core.quoting import quote
from engine.data.augment import ImageStream
from engine.data.images import BOX, Images
from engine.images.config import ImageConfig, ImageTraining, in_memory_order, rate
from engine.images.data import describe
from engine.images.sgd import MomentumSGD
from engine.models.base import DataFacts
from engine.models.classifier import ImageClassifier
from engine.models.layers import Layer, build, drawn, layers
from engine.models.low_rank import Factors


def start(config: ImageConfig, data: Images | DataFacts, device: torch.device) -> nn.Module:
    """The network at its random start (drawn on the CPU: a seed means the same on every device), on ``device``.

    Of the ``data`` no more than the facts matter.
    """
    facts = data if isinstance(data, DataFacts) else describe(data)
    network = build(config.model, facts, config.seed)
    return network.to(device).to(memory_format=in_memory_order(config))


def low_rank_layers(config: ImageConfig, network: nn.Module) -> tuple[Layer, ...]:
    """The layers that ``low_rank.layers`` names. Raises :class:`ConfigError` for one that is not there."""
    known = {layer.name: layer for layer in layers(network)}
    text = config.low_rank.layers.strip()
    names = list(known) if text == "all" else [name.strip() for name in text.split(",") if name.strip()]
    if not names or any(name not in known for name in names):
        raise ConfigError(f"low_rank.layers: got {quote(text)}; allowed: all, or some of {', '.join(known)}")
    return tuple(known[name] for name in names)


def restrict(network: nn.Module, config: ImageConfig, rank: int, seed: int, step: int) -> dict[str, Factors | None]:
    """For :meth:`ImageTrainer.begin`: the layers of ``low_rank.layers`` with what keeps their change to ``rank``.

    None for a layer that this does not restrict: ``rank`` is 0, or at least min(m, d) of its matrix (m, d). The factors
    depend on ``seed``, layer and ``step`` alone.
    """
    return {
        each.name: Factors.begin(each.matrix.clone(), rank, number(seed, each.name) % 2**31, step)
        for each in low_rank_layers(config, network)
    }


class ImageTrainer:
    """Trains ``network`` on ``images``; ``generators`` are those of :data:`GENERATORS`.

    ``classifier`` is the network as attacks see it. What may change is all, until :meth:`begin` or :meth:`only` says
    otherwise.
    """

    def __init__(
        self, network: nn.Module, images: Images, generators: Mapping[str, torch.Generator], config: ImageConfig
    ) -> None:
        self.network = network
        self.classifier = ImageClassifier(network, autocast=config.training.bf16)
        self.generators = generators
        self.layers = layers(network)
        self.stream = ImageStream(images.train_x, images.train_y, generators["order"], generators["augment"])
        self.factors: dict[str, Factors] = {}  # by layer name, while the rank is restricted
        self.unlimited: tuple[str, ...] = ()  # layers that then change freely all the same
        self._velocity: dict[str, Tensor] = {}  # of the layers in ``factors``, (units, …)
        self._optimiser = MomentumSGD(network.parameters())
        self._x, self._y = images.train_x.new_empty(0).float(), images.train_y.new_empty(0)
        self._shape = images.shape
        self._drops = any(map(_may_draw, network.modules()))
        self._device_type = self._x.device.type
        network.train()

    # --- what may change

    def begin(self, ranks: Mapping[str, Factors | None] | None = None) -> None:
        """A phase begins: momentum from 0; the layers in ``ranks`` change within their factors (None: freely), the
        weights of the others not at all.

        Biases and batch norms are free in any case. Without ``ranks`` all that is not frozen changes freely.
        """
        ranks = ranks or {}
        self.factors = {name: factors for name, factors in ranks.items() if factors is not None}
        self.unlimited = tuple(name for name, factors in ranks.items() if factors is None)
        self._velocity = {}
        self._optimiser = MomentumSGD(self.network.parameters())
        for layer in self.layers:
            layer.module.weight.requires_grad_(not ranks or layer.name in ranks)

    def only(self, layer: Layer) -> None:
        """From now on train this layer alone, with its batch norm; the rest is frozen, running statistics included."""
        self.network.requires_grad_(False).eval()
        for module in (layer.module, layer.norm):
            if module is not None:
                module.requires_grad_(True).train()

    # --- the step

    def step(
        self, config: ImageConfig, objective: Objective, share: float, seed: int, loss: Tensor, accuracy: Tensor
    ) -> None:
        """One step where ``share`` of the phase is done; ``loss`` and ``accuracy`` (0-d) receive those before it.

        Where the loss is one of two batches together, accuracy is that on the unperturbed one. ``seed`` is the
        dropout's. Everything else is read from ``config`` anew.
        """
        knobs, n = config.training, config.training.batch_size
        self._batch(config, n)
        x, y = self._x, self._y
        self.stream.flip, self.stream.crop = knobs.flip, knobs.crop
        self.stream.fill(x, y)
        kind = objectives[objective]
        pair = kind.pair_loss(config)
        plain = None if pair is None else x.clone()
        kind.perturb(config, self.classifier, x, y, self.generators["attack"], BOX)
        dropping = drawn(seed, "dropout") if self._drops else nullcontext()
        with torch.enable_grad(), dropping, torch.autocast(
            self._device_type, torch.bfloat16, enabled=knobs.bf16 and self._device_type == "cuda"
        ):  # fmt: skip
            if pair is None:
                logits = self.network(x)
                value = nn.functional.cross_entropy(logits, y)
            else:  # batch norm takes each batch by itself
                logits, moved = self.network(plain), self.network(x)
                value = pair.of_classes(logits, moved, y).mean()
        value.backward()  # type: ignore[no-untyped-call]
        loss.copy_(value.detach())
        torch.mean(logits.detach().argmax(1) == y, dtype=torch.float32, out=accuracy)
        self._sgd_step(knobs, rate(knobs, share))

    def _batch(self, config: ImageConfig, n: int) -> None:
        if len(self._y) != n:
            shape = (n, *self._shape)
            self._x = torch.empty(shape, device=self._y.device, memory_format=in_memory_order(config))
            self._y = self._y.new_empty(n)

    def _sgd_step(self, knobs: ImageTraining, lr: float) -> None:
        for layer in self.layers:
            factors = self.factors.get(layer.name)
            weight = layer.module.weight
            if factors is None or weight.grad is None:
                continue
            gradient = weight.grad.flatten(1).add(weight.detach().flatten(1), alpha=knobs.weight_decay)
            velocity = self._velocity.get(layer.name)
            velocity = gradient if velocity is None else velocity.mul_(knobs.momentum).add_(gradient)
            self._velocity[layer.name] = velocity
            new = factors.follow((velocity @ factors.V.T).mul_(-lr), (factors.U.T @ velocity).mul_(-lr))
            weight.detach().copy_(new.view(weight.shape))
            weight.grad = None  # the optimiser leaves it alone
        self._optimiser.step(lr, knobs.momentum, knobs.weight_decay)

    # --- what a checkpoint must hold beside the network

    def momenta(self) -> dict[str, Tensor]:
        """The optimiser's momentum by parameter name, and ``low_rank.<layer>`` where it is the factors'."""
        velocity = self._optimiser.velocity
        found = {name: velocity[p] for name, p in self.network.named_parameters() if p in velocity}
        return found | {f"low_rank.{name}": each for name, each in self._velocity.items()}

    def set_momenta(self, momenta: Mapping[str, Tensor]) -> None:
        """Inverse of :meth:`momenta`."""
        for name, p in self.network.named_parameters():
            if name in momenta:
                self._optimiser.velocity[p] = momenta[name].contiguous(
                    memory_format=torch.channels_last if _is_channels_last(p) else torch.contiguous_format
                )
        for name in self.factors:
            if f"low_rank.{name}" in momenta:
                self._velocity[name] = momenta[f"low_rank.{name}"]


def _may_draw(module: nn.Module) -> bool:
    """Whether it may draw random numbers while training: dropout, and whatever is neither torch's nor our own."""
    if isinstance(module, _DropoutNd | nn.MultiheadAttention):
        return getattr(module, "p", getattr(module, "dropout", 0.0)) > 0
    return not type(module).__module__.startswith(("torch.", "engine."))


def _is_channels_last(p: Tensor) -> bool:
    return p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
