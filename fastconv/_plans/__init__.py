"""What computes a convolution and its gradients, decided once for all calls alike: data, which the engine carries out.

A plan is a pure function of sizes, the batch, the dtype, the layout and the processor (`Host`), in the part of Python
that Numba compiles as well. It holds the algorithm, where the input lies, the block sizes, what is done where the data
do not allow the algorithm, and what was rejected and why.
"""
