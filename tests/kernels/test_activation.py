"""Sigmoid and tanh in compiled code: the bits of the functions of Python, whatever part of an array they are of."""

from __future__ import annotations

import ctypes

import numba
import numpy as np
import pytest

import fastconv
from fastconv._runtime import numpy_loops
from fastconv.kernels.activation import sigmoid, tanh


@numba.njit
def in_place(a, start, n, name):
    if name == "sigmoid":
        sigmoid(a, start, n)
    else:
        tanh(a, start, n)


FUNCTIONS = {"sigmoid": fastconv.sigmoid, "tanh": fastconv.tanh}
DTYPES = (np.float32, np.float64)


def values(dtype):
    small, special = np.logspace(-40, 2, 5001), [np.nan, np.inf, -np.inf, 1e4, -1e4, 0, -0.0]
    return np.concatenate([np.linspace(-800, 800, 10_003), small, -small, special]).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_equals_python_and_leaves_the_rest(name, dtype):
    expected, x = FUNCTIONS[name], values(dtype)
    for n in (1, 3, 8, 16, 17, 255, 256, 257, x.size):
        found = np.pad(x, 2, constant_values=7)
        for first in range(0, x.size, n):
            in_place(found, 2 + first, min(n, x.size - first), name)
        np.testing.assert_array_equal(found[2:-2], expected(x))
        assert (found[[0, 1, -2, -1]] == 7).all()
    in_place(x[:0], 0, 0, name)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ufunc", numpy_loops.UFUNCS)
def test_the_way_through_python(ufunc, dtype):
    dtype = np.dtype(dtype)
    address, data = numpy_loops._loop(ufunc, dtype)
    direct, python = numpy_loops._Loop(address), numpy_loops._python_loop(ufunc, dtype)
    x = values(dtype)
    for loop in (direct, python):
        y = x.copy()
        loop(
            (ctypes.c_void_p * 2)(y.ctypes.data, y.ctypes.data), ctypes.c_ssize_t(y.size - 1),
            (ctypes.c_ssize_t * 2)(dtype.itemsize, dtype.itemsize), data,
        )  # fmt: skip
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(y[:-1], ufunc(x[:-1]))
        assert y[-1] == x[-1]


def test_a_ufunc_that_is_laid_out_in_another_way_is_called_through_python(monkeypatch):
    made = []
    monkeypatch.setattr(numpy_loops, "_python_loop", lambda *of: made.append(of) or numpy_loops._Loop(lambda *_: None))
    dtype = np.dtype(np.float32)
    numpy_loops._loop(np.exp, dtype)
    assert not made
    monkeypatch.setattr(numpy_loops._UFunc, "inputs", 2)
    address, data = numpy_loops._loop(np.exp, dtype)
    assert made == [(np.exp, dtype)] and address and data == 0
