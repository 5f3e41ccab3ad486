"""Controls: the same rows answered another way, so that a method's figure stands beside what it is to beat."""

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

FOLDER = "controls"  # of the output directory: what is trained for comparison alone


def as_control(name: str, title: str, logits: np.ndarray, data: TextData) -> Baseline:
    """The answers (rows, classes) to the test rows, scored. name: as in the keys of results; title: as in a sentence."""
    found = compute_metrics(data.problem_type, logits, data.test["label"], data.labels)
    return Baseline(name, title, found, logits)


def run_control(job: Job, name: str, title: str) -> Baseline:
    """Train a job for comparison, in `controls/<name>` of its output directory; nothing of it is kept but its answers.

    Under several processes each of them takes part.
    """
    directory = Path(str(job.training.output_dir)) / FOLDER / name
    fitted = train(replace(job, training=arguments_for(job.training, directory)))
    discard(directory)
    return as_control(name, title, fitted.logits["test"], job.data)


def discard(directory: Path) -> None:
    """Remove it once every process is done with it, and the directory of controls around it if it was the last there."""
    state = PartialState()
    state.wait_for_everyone()
    if state.is_main_process:
        shutil.rmtree(directory, ignore_errors=True)
        around = directory.parent
        if around.name == FOLDER and around.is_dir() and not any(around.iterdir()):
            around.rmdir()
    state.wait_for_everyone()
