"""The tables of a run: local files, or the splits of a `datasets` dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasets import Dataset, load_dataset, load_dataset_builder, load_from_disk

from nlp_ft.data.readers.arrow import from_dataset
from nlp_ft.data.readers.bad_rows import BadRows
from nlp_ft.data.readers.options import reading_of
from nlp_ft.data.readers.table import Table
from nlp_ft.data.readers.table_reader import Source, read_table
from nlp_ft.data.schema.label_cells import is_unlabelled
from nlp_ft.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from nlp_ft.config import DataArguments

SPLITS = ("train", "validation", "test")
_USUAL_NAMES = {"train": ("train",), "validation": ("validation", "valid", "val", "dev"), "test": ("test",)}


def read_sources(
    args: DataArguments, frames: Mapping[str, Source] | None = None, collected: BadRows | None = None
) -> tuple[dict[str, Table], list[str]]:
    """Read every file, or every split of the dataset, that the arguments name.

    frames: a data frame (or anything else `read_table` takes) for some splits, in place of their files. collected: takes the
    malformed rows of all files, for the caller to refuse.
    Returns: the tables by split (train always), and notes on how they were read and on the splits that were left out.
    Raises: ConfigError where both or neither are named; DataError for a file or dataset that cannot be read.
    """
    files = {"train": args.train_file, "validation": args.validation_file, "test": args.test_file} | dict(frames or {})
    if unknown := set(files) - set(SPLITS):
        raise ConfigError(f"frames are for {', '.join(SPLITS)}; got {', '.join(sorted(unknown))}.")
    if (files["train"] is None) == (args.dataset_name is None):
        named = "neither" if files["train"] is None else "both"
        raise ConfigError(f"give --train_file or --dataset_name, one of the two; {named} came.")
    if args.dataset_name is not None:
        return _dataset_tables(args, args.dataset_name)
    tables = {
        split: read_table(file, skip_bad_rows=args.skip_bad_rows, collected=collected, **reading_of(args))
        for split, file in files.items()
        if file is not None
    }
    return tables, [note for table in tables.values() for note in table.notes]


def _dataset_tables(args: DataArguments, name: str) -> tuple[dict[str, Table], list[str]]:
    if args.validation_file is not None or args.test_file is not None:
        raise ConfigError(
            "--validation_file and --test_file go with --train_file; with --dataset_name, name its splits."
        )
    data = _load(name, args.dataset_config_name)
    tables, notes = {}, []
    for split in SPLITS:
        chosen = _split_name(name, data, split, getattr(args, f"{split}_split_name"))
        if chosen is None:
            continue
        table = from_dataset(f"{name}[{chosen}]", data[chosen])
        if split != "train" and (label := _hidden_label(table, args.label_column_name)):
            notes.append(f'{split}: {table.source} is left out, because no row of it has its label ("{label}")')
        else:
            tables[split] = table
    return tables, notes


def _load(name: str, config: str | None) -> dict[str, Dataset]:
    """The splits of a dataset by name or directory; no code of its own is ever run.

    Raises: DataError, in one line.
    """
    if "://" in name:
        raise DataError(f"--dataset_name {name} is a URL; give the name of a dataset on the Hub, or a local directory.")
    try:
        data = load_from_disk(name) if _is_saved(name) else load_dataset(name, config, **_exact(name, config))
    except Exception as error:  # whatever the Hub client, fsspec, Arrow or a builder raises
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise DataError(f"--dataset_name {name} cannot be loaded: {reason}") from error
    splits = {"train": data} if isinstance(data, Dataset) else dict(data)
    return {str(split): rows for split, rows in splits.items() if isinstance(rows, Dataset)}


def _is_saved(name: str) -> bool:
    """Whether a directory was written by `save_to_disk`."""
    return Path(name, "dataset_dict.json").is_file() or Path(name, "state.json").is_file()


def _exact(name: str, config: str | None) -> dict[str, Any]:
    """Options that keep texts such as "NA" and "null" from becoming nulls.

    They matter where the dataset is made of CSV files.
    """
    return {"keep_default_na": False} if load_dataset_builder(name, config).name == "csv" else {}


def _split_name(name: str, data: dict[str, Dataset], split: str, requested: str | None) -> str | None:
    """The name of a split in the dataset; None where there is none (train must be).

    Raises: DataError.
    """
    flag = f"--{split}_split_name"
    if requested is not None:
        if requested not in data:
            raise DataError(
                f"{name} has no split {requested!r} ({flag}); its splits are {', '.join(data)}.{did_you_mean(requested, data)}"
            )
        return requested
    name_there = next((usual for usual in _USUAL_NAMES[split] if usual in data), None)
    if name_there is None and split == "train":
        raise DataError(f"{name} has no split 'train'; name one of {', '.join(data)} with {flag}.")
    return name_there


def _hidden_label(table: Table, requested: str | None) -> str | None:
    """The label column of a split whose labels are all hidden, or None.

    As in GLUE's tests, where every one is null or -1.
    """
    names = [requested] if requested is not None else [name for name in ("label", "labels") if name in table.columns]
    return next((name for name in names if is_unlabelled(table, name)), None)
