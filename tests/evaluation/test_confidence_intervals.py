"""95 % intervals: limits by hand, what cannot be told, and how often they hold where the truth is known."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest

from nlp_ft.evaluation.auroc_interval import score_limits
from nlp_ft.evaluation.confidence_intervals import intervals, wilson
from nlp_ft.evaluation.metrics import compute_metrics
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE

NAMES = ["a", "b", "c"]


def _drawn(problem_type: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    if problem_type == SINGLE:
        truth = rng.integers(0, 3, rows)
        return np.eye(3)[truth] + rng.normal(size=(rows, 3)), truth
    if problem_type == MULTI:
        truth = rng.integers(0, 2, (rows, 3))
        return 2.0 * truth - 1 + rng.normal(size=(rows, 3)), truth
    truth = rng.normal(size=rows)
    return (truth + rng.normal(size=rows))[:, None], truth


@pytest.mark.parametrize("problem_type", [SINGLE, MULTI, REGRESSION])
def test_intervals_are_those_of_drawing_rows_again_and_again(problem_type: str) -> None:
    logits, truth = _drawn(problem_type, 300)
    found = intervals(problem_type, logits, truth, NAMES)
    point = compute_metrics(problem_type, logits, truth, NAMES)
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(600):
        indices = rng.integers(0, 300, 300)
        drawn.append(compute_metrics(problem_type, logits[indices], truth[indices], NAMES))
    assert len(found) == {SINGLE: 5, MULTI: 5, REGRESSION: 5}[problem_type]
    for name, interval in found.items():
        assert interval is not None
        low, high = interval
        wanted = np.percentile([metrics[name] for metrics in drawn], [2.5, 97.5])
        assert low < point[name] < high
        np.testing.assert_allclose([low, high], wanted, atol=0.2 * (wanted[1] - wanted[0]), err_msg=name)


def test_the_interval_of_auroc_holds_the_true_area_as_often_as_it_says_where_classes_are_unequal() -> None:
    """One positive in ten, scores of two normal distributions: the true area is known, and 95 in 100 intervals hold it."""
    rng, area = np.random.default_rng(0), NormalDist().cdf(1 / 2**0.5)
    truth = (np.arange(600) < 60).astype(int)
    held = []
    for _ in range(400):
        scores = truth + rng.normal(size=600)
        low, high = intervals(SINGLE, np.column_stack([np.zeros(600), scores]), truth, ["no", "yes"])["auroc"] or (0, 0)
        held.append(low < area < high)
    assert 0.9 < np.mean(held) < 0.98


def test_an_interval_is_the_same_every_time() -> None:
    assert intervals(SINGLE, *_drawn(SINGLE, 50), NAMES) == intervals(SINGLE, *_drawn(SINGLE, 50), NAMES)


def test_all_right_on_twenty_rows_is_not_said_to_be_certain() -> None:
    truth = np.arange(20) % 3
    bounds = intervals(SINGLE, 9 * np.eye(3)[truth], truth, NAMES)
    assert all(interval is not None and interval[0] < 0.9 and interval[1] == 1 for interval in bounds.values())
    assert bounds["accuracy"] == (pytest.approx(0.8389, abs=1e-4), pytest.approx(1.0))
    assert wilson(0, 20) == (pytest.approx(0.0, abs=1e-12), pytest.approx(0.1611, abs=1e-4))
    assert wilson(5, 20) == (pytest.approx(0.1119, abs=1e-4), pytest.approx(0.4687, abs=1e-4))  # Newcombe 1998


def test_a_million_rows_take_no_million_draws() -> None:
    truth = np.arange(1_000_000) % 3
    logits = np.eye(3)[(truth + (np.arange(1_000_000) % 5 == 0)) % 3]
    low, high = intervals(SINGLE, logits, truth, NAMES)["f1_macro"] or (0, 0)
    assert low < 0.8 < high
    assert high - low < 0.01


def _answers(cells: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of a confusion matrix [reference][predicted]."""
    truth = np.repeat(np.arange(len(cells)), np.sum(cells, axis=1))
    chosen = np.concatenate([np.repeat(np.arange(len(row)), row) for row in cells])
    return np.eye(len(cells))[chosen], truth


def test_balanced_accuracy_puts_the_limits_of_each_class_together_by_hand() -> None:
    bounds = intervals(SINGLE, *_answers([[900, 50], [0, 50]]), ["no", "yes"])["balanced_accuracy"]
    (low, high), lowest = wilson(900, 950), wilson(50, 50)[0]
    recall = 900 / 950
    below = ((recall - low) ** 2 + (1 - lowest) ** 2) ** 0.5
    above = max(high - recall, 1.959964 * (recall * (1 - recall) / 950) ** 0.5)
    assert bounds == (pytest.approx((recall + 1 - below) / 2), pytest.approx((recall + 1 + above) / 2))
    assert lowest == pytest.approx(1 / (1 + 1.959964**2 / 50))  # Wilson where all are right


def test_the_two_f1_of_two_classes_rise_and_fall_together() -> None:
    """Every error costs both classes, so that the limits of macro-F1 are nearly the means of theirs."""
    low, _ = intervals(SINGLE, *_answers([[45, 5], [5, 45]]), ["no", "yes"])["f1_macro"] or (0, 0)
    share = wilson(45, 55)[0]
    assert low == pytest.approx(2 * share / (1 + share), abs=6e-3)  # independent: .844


