"""What the package promises beyond right numbers: the same bits everywhere, memory left alone, IEEE, threads, forks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc
from unittest import mock

import numba
import numpy as np
import pytest
import variants
from every import FUNCTIONS
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_identical, assert_same_bits, conv_cases, inner, pool_cases, real

import fastconv
from fastconv import nn, optim, reference, training
from fastconv._arguments import recycling
from fastconv._runtime import forks, threads
from fastconv._runtime.jit import Kernel
from fastconv.kernels import (
    avg_pool,
    batch_norm,
    conv,
    conv_gradients,
    conv_shards,
    elementwise,
    gemm,
    im2col,
    max_pool,
    packing,
)
from fastconv.kernels.fused import network


def sample(dtype=np.float32, seed=0):
    """Real-valued arguments of every function; shapes that fill several tasks, blocks and phases."""
    rng = np.random.default_rng(seed)
    shapes = {
        "x": (3, 4, 19, 23), "weight": (18, 2, 3, 3), "bias": (18,), "g": (3, 18, 10, 12), "cols": (3 * 99, 64),
        "turned": (4, 9, 3, 4), "turned_bias": (18,), "g_turned": (3, 18, 38, 46), "x1": (3, 4, 199),
        "weight1": (18, 2, 3), "g1": (3, 18, 100), "kernel": (4, 5), "g_pool": (3, 4, 9, 11), "rows": (37, 70),
        "g_mean": (3, 4, 1, 1), "y": (3, 4, 19, 23), "channels": (4,), "dense": (33, 70), "dense_bias": (33,),
        "g_dense": (37, 33),
    }  # fmt: skip
    return {name: real(rng, shape, dtype) for name, shape in shapes.items()}


CONV = {"stride": 2, "padding": 1, "groups": 2}
TRANSPOSED = {"stride": 2, "padding": 1, "output_padding": (1, 0), "groups": 2}
POOL = {"kernel_size": 3, "stride": 2}
INDICES = np.random.default_rng(1).integers(0, 19 * 23, (3, 4, 9, 11))
MASK = np.random.default_rng(2).random((3, 4, 19, 23)) < 0.7
# name: (arguments, call)
CALLS = {
    "conv2d direct": (("x", "weight", "bias"), lambda *a: fastconv.conv2d(*a, **CONV, algorithm="direct")),
    "conv2d im2col": (("x", "weight", "bias"), lambda *a: fastconv.conv2d(*a, **CONV, algorithm="im2col")),
    "conv2d in place": (("x", "weight", "bias"), lambda *a: fastconv.conv2d(*a, groups=2)),
    "conv2d_backward": (("g", "x", "weight"), lambda *a: fastconv.conv2d_backward(*a, **CONV)),
    "conv_transpose2d": (("x", "turned", "turned_bias"), lambda *a: fastconv.conv_transpose2d(*a, **TRANSPOSED)),
    "conv_transpose2d_backward": (
        ("g_turned", "x", "turned"),
        lambda *a: fastconv.conv_transpose2d_backward(*a, **TRANSPOSED),
    ),
    "conv1d": (("x1", "weight1", "bias"), lambda *a: fastconv.conv1d(*a, 2, 1, groups=2)),
    "conv1d_backward": (("g1", "x1", "weight1"), lambda *a: fastconv.conv1d_backward(*a, 2, 1, groups=2)),
    "correlate2d": (("rows", "kernel"), lambda *a: fastconv.correlate2d(*a, "same")),
    "convolve2d": (("rows", "kernel"), lambda *a: fastconv.convolve2d(*a, "full")),
    "im2col": (("x",), lambda *a: fastconv.im2col(*a, 4, 2)),
    "col2im": (("cols",), lambda *a: fastconv.col2im(*a, (3, 4, 21, 24), 4, 2, (0, 0))),
    "max_pool2d": (("x",), lambda *a: fastconv.max_pool2d(*a, **POOL)),
    "max_pool2d_with_indices": (("x",), lambda *a: fastconv.max_pool2d_with_indices(*a, **POOL)),
    "max_pool2d_backward": (("g_pool",), lambda *a: fastconv.max_pool2d_backward(*a, INDICES, (3, 4, 19, 23))),
    "avg_pool2d": (("x",), lambda *a: fastconv.avg_pool2d(*a, **POOL)),
    "avg_pool2d_backward": (("g_pool",), lambda *a: fastconv.avg_pool2d_backward(*a, (3, 4, 19, 23), **POOL)),
    "max_unpool2d": (("g_pool",), lambda *a: fastconv.max_unpool2d(*a, INDICES, (3, 4, 19, 23))),
    "max_unpool2d_backward": (("x",), lambda *a: fastconv.max_unpool2d_backward(*a, INDICES)),
    "global_avg_pool2d": (("x",), fastconv.global_avg_pool2d),
    "global_avg_pool2d_backward": (("g_mean",), lambda *a: fastconv.global_avg_pool2d_backward(*a, (3, 4, 19, 23))),
    "linear": (("rows", "dense", "dense_bias"), fastconv.linear),
    "linear_backward": (("g_dense", "rows", "dense"), fastconv.linear_backward),
    "batch_norm2d": (
        ("x", "channels", "channels"),
        lambda x, w, b: fastconv.batch_norm2d(x, np.ones(4), np.full(4, 0.5), w, b),
    ),
    "batch_norm2d training": (
        ("x", "channels", "channels"),
        lambda x, w, b: fastconv.batch_norm2d(x, None, None, w, b, True),
    ),
    "batch_norm2d_backward": (
        ("y", "x", "channels"),
        lambda g, x, w: fastconv.batch_norm2d_backward(g, x, None, None, w, True),
    ),
    "local_response_norm": (("x",), lambda *a: fastconv.local_response_norm(*a, 3)),
    "local_response_norm_backward": (("y", "x"), lambda *a: fastconv.local_response_norm_backward(*a, 3)),
    "dropout": (("x",), lambda *a: fastconv.dropout(*a, 0.3, 0)),
    "dropout_with_mask": (("x",), lambda *a: fastconv.dropout_with_mask(*a, 0.3, 0)),
    "dropout_backward": (("y",), lambda *a: fastconv.dropout_backward(*a, MASK, 0.3)),
    "leaky_relu": (("x",), fastconv.leaky_relu),
    "leaky_relu_backward": (("y", "x"), fastconv.leaky_relu_backward),
    "relu": (("x",), fastconv.relu),
    "relu6": (("x",), fastconv.relu6),
    "relu6_backward": (("x", "x"), fastconv.relu6_backward),
    "relu_backward": (("x", "x"), fastconv.relu_backward),
    "sigmoid": (("x",), fastconv.sigmoid),
    "tanh": (("x",), fastconv.tanh),
    "softmax": (("rows",), fastconv.softmax),
    "log_softmax": (("rows",), fastconv.log_softmax),
    "sigmoid_backward": (("y", "x"), fastconv.sigmoid_backward),
    "tanh_backward": (("y", "x"), fastconv.tanh_backward),
    "softmax_backward": (("rows", "rows"), fastconv.softmax_backward),
    "log_softmax_backward": (("rows", "rows"), fastconv.log_softmax_backward),
    "cross_entropy": (("rows",), lambda *a: fastconv.cross_entropy(*a, np.arange(37) % 70)),
}


def test_every_function_has_a_row():
    assert {name.split()[0] for name in CALLS} == FUNCTIONS


def results(name, arrays):
    """The call's results as a tuple of arrays."""
    names, call = CALLS[name]
    found = call(*(arrays[n] for n in names))
    return tuple(map(np.asarray, found)) if isinstance(found, tuple) else (found,)


