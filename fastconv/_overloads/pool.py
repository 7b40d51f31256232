"""Pooling in jitted code: the kernels that Python calls, max-pooling always the one that keeps indices."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable
from numba.np.numpy_support import as_dtype

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range, layout_argument
from fastconv._geometry.axes import check_steps, counts, max_window, mean_window, pool_axes
from fastconv._overloads import arguments
from fastconv._overloads.arguments import int2, is_none, known, margins
from fastconv._overloads.arrays import check_out, delivery, images_reader, shape_of, sizes_of, target
from fastconv._overloads.register import compiled_as
from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import linked, strict_helper
from fastconv.errors import DTypeError, RangeError, ShapeError
from fastconv.functional.max_pool import INDEX_OUTSIDE, max_dtype
from fastconv.kernels import avg_pool as avg_kernels
from fastconv.kernels import max_pool as max_kernels

in_vectors = max_kernels.forward_in_vectors
one_by_one = max_kernels.forward_with_indices
to_largest = max_kernels.backward
means, shared_out = avg_kernels.forward, avg_kernels.backward


@linked
def sizes(where, image, kernel, stride, margins, dilation, ceil_mode):
    """The shape of the result of pooling images (N, C, H, W), and its axes, all checked."""
    if image[1] < 1:
        raise ShapeError("{}: x must have at least one channel, got shape {}", where, image)
    check_range(where, "kernel_size", min(kernel), 1)
    check_range(where, "kernel_size", max(kernel), 1)
    check_steps(where, stride, margins, dilation)
    rows, columns = pool_axes(where, (image[2], image[3]), kernel, stride, margins, dilation, ceil_mode)
    return (image[0], image[1], rows.out, columns.out), rows, columns


@linked
def largest_floats(x, rows, columns, keep, y):
    """y = the maxima of x, and their indices if they are to be kept; arrays as kernels take them."""
    N, C, H, W = x.shape
    indices = np.empty(y.shape, np.int64)
    plane, result = (N * C, H, W), (N * C, rows.out, columns.out)
    args = x.reshape(plane), max_window(rows, columns), y.reshape(result), indices.reshape(result)
    if ENABLED and columns.stride <= 2 and H * W < 2**31:
        in_vectors(args[0], args[1], args[2], args[3], keep)
    else:
        one_by_one(args)
    return indices


@linked
def largest_integers(x, rows, columns, keep, y):
    """As `largest_floats`, for integers of 64 bits."""
    N, C, H, W = x.shape
    indices = np.empty(y.shape, np.int64)
    plane, result = (N * C, H, W), (N * C, rows.out, columns.out)
    one_by_one(x.reshape(plane), max_window(rows, columns), y.reshape(result), indices.reshape(result))
    return indices


@strict_helper
def check_indices(where, cells, H, W):
    """Raise a RangeError unless indices, of two axes, lie in planes of H x W."""
    for p in range(cells.shape[0]):
        for o in range(cells.shape[1]):
            if cells[p, o] < 0 or cells[p, o] >= H * W:
                raise RangeError(INDEX_OUTSIDE, where, H * W - 1, H, W, cells[p, o])


@linked
def scatter(where, g, indices, H, W):
    """The gradient of x (N, C, H, W) from that of the maxima and their indices."""
    N, C, OH, OW = g.shape
    grad = np.empty((N, C, H, W), g.dtype)
    flat = g.reshape((N * C, OH * OW))
    cells = indices.reshape((N * C, OH * OW))
    if to_largest(flat, cells, flat, False, grad.reshape((N * C, H * W))) > 0:
        check_indices(where, cells, H, W)
    return grad


@strict_helper
def divisors(rows, columns, include_pad, override):
    """What each window is divided by, as a factor of its row and one of its column; `override` is 0 for none."""
    if override > 0:
        return np.full(rows.out, override), np.ones(columns.out, np.int64)
    return counts(rows, include_pad), counts(columns, include_pad)


@linked
def average(where, x, rows, columns, include_pad, override, y):
    """y = the means of x; arrays as kernels take them."""
    N, C, H, W = x.shape
    down, across = divisors(rows, columns, include_pad, override)
    result = y.reshape((N * C, rows.out, columns.out))
    means(x.reshape((N * C, H, W)), mean_window(rows, columns), down, across, result)


@linked
def share_out(where, g, rows, columns, include_pad, override):
    """The gradient of x (N, C, H, W) from that of the means."""
    N, C, OH, OW = g.shape
    grad = np.empty((N, C, rows.size, columns.size), g.dtype)
    down, across = divisors(rows, columns, include_pad, override)
    planes = grad.reshape((N * C, rows.size, columns.size))
    shared_out(g.reshape((N * C, OH, OW)), mean_window(rows, columns), down, across, planes)
    return grad


def _checked(where: str, x: Any, layout: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any) -> str:
    order = layout_argument(where, known(where, "layout", layout))
    arguments.images(where, "x", arguments.array(where, "x", x))
    _check_window(where, kernel_size, stride, padding, ceil_mode)
    return order


def _check_window(where: str, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any) -> None:
    arguments.whole_pair(where, "kernel_size", kernel_size)
    if not is_none(stride):
        arguments.whole_pair(where, "stride", stride)
    arguments.some_padding(where, padding)
    arguments.flag(where, "ceil_mode", ceil_mode)


def _strides(stride: Any) -> Any:
    """The function that gives the stride of two arguments, kernel_size and stride."""
    return register_jitable(
        (lambda kernel, stride: int2(kernel)) if is_none(stride) else (lambda k, stride: int2(stride))
    )


def same_integer(dtype: np.dtype) -> Any:
    """The function that gives maxima in the dtype that they were taken of."""
    element = dtype.type
    return register_jitable((lambda a: a) if dtype == max_dtype(dtype) else (lambda a: a.astype(element)))


def _max_pool(
    where: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, layout: Any,
    out: Any, keep: bool,
) -> Any:  # fmt: skip
    """The function of a max-pooling's arguments that gives the maxima and the function that gives the indices."""
    order = _checked(where, x, layout, kernel_size, stride, padding, ceil_mode)
    arguments.whole_pair(where, "dilation", dilation)
    dtype = as_dtype(x.dtype)
    compute = max_dtype(dtype)
    given = check_out(where, out, dtype, x.ndim)
    if given and compute != dtype:
        raise DTypeError(f"{where}: out must not be given for {dtype} inside jitted code")
    image_sizes, read, strides = sizes_of(x.ndim, order), images_reader(x, compute, order), _strides(stride)
    begin, deliver, narrow = target(compute, x.ndim, order, given), delivery(x.ndim, order, given), same_integer(dtype)
    find = largest_floats if compute.kind == "f" else largest_integers
    deliver_indices = delivery(x.ndim, order)

    def pooled(x, kernel_size, stride, padding, dilation, ceil_mode, out):
        shape, rows, columns = sizes(
            where, image_sizes(x.shape), int2(kernel_size), strides(kernel_size, stride), margins(where, padding),
             int2(dilation), bool(ceil_mode)
        )  # fmt: skip
        y = begin(where, shape, out, x, None, None)
        indices = find((read(x), rows, columns, keep, y))
        return narrow(deliver(y, out)), indices

    return register_jitable(pooled), deliver_indices


