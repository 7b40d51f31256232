"""Pooling in jitted code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable
from numba.np.numpy_support import as_dtype

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._engine.pool import avg_pool, avg_pool_backward, lowest_of, max_dtype, max_pool
from fastconv._engine.unpool import scatter
from fastconv._geometry.axes import pool_axes
from fastconv._overloads import arguments
from fastconv._overloads.arguments import check_steps, images_order, int2, is_none, margins
from fastconv._overloads.arrays import check_out, delivery, images_reader, new_images, shape_of, sizes_of, target
from fastconv._overloads.register import compiled_as
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
    for name, kind in (("kernel_size", kernel_size), ("dilation", dilation)):
        arguments.whole_pair(where, name, kind)
    if not is_none(stride):
        arguments.whole_pair(where, "stride", stride)
    arguments.some_padding(where, padding)
    arguments.flag(where, "ceil_mode", ceil_mode)
    steps = register_jitable((lambda k, s: int2(k)) if is_none(stride) else (lambda k, s: int2(s)))

    def found(image, kernel, stride, padding, dilation, ceil):
        pads = margins(where, padding)
        return sizes(where, image, int2(kernel), steps(kernel, stride), pads, int2(dilation), bool(ceil))

    return register_jitable(found)


def same_integer(dtype: np.dtype) -> Callable:
    """The function that gives maxima in the dtype that they were taken of."""
    element = dtype.type
    return register_jitable((lambda a: a) if dtype == max_dtype(dtype) else (lambda a: a.astype(element)))


def _max_pool(
    where: str, x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any, layout: Any,
    out: Any, keep: bool,
) -> Callable:  # fmt: skip
    """The function of a max-pooling's arguments that gives the maxima and their indices, in no order if not to keep."""
    order = images_order(where, "x", x, layout)
    find = windows(where, kernel_size, stride, padding, dilation, ceil_mode)
    dtype, compute = as_dtype(x.dtype), max_dtype(as_dtype(x.dtype))
    given, lowest, zero = check_out(where, out, dtype, x.ndim), lowest_of(compute), np.int64(0)
    if given and compute != dtype:
        raise DTypeError(f"{where}: out must not be given for {dtype} inside jitted code")
    image_sizes, read, narrow = sizes_of(x.ndim, order), images_reader(x, compute, order), same_integer(dtype)
    begin, deliver = target(compute, x.ndim, order, given), delivery(x.ndim, order, given)
    kept = register_jitable((lambda shape: shape) if keep else (lambda shape: (zero, zero, zero, zero)))

    def pooled(x, kernel_size, stride, padding, dilation, ceil_mode, out):
        shape, rows, columns = find(image_sizes(x.shape), kernel_size, stride, padding, dilation, ceil_mode)
        y = begin(where, shape, out, x, None, None)
        indices = new_images(where, kept(shape), zero)
        max_pool(read(x), rows, columns, lowest, keep, y, indices)
        return narrow(deliver(y, out)), indices

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
    deliver = delivery(x.ndim, images_order(where, "x", x, layout))

    def compiled(x, kernel_size, stride, padding, dilation, ceil_mode, layout):
        y, indices = pooled(x, kernel_size, stride, padding, dilation, ceil_mode, None)
        return y, deliver(indices, None)

    return compiled


def full_shape(where: str, name: str, shape: Any, given_name: str, given: types.Array, layout: str) -> Callable:
    """The function that gives (N, C, H, W) of the argument `shape` of images, checked against those that are given."""
    arguments.whole_sizes(where, name, shape, (given.ndim,))
    sizes, unfit = sizes_of(given.ndim, layout), f"{{}}: {name} {{}} does not fit {given_name} of {{}}"

    def image(array, shape):
        N, C, H, W = sizes(shape)
        full, images = (np.int64(N), np.int64(C), np.int64(H), np.int64(W)), sizes(array.shape)
        for i in range(4):
            check_range(where, name, full[i], 0)
        if images[0] != full[0] or images[1] != full[1] or min(full[1], full[2], full[3]) < 1:
            raise ShapeError(unfit, where, shape, array.shape)
        return full

    return register_jitable(image)


def gradient(where: str, grad_output: Any, input_shape: Any, layout: Any) -> tuple[Callable, Callable, Callable, str]:
    """How a pooling's gradient is read, `full_shape` of `input_shape`, how the result is delivered, and the layout."""
    order = images_order(where, "grad_output", grad_output, layout)
    full = full_shape(where, "input_shape", input_shape, "grad_output", grad_output, order)
    read = images_reader(grad_output, arguments.result_dtype(grad_output), order)
    return read, full, delivery(grad_output.ndim, order), order


def indices_reader(where: str, indices: Any, ndim: int, layout: str) -> Callable:
    """The function that gives indices of so many dimensions as kernels take them."""
    if not isinstance(arguments.array(where, "indices", indices).dtype, types.Integer):
        raise DTypeError(f"{where}: indices must be integers, got {indices.dtype}")
    if indices.ndim != ndim:
        raise ShapeError(f"{where}: indices must have {ndim} dimensions, got {indices.ndim}")
    return images_reader(indices, np.dtype(np.int64), layout)


@compiled_as(functional.max_pool2d_backward)
def _max_pool2d_backward(grad_output: Any, indices: Any, input_shape: Any, layout: Any) -> Any:
    where = "max_pool2d_backward"
    read, full, deliver, order = gradient(where, grad_output, input_shape, layout)
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
    read, full, deliver, order = gradient(where, grad_output, input_shape, layout)
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
