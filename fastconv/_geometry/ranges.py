"""Integer arithmetic that sizes are made of, for Python and for compiled code."""

from __future__ import annotations

from fastconv._arguments.sizes import ceil_div
from fastconv._runtime.jit import jitable

ceil_div = jitable(ceil_div)


@jitable
def valid_range(start: int, step: int, size: int, count: int) -> tuple[int, int]:
    """The i from the first to the last + 1, of 0 <= i < count, with 0 <= start + i * step < size; `step` > 0.

    With the pixel of a tap for the first window as start and the stride as step: the windows for which the tap lies
    inside an axis. With the first pixel of a window and the dilation: the taps of the window that do.
    """
    first = min(max(0, -(start // step)), count)
    return first, max(first, min(count, -((start - size) // step)))
