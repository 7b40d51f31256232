"""Inference whose launches are recorded: the bits of the layers as they are, whatever is changed in between."""

from __future__ import annotations

import copy
import os
import pickle
import threading

import numpy as np
import pytest

import fastconv
from fastconv import nn
from fastconv._arguments.arrays import empty
from fastconv._arguments.recycling import Arena
from fastconv._engine import transformed
from fastconv._engine.launches import Launches
from fastconv._runtime import jit
from fastconv._runtime.recording import recorded
from fastconv.errors import ShapeError
from fastconv.kernels.packing import all_finite
from fastconv.nn.fused import recordings

pytestmark = pytest.mark.skipif(jit.ONE_THREAD, reason="nothing is recorded where kernels run on the calling thread")


def block(C, OC, stride=1, shortcut=False):
    body = nn.Sequential(
        nn.Conv2d(C, OC, 3, stride, 1, bias=False, rng=1), nn.BatchNorm2d(OC), nn.ReLU(),
        nn.Conv2d(OC, OC, 3, 1, 1, bias=False, rng=2), nn.BatchNorm2d(OC),
    )  # fmt: skip
    side = nn.Sequential(nn.Conv2d(C, OC, 1, stride, bias=False, rng=3), nn.BatchNorm2d(OC)) if shortcut else None
    return nn.Residual(body, side)


# name: layers for images of 3 channels, 12 x 12
NETS = {
    "plain": lambda: (
        nn.Conv2d(3, 64, 3, 1, 1, rng=0), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(64, 256, 3, rng=1), nn.ReLU(),
        nn.AvgPool2d(2), nn.Dropout(0.5, rng=0), nn.Flatten(), nn.Linear(1024, 10, rng=2),
    ),
    "residual": lambda: (
        nn.Conv2d(3, 16, 3, 1, 1, rng=0), nn.BatchNorm2d(16), nn.ReLU(), block(16, 16), nn.ReLU(),
        block(16, 32, 2, True), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Flatten(), nn.Linear(32, 5, rng=4),
    ),
    "depthwise": lambda: (
        nn.Conv2d(3, 24, 3, 2, 1, rng=0), nn.BatchNorm2d(24), nn.ReLU6(),
        nn.Conv2d(24, 24, 3, 1, 1, groups=24, bias=False, rng=1), nn.BatchNorm2d(24), nn.ReLU6(),
        nn.Conv2d(24, 80, 1, rng=2), nn.BatchNorm2d(80), nn.LeakyReLU(0.1), nn.GlobalAvgPool2d(),
    ),
    "winograd": lambda: (
        nn.Conv2d(3, 64, 3, 1, 1, rng=0), nn.ReLU(), nn.Conv2d(64, 64, 3, 1, 1, rng=1), nn.ReLU(), nn.MaxPool2d(2),
    ),
}  # fmt: skip


def settled(name):
    """A network whose running statistics are not those that it starts with."""
    net, rng = nn.Sequential(*NETS[name]()), np.random.default_rng(5)
    for key, buffer in net.named_buffers():
        if "running" in key:
            buffer.value[...] = rng.uniform(0.5, 2, buffer.value.shape)
    return net


def images(count, batch=1, seed=0, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((batch, 3, 12, 12)).astype(dtype) for _ in range(count)]


def as_layers(net, x):
    """What the layers give as they are, with the same kernels."""
    return net._in_steps(x)


def found(net):
    return list(net._recordings._found.values())


def with_recording(name, batch=1):
    net = settled(name)
    for x in images(4, batch):
        net(x)
    assert len(found(net)) == 1
    return net


def record_again(net, x):
    net._recordings._before = recordings.CALLS_BEFORE
    for _ in range(recordings.CALLS_BEFORE + 1):
        net(x)
    assert len(found(net)) == 1


def same(a, b):
    assert a.dtype == b.dtype and a.shape == b.shape
    np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_the_bits_of_the_layers(name, batch):
    net = settled(name)
    for x in images(6, batch):
        same(net(x), as_layers(net, x))
    (one,) = found(net)
    assert one._launches.made >= recordings.LEAST_LAUNCHES


def test_float64_and_threads():
    for threads in (1, 2):
        net = nn.Sequential(
            nn.Conv2d(3, 8, 3, dtype=np.float64, rng=0), nn.ReLU(), nn.AvgPool2d(2),
            nn.Conv2d(8, 8, 3, dtype=np.float64, rng=0), nn.Sigmoid(),
        )  # fmt: skip
        with fastconv.num_threads(threads):
            for x in images(5, dtype=np.float64):
                y = net(x)
        with fastconv.num_threads(3 - threads):
            same(y, as_layers(net, x))


