"""Pooling, linear layers, activations and the loss inside jitted code against the same calls from Python."""

from __future__ import annotations

import functools

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from strategies import DTYPES, assert_identical, assert_same_bits, pool_cases, real

import fastconv
import fastconv._overloads

EXAMPLES = settings(max_examples=30)


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def windows(case, kernel_size, stride, padding, ceil_mode, **others):
    """The arguments that the case's options come as, in types of which there are few."""
    kernel = pair(kernel_size)
    return (kernel, kernel if stride is None else pair(stride), padding, ceil_mode), others


@functools.cache
def max_pool(layout):
    @numba.njit
    def f(x, kernel, stride, padding, ceil_mode, dilation):
        y = fastconv.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode, layout=layout)
        best, indices = fastconv.max_pool2d_with_indices(x, kernel, stride, padding, dilation, ceil_mode, layout=layout)
        return y, best, indices

    @numba.njit
    def gradient(g, indices, shape):
        return fastconv.max_pool2d_backward(g, indices, shape, layout=layout)

    return f, gradient


@EXAMPLES
@given(pool_cases("max"))
def test_max_pool_has_the_bits_of_python(case):
    x, g = case.arrays()
    x = np.array([np.nan, -np.inf, -np.inf, np.inf, -0.0, 0.0, 1, 2, 3], x.dtype)[x.astype(np.int64) + 4]
    order, others = windows(case, **case.options)
    f, gradient = max_pool(case.layout)
    y, best, indices = f(x, *order, pair(others["dilation"]))
    expected, places = fastconv.max_pool2d_with_indices(x, **case.keywords)
    assert_same_bits(y, expected)
    assert_same_bits(best, expected)
    assert_same_bits(indices, places)
    assert_same_bits(
        gradient(g, indices, x.shape), fastconv.max_pool2d_backward(g, places, x.shape, layout=case.layout)
    )


@functools.cache
def avg_pool(layout):
    @numba.njit
    def f(x, g, kernel, stride, padding, ceil_mode, include, divisor):
        y = fastconv.avg_pool2d(x, kernel, stride, padding, ceil_mode, include, divisor, layout=layout)
        grad = fastconv.avg_pool2d_backward(
            g, x.shape, kernel, stride, padding, ceil_mode, include, divisor, layout=layout
        )
        return y, grad

    return f


@EXAMPLES
@given(pool_cases("avg"))
def test_avg_pool_has_the_bits_of_python(case):
    x, g = case.arrays(real)
    order, others = windows(case, **case.options)
    y, grad = avg_pool(case.layout)(x, g, *order, others["count_include_pad"], others["divisor_override"])
    assert_same_bits(y, fastconv.avg_pool2d(x, **case.keywords))
    assert_same_bits(grad, fastconv.avg_pool2d_backward(g, x.shape, **case.keywords))


F = fastconv
WINDOWS = {
    "defaults": lambda x: F.max_pool2d(x, 2),
    "stride 3": lambda x: F.max_pool2d_with_indices(x, 3, 3, 1, ceil_mode=True),
    "keywords": lambda x: F.max_pool2d(x, kernel_size=(3, 2), padding="same_upper", stride=2),
    "average": lambda x: F.avg_pool2d(x, (2, 3), count_include_pad=False, padding=1),
}


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint64, np.bool_, np.float32])
@pytest.mark.parametrize("name", WINDOWS)
def test_pooling_of_any_dtype(name, dtype):
    x = np.random.default_rng(0).integers(0, 7, (2, 3, 8, 7)).astype(dtype)
    found, expected = numba.njit(WINDOWS[name])(x), WINDOWS[name](x)
    for a, b in zip(found, expected) if isinstance(expected, tuple) else [(found, expected)]:
        assert_identical(a, b)


def test_out_of_pooling():
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 7))

    @numba.njit
    def f(x, y, z):
        fastconv.max_pool2d(x, 2, out=y)
        fastconv.avg_pool2d(x, 2, out=z)

    y, z = np.empty((2, 3, 4, 3)), np.empty((2, 3, 4, 3))
    f(x, y, z)
    assert_same_bits(y, fastconv.max_pool2d(x, 2))
    assert_same_bits(z, fastconv.avg_pool2d(x, 2))


LAYERS = {
    "linear": lambda x, w, b: F.linear(x, w, b),
    "without bias": lambda x, w, b: F.linear(x, w),
    "one row": lambda x, w, b: F.linear(x[0], w, bias=b),
    "empty": lambda x, w, b: F.linear(x[:0], w, b),
    "gradients": lambda x, w, b: F.linear_backward(x[:, :20], x, w),
    "of one row": lambda x, w, b: F.linear_backward(b, x[1], w),
    "needs": lambda x, w, b: F.linear_backward(x[:, :20], x, w, needs=(True, False, False)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LAYERS)
def test_linear_layers_have_the_bits_of_python(name, dtype):
    rng = np.random.default_rng(1)
    arrays = [real(rng, s, dtype) for s in ((7, 30), (20, 30), (20,))]
    found, expected = numba.njit(LAYERS[name])(*arrays), LAYERS[name](*arrays)
    for a, b in zip(found, expected) if isinstance(expected, tuple) else [(found, expected)]:
        if b is None:
            assert a is None
        else:
            assert_same_bits(a, b)


SPECIAL = np.array([[0.0, -0.0, np.nan, 1.0, -750.0], [-np.inf, 2.0, 3.0, 88.0, 1e-40], [-1.0, -1.0, 5.0, 90.0, 0.5]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "softmax", "log_softmax"])
def test_activations_equal_python_but_for_the_last_bits(name, dtype):
    forward, backward = getattr(fastconv, name), getattr(fastconv, f"{name}_backward")
    f, b = numba.njit(lambda x: forward(x)), numba.njit(lambda g, y: backward(g, y))
    tolerance = 0 if name == "relu" else 16 * np.finfo(dtype).eps
    for x in (SPECIAL, np.random.default_rng(2).standard_normal((2, 3, 4)), np.ones(3)):
        x = x.astype(dtype)
        y = f(x)
        assert y.dtype == dtype
        with np.errstate(all="ignore"):
            expected, gradient = forward(x), backward(x, y)
        np.testing.assert_allclose(y, expected, tolerance, tolerance)
        found = b(x, y)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, gradient, tolerance, tolerance)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_softmax_along_an_axis(axis, name):
    x, g = np.random.default_rng(3).standard_normal((2, 3, 4, 5))
    forward, backward = getattr(fastconv, name), getattr(fastconv, f"{name}_backward")
    y = numba.njit(lambda x, axis: forward(x, axis=axis))(x, axis)
    np.testing.assert_allclose(y, forward(x, axis), 1e-14)
    grad = numba.njit(lambda g, y, axis: backward(g, y, axis))(g, y, axis)
    np.testing.assert_allclose(grad, backward(g, y, axis), 1e-13, 1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy(dtype):
    rng = np.random.default_rng(4)
    logits, ids = real(rng, (50, 7), dtype), rng.integers(0, 7, 50)
    f = numba.njit(lambda logits, target: fastconv.cross_entropy(logits, target))
    for target in (ids, ids.astype(np.uint8), np.eye(7)[ids], rng.random((50, 7)).astype(np.float32)):
        loss, grad = f(logits, target)
        expected, gradient = fastconv.cross_entropy(logits, target)
        assert loss == pytest.approx(expected, rel=1e-15 * 50)
        assert_same_bits(grad, gradient)
    assert f(logits[:0], ids[:0])[0] == 0.0
