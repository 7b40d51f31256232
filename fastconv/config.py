"""What fastconv runs on: versions, threads, the cache, the extras."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np

from fastconv._runtime import shipped, store, switches
from fastconv._runtime.backend import get_backend
from fastconv._runtime.host import ENABLED
from fastconv._runtime.threads import get_num_threads
from fastconv.kernels.micro import vectors

VERSION = "0.1.0"
EXTRAS = {"plot": "matplotlib", "data": "pooch", "onnx": "onnx", "safetensors": "safetensors"}


def use_winograd(use: bool) -> None:
    """Have `algorithm="auto"`, and gradients, take Winograd's F(2x2, 3x3) where it is faster, or never.

    It is taken unless this, or `FASTCONV_WINOGRAD=0` in the environment, switches it off for the process. With it the
    error of a result is relative to all 4x4 pixels around it, and not to the 3x3 that it is made of.

    Args:
        use: whether it may be taken; `algorithm="winograd"` asks for it in any case.

    Raises:
        TypeError: `use` is not a boolean.

    Example:
        >>> use_winograd(True)
        >>> facts()["winograd"]
        True
    """
    if not isinstance(use, bool | np.bool_):
        raise TypeError(f"use_winograd: use must be True or False, got {use!r}")
    switches.switch_winograd(bool(use))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def facts() -> dict[str, Any]:
    """What fastconv runs on, as JSON can hold it; None where there are no vectors or is no cache.

    Example:
        >>> facts()["fastconv"] == VERSION
        True
    """
    cache = None if numba.config.DISABLE_JIT else store.of_user().folder
    archive = shipped.archive()
    return {
        "fastconv": VERSION,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "processor": _processor(),
        "vector_bits": 8 * vectors.VECTOR_BYTES if ENABLED else None,
        "threads": get_num_threads(),
        "most_threads": numba.config.NUMBA_NUM_THREADS,
        "backend": get_backend(),
        "winograd": bool(switches.winograd()),
        "kernel_cache": str(cache) if cache else None,
        "shipped_code": shipped.level() if archive else None,
        "shipped_functions": len(archive) if archive else 0,
        "extras": [extra for extra, module in EXTRAS.items() if importlib.util.find_spec(module)],
    }


def show_config() -> str:
    """A table of what fastconv runs on; `print(fastconv.show_config())` belongs in every bug report.

    Example:
        >>> "numba" in show_config()
        True
    """
    found = facts()
    bits, code = found["vector_bits"], found["shipped_code"]
    lines = {
        **{name: found[name] for name in ("fastconv", "python", "numpy")},
        "numba": f"{found['numba']} (llvmlite {found['llvmlite']})",
        "processor": found["processor"],
        "vectors": f"{bits} bits" if bits else "plain loops",
        "threads": f"{found['threads']} of {found['most_threads']}",
        "backend": found["backend"],
        "winograd": "where it is faster" if found["winograd"] else "switched off",
        "shipped code": f"{found['shipped_functions']} functions for {code}" if code else "none: kernels are compiled",
        "kernel cache": found["kernel_cache"] or "none: every process compiles anew",
        "extras": ", ".join(found["extras"]) or "none",
    }
    return "\n".join(f"{name:<14}{value}" for name, value in lines.items())
