"""The plan of a fused network: the records of its stages, their tables, and the sizes of its memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from fastconv._geometry.partition import even_part
from fastconv.kernels.fused.records import (
    MAX,
    NO_POOL,
    Convolution,
    Gradients,
    Loss,
    Planes,
    Pool,
    Stage,
    nothing_of,
    packed,
)
from fastconv.kernels.micro.vectors import LANES
from fastconv.nn.base import Layer, Parameter
from fastconv.nn.fused.argmax_gradients import argmax_of
from fastconv.nn.fused.groups import Declined, groups
from fastconv.nn.fused.places import Rooms, dense, inner
from fastconv.nn.fused.sizes import Sizes, sizes_of

MOST_BYTES = 2**21  # of a block's activations: more do not stay in the L2 cache
# a task of a weight gradient: whole tiles of output features, some products for each image, or some sums of all blocks
TASK_ROWS, TASK_PRODUCTS, TASK_SUMS, TASK_INPUTS = 8, 3200, 2048, 192


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is computed for images of one shape, and the memory that it takes.

    Attributes:
        stages: the kernels' records.
        tables: the offsets that they refer to.
        tasks: the parameters' gradients in parts: the stage, the first output feature or sum and how many, and of a
            linear layer the first input and how many.
        parameters: by the numbers that the stages have for them.
        result_shape: of one image's result.
        multiplications: for one image.
        widest: as many zeros are needed.
        band: elements of the sums of a row of windows, at most.
        arena: cells of a block that the backward pass needs.
        scratch: cells of a thread.
        patterns: cells of the shifted weights.
        partial: sums of a block.
    """

    stages: np.ndarray
    tables: np.ndarray
    tasks: np.ndarray
    parameters: tuple[Parameter, ...]
    result_shape: tuple[int, ...]
    multiplications: int
    widest: int
    band: int
    arena: int
    scratch: int
    patterns: int
    partial: int


def plan(layers: Sequence[Layer], shape: tuple[int, ...], dtype: np.dtype) -> Plan:
    """The plan of a run of layers for images of a shape.

    Raises:
        Declined: the layers, or their sizes, are not computed this way.
        ValueError: a layer does not take such images.
    """
    found, flattened = groups(layers)
    sizes, rooms = sizes_of(found, shape), Rooms()
    parameters = _parameters(sizes)
    stages = _stages(sizes, parameters, dtype, rooms)
    size = rooms.arena.cells * LANES * dtype.itemsize
    if size > MOST_BYTES:
        raise Declined(f"the activations of {LANES} images, {size:,} bytes, are more than {MOST_BYTES:,}")
    result = sizes[-1].shape
    return Plan(
        stages=packed(stages),
        tables=rooms.tables,
        tasks=_tasks(sizes),
        parameters=parameters,
        result_shape=(math.prod(result),) if flattened else result,
        multiplications=sum(one.multiplications for one in sizes),
        widest=max(max(one.image[0], one.sums[0]) for one in sizes),
        band=max(one.sums[0] * one.windows.KH * one.sums[2] for one in sizes),
        arena=rooms.arena.cells,
        scratch=rooms.scratch.cells,
        patterns=rooms.patterns.cells,
        partial=rooms.partial.cells,
    )


def _parameters(sizes: Sequence[Sizes]) -> tuple[Parameter, ...]:
    mains = [one.group.main for one in sizes]
    found = [parameter for main in mains for parameter in (main.weight, main.bias) if parameter is not None]
    if len({id(parameter) for parameter in found}) < len(found):  # two tasks would add to its gradient at once
        raise Declined("a layer is used twice")
    return tuple(found)


def _stages(sizes: Sequence[Sizes], parameters: Sequence[Parameter], dtype: np.dtype, rooms: Rooms) -> list[Stage]:
    """The record of each stage, which writes its result into the next one's input, and reads its gradient there."""
    padded = [dense(rooms.arena.take(*one.padded), one.padded) for one in sizes]
    inputs = [inner(planes, one.image, one.pads[0], one.pads[2]) for planes, one in zip(padded, sizes)]
    outputs = [
        dense(x.start, one.output) if follower.linear else x
        for x, one, follower in zip(inputs[1:], sizes, sizes[1:])
    ]  # fmt: skip
    result = sizes[-1].output
    outputs.append(dense(rooms.arena.take(*result), result))
    grads = [rooms.scratch.take(*sizes[0].image), *(rooms.scratch.take(*one.output) for one in sizes)]
    loss = Loss(*(rooms.scratch.take(*result) for _ in Loss._fields))
    stages = []
    for i, one in enumerate(sizes):
        grad_input, grad_output = dense(grads[i], one.image), dense(grads[i + 1], one.output)
        stages.append(
            Stage(
                input=inputs[i], padded=padded[i], output=outputs[i], sums=_sums(one, outputs[i], rooms),
                convolution=_convolution(one, padded[i], parameters, rooms), pool=_pool(one, rooms),
                gradients=_gradients(one, grad_input, grad_output, rooms),
                argmax=argmax_of(one, padded[i], grad_input, dtype, rooms),
                loss=loss if one is sizes[-1] else nothing_of(Loss),
            )
        )  # fmt: skip
    return stages


