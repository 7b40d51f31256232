"""Winograd's F(2x2, 3x3): exact on whole numbers, within its own bound, and never where a number is not finite."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
import variants
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, assert_identical, assert_same_bits, in_layout, integers, real

import fastconv
import fastconv._overloads
from fastconv import config, reference
from fastconv._geometry.conv import conv_geometry
from fastconv._plans.forward import plan_forward
from fastconv._plans.names import Algorithm, Winograd
from fastconv._runtime.host import HOST
from fastconv.errors import ShapeError

B = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float)
G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
A = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float)


@st.composite
def convolutions(draw):
    """(x, weight, bias, padding, groups, layout) of whole numbers, with sizes around tiles and vectors of them."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    C, OC = (groups * draw(st.sampled_from([1, 2, 3, 5, 8, 9, 16, 17, 33])) for _ in range(2))
    pads = tuple((draw(st.integers(0, 3)), draw(st.integers(0, 3))) for _ in range(2))
    H, W = (max(3 - sum(pad), 1) + draw(st.sampled_from([0, 1, 2, 3, 6, 13, 30, 31, 47])) for pad in pads)
    N = draw(st.sampled_from([1, 1, 2, 3]))
    rng, dtype = np.random.default_rng(draw(st.integers(0, 2**32 - 1))), draw(st.sampled_from(DTYPES))
    x, weight, bias = (integers(rng, shape, dtype) for shape in ((N, C, H, W), (OC, C // groups, 3, 3), (OC,)))
    return x, weight, bias, pads, groups, draw(st.sampled_from(["NCHW", "NHWC"]))


def by_winograd(x, weight, bias, padding, groups, layout):
    x, weight = in_layout(x, layout), in_layout(weight, layout)
    return fastconv.conv2d(x, weight, bias, 1, padding, 1, groups, layout=layout, algorithm="winograd")


@given(convolutions())
def test_whole_numbers_are_exact(case):
    x, weight, bias, padding, groups, layout = case
    expected = reference.conv2d(x, weight, bias, 1, padding, 1, groups)
    with variants.carried_out() as done:
        assert_identical(by_winograd(*case), in_layout(expected, layout))
    assert [ran.plan.algorithm for ran in done] == [Algorithm.WINOGRAD]
    variants.assert_as_planned(done[0])


@given(convolutions())
def test_the_gradient_of_the_input_and_transposed_convolutions_are_exact(case):
    x, weight, _, padding, groups, layout = case
    y = reference.conv2d(x, weight, None, 1, padding, 1, groups)
    g = integers(np.random.default_rng(1), y.shape, x.dtype)
    expected = reference.conv2d_backward(g, x, weight, 1, padding, 1, groups)[0]
    with variants.demanded(winograd=True, gathers=True, last=True), variants.carried_out() as done:
        found = fastconv.conv2d_backward(
            in_layout(g, layout), in_layout(x, layout), in_layout(weight, layout), 1, padding, 1, groups, layout=layout,
            needs=(True, False, False),
        )[0]  # fmt: skip
        assert_identical(found, in_layout(expected, layout))
        if y.size and min(expected.shape[2:]) > 0:
            same = fastconv.conv_transpose2d(g, weight, None, 1, padding, 0, groups)
            assert_identical(same, reference.conv_transpose2d(g, weight, None, 1, padding, 0, groups))
    assert done[0].plan.product.algorithm == Algorithm.WINOGRAD
    variants.assert_as_planned(done[0])


@pytest.mark.parametrize(("C", "OC", "groups"), [(150, 30, 1), (30, 301, 1), (260, 40, 2), (132, 390, 3)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_many_channels_whose_blocks_are_transformed_together(C, OC, groups, dtype):
    rng = np.random.default_rng(C)
    x, weight = integers(rng, (1, C, 5, 6), dtype), integers(rng, (OC, C // groups, 3, 3), dtype)
    y = reference.conv2d(x, weight, None, 1, 1, 1, groups)
    assert_identical(by_winograd(x, weight, np.zeros(OC, dtype), 1, groups, "NCHW"), y)
    g = integers(rng, y.shape, dtype)
    with variants.demanded(winograd=True, gathers=True):
        found = fastconv.conv2d_backward(g, x, weight, 1, 1, 1, groups, needs=(True, False, False))[0]
    assert_identical(found, reference.conv2d_backward(g, x, weight, 1, 1, 1, groups)[0])


@given(convolutions())
def test_the_gradient_of_the_weights_is_exact(case):
    x, weight, _, padding, groups, layout = case
    g = integers(np.random.default_rng(1), reference.conv2d(x, weight, None, 1, padding, 1, groups).shape, x.dtype)
    expected = reference.conv2d_backward(g, x, weight, 1, padding, 1, groups)[1]
    with variants.demanded(winograd=True), variants.carried_out() as done:
        found = weight_gradient(g, x, weight, padding, groups, layout)
    assert_identical(found, in_layout(expected, layout))
    assert [ran.plan.algorithm for ran in done] == [Algorithm.WINOGRAD]
    variants.assert_as_planned(done[0])


def weight_gradient(g, x, weight, padding, groups, layout):
    g, x, weight = (in_layout(a, layout) for a in (g, x, weight))
    needs = (False, True, False)
    return fastconv.conv2d_backward(g, x, weight, 1, padding, 1, groups, layout=layout, needs=needs)[1]


# the tiles of a task and of a vector, and output channels of a micro-kernel's rows and of a block
SIZES = [
    *(((1, 2, 2, 2 * n), 3) for n in (1, 15, 16, 17, 47, 48, 49, 143, 144, 145, 191, 193, 289)),
    *(((1, 2, 2 * n, 5), 3) for n in (47, 48, 49, 97)),
    *(((n, 1, 3, 5), 2) for n in (8, 9, 23, 25, 49)),
    *(((1, 3, 4, 7), n) for n in (*range(1, 18), 31, 33, 63, 64, 65, 127, 129)),
    *(((1, n, 3, 4), 5) for n in (111, 113, 143, 145, 225, 289)),
]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("image", "OC"), SIZES, ids=str)
def test_remainders_of_blocks(image, OC, layout):
    rng = np.random.default_rng(0)
    x, weight, bias = (integers(rng, shape, np.float32) for shape in (image, (OC, image[1], 3, 3), (OC,)))
    expected = reference.conv2d(x, weight, bias, 1, 1)
    assert_identical(by_winograd(x, weight, bias, 1, 1, layout), in_layout(expected, layout))
    g = integers(rng, expected.shape, np.float32)
    with variants.demanded(winograd=True):
        found = weight_gradient(g, x, weight, 1, 1, layout)
    assert_identical(found, in_layout(reference.conv2d_backward(g, x, weight, 1, 1)[1], layout))


@given(convolutions(), st.sampled_from([np.nan, np.inf, -np.inf, 3e38]), st.booleans())
def test_what_is_not_finite_stays_where_it_belongs(case, value, in_weights):
    """As without Winograd's algorithm, to the bit: an infinity reaches no neighbour, and zero times it is NaN."""
    x, weight, bias, padding, groups, layout = case
    (weight if in_weights else x).flat[7 % (weight if in_weights else x).size] = value
    x, weight = in_layout(x, layout), in_layout(weight, layout)
    options = (1, padding, 1, groups)
    with np.errstate(all="ignore"):
        found = fastconv.conv2d(x, weight, bias, *options, layout=layout, algorithm="winograd")
        expected = fastconv.conv2d(x, weight, bias, *options, layout=layout, algorithm="direct")
    if np.isfinite(value) and np.isfinite(expected).all():
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(value))
        return
    assert_same_bits(found, expected)
    g = np.ones_like(found)
    g.flat[5 % g.size] = value
    needs = (True, True, False)
    with variants.demanded(winograd=True, gathers=True):
        found = fastconv.conv2d_backward(g, x, weight, *options, layout=layout, needs=needs)[:2]
    with variants.demanded(winograd=False, gathers=True):
        expected = fastconv.conv2d_backward(g, x, weight, *options, layout=layout, needs=needs)[:2]
    for one, other in zip(found, expected):
        assert np.array_equal(np.isfinite(one), np.isfinite(other))
        assert_same_bits(one[~np.isfinite(one)], other[~np.isfinite(other)])


def of_sizes(x, weight, padding):
    """What the bound is relative to: the same transforms and sums of the sizes of all numbers, tile by tile."""
    rows, columns = (-size % 2 for size in (x.shape[2] + 2 * padding - 2, x.shape[3] + 2 * padding - 2))
    x = np.pad(abs(x), ((0, 0), (0, 0), (padding, padding + rows), (padding, padding + columns)))
    d = np.lib.stride_tricks.sliding_window_view(x, (4, 4), (2, 3))[:, :, ::2, ::2]
    d = np.einsum("ai,nchwij,bj->nchwab", abs(B), d, abs(B))
    g = np.einsum("ai,ocij,bj->ocab", abs(G), abs(weight), abs(G))
    y = np.einsum("ia,nohwab,jb->nohiwj", abs(A), np.einsum("nchwab,ocab->nohwab", d, g), abs(A))
    y = y.reshape(*y.shape[:2], y.shape[2] * 2, y.shape[4] * 2)
    return y[:, :, : y.shape[2] - rows, : y.shape[3] - columns]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("kind", ["random", "constant", "alternating", "growing"])
@pytest.mark.parametrize("C", [1, 64, 300, 1100])
def test_error_bound(C, kind, layout):
    """|error| <= (20 + 2 sqrt(C)) * eps/2 * the sums of sizes: six additions each way, and C products in between."""
    rng, shapes = np.random.default_rng(C), ((1, C, 9, 12), (5, C, 3, 3))
    x, weight = (real(rng, shape, np.float32) for shape in shapes)
    if kind != "random":
        x, weight = (np.full(shape, 0.1, np.float32) for shape in shapes)
    if kind == "alternating":
        x[..., ::2] *= -1
    if kind == "growing":
        x *= np.geomspace(1e-3, 1e3, x.shape[3], dtype=np.float32)
    exact = reference.conv2d(x.astype(float), weight.astype(float), None, 1, 1)
    bound = (20 + 2 * math.sqrt(C)) * np.finfo(np.float32).eps / 2 * of_sizes(x.astype(float), weight.astype(float), 1)
    found = by_winograd(x, weight, None, 1, 1, layout)
    assert (abs(found - in_layout(exact, layout)) <= in_layout(bound, layout)).all()


@pytest.mark.parametrize("kind", ["random", "constant", "growing"])
@pytest.mark.parametrize("size", [3, 17, 90])
def test_error_bound_of_the_gradient_of_the_weights(size, kind):
    """|error| <= (24 + 2 sqrt(n)) * eps/2 * the sums of sizes, n the pixels of the result."""
    rng = np.random.default_rng(size)
    x, g = (real(rng, shape, np.float32) for shape in ((2, 3, size, size), (2, 4, size, size)))
    if kind != "random":
        x, g = np.full_like(x, 0.1), np.full_like(g, 0.1)
    if kind == "growing":
        x *= np.geomspace(1e-3, 1e3, size, dtype=np.float32)
    weight = np.zeros((4, 3, 3, 3), np.float32)
    exact = reference.conv2d_backward(g.astype(float), x.astype(float), weight.astype(float), 1, 1)[1]
    padded = np.pad(abs(x.astype(float)), ((0, 0), (0, 0), (1, 1 + size % 2), (1, 1 + size % 2)))
    d = np.lib.stride_tricks.sliding_window_view(padded, (4, 4), (2, 3))[:, :, ::2, ::2]
    z = np.pad(abs(g.astype(float)), ((0, 0), (0, 0), (0, size % 2), (0, size % 2)))
    z = np.lib.stride_tricks.sliding_window_view(z, (2, 2), (2, 3))[:, :, ::2, ::2]
    d = np.einsum("ai,nchwij,bj->nchwab", abs(B), d, abs(B))
    z = np.einsum("ia,nohwij,jb->nohwab", abs(A), z, abs(A))
    sums = np.einsum("ai,ocab,bj->ocij", abs(G), np.einsum("nohwab,nchwab->ocab", z, d), abs(G))
    with variants.demanded(winograd=True):
        found = weight_gradient(g, x, weight, 1, 1, "NCHW")
    assert (abs(found - exact) <= (24 + 2 * math.sqrt(2 * size**2)) * np.finfo(np.float32).eps / 2 * sums).all()


@pytest.mark.parametrize("C", [32, 64, 256, 512])
def test_the_error_is_within_twice_that_of_direct_sums(C):
    rng = np.random.default_rng(C)
    x, weight = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, C, 20, 20), (32, C, 3, 3)))
    exact = reference.conv2d(x.astype(float), weight.astype(float), None, 1, 1)
    direct, other = (
        abs(fastconv.conv2d(x, weight, None, 1, 1, algorithm=name) - exact) for name in ("direct", "winograd")
    )
    assert math.sqrt((other**2).mean()) <= 2 * math.sqrt((direct**2).mean())
    sums = reference.conv2d(abs(x).astype(float), abs(weight).astype(float), None, 1, 1)
    assert (other <= (8 + 2 * math.sqrt(9 * C)) * np.finfo(np.float32).eps / 2 * sums).all()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_same_bits_on_any_number_of_threads_and_in_jitted_code(layout):
    rng = np.random.default_rng(0)
    x, weight = (real(rng, shape, np.float32) for shape in ((3, 37, 18, 41), (70, 37, 3, 3)))
    x, weight = in_layout(x, layout), in_layout(weight, layout)
    bias, most = real(rng, (70,), np.float32), numba.config.NUMBA_NUM_THREADS
    found = []
    for threads in (1, min(2, most), most):
        with fastconv.num_threads(threads):
            found.append(fastconv.conv2d(x, weight, bias, padding=1, layout=layout, algorithm="winograd"))
    for y in found[1:]:
        assert_same_bits(y, found[0])
    assert_same_bits(JITTED["winograd", layout](x, weight, bias), found[0])
    direct = fastconv.conv2d(x, weight, bias, padding=1, layout=layout, algorithm="direct")
    assert_same_bits(JITTED["direct", layout](x, weight, bias), direct)
    assert not np.array_equal(direct, found[0])
    needs, gradients = (False, True, False), []
    for threads in (1, min(2, most), most):
        with fastconv.num_threads(threads), variants.demanded(winograd=True):
            gradients.append(fastconv.conv2d_backward(direct, x, weight, padding=1, layout=layout, needs=needs)[1])
    for gradient in gradients[1:]:
        assert_same_bits(gradient, gradients[0])
    with variants.demanded(winograd=True):
        assert_same_bits(JITTED["gradient", layout](direct, x, weight), gradients[0])


JITTED = {
    ("winograd", "NCHW"): numba.njit(lambda x, w, b: fastconv.conv2d(x, w, b, padding=1, algorithm="winograd")),
    ("direct", "NCHW"): numba.njit(lambda x, w, b: fastconv.conv2d(x, w, b, padding=1, algorithm="direct")),
    ("auto", "NCHW"): numba.njit(lambda x, w, b: fastconv.conv2d(x, w, b, padding=1)),
    ("winograd", "NHWC"): numba.njit(
        lambda x, w, b: fastconv.conv2d(x, w, b, padding=1, layout="NHWC", algorithm="winograd")
    ),
    ("gradient", "NCHW"): numba.njit(
        lambda g, x, w: fastconv.conv2d_backward(g, x, w, padding=1, needs=(False, True, False))[1]
    ),
    ("gradient", "NHWC"): numba.njit(
        lambda g, x, w: fastconv.conv2d_backward(g, x, w, padding=1, layout="NHWC", needs=(False, True, False))[1]
    ),
    ("direct", "NHWC"): numba.njit(
        lambda x, w, b: fastconv.conv2d(x, w, b, padding=1, layout="NHWC", algorithm="direct")
    ),
}


@pytest.fixture
def large():
    """Arrays for which it is faster."""
    rng = np.random.default_rng(0)
    return tuple(real(rng, shape, np.float32) for shape in ((1, 64, 47, 48), (64, 64, 3, 3), (64,)))


def test_it_is_taken_where_it_is_faster_and_can_be_switched_off(large):
    x, weight, _ = large
    direct, winograd = (fastconv.conv2d(*large, padding=1, algorithm=name) for name in ("direct", "winograd"))
    backward = fastconv.conv2d_backward(direct, x, weight, padding=1, needs=(True, False, False))[0]
    assert_same_bits(fastconv.conv2d(*large, padding=1), winograd)
    assert_same_bits(JITTED["auto", "NCHW"](*large), winograd)
    assert config.facts()["winograd"] is True
    config.use_winograd(False)
    try:
        assert config.facts()["winograd"] is False and "switched off" in fastconv.show_config()
        assert_same_bits(fastconv.conv2d(*large, padding=1), direct)
        assert_same_bits(JITTED["auto", "NCHW"](*large), direct)
        other = fastconv.conv2d_backward(direct, x, weight, padding=1, needs=(True, False, False))[0]
        assert not np.array_equal(other, backward)
        assert_same_bits(fastconv.conv2d(*large, padding=1, algorithm="winograd"), winograd)
    finally:
        config.use_winograd(True)
    assert_same_bits(fastconv.conv2d(*large, padding=1), winograd)


def test_the_environment_switches_it_off():
    script = "import fastconv.config; print(fastconv.config.facts()['winograd'])"
    for value, expected in (("0", "False"), ("1", "True"), ("", "False")):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"FASTCONV_WINOGRAD": value},
            capture_output=True,
            text=True,
        )
        assert done.stdout.strip() == expected, done.stderr