def assert_all_same_bits(found, expected):
    for a, b in zip(found, expected):
        assert_same_bits(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CALLS)
def test_same_bits_for_any_number_of_threads(name, dtype):
    arrays = sample(dtype)
    found = []
    for n in (1, 2, 4):
        with fastconv.num_threads(n):
            found.append(results(name, arrays))
    assert_all_same_bits(found[1], found[0])
    assert_all_same_bits(found[2], found[0])


VARIANT_SHAPES = [
    ((9, 4, 19, 23), (18, 2, 3, 3), {"stride": 2, "padding": 1, "groups": 2}),
    ((2, 6, 17, 50), (70, 6, 3, 5), {"padding": ((1, 0), (2, 1))}),
    ((9, 13, 21, 45), (65, 13, 2, 2), {}),
    ((3, 30, 7, 9), (14, 30, 3, 3), {"dilation": 2, "padding": 1}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("demand", variants.every_demand(), ids=lambda d: "-".join(map(str, d.values())))
def test_every_variant_gives_the_same_bits_for_any_number_of_threads(demand, dtype):
    for x_shape, weight_shape, options in VARIANT_SHAPES:
        rng = np.random.default_rng(0)
        x, weight, bias = (real(rng, shape, dtype) for shape in (x_shape, weight_shape, weight_shape[:1]))
        found = []
        with variants.demanded(**demand):
            g = None
            for n in (1, 2, 4):
                with fastconv.num_threads(n):
                    y = fastconv.conv2d(x, weight, bias, **options)
                    g = real(rng, y.shape, dtype) if g is None else g
                    found.append((y, *fastconv.conv2d_backward(g, x, weight, **options)))
        assert_all_same_bits(found[1], found[0])
        assert_all_same_bits(found[2], found[0])


@pytest.mark.parametrize("optimizer", [lambda p: optim.SGD(p, 0.1, 0.9, True, 0.01), lambda p: optim.Adam(p, 0.1)])
def test_optimizers_give_the_same_bits_for_any_number_of_threads(optimizer):
    values = []
    for n in (1, 2, 4):
        parameter = nn.Parameter(real(np.random.default_rng(0), (1003,), np.float32))
        steps = optimizer([parameter])
        with fastconv.num_threads(n):
            for seed in range(3):
                parameter.grad[:] = real(np.random.default_rng(seed), (1003,), np.float32)
                steps.step()
        values.append(parameter.value)
    assert_same_bits(values[1], values[0])
    assert_same_bits(values[2], values[0])


@pytest.mark.parametrize("name", CALLS)
def test_same_bits_when_repeated(name):
    first = results(name, sample())
    for _ in range(3):
        assert_all_same_bits(results(name, sample()), first)


def strided(a):
    wide = np.full((*a.shape[:-1], 3 * a.shape[-1]), np.nan, a.dtype)
    wide[..., ::3] = a
    return wide[..., ::3]


def negative(a):
    return np.ascontiguousarray(np.flip(a)).copy()[tuple(slice(None, None, -1) for _ in a.shape)]


def frozen(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def misaligned(a):
    memory = np.empty(a.nbytes + 1, np.uint8)
    view = memory[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    assert not view.flags.aligned
    return view


def transposed(a):
    return np.ascontiguousarray(a.T).T


class Subclass(np.ndarray):
    """An array type of somebody else's."""


MEMORY = {
    "C": np.copy, "Fortran": np.asfortranarray, "strided": strided, "negative strides": negative,
    "read-only": frozen, "misaligned": misaligned, "transposed": transposed,
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "subclass": lambda a: a.copy().view(Subclass),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("memory", MEMORY)
@pytest.mark.parametrize("name", CALLS)
def test_same_bits_for_any_memory_layout(name, memory, dtype):
    arrays = sample(dtype)
    laid = {n: MEMORY[memory](a) for n, a in arrays.items()}
    found = results(name, laid)
    for array in found:
        assert type(array) is np.ndarray
        assert array.dtype.isnative
        assert array.flags.c_contiguous
    assert_all_same_bits(found, results(name, arrays))


@pytest.mark.parametrize("name", CALLS)
def test_same_bits_for_zero_strides(name):
    arrays = {n: np.broadcast_to(a[-1:], a.shape) for n, a in sample().items()}
    assert_all_same_bits(results(name, arrays), results(name, {n: np.array(a) for n, a in arrays.items()}))


@pytest.mark.parametrize("name", CALLS)
def test_inputs_unchanged_and_outputs_apart(name):
    arrays = sample()
    copies = {n: a.copy() for n, a in arrays.items()}
    found = results(name, arrays)
    for n, a in arrays.items():
        assert_same_bits(a, copies[n])
        assert not any(np.shares_memory(a, r) for r in found)
    for i, r in enumerate(found):
        assert not any(np.shares_memory(r, other) for other in found[:i])


GUARD = 77.0


def guarded(shape, dtype):
    """An array between guard words, and the whole memory with them."""
    size, words = int(np.prod(shape)), 64
    memory = np.full(size + 2 * words, GUARD, dtype)
    return memory[words : words + size].reshape(shape), memory


@given(conv_cases(layouts=("NCHW",)))
def test_nothing_outside_the_arrays_is_read_or_written_by_convolution(case):
    """NaN around the inputs would show in the results if it were read; around `out` it would be overwritten."""
    given_arrays = case.arrays()
    inputs = []
    for a in given_arrays:
        if a is None:
            inputs.append(None)
            continue
        inside, memory = guarded(a.shape, a.dtype)
        memory.fill(np.nan)
        inside[...] = a
        inputs.append(inside)
    out, memory = guarded(case.output_shape, case.dtype)
    x, weight, bias, g = inputs
    for algorithm in ("direct", "im2col"):
        out.fill(np.nan)  # what was there before does not matter
        assert fastconv.conv2d(x, weight, bias, algorithm=algorithm, out=out, **case.keywords) is out
        np.testing.assert_array_equal(out, reference.conv2d(*given_arrays[:3], **case.keywords))
        assert (memory[:64] == GUARD).all()
        assert (memory[len(memory) - 64 :] == GUARD).all()
    expected = reference.conv2d_backward(given_arrays[3], *given_arrays[:2], **case.keywords)
    for a, b in zip(fastconv.conv2d_backward(g, x, weight, **case.keywords), expected):
        assert_identical(a, b)


@given(pool_cases("max"), pool_cases("avg"))
def test_nothing_outside_the_arrays_is_read_or_written_by_pooling(max_case, avg_case):
    for case, function in ((max_case, "max_pool2d"), (avg_case, "avg_pool2d")):
        values, _ = case.arrays()
        x, around = guarded(values.shape, values.dtype)
        around.fill(np.nan)
        x[...] = values
        out, memory = guarded(case.output_shape, case.dtype)
        assert getattr(fastconv, function)(x, out=out, **case.keywords) is out
        np.testing.assert_array_equal(out, getattr(reference, function)(values, **case.keywords))
        assert (memory[:64] == GUARD).all()
        assert (memory[len(memory) - 64 :] == GUARD).all()


SPECIAL = st.lists(
    st.tuples(st.sampled_from("xwg"), st.integers(0, 10**6), st.sampled_from([np.nan, np.inf, -np.inf])), max_size=3
)


@given(conv_cases(), SPECIAL)
def test_nan_and_infinity_are_where_the_reference_has_them(case, special):
    x, weight, bias, g = case.arrays()
    for which, place, value in special:
        array = {"x": x, "w": weight, "g": g}[which]
        if array.size:
            array.flat[place % array.size] = value
    with np.errstate(all="ignore"):
        expected = reference.conv2d(x, weight, bias, **case.keywords)
        for algorithm in ("direct", "im2col"):
            found = fastconv.conv2d(x, weight, bias, algorithm=algorithm, **case.keywords)
            np.testing.assert_array_equal(found, expected, strict=True)
        gradients = fastconv.conv2d_backward(g, x, weight, **case.keywords)
        for a, b in zip(gradients, reference.conv2d_backward(g, x, weight, **case.keywords)):
            np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_subnormals_are_not_flushed(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    x, w = np.full((1, 1, 3, 3), 3 * tiny, dtype), np.ones((1, 1, 2, 2), dtype)
    for algorithm in ("direct", "im2col"):
        np.testing.assert_array_equal(fastconv.conv2d(x, w, algorithm=algorithm), np.full((1, 1, 2, 2), 12 * tiny))
    np.testing.assert_array_equal(fastconv.max_pool2d(x, 2), [[[[3 * tiny]]]])
    np.testing.assert_array_equal(fastconv.avg_pool2d(x, 2, divisor_override=3), [[[[4 * tiny]]]])
    np.testing.assert_array_equal(fastconv.linear(x[0, 0], np.ones((1, 3), dtype)), np.full((3, 1), 9 * tiny))
    # and the calling thread still has subnormals of its own
    assert dtype(tiny) / dtype(2) * dtype(2) == 0 < dtype(tiny) * dtype(1)


def test_negative_zero():
    minus = np.full((1, 1, 2, 2), -0.0)
    assert np.signbit(fastconv.max_pool2d(minus, 2)).all()
    assert np.signbit(fastconv.im2col(minus, 1)).all()
    # -0.0 and 0.0 are equal, and the first of equals is taken
    y, indices = fastconv.max_pool2d_with_indices(np.array([[[-0.0, 0.0], [0.0, -0.0]]]), 2)
    assert np.signbit(y).all()
    assert indices.item() == 0
    assert fastconv.conv2d(minus, np.ones((1, 1, 1, 1))).tolist() == [[[[0, 0], [0, 0]]]]


def test_max_pool_nan_wins_wherever_it_is():
    for place in range(9):
        x = np.arange(9.0).reshape(1, 3, 3)
        x.flat[place] = np.nan
        for values in (x, np.where(np.isnan(x), x, np.inf), -x):
            y, index = fastconv.max_pool2d_with_indices(values, 3)
            assert np.isnan(y).all()
            assert np.isnan(fastconv.max_pool2d(values, 3)).all()
            assert index.item() == place
    y, index = fastconv.max_pool2d_with_indices(np.full((1, 2, 2), np.nan), 2)
    assert index.item() == 0


def test_max_pool_first_of_equals():
    x = np.zeros((1, 4, 4), np.float32)
    x[0, 1:3, 1:3] = 5
    assert fastconv.max_pool2d_with_indices(x, 4)[1].item() == 5
    assert fastconv.max_pool2d_with_indices(x, 3, 1)[1].ravel().tolist() == [5, 5, 5, 5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_max_pool_of_minus_infinity_reports_a_real_pixel(dtype):
    x = np.full((1, 3, 3), -np.inf, dtype)
    y, indices = fastconv.max_pool2d_with_indices(x, 3, 2, 1)
    assert (y == -np.inf).all()
    assert indices.ravel().tolist() == [0, 1, 3, 4]  # the first pixel of each window


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint32, np.int64, np.uint64, bool, ">i4"])
def test_max_pool_keeps_integers_exactly(dtype):
    dtype = np.dtype(dtype)
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    rng = np.random.default_rng(0)
    # the ends of the range, and neighbours that a float could not tell apart
    pool = np.array([low, low, high, max(high - 1, low), max(high - 2, low)], dtype=dtype)
    x = pool[rng.integers(0, len(pool), (2, 3, 7, 7))]
    y, indices = fastconv.max_pool2d_with_indices(x, 3, 2, 1)
    native = x.astype(dtype.newbyteorder("="))
    expected, places = reference.max_pool2d_with_indices(native, 3, 2, 1)
    assert_identical(y, expected)
    assert_identical(indices, places)
    assert_identical(fastconv.max_pool2d(x, 3, 2, 1), expected)
    lowest = fastconv.max_pool2d_with_indices(np.full((1, 2, 2), low, dtype), 2, padding=1)
    assert (lowest[0] == low).all()
    assert lowest[1].ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("given_dtypes", "expected"),
    [
        (("f4", "f4"), "f4"), (("f8", "f8"), "f8"), (("f4", "f8"), "f8"), (("f8", "f4"), "f8"), (("f2", "f2"), "f2"),
        (("f2", "f4"), "f4"), (("f2", "f8"), "f8"), (("i1", "f4"), "f4"), (("i4", "f4"), "f8"), (("u1", "u1"), "f4"),
        (("i8", "i8"), "f8"), (("?", "?"), "f4"), (("?", "f8"), "f8"), ((">f4", "<f8"), "f8"), (("u2", "i2"), "f4"),
        (("i4", "i1"), "f8"), (("i1", "f2"), "f2"),
    ],
)  # fmt: skip
def test_dtypes_of_results(given_dtypes, expected):
    rng = np.random.default_rng(0)
    x, w = (rng.integers(0, 2, s).astype(d) for s, d in zip(((2, 2, 5, 5), (3, 2, 2, 2)), given_dtypes))
    exact = reference.conv2d(x.astype(np.float64), w.astype(np.float64))
    for algorithm in ("direct", "im2col"):
        assert_identical(fastconv.conv2d(x, w, algorithm=algorithm), exact.astype(expected))
    for gradient in fastconv.conv2d_backward(fastconv.conv2d(x, w), x, w):
        assert gradient.dtype == expected
    rows, dense = x.reshape(2, 50), np.ones((3, 50), given_dtypes[1])
    exact = reference.linear(rows.astype(np.float64), dense.astype(np.float64))
    assert_identical(fastconv.linear(rows, dense), exact.astype(expected))
    if given_dtypes[0] == given_dtypes[1]:
        for one in (fastconv.avg_pool2d(x, 2), fastconv.im2col(x, 2), fastconv.relu(x), fastconv.sigmoid(x)):
            assert one.dtype == expected


def test_float16_is_rounded_once():
    """2048 + 1 + 1 is 2050; with every sum rounded to float16 it would stay 2048."""
    x = np.array([2048, 1, 1], np.float16).reshape(1, 1, 3)
    w = np.ones((1, 1, 1, 3), np.float16)
    assert fastconv.conv2d(x, w).item() == 2050
    assert fastconv.linear(x[0], w[0, 0]).item() == 2050
    assert fastconv.avg_pool2d(x, (1, 3), divisor_override=1).item() == 2050
    assert fastconv.max_pool2d(x, (1, 3)).dtype == np.float16


OUT_CALLS = {
    "conv2d": lambda a, **k: fastconv.conv2d(a["x"], a["w"], a["b"], **k),
    "conv_transpose2d": lambda a, **k: fastconv.conv_transpose2d(a["x"], a["w"].reshape(4, 16, 3, 3), padding=2, **k),
    "im2col": lambda a, **k: fastconv.im2col(a["x"], 1, order="unfold", **k),
    "col2im": lambda a, **k: fastconv.col2im(a["x"].reshape(-1, 1), (16, 1, 100, 100), 1, **k),
    "max_pool2d": lambda a, **k: fastconv.max_pool2d(a["x"], 1, **k),
    "avg_pool2d": lambda a, **k: fastconv.avg_pool2d(a["x"], 1, **k),
}


@pytest.mark.parametrize("function", OUT_CALLS)
def test_out_is_returned_and_nothing_of_its_size_allocated(function):
    rng = np.random.default_rng(0)
    arrays = {
        name: real(rng, s, np.float32) for name, s in (("x", (4, 4, 100, 100)), ("w", (16, 4, 3, 3)), ("b", (16,)))
    }
    call = OUT_CALLS[function]
    expected = call(arrays)
    out = np.full_like(expected, np.nan)
    call(arrays, out=out)  # compiled by now
    out.fill(np.nan)
    tracemalloc.start()
    try:
        assert call(arrays, out=out) is out
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert_same_bits(out, expected)
    assert peak < expected[0, 0].nbytes  # one plane: vectors of a row or a column, and Python's own objects, fit in it


def test_memory_is_handed_on_only_when_the_last_view_of_it_is_gone(monkeypatch):
    monkeypatch.setattr("fastconv._arguments.recycling._held", 0)  # what other tests have left may be all that is kept
    monkeypatch.setattr("fastconv._arguments.recycling._free", {})
    # large enough for its memory to be kept for the next array of that size
    x = np.ones((1, 1, 256, 256), np.float32)
    first = fastconv.relu(x)
    place, view = first.ctypes.data, first[0, 0, 100:].reshape(-1)[::2]
    del first
    second = fastconv.relu(x * 2)
    assert second.ctypes.data != place
    assert (view == 1).all() and (second == 2).all()
    del view
    assert fastconv.relu(x * 3).ctypes.data == place


def test_training_holds_what_its_steps_have_in_use_and_no_more(monkeypatch):
    """All arrays of a step come back at the next one; with the optimiser goes what is more than usual."""
    size = 2**18
    for name, value in (("_held", 0), ("_free", {}), ("_used", 0), ("_most_used", 0), ("RECYCLED_IN_ALL", size)):
        monkeypatch.setattr(recycling, name, value)
    model = nn.Sequential(nn.Linear(4, 2, rng=0))
    optimizer = optim.SGD(model.parameters(), 0.1)
    training.train_step(model, np.ones((3, 4), np.float32), np.array([0, 1, 0]), optimizer)

    def step():
        kept = [recycling.empty(size, (size,), np.dtype(np.uint8)) for _ in range(5)]
        return {array.ctypes.data for array in kept}

    places = step()
    assert recycling._held == 5 * size
    assert step() == places
    del optimizer
    assert recycling._held == size
    step()
    assert recycling._held <= size


def test_a_layer_called_with_other_shapes():
    layer = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, rng=0), nn.ReLU(), nn.MaxPool2d(2))
    rng = np.random.default_rng(0)
    inputs = [real(rng, s, np.float32) for s in ((2, 2, 8, 8), (1, 2, 5, 9), (4, 2, 20, 6), (2, 2, 8, 8))]
    alone = []
    for x in inputs:
        y, backward = layer.forward(x)
        layer.zero_grad()
        alone.append((y, backward(np.ones_like(y)), *[p.grad.copy() for p in layer.parameters()]))
    # all forward passes first: what backward needs must not be the last call's
    together = [layer.forward(x) for x in inputs]
    for (y, backward), expected in zip(together, alone):
        layer.zero_grad()
        found = (y, backward(np.ones_like(y)), *[p.grad for p in layer.parameters()])
        assert_all_same_bits(found, expected)


def test_two_threads_at_once():
    arrays = sample()
    expected = results("conv2d direct", arrays)[0]
    wrong: list[object] = []

    def work():
        for _ in range(30):
            if results("conv2d direct", arrays)[0].tobytes() != expected.tobytes():
                wrong.append("other bits")

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def threads_of_a_launch(call):
    """On how many threads the launches of kernels are that a call makes."""
    seen = []
    asked = threads.threads_of_a_launch

    def asking():
        found = asked()
        seen.append(found[0])
        return found

    with mock.patch.object(threads, "threads_of_a_launch", asking):
        call()
    assert seen
    return set(seen)


def relu():
    fastconv.relu(np.ones(3))


def test_number_of_threads_holds_in_other_threads():
    fastconv.set_num_threads(1)
    seen = []

    def work():
        seen.append((fastconv.get_num_threads(), threads_of_a_launch(relu)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(1, {1})]
    with fastconv.num_threads(3):
        assert fastconv.get_num_threads() == 3
        assert threads_of_a_launch(relu) == {3}
    assert threads_of_a_launch(relu) == {1}
    assert fastconv.get_num_threads() == 1


@pytest.fixture
def numbas_number():
    """Numba's number of the main thread, which a test changes."""
    relu()  # the threads have started
    before = numba.get_num_threads()
    yield before
    numba.set_num_threads(before)


def test_numbas_number_of_threads_is_put_back(numbas_number):
    for own, ours in ((1, 2), (3, 2), (2, 2), (4, 1)):
        numba.set_num_threads(own)
        fastconv.set_num_threads(ours)
        assert threads_of_a_launch(relu) == {ours}
        assert numba.get_num_threads() == own
        with fastconv.num_threads(3):
            assert threads_of_a_launch(relu) == {3}
            assert (fastconv.get_num_threads(), numba.get_num_threads()) == (3, own)
        fails = mock.Mock(side_effect=ZeroDivisionError)
        with mock.patch.object(elementwise.relu, "entry", fails), pytest.raises(ZeroDivisionError):
            relu()
        assert numba.get_num_threads() == own


def test_numbas_number_of_threads_counts_while_none_is_set_here(numbas_number, monkeypatch):
    monkeypatch.setattr(threads, "_wanted", None)
    for own in (1, 3, 2):
        numba.set_num_threads(own)
        assert fastconv.get_num_threads() == own
        assert threads_of_a_launch(relu) == {own}
        assert numba.get_num_threads() == own


MODULES = (
    avg_pool,
    batch_norm,
    conv,
    conv_gradients,
    conv_shards,
    elementwise,
    gemm,
    im2col,
    max_pool,
    network,
    packing,
)
KERNELS = [k for module in MODULES for k in vars(module).values() if isinstance(k, Kernel)]


@pytest.mark.process
def test_one_signature_for_each_dtype():
    """In a process of its own, so that nothing else has compiled; every layout of memory, two dtypes."""
    script = """
import numpy as np
import test_promises as t
from fastconv import nn, optim
from fastconv._runtime import cells
from fastconv.kernels.micro import copy, depthwise, dot, gemm, interleaved_pool, pooled_sums
for dtype in (np.float32, np.float64):
    arrays = t.sample(dtype)
    for name in t.CALLS:
        for lay in t.MEMORY.values():
            t.results(name, {n: lay(a) for n, a in arrays.items()})
    p = nn.Parameter(np.ones((3, 4), dtype))
    optim.SGD([p]).step()
    optim.Adam([p]).step()
ran = 0
for kernel in t.KERNELS:
    for form in kernel.forms:
        assert len(form.signatures) in (0, 2), (kernel.__name__, form.signatures)
    ran += bool(kernel.forms[0].signatures)
helpers = [form for name, form in cells._compiled.items() if name.startswith("fastconv.kernels.micro.")]
for helper in helpers:  # a literal among the arguments would compile one more
    assert len(helper.signatures) <= 2, (helper.name, helper.signatures)
print(ran, len(helpers))
"""
    ran, helpers = map(int, run(script).stdout.split())
    assert ran >= 17 and helpers >= 6


def run(script, **environment):
    """A Python process with warnings as errors; it must succeed."""
    here = os.path.dirname(__file__)
    path = os.pathsep.join([here, os.path.dirname(here)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


THREADS = """
import threading
import numpy as np
import fastconv
x, w = np.ones((8, 4, 30, 30), np.float32), np.ones((8, 4, 3, 3), np.float32)
right = []
def work():
    for _ in range(50):
        y = fastconv.conv2d(x, w)
        right.append(bool((y == 36).all()))
threads = [threading.Thread(target=work) for _ in range(4)]
[t.start() for t in threads]
[t.join() for t in threads]
import numba
print(len(right), all(right), numba.threading_layer())
"""


@pytest.mark.process
@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_threads_at_once_in_each_threading_layer(layer):
    assert run(THREADS, NUMBA_THREADING_LAYER=layer).stdout.split() == ["200", "True", layer]


FORK = """
import os
import numpy as np
import fastconv
x, w = np.ones((2, 3, 9, 9), np.float32), np.ones((4, 3, 3, 3), np.float32)
def right():
    y = fastconv.conv2d(x, w)
    grad = fastconv.conv2d_backward(np.ones_like(y), x, w)[1]
    return bool((y == 27).all() and (grad == 98).all())
if {before}:
    assert right()
child = os.fork()
if child == 0:
    os._exit(0 if right() else 7)
assert os.waitpid(child, 0)[1] == 0
assert right()
"""


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("layer", ["workqueue", "omp"])
@pytest.mark.parametrize("before", [True, False])
def test_fork(layer, before):
    # Python itself warns of forking a process with threads; that is the situation tested
    script = "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n" + FORK.format(before=before)
    assert run(script, NUMBA_THREADING_LAYER=layer).stderr == ""


# What runs in a process that forks, and is to print "right"; `forked` is what a child says, within a time.
FORKED = """
import os, signal, sys, threading, time, warnings
warnings.simplefilter('ignore', DeprecationWarning)
import numba
import numpy as np
import fastconv
from numba.core import dispatcher
from fuzzing.child import in_fork
x = np.arange(12.0).reshape(1, 3, 4)
expected = fastconv.max_pool2d(x, 2)
def pooled():
    return "right" if (fastconv.max_pool2d(x, 2) == expected).all() else "wrong"
"""


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_a_child_runs_what_its_parent_compiled(layer):
    """On its one thread, as it says; also a child's child, and users' loops on threads."""
    script = """
@numba.njit(parallel=True)
def total(a):
    found = 0.0
    for i in numba.prange(len(a)):
        found += a[i]
    return found
assert total(np.ones(100)) == 100
def refuse(*arguments):
    raise AssertionError("something is compiled")
def work():
    dispatcher._FunctionCompiler.compile = refuse
    found = pooled(), fastconv.get_num_threads(), total(np.ones(100))
    with fastconv.num_threads(2):
        found += fastconv.get_num_threads(), pooled()
    return str(found)
print(in_fork(work, 60))
print(in_fork(lambda: in_fork(work, 60), 60))
print(pooled(), fastconv.get_num_threads())
"""
    found = run(FORKED + script, NUMBA_THREADING_LAYER=layer, NUMBA_NUM_THREADS="2").stdout.splitlines()
    assert found == ["('right', 1, 100.0, 1, 'right')"] * 2 + ["right 2"]


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_whose_parents_threads_numba_has_started():
    """OpenMP would end it."""
    script = """
import warnings
warnings.simplefilter('ignore', DeprecationWarning)
import numba
import numpy as np
import fastconv
from fuzzing.child import in_fork
numba.set_num_threads(1)
print(in_fork(lambda: str(fastconv.max_pool2d(np.ones((1, 4, 4)), 2).sum()), 60))
"""
    assert run(script, NUMBA_THREADING_LAYER="omp").stdout.split() == ["4.0"]


@pytest.mark.process
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_fork_while_another_thread_compiles():
    """The child would wait for good for the compiler's lock, which nobody in it can release."""
    script = """
def compiled(number):
    return numba.njit(lambda x: x + number)(1)
stop = threading.Event()
def compile_on():
    number = 0
    while not stop.is_set():
        number += 1
        compiled(number)
def work():
    return pooled() if compiled(-1) == 0 else "wrong"
thread = threading.Thread(target=compile_on)
thread.start()
found = []
for pause in (0.3, 0.05, 0.1):
    time.sleep(pause)
    found.append(in_fork(work, 30))
stop.set()
thread.join()
print(*found, compiled(-2))
"""
    assert run(FORKED + script).stdout.split() == ["right"] * 3 + ["-1"]


def test_the_locks_of_numba_and_llvm_are_found_and_free_after_a_fork():
    locks = list(forks.locks())
    assert len(locks) == 4
    with locks[0]:  # a fork by the thread that compiles
        forks._before()
        assert all(lock._is_owned() for lock in locks)
        forks._after()
        assert [lock._is_owned() for lock in locks] == [True, False, False, False]
    assert not locks[0]._is_owned()


def test_a_fork_does_not_wait_for_good(monkeypatch):
    """As where two threads wait for each other."""
    monkeypatch.setattr(forks, "PATIENCE", 0.01)
    held, done = threading.Event(), threading.Event()

    def hold():
        with forks.launching:
            held.set()
            done.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    forks._before()
    forks._after()
    done.set()
    thread.join()
    assert not any(lock._is_owned() for lock in forks.locks())


@pytest.mark.process
def test_compiling_warns_of_nothing(tmp_path):
    """A fresh cache, so that everything is compiled, with warnings as errors: no loop is left serial, no copy made."""
    script = """
import test_promises as t
arrays = t.sample()
for name in t.CALLS:
    t.results(name, arrays)
"""
    run(script, NUMBA_CACHE_DIR=str(tmp_path))
    assert len(list(tmp_path.rglob("*.nbc"))) >= 14


def test_the_inner_product_of_a_sample_is_kept_by_every_gradient():
    """Real data, every gradient at once: <f(x), g> = <x, f*(g)> for the linear functions of the sample."""
    a = sample(np.float64)
    y = fastconv.conv2d(a["x"], a["weight"], None, **CONV)
    grad_x, grad_weight, _ = fastconv.conv2d_backward(a["g"], a["x"], a["weight"], **CONV)
    assert inner(y, a["g"]) == pytest.approx(inner(a["x"], grad_x), rel=1e-12)
    assert inner(y, a["g"]) == pytest.approx(inner(a["weight"], grad_weight), rel=1e-12)
