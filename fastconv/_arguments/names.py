"""Arguments that are one of a few names, as a layout."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def one_of(where: str, name: str, value: Any, names: Iterable[str]) -> str:
    """`value` itself if it is one of the names; anything else, of whatever kind, is an error that names them all.

    An array would be compared with them element by element, and a list could not be looked up in a dictionary.
    """
    if not isinstance(value, str) or value not in names:
        raise ValueError(f"{where}: {name} must be one of {', '.join(names)}, got {value!r}")
    return value
