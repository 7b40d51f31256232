"""One unit of a network with images side by side: a convolution or linear layer, its activation and its pooling.

A linear layer is a convolution of one pixel. A cell holds the same number of LANES images.
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import helper
from fastconv.kernels.activation import sigmoid, tanh
from fastconv.kernels.blocking import block_sum
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.copy import copy_rows
from fastconv.kernels.micro.dot import add_dots, lane_sum
from fastconv.kernels.micro.drivers import max_windows, max_windows_of_sums, spread_windows
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region
from fastconv.kernels.micro.vectors import DOT_ROWS, LANES

NONE, RELU, SIGMOID, TANH = range(4)
MAX, AVERAGE = 1, 2

# All sizes and places are in cells of the arena, or of the scratch array for what no later call needs.
FIELDS = (
    *("x", "x_row", "x_plane", "channels", "rows", "columns"),  # input: padded planes in the arena
    *("y", "y_row", "y_plane", "out_channels", "y_rows", "y_columns"),  # result, in the next unit's planes
    *("kernel_rows", "kernel_columns", "top", "left"),
    *("sum_rows", "sum_columns"),  # pixels of the convolution, before pooling
    *("activation", "pool", "pool_rows", "pool_columns", "pool_of_sums"),
    *("indices",),  # of the maxima, in the arena; as numbers inside the window
    *("sums", "kept"),  # the sums before pooling: of a band of rows in the scratch, or all kept in the arena
    *("weight", "bias"),  # numbers of the parameters; bias -1: there is none
    *("terms", "back_terms", "back_inputs", "taps_apart"),  # places in the tables; the last in elements
    *("grad_y", "grad_sums", "grad_row", "grad_plane", "grad_left", "grad_x"),  # in the scratch
    *("logits", "grad_logits", "wanted"),  # in the scratch, image by image; of the last unit
    *("linear", "samples"),  # a linear layer's input, sample by sample; its grad_sums are in the arena too
    *("parts",),  # where the sums for its weights and bias begin in those of a block
    *("by_window", "window_sums"),  # for `maxima`
    # for `maxima`, where `by_image`: lengths of an image's padded input and of its maxima, in elements; places
    *("by_image", "padded_rows", "image_row", "maxima_row", "maxima", "numbers", "image", "grad_image"),
    *("patch_parts", "patch_width", "patch_sums", "region_parts", "region_width", "region", "patterns"),
    *("corners", "taps", "patch", "patch_places", "region_taps", "region_places", "image_cells", "grad_cells"),
)
Unit = np.dtype([(name, np.int64) for name in FIELDS])


@helper
def sizes(units):
    """The elements of an image, and those of its result."""
    first, last = units[0], units[units.size - 1]
    return first.channels * first.rows * first.columns, last.out_channels * last.y_rows * last.y_columns


@helper
def activate(kind, a, start, n):
    """a[start : start + n] = activation of it; ReLU has been applied to the sums already."""
    if kind == SIGMOID:
        sigmoid(a, start, n)
    elif kind == TANH:
        tanh(a, start, n)


@helper
def _slope(kind, g, g0, y, y0, n):
    """g[g0 + i] *= the activation's derivative, from its result y[y0 + i], for i < n."""
    zero, one = g.dtype.type(0), g.dtype.type(1)
    g0, y0 = np.uint64(g0), np.uint64(y0)
    if kind == RELU:
        for i in range(np.uint64(n)):
            g[g0 + i] = g[g0 + i] if y[y0 + i] > zero else zero
    elif kind == SIGMOID:
        for i in range(np.uint64(n)):
            g[g0 + i] *= y[y0 + i] * (one - y[y0 + i])
    elif kind == TANH:
        for i in range(np.uint64(n)):
            g[g0 + i] *= one - y[y0 + i] * y[y0 + i]


