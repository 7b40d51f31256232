"""Windows over images in jitted code: pooling, unpooling, im2col and col2im."""

from __future__ import annotations

import numpy as np
from numba.np.numpy_support import as_dtype

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._engine import unpool
from fastconv._engine.global_pool import share_out
from fastconv._engine.pool import avg_pool, avg_pool_backward, lowest_of, max_dtype, max_pool
from fastconv._engine.unpool import scatter, take
from fastconv._geometry.axes import check_steps, pool_axes, taps_window
from fastconv._geometry.conv import checked_windows, pixels_of, reduction_length
from fastconv._overloads.arguments import int2, int4, margins, new_array, ready, reshaped, result, zero_of
from fastconv._overloads.images import as_given, check_pixels, first, full_shape, images, put, shape_as, sizes_of
from fastconv._overloads.kinds import Call, array, constant, is_none, optional, ranked, sized, value_of, whole_pair
from fastconv._overloads.register import by_types, by_values, compiled_as, text
from fastconv._runtime.jit import jitable, linked
from fastconv.errors import DTypeError, ShapeError
from fastconv.functional.im2col import ADD, COPY, ORDERS, order_argument
from fastconv.kernels import global_pool

STRIDE, ORDER = optional(whole_pair), constant(order_argument)


@linked
def pool_sizes(where, image, kernel, stride, margins, dilation, ceil_mode):
    """The shape of the result of pooling images (N, C, H, W), and its axes, all checked."""
    if image[1] < 1:
        raise ShapeError("{}: x must have at least one channel, got shape {}", where, image)
    check_range(where, "kernel_size", min(kernel), 1)
    check_range(where, "kernel_size", max(kernel), 1)
    check_steps(where, stride, margins, dilation)
    rows, columns = pool_axes(where, (image[2], image[3]), kernel, stride, margins, dilation, ceil_mode)
    return (image[0], image[1], rows.out, columns.out), rows, columns


@by_types
def _step(stride, kernel):
    return (lambda stride, kernel: kernel) if is_none(stride) else (lambda stride, kernel: int2(stride))


@text
def pooling(where, image, kernel_size, stride, padding, dilation, ceil_mode):
    """The `pool_sizes` of images (N, C, H, W) and the options of a pooling."""
    kernel, pads = int2(kernel_size), margins(where, padding)
    return pool_sizes(where, image, kernel, _step(stride, kernel), pads, int2(dilation), bool(ceil_mode))


@by_types
def lowest_in(x):
    """A number, of the dtype in which the maxima of x are found, than which none is less."""
    lowest = lowest_of(max_dtype(as_dtype(x.dtype)))
    return lambda x: lowest


@by_types
def as_narrow(y, x):
    """Maxima in the dtype of x."""
    element = as_dtype(x.dtype).type
    return (lambda y, x: y) if y.dtype == x.dtype else (lambda y, x: y.astype(element))


@text
def _max_pool(where, x, kernel_size, stride, padding, dilation, ceil_mode, layout, out, keep):
    """The maxima and, where to `keep`, their indices, as (N, C, OH, OW)."""
    lowest, image = lowest_in(x), sizes_of(x.shape, layout)
    shape, rows, columns = pooling(where, image, kernel_size, stride, padding, dilation, ceil_mode)
    own = result(where, shape_as(shape, x.shape, layout), lowest, out, x, None, None)
    y, indices = first(own, layout), new_array(where, shape if keep else (1, 0, 0, 0), np.int64(0))
    max_pool(images(x, lowest, layout), rows, columns, lowest, keep, y, indices)
    return as_narrow(put(y, own, layout), x), indices


def _out(where: str, name: str, call: Call) -> None:
    dtype = as_dtype(call["x"].dtype)
    if not is_none(call[name]) and max_dtype(dtype) != dtype:
        raise DTypeError(f"{where}: out must not be given for {dtype} inside jitted code")


@compiled_as(functional.max_pool2d, stride=STRIDE, out=_out)
def _max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, layout, out, where):
    return _max_pool(where, x, kernel_size, stride, padding, dilation, ceil_mode, layout, out, False)[0]


@compiled_as(functional.max_pool2d_with_indices, stride=STRIDE)
def _max_pool2d_with_indices(x, kernel_size, stride, padding, dilation, ceil_mode, layout, where):
    y, indices = _max_pool(where, x, kernel_size, stride, padding, dilation, ceil_mode, layout, None, True)
    return y, as_given(indices, x.shape, layout)


@compiled_as(functional.max_pool2d_backward)
def _max_pool2d_backward(grad_output, indices, input_shape, layout, where):
    shape = full_shape(where, "input_shape", input_shape, "grad_output", grad_output, layout)
    same_shape(where, "indices", indices, grad_output.shape)
    g, places = images(grad_output, zero_of(grad_output), layout), images(indices, np.int64(0), layout)
    return as_given(scatter(where, g, places, g, False, shape), input_shape, layout)


@text
def divisor(where, override):
    """The divisor of every window, checked, or 0 for none."""
    if override is None:
        return np.int64(0)
    check_range(where, "divisor_override", np.int64(override), 1)
    return np.int64(override)


