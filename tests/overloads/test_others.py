"""Pooling, layers, activations, norms and the loss inside jitted code against the same calls from Python.

In few combinations of types, and several calls in a function, as in `test_conv`.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from strategies import assert_identical, assert_same_bits, pool_cases, real

import fastconv
import fastconv._overloads

pytestmark = pytest.mark.usefixtures("same_kernels")
EXAMPLES = settings(max_examples=30)
F = fastconv


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def in_few_types(case):
    """The case with a batch, a dtype that follows from the layout, and in NHWC a number to divide by."""
    x_shape, output_shape = (s if len(s) == 4 else (1, *s) for s in (case.x_shape, case.output_shape))
    options, first = dict(case.options), case.layout == "NCHW"
    options["stride"] = pair(options["kernel_size"] if options["stride"] is None else options["stride"])
    if "divisor_override" in options:
        options["divisor_override"] = None if first else options["divisor_override"] or 7
    return replace(
        case, x_shape=x_shape, output_shape=output_shape, options=options, dtype=np.float32 if first else np.float64
    )


def window(case):
    options = case.options
    padding = options["padding"]
    if not isinstance(padding, str) and not isinstance(pair(padding)[0], tuple):
        padding = tuple((p, p) for p in pair(padding))
    return pair(options["kernel_size"]), pair(options["stride"]), padding, options["ceil_mode"]


@functools.cache
def max_pool(layout):
    @numba.njit
    def f(x, g, kernel, stride, padding, ceil_mode, dilation):
        y = fastconv.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode, layout=layout)
        best, indices = fastconv.max_pool2d_with_indices(x, kernel, stride, padding, dilation, ceil_mode, layout=layout)
        grad = fastconv.max_pool2d_backward(g, indices, x.shape, layout=layout)
        put = fastconv.max_unpool2d(g, indices, x.shape, layout=layout)
        return y, best, indices, grad, put, fastconv.max_unpool2d_backward(x, indices, layout=layout)

    return f


@EXAMPLES
@given(pool_cases("max").map(in_few_types).map(lambda case: replace(case, dtype=np.float32)))
def test_max_pool_has_the_bits_of_python(case):
    x, g = case.arrays()
    x = np.array([np.nan, -np.inf, -np.inf, np.inf, -0.0, 0.0, 1, 2, 3], x.dtype)[x.astype(np.int64) + 4]
    found = max_pool(case.layout)(x, g, *window(case), pair(case.options["dilation"]))
    y, indices = fastconv.max_pool2d_with_indices(x, **case.keywords)
    grad = fastconv.max_pool2d_backward(g, indices, x.shape, layout=case.layout)
    put = fastconv.max_unpool2d(g, indices, x.shape, layout=case.layout)
    taken = fastconv.max_unpool2d_backward(x, indices, layout=case.layout)
    for a, b in zip(found, (y, y, indices, grad, put, taken)):
        assert_same_bits(a, b)


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
@given(pool_cases("avg").map(in_few_types))
def test_avg_pool_has_the_bits_of_python(case):
    x, g = case.arrays(real)
    others = case.options["count_include_pad"], case.options["divisor_override"]
    y, grad = avg_pool(case.layout)(x, g, *window(case), *others)
    assert_same_bits(y, fastconv.avg_pool2d(x, **case.keywords))
    assert_same_bits(grad, fastconv.avg_pool2d_backward(g, x.shape, **case.keywords))


def windows(x):
    """Forms of a pooling's arguments; what is drawn has all of them, and a batch."""
    y, indices = F.max_pool2d_with_indices(x[0], 3, 3, 1, ceil_mode=True)
    return (
        F.max_pool2d(x, 2), y, indices, F.max_unpool2d(y, indices, x[0].shape),
        F.max_pool2d(x, kernel_size=(3, 2), padding="same_upper", stride=2),
        F.avg_pool2d(x[0], (2, 3), count_include_pad=False, padding=1),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_pooling_of_any_dtype(dtype):
    x = np.random.default_rng(0).integers(0, 7, (2, 3, 8, 7)).astype(dtype)
    for a, b in zip(numba.njit(windows)(x), windows(x)):
        assert_identical(a, b)


def test_out_of_pooling():
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 7)).astype(np.float32)

    @numba.njit
    def f(x, y, z):
        fastconv.max_pool2d(x, 2, out=y)
        fastconv.avg_pool2d(x, 2, out=z)

    y, z = np.empty((2, 2, 3, 4, 3), np.float32)
    f(x, y, z)
    assert_same_bits(y, fastconv.max_pool2d(x, 2))
    assert_same_bits(z, fastconv.avg_pool2d(x, 2))