@compiled_as(functional.max_pool2d)
def _max_pool2d(
    x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, layout: Any, out: Any
) -> Any:
    pooled, _ = _max_pool("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode, layout, out, False)

    def compiled(x, kernel_size, stride, padding, dilation, ceil_mode, layout, out):
        return pooled(x, kernel_size, stride, padding, dilation, ceil_mode, out)[0]

    return compiled


@compiled_as(functional.max_pool2d_with_indices)
def _max_pool2d_with_indices(
    x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, layout: Any
) -> Any:
    where = "max_pool2d_with_indices"
    pooled, deliver = _max_pool(where, x, kernel_size, stride, padding, dilation, ceil_mode, layout, None, True)

    def compiled(x, kernel_size, stride, padding, dilation, ceil_mode, layout):
        y, indices = pooled(x, kernel_size, stride, padding, dilation, ceil_mode, None)
        return y, deliver(indices, None)

    return compiled


def full_shape(where: str, name: str, shape: Any, given_name: str, given: types.Array, layout: str) -> Any:
    """The function that gives (N, C, H, W) of the argument `shape` of images, checked against those that are given."""
    arguments.whole_sizes(where, name, shape, (given.ndim,))
    sizes, unfit = sizes_of(given.ndim, layout), f"{{}}: {name} {{}} does not fit {given_name} of {{}}"

    def image(array, shape):
        N, C, H, W = sizes(shape)
        full = np.int64(N), np.int64(C), np.int64(H), np.int64(W)
        images = sizes(array.shape)
        for i in range(4):
            check_range(where, name, full[i], 0)
        if images[0] != full[0] or images[1] != full[1] or min(full[1], full[2], full[3]) < 1:
            raise ShapeError(unfit, where, shape, array.shape)
        return full

    return register_jitable(image)


def _gradient(where: str, grad_output: Any, input_shape: Any, layout: Any) -> tuple[Any, Any, Any, Any]:
    """How a pooling's gradient is read, the function that checks `input_shape`, and how the result is delivered."""
    order = layout_argument(where, known(where, "layout", layout))
    arguments.images(where, "grad_output", arguments.array(where, "grad_output", grad_output))
    ndim, dtype = grad_output.ndim, arguments.result_dtype(grad_output)
    return (
        images_reader(grad_output, dtype, order),
        full_shape(where, "input_shape", input_shape, "grad_output", grad_output, order),
        delivery(ndim, order),
        shape_of(ndim, order),
    )


def indices_reader(where: str, indices: Any, ndim: int, layout: str) -> Any:
    """The function that gives indices of so many dimensions as kernels take them."""
    if not isinstance(arguments.array(where, "indices", indices).dtype, types.Integer):
        raise DTypeError(f"{where}: indices must be integers, got {indices.dtype}")
    if indices.ndim != ndim:
        raise ShapeError(f"{where}: indices must have {ndim} dimensions, got {indices.ndim}")
    return images_reader(indices, np.dtype(np.int64), layout)


@compiled_as(functional.max_pool2d_backward)
def _max_pool2d_backward(grad_output: Any, indices: Any, input_shape: Any, layout: Any) -> Any:
    where = "max_pool2d_backward"
    read, image, deliver, _ = _gradient(where, grad_output, input_shape, layout)
    read_indices = indices_reader(where, indices, grad_output.ndim, known(where, "layout", layout))

    def compiled(grad_output, indices, input_shape, layout):
        full = image(grad_output, input_shape)
        same_shape(where, "indices", indices, grad_output.shape)
        return deliver(scatter(where, read(grad_output), read_indices(indices), full[2], full[3]), None)

    return compiled


def _means(where: str, count_include_pad: Any, divisor_override: Any) -> Any:
    """The function that gives the divisor of every window, checked, or 0 for none."""
    arguments.flag(where, "count_include_pad", count_include_pad)
    if is_none(divisor_override):
        return register_jitable(lambda divisor: np.int64(0))
    arguments.whole(where, "divisor_override", divisor_override)

    def checked(divisor):
        check_range(where, "divisor_override", np.int64(divisor), 1)
        return np.int64(divisor)

    return register_jitable(checked)


@compiled_as(functional.avg_pool2d)
def _avg_pool2d(
    x: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any, count_include_pad: Any,
    divisor_override: Any, layout: Any, out: Any,
) -> Any:  # fmt: skip
    where = "avg_pool2d"
    order = _checked(where, x, layout, kernel_size, stride, padding, ceil_mode)
    override, strides = _means(where, count_include_pad, divisor_override), _strides(stride)
    dtype = arguments.result_dtype(x)
    given = check_out(where, out, dtype, x.ndim)
    image_sizes, read = sizes_of(x.ndim, order), images_reader(x, dtype, order)
    begin, deliver = target(dtype, x.ndim, order, given), delivery(x.ndim, order, given)

    def compiled(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout, out):
        shape, rows, columns = sizes(
            where, image_sizes(x.shape), int2(kernel_size), strides(kernel_size, stride), margins(where, padding),
             (np.int64(1), np.int64(1)), bool(ceil_mode)
        )  # fmt: skip
        divisor = override(divisor_override)
        y = begin(where, shape, out, x, None, None)
        average(where, read(x), rows, columns, bool(count_include_pad), divisor, y)
        return deliver(y, out)

    return compiled


@compiled_as(functional.avg_pool2d_backward)
def _avg_pool2d_backward(
    grad_output: Any, input_shape: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any,
    count_include_pad: Any, divisor_override: Any, layout: Any,
) -> Any:  # fmt: skip
    where = "avg_pool2d_backward"
    read, image, deliver, final = _gradient(where, grad_output, input_shape, layout)
    _check_window(where, kernel_size, stride, padding, ceil_mode)
    override, strides = _means(where, count_include_pad, divisor_override), _strides(stride)

    def compiled(
        grad_output, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout
    ):
        shape, rows, columns = sizes(
            where, image(grad_output, input_shape), int2(kernel_size), strides(kernel_size, stride),
             margins(where, padding), (np.int64(1), np.int64(1)), bool(ceil_mode)
        )  # fmt: skip
        same_shape(where, "grad_output", grad_output, final(shape))
        divisor = override(divisor_override)
        grad = share_out(where, read(grad_output), rows, columns, bool(count_include_pad), divisor)
        return deliver(grad, None)

    return compiled
