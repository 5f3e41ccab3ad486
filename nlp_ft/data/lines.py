"""Lines of a text file, decoded strictly: what is not UTF-8 is refused with its place instead of being repaired."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from nlp_ft.errors import DataError

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_lines(path: Path) -> Iterator[str]:
    r"""Every line with its ending, split at \n alone (a lone \r, \u2028 and the like stay inside); no byte order mark.

    Raises: DataError with line and byte offset where the bytes are not UTF-8, or hold a NUL.
    """
    offset = 0
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            start = offset
            offset += len(raw)
            if number == 1:
                if raw.startswith(_UTF16_MARKS):
                    raise DataError(f"{path}:1: the file is UTF-16 (byte order mark at byte 0); save it as UTF-8.")
                if raw.startswith(codecs.BOM_UTF8):
                    raw = raw[len(codecs.BOM_UTF8) :]
                    start += len(codecs.BOM_UTF8)
            yield _decode(path, number, start, raw)


def _decode(path: Path, number: int, start: int, raw: bytes) -> str:
    try:
        line = raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}:{number}: byte 0x{raw[error.start]:02x} at offset {start + error.start} is not UTF-8; "
            "save the file as UTF-8 (iconv -f LATIN1 -t UTF-8, if it is Latin-1)."
        ) from None
    if "\0" in line:
        at = start + raw.index(0)
        raise DataError(
            f"{path}:{number}: NUL at byte offset {at}; the file is damaged or not UTF-8 (UTF-16?), save it as UTF-8."
        )
    return line
