"""What the tests of jitted calls share."""

import pytest
import variants


@pytest.fixture(scope="module")
def same_kernels():
    """Python calls the kernels that jitted code calls; that others give the same, other tests show."""
    with variants.as_in_jitted_code():
        yield
