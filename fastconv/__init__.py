"""Fast convolution, pooling and small convolutional networks on a CPU: Numba kernels under a NumPy API."""

from fastconv._runtime.backend import get_backend, use_backend
from fastconv._runtime.threads import get_num_threads, num_threads, set_num_threads
from fastconv._warmup import warmup
from fastconv.config import VERSION as __version__
from fastconv.config import show_config
from fastconv.functional import *  # noqa: F403
from fastconv.functional import __all__ as _functional

__all__ = [
    "__version__",
    *_functional,
    "get_backend",
    "get_num_threads",
    "num_threads",
    "set_num_threads",
    "show_config",
    "use_backend",
    "warmup",
]
