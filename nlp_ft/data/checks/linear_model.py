"""Out-of-fold predictions of a cheap linear model, to compare with the labels.

Logistic regression (of many classes, ridge regression) and naive Bayes over hashed TF-IDF, one class against the rest, added
up with the two weights that predict the labels best out of fold, which also makes them a probability. Together they ranked
flipped labels of four domains better than either alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier

from nlp_ft.data.checks import many_outputs
from nlp_ft.data.checks.finding import Checked, Label, Split, text_key
from nlp_ft.data.checks.tfidf import Matrix, TfIdf
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE, probabilities

Progress = Callable[[int, int], None]
_MOST_CHARACTERS = 150_000_000  # read in all, so that a million rows stay under two gigabytes
_MOST_FOR_CHARACTER_GRAMS = 30_000_000
_MOST_FOR_NEWTON, _MOST_FOR_SGD = 200_000, 5_000_000  # rows times outputs
_MOST_ONE_BY_ONE = 8  # outputs; more are fitted all at once
_C = 3.0  # between 1 and 10, each better on two of four domains
_SMOOTHING = 0.1  # naive Bayes: added to every count
_MOST_TO_WEIGH = 50_000  # rows that the two weights are fitted on, fewer of many classes
_FEWEST_TO_WEIGH, _CELLS_TO_WEIGH = 1_000, 500_000


@dataclass(frozen=True)
class Predictions:
    """Probabilities (rows, classes), or values (rows,) of a regression, by split.

    Those of train are out of fold. `length`: how many characters of each text were read.
    """

    by_split: dict[str, np.ndarray]
    length: int


def predict(checked: Checked, folds: int, seed: int, progress: Progress | None = None) -> Predictions:
    """Predict train out of fold, and the other splits by a model of all of train.

    Equal texts are in one fold; folds are alike in labels. Deterministic.   Source: Wang & Manning 2012,
    aclanthology.org/P12-2018 (naive Bayes beside a linear model); Rennie et al. 2003 (a class against its complement).
    """
    train = checked.splits["train"]
    others = {name: split for name, split in checked.splits.items() if name != "train"}
    characters = sum(map(len, train.texts)) + sum(map(len, train.pairs or ()))
    length = 20_000 if characters <= _MOST_CHARACTERS else max(50, _MOST_CHARACTERS // len(train))
    tfidf = TfIdf(length, characters <= _MOST_FOR_CHARACTER_GRAMS)
    features = tfidf.fit_transform(train.texts, train.pairs)
    targets = _targets(checked, train.labels)
    fold = fold_of(train, folds, seed)
    predictions: dict[str, np.ndarray] = {}
    for number in range(folds):
        held = fold == number
        if held.any():  # fewer distinct texts than folds leave some empty
            fitted = held if held.all() else ~held  # a single distinct text cannot be held out, nor tell anything
            outputs = _fit_predict(features[fitted], targets[fitted], [features[held]], seed)[0]
            predictions.setdefault("train", np.zeros((len(train), *outputs.shape[1:]), outputs.dtype))[held] = outputs
        if progress:
            progress(number + 1, folds + bool(others))
    if others:
        unseen = [tfidf.transform(split.texts, split.pairs) for split in others.values()]
        predictions |= zip(others, _fit_predict(features, targets, unseen, seed), strict=True)
        if progress:
            progress(folds + 1, folds + 1)
    return Predictions(_as_probabilities(checked.problem_type, predictions, targets), length)


def fold_of(train: Split, folds: int, seed: int) -> np.ndarray:
    """Fold of each row, (rows,): equal texts in one fold, labels spread evenly.

    The order of the file is of no account.
    """
    pairs = train.pairs if train.pairs is not None else [None] * len(train)
    keys = (f"{seed}\0{text_key(text, pair)}" for text, pair in zip(train.texts, pairs, strict=True))
    digests = (hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest() for key in keys)
    numbers = np.frombuffer(b"".join(digests), dtype=np.uint64)
    distinct, first, group = np.unique(numbers, return_index=True, return_inverse=True)
    labels = np.array([train.labels[int(row)] for row in first])
    fold = np.empty(len(distinct), dtype=np.int64)
    fold[np.lexsort((distinct, *np.atleast_2d(labels.T)))] = np.arange(len(distinct)) % folds
    return fold[group]


def _targets(checked: Checked, labels: Sequence[Label]) -> np.ndarray:
    """Booleans (rows, outputs), of two classes the second alone; or values (rows,)."""
    array = np.asarray(labels, dtype=np.int64 if checked.problem_type == SINGLE else np.float32)
    if checked.problem_type == REGRESSION:
        return array
    if checked.problem_type == MULTI:
        return array > 0
    classes = np.arange(len(checked.labels))
    return array[:, None] == (classes[1:] if len(classes) == 2 else classes)


def _fit_predict(features: Matrix, targets: np.ndarray, unseen: list[Matrix], seed: int) -> list[np.ndarray]:
    """Fit, and predict unseen rows.

    Returns: for each matrix of `unseen`, log odds (rows, outputs, models), or values (rows,).
    """
    if not features.shape[1]:  # no two texts share anything: a column that says nothing
        features, *unseen = [csr_matrix((rows.shape[0], 1), dtype=np.float32) for rows in (features, *unseen)]
    if targets.ndim == 1:
        ridge = Ridge(alpha=0.5, solver="sparse_cg", tol=1e-3).fit(features, targets)
        return [ridge.predict(rows) for rows in unseen]
    if targets.shape[1] > _MOST_ONE_BY_ONE:
        return many_outputs.fit_predict(features, targets, unseen, _SMOOTHING, targets.size <= _MOST_FOR_SGD)
    fitted = []
    for target in targets.T:
        models = [_naive_bayes(features, target)]
        if targets.size <= _MOST_FOR_SGD and 0 < target.sum() < len(target):
            models.append(_logistic(features, target, targets.size, seed))
        elif targets.size <= _MOST_FOR_SGD:
            models *= 2  # all rows have one label: nothing else to learn
        fitted.append(models)
    return [
        np.stack([[rows @ weights + bias for weights, bias in models] for models in fitted]).transpose(2, 0, 1)
        for rows in unseen
    ]


def _naive_bayes(features: Matrix, target: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and bias of the log odds of yes, by naive Bayes."""
    yes = target.astype(np.float32) @ features + _SMOOTHING
    no = np.asarray(features.sum(axis=0)).ravel() - yes + 2 * _SMOOTHING
    weights = np.log(yes / yes.sum()) - np.log(no / no.sum())
    return weights, float(np.log((target.sum() + 0.5) / ((~target).sum() + 0.5)))


