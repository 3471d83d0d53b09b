"""A network on pictures as attacks and probes see it: always in evaluation mode, never with weight gradients."""

from __future__ import annotations

import copy
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from engine.attacks.base import Loss
from engine.attacks.losses import cross_entropy, margins


class ImageClassifier:
    """``module``: pixels in [0, 1] (n, C, H, W) → logits (n, K), K ≥ 2, normalisation inside; labels (n,) int64.

    It satisfies :class:`engine.attacks.base.Differentiable`. What it computes is the network in evaluation mode: batch
    norm takes its running statistics, and changes none of them; dropout drops nothing, and draws no random numbers. The
    module itself, which may be in the middle of training, is left in whatever mode it is in: attacks work on a second
    tree of the same layers, in evaluation mode, whose parameters and buffers are the very same memory. So there is no
    mode to switch or to restore, whatever is interleaved with an attack, and what an optimiser, batch norm or
    ``load_state_dict`` change in place is seen at once, as are tensors that ``module.to`` has replaced. Parameters of
    the second tree ask for no gradient: none is computed for weights, and no ``.grad`` of the module is touched.

    The tree is built once. Wrap the module again after replacing layers of it, or changing their settings; hooks that
    the module has when it is wrapped are taken over, later ones are not.

    With ``autocast`` the network runs in bfloat16 on CUDA (elsewhere nothing changes); logits are float32 either way.

    Example::

        classifier = ImageClassifier(resnet18(10))
        delta = Pgd(threats["l2"], 0.5, steps=10, box=(0.0, 1.0))(classifier, x, y, generator)
    """

    def __init__(self, module: nn.Module, *, autocast: bool = False) -> None:
        self.module = module
        self.autocast = autocast
        # What a deep copy finds in its memo it takes instead of copying: with it the copy shares all tensors.
        memo: dict[int, object] = {id(p): _alias(p) for p in module.parameters()}
        memo.update({id(b): b for b in module.buffers()})
        self._network = copy.deepcopy(module, memo).eval()
        pairs = list(zip(module.modules(), self._network.modules(), strict=True))
        self._parameters = [(a._parameters, b._parameters, name) for a, b in pairs for name in a._parameters]
        self._buffers = [(a._buffers, b._buffers, name) for a, b in pairs for name in a._buffers]

    def copy(self) -> ImageClassifier:
        """The same network with tensors of its own, in no need of gradients: for evaluation beside training."""
        self._follow()
        return ImageClassifier(copy.deepcopy(self._network), autocast=self.autocast)

    def logits(self, x: Tensor) -> Tensor:
        """Logits (n, K) float32 for x (n, C, H, W)."""
        with torch.no_grad():
            return self._forward(x)

    def margin(self, x: Tensor, y: Tensor) -> Tensor:
        """z_y − max of the other logits (n,): positive where the answer is right; a tie or NaN is wrong."""
        return margins(self.logits(x), y)

    def input_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """Gradient of the summed cross-entropy, like x."""
        return self.gradient(x, y, cross_entropy)[2]

    def gradient(self, x: Tensor, y: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """``loss(logits, y)`` (n,), the logits (n, K), and the gradient of the loss's sum, like x: one pass each way.

        What is not finite in the gradient becomes 0, so that it leads no attack out of its ball.
        """
        with torch.enable_grad():  # the thread that trains has it off
            point = x.detach().requires_grad_()
            logits = self._forward(point)
            values = loss(logits, y)
            (slope,) = torch.autograd.grad(values.sum(), point)
        return values.detach(), logits.detach(), slope.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)

    def _forward(self, x: Tensor) -> Tensor:
        self._follow()
        with self._precision(x):
            logits: Tensor = self._network(x)
        return logits.float() if logits.dtype != x.dtype else logits

    def _precision(self, x: Tensor) -> AbstractContextManager[object]:
        if not x.is_cuda:
            return nullcontext()
        return torch.autocast("cuda", torch.bfloat16, enabled=self.autocast)

    def _follow(self) -> None:
        """Share again what the module has replaced since: some microseconds, against milliseconds of a pass."""
        for source, target, name in self._parameters:
            theirs, ours = source[name], target[name]
            if theirs is None or ours is None:
                target[name] = None if theirs is None else _alias(theirs)
            elif theirs.data_ptr() != ours.data_ptr() or theirs.dtype != ours.dtype:
                target[name] = _alias(theirs)
        for source, target, name in self._buffers:  # type: ignore[assignment]
            if target[name] is not source[name]:
                target[name] = source[name]


def _alias(parameter: nn.Parameter) -> nn.Parameter:
    """The same memory, asking for no gradient."""
    return nn.Parameter(parameter.detach(), requires_grad=False)
