"""Lists of labels: those that a CSV turned to strings, vectors of 0 and 1, objects of names with 0 and 1."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

_PAIRS = {"[": "]", "(": ")", "{": "}"}
_ADJACENT = re.compile(r"""['"]\s+['"]""")  # numpy writes ['a' 'b'], which Python reads as one string
_QUOTED = re.compile(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""")
_TAG, _TAGS = re.compile("<([^<>]+)>"), re.compile("(?:<[^<>]+>)+")
_BITS = re.compile(r"[01](?:\s*[,;|\s]\s*[01]){2,}")


def unpacked(cells: Sequence[object]) -> tuple[list[Any], str | None]:
    """Cells as lists of names, where all of them hold such lists in another form.

    Returns: the cells, and the form they had; as they came, and None, where they have no such form. An empty string becomes
    None.
    """
    filled = [cell for cell in cells if cell is not None and not (isinstance(cell, str) and not cell.strip())]
    for form, read in (
        ("strings that hold lists", _list_in_string),
        ("strings that hold lists without quotes", _bare_list),
        ("strings of tags", _tags),
        ("strings of 0 and 1", _bits),
        ("objects of 0 and 1, whose names with 1 apply", _names_on),
    ):
        if filled and read(filled[0]) is not None:
            lists: dict[int, Any] = {id(cell): read(cell) for cell in filled}
            if None not in lists.values() and _is_certain(read, list(lists.values())):
                return [lists.get(id(cell)) for cell in cells], form
    return list(cells), None


def _is_certain(read: Callable[[object], list[Any] | None], lists: Sequence[list[Any]]) -> bool:
    """Whether the form is no chance: bits of one length; names in brackets of which some are several."""
    if read is _bits:
        return len({len(cell) for cell in lists}) == 1
    return read not in (_bare_list, _tags) or any(len(cell) > 1 for cell in lists)


def flags_of(cell: object) -> bool:
    """Whether a cell is an object whose values are all 0 or 1."""
    return _names_on(cell) is not None


def are_vectors(lists: Sequence[Sequence[object]]) -> bool:
    """Whether lists are vectors: of one length, two or more, and of nothing but 0 and 1."""
    return len({len(cell) for cell in lists}) == 1 and len(lists[0]) > 1 and all(_is_bit(p) for c in lists for p in c)


def joined_bits(cells: Sequence[object], delimiter: str) -> list[list[int]] | None:
    """Strings of 0 and 1 with this delimiter as vectors; None where one is anything else, or longer than another."""
    lists = [cell.split(delimiter) if isinstance(cell, str) else [] for cell in cells]
    if not all(part.strip() in ("0", "1") for parts in lists for part in parts):
        return None
    vectors = [[int(part) for part in parts] for parts in lists]
    return vectors if are_vectors(vectors) else None


def places_on(vector: Sequence[object]) -> list[str]:
    """The places of a vector that are 1, from 0, as names."""
    return [str(place) for place, bit in enumerate(vector) if bit]


def _list_in_string(cell: object) -> list[Any] | None:
    """`['a', 'b']`, `["a"]`, `[0, 1]`, `['a' 'b']`, `(1, 2)` or `{'a'}` as a list; None for anything else."""
    text = cell.strip() if isinstance(cell, str) else ""
    if len(text) < 2 or _PAIRS.get(text[0]) != text[-1]:
        return None
    inner = text[1:-1].strip()
    if _ADJACENT.search(inner) and "," not in _QUOTED.sub("", inner):
        return [single or double for single, double in _QUOTED.findall(inner)]
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return _names_on(value)
        if isinstance(value, set):
            return sorted(value, key=str)
        return list(value) if isinstance(value, list | tuple) else None
    if text[0] != "[" or any(sign in inner for sign in "[]{}"):
        return None
    numbers = inner.split()
    if len(numbers) > 1 and all(number in ("True", "False") for number in numbers):
        return [number == "True" for number in numbers]
    if len(numbers) > 1 and all(map(_is_float, numbers)):
        return [float(number) for number in numbers]
    return None


def _bare_list(cell: object) -> list[str] | None:
    """`[a, b]` and `[a]` as lists."""
    text = cell.strip() if isinstance(cell, str) else ""
    if len(text) < 2 or text[0] + text[-1] != "[]" or any(sign in text[1:-1] for sign in "[]{}"):
        return None
    inner = text[1:-1].strip()
    return [part.strip().strip("'\"") for part in inner.split(",")] if inner else []


def _tags(cell: object) -> list[str] | None:
    """`<a><b>` as a list."""
    text = cell.strip() if isinstance(cell, str) else ""
    return _TAG.findall(text) if _TAGS.fullmatch(text) else None


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _bits(cell: object) -> list[int] | None:
    text = cell.strip() if isinstance(cell, str) else ""
    return [int(sign) for sign in text if sign in "01"] if _BITS.fullmatch(text) else None


def _names_on(cell: object) -> list[str] | None:
    if not isinstance(cell, dict) or not all(map(_is_bit, cell.values())):
        return None
    return [str(name) for name, on in cell.items() if on]


def _is_bit(value: object) -> bool:
    return isinstance(value, bool | int | float) and value in (0, 1)
