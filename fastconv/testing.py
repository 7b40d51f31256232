"""Checks for layers of your own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.nn.base import Backward, Layer


def gradcheck(
    layer: Layer, x: np.ndarray, *, eps: float = 1e-6, rtol: float = 1e-3, atol: float = 1e-5,
    rng: np.random.Generator | int | None = 0, samples: int | None = None, training: bool = False,
) -> None:  # fmt: skip
    """Compare a layer's gradients, of x and of every trainable parameter, with central differences.

    For a random weighting r of the result: d sum(r * y) / dv = (sum(r * y(v + eps)) - sum(r * y(v - eps))) / (2 * eps).
    The parameters' and buffers' values are as before afterwards; the gradients are forgotten.

    Args:
        layer: the layer; its parameters must be float64, in which eps leaves enough digits.
        x: a batch, float64. Keep it away from kinks, as ReLU's at 0: no difference is right there.
        eps: how far each element is moved.
        rtol: how far a gradient may be off, relative to the difference.
        atol: the same, absolutely.
        rng: source of randomness for r and the samples.
        samples: check this number of elements of each array, drawn at random; None checks all.
        training: take the differences of `layer.forward(x)` instead of `layer(x)`, for a layer that does something
            else in training. Its buffers are put back before each call, so that what depends on them, as what a
            `Dropout` draws, is the same each time.

    Raises:
        AssertionError: a gradient is wrong (the message tells whose, where and by how much), has another shape than
            what it belongs to, is not added to what is there, or the layer changes its input.
        TypeError: x or a parameter is not float64.

    Example:
        >>> from fastconv.nn import Linear
        >>> gradcheck(Linear(3, 2, rng=0, dtype=np.float64), np.ones((4, 3)))

    Source: semantics of PyTorch's `torch.autograd.gradcheck`.
    """
    name = type(layer).__name__
    parameters = {path: p for path, p in layer.named_parameters() if p.trainable}
    for path, array in {"x": x, **{path: p.value for path, p in parameters.items()}}.items():
        if not isinstance(array, np.ndarray) or array.dtype != np.float64:
            raise TypeError(f"gradcheck: {path} must be a float64 array, got {getattr(array, 'dtype', type(array))}")
    source = np.random.default_rng(rng)
    x = x.copy()
    before = x.copy()
    buffers = [(b.value, b.value.copy()) for b in layer.buffers()]

    def forward() -> tuple[np.ndarray, Backward]:
        _put_back(buffers)
        return layer.forward(x)

    def result() -> np.ndarray:
        return forward()[0] if training else layer(x)

    y, backward = forward()
    weights = source.standard_normal(y.shape)
    layer.zero_grad()
    grad_x = backward(weights.copy())
    _expect(np.array_equal(x, before), f"{name} changes its input")
    same = training or np.allclose(layer(x), y, rtol=rtol, atol=atol)
    _expect(same, f"{name}: layer(x) and layer.forward(x)[0] differ")
    once = {path: p.grad.copy() for path, p in parameters.items()}
    forward()[1](weights.copy())
    for path, p in parameters.items():
        close = np.allclose(p.grad, 2 * once[path], rtol=rtol, atol=atol)
        _expect(close, f"{name}: the gradient of {path} is not added to what is there")
    layer.zero_grad()
    checks = {"x": (x, grad_x), **{path: (p.value, once[path]) for path, p in parameters.items()}}
    for path, (values, gradient) in checks.items():
        shape = np.shape(gradient)
        _expect(shape == values.shape, f"{name}: the gradient of {path} has shape {shape}, not {values.shape}")
        some = values.size if samples is None else min(samples, values.size)
        for place in sorted(source.permutation(values.size)[:some]):
            slope = _slope(result, values, place, weights, eps)
            where = tuple(map(int, np.unravel_index(place, values.shape)))
            found = gradient[where]
            _expect(
                abs(found - slope) <= atol + rtol * abs(slope),
                f"{name}: the gradient of {path} at {where} is {found:.8g}, the central difference {slope:.8g}",
            )
    _put_back(buffers)


def _put_back(buffers: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for value, before in buffers:
        value[...] = before


def _slope(
    result: Callable[[], np.ndarray], values: np.ndarray, place: int, weights: np.ndarray, eps: float
) -> float:  # fmt: skip
    """The central difference of sum(weights * result()) with respect to one element of `values`."""
    old = values.flat[place]
    sums = []
    try:
        for moved in (old + eps, old - eps):
            values.flat[place] = moved
            sums.append(float(np.sum(weights * result())))
    finally:
        values.flat[place] = old
    return (sums[0] - sums[1]) / (2 * eps)


def _expect(condition: bool | np.bool_, message: str) -> None:
    # not an assert statement, which python -O would leave out
    if not condition:
        raise AssertionError(f"gradcheck: {message}")
