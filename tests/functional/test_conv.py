"""Convolution and its gradients: exact on whole numbers, adjoint, and within the stated bound on real ones."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import variants
from hypothesis import example, given
from hypothesis import strategies as st
from strategies import ConvCase, assert_identical, assert_same_bits, conv_cases, in_layout, inner, integers, real

import fastconv
from fastconv import reference
from fastconv._geometry.layout import UNPADDED
from fastconv._plans.forward import NEVER
from fastconv._plans.records import PACKED, PHASED, READ_IN_PLACE
from fastconv._runtime.host import HOST
from fastconv.kernels import depthwise
from fastconv.kernels.blocking import CHAIN
from fastconv.kernels.micro import gemm, plane_image, vectors

ALGORITHMS = ("auto", "direct", "im2col")


def case(x, weight, *, dtype=np.float32, seed=0, with_bias=True, **options):
    """A case in NCHW order with its output's shape."""
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, **options}
    plan = {name: value for name, value in options.items() if name != "groups"}
    return ConvCase(x, weight, reference.conv_output_shape(x, weight, **plan), options, "NCHW", dtype, seed, with_bias)


# The odd geometries that the promises name, so that each run has them whatever is drawn.
ODD = {
    "padding larger than the kernel": case((1, 2, 3, 3), (3, 2, 2, 2), padding=((5, 4), (7, 3))),
    "stride larger than the kernel": case((2, 1, 11, 12), (2, 1, 2, 2), stride=(5, 4)),
    "dilated kernel larger than the image": case((1, 1, 3, 3), (1, 1, 3, 3), dilation=4, padding=4),
    "right edge that no window reaches": case((1, 1, 8, 8), (1, 1, 3, 3), stride=4),
    "one row": case((1, 3, 1, 9), (2, 3, 1, 3), padding=((0, 0), (1, 1))),
    "one column": case((1, 3, 9, 1), (2, 3, 3, 1), padding=(1, 0)),
    "one pixel": case((1, 1, 1, 1), (1, 1, 1, 1)),
    "kernel as large as the padded input": case((2, 2, 3, 4), (3, 2, 5, 5), padding=((1, 1), (0, 1))),
    "even kernel, same": case((1, 1, 5, 5), (1, 1, 4, 2), padding="same"),
    "depthwise": case((1, 6, 6, 6), (12, 1, 3, 3), groups=6, padding=1),
    "empty batch": case((0, 2, 4, 4), (3, 2, 3, 3)),
}


def odd_examples(test):
    for one in ODD.values():
        test = example(one)(test)
    return test


@pytest.mark.legs
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@odd_examples
@given(conv_cases())
def test_forward_equals_reference(algorithm, case):
    x, weight, bias, _ = case.arrays()
    y = fastconv.conv2d(x, weight, bias, algorithm=algorithm, **case.keywords)
    assert_identical(y, reference.conv2d(x, weight, bias, **case.keywords))
    assert y.shape == case.output_shape


@pytest.mark.legs
@odd_examples
@given(conv_cases())
def test_gradients_equal_reference(case):
    x, weight, _, g = case.arrays()
    found = fastconv.conv2d_backward(g, x, weight, **case.keywords)
    for gradient, expected, like in zip(
        found, reference.conv2d_backward(g, x, weight, **case.keywords), (x, weight, np.empty(case.OC, x.dtype))
    ):
        assert_identical(gradient, expected)
        assert gradient.shape == like.shape


@pytest.mark.legs
@given(conv_cases())
def test_gradients_are_adjoint_exactly(case):
    x, weight, bias, g = case.arrays()
    y = fastconv.conv2d(x, weight, None, **case.keywords)
    grad_x, grad_weight, grad_bias = fastconv.conv2d_backward(g, x, weight, **case.keywords)
    assert inner(y, g) == inner(x, grad_x) == inner(weight, grad_weight)
    if bias is not None:
        with_bias = fastconv.conv2d(x, weight, bias, **case.keywords)
        assert inner(with_bias - y, g) == inner(bias, grad_bias)


