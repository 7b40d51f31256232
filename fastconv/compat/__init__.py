"""Modules for scripts that follow a tutorial: its names, its argument order and its arrays, on fastconv's kernels.

Change the import, and the script keeps its results and becomes fast. Where a tutorial draws random weights from NumPy's
global state, so do these modules, unlike the rest of fastconv: a script that calls `np.random.seed` keeps its weights.
"""

from fastconv.compat.conversion import convert

__all__ = ["convert"]
