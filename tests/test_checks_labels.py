"""The statistics behind label drift, and the cases of class balance that a split can pose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from nlp_ft.checks.findings import Checked, Finding, Split
from nlp_ft.checks.label_shape import _chi_square, label_shape

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
NAMES = ["bad", "good", "mixed"]


def shape(problem: str = SINGLE, names: Sequence[str] = NAMES, **labels: Sequence[Any]) -> dict[str, Finding]:
    """What is found, by check and split."""

    def split(name: str, some: Sequence[Any]) -> Split:
        return Split(name, [f"text {row}" for row in range(len(some))], None, some, lambda row: f"{name}.csv:{row + 2}")

    found = label_shape(Checked({name: split(name, some) for name, some in labels.items()}, problem, list(names)))
    return {f"{finding.check} {finding.split}": finding for finding in found}


def test_chi_square_and_cramers_v_by_hand() -> None:
    p, v = _chi_square(np.array([[60, 40], [40, 60]]))  # expected 50 each: 4 * 10**2 / 50 = 8
    assert p == pytest.approx(0.00468, abs=1e-5)
    assert v == pytest.approx((8 / 200) ** 0.5)


def test_rare_classes_are_compared_together_and_one_class_alone_has_no_drift() -> None:
    table = np.array([[100, 100, 1, 2, 0], [100, 100, 0, 0, 3]])
    assert _chi_square(table) == pytest.approx(_chi_square(np.array([[100, 100, 3], [100, 100, 3]])))
    assert _chi_square(np.array([[50, 0], [70, 0]])) == (1.0, 0.0)
    assert _chi_square(np.array([[3, 0], [0, 3]])) == (1.0, 0.0)  # six rows say nothing


def test_a_class_without_training_rows_is_an_error_and_one_without_test_rows_a_warning() -> None:
    found = shape(train=[0, 1] * 50, validation=[0, 1, 2] * 10, test=[0] * 40)
    absent = {name: finding for name, finding in found.items() if finding.check == "absent_classes"}
    assert {name: (finding.severity, finding.message) for name, finding in absent.items()} == {
        "absent_classes train": ("error", "no row of 'mixed'"),
        "absent_classes test": ("warning", "no row of 'good'"),
    }
    assert absent["absent_classes train"].advice.startswith("no model learns a class that it never sees")
    assert absent["absent_classes test"].advice.startswith("figures on test say nothing of such a class")


def test_a_class_of_one_row_is_said_with_its_place() -> None:
    finding = shape(train=[0, 1] * 50 + [2])["rare_classes train"]
    assert finding.message == "1 of 3 classes are rare: rows of 'mixed' 1"
    assert "one row cannot be both trained on and tested" in finding.advice
    assert "--class_weights balanced" in finding.advice
    assert finding.places == {"train": [100]}
    assert (finding.examples[0].where, finding.examples[0].label) == ("train.csv:102", "mixed")
    assert finding.measures == {"rarest": 1.0, "share": pytest.approx(1 / 101)}


def test_rare_classes_come_rarest_first_and_only_ten_are_named() -> None:
    labels = [0] * 300 + [1 + number for number in range(12) for _ in range(number + 1)]
    finding = shape(names=[f"c{number}" for number in range(13)], train=labels)["rare_classes train"]
    assert finding.message.startswith("12 of 13 classes are rare: rows of 'c1' 1, 'c2' 2, ")
    assert finding.message.endswith("'c10' 10, ...")
    assert finding.rows == sum(range(1, 13))


def test_drift_of_one_label_among_several_is_found_and_named() -> None:
    train = [[1.0, float(row % 2), 0.0] for row in range(400)]
    alike = {f"{name} {split}" for name in ("label_drift",) for split in ("train/validation",)}
    found = shape(
        MULTI, train=train, validation=train[:100], test=[[1.0, float(row % 5 == 0), 0.0] for row in range(200)]
    )
    assert not alike & set(found)
    drift = found["label_drift train/test"]
    assert drift.message == "classes are not spread alike: 'good' is 50.0% of train and 20.0% of test"
    assert drift.measures["apart"] == pytest.approx(0.3)
    assert drift.measures["p"] < 1e-6


def test_many_labels_are_not_alarming_by_their_number() -> None:
    generator = np.random.default_rng(0)
    names = [f"label {number}" for number in range(200)]
    train, test = (generator.random((rows, 200)) < 0.3 for rows in (1000, 150))
    assert not [name for name in shape(MULTI, names, train=train.tolist(), test=test.tolist()) if "drift" in name]


def test_targets_of_a_million_rows_that_hardly_differ_are_no_alarm() -> None:
    generator = np.random.default_rng(0)
    train, test = generator.normal(size=100_000), generator.normal(0.05, 1, size=100_000)
    assert shape(REGRESSION, [], train=train.tolist(), test=test.tolist()) == {}
    drift = shape(REGRESSION, [], train=train.tolist(), test=(test + 0.5).tolist())["label_drift train/test"]
    assert drift.severity == "warning"
    assert drift.measures["distance"] == pytest.approx(0.217, abs=0.02)  # 2 * Phi(.55 / 2) - 1


def test_a_table_in_order_gives_no_finding() -> None:
    assert shape(train=[0, 1, 2] * 300, validation=[0, 1, 2] * 30, test=[0, 1, 2] * 30) == {}
