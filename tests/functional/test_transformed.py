"""Weights transformed for Winograd's algorithm: kept while they are the same, and never any longer."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import variants
from strategies import assert_identical, assert_same_bits, integers

import fastconv
from fastconv import reference
from fastconv._engine import transformed

SHAPE = 96, 96, 3, 3  # more than the fewest that are kept


@pytest.fixture(autouse=True)
def nothing_kept():
    transformed.forget()
    yield
    transformed.forget()


@pytest.fixture
def made(monkeypatch):
    """The number of transforms, of as many as were made."""
    found, plain = [], transformed._transformed
    monkeypatch.setattr(transformed, "_transformed", lambda *args: found.append(1) or plain(*args))
    return found


def arrays(seed=0, dtype=np.float32, layout="NCHW"):
    rng = np.random.default_rng(seed)
    x, weight = integers(rng, (1, 96, 6, 6), dtype), integers(rng, SHAPE, dtype)
    return (
        (x, weight) if layout == "NCHW" else tuple(np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, weight))
    )


def by_winograd(x, weight, layout="NCHW"):
    return fastconv.conv2d(x, weight, None, 1, 1, layout=layout, algorithm="winograd")


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_weights_are_transformed_twice(made, dtype, layout):
    x, weight = arrays(dtype=dtype, layout=layout)
    results = [by_winograd(x, weight, layout) for _ in range(5)]
    assert len(made) == transformed.CALLS
    for result in results[1:]:
        assert_same_bits(result, results[0])


@pytest.mark.parametrize("place", [0, 1, 12345, -1])
def test_one_weight_that_is_changed_in_place_counts(place):
    x, weight = arrays()
    for _ in range(3):
        by_winograd(x, weight)
    for value in (7, np.nan, 1, -0.0, np.inf):
        weight.reshape(-1)[place] = value
        for _ in range(2):
            np.testing.assert_array_equal(
                by_winograd(x, weight), fastconv.conv2d(x, weight, None, 1, 1, algorithm="direct")
            )


def test_weights_that_an_optimiser_changes_are_not_kept(made):
    x, weight = arrays()
    for _step in range(8):
        by_winograd(x, weight)
        weight -= 1
        assert not any(known.kept for known in transformed._known.values())
    assert len(made) == 8


def test_weights_that_did_change_are_kept_later(made):
    x, weight = arrays()
    for needed in (2, 4, 8):
        weight += 1
        del made[:]
        for _ in range(needed + 2):
            by_winograd(x, weight)
        # those kept before have changed, which the first of the calls noticed
        assert len(made) == needed
    assert_identical(by_winograd(x, weight), reference.conv2d(x, weight, None, 1, 1))


def test_the_gradient_keeps_its_own():
    x, weight = arrays()
    g = integers(np.random.default_rng(1), (1, 96, 6, 6), np.float32)
    with variants.demanded(winograd=True):
        for _ in range(3):
            y, grad = (
                by_winograd(x, weight),
                fastconv.conv2d_backward(g, x, weight, 1, 1, needs=(True, False, False))[0],
            )
            assert_identical(y, reference.conv2d(x, weight, None, 1, 1))
            assert_identical(grad, reference.conv2d_backward(g, x, weight, 1, 1)[0])
    assert sum(known.kept is not None for known in transformed._known.values()) == 2


def test_no_more_is_kept_than_may_be(made, monkeypatch):
    (x, first), (_, second) = arrays(), arrays(1)
    by_winograd(x, first), by_winograd(x, first)
    monkeypatch.setattr(transformed, "MOST_BYTES", sum(known.bytes for known in transformed._known.values()))
    for _ in range(3):
        by_winograd(x, second)
    assert len(made) == 2 + 3
    monkeypatch.setattr(transformed, "UNUSED", 2)  # by now the first have not been used for longer
    by_winograd(x, second), by_winograd(x, second)
    assert len(made) == 2 + 4
    assert [known.kept is not None for known in transformed._known.values()] == [False, True]


def test_few_arrays_are_remembered(monkeypatch):
    monkeypatch.setattr(transformed, "MOST_ARRAYS", 3)
    x, weights = arrays()[0], [arrays(seed)[1] for seed in range(5)]
    for weight in weights:
        assert_identical(by_winograd(x, weight), reference.conv2d(x, weight, None, 1, 1))
    assert len(transformed._known) == 3


def test_weights_are_forgotten_with_their_memory():
    x, weight = arrays()
    by_winograd(x, weight), by_winograd(x, weight)
    assert transformed._known
    del weight
    gc.collect()
    assert not transformed._known


def test_threads_share_what_is_kept():
    x, weight = arrays()
    expected, found = reference.conv2d(x, weight, None, 1, 1), []

    def some_calls():
        found.extend(np.array_equal(by_winograd(x, weight), expected) for _ in range(20))

    threads = [threading.Thread(target=some_calls) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80
