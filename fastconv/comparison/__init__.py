"""How fast models are here: on the kernels, on NumPy, and in other libraries where they are installed."""

from fastconv.comparison.backends import compare_backends
from fastconv.comparison.libraries import compare_libraries, table

__all__ = ["compare_backends", "compare_libraries", "table"]
