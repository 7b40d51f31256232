"""What stops a comparison, in one line."""

from __future__ import annotations


class Refused(Exception):
    """The comparison cannot be made; the text says why and what to do."""


def last_line(text: str) -> str:
    """The last line of a program's output that says something, an error before all others."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["no output"])[-1][:300]
