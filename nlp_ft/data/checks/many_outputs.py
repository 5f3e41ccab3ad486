"""Naive Bayes and ridge regression of many classes at once.

The time hardly depends on the number of classes: what is fitted one class at a time takes minutes for hundreds of them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_matrix

_WIDTH = 1024  # columns that the features are hashed into for ridge regression
_RIDGE = 0.5
_ROWS_AT_ONCE = 4096
Matrix = Any  # a csr_matrix, of whose shape, slices and sums the type checker knows nothing


def fit_predict(
    features: Matrix, targets: np.ndarray, unseen: list[Matrix], smoothing: float, with_ridge: bool = True
) -> list[np.ndarray]:
    """Fit all outputs, and predict unseen rows.

    features: (rows, columns); targets: booleans (rows, outputs). Returns: for each matrix of `unseen`, the scores of naive
    Bayes and, where wanted, of ridge regression, float32 (rows, outputs, models).
    """
    models: list[_NaiveBayes | _Ridge] = [_NaiveBayes(features, targets, smoothing)]
    if with_ridge:
        models.append(_Ridge(features, targets))
    return [np.stack([model.predict(rows) for model in models], axis=2) for rows in unseen]


class _NaiveBayes:
    """Log odds of each class against its complement (Rennie et al. 2003).

    A weight differs from that of a class which never has the feature by a correction that is sparse.
    """

    def __init__(self, features: Matrix, targets: np.ndarray, smoothing: float) -> None:
        counts: Matrix = csr_matrix(targets.T.astype(np.float32)) @ features
        total = np.asarray(features.sum(axis=0), np.float64).ravel()
        everything = smoothing * features.shape[1]
        of_class = np.asarray(counts.sum(axis=1), np.float64).ravel()
        self._shared = -np.log(total + smoothing)
        self._by_class = np.log(smoothing) - np.log(of_class + everything)
        self._by_class += np.log(np.maximum(total.sum() - of_class, 0) + everything)
        without = np.maximum(total[counts.indices] - counts.data, 0)
        counts.data = (
            np.log(counts.data / smoothing + 1) - np.log(without + smoothing) - self._shared[counts.indices]
        ).astype(np.float32)
        self._corrections = counts.T.tocsr()
        rows = targets.sum(axis=0)
        self._bias = np.log(rows + 0.5) - np.log(len(targets) - rows + 0.5)

    def predict(self, rows: Matrix) -> np.ndarray:
        """Log odds, (rows, classes)."""
        length = np.asarray(rows.sum(axis=1))
        scores = (rows @ self._corrections).toarray()
        scores += rows @ self._shared.astype(np.float32)[:, None]
        scores += length * self._by_class.astype(np.float32) + self._bias.astype(np.float32)
        return scores


class _Ridge:
    """Least squares on features hashed into few columns, once for all outputs.

    Source: Weinberger et al. 2009, arXiv:0902.2206.
    """

    def __init__(self, features: Matrix, targets: np.ndarray) -> None:
        rng = np.random.default_rng(0)
        columns = features.shape[1]
        signs = rng.choice(np.array([-1, 1], np.float32), size=columns)
        cells = (np.arange(columns), rng.integers(_WIDTH, size=columns))
        self._sketch: Matrix = csr_matrix((signs, cells), shape=(columns, _WIDTH))
        self._centre = targets.mean(axis=0, dtype=np.float32)
        gram, moments = np.zeros((_WIDTH, _WIDTH), np.float32), np.zeros((_WIDTH, targets.shape[1]), np.float32)
        for start in range(0, features.shape[0], _ROWS_AT_ONCE):
            hashed = (features[start : start + _ROWS_AT_ONCE] @ self._sketch).toarray()
            gram += hashed.T @ hashed
            moments += hashed.T @ (targets[start : start + _ROWS_AT_ONCE] - self._centre)
        gram[np.diag_indices(_WIDTH)] += _RIDGE
        self._weights = cho_solve(cho_factor(gram, overwrite_a=True), moments)

    def predict(self, rows: Matrix) -> np.ndarray:
        """Scores about 0 and 1, (rows, outputs)."""
        return (rows @ self._sketch) @ self._weights + self._centre
