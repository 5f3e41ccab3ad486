"""Controls: baselines trained on the same rows, to compare a method with."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from accelerate import PartialState

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
    """Train a job in `controls/<name>` of its output directory, and keep only its test logits.

    All processes take part.
    """
    directory = Path(str(job.training.output_dir)) / FOLDER / name
    fitted = train(replace(job, training=arguments_for(job.training, directory)))
    discard(directory)
    return as_control(name, title, fitted.logits["test"], job.data)


def discard(directory: Path) -> None:
    """Remove a directory after all processes are done with it, and an empty `controls` directory above it."""
    state = PartialState()
    state.wait_for_everyone()
    if state.is_main_process:
        shutil.rmtree(directory, ignore_errors=True)
        parent = directory.parent
        if parent.name == FOLDER and parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
    state.wait_for_everyone()
