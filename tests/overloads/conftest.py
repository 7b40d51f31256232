"""What the tests of jitted calls share."""

from unittest import mock

import pytest
import variants

from fastconv import _jit


@pytest.fixture(scope="module")
def same_kernels():
    """Python calls the kernels that jitted code calls, which then need not be compiled for threads as well.

    That results are the same on threads, and in every variant of the forward product, other tests show.
    """
    with variants.demanded(packed=False, shared=False, turned=False), mock.patch.object(_jit, "_forked", True):
        yield
