"""Adagrad, RMSprop and AdamW: element by element against the formulas written out in Python's floats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, real

from fastconv import nn, optim

DECAYS = st.sampled_from([0.0, 0.1])
STEPS = 4


def run(make, formula, dtype, seed):
    """Some steps of an optimiser against `formula(values, grads)`, which gives one element's last value."""
    rng = np.random.default_rng(seed)
    p = nn.Parameter(real(rng, (3, 5), dtype))
    start = p.value.astype(np.float64)
    optimizer, grads = make([p]), []
    for _ in range(STEPS):
        p.grad[...] = real(rng, (3, 5), dtype)
        grads.append(p.grad.astype(np.float64))
        optimizer.step()
    expected = [formula(float(value), [float(g[i]) for g in grads]) for i, value in np.ndenumerate(start)]
    np.testing.assert_allclose(p.value.ravel(), expected, rtol=500 * np.finfo(dtype).eps, atol=50 * np.finfo(dtype).eps)
    assert p.value.dtype == dtype
    assert all(array.dtype == dtype for arrays in optimizer.slots.values() for array in arrays)


@given(
    st.sampled_from(DTYPES), st.floats(0, 0.1), DECAYS, DECAYS, st.sampled_from([0.0, 1e-3]),
    st.sampled_from([0.0, 1e-10, 0.1]), st.integers(0, 99),
)  # fmt: skip
def test_adagrad(dtype, lr, lr_decay, weight_decay, accumulator, eps, seed):
    def formula(value, grads):
        total = accumulator
        for k, g in enumerate(grads):
            g += weight_decay * value
            total += g * g
            value -= lr / (1 + k * lr_decay) * g / (math.sqrt(total) + eps)
        return value

    run(lambda p: optim.Adagrad(p, lr, lr_decay, weight_decay, accumulator, eps), formula, dtype, seed)


@given(
    st.sampled_from(DTYPES), st.floats(0, 0.1), st.sampled_from([0.0, 0.9, 0.99]), DECAYS,
    st.sampled_from([0.0, 0.5, 0.9]), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_rmsprop(dtype, lr, alpha, weight_decay, momentum, centered, seed):
    eps = 1e-3

    def formula(value, grads):
        square = mean = velocity = 0.0
        for g in grads:
            g += weight_decay * value
            square = alpha * square + (1 - alpha) * g * g
            mean = alpha * mean + (1 - alpha) * g
            spread = square - mean * mean if centered else square
            velocity = momentum * velocity + g / (math.sqrt(max(spread, 0)) + eps)
            value -= lr * velocity
        return value

    if centered and alpha == 0:
        alpha = 0.5  # or nothing but rounding errors would be under the root
    run(lambda p: optim.RMSprop(p, lr, alpha, eps, weight_decay, momentum, centered), formula, dtype, seed)


@given(
    st.sampled_from(DTYPES), st.floats(0, 0.1), st.sampled_from([0.0, 0.5, 0.9]), st.sampled_from([0.0, 0.9, 0.999]),
    st.sampled_from([0.0, 0.01, 1.0]), st.integers(0, 99),
)  # fmt: skip
def test_adamw(dtype, lr, beta1, beta2, weight_decay, seed):
    def formula(value, grads):
        m = v = 0.0
        for k, g in enumerate(grads, 1):
            value -= lr * weight_decay * value
            m = beta1 * m + (1 - beta1) * g
            v = beta2 * v + (1 - beta2) * g * g
            value -= lr * (m / (1 - beta1**k)) / (math.sqrt(v / (1 - beta2**k)) + 1e-3)
        return value

    run(lambda p: optim.AdamW(p, lr, (beta1, beta2), 1e-3, weight_decay), formula, dtype, seed)


def parameter(*values):
    return nn.Parameter(np.array(values))


def test_closed_forms():
    # a constant gradient g from nothing: total is k * g * g after k steps
    p = parameter(0.0, 0.0)
    optimizer = optim.Adagrad([p], 0.5, eps=0)
    for k in range(1, 6):
        p.grad[:] = [1e-6, -300]
        optimizer.step()
        moved = 0.5 * sum(1 / math.sqrt(i) for i in range(1, k + 1))
        np.testing.assert_allclose(p.value, [-moved, moved], rtol=1e-12)
    # with an accumulator that starts at 1e-3 and no eps
    p = parameter(1.0)
    p.grad[:] = 2
    optim.Adagrad([p], 0.1, initial_accumulator_value=1e-3, eps=0).step()
    np.testing.assert_allclose(p.value, [1 - 0.2 / math.sqrt(4.001)], rtol=1e-14)
    # the first step of RMSprop is lr * sign(g) / sqrt(1 - alpha): the sign is kept
    p = parameter(0.0, 0.0)
    p.grad[:] = [-5, 1e-3]
    optim.RMSprop([p], 0.1, 0.75, eps=0).step()
    np.testing.assert_allclose(p.value, [0.2, -0.2], rtol=1e-14)
    # without gradients AdamW shrinks by (1 - lr * decay) a step
    p = parameter(8.0)
    optimizer = optim.AdamW([p], 0.5, weight_decay=0.5)
    for _ in range(3):
        optimizer.step()
    np.testing.assert_allclose(p.value, [8 * 0.75**3], rtol=1e-15)


@pytest.mark.parametrize("make", [lambda p: optim.Adagrad(p, 0.1, eps=0), lambda p: optim.RMSprop(p, 0.1, eps=0)])
def test_no_gradient_is_no_step(make):
    p = parameter(3.0, 4.0)
    optimizer = make([p])
    p.grad[:] = [0, 1]
    optimizer.step()
    assert p.value[0] == 3 and p.value[1] < 4


def test_slots_are_those_in_use():
    p = parameter(1.0)
    assert list(optim.RMSprop([p]).slots) == ["square"]
    assert list(optim.RMSprop([p], momentum=0.9, centered=True).slots) == ["square", "velocity", "mean"]
    with pytest.raises(ValueError, match="not the state of RMSprop"):
        optim.RMSprop([p], momentum=0.9).load_state_dict(optim.RMSprop([p]).state_dict())


def test_adam_in_float32_has_the_digits_of_float32():
    """1 - 0.999 in float32 has lost five of them."""
    changes = []
    for dtype in (np.float32, np.float64):
        p = nn.Parameter(np.zeros(3, dtype))
        optimizer = optim.Adam([p], lr=1.0, eps=0.25)
        for scale in (1, 3):
            p.grad = scale * np.array([1, -0.5, 0.25], dtype)
            optimizer.step()
        changes.append(p.value)
    np.testing.assert_allclose(changes[0], changes[1], rtol=1e-6)
