"""Scores of a classifier's logits: three `evaluate.Metric` classes shipped here, per class and in all.

`evaluate.load("f1")` needs the network; these need nothing, write nothing, and compute on the arrays they are given.
Averages run over all `label_names`: a class that is never predicted, or absent from the references, scores 0 in them.
There is no plain `f1`: whose F1 that is would depend on which of two names sorts last; `per_class_table` has each one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import evaluate
import numpy as np
from datasets import Features, Value
from datasets import Sequence as ListOf
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from nlp_ft.errors import ConfigError, DataError, TrainingError, did_you_mean
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE, predicted, probabilities

# (name, greater is better) of the metric that picks a checkpoint. Macro-F1: a model that gives up a small class loses
# by it, which accuracy hides. Micro-F1 for multi-label: a small validation split holds few or no rows of a rare label,
# whose own F1 would be noise at full weight in a macro mean. RMSE: defined from one row on and sensitive to a wrong
# scale or offset; Pearson is blind to both and jumps about on few rows.
SELECTION_METRIC: dict[str, tuple[str, bool]] = {
    SINGLE: ("f1_macro", True),
    MULTI: ("f1_micro", True),
    REGRESSION: ("rmse", False),
}


class _InMemoryMetric(evaluate.Metric):
    """An `evaluate.Metric` that touches no disk and takes the rows of all processes from its caller."""

    problem_type: str
    score: Any  # the datasets feature of one prediction
    reference: Any  # and of one reference
    source: str

    def __init__(self, label_names: Sequence[str] = ()) -> None:
        self.label_names = list(label_names)
        super().__init__(keep_in_memory=True)

    def _build_data_dir(self) -> str:
        return ""  # evaluate makes a folder in the user's cache here, even for a metric kept in memory

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=(self.__doc__ or "").strip(),
            citation="Pedregosa et al. 2011, Scikit-learn: Machine Learning in Python, JMLR 12, pages 2825-2830.",
            inputs_description="predictions: what nlp_ft.evaluation.metrics.probabilities() returns; references: the labels.",
            features=Features({"predictions": self.score, "references": self.reference}),
            reference_urls=[self.source],
        )


class ClassificationMetric(_InMemoryMetric):
    """One class a row. predictions: probabilities (rows, classes); references: class ids (rows,).

    `balanced_accuracy` is the mean recall of the classes that occur; `recall_macro` counts absent ones as 0. `auroc` is
    that of the second class's probability for two classes, else the mean of one against the rest; it is left out when a
    class is absent from the references, where it has no value.
    """

    problem_type = SINGLE
    score, reference = ListOf(Value("float64")), Value("int64")
    source = "https://scikit-learn.org/stable/modules/model_evaluation.html#classification-metrics"

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, float]:
        probability, reference = _checked(SINGLE, predictions, references, self.label_names)
        hits, guesses, support = _counts(SINGLE, probability.argmax(1), reference, len(self.label_names))
        precision, recall, f1 = _precision_recall_f1(hits, guesses, support)
        rows, rng = support.sum(), (guesses * support).sum()
        accuracy = hits.sum() / rows
        spread = (rows**2 - (guesses**2).sum()) * (rows**2 - (support**2).sum())
        scores = {
            "accuracy": accuracy,
            "balanced_accuracy": recall[support > 0].mean(),
            "precision_macro": precision.mean(),
            "recall_macro": recall.mean(),
            "f1_macro": f1.mean(),
            "f1_micro": accuracy,  # one prediction a row: the same number
            "precision_weighted": np.average(precision, weights=support),
            "recall_weighted": np.average(recall, weights=support),
            "f1_weighted": np.average(f1, weights=support),
            "mcc": (hits.sum() * rows - rng) / np.sqrt(spread) if spread else 0.0,
        }
        if support.all() and len(support) > 1:
            classes = [1] if len(support) == 2 else range(len(support))
            scores["auroc"] = np.mean([_auroc(reference == c, probability[:, c]) for c in classes])
        return {name: float(score) for name, score in scores.items()}


class MultiLabelMetric(_InMemoryMetric):
    """Any number of labels a row. predictions: probabilities (rows, labels), said yes above .5; references: 0/1, same.

    `subset_accuracy` wants every label of a row right; `hamming_loss` is the share of wrong cells. `auroc_macro` is the
    mean over the labels that have both answers in the references, and left out when there is none.
    """

    problem_type = MULTI
    score = reference = ListOf(Value("float64"))
    source = "https://scikit-learn.org/stable/modules/model_evaluation.html#multilabel-ranking-metrics"

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, float]:
        probability, reference = _checked(MULTI, predictions, references, self.label_names)
        chosen = probability > 0.5
        counts = _counts(MULTI, chosen, reference, len(self.label_names))
        macro = [score.mean() for score in _precision_recall_f1(*counts)]
        micro = _precision_recall_f1(*(count.sum() for count in counts))
        wrong = chosen != reference
        scores = {"subset_accuracy": 1 - wrong.any(axis=1).mean(), "hamming_loss": wrong.mean()}
        for name, over_labels, pooled in zip(("precision", "recall", "f1"), macro, micro, strict=True):
            scores |= {f"{name}_macro": over_labels, f"{name}_micro": pooled}
        both = [c for c in range(reference.shape[1]) if 0 < reference[:, c].sum() < len(reference)]
        if both:
            scores["auroc_macro"] = np.mean([_auroc(reference[:, c] == 1, probability[:, c]) for c in both])
        return {name: float(score) for name, score in scores.items()}


class RegressionMetric(_InMemoryMetric):
    """One number a row. predictions and references: (rows,), in the units of the labels.

    `pearson` and `spearman` are 0 when either side is constant. `r2` is left out when the references are constant (one
    row, say): it divides by their variance.
    """

    problem_type = REGRESSION
    score = reference = Value("float64")
    source = "https://scikit-learn.org/stable/modules/model_evaluation.html#regression-metrics"

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, float]:
        value, reference = _checked(REGRESSION, predictions, references, self.label_names)
        error = value - reference
        mse = np.mean(error**2)
        scores = {"mse": mse, "rmse": np.sqrt(mse), "mae": np.mean(np.abs(error))}
        if np.ptp(reference) > 0:
            spread = np.ptp(reference)  # scaled first: the squares of tiny values vanish
            scores["r2"] = 1 - np.mean((error / spread) ** 2) / np.var(reference / spread)
        scores["pearson"] = _correlation(value, reference)
        scores["spearman"] = _correlation(rankdata(value), rankdata(reference))
        return {name: float(score) for name, score in scores.items()}


_METRICS = {SINGLE: ClassificationMetric, MULTI: MultiLabelMetric, REGRESSION: RegressionMetric}


def compute_metrics(
    problem_type: str, logits: ArrayLike, labels: ArrayLike, label_names: Sequence[str]
) -> dict[str, float]:
    """Every metric of the problem, by its name without prefix; none is ever nan.

    logits: (rows, classes) floats; for regression (rows,) or (rows, 1). labels: (rows,) class ids, (rows, classes) 0/1,
    or (rows,) floats. label_names: one a class, in the order of the columns; not read for regression.

    Raises: TrainingError if logits are not finite; DataError if shapes disagree or a label is not one of the classes.
    """
    logits, labels = _checked(problem_type, logits, labels, label_names)
    metric = _METRICS[problem_type](label_names)
    # not .compute(): it copies every row through Arrow, seconds for 100000 rows
    return metric._compute(predictions=probabilities(problem_type, logits), references=labels)


def selection_score(problem_type: str, predictions: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """The SELECTION_METRIC alone, quick and unchecked, for resampling rows.

    predictions: what `predicted` returns; labels: of the same shape, integers unless the problem is a regression.
    """
    if problem_type == REGRESSION:
        return float(np.sqrt(np.mean((predictions - labels) ** 2)))
    counts = _counts(problem_type, predictions, labels, classes)
    if problem_type == MULTI:
        counts = [count.sum() for count in counts]
    return float(np.mean(_precision_recall_f1(*counts)[2]))


def check_labels(problem_type: str, labels: ArrayLike, label_names: Sequence[str]) -> np.ndarray:
    """The labels as int64, or float64 for regression.

    Raises: DataError at the first label that is not one of the classes, 0 or 1, or a finite number; ConfigError if the
    problem type is none of the three.
    """
    if problem_type not in SELECTION_METRIC:
        nearest = did_you_mean(problem_type, SELECTION_METRIC)
        raise ConfigError(f"problem type '{problem_type}' is not one of {', '.join(SELECTION_METRIC)}.{nearest}")
    allowed = {SINGLE: f"a class id from 0 to {len(label_names) - 1}", MULTI: "0 or 1", REGRESSION: "a finite number"}
    values = np.asarray(labels, dtype=np.float64)
    if problem_type == REGRESSION:
        good = np.isfinite(values)
    else:
        good = np.isin(values, np.arange(2 if problem_type == MULTI else len(label_names)))
    if not good.all():
        place = tuple(np.argwhere(~good)[0])
        raise DataError(f"label {values[place]:g} in row {place[0]} is not {allowed[problem_type]}.")
    return values if problem_type == REGRESSION else values.astype(np.int64)


def per_class_table(
    problem_type: str, logits: ArrayLike, labels: ArrayLike, label_names: Sequence[str]
) -> list[dict[str, Any]]:
    """One dict a class: label, precision, recall, f1 and support (rows of it in `labels`); empty for regression.

    Arguments and errors as in `compute_metrics`.
    """
    logits, labels = _checked(problem_type, logits, labels, label_names)
    if problem_type == REGRESSION:
        return []
    counts = _counts(problem_type, predicted(problem_type, logits), labels, len(label_names))
    columns = zip(label_names, *_precision_recall_f1(*counts), counts[2], strict=True)
    return [
        {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for name, p, r, f, n in columns
    ]


def confusion_matrix(logits: ArrayLike, labels: ArrayLike, label_names: Sequence[str]) -> list[list[int]]:
    """Counts [reference][predicted] of a single-label problem; arguments and errors as in `compute_metrics`."""
    logits, labels = _checked(SINGLE, logits, labels, label_names)
    cells = np.zeros((len(label_names), len(label_names)), dtype=np.int64)
    np.add.at(cells, (labels, predicted(SINGLE, logits)), 1)
    return cells.tolist()


def _checked(
    problem_type: str, scores: ArrayLike, labels: ArrayLike, label_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The two arrays in their proper shapes and types, or one clear error."""
    scores, labels = np.asarray(scores, dtype=np.float64), check_labels(problem_type, labels, label_names)
    rows = len(scores) if scores.ndim else 0
    if problem_type == REGRESSION:
        wanted, words = (rows,), "one value for each of one or more rows"
        scores, labels = (array.reshape(rows) if array.shape == (rows, 1) else array for array in (scores, labels))
    else:
        wanted, words = (rows, len(label_names)), f"{len(label_names)} values for each of one or more rows"
    if not rows or scores.shape != wanted:
        raise DataError(f"the model's outputs have shape {scores.shape}; wanted {words}.")
    if labels.shape != (wanted if problem_type == MULTI else (rows,)):
        raise DataError(f"labels of shape {labels.shape} do not fit model outputs of shape {scores.shape}.")
    broken = ~np.isfinite(scores).reshape(rows, -1).all(axis=1)
    if broken.any():
        raise TrainingError(
            f"{broken.sum()} of {rows} rows of model outputs hold nan or inf (the first is row {broken.argmax()}): "
            "the weights or activations overflowed; lower --learning_rate, or train without --fp16."
        )
    return scores, labels


