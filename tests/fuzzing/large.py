"""Arrays of more than 2^31 elements, by hand: `PYTHONPATH=tests python -m fuzzing.large`; takes 20 GB of memory.

Inputs are zeros that the system does not store, but for some cells at the ends and around the 2^31st.
"""

from __future__ import annotations

import numpy as np

import fastconv

SIDE = 46400  # SIDE**2 is a little more than 2**31
CELLS = ((0, 0), (1, 1), (SIDE // 2, 7), (2**31 // SIDE, 2**31 % SIDE), (SIDE - 2, SIDE - 1), (SIDE - 1, SIDE - 1))


def plane(side: int = SIDE) -> np.ndarray:
    """Zeros, but for numbers at CELLS."""
    x = np.zeros((1, 1, side, side), np.float32)
    for number, (row, column) in enumerate(CELLS, 1):
        if row < side and column < side:
            x[0, 0, row, column] = number
    return x


def same(name: str, found: np.ndarray, cells: dict[tuple[int, int], float]) -> None:
    """Assert that a plane is zero but for these cells."""
    image = found.reshape(found.shape[-2:])
    total = sum(float(np.abs(image[row : row + 4096]).sum(dtype=np.float64)) for row in range(0, len(image), 4096))
    for cell, value in cells.items():
        assert image[cell] == value, (name, cell, image[cell], value)
    assert total == sum(map(abs, cells.values())), (name, total)
    print(f"{name}: {image.size:,} elements right", flush=True)


def main() -> None:
    """Run each function once."""
    x = plane()
    values = {cell: float(number) for number, cell in enumerate(CELLS, 1)}
    same("relu", fastconv.relu(x), values)
    weight = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    expected: dict[tuple[int, int], float] = {}
    for (row, column), value in values.items():
        for ky in range(3):
            for kx in range(3):
                cell = row - ky, column - kx
                if 0 <= cell[0] <= SIDE - 3 and 0 <= cell[1] <= SIDE - 3:
                    expected[cell] = expected.get(cell, 0.0) + value * weight[0, 0, ky, kx]
    same("conv2d", fastconv.conv2d(x, weight), {k: float(v) for k, v in expected.items()})
    g = plane(SIDE - 2)
    spread: dict[tuple[int, int], float] = {}
    for (row, column), value in values.items():
        if row < SIDE - 2 and column < SIDE - 2:
            for ky in range(3):
                for kx in range(3):
                    cell = row + ky, column + kx
                    spread[cell] = spread.get(cell, 0.0) + float(value * weight[0, 0, ky, kx])
    same("conv2d_backward of x", fastconv.conv2d_backward(g, x, weight, needs=(True, False, False))[0], spread)
    _, grad, bias = fastconv.conv2d_backward(g, x, weight, needs=(False, True, True))
    right = np.zeros((3, 3))
    for (row, column), value in values.items():
        for ky in range(3):
            for kx in range(3):
                if row + ky < SIDE and column + kx < SIDE and row < SIDE - 2 and column < SIDE - 2:
                    right[ky, kx] += value * x[0, 0, row + ky, column + kx]
    assert np.array_equal(grad[0, 0], right), (grad, right)
    assert bias.item() == g.sum(dtype=np.float64), bias
    print("conv2d_backward of the weights and the bias: right", flush=True)
    y, indices = fastconv.max_pool2d_with_indices(x, 2)
    pooled: dict[tuple[int, int], float] = {}
    for (row, column), value in values.items():
        cell = row // 2, column // 2
        pooled[cell] = max(pooled.get(cell, 0.0), value)
    same("max_pool2d", y, pooled)
    assert indices[0, 0, -1, -1] == SIDE * SIDE - 1 and indices.dtype == np.int64
    maxima = {divmod(int(indices[(0, 0, *cell)]), SIDE): value for cell, value in pooled.items()}
    same("max_pool2d_backward", fastconv.max_pool2d_backward(y, indices, x.shape), maxima)
    del indices
    means: dict[tuple[int, int], float] = {}
    for (row, column), value in values.items():
        cell = row // 2, column // 2
        means[cell] = means.get(cell, 0.0) + value / 4
    same("avg_pool2d", fastconv.avg_pool2d(x, 2), means)
    grad_x = fastconv.avg_pool2d_backward(y, x.shape, 2)
    same("avg_pool2d_backward", grad_x, {
        (2 * row + i, 2 * column + j): value / 4
        for (row, column), value in pooled.items() for i in range(2) for j in range(2)
    })  # fmt: skip
    del grad_x, y
    cols = fastconv.im2col(x, 2, 2)
    assert cols.size == SIDE * SIDE and cols[-1, -1] == x[0, 0, -1, -1] and cols.sum(dtype=np.float64) == x.sum()
    print("im2col: right", flush=True)
    same("col2im", fastconv.col2im(cols, x.shape, 2, 2), values)


if __name__ == "__main__":
    main()
