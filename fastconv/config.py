"""What fastconv runs on: versions, threads, the cache, the extras."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path

import llvmlite
import numba
import numpy as np

from fastconv._backend import get_backend
from fastconv._threads import get_num_threads
from fastconv.kernels import conv, tiles

VERSION = "0.1.0"
EXTRAS = {"plot": "matplotlib", "data": "pooch", "onnx": "onnx", "safetensors": "safetensors", "mpi": "mpi4py"}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def show_config() -> str:
    """A table of what fastconv runs on; `print(fastconv.show_config())` belongs in every bug report.

    Example:
        >>> "numba" in show_config()
        True
    """
    cache = getattr(getattr(conv.forward.parallel, "_cache", None), "cache_path", None)
    there = [extra for extra, module in EXTRAS.items() if importlib.util.find_spec(module)]
    facts = {
        "fastconv": VERSION,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": f"{numba.__version__} (llvmlite {llvmlite.__version__})",
        "processor": _processor(),
        "vectors": f"{8 * tiles.VECTOR_BYTES} bits" if tiles.ENABLED else "plain loops",
        "threads": f"{get_num_threads()} of {numba.config.NUMBA_NUM_THREADS}",
        "backend": get_backend(),
        "kernel cache": cache or "none: every process compiles anew",
        "extras": ", ".join(there) or "none",
    }
    return "\n".join(f"{name:<14}{value}" for name, value in facts.items())
