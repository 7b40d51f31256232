"""Settings of the whole suite: threads, and how many examples Hypothesis tries."""

import importlib.util
import os

# before Numba is imported: the promise of the same bits is tested with more threads than a small machine has
os.environ.setdefault("NUMBA_NUM_THREADS", "4")
# OpenMP threads that spin while they wait slow each other down thirtyfold where two test runs share the processors
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
from hypothesis import HealthCheck, settings

import fastconv

COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow], "derandomize": "CI" in os.environ}
settings.register_profile("default", max_examples=100, **COMMON)
# the kernels as plain Python are a thousand times slower
settings.register_profile("legs", max_examples=20, **COMMON)
settings.load_profile(os.environ.get("FASTCONV_TEST_PROFILE", "default"))


def pytest_configure(config):
    """Before several processes share the tests, all of them compile a part of the kernels, and none what others do."""
    if getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput"):
        fastconv.warmup()


@pytest.fixture(autouse=True, scope="session")
def two_threads():
    """Both cores of a small machine, and no more threads than those."""
    fastconv.set_num_threads(2)


@pytest.fixture(autouse=True)
def threads_restored():
    """A test (or a docstring's example) that sets the number of threads does so for itself only."""
    yield
    fastconv.set_num_threads(2)


def pytest_collection_modifyitems(items):
    """The examples in the docstrings of fastconv.onnx need its extra."""
    if importlib.util.find_spec("onnx") is None:
        for item in items:
            if item.nodeid.startswith("fastconv/onnx/"):
                item.add_marker(pytest.mark.skip(reason="onnx is not installed"))
