"""The models: their sizes, their seeds, and that they can learn."""

from __future__ import annotations

import numpy as np
import pytest
from strategies import assert_same_bits, real

import fastconv
from fastconv import nn, optim
from fastconv.models import LENET5_VARIANTS, MODELS, lenet5


@pytest.mark.parametrize("variant", LENET5_VARIANTS)
def test_lenet5_is_the_paper_s(variant):
    model = lenet5(variant, rng=0)
    shapes = {name: p.value.shape for name, p in model.named_parameters()}
    assert list(shapes.values()) == [
        (6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,), (120, 400), (120,), (84, 120), (84,), (10, 84), (10,)
    ]  # fmt: skip
    assert sum(p.value.size for p in model.parameters()) == 61706
    assert all(p.value.dtype == np.float32 for p in model.parameters())
    x = real(np.random.default_rng(0), (3, 1, 28, 28), np.float32)
    assert model(x).shape == model.output_shape(x.shape) == (3, 10)
    assert model(x[:0]).shape == (0, 10)
    activation, pool, _ = LENET5_VARIANTS[variant]
    assert sum(isinstance(layer, activation) for layer in model) == 4
    assert sum(isinstance(layer, pool) for layer in model) == 2


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
    with pytest.raises(ValueError, match="lenet5: variant must be one of relu_max, sigmoid_avg, got 'lenet'"):
        lenet5("lenet")
    with pytest.raises(TypeError, match=r"lenet5: num_classes must be an integer, got 10\.0"):
        lenet5(num_classes=10.0)
    with pytest.raises(ValueError, match="lenet5: in_channels must be from 1"):
        lenet5(in_channels=0)


@pytest.mark.parametrize("name", MODELS)
def test_it_learns_a_batch_by_heart(name):
    model = MODELS[name](rng=0)
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
