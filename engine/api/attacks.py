"""The engine's attacks and its certificate as functions of a network and samples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from engine.api.surroundings import as_it_was
from engine.core.errors import ConfigError
from engine.core.quoting import quote

if TYPE_CHECKING:
    from torch import Tensor, nn

    from engine.attacks.base import Classifier
    from engine.probes.certificate import Bounds

PIXELS = (0.0, 1.0)


def attack(
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    radius: float,
    name: str = "pgd",
    norm: Literal["l2", "linf"] = "l2",
    steps: int = 40,
    restarts: int = 5,
    seed: int = 0,
) -> Tensor:
    """Perturbed samples x + δ, shaped like ``x``, with ‖δ‖ ≤ ``radius``: what most makes ``network`` answer wrongly.

    ``network`` is that of a run (:meth:`engine.api.Run.network`), or any module that makes logits (n, K), K ≥ 2, of
    pixels (n, C, H, W). Its labels ``y`` (n,) are ±1 in the sparse-coding world, else classes. Pixels stay in [0, 1].
    ``name`` is any attack that there is for such a run, as in ``engine evaluate``; ``steps`` and ``restarts`` are those
    of PGD, from which the others' sizes follow. Random starts depend on ``seed`` alone. Modules are attacked in
    evaluation mode, and left as they are.

    Raises :class:`ConfigError` for an attack, norm, size or radius that is not allowed.
    """
    with as_it_was():
        from engine.attacks.base import attacks
        from engine.config.experiment import IMAGES, SPARSE_CODING
        from engine.core.generators import seeded
        from engine.models.plain import SymmetricNet
        from engine.probes.robustness import build, protocols_of

        theory = isinstance(network, SymmetricNet)
        direction = network.dictionary @ network.target if isinstance(network, SymmetricNet) else None
        _check("norm", norm, norm in ("l2", "linf"), "l2, linf")
        _check("radius", radius, 0 <= radius <= 100, "a number from 0 to 100")
        _check("steps", steps, 1 <= steps <= 10_000, "a whole number from 1 to 10000")
        _check("restarts", restarts, 1 <= restarts <= 1000, "a whole number from 1 to 1000")
        kind, classes = (SPARSE_CODING, 2) if theory else (IMAGES, _outputs(network, x))
        known = [each for each in attacks if kind in attacks[each].kinds]
        _check("name", name, name in known, ", ".join(known))
        (_, how) = protocols_of([name], kind, norm, [radius], steps, restarts, len(y), classes=classes)
        built = build(how, None if direction is None else direction / direction.norm(), None if theory else PIXELS)
        assert built is not None  # only ``clean`` has none
        found = built(_classifier(network), x.detach(), y, seeded(seed, f"attack {how.text()}", x.device))
        return x.detach() + found


def certificate(
    network: nn.Module, x: Tensor, y: Tensor, *, radius: float, norm: Literal["l2", "linf"] = "l2"
) -> Bounds:
    """Lower bounds on y f(x + δ) under *every* ‖δ‖ ≤ ``radius``, for a run's ``network`` in the sparse-coding world.

    x (n, d), y (n,) of ±1. The result's ``best`` (n,) are the bounds, float64, ``certified`` (n,) says which samples no
    perturbation fools, ``margin`` (n,) is y f(x). Raises :class:`ConfigError` for another network, norm or radius.
    """
    with as_it_was():
        from engine.core.slices import finish
        from engine.probes.certificate import bounds

        weight, bias = _certifiable(network)
        _check("norm", norm, norm in ("l2", "linf"), "l2, linf")
        _check("radius", radius, 0 <= radius <= 100, "a number from 0 to 100")
        return finish(bounds(weight, bias, x.detach(), y, radius, norm))


def certified_radius(
    network: nn.Module, x: Tensor, y: Tensor, *, limit: float, norm: Literal["l2", "linf"] = "l2"
) -> Tensor:
    """For each sample a radius up to ``limit`` at which it is certified (n,), float64; 0 where there is none.

    Bisected to ``limit``/1024. Raises as :func:`certificate`.
    """
    with as_it_was():
        from engine.core.slices import finish
        from engine.probes.certificate import certified_radius as measure

        weight, bias = _certifiable(network)
        _check("norm", norm, norm in ("l2", "linf"), "l2, linf")
        _check("limit", limit, 0 < limit <= 100, "a number above 0, to 100")
        return finish(measure(weight, bias, x.detach(), y, limit, norm))


def _classifier(network: nn.Module) -> Classifier:
    from engine.models.classifier import ImageClassifier
    from engine.models.plain import SymmetricNet
    from engine.models.symmetric_relu import SymmetricRelu

    if isinstance(network, SymmetricNet):
        return SymmetricRelu(network.weight.detach(), float(network.bias))
    return ImageClassifier(network)


def _outputs(network: nn.Module, x: Tensor) -> int:
    """K of a module on pictures."""
    from engine.models.classifier import ImageClassifier

    _check("x", f"shape {tuple(x.shape)}", x.dim() == 4 and len(x) > 0, "pictures (n, C, H, W) for such a network")
    logits = ImageClassifier(network).logits(x[:1])
    _check("network", f"outputs of shape {tuple(logits.shape[1:])}", logits.dim() == 2, "logits (n, K)")
    _check("network", f"{logits.shape[1]} output", logits.shape[1] >= 2, "one logit a class, at least 2")
    return int(logits.shape[1])


def _certifiable(network: nn.Module) -> tuple[Tensor, float]:
    from engine.models.plain import SymmetricNet

    if not isinstance(network, SymmetricNet):
        allowed = "the network of a run in the sparse-coding world"
        raise ConfigError(f"network: got {type(network).__name__}; allowed: {allowed}")
    return network.weight.detach(), float(network.bias)


def _check(field: str, value: object, good: bool, allowed: str) -> None:
    if not good:
        got = quote(value) if isinstance(value, str) else value
        raise ConfigError(f"{field}: got {got}; allowed: {allowed}")
