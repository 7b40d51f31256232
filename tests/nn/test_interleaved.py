"""Batch-interleaved images: the same results and gradients as layer by layer, whatever the layers and the batch."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading
import tracemalloc

import numba
import numpy as np
import pytest
from strategies import assert_identical, assert_same_bits, integers, real

import fastconv
from fastconv import nn
from fastconv.errors import ShapeError
from fastconv.kernels.fused import network as fused_network
from fastconv.kernels.fused import records, small_batch
from fastconv.kernels.micro.vectors import VECTOR_BYTES
from fastconv.models import lenet5
from fastconv.nn.fused import interleaved
from fastconv.optim import SGD, Adagrad, Adam, AdamW, RMSprop
from fastconv.optim.clipping import Clip
from fastconv.training import train_step

pytestmark = pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="without the JIT, layers run one by one")

IMAGES = (3, 9, 12)


class Doubled(nn.Layer):
    """A user's own layer."""

    def forward(self, x):
        return 2 * x, lambda grad_y: 2 * grad_y


def conv(C=3, OC=5, kernel=3, **options):
    return nn.Conv2d(C, OC, kernel, **options)


# exact on small integers
EXACT = {
    "convolution": lambda: [conv()],
    "maxima image by image": lambda: [
        conv(OC=6, padding=1), nn.ReLU(), nn.MaxPool2d(2), conv(6, 7), nn.ReLU(), nn.MaxPool2d(2),
    ],
    "maxima image by image, padded": lambda: [conv(OC=9), conv(9, 4, (2, 3), padding=1), nn.ReLU(), nn.MaxPool2d(2)],
    "maxima by windows of 5": lambda: [
        conv(OC=1, padding=1), nn.Conv2d(1, 2, 5, padding=((2, 1), (2, 2))), nn.MaxPool2d(2), nn.ReLU(),
    ],
    "a wide linear layer": lambda: [conv(OC=11, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1188, 9)],
    "padded, with ReLU": lambda: [conv(padding=1), nn.ReLU()],
    "padding wider than the kernel": lambda: [
        conv(padding=((1, 3), (0, 5))), nn.ReLU(), conv(5, 4, (1, 2), padding=((2, 0), (3, 2))), nn.MaxPool2d(2),
    ],
    "average pooling, padding wider than the kernel": lambda: [
        conv(OC=2, kernel=2, padding=((3, 2), (2, 4))), nn.ReLU(), nn.AvgPool2d((2, 4)),
    ],
    "odd kernel and padding": lambda: [conv(kernel=(2, 4), padding=((1, 0), (0, 3))), nn.ReLU()],
    "max-pooling": lambda: [conv(padding=1), nn.ReLU(), nn.MaxPool2d(2)],
    "pixels that no window takes": lambda: [conv(OC=9), nn.ReLU(), nn.MaxPool2d((2, 3))],
    "max-pooling without ReLU": lambda: [conv(OC=1), nn.MaxPool2d((3, 2))],
    "average pooling": lambda: [conv(padding=1), nn.AvgPool2d((1, 2))],
    "average pooling of a ReLU": lambda: [conv(OC=8), nn.ReLU(), nn.AvgPool2d(2)],
    "without bias": lambda: [conv(bias=False), nn.ReLU(), nn.MaxPool2d(2)],
    "two convolutions": lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2), conv(5, 7, 2, padding=1), nn.ReLU()],
    "same, three deep": lambda: [conv(padding=1), conv(5, 4, padding="same"), nn.ReLU(), conv(4, 2, 5, padding=2)],
    "linear layers": lambda: [nn.Flatten(), nn.Linear(324, 17), nn.ReLU(), nn.Linear(17, 5, bias=False)],
    "everything": lambda: [conv(), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(75, 9), nn.ReLU()],
    "own layer in between": lambda: [
        conv(), nn.ReLU(), Doubled(), conv(5, 2), nn.MaxPool2d(2), nn.Flatten(), Doubled(), nn.Linear(16, 3),
    ],
}  # fmt: skip
ROUNDED = {
    "sigmoid": lambda: [conv(), nn.Sigmoid()],
    "tanh and average pooling": lambda: [conv(padding=1), nn.Tanh(), nn.AvgPool2d(3)],
    "sigmoid and max-pooling": lambda: [
        conv(), nn.Sigmoid(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(75, 4), nn.Tanh(),
    ],
    "as in the paper": lambda: [
        conv(), nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(75, 9), nn.Sigmoid(), nn.Linear(9, 4),
    ],
}  # fmt: skip


def one_by_one(layers, x, g):
    """The result and the gradient of x, layer by layer as a reader would write it."""
    backwards = []
    for layer in layers:
        x, backward = layer.forward(x)
        backwards.append(backward)
    for backward in reversed(backwards):
        g = backward(g)
    return x, g


def prepared(make, N, dtype, numbers):
    net, rng = nn.Sequential(*make()), np.random.default_rng(5)
    for p in net.parameters():
        p.value = numbers(rng, p.value.shape, dtype)
        p.grad = np.zeros(p.value.shape, dtype)
    x = numbers(rng, (N, *IMAGES), dtype)
    return net, x, numbers(rng, net.output_shape(x.shape), dtype)


def interleaved_runs(net):
    return [step for step in net._together if isinstance(step, interleaved.Together)]


def assert_same_as_one_by_one(net, x, g, same):
    parameters = net.parameters()
    net.zero_grad()
    y, grad_x = one_by_one(net.layers, x, g)
    expected = [p.grad.copy() for p in parameters]
    for forward in (net.forward, net.forward_from_data):
        net.zero_grad()
        for p in parameters:
            p.grad_array[...] = 7  # what was forgotten is not to be found again
        found, backward = forward(x)
        same(found, y)
        found_x = backward(g)
        if forward == net.forward:
            same(found_x, grad_x)
        for p, grad in zip(parameters, expected):
            same(p.grad, grad)
    same(net(x), y)


def close(found, expected):
    eps = np.finfo(expected.dtype).eps
    np.testing.assert_allclose(found, expected, rtol=0, atol=500 * eps * np.abs(expected).max())


@pytest.mark.parametrize("N", [8, 15, 16, 17, 33])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT)
def test_exact_on_integers(name, dtype, N):
    net, x, g = prepared(EXACT[name], N, dtype, integers)
    assert not interleaved_runs(net)[0].declines(x.shape, dtype)
    assert_same_as_one_by_one(net, x, g, assert_identical)


