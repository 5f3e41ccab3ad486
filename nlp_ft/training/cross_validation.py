"""k-fold cross-validation.

It gives the mean and standard deviation of every test metric over the folds.
"""

from __future__ import annotations

import copy
import csv
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from accelerate import PartialState
from datasets import concatenate_datasets
from transformers import TrainingArguments

from nlp_ft.data import TextData, fold_rows, keys_of, split_rows
from nlp_ft.training import checkpointing
from nlp_ft.training.run_report import RunReport
from nlp_ft.utils import log, write_json

_KEPT = ("all_results.json", "test_predictions.csv", "run.json", checkpointing.ASKED)
PREDICTIONS = "out_of_fold_predictions.csv"


def cross_validate(
    data: TextData,
    folds: int,
    validation_share: float,
    args: TrainingArguments,
    fit_one: Callable[[TextData, TrainingArguments], RunReport],
    identity: Mapping[str, object] | None = None,
) -> dict[str, float]:
    """Fit on all folds but one and test on that, for each; no test split is used.

    The results of a fold are kept in `folds/1`, ... of the output directory, its weights are not; the predictions of all rows
    are written to `out_of_fold_predictions.csv`. A resumed run skips finished folds.

    identity: settings that a finished fold must share with this run, besides its rows and training arguments.

    Returns: `cv_accuracy` (mean over the folds) and `cv_accuracy_std` (standard deviation, n - 1), likewise for every test
    metric; `cv_folds`. Raises: ConfigError for a finished fold with other settings or rows.
    """
    output = Path(str(args.output_dir))
    results = []
    for number, part in enumerate(fold_data(data, folds, args.seed, validation_share), start=1):
        directory = output / "folds" / str(number)
        expected = {**_fold_identity(part, args, validation_share), **(identity or {})}
        if not checkpointing.finished(directory, expected):
            checkpointing.begin(directory, expected)
            log(f"\nfold {number} of {folds}: {len(part.train)} training rows, {len(part.test)} test rows")
            fit_one(part, arguments_for(args, directory))
            _remove_weights(directory)
        results.append(json.loads((directory / "all_results.json").read_text(encoding="utf-8")))
    metrics: dict[str, float] = {"cv_folds": folds}
    for name in results[0]:
        if name.startswith("test_") and "@" not in name and all(name in result for result in results):
            values = [result[name] for result in results]
            metrics[f"cv_{name.removeprefix('test_')}"] = float(np.mean(values))
            metrics[f"cv_{name.removeprefix('test_')}_std"] = float(np.std(values, ddof=1))
    if PartialState().is_main_process:
        _join_predictions(output, folds)
        write_json(output / "folds" / "cross_validation.json", metrics)
    PartialState().wait_for_everyone()
    return metrics


def fold_data(data: TextData, folds: int, seed: int, validation_share: float) -> Iterator[TextData]:
    """Yield the data of each fold.

    The rows of the fold are the test split, the others train and validation.

    A given validation split is used as it is; one that was split off takes part in the folds. Equal texts, and rows of one
    group, are in one fold. Raises: DataError for too few rows.
    """
    pool = data.train if "validation" in data.given else concatenate_datasets([data.train, data.validation])
    keys = keys_of(pool)
    labels = list(pool["label"])
    groups = list(pool["group"]) if "group" in pool.column_names else None
    held_out = fold_rows(keys, labels, data.problem_type, folds, seed, groups=groups)
    for number, held in enumerate(held_out, start=1):
        excluded = set(held)
        rest = [row for row in range(len(pool)) if row not in excluded]
        if "validation" in data.given:
            train, validation = pool.select(rest), data.validation
        else:
            indices = split_rows(
                [keys[row] for row in rest],
                [labels[row] for row in rest],
                data.problem_type,
                {"validation": validation_share},
                seed,
                groups=None if groups is None else [groups[row] for row in rest],
            )
            train = pool.select([rest[index] for index in indices["train"]])
            validation = pool.select([rest[index] for index in indices["validation"]])
        record = {**data.fingerprint, "fold": {"number": number, "of": folds, "rows": len(held)}}
        record["sha256"] = {split: f"{digest} fold {number} of {folds}" for split, digest in record["sha256"].items()}
        yield replace(data, train=train, validation=validation, test=pool.select(held), fingerprint=record)


def _fold_identity(part: TextData, args: TrainingArguments, validation_share: float) -> dict[str, object]:
    """Return what a finished fold must share with this run: rows and arguments."""
    names = (*checkpointing.RESULT, "learning_rate", "num_train_epochs")
    arguments = json.loads(json.dumps(args.to_dict(), default=str))
    return {
        "data": {split: part.fingerprint["sha256"][split] for split in ("train", "validation")},
        "validation_split_size": validation_share,
        **{name: arguments[name] for name in names},
    }


def arguments_for(args: TrainingArguments, directory: Path) -> TrainingArguments:
    """Return a copy for another directory.

    It is resumed only if it has a checkpoint.
    """
    args = copy.copy(args)
    args.output_dir = str(directory)
    if not any(directory.glob("checkpoint-*")):
        args.resume_from_checkpoint = None
    return args


def _remove_weights(directory: Path) -> None:
    state = PartialState()
    state.wait_for_everyone()
    if state.is_main_process:
        for path in directory.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in _KEPT:
                path.unlink()
    state.wait_for_everyone()


def _join_predictions(output: Path, folds: int) -> None:
    """Write the test predictions of every fold to one file.

    The fold is in the first column.
    """
    part = output / f"{PREDICTIONS}.part"
    with part.open("w", encoding="utf-8", newline="") as joined:
        writer = csv.writer(joined)
        for number in range(1, folds + 1):
            with (output / "folds" / str(number) / "test_predictions.csv").open(encoding="utf-8", newline="") as file:
                head, *rows = csv.reader(file)
            if number == 1:
                writer.writerow(["fold", *head])
            writer.writerows([number, *row] for row in rows)
    part.replace(output / PREDICTIONS)
