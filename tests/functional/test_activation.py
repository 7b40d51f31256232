"""Activations: against the reference to a few units in the last place, gradients by central differences."""

from __future__ import annotations

import numpy as np
import pytest
from every import FUNCTIONS
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import DTYPES, assert_identical, real

import fastconv
from fastconv import reference

NAMES = ("relu", "relu6", "sigmoid", "tanh", "softmax", "log_softmax")


def test_every_activation_has_a_row():
    there = {name for name in FUNCTIONS if getattr(fastconv, name).__module__ == fastconv.relu.__module__}
    # of leaky_relu, which takes a slope, there are tests below
    assert {name.removesuffix("_backward") for name in there} == {*NAMES, "leaky_relu"}


def function(name, where=fastconv):
    return getattr(where, name), getattr(where, f"{name}_backward")


def finite(low=-1e4, high=1e4):
    """Arrays of any shape with at least one element along each axis."""
    return st.sampled_from(DTYPES).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            hnp.array_shapes(max_dims=4, max_side=5),
            elements=st.floats(low, high, width=8 * np.dtype(dtype).itemsize),
        )
    )


def assert_close(actual, expected):
    assert actual.dtype == expected.dtype
    assert actual.shape == expected.shape
    eps = np.finfo(expected.dtype).eps
    # an absolute part: 1 - y and sums along an axis cancel
    np.testing.assert_allclose(actual, expected, rtol=8 * eps, atol=16 * eps * max(1, abs(expected).max(initial=0)))


@pytest.mark.parametrize("name", NAMES)
@given(finite())
def test_forward(name, x):
    forward, _ = function(name)
    assert_close(forward(x), function(name, reference)[0](x))


@pytest.mark.parametrize("name", NAMES)
@given(finite(-30, 30), st.integers(0, 2**32 - 1))
def test_backward(name, x, seed):
    y = function(name, reference)[0](x)
    g = real(np.random.default_rng(seed), x.shape, x.dtype)
    assert_close(function(name)[1](g, y), function(name, reference)[1](g, y))


@pytest.mark.legs
@given(finite(-30, 30), st.integers(0, 2**32 - 1))
def test_relu_is_exact(x, seed):
    x.flat[::3] = 0
    y = fastconv.relu(x)
    assert_identical(y, np.maximum(x, 0))
    g = real(np.random.default_rng(seed), x.shape, x.dtype)
    assert_identical(fastconv.relu_backward(g, y), np.where(x > 0, g, 0).astype(x.dtype))


@pytest.mark.parametrize("name", NAMES)
def test_gradient_by_central_differences(name):
    forward, backward = function(name)
    rng = np.random.default_rng(0)
    x, g, eps = real(rng, (3, 4), np.float64), real(rng, (3, 4), np.float64), 1e-6
    gradient = backward(g, forward(x))
    for place in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[place] += eps
        behind[place] -= eps
        slope = np.sum(g * (forward(ahead) - forward(behind))) / (2 * eps)
        np.testing.assert_allclose(gradient[place], slope, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3, np.int64(1)])
def test_axis(name, axis):
    rng = np.random.default_rng(1)
    x, g = real(rng, (2, 3, 4), np.float64), real(rng, (2, 3, 4), np.float64)
    forward, backward = function(name)
    y = forward(x, axis)
    assert_close(y, function(name, reference)[0](x, axis))
    shares = y if name == "softmax" else np.exp(y)
    np.testing.assert_allclose(shares.sum(axis), 1, rtol=1e-14)
    assert_close(backward(g, y, axis), function(name, reference)[1](g, y, axis))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_overflows(dtype):
    big = np.array([-1e30, -1000, 1000, 1e30], dtype)
    np.testing.assert_array_equal(fastconv.sigmoid(big), np.array([0, 0, 1, 1], dtype))
    np.testing.assert_array_equal(fastconv.tanh(big), np.array([-1, -1, 1, 1], dtype))
    np.testing.assert_array_equal(fastconv.softmax(big), np.array([0, 0, 0, 1], dtype))
    np.testing.assert_array_equal(fastconv.log_softmax(big[2:]), np.array([-1e30, 0], dtype))


@pytest.mark.parametrize("name", ["relu", "relu6", "sigmoid", "tanh"])
def test_special_values(name):
    x = np.array([np.nan, np.inf, -np.inf])
    limits = {"relu": (np.inf, 0), "relu6": (6, 0), "sigmoid": (1, 0), "tanh": (1, -1)}[name]
    np.testing.assert_array_equal(function(name)[0](x), [np.nan, *limits])


@pytest.mark.parametrize("name", NAMES)
def test_numpy_backend_gives_the_same(name):
    x = real(np.random.default_rng(2), (5, 7), np.float32)
    forward, backward = function(name)
    y, g = forward(x), x[::-1]
    gradient = backward(g, y)
    with fastconv.use_backend("numpy"):
        assert_close(forward(x), y)
        assert_close(backward(g, y), gradient)


@pytest.mark.legs
@given(finite(-30, 30), st.integers(0, 2**32 - 1))
def test_relu6_is_exact(x, seed):
    x.flat[::3], x.flat[1::3] = 0, 6
    y = fastconv.relu6(x)
    assert_identical(y, np.clip(x, 0, 6))
    g = real(np.random.default_rng(seed), x.shape, x.dtype)
    assert_identical(fastconv.relu6_backward(g, y), np.where((x > 0) & (x < 6), g, 0).astype(x.dtype))


@given(finite(), st.floats(-2, 2), st.integers(0, 2**32 - 1))
def test_leaky_relu_is_exact(x, slope, seed):
    x.flat[::3] = 0
    y = fastconv.leaky_relu(x, slope)
    assert_identical(y, reference.leaky_relu(x, slope))
    assert_identical(y, np.where(x > 0, x, x.dtype.type(slope) * x))
    g = real(np.random.default_rng(seed), x.shape, x.dtype)
    gradient = fastconv.leaky_relu_backward(g, x, slope)
    assert_identical(gradient, reference.leaky_relu_backward(g, x, slope))
    assert_identical(gradient, np.where(x > 0, g, x.dtype.type(slope) * g))
    with fastconv.use_backend("numpy"):
        assert_identical(fastconv.leaky_relu(x, slope), y)
        assert_identical(fastconv.leaky_relu_backward(g, x, slope), gradient)


def test_leaky_relu_of_special_values():
    x = np.array([np.nan, np.inf, -np.inf, -0.0])
    np.testing.assert_array_equal(fastconv.leaky_relu(x, 0.5), x)
    np.testing.assert_array_equal(fastconv.leaky_relu(np.array([-1.0, 1.0])), [-0.01, 1])
