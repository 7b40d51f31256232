"""Batch normalisation: exact where it can be, against the reference in float64 elsewhere; the running statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import DTYPES, assert_identical, assert_same_bits, image_shapes, inner, integers, real

import fastconv
from fastconv import reference

SEEDS = st.integers(0, 2**32 - 1)
EPSILONS = st.sampled_from([1e-5, 1e-3, 0.1, 1])


def vectors(rng, C, with_weight, with_bias, dtype):
    weight, bias = (real(rng, (C,), dtype) for _ in range(2))
    return weight if with_weight else None, bias if with_bias else None


@pytest.mark.legs
@given(image_shapes(), st.booleans(), st.booleans(), st.sampled_from(DTYPES), SEEDS)
def test_inference_is_exact_on_whole_numbers(images, with_weight, with_bias, dtype, seed):
    (shape, layout, axis), rng = images, np.random.default_rng(seed)
    C = shape[axis]
    x, g = integers(rng, shape, dtype), integers(rng, shape, dtype)
    mean, var = integers(rng, (C,), dtype), (4.0 ** rng.integers(-1, 3, C)).astype(dtype)  # roots are powers of two
    weight = integers(rng, (C,), dtype) if with_weight else None
    bias = integers(rng, (C,), dtype) if with_bias else None
    y = fastconv.batch_norm2d(x, mean, var, weight, bias, eps=0, layout=layout)
    assert_identical(y, reference.batch_norm2d(x, mean, var, weight, bias, eps=0, layout=layout))
    arguments = (g, x, mean, var, weight)
    found = fastconv.batch_norm2d_backward(*arguments, eps=0, layout=layout)
    for a, b in zip(found, reference.batch_norm2d_backward(*arguments, eps=0, layout=layout)):
        assert_identical(a, b)
    start = fastconv.batch_norm2d(np.zeros_like(x), mean, var, weight, bias, eps=0, layout=layout)
    assert inner(y - start, g) == inner(x, found[0])  # all but the start is linear in x


@pytest.mark.legs
@given(image_shapes(), st.booleans(), st.booleans(), EPSILONS, st.floats(0, 1), st.sampled_from(DTYPES), SEEDS)
def test_training_is_within_rounding_of_the_reference(images, with_weight, with_bias, eps, momentum, dtype, seed):
    (shape, layout, axis), rng = images, np.random.default_rng(seed)
    C, pixels = shape[axis], tuple(a for a in range(len(shape)) if a != axis % len(shape))
    assume(np.prod(shape) != C)
    x = 3 * real(rng, shape, dtype) + dtype(2)
    weight, bias = vectors(rng, C, with_weight, with_bias, dtype)
    mean, var = (real(rng, (C,), dtype) for _ in range(2))
    wide = [None if a is None else a.astype(np.float64) for a in (x, mean, var, weight, bias)]
    y = fastconv.batch_norm2d(x, mean, var, weight, bias, True, momentum, eps, layout=layout)
    if x.size == 0:
        np.testing.assert_array_equal(mean, wide[1])  # there is nothing to move towards
        assert y.shape == shape
        return
    expected = reference.batch_norm2d(*wide, True, momentum, eps, layout=layout)
    room = 8 * np.finfo(dtype).eps
    along = [n if a == axis % len(shape) else 1 for a, n in enumerate(shape)]
    scale = (abs(wide[0]) + 9) / np.sqrt(wide[0].var(pixels, keepdims=True) + eps)
    scale *= abs(np.reshape(1 if weight is None else wide[3], along if with_weight else 1))
    scale += abs(np.reshape(0 if bias is None else wide[4], along if with_bias else 1))
    assert y.dtype == dtype
    assert (abs(y - expected) <= room * scale).all()
    np.testing.assert_allclose(mean, wide[1], rtol=room, atol=9 * room)
    np.testing.assert_allclose(var, wide[2], rtol=room, atol=99 * room)


@given(image_shapes(1), st.booleans(), st.booleans(), EPSILONS, SEEDS, st.tuples(*[st.booleans()] * 3))
def test_gradients_equal_reference(images, with_weight, training, eps, seed, needs):
    (shape, layout, axis), rng = images, np.random.default_rng(seed)
    C = shape[axis]
    assume(not training or np.prod(shape) != C)
    x, g = real(rng, shape, np.float64), real(rng, shape, np.float64)
    mean, var = real(rng, (C,), np.float64), rng.uniform(0.5, 2, C)
    before = mean.copy(), var.copy()
    weight, _ = vectors(rng, C, with_weight, False, np.float64)
    arguments = (g, x, mean, var, weight, training, eps)
    found = fastconv.batch_norm2d_backward(*arguments, layout=layout)
    # a variance near zero magnifies what was rounded before
    room = {"rtol": 1e-9, "atol": 1e-11 / eps}
    for gradient, expected in zip(found, reference.batch_norm2d_backward(*arguments, layout=layout)):
        np.testing.assert_allclose(gradient, expected, **room, strict=True)
    some = fastconv.batch_norm2d_backward(*arguments, layout=layout, needs=needs)
    with fastconv.use_backend("numpy"):
        others = fastconv.batch_norm2d_backward(*arguments, layout=layout, needs=needs)
    for wanted, gradient, other, expected in zip(needs, some, others, found):
        if wanted:
            assert_same_bits(gradient, expected)
            np.testing.assert_allclose(other, expected, **room)
        else:
            assert gradient is other is None
    np.testing.assert_array_equal((mean, var), before)  # only the forward pass moves them


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_gradient_by_central_differences(training, layout):
    rng = np.random.default_rng(0)
    x, g = real(rng, (3, 2, 2, 2), np.float64), real(rng, (3, 2, 2, 2), np.float64)
    values = {"x": x, "weight": real(rng, (2,), np.float64), "bias": real(rng, (2,), np.float64)}
    mean, var = real(rng, (2,), np.float64), rng.uniform(0.5, 2, 2)

    def total():
        y = fastconv.batch_norm2d(
            values["x"], mean.copy(), var.copy(), values["weight"], values["bias"], training, layout=layout
        )
        return np.sum(g * y)

    found = fastconv.batch_norm2d_backward(g, x, mean, var, values["weight"], training, layout=layout)
    for array, gradient in zip(values.values(), found):
        for place in np.ndindex(array.shape):
            old, sums = array[place], []
            for moved in (old + 1e-6, old - 1e-6):
                array[place] = moved
                sums.append(total())
            array[place] = old
            np.testing.assert_allclose(gradient[place], (sums[0] - sums[1]) / 2e-6, rtol=1e-3, atol=1e-5)


def test_running_statistics_written_out():
    x = np.array([1.0, 3.0, 5.0, 7.0, 0.0, 0.0, 2.0, 2.0]).reshape(2, 2, 2).transpose(1, 0, 2)[..., None]
    mean, var = np.array([10.0, 0.0]), np.array([1.0, 1.0])
    y = fastconv.batch_norm2d(x, mean, var, training=True, momentum=0.25, eps=0)
    # channel 0 holds 1, 3, 5, 7: mean 4, mean square 5, over n - 1: 20 / 3; channel 1 holds 0, 0, 2, 2
    np.testing.assert_allclose(mean, [0.75 * 10 + 0.25 * 4, 0.25], rtol=1e-15)
    np.testing.assert_allclose(var, [0.75 + 0.25 * 20 / 3, 0.75 + 0.25 * 4 / 3], rtol=1e-15)
    np.testing.assert_allclose(y[:, 1].ravel(), [-1, -1, 1, 1], rtol=1e-15)
    np.testing.assert_allclose(y[:, 0].ravel(), np.array([-3, -1, 1, 3]) / np.sqrt(5), rtol=1e-15)


def test_mean_of_many_pixels_far_from_zero():
    """A variance of 1 around 10,000: the square of the mean less the mean of squares would lose it in float32."""
    x = (10_000 + real(np.random.default_rng(0), (64, 1, 40, 40), np.float64)).astype(np.float32)
    mean, var = np.zeros(1), np.zeros(1)
    y = fastconv.batch_norm2d(x, mean, var, training=True, momentum=1)
    np.testing.assert_allclose(mean, x.mean(dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(var, x.var(dtype=np.float64, ddof=1), rtol=1e-9)
    assert abs(y.mean(dtype=np.float64)) < 1e-3
    assert y.std(dtype=np.float64) == pytest.approx(1, rel=1e-3)


def test_only_one_running_statistic():
    x, mean = real(np.random.default_rng(0), (2, 3, 4, 4), np.float64), np.zeros(3)
    fastconv.batch_norm2d(x, mean, None, training=True, momentum=1)
    np.testing.assert_allclose(mean, x.mean((0, 2, 3)), rtol=1e-13)


@pytest.mark.parametrize("dtype", [np.float16, np.uint8])
def test_other_dtypes_are_computed_in_float32(dtype):
    x = np.random.default_rng(0).integers(0, 9, (2, 3, 4, 4)).astype(dtype)
    mean, var = np.full(3, 4.0), np.full(3, 4.0)
    expected = (x.astype(np.float64) - 4) / 2
    y = fastconv.batch_norm2d(x, mean, var, eps=0)
    assert_identical(y, expected.astype(np.float16 if dtype == np.float16 else np.float32))


@given(image_shapes(1), SEEDS)
def test_numpy_backend_gives_the_same(images, seed):
    (shape, layout, axis), rng = images, np.random.default_rng(seed)
    assume(np.prod(shape) != shape[axis])
    x = real(rng, shape, np.float64)
    own, other = (np.ones((2, shape[axis])) for _ in range(2))
    y = fastconv.batch_norm2d(x, *own, training=True, eps=0.1, layout=layout)
    with fastconv.use_backend("numpy"):
        np.testing.assert_allclose(fastconv.batch_norm2d(x, *other, training=True, eps=0.1, layout=layout), y, 1e-9)
    np.testing.assert_allclose(own, other, rtol=1e-12)
