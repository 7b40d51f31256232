"""ONNX files as layers: whole graphs, their gradients and parameters, and what is said of files that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies import real

from fastconv import optim
from fastconv.errors import DataError, DTypeError, ShapeError, UnsupportedError
from fastconv.models import IMAGE_SHAPES, MODELS
from fastconv.testing import gradcheck
from fastconv.weights import load_weights

onnx: Any = pytest.importorskip("onnx")
fastonnx: Any = pytest.importorskip("fastconv.onnx")

FIXTURES = Path(__file__).parent / "fixtures"
FLOATS = {np.dtype(np.float32): 1, np.dtype(np.float64): 11}


def file_of(nodes, inputs, outputs, weights=(), dtype=np.float64, opset=21, domains=()):
    """A model of some nodes; inputs and outputs by name, without shapes."""
    helper = onnx.helper
    ends = [
        [helper.make_tensor_value_info(name, FLOATS[np.dtype(dtype)], None) for name in names]
        for names in (inputs, outputs)
    ]
    tensors = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in dict(weights).items()]
    graph = helper.make_graph(nodes, "test", *ends, tensors)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def loaded(tmp_path, file):
    path = tmp_path / "m.onnx"
    path.write_bytes(file.SerializeToString())
    return fastonnx.load(path)


def node(operator, inputs, outputs, **attributes):
    return onnx.helper.make_node(operator, inputs, outputs, **attributes)


def state_of(model):
    """What a file holds of a model's state: not how many batches the running statistics come from."""
    return {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("name", MODELS)
def test_every_exported_model_comes_back(name, tmp_path):
    model = MODELS[name](rng=0)
    fastonnx.export(model, tmp_path / "m.onnx", (1, *IMAGE_SHAPES[name]))
    back = fastonnx.load(tmp_path / "m.onnx")
    x = real(np.random.default_rng(0), (3, *IMAGE_SHAPES[name]), np.float32)
    np.testing.assert_allclose(back(x), model(x), rtol=1e-5, atol=1e-5)
    assert list(back.state_dict()) == list(state_of(model))
    assert back.output_shape((5, *IMAGE_SHAPES[name])) == (5, 10)
    assert back(x[:0]).shape == (0, 10)
    if name != "lenet5-classic":  # whose weights the file holds in another shape
        other = MODELS[name](rng=1)
        back.load_state_dict(state_of(other))
        np.testing.assert_allclose(back(x), other(x), rtol=1e-5, atol=1e-5)


def test_a_file_of_pytorch(tmp_path):
    """The network of fixtures/make_torch_cnn.py, as PyTorch itself exports it."""
    model, weights = fastonnx.load(FIXTURES / "torch_cnn.onnx"), load_weights(FIXTURES / "torch_cnn.npz")
    x, logits = weights["input"], weights["logits"]
    np.testing.assert_allclose(model(x), logits, rtol=0, atol=1e-5)
    np.testing.assert_allclose(model(x[:1]), logits[:1], rtol=0, atol=1e-5)  # the batch is dynamic
    for name in ("0.weight", "0.bias", "8.weight", "11.weight", "11.bias"):
        np.testing.assert_array_equal(model.state_dict()[name], weights[name])


W = {
    "c.w": (6, 1, 3, 3), "c.b": (6,), "bn.scale": (6,), "bn.b": (6,), "bn.mean": (6,), "bn.var": (6,),
    "d.w": (6, 2, 2, 3), "d.b": (2,), "g.w": (36, 5), "g.c": (5,), "plus": (1, 5),
}  # fmt: skip


def everything(dtype=np.float64):
    """A graph with every operator: two branches that meet, weights of all kinds."""
    rng = np.random.default_rng(0)
    weights = {name: real(rng, shape, dtype) for name, shape in W.items()}
    weights["bn.var"] = abs(weights["bn.var"]) + dtype(0.5)
    weights |= {
        "pads": np.array([1, 0, 0, 1]), "shape": np.array([0, -1]), "low": np.array(-3, dtype),
        "high": np.array(3, dtype), "ratio": np.array(0.5, np.float32),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "c.w", "c.b"], ["c"], auto_pad="SAME_LOWER", strides=[2, 1]),
        node("BatchNormalization", ["c", "bn.scale", "bn.b", "bn.mean", "bn.var"], ["n"], epsilon=0.1),
        node("LeakyRelu", ["n"], ["l"], alpha=0.2),
        node("LRN", ["l"], ["r"], size=4, alpha=0.5, beta=0.7, bias=1.5),
        node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 1], pads=[1, 1, 1, 1], ceil_mode=1),
        node("AveragePool", ["r"], ["a"], kernel_shape=[2, 2], dilations=[2, 1], pads=[2, 1, 1, 1]),
        node("Constant", [], ["axes"], value_ints=[2, 3]),
        node("Pad", ["a", "pads", "", "axes"], ["p"], mode="edge"),
        node("Concat", ["m", "m"], ["mm"], axis=1),
        node("ConvTranspose", ["p", "d.w", "d.b"], ["t"], strides=[1, 2], output_shape=[6, 12], auto_pad="SAME_LOWER"),
        node("Tanh", ["t"], ["u"]),
        node("GlobalAveragePool", ["mm"], ["avg"]),
        node("Flatten", ["avg"], ["flat"]),
        node("MaxPool", ["u"], ["v"], kernel_shape=[2, 3], strides=[2, 3], auto_pad="SAME_UPPER"),
        node("Reshape", ["v", "shape"], ["w"]),
        node("Concat", ["flat", "w"], ["both"], axis=-1),
        node("Dropout", ["both", "ratio"], ["kept"]),
        node("Gemm", ["kept", "g.w", "g.c"], ["y0"], alpha=0.5, beta=2.0),
        node("Add", ["y0", "plus"], ["y1"]),
        node("Clip", ["y1", "low", "high"], ["y2"]),
        node("Sigmoid", ["y2"], ["y3"]),
        node("Relu", ["y1"], ["y4"]),
        node("Add", ["y3", "y4"], ["y5"]),
        node("Identity", ["y5"], ["y6"]),
        node("Softmax", ["y6"], ["y"], axis=-1),
    ]
    return file_of(nodes, ["x"], ["y"], weights, dtype)


