"""What a fused network is to its kernels: the sizes and places of each stage.

The records of whole numbers are made in Python as NamedTuples; `packed` makes the array of nested records of them that
kernels take. Places and pitches are in cells of LANES numbers, one of each image in the batch-interleaved layout, and
in elements where images are computed one by one. Each is a place in the arena, which holds what the backward pass
needs, or in the scratch array of a thread, for the rest.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

NONE, RELU, SIGMOID, TANH = range(4)  # activations
NO_POOL, MAX, AVERAGE = range(3)
DENSE, BY_WINDOW, BY_IMAGE = range(3)  # ways of a weight gradient: with every pixel, or with the maxima alone


class Planes(NamedTuple):
    """C planes of H x W pixels: pixel (c, y, x) lies at start + c*plane + y*row + x.

    Attributes:
        start: the place of the first pixel.
        row: the pitch of rows, which are padded where this is more than W.
        plane: the pitch of planes.
        C: the planes.
        H: the rows.
        W: the columns.
    """

    start: int
    row: int
    plane: int
    C: int
    H: int
    W: int


class Convolution(NamedTuple):
    """A convolution with stride 1, or a linear layer, which is one of a single pixel.

    Attributes:
        KH: the rows of the kernel.
        KW: its columns.
        K: the reduction length C*KH*KW.
        top: rows of zeros above the input.
        left: columns of zeros beside it.
        linear: whether it is a linear layer.
        activation: NONE, RELU, SIGMOID or TANH.
        weight: the number of the parameter.
        bias: likewise, -1 where there is none.
        taps: where the offsets of the K taps begin in the tables, in elements of the interleaved layout.
        taps_apart: likewise, in elements of one image's planes.
    """

    KH: int
    KW: int
    K: int
    top: int
    left: int
    linear: int
    activation: int
    weight: int
    bias: int
    taps: int
    taps_apart: int


class Pool(NamedTuple):
    """The pooling of a stage, whose windows lie side by side.

    Attributes:
        kind: NO_POOL, MAX or AVERAGE.
        KH: the rows of a window.
        KW: its columns.
        in_registers: whether the sums of a window are pooled before they are stored.
        keeps_sums: whether all sums are kept in the arena, activated; otherwise a band of rows is in the scratch.
        argmax: the place in the arena of the maxima's numbers inside their windows, integers as wide as the floats.
    """

    kind: int
    KH: int
    KW: int
    in_registers: int
    keeps_sums: int
    argmax: int


class Gradients(NamedTuple):
    """The gradients of a stage: of planes in the scratch, but for those of a linear layer's sums, and sums of weights'.

    Attributes:
        output: of its output.
        sums: of the convolution's sums, before activation and pooling; in the arena where the layer is linear.
        input: of its input.
        zeros: columns of zeros before each row of `sums`, where taps of pixels near the edge read.
        terms: where the weights of the taps that reach a pixel are listed in the tables.
        inputs: where the pixels of `sums` that they reach it from are listed.
        samples: the place in the arena of a linear layer's input, sample by sample.
        partial: where the sums for a convolution's weights and bias begin in those of a block.
    """

    output: Planes
    sums: Planes
    input: Planes
    zeros: int
    terms: int
    inputs: int
    samples: int
    partial: int


class Images(NamedTuple):
    """Images of a block one behind the other in the scratch, channels last, for an argmax-sparse gradient.

    Attributes:
        rows: the padded rows of an image.
        row: the pitch of its rows, in elements.
        length: of an image, in elements.
        maxima_length: of an image's maxima, in elements.
        input: the place of the input.
        grad_input: of its gradient.
        maxima: of the gradients of the maxima.
        argmax: of their numbers.
        cells: where the cells of an image's elements are listed in the tables.
        grad_cells: likewise for the gradient of the input, one place for all of the padding.
        corners: where the corners of the windows are listed, as elements of an image.
    """

    rows: int
    row: int
    length: int
    maxima_length: int
    input: int
    grad_input: int
    maxima: int
    argmax: int
    cells: int
    grad_cells: int
    corners: int


class Patches(NamedTuple):
    """What the kernel covers of an image, as `parts` times `width` vectors: a patch for each maximum.

    Attributes:
        parts: how many sums of `width` vectors.
        width: one of PATCH_WIDTHS.
        sums: the place of the sums, an output channel's after the other.
        windows: where the offsets of a window's four pixels are listed in the tables.
        vectors: where the offsets of a patch's vectors are listed.
        weights: where the elements of a patch are listed that belong to the K weights.
    """

    parts: int
    width: int
    sums: int
    windows: int
    vectors: int
    weights: int


class Regions(NamedTuple):
    """What the four kernels of a window cover of an image: a row and a column more than a patch.

    Attributes:
        parts: as for `Patches`.
        width: likewise.
        sums: the place of the sums for one window.
        patterns: the place, in an array of its own, of the weights shifted to each pixel of a window.
        windows: where the elements of a region are listed where a pixel's patch begins.
        weights: where the elements of a patch are listed that belong to the K weights.
    """

    parts: int
    width: int
    sums: int
    patterns: int
    windows: int
    weights: int


class Argmax(NamedTuple):
    """How the gradients of a max-pooled convolution take the maxima alone, if they do.

    Attributes:
        way: DENSE, BY_WINDOW or BY_IMAGE.
        window_sums: the place of the sums for the weights, BY_WINDOW.
        images: BY_IMAGE.
        patches: likewise.
        regions: likewise.
    """

    way: int
    window_sums: int
    images: Images
    patches: Patches
    regions: Regions


class Loss(NamedTuple):
    """Places in the scratch for the cross-entropy of a network's results, image by image.

    Attributes:
        logits: the results.
        grad: their gradients.
        wanted: the distribution that is wanted, for one image.
    """

    logits: int
    grad: int
    wanted: int


class Stage(NamedTuple):
    """A convolution or linear layer, its activation and its pooling.

    Attributes:
        input: in the arena, with padding around it.
        padded: the input with its padding.
        output: in the arena, the next stage's input.
        sums: of the convolution, before pooling; the output where there is none.
        convolution: its own.
        pool: its own.
        gradients: its own.
        argmax: its own.
        loss: of the last stage; zeros otherwise.
    """

    input: Planes
    padded: Planes
    output: Planes
    sums: Planes
    convolution: Convolution
    pool: Pool
    gradients: Gradients
    argmax: Argmax
    loss: Loss


def _dtype(kind: type) -> np.dtype:
    if kind is int:
        return np.dtype(np.int64)
    return np.dtype([(name, _dtype(field)) for name, field in typing.get_type_hints(kind).items()], align=True)


STAGE = _dtype(Stage)


def nothing_of(kind: Any) -> Any:
    """The record of a kind that is zero everywhere."""
    return 0 if kind is int else kind(*map(nothing_of, typing.get_type_hints(kind).values()))


def packed(stages: Iterable[Stage]) -> np.ndarray:
    """The stages as the array of records that kernels take."""
    return np.array(list(stages), STAGE)
