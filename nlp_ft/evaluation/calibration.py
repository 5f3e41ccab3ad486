"""Calibration: temperature, thresholds, and the error of probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult, minimize_scalar
from scipy.special import log_softmax

from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.evaluation.metrics import compute_metrics
from nlp_ft.evaluation.probabilities import MULTI, SINGLE, probabilities

_BINS = 15
_LOG_RANGE = (np.log(0.05), np.log(20.0))
_FEWEST = 20  # rows below which a temperature or threshold would be noise


def expected_calibration_error(probability: ArrayLike, labels: ArrayLike, bins: int = _BINS) -> float:
    """Mean over the rows of |accuracy - mean confidence| of their bin, 0 to 1.

    probability: (rows, classes) of one class a row; labels: (rows,) class ids. The confidence is that of the likeliest class,
    in bins of equal width (Guo et al. 2017, section 2, arXiv:1706.04599; 15 bins as there). scikit-learn's
    `calibration_curve` gives no counts of the bins, which weigh them here.
    """
    probability, labels = np.asarray(probability), np.asarray(labels)
    confidence, right = probability.max(axis=1), probability.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    sums = np.bincount(bin_of, right - confidence, minlength=bins)
    return float(np.abs(sums).sum() / len(labels))


def fit_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """Fit the divisor of logits that makes the held-out labels likeliest; 0.05 to 20.

    Source: Guo et al. 2017, section 4.2.

    logits: (rows, classes); labels: (rows,) class ids. Rows that are all answered rightly would have no end of certainty, so
    half a row that is of every class alike is counted with them.
    """
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    classes = logits.shape[1]

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature), axis=1)
        seen = -scaled[np.arange(len(labels)), labels].sum()
        return (seen - 0.5 * scaled.mean(axis=0).sum() / classes) / len(labels)

    best: OptimizeResult = minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded")
    return float(np.exp(best.x))


def fit_thresholds(logits: ArrayLike, labels: ArrayLike, metric: str) -> np.ndarray:
    """Fit each label's threshold, (classes,), for the best `metric` on held-out rows.

    f1_macro: the F1 of each label by itself. f1_micro, subset_accuracy: label by label in turn, until none
    improves. A label that no row has keeps .5. Between two rows' probabilities their middle is taken.

    logits, labels: (rows, classes), the labels 0 or 1.
    """
    scores, labels = probabilities(MULTI, logits), np.asarray(labels).astype(bool)
    thresholds = np.full(scores.shape[1], 0.5)
    assigned = scores > thresholds
    occurring = [label for label in range(scores.shape[1]) if labels[:, label].any()]
    for _ in range(1 if metric == "f1_macro" else 10):
        before = thresholds.copy()
        for label in occurring:
            best = _score(metric, assigned, labels, label)
            for threshold in _between(scores[:, label]):
                trial = assigned.copy()
                trial[:, label] = scores[:, label] > threshold
                if (score := _score(metric, trial, labels, label)) > best:
                    best, assigned, thresholds[label] = score, trial, threshold
        if (thresholds == before).all():
            break
    return thresholds


def calibrate(
    problem_type: str,
    held_out: tuple[ArrayLike, ArrayLike],
    test: tuple[ArrayLike, ArrayLike],
    label_names: Sequence[str],
    threshold_metric: str | None = None,
) -> tuple[InferenceConfig, dict[str, float], list[str]]:
    """Fit `inference.json` on held-out rows, and measure it on the test rows.

    held_out, test: logits and labels. threshold_metric: tunes the thresholds of a multi-label problem for it.

    Returns: what to save; metrics by name (temperature, test_ece_before, test_ece, or those of the test rows with tuned
    thresholds, test_tuned_*); lines for the log.
    """
    (logits, labels), (answers, truth) = held_out, test
    rows = len(np.asarray(labels))
    if problem_type == SINGLE:
        if rows < _FEWEST:
            return InferenceConfig(), {}, [f"Calibration: left out, {rows} validation rows are too few (of {_FEWEST})."]
        temperature = fit_temperature(logits, labels)
        before = expected_calibration_error(probabilities(SINGLE, answers), truth)
        after = expected_calibration_error(probabilities(SINGLE, answers, temperature), truth)
        line = (
            f"Calibration: temperature {temperature:.2f}, fitted on {rows} validation rows; expected calibration error on "
            f"test {before:.3f} before, {after:.3f} after."
        )
        metrics = {"temperature": temperature, "test_ece_before": before, "test_ece": after}
        return InferenceConfig(temperature=temperature), metrics, [line]
    if problem_type == MULTI and threshold_metric is not None:
        if rows < _FEWEST:
            return (
                InferenceConfig(),
                {},
                [f"Thresholds: left at .5, {rows} validation rows are too few (of {_FEWEST})."],
            )
        values = fit_thresholds(logits, labels, threshold_metric)
        named = {name: float(value) for name, value in zip(label_names, values, strict=True)}
        inference_config = InferenceConfig(thresholds=named)
        tuned = compute_metrics(
            MULTI, inference_config.applied(MULTI, np.asarray(answers), label_names), truth, label_names
        )
        plain = compute_metrics(MULTI, answers, truth, label_names)
        line = (
            f"Thresholds: tuned for {threshold_metric} on {rows} validation rows; on test {plain[threshold_metric]:.3f} with "
            f".5 for all, {tuned[threshold_metric]:.3f} with the tuned ones."
        )
        return inference_config, {f"test_tuned_{k}": v for k, v in tuned.items() if not k.startswith("auroc")}, [line]
    return InferenceConfig(), {}, []


def _between(values: np.ndarray) -> np.ndarray:
    """Middles between neighbouring probabilities, at most 200 of them."""
    distinct = np.unique(values)
    middles = (distinct[1:] + distinct[:-1]) / 2
    if len(middles) > 200:
        middles = middles[np.linspace(0, len(middles) - 1, 200).round().astype(int)]
    return middles


def _score(metric: str, assigned: np.ndarray, labels: np.ndarray, label: int) -> float:
    """Metric of the given labels, by hand: scikit-learn is too slow for so many calls."""
    if metric == "subset_accuracy":
        return float((assigned == labels).all(axis=1).mean())
    if metric == "f1_macro":
        assigned, labels = assigned[:, label], labels[:, label]
    both = (assigned & labels).sum()
    return float(2 * both / max(assigned.sum() + labels.sum(), 1))
