"""The errors fastconv raises, each also the built-in error a caller would expect."""

from __future__ import annotations


class ShapeError(ValueError):
    """A shape, or a size such as a stride or a padding, does not fit the others."""


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
