"""Linear regressions on given features: logistic (one per label) or ridge."""

from __future__ import annotations

import warnings
from typing import Any, TypedDict

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold

# Inverse strengths of the L2 penalty on standardised features; the likelihood of held-out rows decides.
_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_RIDGE_GRID = (1e-2, 1e-1, 0.3, 1.0, 3.0, 10.0)  # L2 penalty per row; leave-one-out error decides
_DEFAULT_C = 1e-2  # for a class with a single row, where nothing can be held out
_FOLDS = 5
_ROWS_FOR_FOLDS = 1000  # above this, one split of 80 to 20 replaces five folds


class LinearReport(TypedDict):
    """Figures of a fit; `penalty` is a list for several labels, each fitted alone."""

    penalty: object
    train_score: float
    held_out_score: float | None
    held_out_rows: int


def fit_linear(
    features: np.ndarray,
    labels: np.ndarray,
    problem_type: str,
    intercept: bool = True,
    class_weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, LinearReport]:
    """Weight (outputs, features), bias (outputs,) and report for the problem.

    The features are standardised for the fit and the scaling is folded back. Labels and report are those of
    heads.start_from_probe; weights as in losses.ClassifierLoss: of a row by its class, or (multi-label) of the rows that carry
    a label.
    """
    features = features.astype(np.float64)
    scale = features.std(axis=0)
    scale[scale < 1e-6] = 1.0  # a constant feature
    mean = features.mean(axis=0) if intercept else np.zeros_like(scale)
    scaled = (features - mean) / scale
    if problem_type == "regression":
        weight, bias, report = _ridge(scaled, labels, intercept)
    elif labels.ndim > 1:
        weight, bias, report = _logistic_each(scaled, labels, intercept, class_weights)
    else:
        weight, bias, report = _logistic(scaled, labels, intercept, class_weights)
    weight = weight / scale
    return weight, bias - weight @ mean, report


def probe_obstacle(labels: np.ndarray, problem_type: str, outputs: int) -> str:
    """Reason why no probe can be fitted on these labels, or an empty string."""
    if problem_type == "regression":
        return "" if np.ptp(labels, axis=0).min() > 0 else "all training targets are the same"
    counts = np.bincount(labels, minlength=outputs) if labels.ndim == 1 else labels.sum(axis=0)
    if labels.ndim == 1:
        indices = np.flatnonzero(counts == 0)
        return f"class {indices[0]} has no training row" if len(indices) else ""
    indices = np.flatnonzero((counts == 0) | (counts == len(labels)))
    return f"label {indices[0]} is the same in all training rows" if len(indices) else ""


def _logistic(
    features: np.ndarray, labels: np.ndarray, intercept: bool, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, LinearReport]:
    """Weight (classes, features), bias (classes,) and report.

    Two classes get half the decision function each, with opposite signs.
    """
    counts = np.ones(len(labels)) if weights is None else np.asarray(weights)[labels]

    def model(c: float) -> LogisticRegression:
        return LogisticRegression(C=c, fit_intercept=intercept, max_iter=300)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an unfinished fit is still a good start
        warnings.filterwarnings("ignore", "The least populated class")  # each fold's fit sees every class all the same
        held_out = {c: _held_out(model(c), features, labels, counts) for c in _GRID}
        scored = {c: score for c, score in held_out.items() if score is not None}
        chosen = min(scored, key=lambda c: scored[c][0]) if scored else _DEFAULT_C
        fitted = model(chosen).fit(features, labels, counts)
    weight, bias = fitted.coef_, np.broadcast_to(fitted.intercept_, len(fitted.coef_))
    if len(weight) == 1:
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    return (
        weight,
        bias,
        {
            "penalty": 1 / chosen,
            "train_score": float(fitted.score(features, labels)),
            "held_out_score": scored[chosen][1] if scored else None,
            "held_out_rows": scored[chosen][2] if scored else 0,
        },
    )


def _held_out(
    model: LogisticRegression, features: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[float, float, int] | None:
    """(Negative log-likelihood in nats, accuracy, rows) on rows left out of the fit.

    None where a class has one row only.
    """
    counts = np.bincount(labels)
    if counts.min() < 2:
        return None
    folds = list(StratifiedKFold(min(_FOLDS, counts.max()), shuffle=True, random_state=0).split(features, labels))
    probabilities, indices = [], []
    for train, test in folds[:1] if len(labels) > _ROWS_FOR_FOLDS else folds:
        probabilities.append(model.fit(features[train], labels[train], weights[train]).predict_proba(features[test]))
        indices.append(test)
    predictions, rows = np.concatenate(probabilities), np.concatenate(indices)
    likelihood = log_loss(labels[rows], predictions, labels=np.arange(len(counts)), sample_weight=weights[rows])
    return float(likelihood), float((predictions.argmax(axis=1) == labels[rows]).mean()), len(rows)


def _logistic_each(
    features: np.ndarray, labels: np.ndarray, intercept: bool, pos_weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, LinearReport]:
    """One logistic regression a label: weight (labels, features), bias (labels,).

    Scores are averaged over labels.
    """
    weights, biases, reports = [], [], []
    for i, column in enumerate(labels.astype(int).T):
        class_weights = None if pos_weights is None else np.array([1.0, pos_weights[i]])
        weight, bias, report = _logistic(features, column, intercept, class_weights)
        weights.append(weight[1] - weight[0])
        biases.append(bias[1] - bias[0])
        reports.append(report)
    held_out = [report["held_out_score"] for report in reports if report["held_out_score"] is not None]
    return (
        np.stack(weights),
        np.stack(biases),
        {
            "penalty": [report["penalty"] for report in reports],
            "train_score": float(np.mean([report["train_score"] for report in reports])),
            "held_out_score": float(np.mean(held_out)) if held_out else None,
            "held_out_rows": max(report["held_out_rows"] for report in reports),
        },
    )


def _ridge(features: np.ndarray, targets: np.ndarray, intercept: bool) -> tuple[np.ndarray, np.ndarray, LinearReport]:
    """Weight (outputs, features), bias (outputs,) and report.

    The penalty is chosen by leave-one-out error, in closed form.
    """
    alphas = [len(targets) * strength for strength in _RIDGE_GRID]
    fitted: Any = RidgeCV(alphas=alphas, fit_intercept=intercept, scoring="neg_mean_squared_error").fit(
        features, targets
    )
    weight = np.atleast_2d(fitted.coef_)
    return (
        weight,
        np.broadcast_to(fitted.intercept_, len(weight)),
        {
            "penalty": float(fitted.alpha_),
            "train_score": float(fitted.score(features, targets)),
            "held_out_score": float(1 + fitted.best_score_ / np.var(targets)),
            "held_out_rows": len(targets),
        },
    )
