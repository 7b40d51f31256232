"""numpy-ml: functions and layers against the reference, and what is wrong there is right here, each by its numbers."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import inner, integers

from fastconv import reference
from fastconv.compat import numpy_ml as p
from fastconv.compat.numpy_ml.neural_nets.initializers import WeightInitializer
from fastconv.compat.numpy_ml.neural_nets.optimizers import OptimizerBase


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("stride", "pad", "dilation", "pads"), [
    (1, 0, 0, 0), (2, 1, 0, 1), (1, (1, 2), 1, (1, 2)), (2, (1, 0, 2, 1), 1, ((1, 0), (2, 1))), (1, "same", 0, "same"),
])  # fmt: skip
def test_convolution_of_images(rng, stride, pad, dilation, pads):
    X, W = integers(rng, (2, 7, 6, 3), np.float64), integers(rng, (3, 2, 3, 4), np.float64)
    images, kernels = X.transpose(0, 3, 1, 2), W.transpose(3, 2, 0, 1)
    expected = reference.conv2d(images, kernels, None, stride, pads, dilation + 1).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(p.conv2D(X, W, stride, pad, dilation), expected)
    columns, four = p.im2col(X, W.shape, pad, stride, dilation)
    rows = np.moveaxis(expected, 0, 2).reshape(-1, 4)  # (oy, ox, n)
    np.testing.assert_array_equal(columns.T @ kernels.reshape(4, -1).T, rows)
    other = integers(rng, columns.shape, np.float64)
    back = p.col2im(other, X.shape, W.shape, four, stride, dilation)
    assert back.shape == images.shape
    assert inner(columns, other) == inner(images, back)
    assert p.calc_conv_out_dims(X.shape, W.shape, stride, pad, dilation) == expected.shape
    padded, same = p.pad2D(X, pad, (3, 2), stride, dilation)
    assert same == four
    assert padded.shape == (2, 7 + four[0] + four[1], 6 + four[2] + four[3], 3)


@pytest.mark.parametrize("pad", [0, (2, 1), "same", "causal"])
def test_convolution_of_sequences(rng, pad):
    X, W = integers(rng, (2, 9, 3), np.float64), integers(rng, (3, 3, 4), np.float64)
    padded, (left, right) = p.pad1D(X, pad, 3, 1)
    assert {"same": (1, 1), "causal": (2, 0)}.get(pad, (left, right)) == (left, right)
    expected = np.stack([np.einsum("nkc,kcf->nf", padded[:, t : t + 3], W) for t in range(padded.shape[1] - 2)], axis=1)
    np.testing.assert_array_equal(p.conv1D(X, W, 1, pad), expected)
    assert p.calc_conv_out_dims(X.shape, W.shape, 1, pad) == expected.shape


@pytest.mark.parametrize(("kernel", "stride", "pad", "cut"), [
    ((3, 3), 1, 0, 0), ((3, 2), 2, 1, 1), ((2, 2), 2, "same", ((0, 1), (0, 1))),
    ((3, 3), 3, (0, 1, 1, 0), ((0, 1), (1, 0))), ((4, 4), 2, "same", ((1, 2), (1, 2))),
])  # fmt: skip
def test_transposed_convolution(rng, kernel, stride, pad, cut):
    """An even kernel with "same", and uneven padding, are moved by a pixel in the original."""
    X, W = integers(rng, (2, 4, 5, 3), np.float64), integers(rng, (*kernel, 3, 4), np.float64)
    expected = reference.conv_transpose2d(X.transpose(0, 3, 1, 2), W.transpose(2, 3, 0, 1), None, stride, cut)
    np.testing.assert_array_equal(p.deconv2D_naive(X, W, stride, pad), expected.transpose(0, 2, 3, 1))
    layer = p.Deconv2D(4, kernel, pad, stride)
    layer.forward(X)
    layer.parameters["W"] = W
    np.testing.assert_array_equal(layer.forward(X), expected.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(("size", "out", "stride", "pads"), [
    (9, 9, 1, (1, 1)), (9, 9, 2, (5, 5)), (9, 5, 2, (1, 1)), (10, 5, 2, (0, 1)), (11, 3, 3, (0, 0)), (10, 3, 3, (0, 0)),
])  # fmt: skip
def test_padding_for_a_size(size, out, stride, pads):
    """Where two pixels or more are left over, the original has an error."""
    assert p.calc_pad_dims_2D((1, size, size, 1), (out, out), (3, 3), stride) == pads * 2
    assert p.calc_pad_dims_1D((1, size, 1), out, 3, stride) == pads
    assert p.calc_pad_dims_1D((1, size, 1), out, 3, stride, causal=True) == (sum(pads), 0)
    assert (size + sum(pads) - 3) // stride + 1 == out


def test_dilate(rng):
    X = integers(rng, (1, 2, 3, 2), np.float64)
    found = p.dilate(X, 2)
    assert found.shape == (1, 4, 7, 2)
    np.testing.assert_array_equal(found[:, ::3, ::3], X)
    assert found.sum() == X.sum()


LAYERS = {
    "Conv2D": lambda: p.Conv2D(3, (3, 2), pad="same", dilation=1, act_fn="Tanh"),
    "Conv1D": lambda: p.Conv1D(3, 3, pad="causal", act_fn="Sigmoid"),
    "Deconv2D": lambda: p.Deconv2D(3, (3, 3), pad=1, stride=2, act_fn="Leaky ReLU(alpha=0.3)"),
    "max": lambda: p.Pool2D((3, 2), stride=2, pad=1),
    "average": lambda: p.Pool2D((2, 2), pad="same", mode="average"),
    "BatchNorm2D": lambda: p.BatchNorm2D(),
    "FullyConnected": lambda: p.FullyConnected(3, act_fn="GELU(approximate=True)"),
    "exact GELU": lambda: p.FullyConnected(3, act_fn="GELU(approximate=False)"),
    "Softmax": lambda: p.Softmax(),
    "Flatten": lambda: p.Flatten("last"),
}
SHAPES = {"Conv1D": (2, 6, 2), "FullyConnected": (4, 5), "exact GELU": (4, 5), "Softmax": (4, 5)}


def numerical(total, x):
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        old, sums = x[place], []
        for moved in (old + 1e-6, old - 1e-6):
            x[place] = moved
            sums.append(total())
        x[place] = old
        found[place] = (sums[0] - sums[1]) / 2e-6
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_add_up(rng, name):
    """Twice forward, then backward with a list; max-pooling with padding crashes in the original."""
    np.random.seed(0)  # noqa: NPY002
    layer, shape = LAYERS[name](), SHAPES.get(name, (2, 5, 4, 2))
    x, other = rng.standard_normal(shape), rng.standard_normal(shape)
    y, z = layer.forward(x), layer.forward(other)
    g, h = rng.standard_normal(y.shape), rng.standard_normal(z.shape)
    dx, dother = layer.backward([g, h])

    def total():
        layer.X = []
        result = (layer.forward(x) * g).sum() + (layer.forward(other) * h).sum()
        layer.X = []
        return result

    np.testing.assert_allclose(dx, numerical(total, x), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(dother, numerical(total, other), rtol=1e-5, atol=1e-7)
    for key, found in layer.gradients.items():
        np.testing.assert_allclose(found, numerical(total, layer.parameters[key]), rtol=1e-5, atol=1e-7)
        assert found.shape == layer.parameters[key].shape


def test_pooling_pads_with_0(rng):
    X = -1 - np.abs(integers(rng, (1, 4, 4, 1), np.float64))
    layer = p.Pool2D((2, 2), stride=2, pad=1)
    Y = layer.forward(X)
    np.testing.assert_array_equal(Y[0, :, :, 0] == 0, [[True] * 3, [True, False, True], [True] * 3])
    # a padding that is the largest takes its gradient with it
    dX = layer.backward(np.ones_like(Y))
    assert dX.sum() == 1
    assert (layer.derived_variables["out_rows"], layer.derived_variables["out_cols"]) == ([3], [3])


def test_as_many_gradients_as_inputs(rng):
    """The original leaves the others out."""
    layer, x = p.FullyConnected(3), rng.random((2, 4))
    layer.forward(x)
    layer.forward(x)
    with pytest.raises(ValueError, match="FullyConnected: dLdy must be of 2 results, got 1"):
        layer.backward(np.ones((2, 3)))


def test_a_frozen_layer_hands_gradients_on(rng):
    """The original stops at an assertion."""
    layer, x = p.Conv2D(3, (3, 3)), rng.random((1, 5, 5, 2))
    y = layer.forward(x)
    expected = layer.backward(np.ones_like(y))
    layer.flush_gradients()
    layer.freeze()
    layer.forward(x)
    np.testing.assert_array_equal(layer.backward(np.ones_like(y)), expected)
    assert not layer.gradients["W"].any()
    norm = p.BatchNorm2D()
    norm.freeze()
    norm.backward(np.ones_like(norm.forward(x)))
    assert not norm.gradients["scaler"].any()
    with pytest.raises(ValueError, match=r"Conv2D: is frozen, update needs unfreeze\(\) before it"):
        layer.update()


def test_layers_do_not_share_an_optimiser(rng):
    """In the original the layers that are given one object mix their memories, by the name W."""
    optimizer = p.Adam(lr=0.1)
    first, second = p.FullyConnected(3, optimizer=optimizer), p.FullyConnected(2, optimizer=optimizer)
    for layer, x in ((first, rng.random((2, 4))), (second, rng.random((2, 3)))):
        layer.backward(np.ones_like(layer.forward(x)))
        layer.update()
    assert first.optimizer.cache["W"]["mean"].shape == (4, 3)
    assert second.optimizer.cache["W"]["mean"].shape == (3, 2)
    assert not optimizer.cache


def test_summaries(rng):
    """A layer takes what another one was; the original draws the weights anew, and empties the summary."""
    layer, x = (
        p.Conv2D(3, (3, 3), pad="same", act_fn="Hard Sigmoid", optimizer="Adam(lr=0.1)"),
        rng.random((1, 5, 5, 2)),
    )
    y = layer.forward(x)
    summary = layer.summary()
    other = p.Conv2D(1, (1, 1)).set_params(summary)
    np.testing.assert_array_equal(other.forward(x), y)
    assert set(summary) == {"layer", "parameters", "hyperparameters"}
    assert (summary["layer"], summary["hyperparameters"]["act_fn"]) == ("Conv2D", "Hard Sigmoid")
    assert str(other.optimizer) == str(layer.optimizer)


@pytest.mark.parametrize("text", [
    "SGD(lr=0.1, momentum=0.9, clip_norm=None, lr_scheduler=ConstantScheduler(lr=0.1))",
    "AdaGrad(lr=0.1, eps=1e-05, clip_norm=2.0, lr_scheduler=ConstantScheduler(lr=0.1))",
    "RMSProp(lr=0.1, eps=1e-07, decay=0.5, clip_norm=None, lr_scheduler=ConstantScheduler(lr=0.1))",
    "Adam(lr=0.1, decay1=0.8, decay2=0.9, eps=1e-07, clip_norm=1.0, lr_scheduler=ConstantScheduler(lr=0.1))",
])  # fmt: skip
def test_optimisers_by_their_texts(text):
    """Names with digits and underscores too, which the original leaves out without a word."""
    assert str(p.FullyConnected(2, optimizer=text).optimizer) == text


def test_clipped_gradients():
    found = p.SGD(lr=1.0, clip_norm=1.0)(np.zeros(2), np.array([3.0, 4.0]), "W")
    np.testing.assert_allclose(found, [-0.6, -0.8])


@pytest.mark.parametrize("text", [
    "ReLU", "Tanh", "SELU", "Sigmoid", "Identity", "Hard Sigmoid", "SoftPlus", "Exponential",
    "Affine(slope=2.0, intercept=1.0)", "Leaky ReLU(alpha=0.5)", "GELU(approximate=False)", "ELU(alpha=0.5)",
])  # fmt: skip
def test_activations_by_their_texts(rng, text):
    """Those of ELU, GELU and the hard sigmoid crash in the original; derivatives against central differences."""
    function = p.FullyConnected(2, act_fn=text).act_fn
    assert str(function) == text
    z = rng.standard_normal((3, 4))
    for derivative, of in ((function.grad, function.fn), (function.grad2, function.grad)):
        np.testing.assert_allclose(derivative(z), (of(z + 1e-6) - of(z - 1e-6)) / 2e-6, rtol=1e-5, atol=1e-8)
    assert function(z[0]).shape == (1, 4)


@pytest.mark.parametrize(("mode", "deviation"), [
    ("he_normal", np.sqrt(2 / 600)), ("he_uniform", np.sqrt(2 / 600)), ("glorot_normal", np.sqrt(4 / 1000)),
    ("glorot_uniform", np.sqrt(4 / 1000)), ("std_normal", 1), ("trunc_normal", 1),
])  # fmt: skip
def test_random_weights(mode, deviation):
    """`trunc_normal` crashes in the original."""
    np.random.seed(0)  # noqa: NPY002
    W = WeightInitializer("ReLU", mode)((600, 400))
    truncated = 0.8796 if mode.endswith("_normal") and mode != "std_normal" else 1.0
    np.testing.assert_allclose(W.std(), truncated * deviation, rtol=0.01)


def test_the_gain_of_leaky_relu():
    """sqrt(2 / (1 + alpha**2)); the original has sqrt(2 / 1 + alpha**2)."""
    drawn = []
    for act_fn in ("Identity", "Leaky ReLU(alpha=2)"):
        np.random.seed(0)  # noqa: NPY002
        drawn.append(WeightInitializer(act_fn)((3, 4)))
    np.testing.assert_allclose(drawn[1], drawn[0] * np.sqrt(2 / 5))


def test_float32_by_one_argument(rng):
    layer = p.Conv2D(3, (3, 3), dtype=np.float32)
    y = layer.forward(rng.random((1, 5, 5, 2), np.float32))
    layer.backward(y)
    layer.update()
    assert y.dtype == layer.parameters["W"].dtype == layer.parameters["b"].dtype == np.float32


@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: p.pad2D(np.ones((1, 2, 2, 1)), "same"), ValueError, "pad2D: pad 'same' needs kernel_shape and stride"),
    (lambda: p.pad2D(np.ones((1, 2, 2, 1)), "full"), ValueError, "pad2D: pad must be integers or 'same', got 'full'"),
    (lambda: p.pad2D(np.ones((2, 2)), 1), ValueError, r"pad2D: X must have shape \(N, H, W, C\), got \(2, 2\)"),
    (lambda: p.conv2D(np.ones((1, 3, 3, 2)), np.ones((2, 2, 1, 1)), 1, 0), ValueError, "X must have 1 channels"),
    (lambda: p.calc_pad_dims_2D((1, 9, 9, 1), (1, 1), (3, 3), 1), ValueError, "calc_pad_dims_2D: out_dim 1 is less"),
    (lambda: p.col2im(np.ones((4, 4)), (1, 3, 3, 1), (2, 2, 1, 1), 0, 1), TypeError, "col2im: pad must be"),
    (lambda: p.Conv2D(3, (3, 3), act_fn="swish"), ValueError, "Conv2D: act_fn must be one of relu, .*, got 'swish'"),
    (lambda: p.Conv2D(3, (3, 3), act_fn="ELU(beta=1)"), ValueError, "has arguments that it does not take"),
    (lambda: p.Conv2D(3, (3, 3), optimizer="LBFGS"), ValueError, "optimizer must be one of sgd, .*, got 'LBFGS'"),
    (lambda: p.Conv2D(3, (3, 3), optimizer=3), TypeError, "Conv2D: optimizer must be an optimiser"),
    (lambda: p.SGD(lr_scheduler="NoamScheduler()"), ValueError, "SGD: lr_scheduler must be None"),
    (lambda: p.Conv2D(3, (3, 3), init="zeros").forward(np.ones((1, 3, 3, 1))), ValueError, "mode must be one of"),
    (lambda: p.Pool2D((2, 2), mode="min"), ValueError, "Pool2D: mode must be one of max, average, got 'min'"),
    (lambda: p.FullyConnected(3).forward(np.ones((1, 2, 2, 1))), ValueError, r"FullyConnected: X .* Flatten\(\) makes"),
    (lambda: p.Conv2D(3, (3, 3)).forward([[1]]), TypeError, "Conv2D: X must be a NumPy array, got list"),
    (lambda: p.Flatten("all"), ValueError, "Flatten: keep_dim must be 'first', 'last' or -1, got 'all'"),
    (lambda: OptimizerBase(None, lr=0.1, clip_norm=None)(1, 1, "W"), NotImplementedError, "does not define update"),
    (lambda: p.LayerBase().forward(np.ones(2)), NotImplementedError, r"LayerBase does not define forward\(X\)"),
])  # fmt: skip
def test_errors_name_the_argument(call, error, message):
    with pytest.raises(error, match=message):
        call()
