"""The arrays of a fused network, in records that its kernels pass on whole."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv.kernels.updates import Step


class Network(NamedTuple):
    """A network's stages and what belongs to them.

    Attributes:
        stages: (S,) of `STAGE`.
        tables: offsets, uint64, one list behind the other.
        values: (parameters,) the addresses of flat arrays of the images' dtype.
        nothing: zeros of that dtype, as many as a stage has channels or features at most.
    """

    stages: np.ndarray
    tables: np.ndarray
    values: np.ndarray
    nothing: np.ndarray


class Batch(NamedTuple):
    """What a backward pass begins with: images and their labels, or the gradients of the results.

    Attributes:
        images: (N, ...) flat; unused where there are no labels.
        labels: (N,) or empty.
        losses: of each image, float64.
        grad_results: (N, ...) flat; unused where there are labels.
    """

    images: np.ndarray
    labels: np.ndarray
    losses: np.ndarray
    grad_results: np.ndarray


class Workspace(NamedTuple):
    """The memory of a pass.

    Attributes:
        arena: (blocks, cells * LANES), zero where nothing is ever written.
        scratch: (workers, cells * LANES), likewise.
        patterns: zeros at first, for the shifted weights of `Regions`.
        partial: (blocks, sums of a block) for the gradients of convolutions' parameters.
    """

    arena: np.ndarray
    scratch: np.ndarray
    patterns: np.ndarray
    partial: np.ndarray


class Targets(NamedTuple):
    """Where the gradients of the parameters go, and the step of an optimiser that is taken with them, or none.

    Attributes:
        grads: (parameters,) addresses, 0 where no gradient is wanted.
        fresh: (parameters,) whether what is there does not count.
        step: of these parameters; of `NO_RULE` where there is none.
    """

    grads: np.ndarray
    fresh: np.ndarray
    step: Step
