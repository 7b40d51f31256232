"""Optimisers: they change the parameters of a model in place, from the gradients that have come in."""

from __future__ import annotations

from collections.abc import Callable

from fastconv.optim.adaptive import Adagrad, Adam, AdamW, RMSprop
from fastconv.optim.clipping import clip_grad_norm, clip_grad_value
from fastconv.optim.schedules import constant, cosine, exponential, inverse_sqrt, step
from fastconv.optim.sgd import SGD, Optimizer

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm",
    "clip_grad_value",
    "constant",
    "cosine",
    "exponential",
    "inverse_sqrt",
    "step",
]

# What the command offers, by name; the optimisers with the settings that suit LeNet-5 at batch 64.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": constant,
    "step": step,
    "exponential": exponential,
    "cosine": cosine,
    "inverse_sqrt": inverse_sqrt,
}
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": lambda p, lr=0.03, momentum=0.9: SGD(p, lr, momentum),
    "adagrad": lambda p, lr=0.01: Adagrad(p, lr),
    "rmsprop": lambda p, lr=1e-3: RMSprop(p, lr),
    "adam": lambda p, lr=1e-3: Adam(p, lr),
    "adamw": lambda p, lr=1e-3: AdamW(p, lr),
}
