"""Short forms of texts and counts for messages."""

from __future__ import annotations


def cut(text: str, length: int = 200) -> str:
    """A text as an example shows it: on one line, cut."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def shown(value: object) -> str:
    """A value as an error quotes it: its repr, cut to 40 characters."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def counted(number: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
