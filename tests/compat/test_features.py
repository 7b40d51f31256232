"""Batch normalisation of features, dropout and the gradient of a ReLU by kernels: the numbers of their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import num_threads, use_backend
from fastconv.compat import dlfs, mlfromscratch
from fastconv.compat.features import batch_normalised, dropped, masked, normalised, normalised_backward, relu_gradient
from fastconv.kernels.features import COLUMNS, ROWS

SHAPES = [(1, 3), (2, 5), (ROWS + 1, COLUMNS + 3), (3 * ROWS, 2, 9, 2 * COLUMNS // 16)]
DTYPES = [np.float32, np.float64]


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def drawn(rng, shape, dtype):
    return rng.normal(2, 3, shape).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_normalisation_is_its_formula(rng, shape, dtype):
    X, weight, bias = drawn(rng, shape, dtype), drawn(rng, shape[1:], dtype), drawn(rng, shape[1:], dtype)
    bound = {"rtol": 1e-4, "atol": 1e-4} if dtype == np.float32 else {"rtol": 1e-11, "atol": 1e-11}
    y, mean, var = batch_normalised(X, weight, bias, 0.01)
    wide = X.astype(np.float64)
    expected = (wide - wide.mean(axis=0)) / np.sqrt(wide.var(axis=0) + 0.01) * weight + bias
    assert (y.dtype, y.shape, mean.dtype, var.dtype) == (dtype, shape, dtype, dtype)
    np.testing.assert_allclose(mean, wide.mean(axis=0).ravel(), **bound)
    np.testing.assert_allclose(var, wide.var(axis=0).ravel(), **bound)
    np.testing.assert_allclose(y, expected, **bound)
    np.testing.assert_allclose(normalised(X, mean, var, weight, bias, 0.01), y, **bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_its_gradient_is_that_of_the_reference(rng, shape, dtype):
    X, grad, weight = drawn(rng, shape, dtype), drawn(rng, shape, dtype), drawn(rng, shape[1:], dtype)
    mean, var = X.mean(axis=0, dtype=np.float64).astype(dtype), X.var(axis=0, dtype=np.float64).astype(dtype)
    found = normalised_backward(grad, X, mean, var, weight, 0.01, True)
    with use_backend("numpy"):
        expected = normalised_backward(grad, X, mean, var, weight, 0.01, True)
    for a, b in zip(found, expected):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        limit = (1e-3 if dtype == np.float32 else 1e-11) * max(1.0, np.abs(b).max())
        np.testing.assert_allclose(a, b, rtol=0, atol=limit)


def test_the_same_bits_on_one_and_two_threads(rng):
    shape, found = SHAPES[-1], []
    X, grad, weight = drawn(rng, shape, np.float64), drawn(rng, shape, np.float64), drawn(rng, shape[1:], np.float64)
    for count in (1, 2):
        with num_threads(count):
            y, mean, var = batch_normalised(X, weight, weight, 0.01)
            grads = normalised_backward(grad, X, mean, var, weight, 0.01, True)
            found.append([a.tobytes() for a in (y, mean, var, *grads)])
    assert found[0] == found[1]


def test_nan_stays_in_its_feature(rng):
    X, weight = drawn(rng, (70, 300), np.float64), np.ones(300)
    X[3, 7] = np.nan
    y, mean, var = batch_normalised(X, weight, weight, 0.01)
    assert np.flatnonzero(np.isnan(y).all(axis=0)).tolist() == np.flatnonzero(np.isnan(mean + var)).tolist() == [7]
    assert np.isnan(y).sum() == 70


@pytest.mark.parametrize("dtype", [*DTYPES, np.float16, np.int64])
def test_dropout_draws_the_numbers_of_numpy_s_state(rng, dtype):
    X = drawn(rng, (5, 3, 41), dtype)
    np.random.seed(7)  # noqa: NPY002
    mask, after = np.random.random_sample(X.shape) > 0.3, np.random.random_sample(3)  # noqa: NPY002
    for layer in (mlfromscratch.Dropout(0.3), dlfs.Dropout(0.3)):
        np.random.seed(7)  # noqa: NPY002
        y = layer.forward_pass(X) if isinstance(layer, mlfromscratch.Dropout) else layer.forward(X)
        np.testing.assert_array_equal(np.random.random_sample(3), after)  # noqa: NPY002
        np.testing.assert_array_equal(y, X * mask)
        assert y.dtype == (X * mask).dtype
    np.random.seed(7)  # noqa: NPY002
    y, found = dropped(X, 0.3)
    np.testing.assert_array_equal(found, mask)
    assert found.dtype == bool
    np.testing.assert_array_equal(masked(X, mask), X * mask)
    np.testing.assert_array_equal(masked(X, 0.5), X * 0.5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_special_numbers_are_as_numpy_has_them(dtype):
    special = np.array([-np.inf, -1, -0.0, 0, 1, np.inf, np.nan], dtype)
    g, x = (np.ascontiguousarray(a) for a in np.meshgrid(special, special))
    with np.errstate(invalid="ignore"):
        expected = g * (x >= 0)
    np.testing.assert_array_equal(relu_gradient(g, x), expected)
    assert (np.signbit(relu_gradient(g, x)) == np.signbit(expected))[~np.isnan(expected)].all()
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(masked(g, x > 0), g * (x > 0))
