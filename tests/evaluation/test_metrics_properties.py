import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from nlp_ft.evaluation.metrics import compute_metrics, confusion_matrix, selection_score
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE, probabilities

pytestmark = pytest.mark.filterwarnings("error")

ZERO: Any = 0  # sklearn's signatures say str


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(1, 30), st.integers(0, 10**6))
def test_single_label_metrics_agree_with_sklearn(classes: int, rows: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits, labels = generator.normal(size=(rows, classes)), generator.integers(classes, size=rows)
    ours = compute_metrics(SINGLE, logits, labels, [str(i) for i in range(classes)])
    choice, ids = logits.argmax(1), list(range(classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = {
            "accuracy": sk.accuracy_score(labels, choice),
            "balanced_accuracy": sk.balanced_accuracy_score(labels, choice),
            "mcc": sk.matthews_corrcoef(labels, choice),
        }
    for average in ("macro", "weighted"):
        three = sk.precision_recall_fscore_support(labels, choice, average=average, zero_division=ZERO)
        theirs |= {f"{name}_{average}": x for name, x in zip(("precision", "recall", "f1"), three, strict=False)}
    theirs["f1_micro"] = sk.f1_score(labels, choice, labels=ids, average="micro", zero_division=ZERO)
    if set(labels) == set(ids):
        chances = probabilities(SINGLE, logits)
        theirs["auroc"] = sk.roc_auc_score(labels, chances[:, 1] if classes == 2 else chances, multi_class="ovr")
    assert ours == pytest.approx(theirs)
    assert confusion_matrix(logits, labels, [str(i) for i in ids]) == sk.confusion_matrix(
        labels, choice, labels=ids
    ).tolist()  # fmt: skip
    assert selection_score(SINGLE, choice, labels, classes) == ours["f1_macro"]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 4), st.integers(1, 30), st.integers(0, 10**6))
def test_multi_label_metrics_agree_with_sklearn(classes: int, rows: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    logits, labels = generator.normal(size=(rows, classes)), generator.integers(2, size=(rows, classes))
    ours = compute_metrics(MULTI, logits, labels.astype(float), [str(i) for i in range(classes)])
    choice = (logits > 0).astype(int)
    theirs = {"subset_accuracy": sk.accuracy_score(labels, choice), "hamming_loss": sk.hamming_loss(labels, choice)}
    for average in ("macro", "micro"):
        occurs = (labels | choice).any(axis=0) if average == "macro" and (labels | choice).any() else slice(None)
        sides = labels[:, occurs], choice[:, occurs]
        if sides[0].shape[1] == 1:  # a single column means two classes to scikit-learn
            three = [score(*sides, zero_division=ZERO) for score in (sk.precision_score, sk.recall_score, sk.f1_score)]
        else:
            three = sk.precision_recall_fscore_support(*sides, average=average, zero_division=ZERO)
        theirs |= {f"{name}_{average}": x for name, x in zip(("precision", "recall", "f1"), three, strict=False)}
    both = [c for c in range(classes) if 0 < labels[:, c].sum() < rows]
    if both:
        theirs["auroc_macro"] = sk.roc_auc_score(labels[:, both], logits[:, both], average="macro")
    assert ours == pytest.approx(theirs)
    assert selection_score(MULTI, choice, labels, classes) == ours["f1_micro"]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.integers(0, 10**6))
def test_regression_metrics_agree_with_sklearn_and_scipy(rows: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    values, labels = generator.normal(size=rows), generator.normal(size=rows).round(1) + 20 * np.arange(rows)
    ours = compute_metrics(REGRESSION, values, labels, [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        correlations = stats.pearsonr(values, labels)[0], stats.spearmanr(values, labels)[0]
    assert ours == pytest.approx(
        {
            "mse": sk.mean_squared_error(labels, values),
            "rmse": sk.root_mean_squared_error(labels, values),
            "mae": sk.mean_absolute_error(labels, values),
            "r2": sk.r2_score(labels, values),
            "pearson": correlations[0],
            "spearman": correlations[1],
        }
    )
    assert selection_score(REGRESSION, values, labels, 1) == ours["rmse"]


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([SINGLE, MULTI, REGRESSION]),
    st.lists(st.tuples(*[st.floats(-1e4, 1e4, width=32)] * 2, st.integers(0, 1)), min_size=1, max_size=8),
)
def test_no_metric_is_ever_nan(problem_type: str, rows: list[tuple[float, float, int]]) -> None:
    logits, labels = np.array([row[:2] for row in rows], dtype=np.float32), np.array([row[2] for row in rows])
    if problem_type == REGRESSION:
        logits = logits[:, 0]
    if problem_type == MULTI:
        labels = np.stack([labels, 1 - labels], axis=1)
    scores = compute_metrics(problem_type, logits, labels, ["a", "b"])
    assert all(np.isfinite(score) and type(score) is float for score in scores.values())
