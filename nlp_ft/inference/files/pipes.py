"""Texts from standard input, and JSON lines to standard output: `-` in place of a file.

A block is answered as soon as it is read, so that `tail -f log | nlp-ft predict --input - --output -` goes on for ever.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import IO

from nlp_ft.data import Block, Columns, Table, texts_of
from nlp_ft.data.text import shown
from nlp_ft.errors import DataError

PIPE, STDIN = "-", "stdin"
_TABLE_HEADS = {"text", "sentence", "review", "content", "comment", "tweet", "message", "label", "id"}


@dataclass
class PipedTexts:
    """Rows of standard input, block by block.

    Lines that begin with `{` are JSON objects with their texts in a column; if the first line does not, every line is a text.
    Blank lines between objects are passed over.

    stream: of bytes in UTF-8. find: chooses the columns of the texts in the first block. skip_bad_rows: leaves out lines that
    cannot be read, and counts them in `skipped`. log: is given notes for the user. columns: those found, after the first block.
    """

    stream: IO[bytes]
    find: Callable[[Table], Columns]
    log: Callable[[str], object]
    skip_bad_rows: bool = False
    skipped: int = 0
    columns: Columns | None = field(default=None, init=False)
    source: str = STDIN

    def blocks(self, rows: int) -> Iterator[Block]:
        """Blocks of `rows` rows, with objects as they came.

        Raises: DataError for a line that cannot be read, with its number.
        """
        lines = iter(enumerate(self.stream, 1))
        first = next(((number, line) for number, line in lines if line.strip()), None)
        if first is None:
            raise DataError(f"{STDIN} is empty; wanted JSON objects, or texts, a line each.")
        as_json = first[1].lstrip(b"\xef\xbb\xbf \t").startswith(b"{")
        if not as_json:
            self._describe_plain(first[1])
        parsed = self._parsed(chain([first], lines), as_json)
        while part := list(islice(parsed, rows)):
            yield self._block(part)

    def texts(self, block: Block) -> list[str] | list[tuple[str, str]]:
        """Texts of a block, or pairs of them. Raises: DataError for a text that is no string."""
        assert self.columns is not None, "blocks come first"
        texts, pairs = texts_of(block.table, self.columns)
        return list(texts) if pairs is None else list(zip(texts, pairs, strict=True))

    def _describe_plain(self, line: bytes) -> None:
        """Log that lines are texts. Raises: DataError for the first line of a table."""
        head = line.decode("utf-8", "replace").strip("\ufeff\r\n ")
        names = [name.strip(" \"'").lower() for name in head.replace(";", ",").replace("\t", ",").split(",")]
        if len(names) > 1 and _TABLE_HEADS & set(names):
            raise DataError(
                f"{STDIN}:1: {shown(head)} looks like the header of a table; give --file_format csv, or pipe JSON lines."
            )
        self.log(f"{STDIN}: each line is read as a text (lines that begin with {{ would be JSON objects)")

    def _parsed(
        self, lines: Iterable[tuple[int, bytes]], as_json: bool
    ) -> Iterator[tuple[int, str, dict[str, object]]]:
        """Number, JSON text and members of each row."""
        for number, line in lines:
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if not as_json:
                    yield number, json.dumps({"text": text}, ensure_ascii=False), {"text": text}
                elif text.strip():
                    yield number, text.strip(), _object(text)
            except (ValueError, RecursionError) as error:
                if not self.skip_bad_rows:
                    raise DataError(f"{STDIN}:{number}: {_reason(error)}") from None
                self.skipped += 1

    def _block(self, rows: Sequence[tuple[int, str, dict[str, object]]]) -> Block:
        names = dict.fromkeys(name for _, _, members in rows for name in members)
        if self.columns is None:
            self.columns = self.find(_table(rows, names))
            for note in self.columns.notes:
                self.log(note)
        names |= dict.fromkeys(self.columns.used)
        if self.skip_bad_rows:
            used = [*self.columns.texts, *filter(None, [self.columns.text_pair])]
            kept = [row for row in rows if all(isinstance(row[2].get(name), str) for name in used)]
            self.skipped += len(rows) - len(kept)
            rows = kept
        return Block(_table(rows, names), objects=[text for _, text, _ in rows])


def _table(rows: Sequence[tuple[int, str, dict[str, object]]], names: Iterable[str]) -> Table:
    columns: dict[str, Sequence[object]] = {name: [members.get(name) for _, _, members in rows] for name in names}
    return Table(STDIN, columns, lines=[number for number, _, _ in rows])


def _object(text: str) -> dict[str, object]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"wanted a JSON object, got {shown(text.strip())}.")
    return value


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"no UTF-8 (byte {error.object[error.start]:#04x}); convert the input first."
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON object: {error.msg} at character {error.pos + 1}."
    return "nested too deeply." if isinstance(error, RecursionError) else str(error)