def test_limits_of_an_area_lie_1_96_of_their_own_standard_errors_away() -> None:
    low, high = score_limits(0.9, 10, 40)
    for limit in (low, high):
        more = 24 * ((1 - limit) / (2 - limit) + limit / (1 + limit))
        error = (limit * (1 - limit) * (1 + more) / 400) ** 0.5
        assert abs(limit - 0.9) == pytest.approx(1.959964 * error, abs=1e-6)
    assert low < 0.9 < high
    assert score_limits(1.0, 10, 40)[0] < 0.95
    assert score_limits(1.0, 10, 40)[1] == 1


def test_what_cannot_be_told_is_none() -> None:
    names = [str(number) for number in range(8)]
    few = intervals(SINGLE, *_answers([[5, *[0] * 7], [0, 5, *[0] * 6], *[[0] * 8] * 6]), names)
    assert [name for name, interval in few.items() if interval is None] == ["balanced_accuracy", "f1_macro", "auroc"]
    one_class = intervals(SINGLE, *_answers([[9, 1], [0, 0]]), ["no", "yes"])
    assert one_class["mcc"] is one_class["auroc"] is one_class["balanced_accuracy"] is None
    one_positive = intervals(SINGLE, *_answers([[9, 1], [0, 1]]), ["no", "yes"])
    assert one_positive["auroc"] is None
    assert one_positive["accuracy"] is not None
    assert set(intervals(REGRESSION, np.arange(4.0)[:, None], np.arange(4.0), []).values()) == {None}
    nothing = np.full((6, 3), -1.0), np.zeros((6, 3))
    assert intervals(MULTI, *nothing, NAMES)["f1_micro"] is None


def test_a_class_without_rows_may_score_anything() -> None:
    cells = [[20, 0, 0, 0], [0, 20, 0, 0], [0, 0, 20, 0], [0, 0, 0, 0]]
    low, high = intervals(SINGLE, *_answers(cells), list("abcd"))["f1_macro"] or (0, 0)
    assert low < 0.75
    assert high == 1
    assert compute_metrics(SINGLE, *_answers(cells), list("abcd"))["f1_macro"] == 1


def _held(problem_type: str, draw: object, rows: int, wanted: dict[str, float], repeats: int = 300) -> dict[str, float]:
    """Share of intervals that hold the true values."""
    rng, held = np.random.default_rng(0), {name: list[bool]() for name in wanted}
    for _ in range(repeats):
        logits, truth = draw(rng, rows)  # type: ignore[operator]
        bounds = intervals(problem_type, logits, truth, [str(n) for n in range(logits.shape[1])])
        for name, value in wanted.items():
            if (interval := bounds[name]) is not None:
                held[name].append(interval[0] <= value <= interval[1])
    return {name: float(np.mean(hits)) for name, hits in held.items()}


def test_intervals_of_a_small_class_that_is_nearly_always_right_hold() -> None:
    def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
        truth = (rng.random(rows) < 0.05).astype(int)
        return np.eye(2)[np.where(rng.random(rows) < 0.985, truth, 1 - truth)], truth

    hits, misses, alarms = 0.05 * 0.985, 0.05 * 0.015, 0.95 * 0.015  # shares of all rows
    f1 = [2 * hits / (2 * hits + misses + alarms), 2 * 0.95 * 0.985 / (2 * 0.95 * 0.985 + misses + alarms)]
    held = _held(SINGLE, draw, 1000, {"accuracy": 0.985, "balanced_accuracy": 0.985, "f1_macro": sum(f1) / 2})
    assert min(held.values()) > 0.9  # a bootstrap: .57 for balanced accuracy


def test_intervals_of_a_high_area_hold() -> None:
    def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
        truth = (rng.random(rows) < 0.05).astype(int)
        return np.column_stack([np.zeros(rows), 3.65 * truth + rng.normal(size=rows)]), truth

    assert _held(SINGLE, draw, 1000, {"auroc": NormalDist().cdf(3.65 / 2**0.5)})["auroc"] > 0.9


def test_intervals_of_a_rare_label_hold() -> None:
    def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.random((rows, 2)) < (0.5, 0.03)
        return np.where(rng.random((rows, 2)) < np.where(truth, 0.95, 0.0), 1.0, -1.0), truth.astype(int)

    held = _held(MULTI, draw, 200, {"f1_macro": 2 * 0.95 / 1.95, "f1_micro": 2 * 0.95 / 1.95})
    assert min(held.values()) > 0.9


def test_intervals_of_even_classes_hold_as_often_as_they_say() -> None:
    def draw(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.integers(4, size=rows)
        return np.eye(4)[np.where(rng.random(rows) < 0.8, truth, (truth + rng.integers(1, 4, rows)) % 4)], truth

    held = _held(SINGLE, draw, 1000, {"accuracy": 0.8, "balanced_accuracy": 0.8, "f1_macro": 0.8})
    assert min(held.values()) > 0.91
    assert max(held.values()) < 0.99
