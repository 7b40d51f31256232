"""Long calls in pieces of a fraction of a second, between which Python sees Ctrl-C and other signals.

A signal's handler runs when a kernel returns, not before. Pieces are so large that their launches cost nothing, and as
they follow from the sizes alone, so do the bits of the result.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import NamedTuple

from fastconv._geometry.axes import Axis
from fastconv._geometry.conv import Conv, pixels_of, reduction_length

# Products of a piece: a tenth of a second on two cores with AVX-512, a second on one that is slow.
PRODUCTS = 2**34


def parts(count: int, work: int, multiple: int = 1) -> Iterator[slice]:
    """The parts of `count` items of `work` each that are done at once; nearly always one, of all.

    Their sizes are multiples of `multiple`, but for the last.
    """
    if count * work <= 2 * PRODUCTS:
        yield slice(0, count)
        return
    size = max(PRODUCTS // (work * multiple), 1) * multiple
    for first in range(0, count, size):
        yield slice(first, min(first + size, count))


def planes_and_rows(planes: int, rows: int, work: int) -> Iterator[tuple[slice, slice]]:
    """The parts of planes whose rows are `work` each: some planes, or some rows of a plane."""
    for part in parts(planes, rows * work):
        for some in parts(rows, work) if part.stop - part.start == 1 else (slice(0, rows),):
            yield part, some


class Piece(NamedTuple):
    """A part of a convolution that is a convolution of its own.

    Attributes:
        inputs: where its part of x lies, (images, rows, columns).
        outputs: where its part of the result lies.
        conv: its sizes.
    """

    inputs: tuple[slice, slice, slice]
    outputs: tuple[slice, slice, slice]
    conv: Conv


@functools.lru_cache(maxsize=256)
def pieces(conv: Conv, N: int) -> list[Piece]:
    """The pieces of a convolution of N images that takes long: some images, or a part of one; otherwise none."""
    rows, columns = conv.rows, conv.columns
    work, pixels = conv.OC * reduction_length(conv), pixels_of(conv)
    if N * pixels * work <= 2 * PRODUCTS:
        return []
    tall = rows.out >= columns.out
    axis, other = (rows, columns) if tall else (columns, rows)
    found = []
    for images in parts(N, pixels * work):
        single = images.stop - images.start == 1
        cuts = list(parts(axis.out, other.out * work)) if single else [slice(0, axis.out)]
        for cut in cuts if all(_reached(axis, cut) for cut in cuts) else [slice(0, axis.out)]:
            own, low, high = _cut(axis, cut) if cut != slice(0, axis.out) else (axis, 0, axis.size)
            along, whole = slice(low, high), slice(None)
            part = conv._replace(rows=own if tall else other, columns=other if tall else own)
            if tall:
                found.append(Piece((images, along, whole), (images, cut, whole), part))
            else:
                found.append(Piece((images, whole, along), (images, whole, cut), part))
    return found if len(found) > 1 else []


def _span(axis: Axis, cut: slice) -> tuple[int, int]:
    """The pixels that windows reach, the first and the last + 1, some of which may lie in the padding."""
    return (
        cut.start * axis.stride - axis.before,
        (cut.stop - 1) * axis.stride - axis.before + (axis.kernel - 1) * axis.dilation + 1,
    )


def _reached(axis: Axis, cut: slice) -> bool:
    """Whether windows hold a pixel of the image, so that they are those of an image of their own."""
    low, high = _span(axis, cut)
    return low < axis.size and high > 0


def _cut(axis: Axis, cut: slice) -> tuple[Axis, int, int]:
    """The axis of some of the windows, and the pixels that it is of."""
    low, high = _span(axis, cut)
    first, last = max(low, 0), min(high, axis.size)
    own = axis._replace(size=last - first, before=first - low, after=high - last, out=cut.stop - cut.start)
    return own, first, last


def at(where: tuple[slice, slice, slice], last: bool = False) -> tuple[slice, ...]:
    """The index of a part of images (N, C, H, W), or (N, H, W, C) where channels are last."""
    images, rows, columns = where
    return (images, rows, columns) if last else (images, slice(None), rows, columns)
