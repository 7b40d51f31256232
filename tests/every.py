"""What a table of tests has a row for: every public function that takes an array, and every layer."""

from __future__ import annotations

from fastconv import functional, nn

FUNCTIONS = set(functional.__all__) - {"conv_output_shape"}  # of sizes
LAYERS = {v for v in vars(nn).values() if isinstance(v, type) and issubclass(v, nn.Layer) and v is not nn.Layer}
LAYER_NAMES = {layer.__name__ for layer in LAYERS}
# without kernels on threads of their own: what NumPy computes, and what runs the kernels of conv2d and its gradients;
# the gradients likewise
ON_NUMPY = {
    "sigmoid", "tanh", "softmax", "log_softmax", "cross_entropy", "local_response_norm", "dropout", "dropout_with_mask",
}  # fmt: skip
BY_CONV2D = {"conv1d", "correlate2d", "convolve2d", "conv_transpose2d"}
