"""Logits to probabilities and answers, apart from metrics.py for a fast import."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, softmax

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


def probabilities(problem_type: str, logits: ArrayLike, temperature: float = 1.0) -> np.ndarray:
    """Softmax, sigmoid, or the values themselves as (rows,).

    They are float64, without overflow.

    temperature: divides the logits of a softmax (Guo et al. 2017, arXiv:1706.04599); it changes no answer.
    """
    logits = np.asarray(logits, dtype=np.float64)
    if problem_type == REGRESSION:
        return logits.reshape(len(logits))
    return expit(logits) if problem_type == MULTI else softmax(logits / temperature, axis=1)


def predicted(problem_type: str, logits: ArrayLike, thresholds: ArrayLike = 0.5) -> np.ndarray:
    """Predictions of each row, by problem type.

    Class ids (rows,); 0/1 (rows, classes), 1 above the thresholds; or the values (rows,) of a regression.

    thresholds: probabilities above which a label of a multi-label problem is given, one for all or (classes,).
    """
    scores = probabilities(problem_type, logits)
    if problem_type == REGRESSION:
        return scores
    return (scores > np.asarray(thresholds)).astype(np.int64) if problem_type == MULTI else scores.argmax(axis=1)
