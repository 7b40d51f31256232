"""What every function and layer does with what it is given, before it computes: dtypes, subclasses, names."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from every import FUNCTIONS, LAYER_NAMES

import fastconv
from fastconv import models, nn, reference
from fastconv.functional import correlate

ml_dtypes = pytest.importorskip("ml_dtypes")

SMALL = np.arange(32.0).reshape(1, 2, 4, 4) / 7 - 2
WEIGHT, ROW, POOLED = SMALL.reshape(2, 2, 2, 4)[..., :2].copy(), SMALL.reshape(4, 8), SMALL[..., ::2, ::2].copy()
INDICES = np.array([[[[0, 2], [8, 10]]] * 2])
VECTOR = np.array([0.5, 1.5])
# each function with arrays by name, and what comes after them
CALLS = {
    "avg_pool2d": ({"x": SMALL}, {"kernel_size": 2}),
    "avg_pool2d_backward": ({"grad_output": POOLED}, {"input_shape": SMALL.shape, "kernel_size": 2}),
    "batch_norm2d": (
        {"x": SMALL, "running_mean": VECTOR, "running_var": VECTOR, "weight": VECTOR, "bias": VECTOR}, {},
    ),
    "batch_norm2d_backward": (
        {"grad_output": SMALL, "x": SMALL, "running_mean": VECTOR, "running_var": VECTOR, "weight": VECTOR}, {},
    ),
    "col2im": ({"cols": ROW}, {"input_shape": (1, 2, 4, 4), "kernel_size": 2, "stride": 2}),
    "conv1d": ({"x": ROW, "weight": SMALL.reshape(2, 4, 4), "bias": VECTOR}, {}),
    "conv1d_backward": ({"grad_output": ROW[:2, :5], "x": ROW, "weight": SMALL.reshape(2, 4, 4)}, {}),
    "conv2d": ({"x": SMALL, "weight": WEIGHT, "bias": VECTOR}, {}),
    "conv2d_backward": ({"grad_output": SMALL[..., :3, :3], "x": SMALL, "weight": WEIGHT}, {}),
    "conv_transpose2d": ({"x": POOLED, "weight": WEIGHT, "bias": VECTOR}, {"stride": 2}),
    "conv_transpose2d_backward": ({"grad_output": SMALL, "x": POOLED, "weight": WEIGHT}, {"stride": 2}),
    "convolve2d": ({"x": ROW, "kernel": WEIGHT[0, 0]}, {}),
    "correlate2d": ({"x": ROW, "kernel": WEIGHT[0, 0]}, {"mode": "full"}),
    "cross_entropy": ({"logits": ROW, "target": np.arange(4)}, {}),
    "dropout": ({"x": ROW}, {"p": 0.5, "rng": 0}),
    "dropout_backward": ({"grad_output": ROW, "mask": ROW > 0}, {"p": 0.5}),
    "dropout_with_mask": ({"x": ROW}, {"p": 0.5, "rng": 0}),
    "global_avg_pool2d": ({"x": SMALL}, {}),
    "global_avg_pool2d_backward": ({"grad_output": VECTOR.reshape(2, 1, 1)}, {"input_shape": (2, 3, 3)}),
    "im2col": ({"x": SMALL}, {"kernel_size": 2}),
    "leaky_relu": ({"x": ROW}, {}),
    "leaky_relu_backward": ({"grad_output": ROW, "x": ROW}, {}),
    "linear": ({"x": ROW, "weight": ROW[:2], "bias": VECTOR}, {}),
    "linear_backward": ({"grad_output": ROW[:, :2], "x": ROW, "weight": ROW[:2]}, {}),
    "local_response_norm": ({"x": SMALL}, {"size": 3}),
    "local_response_norm_backward": ({"grad_output": SMALL, "x": SMALL}, {"size": 3}),
    "max_pool2d": ({"x": SMALL}, {"kernel_size": 2}),
    "max_pool2d_backward": ({"grad_output": POOLED, "indices": INDICES}, {"input_shape": SMALL.shape}),
    "max_pool2d_with_indices": ({"x": SMALL}, {"kernel_size": 2}),
    "max_unpool2d": ({"x": POOLED, "indices": INDICES}, {"output_shape": SMALL.shape}),
    "max_unpool2d_backward": ({"grad_output": SMALL, "indices": INDICES}, {}),
    **{name: ({"x": ROW}, {}) for name in ("relu", "relu6", "sigmoid", "tanh", "softmax", "log_softmax")},
    **{
        f"{name}_backward": ({"grad_output": ROW, "y": ROW}, {})
        for name in ("relu", "relu6", "sigmoid", "tanh", "softmax", "log_softmax")
    },
}  # fmt: skip
BACKENDS = ("numba", "numpy")


class Strange(np.ndarray):
    """A subclass in which nothing means what it means."""

    def _refuse(self, *args, **keywords):
        raise AssertionError("an operator of the caller's class was used")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __getitem__ = _refuse
    __setitem__ = __iadd__ = __imul__ = __lt__ = __gt__ = __ge__ = __array_ufunc__ = __array_function__ = _refuse
    reshape = transpose = astype = sum = min = max = copy = _refuse


def strange(array):
    return array.copy().view(Strange)


def found(name, arrays, options):
    result = getattr(fastconv, name)(**arrays, **options)
    return [r for r in (result if isinstance(result, tuple) else (result,)) if not isinstance(r, float)]


def test_every_function_has_a_row():
    assert set(CALLS) == FUNCTIONS


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", CALLS)
def test_a_subclass_is_taken_as_the_array_it_holds(name, backend):
    arrays, options = CALLS[name]
    with fastconv.use_backend(backend):
        expected = found(name, arrays, options)
        for one, other in zip(found(name, {k: strange(a) for k, a in arrays.items()}, options), expected):
            assert type(one) is np.ndarray
            np.testing.assert_array_equal(one, other, strict=True)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_subclass_without_a_batch_is_taken_as_the_array_it_holds(backend):
    calls = {
        "conv2d": ((SMALL[0], WEIGHT), ()), "linear": ((ROW[0], ROW), ()), "max_pool2d": ((SMALL[0],), (2,)),
        "avg_pool2d": ((SMALL[0],), (2,)), "global_avg_pool2d": ((SMALL[0],), ()),
    }  # fmt: skip
    with fastconv.use_backend(backend):
        for name, (arrays, options) in calls.items():
            function = getattr(fastconv, name)
            one = function(*map(strange, arrays), *options)
            assert type(one) is np.ndarray
            np.testing.assert_array_equal(one, function(*arrays, *options), strict=True)


@pytest.mark.parametrize("name", [name for name in CALLS if "out" in fastconv.__dict__[name].__code__.co_varnames])
def test_out_of_a_subclass_is_filled_and_returned(name):
    arrays, options = CALLS[name]
    (expected,) = found(name, arrays, options)
    out = strange(np.zeros_like(expected))
    assert found(name, arrays, {**options, "out": out})[0] is out
    np.testing.assert_array_equal(np.asarray(out), expected)


def module_of(name):
    return getattr(fastconv, name).__module__.rpartition(".")[2]


POINTWISE = [n for n in CALLS if module_of(n) in ("activation", "dropout") and "softmax" not in n]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i4"])
@pytest.mark.parametrize("name", POINTWISE)
def test_an_array_without_dimensions_stays_one(name, dtype, backend):
    arrays, options = CALLS[name]
    scalars = {k: np.asarray(a[0, 0], a.dtype if k == "mask" else dtype) for k, a in arrays.items()}
    with fastconv.use_backend(backend):
        for one in found(name, scalars, options):
            assert type(one) is np.ndarray and one.shape == ()


@pytest.mark.parametrize("name", [n for n in POINTWISE if "dropout" not in n and not n.endswith("_backward")])
def test_the_reference_gives_arrays_without_dimensions_too(name):
    x = np.asarray(0.5)
    for one in (getattr(reference, name)(x), getattr(reference, f"{name}_backward")(x, x)):
        assert type(one) is np.ndarray and one.shape == ()


MIXED = [
    name for name, (arrays, _) in CALLS.items() if len(arrays) > 1 and not {"indices", "mask", "target"} & set(arrays)
]


@pytest.mark.parametrize("name", MIXED)
def test_mixed_dtypes_are_computed_in_the_dtype_of_the_result(name):
    arrays, options = CALLS[name]
    counting = [k for k in arrays if not k.startswith("running")]  # statistics take no part
    for wide in counting:
        narrow = {k: a.astype("f2" if k in counting and k != wide else "f8") for k, a in arrays.items()}
        exact = {k: a.astype("f8") for k, a in narrow.items()}
        for one, other in zip(found(name, narrow, options), found(name, exact, options)):
            np.testing.assert_array_equal(one, other, strict=True)


FOREIGN = [
    np.dtype(getattr(ml_dtypes, name))
    for name in ("bfloat16", "float8_e5m2", "float8_e4m3fn", "float8_e8m0fnu", "float4_e2m1fn", "int4", "uint2")
] + [np.dtype(np.longdouble), np.dtype(np.complex64), np.dtype("M8[s]"), np.dtype("m8[s]")]


@pytest.mark.parametrize("dtype", FOREIGN, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_dtypes_that_are_not_computed_with_are_refused(name, dtype):
    arrays, options = CALLS[name]
    for odd in arrays:
        with pytest.raises(TypeError, match=f"^{name}: {odd} must have dtype float32"):
            found(name, {**arrays, odd: np.zeros(arrays[odd].shape, dtype)}, options)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_gradients_of_float16_in_both_layouts(name, layout):
    # several channels: the gradients of one lie alike in both orders, and are not moved
    x, weight = np.ones((2, 4, 5, 3), np.float16), np.ones((3, 2, 2, 3), np.float16)
    if layout == "NCHW":
        x, weight = x.transpose(0, 3, 1, 2), weight.transpose(0, 3, 1, 2)
    y = getattr(fastconv, name)(x, weight, layout=layout)
    grads = getattr(fastconv, f"{name}_backward")(y, x, weight, layout=layout)
    wide = getattr(fastconv, f"{name}_backward")(*(a.astype("f4") for a in (y, x, weight)), layout=layout)
    for one, other in zip(grads, wide):
        assert one.dtype == np.float16
        np.testing.assert_array_equal(one, other.astype(np.float16))


@pytest.mark.parametrize("value", [np.ones(3), np.array(["NCHW"]), [], None, 3, b"NCHW", {}], ids=repr)
def test_arguments_that_are_one_of_some_names(value):
    x, w = SMALL, WEIGHT
    calls = {
        r"conv2d: layout": lambda: fastconv.conv2d(x, w, layout=value),
        r"conv2d: algorithm": lambda: fastconv.conv2d(x, w, algorithm=value),
        r"max_pool2d: layout": lambda: fastconv.max_pool2d(x, 2, layout=value),
        r"im2col: order": lambda: fastconv.im2col(x, 2, order=value),
        r"col2im: order": lambda: fastconv.col2im(ROW, (1, 2, 4, 4), 2, order=value),
        r"correlate2d: mode": lambda: fastconv.correlate2d(ROW, ROW, value),
        r"use_backend: name": lambda: fastconv.use_backend(value).__enter__(),
        r"lenet5: variant": lambda: models.lenet5(value),
    }
    for start, call in calls.items():
        with pytest.raises(ValueError, match=f"^{start} must be one of "):
            call()


@pytest.mark.parametrize("dtypes", ["float32", None, np.float32, np.dtype("f4"), 3, [object()], ["no such"]])
def test_warmup_names_its_argument(dtypes):
    with pytest.raises(TypeError, match=r"^warmup: dtypes must "):
        fastconv.warmup(dtypes)


def test_errors_name_arguments_that_there_are():
    with pytest.raises(ValueError, match=r"^col2im: input_shape must have at least one channel and one pixel"):
        fastconv.col2im(ROW, (1, 2, 0, 4), 1)
    with pytest.raises(ValueError, match=r"^conv_output_shape: input_shape must have at least one"):
        fastconv.conv_output_shape((1, 2, 0, 4), (1, 2, 1, 1))


LAYERS = {
    "Conv2d": nn.Conv2d(2, 2, 3, rng=0, dtype="f8"),
    "ConvTranspose2d": nn.ConvTranspose2d(2, 2, 3, rng=0, dtype="f8"),
    "Linear": nn.Linear(4, 2, rng=0, dtype="f8"),
    "MaxPool2d": nn.MaxPool2d(2),
    "AvgPool2d": nn.AvgPool2d(2),
    "GlobalAvgPool2d": nn.GlobalAvgPool2d(),
    "ReLU": nn.ReLU(),
    "ReLU6": nn.ReLU6(),
    "LeakyReLU": nn.LeakyReLU(),
    "Sigmoid": nn.Sigmoid(),
    "Tanh": nn.Tanh(),
    "Softmax": nn.Softmax(),
    "Flatten": nn.Flatten(),
    "Dropout": nn.Dropout(0.5, rng=0),
    "BatchNorm2d": nn.BatchNorm2d(2, dtype="f8"),
    "LocalResponseNorm": nn.LocalResponseNorm(3),
    "PartialConv2d": nn.PartialConv2d(np.eye(2, dtype=bool), 3, rng=0, dtype="f8"),
    "Residual": nn.Residual(nn.ReLU()),
    "Sequential": nn.Sequential(nn.Conv2d(2, 2, 3, rng=0, dtype="f8"), nn.ReLU(), nn.Flatten()),
    "Sequential of none": nn.Sequential(),
}


def test_every_layer_has_a_row():
    assert {type(layer).__name__ for layer in LAYERS.values()} == LAYER_NAMES


@pytest.mark.parametrize("value", [[1.0], None, "x", 3.0, (), {}], ids=repr)
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_given_no_array(name, value):
    layer = LAYERS[name]
    for call in (layer, layer.forward):
        with pytest.raises(TypeError, match=r"^\w+: x must be a NumPy array, got "):
            call(value)
    x = ROW[:, :4] if name == "Linear" else SMALL
    backward = layer.forward(x)[1]
    with pytest.raises(TypeError, match=r"^\w+: grad_\w+ must be a NumPy array, got "):
        backward(value)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_takes_a_subclass_as_the_array_it_holds(name):
    layer = LAYERS[name]
    x = ROW[:, :4].copy() if name == "Linear" else SMALL
    assert type(layer(strange(x))) is np.ndarray
    np.testing.assert_array_equal(layer(strange(x)), layer(x))
    y, backward = layer.forward(strange(x))
    assert type(y) is np.ndarray
    assert type(backward(strange(y))) is np.ndarray


def test_a_residual_refuses_a_gradient_that_would_be_broadcast():
    with pytest.raises(ValueError, match=r"^Residual: grad_y must have shape"):
        nn.Residual(nn.Sequential()).forward(SMALL)[1](SMALL[:, :1])


def test_the_reference_takes_small_integers_and_rows():
    x = SMALL.repeat(8, 1)
    for size in (np.uint8(11), np.int8(11)):
        np.testing.assert_array_equal(reference.local_response_norm(x, size), reference.local_response_norm(x, 11))
        one, other = (reference.local_response_norm_backward(x, x, s) for s in (size, 11))
        np.testing.assert_array_equal(one, other)
    grads = reference.linear_backward(VECTOR, ROW[0], ROW[:2])
    for one, other in zip(grads, fastconv.linear_backward(VECTOR, ROW[0], ROW[:2])):
        np.testing.assert_allclose(one, other, strict=True)


@pytest.mark.parametrize("mode", correlate.MODES)
@pytest.mark.parametrize("name", ["correlate2d", "convolve2d"])
def test_nan_in_a_kernel_as_the_reference_has_it(name, mode):
    x, kernel = ROW[:2, :3].copy(), np.ones((2, 3))
    kernel[0, 1] = np.nan
    for a, b in ((x, kernel), (ROW, kernel), (kernel, ROW)):
        if mode == "valid" or a is not kernel:
            np.testing.assert_allclose(getattr(fastconv, name)(a, b, mode), getattr(reference, name)(a, b, mode))


@pytest.mark.parametrize("mode", correlate.MODES)
@pytest.mark.parametrize("shape", [(97, 5), (5, 97), (40, 30)])
def test_strips_are_the_whole(monkeypatch, shape, mode):
    x, kernel = np.random.default_rng(0).integers(0, 9, shape).astype("u1"), np.arange(12.0, dtype="f4").reshape(3, 4)
    whole = [getattr(fastconv, name)(x, kernel, mode) for name in ("correlate2d", "convolve2d")]
    monkeypatch.setattr(correlate, "STRIP", 60)
    for name, expected in zip(("correlate2d", "convolve2d"), whole):
        np.testing.assert_array_equal(getattr(fastconv, name)(x, kernel, mode), expected, strict=True)


@pytest.mark.parametrize("shape", [(40_000, 50), (50, 40_000)])
def test_a_long_picture_takes_little_more_than_its_result(monkeypatch, shape):
    monkeypatch.setattr(correlate, "STRIP", 2**17)
    x, kernel = np.ones(shape, "u1"), np.ones((3, 3), "f4")
    fastconv.convolve2d(x[:3000, :3000], kernel, "full")  # compiled by now
    tracemalloc.start()
    try:
        y = fastconv.convolve2d(x, kernel, "full")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.4 * y.nbytes
