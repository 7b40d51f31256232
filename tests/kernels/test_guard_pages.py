"""Nothing outside an array is touched: each array ends, and then begins, at a page that may not be accessed.

Guard words around an array would show stores alone. Here a load faults too, even of a lane whose value is not used. The
calls run in a process of their own, so that a crash is a failure and not the end of the tests.
"""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

TESTS = Path(__file__).parent.parent
MPROTECT = None if sys.platform == "win32" else ctypes.CDLL(None, use_errno=True).mprotect


def fenced(shape, dtype, at_end):
    """Memory for an array between two pages that may not be accessed, directly before the second or after the first."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    page = mmap.PAGESIZE
    pages = -(-size // page) + 2
    memory = np.frombuffer(mmap.mmap(-1, pages * page), np.uint8)
    for number in (0, pages - 1):
        address = ctypes.c_void_p(memory.ctypes.data + number * page)
        # PROT_NONE is 0 wherever there is mprotect
        if MPROTECT(address, ctypes.c_size_t(page), 0):
            raise OSError(ctypes.get_errno(), "mprotect")
    start = (pages - 1) * page - size if at_end else page
    return memory[start : start + size].view(dtype).reshape(shape)


def fence(array, at_end):
    inside = fenced(array.shape, array.dtype, at_end)
    inside[...] = array
    return inside


def conv_shapes():
    """(x, weight, options): all remainders of a vector and of a tile's rows, straight, in rows, in phases, padded."""
    for n in (*range(1, 18), 31, 33, 47, 48, 49, 63, 65):
        yield (1, 1, 2, n), (1, 1, 1, 1), {}
        yield (2, 2, 3, n + 2), (3, 2, 2, 3), {}
        yield (1, 2, 3, n), (2, 2, 3, 3), {"padding": 1}
        yield (1, 1, 4, 2 * n + 1), (2, 1, 2, 3), {"stride": 2}
        yield (1, 1, 3, 3 * n), (2, 1, 2, 3), {"stride": (1, 3), "padding": ((0, 1), (1, 0))}
    for n in range(1, 10):
        yield (1, 2, 3, 4), (n, 2, 2, 2), {}
        yield (1, n, 4, 5), (13, n, 3, 2), {"padding": ((1, 0), (0, 2))}
        yield (9, n, 3, 3), (n, 1, 2, 2), {"groups": n, "dilation": 2, "padding": 1}
        yield (n, 12, 2, 3), (17, 12, 2, 2), {"stride": 2}


def winograd_shapes():
    """(x, weight, options): all remainders of a vector of tiles or of channels, and of a micro-kernel's rows."""
    for n in (*range(1, 18), 31, 33, 34, 47, 49, 63, 65, 97, 129):
        yield (1, 2, 3, n), (3, 2, 3, 3), {"padding": 1}
        yield (2, 1, n, 4), (1, 1, 3, 3), {"padding": ((0, 2), (1, 0))}
        yield (1, n, 4, 5), (2, n, 3, 3), {}
        yield (1, 2, 4, 5), (n, 2, 3, 3), {"padding": 1}


