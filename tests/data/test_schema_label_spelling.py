"""Classes that differ in spelling alone: warned of, found by the data check, and merged by a flag."""

from __future__ import annotations

import pytest

from nlp_ft.config import DataArguments
from nlp_ft.data import Table, encode_labels, load_data, read_rows
from nlp_ft.data.checks.label_spelling import spelling
from nlp_ft.data.checks.run_checks import checked_of
from nlp_ft.data.schema.label_spelling import spelling_groups
from nlp_ft.errors import DataError

CASES = ["Good", "bad", "good", "Bad", "GOOD ", "bad", "good"]


def frame(labels: list[str]) -> dict[str, list[dict[str, str]]]:
    return {"train": [{"text": f"a text number {n}", "label": label} for n, label in enumerate(labels)]}


@pytest.mark.parametrize(
    "group",
    [
        ["Good", "good", "GOOD"],
        ["very good", "very_good", "VeryGood", "very-good", "very  good"],
        ["good", "good.", "good!", '"good"'],
        ["caf\u00e9", "cafe\u0301"],
        ["full", "ｆｕｌｌ"],
        ["1", "01"],
        ["don't know", "don\u2019t know"],
        ["stra\u00dfe", "STRASSE"],
        ["grade-1", "grade 1"],
    ],
)
def test_spellings_of_one_name_are_a_group(group: list[str]) -> None:
    assert spelling_groups(["other", *group, "another"]) == [group]


@pytest.mark.parametrize(
    "names",
    [["C", "C++", "C#"], ["A", "A-", "A+"], ["1", "-1", "1.5", "15"], [":)", ":("], ["1-2", "12"], ["cafe", "café"]],
)
def test_names_that_signs_tell_apart_are_no_group(names: list[str]) -> None:
    assert spelling_groups(names) == []


def test_training_warns_of_spellings_with_the_flag() -> None:
    notes = load_data(DataArguments(), frames=frame(CASES * 10)).notes
    assert (
        'warning: the labels "Bad" and "bad"; "GOOD" and "Good" and "good" differ in case, spaces, punctuation or Unicode form '
        "alone, and are a class each; --merge_label_spellings takes them for one"
    ) in notes


def test_the_flag_merges_into_the_most_frequent_spelling_in_every_split() -> None:
    frames = frame(CASES) | {"test": [{"text": "new one", "label": "BAD"}, {"text": "new two", "label": "good"}]}
    rows = read_rows(DataArguments(merge_label_spellings=True), frames)
    assert rows.labels == ["bad", "good"]
    assert rows.rows["train"].labels == [1, 0, 1, 0, 1, 0, 1]
    assert rows.rows["test"].labels == [0, 1]
    assert not any("warning" in note for note in rows.notes)


def test_merged_spellings_of_one_row_are_one_label() -> None:
    frames = {"train": [{"text": f"t {n}", "label": cell} for n, cell in enumerate([["A", "a"], ["b"], ["a", "b"]])]}
    rows = read_rows(DataArguments(merge_label_spellings=True), frames)
    assert rows.labels == ["a", "b"]
    assert rows.rows["train"].labels == [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]


def test_a_spelling_that_a_model_does_not_know_is_refused_with_the_flag() -> None:
    table = Table("a.csv", {"y": ["Good", "bad"]})
    with pytest.raises(DataError) as caught:
        encode_labels(table, "y", ["bad", "good"], "single_label_classification")
    assert str(caught.value) == (
        "a.csv, row 1: label 'Good' (1 row) is unknown; the labels trained on are bad, good; correct it "
        "(--merge_label_spellings takes it for 'good'), or add such rows to the training file."
    )
    known = encode_labels(table, "y", ["bad", "good"], "single_label_classification", merge_spellings=True)
    assert known == [1, 0]


def test_the_data_check_finds_each_group_with_its_rows() -> None:
    findings = spelling(checked_of(read_rows(DataArguments(), frame(CASES))))
    assert [(found.check, found.severity, found.rows, found.of) for found in findings] == [
        ("label_spelling", "warning", 3, 7),
        ("label_spelling", "warning", 4, 7),
    ]
    assert findings[0].message == (
        "classes that differ in case, spaces, punctuation or Unicode form alone: rows of 'Bad' 1, 'bad' 2"
    )
    assert "--merge_label_spellings" in findings[0].advice
    assert findings[0].indices == {"train": [1, 3, 5]}
    assert spelling(checked_of(read_rows(DataArguments(merge_label_spellings=True), frame(CASES)))) == []
