"""Micro-kernels: register tiles written in LLVM's language, and the loops right around them."""
