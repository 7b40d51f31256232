"""Arguments of the functions of data sets."""

from __future__ import annotations

import operator


def integer(who: str, name: str, value: int, least: int) -> int:
    """`value` as an int of at least `least`; True and False are none, as slips in the order of the arguments."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{who}: {name} is {value!r} ({type(value).__name__}), an int was needed")
    if number < least:
        raise ValueError(f"{who}: {name} is {number}, at least {least} was needed")
    return number
