"""fastconv's functions inside users' own jitted code: `@njit def f(x, w): return fastconv.conv2d(x, w, stride=2)`.

Numba imports this, through the entry point in `pyproject.toml`, before it compiles or loads anything. Each module
gives functions of `functional` a second form. What Python decides when a function is called is divided in two:

- by types, when the user's function is compiled: dtypes, ranks, the forms of arguments. Errors of that kind are raised
  then, as the DTypeError, ShapeError, TypeError or ValueError that Python code gets, not as Numba's.
- by values, when it runs: sizes and their errors, from the same functions of integers (`_axes`, `_planes`) that Python
  uses; then the serial twins of the same kernels. No thread is started, so that a call inside the user's `prange` is
  as good as one outside.

What takes long to compile is in helpers with fastconv's own cache on disk (`linking`); the form for one call's types,
which is compiled with the user's function, converts arguments and calls those.

Not in jitted code: float16; `algorithm="im2col"`; `layout`, `order` and `needs` that are not known when the function
is compiled (a constant or a global is); lists in place of tuples. `use_backend` and `set_num_threads` do not count.
An error inside `prange` ends it with a SystemError whose cause is fastconv's error: Numba's way.
"""

from fastconv._overloads import activation, conv, conv_backward, im2col, linear, loss, pool

__all__ = ["activation", "conv", "conv_backward", "im2col", "init", "linear", "loss", "pool"]


def init() -> None:
    """What Numba calls; the imports above have done it."""
