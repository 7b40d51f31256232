"""Plans: records of what computes each of a convolution's three products."""

from __future__ import annotations

from typing import NamedTuple

from fastconv._geometry.conv import Conv
from fastconv._geometry.layout import Layout
from fastconv._plans import text
from fastconv._plans.names import Algorithm
from fastconv._runtime.host import Blocks
from fastconv._runtime.jit import jitable

# compiled code knows plain integers
NONE, DIRECT, BY_IMAGE, PACKED, DEPTHWISE, GATHERED, PHASED, SCATTERED, DOTS, DOTS_BY_GROUP, SHARDED, BLOCKED = (
    int(algorithm) for algorithm in list(Algorithm)[:12]
)
READ_IN_PLACE, WINOGRAD, CHANNELWISE = (
    int(algorithm) for algorithm in (Algorithm.READ_IN_PLACE, Algorithm.WINOGRAD, Algorithm.CHANNELWISE)
)  # fmt: skip


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
        moved: whether these are moved to the other order and back.
        algorithm: what computes it. Where a result of WINOGRAD is not finite, what the plan would be without it.
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
    rejected: tuple[Rejected, Rejected, Rejected, Rejected, Rejected, Rejected]

    def kernels(self) -> list[str]:
        """The kernels that run, in order, where all numbers are finite."""
        return text.forward_kernels(self)

    def line(self) -> str:
        """The plan in one line."""
        return text.line(self)

    def __str__(self) -> str:
        return text.describe("forward", self)


class InputGradientPlan(NamedTuple):
    """How the gradient of a convolution's input is computed, and a transposed convolution.

    Attributes:
        conv: the convolution's sizes.
        N: the images.
        last: whether the arrays have their channels last.
        moved: whether these are moved to NCHW order and back.
        algorithm: what computes it. Where a weight, or what GATHERED and PHASED compute, is not finite, it is SCATTERED
            instead: they multiply zeros around and between the pixels, and zero times infinity would be NaN.
        product: how GATHERED computes its convolution; PHASED reads the gradient where its fallback has it.
        turned: whether GATHERED has its weights, each a row's distance from the next, transposed first.
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
    turned: bool
    layout: Layout
    blocks: Blocks
    rejected: tuple[Rejected, Rejected, Rejected, Rejected, Rejected]

    def kernels(self) -> list[str]:
        """The kernels that run, in order, where all numbers are finite."""
        return text.input_gradient_kernels(self)

    def line(self) -> str:
        """The plan in one line."""
        return text.line(self)

    def __str__(self) -> str:
        return text.describe("input gradient", self)


class WeightGradientPlan(NamedTuple):
    """How the gradient of a convolution's weights is computed.

    Attributes:
        conv: the convolution's sizes.
        N: the images.
        last: whether the arrays have their channels last.
        moved: whether these are moved to NCHW order and back.
        algorithm: what computes it. Where a gradient of WINOGRAD is not finite, what the plan would be without it.
        layout: where the input lies for that.
        fallback: what computes it where the gradient is not finite and the algorithm leaves out taps in the padding.
        fallback_layout: where the input lies for that.
        fallback_moved: whether the arrays are moved for that.
        apart: whether each of SHARDED's shards splits its own images, which stay in the cache.
        shards: in how many of the batch READ_IN_PLACE sums.
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
    apart: bool
    shards: int
    blocks: Blocks
    rejected: tuple[Rejected, Rejected, Rejected, Rejected, Rejected, Rejected]

    def kernels(self) -> list[str]:
        """The kernels that run, in order, where all numbers are finite."""
        return text.weight_gradient_kernels(self)

    def line(self) -> str:
        """The plan in one line."""
        return text.line(self)

    def __str__(self) -> str:
        return text.describe("weight gradient", self)
