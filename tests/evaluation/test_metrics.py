import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest

from nlp_ft.errors import ConfigError, DataError, TrainingError
from nlp_ft.evaluation.metrics import (
    SELECTION_METRIC,
    ClassificationMetric,
    MultiLabelMetric,
    RegressionMetric,
    absent_note,
    compute_metrics,
    greater_is_better,
    per_class_table,
)
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE, predicted, probabilities

pytestmark = pytest.mark.filterwarnings("error")

# class "c" is never predicted, class "d" never occurs
FOUR = ["a", "b", "c", "d"]
REFERENCE = np.array([0, 0, 0, 1, 1, 2])
LOGITS = 3 * np.eye(4)[[0, 0, 1, 1, 3, 1]]

# label "y" is never predicted, label "z" never occurs
LABELS = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=float)
OVERFLOW = "the weights or activations overflowed; lower --learning_rate, or train without --fp16."
CHOSEN = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0]])


def test_single_label_metrics_by_hand_with_a_class_never_predicted_and_a_class_that_never_occurs() -> None:
    assert compute_metrics(SINGLE, LOGITS, REFERENCE, FOUR) == pytest.approx(
        {
            "accuracy": 3 / 6,
            "balanced_accuracy": (2 / 3 + 1 / 2 + 0) / 3,
            "precision_macro": (1 + 1 / 3 + 0 + 0) / 4,
            "recall_macro": (2 / 3 + 1 / 2 + 0 + 0) / 4,
            "f1_macro": (0.8 + 0.4 + 0 + 0) / 4,
            "f1_micro": 3 / 6,
            "precision_weighted": (3 * 1 + 2 / 3) / 6,
            "recall_weighted": 3 / 6,
            "f1_weighted": (3 * 0.8 + 2 * 0.4) / 6,
            "mcc": 6 / 22,
        }
    )


def test_classes_that_no_row_and_no_answer_has_are_left_out_of_macro_averages_and_that_is_said() -> None:
    names = [f"class {number}" for number in range(80)]
    scores = compute_metrics(SINGLE, np.eye(80)[:20], range(20), names)
    macro = ("precision_macro", "recall_macro", "f1_macro")
    assert [scores[name] for name in ("accuracy", "balanced_accuracy", *macro)] == [1.0] * 5
    missed = compute_metrics(SINGLE, np.eye(80)[[0, 1, 2, 70]], [0, 1, 2, 2], names)  # class 70 is predicted alone
    assert missed["f1_macro"] == pytest.approx((1 + 1 + 2 / 3 + 0) / 4)
    assert missed["balanced_accuracy"] == pytest.approx((1 + 1 + 1 / 2) / 3)
    supports = [row["support"] for row in per_class_table(SINGLE, np.eye(80)[:20], range(20), names)]
    assert absent_note(supports) == (
        "60 of 80 classes have no test row; macro averages are over those that occur in the rows or the predictions, balanced "
        "accuracy over those in the rows."
    )
    assert absent_note([3, 0, 1], "validation").startswith("1 of 3 classes has no validation row; ")
    assert absent_note([3, 1]) == absent_note([]) == ""


def test_labels_that_no_row_and_no_answer_has_are_left_out_of_macro_averages() -> None:
    truth = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]])
    scores = compute_metrics(MULTI, 2.0 * truth - 1, truth, ["a", "b", "c"])
    assert scores["f1_macro"] == scores["precision_macro"] == scores["recall_macro"] == 1
    nothing = compute_metrics(MULTI, np.full((2, 2), -1.0), np.zeros((2, 2)), ["a", "b"])
    assert nothing["f1_macro"] == nothing["f1_micro"] == 0


@pytest.mark.parametrize(
    ("metric", "greater"),
    [
        *dict.fromkeys(
            ("rmse", "mse", "mae", "loss", "eval_loss", "eval_rmse", "hamming_loss", "perplexity", "mood_mae"), False
        ).items(),
        *dict.fromkeys(("f1_macro", "eval_accuracy", "mcc", "r2", "pearson", "mean", "auroc", "loss_f1"), True).items(),
    ],
)
def test_the_direction_follows_from_the_metric(metric: str, greater: bool) -> None:
    assert greater_is_better(metric) is greater


def test_auroc_of_two_classes_by_hand_counts_a_tie_as_one_half() -> None:
    logits = [[0, -1], [0, 0], [0, 1], [0, 2], [0, 0], [0, 3]]
    scores = compute_metrics(SINGLE, logits, [0, 0, 1, 1, 1, 0], ["no", "yes"])
    assert scores["auroc"] == pytest.approx((2 + 2 + 1.5) / 9)


def test_auroc_of_three_classes_by_hand_is_the_mean_of_one_against_the_rest() -> None:
    logits = np.log([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.5, 0.1, 0.4], [0.4, 0.35, 0.25]])
    scores = compute_metrics(SINGLE, logits, [0, 1, 2, 0], ["a", "b", "c"])
    assert scores["auroc"] == pytest.approx((3 / 4 + 1 + 1) / 3)


