"""The models: their sizes, their seeds, and that they can learn."""

from __future__ import annotations

import inspect
import os

import numpy as np
import pytest
from strategies import assert_same_bits, real

import fastconv
from fastconv import nn, optim
from fastconv.compat import convert, dlfs
from fastconv.data import load_digits, load_fashion_mnist, load_mnist
from fastconv.errors import ShapeError
from fastconv.models import (
    IMAGE_SHAPES,
    LENET5_CONNECTIONS,
    LENET5_VARIANTS,
    MODELS,
    SIZED,
    cifar_cnn,
    deep_convnet,
    lenet5,
    lenet5_by_hand,
    lenet5_tensorflow,
    mnist_cnn,
    mobilenet_small,
    model_for,
    resnet20,
    simple_convnet,
    small_resnet,
    vgg_small,
)
from fastconv.testing import gradcheck
from fastconv.training import evaluate, fit

REAL = os.environ.get("FASTCONV_DATA")
COUNTS = {
    "lenet5": 61_706, "lenet5-sigmoid": 61_706, "lenet5-classic": 60_850, "lenet5-by-hand": 5_725,
    "lenet5-tensorflow": 30_782, "simple-convnet": 433_890, "small-alexnet": 69_466, "small-resnet": 19_810,
    "mnist-cnn": 1_199_882, "deep-convnet": 123_552, "cifar-cnn": 1_250_858, "resnet20": 272_474,
    "mobilenet-small": 138_218, "vgg-small": 1_309_258,
}  # fmt: skip
# the same networks, narrower, for tests that train them
NARROW = {
    "mnist-cnn": {"channels": (8, 16), "hidden": 32}, "deep-convnet": {"channels": (8, 16, 32)},
    "cifar-cnn": {"channels": (8, 16), "hidden": 64}, "resnet20": {"blocks": 1, "width": 8},
    "mobilenet-small": {"channels": (16, 32, 32)}, "vgg-small": {"channels": (8, 16)},
}  # fmt: skip
NO_DROPOUT = {
    "small-alexnet": 0, "lenet5-tensorflow": 0, "mnist-cnn": (0, 0), "deep-convnet": 0, "cifar-cnn": (0, 0, 0),
}  # fmt: skip
DENSE = [(120, 400), (120,), (84, 120), (84,), (10, 84), (10,)]
LENET5_SHAPES = {
    "relu_max": [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), *DENSE],
    "sigmoid_avg": [(6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), *DENSE],
    # 60 connections, and a coefficient and a bias for each map after the pools
    "classic": [(6, 1, 5, 5), (6,), (6, 1, 1, 1), (6,), (60, 5, 5), (16,), (16, 1, 1, 1), (16,), *DENSE],
}


def count(layer):
    return sum(p.value.size for p in layer.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_sizes(name):
    model = MODELS[name](rng=0)
    assert count(model) == COUNTS[name]
    assert all(p.value.dtype == np.float32 for p in model.parameters())
    x = real(np.random.default_rng(0), (3, *IMAGE_SHAPES[name]), np.float32)
    assert model(x).shape == model.output_shape(x.shape) == (3, 10)
    assert model(x).dtype == np.float32
    assert model(x[:0]).shape == (0, 10)
    y, backward = model.forward(x[:0])
    assert backward(y).shape == (0, *IMAGE_SHAPES[name])
    assert f"{'total':<66}{COUNTS[name]:>10,}" in model.summary(x.shape).splitlines()


@pytest.mark.parametrize("variant", LENET5_VARIANTS)
def test_lenet5_is_the_paper_s(variant):
    model = lenet5(variant, rng=0)
    assert [p.value.shape for _, p in model.named_parameters()] == LENET5_SHAPES[variant]
    activation, pool, _ = LENET5_VARIANTS[variant]
    assert sum(isinstance(layer, activation) for layer in model) == 6 if variant == "classic" else 4
    assert sum(isinstance(layer, pool) for layer in model) == 2
    # 28 x 28 padded is 32 x 32
    x = real(np.random.default_rng(0), (2, 1, 28, 28), np.float32)
    larger = lenet5(variant, image_size=32, rng=0)
    np.testing.assert_array_equal(larger(np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))), model(x))