@helper
def _pool_row(unit, sums, first, plane, py, arena):
    """One row of pooled pixels from rows of sums, of all channels."""
    taps, row = unit.pool_rows * unit.pool_columns, unit.sum_columns * LANES
    share, part = arena.dtype.type(1) / arena.dtype.type(taps), np.empty(LANES, arena.dtype)
    for c in range(unit.out_channels):
        target, source = (unit.y + c * unit.y_plane + py * unit.y_row) * LANES, (first + c * plane) * LANES
        if unit.pool == MAX:
            numbers = (unit.indices + (c * unit.y_rows + py) * unit.y_columns) * LANES
            max_windows(
                arena, target, arena, numbers, sums, source, unit.pool_rows, unit.pool_columns, row, unit.y_columns
            )  # fmt: skip
            continue
        for px in range(unit.y_columns):
            cell, corner = np.uint64(target + px * LANES), source + px * unit.pool_columns * LANES
            for lane in range(np.uint64(LANES)):
                arena[cell + lane] = 0
            for r in range(unit.pool_rows):
                part[:] = 0
                for j in range(unit.pool_columns):
                    tap = np.uint64(corner + r * row + j * LANES)
                    for lane in range(np.uint64(LANES)):
                        part[lane] += sums[tap + lane]
                for lane in range(np.uint64(LANES)):
                    arena[cell + lane] += part[lane] * share


@helper
def forward_unit(unit, tables, weight, bias, arena, scratch):
    """The result of a unit for the images of a block."""
    K = unit.channels * unit.kernel_rows * unit.kernel_columns
    OC, zero = unit.out_channels, np.int64(0)
    floor = arena.dtype.type(0 if unit.activation == RELU else -np.inf)
    width, x_row = unit.sum_columns * LANES, unit.x_row * LANES
    weights = Matrix(weight, row_offsets(OC, K), row_offsets(K, np.int64(1)))
    inputs = Panel(arena, tables[unit.terms : unit.terms + K], x_row)
    epilogue = Epilogue(bias, np.bool_(True), floor)
    if unit.pool == 0:
        add_rows(
            Region(arena, unit.y_plane * LANES, unit.y_row * LANES), unit.y * LANES, weights, zero, inputs,
            unit.x * LANES, epilogue, unit.sum_rows, width,
        )  # fmt: skip
        if unit.y_plane == 1:  # of a linear layer: one call for all
            activate(unit.activation, arena, unit.y * LANES, OC * LANES)
            return
        for c in range(OC):
            for r in range(unit.sum_rows):
                activate(unit.activation, arena, (unit.y + c * unit.y_plane + r * unit.y_row) * LANES, width)
        return
    if unit.pool_of_sums:
        pixels = unit.y_rows * unit.y_columns * LANES
        for py in range(unit.y_rows):
            max_windows_of_sums(
                arena, (unit.y + py * unit.y_row) * LANES, unit.y_plane * LANES, arena,
                (unit.indices + py * unit.y_columns) * LANES, pixels, OC, floor, weight, bias, arena,
                (unit.x + 2 * py * unit.x_row) * LANES, x_row, tables, unit.terms, K, unit.y_columns,
            )  # fmt: skip
        return
    sums = arena if unit.kept else scratch
    plane = (unit.sum_rows if unit.kept else unit.pool_rows) * unit.sum_columns
    region = Region(sums, plane * LANES, width)
    for py in range(unit.y_rows):
        first = unit.sums + (py * unit.pool_rows * unit.sum_columns if unit.kept else 0)
        add_rows(
            region, first * LANES, weights, zero, inputs, (unit.x + py * unit.pool_rows * unit.x_row) * LANES,
            epilogue, unit.pool_rows, width,
        )  # fmt: skip
        for c in range(OC):
            activate(unit.activation, sums, (first + c * plane) * LANES, unit.pool_rows * width)
        _pool_row(unit, sums, first, plane, py, arena)


@helper
def slopes(unit, arena, scratch):
    """The gradient of the result of the pooling, times the activation's derivative at the maxima."""
    width = unit.y_columns * LANES
    for c in range(unit.out_channels):
        for r in range(unit.y_rows):
            result = (unit.y + c * unit.y_plane + r * unit.y_row) * LANES
            source = (unit.grad_y + (c * unit.y_rows + r) * unit.y_columns) * LANES
            _slope(unit.activation, scratch, source, arena, result, width)


