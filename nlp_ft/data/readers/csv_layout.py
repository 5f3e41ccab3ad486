"""How the cells of a CSV file are told apart: found in its first lines, and said aloud where it is unusual."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.csv_rows import Layout, delimited_rows
from nlp_ft.data.readers.options import ReadOptions
from nlp_ft.data.readers.text_lines import Lines
from nlp_ft.errors import DataError

_DELIMITERS = (",", "\t", ";", "|")
_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
_SNIFFED_ROWS = 50
_SAMPLE_CHARACTERS = 1 << 17
_SEP_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*(?:\r*\n|\r)', re.IGNORECASE)
_BREAKS = re.compile(r'"|\r\r\n|\r\n|\r|\n')


def find_layout(path: Path, options: ReadOptions, usual: str = ",") -> tuple[Layout, list[str]]:
    """The layout of a file, and notes on what is unusual in it.

    usual: the delimiter that files of this format have.
    """
    sample = _sample(path, options)
    ends = _line_ends(sample, options.quoting)
    layout = Layout(
        options.delimiter or usual,
        options.encoding,
        options.quoting,
        carriage_returns=True if ends == "\r" else None,
        doubled_returns=ends == "\r\r\n",
    )
    notes = [f"{path}: lines end with a carriage return alone (found)"] if ends == "\r" else []
    sep = _SEP_LINE.match(sample)
    if sep is not None:
        layout = replace(layout, start=2, delimiter=options.delimiter or sep[1])
        reason = "found: its first line says so" if options.delimiter is None else "its first line is passed over"
        notes.append(f"{path}: cells are delimited by {delimiter_name(layout.delimiter)} ({reason})")
        sample = sample[sep.end() :]
    elif options.delimiter is None:
        if usual == "," or usual not in sample.partition("\n")[0]:
            layout = replace(layout, delimiter=_sniff(path, layout) or usual)
        if layout.delimiter != usual:
            notes.append(f"{path}: cells are delimited by {delimiter_name(layout.delimiter)} (found)")
    if _has_spaced_quotes(sample, layout):
        spaced = replace(layout, skip_spaces=True)
        if _fitting(path, spaced) >= _fitting(path, layout):
            layout = spaced
            notes.append(f"{path}: spaces behind a delimiter are passed over, as quotes follow some of them (found)")
    return layout, notes


def delimiter_name(delimiter: str) -> str:
    """As errors and notes call it: `a comma`, or the character itself."""
    return f"a {_NAMES[delimiter]}" if delimiter in _NAMES else repr(delimiter)


def _sample(path: Path, options: ReadOptions) -> str:
    """The first lines of a file, with their ends."""
    pieces, size = [], 0
    for line in Lines(path, encoding=options.encoding, strict=not options.skip_bad_rows):
        pieces.append(line)
        size += len(line)
        if size > _SAMPLE_CHARACTERS:
            break
    return "".join(pieces)


def _line_ends(sample: str, quoting: str | None) -> str:
    r"""What most lines end with outside quotes: `\n` (or `\r\n`), `\r` or `\r\r\n`."""
    counts: Counter[str] = Counter()
    quoted = False
    for match in _BREAKS.finditer(sample):
        if match[0] == '"':
            quoted = not quoted and quoting != "none"
        elif not quoted:
            counts["\n" if match[0] == "\r\n" else match[0]] += 1
    return max(("\n", "\r", "\r\r\n"), key=lambda ends: counts[ends])


def _sniff(path: Path, layout: Layout) -> str | None:
    """Detect the delimiter from the first rows.

    It is the one that names two columns or more and gives the most rows as many cells; None where there is none.
    """
    scores = {}
    for delimiter in _DELIMITERS:
        try:
            rows = list(_first_rows(path, replace(layout, delimiter=delimiter)))
        except DataError:
            continue
        if rows and len(rows[0]) > 1:
            fitting = sum(len(row) == len(rows[0]) for row in rows)
            scores[delimiter] = (fitting / len(rows), len(rows[0]))
    return max(scores, key=lambda delimiter: scores[delimiter]) if scores else None


def _first_rows(path: Path, layout: Layout) -> Iterator[list[str]]:
    return (row for _, row in islice(delimited_rows(path, layout, BadRows(skip=True)), _SNIFFED_ROWS))


def _fitting(path: Path, layout: Layout) -> int:
    """How many of the first rows have as many cells as the header."""
    rows = list(_first_rows(path, layout))
    return sum(len(row) == len(rows[0]) for row in rows)


def _has_spaced_quotes(sample: str, layout: Layout) -> bool:
    """Whether a cell starts with spaces and a quote; no CSV writer leaves such a cell unquoted."""
    if layout.quoting == "none" or layout.delimiter == " ":
        return False
    ends = re.compile(rf"{re.escape(layout.delimiter)}|[\r\n]")
    cell = re.compile(r'"(?:[^"]|"")*"')
    spaced = re.compile(r' +"')
    at = 0
    while at < len(sample):
        if spaced.match(sample, at):
            return True
        quoted = cell.match(sample, at)
        if quoted is None and sample[at] == '"':
            return False  # cut at the end of the sample, or never closed
        end = ends.search(sample, quoted.end() if quoted else at)
        if end is None:
            return False
        at = end.end()
    return False
