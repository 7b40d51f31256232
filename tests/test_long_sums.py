"""Sums of one sign: the error bound of random data holds for constant and increasing data as well.

Each addition of a constant rounds the same way, so a plain float32 sum drifts by up to a quarter of its terms in units
of the last place; of 2^24 ones it ends. Random data cannot show that.
"""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import nn

PAIRS = ((0.1, 1.0),)  # more constants are drawn by the hunt `fuzzing.constants`


def assert_within(found, terms, a, b=1.0, start=0.0):
    """Every element is start + the sum of `terms` products a * b, to the bound that is promised."""
    a, b = float(np.float32(a)), float(np.float32(b))
    bound = (8 + 2 * np.sqrt(terms)) * 2.0**-24 * terms * abs(a * b)
    error = np.abs(np.asarray(found, np.float64) - start - terms * a * b).max()
    assert error <= bound, f"{error / bound:.2f} times the bound of {terms:,} terms of {a:.3g} * {b:.3g}"


def full(shape, value):
    return np.full(shape, value, np.float32)


def last(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


# (C, KH, KW), (OC, more rows of pixels): 120 to 2^20 terms
KERNELS = [
    ((5, 5, 5), 3, 20), ((6, 5, 5), 16, 9), ((8, 5, 5), 40, 2), ((128, 3, 3), 96, 12), ((64, 8, 8), 2, 3),
    ((4, 128, 128), 1, 1), ((16, 256, 256), 1, 1),
]  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("kernel, OC, more", KERNELS, ids=lambda v: str(v))
def test_convolution(kernel, OC, more, pair):
    C, KH, KW = kernel
    a, b = pair
    x, weight = full((2, C, KH + more, KW + 3), a), full((OC, *kernel), b)
    n = C * KH * KW
    assert_within(fastconv.conv2d(x, weight), n, a, b)
    assert_within(fastconv.conv2d(x, weight, algorithm="im2col"), n, a, b)
    assert_within(fastconv.conv2d(last(x), last(weight), layout="NHWC"), n, a, b)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize(
    "OC, kernel, stride", [(130, 3, 1), (40, 9, 1), (40, 9, 2), (3, 40, 1), (150, 12, 12), (2, 64, 5)]
)
def test_input_gradient(OC, kernel, stride, pair):
    """In the middle, where all taps reach a pixel."""
    a, b = pair
    size = 2 * kernel + stride
    weight, x = full((OC, 2, kernel, kernel), b), full((1, 2, size, size), 1)
    g = full(fastconv.conv2d(x, weight, None, stride).shape, a)
    ones = np.ones((1, 1, size, size))
    counts = fastconv.conv2d_backward(
        np.ones((1, 1, *g.shape[2:])), ones, np.ones((1, 1, kernel, kernel)), stride, needs=(True, False, False)
    )[0]
    for layout in ("NCHW", "NHWC"):
        arrays = (g, x, weight) if layout == "NCHW" else map(last, (g, x, weight))
        grad = fastconv.conv2d_backward(*arrays, stride, layout=layout, needs=(True, False, False))[0]
        grad = grad if layout == "NCHW" else grad.transpose(0, 3, 1, 2)
        for count in np.unique(counts):
            assert_within(grad[0][:, counts[0, 0] == count], int(count) * OC, a, b)


# N, (OH, OW), C, OC, kernel: dot products, transposed, with channels last, grouped; few pixels of many images, and many
GRADIENTS = [
    (3, (14, 14), 6, 16, 3), (2, (256, 256), 1, 3, 3), (600, (1, 1), 3, 20, 4), (600, (1, 1), 3, 4, 4),
    (5000, (1, 2), 2, 2, 3), (3000, (2, 2), 4, 16, 4), (2, (320, 320), 4, 16, 4), (9, (40, 40), 48, 16, 3),
    (700, (3, 3), 48, 12, 3), (1, (1024, 1024), 1, 1, 1), (20000, (1, 1), 8, 1, 2), (20000, (1, 1), 12, 12, 2),
]  # fmt: skip


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("N, out, C, OC, kernel", GRADIENTS, ids=lambda v: str(v))
def test_gradients_of_weights_and_bias(N, out, C, OC, kernel, pair):
    a, b = pair
    x, g = full((N, C, out[0] + kernel - 1, out[1] + kernel - 1), a), full((N, OC, *out), b)
    weight = full((OC, C, kernel, kernel), 1)
    n = N * out[0] * out[1]
    for layout in ("NCHW", "NHWC"):
        arrays = (g, x, weight) if layout == "NCHW" else map(last, (g, x, weight))
        _, grad, grad_bias = fastconv.conv2d_backward(*arrays, layout=layout, needs=(False, True, True))
        assert_within(grad, n, a, b)
        assert_within(grad_bias, n, b)


@pytest.mark.parametrize("pair", PAIRS)
def test_weight_gradient_in_shards_and_in_blocks(pair):
    a, b = pair
    for N, out, C, OC in ((40, 12, 130, 70), (600, 1, 130, 70)):  # more than 2^16 weights, and 81,900
        x, g = full((N, C, out + 2, out + 2), a), full((N, OC, out, out), b)
        grad = fastconv.conv2d_backward(g, x, full((OC, C, 3, 3), 1), needs=(False, True, False))[1]
        assert_within(grad, N * out * out, a, b)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("pair", PAIRS)
def test_depthwise(pair, layout):
    a, b = pair
    order = last if layout == "NHWC" else np.array
    for kernel, out, N in ((11, 9, 2), (64, 3, 1), (3, 150, 4), (3, 1, 20000)):
        x, weight = full((N, 16, out + kernel - 1, out + kernel - 1), a), full((16, 1, kernel, kernel), b)
        y = fastconv.conv2d(order(x), order(weight), groups=16, layout=layout)
        assert_within(y, kernel * kernel, a, b)
        g = full((N, 16, out, out), b)
        grads = fastconv.conv2d_backward(order(g), order(x), order(weight), groups=16, layout=layout)
        assert_within(grads[1], N * out * out, a, b)
        assert_within(grads[2], N * out * out, b)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("n", [130, 5000, 2**18, 2**20])
def test_linear(n, pair):
    a, b = pair
    x, weight = full((3, n), a), full((5, n), b)
    assert_within(fastconv.linear(x, weight), n, a, b)
    grad_x = fastconv.linear_backward(full((2, n), a), full((2, 6), 1), full((n, 6), b))[0]
    assert_within(grad_x, n, a, b)
    _, grad, grad_bias = fastconv.linear_backward(full((n, 3), a), full((n, 5), b), full((3, 5), 1))
    assert_within(grad, n, a, b)
    assert_within(grad_bias, n, a)


@pytest.mark.parametrize("pair", PAIRS)
def test_correlate2d_and_conv_transpose2d(pair):
    a, b = pair
    assert_within(fastconv.correlate2d(full((300, 300), a), full((256, 256), b)), 2**16, a, b)
    assert_within(fastconv.conv_transpose2d(full((1, 5000, 2, 2), a), full((5000, 3, 1, 1), b)), 5000, a, b)


@pytest.mark.parametrize("window", [(2, 2), (11, 11), (15, 40), (1, 3000), (3000, 1), (700, 700)])
def test_average_pooling(window):
    shape = tuple(side + 5 for side in window)
    for value in (0.1, 0.7, 1.0, 1 / 3):
        n = window[0] * window[1]
        for stride in (1, 3):
            y = fastconv.avg_pool2d(full((1, 1, *shape), value), window, stride)
            assert_within(y * np.float64(n), n, value)


@pytest.mark.parametrize("window", [(3, 3), (15, 40), (1, 900), (900, 1)])
def test_gradient_of_average_pooling(window):
    shape = tuple(2 * side + 3 for side in window)
    out = tuple(size - side + 1 for size, side in zip(shape, window))
    counts = fastconv.avg_pool2d_backward(np.ones((1, 1, *out)), (1, 1, *shape), window, 1, divisor_override=1)
    grad = fastconv.avg_pool2d_backward(full((1, 1, *out), 0.7), (1, 1, *shape), window, 1, divisor_override=1)
    for count in np.unique(counts):
        assert_within(grad[counts == count], int(count), 0.7)


@pytest.mark.parametrize("pool", [None, nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AvgPool2d(60), nn.MaxPool2d(60)])
@pytest.mark.parametrize("OC, kernel, padding", [(4, 3, 1), (6, 5, 2), (8, 13, 6), (1, 1, 0)])
def test_networks(pool, OC, kernel, padding):
    """A convolution that is fused with its activation and pooling equals the layers one by one, on constant data."""
    layers = [nn.Conv2d(2, OC, kernel, padding=padding, rng=0), nn.ReLU(), *([] if pool is None else [pool])]
    layers[0].weight.value[...] = 0.3
    model, exact = nn.Sequential(*layers), nn.Sequential(*layers)
    for N in (3, 40):
        x = full((N, 2, 60, 60), 0.7)
        y, backward = model.forward(x)
        g = full(y.shape, 0.1)
        grad_x = backward(g)
        found = [p.grad.copy() for p in model.parameters()]
        for parameter in model.parameters():
            parameter.zero_grad()
        with fastconv.use_backend("numpy"):
            double = nn.Sequential(*[_double(layer) for layer in exact])
            expected_y, expected_backward = double.forward(x.astype(np.float64))
            expected_x = expected_backward(g.astype(np.float64))
        terms = 2 * kernel * kernel
        np.testing.assert_allclose(y, expected_y, rtol=(16 + 4 * np.sqrt(terms)) * 2.0**-24)
        assert_close(grad_x, expected_x, OC * kernel * kernel)
        for a, b in zip(found, [p.grad for p in double.parameters()]):
            assert_close(a, b, g.size // OC)


def assert_close(found, expected, terms):
    np.testing.assert_allclose(found, expected, rtol=(16 + 4 * np.sqrt(terms)) * 2.0**-24, atol=1e-12)


def _double(layer):
    if not isinstance(layer, nn.Conv2d):
        return layer
    stride, padding, dilation, groups = layer.options
    OC, C, KH, KW = layer.weight.value.shape
    copy = nn.Conv2d(C, OC, (KH, KW), stride, padding, dilation, groups, dtype=np.float64)
    copy.weight.value[...] = layer.weight.value
    copy.bias.value[...] = layer.bias.value
    return copy


def test_many_classes():
    logits = full((1, 2**20), 0.1)
    assert abs(fastconv.softmax(logits).sum(dtype=np.float64) - 1) < 1e-5
    loss, _ = fastconv.cross_entropy(logits, np.zeros(1, np.int64))
    assert abs(loss - np.log(2.0**20)) < 1e-5


def test_a_sum_of_more_ones_than_float32_counts():
    assert fastconv.avg_pool2d(full((1, 1, 5000, 5000), 1), 5000).item() == 1
    assert fastconv.conv2d(full((1, 1, 4200, 4200), 1), full((1, 1, 4200, 4200), 1)).item() == 4200 * 4200