def test_bias_gradient_with_padding_on_the_right():
    x = np.random.default_rng(0).standard_normal((16, 1, 3, 4))
    net = nn.Sequential(nn.Conv2d(1, 4, 1, padding=((0, 0), (0, 1)), dtype=np.float64, rng=0))
    y, backward = net.forward(x)
    backward(np.ones_like(y))
    assert net[0].bias.grad.tolist() == [240] * 4  # y.size / 4


def test_input_gradient_with_padding_on_the_right():
    net = nn.Sequential(nn.Conv2d(1, 2, 3, padding=((0, 0), (0, 4)), bias=False, dtype=np.float64))
    net[0].weight.value[...] = np.arange(1, 10).reshape(3, 3)
    y, backward = net.forward(np.zeros((16, 1, 3, 4)))
    rows = 2 * net[0].weight.value[0, 0].cumsum(axis=1)[:, [0, 1, 2, 2]]  # one tap of a row reaches the first column
    assert_identical(backward(np.ones_like(y)), np.tile(rows, (16, 1, 1, 1)))


@pytest.mark.parametrize("side", [1, 2, 3])
def test_any_padding(side):
    """Rows of gradients have room for the kernel on both sides, and for the padding."""
    rng, images = np.random.default_rng(side), 0
    most = range(side + 2)
    for left, right, top, bottom in itertools.product(most, range(side + 3), (0, side - 1, side), (0, side)):
        for H, W in ((3, 4), (1, 1)):
            pads = (top, bottom), (left, right)
            if top + H + bottom < side or left + W + right < side:
                continue
            tail = [nn.MaxPool2d((1, 2))] if (left + W + right - side) % 4 == 1 else [nn.ReLU()]
            net = nn.Sequential(conv(2, 3, side, padding=pads, dtype=np.float64, initialiser=nn.init.zeros), *tail)
            for p in net.parameters():
                p.value[...] = integers(rng, p.value.shape, np.float64)
            x = integers(rng, (9, 2, H, W), np.float64)
            assert not interleaved_runs(net)[0].declines(x.shape, np.float64)
            assert_same_as_one_by_one(net, x, integers(rng, net.output_shape(x.shape), np.float64), assert_identical)
            images += 1
    assert images > 100


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*EXACT, *ROUNDED])
def test_inference_of_a_few_images(name, dtype):
    exact = name in EXACT
    net, x, _ = prepared((EXACT | ROUNDED)[name], 7, dtype, integers if exact else real)
    for N in (1, 7, 2):
        expected, _ = one_by_one(net.layers, x[:N], net(x[:N]))
        (assert_identical if exact else close)(net(x[:N]), expected)
    assert all("fewer" in step.declines(x.shape, dtype) for step in interleaved_runs(net))
    programs = [program for step in interleaved_runs(net) for program in step._programs.values()]
    assert programs
    assert all(len(program.memories.free["few"]) == 1 for program in programs)


