"""Output formats: blocks of rows with predictions as parts, joined into one file."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

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
)  # of a Parquet row group: blocks are added until one is reached


class Format(Protocol):
    """A format of the output."""

    def write(self, handle: IO[bytes], block: Block, predictions: Sequence[Prediction]) -> None:
        """Write the rows of a block, each with its prediction."""
        ...

    def join(self, parts: Iterable[Path], handle: IO[bytes]) -> None:
        """Join the parts, in order, into the whole file."""
        ...


def format_of(output: Path, file: TextFile, columns: Sequence[PredictionColumn]) -> Format:
    """Choose the format of an output by its suffix.

    Raises: ConfigError where it cannot hold the input's columns.
    """
    return _FORMATS[output.suffix.lower()](file, columns)


class _Csv:
    """CSV: strings character for character, nulls empty, lists and objects as JSON."""

    def __init__(self, file: TextFile, columns: Sequence[PredictionColumn]) -> None:
        self._names, self._columns = file.names, columns

    def write(self, handle: IO[bytes], block: Block, predictions: Sequence[Prediction]) -> None:
        rows = zip(*_cells(block, self._names), strict=True)
        self._write_rows(
            handle,
            (
                [*map(as_cell, row), *(column.cell(prediction) for column in self._columns)]
                for row, prediction in zip(rows, predictions, strict=True)
            ),
        )

    def join(self, parts: Iterable[Path], handle: IO[bytes]) -> None:
        self._write_rows(handle, [[*self._names, *(column.name for column in self._columns)]])
        _append(parts, handle)

    def _write_rows(self, handle: IO[bytes], rows: Iterable[list[str]]) -> None:
        text = io.TextIOWrapper(handle, encoding="utf-8", newline="")
        csv.writer(text).writerows(rows)
        text.detach()


class JsonLines:
    """JSON lines: each object as it is in the input, with the predictions appended.

    Rows of other formats become objects by column name. names: of the input's columns.
    """

    def __init__(self, names: Sequence[str], columns: Sequence[PredictionColumn]) -> None:
        self._names, self._columns = names, columns

    def write(self, handle: IO[bytes], block: Block, predictions: Sequence[Prediction]) -> None:
        """Write the rows of a block, each with its prediction."""
        for row, prediction in zip(block.objects or self._objects(block), predictions, strict=True):
            head = row[:-1].rstrip()
            members = ", ".join(
                f"{as_json(column.name)}: {as_json(column.value(prediction))}" for column in self._columns
            )
            handle.write(f"{head}{'' if head == '{' else ', '}{members}}}\n".encode())

    def _objects(self, block: Block) -> Iterable[str]:
        names = [as_json(name) for name in self._names]
        for row in zip(*_cells(block, self._names), strict=True):
            yield "{" + ", ".join(f"{name}: {as_json(cell)}" for name, cell in zip(names, row, strict=True)) + "}"

    def join(self, parts: Iterable[Path], handle: IO[bytes]) -> None:
        """Join the parts, in order."""
        _append(parts, handle)


class _Parquet:
    """Parquet: the schema of Parquet and Arrow is kept, others are inferred.

    Columns of mixed types are written as JSON.
    """

    def __init__(self, file: TextFile, columns: Sequence[PredictionColumn]) -> None:
        self._file, self._columns = file, columns
        input_schema = file.schema or pa.schema([(name, _type(file.kinds[name])) for name in file.names])
        self._as_json = {name for name in file.names if file.schema is None and _is_mixed(file.kinds[name])}
        self._schema = pa.schema(
            [*input_schema, *(pa.field(column.name, column.kind) for column in columns)], metadata=input_schema.metadata
        )
        try:
            pq.ParquetWriter(pa.BufferOutputStream(), self._schema).close()
        except pa.ArrowException as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"{file.source}: Parquet cannot hold its columns ({reason}); name a .jsonl file."
            ) from None

    def write(self, handle: IO[bytes], block: Block, predictions: Sequence[Prediction]) -> None:
        if block.batch is not None:
            arrays = list(block.batch.columns)
        else:
            arrays = [
                self._array(name, cells) for name, cells in zip(self._file.names, self._columns_of(block), strict=True)
            ]
        arrays += [
            pa.array([column.value(prediction) for prediction in predictions], column.kind) for column in self._columns
        ]
        with pa.ipc.new_stream(handle, self._schema) as writer:
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=self._schema))

    def _columns_of(self, block: Block) -> list[Sequence[object]]:
        return _cells(block, self._file.names)

    def _array(self, name: str, cells: Sequence[object]) -> pa.Array:
        if name in self._as_json:
            return pa.array([None if cell is None else as_json(cell) for cell in cells], pa.string())
        return pa.array(cells, self._schema.field(name).type)

    def join(self, parts: Iterable[Path], handle: IO[bytes]) -> None:
        with pq.ParquetWriter(handle, self._schema) as writer:
            tables: list[pa.Table] = []
            for path in parts:
                with pa.OSFile(str(path)) as part:
                    tables.append(pa.ipc.open_stream(part).read_all())
                if sum(t.num_rows for t in tables) >= _GROUP_ROWS or sum(t.nbytes for t in tables) >= _GROUP_BYTES:
                    writer.write_table(pa.concat_tables(tables))
                    tables = []
            if tables:
                writer.write_table(pa.concat_tables(tables))


def _json_lines(file: TextFile, columns: Sequence[PredictionColumn]) -> JsonLines:
    return JsonLines(file.names, columns)


_FORMATS: dict[str, Callable[[TextFile, Sequence[PredictionColumn]], Format]] = {
    ".csv": _Csv,
    ".jsonl": _json_lines,
    ".parquet": _Parquet,
}
SUFFIXES = tuple(_FORMATS)


def _cells(block: Block, names: Sequence[str]) -> list[Sequence[object]]:
    """Cells of a block by column, null where it has no column of that name."""
    nulls = [None] * len(block)
    return [block.table.columns.get(name, nulls) for name in names]


def _append(parts: Iterable[Path], handle: IO[bytes]) -> None:
    for path in parts:
        with path.open("rb") as part:
            shutil.copyfileobj(part, handle, 1 << 20)


def _type(kinds: set[str]) -> pa.DataType:
    """The Arrow type that holds values of these kinds; JSON strings if none does."""
    kinds = kinds - {"null"}
    if kinds == {"bool"}:
        return pa.bool_()
    if kinds and kinds <= {"int", "long"}:
        return pa.int64()
    return pa.float64() if kinds and kinds <= {"int", "float"} else pa.string()


def _is_mixed(kinds: set[str]) -> bool:
    return _type(kinds) == pa.string() and not kinds <= {"str", "null"}
