"""Columns that are no labels beside those that are: flags, ids, links, slots, and rows that stand where names should."""

from __future__ import annotations

from typing import Any

import pytest

from nlp_ft.data.readers.table import Table
from nlp_ft.data.schema.columns import Columns, find_columns
from nlp_ft.errors import DataError

LONG = [
    "a text that is rather long",
    "another text of some length",
    "a third one, about as long",
    "and the last of them",
]
A, B, C = ["1", "0", "0", "1"], ["0", "1", "0", "1"], ["0", "0", "1", "1"]


def find(columns: dict[str, list[Any]], lines: range | None = None, **flags: Any) -> Columns:
    table = Table("a.csv", dict(columns), lines)
    return find_columns(
        table, flags.get("text"), flags.get("pair"), flags.get("label"), labelled=flags.get("labelled", True)
    )


def refusal(columns: dict[str, list[Any]], lines: range | None = None, **flags: Any) -> str:
    with pytest.raises(DataError) as caught:
        find(columns, lines, **flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("marks", "joy", "why"),
    [
        (["True", "False", "False", "True"], A, "True and False, where the others hold 0 and 1"),
        ([True, False, False, True], [1, 0, 0, 1], "True and False, where the others hold 0 and 1"),
        (A, ["1.0", "0.0", "0.0", "1.0"], "0 and 1, where the others hold 0.0 and 1.0"),
        (A, ["True", "False", "False", "True"], "0 and 1, where the others hold True and False"),
    ],
)
def test_a_flag_column_that_is_written_otherwise_is_asked_about(marks: list[Any], joy: list[Any], why: str) -> None:
    columns = {
        "id": list("abcd"),
        "text": LONG,
        "marked": marks,
        "joy": joy,
        "anger": joy[::-1][1:] + joy[:1],
        "fear": joy[::-1],
    }
    assert refusal(columns) == (
        f"a.csv: column 'marked' ({why}) may not be a class; say which columns are, with "
        "--label_column_name joy,anger,fear or --label_column_name marked,joy,anger,fear."
    )
    assert find(columns, label="joy,anger,fear").labels == ("joy", "anger", "fear")
    assert find(columns, label="marked,joy,anger,fear").labels == ("marked", "joy", "anger", "fear")


@pytest.mark.parametrize("mark", ["is_train", "verified", "split", "has_url", "fold", "is_test", "row_checked"])
def test_a_column_whose_name_is_no_class_is_asked_about(mark: str) -> None:
    assert refusal({"text": LONG, "joy": A, "anger": B, mark: C}) == (
        f"a.csv: column '{mark}' (named unlike the others) may not be a class; say which columns are, with "
        f"--label_column_name joy,anger or --label_column_name joy,anger,{mark}."
    )


def test_of_columns_that_all_ask_the_one_that_speaks_of_the_row_is_asked_about() -> None:
    assert "column 'is_verified' (named unlike the others)" in refusal({"text": LONG, "is_spam": A, "is_verified": B})


def test_the_columns_of_a_published_file_with_votes_and_authors_are_named_without_its_flag() -> None:
    emotions = dict.fromkeys(("joy", "anger", "fear"), A)
    unclear = {"unclear": ["True", "False", "False", "False"]}
    columns = {"text": LONG, "author": ["x", "x", "y", "y"], "subreddit": ["u", "v", "u", "v"], **unclear, **emotions}
    assert refusal(columns).endswith("; several of 0 and 1 are named as in --label_column_name joy,anger,fear.")


def test_a_constant_column_among_classes_is_asked_about() -> None:
    assert refusal({"text": LONG, "joy": A, "gold": ["1"] * 4, "anger": B}) == (
        "a.csv: column 'gold' (the same in every row) may not be a class; say which columns are, with "
        "--label_column_name joy,anger or --label_column_name joy,gold,anger."
    )


def test_columns_that_are_all_alike_are_classes_and_it_is_said_with_the_flag() -> None:
    found = find({"text": LONG, "is_rude": A, "is_threat": B})
    assert found.labels == ("is_rude", "is_threat")
    assert found.notes[-1] == (
        "label columns: is_rude, is_threat, a class each (the columns left hold 0 and 1; --label_column_name names others; 1 "
        "where it applies)"
    )


def test_an_id_column_is_no_class() -> None:
    ids = ["17", "23", "5", "99"]
    for name in ("id", "comment_id", "Unnamed: 0", "uuid"):
        assert find({name: ids, "text": LONG, "joy": A, "anger": B}).labels == ("joy", "anger")
    assert find({"text": LONG, "topic_id": ["1", "2", "1", "2"]}).labels == ("topic_id",)


def test_several_columns_of_zeros_and_ones_beside_another_are_named_in_the_question() -> None:
    columns = {"text": LONG, "split": ["x", "x", "y", "y"], "joy": A, "anger": B}
    assert refusal(columns) == (
        "a.csv: no column is called label, and 'split' and 'joy' and 'anger' could all be labels; name it with "
        "--label_column_name (its columns are text, split, joy, anger); several of 0 and 1 are named as in "
        "--label_column_name joy,anger."
    )