def test_a_few_images_in_many_threads():
    net, x, _ = prepared(EXACT["everything"], 64, np.float32, integers)
    expected, found = net(x), [None] * 64

    def infer(n):
        found[n] = net(x[n : n + 1])[0]

    threads = [threading.Thread(target=infer, args=(n,)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert_identical(np.stack(found), expected)


def test_nan_wins_among_a_few_images_too():
    net, x, _ = prepared(EXACT["max-pooling without ReLU"], 2, np.float32, real)
    x[0, 0, 4, 5] = np.nan
    assert_identical(np.isnan(net(x)), np.isnan(one_by_one(net.layers, x, net(x))[0]))
    assert np.isnan(net(x)).any()


def test_which_way_gradients_of_maxima_take():
    """The exact tests above cover each of them."""
    ways = {}
    for name in ("maxima image by image", "maxima image by image, padded", "maxima by windows of 5"):
        net, x, _ = prepared(EXACT[name], 8, np.float32, integers)
        net(x)
        (program,) = interleaved_runs(net)[0]._programs.values()
        ways[name] = program.plan.stages["argmax"]["way"][-1]
    assert ways["maxima image by image"] == ways["maxima image by image, padded"] == records.BY_IMAGE
    assert ways["maxima by windows of 5"] == (records.BY_WINDOW if VECTOR_BYTES == 64 else records.BY_IMAGE)


@pytest.mark.parametrize("N", [8, 17])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ROUNDED)
def test_within_rounding(name, dtype, N):
    net, x, g = prepared(ROUNDED[name], N, dtype, real)
    assert not interleaved_runs(net)[0].declines(x.shape, dtype)
    assert_same_as_one_by_one(net, x, g, close)


@pytest.mark.parametrize("variant", ["relu_max", "sigmoid_avg"])
def test_lenet_layer_by_layer(variant):
    net, rng = lenet5(variant, rng=0), np.random.default_rng(1)
    for depth in range(1, len(net) + 1):
        part = net[:depth]
        x = rng.random((20, 1, 28, 28), np.float32)
        g = real(rng, part.output_shape(x.shape), np.float32)
        assert not interleaved_runs(part)[0].declines(x.shape, np.float32)
        assert_same_as_one_by_one(part, x, g, close)


def test_other_sizes_of_batch_in_between():
    """Lanes without an image hold what an earlier batch left there, if anybody forgets them."""
    net, x, g = prepared(EXACT["everything"], 33, np.float32, integers)
    for N in (33, 9, 17, 16, 33, 8):
        assert_same_as_one_by_one(net, x[:N], g[:N], assert_identical)


def test_nan_stays_in_its_image():
    net, x, _ = prepared(EXACT["everything"], 20, np.float32, real)
    expected = net(x)
    x[3, 1, 4, 4] = np.nan
    found = net(x)
    assert np.isnan(found[3]).all()
    others = np.arange(20) != 3
    assert_same_bits(found[others], expected[others])


def test_max_pooling_passes_nan_on():
    net, x, _ = prepared(EXACT["max-pooling without ReLU"], 8, np.float32, real)
    x[0, 0, 4, 5] = np.nan
    assert_identical(np.isnan(net(x)), np.isnan(one_by_one(net.layers, x, net(x))[0]))


def test_what_backward_needs_is_not_the_last_call_s():
    net, x, g = prepared(EXACT["everything"], 24, np.float32, integers)
    ways = []
    for batch in (x, -x, 2 * x):
        net.zero_grad()
        grad_x = one_by_one(net.layers, batch, g)[1]
        ways.append((net.forward(batch)[1], grad_x, [p.grad.copy() for p in net.parameters()]))
        net(x + 1)
    for backward, grad_x, grads in (ways[1], ways[0], ways[2], ways[1]):
        net.zero_grad()
        assert_identical(backward(g), grad_x)
        for p, grad in zip(net.parameters(), grads):
            assert_identical(p.grad, grad)


def test_gradients_are_added():
    net, x, g = prepared(EXACT["everything"], 16, np.float32, integers)
    backward = net.forward(x)[1]
    net.zero_grad()
    backward(g)
    once = [p.grad.copy() for p in net.parameters()]
    backward(g)
    for p, grad in zip(net.parameters(), once):
        assert_identical(p.grad, 2 * grad)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("N", [8, 16, 41])
@pytest.mark.parametrize("name", ["everything", "own layer in between", "a wide linear layer"])
def test_learning_in_one_call_has_the_same_bits(name, N, dtype):
    net, x, _ = prepared(EXACT[name], N, dtype, real)
    labels = np.random.default_rng(2).integers(0, 3, N).astype(np.uint8 if N == 8 else np.int64)
    net.zero_grad()
    logits, backward = net.forward_from_data(x)
    loss, grad = fastconv.cross_entropy(logits, labels)
    backward(grad)
    expected = [p.grad.copy() for p in net.parameters()]
    net.zero_grad()
    found = net.learn(x, labels)
    if name == "own layer in between":
        assert found is None
        return
    assert found == loss
    for p, wanted in zip(net.parameters(), expected):
        assert_same_bits(p.grad, wanted)
    net.learn(x, labels)
    for p, wanted in zip(net.parameters(), expected):
        close(p.grad, 2 * wanted)


OPTIMIZERS = {
    "SGD": lambda p: SGD(p, 0.01),
    "momentum": lambda p: SGD(p, 0.01, 0.9),
    "Nesterov": lambda p: SGD(p, 0.01, 0.5, True, 0.1),
    "Adam": lambda p: Adam(p, 0.01),
    "AdamW": lambda p: AdamW(p, 0.01, weight_decay=0.1),
    "Adagrad": lambda p: Adagrad(p, 0.01, 0.1, 0.1),
    "RMSprop": lambda p: RMSprop(p, 0.01),
    "RMSprop with all": lambda p: RMSprop(p, 0.01, 0.9, 1e-8, 0.1, 0.9, True),
}


@pytest.mark.parametrize("layers", ["everything", "a wide linear layer"])
@pytest.mark.parametrize("limit", [{}, {"clip_value": 1e-3}, {"clip_norm": 0.01}], ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_in_one_call_has_the_same_bits(name, dtype, limit, layers):
    """Those of the gradients alone, the clipping and the optimiser's own step, whose state may be another's."""
    net, x, _ = prepared(EXACT[layers], 20, dtype, real)
    other, labels = copy.deepcopy(net), np.arange(20) % 3
    optimizers = OPTIMIZERS[name](net.parameters()), OPTIMIZERS[name](other.parameters())
    clip = Clip(limit.get("clip_norm"), limit.get("clip_value"))
    for _ in range(3):
        resumed = OPTIMIZERS[name](net.parameters())
        resumed.load_state_dict(optimizers[0].state_dict())
        optimizers = resumed, optimizers[1]
        assert train_step(net, x, labels, resumed, lr_factor=0.5, **limit) == other.learn(x, labels)
        clip.apply(other.parameters())
        optimizers[1].step(0.5)
        for p, q in zip(net.parameters(), other.parameters()):
            assert_same_bits(p.value, q.value)
            assert_same_bits(p.grad, q.grad)
            q.zero_grad()
    assert optimizers[0].steps == optimizers[1].steps == 3
    for slot, arrays in optimizers[0].slots.items():
        for v, w in zip(arrays, optimizers[1].slots[slot]):
            assert_same_bits(v, w)
    assert "clip_norm" in limit or net.learn(x, labels, resumed, clip_value=clip.value) is not None  # in one call


def test_a_step_in_one_call_is_not_for_an_optimizer_with_a_step_of_its_own():
    class Own(Adam):
        def step(self, lr_factor=1.0):
            super().step(lr_factor / 2)

    net, x, _ = prepared(EXACT["everything"], 20, np.float32, real)
    labels = np.arange(20) % 3
    assert net.learn(x, labels, Own(net.parameters())) is None


def test_a_step_in_one_call_is_for_an_optimizer_of_the_whole_model():
    net, x, _ = prepared(EXACT["everything"], 20, np.float32, real)
    labels = np.arange(20) % 3
    part, extra = SGD(net.parameters()[:2], 0.01), SGD([*net.parameters(), nn.Linear(2, 2).bias], 0.01)
    assert net.learn(x, labels, part) is None
    assert net.learn(x, labels, extra) is None
    whole = SGD(net.parameters()[::-1], 0.01)
    net[0].bias.trainable = False
    assert net.learn(x, labels, whole) is None
    assert part.steps == extra.steps == whole.steps == 0
    before = net[4].weight.value.copy()
    net[0].bias.trainable = True
    assert net.learn(x, labels, whole) is not None
    assert whole.steps == 1
    assert not np.array_equal(net[4].weight.value, before)


@pytest.mark.parametrize("bad", [-1, 9, 2**40])
def test_learning_in_one_call_leaves_errors_to_the_layers(bad):
    net, x, _ = prepared(EXACT["everything"], 16, np.float32, real)
    labels = np.arange(16) % 9
    labels[3] = bad
    net.zero_grad()
    assert net.learn(x, labels) is None
    assert net.learn(x, np.eye(9, dtype=np.float32)[labels % 9]) is None
    assert net.learn(x, labels[1:] % 9) is None
    assert net.learn(x, labels % 9.0) is None
    assert not any(p.grad.any() for p in net.parameters())
    with pytest.raises(ValueError, match=f"train_step: labels must hold class ids from 0 to 8, got {bad}"):
        train_step(net, x, labels, SGD(net.parameters(), 0.1))


def test_gradients_that_were_forgotten_are_zeros_to_whoever_looks():
    net, x, g = prepared(EXACT["everything"], 16, np.float32, integers)
    backward = net.forward(x)[1]
    for p in net.parameters():
        p.grad.fill(np.nan)
    net.zero_grad()
    assert all(np.array_equal(p.grad, np.zeros_like(p.value)) for p in net.parameters())
    for p in net.parameters():
        p.grad.fill(np.nan)
    net.zero_grad()
    net[0].bias.accumulate(np.ones(5, np.float32))
    backward(g)
    grads = [p.grad.copy() for p in net.parameters()]
    assert np.isfinite(grads[0]).all()
    net.zero_grad()
    backward(g)
    assert_identical(grads[1], net[0].bias.grad + 1)
    assert_identical(grads[0], net[0].weight.grad)


def test_frozen_parameters_stay():
    net, x, g = prepared(EXACT["everything"], 16, np.float32, integers)
    net[0].freeze()
    net[4].bias.trainable = False
    assert_same_as_one_by_one(net, x, g, assert_identical)
    assert not net[0].weight.grad.any()
    assert not net[4].bias.grad.any()
    assert net[4].weight.grad.any()


def test_parameters_may_be_replaced():
    net, x, g = prepared(EXACT["everything"], 16, np.float32, integers)
    net(x)
    for p in net.parameters():
        p.value, p.grad = p.value * 2, np.zeros_like(p.grad)
    assert_same_as_one_by_one(net, x, g, assert_identical)
    net[4].weight.value = np.asfortranarray(net[4].weight.value)
    assert "not all contiguous" in interleaved_runs(net)[0].declines(x.shape, np.float32)
    assert_same_as_one_by_one(net, x, g, assert_identical)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_is_apart(copied):
    net, x, g = prepared(EXACT["everything"], 16, np.float32, integers)
    optimizer = SGD(net.parameters(), 0.5)
    train_step(net, x, np.zeros(16, np.int64), optimizer)
    before = net.state_dict()
    other, other_optimizer = copied((net, optimizer))
    train_step(other, x, np.ones(16, np.int64), other_optimizer)
    for name, value in net.state_dict().items():
        assert_identical(value, before[name])
    assert not np.array_equal(other[4].weight.value, net[4].weight.value)
    for p in other.parameters():
        p.value[...] = integers(np.random.default_rng(1), p.value.shape, np.float32)
    assert_same_as_one_by_one(other, x, g, assert_identical)


def test_memory_of_other_sizes_is_given_back():
    net, rng = nn.Sequential(conv(), nn.ReLU()), np.random.default_rng(0)
    for size in range(5, 30):
        for N in (33, 8, 16):
            net.forward(rng.random((N, 3, size, size), np.float32))
    programs = [program for program in interleaved_runs(net)[0]._programs.values()]
    assert len(programs) <= interleaved.MOST_PROGRAMS
    assert all(len(free) <= 1 for program in programs for free in program.memories.free.values())


def test_summary_tells_what_is_computed_together():
    net = nn.Sequential(conv(), nn.ReLU(), Doubled(), conv(5, 4, stride=2))
    lines = net.summary((16, *IMAGES)).splitlines()
    assert lines[-2] == "layers 0 to 1: together, images side by side"
    assert lines[-1].startswith("layers 3 to 3: each for itself, or with its neighbours (Conv2d(5, 4")
    assert "7 images are fewer than 8" in net.summary((7, *IMAGES))
    wide = nn.Sequential(conv(dtype=np.float64), nn.ReLU())
    assert wide.summary((16, *IMAGES)).endswith("layers 0 to 1: together, images side by side")


def test_other_layers_may_be_given():
    net, x, _ = prepared(EXACT["convolution"], 9, np.float32, integers)
    net.layers = [*net.layers, nn.MaxPool2d(2), nn.ReLU()]
    assert_same_as_one_by_one(net, x, np.ones((9, 5, 3, 5), np.float32), assert_identical)


@pytest.mark.parametrize("between", [nn.ReLU, Doubled])
def test_a_layer_used_twice(between):
    """Its two gradients are summed, whether both come from one call or from two."""
    shared = conv(3, 3, padding=1)
    net, x, g = prepared(lambda: [shared, between(), shared], 9, np.float32, integers)
    assert ("used twice" in interleaved_runs(net)[0].declines(x.shape, np.float32)) == (between == nn.ReLU)
    assert_same_as_one_by_one(net, x, g, assert_identical)


@pytest.mark.parametrize(
    ("layers", "shape", "why"),
    [
        (lambda: [conv()], (7, *IMAGES), "7 images are fewer than 8"),
        (lambda: [conv(stride=2)], (8, *IMAGES), "stride or a dilation"),
        (lambda: [conv(dilation=2)], (8, *IMAGES), "stride or a dilation"),
        (lambda: [conv(3, 6, groups=3)], (8, *IMAGES), "has groups"),
        (lambda: [conv(), nn.MaxPool2d(3, 2)], (8, *IMAGES), "overlap"),
        (lambda: [conv(), nn.AvgPool2d(2, divisor_override=3)], (8, *IMAGES), "divisor"),
        (lambda: [nn.ReLU(), conv()], (8, *IMAGES), "does not follow"),
        (lambda: [nn.Conv2d(1, 64, 3)], (8, 1, 64, 64), "are more than"),
    ],
)
def test_declines(layers, shape, why):
    net, rng = nn.Sequential(*layers()), np.random.default_rng(0)
    assert why in interleaved_runs(net)[0].declines(shape, np.float32)
    x = integers(rng, shape, np.float32)
    for p in net.parameters():
        p.value[...] = integers(rng, p.value.shape, np.float32)
    g = integers(rng, net.output_shape(shape), np.float32)
    assert_same_as_one_by_one(net, x, g, assert_identical)


@pytest.mark.parametrize("N", [16, 40])
def test_same_bits_for_any_number_of_threads(N):
    weights = []
    for threads in (1, 2, 4):
        with fastconv.num_threads(threads):
            net, rng = lenet5(rng=0), np.random.default_rng(0)
            optimizer = SGD(net.parameters(), 0.05, 0.9)
            for _ in range(3):
                train_step(net, rng.random((N, 1, 28, 28), np.float32), rng.integers(0, 10, N), optimizer)
            weights.append(net.state_dict())
    for other in weights[1:]:
        for name, value in weights[0].items():
            assert_same_bits(other[name], value)


def test_a_user_s_own_layer_learns():
    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3, rng=0), nn.ReLU(), Doubled(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2, rng=1)
    )
    labels = rng.integers(0, 2, 64)
    x = rng.random((64, 1, 8, 8), np.float32) + labels[:, None, None, None].astype(np.float32)
    optimizer = SGD(net.parameters(), 0.02, 0.9)
    losses = [train_step(net, x, labels, optimizer) for _ in range(60)]
    assert losses[-1] < 0.1 * losses[0]


