"""Columns: what the flags name, else what names and values show, always with the reason."""

from __future__ import annotations

import pytest

from nlp_ft.data.readers.table import Table
from nlp_ft.data.rows import texts_of
from nlp_ft.data.schema.columns import find_columns, with_label
from nlp_ft.errors import DataError

LONG = [
    "a text that is rather long",
    "another text of some length",
    "a third one, about as long",
    "and the last of them",
]


def find(columns: dict[str, list], text: str | None = None, pair: str | None = None, label: str | None = None) -> tuple:
    found = find_columns(Table("a.csv", dict(columns)), text, pair, label)
    return found.texts[0], found.text_pair, found.label, found.notes


def test_columns_are_found_by_their_names_and_the_reason_is_said() -> None:
    assert find({"text": LONG, "score": ["1", "2", "3", "4"], "label": ["a", "b", "a", "b"]}) == (
        "text",
        None,
        "label",
        ['text column: "text" (by its name)', 'label column: "label" (by its name; 2 distinct values in 4 rows)'],
    )
    assert find({"Label": ["a", "b", "a", "b"], "Sentence": LONG})[:3] == ("Sentence", None, "Label")


def test_columns_without_telling_names_are_found_by_their_values() -> None:
    columns = {"": ["0", "1", "2", "3"], "id": ["9", "8", "7", "6"], "what": LONG, "who": ["x", "yy", "z", "w"]}
    text, pair, label, notes = find({**columns, "mood": ["a", "b", "a", "b"]})
    assert (text, pair, label) == ("what", None, "mood")
    assert notes == [
        'text column: "what" (the only column of sentences; --text_column_names names another)',
        'label column: "mood" (the only column whose values recur; --label_column_name names another; 2 distinct values '
        "in 4 rows)",
    ]
    assert find({"what": LONG, "mood": ["a", "b", "c", "d"]})[3][1] == (
        'label column: "mood" (the only column left; --label_column_name names another; 4 distinct values in 4 rows)'
    )


def test_sentence_pairs_are_found_by_name_or_taken_from_two_names() -> None:
    columns = {"premise": LONG, "hypothesis": LONG[::-1], "label": ["a", "b", "a", "b"]}
    text, pair, label, notes = find(columns)
    assert (text, pair, label) == ("premise", "hypothesis", "label")
    assert (
        notes[0]
        == 'text columns: "premise" and "hypothesis" as a sentence pair (by their names; --text_column_names names others)'
    )
    assert find(columns, text="premise")[:2] == ("premise", None)
    assert find(columns, text="hypothesis", pair="premise")[:2] == ("hypothesis", "premise")
    text, pair, _, notes = find(columns, text="hypothesis, premise")
    assert (text, pair) == ("hypothesis", "premise")
    assert notes[0] == (
        'text columns: "hypothesis" and "premise" as a sentence pair (two names in --text_column_names; '
        "--text_column_delimiter joins them instead)"
    )


def test_a_column_whose_name_holds_a_comma_is_one_column() -> None:
    assert find({"a,b": LONG, "label": ["a", "b", "a", "b"]}, text="a,b")[:2] == ("a,b", None)


FLAGS = {"text": "--text_column_names", "pair": "--text_pair_column_name", "label": "--label_column_name"}


@pytest.mark.parametrize("which", FLAGS)
def test_a_column_that_does_not_exist_is_named_with_its_flag_and_the_nearest_one(which: str) -> None:
    columns = {"sentence": LONG, "other": LONG, "sentiment": ["a", "b", "a", "b"]}
    with pytest.raises(DataError) as caught:
        find(columns, **{"text": "sentence", which: "sentimant"})
    assert str(caught.value) == (
        f"a.csv has no column 'sentimant' ({FLAGS[which]}); its columns are sentence, other, sentiment. "
        "Did you mean 'sentiment'?"
    )


