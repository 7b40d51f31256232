"""Gradients of a convolution that is max-pooled, from those pixels alone that were the maxima of their windows.

Three quarters of the pixels have no gradient where windows are 2 x 2, and which ones differs from image to image. Where
rows of patches are long enough for vectors, images are not side by side here: each image's channels come last, and a
vector is a piece of a row of its patches. Elsewhere the images stay side by side, and a gradient is put in its place in
registers alone.

Source: K. Chellapilla et al., High performance convolutional neural networks for document processing (2006), section 3,
for patches as rows; that maxima alone have gradients is the definition of max-pooling.
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.host import ENABLED
from fastconv._runtime.jit import helper, inlined
from fastconv.kernels.blocking import CHAIN, block_sum
from fastconv.kernels.micro.argmax import (
    add_block_tile,
    gather_tile,
    patch_dots_tile,
    pattern_sums_tile,
    scatter_tile,
    window_dots_tile,
)
from fastconv.kernels.micro.copy import transpose
from fastconv.kernels.micro.vectors import LANES, MANY_REGISTERS, VECTOR_BYTES


@inlined
def _gather(d, d0, d_row, s, s0, table, first, rows):
    """d[d0 + j*d_row + i] = s[s0 + table[first + i] + j] for i < rows and j < LANES."""
    if ENABLED:
        lanes = VECTOR_BYTES // d.itemsize
        for i in range(0, rows, lanes):
            for j in range(0, LANES, lanes):
                gather_tile(d, d0 + j * d_row + i, d_row, s, s0 + j, table, first + i, min(lanes, rows - i), lanes)
        return
    for i in range(rows):
        source = s0 + np.int64(table[first + i])
        for j in range(LANES):
            d[d0 + j * d_row + i] = s[source + j]


@inlined
def _scatter(d, d0, table, first, s, s0, s_row, columns):
    """d[d0 + table[first + j] + i] = s[s0 + i*s_row + j] for i < LANES and j < columns."""
    if ENABLED:
        lanes = VECTOR_BYTES // d.itemsize
        for j in range(0, columns, lanes):
            for i in range(0, LANES, lanes):
                scatter_tile(d, d0 + i, table, first + j, s, s0 + i * s_row + j, s_row, lanes, min(lanes, columns - j))
        return
    for j in range(columns):
        target = d0 + np.int64(table[first + j])
        for i in range(LANES):
            d[target + i] = s[s0 + i * s_row + j]


@inlined
def _add_patches(t, t0, width, g, g0, numbers, n0, x, x0, table, corners, taps, offsets, count):
    """`maxima_tiles.patch_dots_tile`."""
    if ENABLED:
        patch_dots_tile(t, t0, width, g, g0, numbers, n0, x, x0, table, corners, taps, offsets, count)
        return
    lanes = VECTOR_BYTES // t.itemsize
    for e in range(count):
        place = x0 + np.int64(table[corners + e]) + np.int64(table[taps + np.int64(numbers[n0 + e])])
        for v in range(width):
            for lane in range(lanes):
                t[t0 + v * lanes + lane] += g[g0 + e] * x[place + np.int64(table[offsets + v]) + lane]


@inlined
def _add_windows(side, t, t0, g, g0, numbers, n0, x, x0, x_row, width):
    """`maxima_tiles.window_dots_tile` for all LANES, side one of WINDOW_SIDES."""
    if ENABLED:
        for i in range(0, LANES, VECTOR_BYTES // t.itemsize):
            if side == 3:
                window_dots_tile(3, t, t0 + i, g, g0 + i, numbers, n0 + i, x, x0 + i, x_row, width)
            elif MANY_REGISTERS and side == 5:
                window_dots_tile(5, t, t0 + i, g, g0 + i, numbers, n0 + i, x, x0 + i, x_row, width)
        return
    for px in range(width):
        for i in range(LANES):
            p, j = px * LANES + i, np.int64(numbers[n0 + px * LANES + i])
            corner = x0 + j // 2 * x_row + (2 * px + j % 2) * LANES + i
            for k in range(side * side):
                t[t0 + k * LANES + i] += g[g0 + p] * x[corner + k // side * x_row + k % side * LANES]


@inlined
def _sum_patterns(t, t0, width, g, g0, numbers, n0, step, patterns, p0, p_number, p_step, count):
    """`maxima_tiles.pattern_sums_tile`."""
    if ENABLED:
        pattern_sums_tile(t, t0, width, g, g0, numbers, n0, step, patterns, p0, p_number, p_step, count)
        return
    n = width * (VECTOR_BYTES // t.itemsize)
    t[t0 : t0 + n] = 0
    for i in range(count):
        place = p0 + np.int64(numbers[n0 + i * step]) * p_number + i * p_step
        for q in range(n):
            t[t0 + q] += g[g0 + i * step] * patterns[place + q]


@inlined
def _add_block(d, d0, d_row, s, s0, s_row, rows, n):
    """`maxima_tiles.add_block_tile`."""
    if ENABLED:
        add_block_tile(d, d0, d_row, s, s0, s_row, rows, n)
        return
    for r in range(rows):
        for q in range(n):
            d[d0 + r * d_row + q] += s[s0 + r * s_row + q]


@helper
def spread_weights(unit, tables, weight, patterns):
    """The weights as patches with the channels last, shifted in zeros by each pixel of a window."""
    K = unit.channels * unit.kernel_rows * unit.kernel_columns
    length = unit.region_width * unit.region_parts * (VECTOR_BYTES // weight.itemsize)
    for window in range(4):
        shift = np.int64(tables[unit.region_taps + window])
        for oc in range(unit.out_channels):
            first = unit.patterns * LANES + (window * unit.out_channels + oc) * length + shift
            for k in range(np.uint64(K)):
                place = np.uint64(first) + tables[np.uint64(unit.region_places) + k]
                patterns[place] = weight[np.uint64(oc * K) + k]


@helper
def by_image(unit, tables, arena, scratch):
    """Put the gradients of the maxima, their numbers and the input into the scratch image by image, channels last."""
    pixels = unit.out_channels * unit.y_rows * unit.y_columns
    row = unit.maxima_row
    transpose(scratch, unit.maxima * LANES, scratch, unit.grad_y * LANES, pixels, LANES, row, LANES)
    transpose(scratch, unit.numbers * LANES, arena, unit.indices * LANES, pixels, LANES, row, LANES)
    cells = unit.padded_rows * unit.x_row * unit.channels
    _gather(scratch, unit.image * LANES, unit.image_row, arena, unit.x * LANES, tables, unit.image_cells, cells)


@helper
def _bias_gradient(unit, scratch, parts, part):
    """The gradients of a convolution's bias, summed over the images of a block: of all maxima."""
    K, pixels = unit.channels * unit.kernel_rows * unit.kernel_columns, unit.y_rows * unit.y_columns
    for oc in range(unit.out_channels):
        parts[part, unit.parts + unit.out_channels * K + oc] = block_sum(
            scratch, (unit.grad_y + oc * pixels) * LANES, pixels * LANES
        )  # fmt: skip


