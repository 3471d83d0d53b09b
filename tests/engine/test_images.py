"""Data sets in memory, and the training batches made from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.errors import ConfigError
from engine.data.augment import ImageStream, crop_, flip_, pixels
from engine.data.images import Images, stratified

FORMATS = [torch.contiguous_format, torch.channels_last]
few = settings(max_examples=25, deadline=None)
shapes = st.tuples(st.integers(1, 6), st.sampled_from([1, 3]), st.integers(1, 7), st.integers(1, 7))


def some(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.randint(1, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def images(counts: tuple[int, ...] = (30, 20, 10), test: int = 12) -> Images:
    label = np.repeat(np.arange(len(counts)), counts)
    x = np.arange(len(label), dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 2, 2), np.uint8)
    test_label = np.repeat(np.arange(len(counts)), test // len(counts))
    return Images.of(
        "made", (x, label), (np.zeros((test, 3, 2, 2), np.uint8), test_label), [f"c{i}" for i in range(3)], "here"
    )


def generators(seed: int = 0) -> tuple[torch.Generator, torch.Generator]:
    return torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)


# --- flips and crops


@few
@given(shape=shapes, seed=st.integers(0, 99), layout=st.sampled_from(FORMATS))
def test_a_flip_mirrors_the_chosen_images_and_no_other(
    shape: tuple[int, int, int, int], seed: int, layout: torch.memory_format
) -> None:
    original = some(shape, seed)
    chosen = torch.rand(shape[0], generator=torch.Generator().manual_seed(seed)) < 0.5
    batch = original.clone(memory_format=torch.contiguous_format).contiguous(memory_format=layout)
    assert flip_(batch, chosen) is batch
    for image, before, flipped in zip(batch, original, chosen, strict=True):
        assert torch.equal(image, before.flip(2) if flipped else before)


@few
@given(shape=shapes, p=st.integers(1, 4), seed=st.integers(0, 99), layout=st.sampled_from(FORMATS))
def test_a_crop_is_a_window_of_the_image_with_zeros_around(
    shape: tuple[int, int, int, int], p: int, seed: int, layout: torch.memory_format
) -> None:
    n, channels, height, width = shape
    original = some(shape, seed)
    offset = torch.randint(0, 2 * p + 1, (2, n), generator=torch.Generator().manual_seed(seed))
    batch = original.clone().contiguous(memory_format=layout)
    padded = torch.zeros(n, channels, height + 2 * p, width + 2 * p, dtype=torch.uint8)
    assert crop_(batch, offset, padded.contiguous(memory_format=layout)) is batch
    around = torch.nn.functional.pad(original, (p, p, p, p))
    for image, whole, top, left in zip(batch, around, *offset.tolist(), strict=True):
        assert torch.equal(image, whole[:, top : top + height, left : left + width])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_flips_and_crops_take_bytes_and_floats(dtype: torch.dtype) -> None:
    original = some((4, 3, 5, 5)).to(dtype)
    batch = flip_(original.clone(), torch.ones(4, dtype=torch.bool))
    assert torch.equal(batch, original.flip(3))
    crop_(batch, torch.full((2, 4), 2), torch.zeros(4, 3, 9, 9, dtype=dtype))
    assert torch.equal(batch, original.flip(3))


# --- the stream


def run(
    stream: ImageStream, n: int, batches: int, shape: tuple[int, ...], layout: torch.memory_format = FORMATS[0]
) -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.empty(n, *shape).contiguous(memory_format=layout), torch.empty(n, dtype=torch.int64)
    seen = []
    for _ in range(batches):
        stream.fill(x, y)
        assert x.is_contiguous(memory_format=layout)
        seen.append((x.clone(), y.clone()))
    return torch.cat([a for a, _ in seen]), torch.cat([b for _, b in seen])


@few
@given(count=st.integers(1, 40), n=st.integers(1, 17), seed=st.integers(0, 9))
def test_every_image_comes_once_an_epoch_with_its_own_label(count: int, n: int, seed: int) -> None:
    x = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(count, 1, 2, 2).contiguous()
    stream = ImageStream(x, torch.arange(count), *generators(seed))
    batches = -(-3 * count // n)
    seen_x, seen_y = run(stream, n, batches, (1, 2, 2))
    assert torch.equal((seen_x[:, 0, 0, 0] * 255).round().long(), seen_y)
    for epoch in range(3):
        assert sorted(seen_y[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))


@pytest.mark.parametrize("stored", FORMATS)
@pytest.mark.parametrize("filled", FORMATS)
def test_the_memory_format_changes_no_batch(stored: torch.memory_format, filled: torch.memory_format) -> None:
    x, y = some((40, 3, 6, 5)), torch.arange(40)
    expected, _ = run(ImageStream(x, y, *generators(), flip=True, crop=2), 16, 6, (3, 6, 5))
    stream = ImageStream(x.contiguous(memory_format=stored), y, *generators(), flip=True, crop=2)
    got, _ = run(stream, 16, 6, (3, 6, 5), filled)
    assert torch.equal(got, expected)
    assert got.min() >= 0
    assert got.max() <= 1


def test_without_augmentation_a_batch_is_the_image_over_255() -> None:
    x = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    got, label = run(ImageStream(x, torch.arange(4), *generators()), 4, 1, (1, 8, 8))
    assert torch.equal(got, pixels(x)[label])
    assert got.max() == 1
    assert torch.equal(pixels(x), x.double().div(255).float())  # the nearest float to each level


def test_flips_and_crops_keep_the_image_and_vary() -> None:
    x = some((1, 3, 8, 8)).expand(64, 3, 8, 8).contiguous()
    got, _ = run(ImageStream(x, torch.zeros(64, dtype=torch.int64), *generators(), flip=True), 64, 1, (3, 8, 8))
    plain, mirrored = pixels(x)[0], pixels(x)[0].flip(2)
    flipped = sum(int(torch.equal(image, mirrored)) for image in got)
    assert all(torch.equal(image, plain) or torch.equal(image, mirrored) for image in got)
    assert 16 < flipped < 48
    got, _ = run(ImageStream(x, torch.zeros(64, dtype=torch.int64), *generators(), crop=1), 64, 1, (3, 8, 8))
    assert len(torch.unique(got, dim=0)) == 9  # every offset of (0, 1, 2)² among 64 draws


@pytest.mark.parametrize("before", [0, 1, 3, 5, 10])
def test_a_stream_goes_on_bit_identically(before: int) -> None:
    x, y = some((50, 3, 4, 4)), torch.arange(50)
    first, second = generators()
    stream = ImageStream(x, y, first, second, flip=True, crop=1)
    if before:
        run(stream, 10, before, (3, 4, 4))
    epoch_state, position, augment_state = stream.epoch_state, stream.position, second.get_state()
    expected = run(stream, 10, 8, (3, 4, 4))

    first, second = generators(99)
    again = ImageStream(x, y, first, second, flip=True, crop=1)
    first.set_state(epoch_state)
    again.seek(position)
    second.set_state(augment_state)
    got = run(again, 10, 8, (3, 4, 4))
    assert torch.equal(got[0], expected[0])
    assert torch.equal(got[1], expected[1])
    assert torch.equal(again.epoch_state, stream.epoch_state)
    assert again.position == stream.position


def test_augmentation_may_be_switched_between_batches_and_does_not_touch_the_order() -> None:
    x, y = some((20, 1, 4, 4)), torch.arange(20)
    plain, switched = ImageStream(x, y, *generators()), ImageStream(x, y, *generators())
    for flip, crop in ((False, 0), (True, 0), (True, 2), (False, 1)):
        switched.flip, switched.crop = flip, crop
        assert torch.equal(run(switched, 8, 1, (1, 4, 4))[1], run(plain, 8, 1, (1, 4, 4))[1])


def test_a_stream_needs_images_with_labels() -> None:
    with pytest.raises(ValueError, match="got 0 and 0"):
        ImageStream(some((0, 1, 2, 2)), torch.empty(0, dtype=torch.int64), *generators())
    with pytest.raises(ValueError, match="got 3 and 2"):
        ImageStream(some((3, 1, 2, 2)), torch.zeros(2, dtype=torch.int64), *generators())
    with pytest.raises(ValueError, match="contiguous"):
        ImageStream(some((3, 3, 2, 4)).transpose(2, 3), torch.zeros(3, dtype=torch.int64), *generators())


# --- data sets


def test_a_subset_is_balanced_shuffled_and_inside_larger_ones() -> None:
    whole = images()
    previous: set[int] = set()
    for size in (3, 7, 15, 40, 60):
        part = whole.subset(size, seed=4)
        chosen = part.train_x[:, 0, 0, 0].tolist()
        count = part.train_y.bincount(minlength=3)
        assert len(chosen) == len(set(chosen)) == size
        assert torch.equal(whole.train_y[chosen], part.train_y)
        assert previous <= set(chosen)
        assert count.max() - count[:2].min() <= 1 or count[2] == 10  # as even as the smallest class allows
        previous = set(chosen)
    assert part.train_y.tolist() != sorted(part.train_y.tolist())
    assert part.test_x is whole.test_x


def test_a_subset_depends_on_the_seed_alone() -> None:
    whole = images()
    assert torch.equal(whole.subset(9, 1).train_x, whole.subset(9, 1).train_x)
    assert not torch.equal(whole.subset(9, 1).train_x, whole.subset(9, 2).train_x)
    assert torch.equal(whole.subset(0, 1).train_x, whole.subset(60, 1).train_x)


@pytest.mark.parametrize("size", [-1, 1, 2, 61])
def test_an_impossible_subset_is_refused(size: int) -> None:
    with pytest.raises(ConfigError, match=rf"^world\.train_size: got {size}; allowed: 0 \(all\) or 3 .* to 60$"):
        images().subset(size, 0)


def test_test_images_are_shuffled_the_same_way_each_time() -> None:
    first, second = images(test=60), images(test=60)
    assert torch.equal(first.test_y, second.test_y)
    assert first.test_y[:30].bincount(minlength=3).min() >= 4  # 20 in a row would have come from one class


def test_the_digest_sees_pixels_labels_and_classes_but_no_layout() -> None:
    one = images()
    assert one.digest() == images().digest() == one.to("cpu", channels_last=True).digest()
    assert one.to("cpu", channels_last=True).train_x.is_contiguous(memory_format=torch.channels_last)
    assert one.shape == (3, 2, 2)
    other = images()
    other.train_x[0, 0, 0, 0] += 1
    assert len({one.digest(), other.digest(), one.subset(0, 1).digest()}) == 3


def test_a_stratified_split_takes_the_share_of_each_class() -> None:
    label = np.repeat(np.arange(3), (100, 10, 2))
    train, test = stratified(label, 0.2, "made")
    assert sorted([*train, *test]) == list(range(112))
    assert np.bincount(label[test]).tolist() == [20, 2, 1]
    assert np.array_equal(stratified(label, 0.2, "made")[1], test)
