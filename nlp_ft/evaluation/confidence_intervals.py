"""95% confidence intervals of metrics, over test splits of the same kind.

Shares: Wilson 1927, also where none or all are right, which a bootstrap takes for certain. Means over classes (macro-F1,
balanced accuracy, AUROC of several): the limits of each class put together with their correlation (Zou & Donner 2008,
doi:10.1002/sim.3095), so that a class of few rows widens them by its weight. AUROC: Newcombe 2006 (doi:10.1002/sim.2324) or,
where it is wider, the logit scale with the variance of DeLong et al. 1988. Matthews correlation: a Dirichlet bootstrap of the
confusion matrix with one error added. Regression: the bootstrap over rows (Efron 1979), percentiles 2.5 and 97.5.
tests/benchmarks/interval_coverage.py measures how often they hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.stats import rankdata

from nlp_ft.evaluation.auroc_interval import mean_area_limits
from nlp_ft.evaluation.probabilities import REGRESSION, SINGLE, predicted, probabilities

_Z = 1.959964  # 97.5th percentile of the normal distribution
_MOST_DRAWS, _FEWEST_DRAWS, _CELLS = 1000, 100, 20_000_000
_CELLS_AT_ONCE = 4_000_000
_MOST_ABSENT = 0.25  # of the classes, beyond which a mean over them is unknown
_FEWEST_ROWS = 5  # of a regression, below which nothing is known

Interval = tuple[float, float]
Statistics = dict[str, np.ndarray]


def intervals(
    problem_type: str, logits: np.ndarray, labels: ArrayLike, label_names: Sequence[str], seed: int = 0
) -> dict[str, Interval | None]:
    """Compute (low, high) by the metric's name; None where it cannot be told.

    Covers those metrics of `compute_metrics` that a card shows, in their units, and takes the same arguments. It cannot be told
    of a mean over classes where more than a quarter of them have no row, of an AUROC where a class has fewer than two rows, of
    the Matthews correlation where all rows are of one class, of a regression with fewer than five rows. Few absent classes may
    score anything from 0 to 1.
    """
    truth = np.asarray(labels)
    if problem_type == REGRESSION:
        value = np.asarray(logits, dtype=np.float64).reshape(len(truth))
        return _regression_intervals(value, truth, seed)
    scores, chosen = probabilities(problem_type, logits), np.asarray(predicted(problem_type, logits))
    if problem_type == SINGLE:
        return _single(scores, chosen, truth.astype(np.int64), len(label_names), seed)
    return _multi(scores, chosen > 0, truth > 0.5)


def wilson(right: float, rows: float) -> Interval:
    """Score interval of a share; it holds where all or none are right, too.

    rows: may be an effective number. Source: Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    low, high = _wilson(np.array([right], np.float64), np.array([rows], np.float64))
    return float(low[0]), float(high[0])


