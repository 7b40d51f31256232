from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv.data import minibatches


def samples(n: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(n * 6, dtype=np.float32).reshape(n, 1, 2, 3), np.arange(n)


@given(
    n=st.integers(0, 40),
    size=st.integers(1, 50),
    seed=st.none() | st.integers(0, 2**64),
    drop_last=st.booleans(),
)
def test_every_sample_once(n: int, size: int, seed: int | None, drop_last: bool) -> None:
    x, y = samples(n)
    batches = list(minibatches(x, y, size, seed, drop_last=drop_last))
    whole, rest = divmod(n, size)
    assert [len(y_batch) for _, y_batch in batches] == [size] * whole + [rest] * (rest > 0 and not drop_last)
    seen = np.concatenate([y_batch for _, y_batch in batches]) if batches else np.zeros(0, int)
    assert len(np.unique(seen)) == len(seen)
    if seed is None:
        np.testing.assert_array_equal(seen, np.arange(len(seen)))
    for x_batch, y_batch in batches:
        np.testing.assert_array_equal(x_batch, x[y_batch])


def test_without_rng_batches_are_views() -> None:
    x, y = samples(5)
    for x_batch, y_batch in minibatches(x, y, 2):
        assert np.shares_memory(x_batch, x) and np.shares_memory(y_batch, y)


def test_with_rng_batches_are_copies() -> None:
    x, y = samples(5)
    for x_batch, y_batch in minibatches(x, y, 2, 0):
        assert not np.shares_memory(x_batch, x) and not np.shares_memory(y_batch, y)


def order(rng: np.random.Generator | int | None, n: int = 50) -> list[int]:
    return [int(label) for _, y_batch in minibatches(*samples(n), 7, rng) for label in y_batch]


def test_an_int_is_a_seed_and_a_generator_moves_on() -> None:
    assert order(3) == order(3) == order(np.int64(3)) == order(np.random.default_rng(3))
    assert order(3) != order(4)
    assert order(3) != list(range(50))
    rng = np.random.default_rng(3)
    assert order(rng) != order(rng)


def test_the_order_is_drawn_in_the_call() -> None:
    x, y = samples(50)
    rng = np.random.default_rng(3)
    first = minibatches(x, y, 50, rng)
    second = minibatches(x, y, 50, rng)
    order_of_second, order_of_first = next(second)[1].tolist(), next(first)[1].tolist()
    again = np.random.default_rng(3)
    assert order_of_first == order(again) and order_of_second == order(again)


def test_global_random_state_is_not_touched() -> None:
    kept = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(987)  # noqa: NPY002
        expected = np.random.random(4)  # noqa: NPY002
        np.random.seed(987)  # noqa: NPY002
        order(3)
        order(np.random.default_rng(3))
        np.testing.assert_array_equal(np.random.random(4), expected)  # noqa: NPY002
    finally:
        np.random.set_state(kept)  # noqa: NPY002


def test_one_hot_labels_and_no_samples() -> None:
    x = np.zeros((3, 2))
    assert [y.shape for _, y in minibatches(x, np.eye(3), 2, 0)] == [(2, 3), (1, 3)]
    assert list(minibatches(x[:0], np.zeros(0), 4)) == []
    assert list(minibatches(x[:0], np.zeros(0), 4, 0)) == []


@pytest.mark.parametrize("size", [True, 2.0, "2", None, np.float64(2), np.True_, [2]])
def test_batch_size_of_the_wrong_type(size: object) -> None:
    with pytest.raises(TypeError, match=r"^minibatches: batch_size is .*, an int was needed"):
        minibatches(*samples(3), size)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [0, -1, np.int8(-3)])
def test_batch_size_too_small(size: int) -> None:
    with pytest.raises(ValueError, match=rf"^minibatches: batch_size is {size}, at least 1 was needed"):
        minibatches(*samples(3), size)


def test_small_integer_type_does_not_wrap() -> None:
    assert [len(y) for _, y in minibatches(*samples(600), np.uint8(200))] == [200, 200, 200]


@pytest.mark.parametrize("rng", [True, 1.5, "1", np.random.RandomState(0)])
def test_rng_of_the_wrong_type(rng: object) -> None:
    with pytest.raises(TypeError, match=r"^minibatches: rng is a .*, a numpy.random.Generator, an int or None"):
        minibatches(*samples(3), 1, rng)  # type: ignore[arg-type]


def test_other_arguments() -> None:
    x, y = samples(3)
    with pytest.raises(ValueError, match=r"^minibatches: rng is -1, a seed of at least 0 was needed"):
        minibatches(x, y, 1, -1)
    with pytest.raises(ValueError, match=r"^minibatches: x has 3 samples, y has 2; the same number was needed"):
        minibatches(x, y[:2], 1)
    with pytest.raises(TypeError, match=r"^minibatches: y is a list, a numpy.ndarray was needed"):
        minibatches(x, [1, 2, 3], 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"^minibatches: x has shape \(\), at least one axis was needed"):
        minibatches(np.array(1.0), y, 1)