def test_what_cannot_be_told_apart_is_asked_for() -> None:
    numbers = ["1", "2", "3", "4"]
    refusals = [
        (
            {"one": LONG, "two": LONG[::-1], "label": numbers},
            "a.csv: columns 'one' and 'two' hold texts of like length; name the one to classify with "
            "--text_column_names (its columns are one, two, label).",
        ),
        (
            {"text": LONG, "mood": ["a", "b"] * 2, "topic": ["c", "d"] * 2},
            "a.csv: no column is called label, and 'mood' and 'topic' could all be labels; name it with "
            "--label_column_name (its columns are text, mood, topic).",
        ),
        (
            {"text": LONG, "one": LONG, "two": numbers},
            "a.csv: no column is called label, and none looks like labels; name it with --label_column_name "
            "(its columns are text, one, two).",
        ),
        (
            {"one": [1, 2], "label": ["a", "b"]},
            "a.csv: no column holds texts; its columns are one, label. Name one with --text_column_names.",
        ),
    ]
    for columns, message in refusals:
        with pytest.raises(DataError) as caught:
            find(columns)
        assert str(caught.value) == message


def test_a_first_row_that_was_taken_for_a_header_is_noticed_unless_the_column_is_named() -> None:
    columns = {"what a film": LONG, "good": ["bad", "good", "bad", "bad"]}
    with pytest.raises(DataError) as caught:
        find(columns)
    assert str(caught.value) == (
        "a.csv: the first line (what a film, good) looks like a row: 'good' is also a label below it; if there is no header, "
        "name the columns, as in --column_names text,label, and if it is one, the label column with --label_column_name."
    )
    assert find(columns, label="good")[2] == "good"


def test_flags_that_contradict_each_other_are_refused() -> None:
    columns = {"a": LONG, "b": LONG, "c": LONG, "label": ["a", "b"] * 2}
    with pytest.raises(DataError, match=r"column 'a' is both text \(--text_column_names\) and pair"):
        find(columns, text="a", pair="a")
    with pytest.raises(DataError, match=r"column 'a' is both text \(--text_column_names\) and label"):
        find(columns, text="a", label="a")


def test_without_labels_a_single_column_is_the_text() -> None:
    found = find_columns(Table("a.csv", {"whatever": ["x", "y"]}), None, None, None, labelled=False)
    assert (found.texts, found.labels) == (("whatever",), ())


def test_text_columns_are_joined_where_there_are_three_or_a_delimiter_is_given() -> None:
    table = Table("a.csv", {"title": ["A", "B"], "lead": ["c", "d"], "body": ["e", "f"], "label": ["x", "y"]})
    three = find_columns(table, "title,lead,body", None, None)
    assert list(texts_of(table, three)[0]) == ["A c e", "B d f"]
    assert three.notes[0] == 'text columns: "title" + "lead" + "body" joined by \' \' (3 names in --text_column_names)'
    two = find_columns(table, "title, body", None, None, delimiter=" | ")
    assert texts_of(table, two) == (["A | e", "B | f"], None)
    paired = find_columns(table, "title,lead", "body", None)
    assert texts_of(table, paired) == (["A c", "B d"], ["e", "f"])


@pytest.mark.parametrize("named", ["toxic,insult,threat", None])
@pytest.mark.parametrize("on_off", [("1", "0"), (1, 0), (True, False), ("1.0", "0.0")])
def test_columns_of_zeros_and_ones_are_a_class_each(named: str | None, on_off: tuple) -> None:
    on, off = on_off
    table = Table(
        "a.csv", {"text": LONG[:3], "toxic": [on, off, on], "insult": [off, off, on], "threat": [on, off, off]}
    )
    columns = find_columns(table, "text", None, named)
    assert columns.labels == ("toxic", "insult", "threat")
    made = with_label(table, columns)
    assert list(made.columns[columns.label]) == [[0, 2], [], [0, 1]]
    assert made.class_names[columns.label] == ["toxic", "insult", "threat"]


def test_a_class_column_that_holds_something_else_is_refused_with_its_place() -> None:
    table = Table("a.csv", {"text": LONG[:2], "toxic": ["1", "0"], "insult": ["0", "maybe"]}, [2, 3])
    with pytest.raises(DataError) as caught:
        with_label(table, find_columns(table, "text", None, "toxic,insult"))
    assert str(caught.value) == (
        "a.csv:3: column 'insult' holds 'maybe'; a column that is a class holds 1 where it applies, else 0."
    )
