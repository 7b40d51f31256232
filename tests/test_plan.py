"""What would compute a convolution, and why, as the command tells it; and compiling ahead of time."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
import variants
from every import BY_CONV2D, FUNCTIONS, ON_NUMPY
from hypothesis import given, settings
from strategies import in_layout, planned_convolutions

import fastconv
from fastconv import _warmup, functional
from fastconv._geometry.conv import conv_geometry
from fastconv._plans.explain import explain
from fastconv._plans.forward import plan_forward
from fastconv._plans.names import Algorithm
from fastconv._runtime.host import host_of
from fastconv.cli import main
from fastconv.errors import ShapeError


@settings(max_examples=500)
@given(planned_convolutions())
def test_an_explanation_equals_what_ran(drawn):
    """The kernels that ran, in order and with the layout that they were given, are those that the text tells of."""
    N, image, kernel, options, layout, dtype = drawn
    x, weight = (in_layout(np.ones(shape, dtype), layout) for shape in ((N, *image), kernel))
    with variants.carried_out() as done:
        y = fastconv.conv2d(x, weight, None, **options, layout=layout)
        fastconv.conv2d_backward(y, x, weight, **options, layout=layout)
    assert [type(ran.plan).__name__ for ran in done] == ["ForwardPlan", "InputGradientPlan", "WeightGradientPlan"]
    done[-1] = done[-1]._replace(kernels=[name for name in done[-1].kernels if not name.startswith("bias_gradient")])
    if layout == "NHWC" and done[-1].kernels[-1] == "add_parts":
        done[-1].kernels.pop()  # of the bias gradient
    for ran in done:
        variants.assert_as_planned(ran)
    found = explain(N, image, kernel, **options, dtype=np.dtype(dtype).name, layout=layout).splitlines()
    assert found[1:] == "\n".join(str(ran.plan) for ran in done).splitlines()


def test_transposed_convolutions_run_what_is_planned():
    x, weight = np.ones((2, 4, 5, 6), np.float32), np.ones((4, 3, 3, 3), np.float32)
    with variants.carried_out() as done:
        y = fastconv.conv_transpose2d(x, weight, None, 2, 1)
        fastconv.conv_transpose2d_backward(y, x, weight, 2, 1)
    kinds = ["InputGradientPlan", "ForwardPlan", "WeightGradientPlan"]
    assert [type(ran.plan).__name__ for ran in done] == kinds
    done[-1] = done[-1]._replace(kernels=[name for name in done[-1].kernels if name != "bias_gradient"])
    for ran in done:
        variants.assert_as_planned(ran)


def test_what_is_rejected_is_told_with_the_reason():
    text = explain(1, (1, 28, 28), (6, 1, 5, 5), 1, 2)
    assert "not BY_IMAGE: 1 images times groups are fewer than 8" in text
    assert "not PACKED: 6 channels of a group are fewer than 32" in text
    assert "not SHARDED: 6 channels of a group are fewer than 12" in text
    assert "not GATHERED" not in text
    assert "not GATHERED: 25.00 products for each that is needed" in explain(64, (6, 5, 5), (16, 6, 5, 5))
    text = explain(4, (96, 28, 28), (96, 96, 5, 5), 1, 2)
    assert text.count("PACKED: vectors along output") == 2
    assert "not PACKED" not in text
    text = explain(4, (64, 28, 28), (64, 1, 3, 3), 1, 1, groups=64, layout="NHWC", dtype="float64")
    assert "(4, 28, 28, 64) by (64, 3, 3, 1)" in text and "float64" in text
    assert text.count("DEPTHWISE: vectors along channels") == 3


def test_a_plan_follows_from_the_processor():
    """A plan for another processor is one more argument, nothing that has to be patched."""
    conv = conv_geometry("test", (3, 28, 28), (8, 3, 3, 3), 1, 1, 1, 1)
    narrow = host_of({"avx", "avx2"})
    assert (narrow.vector_bytes, narrow.tile_rows, narrow.dot_rows) == (32, 4, 2)
    assert host_of({"avx512f"}).registers == 32 and host_of(set()).vector_bytes == 16
    plan = plan_forward(conv, 4, 4, False, narrow, 1)
    assert plan.algorithm == Algorithm.DIRECT
    eager = narrow._replace(limits=narrow.limits._replace(images=1), blocks=narrow.blocks._replace(pixels=100))
    plan = plan_forward(conv, 4, 4, False, eager, 1)
    assert plan.algorithm == Algorithm.BY_IMAGE and plan.blocks.pixels == 100


def test_verbose_writes_a_line_for_each_call():
    script = """
