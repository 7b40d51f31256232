"""Transposed convolution: exact on whole numbers, the adjoint of convolution, within the stated bound on real ones."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import variants
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import TransposedCase, assert_identical, assert_same_bits, inner, integers, real, transposed_cases

import fastconv
from fastconv import reference


def case(x, weight, result, *, dtype=np.float32, seed=0, **options):
    options = {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "dilation": 1, **options}
    return TransposedCase(x, weight, result, options, "NCHW", dtype, seed)


# the odd ones, so that each run has them whatever is drawn
ODD = {
    "output padding as large as the stride": case((1, 2, 3, 3), (2, 3, 2, 2), (1, 3, 10, 10), stride=2, dilation=5,
                                                  output_padding=4, padding=2),
    "output padding in front of a single pixel": case((2, 1, 1, 1), (1, 2, 2, 3), (2, 2, 6, 8), stride=(2, 3),
                                                      dilation=(4, 3), output_padding=(1, 2), padding=((0, 0), (1, 0))),
    "stride larger than the kernel": case((2, 1, 3, 2), (1, 2, 2, 1), (2, 2, 12, 8), stride=(5, 4),
                                          output_padding=(0, 3)),
    "nothing but the middle is left": case((1, 1, 2, 2), (1, 1, 3, 3), (1, 1, 1, 1), padding=((1, 2), (2, 1))),
    "depthwise": case((1, 6, 4, 4), (6, 1, 3, 3), (1, 6, 8, 8), stride=2, padding=1, output_padding=1, groups=6),
    "empty batch": case((0, 2, 4, 4), (2, 3, 3, 3), (0, 3, 6, 6)),
}  # fmt: skip


def odd_examples(test):
    for one in ODD.values():
        test = example(one)(test)
    return test


@pytest.mark.legs
@odd_examples
@given(transposed_cases())
def test_forward_equals_reference(case):
    x, weight, bias, _ = case.arrays()
    y = fastconv.conv_transpose2d(x, weight, bias, **case.keywords)
    assert y.shape == case.output_shape
    assert_identical(y, reference.conv_transpose2d(x, weight, bias, **case.keywords))
    out = np.full_like(y, np.nan)
    assert fastconv.conv_transpose2d(x, weight, bias, out=out, **case.keywords) is out
    assert_identical(out, y)


@pytest.mark.legs
@odd_examples
@given(transposed_cases())
def test_gradients_equal_reference(case):
    x, weight, _, g = case.arrays()
    found = fastconv.conv_transpose2d_backward(g, x, weight, **case.keywords)
    expected = reference.conv_transpose2d_backward(g, x, weight, **case.keywords)
    for gradient, wanted, like in zip(found, expected, (x, weight, np.empty(case.OC, x.dtype))):
        assert_identical(gradient, wanted)
        assert gradient.shape == like.shape


@given(transposed_cases(), variants.demands())
def test_every_variant_equals_reference(case, demand):
    x, weight, bias, g = case.arrays()
    with variants.demanded(**demand):
        y = fastconv.conv_transpose2d(x, weight, bias, **case.keywords)
        found = fastconv.conv_transpose2d_backward(g, x, weight, **case.keywords)
    assert_identical(y, reference.conv_transpose2d(x, weight, bias, **case.keywords))
    for gradient, wanted in zip(found, reference.conv_transpose2d_backward(g, x, weight, **case.keywords)):
        assert_identical(gradient, wanted)


@odd_examples
@given(transposed_cases())
def test_gradients_are_adjoint_exactly(case):
    x, weight, bias, g = case.arrays()
    y = fastconv.conv_transpose2d(x, weight, None, **case.keywords)
    grad_x, grad_weight, grad_bias = fastconv.conv_transpose2d_backward(g, x, weight, **case.keywords)
    assert inner(y, g) == inner(x, grad_x) == inner(weight, grad_weight)
    if bias is not None:
        with_bias = fastconv.conv_transpose2d(x, weight, bias, **case.keywords)
        assert inner(with_bias - y, g) == inner(bias, grad_bias)


@given(transposed_cases())
def test_it_is_the_adjoint_of_convolution(case):
    """<conv2d(result), x> = <result, conv_transpose2d(x)> where output_padding leaves no window without a pixel."""
    x, weight, _, g = case.arrays()
    options = {name: value for name, value in case.keywords.items() if name != "output_padding"}
    extra, stride = (np.broadcast_to(case.options[name], 2) for name in ("output_padding", "stride"))
    if (extra >= stride).any():
        return
    y = fastconv.conv_transpose2d(x, weight, **case.keywords)
    assert inner(y, g) == inner(x, fastconv.conv2d(g, weight, **options))
    assert_identical(fastconv.conv2d_backward(x, g, weight, **options)[0], y)


@given(transposed_cases())
def test_error_bound(case):
    x, weight, bias, g = (None if a is None else a.astype(np.float32) for a in case.arrays(real))
    wide = [None if a is None else a.astype(np.float64) for a in (x, weight, bias, g)]
    sizes = [None if a is None else abs(a) for a in wide]

    def check(actual, exact, magnitude, terms):
        bound = (8 + 2 * math.sqrt(terms)) * (np.finfo(np.float32).eps / 2) * magnitude
        assert (abs(actual - exact) <= bound).all()

    y = fastconv.conv_transpose2d(x, weight, bias, **case.keywords)
    exact, magnitude = (reference.conv_transpose2d(*a[:3], **case.keywords) for a in (wide, sizes))
    check(y, exact, magnitude, weight.size // case.OC + 1)
    found = fastconv.conv_transpose2d_backward(g, x, weight, **case.keywords)
    exact, magnitude = (
        reference.conv_transpose2d_backward(a[3], a[0], a[1], **case.keywords) for a in (wide, sizes)
    )  # fmt: skip
    pixels = x.size // (len(weight) or 1)
    for gradient, e, m, n in zip(found, exact, magnitude, (weight.size // len(weight), pixels, g.size // case.OC)):
        check(gradient, e, m, n)


@given(transposed_cases(), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_needs_chooses_gradients(case, needs):
    x, weight, _, g = case.arrays()
    everything = fastconv.conv_transpose2d_backward(g, x, weight, **case.keywords)
    some = fastconv.conv_transpose2d_backward(g, x, weight, needs=needs, **case.keywords)
    for wanted, gradient, expected in zip(needs, some, everything):
        if wanted:
            assert_same_bits(gradient, expected)
        else:
            assert gradient is None


@given(transposed_cases(layouts=("NHWC",)))
def test_nhwc_is_nchw_moved(case):
    x, weight, bias, _ = case.arrays()
    y = fastconv.conv_transpose2d(x, weight, bias, **case.keywords)
    moved = fastconv.conv_transpose2d(np.moveaxis(x, -1, -3), np.moveaxis(weight, -1, -3), bias, **case.options)
    assert_same_bits(y, np.ascontiguousarray(np.moveaxis(moved, -3, -1)))


def test_against_a_sum_written_out():
    """The judge judged: one case as its definition says, with nothing shared with `reference`."""
    rng = np.random.default_rng(0)
    x, weight, bias = (integers(rng, s, np.float64) for s in ((2, 4, 3, 4), (4, 3, 3, 2), (6,)))
    (sy, sx), (dy, dx), (top, left) = (2, 3), (1, 4), (1, 2)
    # (3-1)*2 - 2 + 1*2 + 1 + 1 and (4-1)*3 - 4 + 4*1 + 1 + 3
    y = np.zeros((2, 6, 6, 13)) + bias[:, None, None]
    for n, c, iy, ix, k, ky, kx in np.ndindex(2, 4, 3, 4, 3, 3, 2):
        oy, ox = iy * sy + ky * dy - top, ix * sx + kx * dx - left
        if 0 <= oy < 6 and 0 <= ox < 13:
            y[n, 3 * (c // 2) + k, oy, ox] += weight[c, k, ky, kx] * x[n, c, iy, ix]
    arguments = (x, weight, bias, (2, 3), (1, 2), (1, 3), 2, (1, 4))
    assert_identical(fastconv.conv_transpose2d(*arguments), y)
    assert_identical(reference.conv_transpose2d(*arguments), y)


@pytest.mark.parametrize("padding", ["same", "same_upper", "same_lower"])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_same_is_stride_times_as_large(padding, kernel):
    stride = 1 if padding == "same" else 3
    y = fastconv.conv_transpose2d(np.ones((1, 1, 4, 5)), np.ones((1, 1, kernel, kernel)), None, stride, padding)
    assert y.shape == (1, 1, 4 * stride, 5 * stride)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["x", "weight", "bias"])
@given(case=transposed_cases(layouts=("NCHW",)))
def test_nan_and_infinity_are_where_the_reference_has_them(where, value, case):
    case = dataclasses.replace(case, with_bias=True)
    x, weight, bias, _ = case.arrays()
    array = {"x": x, "weight": weight, "bias": bias}[where]
    if array.size:
        array.flat[case.seed % array.size] = value
    with np.errstate(all="ignore"):
        expected = reference.conv_transpose2d(x, weight, bias, **case.keywords)
    np.testing.assert_array_equal(fastconv.conv_transpose2d(x, weight, bias, **case.keywords), expected, strict=True)


def test_numpy_backend_gives_the_same():
    x, weight, bias, g = ODD["output padding as large as the stride"].arrays()
    keywords = ODD["output padding as large as the stride"].keywords
    y = fastconv.conv_transpose2d(x, weight, bias, **keywords)
    gradients = fastconv.conv_transpose2d_backward(g, x, weight, **keywords)
    with fastconv.use_backend("numpy"):
        assert_identical(fastconv.conv_transpose2d(x, weight, bias, **keywords), y)
        for a, b in zip(fastconv.conv_transpose2d_backward(g, x, weight, **keywords), gradients):
            assert_identical(a, b)