def test_no_allocation_of_an_activation_s_size():
    net, rng = lenet5(rng=0), np.random.default_rng(0)
    x, labels = rng.random((64, 1, 28, 28), np.float32), rng.integers(0, 10, 64)
    optimizer = SGD(net.parameters(), 0.01, 0.9)
    for _ in range(2):
        train_step(net, x, labels, optimizer)
    tracemalloc.start()
    try:
        for _ in range(5):
            train_step(net, x, labels, optimizer)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 1024  # the activations of 64 images are megabytes


def test_threads_do_not_share_arenas():
    net, x, _ = prepared(EXACT["everything"], 40, np.float32, integers)
    batches = [integers(np.random.default_rng(i), x.shape, np.float32) for i in range(4)]
    expected = [one_by_one(net.layers, batch, net(batch))[0] for batch in batches]
    wrong = []

    def work(i):
        for _ in range(20):
            y, _ = net.forward(batches[i])
            if not (np.array_equal(y, expected[i]) and np.array_equal(net(batches[i]), expected[i])):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("N", [3, 9])
@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        (lambda: [nn.Flatten(), conv(1, 2)], (1, 4, 6), "conv2d: x must have 4 dimensions, or 3 without"),
        (lambda: [conv(1, 2), nn.Flatten(), conv(2, 2)], (1, 4, 6), "conv2d: x must have 4 dimensions, or 3 without"),
        (lambda: [conv(1, 2, 1), nn.Linear(48, 2)], (1, 4, 6), r"linear: x must have shape \(N, IN\)"),
        (lambda: [conv(1, 2, 1), nn.Linear(2, 2)], (1, 1, 1), r"linear: x must have shape \(N, IN\)"),
        (lambda: [nn.Linear(24, 2)], (1, 24), r"linear: x must have shape \(N, IN\)"),
    ],
)
def test_layers_that_do_not_fit_are_refused_for_any_number_of_images(layers, shape, message, N):
    net, x = nn.Sequential(*layers()), np.zeros((N, *shape), np.float32)
    for run in (net, net.forward):
        with pytest.raises(ShapeError, match=message):
            run(x)


