"""Plans: records of what computes each of a convolution's three products."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from fastconv._geometry.conv import Conv
from fastconv._geometry.layout import Layout
from fastconv._runtime.host import Blocks
from fastconv._runtime.jit import jitable


class Algorithm(IntEnum):
    """What computes a product; the names of the kernels that run are in `text.KERNELS`."""

    NONE = 0
    # forward
    DIRECT = 1  # vectors along padded rows of pixels, of all images
    BY_IMAGE = 2  # the same, one group of an image's channels after another, so that its planes stay in the cache
    PACKED = 3  # vectors along output channels, with packed weights
    DEPTHWISE = 4  # vectors along channels, each with its own kernel
    # input gradient
    GATHERED = 5  # one convolution of the output gradient, for all stride phases
    PHASED = 6  # one for each stride phase
    SCATTERED = 7  # tap by tap, added to padded planes
    # weight gradient
    DOTS = 8  # dot products along pixels
    DOTS_BY_GROUP = 9  # the same, one group of an image's channels after another
    SHARDED = 10  # outer products with vectors of output channels, summed in shards of the batch
    BLOCKED = 11  # the same, in blocks of terms
    READ_IN_PLACE = 12  # outer products with vectors of input channels, from images with channels last as they are


# compiled code knows plain integers
NONE, DIRECT, BY_IMAGE, PACKED, DEPTHWISE, GATHERED, PHASED, SCATTERED, DOTS, DOTS_BY_GROUP, SHARDED, BLOCKED = (
    int(algorithm) for algorithm in list(Algorithm)[:12]
)
READ_IN_PLACE = int(Algorithm.READ_IN_PLACE)


class Reason(IntEnum):
    """Why an algorithm does not compute a product; what an explanation says of it is in `text.REASONS`."""

    CHANNELS = 1
    TERMS = 2
    ONE_TAP = 3
    PIXELS = 4
    IN_PLACE = 5
    IMAGES = 6
    PLANES = 7
    PRODUCTS = 8
    ONE_PHASE = 9
    GROUPS = 10
    WEIGHTS = 11
    TILE = 12
    CHANNELS_OR_TERMS = 13
    NOT_DEPTHWISE = 14
    CELLS = 15
    NOT_REACHED = 16
    STRIDED = 17
    AREAS = 18


class Rejected(NamedTuple):
    """An algorithm that does not compute a product, and why.

    Attributes:
        algorithm: an `Algorithm`, NONE where nothing is rejected.
        reason: a `Reason`, 0 where nothing is rejected.
        found: what was found.
        needed: what was needed.
    """

    algorithm: int
    reason: int
    found: float
    needed: float


@jitable
def accepted() -> Rejected:
    """Nothing is rejected."""
    return Rejected(0, 0, 0.0, 0.0)


@jitable
def rejected(algorithm: int, reason: int, found: float, needed: float) -> Rejected:
    """The algorithm is rejected, as `reason` says of what was found and what was needed."""
    return Rejected(algorithm, reason, float(found), float(needed))


class ForwardPlan(NamedTuple):
    """How a convolution is computed.

    Attributes:
        conv: its sizes.
        N: the images.
        last: whether x and y have their channels last.
        moved: whether these are moved to NCHW order and back.
        algorithm: what computes it.
        layout: where the input lies for that.
        fallback: where it lies, for PACKED weights, in place of a layout or an algorithm that leaves out the taps in
            the padding, where a weight is not finite: the padding's zeros times infinity are NaN, as IEEE 754 has it.
        ready: whether packed weights are packed once for all tasks.
        blocks: how much is computed at once.
        rejected: what was rejected.
    """

    conv: Conv
    N: int
    last: bool
    moved: bool
    algorithm: int
    layout: Layout
    fallback: Layout
    ready: bool
    blocks: Blocks
    rejected: tuple[Rejected, Rejected, Rejected, Rejected]


class InputGradientPlan(NamedTuple):
    """How the gradient of a convolution's input is computed, and a transposed convolution.

    Attributes:
        conv: the convolution's sizes.
        N: the images.
        last: whether the arrays have their channels last.
        moved: whether these are moved to NCHW order and back.
        algorithm: what computes it. Where a weight, or what GATHERED and PHASED compute, is not finite, it is SCATTERED
            instead: they multiply zeros around and between the pixels, and zero times infinity would be NaN.
        product: how GATHERED computes its convolution.
        layout: where the gradient is added up if it is SCATTERED.
        blocks: how much is computed at once.
        rejected: what was rejected.
    """

    conv: Conv
    N: int
    last: bool
    moved: bool
    algorithm: int
    product: ForwardPlan
    layout: Layout
    blocks: Blocks
    rejected: tuple[Rejected, Rejected, Rejected, Rejected]


class WeightGradientPlan(NamedTuple):
    """How the gradient of a convolution's weights is computed.

    Attributes:
        conv: the convolution's sizes.
        N: the images.
        last: whether the arrays have their channels last.
        moved: whether these are moved to NCHW order and back.
        algorithm: what computes it.
        layout: where the input lies for that.
        fallback: what computes it where the gradient is not finite and the algorithm leaves out taps in the padding.
        fallback_layout: where the input lies for that.
        fallback_moved: whether the arrays are moved for that.
        blocks: how much is computed at once.
        rejected: what was rejected.
    """

    conv: Conv
    N: int
    last: bool
    moved: bool
    algorithm: int
    layout: Layout
    fallback: int
    fallback_layout: Layout
    fallback_moved: bool
    blocks: Blocks
    rejected: tuple[Rejected, Rejected, Rejected, Rejected]
