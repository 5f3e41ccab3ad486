"""JSON: one object a line, or one array of objects (then rows have no lines); values keep the type they have there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nlp_ft.data.lines import read_lines
from nlp_ft.data.table import Table, shown
from nlp_ft.errors import DataError


def read_json(path: Path) -> Table:
    """Read JSON lines, or a JSON array of objects. Raises: DataError with the line (or the place in the array)."""
    first = next((line for line in read_lines(path) if line.strip()), None)
    if first is None:
        raise DataError(f'{path} is empty; each line must be an object, as in {{"text": "...", "label": "..."}}.')
    if first.lstrip().startswith("["):
        return _read_array(path)
    numbers: list[int] = []
    return Table(str(path), _columns(_objects(path, numbers)), numbers)


def _objects(path: Path, numbers: list[int]) -> Iterator[dict[str, Any]]:
    """One object a line; blank lines are no rows. The line of each goes to `numbers`."""
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            numbers.append(number)
            yield _object(f"{path}:{number}", _parse(path, number, line.rstrip("\r\n")))


def _read_array(path: Path) -> Table:
    items = _parse(path, 1, "".join(read_lines(path)))
    if not items:
        raise DataError(f"{path} holds an empty array; it needs objects with a text and a label.")
    return Table(str(path), _columns(_object(f"{path}, row {row}", item) for row, item in enumerate(items, start=1)))


def _parse(path: Path, number: int, text: str) -> Any:
    """The value of a text that starts at this line. Raises: DataError, with the line of the fault."""
    where = f"{path}:{number}"
    try:
        value = json.loads(text, object_pairs_hook=_no_repeated_key)
    except json.JSONDecodeError as error:
        line = number + error.lineno - 1
        raise DataError(f"{path}:{line}: not JSON: {error.msg} (column {error.colno}).") from None
    except RecursionError:
        raise DataError(f"{where}: nested too deeply to be a row of a table.") from None
    except ValueError as error:  # a repeated key, or a number of thousands of digits
        raise DataError(f"{where}: {str(error).split(';')[0]}.") from None
    if "\\ud" in text.lower():
        _require_whole_characters(where, value)
    return value


def _require_whole_characters(where: str, value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise DataError(
            f"{where}: {half} is half of a surrogate pair and no character; write the other half too."
        ) from None


def _no_repeated_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return row


def _object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(
            f'{where}: {shown(value)} is not an object; a row is written as {{"text": "...", "label": "..."}}.'
        )
    return value


def _columns(rows: Iterator[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows to columns, in order of first appearance; a key that a row lacks is None there."""
    columns: dict[str, list[Any]] = {}
    length = 0
    for row in rows:
        for name, value in row.items():
            column = columns.setdefault(name, [])
            column.extend([None] * (length - len(column)))
            column.append(value)
        length += 1
    for column in columns.values():
        column.extend([None] * (length - len(column)))
    return columns
