"""The tutorial's package of networks."""

from fastconv.compat.numpy_ml.neural_nets import activations, initializers, layers, optimizers, utils

__all__ = ["activations", "initializers", "layers", "optimizers", "utils"]