def layers(x, w, b):
    """Linear layers in all forms."""
    return (
        F.linear(x, w, b), F.linear(x, w), F.linear(x[0], w, bias=b), F.linear(x[:0], w, b),
        *F.linear_backward(x[:, :20], x, w), *F.linear_backward(b, x[1], w),
        *F.linear_backward(x[:, :20], x, w, needs=(True, False, False)),
    )  # fmt: skip


def rectified(x, g):
    """Rectifiers, and dropout without its generator."""
    kept = F.dropout_backward(g, x > 0, 0.25)
    return (
        F.relu(x), F.relu_backward(g, x), F.relu6(x), F.relu6_backward(g, x), F.leaky_relu(x), F.leaky_relu(x, 1),
        F.leaky_relu_backward(g, x, 0.25), kept,
        F.leaky_relu_backward(g[::-1], x, negative_slope=-2.0), F.dropout_backward(g, x > 0, p=1),
    )  # fmt: skip


def normalised(x, g, mean, var, weight, bias):
    """Batch normalisation; mean and var are changed."""
    return (
        F.batch_norm2d(x, mean, var, weight, bias, True, 0.3), F.batch_norm2d(x, mean, var, bias=bias),
        F.batch_norm2d(x, None, None, training=True, eps=1), F.batch_norm2d(x[:0], mean, var, training=True),
        F.batch_norm2d(x[0], mean, var, weight, layout="NHWC") if x.shape[1] == x.shape[3] else x[0],
        *F.batch_norm2d_backward(g, x, mean, var, weight),
        *F.batch_norm2d_backward(g, x, None, None, training=True, needs=(True, False, True)),
    )  # fmt: skip


def assert_same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        if b is None:
            assert a is None
        else:
            assert_same_bits(a, b)


def test_layers_have_the_bits_of_python():
    rng = np.random.default_rng(1)
    arrays = [real(rng, s, np.float64) for s in ((7, 30), (20, 30), (20,))]
    assert_same(numba.njit(layers)(*arrays), layers(*arrays))


def test_rectifiers_have_the_bits_of_python():
    rng = np.random.default_rng(2)
    x, g = real(rng, (3, 5, 7), np.float32), real(rng, (3, 5, 7), np.float32)
    x[0, 0, :3] = np.nan, -0.0, np.inf
    assert_same(numba.njit(rectified)(x, g), rectified(x, g))


def test_batch_norm_has_the_bits_of_python():
    rng = np.random.default_rng(3)
    x, g = real(rng, (4, 5, 6, 5), np.float32), real(rng, (4, 5, 6, 5), np.float32)
    mean, var, weight, bias = (rng.random(5, np.float32) for _ in range(4))
    running = mean.copy(), var.copy()
    found = numba.njit(normalised)(x, g, *running, weight, bias)
    assert_same(found, normalised(x, g, mean, var, weight, bias))
    assert_same(running, (mean, var))


def test_dropout_draws_what_python_draws():
    x = np.random.default_rng(4).standard_normal((3, 4, 5)).astype(np.float32)

    def drawn(x, rng):
        y, mask = F.dropout_with_mask(x, 0.3, rng)
        return y, mask, F.dropout(x, p=0.5, rng=rng)

    assert_same(numba.njit(drawn)(x, np.random.default_rng(0)), drawn(x, np.random.default_rng(0)))


SPECIAL = np.array([[0.0, -0.0, np.nan, 1.0, -750.0], [-np.inf, 2.0, 3.0, 88.0, 1e-40], [-1.0, -1.0, 5.0, 90.0, 0.5]])


