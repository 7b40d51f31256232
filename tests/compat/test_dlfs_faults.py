"""What is wrong in Deep Learning from Scratch is right here, each by its numbers; wrong arguments are errors."""

from __future__ import annotations

import os

import numpy as np
import pytest
from strategies import integers

from fastconv import reference
from fastconv.compat import dlfs
from fastconv.errors import DataError

PARAM = {"filter_num": 3, "filter_size": 3, "pad": 0, "stride": 1}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def network():
    np.random.seed(0)  # noqa: NPY002
    return dlfs.SimpleConvNet((1, 10, 10), PARAM, hidden_size=8)


def test_a_stride_that_is_not_given_is_2_and_told(rng):
    """The repository has 2, the article that names the layer 1."""
    x = integers(rng, (1, 2, 6, 6), np.float64)
    layer = dlfs.Pooling(2, 2)
    with pytest.warns(UserWarning, match="Pooling: stride was not given and is 2") as told:
        out = layer.forward(x)
    assert told[0].filename == __file__
    np.testing.assert_array_equal(out, reference.max_pool2d(x, 2, 2))
    layer.forward(x)  # once is enough
    assert dlfs.Pooling(6, 6).forward(x).shape == (1, 2, 1, 1)  # one window, whatever the stride
    assert dlfs.Pooling(2, 2, 2).forward(x).shape == (1, 2, 3, 3)
    assert dlfs.Pooling(2, 2, stride=1).forward(x).shape == (1, 2, 5, 5)


@pytest.mark.parametrize("pad", [0, 1])
def test_arg_max_is_the_place_in_the_window(rng, pad):
    x = integers(rng, (2, 3, 6, 5), np.float64)
    layer = dlfs.Pooling(3, 2, stride=2, pad=pad)
    assert layer.arg_max is None
    out = layer.forward(x)
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-np.inf)
    windows = reference.im2col(padded, (3, 2), 2).reshape(-1, 6)
    np.testing.assert_array_equal(layer.arg_max, windows.argmax(axis=1))
    assert layer.arg_max.size == out.size


def test_relu_leaves_the_gradient_that_it_is_given_alone(rng):
    """The book's overwrites it."""
    layer, dout = dlfs.Relu(), np.ones((2, 3))
    layer.forward(integers(rng, (2, 3), np.float64))
    np.testing.assert_array_equal(layer.backward(dout), ~layer.mask)
    np.testing.assert_array_equal(dout, np.ones((2, 3)))


def test_biases_that_are_numbers(rng):
    """`b = 0`, as the chapter's script of filters has it."""
    x, W = integers(rng, (1, 1, 5, 5), np.float64), integers(rng, (1, 1, 3, 3), np.float64)
    plain = reference.conv2d(x, W)
    for b in (0, 0.5):
        layer = dlfs.Convolution(W, b)
        np.testing.assert_array_equal(layer.forward(x), plain + b)
        layer.backward(plain)
        assert layer.db == plain.sum()
        rows, V = integers(rng, (2, 3), np.float64), integers(rng, (3, 4), np.float64)
        np.testing.assert_array_equal(dlfs.Affine(V, b).forward(rows), rows @ V + b)
    with pytest.raises(ValueError, match=r"Convolution: b must be a number or have 1 elements, got shape \(2,\)"):
        dlfs.Convolution(W, np.zeros(2)).forward(x)


@pytest.mark.parametrize("t", [np.array(2), np.array([2]), np.array([0, 0, 1])])
def test_the_loss_of_a_single_row(t):
    """The book's gradient of a row alone is divided by the number of classes, or it crashes."""
    last, x = dlfs.SoftmaxWithLoss(), np.array([1.0, 2.0, 3.0])
    y = np.exp(x) / np.exp(x).sum()
    np.testing.assert_allclose(last.forward(x, t), -np.log(y[2] + 1e-7), rtol=1e-14)
    np.testing.assert_allclose(last.backward(), y - [0, 0, 1], rtol=1e-14)
    np.testing.assert_allclose(dlfs.cross_entropy_error(y, t), last.loss, rtol=1e-14)