def test_one_answer_for_every_row_scores_no_correlation_and_warns_of_nothing() -> None:
    scores = compute_metrics(SINGLE, np.tile([1.0, 0.0], (6, 1)), [0, 0, 0, 1, 1, 1], ["no", "yes"])
    assert (scores["mcc"], scores["auroc"], scores["f1_macro"]) == pytest.approx((0, 0.5, 1 / 3))


def test_references_of_one_class_leave_auroc_out() -> None:
    scores = compute_metrics(SINGLE, [[0, 1], [1, 0]], [1, 1], ["no", "yes"])
    assert "auroc" not in scores
    assert scores["mcc"] == 0
    assert scores["balanced_accuracy"] == 0.5


def test_multi_label_metrics_by_hand_with_a_label_never_predicted_and_a_label_that_never_occurs() -> None:
    assert compute_metrics(MULTI, 2 * CHOSEN - 1, LABELS, ["x", "y", "z"]) == pytest.approx(
        {
            "subset_accuracy": 2 / 6,
            "hamming_loss": 5 / 18,
            "precision_macro": (2 / 3 + 0 + 0) / 3,
            "precision_micro": 2 / 4,
            "recall_macro": (2 / 3 + 0 + 0) / 3,
            "recall_micro": 2 / 5,
            "f1_macro": (2 / 3 + 0 + 0) / 3,
            "f1_micro": 4 / 9,
            "auroc_macro": (6 / 9 + 1 / 2) / 2,
        }
    )


def test_multi_label_references_without_both_answers_leave_auroc_out() -> None:
    assert "auroc_macro" not in compute_metrics(MULTI, [[1.0, -1.0], [1.0, 2.0]], [[1, 0], [1, 0]], ["x", "y"])


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_regression_metrics_by_hand_from_both_shapes(shape: tuple[int, ...]) -> None:
    scores = compute_metrics(REGRESSION, np.reshape([1, 2, 3, 4, 5, 12], shape), np.arange(1.0, 7.0), [])
    assert scores == pytest.approx(
        {
            "mse": 6,
            "rmse": 6**0.5,
            "mae": 1,
            "r2": 1 - 6 / (35 / 12),
            "pearson": 32.5 / (77.5 * 17.5) ** 0.5,
            "spearman": 1,
        }
    )


def test_constant_predictions_correlate_with_nothing() -> None:
    scores = compute_metrics(REGRESSION, [0.1] * 6, [1, 2, 3, 4, 5, 6], [])
    assert scores["pearson"] == scores["spearman"] == 0.0


def test_one_row_of_a_regression_has_errors_and_no_r2() -> None:
    assert compute_metrics(REGRESSION, [3.0], [1.0], []) == {
        "mse": 4.0, "rmse": 2.0, "mae": 2.0, "pearson": 0.0, "spearman": 0.0
    }  # fmt: skip


def test_r2_and_pearson_hold_for_values_whose_squares_underflow() -> None:
    reference = np.array([1.0, 2.0, 3.0])
    scores = compute_metrics(REGRESSION, reference * 1e-200, reference * 1e-200, [])
    assert (scores["r2"], scores["pearson"]) == pytest.approx((1, 1))


def test_probabilities_of_huge_logits_neither_overflow_nor_lose_their_sum() -> None:
    logits = np.array([[1e30, -1e30], [1e4, 1e4]], dtype=np.float32)
    assert probabilities(SINGLE, logits).tolist() == [[1, 0], [0.5, 0.5]]
    assert probabilities(MULTI, logits).tolist() == [[1, 0], [1, 1]]
    assert probabilities(REGRESSION, logits[:, :1]).tolist() == logits[:, 0].tolist()


def test_predicted_is_the_largest_class_or_a_yes_above_one_half() -> None:
    assert predicted(SINGLE, [[0, 1], [2, 1]]).tolist() == [1, 0]
    assert predicted(MULTI, [[0.0, 0.1], [-1, 2]]).tolist() == [[0, 1], [0, 1]]
    assert predicted(REGRESSION, [[0.5], [2]]).tolist() == [0.5, 2]


def test_selection_metrics_are_among_the_metrics_computed() -> None:
    assert SELECTION_METRIC == {SINGLE: ("f1_macro", True), MULTI: ("f1_micro", True), REGRESSION: ("rmse", False)}
    for problem_type, labels in ((SINGLE, [0, 1]), (MULTI, [[0, 1], [1, 1]]), (REGRESSION, [0.0, 1.0])):
        logits = [1.0, 2.0] if problem_type == REGRESSION else [[1.0, 2.0], [0.0, 1.0]]
        assert SELECTION_METRIC[problem_type][0] in compute_metrics(problem_type, logits, labels, ["a", "b"])