@helper
def weight_gradient_by_window(unit, arena, scratch, parts, part):
    """The gradients of a convolution's weights and bias, summed over the images of a block, side by side."""
    C, OC, side, width = unit.channels, unit.out_channels, unit.kernel_rows, unit.y_columns
    sums, x_row = unit.window_sums * LANES, unit.x_row * LANES
    scratch[sums : sums + OC * C * side * side * LANES] = 0
    for py in range(unit.y_rows):  # so that rows of the input stay in the L1 cache
        for c in range(C):
            x = (unit.x + c * unit.x_plane) * LANES + 2 * py * x_row
            for oc in range(OC):
                maxima = (oc * unit.y_rows + py) * width
                _add_windows(
                    side, scratch, sums + (oc * C + c) * side * side * LANES, scratch, (unit.grad_y + maxima) * LANES,
                    arena, (unit.indices + maxima) * LANES, arena, x, x_row, width,
                )  # fmt: skip
    for k in range(np.uint64(OC * C * side * side)):
        total = scratch.dtype.type(0)
        first = np.uint64(sums) + k * np.uint64(LANES)
        for i in range(first, first + np.uint64(LANES)):
            total += scratch[i]
        parts[part, np.uint64(unit.parts) + k] = total
    _bias_gradient(unit, scratch, parts, part)


