"""The first calls that users make, each for a process of its own, and what such a process says of itself."""

from __future__ import annotations

CALLS = {
    "conv2d": "fastconv.conv2d(x, w)",
    "conv2d with gradients": "fastconv.conv2d_backward(fastconv.conv2d(x, w), x, w)",
    "LeNet-5, first step": (
        "from fastconv.models import lenet5; from fastconv.optim import SGD; from fastconv.training import train_step;"
        " m = lenet5(rng=0); train_step(m, images, labels, SGD(m.parameters(), 0.03, 0.9))"
    ),
}

# CPU time and wall time beyond `import numba`, which users of Numba pay anyway
SCRIPT = """
import json, sys, time
import numpy as np
import numba.core.event
class Compilations(numba.core.event.Listener):
    count = 0
    def on_start(self, event):
        Compilations.count += 1
    def on_end(self, event):
        pass
numba.core.event.register("numba:compile", Compilations())
x, w = np.ones((8, 3, 32, 32), np.float32), np.ones((16, 3, 5, 5), np.float32)
images, labels = np.ones((64, 1, 28, 28), np.float32), np.zeros(64, np.int64)
cpu, wall = time.process_time(), time.perf_counter()
import fastconv
imported = time.process_time()
exec(sys.argv[1])
found = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall, "import": imported - cpu}
from fastconv._runtime import forms
print(json.dumps({**found, "compilations": Compilations.count, "counts": forms.COUNTS}))
"""
