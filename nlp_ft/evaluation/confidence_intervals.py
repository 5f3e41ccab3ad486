"""95% confidence intervals of metrics, over test splits of the same kind.

Accuracies: Wilson 1927, by scipy. AUROC: its influence function (Hanley & McNeil 1982; DeLong et al. 1988). Everything else:
the bootstrap over rows (Efron 1979), percentiles 2.5 and 97.5. A bootstrap draws how often each row comes; rows that are alike
to a metric are drawn together, so that a million rows of ten classes cost as much as a hundred.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, rankdata

from nlp_ft.evaluation.probabilities import REGRESSION, SINGLE, predicted, probabilities

_Z = 1.959964  # 97.5th percentile of the normal distribution
_MOST_DRAWS, _FEWEST_DRAWS, _CELLS = 1000, 100, 20_000_000
_CELLS_AT_ONCE = 4_000_000

Interval = tuple[float, float]
Statistics = dict[str, np.ndarray]


def intervals(
    problem_type: str, logits: np.ndarray, labels: ArrayLike, label_names: Sequence[str], seed: int = 0
) -> dict[str, Interval]:
    """Compute (low, high) by the metric's name, in its units.

    Covers those metrics of `compute_metrics` that a card shows, and takes the same arguments. A metric on which every draw
    agrees (all rows right) has none but Wilson's.
    """
    truth = np.asarray(labels)
    if problem_type == REGRESSION:
        value = np.asarray(logits, dtype=np.float64).reshape(len(truth))
        return _bootstrap(*_moments(value, truth), _regression, seed)
    scores, chosen = probabilities(problem_type, logits), np.asarray(predicted(problem_type, logits))
    classes = len(label_names)
    if problem_type == SINGLE:
        bounds = _bootstrap(*_alike(_hot(chosen, classes), _hot(truth, classes)), _single, seed)
        bounds["accuracy"] = wilson(int((chosen == truth).sum()), len(truth))
        positive = _hot(truth, classes).astype(bool)
        binary = positive[:, 1:], scores[:, 1:]
        bounds |= _auroc("auroc", *(binary if classes == 2 else (positive, scores)), every=True)
        return bounds
    truth = truth > 0.5
    bounds = _bootstrap(*_alike(chosen.astype(np.float64), truth.astype(np.float64)), _multi, seed)
    bounds["subset_accuracy"] = wilson(int((chosen == truth).all(axis=1).sum()), len(truth))
    return bounds | _auroc("auroc_macro", truth, scores, every=False)


def wilson(right: int, rows: int) -> Interval:
    """Score interval of a share; it holds where all or none are right, too."""
    interval = binomtest(right, rows).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def _hot(ids: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[ids]


def _alike(chosen: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows of (hit, guess, true) by class, wrong cells, 1; and their counts."""
    held = np.column_stack([chosen, truth]).astype(np.int8)
    kinds, counts = np.unique(held, axis=0, return_counts=True)
    guess, true = np.split(kinds.astype(np.float64), 2, axis=1)
    wrong = (guess != true).sum(axis=1)
    return np.column_stack([guess * true, guess, true, wrong, np.ones(len(kinds))]), counts