@given(conv_cases())
def test_gradients_are_adjoint_on_real_data(case):
    x, weight, _, g = (None if a is None else a.astype(np.float64) for a in case.arrays(real))
    y = fastconv.conv2d(x, weight, None, **case.keywords)
    grad_x, grad_weight, _ = fastconv.conv2d_backward(g, x, weight, **case.keywords)
    # relative to the sum of the products' sizes: the inner product itself may cancel to nothing
    scale = inner(reference.conv2d(abs(x), abs(weight), None, **case.keywords), abs(g))
    assert abs(inner(y, g) - inner(x, grad_x)) <= 1e-12 * scale
    assert abs(inner(y, g) - inner(weight, grad_weight)) <= 1e-12 * scale


def assert_within_bound(actual, exact, magnitude, terms):
    """|error| <= (8 + 2 sqrt(n)) * eps/2 * sum |products| for each element."""
    bound = (8 + 2 * math.sqrt(terms)) * (np.finfo(actual.dtype).eps / 2) * magnitude
    assert (abs(actual - exact) <= bound).all()


@pytest.mark.parametrize("algorithm", ["direct", "im2col"])
@given(conv_cases())
def test_error_bound(algorithm, case):
    arrays = [None if a is None else a.astype(np.float32) for a in case.arrays(real)]
    x, weight, bias, g = arrays
    X, WEIGHT, BIAS, G = (None if a is None else a.astype(np.float64) for a in arrays)
    sizes = [None if a is None else abs(a) for a in (X, WEIGHT, BIAS, G)]
    taps = weight.size // case.OC
    y = fastconv.conv2d(x, weight, bias, algorithm=algorithm, **case.keywords)
    exact = reference.conv2d(X, WEIGHT, BIAS, **case.keywords)
    assert_within_bound(y, exact, reference.conv2d(*sizes[:3], **case.keywords), taps + 1)
    found = fastconv.conv2d_backward(g, x, weight, **case.keywords)
    exact = reference.conv2d_backward(G, X, WEIGHT, **case.keywords)
    magnitude = reference.conv2d_backward(sizes[3], sizes[0], sizes[1], **case.keywords)
    terms = (weight.size // case.options["groups"], g.size // case.OC, g.size // case.OC)
    for gradient, e, m, n in zip(found, exact, magnitude, terms):
        assert_within_bound(gradient, e, m, n)


def around(B, prime):
    """The sizes at which a loop in blocks of B may go wrong."""
    return sorted({1, max(B - 1, 1), B, B + 1, 2 * B - 1, 2 * B, 2 * B + 1, prime})


# outputs along a row: around one vector of 4, 8 and 16 lanes, and around a tile of them
LANES_AROUND = sorted({n for lanes in (2, 4, 8, 16) for n in around(lanes, 29)})
WIDTHS = sorted({n for lanes in (2, 4, 8, 16) for n in around(lanes * vectors.TILE_VECTORS, 61)} | set(LANES_AROUND))
# rows of a tile and what is left of them: 8, 6, 4, 2 and 1
ROWS = range(1, 2 * vectors.TILE_ROWS + 2)

BLOCKS = [
    # output channels: tiles and their remainders, tasks of `Blocks.channels`, also in groups
    *[case((1, 2, 3, 3), (n, 2, 2, 2)) for n in ROWS],
    *[case((1, 4, 3, 3), (2 * n, 2, 2, 2), groups=2, padding=1) for n in ROWS],
    *[case((2, 1, 3, 3), (n, 1, 2, 2)) for n in around(HOST.blocks.channels, 19)],
    *[case((1, 2, 3, 3), (2 * n, 1, 2, 2), groups=2) for n in around(HOST.blocks.channels, 37)],
    # input channels, the rows of the gradient of x
    *[case((1, n, 3, 4), (3, n, 2, 2), padding=1) for n in ROWS],
    *[case((1, n, 4, 4), (2, n, 2, 2), stride=2) for n in around(16, 11)],
    *[case((1, n, 2, 2), (2, n, 1, 1)) for n in around(HOST.blocks.channels, 37)],
    # terms of a sum: of the output, and of the gradient of x
    *[case((1, n, 2, 3), (3, n, 1, 1)) for n in around(gemm.TERM_BLOCK, 241)],
    *[case((1, 1, 3, n), (2, 1, 2, n), padding=((0, 0), (0, 1))) for n in around(gemm.TERM_BLOCK // 2, 83)],
    *[case((1, 2, 2, 3), (n, 2, 1, 1)) for n in around(gemm.TERM_BLOCK, 241)],
    *[case((1, 1, 3, 4), (n, 1, 2, 2), padding=1) for n in around(gemm.TERM_BLOCK // 4, 61)],
    # rows and columns of a channel's image, convolved as it is
    *[
        case((2, 8, rows, n + 2 - 2 * padding), (8, 1, 3, 3), padding=padding, stride=stride, groups=8)
        for n in (2, *around(vectors.LANES, 2 * vectors.LANES + 1), 2 * vectors.LANES + 2, 4 * vectors.LANES + 3)
        for rows, padding, stride in ((3, 1, 1), (4, 0, 1), (5, 1, 2), (9, 1, 1), (11, 0, 2))
    ],
    *[case((3, 8, n, 5), (8, 1, 3, 3), padding=((3, 1), (0, 4)), groups=8) for n in range(1, 2 * plane_image.ROWS + 2)],
    *[case((1, 8, n, 4), (8, 1, 3, 3), padding=1, groups=8) for n in around(CHAIN, 2 * CHAIN)],
    *[
        case((1, 1, n, 19), (1, 1, 3, 3), padding=((1, 0), (4, 5)), stride=2)
        for n in range(2, 2 * plane_image.ROWS + 2)
    ],
    # quadruples of taps, blocks of `Blocks.taps` of them
    *[case((1, n, 2, 3), (3, n, 1, 1)) for n in around(4, 13)],
    *[case((1, 1, 2, n), (2, 1, 1, n), padding=(0, 1)) for n in around(HOST.blocks.taps, 23)],
    *[case((1, n, 3, 2), (n, n, 2, 1), dilation=2, padding=(1, 0)) for n in around(HOST.blocks.taps, 37)],
    # where the gradient of the weights turns from dot products to the transposed gradient, and its blocks
    *[case((2, 12, 3, 3), (n, 12, 2, 2)) for n in around(HOST.limits.outer_channels, 17)],
    *[case((2, n, 2, 3), (16, n, 1, 1)) for n in around(HOST.limits.outer_terms, 67)],
    *[case((1, n, 4, 3), (48, n, 3, 1)) for n in around(HOST.blocks.outer_terms, 67)],
    *[case((2, 48, 2, 3), (n, 48, 1, 1)) for n in around(HOST.blocks.outer_channels, 113)],
    *[case((1, 26, 4, 3), (2 * n, 13, 2, 2), groups=2) for n in around(HOST.blocks.outer_channels, 67)],
    *[case((1, 12, 1, n + 1), (13, 12, 2, 2), padding=((1, 0), (0, 0))) for n in around(HOST.blocks.pixels, 769)],
    # rows of dot products, cells summed at once, runs of small images
    *[case((2, 2, 4, 5), (n, 2, 2, 3)) for n in range(1, 2 * vectors.DOT_ROWS + 2)],
    *[case((1, 1, 1, n), (1, 1, 1, 1)) for n in around(HOST.blocks.dot_cells, 613)],
    *[case((n, 1, 4, 8), (2, 1, 1, 1)) for n in around(HOST.blocks.dot_cells // 32, 37)],
    *[case((2, 1, n + 1, 35), (2, 1, 2, 4)) for n in around(HOST.blocks.dot_cells // 32, 37)],
    # pixels along the wide row: in one row, in rows that end inside a block, in phases, with a kernel of one pixel
    *[case((1, 1, 1, n + 2), (3, 1, 1, 3)) for n in around(HOST.blocks.pixels, 1021)],
    *[case((2, 2, 3, n + 1), (2, 2, 2, 2)) for n in around(HOST.blocks.pixels // 2, 251)],
    *[case((1, 2, n, 17), (2, 2, 3, 3), padding=1) for n in around(HOST.blocks.pixels // 19, 29)],
    *[case((1, 1, 2, 2 * n), (2, 1, 2, 3), stride=2, padding=((0, 0), (0, 1))) for n in around(512, 601)],
    *[case((2, 2, 4, n + 2), (2, 2, 2, 3)) for n in around(HOST.blocks.workspace, 211)],
    *[case((1, 1, 8, n), (2, 1, 3, 4)) for n in around(HOST.blocks.workspace // 8, 29) if n > 3],
    # blocks of packed weights: output channels, terms, pixels of one image and of several
    *[case((1, 2, 3, 3), (n, 2, 2, 2)) for n in around(vectors.TILE_VECTORS * vectors.LANES, 67)],
    *[case((1, 1, 3, n), (2, 1, 2, n), padding=((0, 0), (0, 1))) for n in around(HOST.blocks.packed_terms // 2, 71)],
    *[case((1, 1, 2, n + 1), (2, 1, 2, 2)) for n in around(HOST.blocks.packed_pixels, 1607)],
    *[case((n, 1, 3, 41), (2, 1, 2, 2)) for n in around(HOST.blocks.packed_pixels // 80, 23)],
    *[case((1, 1, 2, n + 1), (2, 1, 2, 2)) for n in around(HOST.blocks.ready_pixels, 811)],
    # input channels of a tap, with borders whose pixels it does not reach
    *[case((2, n, 3, 4), (2, n, 3, 2), padding=1) for n in around(HOST.blocks.packed_terms, 131)],
    # depthwise: vectors of channels, pixels and rows of one task, borders that overlap
    *[case((2, n, 3, 6), (n, 1, 3, 2), padding=1, groups=n) for n in around(4 * vectors.LANES, 67)],
    *[case((1, n, 3, 4), (n, 1, 2, 2), stride=2, groups=n) for n in LANES_AROUND],
    *[case((1, 8, 4, n + 1), (8, 1, 2, 2), groups=8) for n in around(depthwise.GRADIENT_PIXELS, 37)],
    *[case((2, 8, n, 3), (8, 1, 3, 1), padding=(1, 0), groups=8) for n in around(depthwise.TASK_ROWS, 11)],
    case((1, 8, 2, 3), (8, 1, 5, 5), padding=4, groups=8),
    case((1, 8, 6, 7), (8, 1, 2, 3), padding=((3, 1), (0, 5)), dilation=(3, 2), stride=(2, 3), groups=8),
    # images from which each thread takes whole images, and of which there are shares
    *[case((n, 2, 4, 5), (3, 2, 3, 3), padding=1) for n in around(HOST.limits.images, 11)],
    *[case((n, 1, 3, 4), (2, 1, 2, 3), padding=1, stride=2) for n in around(HOST.blocks.shares, 67)],
    # vectors and tiles: straight, row by row, in the scratch, in phases
    *[case((1, 3, 2, n), (3, 3, 1, 1)) for n in WIDTHS],
    *[case((1, 2, 2, n + 2), (3, 2, 2, 3)) for n in WIDTHS],
    *[case((1, 2, 3, 2 * n), (3, 2, 2, 3), stride=2, padding=((0, 0), (1, 0))) for n in LANES_AROUND],
    *[case((1, 2, 3, 3 * n), (3, 2, 2, 3), stride=(1, 3)) for n in LANES_AROUND],
    *[case((1, 2, 3, 4 * n), (3, 2, 2, 3), stride=(2, 4)) for n in LANES_AROUND],
]
# one small case for each way of computing that the lists above do not reach
WAYS = [
    # more weights than are summed in shards, in place and padded
    case((2, 520, 1, 2), (128, 520, 1, 1)),
    case((1, 58, 3, 3), (128, 58, 3, 3), padding=1),
    # packed weights: padded and in place, forward and for the gradient of x
    case((2, 58, 8, 8), (96, 58, 3, 3), padding=1),
    case((2, 58, 10, 10), (96, 58, 3, 3)),
    case((2, 96, 8, 8), (58, 96, 3, 3), padding=1),
    case((2, 96, 8, 8), (58, 96, 3, 3), padding=2),
    case((2, 13, 19, 20), (64, 13, 5, 5), stride=2),
    # groups that split their own planes for the gradient of the weights
    case((2, 8, 5, 6), (16, 1, 3, 3), padding=1, groups=8),
    case((1, 16, 9, 8), (8, 2, 2, 3), padding=1, stride=2, groups=8),
    # small planes of several images together
    *[case((n, 3, 4, 4), (5, 3, 1, 1)) for n in around(HOST.blocks.together // 16, 67)[:4]],
    case((1, 1, 5, 40), (1, 1, 3, 2)),
    case((1, 2, 16, 5), (1, 2, 3, 4)),
    case((1, 2, 16, 5), (1, 2, 3, 4), padding=(2, 3)),
    case((1, 2, 16, 5), (1, 2, 3, 4), padding=((0, 1), (0, 0))),
    case((1, 1, 16, 5), (1, 1, 3, 4), stride=2),
    case((1, 5, 5, 1), (1, 5, 3, 2), stride=3, padding=((2, 2), (0, 1))),
    case((8, 1, 16, 5), (1, 1, 2, 1), stride=3),
    case((8, 2, 16, 1), (2, 1, 3, 2), stride=3, padding=((1, 1), (0, 2)), groups=2),
    case((9, 2, 5, 1), (2, 2, 5, 3), padding=((0, 1), (1, 2))),
    case((9, 1, 1, 5), (12, 1, 1, 3), padding=((2, 1), (2, 0))),
    case((9, 2, 16, 1), (4, 1, 3, 3), padding=2, groups=2),
    case((1, 1, 5, 5), (12, 1, 1, 3), padding=((0, 0), (1, 2))),
    case((8, 1, 16, 1), (3, 1, 2, 1)),
    case((1, 2, 5, 1), (32, 1, 5, 1), groups=2),
    case((2, 1, 1, 17), (3, 1, 1, 5), stride=2, padding=((0, 1), (0, 0))),
    case((1, 1, 1, 17), (12, 1, 1, 1)),
    case((2, 4, 1, 1), (2, 4, 3, 1), stride=2, padding=((1, 1), (1, 2))),
    case((1, 3, 40, 1), (1, 3, 1, 3), padding=((1, 0), (1, 1))),
    case((1, 4, 1, 17), (2, 2, 1, 2), stride=3, padding=((1, 0), (0, 2)), groups=2),
]


def assert_equals_reference(case, algorithms=("direct",)):
    x, weight, bias, g = case.arrays()
    expected = reference.conv2d(x, weight, bias, **case.keywords)
    for algorithm in algorithms:
        assert_identical(fastconv.conv2d(x, weight, bias, algorithm=algorithm, **case.keywords), expected)
    found = fastconv.conv2d_backward(g, x, weight, **case.keywords)
    for gradient, wanted in zip(found, reference.conv2d_backward(g, x, weight, **case.keywords)):
        assert_identical(gradient, wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", BLOCKS + WAYS, ids=lambda c: f"{c.x_shape}*{c.weight_shape}")
def test_around_block_sizes(case, dtype):
    assert_equals_reference(dataclasses.replace(case, dtype=dtype), ("direct", "im2col"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("demand", variants.every_demand(), ids=lambda d: "-".join(map(str, d.values())))
def test_every_variant_around_block_sizes(demand, dtype):
    with variants.demanded(**demand):
        for case in BLOCKS + WAYS:
            assert_equals_reference(dataclasses.replace(case, dtype=dtype))


def last(case):
    """The case with channels last."""
    shapes = case.x_shape, case.weight_shape, case.output_shape
    x, weight, output = ((N, H, W, C) for N, C, H, W in shapes)
    return dataclasses.replace(case, x_shape=x, weight_shape=weight, output_shape=output, layout="NHWC")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("unpadded", [True, False])
@pytest.mark.parametrize("stays", [True, False])
def test_channels_last_around_block_sizes(stays, unpadded, dtype):
    with variants.demanded(last=stays, turned=stays, sharded=stays and not unpadded, unpadded=unpadded, ready=unpadded):
        for case in BLOCKS + WAYS:
            assert_equals_reference(dataclasses.replace(last(case), dtype=dtype))


def test_channels_last_stay_or_are_moved():
    """A demand that does nothing would let the tests of one way pass with the other."""
    for one in (case((2, 16, 5, 5), (16, 16, 3, 3), padding=1), case((2, 3, 5, 5), (3, 1, 3, 3), groups=3)):
        x, weight, _, g = last(one).arrays()
        for stays in (True, False):
            with (
                variants.demanded(last=stays, turned=stays and one.options["groups"] == 1),
                variants.carried_out() as done,
            ):
                fastconv.conv2d(x, weight, None, **last(one).keywords)
                fastconv.conv2d_backward(g, x, weight, **last(one).keywords)
            # what sums shards transposes its sums, which are no images
            moved = [a for ran in done for a in ran.arguments if ran.plan.moved]
            assert len(done) == 3 and bool(moved) != stays
            assert all("transposed" in ran.kernels for ran in done if ran.plan.moved)


@pytest.mark.parametrize("unpadded", [True, False])
def test_channels_last_are_read_in_place_where_demanded(unpadded):
    one = last(case((2, 16, 5, 5), (16, 16, 3, 3), padding=1))
    x, weight, _, g = one.arrays()
    with variants.demanded(last=True, turned=True, unpadded=unpadded), variants.recorded() as seen:
        fastconv.conv2d_backward(g, x, weight, **one.keywords)
    assert ("weight: in place" in seen) == unpadded


def test_every_variant_occurs_among_the_cases():
    """Without a demand, so that what is tested here is also what users get."""
    with variants.recorded() as seen:
        for case in BLOCKS + WAYS:
            x, weight, bias, g = case.arrays()
            fastconv.conv2d(x, weight, bias, **case.keywords)
            fastconv.conv2d_backward(g, x, weight, **case.keywords)
    assert seen == variants.EVERY


def test_demands_are_met():
    """A demand that does nothing would let the tests of a variant pass without it."""
    x, weight, _, g = case((2, 3, 9, 9), (4, 3, 3, 3), padding=1).arrays()
    for layout, gathers, shared, turned in itertools.product(variants.LAYOUTS, *[(True, False)] * 3):
        demand = {"layout": layout, "packed": False, "gathers": gathers, "shared": shared, "turned": turned}
        with variants.demanded(**demand), variants.recorded() as seen:
            fastconv.conv2d(x, weight)
            fastconv.conv2d(x, weight, padding=1)
            fastconv.conv2d_backward(g, x, weight, padding=1)
        way = {"unrolled": "unrolled, straight", "by rows": "split, by rows", "wide": "split, scratch"}[layout]
        assert f"forward: {way}{', shared' if shared else ''}" in seen
        assert any(name.startswith("gathered") for name in seen) == gathers
        assert any(name.startswith("scattered") for name in seen) != gathers
        assert any(name.startswith("weight: turned") for name in seen) == turned
        assert any(name.startswith("weight: dotted") for name in seen) != turned
    with variants.demanded(packed=True, gathers=True), variants.recorded() as seen:
        fastconv.conv2d(x, weight)
        fastconv.conv2d_backward(g, x, weight, padding=1)
    assert seen >= {"forward: in place, packed", "gathered: split, packed"}


@given(conv_cases(), st.tuples(st.booleans(), st.booleans(), st.booleans()))
def test_needs_chooses_gradients(case, needs):
    x, weight, _, g = case.arrays()
    everything = fastconv.conv2d_backward(g, x, weight, **case.keywords)
    for wanted, gradient, expected in zip(
        needs, fastconv.conv2d_backward(g, x, weight, needs=needs, **case.keywords), everything
    ):
        if wanted:
            assert_same_bits(gradient, expected)
        else:
            assert gradient is None


@given(conv_cases(layouts=("NCHW",)))
def test_output_shape(case):
    plan = {name: value for name, value in case.options.items() if name != "groups"}
    x = case.x_shape if len(case.x_shape) == 4 else (1, *case.x_shape)
    shape = fastconv.conv_output_shape(x, case.weight_shape, **plan)
    assert shape == reference.conv_output_shape(x, case.weight_shape, **plan)
    assert shape[-3:] == case.output_shape[-3:]


@given(conv_cases(layouts=("NHWC",)))
def test_nhwc_is_nchw_moved(case):
    x, weight, bias, _ = case.arrays()
    y = fastconv.conv2d(x, weight, bias, **case.keywords)
    moved = fastconv.conv2d(np.moveaxis(x, -1, -3), np.moveaxis(weight, -1, -3), bias, **case.options)
    assert_same_bits(y, np.ascontiguousarray(np.moveaxis(moved, -3, -1)))


def test_against_a_sum_written_out():
    """The judge judged: one convolution as its formula says, with nothing shared with `reference`."""
    rng = np.random.default_rng(0)
    x, weight, bias = (integers(rng, s, np.float64) for s in ((2, 4, 7, 6), (6, 2, 3, 2), (6,)))
    (sy, sx), (dy, dx), (top, left) = (2, 1), (1, 2), (1, 2)
    y = np.zeros((2, 6, 4, 8))
    for n, oc, oy, ox in np.ndindex(y.shape):
        total = bias[oc]
        for c, ky, kx in np.ndindex(2, 3, 2):
            iy, ix = oy * sy + ky * dy - top, ox * sx + kx * dx - left
            if 0 <= iy < 7 and 0 <= ix < 6:
                total += weight[oc, c, ky, kx] * x[n, 2 * (oc // 3) + c, iy, ix]
        y[n, oc, oy, ox] = total
    for algorithm in ALGORITHMS:
        assert_identical(fastconv.conv2d(x, weight, bias, (2, 1), (1, 2), (1, 2), 2, algorithm=algorithm), y)
    assert_identical(reference.conv2d(x, weight, bias, (2, 1), (1, 2), (1, 2), 2), y)


def test_numpy_backend_gives_the_same():
    case = ODD["padding larger than the kernel"]
    x, weight, bias, g = case.arrays()
    y = fastconv.conv2d(x, weight, bias, **case.keywords)
    gradients = fastconv.conv2d_backward(g, x, weight, **case.keywords)
    with fastconv.use_backend("numpy"):
        assert_identical(fastconv.conv2d(x, weight, bias, **case.keywords), y)
        for a, b in zip(fastconv.conv2d_backward(g, x, weight, **case.keywords), gradients):
            assert_identical(a, b)


def test_phases_are_read_with_their_padding_where_one_convolution_would_leave_it_out(monkeypatch):
    monkeypatch.setattr("fastconv.functional.conv.winograd", lambda: NEVER)  # which computes the one convolution else
    rng = np.random.default_rng(0)
    x, weight = integers(rng, (2, 64, 30, 31), np.float32), integers(rng, (96, 64, 3, 3), np.float32)
    y = fastconv.conv2d(x, weight, stride=2, padding=2, dilation=2)
    g = integers(rng, y.shape, np.float32)
    with variants.carried_out() as done:
        found = fastconv.conv2d_backward(g, x, weight, 2, 2, 2, needs=(True, False, False))[0]
    plan = done[0].plan
    assert (plan.algorithm, plan.product.algorithm, plan.product.layout.kind) == (PHASED, PACKED, UNPADDED)
    variants.assert_as_planned(done[0])
    assert_identical(found, reference.conv2d_backward(g, x, weight, 2, 2, 2)[0])


@pytest.mark.parametrize("image", [(1, 1, 1), (1, 3, 5), (2, 9, 40), (5, 17, 23), (1, 100, 9)])
@pytest.mark.parametrize(("C", "OC", "groups", "stride"), [(48, 96, 1, 1), (53, 107, 1, 2), (96, 200, 2, 1)])
def test_one_tap_is_summed_in_place_in_shards(image, C, OC, groups, stride):
    N, H, W = image
    rng, options = np.random.default_rng(0), (stride, 0, 1, groups)
    x, weight = integers(rng, (N, C, H, W), np.float32), integers(rng, (OC, C // groups, 1, 1), np.float32)
    g = integers(rng, reference.conv2d(x, weight, None, *options).shape, np.float32)
    expected = reference.conv2d_backward(g, x, weight, *options)[1]
    arrays, found = [in_layout(a, "NHWC") for a in (g, x, weight)], []
    with variants.demanded(unpadded=True):
        for threads in (1, 2):
            with variants.carried_out() as done, fastconv.num_threads(threads):
                needs = False, True, False
                found.append(fastconv.conv2d_backward(*arrays, *options, layout="NHWC", needs=needs)[1])
            variants.assert_as_planned(done[0])
            in_place = C // groups <= HOST.widest * HOST.vector_bytes // 4  # in registers
            assert (done[0].plan.algorithm == READ_IN_PLACE) == in_place
        arrays[0].reshape(-1)[-1] = np.inf  # each shard tells whether its own part is finite
        infinite = fastconv.conv2d_backward(*arrays, *options, layout="NHWC", needs=needs)[1]
    for one in found:
        assert_identical(one, in_layout(expected, "NHWC"))
    with np.errstate(invalid="ignore"):
        own = reference.conv2d_backward(np.moveaxis(arrays[0], -1, 1), x, weight, *options)[1]
    np.testing.assert_array_equal(infinite, in_layout(own, "NHWC"))