INTENTS = [["greet", "loan"], ["card", "greet"], ["loan"], ["card", "loan"]]
SLOTS = [None, {"when": {"text": "day 1", "span": [0, 3]}}, {"when": {"text": "day 2", "span": [0, 3]}}, None]


def test_of_two_nested_columns_the_one_of_names_is_taken_and_it_is_said() -> None:
    for columns in ({"intents": INTENTS, "slots": SLOTS}, {"slots": SLOTS, "intents": INTENTS}):
        found = find({"text": LONG, **columns})
        assert found.labels == ("intents",)
        assert found.notes[-1].startswith(
            'label column: "intents" (the only column left that can hold labels; --label_column_name names another;'
        )


@pytest.mark.parametrize(
    "other",
    [
        [[0.1, 0.2], [0.3, 0.4], [0.1, 0.2], [0.5, 0.6]],
        [[{"start": 0}], [], [{"start": 2}], []],
        [{"a": "x"}, {"a": "y"}, {"a": "x"}, {"a": "y"}],
    ],
)
def test_embeddings_spans_and_objects_are_no_labels(other: list[Any]) -> None:
    assert find({"text": LONG, "other": other, "intents": INTENTS}).labels == ("intents",)


def test_two_columns_of_names_are_both_named_in_the_question() -> None:
    columns = {"text": LONG * 3, "intents": INTENTS * 3, "slots": [["time"], ["place"], [], ["time"]] * 3}
    assert refusal(columns) == (
        "a.csv: no column is called label, and 'intents' and 'slots' could all be labels; name it with --label_column_name "
        "(its columns are text, intents, slots)."
    )


def test_joined_names_recur_by_the_names_and_not_by_their_combinations() -> None:
    letters = "abcdefghijklmnop"
    cells = [*letters, *(f"{one},{other}" for one in letters for other in letters if one < other)]
    columns = {"text": [f"text number {n}" for n in range(len(cells))], "tags": cells, "n": list(range(len(cells)))}
    assert find(columns).labels == ("tags",)


def test_a_first_line_that_is_a_row_is_refused_with_the_flag_that_names_the_columns() -> None:
    columns = {"1": ["0", "1", "0", "1"], "what a long film this was": LONG}
    assert refusal(columns) == (
        "a.csv: the first line (1, what a long film this was) looks like a row: '1' is also a label below it; if there is no "
        "header, name the columns, as in --column_names label,text, and if it is one, the label column with "
        "--label_column_name."
    )
    three = {"7": ["8", "9", "10", "11"], "good": ["bad", "good", "bad", "good"], "what a long film this was": LONG}
    assert "looks like a row: 'good' is also a label below it" in refusal(three)
    assert "--column_names column1,label,text" in refusal(three)
    assert find(columns, label="1").labels == ("1",)


def test_a_first_line_with_a_number_for_a_name_is_a_row() -> None:
    columns = {"what a long film this was": LONG, "0.75": ["0.5", "0.25", "1.0", "0.0"]}
    assert "looks like a row: '0.75' is a number" in refusal(columns, range(2, 6))
    assert find(columns).labels == ("0.75",)  # of a data frame
    assert find({"0": LONG, "1": ["a", "b", "a", "b"]}, range(2, 6)).labels == ("1",)  # as pandas names columns


def test_classes_named_by_numbers_are_no_first_row() -> None:
    assert find({"text": LONG, "0": A, "1": B, "2": C}, range(2, 6)).labels == ("0", "1", "2")
    assert find({"text": LONG, "2023": A}, range(2, 6), labelled=False).texts == ("text",)


def test_links_and_codes_are_no_texts_beside_sentences() -> None:
    links = [f"https://example.org/articles/2024/05/a-very-long-address-indeed-{n}" for n in range(4)]
    label = ["a", "b", "a", "b"]
    found = find({"url": links, "headline": LONG, "label": label})
    assert found.texts == ("headline",)
    assert found.notes[0] == 'text column: "headline" (the only column of sentences; --text_column_names names another)'
    assert find({"content": links, "headline": LONG, "label": label}).texts == ("headline",)
    words = find({"text": ["cat", "dog", "owl", "ant"], "definition": LONG, "label": label})
    assert words.texts == ("text",)
    assert "--text_column_names definition takes the longer" in words.notes[0]
    assert find({"text": ["a", "b", "c", "d"], "code": ["x1", "x2", "x3", "x4"], "label": label}).texts == ("text",)


def test_a_longer_column_beside_the_one_found_by_name_is_said_with_the_flag() -> None:
    columns = {"comment": LONG, "article": [3 * text for text in LONG], "label": ["a", "b", "a", "b"]}
    found = find(columns)
    assert found.texts == ("comment",)
    assert found.notes[0] == (
        'text column: "comment" (by its name; --text_column_names article takes the longer "article")'
    )


def test_the_longest_of_two_columns_of_sentences_is_said_with_the_flag() -> None:
    columns = {"title": ["a b", "c d", "e f", "g h"], "story": LONG, "label": ["a", "b", "a", "b"]}
    assert find(columns).notes[0] == (
        'text column: "story" (the longest strings, 25 characters on average; --text_column_names names another)'
    )
