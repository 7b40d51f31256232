"""Convolutions and their gradients in jitted code have the bits of Python's, whatever the plan."""

from __future__ import annotations

import numba
import numpy as np
from hypothesis import given, settings
from strategies import assert_same_bits, in_layout, planned_convolutions

import fastconv
import fastconv._overloads  # what Numba does through the entry point, where fastconv is installed


@numba.njit
def first(x, weight, bias, stride, padding, dilation, groups):
    return fastconv.conv2d(x, weight, bias, stride, padding, dilation, groups)


@numba.njit
def first_backward(g, x, weight, stride, padding, dilation, groups):
    return fastconv.conv2d_backward(g, x, weight, stride, padding, dilation, groups)


@numba.njit
def last(x, weight, bias, stride, padding, dilation, groups):
    return fastconv.conv2d(x, weight, bias, stride, padding, dilation, groups, layout="NHWC")


@numba.njit
def last_backward(g, x, weight, stride, padding, dilation, groups):
    return fastconv.conv2d_backward(g, x, weight, stride, padding, dilation, groups, layout="NHWC")


@settings(max_examples=200)
@given(planned_convolutions())
def test_jitted_code_has_the_bits_of_python(drawn):
    """Of kernels on threads, as Python runs them, and on the calling thread, as jitted code does."""
    N, image, kernel, options, layout, dtype = drawn
    rng = np.random.default_rng(0)
    x, weight = (in_layout(rng.standard_normal(shape), layout).astype(dtype) for shape in ((N, *image), kernel))
    bias, own = (
        rng.standard_normal(kernel[0]).astype(dtype),
        [options[name] for name in ("stride", "padding", "dilation")],
    )
    forward, backward = (first, first_backward) if layout == "NCHW" else (last, last_backward)
    y = fastconv.conv2d(x, weight, bias, *own, options["groups"], layout=layout)
    assert_same_bits(forward(x, weight, bias, *own, options["groups"]), y)
    g = rng.standard_normal(y.shape).astype(dtype)
    expected = fastconv.conv2d_backward(g, x, weight, *own, options["groups"], layout=layout)
    for gradient, same in zip(backward(g, x, weight, *own, options["groups"]), expected):
        assert_same_bits(gradient, same)