@helper
def spread(unit, arena, scratch, sums):
    """The gradient of the sums, zero beside the pixels, from that of the result, which the slopes are in already."""
    OC, width, taps = unit.out_channels, unit.y_columns, unit.pool_rows * unit.pool_columns
    share, zero, one = arena.dtype.type(1) / arena.dtype.type(taps), np.int64(0), np.int64(1)
    for c in range(OC):
        for r in range(unit.y_rows):
            source = (unit.grad_y + (c * unit.y_rows + r) * width) * LANES
            first = unit.grad_sums + c * unit.grad_plane + unit.grad_left
            if unit.pool == 0:
                target = (first + r * unit.grad_row) * LANES
                copy_rows(one, sums, target, zero, scratch, source, zero, one, zero, width * LANES, width * LANES)
                continue
            corner = first + r * unit.pool_rows * unit.grad_row
            if unit.pool == MAX:
                numbers = (unit.indices + (c * unit.y_rows + r) * width) * LANES
                spread_windows(
                    sums, corner * LANES, scratch, source, arena, numbers, unit.pool_rows, unit.pool_columns,
                    unit.grad_row * LANES, width,
                )  # fmt: skip
                continue
            for j in range(taps):
                tap = corner + j // unit.pool_columns * unit.grad_row + j % unit.pool_columns
                for px in range(width):
                    g, target = np.uint64(source + px * LANES), np.uint64((tap + px * unit.pool_columns) * LANES)
                    for lane in range(np.uint64(LANES)):
                        sums[target + lane] = scratch[g + lane] * share
        if unit.kept:
            for r in range(unit.sum_rows):
                target = (unit.grad_sums + c * unit.grad_plane + r * unit.grad_row + unit.grad_left) * LANES
                result = (unit.sums + (c * unit.sum_rows + r) * unit.sum_columns) * LANES
                _slope(unit.activation, sums, target, arena, result, unit.sum_columns * LANES)


@helper
def weight_gradient(unit, tables, arena, sums, parts, part):
    """The gradients of a convolution's weights and bias, summed over the images of a block."""
    K = unit.channels * unit.kernel_rows * unit.kernel_columns
    OC, first, width = unit.out_channels, unit.grad_sums + unit.grad_left, unit.sum_columns * LANES
    grads = Region(sums, unit.grad_plane * LANES, unit.grad_row * LANES)
    inputs = Panel(arena, tables[unit.terms : unit.terms + K], unit.x_row * LANES)
    dots = np.empty((DOT_ROWS, 4, LANES), arena.dtype)
    for oc in range(0, OC, DOT_ROWS):
        rows = min(DOT_ROWS, OC - oc)
        for k in range(0, K, 4):
            dots[:] = 0
            add_dots(
                dots, rows, grads, (first + oc * unit.grad_plane) * LANES, inputs, unit.x * LANES, k, unit.sum_rows,
                width,
            )  # fmt: skip
            for i in range(rows):
                for j in range(min(4, K - k)):
                    parts[part, unit.parts + (oc + i) * K + k + j] = lane_sum(dots, i, j)
    for c in range(OC):
        first = (unit.grad_sums + c * unit.grad_plane) * LANES
        parts[part, unit.parts + OC * K + c] = block_sum(sums, first, unit.grad_plane * LANES)


@helper
def input_gradient(unit, tables, weight, nothing, sums, scratch):
    """The gradient of a unit's input: for each of its rows, the taps that reach it."""
    C, H, W, OC = unit.channels, unit.rows, unit.columns, unit.out_channels
    taps, zero, one = OC * unit.kernel_columns, np.int64(0), np.int64(1)
    lowest = scratch.dtype.type(-np.inf)
    rows = row_offsets(C, unit.kernel_rows * unit.kernel_columns)
    grads, epilogue = Region(scratch, H * W * LANES, zero), Epilogue(nothing, np.bool_(True), lowest)
    for r in range(H):
        bottom = r + unit.top
        first = max(0, bottom - unit.sum_rows + 1) * taps
        last = max(first, min(unit.kernel_rows - 1, bottom) * taps + taps)
        add_rows(
            grads, (unit.grad_x + r * W) * LANES,
            Matrix(weight, rows, tables[unit.back_terms + first : unit.back_terms + last]), zero,
            Panel(sums, tables[unit.back_inputs + first : unit.back_inputs + last], zero),
            (unit.grad_sums + bottom * unit.grad_row) * LANES, epilogue, one, W * LANES,
        )  # fmt: skip
