"""The plan of a convolution."""

from __future__ import annotations

from fastconv._geometry.borders import area_terms, reached_pixels
from fastconv._geometry.conv import Conv, pixels_of, reduction_length, taps_of
from fastconv._geometry.layout import Layout, as_it_is, by_pixel, chosen, copied, is_padded, unpadded
from fastconv._geometry.ranges import ceil_div
from fastconv._plans.names import Reason, Winograd
from fastconv._plans.records import (
    BY_IMAGE,
    CHANNELWISE,
    DEPTHWISE,
    DIRECT,
    PACKED,
    WINOGRAD,
    ForwardPlan,
    Rejected,
    accepted,
    rejected,
)
from fastconv._runtime.host import ENABLED, Host, Limits
from fastconv._runtime.jit import jitable, planned
from fastconv.errors import ShapeError

CHANNELS, TERMS, ONE_TAP, PIXELS = (
    int(r) for r in (Reason.CHANNELS, Reason.TERMS, Reason.ONE_TAP, Reason.PIXELS)
)  # fmt: skip
READ_AS_IS, IMAGES, PLANES = int(Reason.IN_PLACE), int(Reason.IMAGES), int(Reason.PLANES)
CHANNELS_OR_TERMS, NOT_DEPTHWISE, AREAS = (
    int(r) for r in (Reason.CHANNELS_OR_TERMS, Reason.NOT_DEPTHWISE, Reason.AREAS)
)  # fmt: skip
NOT_ASKED, KERNEL, TILES, PRODUCTS, TAPS = (
    int(r) for r in (Reason.NOT_ASKED, Reason.KERNEL, Reason.TILES, Reason.PRODUCTS, Reason.TAPS)
)  # fmt: skip
NEVER, ALWAYS = int(Winograd.NEVER), int(Winograd.ALWAYS)


@planned
def plan_forward(conv: Conv, N: int, itemsize: int, last: bool, host: Host, winograd: int) -> ForwardPlan:
    """How N images are convolved, of elements of `itemsize` bytes, with channels `last` or first.

    By Winograd's algorithm as `Winograd` says.
    """
    limits, none = host.limits, accepted()
    no_depthwise, no_order, bordered, unpacked, together, shared = none, none, none, none, none, none
    layout = fallback = by_pixel(conv, last)
    algorithm, moved, ready = PACKED, False, N * pixels_of(conv) >= limits.ready_pixels
    no_winograd = reject_winograd(conv, min(N, limits.winograd_images), winograd, limits)
    if no_winograd.reason == 0 and not last and winograd != ALWAYS:
        no_winograd = _reject_products(conv, limits)
    by_winograd = no_winograd.reason == 0
    if by_winograd:
        algorithm, ready = WINOGRAD, False
        # few tiles of an image leave vectors of them half empty, and its many channels do not
        moved = not last and min(conv.C, conv.OC) // conv.groups > tiles_of(conv, 1)
    elif last:
        no_depthwise = reject_depthwise(conv, limits)
        no_order = reject_in_order(conv, limits) if no_depthwise.reason else none
        moved = no_order.reason != 0
        if not moved:
            bordered = _reject_unpadded(conv, N, limits)
            if no_depthwise.reason == 0:
                algorithm = DEPTHWISE
            if bordered.reason == 0:
                layout, ready = unpadded(conv, True), True
    if not by_winograd and (moved or not last):
        shared = reject_channelwise(conv, limits)
    if by_winograd or (last and not moved):
        pass
    elif shared.reason == 0:
        algorithm, ready, layout = CHANNELWISE, False, as_it_is(conv)
    else:
        unpacked = _reject_packed(conv, N, limits)
        layout = fallback = by_pixel(conv, False) if unpacked.reason == 0 else chosen(conv, False)
        if unpacked.reason == 0:
            if is_padded(conv):
                bordered = _reject_unpadded(conv, N, limits)
                if bordered.reason == 0:
                    layout, ready = unpadded(conv, False), True
        else:
            together = _reject_by_image(conv, N, itemsize, layout, limits)
            algorithm, ready = DIRECT if together.reason else BY_IMAGE, False
    second = bordered if bordered.reason else unpacked
    return ForwardPlan(
        conv, N, last, moved, algorithm, layout, fallback, ready, host.blocks,
        (no_depthwise, no_order, no_winograd, shared, second, together),
    )  # fmt: skip


@jitable
def reject_depthwise(conv: Conv, limits: Limits) -> Rejected:
    """Why images with channels last are not convolved channel by channel in vectors of them."""
    if not conv.C == conv.OC == conv.groups:
        return rejected(DEPTHWISE, NOT_DEPTHWISE, max(conv.C, conv.OC), conv.groups)
    if conv.C < limits.depthwise:
        return rejected(DEPTHWISE, CHANNELS, conv.C, limits.depthwise)
    return accepted()


@jitable
def reject_channelwise(conv: Conv, limits: Limits) -> Rejected:
    """Why images in NCHW order are not convolved channel by channel as they are."""
    rows, columns = conv.rows, conv.columns
    if not ENABLED or conv.C < limits.channelwise:  # it is a micro-kernel alone, without plain loops beside it
        return rejected(CHANNELWISE, NOT_ASKED, 0, 0)
    if not conv.C == conv.OC == conv.groups:
        return rejected(CHANNELWISE, NOT_DEPTHWISE, max(conv.C, conv.OC), conv.groups)
    square = rows.kernel == columns.kernel == 3 and rows.dilation == columns.dilation == 1
    if not (square and rows.stride == columns.stride <= 2):
        return rejected(CHANNELWISE, TAPS, 0, 0)
    return accepted()


