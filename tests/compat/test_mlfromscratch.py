"""ML-From-Scratch's convolution: shapes and numbers of the tutorial, and a model written as its readers write one."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import inner, integers

from fastconv import reference
from fastconv.compat.mlfromscratch import (
    Conv2D,
    Layer,
    column_to_image,
    determine_padding,
    get_im2col_indices,
    image_to_column,
)


class Descent:
    """The tutorial's kind of optimiser."""

    def __init__(self, learning_rate):
        self.learning_rate = learning_rate

    def update(self, w, grad_wrt_w):
        return w - self.learning_rate * grad_wrt_w


class Flatten(Layer):
    def forward_pass(self, X, training):
        self.shape = X.shape
        return X.reshape(len(X), -1)

    def backward_pass(self, accum_grad):
        return accum_grad.reshape(self.shape)

    def output_shape(self):
        return (int(np.prod(self.input_shape)),)


class NeuralNetwork:
    """The tutorial's model, but for its loss."""

    def __init__(self, optimizer):
        self.optimizer, self.layers = optimizer, []

    def add(self, layer):
        if self.layers:
            layer.set_input_shape(shape=self.layers[-1].output_shape())
        if hasattr(layer, "initialize"):
            layer.initialize(optimizer=self.optimizer)
        self.layers.append(layer)

    def summary(self):
        return [(layer.layer_name(), layer.parameters(), layer.output_shape()) for layer in self.layers]

    def train_on_batch(self, X, y):
        for layer in self.layers:
            X = layer.forward_pass(X, training=True)
        grad = X - y
        for layer in reversed(self.layers):
            grad = layer.backward_pass(grad)
        return float(np.mean((X - y) ** 2))


def test_determine_padding():
    """Half of the kernel less one before, the rest after, whatever the stride is."""
    assert determine_padding((3, 3)) == determine_padding((3, 3), "same") == ((1, 1), (1, 1))
    assert determine_padding((2, 2)) == ((0, 1), (0, 1))
    assert determine_padding((5, 4)) == ((2, 2), (1, 2))
    assert determine_padding((5, 4), output_shape="valid") == ((0, 0), (0, 0))
    with pytest.raises(ValueError, match="determine_padding: output_shape must be 'same' or 'valid', got 'full'"):
        determine_padding((3, 3), "full")


def test_get_im2col_indices():
    k, i, j = get_im2col_indices((1, 3, 32, 32), (3, 3), ((1, 1), (1, 1)))
    assert (k.shape, i.shape, j.shape) == ((27, 1), (27, 1024), (27, 1024))
    assert i[:, 0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2] * 3
    assert j[:, 0].tolist() == [0, 1, 2] * 9
    assert k[:, 0].tolist() == [0] * 9 + [1] * 9 + [2] * 9
    # they index the padded images, of which the columns are the picked elements
    images = integers(np.random.default_rng(0), (2, 3, 7, 6), np.float64)
    k, i, j = get_im2col_indices(images.shape, (3, 2), ((1, 1), (0, 1)), stride=2)
    picked = np.pad(images, ((0, 0), (0, 0), (1, 1), (0, 1)))[:, k, i, j]
    np.testing.assert_array_equal(image_to_column(images, (3, 2), 2), picked.transpose(1, 2, 0).reshape(18, -1))


@pytest.mark.parametrize(
    ("batch", "stride", "output_shape", "columns"),
    [(1, 1, "same", 1024), (64, 1, "same", 65536), (1, 1, "valid", 900), (1, 2, "valid", 225)],
)
def test_image_to_column(batch, stride, output_shape, columns):
    """Rows (c, ky, kx), columns spatial-major, batch-minor."""
    images = np.random.default_rng(0).integers(0, 255, (batch, 3, 32, 32)).astype(np.uint8)
    cols = image_to_column(images, (3, 3), stride, output_shape)
    assert cols.shape == (27, columns)
    assert cols.dtype == np.uint8
    (top, _), _ = determine_padding((3, 3), output_shape)
    padded = np.pad(images, ((0, 0), (0, 0), (top, top), (top, top)))
    # the second pixel's column of the last image, tap (2, 1, 0)
    assert cols[2 * 9 + 3, 1 * batch + batch - 1] == padded[-1, 2, 1, stride]


def test_column_to_image_is_the_adjoint():
    rng = np.random.default_rng(0)
    for output_shape in ("same", "valid"):
        x = integers(rng, (2, 3, 6, 5), np.float64)
        cols = image_to_column(x, (3, 2), 2, output_shape)
        other = integers(rng, cols.shape, np.float64)
        assert inner(cols, other) == inner(x, column_to_image(other, x.shape, (3, 2), 2, output_shape))


