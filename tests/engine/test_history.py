from __future__ import annotations

import threading

import numpy as np
import pytest

from engine.core.history import History


def test_append_and_read() -> None:
    history = History()
    for step in range(1000):
        history.append(step, "loss", step / 2)
    history.append(7, "accuracy/pgd", 0.5)
    assert sorted(history) == ["accuracy/pgd", "loss"]
    assert len(history) == 2
    series = history["loss"]
    assert len(series) == 1000
    assert series.steps.tolist() == list(range(1000))
    assert series.values.tolist() == [s / 2 for s in range(1000)]
    assert series.steps.dtype == np.int64
    assert series.values.dtype == np.float64
    assert history.get("none") is None


def test_a_view_is_read_only_and_does_not_grow() -> None:
    history = History()
    for step in range(64):
        history.append(step, "loss", 0.0)
    series = history["loss"]
    for array in (series.steps, series.values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    history.append(64, "loss", 1.0)
    assert len(series) == 64
    assert len(history["loss"]) == 65


def test_a_second_value_for_the_last_step_replaces_the_first() -> None:
    history = History()
    history.append(1, "accuracy/pgd", 0.1)
    history.append(5, "accuracy/pgd", 0.2)
    history.append(5, "accuracy/pgd", 0.3)
    assert history["accuracy/pgd"].steps.tolist() == [1, 5]
    assert history["accuracy/pgd"].values.tolist() == [0.1, 0.3]


def test_one_writer_and_a_reader_without_a_lock() -> None:
    history, wrong, done = History(), [], threading.Event()

    def look() -> None:
        while not done.is_set():
            series = history.get("loss")
            if series is not None and not np.array_equal(series.steps, series.values):
                wrong.append(len(series))

    reader = threading.Thread(target=look)
    reader.start()
    for step in range(20_000):
        history.append(step, "loss", float(step))
    done.set()
    reader.join()
    assert not wrong


def test_a_value_measured_again_takes_its_old_place() -> None:
    history = History()
    for step in (1, 5, 9):
        history.append(step, "accuracy/pgd", step / 10)
    history.append(5, "accuracy/pgd", 0.7)
    assert history["accuracy/pgd"].steps.tolist() == [1, 5, 9]
    assert history["accuracy/pgd"].values.tolist() == [0.1, 0.7, 0.9]
    with pytest.raises(ValueError, match="step 6 comes after step 9"):
        history.append(6, "accuracy/pgd", 0.7)
