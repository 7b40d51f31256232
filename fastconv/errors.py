"""The errors fastconv raises, each also the built-in error a caller would expect."""

from __future__ import annotations


class Formatted(Exception):
    """An error whose text is filled in with values as `str.format` does it, where there are any.

    Compiled code hands the values over; to write them into a text there takes Numba a second to compile.
    """

    def __init__(self, text: str = "", *values: object):
        super().__init__(text.format(*values) if values else text)


class ShapeError(Formatted, ValueError):
    """A shape, or a size such as a stride or a padding, does not fit the others."""


class RangeError(Formatted, ValueError):
    """A number, or values inside an array such as class ids or indices, are out of their range."""


class TooLargeError(Formatted, MemoryError):
    """A result or a copy would not fit into the machine's memory."""


class DTypeError(TypeError):
    """An argument is not a NumPy array of a supported dtype."""


class DataError(ValueError):
    """A file's content is not what its format, its name or its companion files say."""


class MissingExtraError(ImportError):
    """A feature needs an optional package; the message names the extra to install."""


class DivergenceError(ArithmeticError):
    """The training loss became NaN or infinite; the model holds its last good weights."""


class UnsupportedError(ValueError):
    """A model or file asks for something that fastconv does not do; the message names all of it."""
