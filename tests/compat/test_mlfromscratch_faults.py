"""What is wrong in ML-From-Scratch is right here, each by its numbers, and what is asked for wrongly is an error."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from strategies import integers

from fastconv import reference
from fastconv.compat import mlfromscratch as m


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def forward(layer, x, training=True):
    layer.set_input_shape(x.shape[1:])
    if hasattr(layer, "initialize"):
        layer.initialize(None)
    return layer.forward_pass(x, training)


def check_gradient(layer, x, training=True, seed=None):
    """The gradient of sum(y * g) by x against central differences, which see the whole of the layer."""

    def result():
        if seed is not None:
            np.random.seed(seed)  # noqa: NPY002
        return layer.forward_pass(x, training)

    g = np.random.default_rng(1).standard_normal(result().shape)
    result()
    found = layer.backward_pass(g)
    assert found.shape == x.shape
    for place in np.random.default_rng(2).permutation(x.size)[:12]:
        where = np.unravel_index(place, x.shape)
        old, sums = x[where], []
        for moved in (old + 1e-6, old - 1e-6):
            x[where] = moved
            sums.append((result() * g).sum())
        x[where] = old
        np.testing.assert_allclose(found[where], (sums[0] - sums[1]) / 2e-6, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("pool", "stride", "padding", "pads"), [
    ((2, 2), 1, 0, 0), ((3, 2), 2, "valid", 0), ((3, 3), 2, "same", 1), ((2, 2), 2, 1, 1),
])  # fmt: skip
def test_pooling_which_crashes(rng, pool, stride, padding, pads):
    x = integers(rng, (2, 3, 7, 6), np.float64)
    largest, mean = m.MaxPooling2D(pool, stride, padding), m.AveragePooling2D(pool, stride, padding)
    y, indices = reference.max_pool2d_with_indices(x, pool, stride, pads)
    np.testing.assert_array_equal(forward(largest, x), y)
    np.testing.assert_allclose(forward(mean, x), reference.avg_pool2d(x, pool, stride, pads), rtol=1e-14)
    g = integers(rng, y.shape, np.float64)
    np.testing.assert_array_equal(largest.backward_pass(g), reference.max_pool2d_backward(g, indices, x.shape))
    expected = reference.avg_pool2d_backward(g, x.shape, pool, stride, pads)
    np.testing.assert_allclose(mean.backward_pass(g), expected, rtol=1e-14, atol=1e-15)
    assert largest.output_shape() == mean.output_shape() == y.shape[1:]


def test_pooling_of_sizes_that_do_not_divide():
    """The tutorial stops at an assertion."""
    layer = m.MaxPooling2D((2, 2), stride=2)
    layer.set_input_shape((3, 7, 5))
    assert layer.output_shape() == (3, 3, 2)


def test_the_gradient_of_repeated_pixels_is_the_sum(rng):
    """The tutorial's is that of the first copy."""
    layer, x = m.UpSampling2D((2, 3)), rng.standard_normal((2, 2, 3, 2))
    np.testing.assert_array_equal(forward(layer, x), x.repeat(2, axis=2).repeat(3, axis=3))
    np.testing.assert_array_equal(layer.backward_pass(np.ones((2, 2, 6, 6))), np.full(x.shape, 6.0))
    check_gradient(layer, x)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("trainable", [True, False])
def test_the_gradient_of_a_frozen_norm(rng, training, trainable):
    """A layer that is not trainable, or in inference, has the running statistics, through which none goes."""
    x = rng.standard_normal((5, 3, 2, 2))
    layer = m.BatchNormalization()
    forward(layer, 1 + 2 * rng.standard_normal(x.shape))
    layer.gamma, layer.trainable = rng.random(layer.gamma.shape), trainable
    check_gradient(layer, x, training)


@pytest.mark.parametrize("training", [True, False])
def test_the_gradient_of_dropout_is_that_of_its_last_batch(rng, training):
    """The tutorial multiplies by the mask of the last batch in training."""
    layer, x = m.Dropout(0.5), rng.standard_normal((4, 6))
    layer.forward_pass(rng.standard_normal((4, 6)), training=True)
    check_gradient(layer, x, training, seed=5)


