"""One-dimensional convolution and filters of plain arrays: against the reference and NumPy's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, assert_identical, assert_same_bits, conv_cases, inner, integers

import fastconv
from fastconv import reference

MODES = ("valid", "same", "full")
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@st.composite
def signals(draw):
    """A convolution with one row: x, weight, bias, a gradient of the output, and the options."""
    case = draw(conv_cases(layouts=("NCHW",)))
    rng = np.random.default_rng(case.seed)
    options = {name: case.options[name] for name in ("stride", "dilation")}
    options = {name: np.broadcast_to(value, 2)[1].item() for name, value in options.items()}
    padding = case.options["padding"]
    if not isinstance(padding, str):
        pads = np.asarray(padding)
        before, after = np.broadcast_to(pads if pads.ndim == 2 else pads[..., None], (2, 2))[1].tolist()
        padding = draw(st.sampled_from([(before, after), before, (before,)])) if before == after else (before, after)
    if draw(st.booleans()):
        options = {name: (value,) for name, value in options.items()}
    shapes = ((*case.x_shape[:-2], case.x_shape[-1]), (*case.weight_shape[:2], case.weight_shape[-1]), (case.OC,))
    x, weight, bias = (integers(rng, shape, case.dtype) for shape in shapes)
    g = integers(rng, (*case.output_shape[:-2], case.output_shape[-1]), case.dtype)
    options |= {"padding": padding, "groups": case.options["groups"]}
    return x, weight, bias if case.with_bias else None, g, options


@given(signals())
def test_conv1d_equals_reference(signal):
    x, weight, bias, g, options = signal
    y = fastconv.conv1d(x, weight, bias, **options)
    assert y.shape == g.shape
    assert_identical(y, reference.conv1d(x, weight, bias, **options))
    found = fastconv.conv1d_backward(g, x, weight, **options)
    for gradient, expected in zip(found, reference.conv1d_backward(g, x, weight, **options)):
        assert_identical(gradient, expected)
    linear = y if bias is None else fastconv.conv1d(x, weight, None, **options)
    assert inner(linear, g) == inner(x, found[0]) == inner(weight, found[1])


@given(signals(), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_conv1d_needs_chooses_gradients(signal, needs):
    x, weight, _, g, options = signal
    everything = fastconv.conv1d_backward(g, x, weight, **options)
    some = fastconv.conv1d_backward(g, x, weight, needs=needs, **options)
    for wanted, gradient, expected in zip(needs, some, everything):
        if wanted:
            assert_same_bits(gradient, expected)
        else:
            assert gradient is None


@pytest.mark.parametrize("K", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("L", [5, 6, 8])
def test_conv1d_is_numpy_correlate(K, L):
    rng = np.random.default_rng(K)
    x, kernel = integers(rng, (L,), np.float64), integers(rng, (K,), np.float64)
    for padding, mode in ((0, "valid"), (K - 1, "full")):
        y = fastconv.conv1d(x[None], kernel[None, None], padding=padding)
        np.testing.assert_array_equal(y[0], np.correlate(x, kernel, mode))


@given(sizes, sizes, st.sampled_from(MODES), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_filters_equal_reference(size, kernel_size, mode, dtype, seed):
    rng = np.random.default_rng(seed)
    x, kernel = integers(rng, size, dtype), integers(rng, kernel_size, dtype)
    differences = np.subtract(size, kernel_size)
    for name in ("correlate2d", "convolve2d"):
        if mode == "valid" and differences.min() < 0 < differences.max():
            with pytest.raises(ValueError, match=f"{name}: the kernel's (height|width)"):
                getattr(fastconv, name)(x, kernel, mode)
        else:
            assert_identical(getattr(fastconv, name)(x, kernel, mode), getattr(reference, name)(x, kernel, mode))


@given(sizes, sizes, st.sampled_from(MODES), st.integers(0, 2**32 - 1))
def test_filters_agree_with_scipy(size, kernel_size, mode, seed):
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(seed)
    x, kernel = integers(rng, size, np.float64), integers(rng, kernel_size, np.float64)
    for name in ("correlate2d", "convolve2d"):
        try:
            expected = getattr(signal, name)(x, kernel, mode)
        except ValueError:
            continue
        np.testing.assert_array_equal(getattr(fastconv, name)(x, kernel, mode), expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("K", [1, 2, 3, 4, 5])
def test_filters_are_numpy_s_in_one_dimension(mode, K):
    rng = np.random.default_rng(0)
    x, kernel = integers(rng, (8,), np.float64), integers(rng, (K,), np.float64)
    for axis in (0, 1):
        image, taps = np.expand_dims(x, axis), np.expand_dims(kernel, axis)
        np.testing.assert_array_equal(fastconv.convolve2d(image, taps, mode).ravel(), np.convolve(x, kernel, mode))
        if mode != "same":  # NumPy puts the middle of an even kernel elsewhere there
            np.testing.assert_array_equal(
                fastconv.correlate2d(image, taps, mode).ravel(), np.correlate(x, kernel, mode)
            )


def test_edges_of_a_rectangle():
    image = np.ones((6, 8))
    image[[0, 1, 3, 4, 5], 2:6] = 0
    edges = fastconv.correlate2d(image, np.array([[1, -1]]))
    for row in range(6):
        np.testing.assert_array_equal(edges[row], np.zeros(7) if row == 2 else [0, 1, 0, 0, 0, -1, 0])
    upright = fastconv.correlate2d(image, np.array([[1], [-1]]))
    assert upright.shape == (5, 8)
    np.testing.assert_array_equal(upright[[1, 2]], [[0, 0, -1, -1, -1, -1, 0, 0], [0, 0, 1, 1, 1, 1, 0, 0]])
    np.testing.assert_array_equal(fastconv.convolve2d(image, np.array([[1, -1]])), -edges)


def test_integers_are_promoted_as_by_conv2d():
    x, kernel = np.arange(12, dtype=np.uint8).reshape(3, 4), np.array([[1, -1]], np.int8)
    assert fastconv.correlate2d(x, kernel).dtype == np.float32
    np.testing.assert_array_equal(fastconv.correlate2d(x, kernel), np.full((3, 3), -1))
