"""conv2d, its gradients, im2col and col2im inside jitted code against the same calls from Python."""

from __future__ import annotations

import functools

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import DTYPES, assert_identical, assert_same_bits, conv_cases, integers, real

import fastconv
import fastconv._overloads  # what Numba does through the entry point, where fastconv is installed

# each combination of types is compiled once: strides and dilations are pairs here, and paddings variables
EXAMPLES = settings(max_examples=30)


@functools.cache
def jitted(layout):
    @numba.njit
    def forward(x, weight, bias, stride, padding, dilation, groups):
        return fastconv.conv2d(x, weight, bias, stride, padding, dilation, groups, layout=layout)

    @numba.njit
    def backward(g, x, weight, stride, padding, dilation, groups):
        return fastconv.conv2d_backward(g, x, weight, stride, padding, dilation, groups, layout=layout)

    return forward, backward


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def arguments(options):
    padding = options["padding"]
    if not isinstance(padding, str) and not isinstance(pair(padding)[0], tuple):
        padding = tuple((p, p) for p in pair(padding))
    return pair(options["stride"]), padding, pair(options["dilation"]), options["groups"]


@EXAMPLES
@given(conv_cases())
def test_forward_has_the_bits_of_python(case):
    for fill in (integers, real):
        x, weight, bias, _ = case.arrays(fill)
        y = jitted(case.layout)[0](x, weight, bias, *arguments(case.options))
        assert_same_bits(y, fastconv.conv2d(x, weight, bias, **case.keywords))
        assert y.flags.c_contiguous


@EXAMPLES
@given(conv_cases())
def test_gradients_equal_python(case):
    x, weight, _, g = case.arrays()
    found = jitted(case.layout)[1](g, x, weight, *arguments(case.options))
    for gradient, expected in zip(found, fastconv.conv2d_backward(g, x, weight, **case.keywords)):
        assert_identical(gradient, expected)


def test_gradients_of_infinite_weights_and_pixels():
    rng = np.random.default_rng(0)
    x, weight, g = (integers(rng, s, np.float64) for s in ((2, 3, 9, 10), (4, 3, 3, 3), (2, 4, 5, 5)))
    weight[1, 2, 0, 0], x[0, 0, 0, 0], x[1, 2, 4, 4] = np.inf, np.nan, -np.inf
    found = jitted("NCHW")[1](g, x, weight, (2, 2), ((1, 1), (1, 1)), (1, 1), 1)
    for gradient, expected in zip(found, fastconv.conv2d_backward(g, x, weight, 2, 1)):
        assert_identical(gradient, expected)


