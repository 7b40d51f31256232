"""Writes the page of promises: `PYTHONPATH=tests python -m fuzzing.page fastconv/docs/promises.md`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

from fuzzing.__main__ import HUNTS, RESULTS

HEAD = """# What fastconv promises

Written by `PYTHONPATH=tests python -m fuzzing.page fastconv/docs/promises.md`, from the hunts themselves and from the
counts of their last long runs. `PYTHONPATH=tests python -m fuzzing --help` tells how to run them.

## Hunted for

Each hunt draws cases from a seed, runs them, and judges them; every failure that one found was mended before the run
that is counted here. The short forms run with every change, beside the test suite.

| promise | how | hunt | cases of the last long run | failures |
| --- | --- | --- | --- | --- |
"""

SUITE = """
## Tested one by one

| promise | tests |
| --- | --- |
| Integer-valued float32 data whose partial sums stay below 2^24 give the exact result, forward and gradients | `tests/functional`, against `fastconv.reference`, exactly |
| The error of a sum of n terms is at most `(8 + 2*sqrt(n)) * eps/2` times the sum of the sizes of its terms | `tests/functional/test_conv.py` for random data, `tests/test_long_sums.py` for constant data |
| By Winograd's algorithm it is at most `(20 + 2*sqrt(C)) * eps/2` times the same transforms and sums of sizes, of the 4x4 pixels of a tile, of gradients of weights `(24 + 2*sqrt(n)) * eps/2`; not finite numbers are where direct sums have them | `tests/functional/test_winograd.py` |
| The same bits for any number of threads, any memory layout of the input, and any repetition | `tests/test_promises.py` |
| Gradients are right: adjoints exactly, all others against differences | `tests/functional`, `tests/nn`, `fastconv.testing.gradcheck` |
| Max-pooling: NaN wins, then the first of equals; indices outside the plane are refused | `tests/functional/test_pool.py` |
| NaN, infinity, -0.0 and subnormal numbers as IEEE 754 says; the caller's rounding mode stays | `tests/test_promises.py`, `tests/kernels/test_edges.py` |
| Nothing is read or written outside the arrays | `tests/kernels/test_guard_pages.py`, `tests/test_legs.py` with bounds checked |
| Inputs are never changed, results never share their memory; `out` is the object that is returned | `tests/test_promises.py` |
| Convolutions, their gradients, linear layers, pools and networks' inference that take long are done in pieces, between which Ctrl-C and other signals are seen | `tests/test_pieces.py` |
| A file is written whole or not at all | `tests/test_files.py`, `tests/test_weights.py`, `tests/test_checkpoint.py` |
| A small file cannot unpack to more than `max_bytes`: 1 GiB, or its own size | `tests/test_weights.py`, `tests/data/test_idx.py` |
| Arrays may have more than 2^31 elements | `python -m fuzzing.large`, by hand: `relu`, `conv2d` and its gradients, pools and theirs, `im2col`, `col2im` |
| A user's script under `mypy --strict` sees real types | `tests/test_typing.py` |
| Errors are `ValueError` or `TypeError` and name the argument, what came and what was needed | `tests/functional/test_errors.py`, `tests/overloads/test_errors.py` |

## Whether results depend on the size of a batch

In inference an image's results have the same bits in every batch of 8 images or more. With fewer, a `Sequential` takes
other kernels, which add the same products in another order: float32 results differ by about 5e-7 of the largest. The
functions do not differ, but for `conv2d` with `layout="NHWC"` and many channels, for one or two images, and with 3x3
kernels and many channels, which fewer than 8 images may take directly and more by Winograd's algorithm. Batches of one
size always give the same bits.

## Not defended against

- Memory that other threads change while a call reads it.
- An array that fits into memory where the result does not: that is a `MemoryError`, or the system's end of the
  process where it promises more memory than it has.
- Code in files: weights and checkpoints hold arrays and settings and are never run, but a model's architecture is the
  user's own Python.
- A cache folder that others may write to: entries are checked for damage, not for forgery. Keep `NUMBA_CACHE_DIR`
  your own.
- `os.fork` in a thread other than the one that uses fastconv, in the middle of that use: the child gets arrays half
  written, as with any library; that nothing hangs there is what `forks` hunts for.
- Gradients of overlapping max-pooling windows, of `col2im`, and of `local_response_norm` over more than a hundred
  terms of one sign are plain sums and may drift by a quarter of their terms in units of the last place.
- Pictures just below Pillow's own limit (179 million pixels), and data that an ONNX file keeps in other files: they may
  take some hundred megabytes.
- Savers of one target on several machines that share a network file system: they do not see each other's locks.
- A fastconv kernel and a user's own `prange` in two threads at once on Numba's workqueue layer: Numba ends the process.
- A training step of a batch that takes longer than a second sees Ctrl-C at its end: take a smaller batch.
"""


def row(name: str) -> str:
    """A hunt's line of the table."""
    hunt = importlib.import_module(f"fuzzing.{name}").HUNT
    path = RESULTS / f"{name}.json"
    kept = json.loads(path.read_text()) if path.exists() else {"counts": {}, "failures": "not run"}
    counts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kept["counts"].items()))
    return f"| {hunt.promise} | {hunt.how} | `{name}` | {counts} | {kept['failures']} |"


def main() -> None:
    """Write the page to the path that is given."""
    Path(sys.argv[1]).write_text(HEAD + "\n".join(map(row, HUNTS)) + "\n" + SUITE)


if __name__ == "__main__":
    main()
