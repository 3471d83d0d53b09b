"""Feature visualisation: the ascents climb, stay where they may be, and leave nothing behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from engine.core.errors import ConfigError
from engine.core.results import FeatureRequest, Features
from engine.core.slices import finish
from engine.models.base import DataFacts
from engine.models.layers import build, layer, layers
from engine.models.networks.resnet import ResNetModel
from engine.probes.features import GREY, NOISE, check, origin_of, visualise
from tests.tiny_digits import held_out, trained

SHAPE = (1, 8, 8)
DEEP, SHALLOW, LOGITS = "5", "0", "11"  # names of layers of the tiny network


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    """The tiny network trained, and with random weights."""
    import copy

    from tests.tiny_digits import net

    return {m: n.eval().requires_grad_(False) for m, n in (("start", net()), ("now", copy.deepcopy(trained())))}


@pytest.fixture(autouse=True)
def _no_grad() -> Iterator[None]:
    """As in the engine's thread; and nobody leaves it on."""
    torch.set_grad_enabled(False)
    yield
    assert not torch.is_grad_enabled()


def request(
    layer: str = DEEP, units: tuple[int, ...] = (0, 1, 5), tau: float = 1.5, **others: object
) -> FeatureRequest:
    return dataclasses.replace(FeatureRequest(layer, units, tau=tau, steps=30), **others)  # type: ignore[arg-type]


def run(networks: dict[str, nn.Module], asked: FeatureRequest, image: Tensor | None = None, seed: int = 0) -> Features:
    return finish(visualise(networks, asked, image, SHAPE, 7, seed))


def mean_activation(network: nn.Module, name: str, x: Tensor) -> Tensor:
    """Means over positions (n, units) of a layer's output after its batch norm, computed by plain calls."""
    modules = dict(network.named_children())
    norm = {DEEP: "6", SHALLOW: "1"}.get(name, name)
    for key, module in modules.items():
        x = module(x)
        if key == norm:
            return x if x.dim() == 2 else x.mean((2, 3))
    raise AssertionError


