"""Metrics of logits as three `evaluate.Metric` classes, by scikit-learn and scipy.

`evaluate.load("f1")` needs the network; these need nothing, write nothing, and compute on the arrays they are given.
Macro averages run over the classes that occur in the references or the predictions, as scikit-learn's do; a class that occurs
but is never predicted scores 0 in them. `absent_note` says how many are left out.
There is no plain `f1`: whose F1 that is would depend on which of two names sorts last; `per_class_table` has each one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import evaluate
import numpy as np
from datasets import Features, List, Value
from datasets.features.features import FeatureType
from numpy.typing import ArrayLike
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sk

from nlp_ft.evaluation.inputs import check_labels as check_labels
from nlp_ft.evaluation.inputs import checked
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE, predicted, probabilities


class ClassScores(TypedDict):
    """Scores of a class; `support` is how many rows bear it."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


_LESS_IS_BETTER = ("loss", "perplexity", "mse", "rmse", "mae", "ece")


def greater_is_better(metric: str) -> bool:
    """Whether a greater value of this metric is better.

    metric: any that a run measures, also as `eval_rmse` or, of one task among several, `mood_rmse`.
    """
    return metric.rpartition("_")[2] not in _LESS_IS_BETTER


# (name, greater is better) of the metric that picks a checkpoint. Macro-F1: a model that gives up a small class loses
# by it, which accuracy hides. Micro-F1 for multi-label: a small validation split holds few or no rows of a rare label,
# whose own F1 would be noise at full weight in a macro mean. RMSE: defined from one row on and sensitive to a wrong
# scale or offset; Pearson is blind to both and jumps about on few rows.
SELECTION_METRIC: dict[str, tuple[str, bool]] = {
    problem: (name, greater_is_better(name))
    for problem, name in ((SINGLE, "f1_macro"), (MULTI, "f1_micro"), (REGRESSION, "rmse"))
}


class _InMemoryMetric(evaluate.Metric):
    """`evaluate.Metric` that touches no disk; its caller gathers the rows."""

    problem_type: str
    score: FeatureType  # of a prediction
    reference: FeatureType
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
    """Metrics of single-label classification.

    predictions: probabilities (rows, classes); references: class ids (rows,).

    `balanced_accuracy` is the mean recall of the classes that occur; `recall_macro` counts those predicted alone as 0. `auroc`
    is that of the second class's probability for two classes, else the mean of one against the rest; it is left out when a
    class is absent from the references, where it has no value.
    """

    problem_type = SINGLE
    score, reference = List(Value("float64")), Value("int64")
    source = "https://scikit-learn.org/stable/modules/model_evaluation.html#classification-metrics"

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: object) -> dict[str, float]:
        probability, reference = checked(SINGLE, predictions, references, self.label_names)
        choice = probability.argmax(axis=1)
        precision, recall, f1, support = _precision_recall_f1(SINGLE, choice, reference, len(self.label_names))
        occurs = (support > 0) | (np.bincount(choice, minlength=len(support)) > 0)
        accuracy = np.mean(choice == reference)
        varied = np.ptp(choice) > 0 and np.ptp(reference) > 0  # else 0, of which scikit-learn may warn
        scores = {
            "accuracy": accuracy,
            "balanced_accuracy": recall[support > 0].mean(),  # scikit-learn's warns of classes that are only predicted
            "precision_macro": precision[occurs].mean(),
            "recall_macro": recall[occurs].mean(),
            "f1_macro": f1[occurs].mean(),
            "f1_micro": accuracy,  # one prediction a row: the same number
            "precision_weighted": np.average(precision, weights=support),
            "recall_weighted": np.average(recall, weights=support),
            "f1_weighted": np.average(f1, weights=support),
            "mcc": sk.matthews_corrcoef(reference, choice) if varied else 0.0,
        }
        if support.all() and len(support) > 1:
            classes = [1] if len(support) == 2 else range(len(support))
            scores["auroc"] = np.mean([sk.roc_auc_score(reference == c, probability[:, c]) for c in classes])
        return {name: float(score) for name, score in scores.items()}


