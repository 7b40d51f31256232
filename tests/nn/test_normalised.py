"""Convolutions joined with normalisations, activations and residual connections compute what the layers do one by one.

Forward with the same bits; back within rounding, since sums over channels are taken with zeros where the gradient does
not pass the activation.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from strategies import assert_same_bits

import fastconv
from fastconv import nn
from fastconv.nn.fused.joined import Joined
from fastconv.nn.fused.normalised import Normalised

N, H, W = 5, 6, 7


def conv(C, OC, k=3, **options):
    return nn.Conv2d(C, OC, k, padding=k // 2, rng=1, **options)


def body(C, OC, stride=1):
    return nn.Sequential(
        conv(C, OC, bias=False, stride=stride), nn.BatchNorm2d(OC), nn.ReLU(), conv(OC, OC), nn.BatchNorm2d(OC)
    )


class Doubled(nn.Layer):
    """A user's own layer."""

    def forward(self, x):
        return 2 * x, lambda grad_y: 2 * grad_y


class Odd(nn.BatchNorm2d):
    """A normalisation that a joined one may not replace."""

    def forward(self, x):
        y, backward = super().forward(x)
        return -y, lambda grad_y: backward(-grad_y)

    def __call__(self, x):
        return -super().__call__(x)


# name: the layers for images of 4 channels, and the kinds of their steps
NETS = {
    "convolution, normalisation": (lambda: [conv(4, 6), nn.BatchNorm2d(6)], [Normalised]),
    "and ReLU": (lambda: [conv(4, 6, bias=False), nn.BatchNorm2d(6), nn.ReLU()], [Normalised]),
    "and ReLU6": (lambda: [conv(4, 6, stride=2), nn.BatchNorm2d(6, affine=False), nn.ReLU6()], [Normalised]),
    "depthwise": (lambda: [conv(4, 4, groups=4), nn.BatchNorm2d(4), nn.ReLU6()], [Normalised]),
    "without a convolution": (lambda: [nn.BatchNorm2d(4), nn.ReLU()], [Normalised]),
    "mean of all batches": (lambda: [conv(4, 6), nn.BatchNorm2d(6, momentum=None), nn.ReLU()], [Normalised]),
    "residual": (lambda: [nn.Residual(body(4, 4)), nn.ReLU()], [Joined]),
    "residual alone": (lambda: [nn.Residual(body(4, 4))], [Joined]),
    "residual, ReLU6": (lambda: [nn.Residual(body(4, 4)), nn.ReLU6()], [Joined]),
    "normalised shortcut": (
        lambda: [
            nn.Residual(body(4, 6, 2), nn.Sequential(nn.Conv2d(4, 6, 1, 2, bias=False, rng=2), nn.BatchNorm2d(6))),
            nn.ReLU(),
        ],
        [Joined],
    ),
    "other shortcut": (lambda: [nn.Residual(body(4, 6), conv(4, 6, 1)), nn.ReLU()], [Joined]),
    "body of one convolution": (
        lambda: [nn.Residual(nn.Sequential(conv(4, 4), nn.BatchNorm2d(4))), nn.ReLU()], [Joined]
    ),
    "body that ends otherwise": (lambda: [nn.Residual(nn.Sequential(conv(4, 4))), nn.ReLU()], [Joined]),
    "body of a user's layer": (
        lambda: [nn.Residual(nn.Sequential(Doubled(), conv(4, 4), nn.BatchNorm2d(4))), nn.ReLU()], [Joined]
    ),
    "a user's layer between": (
        lambda: [conv(4, 6), nn.BatchNorm2d(6), Doubled(), nn.ReLU()], [Normalised, Doubled, None]
    ),
    "a user's normalisation": (lambda: [conv(4, 6), Odd(6), nn.ReLU()], [None, Odd, None]),
    "a network": (
        lambda: [
            conv(4, 6), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Residual(body(6, 6)), nn.ReLU(),
            nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(6, 3, rng=3),
        ],
        [Normalised, None, Joined, nn.GlobalAvgPool2d, None],
    ),
}  # fmt: skip