@pytest.mark.parametrize("bptt_trunc", [0, 1, 9])
def test_the_gradient_of_sequences(rng, bptt_trunc):
    """It goes back as far as the weights' does; the tutorial's does not go back."""
    x = rng.standard_normal((2, 5, 3))
    layer = m.RNN(4, bptt_trunc=bptt_trunc)
    forward(layer, x)
    if bptt_trunc == 9:
        check_gradient(layer, x)
    g = np.zeros((2, 5, 3))
    g[:, 3] = 1
    layer.forward_pass(x)
    reached = np.abs(layer.backward_pass(g)).max(axis=(0, 2)) > 0
    assert reached.tolist() == [0 <= 3 - t <= bptt_trunc for t in range(5)]


def test_a_frozen_rnn_stays(rng):
    x = rng.standard_normal((2, 5, 3))
    layer = m.RNN(4, input_shape=(5, 3))
    layer.initialize(m.StochasticGradientDescent(0.1))
    y = layer.forward_pass(x)
    layer.trainable, before = False, layer.U.copy()
    layer.backward_pass(y)
    np.testing.assert_array_equal(layer.U, before)
    layer.trainable = True
    layer.backward_pass(y)
    assert not np.array_equal(layer.U, before)


def test_nesterov_which_crashes():
    optimizer, w = m.NesterovAcceleratedGradient(learning_rate=0.5, momentum=0.4), np.array([1.0, -2.0])
    w = optimizer.update(w, lambda at: 0.5 * at)
    np.testing.assert_allclose(w, [1 - 0.25, -2 + 0.5])
    moved = w - 0.4 * np.array([0.25, -0.5])
    update = 0.4 * np.array([0.25, -0.5]) + 0.5 * np.clip(0.5 * moved, -1, 1)
    np.testing.assert_allclose(optimizer.update(w, lambda at: 0.5 * at), w - update)
    with pytest.raises(TypeError, match="NesterovAcceleratedGradient: grad_func must be a function of the weights"):
        optimizer.update(w, w)


def test_the_seed_0_is_one():
    X, y = np.arange(20.0), np.arange(20)
    first, second = m.shuffle_data(X, y, seed=0), m.shuffle_data(X, y, seed=0)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[0], first[1])


def test_standardize_leaves_its_argument_alone():
    X = np.array([[1, 5], [3, 5]])
    np.testing.assert_array_equal(m.standardize(X), [[-1.0, 5.0], [1.0, 5.0]])
    np.testing.assert_array_equal(X, [[1, 5], [3, 5]])


def test_a_loss_that_is_not_defined():
    """The tutorial returns an exception as if it were the loss."""
    for method in (m.Loss().loss, m.Loss().gradient):
        with pytest.raises(NotImplementedError, match="Loss does not define"):
            method(np.ones(2), np.ones(2))


def test_large_arguments_do_not_overflow():
    x = np.array([-1000.0, 1000.0])
    np.testing.assert_array_equal(m.Sigmoid()(x), [0, 1])
    np.testing.assert_array_equal(m.SoftPlus()(x), [0, 1000])
    np.testing.assert_array_equal(m.SoftPlus().gradient(x), [0, 1])
    np.testing.assert_array_equal(m.ELU(0.5)(x), [-0.5, 1000])
    assert np.isnan(m.ReLU()(np.array([np.nan]))).all()


def test_the_derivative_at_0_is_the_tutorial_s():
    """1 for ReLU and its relatives: windows of zeros are common, and their losses would differ."""
    for name in ("relu", "leaky_relu", "elu"):
        assert m.activation_functions[name]().gradient(np.zeros(1)) == 1


def test_shapes_that_would_be_broadcast(rng):
    network = m.NeuralNetwork(m.Adam(), m.CrossEntropy)
    network.add(m.Dense(3, input_shape=(4,)))
    network.add(m.Activation("softmax"))
    with pytest.raises(ValueError, match=r"y must have the shape \(5, 3\) of the result, got \(5, 1\)"):
        network.train_on_batch(rng.random((5, 4)), np.ones((5, 1)))
    with pytest.raises(ValueError, match="accuracy_score: y_pred must have the shape"):
        m.accuracy_score(np.ones(3), np.ones((3, 1)))