@jitable
def reject_in_order(conv: Conv, limits: Limits) -> Rejected:
    """Why images with channels last are moved to NCHW order."""
    least = min(conv.OC // conv.groups, reduction_length(conv))
    if least < limits.last:
        return rejected(PACKED, CHANNELS_OR_TERMS, least, limits.last)
    return accepted()


@jitable
def is_winograds(conv: Conv) -> bool:
    """Whether Winograd's F(2x2, 3x3) computes such a convolution."""
    rows, columns = conv.rows, conv.columns
    return rows.kernel == columns.kernel == 3 and rows.stride * columns.stride * rows.dilation * columns.dilation == 1


@jitable
def check_winograd(where: str, conv: Conv, winograd: int) -> None:
    """Raise a ShapeError where Winograd's algorithm is asked for but computes no such convolution."""
    if winograd == ALWAYS and not is_winograds(conv):
        rows, columns = conv.rows, conv.columns
        raise ShapeError(
            "{}: algorithm 'winograd' needs kernels of 3x3, stride 1 and dilation 1, got {}, {} and {}", where,
            (rows.kernel, columns.kernel), (rows.stride, columns.stride), (rows.dilation, columns.dilation),
        )  # fmt: skip


@jitable
def tiles_of(conv: Conv, N: int) -> int:
    """The tiles of 2 x 2 results of N images."""
    return N * ceil_div(conv.rows.out, 2) * ceil_div(conv.columns.out, 2)


@jitable
def reject_winograd(conv: Conv, N: int, winograd: int, limits: Limits) -> Rejected:
    """Why a convolution is not computed by Winograd's algorithm."""
    if winograd == NEVER or not ENABLED:  # its transforms are micro-kernels alone, without plain loops beside them
        return rejected(WINOGRAD, NOT_ASKED, 0, 0)
    if not is_winograds(conv):
        return rejected(WINOGRAD, KERNEL, 0, 0)
    if winograd == ALWAYS:
        return accepted()
    least, tiles = min(conv.C, conv.OC) // conv.groups, tiles_of(conv, N)
    if least < limits.winograd_channels:
        return rejected(WINOGRAD, CHANNELS, least, limits.winograd_channels)
    needed = max(limits.winograd_tiles, ceil_div(limits.winograd_work, least))
    if tiles < needed:
        return rejected(WINOGRAD, TILES, tiles, needed)
    return accepted()


@jitable
def _reject_products(conv: Conv, limits: Limits) -> Rejected:
    """Why Winograd's algorithm saves too few products."""
    products = tiles_of(conv, 1) * 16 / (reached_pixels(conv.rows) * reached_pixels(conv.columns))
    if products > limits.winograd_products:
        return rejected(WINOGRAD, PRODUCTS, products, limits.winograd_products)
    return accepted()


@jitable
def _reject_unpadded(conv: Conv, N: int, limits: Limits) -> Rejected:
    """Why images meet packed weights with their padding, in a copy."""
    terms, pixels = area_terms(conv), N * pixels_of(conv)
    if terms > limits.area_terms:
        return rejected(PACKED, AREAS, terms, limits.area_terms)
    if pixels < limits.unpadded_pixels:
        return rejected(PACKED, PIXELS, pixels, limits.unpadded_pixels)
    return accepted()


@jitable
def _reject_packed(conv: Conv, N: int, limits: Limits) -> Rejected:
    """Why weights are not packed, and vectors are not along the output channels."""
    outputs, K, pixels = conv.OC // conv.groups, reduction_length(conv), N * pixels_of(conv)
    channels, terms = limits.packed_channels, limits.packed_terms
    if is_padded(conv):
        channels, terms = limits.packed_channels_copied, limits.packed_terms_padded
    elif conv.rows.stride * conv.columns.stride > 1:
        channels, terms = limits.packed_channels_copied, limits.packed_terms_strided
    if outputs < channels:
        return rejected(PACKED, CHANNELS, outputs, channels)
    if K < terms:
        return rejected(PACKED, TERMS, K, terms)
    if taps_of(conv) == 1:
        return rejected(PACKED, ONE_TAP, 1, 2)
    if pixels < limits.packed_pixels:
        return rejected(PACKED, PIXELS, pixels, limits.packed_pixels)
    return accepted()


@jitable
def _reject_by_image(conv: Conv, N: int, itemsize: int, layout: Layout, limits: Limits) -> Rejected:
    """Why the planes of all images are made before the convolution, and not image by image."""
    if not copied(layout):
        return rejected(BY_IMAGE, READ_AS_IS, 0, 0)
    if N * conv.groups < limits.images:
        return rejected(BY_IMAGE, IMAGES, N * conv.groups, limits.images)
    size = conv.C // conv.groups * layout.cells * itemsize
    if size > limits.planes:
        return rejected(BY_IMAGE, PLANES, size, limits.planes)
    return accepted()
