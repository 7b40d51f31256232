"""Clipping by value and by norm."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, assert_same_bits, integers, real

from fastconv import nn
from fastconv.optim import clip_grad_norm, clip_grad_value

SHAPES = ((3, 5), (4,), (0,), (2, 1, 3, 3))


def parameters(dtype, seed, fill=real):
    rng = np.random.default_rng(seed)
    made = [nn.Parameter(np.zeros(shape, dtype)) for shape in SHAPES]
    for p in made:
        p.accumulate(fill(rng, p.value.shape, dtype))
    return made


@given(st.sampled_from(DTYPES), st.floats(0, 3), st.integers(0, 99))
def test_by_value(dtype, limit, seed):
    made = parameters(dtype, seed)
    expected = [np.minimum(np.maximum(p.grad, dtype(-limit)), dtype(limit)) for p in made]
    clip_grad_value(iter(made), limit)
    for p, grad in zip(made, expected):
        np.testing.assert_array_equal(p.grad, grad, strict=True)


@given(st.sampled_from(DTYPES), st.floats(0, 20), st.sampled_from([0.5, 1, 2, 2.0, 3, math.inf]), st.integers(0, 99))
def test_by_norm(dtype, limit, power, seed):
    made = parameters(dtype, seed, integers)
    before = [p.grad.copy() for p in made]
    elements = [abs(float(g)) for p in made for g in p.grad.ravel()]
    norm = max(elements) if power == math.inf else math.fsum(g**power for g in elements) ** (1 / power)
    assert clip_grad_norm(iter(made), limit, power) == pytest.approx(norm, rel=1e-12)
    factor = min(1, limit / (norm + 1e-6))
    for p, grad in zip(made, before):
        np.testing.assert_allclose(p.grad, factor * grad, rtol=4 * np.finfo(dtype).eps)
        if factor == 1:
            assert_same_bits(p.grad, grad)


def test_squares_of_float32_do_not_overflow():
    p = nn.Parameter(np.zeros(2, np.float32))
    p.grad[:] = [3e30, 4e30]
    assert clip_grad_norm([p], 1.0) == pytest.approx(5e30)
    np.testing.assert_allclose(p.grad, [0.6, 0.8], rtol=1e-6)
    p.grad[:] = [3e-30, 4e-30]
    assert clip_grad_norm([p], 1.0) == pytest.approx(5e-30)


def test_frozen_and_repeated_parameters():
    free, frozen = nn.Parameter(np.zeros(1)), nn.Parameter(np.zeros(1))
    free.grad[:], frozen.grad[:], frozen.trainable = 3, 4, False
    assert clip_grad_norm([free, frozen, free], 1.0) == 3
    np.testing.assert_allclose([free.grad[0], frozen.grad[0]], [1, 4], rtol=1e-6)
    clip_grad_value([free, frozen], 0.5)
    assert [free.grad[0], frozen.grad[0]] == [0.5, 4]
    assert clip_grad_norm([], 1.0) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite(bad):
    p = nn.Parameter(np.zeros(2))
    p.grad[:] = [1, bad]
    with pytest.raises(ValueError, match=r"the gradients' norm is (nan|inf), a finite one was needed"):
        clip_grad_norm([p], 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(p.grad, [1, bad])
    assert not math.isfinite(clip_grad_norm([p], 1.0))
    assert np.isnan(p.grad[1])
    p.grad[:] = [1, bad]
    clip_grad_value([p], 0.5)
    np.testing.assert_array_equal(p.grad, [0.5, np.clip(bad, -0.5, 0.5)])


P = [nn.Parameter(np.ones(2))]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: clip_grad_value(P, -1), ValueError, "clip_grad_value: clip_value must be finite, at least 0, got -1"),
        (lambda: clip_grad_value([1], 1), TypeError, "clip_grad_value: parameters must be Parameters, got int"),
        (lambda: clip_grad_norm(P, np.nan), ValueError, "clip_grad_norm: max_norm must be finite"),
        (lambda: clip_grad_norm(P, 1, 0), ValueError, "clip_grad_norm: norm_type must be above 0, got 0"),
        (lambda: clip_grad_norm(P, 1, "fro"), TypeError, "clip_grad_norm: norm_type must be a number, got 'fro'"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
