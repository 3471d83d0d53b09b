"""Networks as plain PyTorch has them: for whoever goes on with a run's weights without this project.

What others need is a state dict and the Python that builds the module it belongs to. For the theory that is
:class:`SymmetricNet`, whose own source is handed over; on images it is read off the module (:func:`of_images`).
"""

from __future__ import annotations

import inspect
import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from textwrap import dedent

import torch
from torch import Tensor, nn

from engine.config.knobs import Model
from engine.models.base import DataFacts, networks
from engine.models.layers import Normalise


class SymmetricNet(nn.Module):
    """f(x) = Σᵢ [ReLU(⟨wᵢ,x⟩ − b) − ReLU(−⟨wᵢ,x⟩ − b)]: x (n, d) → (n,); the sign of f(x) is the answer, ±1.

    ``weight`` (m, d) holds the wᵢ, ``bias`` is b ≥ 0. ``dictionary`` M (d, D) and ``target`` w_star (D,) are the
    world's: x = M z + noise, y = sign⟨w_star, z⟩; ``weight @ dictionary`` (m, D) shows each neuron's feature and its
    mixture. While training, both ReLUs had a common noise ρᵢ ~ N(0, σ_ρ²) inside; all measuring is without it, as here.
    """

    bias: Tensor
    dictionary: Tensor
    target: Tensor

    def __init__(self, m: int, d: int, atoms: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(m, d))
        self.register_buffer("bias", torch.zeros(()))
        self.register_buffer("dictionary", torch.zeros(d, atoms))
        self.register_buffer("target", torch.zeros(atoms))

    def forward(self, x: Tensor) -> Tensor:
        """f(x) for x (n, d): (n,)."""
        u = x @ self.weight.T
        return (torch.relu(u - self.bias) - torch.relu(-u - self.bias)).sum(1)


@dataclass(frozen=True, slots=True)
class PlainNetwork:
    """``state``, a state dict on the CPU, and ``code``: Python that makes the ``network`` that takes it.

    The code expects ``torch`` and ``nn``; it is empty where a network has parts that only this project or a user's own
    file can build. ``before`` is what to do with x first, as an expression of ``x``.
    """

    state: Mapping[str, Tensor]
    code: str
    before: str = "x"


def symmetric_net(weight: Tensor, bias: float, dictionary: Tensor, target: Tensor) -> SymmetricNet:
    """The theory's network with these weights (m, d) and bias, in its world; in evaluation mode, without gradients."""
    (m, d), atoms = weight.shape, dictionary.shape[1]
    network = SymmetricNet(m, d, atoms).to(weight.device)
    state = {"weight": weight, "bias": torch.tensor(bias), "dictionary": dictionary, "target": target}
    network.load_state_dict(state)
    return network.requires_grad_(False).eval()


def of_theory(network: SymmetricNet) -> PlainNetwork:
    """That network for others."""
    (m, d), atoms = network.weight.shape, network.dictionary.shape[1]
    code = f"{source(SymmetricNet)}\n\n\nnetwork = SymmetricNet({m}, {d}, {atoms})"
    return PlainNetwork(_on_cpu(network.state_dict()), code)


def of_images(network: nn.Module, model: Model, facts: DataFacts) -> PlainNetwork:
    """A network on images for others: without its normalisation, which is what to do first.

    A network that is nothing beside its normalisation but one module, such as a ResNet, has that module's own names.
    """
    children = list(network.named_children())
    if not isinstance(network, nn.Sequential) or not children or not isinstance(children[0][1], Normalise):
        return PlainNetwork(_on_cpu(network.state_dict()), _code(network, model, facts))
    normalise, rest = children[0][1], children[1:]
    body = rest[0][1] if len(rest) == 1 else nn.Sequential(OrderedDict(rest))
    means, stds = (tensor.flatten().tolist() for tensor in (normalise.mean, normalise.std))
    before = f"(x - x.new_tensor({means}).view(-1, 1, 1)) / x.new_tensor({stds}).view(-1, 1, 1)"
    return PlainNetwork(_on_cpu(body.state_dict()), _code(body, model, facts), before)


def _code(network: nn.Module, model: Model, facts: DataFacts) -> str:
    """By the network's own declaration, or read off its modules."""
    if (own := networks[model.name].plain) is not None:
        return own(model, facts)
    found = expression(network)
    return f"network = {found}" if found else ""


def expression(module: nn.Module, indent: str = "") -> str:
    """Python that builds ``module`` out of modules of ``nn``; empty if it has others, or such as do not say how."""
    if not isinstance(module, nn.Sequential):
        known = type(module).__module__.startswith("torch.nn.modules.") and not list(module.children())
        text = repr(module)
        return f"nn.{text}" if known and "\n" not in text else ""
    inside = indent + "    "
    parts = {name: expression(child, inside) for name, child in module.named_children()}
    if not all(parts.values()):
        return ""
    if all(name.isidentifier() for name in parts):
        lines = "".join(f"{inside}{name}={part},\n" for name, part in parts.items())
        return f"nn.Sequential(OrderedDict(\n{lines}{indent}))"
    lines = "".join(f"{inside}{part},\n" for part in parts.values())
    return f"nn.Sequential(\n{lines}{indent})"


def source(thing: type | object) -> str:
    """The source of a class or function of this project that needs nothing else of it, without notes to our tools."""
    return re.sub(r"  # (type: ignore|noqa).*", "", dedent(inspect.getsource(thing))).rstrip()  # type: ignore[arg-type]


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