@compiled_as(functional.avg_pool2d, stride=STRIDE)
def _avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, layout, out, where):
    zero, image = zero_of(x), sizes_of(x.shape, layout)
    shape, rows, columns = pooling(where, image, kernel_size, stride, padding, 1, ceil_mode)
    number = divisor(where, divisor_override)
    own = result(where, shape_as(shape, x.shape, layout), zero, out, x, None, None)
    y = first(own, layout)
    avg_pool(images(x, zero, layout), rows, columns, bool(count_include_pad), number, y)
    return put(y, own, layout)


@compiled_as(functional.avg_pool2d_backward, stride=STRIDE)
def _avg_pool2d_backward(
    grad_output,
    input_shape,
    kernel_size,
    stride,
    padding,
    ceil_mode,
    count_include_pad,
    divisor_override,
    layout,
    where,
):
    image = full_shape(where, "input_shape", input_shape, "grad_output", grad_output, layout)
    shape, rows, columns = pooling(where, image, kernel_size, stride, padding, 1, ceil_mode)
    same_shape(where, "grad_output", grad_output, shape_as(shape, grad_output.shape, layout))
    g, number = images(grad_output, zero_of(grad_output), layout), divisor(where, divisor_override)
    grad = avg_pool_backward(where, g, rows, columns, bool(count_include_pad), number)
    return as_given(grad, grad_output.shape, layout)


@compiled_as(functional.global_avg_pool2d)
def _global_avg_pool2d(x, layout, where):
    zero = zero_of(x)
    check_pixels(where, x, layout)
    values = images(x, zero, layout)
    y = new_array(where, (values.shape[0], values.shape[1], 1, 1), zero)
    global_pool.forward(values, y)
    return as_given(y, x.shape, layout)


@compiled_as(functional.global_avg_pool2d_backward)
def _global_avg_pool2d_backward(grad_output, input_shape, layout, where):
    shape = full_shape(where, "input_shape", input_shape, "grad_output", grad_output, layout)
    same_shape(where, "grad_output", grad_output, shape_as((shape[0], shape[1], 1, 1), grad_output.shape, layout))
    g = images(grad_output, zero_of(grad_output), layout)
    return as_given(share_out(where, g, shape), grad_output.shape, layout)


@compiled_as(functional.max_unpool2d)
def _max_unpool2d(x, indices, output_shape, layout, where):
    shape = full_shape(where, "output_shape", output_shape, "x", x, layout)
    same_shape(where, "indices", indices, x.shape)
    values, places = images(x, x.dtype.type(0), layout), images(indices, np.int64(0), layout)
    return as_given(unpool.put(where, values, places, shape), output_shape, layout)


@compiled_as(functional.max_unpool2d_backward)
def _max_unpool2d_backward(grad_output, indices, layout, where):
    (N, C, H, W), found = sizes_of(grad_output.shape, layout), sizes_of(indices.shape, layout)
    if min(C, H, W) < 1 or N != found[0] or C != found[1]:
        raise ShapeError("{}: indices {} do not fit grad_output of {}", where, indices.shape, grad_output.shape)
    g, places = images(grad_output, zero_of(grad_output), layout), images(indices, np.int64(0), layout)
    return as_given(take(where, g, places), indices.shape, layout)


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


@by_values
def columns_shape(N, K, P, like, order):
    """The shape of the columns of images of the shape `like`, without the batch where those have none."""
    if value_of(order) == "unfold" and len(like) == 3:
        return lambda N, K, P, like, order: (K, P)
    shape = jitable(ORDERS[value_of(order)])
    return lambda N, K, P, like, order: shape(N, K, P)


@by_values
def move(adds, a, window, b, order):
    """Copy windows of images into flat columns; or, where it `adds`, add columns up where their windows lie."""
    kernel = (ADD if value_of(adds) else COPY)[value_of(order)]
    return lambda adds, a, window, b, order: kernel(a, window, b)


@compiled_as(functional.im2col, order=ORDER)
def _im2col(x, kernel_size, stride, padding, dilation, order, out, where):
    zero, image = zero_of(x), sizes_of(x.shape, "NCHW")
    window, K, P = windows(where, image, int2(kernel_size), int2(stride), margins(where, padding), int2(dilation))
    values = images(x, zero, "NCHW")
    cols = result(where, columns_shape(image[0], K, P, x.shape, order), zero, out, x, None, None)
    move(False, values, window, cols.reshape(-1), order)
    return cols


def _cols(where: str, name: str, call: Call) -> None:
    array(where, name, call)
    unfolded = ORDER(where, "order", call) == "unfold"
    ndim = 3 if unfolded and len(sized(3, 4)(where, "input_shape", call)) == 4 else 2
    ranked(f"{ndim} dimensions, got {{}}", ndim)(where, name, call)


@compiled_as(functional.col2im, cols=_cols, input_shape=sized(3, 4), order=ORDER)
def _col2im(cols, input_shape, kernel_size, stride, padding, dilation, order, out, where):
    zero, image = zero_of(cols), int4(sizes_of(input_shape, "NCHW"))
    pads = margins(where, padding)
    window, K, P = input_windows(where, image, int2(kernel_size), int2(stride), pads, int2(dilation))
    same_shape(where, "cols", cols, columns_shape(image[0], K, P, input_shape, order))
    flat = ready(cols, zero).reshape(-1)
    x = result(where, shape_as(image, input_shape, "NCHW"), zero, out, cols, None, None)
    move(True, flat, window, reshaped(x, image), order)
    return x
