"""The tutorial's package of networks, of which the model is offered at the top."""

from fastconv.compat.mlfromscratch.deep_learning.neural_network import NeuralNetwork

__all__ = ["NeuralNetwork"]
