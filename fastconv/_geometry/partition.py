"""How work is shared: balanced parts of a size, tasks for threads, blocks of channels as wide as a micro-kernel.

For kernels, and for Python.
"""

from __future__ import annotations

from fastconv._geometry.ranges import ceil_div
from fastconv._runtime.host import HOST
from fastconv._runtime.jit import jitable

TASKS = 20  # from this number of tasks on it does not matter whether threads can share them evenly


@jitable
def even_part(size: int, part: int) -> int:
    """The length of equal parts of `size`, the nearest number of them to parts of length `part`; at least 1."""
    parts = max(1, (size + part // 2) // part)
    return max(1, ceil_div(size, parts))


@jitable
def even_parts(tasks: int, parts: int, most: int, threads: int) -> int:
    """Into how many parts each of the tasks is cut: `parts`, or more where threads would share them unevenly."""
    while tasks * parts < TASKS and tasks * parts % threads and parts < most:
        parts += 1
    return parts


@jitable
def even_shares(tasks: int, parts: int, N: int, threads: int) -> int:
    """As `even_parts`, of tasks that are cut along N images: into parts of as many, unless there are many tasks."""
    parts = even_parts(tasks, parts, N, threads)
    while tasks * parts < TASKS and N % parts:
        parts = even_parts(tasks, parts + 1, N, threads)
    return parts


@jitable
def tile_blocks(channels: int, lanes: int) -> tuple[int, int]:
    """How many blocks of channels, each at most as wide as a micro-kernel; the widest one's width in whole vectors."""
    return ceil_div(channels, HOST.widest * lanes), min(HOST.widest, ceil_div(channels, lanes)) * lanes


@jitable
def block_begin(channels: int, blocks: int, block: int, lanes: int) -> int:
    """The first channel of a block: whole vectors, evenly shared."""
    return min(ceil_div(channels, lanes) * block // blocks * lanes, channels)


@jitable
def outer_width(channels: int, most: int) -> int:
    """How many of a group's channels lie side by side in a transposed gradient: whole vectors of 16, evenly shared."""
    blocks = ceil_div(channels, most)
    return min(channels, ceil_div(channels, blocks * 16) * 16)
