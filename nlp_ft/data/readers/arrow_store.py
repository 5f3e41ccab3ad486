"""Columns as Arrow: in memory while small, in a mapped temporary file beyond."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import weakref
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import Dataset

BATCH_ROWS = 10_000
BATCH_BYTES = 32 << 20
SPILL_BYTES = 256 << 20  # above this, columns go to a file


class Column(Sequence[Any]):
    """The cells of one column, read in order or by number.

    Chunks whose cells are of several types hold them as JSON.
    """

    def __init__(self, chunks: Sequence[pa.Array], encoded: Sequence[bool] | None = None) -> None:
        """`encoded`: which chunks hold JSON; none where not given."""
        self.chunks = list(chunks)
        self.encoded = list(encoded) if encoded is not None else [False] * len(self.chunks)
        self._ends: list[int] = []
        for chunk in self.chunks:
            self._ends.append((self._ends[-1] if self._ends else 0) + len(chunk))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __iter__(self) -> Iterator[Any]:
        for chunk, encoded in zip(self.chunks, self.encoded, strict=True):
            yield from _values(chunk, encoded)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        at = int(index) + (len(self) if index < 0 else 0)
        if not 0 <= at < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        chunk = bisect_right(self._ends, at)
        start = self._ends[chunk - 1] if chunk else 0
        return _values(self.chunks[chunk].slice(at - start, 1), self.encoded[chunk])[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(_same, self, other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))

    def taken(self, rows: np.ndarray) -> tuple[pa.Array, bool]:
        """The cells of these rows, in this order, as one array; and whether it holds JSON."""
        kinds = {chunk.type for chunk in self.chunks} - {pa.null()}
        if any(self.encoded) or len(kinds) > 1:
            return _as_json([self[row] for row in rows]), True
        order = np.argsort(rows, kind="stable")
        ends = np.asarray(self._ends)
        owners = np.searchsorted(ends, rows[order], side="right")
        pieces = []
        for owner in np.unique(owners):
            chunk = self.chunks[owner]
            inside = rows[order][owners == owner] - (ends[owner] - len(chunk))
            pieces.append(chunk.take(pa.array(inside)).cast(next(iter(kinds), pa.null())))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return pa.concat_arrays(pieces).take(pa.array(back)), False

    def arrow(self, kind: pa.DataType) -> pa.ChunkedArray:
        """The cells as Arrow of this type.

        Chunk by chunk, so that what lies on disk stays there.
        """
        parts = [
            pa.array(_values(chunk, True), kind) if encoded else chunk if chunk.type == kind else chunk.cast(kind)
            for chunk, encoded in zip(self.chunks, self.encoded, strict=True)
        ]
        return pa.chunked_array(parts, type=kind)


def as_column(cells: Sequence[object] | None, rows: int = 0) -> Column:
    """Cells as a column; None is a column of this many nulls."""
    if isinstance(cells, Column):
        return cells
    if cells is None:
        return Column([pa.nulls(rows)])
    store = Store(["cell"])
    for cell in cells:
        store.add_object({"cell": cell})
    return store.columns()["cell"]


def repeated(values: Sequence[str], counts: Sequence[int]) -> Column:
    """Each value as often as its count says, one after another."""
    return Column([pa.repeat(pa.scalar(value), count) for value, count in zip(values, counts, strict=True)])


def _as_json(cells: Iterable[object]) -> pa.Array:
    encoded = (None if cell is None else json.dumps(cell, ensure_ascii=False, default=_plain) for cell in cells)
    return pa.array(encoded, pa.string())


def _plain(value: object) -> object:
    """What JSON has no type for: numbers and arrays of NumPy as Python's, anything else as its text."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def _same(cell: object, other: object) -> bool:
    return type(cell) is type(other) and cell == other


def _values(chunk: pa.Array, encoded: bool) -> list[object]:
    values = chunk.to_pylist()
    return [None if value is None else json.loads(value) for value in values] if encoded else values


