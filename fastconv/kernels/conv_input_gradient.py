"""The gradient of direct convolution's input, tap by tap.

It is otherwise a convolution of the output gradient, with transposed weights (`conv.py`).
"""

from __future__ import annotations

import numpy as np

from fastconv._runtime.jit import kernel
from fastconv._runtime.launch import prange
from fastconv.kernels.blocking import CHAIN, set_aside, steps_between
from fastconv.kernels.indirection import row_offsets
from fastconv.kernels.micro.gemm import add_rows
from fastconv.kernels.micro.records import Epilogue, Matrix, Panel, Region


@kernel
def input_gradient(team, g, weights, bias, windows, groups, runs_of_pixels, scratch, planes):
    """planes[n, c, windows[t] + q] = bias[c] + sum of weight[.. c, t, oc] * g[n, oc, q] over oc, taps t and pixels q.

    The weight of (c, t, oc) lies at weight_rows[c] + t + weight_terms[oc]; the runs of pixels are as for
    `weight_gradient`.

    Precondition: g (N, OC, cells); weights (weight, flat; weight_rows (C,) and weight_terms (OC/groups,), uint64);
    windows (taps,) uint64; bias (C,); planes (N, C, cells), overwritten. Parallel over (image, group), each of which
    owns its planes.
    """
    weight, weight_rows, weight_terms = weights
    runs, run, g_run, planes_run = runs_of_pixels
    N, OC, Q = g.shape
    _, C, cells = planes.shape
    channels, per_group = C // groups, OC // groups
    flat, flat_g = planes.reshape(-1), g.reshape(-1)
    offsets, lowest = row_offsets(per_group, Q), g.dtype.type(-np.inf)
    together = max(1, scratch // run)
    at_once = windows.size if windows.size <= CHAIN else steps_between(windows.size)
    for task in prange(team, N * groups):
        n, group = divmod(task, groups)
        first = group * channels
        target, source = (n * C + first) * cells, (n * OC + group * per_group) * Q
        own = flat[target : target + channels * cells]
        sums, epilogue = Region(own, cells, planes_run), Epilogue(bias, np.bool_(False), lowest)
        transposed = Matrix(weight, weight_rows[first : first + channels], weight_terms)
        pixels = Panel(flat_g, offsets, g_run)
        aside = np.zeros(channels * cells if windows.size > at_once else 0, g.dtype)
        for c in range(first, first + channels):
            planes[n, c] = bias[c]
        for t0 in range(0, windows.size, at_once):
            if t0 > 0:
                set_aside(aside, own)
                own[:] = 0
            for r in range(0, runs, together):
                for q in range(0, run, scratch):
                    for t in range(t0, min(t0 + at_once, windows.size)):
                        add_rows(
                            sums, np.int64(windows[t]) + r * planes_run + q, transposed, t, pixels,
                            source + r * g_run + q, epilogue, min(together, runs - r), min(scratch, run - q),
                        )  # fmt: skip
        if aside.size > 0:
            set_aside(own, aside)