def calls():
    """Forms of arguments that users write, as functions of x (2, 4, 9, 11), weight (6, 2, 3, 3) and bias (6,)."""
    f = fastconv
    return {
        "defaults": lambda x, w, b: f.conv2d(x[:, :2], w),
        "positional": lambda x, w, b: f.conv2d(x, w, b, 2, 1, 1, 2),
        "keywords": lambda x, w, b: f.conv2d(x, w, groups=2, padding=(1, 2), stride=(2, 1), bias=b, dilation=2),
        "name": lambda x, w, b: f.conv2d(x, w, b, stride=2, padding="same_upper", groups=2),
        "four": lambda x, w, b: f.conv2d(x, w, None, padding=((0, 1), (2, 3)), groups=2),
        "small integers": lambda x, w, b: f.conv2d(x, w, b, np.uint8(2), np.int32(1), groups=np.uint16(2)),
        "algorithm": lambda x, w, b: f.conv2d(x, w, b, groups=2, algorithm="direct"),
        "one image": lambda x, w, b: f.conv2d(x[0], w, b, groups=2),
        "no batch": lambda x, w, b: f.conv2d(x[:0], w, b, groups=2),
        "a view": lambda x, w, b: f.conv2d(x[:, :, ::-1, 1:], w, b[::-1], groups=2),
        "shape": lambda x, w, b: f.conv_output_shape(x.shape, w.shape, (2, 1), padding="full", dilation=2),
        "needs": lambda x, w, b: f.conv2d_backward(x[:, :3, :7, :9], x[:, :2], w[:3], needs=(False, True, False)),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", calls())
def test_forms_of_arguments(name, dtype):
    rng = np.random.default_rng(1)
    arrays = [integers(rng, s, dtype) for s in ((2, 4, 9, 11), (6, 2, 3, 3), (6,))]
    call = calls()[name]
    found, expected = numba.njit(call)(*arrays), call(*arrays)
    if not isinstance(expected, tuple):
        found, expected = (found,), (expected,)
    for a, b in zip(found, expected):
        if isinstance(b, np.ndarray):
            assert_identical(a, b)
        else:
            assert a == b


@pytest.mark.parametrize("image", [np.uint8, np.int64, np.bool_, np.float32, np.float64])
@pytest.mark.parametrize("kernel", [np.int16, np.float32, np.float64])
def test_dtypes_are_promoted_as_in_python(image, kernel):
    rng = np.random.default_rng(2)
    x, weight = rng.integers(0, 5, (1, 2, 5, 5)).astype(image), integers(rng, (3, 2, 2, 2), kernel)
    assert_identical(numba.njit(lambda x, w: fastconv.conv2d(x, w))(x, weight), fastconv.conv2d(x, weight))


def test_read_only_and_fortran_arrays():
    rng = np.random.default_rng(3)
    x, weight = integers(rng, (2, 3, 6, 7), np.float32), integers(rng, (4, 3, 3, 3), np.float32)
    expected = fastconv.conv2d(x, weight)
    f = numba.njit(lambda x, w: fastconv.conv2d(x, w))
    assert_identical(f(np.asfortranarray(x), np.asfortranarray(weight)), expected)
    for a in (x, weight):
        a.flags.writeable = False
    assert_identical(f(x, weight), expected)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_out_receives_the_result(layout):
    rng = np.random.default_rng(4)
    x, weight = integers(rng, (2, 5, 5, 5), np.float32), integers(rng, (5, 3, 3, 5), np.float32)
    weight = weight if layout == "NHWC" else np.ascontiguousarray(weight.transpose(0, 3, 1, 2))
    expected = fastconv.conv2d(x, weight, layout=layout)

    @numba.njit
    def f(x, w, out):
        y = fastconv.conv2d(x, w, layout=layout, out=out)
        return y is out or y.ctypes.data == out.ctypes.data

    out = np.empty_like(expected)
    assert f(x, weight, out)
    assert_identical(out, expected)


@functools.cache
def columns(order):
    @numba.njit
    def there(x, kernel, stride, padding, dilation):
        return fastconv.im2col(x, kernel, stride, padding, dilation, order=order)

    @numba.njit
    def back(cols, shape, kernel, stride, padding, dilation):
        return fastconv.col2im(cols, shape, kernel, stride, padding, dilation, order=order)

    return there, back


@EXAMPLES
@given(conv_cases(("NCHW",)), st.sampled_from(["rows", "cols", "unfold"]))
def test_columns_have_the_bits_of_python(case, order):
    x, _, _, _ = case.arrays()
    stride, padding, dilation, _ = arguments(case.options)
    kernel = case.weight_shape[2:]
    there, back = columns(order)
    cols = there(x, kernel, stride, padding, dilation)
    assert_same_bits(cols, fastconv.im2col(x, kernel, stride, padding, dilation, order=order))
    found = back(cols, x.shape, kernel, stride, padding, dilation)
    assert_same_bits(found, fastconv.col2im(cols, x.shape, kernel, stride, padding, dilation, order=order))


@pytest.mark.parametrize("size", [40, 150, 320])
def test_more_planes_than_fit_the_cache(size):
    """All five images at once, in two parts, and one by one."""
    rng = np.random.default_rng(5)
    x, weight = real(rng, (5, 3, size, size), np.float32), real(rng, (4, 3, 3, 3), np.float32)
    f = numba.njit(lambda x, w: fastconv.conv2d(x, w, stride=2, padding=1))
    assert_same_bits(f(x, weight), fastconv.conv2d(x, weight, None, 2, 1))