class Store:
    """Takes rows; `columns()` gives them back as columns, however many they were."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """`names`: the columns known beforehand, in order."""
        self._open: dict[str, list[object]] = {name: [] for name in names}
        self._open_rows = self._open_size = 0
        self._batches: list[pa.RecordBatch] = []
        self._counts: list[int] = []  # a batch without columns knows no number of rows
        self._encoded: list[frozenset[str]] = []
        self._bytes = 0
        self._file: _Spill | None = None
        self.rows = 0

    def add_cells(self, cells: Sequence[str]) -> None:
        """One row of strings, in the order of the names."""
        for column, cell in zip(self._open.values(), cells, strict=True):
            column.append(cell)
        self._count(sum(map(len, cells)))

    def add_object(self, row: Mapping[str, object]) -> None:
        """One row by name.

        A name met here for the first time is None in the rows before, one that lacks is None here.
        """
        for name, value in row.items():
            if name not in self._open:
                self._open[name] = [None] * self._open_rows
            self._open[name].append(value)
        for column in self._open.values():
            column.extend([None] * (self._open_rows + 1 - len(column)))
        self._count(sum(len(value) if isinstance(value, str) else 8 for value in row.values()))

    def add_columns(self, columns: Mapping[str, Sequence[object]], rows: int) -> None:
        """Add this many rows by column, as one batch.

        A column without a name here is None in all of them.
        """
        self._close_batch()
        self._open = {name: list(columns.get(name) or [None] * rows) for name in {**self._open, **columns}}
        self._open_rows = rows
        self.rows += rows
        self._close_batch()

    def _count(self, size: int) -> None:
        self._open_rows += 1
        self._open_size += size
        self.rows += 1
        if self._open_rows == BATCH_ROWS or self._open_size > BATCH_BYTES:
            self._close_batch()

    def _close_batch(self) -> None:
        if not self._open_rows:
            return
        arrays, encoded = {}, set()
        for name, cells in self._open.items():
            if not all(cell is None or type(cell) is str for cell in cells):
                arrays[name] = _as_json(cells)
                encoded.add(name)
            else:
                arrays[name] = pa.array(cells, pa.string())
        batch = pa.RecordBatch.from_pydict(arrays)
        self._keep(batch, self._open_rows, frozenset(encoded), batch.nbytes)
        self._open = {name: [] for name in self._open}
        self._open_rows = self._open_size = 0

    def add_batch(self, batch: pa.RecordBatch, *, mapped: bool = False) -> None:
        """One batch of typed cells.

        One that is `mapped` from a file takes no memory and stays where it is.
        """
        self.rows += batch.num_rows
        self._keep(batch, batch.num_rows, frozenset(), 0 if mapped else batch.nbytes)

    def add_rows(self, columns: Mapping[str, Column], rows: np.ndarray) -> None:
        """Rows of other columns, by number, in this order."""
        for start in range(0, len(rows), BATCH_ROWS):
            part = rows[start : start + BATCH_ROWS]
            arrays = {name: column.taken(part) for name, column in columns.items()}
            batch = pa.RecordBatch.from_pydict({name: array for name, (array, _) in arrays.items()})
            self.rows += len(part)
            encoded = frozenset(name for name, (_, is_json) in arrays.items() if is_json)
            self._keep(batch, len(part), encoded, batch.nbytes)

    def _keep(self, batch: pa.RecordBatch, rows: int, encoded: frozenset[str], size: int) -> None:
        self._counts.append(rows)
        self._encoded.append(encoded)
        self._batches.append(batch)
        self._bytes += size
        if size and self._bytes > SPILL_BYTES:
            self._file = self._file or _Spill()
            self._file.write(self._batches)
            self._batches = []

    def columns(self) -> dict[str, Any]:
        """Every column as a Column, in order of first appearance.

        A row without a cell has None there. Nothing is added afterwards.
        """
        self._close_batch()
        batches = self._batches if self._file is None else self._file.read()
        names = dict.fromkeys([*self._open, *(name for batch in batches for name in batch.schema.names)])
        return {
            name: Column(
                [
                    batch[name] if name in batch.schema.names else pa.nulls(rows)
                    for batch, rows in zip(batches, self._counts, strict=True)
                ],
                [name in encoded for encoded in self._encoded],
            )
            for name in names
        }


class _Spill:
    """Batches in one file of a temporary directory.

    It goes as soon as it is mapped, or else with the program.
    """

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="nlp_ft-"))
        self._remove = weakref.finalize(self, shutil.rmtree, self._directory, ignore_errors=True)
        self._path = self._directory / "rows.arrow"
        self._starts: list[int] = []

    def write(self, batches: Iterable[pa.RecordBatch]) -> None:
        with self._path.open("ab") as file:
            for batch in batches:
                self._starts.append(file.tell())
                with pa.ipc.new_stream(file, batch.schema) as writer:
                    writer.write_batch(batch)

    def read(self) -> list[pa.RecordBatch]:
        mapped = pa.memory_map(str(self._path))
        batches = []
        for start in self._starts:
            mapped.seek(start)
            batches.append(pa.ipc.open_stream(mapped).read_next_batch())
        self._remove()  # what is mapped stays until the last column goes
        return batches


def file_for(data: Dataset, name: str) -> str | None:
    """A temporary file for what is made of a split that is too large for memory.

    It goes with the program. Else None.
    """
    if data.data.nbytes <= SPILL_BYTES:
        return None
    directory = tempfile.mkdtemp(prefix="nlp_ft-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return str(Path(directory, name))
