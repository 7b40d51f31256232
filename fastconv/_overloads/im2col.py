"""im2col and col2im in jitted code: the kernels that Python calls."""

from __future__ import annotations

from fastconv import functional
from fastconv._arguments.arrays import same_shape
from fastconv._arguments.sizes import check_range
from fastconv._geometry.axes import taps_window
from fastconv._geometry.conv import checked_windows, pixels_of, reduction_length
from fastconv._overloads.arguments import int2, int4, margins, ready, reshaped, result, zero_of
from fastconv._overloads.images import images, shape_as, sizes_of
from fastconv._overloads.kinds import Call, array, constant, ranked, sized, value_of
from fastconv._overloads.register import by_values, compiled_as
from fastconv._runtime.jit import jitable, linked
from fastconv.errors import ShapeError
from fastconv.functional.im2col import ADD, COPY, ORDERS, order_argument

ORDER = constant(order_argument)


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
