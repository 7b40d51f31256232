"""What would compute a convolution, and why, as the command tells it; and compiling ahead of time."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import variants

import fastconv
from fastconv import _plan
from fastconv.cli import main
from fastconv.errors import ShapeError


@pytest.mark.parametrize(
    ("sizes", "told", "shared"),
    [
        ((1, 4, 9, 9, 3, 3, 3, 1, 1), "all images at once", False),
        ((9, 4, 9, 9, 3, 3, 3, 1, 1), "image by image", True),
    ],
)
def test_explain_tells_what_runs(sizes, told, shared):
    N, C, H, W, OC, KH, KW, stride, padding = sizes
    text = _plan.explain(N, (C, H, W), (OC, C, KH, KW), stride, padding)
    line = next(line for line in text.splitlines() if line.startswith("forward"))
    assert line.split(None, 1)[1].startswith(told)
    x, weight = np.ones((N, C, H, W), np.float32), np.ones((OC, C, KH, KW), np.float32)
    with variants.recorded() as seen:
        fastconv.conv2d(x, weight, None, stride, padding)
    assert [name.endswith("shared") for name in seen] == [shared]


def test_each_variant_says_why_it_declines():
    text = _plan.explain(1, (1, 28, 28), (6, 1, 5, 5), 1, 2)
    assert "image by image declines: 1 images x 1 groups are fewer than" in text
    assert "packed declines: 6 output channels in a group are fewer than" in text
    assert "transposed declines: 6 output channels in a group are fewer than" in text
    assert "gathered declines" not in text
    text = _plan.explain(64, (6, 5, 5), (16, 6, 5, 5))
    assert "gathered declines: 25.0 products for each that is needed" in text
    text = _plan.explain(4, (96, 28, 28), (96, 96, 3, 3), 1, 1)
    assert text.count("packed weights") == 2
    assert "declines" not in text


def test_explain_in_the_command(capsys):
    assert main(["info", "--explain", "4,3,224,224,64,7,7,2,3"]) == 0
    text = capsys.readouterr().out
    assert "(4, 64, 112, 112), 147 terms" in text
    assert main(["info", "--explain", "4,3,224,224,64,7,7,2,3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["explain"] == text.splitlines()


@pytest.mark.parametrize("sizes", ["1,2,3", "a,b", "1,2,3,4,5,6,7,8,9,10", "1,1,4,4,1,3,3,1,x"])
def test_explain_takes_nine_integers(sizes, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["info", "--explain", sizes])
    assert stopped.value.code == 2
    assert "--explain" in capsys.readouterr().err


def test_explain_takes_lists_as_well():
    lines = _plan.explain(4, [96, 28, 28], [96, 96, 3, 3], 1, 1).splitlines()
    assert lines[1:] == _plan.explain(4, (96, 28, 28), (96, 96, 3, 3), 1, 1).splitlines()[1:]


def test_explain_of_sizes_that_do_not_fit(capsys):
    with pytest.raises(ShapeError, match="larger than"):
        _plan.explain(1, (1, 4, 4), (1, 1, 5, 5))
    assert main(["info", "--explain", "1,1,4,4,1,5,5,1,0"]) == 1
    assert "larger than" in capsys.readouterr().err


def test_warmup_takes_floats_only():
    with pytest.raises(ValueError, match="warmup: dtypes must be float32 or float64, got int32"):
        fastconv.warmup([np.int32])


@pytest.mark.process
def test_nothing_is_compiled_after_a_warmup(tmp_path):
    """In two processes: what one has compiled, the other finds, for inference and training."""
    script = """
import sys
import numpy as np
from fastconv._runtime import jit
from fastconv.kernels import avg_pool, batch_norm, conv, conv_gradients, depthwise, elementwise, gemm, im2col, max_pool
from fastconv.kernels.fused import small_batch
from fastconv.kernels.fused import network
from fastconv.kernels import conv_nhwc_weight_gradient
from fastconv.kernels import conv_packed
from fastconv.kernels import packing
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
    small_batch, conv_packed, conv_nhwc_weight_gradient,
)
kernels = [k for module in modules for k in vars(module).values()]
forms = [f for k in kernels if isinstance(k, jit.Kernel) for f in (k.parallel, k.serial)]
print(sum(sum(f.stats.cache_hits.values()) for f in forms), sum(sum(f.stats.cache_misses.values()) for f in forms))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    environment.pop("FASTCONV_SERIAL", None)
    done = [
        subprocess.run(
            [sys.executable, "-c", script, what],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        ).stdout
        for what in ("warm", "train")
    ]
    assert done[0].startswith("kernels for float32 ready after")
    hits, misses = map(int, done[1].split())
    assert hits > 8
    assert misses == 0