def test_a_result_is_the_callers():
    net = with_recording("residual")
    (x, other), first = images(2, seed=3), None
    first = net(x)
    kept = first.copy()
    net(other)
    same(first, kept)
    first[...] = 7
    same(net(x), kept)


@pytest.mark.parametrize("name", NETS)
def test_numbers_changed_in_place(name):
    net = with_recording(name)
    for state in (*net.parameters(), *net.buffers()):
        (x,) = images(1, seed=8)
        for factor in (2, 0.5, 1):
            state.value[...] = (state.value * factor).astype(state.value.dtype)
            same(net(x), as_layers(net, x))
            record_again(net, x)


def test_numbers_that_are_not_finite():
    net, (x, other) = with_recording("winograd"), images(2, seed=8)
    for bad in (np.nan, np.inf, -np.inf):
        spoilt = x.copy()
        spoilt[0, 1, 5, 5] = bad
        same(net(spoilt), as_layers(net, spoilt))
        same(net(other), as_layers(net, other))
    for name in NETS:
        net = with_recording(name)
        for parameter in net.parameters():
            kept = parameter.value.copy()
            parameter.value.flat[-1] = np.inf
            same(net(x), as_layers(net, x))
            parameter.value[...] = kept


def test_weights_that_are_kept_transformed():
    net, rng = settled("winograd"), np.random.default_rng(0)
    x = rng.standard_normal((1, 3, 48, 48)).astype(np.float32)
    weight = net.layers[2].weight.value
    for _ in range(4):
        net(x)
    kept = [known.kept[0] for known in transformed._known.values() if known.kept and known.owner() is weight]
    (one,) = found(net)
    # it is compared when the launches are made again, and not transformed
    assert any(np.shares_memory(kept[0], array) for array in one._launches._kept[0])
    for place in (0, 12345, -1):
        weight.reshape(-1)[place] += 1
        same(net(x), as_layers(net, x))
        record_again(net, x)


def test_what_is_replaced():
    net, (x,) = with_recording("residual"), images(1, seed=8)
    same(net(x), as_layers(net, x))
    net.layers[0].weight.value = net.layers[0].weight.value * 2
    same(net(x), as_layers(net, x))
    record_again(net, x)
    net.layers[3].body.layers[0].options = 1, 1, 1, 1
    net.layers[3].body.layers[1].eps = 0.5
    same(net(x), as_layers(net, x))
    record_again(net, x)
    net.layers[3].body.layers = net.layers[3].body.layers[3:]
    same(net(x), as_layers(net, x))
    record_again(net, x)
    net.layers = net.layers[:5]
    assert net(x).shape == (1, 16, 12, 12)


def test_copies_record_for_themselves():
    net, (x,) = with_recording("residual"), images(1, seed=8)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), copy.copy(net)):
        other.layers = other.layers[:-1]
        assert not found(other)
        for _ in range(4):
            same(other(x), as_layers(other, x))
        same(net(x), as_layers(net, x))


def test_a_shallow_copy_with_other_layers():
    net, (x,) = with_recording("residual"), images(1, seed=8)
    other = copy.copy(net)
    other.__dict__["_layers"], other.__dict__["_together"] = net.layers[:5], net._together[:2]
    assert other(x).shape == (1, 16, 12, 12)
    same(net(x), as_layers(net, x))


def test_errors_leave_nothing_behind():
    net, (x,) = settled("residual"), images(1)
    for _ in range(5):
        with pytest.raises(ShapeError, match="layer 0"):
            net(x[:, :2])
    for _ in range(5):
        same(net(x), as_layers(net, x))
    assert len(found(net)) == 1


class Scaled(nn.Layer):
    """A user's layer, which computes with NumPy."""

    def forward(self, x):
        return x * np.abs(x).max(), lambda grad_y: grad_y


def test_users_layers_in_between():
    inner = settled("residual")
    net = nn.Sequential(*inner.layers[:5], Scaled(), nn.Sequential(*inner.layers[5:7]), nn.ReLU())
    for x in images(6):
        same(net(x), as_layers(net, x))
    assert not found(net)
    assert found(net.layers[6])  # which is a network of its own


def test_what_is_computed_between_launches_is_not_recorded(monkeypatch):
    with_numpy = nn.Sequential(nn.Conv2d(3, 8, 3, rng=0), nn.Sigmoid(), nn.Conv2d(8, 8, 3, rng=0), nn.MaxPool2d(2))
    monkeypatch.setattr(nn.Sigmoid, "__call__", lambda self, x: np.tanh(x))
    for x in images(6):
        same(with_numpy(x), as_layers(with_numpy, x))
    assert not found(with_numpy)
    # a normalisation alone has numbers for each channel, which follow from statistics that may change
    alone = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3, rng=0), nn.MaxPool2d(2), nn.AvgPool2d(2))
    for x in images(6):
        alone.layers[0].running_mean.value += 1
        same(alone(x), as_layers(alone, x))
    assert not found(alone)


