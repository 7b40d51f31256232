"""Layers computed together give the same bits as one by one: results, gradients of the input and of the parameters."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import assert_same_bits, real

import fastconv
from fastconv import nn
from fastconv.nn.fused import interleaved
from fastconv.nn.fused.pairs import Fused, fused


@pytest.fixture(autouse=True)
def no_images_side_by_side(monkeypatch):
    """That comes before fusion, where there are enough of them."""
    monkeypatch.setattr(interleaved, "LEAST_IMAGES", 2**31)


class Doubled(nn.Layer):
    """A user's own layer."""

    def __call__(self, x):
        return 2 * x

    def forward(self, x):
        return 2 * x, lambda grad_y: 2 * grad_y

    def output_shape(self, input_shape):
        return input_shape


class Negated(nn.Conv2d):
    """A convolution that a fused one may not replace."""

    def __call__(self, x):
        return -super().__call__(x)

    def forward(self, x):
        y, backward = super().forward(x)  # which calls the layer
        return y, lambda grad_y: backward(-grad_y)


class ClippedReLU(nn.ReLU):
    """A ReLU that a fused one may not replace."""

    def __call__(self, x):
        return np.minimum(super().__call__(x), 1)

    def forward(self, x):
        y = self(x)
        return y, lambda grad_y: np.where((y > 0) & (y < 1), grad_y, 0).astype(grad_y.dtype)


def conv(C=3, OC=5, **options):
    return nn.Conv2d(C, OC, 3, **options)


IMAGES, ROWS = (9, 3, 11, 13), (9, 70)
NETS = {
    "convolution": (lambda: [conv()], IMAGES, 1),
    "convolution, ReLU": (lambda: [conv(padding=1), nn.ReLU()], IMAGES, 1),
    "convolution, ReLU, pool": (lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2)], IMAGES, 1),
    "overlapping pools": (lambda: [conv(), nn.ReLU(), nn.MaxPool2d(3, 1)], IMAGES, 1),
    "overlapping, padded pools": (lambda: [conv(), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], IMAGES, 1),
    "ceil_mode and dilation": (lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2, 3, 0, 2, True)], IMAGES, 1),
    "stride, groups, dilation": (
        lambda: [nn.Conv2d(3, 6, (2, 3), 2, ((1, 0), (2, 1)), (1, 2), 3, bias=False), nn.ReLU(), nn.MaxPool2d(2)],
        IMAGES, 1,
    ),
    "pool without ReLU": (lambda: [conv(), nn.MaxPool2d(2)], IMAGES, 2),
    "two ReLUs": (lambda: [conv(), nn.ReLU(), nn.ReLU()], IMAGES, 2),
    "ReLU after the pool": (lambda: [conv(), nn.MaxPool2d(2), nn.ReLU()], IMAGES, 3),
    "two convolutions": (
        lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2), conv(5, 4, padding=1), nn.ReLU(), nn.MaxPool2d(2)], IMAGES, 2,
    ),
    "linear layers": (lambda: [nn.Linear(70, 33), nn.ReLU(), nn.Linear(33, 5)], ROWS, 2),
    "linear without bias": (lambda: [nn.Linear(70, 33, bias=False), nn.ReLU()], ROWS, 1),
    "everything": (
        lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(100, 7), nn.ReLU()], IMAGES, 3,
    ),
    "own layer in between": (lambda: [conv(), Doubled(), nn.ReLU(), nn.MaxPool2d(2)], IMAGES, 4),
    "own layer before the pool": (lambda: [conv(), nn.ReLU(), Doubled(), nn.MaxPool2d(2)], IMAGES, 3),
    "subclass of Conv2d": (lambda: [Negated(3, 5, 3), nn.ReLU(), nn.MaxPool2d(2)], IMAGES, 3),
    "subclass of ReLU": (lambda: [conv(), ClippedReLU(), nn.MaxPool2d(2)], IMAGES, 3),
    "nested": (lambda: [nn.Sequential(conv(), nn.ReLU()), nn.MaxPool2d(2)], IMAGES, 2),
}  # fmt: skip


def one_by_one(layers, x, g):
    """The result and the gradient of x, layer by layer as a reader would write it."""
    backwards = []
    for layer in layers:
        x, backward = layer.forward(x)
        backwards.append(backward)
    y = x
    for backward in reversed(backwards):
        g = backward(g)
    return y, g


