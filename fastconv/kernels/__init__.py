"""Compiled kernels: checked C-contiguous arrays in, results written to array arguments, no checks, no layers.

Every element of a result is written by one iteration of the parallel loop, which sums its terms in a fixed order:
the same bits come out for any number of threads.
"""
