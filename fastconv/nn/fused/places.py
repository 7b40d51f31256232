"""Where everything of a fused network lies: cells of its arrays handed out, and lists of offsets in one table."""

from __future__ import annotations

import math

import numpy as np

from fastconv.kernels.fused.records import Planes


class Room:
    """Hands out cells of an array, one region behind the other.

    Attributes:
        cells: how many it has handed out.
    """

    def __init__(self) -> None:
        self.cells = 0

    def take(self, *shape: int) -> int:
        """The first of as many cells as a shape has elements."""
        first, self.cells = self.cells, self.cells + math.prod(shape)
        return first


class Rooms:
    """The arrays of a network while it is planned.

    Attributes:
        arena: what a backward pass needs of a block.
        scratch: what a thread needs for a block.
        patterns: shifted weights.
        partial: sums of a block for the parameters' gradients, in elements.
    """

    def __init__(self) -> None:
        self.arena, self.scratch, self.patterns, self.partial = Room(), Room(), Room(), Room()
        self._lists: list[np.ndarray] = []

    def table(self, offsets: np.ndarray) -> int:
        """Where these offsets begin in the tables."""
        first = sum(map(len, self._lists))
        self._lists.append(offsets.ravel().astype(np.int64).astype(np.uint64))
        return first

    @property
    def tables(self) -> np.ndarray:
        """All offsets, uint64."""
        return np.concatenate(self._lists)


def dense(start: int, shape: tuple[int, int, int]) -> Planes:
    """Planes (C, H, W) one behind the other, without padding."""
    C, H, W = shape
    return Planes(start, W, H * W, C, H, W)


def inner(padded: Planes, shape: tuple[int, int, int], top: int, left: int) -> Planes:
    """Planes (C, H, W) inside of padded ones."""
    return Planes(padded.start + top * padded.row + left, padded.row, padded.plane, *shape)