def test_a_layer_must_define_its_passes():
    layer = Flatten()
    assert (layer.layer_name(), layer.parameters()) == ("Flatten", 0)
    layer.set_input_shape((3, 4, 5))
    assert layer.output_shape() == (60,)
    for call in (lambda a: a.forward_pass(None, True), lambda a: a.backward_pass(None), lambda a: a.output_shape()):
        with pytest.raises(NotImplementedError, match="Layer does not define"):
            call(Layer())


@pytest.mark.parametrize(
    ("padding", "stride", "shape"),
    [("same", 1, (1, 16, 32, 32)), ("valid", 1, (1, 16, 30, 30)), ("valid", 2, (1, 16, 15, 15))],
)
def test_conv2d_on_an_image_of_bytes(padding, stride, shape):
    """16 filters of 3 x 3: 448 parameters each time."""
    image = np.random.default_rng(0).integers(0, 255, (1, 3, 32, 32)).astype(np.uint8)
    conv = Conv2D(16, (3, 3), input_shape=image.squeeze().shape, padding=padding, stride=stride)
    conv.initialize(None)
    output = conv.forward_pass(image, training=True)
    assert output.shape == (1, *conv.output_shape()) == shape
    assert conv.parameters() == 448
    pads = determine_padding((3, 3), padding)
    expected = reference.conv2d(image.astype(np.float64), conv.W, conv.w0[:, 0], stride, pads)
    np.testing.assert_allclose(output, expected, rtol=1e-12, atol=1e-10)


def test_weights_as_the_tutorial_draws_them():
    conv = Conv2D(64, (2, 8), input_shape=(3, 9, 9))
    np.random.seed(5)  # noqa: NPY002
    conv.initialize(None)
    np.random.seed(5)  # noqa: NPY002
    np.testing.assert_array_equal(conv.W, np.random.uniform(-0.25, 0.25, (64, 3, 2, 8)))  # noqa: NPY002
    assert 0.24 < np.abs(conv.W).max() <= 0.25
    np.testing.assert_array_equal(conv.w0, np.zeros((64, 1)))


def test_backward_updates_with_the_layer_s_own_optimiser():
    rng = np.random.default_rng(0)
    x, g = integers(rng, (2, 3, 6, 5), np.float64), integers(rng, (2, 4, 6, 5), np.float64)
    conv = Conv2D(4, (3, 3), input_shape=(3, 6, 5))
    conv.initialize(Descent(0.5))
    conv.W = integers(rng, conv.W.shape, np.float64)
    before, expected = conv.W, reference.conv2d_backward(g, x, conv.W, 1, 1)
    conv.forward_pass(x)
    np.testing.assert_array_equal(conv.backward_pass(g), expected[0])  # of the weights before the update
    np.testing.assert_array_equal(conv.W, before - 0.5 * expected[1])
    np.testing.assert_array_equal(conv.w0, -0.5 * expected[2][:, None])
    assert conv.W_opt is not conv.w0_opt
    # frozen, or without an optimiser, the weights stay
    after, conv.trainable = conv.W, False
    conv.backward_pass(g)
    assert conv.W is after
    conv.initialize(None)
    drawn, conv.trainable = conv.W, True
    conv.backward_pass(g)
    assert conv.W is drawn


def test_a_model_of_the_tutorial_learns():
    model = NeuralNetwork(Descent(1e-3))
    model.add(Conv2D(16, (3, 3), input_shape=(3, 6, 5)))
    model.add(Conv2D(2, (3, 3), padding="valid", stride=2))  # its input's shape is inferred
    model.add(Flatten())
    assert model.summary() == [("Conv2D", 448, (16, 6, 5)), ("Conv2D", 290, (2, 2, 2)), ("Flatten", 0, (8,))]
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 3, 6, 5)), rng.standard_normal((8, 8))
    losses = [model.train_on_batch(X, y) for _ in range(60)]
    assert losses[-1] < 0.3 * losses[0]


def test_errors():
    with pytest.raises(ValueError, match="Conv2D: input_shape must be given to the first layer, got None"):
        Conv2D(16, (3, 3)).initialize(None)
    with pytest.raises(ValueError, match="Conv2D: input_shape must be given to the first layer, got None"):
        Conv2D(16, (3, 3)).output_shape()
    conv = Conv2D(16, (3, 3), input_shape=(3, 8, 8), padding="reflect")
    conv.initialize(None)
    with pytest.raises(ValueError, match="Conv2D: backward_pass needs a forward_pass"):
        conv.backward_pass(np.zeros((1, 16, 8, 8)))
    with pytest.raises(ValueError, match="output_shape must be 'same' or 'valid', got 'reflect'"):
        conv.forward_pass(np.zeros((1, 3, 8, 8)))