def test_lenet5_with_sigmoids_on_either_size():
    """28 → 14 → 10 → 5 and 400-120-84-10; seven layers as the paper counts them, on 32 x 32 as well."""
    for size in (28, 32):
        model = lenet5("sigmoid_avg", image_size=size, rng=0)
        shapes, shape = [], (1, 1, size, size)
        for layer in model:
            shape = layer.output_shape(shape)
            if not isinstance(layer, nn.Sigmoid):
                shapes.append(shape[1:])
        maps = [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5)]
        assert shapes == [*maps, (400,), (120,), (84,), (10,)]
        assert sum(not isinstance(layer, nn.Sigmoid | nn.Flatten) for layer in model) == 7
        assert count(model) == 61_706


def test_lenet5_s_partial_connections():
    """Table I of the paper: 6 maps that take 3, 9 that take 4, one that takes all; 60,000 parameters up to F6."""
    sizes = [len(maps) for maps in LENET5_CONNECTIONS]
    assert sizes == [3] * 6 + [4] * 9 + [6]
    assert [sum(c in maps for maps in LENET5_CONNECTIONS) for c in range(6)] == [10] * 6  # each map is taken alike
    assert LENET5_CONNECTIONS[4] == (4, 5, 0)
    model = lenet5("classic", rng=0)
    assert [count(layer) for layer in model if count(layer)] == [156, 12, 1516, 32, 48120, 10164, 850]


def test_the_lenets_of_a_tutorial():
    """By hand, without biases; and its twin, of one map a convolution, that keeps 7 x 7 of 28 x 28."""
    by_hand, twin = lenet5_by_hand(rng=0), lenet5_tensorflow(rng=0)
    assert [p.value.shape for p in by_hand.parameters()] == [(5, 1, 3, 3), (4, 5, 3, 3), (50, 100), (10, 50)]
    shapes = [(1, 1, 5, 5), (1,), (1, 1, 5, 5), (1,), (512, 49), (512,), (10, 512), (10,)]
    assert [p.value.shape for p in twin.parameters()] == shapes
    assert abs(by_hand.parameters()[2].value.std() - 0.1) < 5e-3
    assert 0.19 < np.abs(twin.parameters()[4].value).max() <= 0.2
    dropouts = [layer.p for layer in twin if isinstance(layer, nn.Dropout)]
    assert dropouts == [0.5]


def test_simple_convnet_fits_any_size():
    shapes = [p.value.shape for p in simple_convnet(rng=0).parameters()]
    assert shapes == [(30, 1, 5, 5), (30,), (100, 4320), (100,), (10, 100), (10,)]
    # 28 by 5 at stride 2 is 12, pooled 6: 30 * 36 inputs
    uneven = simple_convnet(stride=2, hidden=50, rng=0, dtype=np.float64)
    assert uneven.parameters()[2].value.shape == (50, 1080)
    gradcheck(uneven, real(np.random.default_rng(0), (2, 1, 28, 28), np.float64), samples=10, rtol=1e-6, atol=1e-6)
    other = simple_convnet(in_channels=3, image_size=(9, 12), filters=4, kernel_size=(2, 3), padding=1, rng=0)
    assert other(np.zeros((2, 3, 9, 12), np.float32)).shape == (2, 10)
    assert abs(simple_convnet(rng=0).parameters()[2].value.std() - 0.01) < 1e-4
    with pytest.raises(ValueError, match="the kernel's height 5"):
        simple_convnet(image_size=4)


@pytest.mark.parametrize("name", ["small-alexnet", "small-resnet"])
def test_gradients_in_training(name):
    model = MODELS[name](rng=0, dtype=np.float64)
    x = real(np.random.default_rng(0), (2, 1, 28, 28), np.float64)
    gradcheck(model, x, samples=4, atol=1e-7, training=True)


