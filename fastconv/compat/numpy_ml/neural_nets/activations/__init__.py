"""Activations: called with an array, with their first and second derivatives `grad` and `grad2` at the argument."""

from fastconv.compat.numpy_ml.neural_nets.activations.base import ActivationBase
from fastconv.compat.numpy_ml.neural_nets.activations.naming import activation_of
from fastconv.compat.numpy_ml.neural_nets.activations.pieces import (
    ELU,
    SELU,
    Affine,
    HardSigmoid,
    Identity,
    LeakyReLU,
    ReLU,
)
from fastconv.compat.numpy_ml.neural_nets.activations.smooth import GELU, Exponential, Sigmoid, SoftPlus, Tanh

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "ActivationBase",
    "Affine",
    "Exponential",
    "HardSigmoid",
    "Identity",
    "LeakyReLU",
    "ReLU",
    "Sigmoid",
    "SoftPlus",
    "Tanh",
    "activation_of",
]
