"""Deep Learning from Scratch: its layers against the reference, its network, and the faults that are not repeated."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import integers, real

from fastconv import conv1d, correlate2d, reference
from fastconv.compat.dlfs import Affine, Convolution, Pooling, Relu, SimpleConvNet, SoftmaxWithLoss, col2im, im2col
from fastconv.errors import DataError

SMALL = {"filter_num": 3, "filter_size": 3, "pad": 0, "stride": 1}
SMALL_SHAPE = (1, 10, 10)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def small(**keywords):
    np.random.seed(1)  # noqa: NPY002
    return SimpleConvNet(SMALL_SHAPE, SMALL, hidden_size=8, **keywords)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_im2col_keeps_the_dtype(rng, dtype):
    """Rows (n, oy, ox), columns (c, ky, kx). The book's makes float64 of everything."""
    x = rng.integers(0, 9, (2, 3, 6, 5)).astype(dtype)
    col = im2col(x, 3, 2, stride=2, pad=1)
    assert (col.shape, col.dtype) == ((2 * 3 * 3, 18), dtype)
    np.testing.assert_array_equal(col, reference.im2col(x, (3, 2), 2, 1))
    if dtype != np.uint8:
        back = col2im(col, x.shape, 3, 2, stride=2, pad=1)
        assert (back.shape, back.dtype) == (x.shape, dtype)
        np.testing.assert_array_equal(back, reference.col2im(col, x.shape, (3, 2), 2, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_convolution(rng, dtype):
    x, W, b = (integers(rng, shape, dtype) for shape in ((2, 3, 6, 5), (4, 3, 3, 3), (4,)))
    layer = Convolution(W, b, stride=2, pad=1)
    out = layer.forward(x)
    np.testing.assert_array_equal(out, reference.conv2d(x, W, b, 2, 1), strict=True)
    dout = integers(rng, out.shape, dtype)
    found = layer.backward(dout), layer.dW, layer.db
    for array, expected in zip(found, reference.conv2d_backward(dout, x, W, 2, 1)):
        np.testing.assert_array_equal(array, expected, strict=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pooling_with_padding(rng, dtype):
    """The book's crashes with padding, and pads with 0, which beats negative pixels."""
    x = -1 - np.abs(integers(rng, (2, 3, 6, 5), dtype))
    layer = Pooling(3, 3, stride=2, pad=1)
    out = layer.forward(x)
    assert (out < 0).all()
    np.testing.assert_array_equal(out, reference.max_pool2d(x, 3, 2, 1), strict=True)
    _, indices = reference.max_pool2d_with_indices(x, 3, 2, 1)
    dout = integers(rng, out.shape, dtype)
    np.testing.assert_array_equal(layer.backward(dout), reference.max_pool2d_backward(dout, indices, x.shape))
    # the book's own use
    assert Pooling(2, 2, stride=2).forward(x).shape == (2, 3, 3, 2)


def test_relu(rng):
    x, dout = integers(rng, (4, 5), np.float64), integers(rng, (4, 5), np.float64)
    before, layer = dout.copy(), Relu()
    np.testing.assert_array_equal(layer.forward(x), np.maximum(x, 0))
    np.testing.assert_array_equal(layer.backward(dout), np.where(x > 0, dout, 0))
    np.testing.assert_array_equal(dout, before)


@pytest.mark.parametrize("shape", [(2, 12), (2, 3, 2, 2)])
def test_affine_of_rows_and_of_images(rng, shape):
    x, W, b = (integers(rng, s, np.float64) for s in (shape, (12, 4), (4,)))
    layer = Affine(W, b)
    np.testing.assert_array_equal(layer.forward(x), x.reshape(2, 12) @ W + b)
    dout = integers(rng, (2, 4), np.float64)
    np.testing.assert_array_equal(layer.backward(dout), (dout @ W.T).reshape(shape), strict=True)
    np.testing.assert_array_equal(layer.dW, x.reshape(2, 12).T @ dout, strict=True)
    np.testing.assert_array_equal(layer.db, dout.sum(axis=0))


def test_softmax_with_loss_of_ids_and_of_one_hot_rows(rng):
    x, ids = real(rng, (4, 5), np.float64), np.array([0, 4, 2, 2])
    _, grad = reference.cross_entropy(x, ids)
    loss = -np.log(reference.softmax(x)[np.arange(4), ids] + 1e-7).mean()
    for t in (ids, ids[:, None], np.eye(5)[ids], np.eye(5, dtype=int)[ids]):
        layer = SoftmaxWithLoss()
        np.testing.assert_allclose(layer.forward(x, t), loss, rtol=1e-14)
        np.testing.assert_allclose(layer.y, reference.softmax(x), rtol=1e-14)
        np.testing.assert_allclose(layer.backward(), grad, rtol=1e-13, atol=1e-16)
        np.testing.assert_allclose(layer.backward(2), 2 * grad, rtol=1e-13, atol=1e-16)


def test_simple_convnet_s_sizes():
    """433,890 parameters."""
    params = SimpleConvNet().params
    shapes = {"W1": (30, 1, 5, 5), "b1": (30,), "W2": (4320, 100), "b2": (100,), "W3": (100, 10), "b3": (10,)}
    assert {name: array.shape for name, array in params.items()} == shapes
    assert sum(array.size for array in params.values()) == 433_890
    assert all(array.dtype == np.float64 for array in params.values())


def test_the_flat_size_where_the_sizes_do_not_divide():
    """28 by a filter of 5 at stride 2 is 12, pooled 6: 30 * 36. The book computes 1171."""
    param = {"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 2}
    assert SimpleConvNet(conv_param=param).params["W2"].shape == (1080, 100)


def test_weights_as_the_book_draws_them():
    network = small()
    np.random.seed(1)  # noqa: NPY002
    for name, shape in (("W1", (3, 1, 3, 3)), ("W2", (48, 8)), ("W3", (8, 10))):
        np.testing.assert_array_equal(network.params[name], 0.01 * np.random.randn(*shape))  # noqa: NPY002
    assert not any(network.params[name].any() for name in ("b1", "b2", "b3"))


@pytest.mark.parametrize(("name", "gain"), [("relu", 2), ("he", 2), ("sigmoid", 1), ("xavier", 1)])
def test_named_initialisers(name, gain):
    scaled, plain = small(weight_init_std=name).params, small(weight_init_std=1.0).params
    for key, inputs in (("W1", 9), ("W2", 48), ("W3", 8)):
        np.testing.assert_allclose(scaled[key], plain[key] * np.sqrt(gain / inputs), rtol=1e-14)
    with pytest.raises(ValueError, match="weight_init_std must be one of relu, he, sigmoid, xavier, got 'best'"):
        small(weight_init_std="best")


def test_numerical_gradient(rng):
    """As the book checks it: central differences of the loss, the mean of the deviations below 1e-6."""
    network = small(weight_init_std="he")
    x, t = rng.random((2, *SMALL_SHAPE)), np.array([3, 7])
    found = network.gradient(x, t)
    for name, values in network.params.items():
        assert found[name].shape == values.shape
        deviations = []
        for place in rng.permutation(values.size)[:12]:
            where = np.unravel_index(place, values.shape)
            old, losses = values[where], []
            for moved in (old + 1e-4, old - 1e-4):
                values[where] = moved
                losses.append(network.loss(x, t))
            values[where] = old
            deviations.append(abs(found[name][where] - (losses[0] - losses[1]) / 2e-4))
        assert np.mean(deviations) < 1e-6, name


def test_simple_convnet_learns_by_the_book_s_loop(rng):
    network = small(weight_init_std="he")
    x, t = rng.standard_normal((25, *SMALL_SHAPE)), rng.integers(0, 10, 25)
    one_hot = np.eye(10)[t]
    first = network.loss(x, t)
    for _ in range(400):
        for name, grad in network.gradient(x, one_hot).items():
            network.params[name] -= 0.1 * grad
    assert network.loss(x, t) < 0.2 * first
    # all 25 count, though the batch is 10
    right = (network.predict(x).argmax(axis=1) == t).mean()
    assert network.accuracy(x, t, batch_size=10) == network.accuracy(x, one_hot) == right > 0.9


@pytest.mark.parametrize("name", ["params.npz", "params.safetensors", "params.pkl"])
def test_saved_parameters(tmp_path, name):
    if name.endswith("safetensors"):
        pytest.importorskip("safetensors")
    network, other = small(), small(weight_init_std="he")
    network.save_params(tmp_path / name)
    other.load_params(tmp_path / name)
    for key, array in network.params.items():
        np.testing.assert_array_equal(other.params[key], array)
    with pytest.raises(DataError, match="must hold arrays of shapes"):
        SimpleConvNet(SMALL_SHAPE, SMALL, hidden_size=9).load_params(tmp_path / name)


def test_float32_stays_float32(rng):
    network = small(dtype=np.float32)
    x = real(rng, (2, *SMALL_SHAPE), np.float32)
    assert network.predict(x).dtype == np.float32
    assert {array.dtype for array in network.gradient(x, np.array([1, 2])).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_images_of_another_dtype_are_computed_in_that_of_the_parameters(rng, dtype):
    """The book's own images are float32: all layers together take them, with the bits of float64."""
    network, x = small(), integers(rng, (9, *SMALL_SHAPE), np.float64) + 4
    t = np.arange(9) % 3
    assert network.loss(x.astype(dtype), t) == network.loss(x, t)
    expected = network.gradient(x, t)
    for name, array in network.gradient(x.astype(dtype), t).items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, expected[name])


def test_smoothing_edges_and_a_moving_average():
    """The book's filters of pictures: a Gaussian leaves what is even, an edge kernel answers at edges alone."""
    picture = np.zeros((8, 8))
    picture[:, 4:] = 16.0
    gauss = np.outer([1, 2, 1], [1, 2, 1]) / 16
    np.testing.assert_array_equal(correlate2d(picture, gauss)[0], [0, 0, 4, 12, 16, 16])
    np.testing.assert_array_equal(correlate2d(picture, np.array([[-1.0, 0, 1]] * 3))[0], [0, 0, 48, 48, 0, 0])
    signal = np.array([[3.0, 6.0, 9.0, 0.0, 3.0]])
    np.testing.assert_allclose(conv1d(signal, np.full((1, 1, 3), 1 / 3))[0], [6, 5, 4], rtol=1e-14)
