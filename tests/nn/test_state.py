"""What layers keep besides their parameters: running statistics, draws, folding them away, and going on with them."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import assert_same_bits, integers, real

import fastconv
from fastconv import nn
from fastconv.errors import ShapeError


def small(seed=0, dtype=np.float32):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1, bias=False, rng=seed, dtype=dtype), nn.BatchNorm2d(4, dtype=dtype), nn.ReLU(),
        nn.Dropout(0.5, rng=seed), nn.Flatten(), nn.Linear(64, 3, rng=seed, dtype=dtype),
    )  # fmt: skip


def batch(seed=0, dtype=np.float32):
    return real(np.random.default_rng(seed), (6, 1, 4, 4), dtype)


def test_names_are_pytorch_s():
    names = ["0.weight", *(f"1.{name}" for name in ("weight", "bias", "running_mean", "running_var"))]
    names += ["1.num_batches_tracked", "5.weight", "5.bias"]
    net = small()
    assert list(net.state_dict()) == names
    assert [name for name, _ in net.named_parameters()] == [n for n in names if "running" not in n and "num" not in n]
    assert [name for name, _ in net.named_buffers()] == [*names[3:6], "3.draws"]
    assert sorted(net.state_dict(resumable=True)) == sorted([*names, "3.draws"])
    assert net.state_dict()["1.num_batches_tracked"].shape == ()
    assert net.state_dict()["1.num_batches_tracked"].dtype == np.int64
    assert "Buffer(running_mean, float32, (4,))" in repr(net.buffers()[0])


def test_running_statistics_are_those_of_the_batches():
    layer, x = nn.BatchNorm2d(1, momentum=0.5, dtype=np.float64), batch(dtype=np.float64)
    for _ in range(2):
        layer.forward(x)
    mean, var = layer.running_mean.value, layer.running_var.value
    np.testing.assert_allclose(mean, 0.75 * x.mean(), rtol=1e-13)
    np.testing.assert_allclose(var, 0.25 + 0.75 * x.var(ddof=1), rtol=1e-13)
    assert layer.num_batches_tracked.value == 2
    np.testing.assert_allclose(layer(x), (x - mean) / np.sqrt(var + 1e-5), rtol=1e-12)
    layer.forward(x[:0])
    assert layer.num_batches_tracked.value == 2


def test_without_momentum_they_are_the_mean_over_all_batches():
    layer, batches = nn.BatchNorm2d(1, momentum=None, dtype=np.float64), [batch(i, np.float64) for i in range(5)]
    for x in batches:
        layer.forward(x)
    np.testing.assert_allclose(layer.running_mean.value, np.mean([x.mean() for x in batches]), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.value, np.mean([x.var(ddof=1) for x in batches]), rtol=1e-12)


def test_inference_changes_nothing_and_a_copy_does_the_same():
    net, other = small(0), small(1)
    for i in range(3):
        net.forward(batch(i))
    before = net.state_dict(resumable=True)
    y = net(batch())
    for name, value in net.state_dict(resumable=True).items():
        assert_same_bits(value, before[name])
    other.load_state_dict(net.state_dict())
    assert_same_bits(other(batch()), y)


def test_load_state_dict_is_strict_about_buffers():
    net = small()
    state = net.state_dict()
    del state["1.running_var"]
    with pytest.raises(KeyError, match=r"missing \['1.running_var'\], unknown \[\]"):
        net.load_state_dict(state)
    with pytest.raises(ShapeError, match=r"load_state_dict: 1.running_var must have shape \(4,\), got \(3,\)"):
        net.load_state_dict({**state, "1.running_var": np.ones(3)})
    net.load_state_dict(state, strict=False)
    net.load_state_dict({**net.state_dict(), "3.draws": 7})  # what only a resumed training needs may be there or not
    assert net[3].draws.value == 7


def test_dropout_draws_anew_each_time_and_goes_on_where_it_was():
    layer, x = nn.Dropout(0.5, rng=3), np.ones((2, 50), np.float32)
    drawn = [layer.forward(x)[0] for _ in range(4)]
    assert not any(np.array_equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])
    assert_same_bits(layer(x), x)
    resumed = nn.Dropout(0.5, rng=3)
    resumed.load_state_dict({"draws": np.array(2)})
    for y in drawn[2:]:
        assert_same_bits(resumed.forward(x)[0], y)
    assert layer.state_dict() == {}
    with fastconv.use_backend("numpy"):
        assert_same_bits(nn.Dropout(0.5, rng=3).forward(x)[0], drawn[0])


def test_dropout_layers_of_one_generator_differ():
    source, x = np.random.default_rng(0), np.ones(100)
    first, second = (nn.Dropout(0.5, rng=source).forward(x)[0] for _ in range(2))
    assert not np.array_equal(first, second)


def settled(net, seed=0):
    """Random running statistics and weights in every BatchNorm2d, as after a training."""
    rng = np.random.default_rng(seed)
    for name, value in net.state_dict().items():
        if name.endswith("running_var"):
            net.load_state_dict({name: rng.uniform(0.5, 2, value.shape)}, strict=False)
        elif name.endswith("running_mean") or value.ndim == 1:
            net.load_state_dict({name: rng.standard_normal(value.shape)}, strict=False)
    return net


FOLDABLE = {
    "convolution": (nn.Conv2d(3, 4, 3, rng=0, dtype=np.float64), nn.BatchNorm2d(4, dtype=np.float64)),
    "without bias": (nn.Conv2d(3, 4, 3, bias=False, rng=0, dtype=np.float64), nn.BatchNorm2d(4, dtype=np.float64)),
    "without weights": (nn.Conv2d(3, 4, 1, rng=0, dtype=np.float64), nn.BatchNorm2d(4, affine=False, dtype=np.float64)),
    "in groups": (nn.Conv2d(3, 6, 3, 2, groups=3, rng=0, dtype=np.float64), nn.BatchNorm2d(6, dtype=np.float64)),
    "transposed": (nn.ConvTranspose2d(3, 4, 3, 2, rng=0, dtype=np.float64), nn.BatchNorm2d(4, dtype=np.float64)),
    "transposed in groups": (
        nn.ConvTranspose2d(3, 6, 3, groups=3, rng=0, dtype=np.float64), nn.BatchNorm2d(6, dtype=np.float64)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDABLE)
def test_folded_gives_the_same(name):
    net = settled(nn.Sequential(*FOLDABLE[name], nn.ReLU()))
    before = net.state_dict()
    x = real(np.random.default_rng(0), (2, 3, 6, 7), np.float64)
    y = net(x)
    flat = nn.folded(net)
    assert [type(layer) for layer in flat] == [type(net[0]), nn.ReLU]
    np.testing.assert_allclose(flat(x), y, rtol=1e-12, atol=1e-12)
    for path, value in net.state_dict().items():
        assert_same_bits(value, before[path])
    assert_same_bits(net(x), y)


def test_folded_goes_into_residuals_and_leaves_the_rest():
    def conv(C, OC, stride=1):
        return nn.Conv2d(C, OC, 3, stride, 1, bias=False, rng=0, dtype=np.float64)

    def norm(C):
        return nn.BatchNorm2d(C, dtype=np.float64)

    body = nn.Sequential(conv(3, 4, 2), norm(4), nn.ReLU(), conv(4, 4), norm(4))
    net = nn.Sequential(
        norm(3), nn.Residual(body, nn.Sequential(nn.Conv2d(3, 4, 1, 2, rng=1, dtype=np.float64), norm(4))),
        nn.ReLU(), nn.Residual(nn.Sequential(conv(4, 4), norm(4))), nn.Sequential(conv(4, 2), norm(2)),
    )  # fmt: skip
    settled(net)
    x = real(np.random.default_rng(0), (2, 3, 6, 7), np.float64)
    flat = nn.folded(net)
    assert sum("running_mean" in name for name in flat.state_dict()) == 1  # the first, which follows no convolution
    np.testing.assert_allclose(flat(x), net(x), rtol=1e-11, atol=1e-11)
    assert flat[0] is net[0]


def test_folded_checks_channels():
    with pytest.raises(ShapeError, match=r"folded: BatchNorm2d\(4\) comes after Conv2d.*, whose result has 3 channels"):
        nn.folded(nn.Sequential(nn.Conv2d(1, 3, 3, rng=0), nn.BatchNorm2d(4)))


def test_partial_convolution_is_a_convolution_with_zeros():
    table = np.random.default_rng(0).random((5, 4)) < 0.5
    layer = nn.PartialConv2d(table, (3, 2), (2, 1), 1, rng=0)
    rng = np.random.default_rng(1)
    layer.weight.value[...] = integers(rng, layer.weight.value.shape, np.float32)
    layer.bias.value[...] = integers(rng, (5,), np.float32)
    same = nn.Conv2d(4, 5, (3, 2), (2, 1), 1, rng=0)
    same.load_state_dict({"weight": layer.full_weight(), "bias": layer.bias.value})
    x = integers(rng, (2, 4, 6, 6), np.float32)
    (y, backward), (expected, backward_all) = layer.forward(x), same.forward(x)
    np.testing.assert_array_equal(y, expected)
    g = integers(rng, y.shape, np.float32)
    np.testing.assert_array_equal(backward(g), backward_all(g))
    np.testing.assert_array_equal(layer.weight.grad, same.weight.grad[table])
    assert (same.weight.value != 0).sum() <= layer.weight.value.size == table.sum() * 6
