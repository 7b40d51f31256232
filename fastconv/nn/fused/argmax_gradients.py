"""Which stages take their gradients from the maxima of the pooling alone, and the tables for it."""

from __future__ import annotations

import math

import numpy as np

from fastconv._geometry.ranges import ceil_div
from fastconv.kernels.fused.records import (
    BY_IMAGE,
    BY_WINDOW,
    DENSE,
    MAX,
    Argmax,
    Images,
    Patches,
    Planes,
    Regions,
    nothing_of,
)
from fastconv.kernels.micro.argmax import WINDOW_SIDES, patch_parts
from fastconv.kernels.micro.vectors import LANES, VECTOR_BYTES
from fastconv.nn.fused.places import Rooms
from fastconv.nn.fused.sizes import Sizes

MOST_PATTERN_BYTES = 2**16  # of the shifted weights: more do not stay in the L1 cache


def argmax_of(sizes: Sizes, padded: Planes, grad_input: Planes, dtype: np.dtype, rooms: Rooms) -> Argmax:
    """The way of a stage's gradients that is quickest, with the places that it takes.

    Args:
        sizes: of the stage.
        padded: where its input lies.
        grad_input: where the input's gradient lies.
        dtype: of the images.
        rooms: give the places.
    """
    nothing: Argmax = nothing_of(Argmax)
    C, OC, (KH, KW) = sizes.image[0], sizes.sums[0], sizes.kernel
    way = _way(sizes, VECTOR_BYTES // dtype.itemsize)
    if way == BY_WINDOW:
        return nothing._replace(way=way, window_sums=rooms.scratch.take(OC * C * KH * KW))
    if way == DENSE:
        return nothing
    images = _images(sizes, padded, grad_input, rooms)
    patches = _patches(sizes, images.row, VECTOR_BYTES // dtype.itemsize, rooms)
    return Argmax(way, 0, images, patches, _regions(sizes, VECTOR_BYTES // dtype.itemsize, rooms))


def _vectors(sizes: Sizes, lanes: int) -> tuple[int, tuple[int, int], tuple[int, int]]:
    """The vectors of a row of a patch; the parts of a patch and of a region, and the vectors of each."""
    C, (KH, KW) = sizes.image[0], sizes.kernel
    row = -(-KW * C // lanes)
    return row, patch_parts(KH * row), patch_parts(-(-(KH + 1) * (KW + 1) * C // lanes))


def _way(sizes: Sizes, lanes: int) -> int:
    windows, C, OC, (KH, KW) = sizes.windows, sizes.image[0], sizes.sums[0], sizes.kernel
    if windows.kind != MAX or (windows.KH, windows.KW) != (2, 2):
        return DENSE
    _, patch, region = _vectors(sizes, lanes)
    # vectors that are multiplied for one maximum in LANES images: a patch's and half a region's, which lies aligned;
    # or all four pixels of a window twice, with images interleaved
    by_image = LANES * (math.prod(patch) + math.prod(region) // 2 + 2)
    few_patterns = 4 * OC * math.prod(region) * VECTOR_BYTES <= MOST_PATTERN_BYTES
    if few_patterns and by_image < 4 * C * KH * KW * (LANES // lanes):
        return BY_IMAGE
    return BY_WINDOW if KH == KW and KH in WINDOW_SIDES else DENSE


def _images(sizes: Sizes, padded: Planes, grad_input: Planes, rooms: Rooms) -> Images:
    (C, H, W), (top, _, left, _), (OC, YH, YW) = sizes.image, sizes.pads, sizes.output
    pitch, scratch = padded.row * C, rooms.scratch
    # (rows, columns, channels) of the padded input
    y, x, channel = np.ogrid[: padded.H, : padded.W, :C]
    cells = channel * padded.plane + y * padded.row + x
    inside_y, inside_x = y - top, x - left
    inside = (inside_y >= 0) & (inside_y < H) & (inside_x >= 0) & (inside_x < W)
    nowhere = scratch.take(1) - grad_input.start
    grad_cells = np.where(inside, channel * grad_input.plane + inside_y * grad_input.row + inside_x, nowhere)
    beyond = np.zeros(LANES, np.int64)  # which tiles read, and do not use
    length, maxima = (ceil_div(n, LANES) * LANES for n in (padded.H * pitch + LANES, OC * YH * YW))
    return Images(
        rows=padded.H, row=pitch, length=length, maxima_length=maxima,
        input=scratch.take(length), grad_input=scratch.take(length),
        maxima=scratch.take(maxima), argmax=scratch.take(maxima),
        cells=rooms.table(np.append(cells.ravel() * LANES, beyond)),
        grad_cells=rooms.table(np.append(grad_cells.ravel() * LANES, beyond)),
        corners=rooms.table(np.arange(YH)[:, None] * 2 * pitch + np.arange(YW) * 2 * C),
    )  # fmt: skip


def _taps(sizes: Sizes, row: int) -> np.ndarray:
    """The elements of the K weights where rows of a patch, channels last, are `row` elements apart."""
    C, (KH, KW) = sizes.image[0], sizes.kernel
    c, ky, kx = np.ogrid[:C, :KH, :KW]
    return ky * row + kx * C + c


def _window(row: int, C: int) -> np.ndarray:
    """The elements of a window's four pixels, channels last, where rows are `row` elements apart."""
    return np.arange(2)[:, None] * row + np.arange(2) * C


def _patches(sizes: Sizes, pitch: int, lanes: int, rooms: Rooms) -> Patches:
    C, OC, KH = sizes.image[0], sizes.sums[0], sizes.kernel[0]
    row, (parts, width), _ = _vectors(sizes, lanes)
    vectors = np.arange(parts * width)
    row_starts = np.minimum(vectors // row, KH - 1) * pitch
    return Patches(
        parts=parts, width=width, sums=rooms.scratch.take(OC * parts * width),
        windows=rooms.table(_window(pitch, C)), vectors=rooms.table(row_starts + vectors % row * lanes),
        weights=rooms.table(_taps(sizes, row * lanes)),
    )  # fmt: skip


def _regions(sizes: Sizes, lanes: int, rooms: Rooms) -> Regions:
    C, OC, row = sizes.image[0], sizes.sums[0], (sizes.kernel[1] + 1) * sizes.image[0]
    _, _, (parts, width) = _vectors(sizes, lanes)
    return Regions(
        parts=parts, width=width, sums=rooms.scratch.take(parts * width),
        patterns=rooms.patterns.take(4 * OC * parts * width), windows=rooms.table(_window(row, C)),
        weights=rooms.table(_taps(sizes, row)),
    )  # fmt: skip