def test_a_graph_of_everything(tmp_path):
    from onnx.reference import ReferenceEvaluator

    file = everything()
    model = loaded(tmp_path, file)
    x = real(np.random.default_rng(1), (6, 1, 7, 5), np.float64)
    y = model(x)
    # in float32, since the reference keeps the attributes in that
    np.testing.assert_allclose(y, ReferenceEvaluator(file).run(None, {"x": x})[0], rtol=1e-6)
    np.testing.assert_array_equal(model.forward(x)[0], y)
    assert set(model.state_dict()) == set(W)
    assert repr(model) == "OnnxModel(24 nodes: x -> y)"
    assert {name for name, _ in model.named_buffers()} == {"bn.mean", "bn.var"}
    assert model(x.astype(np.float32)).shape == model.output_shape(x.shape) == (6, 5)


def test_the_gradient_of_everything(tmp_path):
    x = real(np.random.default_rng(2), (2, 1, 7, 5), np.float64)
    gradcheck(loaded(tmp_path, everything()), x, samples=25)


X, L = (2, 6, 7, 5), (2, 3, 7)
GRADIENTS = {
    "MaxPool with much padding": ("MaxPool", X, {"kernel_shape": [2, 2], "pads": [1, 2, 1, 0], "dilations": [2, 3]}),
    "MaxPool of signals": ("MaxPool", L, {"kernel_shape": [2], "strides": [2]}),
    "AveragePool": (
        "AveragePool",
        X,
        {"kernel_shape": [3, 2], "pads": [1, 1, 1, 0], "strides": [2, 2], "ceil_mode": 1},
    ),
    "AveragePool of signals": (
        "AveragePool",
        (2, 3, 7),
        {"kernel_shape": [3], "dilations": [2], "count_include_pad": 1},
    ),
    "GlobalAveragePool of signals": ("GlobalAveragePool", L, {}),
    "LRN": ("LRN", X, {"size": 4, "alpha": 2.0}),
    "ReduceMean": ("ReduceMean", X, {"keepdims": 0}),
    "Softmax of axis 1": ("Softmax", X, {"axis": 1}),
    "Flatten of axis 2": ("Flatten", X, {"axis": 2}),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name, tmp_path):
    operator, shape, attributes = GRADIENTS[name]
    model = loaded(tmp_path, file_of([node(operator, ["x"], ["y"], **attributes)], ["x"], ["y"]))
    gradcheck(model, real(np.random.default_rng(0), shape, np.float64), samples=60)


