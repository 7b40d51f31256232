"""Calls inside jitted code that must not succeed: the error is the one that Python gives, never Numba's own."""

from __future__ import annotations

import functools
import inspect

import numba
import numpy as np
import pytest
from numba.core.registry import cpu_target

import fastconv
import fastconv._overloads
from fastconv.errors import DTypeError, ShapeError, TooLargeError

F = fastconv
HUGE = 2**62
x, w, b = np.ones((2, 4, 9, 11), np.float32), np.ones((6, 4, 3, 2), np.float32), np.ones(6, np.float32)
y, indices = F.max_pool2d_with_indices(x, 2)
plane, square, ids = x[0, 0].copy(), np.ones((9, 9), np.float32), np.zeros(9, np.int64)
four, four_channels, signals, taps = w[:4].copy(), b[:4].copy(), x[:, :, 0].copy(), w[..., 0].copy()
result, enlarged, means = (np.ones(s, np.float32) for s in ((2, 6, 7, 10), (2, 3, 11, 12), (2, 4, 1, 1)))
ZERO, ONE, BIAS = ((0, 0), (0, 0)), (1, 1), (False, False, True)


def conv2d(x=x, w=w, b=b, stride=ONE, padding=ZERO, dilation=ONE, groups=1):
    return F.conv2d(x, w, b, stride, padding, dilation, groups)


def conv_transpose2d(x=x, w=four, b=four_channels, stride=ONE, padding=ZERO, extra=(0, 0), groups=1):
    return F.conv_transpose2d(x, w, b, stride, padding, extra, groups)


def conv1d(x=signals, w=taps, stride=1, padding=(0, 0)):
    return F.conv1d(x, w, None, stride, padding)


def batch_norm2d(x=x, mean=four_channels, var=four_channels, training=False, momentum=0.5, eps=0.0):
    return F.batch_norm2d(x, mean, var, None, None, training, momentum, eps)


