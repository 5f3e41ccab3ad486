"""A folder of text files by class: `reviews/positive/1.txt` is a text whose label is `positive`."""

from __future__ import annotations

from pathlib import Path

from nlp_ft.data.readers.arrow_store import Store
from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.table import Table
from nlp_ft.data.readers.text_lines import Lines
from nlp_ft.errors import DataError

_SUFFIX = ".txt"


def read_folder(path: Path, bad: BadRows) -> Table:
    """One row a .txt file, in the order of their names: columns text, label (its directory) and file.

    Raises: DataError where there is no such file, some lie beside the classes, or one is not UTF-8.
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
    store = Store(["text", "label", "file"])
    for file in files:
        name = str(file.relative_to(path))
        lines = Lines(file)
        text = "".join(lines)
        if lines.faults:
            (number, fault), *_ = lines.faults.items()
            bad.add(f"{file}:{number}", fault, name)
        else:
            store.add_cells([text, file.parent.name, name])
    bad.settle(str(path))
    if not store.rows:
        raise DataError(f"{path} has no readable rows.")
    return Table(str(path), store.columns(), rejected=bad.found)
