"""fastconv's functions inside users' own jitted code: `@njit def f(x, w): return fastconv.conv2d(x, w, stride=2)`.

Numba imports this, through the entry point in `pyproject.toml`, before it compiles or loads anything. Each module
gives functions of `functional` a second form. What Python decides when a function is called is divided in two:

- by types, when the user's function is compiled: dtypes, ranks, the forms of arguments. Errors of that kind are raised
  then, as the DTypeError, ShapeError, TypeError or ValueError that Python code gets, not as Numba's.
- by values, when it runs: sizes and their errors, the plan, and what it says, all by the text that Python runs too
  (`_geometry`, `_plans`, `_engine`), with the same kernels on the calling thread. No thread is started, so that a call
  inside the user's `prange` is as good as one outside.

That text is compiled apart, with fastconv's own cache on disk, and only when it is first called (`linking`); the form
for one call's types, which is compiled with the user's function, converts arguments and calls it.

Results have Python's bits, also with `out`, but for powers (`local_response_norm`), which are the C library's and not
NumPy's, and for the sums of losses, softmax and log_softmax, whose terms NumPy adds in pairs.

Not in jitted code:

- float16; `algorithm="im2col"`; `out` for max-pooling of integers narrower than 64 bits; lists in place of tuples;
- `layout`, `order`, `mode` and `needs` that are not known when the function is compiled (constants and globals are);
- a seed, or None, as the `rng` of dropout: Numba cannot make a NumPy generator, but it takes one that is given;
- `use_backend` and `set_num_threads`, which count for Python alone.

Three things are Numba's way: arguments after the `*` may also be given by position; an error inside `prange` ends it
with a SystemError whose cause is fastconv's error; and a function that raises keeps its arguments' memory.
"""

from fastconv._overloads import activation, conv, linear, norm, windows  # noqa: F401

__all__ = ["init"]


def init() -> None:
    """What Numba calls; the imports above have done it."""
