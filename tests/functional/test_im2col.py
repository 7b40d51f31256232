"""im2col and its transpose, in all three orders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from strategies import assert_identical, conv_cases, inner, integers, real

import fastconv
from fastconv import reference
from fastconv.kernels import packing
from fastconv.kernels.micro import vectors

ORDERS = ("rows", "cols", "unfold")


def windows_of(case):
    """What im2col takes of a convolution's arguments."""
    return {"kernel_size": case.weight_shape[2:], **{k: v for k, v in case.options.items() if k != "groups"}}


@pytest.mark.legs
@pytest.mark.parametrize("order", ORDERS)
@given(conv_cases(layouts=("NCHW",)))
def test_im2col_equals_reference(order, case):
    x = case.arrays()[0]
    cols = fastconv.im2col(x, order=order, **windows_of(case))
    assert_identical(cols, reference.im2col(x, order=order, **windows_of(case)))


@pytest.mark.legs
@pytest.mark.parametrize("order", ORDERS)
@given(conv_cases(layouts=("NCHW",)))
def test_col2im_equals_reference(order, case):
    shape = reference.im2col(case.arrays()[0], order=order, **windows_of(case)).shape
    cols = integers(np.random.default_rng(case.seed), shape, case.dtype)
    x = fastconv.col2im(cols, case.x_shape, order=order, **windows_of(case))
    assert_identical(x, reference.col2im(cols, case.x_shape, order=order, **windows_of(case)))
    assert x.shape == case.x_shape


AROUND_LANES = (1, 2, vectors.LANES - 1, vectors.LANES, vectors.LANES + 1, 2 * vectors.LANES + 3)
SIZES = [
    # images side by side, and the pixels that one task brings there
    *[((n, 2, 3, 4), (2, 3), {}) for n in AROUND_LANES],
    *[((2, 1, 1, packing.BLOCK + n), (1, 2), {}) for n in (-1, 0, 1, packing.BLOCK + 5)],
    # rows of taps, of one vector and of several, partly outside
    *[((2, 1, 3, n + 2), (2, n), {"padding": (1, 2)}) for n in (*AROUND_LANES, 65)],
    *[((2, 2, 7, 3 * n + 1), (3, n), {"dilation": (2, 3), "padding": ((3, 1), (0, 4))}) for n in AROUND_LANES[:4]],
    # rows of windows, next to each other or not
    *[((2, 2, 4, n + 2), (2, 3), {"padding": 2}) for n in AROUND_LANES],
    *[((3, 2, 7, 3 * n), (3, 2), {"stride": (2, 3), "padding": ((1, 0), (2, 1))}) for n in AROUND_LANES],
]


@pytest.mark.legs
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", ORDERS)
def test_around_block_sizes(order, dtype):
    rng = np.random.default_rng(0)
    for shape, kernel, options in SIZES:
        x = integers(rng, shape, dtype)
        expected = reference.im2col(x, kernel, order=order, **options)
        assert_identical(fastconv.im2col(x, kernel, order=order, **options), expected)
        cols = integers(rng, expected.shape, dtype)
        back = fastconv.col2im(cols, shape, kernel, order=order, **options)
        assert_identical(back, reference.col2im(cols, shape, kernel, order=order, **options))


def test_sums_of_all_orders_have_the_same_bits():
    rng = np.random.default_rng(0)
    windows = {"kernel_size": (4, 3), "stride": (1, 2), "padding": (2, 1), "dilation": (1, 2)}
    g = real(rng, fastconv.im2col(np.zeros((5, 2, 9, 12), np.float32), **windows, order="unfold").shape, np.float32)
    K = g.shape[1]
    given = {"rows": g.transpose(0, 2, 1).reshape(-1, K), "cols": g.transpose(1, 2, 0).reshape(K, -1), "unfold": g}
    first, *others = (fastconv.col2im(given[order], (5, 2, 9, 12), order=order, **windows) for order in ORDERS)
    for other in others:
        assert_identical(other, first)


@pytest.mark.parametrize("order", ORDERS)
@given(conv_cases(layouts=("NCHW",)))
def test_adjoint(order, case):
    for fill, tolerance in ((integers, 0), (real, 1e-12)):
        x = case.arrays(fill)[0].astype(np.float64)
        cols = fastconv.im2col(x, order=order, **windows_of(case))
        g = fill(np.random.default_rng(case.seed + 1), cols.shape, np.float64)
        back = fastconv.col2im(g, case.x_shape, order=order, **windows_of(case))
        assert abs(inner(cols, g) - inner(x, back)) <= tolerance * inner(abs(cols), abs(g))


def test_orders_are_what_they_say():
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    rows, cols, unfold = (fastconv.im2col(x, (2, 3), order=order) for order in ORDERS)
    assert rows.shape == (2 * 3 * 3, 3 * 2 * 3)
    for n, oy, ox in np.ndindex(2, 3, 3):
        window = x[n, :, oy : oy + 2, ox : ox + 3].ravel()
        pixel = oy * 3 + ox
        assert_identical(rows[n * 9 + pixel], window)
        np.testing.assert_array_equal(cols[:, pixel * 2 + n], window)
        np.testing.assert_array_equal(unfold[n, :, pixel], window)


@given(conv_cases(layouts=("NCHW",), groups=1))
def test_convolution_is_a_product_with_the_columns(case):
    x, weight, _, _ = case.arrays()
    cols = fastconv.im2col(x, order="unfold", **windows_of(case))
    product = weight.reshape(case.OC, -1) @ cols
    np.testing.assert_array_equal(product.reshape(case.output_shape), fastconv.conv2d(x, weight, **case.keywords))