def _sums(sizes: Sizes, output: Planes, rooms: Rooms) -> Planes:
    OC, OH, OW = sizes.sums
    if sizes.windows.kind == NO_POOL:
        return output
    rows = OH if sizes.keeps_sums else sizes.windows.KH
    room = rooms.arena if sizes.keeps_sums else rooms.scratch
    return Planes(room.take(OC, rows, OW), OW, rows * OW, OC, OH, OW)


def _convolution(sizes: Sizes, padded: Planes, parameters: Sequence[Parameter], rooms: Rooms) -> Convolution:
    c, ky, kx = np.ogrid[: padded.C, : sizes.kernel[0], : sizes.kernel[1]]
    taps = c * padded.plane + ky * padded.row + kx
    main, numbers = sizes.group.main, {id(parameter): i for i, parameter in enumerate(parameters)}
    return Convolution(
        *sizes.kernel, K=sizes.K, top=sizes.pads[0], left=sizes.pads[2], linear=int(sizes.linear),
        activation=sizes.group.activation, weight=numbers[id(main.weight)], bias=numbers.get(id(main.bias), -1),
        taps=rooms.table(taps * LANES), taps_apart=rooms.table(taps),
    )  # fmt: skip


def _pool(sizes: Sizes, rooms: Rooms) -> Pool:
    windows = sizes.windows
    argmax = rooms.arena.take(*sizes.output) if windows.kind == MAX else 0
    return Pool(windows.kind, windows.KH, windows.KW, int(sizes.in_registers), int(sizes.keeps_sums), argmax)


def _gradients(sizes: Sizes, grad_input: Planes, grad_output: Planes, rooms: Rooms) -> Gradients:
    (_, _, W), (KH, KW), left, (OC, OH, OW) = sizes.image, sizes.kernel, sizes.pads[2], sizes.sums
    # zeros beside a row of gradients where taps of pixels near the edge read; none where the padding is that wide
    zeros = max(KW - 1 - left, 0)
    row = zeros + max(left + W, OW)
    start = (rooms.arena if sizes.linear else rooms.scratch).take(OC, OH, row) + zeros
    ky, oc, kx = np.ogrid[:KH, :OC, :KW]
    return Gradients(
        output=grad_output, sums=Planes(start, row, OH * row, OC, OH, OW), input=grad_input, zeros=zeros,
        terms=rooms.table(oc * sizes.K + ky * KW + kx),
        inputs=rooms.table((oc * OH * row - ky * row + zeros + left - kx) * LANES),
        samples=rooms.arena.take(sizes.image[0]) if sizes.linear else 0,
        partial=0 if sizes.linear else rooms.partial.take(OC, sizes.K + 1),
    )  # fmt: skip


def _tasks(sizes: Sequence[Sizes]) -> np.ndarray:
    """Tasks that take about as long as each other: threads get as many successive ones each."""
    tasks: list[tuple[int, ...]] = []
    for s, one in enumerate(sizes):
        OC, K = one.sums[0], one.K
        if one.linear and K * TASK_ROWS > 2 * TASK_PRODUCTS:
            # all features and some inputs: the batch's inputs are more than a core's cache, and are read once
            step = even_part(K, TASK_INPUTS)
            tasks += [(s, 0, OC, first, min(step, K - first)) for first in range(0, K, step)]
            continue
        rows = max(TASK_PRODUCTS // K // TASK_ROWS, 1) * TASK_ROWS
        total, step = (OC, rows) if one.linear else (OC * (K + 1), TASK_SUMS)
        tasks += [(s, first, min(step, total - first), 0, K) for first in range(0, total, step)]
    return np.array(tasks, np.int64).reshape(-1, 5)
