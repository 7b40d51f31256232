"""The plan of a run of layers for images side by side (see `kernels.lanes`): its units, tables, and memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numba
import numpy as np

from fastconv._arguments.arrays import ready
from fastconv._arguments.sizes import Int2, Padding
from fastconv._engine.pieces import parts
from fastconv._geometry.conv import conv_geometry
from fastconv._geometry.pool import pool_geometry
from fastconv._runtime.pointers import Table
from fastconv._runtime.threads import get_num_threads
from fastconv.kernels.fused import network as kernels
from fastconv.kernels.fused import small_batch
from fastconv.kernels.fused import stage as kinds
from fastconv.kernels.micro.vectors import LANES
from fastconv.nn.base import Layer, Parameter
from fastconv.nn.fused.argmax_gradients import plan_maxima
from fastconv.nn.fused.stages import POOLS, Declined, Stage, stages
from fastconv.nn.linear import Linear
from fastconv.nn.pool import AvgPool2d, MaxPool2d

KEPT, PASSED, FEW = "kept", "passed", "few"  # arenas: for a backward pass, for inference, and for a few images
FEW_IMAGES = LANES // 2  # fewer than these leave most lanes empty
MULTIPLICATIONS_AT_ONCE = 16  # in the time that an element takes elsewhere
MOST_BYTES = 2**21  # of a block's activations: more do not stay in the L2 cache
# a task of a weight gradient: whole tiles of output features, some products for each image, or some sums of all blocks
TASK_ROWS, TASK_PRODUCTS, TASK_SUMS = 8, 3200, 2048


Update: TypeAlias = tuple[np.ndarray, np.ndarray]


class Updater(Protocol):
    """An optimiser whose step the kernels can take: `SGD`."""

    def update_of(self, parameters: Sequence[Parameter], lr_factor: float) -> Update | None:
        """Where the slots of the parameters lie, and numbers; None: not for these."""


class _Room:
    """Hands out cells of an array, one region behind the other."""

    def __init__(self) -> None:
        self.cells = 0

    def take(self, *shape: int) -> int:
        first, self.cells = self.cells, self.cells + math.prod(shape)
        return first


class Program:
    """The plan of a run of layers for images of one shape: the units, their tables, and arenas to compute in.

    Raises:
        Declined: the layers, or their sizes, are not computed this way.
    """

    def __init__(self, layers: Sequence[Layer], shape: tuple[int, ...], dtype: np.dtype):
        self.shape, self.dtype = shape, dtype
        self.parameters: list[Parameter] = []
        self.tables = np.empty(0, np.uint64)
        self.kept, self.scratch, self.patterns, self.parts = _Room(), _Room(), _Room(), 0
        planned = []
        groups, flattened = stages(layers)
        for stage in groups:
            unit, shape = self._unit(stage, shape)
            planned.append(unit)
        self.result_shape = (math.prod(shape),) if flattened else shape
        self._connect(planned)
        features = math.prod(shape)
        planned[-1] |= {name: self.scratch.take(features) for name in ("logits", "grad_logits", "wanted")}
        for unit in planned:
            plan_maxima(unit, dtype, self._table, self.scratch.take, self.patterns.take)
        size = self.kept.cells * LANES * dtype.itemsize
        if size > MOST_BYTES:
            raise Declined(f"the activations of {LANES} images, {size:,} bytes, are more than {MOST_BYTES:,}")
        self.units = np.array([tuple(unit[name] for name in kinds.FIELDS) for unit in planned], kinds.Unit)
        self.tasks = self._tasks(planned)
        most = max(max(unit["channels"], unit["out_channels"]) for unit in planned)
        self.nothing = np.zeros(most, dtype)
        self._places, self._shapes = Table(), [parameter.value.shape for parameter in self.parameters]
        self._free: dict[str, list[_Arena]] = {kind: [] for kind in (KEPT, PASSED, FEW)}
        self.multiplications = sum(
            unit["out_channels"] * unit["sum_rows"] * unit["sum_columns"]
            * unit["channels"] * unit["kernel_rows"] * unit["kernel_columns"] for unit in planned
        )  # fmt: skip
        self.band = max(unit["out_channels"] * unit["pool_rows"] * unit["sum_columns"] for unit in planned)

    def _number(self, parameter: Parameter | None) -> int:
        if parameter is None:
            return -1
        if any(parameter is other for other in self.parameters):  # two tasks would add to its gradient at once
            raise Declined("a layer is used twice")
        self.parameters.append(parameter)
        return len(self.parameters) - 1

    def _table(self, offsets: np.ndarray) -> int:
        first = len(self.tables)
        self.tables = np.append(self.tables, offsets.ravel().astype(np.int64).astype(np.uint64))
        return first

    def _unit(self, stage: Stage, shape: tuple[int, ...]) -> tuple[dict[str, int], tuple[int, ...]]:
        """The unit without the places that depend on its neighbours, and the shape of its result."""
        stride: Int2
        padding: Padding
        dilation: Int2
        main, unit = stage.main, dict.fromkeys(kinds.FIELDS, 0)
        shape = (math.prod(shape),) if stage.flattened else shape
        if len(shape) != (1 if isinstance(main, Linear) else 3):
            raise Declined(f"{main!r} does not take a shape of {shape}")
        if isinstance(main, Linear):
            main.output_shape((1, *shape))
            image, weight = (shape[0], 1, 1), (*main.weight.value.shape, 1, 1)
            stride, padding, dilation = 1, 0, 1
        else:
            stride, padding, dilation, groups = main.options
            image, weight = (shape[0], shape[1], shape[2]), main.weight.value.shape
            if groups != 1:
                raise Declined(f"{main!r} has groups")
        geometry = conv_geometry("Sequential", image, weight, stride, padding, dilation, 1)
        pads = geometry.pads
        C, H, W = image
        OC, _, KH, KW = weight
        if geometry.phases != 1 or (geometry.rows.dilation, geometry.columns.dilation) != (1, 1):
            raise Declined(f"{main!r} has a stride or a dilation")
        out = OH, OW = geometry.rows.out, geometry.columns.out
        unit |= dict(
            channels=C, rows=H, columns=W, x_row=W + pads[2] + pads[3], out_channels=OC, kernel_rows=KH,
            kernel_columns=KW, top=pads[0], left=pads[2], sum_rows=OH, sum_columns=OW, activation=stage.activation,
            weight=self._number(main.weight), bias=self._number(main.bias), linear=isinstance(main, Linear),
            pool_rows=1, pool_columns=1,
        )  # fmt: skip
        unit["x_plane"] = unit["x_row"] * (H + pads[0] + pads[1])
        unit["x"] = self.kept.take(C, unit["x_plane"])
        if stage.pool is not None:
            out = self._pool(stage, unit, out)
        unit |= dict(y_rows=out[0], y_columns=out[1])
        taps = np.arange(C)[:, None, None] * unit["x_plane"] + np.arange(KH)[:, None] * unit["x_row"] + np.arange(KW)
        unit["terms"], unit["taps_apart"] = self._table(taps * LANES), self._table(taps)
        self._plan_backward(unit)
        result = (OC,) if isinstance(main, Linear) else (OC, *out)
        return unit, result

    def _pool(self, stage: Stage, unit: dict[str, int], size: tuple[int, int]) -> tuple[int, int]:
        pool = stage.pool
        assert pool is not None
        kernel, stride, padding, *rest = pool.options
        dilation, ceil_mode = rest[:2] if isinstance(pool, MaxPool2d) else (1, rest[0])
        geometry = pool_geometry("Sequential", size, kernel, stride, padding, dilation, ceil_mode)
        axes = geometry.rows, geometry.columns
        plain = all(
            (axis.kernel == axis.stride or axis.out == 1) and axis.dilation == 1 and axis.before == axis.after == 0
            for axis in axes
        )
        if (
            not plain
            or any(axis.out * axis.kernel > axis.size for axis in axes)
            or (isinstance(pool, AvgPool2d) and pool.options[5] is not None)
        ):
            raise Declined(f"{pool!r} has windows that overlap, are padded or have a divisor of their own")
        OC, out = unit["out_channels"], (axes[0].out, axes[1].out)
        unit |= dict(pool=POOLS[type(pool)], pool_rows=axes[0].kernel, pool_columns=axes[1].kernel)
        if unit["pool"] == kinds.MAX:
            unit["indices"] = self.kept.take(OC, *out)
        # the activation of the largest, and not the largest activation, which may be another one after rounding
        simple = unit["activation"] in (kinds.NONE, kinds.RELU)
        windows = unit["pool_rows"], unit["pool_columns"]
        unit["pool_of_sums"] = int(unit["pool"] == kinds.MAX and simple and windows == (2, 2))
        unit["kept"] = int(unit["pool"] == kinds.AVERAGE and stage.activation != kinds.NONE)
        if unit["kept"]:
            unit["sums"] = self.kept.take(OC, *size)
        else:
            unit["sums"] = self.scratch.take(OC, axes[0].kernel, size[1])
        return out

    def _plan_backward(self, unit: dict[str, int]) -> None:
        C, OC, KH, KW = (unit[name] for name in ("channels", "out_channels", "kernel_rows", "kernel_columns"))
        unit["grad_y"] = self.scratch.take(OC, unit["y_rows"], unit["y_columns"])
        # zeros beside a row of gradients where taps of pixels near the edge read; none where the padding is that wide
        unit["grad_left"] = max(KW - 1 - unit["left"], 0)
        first_read = unit["grad_left"] + unit["left"]  # by the first pixel's first tap
        unit["grad_row"] = max(first_read + unit["columns"], unit["grad_left"] + unit["sum_columns"])
        unit["grad_plane"] = unit["sum_rows"] * unit["grad_row"]
        unit["grad_sums"] = (self.kept if unit["linear"] else self.scratch).take(OC, unit["grad_plane"])
        if unit["linear"]:
            unit["samples"] = self.kept.take(C)
        else:
            unit["parts"], self.parts = self.parts, self.parts + OC * (C * KH * KW + 1)
        ky, oc, kx = np.arange(KH)[:, None, None], np.arange(OC)[:, None], np.arange(KW)
        unit["back_terms"] = self._table((oc * C * KH * KW + ky * KW + kx).ravel())
        inputs = oc * unit["grad_plane"] - ky * unit["grad_row"] + first_read - kx
        unit["back_inputs"] = self._table(inputs.ravel() * LANES)

    def _connect(self, planned: list[dict[str, int]]) -> None:
        """Let each unit write its result into the next one's input, and its input's gradient into the last one's."""
        for i, unit in enumerate(planned):
            follower = planned[i + 1] if i + 1 < len(planned) else None
            if follower is None or follower["linear"]:
                size = unit["y_rows"] * unit["y_columns"]
                place = follower["x"] if follower else self.kept.take(unit["out_channels"], size)
                unit |= dict(y=place, y_row=unit["y_columns"], y_plane=size)
            else:
                place = follower["x"] + follower["top"] * follower["x_row"] + follower["left"]
                unit |= dict(y=place, y_row=follower["x_row"], y_plane=follower["x_plane"])
            before = planned[i - 1]["grad_y"] if i else 0
            unit["grad_x"] = before if i else self.scratch.take(unit["channels"], unit["rows"], unit["columns"])

    @staticmethod
    def _tasks(planned: list[dict[str, int]]) -> np.ndarray:
        """Tasks that take about as long as each other: threads get as many successive ones each."""
        tasks = []
        for u, unit in enumerate(planned):
            OC = unit["out_channels"]
            taps = unit["channels"] * unit["kernel_rows"] * unit["kernel_columns"]
            rows = max(TASK_PRODUCTS // taps // TASK_ROWS, 1) * TASK_ROWS
            total, step = (OC, rows) if unit["linear"] else (OC * (taps + 1), TASK_SUMS)
            tasks += [(u, first, min(step, total - first)) for first in range(0, total, step)]
        return np.array(tasks, np.int64).reshape(-1, 3)

    def ready(self) -> bool:
        """Note where the parameters and their gradients are; whether the kernels can compute with them."""
        parameters = self.parameters
        arrays = [parameter.value for parameter in parameters] + [parameter.grad_array for parameter in parameters]
        if self._places.holds(arrays):
            return True
        if any(a.dtype != self.dtype or not a.flags.carray for a in arrays):  # kernels write to them
            return False
        if any(a.shape != shape for a, shape in zip(arrays, self._shapes * 2)):
            return False
        self._places.fill(arrays)
        self.values, self.grads = np.split(self._places.addresses, 2)
        return True

    def _take(self, kind: str, blocks: int = 0) -> _Lease:
        """An arena of a kind, for so many blocks, a used one if there is one that is large enough."""
        free = self._free[kind]
        while free:
            try:
                arena = free.pop()
            except IndexError:  # another thread took it
                break
            if kind != KEPT or len(arena.cells) >= blocks:
                return _Lease(arena)
        return _Lease(_Arena(self, kind, blocks))

    def run_few(self, x: np.ndarray) -> np.ndarray:
        """The results for a batch of less than FEW_IMAGES images."""
        lease, y = self._take(FEW), np.empty((len(x), *self.result_shape), self.dtype)
        forward = small_batch.forward_few.sized(len(x) * self.multiplications // MULTIPLICATIONS_AT_ONCE)
        forward(
            self.units, self.tables, self.values, self.nothing, ready(x, self.dtype).reshape(-1), lease.arena.cells,
            lease.arena.scratch, y.reshape(-1),
        )  # fmt: skip
        return y

    def run(self, x: np.ndarray, keep: bool) -> tuple[np.ndarray, _Lease]:
        """The results for a batch, and the arena that holds its activations where `keep`."""
        lease = self._take(KEPT, -(-len(x) // LANES)) if keep else self._take(PASSED)
        arena = lease.arena
        y = np.empty((len(x), *self.result_shape), self.dtype)
        flat = ready(x, self.dtype).reshape(-1)
        entries, size = kernels.entries_of(self.dtype, False), math.prod(self.shape)
        for part in parts(len(x), self.multiplications, LANES):
            cells = arena.cells[part.start // LANES :] if keep else arena.cells
            kernels.forward(
                entries, self.units, self.tables, self.values, self.nothing, flat[part.start * size : part.stop * size],
                keep, cells, arena.scratch[: get_num_threads()], y[part].reshape(-1),
            )  # fmt: skip
        return y, lease

    def backward(self, grad_y: np.ndarray, lease: _Lease, need_x: bool) -> np.ndarray | None:
        """Add to the parameters' gradients; the gradient of the batch where it is needed."""
        grad_x = np.empty((len(grad_y), *self.shape) if need_x else 0, self.dtype)
        nothing, nobody = np.empty(0, self.dtype), np.empty(0, np.int64)
        flat = ready(grad_y, self.dtype).reshape(-1)
        self._backward(lease.arena, nothing, nobody, np.empty(0), flat, grad_x.reshape(-1))
        return grad_x if need_x else None

    def learn(self, x: np.ndarray, labels: np.ndarray, update: Update | None = None) -> float:
        """Add the gradients of the mean cross-entropy with the class ids to the parameters', and return it.

        With an update, the parameters are changed as well.
        """
        lease, losses = self._take(KEPT, -(-len(x) // LANES)), np.empty(len(x))
        nothing, flat = np.empty(0, self.dtype), ready(x, self.dtype).reshape(-1)
        ids = ready(labels, np.dtype(np.int64))
        self._backward(lease.arena, flat, ids, losses, nothing, nothing, update)
        return 0.0 + float(losses.sum()) / len(x)  # as `cross_entropy` does

    def _backward(
        self, arena: _Arena, x: np.ndarray, labels: np.ndarray, losses: np.ndarray, grad_y: np.ndarray,
        grad_x: np.ndarray, update: Update | None = None,
    ) -> None:  # fmt: skip
        grads, parameters = self.grads, self.parameters
        frozen = [i for i, parameter in enumerate(parameters) if not parameter.trainable]
        if frozen:
            grads = grads.copy()
            grads[frozen] = 0
        fresh = np.array([parameter.begin() if parameter.trainable else False for parameter in parameters])
        velocities, numbers = update or (np.empty(0, np.int64), np.empty(0, self.dtype))
        kernels.backward(
            kernels.entries_of(self.dtype, True), self.units, self.tables, self.values, self.nothing, x, labels,
            losses, grad_y, arena.cells, arena.scratch[: get_num_threads()], arena.patterns, arena.parts, self.tasks,
            grads, fresh, velocities, numbers, grad_x,
        )  # fmt: skip


class _Arena:
    """The memory of one pass through a program, used again by later ones."""

    def __init__(self, program: Program, kind: str, blocks: int):
        threads, dtype = numba.config.NUMBA_NUM_THREADS, program.dtype
        self.free = program._free[kind]
        if kind == FEW:
            self.cells = _zeros(FEW_IMAGES, program.kept.cells, dtype)
            self.scratch = _zeros(FEW_IMAGES, program.band, dtype)
            return
        self.cells = _zeros(blocks if kind == KEPT else threads, program.kept.cells * LANES, dtype)
        self.scratch = _zeros(threads, program.scratch.cells * LANES, dtype)
        self.patterns = _zeros(1, program.patterns.cells * LANES if kind == KEPT else 0, dtype)[0]
        self.parts = np.empty((blocks if kind == KEPT else 0, program.parts), dtype)


def _zeros(rows: int, columns: int, dtype: np.dtype) -> np.ndarray:
    """Zeros whose first lies at the start of a cache line, so that no cell lies in two of them."""
    count, line = rows * columns, 64
    spare = np.zeros(count + line // dtype.itemsize, dtype)
    first = -spare.ctypes.data % line // dtype.itemsize
    return spare[first : first + count].reshape(rows, columns)


class _Lease:
    """Keeps an arena from being used by another pass as long as this object is referred to."""

    def __init__(self, arena: _Arena):
        self.arena = arena

    def __del__(self) -> None:
        self.arena.free.append(self.arena)
