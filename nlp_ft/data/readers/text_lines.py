"""Lines of a text file, decoded strictly.

What is not UTF-8 (or marked UTF-16, or in the encoding that is named) is reported with its place and its likely encoding,
never repaired.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from nlp_ft.data.readers.encoding_guess import guess_encoding, guess_wide
from nlp_ft.errors import DataError

_MARKS = {  # the longer ones first
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_SAMPLE = 1 << 18
_MOST_BYTES = 1 << 16  # of lines that are not UTF-8, to guess by
_MANY_LINES = 10  # which are no accident, even where bad rows are skipped
_LONE_RETURN = re.compile(rb"\r(?!\n)")


class Lines:
    r"""Every line of a file with its ending.

    Lines end at \n alone (a lone \r, \u2028 and the like stay inside), or at \r where the file has no \n.

    A byte order mark is no part of the first. `.gz` files are unpacked. `number`: the line handed out last, from 1.
    `faults`: the reason why a line is not text, by its number: it is handed out with its wrong bytes escaped, and whoever
    reads a row of it takes the reason out.
    """

    def __init__(
        self,
        path: Path,
        start: int = 1,
        *,
        encoding: str | None = None,
        strict: bool = True,
        carriage_returns: bool | None = None,
    ) -> None:
        r"""`start`: the first line handed out. encoding: a codec of Python; UTF-8, or that of the mark, where None.

        strict: whether one line in another encoding refuses the file; else it takes several. carriage_returns: whether lines
        end at \r; found out where None.
        """
        self._path = path
        self._start = start
        self._named = encoding
        self._strict = strict
        self._carriage_returns = carriage_returns
        self._reasons = ""  # why lines are not UTF-8, once that was looked into
        self.number = start - 1
        self.faults: dict[int, str] = {}

    def __iter__(self) -> Iterator[str]:
        """Raises: DataError where the file is in another encoding."""
        with _unpacked(self._path) as file:
            sample = file.read(_SAMPLE)
            file.seek(0)
            encoding, mark = self._encoding(sample)
            if not _by_bytes(encoding):
                yield from self._decoded_lines(file, encoding)
                return
            feed = ("\r" if self._ends_at_returns(sample) else "\n").encode(encoding)
            offset = 0
            for number, raw in enumerate(file if feed == b"\n" else _split(file, feed), start=1):
                begin = offset
                offset += len(raw)
                if number == 1:
                    raw, begin = raw[len(mark) :], len(mark)
                if number >= self._start:
                    self.number = number
                    yield self._decoded(raw, number, begin, encoding)

    def _encoding(self, sample: bytes) -> tuple[str, bytes]:
        """The codec and the byte order mark. Raises: DataError where the mark says another one than was named."""
        mark = next((mark for mark in _MARKS if sample.startswith(mark)), b"")
        marked = _MARKS.get(mark)
        named = self._named and _PLAIN.get(self._named, self._named)
        if named is None:
            return marked or "utf-8", mark
        if named in ("utf-16", "utf-32"):
            return (marked if marked and marked.startswith(named) else f"{named}-le"), mark
        if marked is not None and marked != named:
            raise DataError(
                f"{self._path} begins with the byte order mark of {marked.upper()}; leave out --encoding {self._named}."
            )
        if marked is None and not named.startswith("utf-") and _is_utf_8(sample):
            raise DataError(
                f"{self._path} is UTF-8 by its bytes; leave out --encoding {self._named}, which would garble it."
            )
        return named, mark

    def _ends_at_returns(self, sample: bytes) -> bool:
        if self._carriage_returns is not None:
            return self._carriage_returns
        return b"\n" not in sample and _LONE_RETURN.search(sample) is not None

    def _decoded_lines(self, file: IO[bytes], encoding: str) -> Iterator[str]:
        """Lines in an encoding that does not keep line feeds apart. Raises: DataError for a wrong byte."""
        try:
            for number, line in enumerate(io.TextIOWrapper(file, encoding=encoding, newline="\n"), start=1):
                if number >= self._start:
                    self.number = number
                    yield line.removeprefix("\ufeff") if number == 1 else line
        except UnicodeError as error:
            reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
            raise DataError(f"{self._path}:{self.number + 1} is not {encoding} (--encoding): {reason}.") from None

    def _decoded(self, raw: bytes, number: int, begin: int, encoding: str) -> str:
        try:
            line = raw.decode(encoding)
        except UnicodeDecodeError as error:
            self.faults[number] = self._fault(number, encoding, raw[error.start], begin + error.start)
            return raw.decode(encoding, errors="backslashreplace" if encoding == "utf-8" else "replace")
        if "\0" in line:
            self.faults[number] = self._nul(line, raw, begin, encoding)
        return line

    def _fault(self, number: int, encoding: str, byte: int, offset: int) -> str:
        """The reason why a line cannot be decoded. Raises: DataError where it lies in all of the file."""
        if self._named is not None or encoding != "utf-8":
            name = f"{self._named} (--encoding)" if self._named else encoding[:6].upper()
            return f"byte 0x{byte:02x} at offset {offset} is not {name}; mend it, or name another --encoding."
        if not self._reasons:
            self._reasons, count, certain = _other_encoding(self._path)
            if certain and (self._strict or count >= _MANY_LINES):
                more = f" ({count} lines are not)" if count > 1 else ""
                raise DataError(
                    f"{self._path}:{number}: byte 0x{byte:02x} at offset {offset} is not UTF-8{more}; {self._reasons}"
                )
        return f"byte 0x{byte:02x} at offset {offset} is not UTF-8; {self._reasons}"

    def _nul(self, line: str, raw: bytes, begin: int, encoding: str) -> str:
        """The reason to refuse a NUL. Raises: DataError where the file is UTF-16 without a mark."""
        if encoding == "utf-8" and self._named is None:
            with _unpacked(self._path) as file:
                wide = guess_wide(file.read(_SAMPLE))
            if wide is not None:
                raise DataError(
                    f"{self._path} looks like {wide[:6].upper()} without a byte order mark; read it with --encoding {wide}."
                )
        at = begin + (raw.index(0) if not encoding.startswith("utf-16") else 2 * line.index("\0"))
        return f"NUL at byte offset {at}; the file is damaged or not UTF-8 (UTF-16?), save it as UTF-8."

    def fault(self, first: int, last: int | None = None) -> str | None:
        """The reason why one of these lines is not text, taken out; None where all are."""
        if not self.faults:
            return None
        numbers = [number for number in self.faults if first <= number <= (last or first)]
        reasons = [self.faults.pop(number) for number in numbers]
        return reasons[0] if reasons else None


_PLAIN = {  # what Python calls them, to what is written here
    "utf_8": "utf-8",
    "utf_8_sig": "utf-8",
    "utf-8-sig": "utf-8",
    "utf_16": "utf-16",
    "utf_16_le": "utf-16-le",
    "utf_16_be": "utf-16-be",
    "utf_32": "utf-32",
    "utf_32_le": "utf-32-le",
    "utf_32_be": "utf-32-be",
}


def _by_bytes(encoding: str) -> bool:
    """Whether lines can be cut out before they are decoded: a line feed's bytes are nothing else there."""
    if encoding in ("utf-16-le", "utf-16-be"):
        return True
    if encoding.startswith(("utf-32", "utf-7", "utf_7", "iso2022", "hz")):
        return False
    printable = "".join(
        map(chr, [*range(0x20, 0x5C), *range(0x5D, 0x7E), 10, 13])
    )  # Shift_JIS has no backslash and tilde
    try:
        return printable.encode("ascii").decode(encoding) == printable
    except UnicodeDecodeError:
        return False


