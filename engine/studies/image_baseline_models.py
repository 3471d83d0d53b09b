"""The baselines on images: models of many classes that learn no features (SPEC.md sections 6 and 8; claim 6).

A linear and a quadratic classifier of the pixels, and the neural tangent kernel (NTK) of a two-layer network. Each is
logits = θ φ(x) + c with features φ that stay as they are, of mean square 1 over a sample of training images, so that
one set of learning rates does for all. They are modules: :class:`engine.models.classifier.ImageClassifier` attacks them
as it attacks the network, and the network's own training step trains them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from engine.core.generators import seeded
from engine.studies.baseline_models import NTK_UNITS

EXACT_SQUARES = 20_000  # with more products of two pixels than this, squares of random directions take their place
RANDOM_SQUARES = 2_000  # of these
RATES = (0.5, 2.0, 8.0)  # learning rates to try, with momentum 0.9; the mean square of the features is 1


class Centred(nn.Module):
    """Images (n, C, H, W) → pixels (n, D), less the mean image, of mean square 1 each: normalisation inside."""

    mean: Tensor
    scale: Tensor

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        flat = x.flatten(1)
        self.register_buffer("mean", flat.mean(0))
        self.register_buffer("scale", (flat - flat.mean(0)).square().mean().sqrt().clamp_min(1e-6))

    def forward(self, x: Tensor) -> Tensor:
        """*Shape*: (n, C, H, W) → (n, D)."""
        return (x.flatten(1) - self.mean) / self.scale


class Squares(nn.Module):
    """Pixels z (n, D) → z with all products z_i z_j; or, where these are too many, with squares ⟨u,z⟩².

    A product of two different pixels is there twice, so that a step on them is a step on a symmetric matrix. The
    ``directions`` u (r, D) are random and stay as they are.
    """

    directions: Tensor

    def __init__(self, width: int, seed: int) -> None:
        super().__init__()
        products = width * (width + 1) // 2
        exact = products <= EXACT_SQUARES
        count = 0 if exact else RANDOM_SQUARES
        drawn = torch.randn(count, width, generator=seeded(seed, "baseline squares")) / width**0.5
        self.register_buffer("directions", drawn)
        self.words = (
            f"degree 2, exact: {products} products of two pixels, {width} pixels" if exact
            else f"degree 2: {count} squares of random directions, {width} pixels"
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        """*Shape*: (n, D) → (n, F)."""
        if len(self.directions):
            return torch.cat([z, (z @ self.directions.T).square()], 1)
        return torch.cat([z, (z.unsqueeze(2) * z.unsqueeze(1)).flatten(1)], 1)


class FeatureClassifier(nn.Module):
    """logits = θ φ(x) + c; φ is ``features`` less its mean over x (n, C, H, W), of mean square 1; θ starts at 0."""

    mean: Tensor
    scale: Tensor

    def __init__(self, features: nn.Module, x: Tensor, classes: int) -> None:
        super().__init__()
        self.features = features
        found = features(x)
        mean = found.mean(0)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", (found - mean).square().sum(1).mean().sqrt().clamp_min(1e-6))
        self.theta = nn.Linear(found.shape[1], classes)
        nn.init.zeros_(self.theta.weight)
        nn.init.zeros_(self.theta.bias)

    def forward(self, x: Tensor) -> Tensor:
        """*Shape*: (n, C, H, W) → logits (n, K)."""
        logits: Tensor = self.theta((self.features(x) - self.mean) / self.scale)
        return logits


class TangentKernel(nn.Module):
    """The NTK of a two-layer ReLU network: logits_k = c_k + Σᵢ 1[⟨wᵢ,x̂⟩ + bᵢ > 0] (⟨θ_ki,x̂⟩ + t_ki).

    x̂ are the pixels as the network normalises them; w (m, D) and b (m,) are frozen, θ and t start at 0. A direction in
    the network's own tangent space is one of these, whatever its second layer: each class has its own θ here.
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, x: Tensor, classes: int) -> None:
        super().__init__()
        self.normalise, hidden = network.get_submodule("normalise"), network.get_submodule("hidden")
        assert isinstance(hidden, nn.Linear)
        weight, bias = hidden.weight.detach()[:NTK_UNITS], hidden.bias.detach()[:NTK_UNITS]
        pixels = self.normalise(x).flatten(1)
        gates = pixels @ weight.T + bias > 0
        used = gates.any(0) if bool(gates.any()) else torch.ones_like(gates[0])  # the others are no features of x
        self.register_buffer("weight", weight[used].clone())
        self.register_buffer("bias", bias[used].clone())
        size = (gates.sum(1) * (pixels.square().sum(1) + 1)).mean()
        self.register_buffer("scale", size.sqrt().clamp_min(1e-6))
        self.theta = nn.Linear(pixels.shape[1], classes * len(self.weight))
        nn.init.zeros_(self.theta.weight)
        nn.init.zeros_(self.theta.bias)
        self.constant = nn.Parameter(torch.zeros(classes))
        few = f" (of {len(hidden.weight)})" if len(self.weight) < len(hidden.weight) else ""
        self.neurons = f"{len(self.weight)} neurons{few}"
        self.words = f"{len(self.weight) * (pixels.shape[1] + 1)} features for each class"

    def forward(self, x: Tensor) -> Tensor:
        """*Shape*: (n, C, H, W) → logits (n, K). The gates are constant but for a set of measure zero."""
        pixels = self.normalise(x).flatten(1)
        gates = (pixels.detach() @ self.weight.T + self.bias > 0).to(pixels.dtype)
        values = self.theta(pixels).view(len(x), -1, len(self.weight))
        logits: Tensor = torch.bmm(values, gates.unsqueeze(2)).squeeze(2) / self.scale + self.constant
        return logits


Make = Callable[[], nn.Module]


def makers(x: Tensor, classes: int, seed: int, start: nn.Module, now: nn.Module | None) -> dict[str, tuple[Make, str]]:
    """By name: what makes an untrained baseline, and what its features are.

    x (n, C, H, W) are training images that means, scales and gates are taken from. ``start`` is the two-layer network
    whose kernel the NTK is; ``now`` the same trained, if the run has one.
    """
    width = x[0].numel()

    def linear() -> nn.Module:
        return FeatureClassifier(Centred(x), x, classes).to(x.device)

    def quadratic() -> nn.Module:
        return FeatureClassifier(nn.Sequential(Centred(x), Squares(width, seed).to(x.device)), x, classes).to(x.device)

    def kernel(network: nn.Module) -> Make:
        return lambda: TangentKernel(network, x, classes).to(x.device)

    found: dict[str, tuple[Make, str]] = {
        "linear": (linear, f"linear: {width} pixels"),
        "quadratic": (quadratic, Squares(width, seed).words),
    }
    for name, network, when in (("ntk", start, "at their start"), ("ntk_now", now, "as they are now")):
        if network is not None:
            one = TangentKernel(network, x, classes)
            found[name] = (kernel(network), f"NTK: {one.words}, of {one.neurons} {when}")
    return found
