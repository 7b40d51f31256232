"""Each operator of ONNX, its attributes drawn together, against ONNX's own reference evaluator.

The evaluator goes wrong on some attributes. There the question is put to it in other words that mean the same (groups
one by one, `auto_pad` as the numbers it stands for), or to ONNX Runtime.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import integers, real

onnx: Any = pytest.importorskip("onnx")
fastonnx: Any = pytest.importorskip("fastconv.onnx")

OPSET = 21


def test_every_operator_has_a_row_and_is_named():
    from fastconv.onnx.reading import OPERATORS

    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in OPERATORS if f'"{name}"' not in source] == []
    page = Path(fastonnx.__file__).parents[1] / "docs" / "functions.md"
    texts = [fastonnx.load.__doc__, *([page.read_text(encoding="utf-8")] if page.exists() else [])]
    for text in texts:
        assert set(OPERATORS) - set(re.findall(r"\w+", text)) == set()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx") / "m.onnx"


def node_file(operator, inputs, weights=(), outputs=1, opset=OPSET, **attributes):
    """A model of one node: `inputs` are its arrays by name (None: left out), those in `weights` part of the file."""
    helper = onnx.helper
    attributes = {name: value for name, value in attributes.items() if value is not None}
    names = [name if array is not None else "" for name, array in inputs.items()]
    results = ["y", "z"][:outputs]
    node = helper.make_node(operator, names, results, "the node", **attributes)
    arrays = {name: array for name, array in inputs.items() if array is not None}
    first = next(iter(arrays.values()))

    def info(name, array):
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)

    kinds = [helper.np_dtype_to_tensor_dtype(first.dtype), onnx.TensorProto.INT64]
    graph = helper.make_graph(
        [node], "test",
        [info(name, array) for name, array in arrays.items() if name not in weights],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in zip(results, kinds)],
        [onnx.numpy_helper.from_array(arrays[name], name) for name in weights if name in arrays],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def by_reference(file, arrays):
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(file).run(None, arrays)


def by_runtime(file, arrays):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = runtime.InferenceSession(file.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, arrays)


def by_fastconv(path, file, arrays):
    path.write_bytes(file.SerializeToString())
    model = fastonnx.load(path)
    found = model(*(arrays[name] for name in model.inputs))
    trained = model.forward(*(arrays[name] for name in model.inputs))[0]
    np.testing.assert_array_equal(found[0] if isinstance(found, tuple) else found,
                                  trained[0] if isinstance(trained, tuple) else trained)  # fmt: skip
    return list(found) if isinstance(found, tuple) else [found]


def asked(file, inputs, weights=()):
    return {name: array for name, array in inputs.items() if array is not None and name not in weights}


def check(path, operator, inputs, weights=(), judge=by_reference, exact=True, **options):
    """The operator's results are the judge's: equal, or (real-valued) within rounding errors."""
    file = node_file(operator, inputs, weights, **options)
    arrays = asked(file, inputs, weights)
    compare(by_fastconv(path, file, arrays), judge(file, arrays), exact)


def compare(found, expected, exact=True):
    for a, b in zip(found, expected):
        if exact:
            np.testing.assert_array_equal(a, b, strict=True)
        else:
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def some(draw):
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1)))


AUTO_PADS = st.sampled_from([None, "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])


def same_pads(size, kernel, strides, dilations, auto_pad):
    """What SAME_UPPER and SAME_LOWER stand for: [beginnings, ends]."""
    begins, ends = [], []
    for n, k, s, d in zip(size, kernel, strides, dilations):
        total = max((math.ceil(n / s) - 1) * s + d * (k - 1) + 1 - n, 0)
        begins.append(total // 2 if auto_pad == "SAME_UPPER" else total - total // 2)
        ends.append(total - begins[-1])
    return begins + ends


def maybe(draw, values, default):
    """The list, or None where it is the default and is left out."""
    return None if values == default and draw(st.booleans()) else values


@st.composite
def window_attributes(draw, most_padding, dilated=True):
    """Sizes, and kernel, strides, dilations, pads, auto_pad of one or two axes."""
    axes = draw(st.integers(1, 2))

    def each(strategy):
        return [draw(strategy) for _ in range(axes)]

    kernel, strides = each(st.integers(1, 4)), each(st.integers(1, 3))
    dilations = each(st.integers(1, 3)) if dilated else [1] * axes
    auto_pad = draw(AUTO_PADS)
    explicit = auto_pad in (None, "NOTSET")
    pads = each(most_padding) + each(most_padding) if explicit else [0] * (2 * axes)
    size = [
        max(1, d * (k - 1) + 1 - a - b) + draw(st.integers(0, 6))
        for k, d, a, b in zip(kernel, dilations, pads, pads[axes:])
    ]
    return axes, size, kernel, strides, dilations, pads, auto_pad


@given(st.data())
def test_conv(path, data):
    draw = data.draw
    axes, size, kernel, strides, dilations, pads, auto_pad = draw(window_attributes(st.integers(0, 4)))
    groups, C, OC = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = some(draw)
    inputs = {
        "x": integers(rng, (draw(st.integers(1, 3)), groups * C, *size), np.float32),
        "w": integers(rng, (groups * OC, C, *kernel), np.float32),
        "b": integers(rng, (groups * OC,), np.float32) if draw(st.booleans()) else None,
    }
    weights = draw(st.sampled_from([(), ("w",), ("w", "b")]))
    check(
        path, "Conv", inputs, weights, kernel_shape=draw(st.sampled_from([None, kernel])), auto_pad=auto_pad,
        strides=maybe(draw, strides, [1] * axes), dilations=maybe(draw, dilations, [1] * axes),
        pads=maybe(draw, pads, [0] * (2 * axes)) if auto_pad in (None, "NOTSET") else None,
        group=None if groups == 1 and draw(st.booleans()) else groups,
    )  # fmt: skip


@given(st.data())
def test_conv_transpose(path, data):
    draw = data.draw
    axes, _, kernel, strides, dilations, pads, auto_pad = draw(window_attributes(st.integers(0, 3)))
    size = [draw(st.integers(1, 5)) for _ in range(axes)]
    extra = [draw(st.integers(0, s - 1)) for s in strides]  # the evaluator takes none from the stride on
    full = [s * (n - 1) + e + d * (k - 1) + 1 for s, n, e, d, k in zip(strides, size, extra, dilations, kernel)]
    wanted = None
    if draw(st.booleans()):
        wanted = [draw(st.integers(max(1, f - 4), f)) for f in full]
    explicit = wanted is None and auto_pad in (None, "NOTSET")
    if explicit:
        assume(all(f > a + b for f, a, b in zip(full, pads, pads[axes:])))
    elif wanted is None and auto_pad != "VALID":
        assume(all(f >= n * s for f, n, s in zip(full, size, strides)))  # no negative padding
    groups, C, OC = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = some(draw)
    inputs = {
        "x": integers(rng, (draw(st.integers(1, 2)), groups * C, *size), np.float32),
        "w": integers(rng, (groups * C, OC, *kernel), np.float32),
        "b": integers(rng, (groups * OC,), np.float32) if draw(st.booleans()) else None,
    }
    options = {
        "auto_pad": auto_pad, "strides": maybe(draw, strides, [1] * axes), "output_shape": wanted,
        "dilations": maybe(draw, dilations, [1] * axes), "pads": pads if explicit else None,
        "output_padding": maybe(draw, extra, [0] * axes), "kernel_shape": draw(st.sampled_from([None, kernel])),
    }  # fmt: skip
    file = node_file("ConvTranspose", inputs, draw(st.sampled_from([(), ("w", "b")])), group=groups, **options)
    found = by_fastconv(path, file, asked(file, inputs, [w.name for w in file.graph.initializer]))
    # the evaluator mixes up groups of several channels
    parts = []
    if wanted is None and auto_pad == "VALID":
        options["auto_pad"] = None  # it takes no padding for granted only then
    for g in range(groups):
        part = {
            "x": inputs["x"][:, g * C : (g + 1) * C], "w": inputs["w"][g * C : (g + 1) * C],
            "b": None if inputs["b"] is None else inputs["b"][g * OC : (g + 1) * OC],
        }  # fmt: skip
        if wanted is not None and auto_pad not in ("SAME_UPPER", "SAME_LOWER"):
            # output_shape without a name: the padding of SAME_LOWER
            options["auto_pad"] = "SAME_LOWER"
        single = node_file("ConvTranspose", part, **options)
        parts.append(by_reference(single, asked(single, part))[0])
    compare(found, [np.concatenate(parts, axis=1)])


def counts(size, kernel, strides, dilations, pads, ceil):
    """For each axis the windows there are, and by how many cells the last of them overhangs the padding."""
    axes = len(size)
    for n, k, s, d, a, b in zip(size, kernel, strides, dilations, pads, pads[axes:]):
        room = a + n + b - d * (k - 1) - 1
        out = (-(-room // s) if ceil else room // s) + 1
        out -= int((out - 1) * s >= a + n) if ceil else 0
        yield out, max((out - 1) * s - room, 0)


def fits(size, kernel, strides, dilations, pads):
    """Whether each window has a pixel, with ceil_mode and without."""
    for ceil in (False, True):
        outs = [out for out, _ in counts(size, kernel, strides, dilations, pads, ceil)]
        for n, out, k, s, d, a in zip(size, outs, kernel, strides, dilations, pads):
            taps = np.arange(out)[:, None] * s - a + np.arange(k) * d
            if not ((taps >= 0) & (taps < n)).any(axis=1).all():
                return False
    return True


def windows_asked(draw, drawn, ceil_mode):
    """Attributes for fastconv, and the same ones in numbers for the judge."""
    axes, size, kernel, strides, dilations, pads, auto_pad = drawn
    assume(fits(size, kernel, strides, dilations, pads))
    explicit = auto_pad in (None, "NOTSET")
    common = {"kernel_shape": kernel, "strides": maybe(draw, strides, [1] * axes)}
    mine = {**common, "auto_pad": auto_pad, "pads": maybe(draw, pads, [0] * (2 * axes)) if explicit else None}
    if not explicit:
        pads = same_pads(size, kernel, strides, dilations, auto_pad) if auto_pad != "VALID" else pads
        assume(fits(size, kernel, strides, dilations, pads))
    ceil = int(ceil_mode) if explicit else 0
    judged = {**common, "strides": strides, "pads": pads}
    return mine | {"ceil_mode": ceil or None}, judged | {"ceil_mode": ceil}, (size, pads)


@given(st.data())
def test_max_pool(path, data):
    draw = data.draw
    drawn = draw(window_attributes(st.integers(0, 3)))
    mine, judged, (size, _) = windows_asked(draw, drawn, draw(st.booleans()))
    axes, dilations = drawn[0], drawn[4]
    mine["dilations"], judged["dilations"] = maybe(draw, dilations, [1] * axes), dilations
    outputs, order = draw(st.integers(1, 2)), draw(st.sampled_from([None, 0, 1]))
    rng = some(draw)
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size)
    fill = draw(st.sampled_from([integers, lambda rng, shape, dtype: np.full(shape, -np.inf, dtype)]))
    inputs = {"x": fill(rng, shape, np.float32)}
    found = by_fastconv(path, node_file("MaxPool", inputs, outputs=outputs, storage_order=order, **mine), inputs)
    plain = judged["strides"] == dilations == [1] * axes
    if plain:
        # the evaluator mixes up the pads of such windows: one more axis, in front, lets it compute them as others
        inputs = {"x": inputs["x"][:, :, None]}
        pads = judged["pads"]
        judged |= {
            "kernel_shape": [1, *judged["kernel_shape"]], "strides": [1, *judged["strides"]],
            "dilations": [2, *dilations], "pads": [0, *pads[:axes], 0, *pads[axes:]],
        }  # fmt: skip
    judge = node_file("MaxPool", inputs, outputs=outputs, storage_order=order or 0, **judged)
    expected = by_reference(judge, inputs)
    compare(found, [array[:, :, 0] for array in expected] if plain else expected)


@given(st.data())
def test_average_pool(path, data):
    draw = data.draw
    drawn = draw(window_attributes(st.integers(0, 3), dilated=draw(st.booleans())))
    mine, judged, (size, pads) = windows_asked(draw, drawn, draw(st.booleans()))
    axes, _, kernel, strides, dilations = drawn[:5]
    mine["dilations"], judged["dilations"] = maybe(draw, dilations, [1] * axes), dilations
    count = draw(st.sampled_from([None, 0, 1]))
    inputs = {"x": integers(some(draw), (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size), np.float32)}
    found = by_fastconv(path, node_file("AveragePool", inputs, count_include_pad=count, **mine), inputs)
    over = [more for _, more in counts(size, kernel, strides, dilations, pads, judged["ceil_mode"])]
    if max(over) > 1:
        # the evaluator moves all windows by half of what the last overhangs: that is said as padding which counts not
        if count:
            sides = [(a, b) for a, b in zip(pads, pads[axes:])]
            inputs, pads, count = {"x": np.pad(inputs["x"], [(0, 0), (0, 0), *sides])}, [0] * (2 * axes), 0
        judged |= {"ceil_mode": 0, "pads": pads[:axes] + [b + more for b, more in zip(pads[axes:], over)]}
    judge = node_file("AveragePool", inputs, count_include_pad=count or 0, **judged)
    compare(found, by_reference(judge, inputs), exact=False)


def test_average_pool_with_ceil_mode_in_onnx_runtime(path):
    """Where windows overhang, and the evaluator has to be asked in other words."""
    inputs = {"x": integers(np.random.default_rng(0), (2, 3, 8, 7), np.float32)}
    for count in (0, 1):
        for kernel, strides in (((3, 4), (3, 3)), ((4, 2), (4, 3)), ((2, 3), (3, 2))):
            for pads in ([0, 0, 0, 0], [1, 0, 1, 1], [0, 1, 0, 0]):
                check(
                    path, "AveragePool", inputs, judge=by_runtime, exact=False, kernel_shape=kernel, strides=strides,
                    pads=pads, ceil_mode=1, count_include_pad=count,
                )  # fmt: skip


SHAPES = st.lists(st.integers(1, 4), min_size=2, max_size=4)


@given(SHAPES, st.sampled_from(["Relu", "Sigmoid", "Tanh", "Identity", "LeakyRelu", "Dropout"]), st.data())
def test_element_by_element(path, shape, operator, data):
    alpha = data.draw(st.sampled_from([None, 0.25, 2.0])) if operator == "LeakyRelu" else None
    inputs = {"x": real(some(data.draw), shape, np.float32)}
    if operator == "Dropout" and data.draw(st.booleans()):
        inputs |= {"ratio": np.array(0.3, np.float32), "training_mode": np.array(False)}
    exact = operator in ("Relu", "Identity", "Dropout")
    check(path, operator, inputs, ("ratio", "training_mode"), exact=exact, alpha=alpha)


@given(SHAPES, st.data())
def test_softmax(path, shape, data):
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape) - 1))
    inputs = {"x": 5 * real(some(data.draw), shape, np.float32)}
    # the evaluator has only the newer meaning of the axis
    old = data.draw(st.booleans())
    judge, opset = (by_runtime, 11) if old else (by_reference, OPSET)
    check(path, "Softmax", inputs, judge=judge, exact=False, opset=opset, axis=axis)


@given(SHAPES, st.data())
def test_flatten(path, shape, data):
    axis = data.draw(st.none() | st.integers(-len(shape), len(shape)))
    check(path, "Flatten", {"x": real(some(data.draw), shape, np.float32)}, axis=axis)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.data())
def test_reshape(path, shape, data):
    """The new shape is the old one in another order, with 0 and -1 wherever they mean the same."""
    draw = data.draw
    x = real(some(draw), shape, np.float32)
    wanted = draw(st.permutations([n for n in shape if n != 1])) + [1] * draw(st.integers(0, 2))
    allow_zero = draw(st.sampled_from([None, 0, 1]))
    if not allow_zero:
        assume(all(n or (i < len(shape) and shape[i] == 0) for i, n in enumerate(wanted)))
        wanted = [0 if i < len(shape) and shape[i] == n and draw(st.booleans()) else n for i, n in enumerate(wanted)]
    if x.size and wanted and draw(st.booleans()):
        wanted[draw(st.integers(0, len(wanted) - 1))] = -1
    inputs = {"x": x, "shape": np.array(wanted, np.int64)}
    check(path, "Reshape", inputs, draw(st.sampled_from([(), ("shape",)])), allowzero=allow_zero)


def test_reshape_of_an_empty_batch(path):
    for wanted in ([0, -1], [-1, 6], [0, 3, 2]):
        inputs = {"x": np.zeros((0, 2, 3), np.float32), "shape": np.array(wanted, np.int64)}
        (found,) = by_fastconv(path, node_file("Reshape", inputs, ("shape",)), {"x": inputs["x"]})
        assert found.shape == ((0, 3, 2) if len(wanted) == 3 else (0, 6))


@given(SHAPES, st.data())
def test_add(path, shape, data):
    rng = some(data.draw)
    keep = data.draw(st.integers(0, len(shape)))
    other = [n if data.draw(st.booleans()) else 1 for n in shape][keep:]
    inputs = {"a": integers(rng, shape, np.float32), "b": integers(rng, other, np.float32)}
    if data.draw(st.booleans()):
        inputs = {"a": inputs["b"], "b": inputs["a"]}
    check(path, "Add", inputs, data.draw(st.sampled_from([(), ("b",)])))


@given(SHAPES, st.data())
def test_concat(path, shape, data):
    rng, axis = some(data.draw), data.draw(st.integers(-len(shape), len(shape) - 1))
    inputs = {}
    for name in "abc"[: data.draw(st.integers(1, 3))]:
        own = list(shape)
        own[axis] = data.draw(st.integers(1, 4))
        inputs[name] = real(rng, own, np.float32)
    check(path, "Concat", inputs, axis=axis)


@given(st.data())
def test_gemm(path, data):
    draw, rng = data.draw, some(data.draw)
    M, K, N = (draw(st.integers(1, 5)) for _ in range(3))
    turn_a, turn_b = (draw(st.sampled_from([None, 0, 1])) for _ in range(2))
    c = draw(st.sampled_from([None, (), (1,), (N,), (1, N), (M, 1), (M, N)]))
    inputs = {
        "a": integers(rng, (K, M) if turn_a else (M, K), np.float32),
        "b": integers(rng, (N, K) if turn_b else (K, N), np.float32),
        "c": None if c is None else np.asarray(integers(rng, c, np.float32)),
    }
    alpha, beta = (draw(st.sampled_from([None, 1.0, 0.5, -2.0])) for _ in range(2))
    weights = draw(st.sampled_from([(), ("b",), ("b", "c")]))
    check(path, "Gemm", inputs, weights, alpha=alpha, beta=beta, transA=turn_a, transB=turn_b)


@given(st.lists(st.integers(1, 4), min_size=0, max_size=3), st.data())
def test_batch_normalization(path, spatial, data):
    rng, N, C = some(data.draw), data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    inputs = {"x": real(rng, (N, C, *spatial), np.float32)}
    inputs |= {name: real(rng, (C,), np.float32) for name in ("scale", "b", "mean")}
    inputs["var"] = rng.random(C).astype(np.float32) + np.float32(0.1)
    weights = data.draw(st.sampled_from([(), ("scale", "b", "mean", "var")]))
    epsilon, momentum = data.draw(st.sampled_from([None, 1e-3, 0.5])), data.draw(st.sampled_from([None, 0.5]))
    check(path, "BatchNormalization", inputs, weights, exact=False, epsilon=epsilon, momentum=momentum)


@given(st.data())
def test_lrn(path, data):
    draw = data.draw
    C = draw(st.integers(1, 6))
    shape = (C, C, draw(st.integers(1, 3)), draw(st.integers(1, 3)))  # the evaluator takes N for C
    numbers = {
        "size": draw(st.integers(1, 7)), "alpha": draw(st.sampled_from([None, 0.5, 2.0])),
        "beta": draw(st.sampled_from([None, 0.5, 1.0])), "bias": draw(st.sampled_from([None, 0.5, 2.0])),
    }  # fmt: skip
    check(path, "LRN", {"x": real(some(draw), shape, np.float32)}, exact=False, **numbers)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99))
def test_global_average_pool(path, spatial, N, C, seed):
    x = real(np.random.default_rng(seed), (N, C, *spatial), np.float32)
    check(path, "GlobalAveragePool", {"x": x}, exact=False)


@given(SHAPES, st.data())
def test_reduce_mean(path, shape, data):
    draw, x = data.draw, real(some(data.draw), shape, np.float32)
    some_axes = st.permutations(range(len(shape))).map(lambda p: [int(a) for a in p[: draw(st.integers(0, len(p)))]])
    axes = draw(st.none() | some_axes)
    keep = draw(st.sampled_from([None, 0, 1]))
    if draw(st.booleans()):
        assume(axes != [])  # the evaluator takes an empty list for none
        check(path, "ReduceMean", {"x": x}, exact=False, opset=13, axes=axes, keepdims=keep)
    else:
        idle = draw(st.sampled_from([None, 0, 1]))
        inputs = {"x": x, "axes": None if axes is None else np.array(axes, np.int64)}
        check(path, "ReduceMean", inputs, ("axes",), exact=False, keepdims=keep, noop_with_empty_axes=idle)


@given(SHAPES, st.sampled_from([None, "constant", "reflect", "edge", "wrap"]), st.data())
def test_pad(path, shape, mode, data):
    draw = data.draw
    axes = draw(st.none() | st.permutations(range(len(shape))).map(lambda p: p[: draw(st.integers(1, len(p)))]))
    chosen = list(range(len(shape))) if axes is None else axes
    most = [shape[a] - 1 if mode in ("reflect", "wrap") else 3 for a in chosen]
    pads = [draw(st.integers(0, m)) for m in most * 2]
    constant = mode in (None, "constant")
    inputs = {
        "x": integers(some(draw), shape, np.float32), "pads": np.array(pads, np.int64),
        "value": np.array(2.5, np.float32) if constant and draw(st.booleans()) else None,
        "axes": None if axes is None else np.array([a - draw(st.sampled_from([0, len(shape)])) for a in axes]),
    }  # fmt: skip
    check(path, "Pad", inputs, draw(st.sampled_from([(), ("pads", "value", "axes")])), mode=mode)


@given(SHAPES, st.data())
def test_pad_that_cuts_off(path, shape, data):
    """Negative pads, which the evaluator does not take."""
    draw = data.draw
    ends = [(a := draw(st.integers(1 - n, 2)), draw(st.integers(min(1 - n - min(a, 0), 2), 2))) for n in shape]
    pads = np.array([a for a, _ in ends] + [b for _, b in ends], np.int64)
    inputs = {"x": integers(some(draw), shape, np.float32), "pads": pads}
    check(path, "Pad", inputs, ("pads",), judge=by_runtime)


@given(SHAPES, st.sampled_from([None, -1.0, 2.0]), st.sampled_from([None, -2.0, 0.0, 1.0]), st.booleans(), st.data())
def test_clip(path, shape, low, high, as_inputs, data):
    x = real(some(data.draw), shape, np.float32)
    if not as_inputs:
        check(path, "Clip", {"x": x}, opset=10, min=low, max=high)
        return
    limits = {"low": low, "high": high}
    inputs = {"x": x} | {name: None if v is None else np.array(v, np.float32) for name, v in limits.items()}
    check(path, "Clip", inputs, data.draw(st.sampled_from([(), ("low", "high")])))


@pytest.mark.parametrize(
    ("operator", "opset", "options"),
    [
        ("Pad", 10, {"pads": [0, 0, 1, 2, 0, 0, 0, 1], "value": 1.5}),
        ("Pad", 10, {"pads": [0, 0, 1, 2, 0, 0, 0, 1], "mode": "reflect"}),
        ("Dropout", 10, {"ratio": 0.7}),
        ("BatchNormalization", 9, {"epsilon": 0.5}),
        ("AveragePool", 7, {"kernel_shape": [2, 3], "pads": [1, 0, 0, 2]}),
        ("MaxPool", 8, {"kernel_shape": [2, 3], "pads": [1, 0, 0, 2], "strides": [2, 2]}),
        ("Gemm", 7, {"transB": 1}),
    ],
)
def test_older_versions(path, operator, opset, options):
    rng = np.random.default_rng(0)
    shapes = {"BatchNormalization": [(3, 4, 5, 6), *[(4,)] * 4], "Gemm": [(3, 4), (5, 4), (5,)]}
    arrays = [abs(real(rng, shape, np.float32)) for shape in shapes.get(operator, [(3, 4, 5, 6)])]
    check(path, operator, dict(zip("abcde", arrays)), judge=by_runtime, exact=False, opset=opset, **options)