class MultiLabelMetric(_InMemoryMetric):
    """Metrics of multi-label classification.

    predictions: probabilities (rows, labels), a label is given above .5; references: 0 or 1, of the same shape.

    `subset_accuracy` wants every label of a row right; `hamming_loss` is the share of wrong cells. `auroc_macro` is the
    mean over the labels that have both answers in the references, and left out when there is none.
    """

    problem_type = MULTI
    score = reference = List(Value("float64"))
    source = "https://scikit-learn.org/stable/modules/model_evaluation.html#multilabel-ranking-metrics"

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: object) -> dict[str, float]:
        probability, reference = checked(MULTI, predictions, references, self.label_names)
        chosen = probability > 0.5
        occurs = chosen.any(axis=0) | reference.astype(bool).any(axis=0)
        occurs |= not occurs.any()
        by_label = _precision_recall_f1(MULTI, chosen, reference, len(self.label_names))[:3]
        macro = [np.atleast_1d(score)[occurs].mean() for score in by_label]
        micro = _precision_recall_f1(MULTI, chosen, reference, len(self.label_names), average="micro")
        wrong = chosen != reference
        scores = {"subset_accuracy": 1 - wrong.any(axis=1).mean(), "hamming_loss": wrong.mean()}
        for name, over_labels, pooled in zip(("precision", "recall", "f1"), macro, micro, strict=True):
            scores |= {f"{name}_macro": over_labels, f"{name}_micro": pooled}
        both = [c for c in range(reference.shape[1]) if 0 < reference[:, c].sum() < len(reference)]
        if both:
            scores["auroc_macro"] = np.mean([sk.roc_auc_score(reference[:, c], probability[:, c]) for c in both])
        return {name: float(score) for name, score in scores.items()}


class RegressionMetric(_InMemoryMetric):
    """Metrics of regression.

    predictions and references: (rows,), in the units of the labels.

    `pearson` and `spearman` are 0 when either side is constant. `r2` is left out when the references are constant (one
    row, say): it divides by their variance.
    """

    problem_type = REGRESSION
    score = reference = Value("float64")
    source = "https://scikit-learn.org/stable/modules/model_evaluation.html#regression-metrics"

    def _compute(self, *, predictions: Any = None, references: Any = None, **kwargs: object) -> dict[str, float]:
        value, reference = checked(REGRESSION, predictions, references, self.label_names)
        error = value - reference
        mse = np.mean(error**2)
        scores = {"mse": mse, "rmse": np.sqrt(mse), "mae": np.mean(np.abs(error))}
        if np.ptp(reference) > 0:
            spread = np.ptp(
                reference
            )  # scaled first: the squares of tiny values vanish, in sklearn.metrics.r2_score too
            scores["r2"] = 1 - np.mean((error / spread) ** 2) / np.var(reference / spread)
        varied = np.ptp(value) > 0 and np.ptp(reference) > 0  # else 0, where scipy warns and gives nan
        scores["pearson"] = pearsonr(_scaled(value), _scaled(reference))[0] if varied else 0.0
        scores["spearman"] = spearmanr(value, reference)[0] if varied else 0.0
        return {name: float(score) for name, score in scores.items()}


_METRICS = {SINGLE: ClassificationMetric, MULTI: MultiLabelMetric, REGRESSION: RegressionMetric}


def compute_metrics(
    problem_type: str, logits: ArrayLike, labels: ArrayLike, label_names: Sequence[str]
) -> dict[str, float]:
    """Compute every metric of the problem by its name; none is ever nan.

    logits: (rows, classes) floats; for regression (rows,) or (rows, 1). labels: (rows,) class ids, (rows, classes) 0/1,
    or (rows,) floats. label_names: one a class, in the order of the columns; not read for regression.

    Raises: TrainingError if logits are not finite; DataError if shapes disagree or a label is not one of the classes.
    """
    logits, labels = checked(problem_type, logits, labels, label_names)
    metric = _METRICS[problem_type](label_names)
    # not .compute(): it copies every row through Arrow, seconds for 100000 rows
    return metric._compute(predictions=probabilities(problem_type, logits), references=labels)


