"""Logits to probabilities and answers. Apart from metrics.py, so that inference need not wait for `evaluate` to import."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, softmax

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


def probabilities(problem_type: str, logits: ArrayLike) -> np.ndarray:
    """Softmax, sigmoid, or the values themselves as (rows,), for the three problems; float64, without overflow."""
    logits = np.asarray(logits, dtype=np.float64)
    if problem_type == REGRESSION:
        return logits.reshape(len(logits))
    return expit(logits) if problem_type == MULTI else softmax(logits, axis=1)


def predicted(problem_type: str, logits: ArrayLike) -> np.ndarray:
    """Class ids (rows,); 0/1 (rows, classes), yes above a probability of .5; or the values (rows,) of a regression."""
    scores = probabilities(problem_type, logits)
    if problem_type == REGRESSION:
        return scores
    return (scores > 0.5).astype(np.int64) if problem_type == MULTI else scores.argmax(axis=1)
