"""A temperature makes probabilities what they say; thresholds are the best on held-out rows; neither changes anything else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from nlp_ft.evaluation.calibration import calibrate, expected_calibration_error, fit_temperature, fit_thresholds
from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE, probabilities


def _drawn(rows: int, classes: int, sharpness: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is right once they are divided by `sharpness`, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(rows, classes)) * 2
    labels = np.array([rng.choice(classes, p=row) for row in softmax(true, axis=1)])
    return true * sharpness, labels


def test_the_error_of_four_rows_by_hand() -> None:
    probability = np.array([[0.9, 0.1], [0.9, 0.1], [0.35, 0.65], [0.42, 0.58]])
    labels = np.array([0, 1, 1, 1])  # .9: one of two right; .65: right; .58: right
    wanted = (abs(1 - 1.8) + abs(1 - 0.65) + abs(1 - 0.58)) / 4
    assert expected_calibration_error(probability, labels) == pytest.approx(wanted)


def test_rows_in_one_bin_make_up_for_each_other_and_rows_in_two_do_not() -> None:
    half = np.array([[0.5, 0.5 - 1e-9]] * 2)
    assert expected_calibration_error(half, np.array([0, 1])) == pytest.approx(0)
    sure = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert expected_calibration_error(sure, np.array([0, 0])) == 0
    assert expected_calibration_error(sure, np.array([1, 1])) == 1


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("classes", [2, 5])
def test_the_temperature_is_what_logits_were_sharpened_by(sharpness: float, classes: int) -> None:
    logits, labels = _drawn(4000, classes, sharpness, seed=1)
    assert fit_temperature(logits, labels) == pytest.approx(sharpness, rel=0.1)


def test_the_temperature_has_the_least_loss_of_all() -> None:
    logits, labels = _drawn(500, 3, 2.0, seed=2)

    def loss(temperature: float) -> float:
        return -np.log(softmax(logits / temperature, axis=1)[np.arange(500), labels]).mean()

    found = fit_temperature(logits, labels)
    assert loss(found) <= min(map(loss, np.linspace(0.2, 10, 300))) + 1e-3


def test_rows_that_are_all_right_do_not_make_it_certain() -> None:
    labels = np.arange(100) % 2
    logits = np.where(np.arange(2) == labels[:, None], 2.0, -2.0)
    likeliest = softmax(logits / fit_temperature(logits, labels), axis=1).max(axis=1)
    assert 0.98 < likeliest.min() < 0.9999


def test_a_sharp_model_is_mended_on_rows_it_has_not_seen() -> None:
    held, test = _drawn(1000, 3, 3.0, seed=3), _drawn(1000, 3, 3.0, seed=4)
    inference_config, metrics, (said,) = calibrate(SINGLE, held, test, ["a", "b", "c"])
    assert metrics["test_ece_before"] > 0.1
    assert metrics["test_ece"] < 0.05
    scores = probabilities(SINGLE, test[0], inference_config.temperature)
    assert metrics["test_ece"] == pytest.approx(expected_calibration_error(scores, test[1]))
    assert said == (
        f"Calibration: temperature {inference_config.temperature:.2f}, fitted on 1000 validation rows; expected "
        f"calibration error on test {metrics['test_ece_before']:.3f} before, {metrics['test_ece']:.3f} after."
    )


def test_a_temperature_changes_no_answer() -> None:
    logits, _ = _drawn(200, 4, 1.0, seed=5)
    for temperature in (0.1, 7.0):
        assert (probabilities(SINGLE, logits, temperature).argmax(1) == logits.argmax(1)).all()


def test_few_rows_are_left_alone() -> None:
    held = _drawn(19, 2, 1.0, seed=6)
    inference_config, metrics, said = calibrate(SINGLE, held, held, ["a", "b"])
    assert (inference_config, metrics) == (InferenceConfig(), {})
    assert said == ["Calibration: left out, 19 validation rows are too few (of 20)."]


def test_thresholds_by_hand() -> None:
    scores = np.array([[0.2, 0.9], [0.3, 0.8], [0.6, 0.7], [0.1, 0.6]])
    logits = np.log(scores / (1 - scores))
    labels = np.array([[0, 1], [1, 1], [1, 0], [0, 0]])
    np.testing.assert_allclose(fit_thresholds(logits, labels, "f1_macro"), [0.25, 0.75])


@pytest.mark.parametrize("metric", ["f1_macro", "f1_micro", "subset_accuracy"])
def test_tuned_thresholds_are_no_worse_on_the_rows_they_are_tuned_on(metric: str) -> None:
    rng = np.random.default_rng(7)
    true = rng.normal(size=(300, 4)) - np.array([0, 1, 2, 3])
    labels = (rng.random((300, 4)) < expit(true)).astype(int)
    logits = true - 1  # a model that says no too often
    rows = (logits, labels)
    inference_config, metrics, _ = calibrate(MULTI, rows, rows, list("abcd"), metric)
    plain = calibrate(MULTI, rows, rows, list("abcd"))
    assert plain == (InferenceConfig(), {}, [])
    from nlp_ft.evaluation.metrics import compute_metrics

    assert metrics[f"test_tuned_{metric}"] > compute_metrics(MULTI, logits, labels, list("abcd"))[metric] + 0.01
    assert set(inference_config.thresholds or {}) == set("abcd")
    given = expit(logits) > inference_config.limits("abcd")
    assert ((inference_config.applied(MULTI, logits, "abcd") > 0) == given).all()


def test_a_label_that_no_row_has_keeps_one_half() -> None:
    logits = np.random.default_rng(8).normal(size=(50, 2))
    labels = np.stack([logits[:, 0] > 1, np.zeros(50)], axis=1).astype(int)
    assert fit_thresholds(logits, labels, "f1_macro")[1] == 0.5


def test_a_regression_has_nothing_to_calibrate() -> None:
    rows = (np.zeros((30, 1)), np.zeros(30))
    assert calibrate(REGRESSION, rows, rows, []) == (InferenceConfig(), {}, [])