def test_what_is_replaced_in_a_layer_is_used():
    net, x, _ = prepared(EXACT["two convolutions"], 9, np.float32, integers)
    rng = np.random.default_rng(0)
    weight, few, many = (integers(rng, shape, np.float32) for shape in (net[0].weight.value.shape, 5, 7))
    changes = [
        lambda: None,
        lambda: setattr(net[0], "weight", nn.Parameter(weight, "weight")),
        lambda: setattr(net[3], "bias", None),
        lambda: setattr(net[3], "bias", nn.Parameter(many, "bias")),
        lambda: setattr(net[0], "bias", nn.Parameter(few, "bias")),
        lambda: setattr(net[2], "options", (3, None, 0, 1, False)),
        lambda: setattr(net[3], "options", (2, 1, 1, 1)),
    ]
    for change in changes:
        change()
        g = integers(rng, net.output_shape(x.shape), np.float32)
        assert_same_as_one_by_one(net, x, g, assert_identical)


@pytest.mark.parametrize(
    ("grad", "error", "message"),
    [
        (np.ones((1, 5, 7, 10)), ShapeError, r"grad_output must have shape \(9, 5, 7, 10\), got \(1, 5, 7, 10\)"),
        (np.ones((9, 350)), ShapeError, r"grad_output must have shape \(9, 5, 7, 10\), got \(9, 350\)"),
        (1.0, TypeError, "grad_y must be a NumPy array, got float"),
        (None, TypeError, "grad_y must be a NumPy array, got NoneType"),
        (np.ones((9, 5, 7, 10), complex), TypeError, "grad_output must have dtype float32, float64"),
        (np.ma.masked_array(np.ones((9, 5, 7, 10))), TypeError, "grad_y is a masked array"),
    ],
)
def test_gradients_that_do_not_fit(grad, error, message):
    net, x, _ = prepared(EXACT["convolution"], 9, np.float32, integers)
    backward = net.forward(x)[1]
    with pytest.raises(error, match=f"Sequential: {message}"):
        backward(grad)
    assert not any(p.grad.any() for p in net.parameters())


