"""Optimisers: closed forms, the reference's updates, and a state that can be saved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, assert_same_bits, real

import fastconv
from fastconv import nn, optim, reference

SHARES = st.sampled_from([0.0, 0.5, 0.9])


def parameter(value, name="w", dtype=np.float64):
    return nn.Parameter(np.array(value, dtype), name)


@given(
    st.sampled_from(DTYPES), st.floats(0, 1), SHARES, st.booleans(), st.sampled_from([0.0, 0.1]),
    st.integers(0, 2**32 - 1), st.integers(1, 5),
)  # fmt: skip
def test_sgd_equals_reference(dtype, lr, momentum, nesterov, weight_decay, seed, steps):
    rng = np.random.default_rng(seed)
    p = nn.Parameter(real(rng, (3, 5), dtype))
    value, velocity = p.value.copy(), np.zeros_like(p.value)
    optimizer = optim.SGD([p], lr, momentum, nesterov, weight_decay)
    for _ in range(steps):
        p.grad[...] = real(rng, (3, 5), dtype)
        reference.sgd_update(value, p.grad, velocity, lr, momentum, nesterov, weight_decay)
        optimizer.step()
    np.testing.assert_allclose(p.value, value, rtol=50 * np.finfo(dtype).eps, atol=50 * np.finfo(dtype).eps)
    np.testing.assert_allclose(optimizer.slots["velocity"][0], velocity, rtol=1e-5, atol=1e-6)


@given(st.sampled_from(DTYPES), st.floats(0, 0.1), SHARES, SHARES, st.sampled_from([0.0, 0.1]), st.integers(0, 99))
def test_adam_equals_reference(dtype, lr, beta1, beta2, weight_decay, seed):
    rng = np.random.default_rng(seed)
    p = nn.Parameter(real(rng, (3, 5), dtype))
    value, m, v = p.value.copy(), np.zeros_like(p.value), np.zeros_like(p.value)
    optimizer = optim.Adam([p], lr, (beta1, beta2), 1e-3, weight_decay)
    for step in range(1, 5):
        p.grad[...] = real(rng, (3, 5), dtype)
        reference.adam_update(value, p.grad, m, v, lr, beta1, beta2, 1e-3, weight_decay, step)
        optimizer.step()
    np.testing.assert_allclose(p.value, value, rtol=200 * np.finfo(dtype).eps, atol=200 * np.finfo(dtype).eps)


def test_sgd_closed_forms():
    p = parameter([1.0, -2.0])
    optimizer = optim.SGD([p], 0.1)
    p.grad[:] = [3, 4]
    optimizer.step()
    np.testing.assert_allclose(p.value, [0.7, -2.4], rtol=1e-15)
    # a constant gradient g: v after k steps is g * (1 - m**k) / (1 - m)
    p = parameter([0.0])
    optimizer = optim.SGD([p], 1.0, momentum=0.5)
    for k in range(1, 8):
        p.grad[:] = 1
        optimizer.step()
        np.testing.assert_allclose(optimizer.slots["velocity"][0], [(1 - 0.5**k) / 0.5], rtol=1e-14)
    # without a gradient weight decay shrinks by (1 - lr * decay) a step
    p = parameter([8.0])
    optimizer = optim.SGD([p], 0.5, weight_decay=0.5)
    for _ in range(3):
        optimizer.step()
    np.testing.assert_allclose(p.value, [8 * 0.75**3], rtol=1e-15)
    # nesterov's first step is lr * g * (1 + m)
    p = parameter([0.0])
    p.grad[:] = 1
    optim.SGD([p], 0.1, 0.9, nesterov=True).step()
    np.testing.assert_allclose(p.value, [-0.19], rtol=1e-14)


def test_adam_closed_forms():
    # for a constant gradient the means are the gradient and its square: every step is lr * sign(g)
    p = parameter([1.0, 1.0, 1.0])
    optimizer = optim.Adam([p], 0.01, eps=0)
    for k in range(1, 6):
        p.grad[:] = [1e-8, -5.0, 300.0]
        optimizer.step()
        np.testing.assert_allclose(p.value, [1 - 0.01 * k, 1 + 0.01 * k, 1 - 0.01 * k], rtol=1e-12)
    assert optimizer.steps == 5


MAKERS = [
    lambda p: optim.SGD(p, 0.1, 0.9, True, 0.1),
    lambda p: optim.Adagrad(p, 0.1, 0.1, 0.1, 0.1),
    lambda p: optim.RMSprop(p, 0.1),
    lambda p: optim.RMSprop(p, 0.1, 0.9, 1e-8, 0.1, 0.9, True),
    lambda p: optim.Adam(p, 0.1),
    lambda p: optim.AdamW(p, 0.1, weight_decay=0.1),
]


@pytest.mark.parametrize("make", MAKERS)
def test_state_goes_on_where_it_stopped(make):
    rng = np.random.default_rng(0)
    grads = [real(rng, (4,), np.float32) for _ in range(6)]

    def run(optimizer, p, some):
        for grad in some:
            optimizer.zero_grad()
            p.accumulate(grad)
            optimizer.step()

    p = parameter(np.ones(4), dtype=np.float32)
    whole = make([p])
    run(whole, p, grads)
    q = parameter(np.ones(4), dtype=np.float32)
    first = make([q])
    run(first, q, grads[:3])
    second = make([q])
    second.load_state_dict(first.state_dict())
    run(second, q, grads[3:])
    assert_same_bits(q.value, p.value)
    assert second.steps == whole.steps == 6
    state = first.state_dict()
    for name, arrays in first.slots.items():
        assert not np.shares_memory(state[f"{name}.0"], arrays[0])


def test_state_of_another_optimizer_changes_nothing():
    p = parameter(np.ones(4))
    adam = optim.Adam([p])
    p.grad[:] = 1
    adam.step()
    before = adam.state_dict()
    with pytest.raises(ValueError, match="load_state_dict: not the state of Adam for these parameters"):
        adam.load_state_dict(optim.SGD([p]).state_dict())
    with pytest.raises(ValueError, match="not the state of Adam"):
        adam.load_state_dict({**before, "m.0": np.zeros(3)})
    with pytest.raises(ValueError, match="not the state of Adam"):
        adam.load_state_dict({k: v for k, v in before.items() if k != "steps"})
    for key, value in adam.state_dict().items():
        np.testing.assert_array_equal(value, before[key])


def test_frozen_parameters_stay():
    frozen, free = parameter([1.0]), parameter([1.0])
    frozen.trainable = False
    optimizer = optim.SGD([frozen, free], 0.1)
    frozen.grad[:] = free.grad[:] = 1
    optimizer.step()
    assert frozen.value == [1.0]
    assert free.value == [0.9]
    optimizer.zero_grad()
    assert free.grad == [0]


def test_numpy_backend_gives_the_same():
    for make in MAKERS:
        values = []
        for backend in ("numba", "numpy"):
            p = parameter([1.0, 2.0])
            p.grad[:] = [3.0, -4.0]
            with fastconv.use_backend(backend):
                make([p]).step()
            values.append(p.value)
        np.testing.assert_allclose(*values, rtol=1e-14)


P = [parameter([1.0])]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.SGD(P, -1), ValueError, "SGD: lr must be finite, at least 0, got -1"),
        (lambda: optim.SGD(P, np.inf), ValueError, "SGD: lr must be finite"),
        (lambda: optim.SGD(P, np.nan), ValueError, "SGD: lr must be finite"),
        (lambda: optim.SGD(P, "0.1"), TypeError, "SGD: lr must be a number, got '0.1'"),
        (lambda: optim.SGD(P, True), TypeError, "SGD: lr must be a number, got True"),
        (lambda: optim.SGD(P, 0.1, 1.0), ValueError, "SGD: momentum must be finite, at least 0, below 1"),
        (lambda: optim.SGD(P, 0.1, weight_decay=-1), ValueError, "SGD: weight_decay must be finite"),
        (lambda: optim.SGD([np.ones(3)], 0.1), TypeError, "SGD: parameters must be Parameters, got ndarray"),
        (lambda: optim.Adam(P, betas=(0.9, 1)), ValueError, "Adam: betas must be finite, at least 0, below 1"),
        (lambda: optim.Adam(P, eps=-1), ValueError, "Adam: eps must be finite, at least 0"),
        (lambda: optim.AdamW(P, weight_decay=-1), ValueError, "AdamW: weight_decay must be finite, at least 0"),
        (lambda: optim.AdamW(P, betas=("0", 1)), TypeError, "AdamW: betas must be a number, got '0'"),
        (lambda: optim.Adagrad(P, lr_decay=-1), ValueError, "Adagrad: lr_decay must be finite, at least 0, got -1"),
        (lambda: optim.Adagrad(P, initial_accumulator_value=-1), ValueError, "Adagrad: initial_accumulator_value"),
        (lambda: optim.Adagrad(P, eps=np.nan), ValueError, "Adagrad: eps must be finite"),
        (lambda: optim.Adagrad(P, np.inf), ValueError, "Adagrad: lr must be finite"),
        (lambda: optim.RMSprop(P, alpha=1), ValueError, "RMSprop: alpha must be finite, at least 0, below 1, got 1"),
        (lambda: optim.RMSprop(P, momentum=1), ValueError, "RMSprop: momentum must be finite"),
        (lambda: optim.RMSprop([1]), TypeError, "RMSprop: parameters must be Parameters, got int"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
