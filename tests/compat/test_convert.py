"""Networks of the tutorials as models of `fastconv.nn`: the same results, weights of their own."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import nn
from fastconv.compat import convert, dlfs, mlfromscratch, nhwc, numpy_ml


@pytest.fixture(autouse=True)
def seeded():
    np.random.seed(0)  # noqa: NPY002


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def network(*layers, shape=(2, 8, 8)):
    made = mlfromscratch.NeuralNetwork(mlfromscratch.Adam(), mlfromscratch.CrossEntropy)
    layers[0].set_input_shape(shape)
    for layer in layers:
        made.add(layer)
    return made


def test_mlfromscratch(rng):
    m = mlfromscratch
    made = network(
        m.Conv2D(4, (3, 2), stride=2), m.Activation("relu"), m.Dropout(0.3), m.BatchNormalization(),
        m.ZeroPadding2D(1), m.MaxPooling2D((2, 2)), m.UpSampling2D(), m.AveragePooling2D((2, 2), 2), m.Flatten(),
        m.Dense(6), m.Activation("elu"), m.Reshape((2, 3)), m.Flatten(), m.Dense(3), m.Activation("softmax"),
    )  # fmt: skip
    x, y = rng.random((5, 2, 8, 8)), np.eye(3)[[0, 1, 2, 1, 0]]
    for _ in range(3):
        made.train_on_batch(x, y)
    model = convert(made)
    assert isinstance(model, nn.Sequential)
    assert len(model) == 15
    np.testing.assert_allclose(model(x), made.predict(x), rtol=1e-12, atol=1e-14)
    assert convert(made.layers)(x).shape == (5, 3)
    before = made.predict(x)
    for parameter in model.parameters():
        parameter.value += 1
    np.testing.assert_array_equal(made.predict(x), before)


@pytest.mark.parametrize("kind", [dlfs.SimpleConvNet, dlfs.DeepConvNet])
def test_dlfs(rng, kind):
    made, x = kind(), rng.random((3, 1, 28, 28))
    model = convert(made)
    np.testing.assert_allclose(model(x), made.predict(x), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(convert(made.layers)(x), made.predict(x), rtol=1e-12, atol=1e-14)
    before = made.predict(x)
    for parameter in model.parameters():
        parameter.value += 1
    np.testing.assert_array_equal(made.predict(x), before)


def test_dlfs_s_other_layers(rng):
    x = rng.standard_normal((4, 6))
    norm = dlfs.BatchNormalization(np.ones(6), np.zeros(6))
    norm.forward(x)
    layers = [dlfs.Affine(rng.random((6, 6)), 0), norm, dlfs.Sigmoid(), dlfs.Dropout(0.5)]
    expected = 0.5 * dlfs.sigmoid(norm.forward(layers[0].forward(x), False))
    np.testing.assert_allclose(convert(layers)(x), expected, rtol=1e-13)


def test_nhwc(rng):
    arrays = [rng.normal(0, 0.1, shape) for shape in ((5, 3, 3, 1), (4, 3, 3, 5), (100, 50), (50, 10))]
    x = rng.random((3, 28, 28, 1))
    np.testing.assert_allclose(
        convert(arrays)(x.transpose(0, 3, 1, 2)), nhwc.forward(x, arrays)[1], rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("act_fn", ["ReLU", "Leaky ReLU(alpha=0.3)", "Tanh", "SoftPlus", None])
def test_numpy_ml(rng, act_fn):
    p = numpy_ml
    layers = [
        p.Conv2D(4, (3, 2), pad="same", dilation=1, act_fn=act_fn), p.BatchNorm2D(), p.Pool2D((2, 2), 2),
        p.Deconv2D(3, (3, 3), pad=1, stride=2, act_fn=act_fn), p.Pool2D((3, 3), mode="average"), p.Flatten(),
        p.FullyConnected(5, act_fn=act_fn), p.FullyConnected(3), p.Softmax(),
    ]  # fmt: skip
    x = rng.standard_normal((2, 8, 8, 2))

    def result(retain):
        y = x
        for layer in layers:
            y = layer.forward(y, retain)
        return y

    result(True)
    np.testing.assert_allclose(convert(layers)(x.transpose(0, 3, 1, 2)), result(False), rtol=1e-12, atol=1e-14)
    named = {str(i): layer for i, layer in enumerate(layers)}
    np.testing.assert_array_equal(convert(named)(x.transpose(0, 3, 1, 2)), convert(layers)(x.transpose(0, 3, 1, 2)))


def test_errors():
    with pytest.raises(TypeError, match=r"convert: model must be a network or layers of .*, got int"):
        convert(3)
    with pytest.raises(TypeError, match="got list"):
        convert([numpy_ml.Flatten(), mlfromscratch.Flatten()])
    with pytest.raises(ValueError, match="convert: Conv2D has no weights before its first batch"):
        convert([numpy_ml.Conv2D(4, (3, 3))])
    with pytest.raises(ValueError, match="convert: Dense has no weights yet"):
        convert([mlfromscratch.Dense(4)])
    with pytest.raises(ValueError, match="must be two arrays of filters and two of dense weights"):
        convert([np.zeros((2, 2))] * 4)
    pool = numpy_ml.Pool2D((2, 2), pad=1)
    pool.forward(np.zeros((1, 4, 4, 1)))
    with pytest.raises(ValueError, match="Pool2D with padding counts it as 0"):
        convert([pool])
