"""`load_data`: from arguments to three labelled splits.

Every decision is noted with its reason, and every row accounted for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from nlp_ft.data.fingerprint import fingerprint, warnings
from nlp_ft.data.labelled_rows import Labelled, read_rows
from nlp_ft.data.mixing import mix
from nlp_ft.data.readers.bad_rows import BadRow
from nlp_ft.data.readers.table_reader import Source
from nlp_ft.data.rows import Rows, text_digest
from nlp_ft.data.sources import SPLITS
from nlp_ft.data.splits.by_time import older_rows
from nlp_ft.data.splits.leaks import refuse_leaks
from nlp_ft.data.splits.split import describe, sample_rows, settled_rows, split_rows
from nlp_ft.data.text import counted
from nlp_ft.errors import ConfigError

if TYPE_CHECKING:
    from nlp_ft.config import DataArguments


@dataclass
class TextData:
    """Three splits, and how they came about.

    Their columns are `text`, (`text_pair`, `source`, `group`,) and `label`.

    `label` is a class id (single-label), a list of 0.0/1.0 in the order of `labels` (multi-label) or a float
    (regression). `labels`: class names in id order, [] for regression. `notes`: one decision a line, with its reason.
    `fingerprint`: sources, rows, rows per class and the sha256 of the content of each split, which depends neither on
    the machine nor on the format of the files; how the rows were split, and where those went that are in none of them.
    `rejected`: rows left out because they could not be read, or lack text or label. `given`: splits that came as such.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    problem_type: str
    labels: list[str]
    notes: list[str]
    fingerprint: dict[str, Any]
    rejected: list[BadRow] = field(default_factory=list)
    given: frozenset[str] = frozenset()


def keys_of(split: Dataset) -> list[bytes]:
    """8 bytes for each row of a split, equal for equal texts (or pairs)."""
    pairs = split["text_pair"] if "text_pair" in split.column_names else [None] * len(split)
    return [text_digest(text, pair) for text, pair in zip(split["text"], pairs, strict=True)]


def sampled(data: TextData, rows: int, seed: int) -> TextData:
    """The same data with a stratified sample of its training rows.

    All of them where there are no more.
    """
    indices = sample_rows(keys_of(data.train), list(data.train["label"]), data.problem_type, rows, seed)
    return replace(data, train=data.train.select(indices))


def load_data(
    args: DataArguments,
    seed: int = 42,
    frames: Mapping[str, Source] | None = None,
    split_off: Collection[str] = ("validation", "test"),
) -> TextData:
    """Read, find columns and problem, number labels, split, mix and sample.

    All randomness comes from the seed.

    frames: a data frame (or anything else `read_table` takes) for train, validation or test, in place of its file.
    split_off: the splits that are made out of train where they are missing; a missing one not named here has no rows.
    Raises: DataError for anything wrong in the data, ConfigError for arguments that do not go together.
    """
    labelled = read_rows(args, frames)
    splits, notes = dict(labelled.rows), list(labelled.notes)
    notes += refuse_leaks(labelled.tables, splits, args.allow_leakage)
    how, more = _split_off_missing(splits, labelled, args, seed, split_off)
    splits = {split: splits[split] if split in splits else splits["train"].take([]) for split in SPLITS}
    read = {split: len(rows) for split, rows in splits.items()}
    mixed, left_out = mix(splits["train"], args.mixing, seed)
    splits["train"] = mixed
    notes += [*more, *left_out]
    notes += _sample(splits, labelled.problem, args, seed)
    notes += warnings(splits, labelled.labels, labelled.problem)
    sources = {split: "split off train" if split in split_off else "none" for split in SPLITS}
    sources |= {split: table.source for split, table in labelled.tables.items()}
    record = fingerprint(splits, labelled.labels, labelled.problem, sources)
    record["left_out"] = {
        "rejected": {split: len(table.rejected) for split, table in labelled.tables.items()},
        "mixing": read["train"] - len(mixed),
        "samples": {split: (len(mixed) if split == "train" else read[split]) - len(splits[split]) for split in SPLITS},
    }
    record["split"] = how
    return TextData(
        **{split: splits[split].data for split in SPLITS},
        problem_type=labelled.problem,
        labels=labelled.labels,
        notes=notes,
        fingerprint=record,
        rejected=[bad for table in labelled.tables.values() for bad in table.rejected],
        given=frozenset(labelled.tables),
    )


def _split_off_missing(
    splits: dict[str, Rows], labelled: Labelled, args: DataArguments, seed: int, split_off: Collection[str]
) -> tuple[dict[str, object], list[str]]:
    """Add validation and test, where they are missing, out of train.

    Returns: how, for the record; and notes.
    """
    sizes = {"validation": args.validation_split_size, "test": args.test_split_size}
    missing = {split: size for split, size in sizes.items() if split in split_off and split not in splits}
    if not missing:
        return {}, []
    if sum(missing.values()) >= 1:
        raise ConfigError(
            f"--validation_split_size {args.validation_split_size} and --test_split_size {args.test_split_size} "
            "leave nothing to train on; their sum must be below 1."
        )
    rows = splits["train"]
    groups = rows.cells("group")
    times = list(labelled.tables["train"].column(args.time_column, "--time_column")) if args.time_column else None
    indices = split_rows(rows.keys, rows.labels, labelled.problem, missing, seed, groups=groups, times=times)
    splits.update({split: rows.take(indices[split]) for split in indices})
    settled = None
    if times is None:
        settled = settled_rows(rows.keys, rows.labels, labelled.problem, missing, groups=groups), len(rows)
    how = describe(labelled.problem, missing, seed, groups=groups, times=times, settled=settled)
    notes = [f"{split}: {counted(len(splits[split]), 'row')} split off train ({how})" for split in missing]
    if ungrouped := sum(group in (None, "") for group in groups or ()):
        notes.append(
            f"warning: {counted(ungrouped, 'row')} without a value in {args.group_column!r}, each a group of its own"
        )
    older = {} if times is None else older_rows(indices, times)
    notes += [
        f"{split}: {counted(count, 'row')} no newer than one of an earlier split, as equal texts and groups go together"
        for split, count in older.items()
        if count
    ]
    record = {"shares": missing, "seed": seed, "group_column": args.group_column, "time_column": args.time_column}
    return {**record, "how": how}, [*notes, f"train: {counted(len(splits['train']), 'row')} left"]


def _sample(splits: dict[str, Rows], problem: str, args: DataArguments, seed: int) -> list[str]:
    """Cut splits down to what --max_*_samples allow. Returns: notes."""
    limits = {
        "train": ("max_train_samples", args.max_train_samples),
        "validation": ("max_eval_samples", args.max_eval_samples),
        "test": ("max_predict_samples", args.max_predict_samples),
    }
    notes = []
    for split, (flag, limit) in limits.items():
        rows = splits[split]
        if limit is not None and limit < len(rows):
            splits[split] = rows.take(sample_rows(rows.keys, rows.labels, problem, limit, seed))
            notes.append(f"{split}: a sample of {limit} of {len(rows)} rows (--{flag}, stratified, seed {seed})")
    return notes