WEIGHTED = {
    "Conv of signals": ("Conv", (2, 4, 7), (6, 2, 3), (6,), {"group": 2, "pads": [1, 2]}),
    "ConvTranspose of signals": ("ConvTranspose", (2, 4, 7), (4, 3, 3), (6,), {"group": 2, "strides": [2]}),
    "Gemm of transposed matrices": ("Gemm", (3, 2), (4, 3), (2, 1), {"transA": 1, "transB": 1, "alpha": 0.5}),
    "Gemm": ("Gemm", (2, 3), (3, 4), (4,), {}),
    "BatchNormalization of rows": ("BatchNormalization", (4, 3), (3,), (3,), {}),
}


@pytest.mark.parametrize("name", WEIGHTED)
def test_gradients_of_weights(name, tmp_path):
    operator, shape, weight, bias, attributes = WEIGHTED[name]
    rng = np.random.default_rng(0)
    weights = {"w": real(rng, weight, np.float64), "b": real(rng, bias, np.float64)}
    if operator == "BatchNormalization":
        weights |= {"mean": np.ones(3), "var": np.arange(1.0, 4)}
    model = loaded(tmp_path, file_of([node(operator, ["x", *weights], ["y"], **attributes)], ["x"], ["y"], weights))
    gradcheck(model, real(rng, shape, np.float64), samples=60)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_gradients_of_pad(mode, tmp_path):
    weights = {"pads": np.array([0, 0, 2, -1, 0, 0, 1, 3])}
    model = loaded(tmp_path, file_of([node("Pad", ["x", "pads"], ["y"], mode=mode)], ["x"], ["y"], weights))
    gradcheck(model, real(np.random.default_rng(0), (1, 2, 4, 5), np.float64))


def test_a_weight_used_twice_and_one_that_is_frozen(tmp_path):
    weights = {"w": np.eye(3) + 0.5, "b": np.ones(3)}
    nodes = [node("Gemm", ["x", "w", "b"], ["a"]), node("Concat", ["a", "a"], ["c"], axis=0),
             node("Gemm", ["c", "w"], ["y"])]  # fmt: skip
    model = loaded(tmp_path, file_of(nodes, ["x"], ["y"], weights))
    x = np.arange(6.0).reshape(2, 3)
    gradcheck(model, x)
    frozen = dict(model.named_parameters())["w"]
    frozen.trainable = False
    y, backward = model.forward(x)
    backward(np.ones_like(y))
    assert not frozen.grad.any() and dict(model.named_parameters())["b"].grad.any()


def test_several_inputs_and_outputs(tmp_path):
    nodes = [node("Add", ["a", "b"], ["c"]), node("MaxPool", ["c"], ["y", "i"], kernel_shape=[2, 2], strides=[2, 2])]
    file = file_of(nodes, ["a", "b", "unused"], ["y", "i", "c"])
    file.graph.output[1].type.tensor_type.elem_type = onnx.TensorProto.INT64
    model = loaded(tmp_path, file)
    a, b = np.arange(16.0).reshape(1, 1, 4, 4), np.ones((4, 1))
    (y, i, c), backward = model.forward(a, b, np.zeros(2))
    np.testing.assert_array_equal(c, a + 1)
    np.testing.assert_array_equal(i.ravel(), [5, 7, 13, 15])
    np.testing.assert_array_equal(y.ravel(), [6, 8, 14, 16])
    for one, other in zip(model(a, b, np.zeros(2)), (y, i, c)):
        np.testing.assert_array_equal(one, other)
    grad_a, grad_b, grad_unused = backward((np.ones_like(y), None, np.ones_like(c)))
    np.testing.assert_array_equal(grad_a.ravel()[[0, 5, 15]], [1, 2, 2])
    np.testing.assert_array_equal(grad_b, [[4], [6], [4], [6]])
    np.testing.assert_array_equal(grad_unused, [0, 0])


def test_it_goes_on_learning(tmp_path):
    from fastconv.training import train_step

    fastonnx.export(MODELS["lenet5"](rng=0), tmp_path / "m.onnx", (1, 1, 28, 28))
    model = fastonnx.load(tmp_path / "m.onnx")
    x, labels = real(np.random.default_rng(0), (16, 1, 28, 28), np.float32), np.arange(16) % 10
    optimizer = optim.Adam(model.parameters(), 3e-3)
    losses = [train_step(model, x, labels, optimizer) for _ in range(60)]
    assert losses[-1] < 0.2 * losses[0]