@pytest.mark.parametrize("name", ["resnet20", "mobilenet-small"])
def test_gradients_of_normalised_networks_in_training(name):
    model = narrow(name, (3, 12, 12), dtype=np.float64)
    gradcheck(model, real(np.random.default_rng(0), (3, 3, 12, 12), np.float64), samples=4, atol=1e-7, training=True)


def test_the_sizes_of_images():
    """Those of SIZED, and no others but LeNet-5, take `image_size`; all are made for images of their channels."""
    assert IMAGE_SHAPES.keys() == MODELS.keys() == COUNTS.keys()
    taking = [name for name, make in MODELS.items() if "image_size" in inspect.signature(make).parameters]
    assert [name for name in taking if not name.startswith("lenet5")] == list(SIZED)
    for name in MODELS:
        model = model_for(name, IMAGE_SHAPES[name], num_classes=7, rng=0)
        assert model.output_shape((2, *IMAGE_SHAPES[name])) == (2, 7)
    for name in (*SIZED, "resnet20", "mobilenet-small", "small-resnet"):
        assert model_for(name, (2, 21, 30), rng=0).output_shape((3, 2, 21, 30)) == (3, 10)
    for name in SIZED:
        with pytest.raises(ShapeError, match=f"{name.replace('-', '_')}: takes no images of 3 x 30: .*height"):
            model_for(name, (1, 3, 30))
    with pytest.raises(ShapeError, match="Linear: takes 16384 inputs, got an input of shape"):
        vgg_small().output_shape((1, 3, 32, 32))


def layer_texts(model):
    return [repr(layer).replace("(2, 2)", "2") for layer in model]


def test_deep_convnet_is_the_book_s():
    """All 20 layers of the class in `compat.dlfs`, whose dropout halves in inference what ours doubles in training."""
    np.random.seed(0)  # noqa: NPY002
    network = dlfs.DeepConvNet()
    theirs, ours = convert(network), deep_convnet(rng=0, dtype=np.float64)
    assert layer_texts(ours[:16]) == layer_texts(theirs[:16])  # up to the Flatten
    kinds = [type(layer).__name__ for layer in ours[16:]]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "Dropout"]
    assert [type(layer).__name__ for layer in network.layers[15:]] == ["Affine", "Relu", "Dropout", "Affine", "Dropout"]
    for mine, book in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert mine.value.shape == book.value.shape
        assert abs(mine.value.std() - book.value.std()) <= 0.15 * book.value.std()  # drawn with one variance
        mine.value[...] = book.value
    x = real(np.random.default_rng(0), (2, 1, 28, 28), np.float64)
    np.testing.assert_allclose(ours(x), 4 * network.predict(x), rtol=1e-12, atol=1e-13)


def test_the_examples_of_keras_and_pytorch():
    """The shapes that Keras' `summary` prints for the two examples, and the rates of their dropout."""
    shapes = {
        "cifar-cnn": [(32, 32, 32), (32, 30, 30), (32, 15, 15), (64, 15, 15), (64, 13, 13), (64, 6, 6), (2304,),
                      (512,), (10,)],
        "mnist-cnn": [(32, 26, 26), (64, 24, 24), (64, 12, 12), (9216,), (128,), (10,)],
    }  # fmt: skip
    for name, wanted in shapes.items():
        found, shape = [], (1, *IMAGE_SHAPES[name])
        for layer in MODELS[name](rng=0):
            shape = layer.output_shape(shape)
            found += [] if isinstance(layer, nn.ReLU | nn.Dropout) else [shape[1:]]
        assert found == wanted
    assert [layer.p for layer in cifar_cnn() if isinstance(layer, nn.Dropout)] == [0.25, 0.25, 0.5]
    assert [layer.p for layer in mnist_cnn(dropout=(0.1, 0.2)) if isinstance(layer, nn.Dropout)] == [0.1, 0.2]


