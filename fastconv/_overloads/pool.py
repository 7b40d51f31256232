"""Pooling in jitted code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import register_jitable
from numba.np.numpy_support import as_dtype

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._engine.pool import avg_pool, avg_pool_backward, lowest_of, max_dtype, max_pool
from fastconv._engine.unpool import scatter
from fastconv._geometry.axes import check_steps, pool_axes
from fastconv._overloads import arguments
from fastconv._overloads.arguments import images_order, int2, is_none, margins
from fastconv._overloads.arrays import check_out, delivery, images_reader, new_array, shape_of, sizes_of, target
from fastconv._overloads.register import compiled_as
from fastconv._overloads.shaped import indices_reader, shaped
from fastconv._runtime.jit import linked
from fastconv.errors import DTypeError, ShapeError


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


def windows(where: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any) -> Callable:
    """The function that gives the `sizes` of (N, C, H, W) and the options of a pooling."""
    own = not is_none(stride)
    for name, kind in (("kernel_size", kernel_size), ("stride", stride if own else 1), ("dilation", dilation)):
        arguments.whole_pair(where, name, kind)
    arguments.some_padding(where, padding)
    arguments.flag(where, "ceil_mode", ceil_mode)
    steps = register_jitable((lambda kernel, stride: stride) if own else (lambda kernel, stride: kernel))

    def found(image, kernel, stride, padding, dilation, ceil):
        step, pads = int2(steps(kernel, stride)), margins(where, padding)
        return sizes(where, image, int2(kernel), step, pads, int2(dilation), bool(ceil))

    return register_jitable(found)


def _max_pool(
    where: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, layout: Any,
    out: Any, keep: bool,
) -> Callable:  # fmt: skip
    """The function of a max-pooling's arguments that gives the maxima and, where to `keep`, their indices."""
    order = images_order(where, "x", x, layout)
    find = windows(where, kernel_size, stride, padding, dilation, ceil_mode)
    dtype, compute = as_dtype(x.dtype), max_dtype(as_dtype(x.dtype))
    given, lowest, element = check_out(where, out, dtype, x.ndim), lowest_of(compute), dtype.type
    if given and compute != dtype:
        raise DTypeError(f"{where}: out must not be given for {dtype} inside jitted code")
    image_sizes, read = sizes_of(x.ndim, order), images_reader(x, compute, order)
    begin, deliver = target(compute, x.ndim, order, given), delivery(x.ndim, order, given)
    places = delivery(x.ndim, order if keep else "NCHW")
    narrow = register_jitable((lambda a: a) if compute == dtype else (lambda a: a.astype(element)))

    def pooled(x, kernel_size, stride, padding, dilation, ceil_mode, out):
        shape, rows, columns = find(image_sizes(x.shape), kernel_size, stride, padding, dilation, ceil_mode)
        y = begin(where, shape, out, x, None, None)
        indices = new_array(where, shape if keep else (1, 0, 0, 0), np.int64(0))
        max_pool(read(x), rows, columns, lowest, keep, y, indices)
        return narrow(deliver(y, out)), places(indices, None)

    return register_jitable(pooled)


@compiled_as(functional.max_pool2d)
def _max_pool2d(
    x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, layout: Any, out: Any
) -> Any:
    pooled = _max_pool("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode, layout, out, False)

    def compiled(x, kernel_size, stride, padding, dilation, ceil_mode, layout, out):
        return pooled(x, kernel_size, stride, padding, dilation, ceil_mode, out)[0]

    return compiled


@compiled_as(functional.max_pool2d_with_indices)
def _max_pool2d_with_indices(
    x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, layout: Any
) -> Any:
    where = "max_pool2d_with_indices"
    pooled = _max_pool(where, x, kernel_size, stride, padding, dilation, ceil_mode, layout, None, True)

    def compiled(x, kernel_size, stride, padding, dilation, ceil_mode, layout):
        return pooled(x, kernel_size, stride, padding, dilation, ceil_mode, None)

    return compiled


@compiled_as(functional.max_pool2d_backward)
def _max_pool2d_backward(grad_output: Any, indices: Any, input_shape: Any, layout: Any) -> Any:
    where = "max_pool2d_backward"
    read, full, deliver, order = shaped(where, grad_output, input_shape, layout)
    read_indices = indices_reader(where, indices, grad_output.ndim, order)

    def compiled(grad_output, indices, input_shape, layout):
        shape, g = full(grad_output, input_shape), read(grad_output)
        same_shape(where, "indices", indices, grad_output.shape)
        return deliver(scatter(where, g, read_indices(indices), g, False, shape), None)

    return compiled


def divisor(where: str, count_include_pad: Any, divisor_override: Any) -> Callable:
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
    order, dtype = images_order(where, "x", x, layout), arguments.result_dtype(x)
    find = windows(where, kernel_size, stride, padding, 1, ceil_mode)
    override, given = divisor(where, count_include_pad, divisor_override), check_out(where, out, dtype, x.ndim)
    image_sizes, read = sizes_of(x.ndim, order), images_reader(x, dtype, order)
    begin, deliver = target(dtype, x.ndim, order, given), delivery(x.ndim, order, given)

    def compiled(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout, out):
        shape, rows, columns = find(image_sizes(x.shape), kernel_size, stride, padding, 1, ceil_mode)
        number = override(divisor_override)
        y = begin(where, shape, out, x, None, None)
        avg_pool(read(x), rows, columns, bool(count_include_pad), number, y)
        return deliver(y, out)

    return compiled


@compiled_as(functional.avg_pool2d_backward)
def _avg_pool2d_backward(
    grad_output: Any, input_shape: Any, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any,
    count_include_pad: Any, divisor_override: Any, layout: Any,
) -> Any:  # fmt: skip
    where = "avg_pool2d_backward"
    read, full, deliver, order = shaped(where, grad_output, input_shape, layout)
    find, final = windows(where, kernel_size, stride, padding, 1, ceil_mode), shape_of(grad_output.ndim, order)
    override = divisor(where, count_include_pad, divisor_override)

    def compiled(
        grad_output, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout
    ):
        shape, rows, columns = find(full(grad_output, input_shape), kernel_size, stride, padding, 1, ceil_mode)
        same_shape(where, "grad_output", grad_output, final(shape))
        number = override(divisor_override)
        grad = avg_pool_backward(where, read(grad_output), rows, columns, bool(count_include_pad), number)
        return deliver(grad, None)

    return compiled