def _is_utf_8(sample: bytes) -> bool:
    """Whether a sample is UTF-8 and not ASCII alone; a character cut at its end does not count."""
    try:
        return not codecs.getincrementaldecoder("utf-8")().decode(sample).isascii()
    except UnicodeDecodeError:
        return False


def _other_encoding(path: Path) -> tuple[str, int, bool]:
    """What to do about a file that is not all UTF-8.

    Returns: the advice, the number of lines that are not (of those looked at), and whether all of it is in another encoding.
    """
    wrong: list[bytes] = []
    size, right = 0, 0
    with _unpacked(path) as file:
        for line in file:
            if line.isascii():
                continue
            try:
                line.decode()
                right += 1
            except UnicodeDecodeError:
                size += len(line)
                wrong.append(line)
            if size > _MOST_BYTES:
                break
    guess = guess_encoding(wrong)
    if right:
        like = f" (these look like {guess.name})" if guess else ""
        return (
            f"other lines are, so the file is of several encodings{like}: mend or drop the lines that are not.",
            len(wrong),
            False,
        )
    if guess is None:
        return "name its encoding with --encoding (such as cp1252, cp1251, gb18030 or cp932).", len(wrong), False
    return f"it looks like {guess.name}, which --encoding {guess.codec} reads.", len(wrong), True


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


def _split(file: IO[bytes], feed: bytes) -> Iterator[bytes]:
    """Lines that end at these bytes, which are one unit of the encoding, never the halves of two."""
    unit, rest = len(feed), b""
    for piece in iter(lambda: file.read(1 << 20), b""):
        rest += piece
        begin = at = 0
        while (at := rest.find(feed, at)) >= 0:
            if at % unit:
                at += 1
                continue
            yield rest[begin : at + unit]
            begin = at = at + unit
        rest = rest[begin:]
    if rest:
        yield rest