def _counts(problem_type: str, choice: np.ndarray, labels: np.ndarray, classes: int) -> list[np.ndarray]:
    """Right predictions, predictions and references of each class, as float64 of shape (classes,)."""
    if problem_type == MULTI:
        counts = [(choice * labels).sum(axis=0), choice.sum(axis=0), labels.sum(axis=0)]
    else:
        counts = [np.bincount(ids, minlength=classes) for ids in (labels[choice == labels], choice, labels)]
    return [np.asarray(count, dtype=np.float64) for count in counts]  # integers would overflow in the MCC


def _precision_recall_f1(hits: Any, guesses: Any, support: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three, of the same shape as the counts; 0 where nothing was predicted or nothing was there."""
    pairs = ((hits, guesses), (hits, support), (2 * hits, guesses + support))
    precision, recall, f1 = (np.asarray(top / np.where(bottom, bottom, 1)) for top, bottom in pairs)
    return precision, recall, f1


def _auroc(positive: np.ndarray, score: np.ndarray) -> float:
    """P(a positive row scores above a negative one), ties one half: Mann and Whitney 1947, from the rank sum."""
    count = int(positive.sum())
    excess = rankdata(score)[positive].sum() - count * (count + 1) / 2
    return float(excess / (count * (len(score) - count)))


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's correlation; 0 when a side is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return 0.0
    x, y = ((side - side.mean()) / np.ptp(side) for side in (x, y))  # scaled as in r2
    return float(np.clip(x @ y / np.sqrt((x @ x) * (y @ y)), -1.0, 1.0))