def activations(x):
    """Activations, and their gradients for the gradient x."""
    a, b, c, d = F.sigmoid(x), F.tanh(x), F.softmax(x), F.log_softmax(x)
    gradients = F.sigmoid_backward(x, a), F.tanh_backward(x, b), F.softmax_backward(x, c), F.log_softmax_backward(x, d)
    return a, b, c, d, *gradients


def along(x, g, axis):
    """Softmax along an axis."""
    y, z = F.softmax(x, axis=axis), F.log_softmax(x, axis)
    return y, z, F.softmax_backward(g, y, axis), F.log_softmax_backward(g, z, axis=axis)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations_equal_python(dtype):
    f, tolerance = numba.njit(activations), 64 * np.finfo(dtype).eps
    for x in (SPECIAL, np.random.default_rng(2).standard_normal((7, 40)) * 3, np.float64(0.3)[None, None]):
        x = x.astype(dtype)
        with np.errstate(all="ignore"):
            expected = activations(x)
        for i, (a, b) in enumerate(zip(f(x), expected)):
            assert a.dtype == dtype
            if i in (0, 1, 4, 5):  # sigmoid and tanh
                np.testing.assert_array_equal(a, b)
                np.testing.assert_array_equal(np.signbit(a[b == 0]), np.signbit(b[b == 0]))
            else:  # a sum in another order
                np.testing.assert_allclose(a, b, tolerance, tolerance)


def test_softmax_along_an_axis():
    x, g = np.random.default_rng(3).standard_normal((2, 3, 4, 5))
    f = numba.njit(along)
    for axis in (0, 1, -1, -2):
        for a, b in zip(f(x, g, axis), along(x, g, axis)):
            np.testing.assert_allclose(a, b, 1e-13, 1e-15)


def means(x):
    """Means of planes, and their gradients."""
    y, z = F.global_avg_pool2d(x), F.global_avg_pool2d(x[0], layout="NHWC")
    return y, z, F.global_avg_pool2d_backward(y, x.shape), F.global_avg_pool2d_backward(z, x[0].shape, layout="NHWC")


@pytest.mark.parametrize("shape", [(2, 6, 7, 9), (1, 3, 1, 5), (2, 3, 40, 37)])
def test_means_of_planes_have_the_bits_of_python_and_of_numpy(shape):
    x = real(np.random.default_rng(5), shape, np.float32)
    found, H, W = numba.njit(means)(x), *shape[2:]
    assert_same(found, means(x))
    assert_same_bits(found[0].reshape(shape[:2]), x.reshape(*shape[:2], H * W).sum(2) / (H * W))


def summed(x, g):
    """What adds up or takes powers in another way than NumPy."""
    return (
        F.local_response_norm(x, 3), F.local_response_norm(x[0], size=4, alpha=0.1, layout="NHWC"),
        F.local_response_norm_backward(g, x, 5, 0.1, 0.5, 2),
    )  # fmt: skip


def test_sums_over_channels_equal_python_but_for_the_last_bits():
    rng = np.random.default_rng(5)
    x, g = real(rng, (2, 6, 7, 9), np.float32), real(rng, (2, 6, 7, 9), np.float32)
    for a, b in zip(numba.njit(summed)(x, g), summed(x, g)):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_allclose(a, b, 16 * np.finfo(np.float32).eps, 16 * np.finfo(np.float32).eps)


def test_cross_entropy():
    rng = np.random.default_rng(4)
    logits, ids = real(rng, (50, 7), np.float64), rng.integers(0, 7, 50)
    f = numba.njit(lambda logits, target, share: fastconv.cross_entropy(logits, target, label_smoothing=share))
    for target in (ids, rng.random((50, 7))):
        for share in (0.0, 0.1):
            loss, grad = f(logits, target, share)
            expected, gradient = fastconv.cross_entropy(logits, target, label_smoothing=share)
            assert loss == pytest.approx(expected, rel=1e-15 * 50)
            assert_same_bits(grad, gradient)
    assert f(logits[:0], ids[:0], 0.0)[0] == 0.0