def test_float32_by_one_argument(rng):
    network = m.NeuralNetwork(m.Adam(), m.CrossEntropy, dtype=np.float32)
    layers = (
        m.Conv2D(3, (3, 3), input_shape=(1, 6, 6)), m.Activation("relu"), m.Dropout(0.2), m.BatchNormalization(),
        m.Flatten(), m.Dense(3), m.Activation("softmax"),
    )  # fmt: skip
    for layer in layers:
        network.add(layer)
    X, y = rng.random((6, 1, 6, 6)), np.eye(3)[[0, 1, 2, 0, 1, 2]]
    losses = [network.train_on_batch(X, y)[0] for _ in range(20)]
    assert losses[-1] < losses[0]
    assert network.predict(X).dtype == np.float32
    for name in ("W", "w0", "gamma", "beta", "running_mean"):
        assert {getattr(layer, name).dtype for layer in layers if hasattr(layer, name)} == {np.dtype(np.float32)}
    with pytest.raises(ValueError, match="NeuralNetwork: dtype must be float32 or float64, got float16"):
        m.NeuralNetwork(m.Adam(), m.CrossEntropy, dtype=np.float16)


def test_the_summary(capsys):
    network = m.NeuralNetwork(m.Adam(), m.CrossEntropy)
    network.add(m.Conv2D(2, (3, 3), input_shape=(1, 6, 6)))
    network.add(m.Activation("relu"))
    network.summary("Net")
    printed = capsys.readouterr().out
    assert "| Conv2D            | 20         | (2, 6, 6)    |" in printed
    assert "| Activation (ReLU) | 0          | (2, 6, 6)    |" in printed
    assert "Total Parameters: 20" in printed


def test_plots(monkeypatch, rng):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    shown = []
    monkeypatch.setattr(pyplot, "show", lambda: shown.append(len(pyplot.gca().collections)))
    m.Plot().plot_in_2d(rng.random((9, 4)), np.arange(9) % 3, "Title", accuracy=0.9, legend_labels=range(3))
    m.Plot().plot_in_3d(rng.random((9, 4)))
    assert shown[0] == 3
    pyplot.close("all")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="Plot needs matplotlib"):
        m.Plot()


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: m.Activation("swish"), ValueError, "Activation: name must be one of relu, .*, got 'swish'"),
    (lambda: m.Dropout(1.5), ValueError, "Dropout: p must be finite, at least 0, at most 1, got 1.5"),
    (lambda: m.Dense(3).initialize(None), ValueError, "Dense: input_shape must be given to the first layer"),
    (lambda: m.Dense(3, (4, 4)).initialize(None), ValueError, r"Dense: input_shape .* got \(4, 4\); add Flatten\(\)"),
    (lambda: m.Dense(2.5), TypeError, "Dense: n_units must be an integer, got 2.5"),
    (lambda: m.MaxPooling2D(padding="full"), ValueError, "MaxPooling2D: padding must be an integer, 'same' or"),
    (lambda: m.ZeroPadding2D("same"), ValueError, "ZeroPadding2D: padding must be integers, got 'same'"),
    (lambda: m.ZeroPadding2D((-1, 1)), ValueError, "ZeroPadding2D: padding must be from 0"),
    (lambda: m.Reshape((2, 3)).forward_pass(np.ones((4, 5))), ValueError, "Reshape: shape .* does not fit an input"),
    (lambda: m.Flatten().backward_pass(np.ones(2)), ValueError, "Flatten: backward_pass needs a forward_pass"),
    (lambda: m.Dropout().backward_pass(np.ones(2)), ValueError, "Dropout: backward_pass needs a forward_pass"),
    (lambda: m.Adam(learning_rate="fast"), TypeError, "Adam: learning_rate must be a number, got 'fast'"),
    (lambda: m.NeuralNetwork(m.Adam(), "loss"), TypeError, "NeuralNetwork: loss must be a class as CrossEntropy"),
    (lambda: m.to_categorical(np.array([0.5])), TypeError, "to_categorical: x must hold integers, got float64"),
    (lambda: m.to_categorical(np.array([3]), 2), ValueError, "to_categorical: x must be from 0 to 1, got 3 to 3"),
    (lambda: m.train_test_split(np.ones(3), np.ones(3), 2), ValueError, "train_test_split: test_size must be finite"),
    (lambda: m.NeuralNetwork(m.Adam(), m.CrossEntropy).summary(), ValueError, "NeuralNetwork: summary needs a layer"),
])  # fmt: skip
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