def test_class_ids_as_a_column(rng):
    """(N, 1), as the chapter's gradient check has them; the book's picks N x N elements."""
    y = dlfs.softmax(rng.standard_normal((4, 5)))
    ids = np.array([1, 0, 4, 2])
    expected = -np.log(y[np.arange(4), ids] + 1e-7).mean()
    np.testing.assert_allclose(dlfs.cross_entropy_error(y, ids[:, None]), expected, rtol=1e-14)
    last, other = dlfs.SoftmaxWithLoss(), dlfs.SoftmaxWithLoss()
    assert last.forward(y, ids[:, None]) == other.forward(y, ids)
    np.testing.assert_array_equal(last.backward(), other.backward())


def test_rows_of_shares():
    """The book takes the largest share for the loss, and all of them for the gradient."""
    x, t = np.array([[0.0, 1.0], [2.0, 0.0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    last = dlfs.SoftmaxWithLoss()
    expected = -(t * np.log(dlfs.softmax(x) + 1e-7)).sum() / 2
    np.testing.assert_allclose(last.forward(x, t), expected, rtol=1e-14)
    np.testing.assert_allclose(last.backward(), dlfs.numerical_gradient(lambda z: last.forward(z, t), x), atol=1e-6)


def test_dropout_in_inference_has_its_own_gradient(rng):
    layer, x = dlfs.Dropout(0.25), rng.random((3, 4))
    layer.forward(x)
    np.testing.assert_array_equal(layer.forward(x, False), 0.75 * x)
    np.testing.assert_array_equal(layer.backward(np.ones((3, 4))), np.full((3, 4), 0.75))


@pytest.mark.parametrize("shape", [(6, 4), (6, 2, 3, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_of_batch_normalisation(rng, shape, training):
    x, D = rng.standard_normal(shape), int(np.prod(shape[1:]))
    layer = dlfs.BatchNormalization(rng.random(D), rng.random(D))
    layer.forward(2 + rng.standard_normal(shape))
    kept, g = (layer.running_mean, layer.running_var), rng.standard_normal(shape)

    def total(_):
        layer.running_mean, layer.running_var = kept
        return (layer.forward(x, training) * g).sum()

    total(x)
    found = layer.backward(g)
    dgamma, dbeta = layer.dgamma, layer.dbeta
    np.testing.assert_allclose(found, dlfs.numerical_gradient(total, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dgamma, dlfs.numerical_gradient(total, layer.gamma), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dbeta, dlfs.numerical_gradient(total, layer.beta), rtol=1e-5, atol=1e-6)


def test_a_batch_of_one_sample():
    """The chapter's check of batch normalisation has one."""
    layer = dlfs.BatchNormalization(np.ones(3), np.arange(3.0))
    np.testing.assert_array_equal(layer.forward(np.array([[5.0, 6.0, 7.0]])), [[0, 1, 2]])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 3))), np.zeros((1, 3)))
    np.testing.assert_array_equal(layer.dbeta, np.ones(3))


def test_the_gradient_of_integers_is_an_error():
    """The book's step is lost in them, and its gradient is wrong without a word."""
    with pytest.raises(TypeError, match="numerical_gradient: x must be an array of floats, got int64"):
        dlfs.numerical_gradient(lambda x: (x**2).sum(), np.array([1, 2]))
    x = np.array([1.0, 2.0])
    with pytest.raises(ZeroDivisionError):
        dlfs.numerical_gradient(lambda x: 1 // 0, x)
    np.testing.assert_array_equal(x, [1, 2])  # as before


def test_conv_output_size_is_an_integer():
    found = dlfs.conv_output_size(28, 5, stride=2, pad=0)
    assert (found, type(found)) == (12, int)


def test_shuffled_images_of_any_rank():
    x, t = dlfs.shuffle_dataset(np.arange(24).reshape(4, 3, 2), np.arange(4))
    np.testing.assert_array_equal(x[:, 0, 0], 6 * t)


def test_accuracy_counts_all_images(network, rng):
    """The book's leaves out what does not fill a batch, and divides by all."""
    x = rng.random((7, 1, 10, 10))
    assert network.accuracy(x, network.predict(x).argmax(axis=1), batch_size=5) == 1.0


def test_epochs_that_do_not_divide(network, rng):
    """The book evaluates nothing after the first step then."""
    x, t = rng.random((25, 1, 10, 10)), rng.integers(0, 10, 25)
    trainer = dlfs.Trainer(network, x, t, x, t, epochs=3, mini_batch_size=10, verbose=False)
    trainer.train()
    assert len(trainer.train_acc_list) == len(trainer.test_acc_list) == 3
    assert len(trainer.train_loss_list) == trainer.max_iter == 6


def test_the_trainer_tells(network, rng, capsys):
    x, t = rng.random((10, 1, 10, 10)), rng.integers(0, 10, 10)
    trainer = dlfs.Trainer(network, x, t, x, t, epochs=1, mini_batch_size=10, optimizer="Adam", optimizer_param={})
    trainer.train()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"train loss:{trainer.train_loss_list[0]}"
    assert printed[1].startswith("=== epoch:1, train acc:")
    assert printed[-1].startswith("test acc:")


def test_entries_of_params_that_are_replaced_are_used(network, rng):
    x = rng.random((2, 1, 10, 10))
    before = network.predict(x)
    network.params["W3"] = np.zeros((8, 10))
    network.params["b3"] = np.arange(10.0)
    np.testing.assert_array_equal(network.predict(x), [np.arange(10)] * 2)
    network.params["b3"] += 1
    np.testing.assert_array_equal(network.predict(x), [np.arange(1, 11)] * 2)
    assert network.layers["Affine2"].b is network.params["b3"]
    np.testing.assert_array_equal(network.predict(x), [np.arange(1, 11)] * 2)
    assert not np.array_equal(before, network.predict(x))


@pytest.mark.parametrize("kind", [dlfs.SimpleConvNet, dlfs.DeepConvNet])
def test_who_looks_inside_finds_what_the_book_keeps(rng, kind):
    """As one network, and from the first look on layer by layer: the same gradients."""
    np.random.seed(1)  # noqa: NPY002
    network, x, t = kind(), rng.random((2, 1, 28, 28)), np.array([3, 7])
    np.random.seed(2)  # noqa: NPY002
    together = network.gradient(x, t)
    layers = list(network.layers.values()) if kind is dlfs.SimpleConvNet else network.layers
    np.random.seed(2)  # noqa: NPY002
    for name, grad in network.gradient(x, t).items():
        np.testing.assert_allclose(grad, together[name], rtol=1e-10, atol=1e-16)
    assert layers[0].x is x
    grad = network.last_layer.backward(1)
    for layer in reversed(layers):
        grad = layer.backward(grad)
    assert grad.shape == x.shape
    if kind is dlfs.SimpleConvNet:
        network.layers["Relu2"] = dlfs.Sigmoid()  # a reader's own layer
        expected = network.layers["Affine1"].forward(network.layers["Pool1"].forward(
            dlfs.relu(network.layers["Conv1"].forward(x))))  # fmt: skip
        np.testing.assert_array_equal(network.predict(x), network.layers["Affine2"].forward(dlfs.sigmoid(expected)))


def test_the_gradient_check_of_the_chapter():
    np.random.seed(0)  # noqa: NPY002
    network = dlfs.SimpleConvNet((1, 10, 10), PARAM, hidden_size=8, weight_init_std="he")
    x, t = np.random.default_rng(7).random((1, 1, 10, 10)), np.array([[1]])
    numerical, found = network.numerical_gradient(x, t), network.gradient(x, t)
    assert list(numerical) == list(found)
    for name, grad in numerical.items():
        assert np.abs(grad - found[name]).mean() < 1e-5  # of the 1e-7 in the logarithm, among others


def test_deep_networks_of_other_sizes(rng):
    """The book writes down 64 * 4 * 4 and the inputs of each layer for its own."""
    param = {"filter_num": 4, "filter_size": 3, "pad": 1, "stride": 1}
    network = dlfs.DeepConvNet((3, 16, 12), param, param, param, param, param, param, hidden_size=5, output_size=2)
    assert network.params["W7"].shape == (4 * 2 * 1, 5)
    assert network.predict(rng.random((2, 3, 16, 12))).shape == (2, 2)
    assert dlfs.DeepConvNet(dtype=np.float32).params["W1"].dtype == np.float32


def test_parameters_of_another_network(network, tmp_path):
    dlfs.SimpleConvNet((1, 10, 10), PARAM, hidden_size=9).save_params(tmp_path / "params.pkl")
    before = network.params["W1"].copy()
    with pytest.raises(DataError, match="must hold arrays of shapes"):
        network.load_params(tmp_path / "params.pkl")
    np.testing.assert_array_equal(network.params["W1"], before)


@pytest.mark.skipif("FASTCONV_DATA" not in os.environ, reason="FASTCONV_DATA is not set to a folder with MNIST")
def test_mnist_as_the_book_takes_it():
    (x, t), (x_test, t_test) = dlfs.load_mnist(normalize=False, flatten=False)
    assert (x.shape, x.dtype, t.dtype) == ((60000, 1, 28, 28), np.uint8, np.uint8)
    (rows, hot), _ = dlfs.load_mnist(one_hot_label=True)
    assert (rows.shape, rows.dtype) == ((60000, 784), np.float32)
    np.testing.assert_array_equal(rows[:50], x[:50].reshape(50, -1).astype(np.float32) / 255)
    np.testing.assert_array_equal(hot.argmax(axis=1), t)
    assert (len(x_test), len(t_test)) == (10000, 10000)


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: dlfs.Relu().backward(np.ones(2)), ValueError, "Relu: backward needs a forward before it"),
    (lambda: dlfs.Convolution(np.ones((1, 1, 2, 2)), 0).backward(np.ones(2)), ValueError, "Convolution: backward"),
    (lambda: dlfs.Pooling(2, 2, stride=0), ValueError, "Pooling: stride must be from 1"),
    (lambda: dlfs.Dropout(2), ValueError, "Dropout: dropout_ratio must be finite, at least 0, at most 1, got 2"),
    (lambda: dlfs.cross_entropy_error(np.ones((2, 3)), np.array([0, 3])), ValueError, "t must be from 0 to 2, got"),
    (lambda: dlfs.cross_entropy_error(np.ones((2, 3)), np.array([0.0, 1.0])), TypeError, "t must hold class ids"),
    (lambda: dlfs.cross_entropy_error(np.ones((2, 3)), np.ones((3, 2))), ValueError, "t must hold 2 class ids or"),
    (lambda: dlfs.sum_squared_error(np.ones(3), np.ones((3, 1))), ValueError, "t must have the shape"),
    (lambda: dlfs.smooth_curve([1.0]), ValueError, "smooth_curve: x must have at least 11 values"),
    (lambda: dlfs.SGD().update({"W": np.ones(1)}, {}), ValueError, "SGD: grads has no W"),
    (lambda: dlfs.SimpleConvNet(conv_param={}), ValueError, "SimpleConvNet: conv_param must have the keys filter_num"),
    (lambda: dlfs.DeepConvNet(conv_param_3={}), ValueError, "DeepConvNet: conv_param_3 must have the keys filter_num"),
    (lambda: dlfs.BatchNormalization(np.ones(2), 0).forward(np.ones((4, 3))), ValueError, "gamma must have 3 elements"),
    (lambda: dlfs.Trainer(None, np.ones(3), None, None, None, optimizer="sgdx"), ValueError, "optimizer must be one"),
])  # fmt: skip
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