def as_dtype(model, dtype):
    for parameter in model.parameters():
        parameter.value = parameter.value.astype(dtype)
        parameter.grad = np.zeros_like(parameter.value)
    for buffer in model.buffers():
        if buffer.value.dtype.kind == "f":
            buffer.value = buffer.value.astype(dtype)
    return model


def model_of(name, dtype):
    model, rng = as_dtype(nn.Sequential(*NETS[name][0]()), dtype), np.random.default_rng(4)
    for parameter in model.parameters():
        parameter.value += rng.standard_normal(parameter.value.shape).astype(dtype) / 4
    return model


def images(dtype, seed=0):
    return np.random.default_rng(seed).standard_normal((N, 4, H, W)).astype(dtype)


def one_by_one(layers, x):
    backwards = []
    for layer in layers:
        x, backward = layer.forward(x)
        backwards.append(backward)

    def backward_all(g):
        for backward in reversed(backwards):
            g = backward(g)
        return g

    return x, backward_all


def residuals_one_by_one(monkeypatch):
    """Inside `Residual`s too, no layers are computed together."""
    monkeypatch.setattr(nn.Sequential, "_steps", lambda self: self.layers)


def trained(model, run, x):
    y, backward = run(x)
    g = np.random.default_rng(5).standard_normal(y.shape).astype(x.dtype)
    grad_x = backward(g)
    return y, grad_x, [p.grad.copy() for p in model.parameters()], [b.value.copy() for b in model.buffers()]


@pytest.mark.parametrize("name", NETS)
def test_steps(name):
    layers, kinds = NETS[name]
    steps = nn.Sequential(*layers()).parts()
    assert len(steps) == len(kinds)
    assert all(kind is None or type(step) is kind for step, kind in zip(steps, kinds))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NETS)
def test_training_is_that_of_the_layers(name, dtype, monkeypatch):
    x = images(dtype)
    joined = model_of(name, dtype)
    found = trained(joined, joined.forward, x)
    alone = model_of(name, dtype)
    with monkeypatch.context() as patch:
        residuals_one_by_one(patch)
        wanted = trained(alone, lambda x: one_by_one(alone.layers, x), x)
    eps = np.finfo(dtype).eps
    if name != "a network":  # whose linear layers add in another order
        assert_same_bits(found[0], wanted[0])
    for a, b in zip((found[0], found[1], *found[2]), (wanted[0], wanted[1], *wanted[2])):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=0, atol=64 * eps * max(1, np.abs(b).max()))
    for a, b in zip(found[3], wanted[3]):
        np.testing.assert_allclose(a, b, rtol=8 * eps, atol=eps)
    inferred, expected = joined(x), alone(x)
    np.testing.assert_allclose(inferred, expected, rtol=0, atol=64 * eps * np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name in NETS if "user" not in name])
def test_gradient_by_central_differences(name):
    model, x = model_of(name, np.float64), images(np.float64)
    y, backward = model.forward(x)
    weights = np.random.default_rng(6).standard_normal(y.shape)
    grad_x = backward(weights)
    total = lambda: float((model.forward(x)[0] * weights).sum())  # noqa: E731
    rng, h = np.random.default_rng(7), 1e-6
    for values, gradient in [(x, grad_x), *((p.value, p.grad) for p in model.parameters())]:
        for place in rng.integers(0, values.size, 6):
            kept = values.flat[place]
            values.flat[place] = kept + h
            above = total()
            values.flat[place] = kept - h
            below = total()
            values.flat[place] = kept
            slope = (above - below) / (2 * h)
            assert abs(slope - gradient.flat[place]) <= 2e-5 * max(1, np.abs(gradient).max())


