"""ONNX files of fastconv's models: valid for ONNX's checker, and the same numbers in ONNX Runtime."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from every import LAYER_NAMES
from every import LAYERS as EVERY_LAYER
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import conv_cases, pool_cases, real, transposed_cases

from fastconv import nn
from fastconv.errors import MissingExtraError, ShapeError, UnsupportedError
from fastconv.models import IMAGE_SHAPES, MODELS, lenet5

onnx: Any = pytest.importorskip("onnx")
fastonnx: Any = pytest.importorskip("fastconv.onnx")


def in_runtime(path, x):
    """What ONNX Runtime makes of the file."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"input": x})[0]


def in_reference(path, x):
    """What ONNX's own evaluator makes of it."""
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(str(path)).run(None, {"input": x})[0]


def assert_close(found, expected, terms):
    """Within rounding errors of sums of so many terms."""
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    scale = max(1, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=terms * np.finfo(expected.dtype).eps * scale)


@pytest.mark.parametrize("name", MODELS)
def test_every_model(name, tmp_path):
    path, model = tmp_path / "m.onnx", MODELS[name](rng=0)
    fastonnx.export(model, path, (1, *IMAGE_SHAPES[name]))
    assert list(tmp_path.iterdir()) == [path]
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    names = [path for path in model.state_dict() if not path.endswith("num_batches_tracked")]
    assert [w.name for w in file.graph.initializer] == names
    for batch in (1, 3, 64):  # the batch is dynamic
        x = real(np.random.default_rng(batch), (batch, *IMAGE_SHAPES[name]), np.float32)
        assert_close(in_runtime(path, x), model(x), 50)


def test_a_batch_that_is_fixed(tmp_path):
    path = tmp_path / "m.onnx"
    fastonnx.export(lenet5(rng=0), path, (2, 1, 28, 28), dynamic_batch=False)
    dims = [[d.dim_value for d in end.type.tensor_type.shape.dim] for end in onnx.load(path).graph.input]
    assert dims == [[2, 1, 28, 28]]
    with pytest.raises(Exception, match="Got: 3 Expected: 2"):
        in_runtime(path, np.zeros((3, 1, 28, 28), np.float32))


def test_float64(tmp_path):
    path, model = tmp_path / "m.onnx", lenet5(num_classes=3, in_channels=2, rng=0, dtype=np.float64)
    fastonnx.export(model, path, (1, 2, 28, 28))
    x = real(np.random.default_rng(0), (2, 2, 28, 28), np.float64)
    assert_close(in_reference(path, x), model(x), 50)


def check(layer, x, tmp_path_factory, terms):
    path = tmp_path_factory.mktemp("onnx") / "m.onnx"
    fastonnx.export(layer, path, x.shape)
    judge = in_runtime if x.dtype == np.float32 else in_reference
    assert_close(judge(path, x), layer(x), terms)


@settings(max_examples=60)
@given(case=conv_cases(layouts=("NCHW",)))
def test_convolution(case, tmp_path_factory):
    if len(case.x_shape) < 4 or case.x_shape[0] == 0:
        return
    x, weight, bias, _ = (None if a is None else a.astype(np.float32) for a in case.arrays(real))
    OC, C, *kernel = weight.shape
    groups = case.options["groups"]
    layer = nn.Conv2d(C * groups, OC, tuple(kernel), **case.options, bias=bias is not None)
    layer.weight.value[...] = weight
    if bias is not None:
        layer.bias.value[...] = bias
    check(layer, x, tmp_path_factory, 2 * weight[0].size + 2)


@settings(max_examples=60)
@pytest.mark.parametrize("kind", ["max", "avg"])
@given(data=st.data())
def test_pooling(kind, data, tmp_path_factory):
    case = data.draw(pool_cases(kind))
    if case.layout != "NCHW" or len(case.x_shape) < 4 or case.x_shape[0] == 0:
        return
    layer = (nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(**case.options)
    check(layer, case.arrays(real)[0].astype(np.float32), tmp_path_factory, 0 if kind == "max" else 60)


LAYERS = {
    "ReLU": (nn.ReLU(), (2, 3, 4, 5)),
    "ReLU6": (nn.Sequential(nn.Conv2d(3, 8, 1, rng=0), nn.ReLU6()), (2, 3, 4, 5)),
    "Sigmoid": (nn.Sigmoid(), (2, 3, 4, 5)),
    "Tanh": (nn.Tanh(), (2, 3)),
    "Softmax": (nn.Softmax(), (2, 3)),
    "Softmax of images": (nn.Softmax(), (2, 3, 4, 5)),
    "Flatten": (nn.Flatten(), (2, 3, 4, 5)),
    "Linear": (nn.Linear(7, 5, rng=0), (4, 7)),
    "Linear without bias": (nn.Linear(7, 5, bias=False, rng=0), (4, 7)),
    "LeakyReLU": (nn.LeakyReLU(0.25), (2, 3, 4, 5)),
    "Softmax of channels": (nn.Softmax(1), (2, 3, 4, 5)),
    "Dropout": (nn.Sequential(nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.5)), (2, 3)),
    "GlobalAvgPool2d": (nn.GlobalAvgPool2d(), (2, 3, 4, 5)),
    "LocalResponseNorm of 5": (nn.LocalResponseNorm(5, 0.5, 0.6, 2.0), (2, 7, 4, 5)),
    "PartialConv2d": (nn.PartialConv2d(np.tri(4, 3, dtype=bool), (2, 3), (1, 2), "same_upper", rng=0), (2, 3, 6, 7)),
    "Residual": (nn.Residual(nn.Conv2d(3, 3, 3, padding=1, rng=0)), (2, 3, 6, 7)),
    "Residual with a shortcut": (
        nn.Residual(nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, rng=0), nn.ReLU()), nn.Conv2d(3, 4, 1, 2, rng=1)),
        (2, 3, 6, 7),
    ),
    "nothing": (nn.Sequential(), (2, 3)),
    "nested": (nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU()), nn.Flatten()), (2, 1, 5, 5)),
}


