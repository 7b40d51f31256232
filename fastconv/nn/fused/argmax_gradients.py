"""Which convolutions of a `Program` take their gradients from the maxima of the pooling alone, with tables for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fastconv.kernels.fused.stage import MAX
from fastconv.kernels.micro.argmax import WINDOW_SIDES, patch_parts
from fastconv.kernels.micro.vectors import LANES, VECTOR_BYTES

MOST_PATTERN_BYTES = 2**16  # of the shifted weights: more do not stay in the L1 cache

Take = Callable[..., int]


def plan_maxima(
    unit: dict[str, int], dtype: np.dtype, table: Callable[[np.ndarray], int], scratch: Take, patterns: Take
) -> None:
    """Add the fields of `kernels.maxima` to a unit, where that is quicker than computing with every pixel.

    Args:
        unit: all of its other places are known.
        dtype: of the images.
        table: keeps offsets, and returns where.
        scratch: takes cells of the scratch array for each thread.
        patterns: takes cells of the array for shifted weights.
    """
    if unit["pool"] != MAX or (unit["pool_rows"], unit["pool_columns"]) != (2, 2):
        return
    C, OC, KH, KW = (unit[name] for name in ("channels", "out_channels", "kernel_rows", "kernel_columns"))
    lanes = VECTOR_BYTES // dtype.itemsize
    row_vectors, region_row = -(-KW * C // lanes), (KW + 1) * C
    parts, width = patch_parts(KH * row_vectors)
    region_parts, region_width = patch_parts(-(-(KH + 1) * region_row // lanes))
    bytes_of_patterns = 4 * OC * region_parts * region_width * VECTOR_BYTES
    # vectors that are multiplied for one maximum in LANES images: a patch's and half a region's, which lies aligned;
    # or all four pixels of a window twice, with images side by side
    by_image = LANES * (parts * width + region_parts * region_width // 2 + 2)
    if bytes_of_patterns > MOST_PATTERN_BYTES or by_image >= 4 * C * KH * KW * (LANES // lanes):
        if KH == KW and KH in WINDOW_SIDES:
            unit |= dict(by_window=1, window_sums=scratch(OC * C * KH * KW))
        return

    pitch = unit["x_row"] * C  # of an image's rows, channels last
    padded_rows = unit["x_plane"] // unit["x_row"]
    ky, kx, c = np.arange(KH)[:, None], np.arange(KW), np.arange(C)[:, None, None]
    vectors = np.arange(parts * width)
    window_rows, window_columns = np.arange(2)[:, None], np.arange(2)
    row_starts = np.minimum(vectors // row_vectors, KH - 1) * pitch
    pixels = np.arange(unit["y_rows"])[:, None] * 2 * pitch + np.arange(unit["y_columns"]) * 2 * C
    # (rows, columns, channels) of the padded input
    y, x, channel = np.ogrid[:padded_rows, : unit["x_row"], :C]
    inside_y, inside_x = y - unit["top"], x - unit["left"]
    inside = (inside_y >= 0) & (inside_y < unit["rows"]) & (inside_x >= 0) & (inside_x < unit["columns"])
    nowhere = scratch(1) - unit["grad_x"]
    cells = channel * unit["x_plane"] + y * unit["x_row"] + x
    grad_cells = np.where(inside, (channel * unit["rows"] + inside_y) * unit["columns"] + inside_x, nowhere)
    beyond = np.zeros(LANES, np.int64)  # which tiles read, and do not use
    size, maxima = padded_rows * pitch, OC * unit["y_rows"] * unit["y_columns"]
    image_row, maxima_row = (-(-n // LANES) * LANES for n in (size + LANES, maxima))
    unit |= dict(
        by_image=1, padded_rows=padded_rows, image_row=image_row, maxima_row=maxima_row,
        maxima=scratch(maxima_row), numbers=scratch(maxima_row), image=scratch(image_row),
        grad_image=scratch(image_row),
        patch_parts=parts, patch_width=width, patch_sums=scratch(OC * parts * width),
        region_parts=region_parts, region_width=region_width, region=scratch(region_parts * region_width),
        patterns=patterns(4 * OC * region_parts * region_width),
        corners=table(pixels), taps=table(window_rows * pitch + window_columns * C),
        patch=table(row_starts + vectors % row_vectors * lanes),
        patch_places=table(ky * row_vectors * lanes + kx * C + c),
        region_taps=table(window_rows * region_row + window_columns * C),
        region_places=table(ky * region_row + kx * C + c),
        image_cells=table(np.append(cells.ravel() * LANES, beyond)),
        grad_cells=table(np.append(grad_cells.ravel() * LANES, beyond)),
    )  # fmt: skip
