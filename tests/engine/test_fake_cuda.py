"""On a GPU, without a GPU: fake ``cuda`` tensors, which have shapes and devices and no values.

Torch's FakeTensorMode raises where tensors of two devices meet. Where the code fetches a value, or asks for something
whose shape depends on values, it would raise too; :class:`Fetches` counts that instead and makes an answer up, so that
a whole evaluation can be followed, and a training step can be shown to fetch nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from engine.config.objectives import objectives
from engine.core.generators import seeded
from engine.core.slices import finish
from engine.data.images import HeldOutImages, Images
from engine.data.sparse_stream import POOL, SparseCoding, Stream
from engine.images.config import ImageConfig
from engine.images.evaluation import ImageRequest
from engine.images.evaluation import evaluate as evaluate_images
from engine.images.layout import GENERATORS as IMAGE_GENERATORS
from engine.images.training import ImageTrainer, restrict, start
from engine.models.layers import layers
from engine.models.low_rank import Factors
from engine.models.symmetric_relu import SymmetricRelu
from engine.run.session import RING, Session
from engine.theory.config import SparseCodingConfig
from engine.theory.evaluation import HeldOut, Request, evaluate
from engine.theory.layout import GENERATORS
from engine.theory.session import TheorySession
from engine.theory.training import Trainer, initial_weight
from tests.tiny_image_runs import tiny_images
from tests.tiny_runs import tiny_config

aten = torch.ops.aten
MANY = 10**6  # enough of whatever is counted
CUDA = torch.device("cuda", 0)


class Fetches(TorchDispatchMode):
    """Counts what waits for the device, and answers it: a number, all rows, or an untrue copy in main memory."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[str] = []
        self.whole = MANY  # the answer to a question for a whole number

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = func.overloadpacket
        on_gpu = bool(args) and isinstance(args[0], Tensor) and args[0].device.type == "cuda"
        if packet is aten._local_scalar_dense:
            if on_gpu:
                self.met.append("value")
            kind = args[0].dtype
            return True if kind is torch.bool else 1.0 if kind.is_floating_point else self.whole
        if packet in (aten.nonzero, aten.masked_select, aten.equal) and on_gpu:
            self.met.append(packet.__name__)
            if packet is aten.equal:
                return True
            return torch.zeros(args[0].numel(), args[0].dim(), dtype=torch.int64, device=CUDA)
        if packet is aten.bincount:
            return torch.ones(kwargs.get("minlength", 0) or args[2], dtype=torch.int64, device=args[0].device)
        if packet in (aten.index, aten.index_put_, aten._index_put_impl_) and any(map(is_mask, args[1])):
            if on_gpu:
                self.met.append("mask")
            places = [torch.zeros(len(i), dtype=torch.int64, device=i.device) if is_mask(i) else i for i in args[1]]
            return func(args[0], places, *args[2:], **kwargs)
        if packet is aten._to_copy and on_gpu and torch.device(kwargs.get("device") or CUDA).type == "cpu":
            self.met.append("copy")
        return func(*args, **kwargs)


def is_mask(index: object) -> bool:
    return isinstance(index, Tensor) and index.dtype is torch.bool


class AnyGenerator(torch.Generator):
    """One of the CPU, whatever device is asked for; fake tensors take it."""

    def __new__(cls, device: object = "cpu") -> AnyGenerator:
        return super().__new__(cls)


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetches]:
    """Within the test every tensor is a fake one, and generators are the CPU's: there are none of a GPU here."""
    monkeypatch.setattr(torch, "Generator", AnyGenerator)
    monkeypatch.setattr(FakeTensor, "numpy", in_memory, raising=False)
    monkeypatch.setattr(FakeTensor, "tolist", lambda tensor: tensor.cpu().numpy().tolist())  # one copy, as torch does
    monkeypatch.setattr(FakeTensor, "data_ptr", lambda tensor: tensor.untyped_storage()._cdata, raising=False)
    monkeypatch.setattr(FakeTensor, "__deepcopy__", copied, raising=False)
    monkeypatch.setattr(torch.nn.Module, "_apply", replace_tensors)
    monkeypatch.setattr(torch.autograd, "grad", lambda of, by: (torch.zeros_like(by),))
    monkeypatch.setattr(Tensor, "backward", backward)
    torch.set_grad_enabled(False)
    with FakeTensorMode(), Fetches() as counted:
        yield counted