@pytest.mark.parametrize("name", ["everything", "own layer in between", "two convolutions"])
def test_a_gradient_of_more_digits_keeps_them(name):
    net, x, g = prepared(EXACT[name], 9, np.float32, real)
    g = real(np.random.default_rng(0), g.shape, np.float64)
    expected = one_by_one(net.layers, x, g)[1]
    found = net.forward(x)[1](g)
    assert found.dtype == np.float64
    close(found, expected)


def test_masks_are_not_ignored():
    net, x, _ = prepared(EXACT["everything"], 9, np.float32, integers)
    masked, labels = np.ma.masked_array(x), np.zeros(9, np.int64)
    optimizer = SGD(net.parameters(), 0.5)
    for run in (net, net.forward, lambda x: train_step(net, x, labels, optimizer)):
        with pytest.raises(TypeError, match="x is a masked array"):
            run(masked)
    with pytest.raises(TypeError, match="labels is a masked array"):
        train_step(net, x, np.ma.masked_array(labels), optimizer)


def test_nothing_is_compiled_anew_for_arrays_that_lie_otherwise():
    net, x, g = prepared(EXACT["everything"], 9, np.float32, integers)
    labels, optimizer = np.zeros(9, np.int64), SGD(net.parameters(), 0.0)

    def run(x, g, labels):
        net(x[:3])
        net.forward(x)[1](g)
        return train_step(net, x, labels, optimizer)

    def compiled():
        kernels = fused_network.forward, fused_network.backward, small_batch.forward_few
        return [len(form.signatures) for kernel in kernels for form in kernel.forms]

    expected, before = run(x, g, labels), compiled()
    strange = [a.copy() for a in (x, g, labels)]
    for a in strange:
        a.flags.writeable = False
    assert run(*strange) == expected
    assert run(*(np.repeat(a, 2, axis=0)[::2] for a in (x, g, labels))) == expected
    assert compiled() == before


def test_parameters_that_cannot_be_written_to():
    """A kernel that wrote to them would end the process where they are mapped from a file."""
    net, x, g = prepared(EXACT["everything"], 9, np.float32, integers)
    for p in net.parameters():
        p.value = p.value.copy()
        p.value.flags.writeable = False
    assert "writeable" in interleaved_runs(net)[0].declines(x.shape, np.float32)
    assert_same_as_one_by_one(net, x, g, assert_identical)
    optimizer = SGD(net.parameters(), 0.5)
    with pytest.raises(ValueError, match="SGD: parameters and gradients must be contiguous, writeable arrays"):
        train_step(net, x, np.zeros(9, np.int64), optimizer)
