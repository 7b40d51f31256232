"""Training steps whose launches are recorded: the bits of the layers as they are, whatever is changed in between."""

from __future__ import annotations

import copy
import os
import pickle
import threading

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv._runtime import jit
from fastconv.errors import RangeError
from fastconv.nn.fused import recordings
from fastconv.optim import SGD
from fastconv.training import evaluate, fit, train_step

pytestmark = pytest.mark.skipif(jit.ONE_THREAD, reason="nothing is recorded where kernels run on the calling thread")

BATCH, CLASSES = 12, 5


def block(C, OC, stride=1, shortcut=False):
    body = nn.Sequential(
        nn.Conv2d(C, OC, 3, stride, 1, bias=False, rng=1), nn.BatchNorm2d(OC), nn.ReLU(),
        nn.Conv2d(OC, OC, 3, 1, 1, bias=False, rng=2), nn.BatchNorm2d(OC, affine=False),
    )  # fmt: skip
    side = nn.Sequential(nn.Conv2d(C, OC, 1, stride, bias=False, rng=3), nn.BatchNorm2d(OC)) if shortcut else None
    return nn.Residual(body, side)


# name: layers for images of 3 channels, 16 x 16, that are not computed side by side as a whole
NETS = {
    "plain": lambda: (
        nn.Conv2d(3, 64, 3, 1, 1, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25, rng=0),
        nn.Conv2d(64, 256, 3, rng=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Dropout(0.5, rng=3),
        nn.Linear(2304, CLASSES, rng=2),
    ),
    "residual": lambda: (
        nn.Conv2d(3, 16, 3, 1, 1, rng=0), nn.BatchNorm2d(16, momentum=None), nn.ReLU(), block(16, 16), nn.ReLU(),
        block(16, 32, 2, True), nn.ReLU6(), nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(32, CLASSES, rng=4),
    ),
    "depthwise": lambda: (
        nn.Conv2d(3, 24, 3, 2, 1, rng=0), nn.BatchNorm2d(24), nn.ReLU6(),
        nn.Conv2d(24, 24, 3, 1, 1, groups=24, bias=False, rng=1), nn.BatchNorm2d(24), nn.ReLU6(),
        nn.Conv2d(24, 80, 1, rng=2), nn.BatchNorm2d(80), nn.LeakyReLU(0.1), nn.GlobalAvgPool2d(), nn.Flatten(),
        nn.Linear(80, 40, rng=3), nn.ReLU(), nn.Linear(40, CLASSES, rng=4),
    ),
    "winograd": lambda: (
        nn.Conv2d(3, 64, 3, 1, 1, rng=0), nn.LeakyReLU(0.1), nn.Conv2d(64, 64, 3, 1, 1, rng=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Dropout(0.5, rng=3), nn.Conv2d(64, 80, 3, 2, 1, rng=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(1280, CLASSES, rng=3),
    ),
}  # fmt: skip


def unrecorded(net):
    """The network as its layers have it."""
    net._learnings.of = lambda owner: None
    return net


def batches(count, size=BATCH, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.standard_normal((size, 3, 16, 16)).astype(dtype), rng.integers(0, CLASSES, size)


def noted(net):
    return [one for recordings in net._learnings.every() for one in recordings._found.values()]


def found(net):
    return [one for one in noted(net) if one._proved]


def same_state(a, b):
    first, second = (net.state_dict(resumable=True) for net in (a, b))
    for name, array in first.items():
        assert array.tobytes() == second[name].tobytes(), name


class Twins:
    """Two networks alike, one of which records; each step must do the same to both."""

    def __init__(self, layers, momentum=0.5):
        self.net, self.other = nn.Sequential(*layers()), unrecorded(nn.Sequential(*layers()))
        self.optimizers = [SGD(net.parameters(), 0.05, momentum) for net in (self.net, self.other)]

    @property
    def both(self):
        return self.net, self.other

    def step(self, x, labels, **options):
        losses = [train_step(net, x, labels, own, **options) for net, own in zip(self.both, self.optimizers)]
        np.testing.assert_array_equal(*losses)
        for p, q in zip(self.net.parameters(), self.other.parameters()):
            np.testing.assert_array_equal(p.grad, q.grad, err_msg=p.name)
        same_state(*self.both)

    def steps(self, count=6, **options):
        for x, labels in batches(count, **options):
            self.step(x, labels)
        return self


def recorded(name="residual"):
    twins = Twins(NETS[name]).steps()
    assert len(found(twins.net)) == 1
    return twins


@pytest.mark.parametrize("name", NETS)
def test_the_bits_of_the_layers(name):
    twins = recorded(name)
    assert found(twins.net)[0]._launches.made > 10
    twins.steps(3, seed=1)


def test_float64():
    layers = lambda: (  # noqa: E731
        nn.Conv2d(3, 80, 3, dtype=np.float64, rng=0), nn.BatchNorm2d(80, dtype=np.float64), nn.ReLU(), nn.Flatten(),
        nn.Linear(80 * 14 * 14, CLASSES, dtype=np.float64, rng=1),
    )  # fmt: skip
    assert found(Twins(layers).steps(dtype=np.float64).net)


def test_other_sizes_and_threads():
    twins = recorded()
    for size in (5, 13, 5, 5, BATCH, 5, 5, 13):
        twins.steps(1, size=size, seed=size)
    assert len(found(twins.net)) == 2
    for threads in (1, 2, 1):
        with fastconv.num_threads(threads):
            twins.steps(5, seed=threads)


def test_labels():
    twins, ((x, labels),) = recorded(), batches(1, seed=9)
    for dtype in (np.uint8, np.int32, np.uint64):
        twins.step(x, labels.astype(dtype))
    for bad in (-1, CLASSES):
        wrong = labels.copy()
        wrong[3] = bad
        for net, own in zip(twins.both, twins.optimizers):
            with pytest.raises(RangeError, match=f"labels must hold class ids from 0 to {CLASSES - 1}, got {bad}"):
                train_step(net, x, wrong, own)
        for optimizer in twins.optimizers:  # as training goes on after an error in the loss
            optimizer.zero_grad()
        same_state(*twins.both)
    twins.step(x, np.eye(CLASSES, dtype=np.float32)[labels])
    twins.step(x, labels)


def test_limits_of_gradients_and_another_optimizer():
    twins = recorded()
    for x, labels in batches(2, seed=3):
        twins.step(x, labels, clip_norm=0.1)
        twins.step(x, labels, clip_value=0.01, lr_factor=0.5)
    # which leaves gradients of the first two, to which more are added
    twins.optimizers = [SGD(net.parameters()[2:], 0.1) for net in twins.both]
    twins.steps(6, seed=4)


def test_nothing_is_made_again_over_what_somebody_keeps(monkeypatch):
    """A result of the step that proves lies in memory that the launches write to."""
    kept, steps = [], []

    def forward(self, x):
        y, backward = nn.LeakyReLU(0.1).forward(x)
        if len(steps) == 3:
            kept.append((y, y.copy()))
        return y, backward

    monkeypatch.setattr(nn.AvgPool2d, "forward", forward)
    layers = lambda: (  # noqa: E731
        nn.Conv2d(3, 64, 3, rng=0), nn.BatchNorm2d(64), nn.AvgPool2d(1), nn.Flatten(),
        nn.Linear(64 * 14 * 14, CLASSES, rng=1),
    )  # fmt: skip
    twins = Twins(layers)
    for x, labels in batches(8):
        twins.step(x, labels)
        steps.append(labels)
    assert len(kept) > 1
    for y, copied in kept:
        np.testing.assert_array_equal(y, copied)


def test_what_is_frozen_or_replaced():
    twins = recorded()
    for net in twins.both:
        net.layers[0].weight.trainable = net.layers[1].bias.trainable = False
    twins.steps(4, seed=1)
    for net in twins.both:
        net.layers[0].weight.trainable = True
        net.layers[3].body.layers[0].weight.value = net.layers[3].body.layers[0].weight.value * 2
        net.layers[9].weight.grad = np.zeros_like(net.layers[9].weight.value)
    twins.steps(4, seed=2)
    for net in twins.both:
        net.layers[3].body.layers[1].eps = 0.5
        net.layers[1].momentum = 0.25
    twins.steps(4, seed=3)
    for net in twins.both:
        net.layers = net.layers[:3] + net.layers[7:8] + (nn.Flatten(), nn.Linear(16, CLASSES, rng=0))
    twins.optimizers = [SGD(net.parameters(), 0.05) for net in twins.both]
    twins.steps(6, seed=4)
    assert found(twins.net)


def test_gradients_that_are_added():
    twins = recorded()
    for x, labels in batches(3, seed=2):
        for net in twins.both:  # a sum of two batches' gradients
            net.zero_grad()
            for _ in range(2):
                loss = net.learn(x, labels, owner=twins)
                if loss is None:
                    logits, backward = net.forward_from_data(x)
                    backward(fastconv.cross_entropy(logits, labels)[1])
        for p, q in zip(twins.net.parameters(), twins.other.parameters()):
            np.testing.assert_array_equal(p.grad, q.grad)
        same_state(*twins.both)


def test_inference_in_between():
    twins = recorded()
    for x, labels in batches(5, seed=2):
        twins.step(x, labels)
        np.testing.assert_array_equal(twins.net(x[:2]), twins.other(x[:2]))
        assert evaluate(twins.net, x, labels) == evaluate(twins.other, x, labels)


def test_results_of_users_are_theirs():
    twins, ((x, _),) = recorded(), batches(1, 64, seed=4)
    twins.other.forward(x)
    y, backward = twins.net.forward(x)
    inner = twins.net[:5](x)
    kept = y.copy(), inner.copy()
    twins.steps(3, seed=5)
    np.testing.assert_array_equal(y, kept[0])
    np.testing.assert_array_equal(inner, kept[1])
    backward(np.ones_like(y))


@pytest.mark.parametrize("name", ["winograd", "residual"])
def test_numbers_that_are_not_finite(name):
    """A launch that finds weights that are not finite, as it did not before, ends it, and no draw is lost."""
    for bad in (np.inf, np.nan):
        twins = recorded(name)
        kept = [net.state_dict(resumable=True) for net in twins.both]
        for net in twins.both:
            net.layers[0].weight.value.flat[5] = net.layers[-1].weight.value.flat[0] = bad
            net.parameters()[2].value.flat[0] = bad
        with np.errstate(all="ignore"):
            twins.steps(2, seed=6)
        assert not found(twins.net)
        for net, state in zip(twins.both, kept):
            net.load_state_dict(state)
        for optimizer in twins.optimizers:
            optimizer.slots["velocity"] = [np.zeros_like(array) for array in optimizer.slots["velocity"]]
        twins.steps(2, seed=7)


class Scaled(nn.Layer):
    """A user's layer, which computes with NumPy."""

    def forward(self, x):
        return x * np.abs(x).max(), lambda grad_y: grad_y


def test_what_is_not_recorded(monkeypatch):
    twins = Twins(lambda: (*NETS["plain"]()[:3], Scaled(), *NETS["plain"]()[4:])).steps()
    assert not noted(twins.net)
    monkeypatch.setattr(
        nn.LeakyReLU, "forward", lambda self, x: (y := np.tanh(x), lambda g: (g * (1 - y * y)).astype(x.dtype))
    )
    twins = Twins(NETS["winograd"]).steps(12)
    assert not found(twins.net)


class Shapeless(nn.Layer):
    """A user's layer, which cannot tell the shape of its result."""

    def forward(self, x):
        return x, lambda grad_y: grad_y

    def output_shape(self, input_shape):
        raise NotImplementedError


def test_users_layers_need_not_tell_shapes():
    Twins(lambda: (*NETS["plain"]()[:3], Shapeless(), *NETS["plain"]()[4:])).steps(4)


def test_gradients_of_what_is_frozen_stay():
    twins = Twins(NETS["residual"])
    for net in twins.both:
        frozen = net.layers[0].weight
        frozen.accumulate(np.ones_like(frozen.value))
        frozen.trainable = False
    twins.optimizers = [SGD([p for p in net.parameters() if p.trainable], 0.05) for net in twins.both]
    twins.steps(6)
    assert found(twins.net) and (twins.net.layers[0].weight.grad == 1).all()


def test_layers_that_are_used_twice():
    conv, norm, drop = nn.Conv2d(80, 80, 3, 1, 1, rng=5), nn.BatchNorm2d(80), nn.Dropout(0.5, rng=7)

    def layers():
        own = [copy.deepcopy(layer) for layer in (conv, norm, drop)]
        return (nn.Conv2d(3, 80, 3, 2, 1, rng=0), *own, nn.ReLU(), *own, nn.Flatten(), nn.Linear(5120, CLASSES, rng=1))

    Twins(layers).steps(9)


def test_copies():
    twins, ((x, labels),) = recorded(), batches(1, seed=8)
    for twin in (copy.deepcopy(twins), pickle.loads(pickle.dumps(copy.deepcopy(twins.net)))):
        net = twin.net if isinstance(twin, Twins) else twin
        assert not noted(net)
        for _ in range(6):
            train_step(net, x, labels, SGD(net.parameters(), 0.05))
    twins.steps(2, seed=9)


def test_threads_of_a_program():
    """Two that train networks of their own, and one that asks for results of both."""
    pairs, errors = [Twins(NETS[name]) for name in ("residual", "plain")], []
    running = threading.Event()
    running.set()

    def train(twins):
        try:
            twins.steps(12)
        except Exception as error:
            errors.append(error)

    def ask():
        ((x, _),) = batches(1, 2)
        while running.is_set():
            for twins in pairs:
                twins.net(x)

    workers = [threading.Thread(target=train, args=(twins,)) for twins in pairs]
    asking = threading.Thread(target=ask)
    for thread in (*workers, asking):
        thread.start()
    for thread in workers:
        thread.join()
    running.clear()
    asking.join()
    assert not errors


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child():
    twins = recorded()
    child = os.fork()
    if not child:
        try:
            twins.steps(2, seed=3)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    twins.steps(2, seed=3)


def test_fit_learns_the_same():
    x, labels = next(batches(1, 100))
    nets = [nn.Sequential(*NETS["plain"]()), unrecorded(nn.Sequential(*NETS["plain"]()))]
    optimizers = [SGD(net.parameters(), 0.01) for net in nets]
    for net, own in zip(nets, optimizers):
        fit(net, (x, labels), optimizer=own, epochs=2, batch_size=BATCH, rng=0)
    same_state(*nets)
    assert found(nets[0])


def test_what_is_recorded_goes_with_the_optimizer():
    twins = recorded()
    twins.optimizers = None
    assert not noted(twins.net)


def test_long_steps_end_with_ctrl_c(monkeypatch):
    monkeypatch.setattr("fastconv.nn.fused.learned.LONGEST", 0.0)
    twins = Twins(NETS["residual"]).steps()
    assert not noted(twins.net)


def test_sizes_are_forgotten():
    twins = Twins(NETS["residual"])
    for size in range(3, recordings.MOST_RECORDINGS + 5):
        twins.steps(5, size=size, seed=size)
    assert len(noted(twins.net)) == recordings.MOST_RECORDINGS
