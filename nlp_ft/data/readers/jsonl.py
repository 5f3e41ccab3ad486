"""JSON: one object a line, or one array of objects (then rows have no lines); values keep the type they have there."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import Any

from nlp_ft.data.readers.arrow_store import Store
from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.table import Table
from nlp_ft.data.readers.text_lines import Lines
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError


class NotARow(Exception):
    """Why a value is no row, with the line of the fault counted from its first."""

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


def read_json(path: Path, bad: BadRows) -> Table:
    """Read JSON lines, or a JSON array of objects. Raises: DataError with the line (or the place in the array)."""
    first = next((line for line in Lines(path) if line.strip()), None)
    if first is None:
        raise DataError(f'{path} is empty; each line must be an object, as in {{"text": "...", "label": "..."}}.')
    table = _read_array(path, bad) if first.lstrip().startswith("[") else _read_lines(path, bad)
    bad.settle(str(path))
    if not len(table):
        raise DataError(f"{path} has no readable rows.")
    return table


def _read_lines(path: Path, bad: BadRows) -> Table:
    """One object a line; blank lines are no rows."""
    store, numbers, lines = Store(), array("q"), Lines(path)
    for line in lines:
        if fault := lines.fault(lines.number):
            bad.add(f"{path}:{lines.number}", fault, line)
        elif line.strip():
            try:
                store.add_object(row_object(parse(line.rstrip("\r\n"))))
                numbers.append(lines.number)
            except NotARow as reason:
                bad.add(f"{path}:{lines.number}", str(reason), line)
    return Table(str(path), store.columns(), numbers, rejected=bad.found)


def _read_array(path: Path, bad: BadRows) -> Table:
    """The whole array is held while it is read. A fault in its syntax spoils it all; an item that is no object does not."""
    lines = Lines(path)
    text = "".join(lines)
    for number, fault in lines.faults.items():
        raise DataError(f"{path}:{number}: {fault}")
    try:
        items = parse(text)
    except NotARow as reason:
        raise DataError(f"{path}:{1 + reason.line}: {reason}") from None
    if not items:
        raise DataError(f"{path} holds an empty array; it needs objects with a text and a label.")
    store = Store()
    for row, item in enumerate(items, start=1):
        try:
            store.add_object(row_object(item))
        except NotARow as reason:
            bad.add(f"{path}, row {row}", str(reason), json.dumps(item, ensure_ascii=False))
    return Table(str(path), store.columns(), rejected=bad.found)


def parse(text: str) -> Any:
    """The value of a text. Raises: NotARow."""
    try:
        value = json.loads(text, object_pairs_hook=_no_repeated_key)
    except json.JSONDecodeError as error:
        raise NotARow(f"not JSON: {error.msg} (column {error.colno}).", error.lineno - 1) from None
    except RecursionError:
        raise NotARow("nested too deeply to be a row of a table.") from None
    except ValueError as error:  # a repeated key, or a number of thousands of digits
        raise NotARow(f"{str(error).split(';')[0]}.") from None
    if "\\ud" in text.lower():
        _require_whole_characters(value)
    return value


def _require_whole_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise NotARow(f"{half} is half of a surrogate pair and no character; write the other half too.") from None


def _no_repeated_key(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return row


def row_object(value: Any) -> dict[str, Any]:
    """The value, if it is an object. Raises: NotARow."""
    if not isinstance(value, dict):
        raise NotARow(f'{shown(value)} is not an object; a row is written as {{"text": "...", "label": "..."}}.')
    return value