# one function for each row of types; its defaults are a call that succeeds
FUNCTIONS = {
    "conv2d": conv2d,
    "conv_transpose2d": conv_transpose2d,
    "conv1d": conv1d,
    "batch_norm2d": batch_norm2d,
    "no statistics": lambda x=x, training=True: F.batch_norm2d(x, None, None, training=training),
    "named": lambda x=x, w=w, stride=1, padding="full": F.conv2d(x, w, None, stride, padding),
    "named transposed": lambda extra=0: F.conv_transpose2d(x, four, None, 2, "same_upper", extra),
    "conv2d_backward": lambda g=result: F.conv2d_backward(g, x, w, needs=BIAS),
    "conv_transpose2d_backward": lambda g=enlarged: F.conv_transpose2d_backward(g, x, four, needs=BIAS),
    "conv_output_shape": lambda image=(1, 1, 4, 4), weight=(1, 1, 2, 2): F.conv_output_shape(image, weight),
    "correlate2d": lambda a=plane, k=plane: F.correlate2d(a, k),
    "im2col": lambda x=x, kernel=(2, 2): F.im2col(x, kernel),
    "col2im": lambda cols=plane, shape=(1, 1, 3, 3): F.col2im(cols, shape, 2),
    "max_pool2d": lambda x=x, kernel=2, padding=0, dilation=1: F.max_pool2d(x, kernel, 1, padding, dilation),
    "avg_pool2d": lambda kernel=2, divisor=1: F.avg_pool2d(x, kernel, divisor_override=divisor),
    "max_pool2d_backward": lambda i=indices, shape=(2, 4, 9, 11): F.max_pool2d_backward(y, i, shape),
    "max_unpool2d": lambda i=indices, shape=(2, 4, 9, 11): F.max_unpool2d(y, i, shape),
    "max_unpool2d_backward": lambda g=x, i=indices: F.max_unpool2d_backward(g, i),
    "global_avg_pool2d": lambda x=x: F.global_avg_pool2d(x),
    "local_response_norm": lambda size=1, alpha=1.0: F.local_response_norm(x, size, alpha),
    "linear": lambda x=plane, w=plane, b=b: F.linear(x, w, b),
    "leaky_relu": lambda slope=0.5: F.leaky_relu(x, slope),
    "softmax": lambda x=x, axis=0: F.softmax(x, axis),
    "dropout": lambda p=0.5: F.dropout_backward(plane, plane > 0, p),
    "dropout_backward": lambda g=plane: F.dropout_backward(g, plane > 0, 0.5),
    "cross_entropy": lambda ids=ids, share=0.5: F.cross_entropy(plane, ids, label_smoothing=share),
}  # fmt: skip
VALUES = [
    ("conv2d", {"w": w[:, :2]}),
    ("conv2d", {"groups": 3}),
    ("conv2d", {"w": w[:5, :2], "groups": 2}),
    ("conv2d", {"groups": 0}),
    ("conv2d", {"x": x[:, :, :2]}),
    ("conv2d", {"x": x[:, :, :0]}),
    ("conv2d", {"w": w[:, :, :0]}),
    ("conv2d", {"w": w[:0]}),
    ("conv2d", {"b": b[:4]}),
    ("conv2d", {"stride": (1, -2)}),
    ("conv2d", {"dilation": (1, HUGE)}),
    ("conv2d", {"padding": ((0, 0), (0, -1))}),
    ("conv2d", {"padding": ((HUGE, 0), (0, 0))}),
    ("conv2d", {"padding": ((2**31 - 1, 2**31 - 1), (0, 0))}),
    ("conv2d", {"dilation": (2**31 - 1, 1)}),
    ("named", {"stride": 2, "padding": "same"}),
    ("named", {"padding": "sane"}),
    ("conv_transpose2d", {"w": w}),
    ("conv_transpose2d", {"groups": 3}),
    ("conv_transpose2d", {"w": w[:4, :0]}),
    ("conv_transpose2d", {"b": b}),
    ("conv_transpose2d", {"extra": (0, 1)}),
    ("conv_transpose2d", {"extra": (-1, 0)}),
    ("conv_transpose2d", {"padding": ((9, 9), (0, 0))}),
    ("conv_transpose2d", {"x": x[:, :, :0]}),
    ("conv_transpose2d", {"w": w[:4, :, :0]}),
    ("named transposed", {"extra": 1}),
    ("conv_transpose2d_backward", {"g": x}),
    ("conv1d", {"w": w[:0, :, :, 0]}),
    ("conv1d", {"stride": 0}),
    ("conv1d", {"padding": (0, -1)}),
    ("conv2d_backward", {"g": x}),
    ("conv_output_shape", {"weight": (1, 1, 5, 5)}),
    ("conv_output_shape", {"image": (1, 1, -4, 4)}),
    ("correlate2d", {"k": plane[:0]}),
    ("correlate2d", {"k": np.ones((1, 12), np.float32)}),
    ("im2col", {"kernel": (0, 1)}),
    ("im2col", {"x": x[:, :0]}),
    ("im2col", {"kernel": (HUGE, 1)}),
    ("col2im", {}),
    ("max_pool2d", {"padding": 2}),
    ("max_pool2d", {"x": x[:, :, :2, :2], "kernel": 3, "padding": 1, "dilation": 2}),
    ("avg_pool2d", {"kernel": 12}),
    ("avg_pool2d", {"divisor": 0}),
    ("max_pool2d_backward", {"i": indices - 1}),
    ("max_pool2d_backward", {"i": indices + 99}),
    ("max_pool2d_backward", {"shape": (2, 5, 9, 11)}),
    ("max_unpool2d", {"i": indices - 1}),
    ("max_unpool2d", {"shape": (2, 4, 0, 11)}),
    ("max_unpool2d_backward", {"i": indices + 99}),
    ("max_unpool2d_backward", {"g": x[:1]}),
    ("global_avg_pool2d", {"x": x[:, :, :0]}),
    ("local_response_norm", {"size": 0}),
    ("local_response_norm", {"alpha": np.inf}),
    ("batch_norm2d", {"x": x[:1, :, :1, :1], "training": True}),
    ("batch_norm2d", {"mean": b}),
    ("batch_norm2d", {"momentum": 1.5}),
    ("batch_norm2d", {"eps": -1.0}),
    ("no statistics", {"training": False}),
    ("linear", {"w": w[0, 0]}),
    ("linear", {"w": plane[:0]}),
    ("linear", {"b": b}),
    ("leaky_relu", {"slope": np.nan}),
    ("softmax", {"axis": 4}),
    ("softmax", {"axis": -5}),
    ("softmax", {"x": x[:, :0], "axis": 1}),
    ("dropout", {"p": 1.5}),
    ("dropout_backward", {"g": w[0, 0]}),
    ("cross_entropy", {"ids": ids[:3]}),
    ("cross_entropy", {"ids": ids + 11}),
    ("cross_entropy", {"ids": ids - 1}),
    ("cross_entropy", {"share": 1.5}),
]


