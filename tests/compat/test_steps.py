"""Tutorials' optimisers by the kernel: the numbers of their formulas, and the formulas where a kernel may not."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import num_threads
from fastconv.compat import dlfs, mlfromscratch
from fastconv.compat.features import normalised_backward
from fastconv.compat.steps import stepped
from fastconv.kernels import updates

NUMBERS = (0.1, 0.9, 0.999, 1e-7, 0, 1, 1, 0.1, 0.001, 1)


def arrays(dtype=np.float64):
    """Parameters and gradients, some transposed, of one and of several tasks."""
    rng = np.random.default_rng(5)
    shapes = {"W1": (4, 2, 3, 3), "b1": (4,), "W2": (70, 90), "b2": (90,), "none": (0,)}
    order = {"W2": "F"}

    def drawn():
        return {key: np.asarray(rng.standard_normal(s), dtype, order.get(key, "C")) for key, s in shapes.items()}

    return drawn(), [drawn() for _ in range(3)]


def trained(optimizer, dtype=np.float64):
    params, steps = arrays(dtype)
    for grads in steps:
        optimizer.update(params, grads)
    return params


class ByFormula(dlfs.Adam):
    """A reader's own, which the kernel must leave alone."""

    def _step(self, params, grad, key):
        self.steps_taken = getattr(self, "steps_taken", 0) + 1
        super()._step(params, grad, key)


@pytest.mark.parametrize(("dtype", "bound"), [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_the_book_s_adam_is_its_formula(dtype, bound):
    own = ByFormula(0.01)
    expected = trained(own, dtype)
    assert own.steps_taken == 3 * 5
    for key, array in trained(dlfs.Adam(0.01), dtype).items():
        assert array.dtype == dtype
        np.testing.assert_allclose(array, expected[key], rtol=bound, atol=bound)


def test_the_same_bits_on_one_and_two_threads():
    found = []
    for count in (1, 2):
        with num_threads(count):
            found.append([array.tobytes() for array in trained(dlfs.Adam(0.01)).values()])
    assert found[0] == found[1]


@pytest.mark.parametrize("order", ["C", "F"])
def test_ml_from_scratch_s_adam_is_its_formula_and_leaves_the_old_weights(order):
    rng = np.random.default_rng(5)
    w, optimizer = np.asarray(rng.standard_normal((60, 80)), order=order), mlfromscratch.Adam(0.01)
    assert optimizer.w_updt is None
    m = v = 0.0
    for _ in range(3):
        g, old = np.asarray(rng.standard_normal(w.shape), order=order), w.copy()
        m, v = 0.9 * m + (1 - 0.9) * g, 0.999 * v + (1 - 0.999) * g * g
        step = 0.01 * (m / (1 - 0.9)) / (np.sqrt(v / (1 - 0.999)) + 1e-8)
        new = optimizer.update(w, g)
        np.testing.assert_array_equal(w, old)
        np.testing.assert_allclose(new, w - step, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(optimizer.w_updt, step, rtol=1e-12)
        w = new


def test_what_a_kernel_may_not_change_is_left_as_it_is():
    a = np.arange(8.0)
    row = lambda value: ([value], [np.ones(4)], [np.zeros(4)], [np.zeros(4)])  # noqa: E731
    assert stepped(updates.ADAM, NUMBERS, *row(np.ones(4)))
    read_only = np.ones(4)
    read_only.flags.writeable = False
    for value in (a[::2], read_only, np.ones(4, np.float32), np.ones(4, np.float16), np.ones(3)):
        before = value.copy()
        assert not stepped(updates.ADAM, NUMBERS, *row(value))
        np.testing.assert_array_equal(value, before)
    shared = ([a[:5], a[3:]], [np.ones(5)] * 2, [np.zeros(5), np.zeros(5)], [np.zeros(5), np.zeros(5)])
    assert not stepped(updates.ADAM, NUMBERS, *shared)  # tasks would change a[3:5] at the same time
    np.testing.assert_array_equal(a, np.arange(8.0))


def test_one_array_under_two_names_takes_two_steps():
    found = []
    for optimizer in (dlfs.Adam(0.1), ByFormula(0.1)):
        array = np.ones(3)
        optimizer.update({"a": array, "b": array}, {"a": np.ones(3), "b": np.full(3, 2.0)})
        found.append(array)
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_gradient_through_known_statistics(dtype):
    rng = np.random.default_rng(5)
    X, g, w = (rng.standard_normal(s).astype(dtype) for s in ((5, 3, 2, 2), (5, 3, 2, 2), (3, 2, 2)))
    X_64, g_64 = X.astype(float), g.astype(float)
    mean, var = X_64.mean(axis=0), X_64.var(axis=0)
    inverse = 1 / np.sqrt(var + 0.01)
    x_hat = (X_64 - mean) * inverse
    expected = w * inverse * (g_64 - g_64.mean(axis=0) - x_hat * (g_64 * x_hat).mean(axis=0))
    grad_x, grad_w, grad_b = normalised_backward(g, X, mean, var, w, 0.01, True)
    bound = 1e-12 if dtype == np.float64 else 1e-5
    assert grad_x.dtype == grad_w.dtype == grad_b.dtype == dtype
    np.testing.assert_allclose(grad_x, expected, rtol=bound, atol=bound)
    np.testing.assert_allclose(grad_w, (g_64 * x_hat).sum(axis=0).ravel(), rtol=bound, atol=bound)
    np.testing.assert_allclose(grad_b, g_64.sum(axis=0).ravel(), rtol=bound, atol=bound)


def test_an_infinite_parameter_stays():
    for optimizer in (dlfs.Adam(0.1), ByFormula(0.1)):
        params = {"a": np.array([1.0, np.inf, -np.inf])}
        optimizer.update(params, {"a": np.ones(3)})
        np.testing.assert_allclose(params["a"], [0.9, np.inf, -np.inf], rtol=1e-6)