def test_a_plan_says_why_not():
    def reasons(image, OC, kernel, winograd=Winograd.WHERE_FASTER, **options):
        weight = (OC, image[0] // options.get("groups", 1), kernel, kernel)
        conv = conv_geometry("test", image, weight, *({"s": 1, "p": 1, "d": 1, "groups": 1} | options).values())
        return str(plan_forward(conv, 1, 4, False, HOST, int(winograd)))

    assert reasons((64, 56, 56), 64, 3).startswith("forward          WINOGRAD: Winograd's F(2x2, 3x3)")
    assert "not WINOGRAD: it is switched off" in reasons((64, 56, 56), 64, 3, Winograd.NEVER)
    limits = HOST.limits
    few, tiles = limits.winograd_channels - 1, max(limits.winograd_tiles, limits.winograd_work // 64)
    told = reasons((few, 56, 56), 64, 3)
    assert f"not WINOGRAD: {few} channels of a group are fewer than {few + 1}" in told
    told = reasons((64, 14, 14), 64, 3)
    assert f"not WINOGRAD: 49 tiles of 2x2 results, of at most 8 images, are fewer than {tiles}" in told
    for options in ({"kernel": 5}, {"kernel": 3, "s": 2}, {"kernel": 3, "d": 2}):
        assert "not WINOGRAD: kernels are not 3x3" in reasons((64, 56, 56), 64, **options)


@pytest.mark.parametrize(
    ("kernel", "options"),
    [((5, 5), {}), ((3, 1), {}), ((3, 3), {"stride": 2}), ((3, 3), {"dilation": (1, 2)})],
    ids=str,
)
def test_other_convolutions_are_refused(kernel, options):
    x, weight = np.ones((1, 2, 9, 9)), np.ones((2, 2, *kernel))
    with pytest.raises(ShapeError, match=r"conv2d: algorithm 'winograd' needs kernels of 3x3, stride 1 and") as told:
        fastconv.conv2d(x, weight, algorithm="winograd", **options)
    steps = tuple(value if isinstance(value, tuple) else (value,) * 2 for value in options.values())
    stride, dilation = (steps[0] if name in options else (1, 1) for name in ("stride", "dilation"))
    jitted = numba.njit(
        lambda x, w, stride, dilation: fastconv.conv2d(x, w, None, stride, 0, dilation, algorithm="winograd")
    )
    with pytest.raises(ShapeError) as same:
        jitted(x, weight, stride, dilation)
    assert str(same.value) == str(told.value)


@pytest.mark.parametrize("value", [1, None, "off", 0.0])
def test_the_switch_takes_booleans(value):
    with pytest.raises(TypeError, match="use_winograd: use must be True or False, got"):
        config.use_winograd(value)
    assert config.facts()["winograd"] is True
