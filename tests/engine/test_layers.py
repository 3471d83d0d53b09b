"""Principle 1 and activity layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.core import metrics
from engine.core.slices import finish
from engine.models.classifier import ImageClassifier
from engine.models.layers import layers
from engine.probes.layers import activity, principle1_of, scalars
from engine.probes.principle1 import principle1
from tests.tiny_digits import held_out, net, trained


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {each.name: each.module.weight.detach().clone() for each in layers(network)}


def test_principle1_takes_convolution_kernels_as_rows() -> None:
    start, clean, now = weights(net(0)), weights(net(1)), weights(trained())
    found = principle1_of(start, clean, now)
    assert list(found) == ["0", "5", "11"]
    for name, result in found.items():
        w0, w, w1 = (each[name].numpy().reshape(len(each[name]), -1) for each in (start, clean, now))
        for i in range(len(w)):
            cosine = w[i] @ w1[i] / np.sqrt((w[i] @ w[i]) * (w1[i] @ w1[i]))
            beta = w[i] @ w1[i] / (w1[i] @ w1[i])
            assert result.cos_clean_now[i] == pytest.approx(cosine, abs=1e-5)
            assert result.beta[i] == pytest.approx(beta, abs=1e-5)
            assert result.rest[i] == pytest.approx(np.linalg.norm(w[i] - beta * w1[i]), abs=1e-5)
            assert result.cos_start_clean[i] == pytest.approx(
                w0[i] @ w[i] / np.linalg.norm(w0[i]) / np.linalg.norm(w[i]), abs=1e-5
            )
        assert result.alive.shape == (len(w),)
        flat = principle1(*(each[name].flatten(1) for each in (start, clean, now)))
        np.testing.assert_array_equal(result.pure_part, flat.pure_part)


@pytest.mark.parametrize("chunk", [7, 50, 1000])
def test_activity_counts_positive_outputs_after_the_batch_norm(chunk: int) -> None:
    network, (x, _) = trained().eval(), held_out(50)
    active = finish(activity(network, x, chunk))
    with torch.no_grad():
        first = network[:2](x)
        second = network[:7](x)
    assert set(active) == {"0", "5"}  # the logits are no activations
    assert active["0"] == float((first > 0).double().mean())
    assert active["5"] == float((second > 0).double().mean())
    assert 0.05 < active["5"] < 0.95


def test_activity_of_a_network_in_the_middle_of_training() -> None:
    network, (x, _) = trained(), held_out(40)
    expected = finish(activity(network.eval(), x, 16))
    network.train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    assert finish(activity(ImageClassifier(network), x, 16)) == expected
    assert network.training
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert finish(activity(ImageClassifier(network).copy(), x, 16)) == expected


def test_activity_in_slices_leaves_no_hook_between_them() -> None:
    network, (x, _) = trained().eval(), held_out(40)
    work = activity(network, x, 10)
    for _ in range(3):
        next(work)
        assert not any(m._forward_hooks for m in network.modules())
    work.close()
    with pytest.raises(RuntimeError):
        finish(activity(network, torch.zeros(2, 3, 8, 8), 10))
    assert not any(m._forward_hooks for m in network.modules())


def test_scalars_are_named_by_layer_and_quantity() -> None:
    start, clean, now = weights(net(0)), weights(net(1)), weights(trained())
    found, active = principle1_of(start, clean, now), {"0": 0.25, "5": 0.5}
    values = scalars(found, active)
    assert metrics.layer("5", "active_share") == "layer/5/active_share"
    assert len(values) == 3 * 4 + 2
    assert values["layer/5/active_share"] == 0.5
    first = found["0"]
    assert values["layer/0/cos_clean_now"] == pytest.approx(float(first.cos_clean_now[first.alive].mean()))
    assert values["layer/0/share"] == pytest.approx(float((first.pure_part > first.rest)[first.alive].mean()))
    assert scalars(None, active) == {"layer/0/active_share": 0.25, "layer/5/active_share": 0.5}