import numpy as np, fastconv
x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
y = fastconv.conv2d(x, w, padding=1)
fastconv.conv2d_backward(y, x, w, padding=1, needs=(True, True, False))
"""
    environment = {**os.environ, "FASTCONV_VERBOSE": "1", "FASTCONV_SERIAL": "1", "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    lines = done.stderr.splitlines()
    assert done.returncode == 0 and len(lines) == 3, done.stderr
    pattern = r"fastconv: (conv2d|conv2d_backward): \d+\.\d{3} ms: 1x2x5x5 3x3x3 stride 1,1 .* NCHW; [A-Z_ ]+; [a-z_ ]+"
    assert all(re.fullmatch(pattern, line) for line in lines), lines
    assert "DIRECT; split forward" in lines[0]


def test_explain_in_the_command(capsys):
    assert main(["info", "--explain", "4,3,224,224,64,7,7,2,3"]) == 0
    text = capsys.readouterr().out
    assert "to (4, 64, 112, 112), NCHW, float32, K = 147" in text
    assert main(["info", "--explain", "4,3,224,224,64,7,7,2,3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["explain"] == text.splitlines()


@pytest.mark.parametrize("sizes", ["1,2,3", "a,b", "1,2,3,4,5,6,7,8,9,10", "1,1,4,4,1,3,3,1,x"])
def test_explain_takes_nine_integers(sizes, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["info", "--explain", sizes])
    assert stopped.value.code == 2
    assert "--explain" in capsys.readouterr().err


def test_explain_takes_lists_as_well():
    lines = explain(4, [96, 28, 28], [96, 96, 5, 5], 1, 2).splitlines()
    assert lines[1:] == explain(4, (96, 28, 28), (96, 96, 5, 5), 1, 2).splitlines()[1:]


def test_explain_of_sizes_that_do_not_fit(capsys):
    with pytest.raises(ShapeError, match="larger than"):
        explain(1, (1, 4, 4), (1, 1, 5, 5))
    assert main(["info", "--explain", "1,1,4,4,1,5,5,1,0"]) == 1
    assert "larger than" in capsys.readouterr().err


def test_warmup_takes_floats_only():
    with pytest.raises(ValueError, match="warmup: dtypes must be float32 or float64, got int32"):
        fastconv.warmup([np.int32])


def test_warmup_has_a_row_for_every_function_with_kernels(monkeypatch):
    called = set()

    class Noted:
        def __getattr__(self, name):
            called.add(name)
            return getattr(functional, name)

    monkeypatch.setattr(_warmup, "F", Noted())
    with fastconv.use_backend("numpy"):
        for call in _warmup.CALLS:
            call(np.dtype(np.float32))
    # "linear" is called by the layers of LeNet-5
    assert {name.removesuffix("_backward") for name in FUNCTIONS - called} == {"linear"} | ON_NUMPY | BY_CONV2D


@pytest.mark.process
def test_nothing_is_compiled_after_a_warmup(tmp_path):
    """In two processes: what one has compiled, the other finds, for inference and training."""
    script = """
import sys
import numpy as np
from fastconv._runtime import jit
from fastconv.kernels import avg_pool, batch_norm, conv, conv_gradients, depthwise, elementwise, gemm, im2col, max_pool
from fastconv.kernels import conv_shards
from fastconv.kernels.fused import small_batch
from fastconv.kernels.fused import network
from fastconv.kernels import conv_nhwc_weight_gradient
from fastconv.kernels import conv_packed
from fastconv.kernels import global_pool, packing, unpool
from fastconv import conv2d, conv2d_backward
from fastconv.cli import main
if sys.argv[1] == "warm":
    sys.exit(main(["warmup", "--dtype", "float32"]))
from fastconv.models import lenet5, small_resnet
from fastconv.optim import SGD
from fastconv.training import fit, train_step
x, labels = np.zeros((64, 1, 28, 28), np.float32), np.zeros(64, np.int64)
for model in (lenet5(rng=0), small_resnet(rng=0)):
    optimizer = SGD(model.parameters(), 0.01, 0.9)
    train_step(model, x, labels, optimizer)
    train_step(model, x[:1], labels[:1], optimizer)
    model(x[:1])
    model(x[:5])
fit(model, (x, labels), optimizer=optimizer)
for groups in (1, 64):
    image, weight = np.zeros((2, 20, 20, 64), np.float32), np.zeros((64, 3, 3, 64 // groups), np.float32)
    y = conv2d(image, weight, None, 1, 1, groups=groups, layout="NHWC")
    conv2d_backward(y, image, weight, 1, 1, groups=groups, layout="NHWC")
modules = (
    avg_pool, batch_norm, conv, conv_gradients, depthwise, elementwise, gemm, im2col, max_pool, network, packing,
    conv_shards, small_batch, conv_packed, conv_nhwc_weight_gradient, global_pool, unpool,
)
kernels = [k for module in modules for k in vars(module).values()]
forms = [f for k in kernels if isinstance(k, jit.Kernel) for f in k.forms]
print(sum(form.loaded for form in forms), sum(form.compiled for form in forms))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment.pop("FASTCONV_SERIAL", None)
    done = [
        subprocess.run(
            [sys.executable, "-c", script, what],
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=True,
        ).stdout
        for what in ("warm", "train")
    ]
    assert done[0].startswith("kernels for float32 ready after")
    hits, misses = map(int, done[1].split())
    assert hits > 8
    assert misses == 0
