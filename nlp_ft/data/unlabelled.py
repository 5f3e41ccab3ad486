"""`load_texts`: texts without labels, to train on and held out.

They come out of .txt files and any table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from nlp_ft.data.fingerprint import fingerprint
from nlp_ft.data.readers.arrow_store import Store
from nlp_ft.data.readers.bad_rows import BadRow, BadRows
from nlp_ft.data.readers.options import reading_of
from nlp_ft.data.readers.table import Table, joined, not_a_text
from nlp_ft.data.readers.table_reader import Source, expanded, read_table, several
from nlp_ft.data.readers.text_lines import Lines
from nlp_ft.data.rows import Rows, make_rows, texts_of
from nlp_ft.data.schema.columns import TEXT_FLAG, find_columns
from nlp_ft.data.schema.problem_type import REGRESSION, SINGLE
from nlp_ft.data.sources import read_sources
from nlp_ft.data.splits.leaks import refuse_leaks
from nlp_ft.data.splits.split import sample_rows, split_rows
from nlp_ft.data.text import counted, is_blank
from nlp_ft.errors import ConfigError, DataError

if TYPE_CHECKING:
    from nlp_ft.config import DataArguments


@dataclass(frozen=True)
class Unlabelled:
    """`train` and `validation`: column `text`.

    `keys`: text_digest of every text in either.

    `notes`, `fingerprint` and `rejected`: as in TextData.
    """

    train: Dataset
    validation: Dataset
    keys: frozenset[bytes]
    notes: list[str]
    fingerprint: dict[str, Any]
    rejected: list[BadRow] = field(default_factory=list)


def load_texts(
    args: DataArguments, sources: Mapping[str, Source], *, paragraphs: bool = False, seed: int = 42
) -> Unlabelled:
    """Read texts, leave blank ones out, hold some out, and sample.

    The text column of each table is found; all randomness comes from the seed.

    sources: files (or anything else `read_table` takes) by split: train, and validation where it is not to be split off; with
    args.dataset_name they are the splits of that dataset instead. paragraphs: a text of a .txt file ends at a blank line, not
    at the end of its line.

    Raises: DataError for anything wrong in the data, ConfigError where both or neither of files and dataset are named.
    """
    if ("train" in sources) == (args.dataset_name is not None):
        came = "both came" if "train" in sources else "neither came"
        raise ConfigError(f"give --text_file or --dataset_name, one of the two; {came}.")
    if args.dataset_name is not None:
        read, notes = read_sources(args)
        tables = {split: [read[split]] for split in ("train", "validation") if split in read}
    else:
        notes = []
        tables = {split: [*_tables(source, args, paragraphs)] for split, source in sources.items()}
    splits, tables_by_split = {}, {}
    for split, parts in tables.items():
        tables_by_split[split], text_notes = _texts(parts, args)
        splits[split] = make_rows(
            tables_by_split[split].texts("text", TEXT_FLAG), None, [0] * len(tables_by_split[split]), SINGLE
        )
        notes += [
            *text_notes,
            f"{split}: {counted(len(tables_by_split[split]), 'text')} of {tables_by_split[split].source}",
        ]
    notes += refuse_leaks(tables_by_split, splits, args.allow_leakage)
    notes += _hold_out(splits, args, seed)
    sizes = {split: len(rows) for split, rows in splits.items()}
    notes += _sample(splits, args, seed)
    record = fingerprint(  # of the texts: all have the same target
        splits,
        [],
        REGRESSION,
        {split: tables_by_split[split].source if split in tables_by_split else "split off train" for split in splits},
    )
    record["left_out"] = {
        "rejected": {split: len(table.rejected) for split, table in tables_by_split.items()},
        "samples": {split: sizes[split] - len(rows) for split, rows in splits.items()},
    }
    return Unlabelled(
        train=splits["train"].data.select_columns("text"),
        validation=splits["validation"].data.select_columns("text"),
        keys=frozenset(key for rows in splits.values() for key in rows.keys),
        notes=notes,
        fingerprint=record,
        rejected=[bad for table in tables_by_split.values() for bad in table.rejected],
    )


def _tables(source: Source, args: DataArguments, paragraphs: bool) -> Iterator[Table]:
    for part in (part for each in several(source) for part in expanded(each)):
        path = Path(part) if isinstance(part, str | Path) else None
        if path is not None and path.is_file() and _is_text(path, args.file_format):
            yield _read_text(path, paragraphs, args)
        else:
            yield read_table(part, skip_bad_rows=args.skip_bad_rows, **reading_of(args))


def _is_text(path: Path, file_format: str | None) -> bool:
    """Whether a file holds nothing but texts."""
    if file_format is not None:
        return file_format == "txt"
    return ".txt" in (path.suffix.lower(), path.with_suffix("").suffix.lower())


def _read_text(path: Path, paragraphs: bool, args: DataArguments) -> Table:
    """A line a text, or a paragraph: lines up to a blank one, with their line ends.

    Raises: DataError for what cannot be decoded.
    """
    store, numbers, bad = Store(["text"]), [], BadRows(args.skip_bad_rows)
    lines = Lines(path, encoding=args.encoding, strict=not args.skip_bad_rows)
    paragraph: list[str] = []

    def close(last: int) -> None:
        first = last - len(paragraph) + 1
        if reason := lines.fault(first, last):
            bad.add(f"{path}:{first}", reason, "".join(paragraph))
        elif paragraph:
            store.add_cells(["".join(paragraph).strip()])
            numbers.append(first)
        paragraph.clear()

    for line in lines:
        if line.strip():
            paragraph.append(line)
        if paragraph and not (paragraphs and line.strip()):
            close(lines.number if line.strip() else lines.number - 1)
    close(lines.number)
    bad.settle(str(path))
    if not numbers:
        raise DataError(f"{path} has no texts.")
    return Table(str(path), dict(store.columns()), lines=numbers, rejected=bad.rows)


def _texts(tables: Sequence[Table], args: DataArguments) -> tuple[Table, list[str]]:
    """One table with the column `text` and nothing else, blank texts left out.

    Returns: the table, and notes.
    """
    parts, notes = [], []
    for table in tables:
        columns = find_columns(
            table,
            args.text_column_names if len(table.columns) > 1 else None,
            None,
            args.label_column_name,
            labelled=False,
            delimiter=" " if args.text_column_delimiter is None else args.text_column_delimiter,
        )
        names = [*columns.texts, *([columns.text_pair] if columns.text_pair is not None else [])]
        if len(table.columns) > 1:
            notes += [*table.notes, *(f"{table.source}: {note}" for note in columns.notes)]
        kept = _without_missing(table, names) if args.skip_bad_rows else table
        texts, pairs = texts_of(kept, columns)
        if pairs is not None:
            texts = [f"{text} {pair}" for text, pair in zip(texts, pairs, strict=True)]
            notes.append(f"{table.source}: the two are joined by a space")
        part = replace(kept, columns={"text": texts}, notes=[], class_names={})
        full = [row for row, text in enumerate(texts) if not is_blank(text)]
        if blank := len(texts) - len(full):
            notes.append(f"{table.source}: {counted(blank, 'blank text')} left out")
        if not full:
            raise DataError(f"{table.source}: all its texts are blank.")
        parts.append(part.take(full) if blank else part)
    whole = parts[0] if len(parts) == 1 else joined(parts)
    return replace(whole, columns={"text": whole.columns["text"]}), notes


def _without_missing(table: Table, names: Sequence[str]) -> Table:
    """The table without the rows whose text is no string; those become `rejected`."""
    faults = {}
    for name in names:
        for row, cell in enumerate(table.column(name, TEXT_FLAG)):
            if not isinstance(cell, str):
                faults[row] = not_a_text(name, TEXT_FLAG, cell)
    if not faults:
        return table
    rejected = [BadRow(table.where(row), faults[row], "") for row in sorted(faults)]
    left = [row for row in range(len(table)) if row not in faults]
    return replace(table.take(left), rejected=[*table.rejected, *rejected])


def _hold_out(splits: dict[str, Rows], args: DataArguments, seed: int) -> list[str]:
    """Split validation off train where there is none. Returns: notes."""
    if "validation" in splits:
        return []
    rows = splits["train"]
    indices = split_rows(rows.keys, rows.labels, SINGLE, {"validation": args.validation_split_size}, seed)
    splits.update({split: rows.take(indices[split]) for split in indices})
    count = counted(len(splits["validation"]), "text")
    return [
        f"validation: {count} split off train (equal texts together, by hash, seed {seed})",
        f"train: {counted(len(splits['train']), 'text')} left",
    ]


def _sample(splits: dict[str, Rows], args: DataArguments, seed: int) -> list[str]:
    notes = []
    limits = (("train", "max_train_samples"), ("validation", "max_eval_samples"))
    for split, flag in limits:
        rows, limit = splits[split], getattr(args, flag)
        if limit is not None and limit < len(rows):
            splits[split] = rows.take(sample_rows(rows.keys, rows.labels, SINGLE, limit, seed))
            notes.append(f"{split}: a sample of {limit} of {len(rows)} texts (--{flag}, seed {seed})")
    return notes
