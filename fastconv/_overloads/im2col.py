"""im2col and col2im in jitted code: the kernels that Python calls."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import register_jitable

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._geometry.axes import taps_window
from fastconv._geometry.conv import checked_windows, pixels_of, reduction_length
from fastconv._overloads import arguments
from fastconv._overloads.arguments import int2, known, margins
from fastconv._overloads.arrays import check_out, flat_reader, images_reader, reshaped, result, shape_of, sizes_of
from fastconv._overloads.register import compiled_as
from fastconv._runtime.jit import linked
from fastconv.errors import ShapeError
from fastconv.functional.im2col import ADD, COPY, ORDERS, order_argument


@linked
def windows(where, image, kernel, stride, margins, dilation):
    """What the kernels take of windows over images (N, C, H, W), the terms of one, an image's pixels; all checked."""
    conv = checked_windows(where, (image[1], image[2], image[3]), kernel, stride, margins, dilation)
    return taps_window(conv.rows, conv.columns), reduction_length(conv), pixels_of(conv)


@linked
def input_windows(where, image, kernel, stride, margins, dilation):
    """`windows` of a shape that is an argument itself."""
    for i in range(4):
        check_range(where, "input_shape", image[i], 0)
    if min(image[1], image[2], image[3]) < 1:
        raise ShapeError("{}: input_shape must have at least one channel and one pixel, got {}", where, image)
    return windows(where, image, kernel, stride, margins, dilation)


def _checked(where: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any, order: Any) -> str:
    way = order_argument(where, known(where, "order", order))
    for name, kind in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation)):
        arguments.whole_pair(where, name, kind)
    arguments.some_padding(where, padding)
    return way


def _columns(way: str, single: bool) -> tuple[Any, Any]:
    """The functions that give the columns' shape, and that as the caller has it, without the batch where `single`."""
    last = register_jitable((lambda s: (s[1], s[2])) if single else (lambda s: s))
    return register_jitable(ORDERS[way]), last


@compiled_as(functional.im2col)
def _im2col(x: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, order: Any, out: Any) -> Any:
    where = "im2col"
    way = _checked(where, kernel_size, stride, padding, dilation, order)
    arguments.images(where, "x", arguments.array(where, "x", x))
    dtype, batch = arguments.result_dtype(x), x.ndim == 4
    single = way == "unfold" and not batch
    given = check_out(where, out, dtype, 3 if way == "unfold" and batch else 2)
    image_sizes, read, begin, copy = sizes_of(x.ndim), images_reader(x, dtype), result(dtype, given), COPY[way]
    shape, last = _columns(way, single)

    def compiled(x, kernel_size, stride, padding, dilation, order, out):
        image = image_sizes(x.shape)
        window, K, P = windows(where, image, int2(kernel_size), int2(stride), margins(where, padding), int2(dilation))
        images = read(x)
        cols = begin(where, last(shape(image[0], K, P)), out, x, None, None)
        copy(images, window, cols.reshape(-1))
        return cols

    return compiled


@compiled_as(functional.col2im)
def _col2im(
    cols: Any, input_shape: Any, kernel_size: Any, stride: Any, padding: Any, dilation: Any, order: Any, out: Any
) -> Any:
    where = "col2im"
    way = _checked(where, kernel_size, stride, padding, dilation, order)
    arguments.array(where, "cols", cols)
    ndim = arguments.whole_sizes(where, "input_shape", input_shape, (3, 4))
    single = way == "unfold" and ndim == 3
    needed = 3 if way == "unfold" and not single else 2
    if cols.ndim != needed:
        raise ShapeError(f"{where}: cols must have {needed} dimensions, got {cols.ndim}")
    dtype = arguments.result_dtype(cols)
    given = check_out(where, out, dtype, ndim)
    full, read, begin, add = sizes_of(ndim), flat_reader(cols, dtype), result(dtype, given), ADD[way]
    (shape, last), final = _columns(way, single), shape_of(ndim)

    def compiled(cols, input_shape, kernel_size, stride, padding, dilation, order, out):
        N, C, H, W = full(input_shape)
        image = np.int64(N), np.int64(C), np.int64(H), np.int64(W)
        window, K, P = input_windows(
            where, image, int2(kernel_size), int2(stride), margins(where, padding), int2(dilation)
        )
        same_shape(where, "cols", cols, last(shape(image[0], K, P)))
        flat = read(cols)
        x = begin(where, final(image), out, cols, None, None)
        add(flat, window, reshaped(x, image))
        return x

    return compiled