def test_resnet20_has_twenty_layers():
    model = resnet20(rng=0)
    blocks = [layer for layer in model if isinstance(layer, nn.Residual)]
    convolutions = [layer for block in blocks for layer in block.body if isinstance(layer, nn.Conv2d)]
    assert 1 + len(convolutions) + 1 == 20
    shortcuts = [count(block.shortcut) for block in blocks if block.shortcut]
    assert shortcuts == [16 * 32 + 64, 32 * 64 + 128]
    assert count(model) - sum(shortcuts) == 269_722  # the paper's 0.27M, with its parameter-free shortcuts
    assert model[:-3].output_shape((1, 3, 32, 32)) == (1, 64, 8, 8)


def test_mobilenet_and_vgg_halve_where_they_should():
    model = mobilenet_small(rng=0)
    depthwise = [layer.options for layer in model if isinstance(layer, nn.Conv2d) and layer.options[3] > 1]
    assert [(stride, groups) for stride, _, _, groups in depthwise] == [
        (1, 32), (2, 32), (2, 64), (1, 128), (2, 128), (1, 256),
    ]  # fmt: skip
    assert model[:-3].output_shape((1, 3, 32, 32)) == (1, 256, 4, 4)
    maps = [layer.weight.value.shape[:2] for layer in vgg_small(rng=0) if isinstance(layer, nn.Conv2d)]
    assert maps == [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256)]


def test_small_resnet_takes_any_size_and_folds():
    model = small_resnet(rng=0, dtype=np.float64, channels=(4, 6))
    for seed, shape in enumerate([(3, 1, 28, 28), (4, 1, 9, 11), (5, 1, 16, 16)]):
        model.forward(real(np.random.default_rng(seed), shape, np.float64))
    x = real(np.random.default_rng(9), (2, 1, 13, 10), np.float64)
    inference = nn.folded(model)
    assert not list(inference.named_buffers())
    np.testing.assert_allclose(inference(x), model(x), rtol=1e-10, atol=1e-12)


def narrow(name, image_shape, **options):
    """A model, with fewer channels where NARROW has it, whose parameters are those of the test's name."""
    return model_for(name, image_shape, rng=0, **NARROW.get(name, {}), **options)


def trained(name, train, test, lr, epochs):
    model = narrow(name, train[0].shape[1:])
    fit(model, train, optimizer=optim.Adam(model.parameters(), lr), epochs=epochs, rng=0)
    return evaluate(model, *test)[1]