def selection_score(problem_type: str, predictions: np.ndarray, labels: np.ndarray, classes: int) -> float:
    """Compute the SELECTION_METRIC alone, quick and unchecked, for resampling rows.

    predictions: what `predicted` returns; labels: of the same shape, integers unless the problem is a regression.
    """
    if problem_type == REGRESSION:
        return float(np.sqrt(np.mean((predictions - labels) ** 2)))
    # by hand: scikit-learn checks and sorts the labels each time, ten seconds for the thousand calls of a bootstrap
    if problem_type == MULTI:
        hits, guesses, support = (predictions * labels).sum(), predictions.sum(), labels.sum()
    else:
        columns = (labels[predictions == labels], predictions, labels)
        hits, guesses, support = (np.bincount(ids, minlength=classes) for ids in columns)
    either = np.atleast_1d(guesses + support)
    occurs = either > 0
    return float(np.mean(2 * np.atleast_1d(hits)[occurs] / either[occurs])) if occurs.any() else 0.0


def per_class_table(
    problem_type: str, logits: ArrayLike, labels: ArrayLike, label_names: Sequence[str]
) -> list[ClassScores]:
    """Score each class by itself; empty for regression.

    Arguments and errors as in `compute_metrics`.
    """
    logits, labels = checked(problem_type, logits, labels, label_names)
    if problem_type == REGRESSION:
        return []
    scores = _precision_recall_f1(problem_type, predicted(problem_type, logits), labels, len(label_names))
    columns = zip(label_names, *scores, strict=True)
    return [
        {"label": name, "precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
        for name, p, r, f, n in columns
    ]


def absent_note(supports: Sequence[int], split: str = "test") -> str:
    """Say how many classes have no row; "" where each has one.

    supports: rows of each class, as `per_class_table` counts them. split: the name of their split, "" for none.
    """
    absent = sum(not support for support in supports)
    if not absent:
        return ""
    rows = f"{split} row".strip()
    return (
        f"{absent} of {len(supports)} classes {'has' if absent == 1 else 'have'} no {rows}; macro averages are over those that "
        "occur in the rows or the predictions, balanced accuracy over those in the rows."
    )


def confusion_matrix(logits: ArrayLike, labels: ArrayLike, label_names: Sequence[str]) -> list[list[int]]:
    """Count [reference][predicted] of a single-label problem.

    Arguments and errors as in `compute_metrics`.
    """
    logits, labels = checked(SINGLE, logits, labels, label_names)
    cells = np.zeros((len(label_names), len(label_names)), dtype=np.int64)
    np.add.at(cells, (labels, predicted(SINGLE, logits)), 1)  # scikit-learn's warns where there is a single class
    return cells.tolist()


def _precision_recall_f1(
    problem_type: str, choice: np.ndarray, labels: np.ndarray, classes: int, average: Literal["micro"] | None = None
) -> list[np.ndarray]:
    """Precision, recall, F1 and support, (classes,); averaged, the first three.

    0 where nothing was predicted or nothing was there.
    """
    ids: Sequence[int] = range(classes)
    if problem_type == MULTI and classes == 1:  # a single column means two classes to scikit-learn
        choice, labels, ids = choice[:, 0], labels[:, 0], [1]
    scores = sk.precision_recall_fscore_support(
        labels,
        choice,
        labels=ids,
        average=average,
        zero_division=0,  # type: ignore[arg-type]
    )
    return [np.asarray(score) for score in scores if score is not None]


def _scaled(values: np.ndarray) -> np.ndarray:
    """Centre and scale the values: scipy warns of small variance about a large mean."""
    return (values - values.mean()) / np.ptp(values)
