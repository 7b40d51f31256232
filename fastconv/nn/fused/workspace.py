"""The memory of passes through a fused network, which later passes use again."""

from __future__ import annotations

import numba
import numpy as np

from fastconv._runtime.recording import recording
from fastconv.kernels.micro.vectors import LANES
from fastconv.nn.fused.plan import Plan

KEPT, PASSED, FEW = "kept", "passed", "few"  # memory for a backward pass, for inference, and for a few images
FEW_IMAGES = LANES // 2  # fewer than these leave most lanes empty
LINE = 64  # bytes of a cache line


class Memory:
    """The memory of one pass.

    Attributes:
        arena: (blocks, or threads, or images; elements).
        scratch: (threads or images, elements).
        patterns: for shifted weights.
        partial: (blocks, sums of a block).
    """

    def __init__(self, plan: Plan, dtype: np.dtype, kind: str, blocks: int):
        threads = numba.config.NUMBA_NUM_THREADS
        if kind == FEW:
            self.arena, self.scratch = _zeros(FEW_IMAGES, plan.arena, dtype), _zeros(FEW_IMAGES, plan.band, dtype)
            return
        self.arena = _zeros(blocks if kind == KEPT else threads, plan.arena * LANES, dtype)
        self.scratch = _zeros(threads, plan.scratch * LANES, dtype)
        self.patterns = _zeros(1, plan.patterns * LANES if kind == KEPT else 0, dtype)[0]
        self.partial = np.empty((blocks if kind == KEPT else 0, plan.partial), dtype)


class Lease:
    """Keeps memory from being used by another pass as long as this object is referred to.

    Attributes:
        memory: what is kept.
    """

    def __init__(self, memory: Memory, free: list[Memory]):
        self.memory, self._free = memory, free

    def __del__(self) -> None:
        self._free.append(self.memory)


class Memories:
    """The memory of a plan's passes that is not in use.

    Attributes:
        free: by kind.
    """

    def __init__(self, plan: Plan, dtype: np.dtype):
        self._plan, self._dtype = plan, dtype
        self.free: dict[str, list[Memory]] = {kind: [] for kind in (KEPT, PASSED, FEW)}

    def lease(self, kind: str, blocks: int = 0) -> Lease:
        """Memory of a kind, for `blocks` blocks, used memory if there is some that is large enough."""
        free = self.free[kind]
        while free:
            try:
                memory = free.pop()
            except IndexError:  # another thread took it
                continue
            if kind != KEPT or len(memory.arena) >= blocks:
                break
        else:
            memory = Memory(self._plan, self._dtype, kind, blocks)
        lease, noted = Lease(memory, free), recording()
        if noted is not None:
            noted.kept.append(lease)
        return lease


def _zeros(rows: int, columns: int, dtype: np.dtype) -> np.ndarray:
    """Zeros whose first lies at the start of a cache line, so that no cell lies in two of them."""
    count = rows * columns
    spare = np.zeros(count + LINE // dtype.itemsize, dtype)
    first = -spare.ctypes.data % LINE // dtype.itemsize
    return spare[first : first + count].reshape(rows, columns)
