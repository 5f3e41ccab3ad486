"""Paths of data files, checked before anything heavy is imported.

A mistyped name is told with the nearest one there is.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from nlp_ft.errors import DataError, did_you_mean


def check_files(names: Iterable[str]) -> None:
    """Refuse paths and patterns that name no regular file and no directory. Raises: DataError."""
    for name in names:
        for path in expanded(name):
            existing(path)


def expanded(name: str) -> Sequence[str]:
    """The files of a pattern in the order of their names.

    A file that is called like one is itself. Raises: DataError where none matches.
    """
    if not glob.has_magic(name) or os.path.exists(name):
        return [name]
    paths = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
    if not paths:
        raise DataError(f"no file matches {name}.")
    return paths


def existing(name: str) -> Path:
    """The path of a regular file or directory.

    Raises: DataError, naming its nearest neighbour where there is none.
    """
    if "://" in name:
        raise DataError(f"{name} is a URL; only local files are read, so download it first.")
    path = Path(name)
    if path.is_file() or path.is_dir():
        return path
    if path.exists():
        raise DataError(f"{name} is not a regular file.")
    folder = path.parent
    if folder.is_dir():
        raise DataError(f"no such file: {name}.{_nearest(path)}")
    raise DataError(f"no such file: {name}; there is no directory {folder} either.{_nearest(folder)}")


def _nearest(path: Path) -> str:
    """` Did you mean 'x'?` for the nearest name beside a path, whatever its case."""
    try:
        names = sorted(os.listdir(path.parent))
    except OSError:
        return ""
    same = [name for name in names if name.lower() == path.name.lower()]
    return did_you_mean(same[0] if same else path.name, names)