@pytest.mark.parametrize("name", ["and ReLU", "normalised shortcut", "a network"])
def test_any_number_of_threads_gives_the_same_bits(name):
    x, found = np.repeat(images(np.float32), 200, 0), []
    for threads in (1, 2):
        with fastconv.num_threads(threads):
            model = model_of(name, np.float32)
            y, grad_x, grads, buffers = trained(model, model.forward, x)
            found.append([y, grad_x, *grads, *buffers, model(x)])
    for a, b in zip(*found):
        assert_same_bits(a, b)


def test_frozen_parameters_learn_nothing_and_the_rest_does():
    model, x = model_of("normalised shortcut", np.float32), images(np.float32)
    frozen = model.parameters()[::2]
    for parameter in frozen:
        parameter.trainable = False
    trained(model, model.forward, x)
    for parameter in model.parameters():
        assert parameter.grad.any() != any(parameter is other for other in frozen)


@pytest.mark.parametrize("name", ["and ReLU", "residual", "normalised shortcut"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_goes_where_the_layers_let_it_go(name, value, monkeypatch):
    x, g = images(np.float32), images(np.float32, 1)
    x[1, 2, 3, 4] = value
    found = model_of(name, np.float32)
    y, backward = found.forward(x)
    g = np.ones_like(y)
    grads = backward(g)
    alone = model_of(name, np.float32)
    residuals_one_by_one(monkeypatch)
    wanted, back = one_by_one(alone.layers, x)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_array_equal(np.isnan(grads), np.isnan(back(g)))


@pytest.mark.parametrize("var", [0.0, -1.0, np.nan, np.inf])
def test_inference_with_a_variance_that_is_none(var):
    """Then there are no weights to take it into, and the layers compute what they always do."""
    model, x = model_of("and ReLU", np.float32), images(np.float32)
    model[1].eps = 0.0
    model[1].running_var.value[2] = var
    wanted = x
    for layer in model:
        wanted = layer(wanted)
    found = model(x)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_replaced_array_and_changed_numbers_are_seen():
    model, x = model_of("and ReLU", np.float32), images(np.float32)
    model(x)
    model[1].weight.value *= 2
    model[1].running_mean.value += 1
    model[0].weight.value = model[0].weight.value + 1
    wanted = x
    for layer in model:
        wanted = layer(wanted)
    np.testing.assert_allclose(model(x), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    model[1].weight.value = np.ones(5, np.float32)
    with pytest.raises(ValueError, match=r"weight must have shape \(6,\), got \(5,\)"):
        model(x)
    with pytest.raises(ValueError, match=r"weight must have shape \(6,\), got \(5,\)"):
        model.forward(x)


@pytest.mark.parametrize("name", ["and ReLU", "residual"])
def test_errors_name_the_layer(name):
    model = model_of(name, np.float32)
    with pytest.raises(ValueError, match="Sequential: layer 0, "):
        model(np.zeros((2, 3, 6, 7), np.float32))
    with pytest.raises(ValueError, match="Sequential: layer 0, "):
        model.forward(np.zeros((2, 3, 6, 7), np.float32))
    with pytest.raises(ValueError, match="more than one value for each channel"):
        nn.Sequential(conv(4, 6), nn.BatchNorm2d(6)).forward(np.zeros((1, 4, 1, 1), np.float32))
    y, backward = model.forward(images(np.float32))
    with pytest.raises(ValueError, match="grad_y must have shape"):
        backward(y[:-1])


def test_copies_and_other_dtypes():
    model, x = model_of("a network", np.float32), images(np.float32)
    wanted = model(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_same_bits(other(x), wanted)
        other.parameters()[0].value += 1
        assert_same_bits(model(x), wanted)
    assert model(x.astype(np.float64)).dtype == np.float64
    one = model_of("and ReLU", np.float32)
    np.testing.assert_allclose(one(x[0]), one(x)[0], rtol=0, atol=1e-5)


def test_numpy_backend_computes_the_same():
    model, x = model_of("normalised shortcut", np.float32), images(np.float32)
    wanted = model(x)
    with fastconv.use_backend("numpy"):
        np.testing.assert_allclose(model(x), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