def test_every_layer_has_a_row():
    from fastconv.onnx.layers import WRITERS

    assert set(WRITERS) == EVERY_LAYER
    # those with tests of their own, or in the models
    others = {"Conv2d", "MaxPool2d", "AvgPool2d", "BatchNorm2d", "ConvTranspose2d", "Sequential"}
    assert LAYER_NAMES - {name.split()[0] for name in LAYERS} == others


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers(name, dtype, tmp_path_factory):
    layer, shape = LAYERS[name]
    if dtype == np.float64 and not layer.parameters():
        return  # a model without weights takes float32
    check(layer, real(np.random.default_rng(0), shape, np.float32), tmp_path_factory, 20)


@pytest.mark.parametrize("size", [2, 4])
def test_normalisation_of_an_even_number_of_channels(size, tmp_path):
    """Which ONNX Runtime does not compute at all, and the evaluator where there are as many images as channels."""
    layer, x = nn.LocalResponseNorm(size, 0.5, 0.6, 2.0), real(np.random.default_rng(0), (7, 7, 4, 5), np.float32)
    fastonnx.export(layer, tmp_path / "m.onnx", x.shape)
    assert_close(in_reference(tmp_path / "m.onnx", x), layer(x), 20)
    np.testing.assert_allclose(fastonnx.load(tmp_path / "m.onnx")(x), layer(x), rtol=1e-6)


@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm(affine, tmp_path_factory):
    layer, rng = nn.BatchNorm2d(3, 0.1, affine=affine), np.random.default_rng(0)
    layer.running_mean.value[:], layer.running_var.value[:] = rng.standard_normal(3), rng.random(3) + 0.5
    for p in layer.parameters():
        p.value[:] = rng.standard_normal(3)
    check(layer, real(rng, (2, 3, 4, 5), np.float32), tmp_path_factory, 20)


@settings(max_examples=60)
@given(case=transposed_cases())
def test_transposed_convolution(case, tmp_path_factory):
    if case.layout != "NCHW" or len(case.x_shape) < 4 or case.x_shape[0] == 0:
        return
    strides, more = (np.broadcast_to(case.options[name], 2) for name in ("stride", "output_padding"))
    if (more >= strides).any():  # allowed beside a larger dilation, by PyTorch and fastconv; not by ONNX Runtime
        return
    x, weight, bias, _ = (None if a is None else a.astype(np.float32) for a in case.arrays(real))
    C, OC, *kernel = weight.shape
    channels = (C, OC * case.options["groups"])
    layer = nn.ConvTranspose2d(*channels, tuple(kernel), **case.options, bias=bias is not None)
    layer.weight.value[...] = weight
    if bias is not None:
        layer.bias.value[...] = bias
    check(layer, x, tmp_path_factory, 2 * weight[:, 0].size + 2)


def test_names_are_those_of_the_state(tmp_path):
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3, rng=0), nn.ReLU()), nn.Flatten(), nn.Linear(18, 2, rng=0))
    fastonnx.export(model, tmp_path / "m.onnx", (1, 1, 5, 5))
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert [w.name for w in graph.initializer] == ["0.0.weight", "0.0.bias", "2.weight", "2.bias"]
    for tensor in graph.initializer:
        np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), model.state_dict()[tensor.name])
    assert [end.name for end in (*graph.input, *graph.output)] == ["input", "output"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_a_layer_used_twice_has_its_weights_once(tmp_path_factory):
    shared = nn.Linear(4, 4, rng=0)
    check(nn.Sequential(shared, nn.ReLU(), shared), np.ones((2, 4), np.float32), tmp_path_factory, 20)


class Double(nn.Layer):
    def forward(self, x):
        return 2 * x, lambda grad_y: 2 * grad_y


class MyReLU(nn.ReLU):
    pass


def test_errors(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"before")
    model = nn.Sequential(Double(), nn.ReLU(), nn.Sequential(MyReLU()))
    with pytest.raises(UnsupportedError, match=r"the model has 0: Double, 2\.0: MyReLU, which cannot be exported"):
        fastonnx.export(model, path, (1, 2))
    with pytest.raises(UnsupportedError, match="has the model: Double"):
        fastonnx.export(Double(), path, (1, 2))
    with pytest.raises(TypeError, match="export: model must be a Layer, got function"):
        fastonnx.export(lambda x: x, path, (1, 2))
    with pytest.raises(ShapeError, match="export: input_shape must have 2 or 3 or 4 sizes"):
        fastonnx.export(lenet5(rng=0), path, (28,))
    with pytest.raises(ShapeError):
        fastonnx.export(lenet5(rng=0), path, (1, 3, 28, 28))
    with pytest.raises(FileNotFoundError):
        fastonnx.export(lenet5(rng=0), tmp_path / "none" / "m.onnx", (1, 1, 28, 28))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"before")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("fastconv.data.files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        fastonnx.export(lenet5(rng=0), path, (1, 1, 28, 28))
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_without_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r'pip install "fastconv\[onnx\]"'):
        fastonnx.export(lenet5(rng=0), tmp_path / "m.onnx", (1, 1, 28, 28))
    with pytest.raises(MissingExtraError, match=r'pip install "fastconv\[onnx\]"'):
        fastonnx.load(tmp_path / "m.onnx")