def backward(value: Tensor) -> None:
    """A gradient on its own tensor's device, as torch promises; its engine asks a driver that is not there."""
    nodes, seen = [value.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        nodes += [following for following, _ in node.next_functions]
        if hasattr(node, "variable"):
            node.variable.grad = torch.zeros_like(node.variable)


def copied(tensor: Tensor, memo: dict[int, object]) -> Tensor:
    """A deep copy of the same mode; torch's own would copy the mode, too."""
    twin = tensor.detach().clone()
    memo[id(tensor)] = torch.nn.Parameter(twin, tensor.requires_grad) if hasattr(tensor, "_is_param") else twin
    return memo[id(tensor)]  # type: ignore[return-value]


def replace_tensors(network: torch.nn.Module, change: Callable[[Tensor], Tensor]) -> torch.nn.Module:
    """What ``Module.to`` does, by new parameters: a fake tensor cannot change its device in place."""
    for module in network.modules():
        for name, old in module._parameters.items():
            if old is not None:
                module._parameters[name] = torch.nn.Parameter(change(old.detach()), old.requires_grad)
        for name, buffer in module._buffers.items():
            module._buffers[name] = None if buffer is None else change(buffer)
    return network


def in_memory(tensor: Tensor) -> np.ndarray[Any, Any]:
    assert tensor.device.type == "cpu", "numpy() of a tensor on the GPU"
    return np.ones(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))


# --- the tests' own eyes


def test_the_fakes_see_what_a_gpu_would_not_do_or_would_wait_for(fetches: Fetches) -> None:
    x = torch.ones(4, 3, device=CUDA)
    with pytest.raises(RuntimeError, match="two devices"):
        x + torch.ones(4, 3)
    with pytest.raises(AssertionError, match="on the GPU"):
        x.numpy()
    assert fetches.met == []
    questions: list[Callable[[], object]] = [
        lambda: float(x.sum()), lambda: bool((x > 0).any()), lambda: x[0].tolist(), lambda: (x > 0).nonzero(),
        lambda: x[x[:, 0] > 0], lambda: x.cpu(), lambda: torch.equal(x, x), lambda: x.masked_select(x > 0),
    ]  # fmt: skip
    for question in questions:
        before = len(fetches.met)
        question()
        assert len(fetches.met) > before


# --- the theory


def theory(**knobs: object) -> tuple[SparseCodingConfig, SparseCoding, SimpleNamespace]:
    """World and session as far as training needs it, on the fake GPU, with a pool that lasts."""
    config = tiny_config(**knobs)
    world = SparseCoding.draw(config.world, seeded(0, "world"), CUDA)
    generators = {name: seeded(0, name, CUDA) for name in GENERATORS}
    stream = Stream(world, generators["pool"], generators["input_noise"])
    stream._signal, stream._label = torch.ones(POOL, config.world.d, device=CUDA), torch.ones(POOL, device=CUDA)
    trainer = Trainer(SymmetricRelu(initial_weight(config, 0).to(CUDA), 0.1), stream, generators)
    ring = torch.empty(2, RING, device=CUDA)
    return config, world, SimpleNamespace(_trainer=trainer, config=config, phase="", steps_done=0, _ring=ring)


def train(session: SimpleNamespace, objective: str) -> None:
    session.phase = objective
    TheorySession._train(session, session._ring[0, 3], session._ring[1, 3])  # type: ignore[arg-type]


ATTACKS: dict[str, dict[str, object]] = {
    "FGM l2": {},
    "FGM linf": {"norm": "linf"},
    "PGD": {"attack.steps": 3, "random_start": True},
    "PGD with restarts": {"norm": "linf", "attack.steps": 2, "random_start": True},
}


@pytest.mark.parametrize("objective", [str(name) for name in objectives])
@pytest.mark.parametrize("knobs", ATTACKS.values(), ids=ATTACKS)
def test_a_training_step_fetches_nothing(objective: str, knobs: dict[str, object], fetches: Fetches) -> None:
    _, _, session = theory(**knobs)
    train(session, objective)
    assert fetches.met == []
    assert session._trainer.model.weight.device == CUDA


def test_a_training_step_of_low_rank_fetches_nothing(fetches: Fetches) -> None:
    _, _, session = theory()
    session._trainer.factors = Factors.begin(session._trainer.model.weight, 3, 0, 0)
    fetches.met.clear()
    train(session, "adversarial")
    assert fetches.met == []


def test_a_new_pool_fetches_a_few_times_in_sixteen_batches(fetches: Fetches) -> None:
    config, world, session = theory()
    stream = session._trainer.stream
    stream.position = POOL
    train(session, "clean")
    assert 0 < len(fetches.met) <= 4
    assert stream._signal.shape == (POOL, config.world.d)
    assert stream._signal.device == world.dictionary.device == CUDA
    fetches.met.clear()
    for _ in range(3):
        train(session, "clean")
    assert stream.position == 4 * config.training.batch_size  # the pool goes on
    assert fetches.met == []


