"""Model outputs and labels, checked and in their proper shapes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from nlp_ft.errors import ConfigError, DataError, TrainingError, did_you_mean
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE

_PROBLEM_TYPES = (SINGLE, MULTI, REGRESSION)


def check_labels(problem_type: str, labels: ArrayLike, label_names: Sequence[str]) -> np.ndarray:
    """Check the labels. Returns: int64, or float64 for regression.

    Raises: DataError at the first label that is not one of the classes, 0 or 1, or a finite number; ConfigError if the
    problem type is none of the three.
    """
    if problem_type not in _PROBLEM_TYPES:
        nearest = did_you_mean(problem_type, _PROBLEM_TYPES)
        raise ConfigError(f"problem type '{problem_type}' is not one of {', '.join(_PROBLEM_TYPES)}.{nearest}")
    allowed = {SINGLE: f"a class id from 0 to {len(label_names) - 1}", MULTI: "0 or 1", REGRESSION: "a finite number"}
    values = np.asarray(labels, dtype=np.float64)
    if problem_type == REGRESSION:
        good = np.isfinite(values)
    else:
        good = np.isin(values, np.arange(2 if problem_type == MULTI else len(label_names)))
    if not good.all():
        cell = tuple(np.argwhere(~good)[0])
        raise DataError(f"label {values[cell]:g} in row {cell[0]} is not {allowed[problem_type]}.")
    return values if problem_type == REGRESSION else values.astype(np.int64)


def checked(
    problem_type: str, scores: ArrayLike, labels: ArrayLike, label_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Put the two arrays in their proper shapes and types, or raise an error."""
    scores, labels = np.asarray(scores, dtype=np.float64), check_labels(problem_type, labels, label_names)
    rows = len(scores) if scores.ndim else 0
    if problem_type == REGRESSION:
        wanted, words = (rows,), "one value for each of one or more rows"
        scores, labels = (array.reshape(rows) if array.shape == (rows, 1) else array for array in (scores, labels))
    else:
        wanted, words = (rows, len(label_names)), f"{len(label_names)} values for each of one or more rows"
    if not rows or scores.shape != wanted:
        raise DataError(f"the model's outputs have shape {scores.shape}; wanted {words}.")
    if labels.shape != (wanted if problem_type == MULTI else (rows,)):
        raise DataError(f"labels of shape {labels.shape} do not fit model outputs of shape {scores.shape}.")
    broken = ~np.isfinite(scores).reshape(rows, -1).all(axis=1)
    if broken.any():
        raise TrainingError(
            f"{broken.sum()} of {rows} rows of model outputs hold nan or inf (the first is row {broken.argmax()}): "
            "the weights or activations overflowed; lower --learning_rate, or train without --fp16."
        )
    return scores, labels