def _wilson(right: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    share, square = right / rows, _Z**2 / rows
    middle = (share + square / 2) / (1 + square)
    half = _Z * np.sqrt(share * (1 - share) / rows + square / (4 * rows)) / (1 + square)
    return np.clip(middle - half, 0, share), np.clip(middle + half, share, 1)


def _single(
    scores: np.ndarray, chosen: np.ndarray, truth: np.ndarray, classes: int, seed: int
) -> dict[str, Interval | None]:
    cells, counts = np.unique(truth * classes + chosen, return_counts=True)
    true, guess = cells // classes, cells % classes
    hit = true == guess
    hits = np.bincount(true[hit], counts[hit], classes)
    support, guesses = np.bincount(true, counts, classes), np.bincount(guess, counts, classes)
    rows = len(truth)
    bounds: dict[str, Interval | None] = {"accuracy": wilson(float(hits.sum()), rows)}
    seen = support > 0
    low, high = _wilson(hits[seen], support[seen])
    recall = hits[seen] / support[seen]
    normal = _Z * np.sqrt(recall * (1 - recall) / support[seen])
    below, above, least = (float(np.sqrt((side**2).sum())) for side in (recall - low, high - recall, normal))
    bounds["balanced_accuracy"] = _mean_limits(recall, (below, above, least), classes, support)
    true, guess, counts = _with_doubt(true, guess, counts.astype(np.float64), support)
    bounds["f1_macro"] = _macro_f1(hits, guesses, support, _cell_spread(true, guess, counts, classes))
    measured = _correlation(hits.sum() / rows, guesses / rows, support / rows)
    several = seen.sum() > 1
    bounds["mcc"] = _matthews(true, guess, counts, classes, seed, float(measured)) if several else None
    positive = truth[:, None] == np.arange(classes)
    columns = slice(1, None) if classes == 2 else slice(None)
    bounds["auroc"] = mean_area_limits(positive[:, columns], scores[:, columns]) if classes > 1 else None
    return bounds


def _with_doubt(
    true: np.ndarray, guess: np.ndarray, counts: np.ndarray, support: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of the confusion matrix, with one error added.

    Each class that occurs has its part of it in the largest other class: what did not occur in these rows may in others.
    """
    seen = np.flatnonzero(support)
    if len(seen) < 2:
        return true, guess, counts
    first, second = seen[np.argsort(-support[seen], kind="stable")[:2]]
    other = np.where(seen == first, second, first)
    doubt = np.full(len(seen), 1 / len(seen))
    return np.concatenate([true, seen]), np.concatenate([guess, other]), np.concatenate([counts, doubt])


def _mean_limits(
    scores: np.ndarray, distances: tuple[float, float, float], classes: int, support: np.ndarray
) -> Interval | None:
    """Limits of a mean over classes; None where too many have no row.

    scores: of the classes that count; the others may score anything from 0 to 1. distances: of the sum of the scores from its
    limits below and above, and the least of both: 1.96 standard errors, as the sum over many classes is nearly normal, while
    the limits of each by itself are skewed.
    """
    below, above = (max(side, distances[2]) for side in distances[:2])
    if (support == 0).mean() > _MOST_ABSENT:
        return None
    total, rest = float(scores.sum()), classes - len(scores)
    mean = total / len(scores)
    low, high = (max(0.0, total - below) / classes, (min(float(len(scores)), total + above) + rest) / classes)
    return min(low, mean), max(high, mean)


def _macro_f1(
    hits: np.ndarray, guesses: np.ndarray, support: np.ndarray, spread: Callable[[np.ndarray], float]
) -> Interval | None:
    """Limits of macro-F1.

    F1 is 2 J / (1 + J), where J is the share of hits among the rows that bear the class, are given it, or both.
    spread: the root of d' R d, where R are the correlations of the F1 of all classes, from d.
    """
    union = guesses + support - hits
    occurs = union > 0
    if not occurs.any():
        return None
    share = hits[occurs] / union[occurs]
    low, high = _wilson(hits[occurs], union[occurs])
    f1, low, high = (2 * side / (1 + side) for side in (share, low, high))
    normal = _Z * np.sqrt(share * (1 - share) / union[occurs]) * 2 / (1 + share) ** 2
    distances = np.zeros((3, len(hits)))
    distances[:, occurs] = f1 - low, high - f1, normal
    below, above, least = map(spread, distances)
    return _mean_limits(f1, (below, above, least), len(hits), support)


def _cell_spread(
    true: np.ndarray, guess: np.ndarray, counts: np.ndarray, classes: int
) -> Callable[[np.ndarray], float]:
    """The spread of a sum over classes, where an error moves the F1 of two of them."""
    hit = true == guess
    hits = np.bincount(true[hit], counts[hit], classes)
    both = np.bincount(true, counts, classes) + np.bincount(guess, counts, classes)
    f1 = 2 * hits / np.where(both, both, 1)
    variance = hits * (2 - 2 * f1) ** 2 + (both - 2 * hits) * f1**2
    scale = 1 / np.sqrt(np.where(variance > 0, variance, np.inf))

    def spread(distances: np.ndarray) -> float:
        by_hit, by_error = distances * (2 - 2 * f1) * scale, -distances * f1 * scale
        moved = np.where(hit, by_hit[true], by_error[true] + by_error[guess])
        return float(np.sqrt(counts @ moved**2 + (distances[variance <= 0] ** 2).sum()))

    return spread


def _matthews(
    true: np.ndarray, guess: np.ndarray, counts: np.ndarray, classes: int, seed: int, measured: float
) -> Interval:
    """Percentiles of the Matthews correlation over draws of the confusion matrix.

    They hold the one measured.
    """
    rng, values = np.random.default_rng(seed), []
    ones, numbers = np.ones(len(counts)), np.arange(len(counts))
    by_guess, by_truth = (csr_array((ones, (numbers, ids)), shape=(len(counts), classes)) for ids in (guess, true))
    for size in _draws(len(counts)):
        weights = rng.standard_gamma(counts, (size, len(counts)))
        weights /= weights.sum(axis=1, keepdims=True)
        right, guesses, support = weights @ (true == guess), weights @ by_guess, weights @ by_truth
        values.append(_correlation(right, guesses, support))
    low, high = _percentiles(np.concatenate(values))
    return min(low, measured), max(high, measured)


def _correlation(right: np.ndarray, guesses: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Matthews correlation of shares of rows.

    guesses, support: (..., classes). Source: Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006.
    """
    spread = (1 - (guesses**2).sum(axis=-1)) * (1 - (support**2).sum(axis=-1))
    return _ratio(right - (guesses * support).sum(axis=-1), np.sqrt(np.maximum(spread, 0)))


def _multi(scores: np.ndarray, chosen: np.ndarray, truth: np.ndarray) -> dict[str, Interval | None]:
    rows, wrong = len(truth), chosen != truth
    hit, either = chosen & truth, chosen | truth
    hits, union = hit.sum(axis=0), either.sum(axis=0)
    guesses, support = chosen.sum(axis=0), truth.sum(axis=0)
    micro = _pooled(hit.sum(axis=1), either.sum(axis=1))
    bounds: dict[str, Interval | None] = {"subset_accuracy": wilson(rows - int(wrong.any(axis=1).sum()), rows)}
    bounds["f1_micro"] = None if micro is None else (2 * micro[0] / (1 + micro[0]), 2 * micro[1] / (1 + micro[1]))
    f1 = 2 * hits / np.maximum(guesses + support, 1)
    influence = hit * (2 - 2 * f1) - (wrong & either) * f1
    deviation = np.sqrt((influence**2).mean(axis=0))
    influence = influence / np.where(deviation > 0, deviation, np.inf)

    def spread(distances: np.ndarray) -> float:
        sure = (distances[deviation == 0] ** 2).sum()
        return float(np.sqrt(np.mean((influence @ distances) ** 2) + sure))

    bounds["f1_macro"] = _macro_f1(hits, guesses, support, spread) if union.any() else None
    bounds["hamming_loss"] = _pooled(wrong.sum(axis=1), np.full(rows, wrong.shape[1]))
    bounds["auroc_macro"] = mean_area_limits(truth, scores, leave_out=True)
    return bounds


def _pooled(right: np.ndarray, cells: np.ndarray) -> Interval | None:
    """Wilson's interval of a share of cells, of which those of one row go together.

    right, cells: by row. The effective number of cells is that which gives the variance between rows; rows where all or no
    cells are right count once each.
    """
    total = int(cells.sum())
    if not total:
        return None
    share, rows = right.sum() / total, int((cells > 0).sum())
    variance = float(((right - share * cells) ** 2).sum()) / total**2
    number = share * (1 - share) / variance if variance > 0 else rows
    number = min(max(number, rows * 0.5), total)
    return wilson(float(share * number), float(number))


def _regression_intervals(value: np.ndarray, truth: np.ndarray, seed: int) -> dict[str, Interval | None]:
    names = ("mae", "rmse", "pearson", "r2", "spearman")
    if len(truth) < _FEWEST_ROWS:
        return dict.fromkeys(names)
    terms, rng = _moments(value, truth), np.random.default_rng(seed)
    sums = [
        rng.multinomial(len(truth), np.full(len(truth), 1 / len(truth)), size) @ terms for size in _draws(len(truth))
    ]
    bounds = {name: _percentiles(values) for name, values in _regression(np.concatenate(sums)).items()}
    return {name: bounds[name] if bounds[name][0] < bounds[name][1] else None for name in names}


def _draws(kinds: int) -> list[int]:
    """Sizes of blocks of draws; fewer draws of more kinds of rows."""
    draws = min(_MOST_DRAWS, max(_FEWEST_DRAWS, _CELLS // kinds))
    step = max(1, _CELLS_AT_ONCE // kinds)
    return [min(step, draws - start) for start in range(0, draws, step)]


def _percentiles(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5]).tolist()
    return low, high


def _moments(value: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """By row, the terms whose sums give the correlations, the errors and R2."""
    error = value - truth
    pairs = [(side - side.mean() for side in both) for both in ((value, truth), (rankdata(value), rankdata(truth)))]
    columns = [np.ones(len(truth)), np.abs(error), error**2]
    for x, y in pairs:
        columns += [x, y, x * x, y * y, x * y]
    return np.column_stack(columns)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return top / np.where(bottom > 0, bottom, 1)


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
