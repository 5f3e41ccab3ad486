"""k-fold cross-validation: every row tested once by a model that did not see it; mean and spread of every metric."""

from __future__ import annotations

import copy
import csv
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

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
    asked: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Fit on all folds but one, test on that one, in turn; the test split takes no part.

    Each fold's results are kept in `folds/1` and so on of the output directory, its weights are not; the predictions of all
    rows go to `out_of_fold_predictions.csv`. A fold that is finished is not run again where a run is resumed.

    asked: what a finished fold must have in common with this run (`training.asked`), besides rows and training arguments.

    Returns: `cv_accuracy` (mean over the folds) and `cv_accuracy_std` (standard deviation, n - 1), likewise for every test
    metric; `cv_folds`. Raises: ConfigError for a finished fold of other settings or rows.
    """
    output = Path(str(args.output_dir))
    found = []
    for number, part in enumerate(fold_data(data, folds, args.seed, validation_share), start=1):
        directory = output / "folds" / str(number)
        own = {**_asked(part, args, validation_share), **(asked or {})}
        if not checkpointing.finished(directory, own):
            checkpointing.begin(directory, own)
            log(f"\nfold {number} of {folds}: {len(part.train)} rows to train on, {len(part.test)} to test on")
            fit_one(part, arguments_for(args, directory))
            _remove_weights(directory)
        found.append(json.loads((directory / "all_results.json").read_text(encoding="utf-8")))
    metrics: dict[str, float] = {"cv_folds": folds}
    for name in found[0]:
        if name.startswith("test_") and "@" not in name and all(name in results for results in found):
            values = [results[name] for results in found]
            metrics[f"cv_{name.removeprefix('test_')}"] = float(np.mean(values))
            metrics[f"cv_{name.removeprefix('test_')}_std"] = float(np.std(values, ddof=1))
    if PartialState().is_main_process:
        _join_predictions(output, folds)
        write_json(output / "folds" / "cross_validation.json", metrics)
    PartialState().wait_for_everyone()
    return metrics


def fold_data(data: TextData, folds: int, seed: int, validation_share: float) -> Iterator[TextData]:
    """The data of each fold: its rows are the test split, of the others a share is validation (or the one that was given).

    Rows that were split off for validation take part. Equal texts, and equal groups, are in one fold.
    Raises: DataError where there are too few rows.
    """
    pool = data.train if "validation" in data.given else concatenate_datasets([data.train, data.validation])
    keys = keys_of(pool)
    labels = list(pool["label"])
    groups = list(pool["group"]) if "group" in pool.column_names else None
    held_out = fold_rows(keys, labels, data.problem_type, folds, seed, groups=groups)
    for number, held in enumerate(held_out, start=1):
        out = set(held)
        rest = [row for row in range(len(pool)) if row not in out]
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
            train = pool.select([rest[place] for place in indices["train"]])
            validation = pool.select([rest[place] for place in indices["validation"]])
        record = {**data.fingerprint, "fold": {"number": number, "of": folds, "rows": len(held)}}
        record["sha256"] = {split: f"{digest} fold {number} of {folds}" for split, digest in record["sha256"].items()}
        yield replace(data, train=train, validation=validation, test=pool.select(held), fingerprint=record)


def _asked(part: TextData, args: TrainingArguments, validation_share: float) -> dict[str, Any]:
    """What a finished fold must have in common with this run, as far as its data and the training arguments say."""
    names = (*checkpointing.RESULT, "learning_rate", "num_train_epochs")
    held = json.loads(json.dumps(args.to_dict(), default=str))
    return {
        "data": {split: part.fingerprint["sha256"][split] for split in ("train", "validation")},
        "validation_split_size": validation_share,
        **{name: held[name] for name in names},
    }


def arguments_for(args: TrainingArguments, directory: Path) -> TrainingArguments:
    """The same arguments for another directory, which is resumed only where it holds a checkpoint."""
    own = copy.copy(args)
    own.output_dir = str(directory)
    if not any(directory.glob("checkpoint-*")):
        own.resume_from_checkpoint = None
    return own


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
    """The test predictions of every fold in one file, with the fold in front."""
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
