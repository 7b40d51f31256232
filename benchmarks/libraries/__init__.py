"""The libraries that are compared, by name."""

from benchmarks.libraries.base import Library
from benchmarks.libraries.eager import Fastconv, SciPy, Torch
from benchmarks.libraries.graphs import Jax, OnnxRuntime

__all__ = ["LIBRARIES", "Library"]

LIBRARIES = {"fastconv": Fastconv, "torch": Torch, "onnxruntime": OnnxRuntime, "jax": Jax, "scipy": SciPy}
