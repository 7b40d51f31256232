"""Sigmoid and tanh in vectors: within three units of the exact result, everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.kernels.micro.exp import expm1, sigmoid, tanh

LIMITS = {np.float32: 86, np.float64: 700}


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize(
    ("function", "exact"), [(sigmoid, lambda x: 1 / (1 + np.exp(-x))), (tanh, np.tanh)], ids=["sigmoid", "tanh"]
)
def test_within_three_units(function, exact, dtype):
    small = np.logspace(-30, 1, 20_001)
    x = np.concatenate([np.linspace(-LIMITS[dtype], LIMITS[dtype], 100_003), small, -small]).astype(dtype)
    found, expected = np.pad(x, 1), exact(x.astype(np.longdouble))
    function(found, 1, x.size)
    assert found[0] == found[-1] == 0
    assert (np.abs(found[1:-1] - expected) <= 3 * np.finfo(dtype).eps * np.abs(expected)).all()


@pytest.mark.parametrize("dtype", LIMITS)
def test_at_the_ends(dtype):
    x = np.array([np.nan, np.inf, -np.inf, 1e4, -1e4, 0, -0.0], dtype)
    for function, expected in ((sigmoid, [np.nan, 1, 0, 1, 0, 0.5, 0.5]), (tanh, [np.nan, 1, -1, 1, -1, 0, 0])):
        found = x.copy()
        function(found, 0, x.size)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-37)


def test_in_python():
    assert expm1(0.5) == pytest.approx(np.expm1(0.5))