def test_what_is_not_supported_is_named_in_one_error(tmp_path):
    nodes = [
        node("Erf", ["x"], ["a"], name="first"),
        node("Erf", ["a"], ["a2"]),
        node("Gelu", ["a2"], ["b"], domain="com.example"),
        node("MaxPool", ["b"], ["c"], name="deep", kernel_shape=[2, 2, 2]),
        node("BatchNormalization", ["c", "s", "s", "s", "s"], ["d", "m", "v"], training_mode=1),
        node("Dropout", ["d"], ["e", "mask"]),
        node("Conv", ["e", "w"], ["f"], auto_pad="SOMEHOW", pads=[-1, 0, 0, 0], novel=3),
        node("Constant", [], ["text"], value_string="a"),
        node("Pad", ["f", "pads"], ["y"], mode="mirror"),
        node("Gemm", ["y", "s"], ["z"], transB=1.5),
    ]
    weights = {"s": np.ones(3), "w": np.ones((1, 1, 2, 2)), "pads": np.zeros(8, int), "odd": np.ones(2, complex)}
    file = file_of(nodes, ["x"], ["y", "mask"], weights, opset=6, domains=["com.example"])
    with pytest.raises(UnsupportedError) as caught:
        loaded(tmp_path, file)
    text = str(caught.value)
    for part in (
        "m.onnx: needs what fastconv does not compute: ",
        "operator set 6 (7 to 28 can be read)",
        "Erf;",
        "com.example::Gelu",
        "MaxPool 'deep' with windows over 3 axes",
        "BatchNormalization with training_mode = 1",
        "Dropout with output 2",
        "Conv with attribute auto_pad = 'SOMEHOW'",
        "Conv with attribute pads = [-1, 0, 0, 0]",
        "Conv with attribute novel = 3",
        "Constant with attribute value_string",
        "Pad with attribute mode = 'mirror'",
        "Gemm with attribute transB = 1.5, where 0 is usual",
        "weights 'odd' of type COMPLEX128",
    ):
        assert part in text, part
    assert text.count("Erf") == 1


