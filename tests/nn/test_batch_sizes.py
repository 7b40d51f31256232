"""What is said about the bits of a result and the number of images that are computed together."""

from __future__ import annotations

import numpy as np

from fastconv.models import lenet5
from fastconv.training import predict


def test_batches_of_eight_images_or_more_have_the_same_bits():
    model, x = lenet5(rng=0), np.random.default_rng(0).random((40, 1, 28, 28), np.float32)
    whole = model(x)
    for count in (8, 9, 15, 16, 17, 33):
        np.testing.assert_array_equal(model(x[:count]), whole[:count])
    for count in (1, 2, 7):
        np.testing.assert_allclose(model(x[:count]), whole[:count], rtol=0, atol=2e-6 * np.abs(whole).max())
    np.testing.assert_array_equal(predict(model, x, 8), predict(model, x, 16))
    np.testing.assert_array_equal(predict(model, x, 3), predict(model, x, 3))
