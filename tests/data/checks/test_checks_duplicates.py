"""Exact duplicates: what is equal, what conflicts, what leaks, and what is dropped."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from nlp_ft.data.checks.duplicate_keys import KeyedRows
from nlp_ft.data.checks.duplicates import exact
from nlp_ft.data.checks.finding import Checked, Example, Finding, Split

Rows = Sequence[tuple[Any, ...]]
SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


def leaks(checked: Checked) -> list[Finding]:
    return [finding for finding in exact(checked) if finding.check == "leak"]


def split(name: str, rows: Rows) -> Split:
    """Rows of (text, label) or (text, pair, label); the first stands in line 2."""
    pairs = [row[1] for row in rows] if rows and len(rows[0]) == 3 else None
    return Split(name, [row[0] for row in rows], pairs, [row[-1] for row in rows], lambda row: f"{name}.csv:{row + 2}")


def check(problem: str = SINGLE, **splits: Rows) -> Checked:
    labels = [] if problem == REGRESSION else ["bad", "good"]
    return Checked({name: split(name, rows) for name, rows in splits.items()}, problem, labels)


def named(findings: list[Finding], check: str) -> list[Finding]:
    return [finding for finding in findings if finding.check == check]


def test_texts_that_differ_in_case_and_white_space_are_one_and_the_first_is_kept() -> None:
    rows = [("A good film", 1), ("other", 0), (" a  GOOD\tfilm\n", 1), ("another", 1), ("a good film", 1)]
    assert exact(check(train=rows)) == [
        Finding(
            check="exact_duplicates",
            severity="warning",
            split="train",
            rows=2,
            of=5,
            message="the text and label of an earlier row, equal but for case and white space",
            advice="keep the first of each; a text that counts twice weighs twice in training and in every metric.",
            examples=[
                Example("train.csv:4", "a GOOD film", "good", "= train.csv:2"),
                Example("train.csv:6", "a good film", "good", "= train.csv:2"),
            ],
            indices={"train": [2, 4]},
            drop={"train": [2, 4]},
            measures={"texts": 1},
        )
    ]


def test_a_table_without_duplicates_has_no_findings() -> None:
    assert exact(check(train=[("a", 0), ("b", 1)], validation=[("c", 0)], test=[("a b", 1)])) == []


def test_duplicates_of_each_split_are_a_finding_of_its_own() -> None:
    found = exact(check(train=[("a", 0), ("b", 0), ("b", 0)], test=[("c", 1), ("c", 1), ("c", 1)]))
    assert [(one.split, one.rows, one.of, one.drop) for one in found] == [
        ("train", 1, 3, {"train": [2]}),
        ("test", 2, 3, {"test": [1, 2]}),
    ]


def test_pairs_are_equal_only_if_both_texts_are() -> None:
    rows = [("same", "one", 0), ("same", "two", 0), ("Same", "ONE", 0), ("sam", "e one", 0)]
    (found,) = exact(check(train=rows))
    assert found.indices == {"train": [2]}
    assert found.examples == [Example("train.csv:4", "Same | ONE", "bad", "= train.csv:2")]


def test_blank_texts_are_no_duplicates() -> None:
    assert exact(check(train=[("", 0), (" ", 1), ("\n", 0)], test=[("", 0)])) == []
    assert exact(check(train=[("", " ", 0), ("\t", "", 1)], test=[("", "", 0)])) == []


def test_a_text_with_two_labels_is_a_conflict_and_no_duplicate() -> None:
    rows = [("film", 0), ("x", 1), ("FILM", 1), ("film", 1)]
    assert exact(check(train=rows)) == [
        Finding(
            check="conflicting_labels",
            severity="error",
            split="train",
            rows=3,
            of=4,
            message="the same text with different labels (3 rows of train)",
            advice="decide which label is right; the table does not tell, so --fix drops every row of a conflict within train "
            "and leaves validation and test as they are.",
            examples=[Example("train.csv:2", "film", "bad", "good at train.csv:4")],
            indices={"train": [0, 2, 3]},
            drop={"train": [0, 2, 3]},
            measures={"texts": 1},
        )
    ]


def test_conflicts_across_splits_drop_nothing_but_the_leak() -> None:
    checked = check(train=[("a", 0), ("b", 1)], validation=[("c", 1), ("c", 0)], test=[("A", 1)])
    conflict, leak = exact(checked)
    assert (conflict.split, conflict.rows, conflict.of, conflict.drop) == ("train/validation/test", 1, 2, {})
    assert (
        conflict.message == "the same text with different labels (1 row of train, 2 rows of validation, 1 row of test)"
    )
    assert conflict.indices == {"train": [0], "validation": [0, 1], "test": [0]}
    assert [(one.where, one.label, one.note) for one in conflict.examples] == [
        ("train.csv:2", "bad", "good at test.csv:2"),
        ("validation.csv:2", "good", "bad at validation.csv:3"),
    ]
    assert (leak.check, leak.drop) == ("leak", {"train": [0]})


def test_sets_of_labels_conflict_as_a_whole() -> None:
    found = exact(check(MULTI, train=[("a", [1.0, 0.0]), ("a", [1, 0]), ("b", [1.0, 0.0]), ("b", [1.0, 1.0])]))
    assert [(one.check, one.indices) for one in found] == [
        ("conflicting_labels", {"train": [2, 3]}),
        ("exact_duplicates", {"train": [1]}),
    ]
    assert found[0].examples[0].note == "bad;good at train.csv:5"


@pytest.mark.parametrize(("other", "conflict"), [(1.09, False), (1.11, True)])
def test_targets_conflict_from_a_tenth_of_the_standard_deviation_of_train(other: float, conflict: bool) -> None:
    rows = [("a", 1.0), ("b", 3.0), ("c", 1.0), ("d", 3.0)]  # standard deviation 1
    found = exact(check(REGRESSION, train=rows, test=[("x", 1.0), ("x", 1.05), ("x", other)]))
    assert [one.check for one in found] == ["conflicting_labels" if conflict else "exact_duplicates"]
    if conflict:
        assert found[0].examples[0].note == "1.11 at test.csv:4"
        assert found[0].drop == {}


def test_a_test_text_in_train_is_a_leak_and_the_copies_in_train_are_dropped() -> None:
    checked = check(
        train=[("a", 0), ("LEAKED  text", 1), ("b", 0), ("leaked text", 1)],
        test=[("c", 1), ("leaked text", 1), ("Leaked Text", 1), ("d", 0)],
    )
    assert leaks(checked) == [
        Finding(
            check="leak",
            severity="error",
            split="train/test",
            rows=2,
            of=4,
            message="2 of 4 texts of test (50.0%) are in train too",
            advice="take them out of train; figures on texts that the model was trained on are too good.",
            examples=[
                Example("test.csv:3", "leaked text", "good", "= train.csv:3"),
                Example("test.csv:4", "Leaked Text", "good", "= train.csv:3"),
            ],
            indices={"train": [1, 3], "test": [1, 2]},
            drop={"train": [1, 3]},
            measures={"texts": 1, "test_rows": 2, "test_share": 0.5},
        )
    ]


def test_leaks_between_other_splits_are_warnings_and_test_is_never_touched() -> None:
    found = leaks(check(train=[("a", 0)], test=[("v", 1)], validation=[("A", 0), ("V", 1)]))
    assert [(one.split, one.severity, one.drop) for one in found] == [
        ("train/validation", "warning", {"train": [0]}),
        ("validation/test", "warning", {"validation": [1]}),
    ]
    assert found[1].advice == "take them out of validation; figures on texts that the model was chosen on are too good."


def test_leaks_are_the_leak_findings_of_the_whole_check() -> None:
    rng = random.Random(3)
    splits = {
        name: [(f"text {rng.randrange(200)}", rng.randrange(2)) for _ in range(rows)]
        for name, rows in (("train", 150), ("validation", 40), ("test", 40))
    }
    checked = check(SINGLE, **splits)
    found = leaks(checked)
    assert found == named(exact(checked), "leak")
    texts = {name: {text for text, _ in rows} for name, rows in splits.items()}
    assert len(texts["train"] & texts["test"]) > 10
    for one, (earlier, later) in zip(
        found, [("train", "test"), ("train", "validation"), ("validation", "test")], strict=True
    ):
        assert one.indices[later] == [row for row, (text, _) in enumerate(splits[later]) if text in texts[earlier]]
        assert one.drop[earlier] == [row for row, (text, _) in enumerate(splits[earlier]) if text in texts[later]]


def test_after_the_drops_nothing_but_conflicts_of_held_out_rows_is_found() -> None:
    rng = random.Random(5)
    splits = {
        name: [(f"text {rng.randrange(90)}", rng.randrange(2)) for _ in range(60)]
        for name in ("train", "validation", "test")
    }
    dropped: dict[str, set[int]] = {name: set() for name in splits}
    for finding in exact(check(SINGLE, **splits)):
        for name, rows in finding.drop.items():
            dropped[name] |= set(rows)
    assert all(dropped.values())
    kept = {name: [row for at, row in enumerate(rows) if at not in dropped[name]] for name, rows in splits.items()}
    (left,) = exact(check(SINGLE, **kept))
    assert (left.check, left.drop) == ("conflicting_labels", {})


def test_keys_that_collide_are_told_apart_by_their_texts() -> None:
    one = split("train", [("a", 0), ("b", 0), ("a", 1)])
    rows = KeyedRows([one], [0], np.full(3, 7, np.uint64))
    assert list(rows.equal()) == [{"train": [0, 2]}]


class OnDisk(Sequence[str]):
    """A column that counts how often it is read through, and gives rows by number alone."""

    def __init__(self, texts: list[str]) -> None:
        self.texts, self.readings = texts, 0

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, row: Any) -> Any:
        assert type(row) is int
        return self.texts[row]

    def __iter__(self) -> Iterator[str]:
        self.readings += 1
        return iter(self.texts)


def test_columns_are_read_through_once_and_then_by_row_number() -> None:
    column = OnDisk(["a", "b", "A"])
    train = Split("train", column, None, [0, 0, 0], lambda row: str(row))
    (found,) = exact(Checked({"train": train}, SINGLE, ["bad"]))
    assert (found.indices, column.readings) == ({"train": [2]}, 1)


def test_lone_surrogates_are_texts_like_others() -> None:
    (found,) = exact(check(train=[("\ud83d x", 0), ("x", 0), ("\ud83d  X", 0)]))
    assert found.indices == {"train": [2]}
