"""95% confidence intervals of the area under the ROC curve."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit
from scipy.stats import rankdata

_Z = 1.959964  # 97.5th percentile of the normal distribution
_FEWEST = 2  # rows of each of the two classes
_HALVINGS = 40

Interval = tuple[float, float]


def mean_area_limits(positive: np.ndarray, scores: np.ndarray, *, leave_out: bool = False) -> Interval | None:
    """Limits of the mean area over columns; None where it cannot be told.

    positive, scores: (rows, columns). leave_out: leave out a column that lacks one of its two classes, as the metric does;
    otherwise such a column makes the mean unknown.
    """
    count = positive.sum(axis=0)
    fewer = np.minimum(count, len(positive) - count)
    counted = np.flatnonzero(fewer > 0) if leave_out else np.arange(len(count))
    if not len(counted) or fewer[counted].min() < _FEWEST:
        return None
    areas, below, above = np.zeros((3, len(counted)))
    low_moved, high_moved, moved, sure = *np.zeros((3, len(positive))), np.zeros(2)
    for at, column in enumerate(counted):
        areas[at], influence = area_and_influence(positive[:, column], scores[:, column])
        low, high = area_limits(areas[at], influence, int(count[column]))
        below[at], above[at] = areas[at] - low, high - areas[at]
        moved += influence
        deviation = float(np.sqrt(np.mean(influence**2)))
        if deviation > 0:
            low_moved += below[at] * influence / deviation
            high_moved += above[at] * influence / deviation
        else:
            sure += below[at] ** 2, above[at] ** 2
    sums = zip((low_moved, high_moved), sure, strict=True)
    down, up = (float(np.sqrt(np.mean(side**2) + rest)) / len(counted) for side, rest in sums)
    if len(counted) > 1:  # a mean over many columns is nearly normal, while the limits of each by itself are skewed
        least = _Z * float(np.sqrt(np.mean(moved**2) / len(positive))) / len(counted)
        down, up = max(down, least), max(up, least)
    mean = float(areas.mean())
    return max(0.0, mean - down), min(1.0, mean + up)


def area_limits(area: float, influence: np.ndarray, positives: int) -> Interval:
    """The wider of two intervals on each side.

    Newcombe's holds where the classes are apart and no variance is seen; DeLong's on the logit scale where one class spreads
    more than the other.
    """
    rows = len(influence)
    low, high = score_limits(area, positives, rows - positives)
    error = float(np.sqrt(np.mean(influence**2) / rows))
    if error > 0 and 0 < area < 1:
        half = _Z * error / (area * (1 - area))
        low, high = min(low, float(expit(logit(area) - half))), max(high, float(expit(logit(area) + half)))
    return low, high


def score_limits(area: float, yes: int, no: int) -> Interval:
    """Areas that lie 1.96 of their own standard errors from the one measured.

    The standard error is that of Hanley & McNeil 1982 for exponential scores, with both numbers of rows at their mean.
    Source: Newcombe 2006, doi:10.1002/sim.2324, method 5.
    """

    def outside(candidate: np.ndarray) -> np.ndarray:
        mean = (yes + no) / 2 - 1
        more = mean * ((1 - candidate) / (2 - candidate) + candidate / (1 + candidate))
        return np.abs(candidate - area) > _Z * np.sqrt(candidate * (1 - candidate) * (1 + more) / (yes * no))

    inner, outer = np.array([area, area]), np.array([0.0, 1.0])
    for _ in range(_HALVINGS):
        middle = (inner + outer) / 2
        far = outside(middle)
        inner, outer = np.where(far, inner, middle), np.where(far, middle, outer)
    return float(outer[0]), float(outer[1])


def area_and_influence(positive: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray]:
    """Area, and how much each row moves it, times the number of rows.

    scikit-learn gives the area alone. Source: DeLong et al. 1988, doi:10.2307/2531595.
    """
    yes, rows = int(positive.sum()), len(score)
    no, ranks = rows - yes, rankdata(score)
    below = np.empty(rows)  # of the other class, as a share: for positives those below, for negatives those above
    below[positive] = (ranks[positive] - rankdata(score[positive])) / no
    below[~positive] = 1 - (ranks[~positive] - rankdata(score[~positive])) / yes
    area = float(below[positive].mean())
    return area, (below - area) * np.where(positive, rows / yes, rows / no)
