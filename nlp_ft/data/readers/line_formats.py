"""Formats of a row a line: fastText's `__label__x text`, TREC's `LABEL:sub text`, and plain texts."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.blocks import Block, FileReader, Size, parted
from nlp_ft.data.readers.options import ReadOptions
from nlp_ft.data.readers.table import Table
from nlp_ft.data.readers.text_lines import Lines
from nlp_ft.data.text import counted
from nlp_ft.errors import DataError

_FASTTEXT_LABEL = re.compile(r"(?:^|(?<=\s))__label__(\S+)")
_TREC = re.compile(r"([^\s:]+):(\S+)\s+(\S.*)")

_Parse = Callable[[str], Sequence[object] | str]  # the cells of a line, or why it has none


def looks_like_fasttext(lines: Sequence[str]) -> bool:
    """Whether every line holds a label of fastText."""
    return bool(lines) and all(_FASTTEXT_LABEL.search(line) for line in lines)


def looks_like_trec(lines: Sequence[str]) -> bool:
    """Whether every line starts with a label and its subclass, as TREC's do."""
    return bool(lines) and all(re.match(r"[A-Z]{2,}:\w+\s", line) for line in lines)


def open_fasttext(path: Path, options: ReadOptions) -> FileReader:
    """Open fastText's format: columns text and label, a list where a line has several labels."""
    labels = [len(_FASTTEXT_LABEL.findall(line)) for line in Lines(path, encoding=options.encoding, strict=False)]
    several = sum(count > 1 for count in labels)
    kind = f"{counted(several, 'line')} with several, so labels are lists" if several else "one a line"
    note = f"{path}: read as fastText lines (__label__x text), {kind}; --file_format reads it otherwise"
    return _open(path, options, ("text", "label"), partial(_fasttext, several=several > 0), [note])


def open_trec(path: Path, options: ReadOptions) -> FileReader:
    """Open TREC's format: columns text, label (before the colon) and fine_label (both parts)."""
    note = f"{path}: label is the part before the colon; fine_label is both parts, which --label_column_name fine_label takes"
    return _open(path, options, ("text", "label", "fine_label"), _trec, [note])


def open_lines(path: Path, options: ReadOptions) -> FileReader:
    """Open a file of a text a line: column text; blank lines are no rows."""
    return _open(path, options, ("text",), lambda line: [line], [f"{path}: read as a text a line"])


def _open(path: Path, options: ReadOptions, names: Sequence[str], parse: _Parse, notes: list[str]) -> FileReader:
    return FileReader(path, partial(_blocks, path, options, names, parse), notes=notes)


def _blocks(
    path: Path, options: ReadOptions, names: Sequence[str], parse: _Parse, size: Size, bad: BadRows
) -> Iterator[Block]:
    """Blocks of a row a line. Raises: DataError where there is none."""
    block = None
    for cells, lines in parted(_rows(path, options, parse, bad), size):
        block = _block(str(path), names, cells, lines)
        yield block
    if block is None:
        bad.settle(str(path))
        raise DataError(f"{path} has no {'readable ' * bool(bad.count)}rows.")


def _block(source: str, names: Sequence[str], cells: list[Sequence[object]], lines: array[int]) -> Block:
    columns: dict[str, Sequence[object]] = dict(zip(names, map(list, zip(*cells, strict=True)), strict=True))
    strings = all(isinstance(cell, str) for cell in cells[0])
    return Block(Table(source, columns, lines), strings=strings)


def _rows(path: Path, options: ReadOptions, parse: _Parse, bad: BadRows) -> Iterator[tuple[Sequence[object], int, int]]:
    """(cells, line, characters) of every line that is not blank."""
    lines = Lines(path, encoding=options.encoding, strict=not bad.skip)
    for line in lines:
        where = f"{path}:{lines.number}"
        if fault := lines.fault(lines.number):
            bad.add(where, fault, line)
        elif text := line.strip():
            cells = parse(text)
            if isinstance(cells, str):
                bad.add(where, cells, text)
            else:
                yield cells, lines.number, len(text)


def _fasttext(line: str, several: bool) -> Sequence[object] | str:
    labels = list(dict.fromkeys(_FASTTEXT_LABEL.findall(line)))
    if not labels:
        return "no label; a line of fastText is __label__x and the text (a file of texts alone is --file_format txt)."
    text = " ".join(part.strip() for part in _FASTTEXT_LABEL.split(line)[::2] if part.strip())
    if not text:
        return "a label and no text; a line of fastText is __label__x and the text."
    return [text, labels if several else labels[0]]


def _trec(line: str) -> Sequence[object] | str:
    match = _TREC.fullmatch(line)
    if match is None:
        return "no label of two parts; a line of TREC is LABEL:sub and the text."
    return [match[3], match[1], f"{match[1]}:{match[2]}"]