def hooks(network: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


# --- what is found


@pytest.mark.parametrize("name", [SHALLOW, DEEP, LOGITS])
@pytest.mark.parametrize("origin", ["noise", "image"])
def test_pictures_activate_their_units_far_more_than_the_origin(
    networks: dict[str, nn.Module], name: str, origin: str
) -> None:
    image = held_out(3)[0][2]
    found = run(networks, request(name, (0, 3, 7), origin=origin), image)
    start = torch.from_numpy(found.origin.copy())[None]
    if origin == "image":
        assert torch.equal(start[0], image)
    for moment, network in networks.items():
        before = mean_activation(network, name, start)[0, [0, 3, 7]]
        pictures = torch.from_numpy(found.pictures[moment].copy())
        after = mean_activation(network, name, pictures)[range(3), [0, 3, 7]]
        np.testing.assert_allclose(found.activations[moment], after, atol=1e-4)  # the network agrees
        spread = mean_activation(network, name, held_out(200)[0])[:, [0, 3, 7]].std(0)
        assert (after > before).all()
        if moment == "now":
            assert (after > before + (1 if name == LOGITS else 2) * spread).all()


def test_no_real_image_moves_a_unit_as_much(networks: dict[str, nn.Module]) -> None:
    found = run(networks, request(DEEP, tuple(range(10)), tau=4.0, steps=60))
    real = mean_activation(networks["now"], DEEP, held_out(300)[0]).max(0).values[:10]
    assert (found.activations["now"] > real.numpy()).all()


@settings(max_examples=12, deadline=None)
@given(
    tau=st.floats(1e-3, 20), steps=st.integers(1, 12), origin=st.sampled_from(["noise", "image"]),
    name=st.sampled_from([SHALLOW, DEEP, LOGITS]),
)  # fmt: skip
def test_every_picture_stays_in_the_ball_and_in_the_box(tau: float, steps: int, origin: str, name: str) -> None:
    network = trained().eval()
    asked = request(name, (0, 1), tau, steps=steps, origin=origin)
    seen = 0
    for part in visualise({"now": network}, asked, held_out(1)[0][0], SHAPE, 0, 0):
        if part is not None:
            seen += 1
            pictures = part.pictures["now"]
            assert pictures.min() >= 0
            assert pictures.max() <= 1
            distance = np.linalg.norm((pictures - part.origin).reshape(2, -1).astype(np.float64), axis=1)
            assert (distance <= tau * (1 + 1e-5) + 1e-6).all()
    assert seen >= min(steps, 3)


def test_the_longer_the_ascent_the_higher(networks: dict[str, nn.Module]) -> None:
    short, long = (run(networks, request(steps=steps)).activations["now"] for steps in (2, 60))
    assert (long > short).all()


def test_a_unit_without_gradient_stays_at_the_origin() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    network[1].weight.data.zero_()
    found = run({"now": network}, request("1", (0, 1, 2)))
    assert all(np.array_equal(p, found.origin) for p in found.pictures["now"])


def test_weights_that_are_no_numbers_give_pictures_that_are() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    network[1].weight.data.fill_(float("nan"))
    found = run({"now": network}, request("1", (0,)))
    assert np.isfinite(found.pictures["now"]).all()


# --- how it runs


def test_the_same_seed_gives_the_same_pictures_bit_for_bit(networks: dict[str, nn.Module]) -> None:
    a, b, other = run(networks, request()), run(networks, request()), run(networks, request(), seed=1)
    torch.rand(3)  # the global generator plays no part
    for moment in networks:
        np.testing.assert_array_equal(a.pictures[moment], b.pictures[moment])
        np.testing.assert_array_equal(a.activations[moment], b.activations[moment])
    assert not np.array_equal(a.origin, other.origin)


def test_each_moment_alone_gives_what_it_gives_beside_the_others(networks: dict[str, nn.Module]) -> None:
    both = run(networks, request())
    for moment, network in networks.items():
        alone = run({moment: network}, request())
        np.testing.assert_array_equal(alone.pictures[moment], both.pictures[moment])
        np.testing.assert_array_equal(alone.origin, both.origin)


def test_the_origin_is_grey_with_a_little_noise() -> None:
    origin = origin_of(FeatureRequest("0", (0,)), None, (3, 32, 32), 0)
    assert origin.mean().item() == pytest.approx(GREY, abs=0.01)
    assert origin.std().item() == pytest.approx(NOISE, rel=0.1)


def test_all_moments_fill_in_together_and_only_grow(networks: dict[str, nn.Module]) -> None:
    parts = [p for p in visualise(networks, request(steps=10), None, SHAPE, 7, 0) if p is not None]
    assert [p.share for p in parts] == pytest.approx([i / 20 for i in range(21)])
    assert all(set(p.pictures) == set(networks) and p.step == 7 for p in parts)
    for moment in networks:
        np.testing.assert_array_equal(parts[0].pictures[moment], np.stack([parts[0].origin] * 3))
        changed = [not np.array_equal(p.pictures[moment], parts[0].pictures[moment]) for p in parts]
        assert changed.index(True) <= 4  # each is under way after two rounds
        values = np.stack([p.activations[moment] for p in parts])
        assert (np.diff(values, axis=0) >= 0).all()
    arrays = [a for p in parts for a in (*p.pictures.values(), *p.activations.values(), p.origin)]
    assert not any(a.flags.writeable for a in arrays)


def test_many_units_of_a_large_network_are_taken_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.probes.features.SLICE", 2.0 * sum(p.numel() for p in trained().parameters()))
    asked = request(units=(0, 1, 2, 3, 4), steps=3)
    parts = []
    sliced = finish(visualise({"now": trained().eval()}, asked, None, SHAPE, 0, 0), parts.append)
    assert sum(p is None for p in parts) == 3 * 4  # three slices a step, and three to look at the last
    monkeypatch.undo()
    whole = run({"now": trained().eval()}, asked)
    np.testing.assert_allclose(whole.pictures["now"], sliced.pictures["now"], atol=1e-3)


@pytest.mark.parametrize("after", [0, 1, 2, 7])
def test_closing_it_leaves_no_hook_and_no_change(networks: dict[str, nn.Module], after: int) -> None:
    state = {m: {k: v.clone() for k, v in n.state_dict().items()} for m, n in networks.items()}
    work = visualise(networks, request(), None, SHAPE, 0, 0)
    for _ in range(after):
        next(work)
        assert not any(hooks(n) for n in networks.values())  # not even between slices: others use the network, too
    work.close()
    for moment, network in networks.items():
        assert not hooks(network)
        assert not network.training
        assert all(torch.equal(v, state[moment][k]) for k, v in network.state_dict().items())
        assert all(p.grad is None for p in network.parameters())


def test_it_works_with_gradients_on_and_off_and_touches_no_weight() -> None:
    network = trained().eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    off = run({"now": network}, request())
    with torch.enable_grad():
        on = run({"now": network}, request())
    np.testing.assert_array_equal(off.pictures["now"], on.pictures["now"])
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_an_error_in_the_network_leaves_no_hook(networks: dict[str, nn.Module]) -> None:
    network = networks["now"]
    with pytest.raises(RuntimeError):
        finish(visualise({"now": network}, request(), None, (3, 8, 8), 0, 0))
    assert not hooks(network)


def test_any_layer_of_a_resnet_in_place_relus_and_all() -> None:
    data = DataFacts((3, 8, 8), 4, torch.full((3,), 0.5), torch.full((3,), 0.25))
    network = build(ResNetModel(width=4), data, 0).eval().requires_grad_(False)
    for each in (*layers(network)[:4], layer(network, "net.layer2.0.downsample.0", ""), layers(network)[-1]):
        asked = FeatureRequest(each.name, (0, 1), tau=1.0, steps=4)
        found = finish(visualise({"now": network}, asked, None, (3, 8, 8), 0, 0))
        taken: list[Tensor] = []
        target = each.module if each.norm is None else each.norm
        handle = target.register_forward_hook(lambda m, i, o, taken=taken: taken.append(o.clone()))
        network(torch.from_numpy(found.pictures["now"].copy()))
        handle.remove()
        means = taken[0] if taken[0].dim() == 2 else taken[0].mean((2, 3))
        np.testing.assert_allclose(found.activations["now"], means[[0, 1], [0, 1]], rtol=1e-4, atol=1e-5)
    assert not hooks(network)


# --- what may be asked


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: dataclasses.replace(r, layer="conv9"), "layer: got 'conv9'; allowed: 0, 5, 11"),
        (lambda r: dataclasses.replace(r, units=(0, 32)), "units: got 32; allowed for 5: 0 to 31"),
        (lambda r: dataclasses.replace(r, units=(-1,)), "units: got -1; allowed for 5: 0 to 31"),
        (lambda r: dataclasses.replace(r, origin="sky"), "origin: got 'sky'; allowed: noise, image"),
        (lambda r: dataclasses.replace(r, tau=0.0), "tau: got 0; allowed: a number above 0"),
        (lambda r: dataclasses.replace(r, tau=float("nan")), "tau: got nan"),
        (lambda r: dataclasses.replace(r, steps=0), "steps: got 0; allowed: a whole number from 1"),
    ],
)
def test_errors_name_what_is_wrong(
    networks: dict[str, nn.Module], change: Callable[[FeatureRequest], FeatureRequest], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check(networks["now"], change(request()))
    with pytest.raises(ConfigError, match=message):
        run(networks, change(request()))


def test_an_origin_that_is_not_there(networks: dict[str, nn.Module]) -> None:
    for image in (None, torch.zeros(3, 8, 8)):
        with pytest.raises(ConfigError, match="image: got none of the data's shape"):
            run(networks, request(origin="image"), image)


def test_no_units_no_pictures(networks: dict[str, nn.Module]) -> None:
    found = run(networks, request(units=()))
    assert found.pictures["now"].shape == (0, 1, 8, 8)
    assert found.share == 1
