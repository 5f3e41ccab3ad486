"""Lines of a text file, decoded strictly.

What is not UTF-8 (or marked UTF-16) is reported with its place, never repaired.
"""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nlp_ft.errors import DataError

_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


class Lines:
    r"""Every line of a file with its ending.

    Lines end at \n alone (a lone \r, \u2028 and the like stay inside).

    A byte order mark is no part of the first. `.gz` files are unpacked. `number`: the line handed out last, from 1.
    `faults`: the reason why a line is not text, by its number: it is handed out with its wrong bytes escaped, and whoever
    reads a row of it takes the reason out.
    """

    def __init__(self, path: Path, start: int = 1) -> None:
        """`start`: the first line handed out."""
        self._path = path
        self._start = start
        self.number = start - 1
        self.faults: dict[int, str] = {}

    def __iter__(self) -> Iterator[str]:
        offset = 0
        with _unpacked(self._path) as file:
            mark = file.peek(2)[:2]  # type: ignore[attr-defined]
            encoding = _UTF16.get(mark, "utf-8")
            lines = file if encoding == "utf-8" else _utf16_lines(file, encoding)
            for number, raw in enumerate(lines, start=1):
                begin = offset
                offset += len(raw)
                if number == 1 and encoding != "utf-8":
                    raw, begin = raw[2:], 2
                elif number == 1 and raw.startswith(codecs.BOM_UTF8):
                    raw, begin = raw[3:], 3
                if number >= self._start:
                    self.number = number
                    yield self._decoded(raw, number, begin, encoding)

    def _decoded(self, raw: bytes, number: int, begin: int, encoding: str) -> str:
        try:
            line = raw.decode(encoding)
        except UnicodeDecodeError as error:
            name = "UTF-8" if encoding == "utf-8" else "UTF-16"
            self.faults[number] = (
                f"byte 0x{raw[error.start]:02x} at offset {begin + error.start} is not {name}; save the file as UTF-8 "
                "(iconv -f LATIN1 -t UTF-8, if it is Latin-1)."
            )
            return raw.decode(encoding, errors="backslashreplace" if encoding == "utf-8" else "replace")
        if "\0" in line:
            at = begin + raw.index(0) if encoding == "utf-8" else begin + 2 * line.index("\0")
            self.faults[number] = (
                f"NUL at byte offset {at}; the file is damaged or not UTF-8 (UTF-16?), save it as UTF-8."
            )
        return line

    def fault(self, first: int, last: int | None = None) -> str | None:
        """The reason why one of these lines is not text, taken out; None where all are."""
        if not self.faults:
            return None
        numbers = [number for number in self.faults if first <= number <= (last or first)]
        reasons = [self.faults.pop(number) for number in numbers]
        return reasons[0] if reasons else None


@contextmanager
def _unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, of a .gz file what is in it.

    Raises: DataError where that is cut short or damaged.
    """
    if path.suffix.lower() != ".gz":
        with path.open("rb") as file:
            yield file
        return
    try:
        with path.open("rb") as packed, gzip.open(packed) as file:
            yield file  # type: ignore[misc]
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be unpacked: {str(error).rstrip('.').lower()}.") from None


def _utf16_lines(file: IO[bytes], encoding: str) -> Iterator[bytes]:
    """Lines of two-byte units: a line feed is one whole unit, never the halves of two."""
    feed = "\n".encode(encoding)
    rest = b""
    for piece in iter(lambda: file.read(1 << 20), b""):
        rest += piece
        begin = at = 0
        while (at := rest.find(feed, at)) >= 0:
            if at % 2:
                at += 1
                continue
            yield rest[begin : at + 2]
            begin = at = at + 2
        rest = rest[begin:]
    if rest:
        yield rest
