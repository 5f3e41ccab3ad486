"""A folder of text files by class.

`reviews/positive/1.txt` is a text whose label is `positive`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.blocks import Block, FileReader, Size, text_blocks
from nlp_ft.data.readers.options import ReadOptions
from nlp_ft.data.readers.text_lines import Lines
from nlp_ft.errors import DataError

_SUFFIX = ".txt"


def open_folder(path: Path, options: ReadOptions) -> FileReader:
    """Open a folder: one row a .txt file, in the order of their names.

    Columns: text, label (its directory) and file.

    Raises: DataError where there is no such file, or some lie beside the classes.
    """
    classes = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    stray = sorted(entry.name for entry in path.iterdir() if entry.is_file() and entry.suffix.lower() == _SUFFIX)
    files = [file for folder in classes for file in sorted(folder.iterdir()) if file.suffix.lower() == _SUFFIX]
    if not files:
        raise DataError(
            f"{path} is a directory without text files by class (such as {path}/positive/1{_SUFFIX}); name a file in it, or "
            "a pattern such as 'reviews/*.csv'."
        )
    if stray:
        raise DataError(f"{path}/{stray[0]} lies beside the classes; move it into the directory of its class.")
    return FileReader(path, partial(_blocks, path, files, options), in_blocks=False)


def _blocks(path: Path, files: Sequence[Path], options: ReadOptions, size: Size, bad: BadRows) -> Iterator[Block]:
    yield from text_blocks(str(path), ["text", "label", "file"], _texts(path, files, options, bad), size)


def _texts(
    path: Path, files: Sequence[Path], options: ReadOptions, bad: BadRows
) -> Iterator[tuple[list[str], int, int]]:
    """(cells, no line, characters) of every file that can be decoded."""
    for file in files:
        name = str(file.relative_to(path))
        lines = Lines(file, encoding=options.encoding, strict=not bad.skip)
        text = "".join(lines)
        if lines.faults:
            (number, fault), *_ = lines.faults.items()
            bad.add(f"{file}:{number}", fault, name)
        else:
            yield [text, file.parent.name, name], 0, len(text)
