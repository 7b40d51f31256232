"""The dropout layer."""

from __future__ import annotations

import numpy as np

from fastconv import functional as F
from fastconv._arguments.arrays import numeric
from fastconv._arguments.scalars import generator, number
from fastconv._runtime.recording import before
from fastconv.functional.dropout import draw_mask
from fastconv.nn import init
from fastconv.nn.base import Backward, Buffer, Layer


class Dropout(Layer):
    """In training, `forward(x)`, each value zero with probability p, the others over 1 - p; x itself in inference.

    What is drawn depends on the seed and on how often it was drawn before, and on nothing else: a training that is
    resumed with that number, from a `state_dict` that is `resumable`, draws what it would have drawn.

    Args:
        p: the probability, 0 to 1.
        rng: source of randomness, from which a seed is taken: a Generator, a seed or None.

    Attributes:
        draws: Buffer (), int64: how often it was drawn.

    Example:
        >>> layer = Dropout(0.5, rng=0)
        >>> y, backward = layer.forward(np.ones(1000))
        >>> sorted(set(y.tolist())), np.array_equal(backward(np.ones(1000)), y)
        ([0.0, 2.0], True)
        >>> layer(np.ones(3))
        array([1., 1., 1.])

    Source: N. Srivastava et al., Dropout (2014).
    """

    def __init__(self, p: float = 0.5, *, rng: init.Rng = None):
        self.p = number("Dropout", "p", p, 0, 1)
        self._seed = int(generator(rng, "Dropout").integers(2**63))
        self.draws = Buffer(np.zeros((), np.int64), "draws", for_resuming=True)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The batch as it is."""
        return numeric("Dropout", "x", x)

    def forward(self, x: np.ndarray) -> tuple[np.ndarray, Backward]:
        """The batch with some values dropped, and the gradient."""
        x = numeric("Dropout", "x", x)
        mask = np.empty(x.shape, np.bool_)
        before(lambda: self._draw(mask))
        # what is kept in the batch is kept in its gradient, by the same factor
        return F.dropout_backward(x, mask, self.p), lambda grad_y: F.dropout_backward(grad_y, mask, self.p)

    def _draw(self, mask: np.ndarray) -> None:
        source = np.random.default_rng([self._seed, int(self.draws.value)])
        self.draws.value += 1
        draw_mask(self.p, source, mask)

    def __repr__(self) -> str:
        return f"Dropout({self.p})"
