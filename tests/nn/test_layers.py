"""Layers: gradients by central differences, parameters by name, and what the containers promise."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest
from every import LAYER_NAMES
from fuzzing import calls
from strategies import assert_same_bits, integers, real

import fastconv
from fastconv import nn
from fastconv.errors import ShapeError
from fastconv.models import LENET5_VARIANTS, lenet5
from fastconv.testing import gradcheck

D = {"rng": 0, "dtype": np.float64}
DTYPE = {"dtype": np.float64}
TABLE = np.array([[True, False, True, False], [True, True, True, True], [False, False, False, True]])
IMAGES = (2, 4, 7, 6)
LAYERS = {
    "Conv2d": (nn.Conv2d(4, 3, 3, **D), IMAGES),
    "Conv2d all options": (nn.Conv2d(4, 6, (3, 2), (2, 1), ((1, 0), (2, 1)), (1, 2), 2, **D), IMAGES),
    "Conv2d without bias": (nn.Conv2d(4, 3, 2, padding="same", bias=False, **D), IMAGES),
    "Linear": (nn.Linear(5, 3, **D), (4, 5)),
    "Linear without bias": (nn.Linear(5, 3, bias=False, **D), (4, 5)),
    "Flatten": (nn.Flatten(), IMAGES),
    "MaxPool2d": (nn.MaxPool2d(2), IMAGES),
    "MaxPool2d all options": (nn.MaxPool2d(3, (2, 1), 1, 1, True), IMAGES),
    "AvgPool2d": (nn.AvgPool2d(2), IMAGES),
    "AvgPool2d all options": (nn.AvgPool2d((3, 2), 2, 1, True, False), IMAGES),
    "AvgPool2d divisor": (nn.AvgPool2d(2, divisor_override=3), IMAGES),
    "ReLU": (nn.ReLU(), IMAGES),
    "ReLU6": (nn.ReLU6(), IMAGES),
    "Sigmoid": (nn.Sigmoid(), IMAGES),
    "Tanh": (nn.Tanh(), IMAGES),
    "LeakyReLU": (nn.LeakyReLU(0.3), IMAGES),
    "Softmax": (nn.Softmax(), (3, 5)),
    "Softmax over channels": (nn.Softmax(1), IMAGES),
    "ConvTranspose2d": (nn.ConvTranspose2d(4, 3, 3, **D), IMAGES),
    "ConvTranspose2d all options": (
        nn.ConvTranspose2d(4, 6, (3, 2), (2, 3), ((1, 0), (2, 1)), (1, 2), 2, True, (1, 2), **D), (2, 4, 3, 2)
    ),
    "ConvTranspose2d without bias": (nn.ConvTranspose2d(4, 3, 2, 2, "same_upper", bias=False, **D), (2, 4, 3, 2)),
    "PartialConv2d": (nn.PartialConv2d(TABLE, 3, **D), IMAGES),
    "PartialConv2d without bias": (nn.PartialConv2d(TABLE, 2, 2, 1, 2, False, **D), IMAGES),
    "GlobalAvgPool2d": (nn.GlobalAvgPool2d(), IMAGES),
    "LocalResponseNorm": (nn.LocalResponseNorm(3, 0.5, 0.6, 1.5), IMAGES),
    "Residual": (nn.Residual(nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, **D), nn.Tanh())), IMAGES),
    "Residual with a shortcut": (
        nn.Residual(nn.Conv2d(4, 3, 3, 2, 1, **D), nn.Sequential(nn.Conv2d(4, 3, 1, 2, **D), nn.Tanh())), IMAGES
    ),
    "Sequential": (
        nn.Sequential(nn.Conv2d(4, 3, 3, **D), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(12, 2, **D)), IMAGES
    ),
    "nested": (nn.Sequential(nn.Sequential(nn.Linear(5, 4, **D), nn.Tanh()), nn.Linear(4, 2, **D)), (3, 5)),
}  # fmt: skip


def norm(C, *options):
    """A batch normalisation whose weights are not the ones it starts with."""
    layer, rng = nn.BatchNorm2d(C, *options, **DTYPE), np.random.default_rng(4)
    for parameter in layer.parameters():
        parameter.value[...] = rng.standard_normal(C)
    return layer


# what these do in training is something else than in inference
TRAINED = {
    "Dropout": (nn.Dropout(0.4, rng=0), IMAGES),
    "BatchNorm2d": (norm(4), IMAGES),
    "BatchNorm2d without weights": (norm(4, 0.1, None, False), IMAGES),
    "both in a model": (
        nn.Sequential(
            nn.Conv2d(4, 3, 3, **D), norm(3), nn.Tanh(), nn.Flatten(), nn.Dropout(0.3, rng=1),
            nn.Linear(60, 2, **D)
        ),
        IMAGES,
    ),
}  # fmt: skip


def spread(shape):
    """Distinct values, far apart beside eps and away from 0: neither ReLU nor a maximum has its kink nearby."""
    values = (np.arange(np.prod(shape)) + 0.5) / np.prod(shape) * 4 - 2
    return np.random.default_rng(3).permutation(values).reshape(shape)


@pytest.mark.parametrize("name", LAYERS)
def test_gradients(name):
    layer, shape = LAYERS[name]
    gradcheck(layer, spread(shape))


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_in_training(name):
    layer, shape = TRAINED[name]
    before = layer.state_dict(resumable=True)
    gradcheck(layer, spread(shape), training=True)
    for path, value in layer.state_dict(resumable=True).items():
        assert_same_bits(value, before[path])


@pytest.mark.parametrize("name", [name for name in TRAINED if name != "Dropout"])
def test_gradients_in_training_are_not_those_of_inference(name):
    """The check of the check: with the differences of inference it must fail."""
    layer, shape = TRAINED[name]
    with pytest.raises(AssertionError, match=r"layer\(x\) and layer.forward\(x\)\[0\] differ"):
        gradcheck(layer, spread(shape))


def test_every_layer_has_a_row():
    assert {type(layer).__name__ for layer, _ in [*LAYERS.values(), *TRAINED.values()]} == LAYER_NAMES
    assert calls.LAYERS.keys() == LAYER_NAMES


@pytest.mark.parametrize("name", [*LAYERS, *TRAINED])
def test_output_shape_and_two_ways_to_call(name):
    layer, shape = {**LAYERS, **TRAINED}[name]
    x = real(np.random.default_rng(0), shape, np.float64)
    y = layer(x)
    assert layer.output_shape(shape) == y.shape == layer.forward(x)[0].shape
    if name in LAYERS:
        # not the same bits: a Sequential computes a few images in another way where no gradient is wanted
        np.testing.assert_allclose(layer.forward(x)[0], y, rtol=1e-12, atol=1e-12)
    assert type(layer).__name__ in repr(layer)


@pytest.mark.parametrize("variant", LENET5_VARIANTS)
def test_gradients_of_lenet5(variant):
    # 12 elements of each array: the sigmoids' gradients are small, so the absolute tolerance must be too
    x = real(np.random.default_rng(0), (2, 1, 28, 28), np.float64)
    gradcheck(lenet5(variant, **D), x, samples=12, atol=1e-8)


class Wrong(nn.Linear):
    """A layer with one mistake, to check the checker."""

    mistake = ""

    def forward(self, x):
        y, right = super().forward(x)

        def backward(grad_y):
            grad_x = right(grad_y)
            if self.mistake == "x":
                grad_x[0, 0] += 0.1
            if self.mistake == "weight":
                self.weight.grad *= 1.1
            if self.mistake == "replaces":
                self.bias.zero_grad()
                self.bias.accumulate(grad_y.sum(0))
            return grad_x[:1] if self.mistake == "shape" else grad_x

        if self.mistake == "input":
            x += 1
        return (y + 1 if self.mistake == "training" else y), backward


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ("", None),
        ("x", r"gradient of x at \(0, 0\) is .*, the central difference"),
        ("weight", "gradient of weight "),
        ("replaces", "gradient of bias is not added to what is there"),
        ("shape", r"gradient of x has shape \(1, 3\), not \(4, 3\)"),
        ("input", "changes its input"),
        ("training", r"layer\(x\) and layer.forward\(x\)\[0\] differ"),
    ],
)
def test_gradcheck_finds(mistake, message):
    layer = Wrong(3, 2, **D)
    layer.mistake = mistake
    state = layer.state_dict()
    if message is None:
        gradcheck(layer, spread((4, 3)))
    else:
        with pytest.raises(AssertionError, match=message):
            gradcheck(layer, spread((4, 3)))
    for name, value in layer.state_dict().items():
        assert_same_bits(value, state[name])


def test_gradcheck_wants_float64():
    with pytest.raises(TypeError, match="gradcheck: x must be a float64 array, got float32"):
        gradcheck(nn.ReLU(), np.ones(3, np.float32))
    with pytest.raises(TypeError, match="gradcheck: weight must be a float64 array, got float32"):
        gradcheck(nn.Linear(2, 2, rng=0), np.ones((1, 2)))


def model(seed=0):
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, rng=seed), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3, rng=seed)
    )


def test_state_dict_round_trip():
    first, second = model(0), model(1)
    state = first.state_dict()
    assert list(state) == ["0.weight", "0.bias", "4.weight", "4.bias"]
    for name, parameter in first.named_parameters():
        assert not np.shares_memory(state[name], parameter.value)
    kept = second.parameters()[0].value
    second.load_state_dict(state)
    assert second.parameters()[0].value is kept  # optimisers hold on to the parameters
    for name, value in second.state_dict().items():
        assert_same_bits(value, state[name])
    x = real(np.random.default_rng(0), (2, 1, 6, 6), np.float32)
    assert_same_bits(second(x), first(x))


def test_load_state_dict_is_strict_and_all_or_nothing():
    target = model(0)
    before = target.state_dict()
    state = model(1).state_dict()
    missing = {k: v for k, v in state.items() if k != "4.bias"}
    with pytest.raises(KeyError, match=r"missing \['4.bias'\], unknown \['5.bias'\]"):
        target.load_state_dict({**missing, "5.bias": np.zeros(3)})
    with pytest.raises(ShapeError, match=r"load_state_dict: 4.bias must have shape \(3,\), got \(2,\)"):
        target.load_state_dict({**state, "4.bias": np.zeros(2)})
    with pytest.raises(ShapeError, match=r"0\.bias must have shape"):
        target.load_state_dict({"0.weight": state["0.weight"], "0.bias": np.zeros((2, 1))}, strict=False)
    for name, value in target.state_dict().items():
        assert_same_bits(value, before[name])
    target.load_state_dict({**missing, "5.bias": np.zeros(3)}, strict=False)
    np.testing.assert_array_equal(target.state_dict()["4.weight"], state["4.weight"])
    np.testing.assert_array_equal(target.state_dict()["4.bias"], before["4.bias"])


def test_freeze():
    net = model()
    assert net[0].freeze() is net[0]
    x = real(np.random.default_rng(0), (2, 1, 6, 6), np.float32)
    y, backward = net.forward(x)
    grad_x = backward(np.ones_like(y))
    assert grad_x.any()  # frozen layers still carry the gradient
    moved = {name: bool(p.grad.any()) for name, p in net.named_parameters()}
    assert moved == {"0.weight": False, "0.bias": False, "4.weight": True, "4.bias": True}
    net.zero_grad()
    assert not any(p.grad.any() for p in net.parameters())


def test_gradients_add_up():
    layer = nn.Conv2d(2, 3, 2, rng=0)
    rng = np.random.default_rng(0)
    layer.weight.value[...] = integers(rng, layer.weight.value.shape, np.float32)
    x, g = integers(rng, (2, 2, 4, 4), np.float32), integers(rng, (2, 3, 3, 3), np.float32)
    _, backward = layer.forward(x)
    backward(g)
    once = layer.weight.grad.copy()
    backward(g)
    np.testing.assert_array_equal(layer.weight.grad, 2 * once)
    np.testing.assert_array_equal(layer.bias.grad, 2 * g.sum((0, 2, 3)))


def test_a_layer_used_twice_is_one_set_of_parameters():
    shared = nn.Linear(3, 3, **D)
    net = nn.Sequential(shared, nn.Tanh(), shared)
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert net.parameters() == [shared.weight, shared.bias]
    x, eps = spread((2, 3)), 1e-6
    y, backward = net.forward(x)
    backward(np.ones_like(y))
    for place in np.ndindex(3, 3):
        old, sums = shared.weight.value[place], []
        for moved in (old + eps, old - eps):
            shared.weight.value[place] = moved
            sums.append(net(x).sum())
        shared.weight.value[place] = old
        np.testing.assert_allclose(shared.weight.grad[place], (sums[0] - sums[1]) / (2 * eps), rtol=1e-3, atol=1e-5)


def test_sequential_is_a_sequence():
    net = model()
    assert len(net) == 5
    assert list(net) == list(net.layers)
    assert net[0] is net.layers[0]
    assert net[-1] is net.layers[4]
    part = net[1:4]
    assert isinstance(part, nn.Sequential)
    assert list(part) == list(net.layers[1:4])
    assert net[:1].parameters()[0] is net.parameters()[0]
    with pytest.raises(IndexError):
        net[5]
    with pytest.raises(TypeError, match="Sequential: layer 1 must be a Layer, got function"):
        nn.Sequential(nn.ReLU(), fastconv.relu)
    x = np.ones((2, 3), np.float32)
    y, backward = nn.Sequential().forward(x)
    assert y is x
    assert backward(x) is x


def test_summary():
    lines = model().summary((8, 1, 6, 6)).splitlines()
    assert lines[0].split() == ["layer", "output", "shape", "parameters"]
    assert lines[1].split("  ")[0] == "Conv2d(1, 2, (3, 3), stride=1, padding=0)"
    assert [line.split()[-1] for line in lines[1:7]] == ["20", "0", "0", "0", "27", "47"]
    assert "(8, 2, 2, 2)" in lines[3]
    assert "(8, 3)" in lines[5]


@pytest.mark.parametrize("first_is_conv", [True, False])
def test_forward_from_data_equals_forward(first_is_conv):
    net = model() if first_is_conv else model()[3:]
    shape = (2, 1, 6, 6) if first_is_conv else (2, 2, 2, 2)
    x = real(np.random.default_rng(0), shape, np.float32)
    y, backward = net.forward(x)
    backward(np.ones_like(y))
    expected = [p.grad.copy() for p in net.parameters()]
    net.zero_grad()
    data_y, data_backward = net.forward_from_data(x)
    data_backward(np.ones_like(y))
    assert_same_bits(data_y, y)
    for p, grad in zip(net.parameters(), expected):
        assert_same_bits(p.grad, grad)


def test_inference_in_many_threads():
    net, xs = model(), [real(np.random.default_rng(i), (2, 1, 6, 6), np.float32) for i in range(4)]
    expected, found = [net(x) for x in xs], {}

    def work(i):
        found[i] = [net(xs[i]) for _ in range(20)]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        assert len(found[i]) == 20
        for y in found[i]:
            assert_same_bits(y, expected[i])


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Conv2d(3, 4, 3, groups=2), ShapeError, "Conv2d: groups 2 must divide in_channels 3 and"),
        (lambda: nn.Conv2d(0, 4, 3), ShapeError, "Conv2d: in_channels must be from 1 to"),
        (lambda: nn.Conv2d(1, 4, 0), ShapeError, "Conv2d: kernel_size must be from 1 to"),
        (lambda: nn.Conv2d(1, 4.0, 3), TypeError, "Conv2d: out_channels must be an integer, got 4.0"),
        (lambda: nn.Linear(3, 0), ShapeError, "Linear: out_features must be from 1 to"),
        (lambda: nn.Linear(3, 2, rng=1.5), TypeError, "rng must be a numpy.random.Generator, an integer seed or None"),
        (lambda: nn.Linear(3, 2).output_shape((2, 4)), ShapeError, "Linear: takes 3 inputs, got an input of shape"),
        (
            lambda: nn.Conv2d(3, 12, 1, groups=3).output_shape((1, 12, 2, 2)),
            ShapeError,
            r"Conv2d: takes 3 channels, got an input of shape \(1, 12, 2, 2\)",
        ),
        (
            lambda: nn.ConvTranspose2d(3, 4, 3, groups=2),
            ShapeError,
            "ConvTranspose2d: groups 2 must divide in_channels 3",
        ),
        (lambda: nn.ConvTranspose2d(0, 4, 3), ShapeError, "ConvTranspose2d: in_channels must be from 1 to"),
        (lambda: nn.BatchNorm2d(0), ShapeError, "BatchNorm2d: num_features must be from 1 to"),
        (
            lambda: nn.BatchNorm2d(3, momentum=2),
            ValueError,
            "BatchNorm2d: momentum must be finite, at least 0, at most 1",
        ),
        (
            lambda: nn.BatchNorm2d(3).output_shape((1, 4, 2, 2)),
            ShapeError,
            "BatchNorm2d: takes 3 channels, got an input",
        ),
        (
            lambda: nn.BatchNorm2d(3)(np.ones((1, 4, 2, 2))),
            ShapeError,
            r"running_mean must have shape \(4,\), got \(3,\)",
        ),
        (lambda: nn.LocalResponseNorm(0), ShapeError, "LocalResponseNorm: size must be from 1 to"),
        (lambda: nn.LocalResponseNorm(3, k=None), TypeError, "LocalResponseNorm: k must be a number, got None"),
        (lambda: nn.Dropout(-0.1), ValueError, "Dropout: p must be finite, at least 0, at most 1, got -0.1"),
        (
            lambda: nn.Dropout(rng="0"),
            TypeError,
            "Dropout: rng must be a numpy.random.Generator, an integer seed or None",
        ),
        (lambda: nn.LeakyReLU("0"), TypeError, "LeakyReLU: negative_slope must be a number, got '0'"),
        (lambda: nn.Residual(np.tanh), TypeError, "Residual: body must be a Layer, got ufunc"),
        (lambda: nn.Residual(nn.ReLU(), 1), TypeError, "Residual: shortcut must be a Layer, got int"),
        (
            lambda: nn.Residual(nn.GlobalAvgPool2d())(np.ones((1, 2, 3, 3))),
            ShapeError,
            r"Residual: the shortcut's result must have the body's shape \(1, 2, 1, 1\), got \(1, 2, 3, 3\)",
        ),
        (
            lambda: nn.Residual(nn.GlobalAvgPool2d()).output_shape((1, 2, 3, 3)),
            ShapeError,
            "Residual: the shortcut's result must have the body's shape",
        ),
        (
            lambda: nn.PartialConv2d([[1]], 3),
            TypeError,
            "PartialConv2d: connections must be an array of booleans, got list",
        ),
        (lambda: nn.PartialConv2d(np.zeros((2, 2), bool), 3), ShapeError, "PartialConv2d: connections must be"),
        (lambda: nn.Layer()(np.ones(2)), NotImplementedError, r"Layer does not define forward\(x\)"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


INITIALISERS = ("he_uniform", "he_normal", "xavier_uniform", "xavier_normal", "lecun_uniform", "lecun_normal")


@pytest.mark.parametrize("name", [*INITIALISERS, "truncated_normal", "normal", "uniform", "zeros"])
def test_initialisers(name):
    make, shape = getattr(nn.init, name), (40, 30, 3, 3)
    values = make(shape, 0, np.float64)
    assert values.shape == shape
    assert make(shape, 0).dtype == np.float32
    assert_same_bits(make(shape, np.random.default_rng(0), np.float64), values)  # a seed is its generator
    fan_in, fan_out = 270, 360
    variance = {
        "he_uniform": 2 / fan_in, "he_normal": 2 / fan_in, "lecun_normal": 1 / fan_in, "normal": 1e-4,
        "lecun_uniform": 1 / fan_in, "xavier_uniform": 2 / (fan_in + fan_out), "zeros": 0,
        "xavier_normal": 2 / (fan_in + fan_out), "uniform": 1e-4 / 3, "truncated_normal": 0.1**2 * 0.7737,
    }[name]  # fmt: skip
    # 10,800 draws: five standard errors
    assert abs(values.var() - variance) <= 0.07 * variance
    assert abs(values.mean()) <= 5 * np.sqrt(variance / values.size)
    if name == "truncated_normal":
        assert abs(values).max() <= 0.2
    if "uniform" in name:  # the bound of a uniform distribution is sqrt(3) standard deviations
        bound = np.sqrt(3 * variance)
        assert 0.99 * bound < abs(values).max() <= bound * (1 + 1e-12)
    state = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    make(shape)
    np.testing.assert_array_equal(np.random.get_state(legacy=False)["state"]["key"], state)  # noqa: NPY002


IMAGE_LAYERS = [
    nn.Conv2d(3, 4, 2), nn.ConvTranspose2d(3, 4, 2), nn.PartialConv2d(np.ones((4, 3), bool), 2), nn.MaxPool2d(2),
    nn.AvgPool2d(2), nn.GlobalAvgPool2d(), nn.BatchNorm2d(3), nn.LocalResponseNorm(3), nn.Linear(4, 2),
]  # fmt: skip


@pytest.mark.parametrize("shape", [(4,), (5, 4), (3, 4, 4), (2, 3, 4, 4), (2, 6, 4, 4), (2, 2, 3, 4, 4)])
@pytest.mark.parametrize("layer", IMAGE_LAYERS, ids=lambda layer: type(layer).__name__)
def test_output_shape_takes_what_the_layer_takes(layer, shape):
    try:
        expected = layer(np.zeros(shape, np.float32)).shape
    except ShapeError:
        with pytest.raises(ShapeError):
            layer.output_shape(shape)
    else:
        assert layer.output_shape(shape) == expected


def test_an_error_inside_a_model_names_the_layer():
    conv = nn.Conv2d(1, 2, 3, rng=0)
    model = nn.Sequential(nn.ReLU(), conv, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(7, 2, rng=0))
    nested = nn.Sequential(nn.Tanh(), model)
    residual = nn.Sequential(nn.Tanh(), nn.Residual(nn.Sequential(nn.Flatten(), nn.Linear(7, 2, rng=0))))
    x = np.ones((3, 1, 6, 6), np.float32)
    wrong = "linear: weight takes 7 inputs, x has shape (3, {})"
    for layer, place in (
        (model, "Sequential: layer 5, Linear: " + wrong.format(8)),
        (nested, "Sequential: layer 1, Sequential: layer 5, Linear: " + wrong.format(8)),
        (residual, "Sequential: layer 1, Residual: body, Sequential: layer 1, Linear: " + wrong.format(36)),
    ):
        for run in (layer, layer.forward):
            with pytest.raises(ShapeError) as caught:
                run(x)
            assert str(caught.value) == place
    with pytest.raises(ShapeError, match=r"^Sequential: layer 5, Linear: takes 7 inputs"):
        model.output_shape(x.shape)
    with pytest.raises(TypeError, match=r"^Sequential: layer 1, Conv2d: .* must have dtype"):
        nn.Sequential(nn.Flatten(), conv)(np.zeros((3, 4), "S1"))


def test_images_that_would_fit_in_another_order_are_hinted_at():
    conv = nn.Conv2d(3, 2, 3, rng=0)
    for x, hint in (((4, 8, 8, 3), "x.transpose(0, 3, 1, 2)"), ((4, 8, 8, 5), "8 channels / 1 groups")):
        with pytest.raises(ShapeError, match=re.escape(hint)):
            conv(np.ones(x, np.float32))
    with pytest.raises(ShapeError, match="layout="):
        nn.MaxPool2d(2)(np.ones((4, 8, 8, 1), np.float32))
