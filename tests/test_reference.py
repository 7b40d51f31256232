"""The reference takes what fastconv takes, and shares nothing with it."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from strategies import integers

import fastconv
from fastconv import reference

# what the reference leaves out on purpose: there is one algorithm in it
PUBLIC = sorted(fastconv.functional.__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_same_signature(name):
    ours = inspect.signature(getattr(fastconv, name)).parameters.values()
    theirs = inspect.signature(getattr(reference, name)).parameters.values()
    assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in theirs]


def test_everything_public_is_documented_with_an_example():
    for name in PUBLIC:
        text = inspect.getdoc(getattr(fastconv, name))
        assert "Example:" in text, name
        assert ">>> " in text, name


def test_out_receives_the_result():
    rng = np.random.default_rng(0)
    x, w = integers(rng, (2, 2, 5, 5), np.float32), integers(rng, (3, 2, 2, 2), np.float32)
    out = np.empty((2, 3, 4, 4), np.float32)
    assert reference.conv2d(x, w, out=out) is out
    np.testing.assert_array_equal(out, reference.conv2d(x, w))


def test_inputs_unchanged():
    rng = np.random.default_rng(0)
    x, w, g = (integers(rng, s, np.float64) for s in ((2, 2, 5, 5), (3, 2, 2, 2), (2, 3, 4, 4)))
    copies = [a.copy() for a in (x, w, g)]
    reference.conv2d(x, w, np.ones(3))
    reference.conv2d_backward(g, x, w)
    y, indices = reference.max_pool2d_with_indices(x, 2)
    reference.max_pool2d_backward(y, indices, x.shape)
    reference.avg_pool2d(x, 2)
    for a, b in zip((x, w, g), copies):
        np.testing.assert_array_equal(a, b)
