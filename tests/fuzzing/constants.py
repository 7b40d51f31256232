"""Sums of one sign: constant and slowly growing data, whose sums drift where random data's do not."""

from __future__ import annotations

import numpy as np

import fastconv
from fuzzing.hunt import Findings, Hunt


def _bound(terms: int) -> float:
    """The promised error of a sum of so many terms, for each unit of the sum of their sizes."""
    return (8 + 2 * np.sqrt(terms)) * 2.0**-24


def _judge(found: np.ndarray, terms: int, total: float, size: float) -> None:
    error = np.abs(np.asarray(found, np.float64) - total).max()
    limit = _bound(terms) * size
    assert error <= limit, f"{error / limit:.2f} times the bound of {terms:,} terms"


def _cut(rng: np.random.Generator, terms: int, parts: int) -> list[int]:
    """`parts` factors whose product is up to `terms`."""
    factors = []
    for left in range(parts, 0, -1):
        share = terms ** (1 / left)
        factors.append(int(np.clip(round(share * np.exp(rng.normal(0, 0.7))), 1, terms)) if left > 1 else max(terms, 1))
        terms //= factors[-1]
    rng.shuffle(factors)
    return factors


def _last(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


class _Case:
    """Two arrays of constants, or of one that grows along an axis, and how exact the sums of their products are."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.a, self.b = (np.float32(v) for v in rng.uniform(0.1, 2, 2))
        self.grows = rng.random() < 0.3

    def full(self, shape: tuple[int, ...], value: np.float32) -> np.ndarray:
        return np.full(shape, value, np.float32)

    def forward(self) -> str:
        terms = int(2 ** self.rng.uniform(5, 22))
        C, KH, KW = _cut(self.rng, terms, 3)
        OC, more = int(self.rng.choice([1, 3, 17, 64])), int(self.rng.integers(1, 4))
        while OC * C * KH * KW * more * more > 2**27 and OC > 1:
            OC //= 4
        terms = C * KH * KW
        x, weight = self.full((1, C, KH + more - 1, KW + more - 1), self.a), self.full((OC, C, KH, KW), self.b)
        if self.grows:
            weight *= np.linspace(0.5, 1, terms, dtype=np.float32).reshape(C, KH, KW)
        total = float(self.a) * float(weight[0].sum(dtype=np.float64))
        algorithm, layout = (
            ("im2col", "NCHW") if self.rng.random() < 0.2 else ("auto", str(self.rng.choice(["NCHW", "NHWC"])))
        )
        if layout == "NHWC":
            x, weight = _last(x), _last(weight)
        _judge(fastconv.conv2d(x, weight, layout=layout, algorithm=algorithm), terms, total, total)
        return "forward"

    def input_gradient(self) -> str:
        terms = int(2 ** self.rng.uniform(5, 18))
        OC, K = _cut(self.rng, terms, 2)
        KH, KW = _cut(self.rng, K, 2)
        stride = int(self.rng.choice([1, 1, 2, 3]))
        out = tuple(-(-2 * k // stride) for k in (KH, KW))
        size = tuple((n - 1) * stride + k for n, k in zip(out, (KH, KW)))
        g, weight = self.full((1, OC, *out), self.a), self.full((OC, 2, KH, KW), self.b)
        x = self.full((1, 2, *size), np.float32(1))
        layout = str(self.rng.choice(["NCHW", "NHWC"]))
        arrays = (g, x, weight) if layout == "NCHW" else tuple(map(_last, (g, x, weight)))
        grad = fastconv.conv2d_backward(*arrays, stride, layout=layout, needs=(True, False, False))[0]
        grad = grad if layout == "NCHW" else grad.transpose(0, 3, 1, 2)
        counts = [np.convolve(np.repeat(1, n), np.ones(k)) if stride == 1 else self._counts(n, k, stride, s)
                  for n, k, s in zip(out, (KH, KW), size)]  # fmt: skip
        reach = np.outer(*counts)
        for count in np.unique(reach):
            n = int(count) * OC
            total = n * float(self.a) * float(self.b)
            if n:
                _judge(grad[0][:, reach == count], n, total, total)
        return "input gradient"

    @staticmethod
    def _counts(out: int, kernel: int, stride: int, size: int) -> np.ndarray:
        found = np.zeros(size)
        for o in range(out):
            found[o * stride : o * stride + kernel] += 1
        return found

    def parameter_gradients(self) -> str:
        terms = int(2 ** self.rng.uniform(5, 22))
        N, OH, OW = _cut(self.rng, terms, 3)
        C, OC, K = int(self.rng.choice([1, 4, 48])), int(self.rng.choice([1, 4, 16])), int(self.rng.choice([1, 2, 3]))
        while N * OH * OW * C * OC * K * K > 2**29 and max(C, OC) > 1:
            C, OC = max(C // 4, 1), max(OC // 4, 1)
        if N * C * (OH + K) * (OW + K) > 2**26:
            C = OC = 1
        terms = N * OH * OW
        x, g = self.full((N, C, OH + K - 1, OW + K - 1), self.a), self.full((N, OC, OH, OW), self.b)
        groups = C if OC % C == 0 and self.rng.random() < 0.2 else 1
        weight = self.full((OC, C // groups, K, K), np.float32(1))
        layout = str(self.rng.choice(["NCHW", "NHWC"]))
        arrays = (g, x, weight) if layout == "NCHW" else tuple(map(_last, (g, x, weight)))
        _, grad, bias = fastconv.conv2d_backward(*arrays, groups=groups, layout=layout, needs=(False, True, True))
        total = terms * float(self.a) * float(self.b)
        _judge(grad, terms, total, total)
        _judge(bias, terms, terms * float(self.b), terms * float(self.b))
        return "gradients of weights and bias"

    def linear(self) -> str:
        terms = int(2 ** self.rng.uniform(5, 20))
        total = terms * float(self.a) * float(self.b)
        x, weight = self.full((3, terms), self.a), self.full((5, terms), self.b)
        _judge(fastconv.linear(x, weight), terms, total, total)
        g, rows = self.full((terms, 3), self.a), self.full((terms, 5), self.b)
        _, grad, bias = fastconv.linear_backward(g, rows, np.ones((3, 5), np.float32))
        _judge(grad, terms, total, total)
        _judge(bias, terms, terms * float(self.a), terms * float(self.a))
        return "linear layers"

    def mean(self) -> str:
        terms = int(2 ** self.rng.uniform(2, 22))
        KH, KW = _cut(self.rng, terms, 2)
        terms, stride = KH * KW, int(self.rng.choice([1, 2, 3]))
        y = fastconv.avg_pool2d(self.full((1, 2, KH + 4, KW + 4), self.a), (KH, KW), stride)
        _judge(y * np.float64(terms), terms, terms * float(self.a), terms * float(self.a) * (1 + 1e-3))
        return "means"


KINDS = (_Case.forward, _Case.input_gradient, _Case.parameter_gradients, _Case.linear, _Case.mean)


def run(cases: int, seed: int, findings: Findings) -> None:
    """Draw constants and sizes."""
    for number in range(cases):
        case = _Case(np.random.default_rng([seed, number]))
        kind = KINDS[number % len(KINDS)]
        with findings.case(kind.__name__.replace("_", " "), f"case {number} of seed {seed}, {kind.__name__}"):
            kind(case)


HUNT = Hunt(
    "The error of a float32 sum is at most `(8 + 2*sqrt(n)) * eps/2` times the sum of the sizes of its n terms, for "
    "constant and growing data as for random data, up to 2^22 terms.",
    "Convolutions in both layouts, their three gradients, linear layers and means of drawn constants and sizes, judged "
    "by the exact sum.",
    run,
    short=100,
    long=3000,
)