def assert_same_as_one_by_one(net, x, g):
    parameters = net.parameters()
    net.zero_grad()
    y, grad_x = one_by_one(net.layers, x, g)
    expected = [y, grad_x, *[p.grad.copy() for p in parameters]]
    for forward in (net.forward, net.forward_from_data):
        net.zero_grad()
        y, backward = forward(x)
        grad_x = backward(g)
        assert_same_bits(y, expected[0])
        if grad_x is not None:
            assert_same_bits(grad_x, expected[1])
        for p, grad in zip(parameters, expected[2:]):
            assert_same_bits(p.grad, grad)
    for step in fused(net.layers):
        x = step(x)
    assert_same_bits(x, expected[0])


def prepared(make, shape, dtype, special=()):
    net = nn.Sequential(*make())
    rng = np.random.default_rng(5)
    for p in net.parameters():
        p.value = real(rng, p.value.shape, dtype)
        p.grad = np.zeros(p.value.shape, dtype)
    x = real(rng, shape, dtype)
    x.flat[: len(special)] = special
    return net, x, real(rng, net.output_shape(shape), dtype)


@pytest.mark.parametrize("special", [(), (np.nan,), (np.inf, 1, -np.inf)], ids=["finite", "NaN", "infinite"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NETS)
def test_same_bits_as_one_by_one(name, dtype, special):
    make, shape, steps = NETS[name]
    net, x, g = prepared(make, shape, dtype, special)
    assert len(fused(net.layers)) == steps  # what is fused, and what is not
    with np.errstate(all="ignore"):
        assert_same_as_one_by_one(net, x, g)


def test_relu_with_nan_everywhere():
    net, x, g = prepared(NETS["overlapping pools"][0], IMAGES, np.float32)
    net[0].weight.value[...] = np.nan
    with np.errstate(all="ignore"):
        assert_same_as_one_by_one(net, x, g)
        assert np.isnan(net(x)).all()


def test_zeros_of_the_relu_keep_no_gradient():
    """Where all of a window is cut off, its maximum is a zero that the ReLU made."""
    net, x, g = prepared(NETS["convolution, ReLU, pool"][0], IMAGES, np.float32)
    net[0].bias.value[...] = -1e4
    assert_same_as_one_by_one(net, x, g)
    y, backward = net.forward(x)
    assert not y.any()
    assert not backward(g).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_used_twice(dtype):
    shared, relu, pool = conv(3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
    net, x, g = prepared(lambda: [shared, relu, pool, shared, relu, pool], IMAGES, dtype)
    assert [type(step) for step in fused(net.layers)] == [Fused, Fused]
    assert len(net.parameters()) == 2
    assert_same_as_one_by_one(net, x, g)


def test_frozen_parameters_stay():
    net, x, g = prepared(NETS["everything"][0], IMAGES, np.float32)
    net[0].freeze()
    assert_same_as_one_by_one(net, x, g)
    assert not net[0].weight.grad.any()
    assert net[4].weight.grad.any()


def test_only_the_layers_themselves_are_fused():
    layers = [Negated(3, 5, 3), nn.ReLU(), ClippedReLU(), nn.MaxPool2d(2), Doubled()]
    assert fused(layers) == layers


def test_backward_on_another_backend_than_forward():
    """The gradient of the ReLU is not left out."""
    net, x, g = prepared(NETS["convolution, ReLU, pool"][0], IMAGES, np.float64)
    expected = one_by_one(net.layers, x, g)[1]
    backward = net.forward(x)[1]
    with fastconv.use_backend("numpy"):
        np.testing.assert_allclose(backward(g), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


def test_tiny_results_keep_their_gradient_in_fewer_digits():
    """1e-60 is greater than zero, though not as a float32."""
    net = nn.Sequential(nn.Conv2d(1, 1, 1, dtype=np.float64), nn.ReLU(), nn.MaxPool2d(2))
    net[0].weight.value[...] = 1e-60
    x, g = np.ones((2, 1, 2, 2)), np.ones((2, 1, 1, 1), np.float32)
    assert_same_as_one_by_one(net, x, g)
    assert np.count_nonzero(net.forward(x)[1](g)) == 2
