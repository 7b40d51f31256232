"""A user's picture filter in jitted code: with fastconv's convolution, and with loops written by hand."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np

import fastconv
import fastconv._overloads  # Numba itself does this where fastconv is installed
from benchmarks.cases import Case

# (filters, pixels each way)
BANKS = {"4 of 3x3": (4, 3), "8 of 5x5": (8, 5), "16 of 7x7": (16, 7)}
FRAMES, HEIGHT, WIDTH = 16, 240, 320


@numba.njit
def convolved(frame, bank):
    """A frame (1, H, W) convolved with bank (OC, 1, KH, KW)."""
    return fastconv.conv2d(frame, bank)


@numba.njit
def by_hand(frame, bank):
    """The same, as one writes it down: the sum of each pixel."""
    OC, _, KH, KW = bank.shape
    OH, OW = frame.shape[1] - KH + 1, frame.shape[2] - KW + 1
    y = np.empty((OC, OH, OW), frame.dtype)
    for oc in range(OC):
        for oy in range(OH):
            for ox in range(OW):
                total = frame.dtype.type(0)
                for ky in range(KH):
                    for kx in range(KW):
                        total += bank[oc, 0, ky, kx] * frame[0, oy + ky, ox + kx]
                y[oc, oy, ox] = total
    return y


@numba.njit(fastmath=True)
def by_rows(frame, bank):
    """The same, as an expert would write it: tap by tap along a row of pixels, which LLVM turns into vectors."""
    OC, _, KH, KW = bank.shape
    OH, OW = frame.shape[1] - KH + 1, frame.shape[2] - KW + 1
    y = np.zeros((OC, OH, OW), frame.dtype)
    for oc in range(OC):
        for oy in range(OH):
            row = y[oc, oy]
            for ky in range(KH):
                for kx in range(KW):
                    weight, pixels = bank[oc, 0, ky, kx], frame[0, oy + ky, kx : kx + OW]
                    for ox in range(OW):
                        row[ox] += weight * pixels[ox]
    return y


def filter_of(convolve: Callable, parallel: bool) -> Callable:
    """The filter: the largest response of a bank at each pixel of each frame, frames on threads where `parallel`."""

    @numba.njit(parallel=parallel)
    def strongest(frames, bank):
        OH, OW = frames.shape[1] - bank.shape[2] + 1, frames.shape[2] - bank.shape[3] + 1
        found = np.zeros((len(frames), OH, OW), frames.dtype)
        for i in numba.prange(len(frames)):
            for response in convolve(frames[i : i + 1], bank):
                for oy in range(OH):
                    for ox in range(OW):
                        found[i, oy, ox] = max(found[i, oy, ox], response[oy, ox])
        return found

    return strongest


class Filter(Case):
    """A bank of filters over frames of a film."""

    calls = ("fastconv", "by_hand", "by_rows")

    def __init__(self, bank: str, parallel: bool):
        rng, (OC, K) = np.random.default_rng(0), BANKS[bank]
        self.frames = rng.random((FRAMES, HEIGHT, WIDTH), dtype=np.float32)
        self.bank = rng.standard_normal((OC, 1, K, K), dtype=np.float32)
        self._filters = [filter_of(convolve, parallel) for convolve in (convolved, by_hand, by_rows)]

    def fastconv(self) -> np.ndarray:
        return self._filters[0](self.frames, self.bank)

    def by_hand(self) -> np.ndarray:
        return self._filters[1](self.frames, self.bank)

    def by_rows(self) -> np.ndarray:
        return self._filters[2](self.frames, self.bank)
