"""Convolutions, their gradients, im2col and col2im inside jitted code against the same calls from Python.

Each combination of types is compiled anew, for half a second. So cases come in few of them: with batches, strides and
dilations as pairs, paddings as variables, float32 in NCHW and float64 in NHWC; and one function makes several calls.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import assert_identical, assert_same_bits, conv_cases, integers, real, transposed_cases

import fastconv
import fastconv._overloads  # what Numba does through the entry point, where fastconv is installed

pytestmark = pytest.mark.usefixtures("same_kernels")
EXAMPLES = settings(max_examples=30)
F = fastconv


def in_few_types(case):
    """The case with a batch, and with a dtype and a bias that follow from the layout."""
    shapes = (s if len(s) == 4 else (1, *s) for s in (case.x_shape, case.output_shape))
    first = case.layout == "NCHW"
    x_shape, output_shape = shapes
    return replace(
        case, x_shape=x_shape, output_shape=output_shape, dtype=np.float32 if first else np.float64, with_bias=first
    )


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def sized(options):
    """Options in types of which there are few."""
    padding = options["padding"]
    if not isinstance(padding, str) and not isinstance(pair(padding)[0], tuple):
        padding = tuple((p, p) for p in pair(padding))
    return {name: value if name == "groups" else pair(value) for name, value in options.items()} | {"padding": padding}


@functools.cache
def jitted(layout):
    @numba.njit
    def forward(x, weight, bias, stride, padding, dilation, groups):
        return fastconv.conv2d(x, weight, bias, stride, padding, dilation, groups, layout=layout)

    @numba.njit
    def backward(g, x, weight, stride, padding, dilation, groups):
        return fastconv.conv2d_backward(g, x, weight, stride, padding, dilation, groups, layout=layout)

    return forward, backward


@functools.cache
def jitted_transposed(layout):
    @numba.njit
    def forward(x, weight, bias, stride, padding, output_padding, groups, dilation):
        return fastconv.conv_transpose2d(
            x, weight, bias, stride, padding, output_padding, groups, dilation, layout=layout
        )

    @numba.njit
    def backward(g, x, weight, stride, padding, output_padding, groups, dilation):
        return fastconv.conv_transpose2d_backward(
            g, x, weight, stride, padding, output_padding, groups, dilation, layout=layout
        )

    return forward, backward


@EXAMPLES
@given(conv_cases().map(in_few_types))
def test_convolution(case):
    forward, backward = jitted(case.layout)
    for fill in (integers, real):
        x, weight, bias, g = case.arrays(fill)
        y = forward(x, weight, bias, *sized(case.options).values())
        assert_same_bits(y, fastconv.conv2d(x, weight, bias, **case.keywords))
        assert y.flags.c_contiguous
        found = backward(g, x, weight, *sized(case.options).values())
        expected = fastconv.conv2d_backward(g, x, weight, **case.keywords)
        for gradient, same in zip(found, expected):
            assert_same_bits(gradient, same)


@EXAMPLES
@given(transposed_cases().map(in_few_types))
def test_transposed_convolution(case):
    forward, backward = jitted_transposed(case.layout)
    for fill in (integers, real):
        x, weight, bias, g = case.arrays(fill)
        y = forward(x, weight, bias, *sized(case.options).values())
        assert_same_bits(y, fastconv.conv_transpose2d(x, weight, bias, **case.keywords))
        found = backward(g, x, weight, *sized(case.options).values())
        expected = fastconv.conv_transpose2d_backward(g, x, weight, **case.keywords)
        for gradient, same in zip(found, expected):
            assert_same_bits(gradient, same)


def test_gradients_of_infinite_weights_and_pixels():
    rng = np.random.default_rng(0)
    x, weight, g = (integers(rng, s, np.float32) for s in ((2, 3, 9, 10), (4, 3, 3, 3), (2, 4, 5, 5)))
    weight[1, 2, 0, 0], x[0, 0, 0, 0], x[1, 2, 4, 4] = np.inf, np.nan, -np.inf
    found = jitted("NCHW")[1](g, x, weight, (2, 2), ((1, 1), (1, 1)), (1, 1), 1)
    for gradient, expected in zip(found, fastconv.conv2d_backward(g, x, weight, 2, 1)):
        assert_identical(gradient, expected)


def forms(x, w, b):
    """Forms of arguments that users write."""
    return (
        F.conv2d(x[:, :2], w),
        F.conv2d(x, w, b, 2, 1, 1, 2),
        F.conv2d(x, w, groups=2, padding=(1, 2), stride=(2, 1), bias=b, dilation=2),
        F.conv2d(x, w, b, stride=2, padding="same_upper", groups=2),
        F.conv2d(x, w, None, padding=((0, 1), (2, 3)), groups=2, algorithm="direct"),
        F.conv2d(x, w, b, np.uint8(2), np.int32(1), groups=np.uint16(2)),
        F.conv2d(x[0], w, b, groups=2),
        F.conv2d(x[:0], w, b[::-1], groups=2),
        F.conv2d(x[:, :, ::-1, 1:], w, groups=2),
    )


def others(x, w, b):
    """Forms of the functions that are made of convolutions."""
    signals, kernels = x[:, :2, 0], w[:, :, 1]
    return (
        F.conv_output_shape(x.shape, w.shape, (2, 1), padding="full", dilation=2),
        *F.conv2d_backward(x[:, :3, :7, :9], x[:, :2], w[:3], needs=(False, True, False)),
        F.conv_transpose2d(x[0], w[:4], b[:2], stride=2, output_padding=1),
        F.conv1d(signals, kernels),
        F.conv1d(signals[0], kernels, b, (2,), padding=(1,), dilation=(2,)),
        F.conv1d(signals, kernels, stride=2, padding="same_lower"),
        *F.conv1d_backward(x[:, :, 0], x[:, :2, 0], w[:4, :, 0], padding=(2, 0)),
    )


def filters(a, k):
    """Filters of plain images."""
    return (
        F.correlate2d(a, k), F.correlate2d(k, a), F.correlate2d(a, k, "same"), F.correlate2d(a, k, mode="full"),
        F.convolve2d(a, k), F.convolve2d(k, a), F.convolve2d(a, k, "same"), F.convolve2d(a, k, mode="full"),
    )  # fmt: skip


def assert_all_equal(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        if isinstance(b, np.ndarray):
            assert_identical(a, b)
        else:
            assert a == b


def test_forms_of_arguments():
    rng = np.random.default_rng(1)
    arrays = [integers(rng, s, np.float32) for s in ((2, 4, 9, 11), (6, 2, 3, 3), (6,))]
    assert_all_equal(numba.njit(forms)(*arrays), forms(*arrays))
    assert_all_equal(numba.njit(others)(*arrays), others(*arrays))


def test_filters_of_plain_images():
    rng = np.random.default_rng(2)
    a, k = integers(rng, (9, 8), np.float64), rng.integers(0, 5, (2, 3)).astype(np.uint8)
    assert_all_equal(numba.njit(filters)(a, k), filters(a, k))


def test_dtypes_are_promoted_as_in_python():
    f = numba.njit(lambda x, w: fastconv.conv2d(x, w))
    for image, kernel in ((np.uint8, np.int16), (np.bool_, np.float64), (np.float64, np.float32)):
        x, weight = np.ones((1, 2, 5, 5), image), np.full((3, 2, 2, 2), 3, kernel)
        assert_identical(f(x, weight), fastconv.conv2d(x, weight))


def test_read_only_and_fortran_arrays():
    rng = np.random.default_rng(3)
    x, weight = integers(rng, (2, 3, 6, 7), np.float32), integers(rng, (4, 3, 3, 3), np.float32)
    expected = fastconv.conv2d(x, weight)
    x.flags.writeable = False
    assert_identical(numba.njit(lambda x, w: fastconv.conv2d(x, w))(x, np.asfortranarray(weight)), expected)


def test_out_receives_the_result():
    rng = np.random.default_rng(4)
    x, weight = integers(rng, (2, 5, 5, 5), np.float32), integers(rng, (5, 3, 3, 5), np.float32)
    first = np.ascontiguousarray(weight.transpose(0, 3, 1, 2))
    expected = [
        fastconv.conv2d(x, first),
        fastconv.conv2d(x, weight, layout="NHWC"),
        fastconv.conv_transpose2d(x, first),
    ]

    @numba.njit
    def f(x, first, last, a, b, c):
        y, z = fastconv.conv2d(x, first, out=a), fastconv.conv2d(x, last, layout="NHWC", out=b)
        return y is a, z is b, fastconv.conv_transpose2d(x, first, out=c) is c

    out = [np.empty_like(y) for y in expected]
    assert f(x, first, weight, *out) == (True, True, True)
    assert_all_equal(out, expected)


@functools.cache
def columns(order):
    @numba.njit
    def there_and_back(x, kernel, stride, padding, dilation):
        cols = fastconv.im2col(x, kernel, stride, padding, dilation, order=order)
        return cols, fastconv.col2im(cols, x.shape, kernel, stride, padding, dilation, order=order)

    return there_and_back


@EXAMPLES
@given(conv_cases(("NCHW",)), st.sampled_from(["rows", "cols", "unfold"]))
def test_columns_have_the_bits_of_python(case, order):
    case = replace(in_few_types(case), dtype=np.float64 if order == "cols" else np.float32)
    x, _, _, _ = case.arrays()
    x, options = x[0] if len(x) == 1 and order == "unfold" else x, sized(case.options)
    window = case.weight_shape[2:], options["stride"], options["padding"], options["dilation"]
    cols, back = columns(order)(x, *window)
    assert_same_bits(cols, fastconv.im2col(x, *window, order=order))
    assert_same_bits(back, fastconv.col2im(cols, x.shape, *window, order=order))
