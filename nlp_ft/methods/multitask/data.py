"""The tasks' rows: read, compared with each other, put together into one data set, scored apart again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from datasets import Dataset, List, Value, concatenate_datasets

from nlp_ft.config.yaml_file import read_mapping
from nlp_ft.data import TextData, counted, keys_of, load_data
from nlp_ft.data.checks import run_checks
from nlp_ft.errors import ConfigError, DataError, did_you_mean
from nlp_ft.evaluation.metrics import MULTI, REGRESSION, SINGLE, compute_metrics
from nlp_ft.methods.multitask.arguments import MultitaskArguments
from nlp_ft.methods.multitask.trainer import MultiTaskLoss, TaskKind
from nlp_ft.training.job import Settings
from nlp_ft.utils import log

SCORE = {SINGLE: "f1_macro", MULTI: "f1_micro", REGRESSION: "r2"}  # greater is better; their mean picks the checkpoint
_SHOWN = 3


@dataclass
class Task:
    """A task: its name, the settings that hold for it, its rows, and once it is prepared what is trained of it.

    `splits`: tokenized; `limit`: tokens after which its texts are cut; `kind`: what its answers look like.
    """

    name: str
    settings: Settings
    data: TextData
    model: Any = None
    loss: Any = None
    splits: Any = None
    limit: int = 0
    notes: Sequence[str] = ()

    @property
    def kind(self) -> TaskKind:
        """The shape of its answers."""
        return TaskKind(self.data.problem_type, max(1, len(self.data.labels)))


def read_tasks(settings: Settings[MultitaskArguments], frames: Mapping[str, Mapping[str, Any]]) -> list[Task]:
    """The rows of each task, everything decided and its data check said. Raises: ConfigError, DataError."""
    tasks: list[Task] = []
    named = settings.method_arguments.data_of(settings.data)
    for name in frames:
        if name not in named:
            raise ConfigError(f"frames: '{name}' is no task ({', '.join(named)}).{did_you_mean(name, named)}")
    for name, args in named.items():
        log(f"\ntask {name}")
        data = load_data(args, seed=settings.training.seed, frames=frames.get(name))
        for note in data.notes:
            log(note)
        log(run_checks.summary(data))
        tasks.append(Task(name, replace(settings, data=args), data))
    log("")
    for note in shared_texts(tasks):
        log(note)
    return _with_class_weights(_with_thresholds(tasks, settings.fit.threshold_metric), settings.fit.class_weights)


def shared_texts(tasks: Sequence[Task]) -> list[str]:
    """Compare each task's held-out rows with the other tasks' training rows: the body learns from all of them.

    Returns: warnings, on validation rows and on what --allow_leakage lets pass. Raises: DataError for test rows.
    """
    trained = {task.name: set(keys_of(task.data.train)) for task in tasks}
    notes = []
    for task in tasks:
        for split in ("test", "validation"):
            rows: Dataset = getattr(task.data, split)
            keys = keys_of(rows)
            for other in (name for name in trained if name != task.name):
                indices = [place for place, key in enumerate(keys) if key in trained[other]]
                if not indices:
                    continue
                shown = ", ".join(repr(str(rows[place]["text"])[:40]) for place in indices[:_SHOWN])
                have = "has" if len(indices) == 1 else "have"
                where = f"in {split} {have} a text that is in train of task {other}"
                more = ", ..." if len(indices) > _SHOWN else ""
                told = f"task {task.name}: {counted(len(indices), 'row')} of {len(rows)} {where} ({shown}{more})"
                if split == "test" and not task.settings.data.allow_leakage:
                    raise DataError(
                        f"{told}, so the test figures would flatter the model; take them out, or go on with --allow_leakage."
                    )
                notes.append(f"warning: {told}, so its figures flatter the model")
    return notes


def _with_thresholds(tasks: list[Task], metric: str | None) -> list[Task]:
    """--threshold_metric for the tasks that have thresholds. Raises: ConfigError where none has."""
    if metric is not None and all(task.data.problem_type != MULTI for task in tasks):
        raise ConfigError("--threshold_metric: only multi-label problems have thresholds; none of these tasks is one.")
    found = []
    for task in tasks:
        fit = replace(task.settings.fit, threshold_metric=metric if task.data.problem_type == MULTI else None)
        found.append(replace(task, settings=replace(task.settings, fit=fit)))
    return found


def _with_class_weights(tasks: list[Task], spec: str | None) -> list[Task]:
    """--class_weights for each task: `balanced` for all that have classes, or JSON by task of what finetune takes."""
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
    found = []
    for task in tasks:
        own = by_task.get(task.name)
        own = own if own is None or isinstance(own, str) else json.dumps(own)
        fit = replace(task.settings.fit, class_weights=own)
        found.append(replace(task, settings=replace(task.settings, fit=fit)))
    return found


def scale(task: Task) -> float:
    """What a task's row losses are divided by: 1, or the variance of its training targets (1 where they are all the same)."""
    if task.data.problem_type != REGRESSION:
        return 1.0
    return float(np.var(np.asarray(task.data.train["label"][:], dtype=np.float64))) or 1.0


def mixed(tasks: Sequence[Task], split: str) -> Dataset:
    """A split of all tasks, task after task; the label of a row is a list: the number of its task, then its own cells."""
    parts = []
    for number, task in enumerate(tasks):
        rows = task.splits[split]
        cells = [[float(number), *np.atleast_1d(label).astype(float).tolist()] for label in rows["labels"]]
        bare = rows.remove_columns("labels")
        parts.append(bare.add_column("labels", cells, feature=List(Value("float32"))))
    return concatenate_datasets(parts)


def scores(tasks: Sequence[Task], loss: MultiTaskLoss, prediction: Any) -> dict[str, float]:
    """Every metric of every task as `<task>_<metric>`, the mean of those that pick the checkpoint, and the loss."""
    logits, labels = np.asarray(prediction.predictions), np.asarray(prediction.label_ids)
    found: dict[str, float] = {}
    means = []
    for number, task in enumerate(tasks):
        rows = labels[:, 0] == number
        own = task_scores(task, *task.kind.own(logits[rows], labels[rows]))
        means.append(own.get(SCORE[task.data.problem_type], 0.0))  # no R2 where all targets are the same
        found |= {f"{task.name}_{name}": value for name, value in own.items()}
    total = loss.row_losses(torch.as_tensor(logits), torch.as_tensor(labels)).mean()
    return {**found, "mean": float(np.mean(means)), "loss": total.item()}


def task_scores(task: Task, logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Every metric of one task's rows, and their mean loss, neither weighted nor scaled."""
    found = compute_metrics(task.data.problem_type, logits, labels, task.data.labels)
    rows = task.loss.row_losses(torch.as_tensor(logits), torch.as_tensor(labels))
    return {**found, "loss": rows.mean().item()}