def test_large_batches_and_other_arrays():
    net, (x,) = with_recording("plain"), images(1, 700)
    for _ in range(4):
        net(x)
    assert len(found(net)) == 1
    (x,) = images(1, 4)
    frozen = x[2:3].copy()
    frozen.flags.writeable = False
    for other in (x[::4], x[:1, :, ::-1], np.asfortranarray(x[1:2]), frozen, x[:1].astype(np.float64)):
        for _ in range(5):
            same(net(other), as_layers(net, np.ascontiguousarray(other)))


def test_many_sizes_are_forgotten():
    net = settled("plain")
    for batch in range(1, recordings.MOST_RECORDINGS + 4):
        for x in images(4, batch):
            same(net(x), as_layers(net, x))
    assert len(found(net)) == recordings.MOST_RECORDINGS
    for x in images(4, 1):  # which was forgotten, and is called often again
        same(net(x), as_layers(net, x))
    assert {key[0][0] for key in net._recordings._found} >= {1, recordings.MOST_RECORDINGS + 3}


def test_several_threads_of_a_program():
    net, errors = with_recording("residual"), []

    def work(seed):
        for x in images(40, seed=seed):
            if not np.array_equal(net(x), as_layers(net, x)):
                errors.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors


def test_the_first_batches_of_several_threads():
    nets, errors = [settled(name) for name in NETS], []

    def work(net):
        for x in images(8):
            if not np.array_equal(net(x), as_layers(net, x)):
                errors.append(net)

    threads = [threading.Thread(target=work, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert all(len(found(net)) == 1 for net in nets)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child():
    net, (x,) = with_recording("residual"), images(1, seed=8)
    want = net(x)
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(net(x), want) else 1)
    assert os.waitpid(child, 0)[1] == 0
    same(net(x), want)


def test_numbers_that_change_all_the_time():
    net, (x,) = settled("residual"), images(1, seed=8)
    for _ in range(3 * recordings.CALLS_BEFORE + 3):
        net.layers[0].weight.value *= 1.01
        same(net(x), as_layers(net, x))
    assert net._recordings._before > recordings.CALLS_BEFORE  # until it is tried again


def test_training_in_between():
    net, (x,) = with_recording("residual"), images(1, seed=8)
    for step in range(5):
        y, backward = net.forward(np.concatenate(images(4, seed=step)))
        backward(np.ones_like(y))
        for parameter in net.parameters():
            parameter.value -= (0.001 * parameter.grad).astype(np.float32)
        same(net(x), as_layers(net, x))


def test_a_launch_that_counts_something_else_ends_it():
    source, target = np.arange(2**17, dtype=np.float32), np.zeros(2**17, np.float32)
    weights = np.ones(2**17, np.float32)
    with recorded(2, Arena()) as noted:
        assert all_finite(weights)
        np.copyto(target, source)
    assert len(noted.steps) == 1 and noted.steps[0].threads == 2
    launches = Launches(noted)
    assert launches.again()
    weights[-1] = np.nan
    assert not launches.again()
    weights[-1] = 1
    assert launches.again()


def test_memory_of_arrays_that_are_gone_is_for_later_ones_of_the_recording():
    arena, size = Arena(), 2**18
    with recorded(1, arena) as noted:
        first, kept = (empty("here", (size,), np.dtype(np.float32)) for _ in range(2))
        place = first.ctypes.data
        all_finite(first), all_finite(kept)
        del first
        second = empty("here", (size,), np.dtype(np.float32))
        assert second.ctypes.data == place
        assert not any(np.may_share_memory(second, array) for array in noted.arrays().values())
        del second
    other = [empty("here", (size,), np.dtype(np.float32)) for _ in range(9)]
    assert place not in {array.ctypes.data for array in (kept, *other)}
    elsewhere, *_ = other
    place_elsewhere = elsewhere.ctypes.data
    with recorded(1, arena) as noted:  # which keeps what came from elsewhere
        all_finite(elsewhere)
    del elsewhere, other, _
    other = [empty("here", (size,), np.dtype(np.float32)) for _ in range(9)]
    assert place_elsewhere not in {array.ctypes.data for array in other}
    with arena.in_use():
        assert empty("here", (size,), np.dtype(np.float32)).ctypes.data == place


def test_one_recording_at_a_time():
    with recorded(1, Arena()) as first:
        assert first is not None
        with recorded(1, Arena()) as second:
            assert second is None
