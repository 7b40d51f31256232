"""Images in the caller's form, with a batch or without, in NCHW or NHWC, and as kernels take them.

A layout is "NCHW", "NHWC", or "NCL": signals are images of one row.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv._arguments.sizes import check_range
from fastconv._engine.planes import channels_first, to_channels_last
from fastconv._overloads.arguments import int4, new_array, ready, reshaped
from fastconv._overloads.kinds import value_of
from fastconv._overloads.register import by_values, text
from fastconv._runtime.jit import jitable
from fastconv.errors import ShapeError


@by_values
def batched(shape, layout):
    """The shape with all four axes, in the caller's order."""
    if value_of(layout) != "NCL":
        return (lambda s, layout: s) if len(shape) == 4 else (lambda s, layout: (1, *s))
    if len(shape) == 3:
        return lambda s, layout: (s[0], s[1], 1, s[2])
    return lambda s, layout: (1, s[0], 1, s[1])


@by_values
def sizes_of(shape, layout):
    """(N, C, H, W) of images of this shape."""

    def moved(shape, layout):
        N, H, W, C = batched(shape, layout)
        return N, C, H, W

    return moved if value_of(layout) == "NHWC" else batched(shape, layout)


# of sizes (N, C, H, W) by layout, the shape of images with a batch
SHAPES: dict[str, Callable] = {
    "NCHW": lambda sizes, like, layout: sizes,
    "NHWC": lambda sizes, like, layout: (sizes[0], sizes[2], sizes[3], sizes[1]),
    "NCL": lambda sizes, like, layout: (sizes[0], sizes[1], sizes[3]),
}


@by_values
def shape_as(sizes, like, layout):
    """The shape of images (N, C, H, W) where those of the shape `like` have a batch or none."""
    shape = SHAPES[value_of(layout)]
    if len(like) == len(value_of(layout)):
        return shape
    with_batch = jitable(shape)
    return lambda sizes, like, layout: with_batch(sizes, like, layout)[1:]


@by_values
def is_last(layout, order):
    """Whether channels are last, and stay there in what is computed in another order."""
    last = value_of(layout) == "NHWC" != value_of(order)
    return lambda layout, order: last


@by_values
def with_batch(a, layout):
    """A view of contiguous images with all four axes, in the caller's order."""
    if a.ndim == 4:
        return lambda a, layout: a
    return lambda a, layout: reshaped(a, batched(a.shape, layout))


@by_values
def images(a, zero, layout):
    """Images as kernels take them, (N, C, H, W) of the dtype of `zero`, copied only if they are not."""
    if value_of(layout) == "NHWC":
        return lambda a, zero, layout: channels_first("", with_batch(ready(a, zero), layout))
    if a.ndim == 4:
        return lambda a, zero, layout: ready(a, zero)
    return lambda a, zero, layout: with_batch(ready(a, zero), layout)


@by_values
def first(own, layout):
    """An array (N, C, H, W) for the result to be computed in, which `put` brings into the caller's array `own`."""
    if value_of(layout) == "NHWC":
        return lambda own, layout: new_array("", sizes_of(own.shape, layout), own.dtype.type(0))
    return with_batch(own, layout)


@by_values
def put(found, own, layout):
    """`own`, with what was found in the array that `first` gave of it."""

    def moved(found, own, layout):
        to_channels_last(found, with_batch(own, layout))
        return own

    return moved if value_of(layout) == "NHWC" else lambda found, own, layout: own


@by_values
def as_given(found, like, layout):
    """The array (N, C, H, W) in the form that the caller's images of the shape `like` have."""

    def moved(found, like, layout):
        return put(found, np.empty(shape_as(found.shape, like, layout), found.dtype), layout)

    if value_of(layout) == "NHWC":
        return moved
    return (lambda found, like, layout: found) if len(like) == 4 else (lambda found, like, layout: found[0])


@text
def check_pixels(where, x, layout):
    """Raise a ShapeError unless x has a channel and a pixel."""
    _, C, H, W = sizes_of(x.shape, layout)
    if min(C, H, W) < 1:
        raise ShapeError("{}: x must have at least one channel and one pixel, got shape {}", where, x.shape)


@text
def full_shape(where, name, shape, given_name, given, layout):
    """The argument `shape` as (N, C, H, W), which must have the images and channels of the array that is given."""
    full, found = int4(sizes_of(shape, layout)), sizes_of(given.shape, layout)
    for i in range(4):
        check_range(where, name, full[i], 0)
    if found[0] != full[0] or found[1] != full[1] or min(full[1], full[2], full[3]) < 1:
        raise ShapeError("{}: {} {} does not fit {} of {}", where, name, shape, given_name, given.shape)
    return full
