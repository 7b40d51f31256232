"""Short trainings whose losses the tutorials' own code gave, run once with the same seed and the same data."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.compat import dlfs, mlfromscratch, numpy_ml


def of_mlfromscratch(m):
    """The losses of a network with every kind of layer that is right in the tutorial."""
    rng = np.random.default_rng(7)
    X, y = rng.standard_normal((24, 2, 6, 5)), np.eye(3)[rng.integers(0, 3, 24)]
    np.random.seed(3)  # noqa: NPY002
    network = m.NeuralNetwork(optimizer=m.Adam(), loss=m.CrossEntropy, validation_data=(X[16:], y[16:]))
    network.add(m.Conv2D(n_filters=4, filter_shape=(3, 2), stride=1, input_shape=(2, 6, 5), padding="same"))
    network.add(m.Activation("relu"))
    network.add(m.Dropout(0.25))
    network.add(m.BatchNormalization())
    network.add(m.ZeroPadding2D(padding=((0, 1), (1, 0))))
    network.add(m.Conv2D(n_filters=3, filter_shape=(3, 3), stride=2, padding="valid"))
    network.add(m.Activation("leaky_relu"))
    network.add(m.BatchNormalization(momentum=0.8))
    network.add(m.Flatten())
    network.add(m.Dense(8))
    network.add(m.Activation("selu"))
    network.add(m.Reshape((2, 4)))
    network.add(m.Flatten())
    network.add(m.Dense(3))
    network.add(m.Activation("softmax"))
    training, validation = network.fit(X[:16], y[:16], n_epochs=3, batch_size=6)
    return [*training, *validation, network.test_on_batch(X, y)[0]]


def of_dlfs(d, network, **optimizer):
    """The losses of a `Trainer`'s steps, and the accuracy in the end."""
    rng = np.random.default_rng(7)
    x, t = rng.random((40, 1, 28, 28)), rng.integers(0, 10, 40)
    np.random.seed(3)  # noqa: NPY002
    made = network(d)
    trainer = d.Trainer(made, x[:30], t[:30], x[30:], t[30:], epochs=2, mini_batch_size=10, verbose=False, **optimizer)
    trainer.train()
    return [*trainer.train_loss_list, float(np.abs(made.params["W2"]).sum())]


def of_numpy_ml(p, optimizer):
    """The losses of layers that are trained with the square of their result."""
    X = np.random.default_rng(7).standard_normal((4, 7, 6, 2))
    np.random.seed(3)  # noqa: NPY002
    layers = [
        p.Conv2D(4, (3, 2), pad="same", dilation=1, act_fn="ReLU", optimizer=optimizer, init="he_normal"),
        p.BatchNorm2D(optimizer=optimizer),
        p.Pool2D((2, 2), stride=2),
        p.Deconv2D(3, (3, 3), stride=2, pad=1, act_fn="Tanh", optimizer=optimizer),
        p.Pool2D((2, 2), stride=1, mode="average"),
        p.Flatten(),
        p.FullyConnected(5, act_fn="Sigmoid", optimizer=optimizer),
        p.Softmax(),
    ]
    losses = []
    for _ in range(3):
        Y = X
        for layer in layers:
            Y = layer.forward(Y)
        losses.append(float(np.sum(Y**2)))
        grad = 2 * Y
        for layer in reversed(layers):
            grad = layer.backward(grad)
        for layer in layers:
            layer.update(losses[-1])
    return losses


def simple(d):
    param = {"filter_num": 4, "filter_size": 5, "pad": 2, "stride": 1}
    return d.SimpleConvNet((1, 28, 28), param, hidden_size=12, weight_init_std=0.1)


def deep(d):
    return d.DeepConvNet(hidden_size=20)


EXPECTED = {
    "mlfromscratch": [
        0.6677592457264092,
        0.684136907986888,
        0.6424712612321334,
        0.8391995958303179,
        0.8239818088376053,
        0.8255864254962025,
        0.7143073521271622,
    ],
    ("dlfs", "deep", "Adam"): [
        6.475138697619104,
        2.1537370367952113,
        2.2774765034740385,
        2.3491579698869645,
        2.2897173778169195,
        2.245103618740234,
        223.34374459103194,
    ],
    ("dlfs", "deep", "SGD"): [
        2.4567036939591707,
        2.3560561177224164,
        2.6053554624136,
        2.3613198964619775,
        2.3997613887530673,
        2.17301618305071,
        217.63333639491964,
    ],
    ("dlfs", "simple", "Adam"): [
        2.2444590103792192,
        2.1940715967724516,
        2.023508657745608,
        2.3783829357276645,
        2.351718750356811,
        2.376348972657304,
        761.2977613755817,
    ],
    ("dlfs", "simple", "SGD"): [
        2.2993480736966028,
        2.297848864628793,
        2.265755359715484,
        2.301975162638915,
        2.286651787163146,
        2.326568286924534,
        749.6432172112118,
    ],
    ("numpy_ml", "Adam(lr=0.01)"): [0.8028168050579856, 0.8009914271315828, 0.8005069381646082],
    ("numpy_ml", "RMSProp(lr=0.01)"): [0.8028168050579856, 0.8031545748592317, 0.8006802679940774],
    ("numpy_ml", "SGD(lr=0.1, momentum=0.9)"): [0.8028168050579856, 0.8027765757621738, 0.8027017040822108],
}


@pytest.mark.parametrize("look", [False, True])
@pytest.mark.parametrize("network", [simple, deep])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_dlfs(network, optimizer, look):
    """As one network, and layer by layer."""

    def made(d):
        found = network(d)
        assert not look or found.layers
        return found

    found = of_dlfs(dlfs, made, optimizer=optimizer)
    np.testing.assert_allclose(found, EXPECTED["dlfs", network.__name__, optimizer], rtol=1e-12)


def test_mlfromscratch():
    np.testing.assert_allclose(of_mlfromscratch(mlfromscratch), EXPECTED["mlfromscratch"], rtol=1e-12)


@pytest.mark.parametrize("optimizer", ["SGD(lr=0.1, momentum=0.9)", "RMSProp(lr=0.01)", "Adam(lr=0.01)"])
def test_numpy_ml(optimizer):
    np.testing.assert_allclose(of_numpy_ml(numpy_ml, optimizer), EXPECTED["numpy_ml", optimizer], rtol=1e-12)
