"""`load_data`: from arguments to three labelled splits, every decision noted with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from datasets import Dataset

from nlp_ft.data.columns import find_columns
from nlp_ft.data.label_cells import read_label_column
from nlp_ft.data.labels import class_names, listed, number_targets, targets
from nlp_ft.data.problem import find_problem
from nlp_ft.data.rows import Rows, rows_of
from nlp_ft.data.sources import SPLITS, read_sources
from nlp_ft.data.split import sample_rows, split_rows
from nlp_ft.data.summary import fingerprint, warnings
from nlp_ft.data.table import counted
from nlp_ft.errors import ConfigError

if TYPE_CHECKING:
    from nlp_ft.config import DataArguments


@dataclass
class TextData:
    """Three splits with the columns `text`, (`text_pair`,) `label`, and how they came about.

    `label` is a class id (single-label), a list of 0.0/1.0 in the order of `labels` (multi-label) or a float
    (regression). `labels`: class names in id order, [] for regression. `notes`: one decision a line, with its reason.
    `fingerprint`: sources, rows, rows per class and the sha256 of the content of each split, which depends neither on
    the machine nor on the format of the files.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    problem_type: str
    labels: list[str]
    notes: list[str]
    fingerprint: dict[str, Any]


def load_data(args: DataArguments, seed: int = 42) -> TextData:
    """Read, find columns and problem, number the labels, split off what is missing, sample; all chance is the seed's.

    Raises: DataError for anything wrong in the data, ConfigError for arguments that do not go together.
    """
    tables, notes = read_sources(args)
    columns = find_columns(tables["train"], args.text_column_names, args.text_pair_column_name, args.label_column_name)
    assert columns.label is not None  # find_columns found one, or raised
    label_columns = {split: read_label_column(table, columns.label) for split, table in tables.items()}
    problem = find_problem(label_columns["train"], args.problem_type)
    named = {split: targets(column, problem.kind) for split, column in label_columns.items()}
    labels = class_names(label_columns["train"], named["train"], problem.kind)
    notes += [*columns.notes, f"problem: {problem.kind}, because {problem.reason}"]
    notes += [f"labels: {listed(labels)}"] if labels else []
    splits = {}
    for split, table in tables.items():
        numbers = number_targets(label_columns[split], named[split], labels, problem.kind)
        splits[split] = rows_of(table, columns, numbers)
        notes.append(f"{split}: {counted(len(table), 'row')} of {table.source}")
    notes += _split_off_missing(splits, problem.kind, args, seed)
    notes += _sample(splits, problem.kind, args, seed)
    notes += warnings(splits, labels, problem.kind)
    sources = {split: tables[split].source if split in tables else "split off train" for split in SPLITS}
    return TextData(
        **{split: splits[split].to_dataset(problem.kind) for split in SPLITS},
        problem_type=problem.kind,
        labels=labels,
        notes=notes,
        fingerprint=fingerprint(splits, labels, problem.kind, sources),
    )


def _split_off_missing(splits: dict[str, Rows], problem: str, args: DataArguments, seed: int) -> list[str]:
    """Add validation and test, where they are missing, out of train. Returns: notes."""
    sizes = {"validation": args.validation_split_size, "test": args.test_split_size}
    missing = {split: size for split, size in sizes.items() if split not in splits}
    if not missing:
        return []
    if sum(missing.values()) >= 1:
        raise ConfigError(
            f"--validation_split_size {args.validation_split_size} and --test_split_size {args.test_split_size} "
            "leave nothing to train on; their sum must be below 1."
        )
    rows = splits["train"]
    places = split_rows(rows, problem, missing, seed)
    splits.update({split: rows.take(places[split]) for split in places})
    how = f"split off train (stratified, equal texts together, seed {seed})"
    notes = [f"{split}: {counted(len(splits[split]), 'row')} {how}" for split in missing]
    return [*notes, f"train: {counted(len(splits['train']), 'row')} left"]


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
            splits[split] = rows.take(sample_rows(rows, problem, limit, seed))
            notes.append(f"{split}: a sample of {limit} of {len(rows)} rows (--{flag}, stratified, seed {seed})")
    return notes