def test_the_ring_of_losses_is_one_copy(fetches: Fetches) -> None:
    seen: list[tuple[int, str, float]] = []
    recorder = SimpleNamespace(scalar=lambda *row: seen.append(row))
    session = SimpleNamespace(
        _ring=torch.zeros(2, RING, device=CUDA), _in_ring=RING, diverged=False, steps_done=RING, _recorder=recorder
    )
    Session._empty_ring(session)  # type: ignore[arg-type]
    assert len(seen) == 2 * RING
    assert fetches.met == ["copy"]


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("report", [False, True], ids=["estimate", "report"])
def test_an_evaluation_of_the_theory_stays_on_its_device(norm: str, report: bool, fetches: Fetches) -> None:
    config, world, _ = theory(norm=norm, **{"evaluation.certify_every": 10})
    fetches.whole = 4  # the certificate counts with it
    start, clean, now = (initial_weight(config, seed).to(CUDA) for seed in range(3))
    request = Request(10, report, config, 0.1, now, start, clean, rank=2)
    held_out = HeldOut(world, 0)
    held_out._blocks, held_out._sigma_x = [(torch.ones(1000, 16, device=CUDA), torch.ones(1000, device=CUDA))], 0.1
    values: dict[str, float] = {}
    finish(evaluate(request, held_out, lambda step, name, value: values.update({name: value}), lambda *_: None))
    assert {request.prefix + name for name in request.protocols()} <= set(values)
    assert fetches.met


# --- images


def images(**knobs: object) -> tuple[ImageConfig, Images, torch.nn.Module]:
    """Digits of no value on the fake GPU, and a network beside them."""
    config = tiny_images(**knobs)
    x, y = torch.zeros(96, 1, 8, 8, dtype=torch.uint8), torch.zeros(96, dtype=torch.int64)
    pictures = Images("digits", x, y, x[:64], y[:64], tuple(map(str, range(10))), "a test")
    return config, pictures.to(CUDA, channels_last=config.training.channels_last), start(config, pictures, CUDA)


NETWORKS: dict[str, dict[str, object]] = {
    "two_layer": {"model.name": "two_layer"},
    "alexnet": {},
}


def image_trainer(
    config: ImageConfig, pictures: Images, network: torch.nn.Module
) -> tuple[ImageTrainer, Callable[[str], None]]:
    """A trainer and its step; as in a session, order and flips are drawn where the session's generators are."""
    trainer = ImageTrainer(network, pictures, {name: seeded(0, name) for name in IMAGE_GENERATORS}, config)
    ring = torch.empty(2, RING, device=CUDA)
    trainer.stream.position = 0

    def step(objective: str) -> None:
        trainer.step(config, objective, 0.5, 0, ring[0, 3], ring[1, 3])

    return trainer, step


@pytest.mark.parametrize("objective", [str(name) for name in objectives])
@pytest.mark.parametrize("knobs", NETWORKS.values(), ids=NETWORKS)
def test_a_training_step_on_images_fetches_nothing(objective: str, knobs: dict[str, object], fetches: Fetches) -> None:
    config, pictures, network = images(**knobs)
    _, step = image_trainer(config, pictures, network)
    fetches.met.clear()
    step(objective)
    step(objective)  # momentum exists now
    assert fetches.met == []


def test_a_training_step_of_low_rank_on_images_fetches_nothing(fetches: Fetches) -> None:
    config, pictures, network = images(**{"low_rank.layers": "all"})
    trainer, step = image_trainer(config, pictures, network)
    trainer.begin(restrict(network, config, 2, 0, 0))
    fetches.met.clear()
    step("adversarial")
    assert fetches.met == []


@pytest.mark.parametrize("knobs", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("report", [False, True], ids=["estimate", "report"])
def test_an_evaluation_on_images_stays_on_its_device(knobs: dict[str, object], report: bool, fetches: Fetches) -> None:
    config, pictures, network = images(**knobs)
    trainer, _ = image_trainer(config, pictures, network)
    matrices = {each.name: each.matrix.clone() for each in layers(network)}
    held_out = HeldOutImages(pictures)
    request = ImageRequest(10, report, config, trainer.classifier.copy(), matrices, matrices, len(held_out))
    values: dict[str, float] = {}
    finish(evaluate_images(request, held_out, lambda step, name, value: values.update({name: value}), lambda *_: None))
    assert {request.prefix + name for name in request.protocols()} <= set(values)
    assert fetches.met
