"""What is written, by format: a block of rows with their answers as a part, and the parts as one file."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from nlp_ft.data import Block, TextFile
from nlp_ft.errors import ConfigError
from nlp_ft.inference.files.columns import PredictionColumn, as_cell, as_json

if TYPE_CHECKING:
    from nlp_ft.inference.prediction import Prediction

_GROUP_ROWS, _GROUP_BYTES = (
    1 << 16,
    64 << 20,
)  # a row group of Parquet: as many blocks as it takes to reach one of these


class Format(Protocol):
    """How answers are written."""

    def write(self, handle: IO[bytes], block: Block, found: Sequence[Prediction]) -> None:
        """The rows of a block, each with its answer."""
        ...

    def join(self, parts: Iterable[Path], handle: IO[bytes]) -> None:
        """The whole file, out of the parts in order."""
        ...


def format_of(output: Path, file: TextFile, columns: Sequence[PredictionColumn]) -> Format:
    """The format of an output by its suffix. Raises: ConfigError where it cannot hold the input's columns."""
    return _FORMATS[output.suffix.lower()](file, columns)


class _Csv:
    """Cells of strings character for character, nulls empty, lists and objects as JSON."""

    def __init__(self, file: TextFile, columns: Sequence[PredictionColumn]) -> None:
        self._names, self._columns = file.names, columns

    def write(self, handle: IO[bytes], block: Block, found: Sequence[Prediction]) -> None:
        rows = zip(*_cells(block, self._names), strict=True)
        self._write_rows(
            handle,
            (
                [*map(as_cell, row), *(column.cell(one) for column in self._columns)]
                for row, one in zip(rows, found, strict=True)
            ),
        )

    def join(self, parts: Iterable[Path], handle: IO[bytes]) -> None:
        self._write_rows(handle, [[*self._names, *(column.name for column in self._columns)]])
        _append(parts, handle)

    def _write_rows(self, handle: IO[bytes], rows: Iterable[list[str]]) -> None:
        text = io.TextIOWrapper(handle, encoding="utf-8", newline="")
        csv.writer(text).writerows(rows)
        text.detach()


class _JsonLines:
    """Objects as they stand in JSON lines, the answers behind their last key; of other formats by name."""

    def __init__(self, file: TextFile, columns: Sequence[PredictionColumn]) -> None:
        self._names, self._columns = file.names, columns

    def write(self, handle: IO[bytes], block: Block, found: Sequence[Prediction]) -> None:
        for row, one in zip(block.objects or self._objects(block), found, strict=True):
            head = row[:-1].rstrip()
            answers = ", ".join(f"{as_json(column.name)}: {as_json(column.value(one))}" for column in self._columns)
            handle.write(f"{head}{'' if head == '{' else ', '}{answers}}}\n".encode())

    def _objects(self, block: Block) -> Iterable[str]:
        names = [as_json(name) for name in self._names]
        for row in zip(*_cells(block, self._names), strict=True):
            yield "{" + ", ".join(f"{name}: {as_json(cell)}" for name, cell in zip(names, row, strict=True)) + "}"

    def join(self, parts: Iterable[Path], handle: IO[bytes]) -> None:
        _append(parts, handle)


class _Parquet:
    """The schema of Parquet and Arrow kept, that of other formats by their values; columns of mixed types as JSON."""

    def __init__(self, file: TextFile, columns: Sequence[PredictionColumn]) -> None:
        self._file, self._columns = file, columns
        own = file.schema or pa.schema([(name, _type(file.kinds[name])) for name in file.names])
        self._as_json = {name for name in file.names if file.schema is None and _is_mixed(file.kinds[name])}
        self._schema = pa.schema(
            [*own, *(pa.field(column.name, column.kind) for column in columns)], metadata=own.metadata
        )
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), self._schema).close()
        except pa.ArrowException as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"{file.source}: Parquet cannot hold its columns ({reason}); name a .jsonl file."
            ) from None

    def write(self, handle: IO[bytes], block: Block, found: Sequence[Prediction]) -> None:
        if block.batch is not None:
            arrays = list(block.batch.columns)
        else:
            arrays = [self._array(name, cells) for name, cells in zip(self._file.names, self._held(block), strict=True)]
        arrays += [pa.array([column.value(one) for one in found], column.kind) for column in self._columns]
        with pa.ipc.new_stream(handle, self._schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def _held(self, block: Block) -> list[Sequence[Any]]:
        return _cells(block, self._file.names)

    def _array(self, name: str, cells: Sequence[Any]) -> pa.Array:
        if name in self._as_json:
            return pa.array([None if cell is None else as_json(cell) for cell in cells], pa.string())
        return pa.array(cells, self._schema.field(name).type)

    def join(self, parts: Iterable[Path], handle: IO[bytes]) -> None:
        with pq.ParquetWriter(handle, self._schema) as writer:
            held: list[pa.Table] = []
            for path in parts:
                with pa.OSFile(str(path)) as part:
                    held.append(pa.ipc.open_stream(part).read_all())
                if sum(t.num_rows for t in held) >= _GROUP_ROWS or sum(t.nbytes for t in held) >= _GROUP_BYTES:
                    writer.write_table(pa.concat_tables(held))
                    held = []
            if held:
                writer.write_table(pa.concat_tables(held))


_FORMATS: dict[str, type[_Csv | _JsonLines | _Parquet]] = {".csv": _Csv, ".jsonl": _JsonLines, ".parquet": _Parquet}
SUFFIXES = tuple(_FORMATS)


def _cells(block: Block, names: Sequence[str]) -> list[Sequence[Any]]:
    """The cells of a block by column, null where it has none of that name."""
    nulls = [None] * len(block)
    return [block.table.columns.get(name, nulls) for name in names]


def _append(parts: Iterable[Path], handle: IO[bytes]) -> None:
    for path in parts:
        with path.open("rb") as part:
            shutil.copyfileobj(part, handle, 1 << 20)


def _type(kinds: set[str]) -> pa.DataType:
    """The type that holds values of these kinds; JSON in strings, if no other does."""
    kinds = kinds - {"null"}
    if kinds == {"bool"}:
        return pa.bool_()
    if kinds and kinds <= {"int", "long"}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {"int", "float"} else pa.string()


def _is_mixed(kinds: set[str]) -> bool:
    return _type(kinds) == pa.string() and not kinds <= {"str", "null"}
