"""Cross-entropy: against the reference, its definition, and central differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, real

import fastconv
from fastconv import reference


@given(
    st.integers(1, 8), st.integers(1, 12), st.sampled_from(DTYPES), st.sampled_from(["ids", "one-hot", "soft"]),
    st.one_of(st.just(0), st.floats(0, 1)), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_equals_reference(N, K, dtype, kind, smoothing, seed):
    rng = np.random.default_rng(seed)
    logits, ids = 5 * real(rng, (N, K), dtype), rng.integers(0, K, N)
    target = {"ids": ids, "one-hot": np.eye(K, dtype=dtype)[ids], "soft": rng.dirichlet(np.ones(K), N)}[kind]
    loss, grad = fastconv.cross_entropy(logits, target, label_smoothing=smoothing)
    expected_loss, expected = reference.cross_entropy(logits, target, label_smoothing=smoothing)
    eps = float(np.finfo(dtype).eps)
    assert isinstance(loss, float)
    assert loss == pytest.approx(expected_loss, rel=16 * eps, abs=16 * eps)
    assert grad.dtype == dtype
    np.testing.assert_allclose(grad, expected, rtol=16 * eps, atol=8 * eps)


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_equals_its_definition(N, K, seed):
    rng = np.random.default_rng(seed)
    logits, ids = real(rng, (N, K), np.float64), rng.integers(0, K, N)
    loss, grad = fastconv.cross_entropy(logits, ids)
    shares = [[math.exp(v) / math.fsum(map(math.exp, row)) for v in row] for row in logits]
    assert loss == pytest.approx(-math.fsum(math.log(shares[n][ids[n]]) for n in range(N)) / N, rel=1e-12, abs=1e-15)
    np.testing.assert_allclose(grad, (np.array(shares) - np.eye(K)[ids]) / N, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weights", ["ids", "one-hot", "soft"])
def test_gradient_by_central_differences(weights, smoothing):
    rng = np.random.default_rng(0)
    logits, eps = real(rng, (3, 4), np.float64), 1e-6
    target = {"ids": np.array([0, 3, 1]), "one-hot": np.eye(4)[[0, 3, 1]], "soft": rng.random((3, 4))}[weights]

    def loss(values):
        return fastconv.cross_entropy(values, target, label_smoothing=smoothing)

    gradient = loss(logits)[1]
    for place in np.ndindex(logits.shape):
        ahead, behind = logits.copy(), logits.copy()
        ahead[place] += eps
        behind[place] -= eps
        slope = (loss(ahead)[0] - loss(behind)[0]) / (2 * eps)
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-3, atol=1e-5)


@given(st.integers(1, 6), st.integers(2, 6), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_label_smoothing_is_another_target(N, K, smoothing, seed):
    """What it stands for, written out: (1 - s) * one-hot + s / K; and s = 1 asks for the uniform distribution."""
    rng = np.random.default_rng(seed)
    logits, ids = real(rng, (N, K), np.float64), rng.integers(0, K, N)
    smoothed = (1 - smoothing) * np.eye(K)[ids] + smoothing / K
    loss, grad = fastconv.cross_entropy(logits, ids, label_smoothing=smoothing)
    expected_loss, expected = fastconv.cross_entropy(logits, smoothed)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    np.testing.assert_allclose(grad, expected, rtol=1e-12, atol=1e-15)
    uniform = fastconv.cross_entropy(np.zeros((N, K)), ids, label_smoothing=1)
    assert uniform[0] == pytest.approx(math.log(K))
    np.testing.assert_allclose(uniform[1], 0, atol=1e-15)


def test_ids_and_one_hot_agree():
    logits = real(np.random.default_rng(1), (6, 5), np.float32)
    ids = np.array([0, 4, 2, 2, 1, 3], np.uint8)
    loss, grad = fastconv.cross_entropy(logits, ids)
    same_loss, same_grad = fastconv.cross_entropy(logits, np.eye(5, dtype=np.float32)[ids])
    assert loss == same_loss
    np.testing.assert_array_equal(grad, same_grad)


def test_empty_batch():
    loss, grad = fastconv.cross_entropy(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    assert loss == 0.0
    assert grad.shape == (0, 3)
    assert grad.dtype == np.float32


def test_an_impossible_class_costs_nothing_unless_it_is_the_target():
    logits = np.array([[0.0, -np.inf]])
    loss, grad = fastconv.cross_entropy(logits, np.array([0]))
    assert loss == 0
    np.testing.assert_array_equal(grad, [[0, 0]])
    assert fastconv.cross_entropy(logits, np.array([1]))[0] == np.inf


def test_numpy_backend_gives_the_same():
    logits, ids = real(np.random.default_rng(3), (4, 3), np.float64), np.array([2, 0, 1, 1])
    loss, grad = fastconv.cross_entropy(logits, ids)
    with fastconv.use_backend("numpy"):
        other, other_grad = fastconv.cross_entropy(logits, ids)
    assert loss == pytest.approx(other, rel=1e-14)
    np.testing.assert_allclose(grad, other_grad, rtol=1e-13, atol=1e-15)
