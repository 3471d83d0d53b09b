"""What tests of imports share: a tiny run of our own, its weights, and a CIFAR ResNet as others name its layers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from engine import worlds
from engine.images.config import ImageConfig
from engine.images.loading import ImageNetwork
from engine.models.layers import Normalise
from tests.tiny_image_runs import tiny_images

MOMENTS = {"start": "start", "clean": "clean", "robust": "now"}
KNOBS = {
    "threads": "1", "world.train_size": "100", "attack.tau": "0.3", "attack.steps": "2", "schedule.clean_steps": "4",
    "schedule.second_steps": "4", "evaluation.size": "16", "evaluation.steps": "1", "evaluation.report_size": "32",
    "evaluation.report_steps": "2", "training.batch_size": "16",
}  # fmt: skip


def settings(**more: str) -> list[str]:
    """``KNOBS`` and ``more`` (two underscores for a dot) for the command line."""
    knobs = KNOBS | {name.replace("__", "."): value for name, value in more.items()}
    return [word for name, value in knobs.items() for word in ("--set", f"{name}={value}")]


def own_config() -> ImageConfig:
    """The same experiment as a run of our own."""
    return tiny_images(**{
        "model.name": "two_layer", "model.width": 16, "world.train_size": 100, "attack.random_start": False,
        "schedule.clean_steps": 4, "schedule.second_steps": 4, "evaluation.size": 16, "evaluation.steps": 1,
        "evaluation.report_size": 32, "evaluation.report_steps": 2, "evaluation.every": 4, "training.batch_size": 16,
    })  # fmt: skip


def train(folder: Path) -> Path:
    """That run, to its end."""
    session = worlds.create(own_config(), folder)
    while session.steps_done < session.config.schedule.total:
        session.step()
    while session.measuring:
        session.measure()
    session.close()
    return folder


def states(run: Path) -> dict[str, dict[str, Tensor]]:
    """The state dicts of its three moments."""
    network = ImageNetwork.load(run)
    return {what: dict(network.network(moment).state_dict()) for what, moment in MOMENTS.items()}  # type: ignore[arg-type]


def prefixed(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


class Block(nn.Module):
    """A residual block, its way past called ``shortcut``, as in the usual CIFAR ResNets."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inner + self.shortcut(x))


class CifarResNet(nn.Module):
    """A ResNet-18 whose last layer is called ``linear``, with random weights and batch norm statistics."""

    def __init__(self, seed: int, channels: int, classes: int, width: int = 4) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            inputs = width
            for stage, stride in enumerate((1, 2, 2, 2)):
                outputs = width << stage
                blocks = (Block(inputs, outputs, stride), Block(outputs, outputs, 1))
                setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
                inputs = outputs
            self.linear = nn.Linear(inputs, classes)
            for each in self.modules():
                if isinstance(each, nn.BatchNorm2d):
                    nn.init.normal_(each.running_mean, 0.0, 0.2)
                    nn.init.uniform_(each.running_var, 0.5, 2.0)
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in range(4):
            x = getattr(self, f"layer{stage + 1}")(x)
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


def normaliser(mean: float, std: float, channels: int = 1) -> Normalise:
    return Normalise(torch.full((channels,), mean), torch.full((channels,), std))
