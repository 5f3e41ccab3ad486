"""Controls: baselines trained on the same rows, to compare a method with."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from accelerate import PartialState
from transformers import TrainingArguments

from nlp_ft.data import TextData
from nlp_ft.evaluation.baselines import Baseline
from nlp_ft.evaluation.metrics import compute_metrics
from nlp_ft.training.cross_validation import arguments_for
from nlp_ft.training.fit import Job, train

FOLDER = "controls"  # in the output directory, for the runs of controls


def as_control(name: str, title: str, logits: np.ndarray, data: TextData) -> Baseline:
    """Score logits (rows, classes) of the test rows.

    name: used in the keys of results; title: used in sentences.
    """
    metrics = compute_metrics(data.problem_type, logits, data.test["label"], data.labels)
    return Baseline(name, title, metrics, logits)


def run_control(job: Job, name: str, title: str) -> Baseline:
    """Train a job in a control directory, and keep only its test logits.

    The directory is `controls/<name>` of its output directory.
    All processes take part.
    """
    with control_arguments(job.training, name) as training:
        fitted = train(replace(job, training=training))
    return as_control(name, title, fitted.logits["test"], job.data)


@contextmanager
def control_arguments(args: TrainingArguments, name: str) -> Iterator[TrainingArguments]:
    """Yield arguments for a control directory, which is removed after.

    The directory is `controls/<name>` of the output directory.

    A control that is cut short keeps its directory, and is resumed from there.
    """
    directory = Path(str(args.output_dir)) / FOLDER / name
    yield arguments_for(args, directory)
    discard(directory)


def discard(directory: Path) -> None:
    """Remove a directory after all processes are done with it.

    An empty `controls` directory above it goes, too.
    """
    state = PartialState()
    state.wait_for_everyone()
    if state.is_main_process:
        shutil.rmtree(directory, ignore_errors=True)
        parent = directory.parent
        if parent.name == FOLDER and parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
    state.wait_for_everyone()
