"""JSON: one object a line, or one array of objects (then rows have no lines).

Values keep the type they have there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from nlp_ft.data.readers.annotations import find_export
from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.blocks import Block, FileReader, Size, parted
from nlp_ft.data.readers.json_shapes import is_no_row, refusal_of_object
from nlp_ft.data.readers.options import ReadOptions
from nlp_ft.data.readers.table import Table
from nlp_ft.data.readers.text_lines import Lines
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError

_LOOKED_AT = 100  # rows, to tell an annotation export by

_Row = tuple[dict[str, object], int, int]  # cells, line (0 where rows have none), characters
_Rows = Callable[[BadRows], Iterator[_Row]]


class NotARow(Exception):
    """The reason why a value is no row.

    line: that of the fault, counted from the first line of the value.
    """

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.line = line


def open_json(path: Path, options: ReadOptions) -> FileReader:
    """Open JSON lines, or a JSON array of objects; exports of annotation programs are mapped to texts and labels.

    Raises: DataError where it is empty, or holds one object that is no row.
    """
    lines = (line for line in Lines(path, encoding=options.encoding, strict=not options.skip_bad_rows) if line.strip())
    first, second = next(lines, None), next(lines, None)
    if first is None:
        raise DataError(f'{path} is empty; each line must be an object, as in {{"text": "...", "label": "..."}}.')
    is_array = first.lstrip().startswith("[") and not _is_row_of_cells(first, second)
    if not is_array:
        _require_rows(path, options, first, second)
    rows: _Rows = partial(_items if is_array else _objects, path, options)
    if is_array or find_export([cells for cells, _, _ in islice(rows(BadRows(skip=True)), _LOOKED_AT)]):
        notes: list[str] = []
        return FileReader(path, partial(_whole_blocks, path, rows, notes), in_blocks=False, notes=notes)
    return FileReader(path, partial(_line_blocks, path, options))


def _is_row_of_cells(first: str, second: str | None) -> bool:
    """Whether a line that starts an array is a whole one, and not the only one."""
    try:
        return second is not None and isinstance(json.loads(first), list)
    except (ValueError, RecursionError):
        return False


def _require_rows(path: Path, options: ReadOptions, first: str, second: str | None) -> None:
    """Refuse a file that is one object, on one line or on several. Raises: DataError."""
    try:
        value = _parse(first)
        if second is None and isinstance(value, dict) and is_no_row(value):
            raise DataError(refusal_of_object(path, value))
        return
    except NotARow:
        if second is None or not first.lstrip().startswith("{"):
            return
    try:
        value, end = json.JSONDecoder().raw_decode(text := _whole(path, options).lstrip())
    except (ValueError, RecursionError):
        return
    if "\n" not in text[:end]:
        return
    if text[end:].strip():
        raise DataError(
            f"{path} holds objects over several lines each; wanted one object a line, or an array of objects."
        )
    raise DataError(refusal_of_object(path, value))


def _line_blocks(path: Path, options: ReadOptions, size: Size, bad: BadRows) -> Iterator[Block]:
    """Blocks of one object a line, with the lines as they stand there."""
    for rows, lines in parted(_lines(path, options, bad), size):
        table = Table(str(path), _columns([row for _, row in rows]), lines)
        yield Block(table, objects=[text for text, _ in rows])


def _lines(path: Path, options: ReadOptions, bad: BadRows) -> Iterator[tuple[tuple[str, dict[str, object]], int, int]]:
    """((text, object), line, characters) of every line that is not blank."""
    lines = Lines(path, encoding=options.encoding, strict=not bad.skip)
    for line in lines:
        if fault := lines.fault(lines.number):
            bad.add(f"{path}:{lines.number}", fault, line)
        elif text := line.strip():
            try:
                yield (text, _row_object(_parse(line.rstrip("\r\n")))), lines.number, len(text)
            except NotARow as reason:
                bad.add(f"{path}:{lines.number}", str(reason), line)


def _objects(path: Path, options: ReadOptions, bad: BadRows) -> Iterator[_Row]:
    for (_, cells), line, characters in _lines(path, options, bad):
        yield cells, line, characters


def _items(path: Path, options: ReadOptions, bad: BadRows) -> Iterator[_Row]:
    """(object, no line, characters) of every item of an array. Raises: DataError."""
    try:
        items = _parse(_whole(path, options))
    except NotARow as reason:
        raise DataError(f"{path}:{1 + reason.line}: {reason}") from None
    if not items:
        raise DataError(f"{path} holds an empty array; it needs objects with a text and a label.")
    for row, item in enumerate(items, start=1):
        try:
            cells = _row_object(_with_names(item))
            yield cells, 0, sum(len(cell) if isinstance(cell, str) else 8 for cell in cells.values())
        except NotARow as reason:
            bad.add(f"{path}, row {row}", str(reason), json.dumps(item, ensure_ascii=False))


def _with_names(item: object) -> object:
    """An item as an object: spaCy writes [text, {"cats": ...}], too."""
    match item:
        case [str() as text, {"cats": dict() as cats}]:
            return {"text": text, "cats": cats}
    return item


def _whole_blocks(path: Path, rows: _Rows, notes: list[str], size: Size, bad: BadRows) -> Iterator[Block]:
    """Blocks of rows that are read whole first: an array, or an annotation export, which is mapped and noted.

    Raises: DataError for a fault in the syntax of an array, which spoils all of it; and for an export without labels.
    """
    read = list(rows(bad))
    cells = [row for row, _, _ in read]
    export = find_export(cells[:_LOOKED_AT])
    if export is not None:
        cells, said = export(str(path), cells)
        notes += [note for note in said if note not in notes]
    sized = ((row, line, characters) for row, (_, line, characters) in zip(cells, read, strict=True))
    for part, lines in parted(sized, size):
        yield Block(Table(str(path), _columns(part), lines if lines[0] else None))


def _whole(path: Path, options: ReadOptions) -> str:
    """The text of a file. Raises: DataError where a line of it cannot be decoded."""
    lines = Lines(path, encoding=options.encoding)
    text = "".join(lines)
    for number, fault in lines.faults.items():
        raise DataError(f"{path}:{number}: {fault}")
    return text


def _columns(rows: Sequence[dict[str, object]]) -> dict[str, Sequence[object]]:
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
