"""Baselines of fine-tuning: the majority answer, and TF-IDF with a linear model.

TF-IDF is that of word 1- and 2-grams, sublinear, its 50000 most frequent. Settings were chosen on the validation
splits of the four example domains and are the same for every data set, so a baseline takes seconds and no tuning.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from nlp_ft.errors import DataError
from nlp_ft.evaluation.metrics import SELECTION_METRIC, check_labels, compute_metrics, selection_score
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE, predicted

Texts = Sequence[str] | Sequence[tuple[str, str]]
Matrix = Any  # a csr_matrix, of whose shape the type checker knows nothing
logger = logging.getLogger(__name__)

# A word; but a character of Chinese, Japanese or Thai, which put no space between words, counts as one by itself.
_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+")
_CERTAIN = 100.0  # the logit of an answer that every training row shares
_TITLES = {
    SINGLE: {"majority": "the majority class", "tfidf": "TF-IDF + logistic regression"},
    MULTI: {"majority": "the majority of each label", "tfidf": "TF-IDF + logistic regression"},
    REGRESSION: {"majority": "the mean of the training labels", "tfidf": "TF-IDF + ridge regression"},
}
_METRIC_TITLES = {SINGLE: "macro-F1", MULTI: "micro-F1", REGRESSION: "RMSE"}
_RESAMPLES = 500
_FEWEST_ROWS = 30  # below this the resampled error of a difference says little


@dataclass(frozen=True)
class Baseline:
    """Result of a baseline: `name` in the keys of results, `title` in a sentence."""

    name: str
    title: str
    metrics: dict[str, float]
    logits: np.ndarray


def baselines(
    problem_type: str,
    train_texts: Texts,
    train_labels: ArrayLike,
    test_texts: Texts,
    test_labels: ArrayLike,
    label_names: Sequence[str],
) -> dict[str, Baseline]:
    """Train the baselines "majority" and "tfidf" on a split and score them on another.

    Texts are strings, or (text, pair) tuples, whose two sides get features of their own. Labels and label_names are
    those of `metrics.compute_metrics`. Where every training text is empty, "tfidf" is missing and a warning says so.
    Deterministic.

    Raises: DataError if texts and labels differ in number, or a label is not one of the classes.
    """
    targets = check_labels(problem_type, train_labels, label_names)
    for split, texts, labels in (("training", train_texts, targets), ("test", test_texts, np.asarray(test_labels))):
        if not len(texts) or len(texts) != len(labels):
            raise DataError(
                f"the {split} split has {len(texts)} texts and {len(labels)} labels; wanted the same, not 0."
            )
    if problem_type == SINGLE:
        targets = np.eye(len(label_names))[targets]
    if problem_type == REGRESSION:
        targets = targets.reshape(-1)
    answers = {"majority": _majority(problem_type, targets, len(test_texts))}
    features = _features(train_texts, test_texts)
    if features is None:
        logger.warning("No TF-IDF baseline: the training texts are empty.")
    else:
        answers["tfidf"] = _linear(problem_type, features[0], targets, features[1])
    return {
        name: Baseline(
            name, _TITLES[problem_type][name], compute_metrics(problem_type, logits, test_labels, label_names), logits
        )
        for name, logits in answers.items()
    }


def verdict(
    problem_type: str,
    logits: ArrayLike,
    labels: ArrayLike,
    against: Mapping[str, Baseline],
    doing: str = "Fine-tuning",
) -> str:
    """Compare the method with the better baseline by the selection metric, in words.

    logits, labels: the model's, of the rows that the baselines were scored on. doing: the method, as a subject. A difference
    counts when it is more than two standard errors, taken from 500 paired bootstrap resamples of the rows (Koehn 2004,
    aclanthology.org/W04-3250).
    """
    name, greater = SELECTION_METRIC[problem_type]
    best = max(against.values(), key=lambda baseline: baseline.metrics[name] * (1 if greater else -1))
    outcome, sentence = _sentence(problem_type, logits, labels, best, doing)
    advice = {
        -1: ": use the baseline, or change the learning rate, the number of epochs or the checkpoint.",
        0: "; use the baseline, get more data, or try another checkpoint.",
    }
    return sentence + advice.get(outcome, ".") if outcome is not None else sentence


def against_control(
    problem_type: str, logits: ArrayLike, labels: ArrayLike, control: Baseline, doing: str = "Fine-tuning"
) -> str:
    """Compare the method with a control, in a sentence, as `verdict` does."""
    outcome, sentence = _sentence(problem_type, logits, labels, control, doing)
    return sentence if outcome is None else f"{sentence}."


def _sentence(
    problem_type: str, logits: ArrayLike, labels: ArrayLike, other: Baseline, doing: str
) -> tuple[int | None, str]:
    """Outcome (1 better, 0 alike, -1 worse, None for too few rows) and its sentence."""
    _, greater = SELECTION_METRIC[problem_type]
    ours, theirs, error = compare(problem_type, np.asarray(logits), other.logits, np.asarray(labels))
    gain, rows = (1 if greater else -1) * (ours - theirs), len(other.logits)
    scale, digits = (1, 3) if problem_type == REGRESSION else (100, 1)
    title = _METRIC_TITLES[problem_type]
    difference = f"{abs(gain) * scale:.{digits}f} {'' if problem_type == REGRESSION else 'points of '}{title}"
    figures = f"{ours * scale:.{digits}f} against {theirs * scale:.{digits}f}"
    noise = f"one standard error of the difference on {rows} rows is {error * scale:.{digits}f}"
    absent = "" if problem_type != SINGLE else _absent(np.asarray(labels), other.logits.shape[1])
    if rows < _FEWEST_ROWS:
        return None, (
            f"Too few rows to say what {doing[0].lower()}{doing[1:]} bought over {other.title}: {title} {figures} on {rows} "
            f"rows{absent}; score {_FEWEST_ROWS} or more."
        )
    if gain > 2 * error:
        return 1, f"{doing} beats {other.title} by {difference} ({figures}; {noise}{absent})"
    if gain < -2 * error:
        return -1, f"{doing} is worse than {other.title} by {difference} ({figures}; {noise}{absent})"
    return 0, f"{doing} bought nothing here over {other.title}: {title} {figures}, and {noise}{absent}"


def _absent(labels: np.ndarray, classes: int) -> str:
    """What the macro-F1 of these rows leaves out, to go after their number."""
    absent = classes - len(np.unique(labels))
    return f" ({absent} of {classes} classes have no row there and are left out unless predicted)" if absent else ""


def compare(
    problem_type: str,
    logits: np.ndarray,
    other: np.ndarray,
    labels: np.ndarray,
    score: Callable[[np.ndarray, np.ndarray], float] | None = None,
) -> tuple[float, float, float]:
    """Score both on these rows, with the standard error of their difference.

    score: from predictions and labels of some rows; the selection metric where it is not given.
    """
    labels = labels.reshape(-1) if problem_type == REGRESSION else labels.astype(np.int64)
    pair = predicted(problem_type, logits), predicted(problem_type, other)
    classes = other.shape[-1]
    generator = np.random.default_rng(0)

    def both(rows: np.ndarray | slice) -> list[float]:
        if score is not None:
            return [score(answer[rows], labels[rows]) for answer in pair]
        return [selection_score(problem_type, answer[rows], labels[rows], classes) for answer in pair]

    drawn = np.array([both(generator.integers(len(labels), size=len(labels))) for _ in range(_RESAMPLES)])
    ours, theirs = both(slice(None))
    return ours, theirs, float(np.nanstd(drawn[:, 0] - drawn[:, 1]))


def _majority(problem_type: str, targets: np.ndarray, rows: int) -> np.ndarray:
    """Logits alike for every row: training mean, or smoothed log odds or log counts."""
    if problem_type == REGRESSION:
        return np.full(rows, targets.mean())
    logits = np.log(targets.sum(axis=0) + 1)
    if problem_type == MULTI:
        logits -= np.log((1 - targets).sum(axis=0) + 1)
    return np.tile(logits, (rows, 1))


def _linear(problem_type: str, train: Matrix, targets: np.ndarray, test: Matrix) -> np.ndarray:
    """Logits or values of the linear model on the test rows."""
    if problem_type == REGRESSION:
        return Ridge(alpha=0.5).fit(train, targets).predict(test)
    if problem_type == SINGLE and targets.shape[1] == 2:
        second = _one_against_rest(train, targets[:, 1], test)
        return np.stack([np.zeros_like(second), second], axis=1)
    return np.stack([_one_against_rest(train, target, test) for target in targets.T], axis=1)


def _one_against_rest(train: Matrix, target: np.ndarray, test: Matrix) -> np.ndarray:
    """Log odds of a class on the test rows; certain where all training rows agree."""
    if np.ptp(target) == 0:
        return np.full(test.shape[0], _CERTAIN if target[0] else -_CERTAIN)
    # liblinear: a tenth of a second for 10000 rows, and no copy of its coefficients for every class
    return LogisticRegression(C=10, solver="liblinear", max_iter=1000).fit(train, target).decision_function(test)


def _features(train: Texts, test: Texts) -> tuple[Matrix, Matrix] | None:
    """Sparse TF-IDF matrices of both splits; None if all texts are empty.

    The sides of a pair stand next to each other.
    """
    columns: list[tuple[Any, Any]] = [(train, test)]
    if not isinstance(train[0], str):
        columns = [([pair[side] for pair in train], [pair[side] for pair in test]) for side in (0, 1)]
    blocks = []
    for train_column, test_column in columns:
        if any(train_column):
            vectorizer = _vectorizer(train_column)
            blocks.append((vectorizer.fit_transform(train_column), vectorizer.transform(test_column)))
    if not blocks:
        return None
    return hstack([block[0] for block in blocks], "csr"), hstack([block[1] for block in blocks], "csr")


def _vectorizer(texts: Sequence[str]) -> TfidfVectorizer:
    """Words, or characters where most texts have no word (emoticons, say)."""
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True, max_features=50000)
    if 2 * sum(bool(_WORD.search(text)) for text in texts) >= len(texts):
        vectorizer.set_params(analyzer="word", token_pattern=_WORD.pattern)
    return vectorizer