def conv_calls(fastconv, at_end):
    import variants

    count = 0
    for demand in variants.every_demand():
        with variants.demanded(**demand):
            for dtype in (np.float32, np.float64):
                for x_shape, weight_shape, options in conv_shapes():
                    rng = np.random.default_rng(0)
                    x, weight = (rng.integers(-4, 5, s).astype(dtype) for s in (x_shape, weight_shape))
                    expected = fastconv.reference.conv2d(x, weight, **options)
                    g = rng.integers(-4, 5, expected.shape).astype(dtype)
                    gradients = fastconv.reference.conv2d_backward(g, x, weight, **options)
                    x, weight, g = (fence(a, at_end) for a in (x, weight, g))
                    bias = fence(np.zeros(len(weight), dtype), at_end)
                    y = fenced(expected.shape, dtype, at_end)
                    fastconv.conv2d(x, weight, bias, **options, out=y)
                    np.testing.assert_array_equal(y, expected)
                    for a, b in zip(fastconv.conv2d_backward(g, x, weight, **options), gradients):
                        np.testing.assert_array_equal(a, b)
                    count += 1
    from strategies import in_layout

    for x_shape, weight_shape, options in winograd_shapes():
        for dtype, layout in itertools.product((np.float32, np.float64), ("NCHW", "NHWC")):
            rng = np.random.default_rng(0)
            x, weight = (rng.integers(-4, 5, s).astype(dtype) for s in (x_shape, weight_shape))
            expected = in_layout(fastconv.reference.conv2d(x, weight, **options), layout)
            x, weight, bias = (in_layout(x, layout), in_layout(weight, layout), np.zeros(len(weight), dtype))
            x, weight, bias = (fence(a, at_end) for a in (x, weight, bias))
            y = fenced(expected.shape, dtype, at_end)
            fastconv.conv2d(x, weight, bias, **options, layout=layout, algorithm="winograd", out=y)
            np.testing.assert_array_equal(y, expected)
            with variants.demanded(winograd=True):
                fastconv.conv2d_backward(y, x, weight, **options, layout=layout)
            count += 1
    for last, unpadded in ((True, True), (True, False), (False, False)):
        with variants.demanded(last=last, turned=last, sharded=not unpadded, unpadded=unpadded, ready=unpadded):
            for x_shape, weight_shape, options in conv_shapes():
                rng = np.random.default_rng(0)
                x, weight = (
                    np.moveaxis(rng.integers(-4, 5, s), 1, 3).astype(np.float32, "C") for s in (x_shape, weight_shape)
                )
                expected = fastconv.reference.conv2d(x, weight, **options, layout="NHWC")
                x, weight, g = (fence(a, at_end) for a in (x, weight, expected))
                y = fenced(expected.shape, np.float32, at_end)
                fastconv.conv2d(x, weight, **options, layout="NHWC", out=y)
                np.testing.assert_array_equal(y, expected)
                fastconv.conv2d_backward(g, x, weight, **options, layout="NHWC")
                count += 1
    return count


