"""Demonstrations: what tutorials on convolution print and draw; each is a file with a function `demo(language)`."""

from __future__ import annotations

from collections.abc import Callable

from fastconv.demos import edges, feature_maps, filters, learn_kernel, xo
from fastconv.demos.base import LANGUAGES, Demo

__all__ = ["DEMOS", "LANGUAGES", "Demo"]

DEMOS: dict[str, Callable[[str], Demo]] = {
    "xo": xo.demo,
    "edges": edges.demo,
    "learn-kernel": learn_kernel.demo,
    "filters": filters.demo,
    "feature-maps": feature_maps.demo,
}
