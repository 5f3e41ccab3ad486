"""JSON that is no table of objects: what it holds, and what is wanted, in one line that shows none of the data."""

from __future__ import annotations

from collections.abc import Mapping

from nlp_ft.data.text import shown

_SPLITS = frozenset(["train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval"])
_WANTED = "wanted an array of objects, or one object a line"
_PANDAS = 'of a pandas frame: frame.to_json(path, orient="records")'
_NAMES = 5
_WRAPPERS = frozenset(["data", "rows", "items", "examples", "records", "results"])


def refusal_of_object(path: object, value: Mapping[str, object]) -> str:
    """The reason to refuse a file that holds this one object, and what to write instead."""
    names = [name for name in value if _is_split(name) and isinstance(value[name], list | dict)]
    if names:
        return (
            f"{path} holds several splits in one object ({_listed(names)}); write each as an array of objects into a file of "
            "its own, for --train_file, --validation_file and --test_file."
        )
    if _is_by_column(value):
        return f"{path} holds one object by column ({_listed(list(value))}); {_WANTED} ({_PANDAS})."
    if (wrapper := _wrapper(value)) is not None:
        return f"{path} holds its rows under {wrapper!r} of one object; write that array alone."
    return f"{path} holds one object over several lines ({_listed(list(value))}); {_WANTED}."


def is_no_row(value: Mapping[str, object]) -> bool:
    """Whether an object that stands alone in a file is certainly no row, but a table or several."""
    if not value:
        return False
    holds_split = any(_is_split(name) and isinstance(part, list | dict) for name, part in value.items())
    return holds_split or _is_by_column(value) or _wrapper(value) is not None


def _is_split(name: str) -> bool:
    return not _SPLITS.isdisjoint(name.lower().split("_"))


def _is_by_column(value: Mapping[str, object]) -> bool:
    """Whether an object is a table by column (or by row number), in any layout of pandas."""
    parts = list(value.values())
    if {"columns", "data"} <= set(value) or {"schema", "data"} <= set(value):
        return True
    if len(parts) > 1 and all(isinstance(part, dict) for part in parts):
        keys = [tuple(part) for part in parts if isinstance(part, dict)]
        return all(key == keys[0] for key in keys) and len(keys[0]) > 0
    lengths = {len(part) for part in parts if isinstance(part, list)}
    return len(parts) > 1 and all(isinstance(part, list) for part in parts) and len(lengths) == 1


def _wrapper(value: Mapping[str, object]) -> str | None:
    """The name under which an object holds all rows, or None."""
    return next((name for name in value if (len(value) == 1 or name in _WRAPPERS) and _is_table(value[name])), None)


def _is_table(part: object) -> bool:
    return isinstance(part, list) and len(part) > 0 and all(isinstance(item, dict) for item in part)


def _listed(names: list[str]) -> str:
    more = ", ..." if len(names) > _NAMES else ""
    return ", ".join(shown(name).strip("'\"") for name in names[:_NAMES]) + more