def _logistic(features: Matrix, target: np.ndarray, size: int, seed: int) -> tuple[np.ndarray, float]:
    """Weights and bias of logistic regression, by Newton steps or SGD."""
    if size <= _MOST_FOR_NEWTON:
        model = LogisticRegression(C=_C, solver="liblinear", tol=0.1)
    else:
        model = SGDClassifier(loss="log_loss", random_state=seed, alpha=1 / (_C * len(target)), max_iter=5)
        model.set_params(tol=None)
    model.fit(features, target)
    return np.asarray(model.coef_)[0], float(np.asarray(model.intercept_)[0])


def _as_probabilities(
    problem_type: str, predictions: dict[str, np.ndarray], targets: np.ndarray
) -> dict[str, np.ndarray]:
    if problem_type == REGRESSION:
        return predictions
    most = min(_MOST_TO_WEIGH, max(_FEWEST_TO_WEIGH, _CELLS_TO_WEIGH // targets.shape[1]))
    rows = np.linspace(0, len(targets) - 1, min(len(targets), most)).astype(np.int64)
    labels, odds_of_train = targets[rows], predictions["train"][rows]

    def loss(weights: np.ndarray) -> float:
        logits = _logits(problem_type, odds_of_train @ weights)
        if problem_type == MULTI:
            return float(np.logaddexp(0, np.where(labels, -logits, logits)).mean())
        ids = labels.argmax(axis=1) if labels.shape[1] > 1 else labels[:, 0].astype(np.int64)
        of_label = np.take_along_axis(logits, ids[:, None], axis=1)[:, 0]
        return float((np.logaddexp.reduce(logits, axis=1) - of_label).mean())

    start = np.full(odds_of_train.shape[-1], 0.5)
    weights = minimize(loss, start, bounds=[(0, None)] * len(start), method="L-BFGS-B").x
    return {
        name: probabilities(problem_type, _logits(problem_type, odds @ weights)) for name, odds in predictions.items()
    }


def _logits(problem_type: str, odds: np.ndarray) -> np.ndarray:
    """Logit of each class: of two classes, the first has 0."""
    if problem_type == SINGLE and odds.shape[1] == 1:
        return np.concatenate((np.zeros_like(odds), odds), axis=1)
    return odds