@helper
def weight_gradient_by_image(unit, tables, scratch, parts, part, count):
    """The gradients of a convolution's weights and bias, summed over `count` images of a block, after `by_image`."""
    K = unit.channels * unit.kernel_rows * unit.kernel_columns
    OC, pixels, lanes = unit.out_channels, unit.y_rows * unit.y_columns, VECTOR_BYTES // scratch.itemsize
    length = unit.patch_parts * unit.patch_width * lanes
    sums = unit.patch_sums * LANES
    scratch[sums : sums + OC * length] = 0
    for image in range(count):
        maxima = image * unit.maxima_row
        x = unit.image * LANES + image * unit.image_row
        for oc in range(OC):
            g, numbers = unit.maxima * LANES + maxima + oc * pixels, unit.numbers * LANES + maxima + oc * pixels
            for p in range(unit.patch_parts):
                for first in range(0, pixels, CHAIN):
                    _add_patches(
                        scratch, sums + oc * length + p * unit.patch_width * lanes, unit.patch_width, scratch,
                        g + first, scratch, numbers + first, scratch, x, tables, unit.corners + first, unit.taps,
                        unit.patch + p * unit.patch_width, min(CHAIN, pixels - first),
                    )  # fmt: skip
    for oc in range(OC):
        for k in range(np.uint64(K)):
            place = np.uint64(sums + oc * length) + tables[np.uint64(unit.patch_places) + k]
            parts[part, np.uint64(unit.parts + oc * K) + k] = scratch[place]
    _bias_gradient(unit, scratch, parts, part)


@helper
def input_gradient_by_image(unit, tables, patterns, scratch, count):
    """The gradient of a unit's input for `count` images of a block, after `by_image` and `spread_weights`."""
    OC, pixels, lanes = unit.out_channels, unit.y_rows * unit.y_columns, VECTOR_BYTES // scratch.itemsize
    C, width = unit.channels, unit.region_width * lanes
    length, cells = unit.region_parts * width, unit.padded_rows * unit.x_row * unit.channels
    rows, row = unit.kernel_rows + 1, (unit.kernel_columns + 1) * C
    sums, grads = unit.region * LANES, unit.grad_image * LANES
    scratch[grads : grads + LANES * unit.image_row] = 0
    for image in range(count):
        maxima = image * unit.maxima_row
        g, numbers = unit.maxima * LANES + maxima, unit.numbers * LANES + maxima
        target = grads + image * unit.image_row
        for pixel in range(pixels):
            corner = target + np.int64(tables[unit.corners + pixel])
            for oc in range(0, OC, CHAIN):
                maximum = pixel + oc * pixels
                for p in range(unit.region_parts):
                    _sum_patterns(
                        scratch, sums + p * width, unit.region_width, scratch, g + maximum, scratch, numbers + maximum,
                        pixels, patterns, unit.patterns * LANES + oc * length + p * width, OC * length, length,
                        min(CHAIN, OC - oc),
                    )  # fmt: skip
                _add_block(scratch, corner, unit.x_row * C, scratch, sums, row, rows, row)
    _scatter(scratch, unit.grad_x * LANES, tables, unit.grad_cells, scratch, grads, unit.image_row, cells)