DIGITS = {
    "lenet5": (2e-3, 4, 0.9), "lenet5-sigmoid": (3e-3, 14, 0.8), "lenet5-classic": (2e-3, 4, 0.9),
    "lenet5-by-hand": (5e-3, 8, 0.8), "lenet5-tensorflow": (3e-3, 12, 0.6),
    "simple-convnet": (2e-3, 5, 0.85), "small-alexnet": (2e-3, 8, 0.8), "small-resnet": (4e-3, 5, 0.85),
    "mnist-cnn": (2e-3, 5, 0.85), "deep-convnet": (2e-3, 6, 0.8), "cifar-cnn": (2e-3, 6, 0.8),
    "resnet20": (4e-3, 3, 0.7), "mobilenet-small": (4e-3, 5, 0.6), "vgg-small": (2e-3, 4, 0.85),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_digits(name):
    """Within seconds, and far above the tenth that guessing gets right."""
    lr, epochs, accuracy = DIGITS[name]
    assert trained(name, *load_digits(), lr, epochs) > accuracy


IMAGES = {
    "lenet5": (load_fashion_mnist, 2e-3, 2, 0.75), "lenet5-sigmoid": (load_mnist, 3e-3, 4, 0.85),
    "lenet5-classic": (load_mnist, 1e-3, 2, 0.87), "simple-convnet": (load_mnist, 1e-3, 2, 0.87),
    "lenet5-by-hand": (load_mnist, 5e-3, 2, 0.8), "lenet5-tensorflow": (load_mnist, 3e-3, 3, 0.75),
    "small-alexnet": (load_mnist, 1e-3, 2, 0.85), "small-resnet": (load_fashion_mnist, 4e-3, 2, 0.7),
    "mnist-cnn": (load_mnist, 1e-3, 1, 0.75), "deep-convnet": (load_mnist, 1e-3, 1, 0.7),
    "cifar-cnn": (load_fashion_mnist, 1e-3, 1, 0.6), "resnet20": (load_fashion_mnist, 4e-3, 1, 0.5),
    "mobilenet-small": (load_fashion_mnist, 4e-3, 1, 0.5), "vgg-small": (load_fashion_mnist, 1e-3, 1, 0.7),
}  # fmt: skip


@pytest.mark.skipif(not REAL, reason="FASTCONV_DATA is not set to a folder with MNIST and Fashion-MNIST")
@pytest.mark.parametrize("name", MODELS)
def test_it_learns_real_images(name):
    """A sixth of the data is enough to tell, and takes seconds."""
    load, lr, epochs, accuracy = IMAGES[name]
    train, test = (tuple(a[:n] for a in part) for part, n in zip(load(), (10_000, 2_000)))
    assert trained(name, train, test, lr, epochs) > accuracy


@pytest.mark.parametrize("name", MODELS)
def test_a_seed_is_a_model(name):
    first, same, other = (MODELS[name](rng=seed).state_dict() for seed in (0, 0, 1))
    for path, value in first.items():
        assert_same_bits(value, same[path])
    assert not np.array_equal(first["0.weight"], other["0.weight"])


def test_options():
    model = lenet5(num_classes=7, in_channels=3, rng=0, dtype=np.float64)
    y = model(np.zeros((2, 3, 28, 28)))
    assert y.shape == (2, 7)
    assert y.dtype == np.float64
    with pytest.raises(ValueError, match="lenet5: variant must be one of relu_max, sigmoid_avg, classic, got"):
        lenet5("lenet")
    with pytest.raises(TypeError, match=r"lenet5: num_classes must be an integer, got 10\.0"):
        lenet5(num_classes=10.0)
    with pytest.raises(ValueError, match="lenet5: in_channels must be from 1"):
        lenet5(in_channels=0)
    with pytest.raises(ValueError, match="lenet5: image_size must be 28 or 32, got 30"):
        lenet5(image_size=30)
    with pytest.raises(ValueError, match="simple_convnet: hidden must be from 1"):
        simple_convnet(hidden=0)
    with pytest.raises(ValueError, match="Dropout: p must be finite, at least 0, at most 1, got 2"):
        MODELS["small-alexnet"](dropout=2)
    with pytest.raises(ValueError, match="small_resnet: channels must be from 1"):
        small_resnet(channels=(4, 0))
    with pytest.raises(ValueError, match=r"vgg_small: channels must be one or more integers, got \(\)"):
        vgg_small(channels=())
    with pytest.raises(ValueError, match=r"cifar_cnn: channels must be 2 integers, got \(8,\)"):
        cifar_cnn(channels=(8,))
    with pytest.raises(ValueError, match=r"cifar_cnn: dropout must be 3 numbers, got 0\.5"):
        cifar_cnn(dropout=0.5)
    with pytest.raises(ValueError, match="resnet20: blocks must be from 1"):
        resnet20(blocks=0)


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_a_batch_by_heart(name):
    model = narrow(name, (1, 28, 28), **({"dropout": NO_DROPOUT[name]} if name in NO_DROPOUT else {}))
    rng = np.random.default_rng(0)
    x, labels = real(rng, (16, 1, 28, 28), np.float32), np.arange(16) % 10
    optimizer = optim.Adam(model.parameters(), 3e-3)
    losses = []
    for _ in range(150):
        y, backward = model.forward_from_data(x)
        loss, grad = fastconv.cross_entropy(y, labels)
        losses.append(loss)
        optimizer.zero_grad()
        backward(grad)
        optimizer.step()
    assert losses[-1] < 0.1 * losses[0]
    assert (model(x).argmax(1) == labels).all()


def test_backends_agree():
    model = lenet5(rng=0, dtype=np.float64)
    x = real(np.random.default_rng(0), (2, 1, 28, 28), np.float64)
    y = model(x)
    with fastconv.use_backend("numpy"):
        np.testing.assert_allclose(model(x), y, rtol=1e-12, atol=1e-14)
    assert isinstance(model[:2], nn.Sequential)
