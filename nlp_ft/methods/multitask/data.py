"""Read the tasks' rows, mix them into one data set, and score each task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from datasets import Dataset, List, Value, concatenate_datasets
from transformers import EvalPrediction, PreTrainedModel

from nlp_ft.config.yaml_file import read_mapping
from nlp_ft.data import TextData, counted, keys_of, load_data
from nlp_ft.data.checks import run_checks
from nlp_ft.errors import ConfigError, DataError, did_you_mean
from nlp_ft.evaluation.metrics import MULTI, REGRESSION, SINGLE, compute_metrics
from nlp_ft.methods.multitask.arguments import MultitaskArguments
from nlp_ft.methods.multitask.trainer import MultiTaskLoss, TaskKind
from nlp_ft.training.losses import ClassifierLoss
from nlp_ft.training.settings import Settings
from nlp_ft.utils import log, warning

SCORE = {SINGLE: "f1_macro", MULTI: "f1_micro", REGRESSION: "r2"}  # greater is better; their mean picks the checkpoint
_SHOWN = 3

TableRow = dict[str, Any]  # task, metric, rows, multi-task; beside a control alone, difference, error


@dataclass
class Task:
    """A task: its name, settings and rows, and once prepared its model and loss.

    `splits`: tokenized; `limit`: tokens after which its texts are cut. `model`, `loss` and `splits` are set when the task is
    prepared (job.py).
    """

    name: str
    settings: Settings
    data: TextData
    model: PreTrainedModel = field(init=False, repr=False)
    loss: ClassifierLoss = field(init=False, repr=False)
    splits: Mapping[str, Dataset] = field(init=False, repr=False)
    limit: int = 0
    notes: Sequence[str] = ()

    @property
    def kind(self) -> TaskKind:
        """The shape of its labels."""
        return TaskKind(self.data.problem_type, max(1, len(self.data.labels)))

    def with_fit(self, **changes: str | None) -> Task:
        """Copy the task, with some of its FitArguments changed."""
        return replace(self, settings=replace(self.settings, fit=replace(self.settings.fit, **changes)))


def read_tasks(settings: Settings[MultitaskArguments], frames: Mapping[str, Mapping[str, object]]) -> list[Task]:
    """Read the rows of each task, and log notes and the data check.

    Raises: ConfigError, DataError.
    """
    tasks: list[Task] = []
    data_arguments = settings.method_arguments.data_of(settings.data)
    for name in frames:
        if name not in data_arguments:
            raise ConfigError(
                f"frames: '{name}' is no task ({', '.join(data_arguments)}).{did_you_mean(name, data_arguments)}"
            )
    for name, args in data_arguments.items():
        log(f"\ntask {name}")
        data = load_data(args, seed=settings.training.seed, frames=frames.get(name))
        log(*data.notes, run_checks.summary(data))
        tasks.append(Task(name, replace(settings, data=args), data))
    log("", *shared_texts(tasks))
    return _with_class_weights(_with_thresholds(tasks, settings.fit.threshold_metric), settings.fit.class_weights)


def shared_texts(tasks: Sequence[Task]) -> list[str]:
    """Warn of held-out texts that another task trains on.

    The shared body learns from the training rows of all tasks.

    Returns: warnings, on validation rows and on what --allow_leakage lets pass. Raises: DataError for test rows.
    """
    trained = {task.name: set(keys_of(task.data.train)) for task in tasks}
    notes = []
    for task in tasks:
        for split in ("test", "validation"):
            rows: Dataset = getattr(task.data, split)
            keys = keys_of(rows)
            for other in (name for name in trained if name != task.name):
                indices = [index for index, key in enumerate(keys) if key in trained[other]]
                if not indices:
                    continue
                shown = ", ".join(repr(str(rows[index]["text"])[:40]) for index in indices[:_SHOWN])
                have = "has" if len(indices) == 1 else "have"
                leak = f"in {split} {have} a text that is in train of task {other}"
                more = ", ..." if len(indices) > _SHOWN else ""
                message = f"task {task.name}: {counted(len(indices), 'row')} of {len(rows)} {leak} ({shown}{more})"
                if split == "test" and not task.settings.data.allow_leakage:
                    raise DataError(
                        f"{message}, so the test figures would flatter the model; take them out, or go on with --allow_leakage."
                    )
                notes.append(warning(f"{message}, so its figures flatter the model"))
    return notes


def _with_thresholds(tasks: list[Task], metric: str | None) -> list[Task]:
    """Set --threshold_metric for the multi-label tasks.

    Raises: ConfigError where none is multi-label.
    """
    if metric is not None and all(task.data.problem_type != MULTI for task in tasks):
        raise ConfigError("--threshold_metric: only multi-label problems have thresholds; none of these tasks is one.")
    return [task.with_fit(threshold_metric=metric if task.data.problem_type == MULTI else None) for task in tasks]


def _with_class_weights(tasks: list[Task], spec: str | None) -> list[Task]:
    """Set --class_weights for each task.

    `balanced` holds for all tasks with classes; JSON names the tasks, each with a value that finetune takes.
    """
    if spec is None:
        return tasks
    names = [task.name for task in tasks if task.data.labels]
    by_task = dict.fromkeys(names, spec) if spec == "balanced" else read_mapping(spec, "class_weights")[0]
    for name in by_task:
        if name not in names:
            raise ConfigError(
                f"--class_weights names '{name}', which is no task with classes ({', '.join(names) or 'there is none'}); "
                'it takes balanced, or JSON by task such as \'{"a": "balanced", "b": {"spam": 5}}\'.'
                f"{did_you_mean(name, names)}"
            )
    changed = []
    for task in tasks:
        weights = by_task.get(task.name)
        weights = weights if weights is None or isinstance(weights, str) else json.dumps(weights)
        changed.append(task.with_fit(class_weights=weights))
    return changed


def scale(task: Task) -> float:
    """Divisor of a task's row losses.

    1, or for a regression the variance of its training targets (1 where they are all the same).
    """
    if task.data.problem_type != REGRESSION:
        return 1.0
    return float(np.var(np.asarray(task.data.train["label"][:], dtype=np.float64))) or 1.0


def mixed(tasks: Sequence[Task], split: str) -> Dataset:
    """Concatenate a split of all tasks, task after task.

    The label of a row becomes a list: the number of its task, then its label's cells.
    """
    parts = []
    for number, task in enumerate(tasks):
        rows = task.splits[split]
        cells = [[float(number), *np.atleast_1d(label).astype(float).tolist()] for label in rows["labels"]]
        bare = rows.remove_columns("labels")
        parts.append(bare.add_column("labels", cells, feature=List(Value("float32"))))
    return concatenate_datasets(parts)


def scores(tasks: Sequence[Task], loss: MultiTaskLoss, prediction: EvalPrediction) -> dict[str, float]:
    """Compute all tasks' metrics as `<task>_<metric>`, their mean and the loss.

    The mean is that of the metrics in SCORE, and picks the checkpoint.
    """
    logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    metrics: dict[str, float] = {}
    selection_scores = []
    for number, task in enumerate(tasks):
        rows = labels[:, 0] == number
        task_metrics = task_scores(task, *task.kind.slice(logits[rows], labels[rows]))
        # no R2 where all targets are the same
        selection_scores.append(task_metrics.get(SCORE[task.data.problem_type], 0.0))
        metrics |= {f"{task.name}_{name}": value for name, value in task_metrics.items()}
    total = loss.row_losses(torch.as_tensor(logits), torch.as_tensor(labels)).mean()
    return {**metrics, "mean": float(np.mean(selection_scores)), "loss": total.item()}


def task_scores(task: Task, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Compute the metrics of one task's rows, and their plain mean loss."""
    metrics = compute_metrics(task.data.problem_type, logits, labels, task.data.labels)
    rows = task.loss.row_losses(torch.as_tensor(logits), torch.as_tensor(labels))
    return {**metrics, "loss": rows.mean().item()}
