"""Class balance and label drift, in the cases that a split can pose beside the plain ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nlp_ft.data.checks import label_distribution
from nlp_ft.data.checks.finding import Checked, Finding, Split

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
NAMES = ["bad", "good", "mixed"]


def shape(problem: str = SINGLE, names: Sequence[str] = NAMES, **labels: Sequence[Any]) -> dict[str, Finding]:
    """What is found, by check and split."""

    def split(name: str, some: Sequence[Any]) -> Split:
        return Split(name, [f"text {row}" for row in range(len(some))], None, some, lambda row: f"{name}.csv:{row + 2}")

    found = label_distribution.shape(
        Checked({name: split(name, some) for name, some in labels.items()}, problem, list(names))
    )
    return {f"{finding.check} {finding.split}": finding for finding in found}


def test_a_class_without_rows_is_named_for_each_split_that_lacks_it() -> None:
    found = shape(train=[0, 1] * 50, validation=[0, 1, 2] * 10, test=[0] * 40)
    absent = {name: finding.message for name, finding in found.items() if finding.check == "absent_classes"}
    assert absent["absent_classes train"] == "no row of 'mixed'"
    assert "'good'" in absent["absent_classes test"]
    assert "absent_classes validation" not in absent


def test_a_class_of_one_row_is_a_warning_with_what_to_do() -> None:
    finding = shape(train=[0, 1] * 50 + [2])["rare_classes train"]
    assert (finding.severity, finding.rows) == ("warning", 1)
    assert finding.message == "1 of 3 classes are rare: rows of 'mixed' 1"
    assert "--class_weights balanced" in finding.advice
    assert finding.measures["rarest_share"] == pytest.approx(1 / 101)


def test_rare_classes_come_rarest_first() -> None:
    labels = [0] * 300 + [1 + number for number in range(12) for _ in range(number + 1)]
    finding = shape(names=[f"c{number}" for number in range(13)], train=labels)["rare_classes train"]
    assert finding.message.startswith("9 of 13 classes are rare: rows of 'c1' 1, 'c2' 2, ")
    assert finding.rows == sum(range(1, 10))


def test_drift_of_one_label_among_several_is_found_where_it_is_alone() -> None:
    train = [[1.0, float(row % 2), 0.0] for row in range(400)]
    found = shape(
        MULTI, train=train, validation=train[:100], test=[[1.0, float(row % 5 == 0), 0.0] for row in range(200)]
    )
    assert "label_drift train/validation" not in found
    assert found["label_drift train/test"].measures["p"] < 0.001
    assert "'good'" in found["label_drift train/test"].message or "'bad'" in found["label_drift train/test"].message


def test_many_labels_are_not_alarming_by_their_number() -> None:
    generator = np.random.default_rng(0)
    names = [f"label {number}" for number in range(200)]
    train, test = (generator.random((rows, 200)) < 0.3 for rows in (1000, 150))
    assert not [name for name in shape(MULTI, names, train=train.tolist(), test=test.tolist()) if "drift" in name]


def test_a_handful_of_rows_is_no_drift() -> None:
    assert not [name for name in shape(train=[0] * 30 + [1] * 30, test=[0, 0, 0, 0]) if "drift" in name]


def test_targets_of_many_rows_that_hardly_differ_are_no_alarm() -> None:
    generator = np.random.default_rng(0)
    train, test = generator.normal(size=20_000), generator.normal(0.05, 1, size=20_000)
    assert shape(REGRESSION, [], train=train.tolist(), test=test.tolist()) == {}
    drift = shape(REGRESSION, [], train=train.tolist(), test=(test + 0.5).tolist())["label_drift train/test"]
    assert drift.measures["kolmogorov_smirnov"] == pytest.approx(0.217, abs=0.03)  # 2 * Phi(.55 / 2) - 1


def test_alike_splits_give_no_finding() -> None:
    assert shape(train=[0, 1, 2] * 300, validation=[0, 1, 2] * 30, test=[0, 1, 2] * 30) == {}
