"""Which pixels are reached by which taps, against a list of every pixel and tap."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastconv._geometry import borders
from fastconv._geometry.axes import Axis
from fastconv._geometry.conv import Conv


@st.composite
def axes(draw):
    """An axis on which at least one window fits; the padding may be larger than the kernel, and that than the image."""
    size, kernel, stride, dilation = (draw(st.integers(1, most)) for most in (9, 5, 3, 3))
    before, after = draw(st.integers(0, 9)), draw(st.integers(0, 9))
    after += max(0, dilation * (kernel - 1) + 1 - before - size - after)
    out = (before + size + after - dilation * (kernel - 1) - 1) // stride + 1
    return Axis(size, kernel, stride, dilation, before, after, out)


def conv_of(rows, columns, channels, C):
    return Conv(C, C // channels, C // channels, rows, columns)


def pixel(axis: Axis, out: int, tap: int) -> int:
    return out * axis.stride + tap * axis.dilation - axis.before


def reached(
    rows: Axis, columns: Axis, oy: int, ox: int, channels: int, C: int, last: bool = True
) -> dict[int, int]:  # fmt: skip
    """The cells of one pixel's terms, by term, of images with channels last or first."""
    taps, plane = rows.kernel * columns.kernel, rows.size * columns.size
    found = {}
    for ky in range(rows.kernel):
        for kx in range(columns.kernel):
            y, x = pixel(rows, oy, ky), pixel(columns, ox, kx)
            if 0 <= y < rows.size and 0 <= x < columns.size:
                for c in range(channels):
                    tap, place = ky * columns.kernel + kx, y * columns.size + x
                    term, cell = (tap * channels + c, place * C + c) if last else (c * taps + tap, c * plane + place)
                    found[term] = cell
    return found


def cell(run: np.ndarray, steps: np.ndarray, oy: int, ox: int) -> int:
    """The input cell of a pixel's first term, as kernels list it."""
    return int(run[6] + (oy - run[2]) * steps[0] + (ox - run[4]) * steps[1])


@given(axes(), axes(), st.integers(1, 3), st.integers(0, 2), st.booleans())
def test_areas_part_the_output(rows, columns, channels, others, last):
    C = channels * (1 + others)
    table = borders.border_areas(conv_of(rows, columns, channels, C), last)
    seen = np.zeros((rows.out, columns.out), int)
    for area in table.areas:
        first, count = area[0], area[1]
        seen[area[2] : area[3], area[4] : area[5]] += 1
        for oy in range(area[2], area[3]):
            for ox in range(area[4], area[5]):
                start = cell(area, table.steps, oy, ox)
                terms, offsets = (t[first : first + count].astype(int) for t in (table.terms, table.offsets))
                assert dict(zip(terms, start + offsets)) == reached(rows, columns, oy, ox, channels, C, last)
                assert last or list(terms) == sorted(terms)  # a channel's weights lie side by side
    assert (seen == 1).all()
    assert len(table.terms) == borders.area_terms(conv_of(rows, columns, channels, C))


@given(axes(), axes(), st.integers(1, 3))
def test_each_tap_reaches_its_rectangle(rows, columns, channels):
    conv = conv_of(rows, columns, channels, channels)
    runs, steps = borders.tap_rectangles(conv), borders.pixel_steps(conv, columns.size, 1)
    there = {(oy, ox): {} for oy in range(rows.out) for ox in range(columns.out)}
    for run in runs:
        assert run[1] == channels
        for oy in range(run[2], run[3]):
            for ox in range(run[4], run[5]):
                start = cell(run, steps, oy, ox)
                there[oy, ox].update({int(run[0]) + c: start * channels + c for c in range(channels)})
    assert there == {(oy, ox): reached(rows, columns, oy, ox, channels, channels) for oy, ox in there}
    everywhere = [run for run in runs if tuple(run[2:6]) == (0, rows.out, 0, columns.out)]
    assert borders.some_tap_reaches_all(rows, columns) == bool(everywhere)
