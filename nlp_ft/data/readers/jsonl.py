"""JSON: one object a line, or one array of objects (then rows have no lines).

Values keep the type they have there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.blocks import Block, FileReader, Size, parted
from nlp_ft.data.readers.table import Table
from nlp_ft.data.readers.text_lines import Lines
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError


class NotARow(Exception):
    """The reason why a value is no row.

    line: that of the fault, counted from the first line of the value.
    """

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


def open_json(path: Path) -> FileReader:
    """Open JSON lines, or a JSON array of objects.

    Raises: DataError where it is empty.
    """
    first = next((line for line in Lines(path) if line.strip()), None)
    if first is None:
        raise DataError(f'{path} is empty; each line must be an object, as in {{"text": "...", "label": "..."}}.')
    if first.lstrip().startswith("["):
        return FileReader(path, partial(_array_blocks, path), in_blocks=False)
    return FileReader(path, partial(_line_blocks, path))


def _line_blocks(path: Path, size: Size, bad: BadRows) -> Iterator[Block]:
    """Blocks of one object a line, with the lines as they stand there."""
    for rows, lines in parted(_lines(path, bad), size):
        table = Table(str(path), _columns([row for _, row in rows]), lines)
        yield Block(table, objects=[text for text, _ in rows])


def _lines(path: Path, bad: BadRows) -> Iterator[tuple[tuple[str, dict[str, object]], int, int]]:
    """((text, object), line, characters) of every line that is not blank."""
    lines = Lines(path)
    for line in lines:
        if fault := lines.fault(lines.number):
            bad.add(f"{path}:{lines.number}", fault, line)
        elif text := line.strip():
            try:
                yield (text, _row_object(_parse(line.rstrip("\r\n")))), lines.number, len(text)
            except NotARow as reason:
                bad.add(f"{path}:{lines.number}", str(reason), line)


def _array_blocks(path: Path, size: Size, bad: BadRows) -> Iterator[Block]:
    """Blocks of an array, which is read whole first.

    A fault in its syntax spoils all of it; an item that is no object does not. Raises: DataError.
    """
    lines = Lines(path)
    text = "".join(lines)
    for number, fault in lines.faults.items():
        raise DataError(f"{path}:{number}: {fault}")
    try:
        items = _parse(text)
    except NotARow as reason:
        raise DataError(f"{path}:{1 + reason.line}: {reason}") from None
    if not items:
        raise DataError(f"{path} holds an empty array; it needs objects with a text and a label.")
    for rows, _ in parted(_items(path, items, bad), size):
        yield Block(Table(str(path), _columns(rows)))


def _items(path: Path, items: Iterable[object], bad: BadRows) -> Iterator[tuple[dict[str, object], int, int]]:
    """(object, no line, characters) of every item."""
    for row, item in enumerate(items, start=1):
        try:
            cells = _row_object(item)
            yield cells, 0, sum(len(cell) if isinstance(cell, str) else 8 for cell in cells.values())
        except NotARow as reason:
            bad.add(f"{path}, row {row}", str(reason), json.dumps(item, ensure_ascii=False))


def _columns(rows: list[dict[str, object]]) -> dict[str, Sequence[object]]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _parse(text: str) -> Any:
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


def _require_whole_characters(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise NotARow(f"{half} is half of a surrogate pair and no character; write the other half too.") from None


def _no_repeated_key(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"key {next(name for name in names if names.count(name) > 1)!r} is given twice")
    return row


def _row_object(value: object) -> dict[str, object]:
    """The value, if it is an object. Raises: NotARow."""
    if not isinstance(value, dict):
        raise NotARow(f'{shown(value)} is not an object; a row is written as {{"text": "...", "label": "..."}}.')
    return value
