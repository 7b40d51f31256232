"""Convolutional networks as tutorials write them by hand, to measure fastconv against: NumPy and Python loops."""

from __future__ import annotations

import numpy as np


class IndexedConv:
    """A 3 x 3 "same" convolution whose columns are picked by arrays of indices, forward and backward."""

    def __init__(self, weight: np.ndarray):
        self.weight = weight

    def step(self, x: np.ndarray, grad_y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The result, the gradient of the weights, and that of x."""
        N, C, H, W = x.shape
        k, ky, kx = np.indices((C, 3, 3)).reshape(3, -1, 1)
        oy, ox = np.indices((H, W)).reshape(2, 1, -1)
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
        columns = padded[:, k, oy + ky, ox + kx].transpose(1, 2, 0).reshape(C * 9, -1)
        filters = self.weight.reshape(len(self.weight), -1)
        y = (filters @ columns).reshape(-1, H, W, N).transpose(3, 0, 1, 2)
        g = grad_y.transpose(1, 2, 3, 0).reshape(len(filters), -1)
        grad_columns = (filters.T @ g).reshape(C * 9, -1, N).transpose(2, 0, 1)
        grad_padded = np.zeros_like(padded)
        np.add.at(grad_padded, (slice(None), k, oy + ky, ox + kx), grad_columns)
        return y, (g @ columns.T).reshape(self.weight.shape), grad_padded[:, :, 1:-1, 1:-1]


class LoopedLeNet:
    """`fastconv.models.lenet5_by_hand` channels last, its windows gathered and spread by Python loops."""

    def __init__(self, weights: list[np.ndarray]):
        self.weights = weights

    def gradients(self, x: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
        """Those of the mean cross-entropy with one-hot labels, in the order of the weights."""
        filters1, filters2, dense1, dense2 = self.weights
        columns1, z1 = _convolved(x, filters1)
        pooled1, index1 = _pooled(np.maximum(z1, 0))
        columns2, z2 = _convolved(pooled1, filters2)
        pooled2, index2 = _pooled(np.maximum(z2, 0))
        flat = pooled2.transpose(0, 3, 1, 2).reshape(len(x), -1)
        z3 = flat @ dense1
        a3 = np.maximum(z3, 0)
        powers = np.exp(a3 @ dense2)
        g = (powers / powers.sum(axis=1, keepdims=True) - labels) / len(x)
        grad_dense2, g = a3.T @ g, g @ dense2.T * (z3 > 0)
        grad_dense1, g = flat.T @ g, g @ dense1.T
        N, H, W, C = pooled2.shape
        g = _spread(g.reshape(N, C, H, W).transpose(0, 2, 3, 1), index2, z2.shape) * (z2 > 0)
        grad_filters2 = _filters(g, columns2, filters2.shape)
        turned = filters2[:, ::-1, ::-1].transpose(3, 1, 2, 0)
        _, g = _convolved(np.pad(g, ((0, 0), (2, 2), (2, 2), (0, 0))), turned)
        g = _spread(g, index1, z1.shape) * (z1 > 0)
        return [_filters(g, columns1, filters1.shape), grad_filters2, grad_dense1, grad_dense2]


def _convolved(x: np.ndarray, filters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The windows as rows, taps by channel, and the convolution."""
    (N, H, W, C), (F, K) = x.shape, filters.shape[:2]
    OH, OW = H - K + 1, W - K + 1
    columns = np.zeros((N * OH * OW, C * K * K))
    row = 0
    for n in range(N):
        for y in range(OH):
            for x_ in range(OW):
                for c in range(C):
                    columns[row, c * K * K : (c + 1) * K * K] = x[n, y : y + K, x_ : x_ + K, c].ravel()
                row += 1
    return columns, (columns @ filters.transpose(3, 1, 2, 0).reshape(-1, F)).reshape(N, OH, OW, F)


def _filters(g: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    F, K, _, C = shape
    return (g.reshape(-1, F).T @ columns).reshape(F, C, K, K).transpose(0, 2, 3, 1)


def _pooled(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest of every 2 x 2 pixels, and where it is among them."""
    N, H, W, C = x.shape
    pooled, index = np.zeros((N, H // 2, W // 2, C)), np.zeros((N, H // 2, W // 2, C), int)
    for n in range(N):
        for y in range(H // 2):
            for x_ in range(W // 2):
                for c in range(C):
                    window = x[n, 2 * y : 2 * y + 2, 2 * x_ : 2 * x_ + 2, c].ravel()
                    index[n, y, x_, c] = window.argmax()
                    pooled[n, y, x_, c] = window[index[n, y, x_, c]]
    return pooled, index


def _spread(g: np.ndarray, index: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    result = np.zeros(shape)
    for n, y, x, c in np.ndindex(*g.shape):
        place = index[n, y, x, c]
        result[n, 2 * y + place // 2, 2 * x + place % 2, c] = g[n, y, x, c]
    return result
