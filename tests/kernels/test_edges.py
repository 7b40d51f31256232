"""Geometries at their edges and values that are not finite, in every variant of the engine.

Inside, the engine computes cells between the rows of pixels, multiplies zeros around and between them, and sums parts
of vectors: none of that may be seen, not even where zero times infinity would be NaN.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import variants
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, WORK, ConvCase, assert_identical, integers, pool_cases

import fastconv
from fastconv import reference
from fastconv._runtime.host import HOST

LEAST_IMAGES = HOST.limits.images


@st.composite
def axes(draw):
    """(size, kernel, stride, dilation, (before, after)) of one axis, at whose edges windows often fit by one cell."""
    kernel, dilation, stride = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    pads = draw(st.integers(0, 6)), draw(st.integers(0, 6))
    span = dilation * (kernel - 1) + 1
    # the smallest image into which the kernel fits: as large as the padded image, or one pixel
    size = max(1, span - sum(pads)) + draw(st.sampled_from([0, 0, 1, 2, 5, 17]))
    return size, kernel, stride, dilation, pads


@st.composite
def edge_cases(draw):
    """Any convolution at the edges, all of them drawn together."""
    rows, columns = draw(axes()), draw(axes())
    C, groups = draw(st.sampled_from([1, 1, 2, 5])), draw(st.sampled_from([1, 1, 2, 7]))
    OC = draw(st.sampled_from([1, 2, 5, 13]))
    N = draw(st.sampled_from([0, 1, 1, 2, LEAST_IMAGES, LEAST_IMAGES + 1]))
    names = ("stride", "dilation", "padding")
    options = dict(zip(names, zip(rows[2:], columns[2:])))
    x, weight = (N, C * groups, rows[0], columns[0]), (OC * groups, C, rows[1], columns[1])
    y = reference.conv_output_shape(x, weight, **options)
    options["groups"] = groups
    if N * groups * OC * C * rows[1] * columns[1] * y[2] * y[3] > WORK:
        N, OC = min(N, 1), 1
        x, weight, y = (N, *x[1:]), (groups, *weight[1:]), (N, groups, *y[2:])
    seed = draw(st.integers(0, 2**32 - 1))
    case = ConvCase(x, weight, y, options, "NCHW", draw(st.sampled_from(DTYPES)), seed, draw(st.booleans()))
    return channels_last(case) if draw(st.booleans()) else case


def channels_last(case):
    """The case in the other layout."""
    x, weight, y = ((N, H, W, C) for N, C, H, W in (case.x_shape, case.weight_shape, case.output_shape))
    return dataclasses.replace(case, x_shape=x, weight_shape=weight, output_shape=y, layout="NHWC")


def assert_equal_to_reference(case, arrays):
    """The result and all gradients, values and NaN alike."""
    x, weight, bias, g = arrays
    with np.errstate(all="ignore"):
        wanted = [reference.conv2d(x, weight, bias, **case.keywords)]
        wanted += reference.conv2d_backward(g, x, weight, **case.keywords)
        # as plain Python the kernels warn as NumPy does; compiled they never do
        found = [fastconv.conv2d(x, weight, bias, **case.keywords)]
        found += fastconv.conv2d_backward(g, x, weight, **case.keywords)
    for a, b in zip(found, wanted):
        assert_identical(a, b)


@pytest.mark.legs
@given(edge_cases(), variants.demands())
def test_edges_are_exact(case, demand):
    with variants.demanded(**demand):
        assert_equal_to_reference(case, case.arrays())


@pytest.mark.legs
@pytest.mark.parametrize("last", [True, False])
def test_a_first_tap_in_the_padding_of_one_pixel(last):
    """Depthwise, where the first pixel that a tap would read lies before the image."""
    case = small((1, 1, 1, 1), (1, 1, 1, 2), padding=((0, 0), (1, 0)))
    case = channels_last(case) if last else case
    with variants.demanded(last=last):
        assert_equal_to_reference(case, case.arrays())


SPECIAL = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 10**6), st.sampled_from([np.nan, np.inf, -np.inf])),
    min_size=1, max_size=4,
)  # fmt: skip


@pytest.mark.legs
@given(edge_cases(), variants.demands(), SPECIAL)
def test_nan_and_infinity_at_random_places(case, demand, special):
    x, weight, bias, g = case.arrays()
    for which, place, value in special:
        array = (x, weight, g)[which]
        if array.size:
            array.flat[place % array.size] = value
    with variants.demanded(**demand):
        assert_equal_to_reference(case, (x, weight, bias, g))


def small(x, weight, **options):
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **options}
    y = reference.conv_output_shape(x, weight, **{k: v for k, v in options.items() if k != "groups"})
    return ConvCase(x, weight, y, options, "NCHW", np.float32, 0)


# borders on all sides, cells between the rows, phases without a tap, taps without a pixel
PLACES = {
    "in place": small((2, 1, 3, 5), (2, 1, 2, 3)),
    "padded": small((1, 2, 3, 4), (2, 1, 3, 2), padding=((1, 2), (2, 1)), groups=2),
    "stride": small((1, 1, 5, 6), (2, 1, 3, 3), stride=2, padding=1),
    "stride larger than the kernel": small((1, 1, 5, 7), (1, 1, 2, 2), stride=3, padding=((1, 0), (0, 1))),
    "dilation": small((1, 1, 4, 5), (1, 1, 2, 2), stride=(1, 2), dilation=(2, 3), padding=2),
}


LAST = [dict(last=True, turned=True, sharded=False, unpadded=unpadded) for unpadded in (True, False)]


@pytest.mark.parametrize("demand", variants.every_demand() + LAST, ids=lambda d: "-".join(map(str, d.values())))
@pytest.mark.parametrize("name", PLACES)
def test_infinity_at_every_place(name, demand):
    """One at a time: where several meet, a wrong NaN may hide behind a right one."""
    case = channels_last(PLACES[name]) if "last" in demand else PLACES[name]
    with variants.demanded(**demand):
        for which in (0, 1, 3):
            for place in range(case.arrays()[which].size):
                arrays = case.arrays()
                arrays[which].flat[place] = np.inf
                # a zero that meets it is NaN in the reference too; without zeros only the engine's own could
                for other in (0, 1, 3):
                    arrays[other][arrays[other] == 0] = 2
                assert_equal_to_reference(case, arrays)


@pytest.mark.parametrize("options", [dict(stride=s, padding=p) for s in (1, 2) for p in (0, 1, ((2, 0), (0, 2)))])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_depthwise_with_one_special_value(options, value):
    """Each number in turn: a lane that holds no result may not bring another pixel into a sum."""
    rng = np.random.default_rng(3)
    for size in (5, 8):
        x, weight = (integers(rng, shape, np.float32) for shape in ((1, 8, 4, size), (8, 1, 3, 3)))
        g = integers(rng, reference.conv2d(x, weight, None, groups=8, **options).shape, np.float32)
        for array in (x, weight, g):
            for place in range(array.size * 2 // 8):  # of two channels
                kept, array.flat[place] = array.flat[place], value
                with np.errstate(all="ignore"):
                    wanted = reference.conv2d(x, weight, None, groups=8, **options)
                    gradients = reference.conv2d_backward(g, x, weight, groups=8, **options)
                assert_identical(fastconv.conv2d(x, weight, groups=8, **options), wanted)
                for a, b in zip(fastconv.conv2d_backward(g, x, weight, groups=8, **options), gradients):
                    assert_identical(a, b)
                array.flat[place] = kept


@given(edge_cases(), variants.demands(), SPECIAL)
def test_relu_in_the_convolution_keeps_nan(case, demand, special):
    """What a Sequential computes together: the lower bound of the sums must not swallow NaN."""
    x, weight, bias, _ = case.arrays()
    for which, place, value in special:
        array = (x, weight, x)[which]
        if array.size:
            array.flat[place % array.size] = value
    options = [case.options[name] for name in ("stride", "padding", "dilation", "groups")]
    with variants.demanded(**demand):
        found = fastconv.functional.conv.convolution(x, weight, bias, *options, case.layout, relu=True)
    with np.errstate(all="ignore"):
        assert_identical(found, reference.relu(reference.conv2d(x, weight, bias, *options, layout=case.layout)))


@given(pool_cases("max"), st.lists(st.tuples(st.booleans(), st.integers(0, 10**6)), max_size=6), st.integers(0, 2))
def test_max_pool_gradient_with_special_values(case, places, kind):
    x, g = case.arrays()
    value = (np.nan, np.inf, -np.inf)[kind]
    for in_x, place in places:
        array = x if in_x else g
        if array.size:
            array.flat[place % array.size] = value
    y, indices = fastconv.max_pool2d_with_indices(x, **case.keywords)
    expected, wanted = reference.max_pool2d_with_indices(x, **case.keywords)
    assert_identical(y, expected)
    assert_identical(indices, wanted)
    assert_identical(fastconv.max_pool2d(x, **case.keywords), expected)
    with np.errstate(all="ignore"):
        gradient = reference.max_pool2d_backward(g, indices, x.shape, layout=case.layout)
    assert_identical(fastconv.max_pool2d_backward(g, indices, x.shape, layout=case.layout), gradient)


@given(
    st.integers(0, 20), st.integers(1, 70), st.integers(1, 40), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1),
    SPECIAL,
)  # fmt: skip
def test_linear_with_special_values(N, IN, OUT, dtype, seed, special):
    rng = np.random.default_rng(seed)
    x, weight, g, bias = (integers(rng, shape, dtype) for shape in ((N, IN), (OUT, IN), (N, OUT), (OUT,)))
    for which, place, value in special:
        array = (x, weight, g)[which]
        if array.size:
            array.flat[place % array.size] = value
    with np.errstate(all="ignore"):
        expected = reference.linear(x, weight, bias)
        wanted = reference.linear_backward(g, x, weight)
    # NumPy sums the bias's gradient itself, and warns of inf - inf
    with np.errstate(invalid="ignore"):
        found = fastconv.linear_backward(g, x, weight)
    assert_identical(fastconv.linear(x, weight, bias), expected)
    for a, b in zip(found, wanted):
        assert_identical(a, np.ascontiguousarray(b))
