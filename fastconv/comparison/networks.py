"""What is compared: each network with the batch, the images and the jobs that suit its size."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from fastconv.models import IMAGE_SHAPES, MODELS, small_resnet
from fastconv.nn import Sequential


class Network(NamedTuple):
    """A network, and what is done with it.

    Attributes:
        title: its name in tables.
        make: a new one, from `rng` and `dtype`.
        image_shape: (C, H, W).
        batch_size: images a step, where nothing else is asked for.
        images: how many of them inference takes at once.
        epoch: whether an epoch is timed too: where a step is short, what is around it counts.
    """

    title: str
    make: Callable[..., Sequential]
    image_shape: tuple[int, int, int]
    batch_size: int = 64
    images: int = 256
    epoch: bool = False

    @property
    def jobs(self) -> tuple[str, ...]:
        """The names of what is timed."""
        return ("step", *(["epoch"] if self.epoch else []), "1 image", f"{self.images} images")


DEFAULT = "lenet5"
TITLES = {DEFAULT: "LeNet-5"}
BATCH_SIZES = {"deep-convnet": 100, "mnist-cnn": 128, "vgg-small": 16}


def _network(name: str) -> Network:
    shape = IMAGE_SHAPES[name]
    images = {28: 256, 32: 64, 64: 16}[shape[1]]  # about as many pixels, so that NumPy has the memory for it
    batch_size = BATCH_SIZES.get(name, 64)
    return Network(TITLES.get(name, name), MODELS[name], shape, batch_size, images, name.startswith("lenet5"))


NETWORKS: dict[str, Network] = {name: _network(name) for name in MODELS} | {
    "small-resnet-wide": Network(
        "small-resnet, 16-32-64-64",
        functools.partial(small_resnet, in_channels=3, channels=(16, 32, 64, 64)), (3, 32, 32), images=64,
    ),
}  # fmt: skip