def test_per_class_table_by_hand() -> None:
    table = per_class_table(SINGLE, LOGITS, REFERENCE, FOUR)
    assert [row["label"] for row in table] == FOUR
    assert [row["support"] for row in table] == [3, 2, 1, 0]
    assert [row["precision"] for row in table] == pytest.approx([1, 1 / 3, 0, 0])
    assert [row["recall"] for row in table] == pytest.approx([2 / 3, 1 / 2, 0, 0])
    assert [row["f1"] for row in table] == pytest.approx([0.8, 0.4, 0, 0])
    assert per_class_table(MULTI, 2 * CHOSEN - 1, LABELS, ["x", "y", "z"])[0]["f1"] == pytest.approx(2 / 3)
    assert per_class_table(REGRESSION, [1.0], [2.0], []) == []


@pytest.mark.parametrize(
    ("problem_type", "logits", "labels", "error", "message"),
    [
        (
            SINGLE, [[0, 1], [np.nan, 1], [0, np.inf]], [0, 1, 1], TrainingError,
            "2 of 3 rows of model outputs hold nan or inf (the first is row 1): " + OVERFLOW,
        ),
        (
            REGRESSION, [1, -np.inf], [0, 1], TrainingError,
            "1 of 2 rows of model outputs hold nan or inf (the first is row 1): " + OVERFLOW,
        ),
        (
            SINGLE, [[0, 1, 2]], [0], DataError,
            "the model's outputs have shape (1, 3); wanted 2 values for each of one or more rows.",
        ),
        (
            REGRESSION, [[0, 1]], [0], DataError,
            "the model's outputs have shape (1, 2); wanted one value for each of one or more rows.",
        ),
        (
            REGRESSION, [], [], DataError,
            "the model's outputs have shape (0,); wanted one value for each of one or more rows.",
        ),
        (SINGLE, [[0, 1]], [0, 1], DataError, "labels of shape (2,) do not fit model outputs of shape (1, 2)."),
        (MULTI, [[0, 1]], [0], DataError, "labels of shape (1,) do not fit model outputs of shape (1, 2)."),
        (SINGLE, [[0, 1], [0, 1]], [0, -100], DataError, "label -100 in row 1 is not a class id from 0 to 1."),
        (SINGLE, [[0, 1], [0, 1]], [2, 0], DataError, "label 2 in row 0 is not a class id from 0 to 1."),
        (MULTI, [[0, 1]], [[0, 0.5]], DataError, "label 0.5 in row 0 is not 0 or 1."),
        (REGRESSION, [0], [np.nan], DataError, "label nan in row 0 is not a finite number."),
        (
            "single_label", [[0, 1]], [0], ConfigError,
            "problem type 'single_label' is not one of single_label_classification, multi_label_classification, "
            "regression. Did you mean 'single_label_classification'?",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_says_which_row_or_shape(
    problem_type: str, logits: list, labels: list, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as caught:
        compute_metrics(problem_type, logits, labels, ["no", "yes"])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("metric", "predictions", "references"),
    [
        (ClassificationMetric(FOUR), probabilities(SINGLE, LOGITS), REFERENCE),
        (MultiLabelMetric(["x", "y", "z"]), probabilities(MULTI, 2 * CHOSEN - 1), LABELS),
        (RegressionMetric(), np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0])),
    ],
)
def test_metrics_are_evaluate_metrics_that_work_alone_and_in_batches(
    metric: Any, predictions: np.ndarray, references: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("no network here")

    monkeypatch.setattr(socket, "socket", refuse)
    whole = metric.compute(predictions=predictions, references=references)
    for rows in (slice(0, 2), slice(2, None)):
        metric.add_batch(predictions=predictions[rows], references=references[rows])
    assert metric.compute() == whole
    logits = np.log(predictions) if metric.problem_type == SINGLE else predictions
    if metric.problem_type == MULTI:
        logits = 2.0 * CHOSEN - 1
    assert whole == pytest.approx(compute_metrics(metric.problem_type, logits, references, metric.label_names))
    assert isinstance(metric, evaluate.Metric)
    assert set(metric.features) == {"predictions", "references"}
    assert metric.description
    assert metric.citation
    assert metric.info.reference_urls[0].startswith("https://scikit-learn.org/")


def test_a_metric_leaves_no_file_and_no_line_behind_where_home_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "cwd").mkdir()
    program = (
        "from nlp_ft.evaluation.metrics import *\n"
        "m = ClassificationMetric(['a', 'b']); m.compute(predictions=[[.1, .9], [.8, .2]], references=[1, 0])\n"
        "compute_metrics('single_label_classification', [[0, 1]], [0], ['a', 'b'])\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "cwd",
        env=kept | {"HOME": str(tmp_path / "file" / "home"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["cwd", "file"]