def test_files_that_are_none(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(FileNotFoundError, match=r"there is no such file, an ONNX file was needed$"):
        fastonnx.load(path)
    fastonnx.export(MODELS["lenet5"](rng=0), path, (1, 1, 28, 28))
    whole = path.read_bytes()
    for content in (b"hello, this is no protobuf", whole[: len(whole) // 2], whole[:100], b"\xff" * 99):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"m\.onnx: is not an? (valid )?ONNX (file|model)"):
            fastonnx.load(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"m\.onnx"):
        fastonnx.load(path)
    with pytest.raises(DataError, match="is not a valid ONNX model"):
        loaded(tmp_path, file_of([node("Relu", ["nowhere"], ["y"])], ["x"], ["y"]))
    with pytest.raises(DataError, match="is not a valid ONNX model"):
        loaded(tmp_path, file_of([node("MaxPool", ["x"], ["y"])], ["x"], ["y"]))


def test_damaged_files(tmp_path):
    """Wherever bytes are others, what comes is a model or an error that names the file."""
    whole, path, rng = (FIXTURES / "torch_cnn.onnx").read_bytes(), tmp_path / "m.onnx", np.random.default_rng(0)
    found = set()
    for _ in range(400):
        content = bytearray(whole)
        for place in (rng.integers(0, 1500), rng.integers(len(whole) - 2500, len(whole))):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            fastonnx.load(path)
        except (DataError, UnsupportedError) as error:
            assert "m.onnx: " in str(error)
            found.add(type(error))
    assert found == {DataError, UnsupportedError}


def test_errors_of_calls_tell_the_node(tmp_path):
    weights = {"w": np.ones((2, 3, 3, 3))}
    model = loaded(
        tmp_path, file_of([onnx.helper.make_node("Conv", ["x", "w"], ["y"], "conv1")], ["x"], ["y"], weights)
    )
    with pytest.raises(ShapeError, match="weight has 3 input channels per group, x has 4 channels") as caught:
        model(np.ones((1, 4, 5, 5)))
    assert caught.value.__notes__ == ["in the ONNX node Conv 'conv1'"]
    with pytest.raises(ShapeError, match="Conv: x must have 4 dimensions, got shape"):
        model.forward(np.ones((3, 5, 5)))
    with pytest.raises(DTypeError, match="OnnxModel: x must be a NumPy array, got list"):
        model([1])
    with pytest.raises(ShapeError, match=r"OnnxModel: takes 1 arrays \(x\), got 2"):
        model(np.ones(3), np.ones(3))


@pytest.mark.parametrize(
    ("operator", "shapes", "attributes", "message"),
    [
        ("Add", [(2, 3), (2, 2)], {}, r"Add: shapes \(2, 3\) and \(2, 2\) do not fit"),
        ("Concat", [(2, 3), (3, 2)], {"axis": 1}, "Concat: shapes .* do not fit along axis 1"),
        ("Gemm", [(2, 3, 1), (3, 2)], {}, "Gemm: A and B must have 2 dimensions"),
        ("Flatten", [(2, 3)], {"axis": 3}, "Flatten: axis 3 is not one of 2"),
        ("Softmax", [(2, 3)], {"axis": 2}, "Softmax: axis 2 is not one of 2"),
        ("MaxPool", [(1, 1, 2, 2)], {"kernel_shape": [5, 5]}, "larger than the padded input"),
        ("AveragePool", [(1, 1, 2)], {"kernel_shape": [2], "dilations": [2]}, "larger than the padded input"),
        ("MaxPool", [(1, 1, 2)], {"kernel_shape": [1], "pads": [1, 0]}, "a window has nothing but padding"),
        ("LRN", [(3,)], {"size": 3}, "LRN: x must have a batch and channels"),
        ("BatchNormalization", [(2, 3), (2,), (2,), (2,), (2,)], {}, "batch_norm2d: "),
    ],
)
def test_shapes_that_do_not_fit(operator, shapes, attributes, message, tmp_path):
    names = list("abcde"[: len(shapes)])
    model = loaded(tmp_path, file_of([node(operator, names, ["y"], **attributes)], names, ["y"]))
    with pytest.raises(ShapeError, match=message):
        model(*(np.ones(shape) for shape in shapes))


@pytest.mark.parametrize(
    ("operator", "value", "message"),
    [
        ("Reshape", [4, 2], r"Reshape: shape \[4, 2\] does not fit x of shape \(2, 3\)"),
        ("Reshape", [-1, -1], "Reshape: shape"),
        ("Reshape", [2, 3, 0], "Reshape: shape"),
        ("Reshape", [-1, 4], "Reshape: shape"),
        ("Pad", [1, 1], r"Pad: pads \[1, 1\] for axes \[0, 1\] do not fit"),
        ("Pad", [-1, 0, -1, 0], "leave nothing of x"),
    ],
)
def test_settings_that_do_not_fit(operator, value, message, tmp_path):
    file = file_of([node(operator, ["x", "s"], ["y"])], ["x"], ["y"], {"s": np.array(value)})
    with pytest.raises(ShapeError, match=message):
        loaded(tmp_path, file)(np.ones((2, 3)))


HUGE = 2**62


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        (operator, attributes)
        for attributes in (
            {"kernel_shape": [HUGE]}, {"kernel_shape": [HUGE], "pads": [HUGE, HUGE]},
            {"kernel_shape": [2], "pads": [HUGE, 0]}, {"kernel_shape": [2], "pads": [0, 2**40], "count_include_pad": 1},
            {"kernel_shape": [2], "dilations": [HUGE], "pads": [HUGE, HUGE]},
            {"kernel_shape": [2], "dilations": [2**31], "pads": [2**31, 2**31]},
        )
        for operator in ("MaxPool", "AveragePool")
        if operator == "AveragePool" or "count_include_pad" not in attributes
    ],
)  # fmt: skip
def test_huge_windows(operator, attributes, tmp_path):
    model = loaded(tmp_path, file_of([node(operator, ["x"], ["y"], **attributes)], ["x"], ["y"]))
    with pytest.raises((ValueError, MemoryError)):
        model(np.ones((1, 1, 5)))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_huge_pads(mode, tmp_path):
    pads = {"pads": np.array([0, 0, 0, 2**50])}
    with pytest.raises(MemoryError, match="Pad: "):
        loaded(tmp_path, file_of([node("Pad", ["x", "pads"], ["y"], mode=mode)], ["x"], ["y"], pads))(np.ones((2, 3)))


def test_huge_strides(tmp_path):
    attributes = {"kernel_shape": [2], "strides": [HUGE]}
    for operator in ("MaxPool", "AveragePool"):
        model = loaded(tmp_path, file_of([node(operator, ["x"], ["y"], **attributes)], ["x"], ["y"]))
        try:
            np.testing.assert_array_equal(model(np.arange(3.0).reshape(1, 1, 3)), [[[{"M": 1, "A": 0.5}[operator[0]]]]])
        except ShapeError as error:
            assert "stride" in str(error)
