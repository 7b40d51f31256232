"""Linear layers: exact on whole numbers, around every block of the matrix product."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from strategies import DTYPES, assert_identical, assert_same_bits, inner, integers, real

import fastconv
from fastconv import reference
from fastconv._engine.linear import FEW_ROWS
from fastconv.kernels import gemm
from fastconv.kernels.micro.vectors import TILE_VECTORS, VECTOR_BYTES


def around(B, prime):
    return sorted({1, B - 1, B, B + 1, 2 * B - 1, 2 * B, 2 * B + 1, prime} - {0})


def assert_equals_reference(N, IN, OUT, dtype, seed=0):
    rng = np.random.default_rng(seed)
    x, weight, bias, g = (integers(rng, shape, dtype) for shape in ((N, IN), (OUT, IN), (OUT,), (N, OUT)))
    y = fastconv.linear(x, weight, bias)
    assert_identical(y, reference.linear(x, weight, bias))
    assert_identical(fastconv.linear(x, weight), reference.linear(x, weight))
    grads = fastconv.linear_backward(g, x, weight)
    for gradient, expected in zip(grads, reference.linear_backward(g, x, weight)):
        assert_identical(gradient, np.ascontiguousarray(expected))
    assert inner(y - bias, g) == inner(grads[0], x) == inner(grads[1], weight)
    assert inner(np.broadcast_to(bias, g.shape), g) == inner(grads[2], bias)


@pytest.mark.legs
@given(st.integers(0, 40), st.integers(1, 20), st.integers(1, 70), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_equals_reference(N, IN, OUT, dtype, seed):
    assert_equals_reference(N, IN, OUT, dtype, seed)


BLOCKS = [
    *[(n, 3, 5) for n in around(2, 7)],
    *[(n, 5, 3) for n in around(gemm.ROW_BLOCK, 37)],
    *[(3, n, 6) for n in around(4, 11)],
    *[(5, 3, n) for n in around(gemm.ROW_BLOCK, 41)],
    *[(3, n, 4) for n in around(gemm.COLUMN_BLOCK, 769)],
    *[(2, 3, n) for n in around(gemm.COLUMN_BLOCK, 521)],
    *[(n, 4, 5) for n in around(FEW_ROWS, 53)],
    *[(n, 3, 4) for n in around(gemm.PANEL_ROWS, 541)],
    *[(17, n, 3) for n in around(gemm.PANEL_TERMS, 9001)],
    # factors that are copied: of the gradients of x, of those of the weights, and of more terms than a wide copy holds
    *[(n, 613, 120) for n in around(gemm.PACKED_ROWS, 301)],
    *[(211, 401, n) for n in around(gemm.PACKED_ROWS, 45)],
    *[(gemm.PACKED_ROWS, n, 400) for n in around(gemm.COLUMN_BLOCK, 397)],
    *[(gemm.PACKED_ROWS, 71, n) for n in around(gemm.PACKED_ELEMENTS // 48, 1500)],
    *[(18, 3, n) for n in around(TILE_VECTORS * VECTOR_BYTES // 4, 211)],
]


@pytest.mark.parametrize(("N", "IN", "OUT"), BLOCKS)
def test_around_block_sizes(N, IN, OUT):
    assert_equals_reference(N, IN, OUT, np.float32)


@given(st.integers(1, 20), st.integers(1, 600), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_error_bound(N, IN, OUT, seed):
    rng = np.random.default_rng(seed)
    arrays = [real(rng, shape, np.float32) for shape in ((N, IN), (OUT, IN), (OUT,), (N, OUT))]
    exact = [a.astype(np.float64) for a in arrays]
    x, weight, bias, g = arrays
    X, W, B, G = exact
    half = np.finfo(np.float32).eps / 2
    found = [fastconv.linear(x, weight, bias), *fastconv.linear_backward(g, x, weight)]
    wanted = [reference.linear(X, W, B), *reference.linear_backward(G, X, W)]
    size = [reference.linear(abs(X), abs(W), abs(B)), *reference.linear_backward(abs(G), abs(X), abs(W))]
    for a, e, s, n in zip(found, wanted, size, (IN + 1, OUT, N, N)):
        assert (abs(a - e) <= (8 + 2 * math.sqrt(n)) * half * s).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_same_bits_for_any_number_of_threads(dtype):
    rng = np.random.default_rng(0)
    x, weight, bias = (real(rng, shape, dtype) for shape in ((600, 131), (150, 131), (150,)))
    with fastconv.num_threads(1):
        alone = fastconv.linear(x, weight, bias)
    assert_same_bits(fastconv.linear(x, weight, bias), alone)
    compiled = njit(lambda x, weight, bias: fastconv.linear(x, weight, bias))
    assert_same_bits(compiled(x, weight, bias), alone)


@pytest.mark.parametrize("N", [FEW_ROWS - 1, FEW_ROWS])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_row_and_column(N, value):
    rng = np.random.default_rng(0)
    x, weight = integers(rng, (N, 7), np.float32) + 100, integers(rng, (5, 7), np.float32) + 100
    x[3, 2] = value
    y = fastconv.linear(x, weight)
    assert_same_bits(y[3], np.full(5, value, np.float32))
    assert np.isfinite(np.delete(y, 3, 0)).all()


def test_one_row_without_a_batch():
    rng = np.random.default_rng(0)
    x, weight, bias, g = (integers(rng, shape, np.float32) for shape in ((5,), (3, 5), (3,), (3,)))
    assert_same_bits(fastconv.linear(x, weight, bias), fastconv.linear(x[None], weight, bias)[0])
    grad_x, grad_weight, grad_bias = fastconv.linear_backward(g, x, weight)
    assert grad_x.shape == (5,)
    np.testing.assert_array_equal(grad_weight, np.outer(g, x))
    np.testing.assert_array_equal(grad_bias, g)


@pytest.mark.parametrize("needs", [(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)])
def test_needs_chooses_gradients(needs):
    rng = np.random.default_rng(0)
    x, weight, g = (integers(rng, shape, np.float32) for shape in ((4, 5), (3, 5), (4, 3)))
    everything = fastconv.linear_backward(g, x, weight)
    for wanted, gradient, expected in zip(needs, fastconv.linear_backward(g, x, weight, needs=needs), everything):
        if wanted:
            assert_same_bits(gradient, expected)
        else:
            assert gradient is None
