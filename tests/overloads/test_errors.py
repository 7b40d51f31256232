"""Calls inside jitted code that must not succeed: the error is the one that Python gives, never Numba's own."""

from __future__ import annotations

import inspect

import numba
import numpy as np
import pytest
from numba.core.registry import cpu_target

import fastconv
import fastconv._overloads
from fastconv.errors import DTypeError, RangeError, ShapeError, TooLargeError

F = fastconv
x, w, b = np.ones((2, 4, 9, 11), np.float32), np.ones((6, 4, 3, 2), np.float32), np.ones(6, np.float32)
y, indices = F.max_pool2d_with_indices(x, 2)
HUGE = 2**62

# arrays are constants of the functions, sizes too; Numba knows all of them when it compiles, and the errors come later
VALUES = {
    "channels": lambda x, w: F.conv2d(x, w[:, :2]),
    "groups": lambda x, w: F.conv2d(x, w, groups=3),
    "groups and outputs": lambda x, w: F.conv2d(x, w[:5, :2], groups=2),
    "no groups": lambda x, w: F.conv2d(x, w, groups=0),
    "kernel too large": lambda x, w: F.conv2d(x[:, :, :2], w),
    "no pixels": lambda x, w: F.conv2d(x[:, :, :0], w),
    "no kernel": lambda x, w: F.conv2d(x, w[:, :, :0]),
    "no outputs": lambda x, w: F.conv2d(x, w[:0]),
    "bias": lambda x, w: F.conv2d(x, w, w[0, :, 0, 0]),
    "stride": lambda x, w: F.conv2d(x, w, stride=0),
    "strides": lambda x, w: F.conv2d(x, w, stride=(1, -2)),
    "dilation": lambda x, w: F.conv2d(x, w, dilation=HUGE),
    "padding": lambda x, w: F.conv2d(x, w, padding=((0, 0), (0, -1))),
    "huge padding": lambda x, w: F.conv2d(x, w, padding=HUGE),
    "large paddings": lambda x, w: F.conv2d(x, w, padding=2**31 - 1),
    "large dilation": lambda x, w: F.conv2d(x, w, dilation=2**31 - 1, padding="full"),
    "same and stride": lambda x, w: F.conv2d(x, w, stride=2, padding="same"),
    "a name": lambda x, w: F.conv2d(x, w, padding="sane"),
    "grad_output": lambda x, w: F.conv2d_backward(x, x, w),
    "output shape": lambda x, w: F.conv_output_shape((1, 1, 4, 4), (1, 1, 5, 5)),
    "negative shape": lambda x, w: F.conv_output_shape((1, 1, -4, 4), (1, 1, 5, 5)),
    "im2col": lambda x, w: F.im2col(x, (0, 1)),
    "im2col channels": lambda x, w: F.im2col(x[:, :0], 2),
    "huge kernel": lambda x, w: F.im2col(x, HUGE),
    "col2im": lambda x, w: F.col2im(x[0, 0], (1, 1, 3, 3), 2),
    "pool padding": lambda x, w: F.max_pool2d(x, 2, padding=2),
    "pool dilation": lambda x, w: F.max_pool2d(x[:, :, :2, :2], 3, 1, 1, dilation=2),
    "pool kernel": lambda x, w: F.avg_pool2d(x, 12),
    "divisor": lambda x, w: F.avg_pool2d(x, 2, divisor_override=0),
    "pool gradient": lambda x, w: F.avg_pool2d_backward(x, (2, 4, 9, 11), 2),
    "linear": lambda x, w: F.linear(x[0, 0], w[0, 0]),
    "linear without outputs": lambda x, w: F.linear(x[0, 0], x[0, 0, :0]),
    "linear bias": lambda x, w: F.linear(x[0, 0], x[0, 0], w[0, 0, 0]),
    "linear gradient": lambda x, w: F.linear_backward(w[0, 0], x[0, 0], x[0, 0]),
    "relu_backward": lambda x, w: F.relu_backward(x, w),
    "axis": lambda x, w: F.softmax(x, 4),
    "negative axis": lambda x, w: F.log_softmax(x, -5),
    "empty axis": lambda x, w: F.softmax(x[:, :0], 1),
    "targets": lambda x, w: F.cross_entropy(x[0, 0], x[0]. astype(np.int64)[0, :3, 0]),
    "weights of classes": lambda x, w: F.cross_entropy(x[0, 0], x[0, 0].T),
    "class id": lambda x, w: F.cross_entropy(x[0, 0], np.full(9, 11)),
    "negative class id": lambda x, w: F.cross_entropy(x[0, 0], np.full(9, -1)),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_raise_what_python_raises(name):
    call = VALUES[name]
    with pytest.raises(ValueError) as expected:
        call(x, w)
    with pytest.raises(ValueError) as found:
        numba.njit(call)(x, w)
    assert str(found.value) == str(expected.value)
    assert type(found.value) is type(expected.value)


def test_a_name_in_a_variable():
    f = numba.njit(lambda x, w, padding: fastconv.conv2d(x, w, padding=padding))
    with pytest.raises(ShapeError, match=r"padding must be integers or one of valid, same, .* got 'sane'"):
        f(x, w, "sane")
    assert f(x, w, "same_lower").shape == (2, 6, 9, 11)


@pytest.mark.parametrize("bad", [-1, 20])
def test_indices_outside_the_plane(bad):
    found = indices.copy()
    found[1, 2, 0, 0] = bad
    f = numba.njit(lambda g, i: fastconv.max_pool2d_backward(g, i, (2, 4, 4, 5)))
    with pytest.raises(RangeError, match=f"indices must be from 0 to 19 for a plane of 4 x 5, got {bad}$"):
        f(y, np.where(found > 19, 0, found) if bad < 0 else np.where(found > 19, bad, found))


def test_an_input_shape_that_does_not_fit():
    f = numba.njit(lambda g, i: fastconv.max_pool2d_backward(g, i, (2, 5, 9, 11)))
    with pytest.raises(ShapeError, match=r"input_shape \(2, 5, 9, 11\) does not fit grad_output of \(2, 4, 4, 5\)"):
        f(y, indices)


def test_a_result_larger_than_memory():
    f = numba.njit(lambda x, w: fastconv.conv2d(x, w, padding=2**28))
    with pytest.raises(TooLargeError, match=r"conv2d: the result of shape \(2, 6, .* needs .* bytes"):
        f(x, w)
    with pytest.raises(MemoryError, match="conv2d: the padded input of shape"):
        numba.njit(lambda x, w: fastconv.conv2d(x, w, stride=2**27, padding=2**28))(x, w)


def test_out_is_checked():
    f = numba.njit(lambda x, w, out: fastconv.conv2d(x, w, out=out))
    with pytest.raises(ShapeError, match=r"out must have shape \(2, 6, 7, 10\), got \(2, 6, 7, 9\)"):
        f(x, w, np.empty((2, 6, 7, 9), np.float32))
    with pytest.raises(DTypeError, match="out must have dtype float32, got float64"):
        f(x, w, np.empty((2, 6, 7, 10)))
    with pytest.raises(ShapeError, match="out must have 4 dimensions, got 3"):
        f(x, w, np.empty((6, 7, 10), np.float32))
    with pytest.raises(ValueError, match="out must be writeable, C-contiguous and aligned"):
        f(x, w, np.empty((2, 6, 10, 7), np.float32).transpose(0, 1, 3, 2))
    memory = np.zeros(2 * 6 * 7 * 10 + 100, np.float32)
    image = memory[: 2 * 4 * 9 * 11].reshape(2, 4, 9, 11)
    with pytest.raises(ValueError, match="out must not share memory with an input"):
        f(image, w, memory[100:].reshape(2, 6, 7, 10))


TYPES = {
    "x: a list": (TypeError, "x must be a NumPy array", lambda x, w: F.conv2d([1.0, 2.0], w)),
    "x: complex": (DTypeError, "x must have dtype float32, .* got complex128", lambda x, w: F.conv2d(x * 1j, w)),
    "x: two axes": (ShapeError, "x must have 4 dimensions, or 3 .* got 2", lambda x, w: F.conv2d(x[0, 0], w)),
    "weight: three axes": (ShapeError, "weight must have 4 dimensions", lambda x, w: F.conv2d(x, w[0])),
    "bias: a number": (DTypeError, "bias must be a NumPy array, got float64", lambda x, w: F.conv2d(x, w, 1.5)),
    "stride: a float": (TypeError, "stride must be an integer, got .*float64", lambda x, w: F.conv2d(x, w, None, 1.5)),
    "stride: a flag": (TypeError, "stride must be an integer, got True", lambda x, w: F.conv2d(x, w, stride=True)),
    "stride: three": (ShapeError, r"integer or two, got \(1, 2, 3\)", lambda x, w: F.conv2d(x, w, stride=(1, 2, 3))),
    "stride: None": (TypeError, "stride must be an integer, got None", lambda x, w: F.conv2d(x, w, stride=None)),
    "padding: five": (ShapeError, "padding must be", lambda x, w: F.conv2d(x, w, padding=((1, 2), (1, 2, 3)))),
    "groups": (TypeError, "groups must be an integer", lambda x, w: F.conv2d(x, w, groups=(1, 1))),
    "layout": (ValueError, "layout must be one of NCHW, NHWC, got 'CHWN'", lambda x, w: F.conv2d(x, w, layout="CHWN")),
    "algorithm": (ValueError, "auto or direct inside jitted", lambda x, w: F.conv2d(x, w, algorithm="im2col")),
    "order": (ValueError, "order must be one of rows, cols", lambda x, w: F.im2col(x, 2, order="row")),
    "needs": (ValueError, "needs must be three booleans", lambda x, w: F.conv2d_backward(x, x, w, needs=(True,))),
    "ceil_mode": (TypeError, "ceil_mode must be True or False, got 1", lambda x, w: F.max_pool2d(x, 2, ceil_mode=1)),
    "indices": (DTypeError, "indices must be integers", lambda x, w: F.max_pool2d_backward(x, x, (2, 4, 9, 11))),
    "input_shape": (TypeError, "input_shape must be a tuple", lambda x, w: F.col2im(x[0, 0], 3, 2)),
    "sizes": (ShapeError, "input_shape must have 3 or 4 sizes, got", lambda x, w: F.col2im(x[0, 0], (3, 3), 2)),
    "axis": (TypeError, "axis must be an integer, got", lambda x, w: F.softmax(x, 0.5)),
    "target": (DTypeError, "must hold class ids as integers", lambda x, w: F.cross_entropy(x[0, 0], x[0, 0, :, 0])),
    "linear": (ShapeError, r"x must have shape \(N, IN\) or \(IN,\)", lambda x, w: F.linear(x, x[0, 0])),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_types_raise_when_the_function_is_compiled(name):
    kind, message, call = TYPES[name]
    with pytest.raises(kind, match=message) as found:
        numba.njit(call)(x, w)
    assert not isinstance(found.value, numba.core.errors.NumbaError)
    with pytest.raises(kind) if name != "algorithm" else pytest.raises(ValueError):
        call(x, w) if name != "algorithm" else F.conv2d(x, w, algorithm="none")


def test_what_must_be_a_constant():
    with pytest.raises(TypeError, match="conv2d: layout must be a constant inside jitted code"):
        numba.njit(lambda x, w, layout: fastconv.conv2d(x, w, layout=layout))(x, w, "NCHW")


def test_an_error_in_a_function_called_by_a_jitted_one():
    inner = numba.njit(lambda x, w: fastconv.conv2d(x, w, stride=0))
    with pytest.raises(ShapeError, match=r"^conv2d: stride must be from 1 to 2147483647, got 0$"):
        numba.njit(lambda x, w: inner(x, w))(x, w)


@pytest.mark.parametrize("name", sorted(fastconv.functional.__all__))
def test_every_function_takes_the_arguments_of_python(name):
    """Each public function has a compiled form, with the same names and defaults."""
    function = getattr(fastconv, name)
    cpu_target.typing_context.refresh()
    kind = cpu_target.typing_context.resolve_value_type(function)
    signature = inspect.signature(kind.templates[0]._overload_func)
    expected = inspect.signature(function).parameters.values()
    assert [(p.name, p.default) for p in signature.parameters.values()] == [(p.name, p.default) for p in expected]