def transposed_calls(fastconv, at_end):
    """Results that end inside, at and past the last window, by output_padding, in every variant."""
    import variants

    count, reference = 0, fastconv.reference
    options = [
        {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": extra}
        for stride in (1, 2, 3)
        for padding in (0, ((1, 0), (0, 2)))
        for dilation in (1, 4)
        for extra in {0, stride - 1, max(stride, dilation) - 1}
    ]
    for demand in variants.every_demand():
        with variants.demanded(**demand):
            for n, option in enumerate(options):
                rng = np.random.default_rng(n)
                x, weight = (rng.integers(-4, 5, s).astype(np.float32) for s in ((1, 2, 3, n + 1), (2, 3, 2, 3)))
                bias = rng.integers(-4, 5, 3).astype(np.float32)
                expected = reference.conv_transpose2d(x, weight, bias, **option)
                g = rng.integers(-4, 5, expected.shape).astype(np.float32)
                gradients = reference.conv_transpose2d_backward(g, x, weight, **option)
                x, weight, bias, g = (fence(a, at_end) for a in (x, weight, bias, g))
                y = fenced(expected.shape, np.float32, at_end)
                fastconv.conv_transpose2d(x, weight, bias, **option, out=y)
                np.testing.assert_array_equal(y, expected)
                for a, b in zip(fastconv.conv_transpose2d_backward(g, x, weight, **option), gradients):
                    np.testing.assert_array_equal(a, b)
                count += 1
    return count


def pool_calls(fastconv, at_end):
    count, reference = 0, fastconv.reference
    for dtype in (np.float32, np.float64):
        for n in (*range(3, 20), 31, 33, 34, 65):
            x = np.random.default_rng(n).integers(-4, 5, (2, 3, n)).astype(dtype)[:, None]
            wanted = reference.avg_pool2d(x, 2)
            mean = fenced(wanted.shape, dtype, at_end)
            np.testing.assert_array_equal(fastconv.avg_pool2d(fence(x, at_end), 2, out=mean), wanted)
            np.testing.assert_array_equal(
                fastconv.avg_pool2d_backward(mean, x.shape, 2), reference.avg_pool2d_backward(wanted, x.shape, 2)
            )
            for stride in (1, 2, 3):
                for padding in (0, 1):
                    window = (3, stride, padding)
                    best, places = reference.max_pool2d_with_indices(x, *window)
                    inside, y = fence(x, at_end), fenced(best.shape, dtype, at_end)
                    np.testing.assert_array_equal(fastconv.max_pool2d(inside, *window, out=y), best)
                    found, indices = fastconv.max_pool2d_with_indices(inside, *window)
                    np.testing.assert_array_equal(found, best)
                    np.testing.assert_array_equal(indices, places)
                    g = fence(best, at_end)
                    np.testing.assert_array_equal(
                        fastconv.max_pool2d_backward(g, fence(indices, at_end), x.shape),
                        reference.max_pool2d_backward(best, places, x.shape),
                    )
                    mean = fastconv.avg_pool2d(inside, *window, out=y)
                    np.testing.assert_allclose(mean, reference.avg_pool2d(x, *window), rtol=1e-5)
                    np.testing.assert_allclose(
                        fastconv.avg_pool2d_backward(g, x.shape, *window),
                        reference.avg_pool2d_backward(best, x.shape, *window), rtol=1e-5,
                    )  # fmt: skip
                    count += 1
    return count


def activations(where, x):
    """The results and gradients of those that have kernels."""
    names = ("relu", "relu6", "leaky_relu")
    return [y for n in names for y in (getattr(where, n)(x), getattr(where, f"{n}_backward")(x, x))]


def features_calls(x, g, weight):
    """The tutorials' layers of features."""
    from fastconv.compat import features

    y, mean, var = features.batch_normalised(x, weight, weight, 0.01)
    np.testing.assert_allclose(features.normalised(x, mean, var, weight, weight, 0.01), y, rtol=1e-3, atol=1e-3)
    features.normalised_backward(g, x, mean, var, weight, 0.01, True)
    features.dropped(x, 0.5)
    np.testing.assert_array_equal(features.masked(g, x > 0), g * (x > 0))
    np.testing.assert_array_equal(features.relu_gradient(g, x), g * (x >= 0))


def other_calls(fastconv, at_end):
    count, reference = 0, fastconv.reference
    for dtype in (np.float32, np.float64):
        for n in (*range(1, 18), 31, 33, 49):
            for rows in (*range(1, 10), 17):
                rng = np.random.default_rng(n)
                shapes = ((rows, n), (n + 1, n), (rows, n + 1))
                x, weight, g = (rng.integers(-4, 5, shape).astype(dtype) for shape in shapes)
                inside = [fence(a, at_end) for a in (g, x, weight)]
                np.testing.assert_array_equal(fastconv.linear(*inside[1:]), reference.linear(x, weight))
                for a, b in zip(fastconv.linear_backward(*inside), reference.linear_backward(g, x, weight)):
                    np.testing.assert_array_equal(a, b)
                for a, b in zip(activations(fastconv, inside[1]), activations(reference, x)):
                    np.testing.assert_array_equal(a, b)
                images, g_images = (fence(a[:, :n, None, None].repeat(3, 2), at_end) for a in (x, g))
                running = np.zeros(n), np.ones(n)
                arguments = (g_images, images, *running, fence(g[0, :n], at_end))
                found = (
                    fastconv.batch_norm2d(*arguments[1:], eps=0), *fastconv.batch_norm2d_backward(*arguments, eps=0)
                )  # fmt: skip
                expected = (
                    reference.batch_norm2d(*arguments[1:], eps=0), *reference.batch_norm2d_backward(*arguments, eps=0)
                )  # fmt: skip
                for a, b in zip(found, expected):
                    np.testing.assert_array_equal(a, b)
                fastconv.batch_norm2d_backward(*arguments, training=True)
                features_calls(inside[1], fence(g[:, :n].copy(), at_end), fence(g[0, :n], at_end))
                count += 1
            x = np.random.default_rng(n).integers(-4, 5, (2, 1, 3, n + 1)).astype(dtype)
            for order in ("rows", "cols", "unfold"):
                cols = reference.im2col(x, 2, padding=1, order=order)
                out = fenced(cols.shape, dtype, at_end)
                fastconv.im2col(fence(x, at_end), 2, padding=1, order=order, out=out)
                np.testing.assert_array_equal(out, cols)
                back = fenced(x.shape, dtype, at_end)
                fastconv.col2im(out, x.shape, 2, padding=1, order=order, out=back)
                np.testing.assert_array_equal(back, reference.col2im(cols, x.shape, 2, padding=1, order=order))
                count += 1
            for make in optimizers(fastconv):
                steps(fastconv, make, rng.standard_normal((2, n)).astype(dtype), at_end)
                count += 1
    return count


def optimizers(fastconv):
    optim = fastconv.optim
    all_of_rmsprop = {"momentum": 0.5, "centered": True}
    return optim.SGD, optim.Adam, optim.AdamW, optim.Adagrad, lambda p: optim.RMSprop(p, **all_of_rmsprop)


def steps(fastconv, make, values, at_end):
    parameter = fastconv.nn.Parameter(values[0])
    parameter.value, parameter.grad = (fence(a, at_end) for a in values)
    optimizer = make([parameter])
    optimizer.slots = {name: [fence(a, at_end) for a in arrays] for name, arrays in optimizer.slots.items()}
    optimizer.step()
    fastconv.optim.clip_grad_norm([parameter], 0.1)
    fastconv.optim.clip_grad_value([parameter], 0.1)
    assert np.isfinite(parameter.value).all()


CALLS = {"conv": conv_calls, "transposed": transposed_calls, "pool": pool_calls, "other": other_calls}


def main(name, end):
    import fastconv
    import fastconv.optim
    import fastconv.reference
    from fastconv._arguments import arrays

    def empty(where, shape, dtype, what=""):
        return fenced(shape, dtype, end == "end")

    fastconv.set_num_threads(2)

    def maker(*arguments):
        return lambda: empty(*arguments)

    # what the functions allocate on the way, padded planes and gradients, is fenced as well
    with mock.patch.object(arrays, "empty", empty), mock.patch.object(arrays, "maker", maker):
        sys.stdout.write(f"{CALLS[name](fastconv, end == 'end')} calls\n")


def in_a_process(*arguments):
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    return subprocess.run(
        [sys.executable, __file__, *arguments], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        timeout=580,
    )  # fmt: skip


needs_mprotect = pytest.mark.skipif(MPROTECT is None, reason="the system has no mprotect")


@needs_mprotect
@pytest.mark.process
@pytest.mark.parametrize("end", ["start", "end"])
@pytest.mark.parametrize("name", CALLS)
def test_nothing_outside_the_arrays_is_touched(name, end):
    done = in_a_process(name, end)
    assert done.returncode == 0, f"{done.returncode}\n{done.stderr}"
    assert int(done.stdout.split()[0]) > 100


@needs_mprotect
@pytest.mark.process
@pytest.mark.parametrize("end", ["start", "end"])
def test_the_fence_is_there(end):
    """One element too far must end the process, or the other tests test nothing."""
    done = in_a_process("fence", end)
    assert done.returncode < 0, done.stdout


def beyond(end):
    array = fenced((5,), np.float32, end == "end")
    array[...] = 1
    step = 5 * 4 if end == "end" else -4
    sys.stdout.write(f"read {ctypes.c_float.from_address(array.ctypes.data + step).value}\n")


if __name__ == "__main__":
    beyond(sys.argv[2]) if sys.argv[1] == "fence" else main(*sys.argv[1:])