def _moments(value: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """By row, the terms whose sums give the correlations, the errors and R2."""
    error = value - truth
    pairs = [(side - side.mean() for side in both) for both in ((value, truth), (rankdata(value), rankdata(truth)))]
    columns = [np.ones(len(truth)), np.abs(error), error**2]
    for x, y in pairs:
        columns += [x, y, x * x, y * y, x * y]
    return np.column_stack(columns), np.ones(len(truth), dtype=np.int64)


def _bootstrap(
    kinds: np.ndarray, counts: np.ndarray, statistics: Callable[[np.ndarray], Statistics], seed: int
) -> dict[str, Interval]:
    """Percentiles of each statistic of the sums over drawn rows.

    Not `scipy.stats.bootstrap`, which draws every row by itself: a million rows would take minutes.
    """
    rows, rng = int(counts.sum()), np.random.default_rng(seed)
    draws = min(_MOST_DRAWS, max(_FEWEST_DRAWS, _CELLS // len(kinds)))
    step = max(1, _CELLS_AT_ONCE // len(kinds))
    sums = [
        rng.multinomial(rows, counts / rows, size=min(step, draws - start)) @ kinds for start in range(0, draws, step)
    ]
    bounds = {}
    for name, values in statistics(np.concatenate(sums)).items():
        low, high = np.percentile(values, [2.5, 97.5]).tolist()
        if low < high:
            bounds[name] = (low, high)
    return bounds


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return top / np.where(bottom, bottom, 1)


def _single(sums: np.ndarray) -> Statistics:
    hits, guesses, support = np.split(sums[:, :-2], 3, axis=1)
    rows, right = sums[:, -1], hits.sum(axis=1)
    spread = (rows**2 - (guesses**2).sum(axis=1)) * (rows**2 - (support**2).sum(axis=1))
    return {
        "f1_macro": _ratio(2 * hits, guesses + support).mean(axis=1),
        "balanced_accuracy": _ratio(hits, support).sum(axis=1) / (support > 0).sum(axis=1),
        "mcc": _ratio(right * rows - (guesses * support).sum(axis=1), np.sqrt(spread)),
    }


def _multi(sums: np.ndarray) -> Statistics:
    hits, guesses, support = np.split(sums[:, :-2], 3, axis=1)
    return {
        "f1_micro": _ratio(2 * hits.sum(axis=1), (guesses + support).sum(axis=1)),
        "f1_macro": _ratio(2 * hits, guesses + support).mean(axis=1),
        "hamming_loss": sums[:, -2] / (sums[:, -1] * hits.shape[1]),
    }


def _regression(sums: np.ndarray) -> Statistics:
    rows, absolute, square = sums[:, 0], sums[:, 1], sums[:, 2]
    statistics = {"mae": absolute / rows, "rmse": np.sqrt(square / rows)}
    for name, start in (("pearson", 3), ("spearman", 8)):
        x, y, xx, yy, xy = (sums[:, start + i] / rows for i in range(5))
        across = np.sqrt(np.maximum(xx - x**2, 0) * np.maximum(yy - y**2, 0))
        statistics[name] = _ratio(xy - x * y, across)
        if name == "pearson":
            statistics["r2"] = 1 - _ratio(square / rows, yy - y**2)
    return statistics


def _auroc(name: str, positive: np.ndarray, scores: np.ndarray, *, every: bool) -> dict[str, Interval]:
    """Interval of the mean AUROC over columns.

    every: give none where a column lacks one of its two classes, else leave that column out.
    """
    rows = len(positive)
    both = [c for c in range(positive.shape[1]) if 0 < positive[:, c].sum() < rows]
    if not both or (every and len(both) < positive.shape[1]):
        return {}
    areas, influence = [], np.zeros(rows)
    for c in both:
        yes = positive[:, c]
        area, moved = _area(yes, scores[:, c])
        areas.append(area)
        influence += moved / len(both)
    centre, half = float(np.mean(areas)), _Z * math.sqrt(float(np.mean(influence**2)) / rows)
    return {name: (max(0.0, centre - half), min(1.0, centre + half))} if half > 0 else {}


def _area(positive: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray]:
    """Area, and how much each row moves it, times the number of rows.

    scikit-learn gives the area alone.
    """
    yes, rows = int(positive.sum()), len(score)
    no, ranks = rows - yes, rankdata(score)
    below = np.empty(rows)  # of the other class, as a share: for positives those below, for negatives those above
    below[positive] = (ranks[positive] - rankdata(score[positive])) / no
    below[~positive] = 1 - (ranks[~positive] - rankdata(score[~positive])) / yes
    area = float(below[positive].mean())
    return area, (below - area) * np.where(positive, rows / yes, rows / no)