@functools.cache
def jitted(name):
    return numba.njit(FUNCTIONS[name])


@pytest.mark.parametrize(("name", "bad"), VALUES)
def test_values_raise_what_python_raises(name, bad):
    # in the types of the defaults, for which each function is compiled once
    bad = {k: np.ascontiguousarray(v) if isinstance(v, np.ndarray) else v for k, v in bad.items()}
    defaults = {k: p.default for k, p in inspect.signature(FUNCTIONS[name]).parameters.items()}
    with pytest.raises((ValueError, TypeError)) as expected:
        FUNCTIONS[name](**bad)
    with pytest.raises((ValueError, TypeError)) as found:
        jitted(name)(*(defaults | bad).values())
    assert str(found.value) == str(expected.value)
    assert type(found.value) is type(expected.value)
    assert len(jitted(name).signatures) <= 1


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
    "algorithm": (ValueError, "algorithm must be .*direct", lambda x, w: F.conv2d(x, w, algorithm="none")),
    "order": (ValueError, "order must be one of rows, cols", lambda x, w: F.im2col(x, 2, order="row")),
    "needs": (ValueError, "needs must be three booleans", lambda x, w: F.conv2d_backward(x, x, w, needs=(True,))),
    "ceil_mode": (TypeError, "ceil_mode must be True or False, got 1", lambda x, w: F.max_pool2d(x, 2, ceil_mode=1)),
    "indices": (DTypeError, "indices must be integers", lambda x, w: F.max_pool2d_backward(x, x, (2, 4, 9, 11))),
    "input_shape": (TypeError, "input_shape must be a tuple", lambda x, w: F.col2im(x[0, 0], 3, 2)),
    "sizes": (ShapeError, "input_shape must have 3 or 4 sizes, got", lambda x, w: F.col2im(x[0, 0], (3, 3), 2)),
    "axis": (TypeError, "axis must be an integer, got", lambda x, w: F.softmax(x, 0.5)),
    "target": (DTypeError, "must hold class ids as integers", lambda x, w: F.cross_entropy(x[0, 0], x[0, 0, :, 0])),
    "training": (TypeError, "must be True or False", lambda x, w: F.batch_norm2d(x, None, None, None, None, 1)),
    "eps": (TypeError, "eps must be a number, got True", lambda x, w: F.batch_norm2d(x, None, None, eps=True)),
    "negative_slope": (TypeError, "negative_slope must be a number", lambda x, w: F.leaky_relu(x, (1,))),
    "mode": (ValueError, "mode must be one of valid, same, full", lambda x, w: F.correlate2d(x[0, 0], w[0, 0], "all")),
    "kernel": (ShapeError, "kernel must have 2 dimensions", lambda x, w: F.convolve2d(x[0, 0], w[0])),
    "output_padding": (TypeError, "output_padding must be an", lambda x, w: F.conv_transpose2d(x, w, None, 1, 0, 0.5)),
    "signals": (ShapeError, "x must have 3 dimensions, or 2", lambda x, w: F.conv1d(x, w[0])),
    "mask": (DTypeError, "mask must hold booleans", lambda x, w: F.dropout_backward(x, x, 0.5)),
    "rng": (TypeError, "rng must be a numpy.random.Generator", lambda x, w: F.dropout(x, 0.5, (1, 2))),
    "linear": (ShapeError, r"x must have shape \(N, IN\) or \(IN,\)", lambda x, w: F.linear(x, x[0, 0])),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_types_raise_when_the_function_is_compiled(name):
    kind, message, call = TYPES[name]
    with pytest.raises(kind, match=message) as found:
        numba.njit(call)(x, w)
    assert not isinstance(found.value, numba.core.errors.NumbaError)
    with pytest.raises(kind):
        call(x, w)


def test_what_jitted_code_does_not_take():
    with pytest.raises(
        ValueError, match="conv2d: algorithm must be one of auto, direct, winograd inside jitted code, got 'im2col'"
    ):
        numba.njit(lambda x, w: fastconv.conv2d(x, w, algorithm="im2col"))(x, w)
    with pytest.raises(TypeError, match=r"dropout: rng must be a numpy.random.Generator inside jitted code, got 1$"):
        numba.njit(lambda x: fastconv.dropout(x, 0.5, 1))(x)
    with pytest.raises(DTypeError, match="relu: x must not be float16 inside jitted code"):
        numba.njit(lambda x: fastconv.relu(x))(x.astype(np.float16))


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
