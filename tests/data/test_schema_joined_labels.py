"""Several names in one cell: joined strings, lists in strings, vectors, objects; and names that hold a delimiter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nlp_ft.config import DataArguments
from nlp_ft.data import Table, encode_labels, load_labelled, read_rows
from nlp_ft.data.schema.encode_labels import class_names, targets
from nlp_ft.data.schema.joined_labels import find_delimiter
from nlp_ft.data.schema.label_cells import faulty_labels, read_label_column
from nlp_ft.data.schema.problem_type import MULTI, SINGLE, find_problem
from nlp_ft.errors import ConfigError, DataError


def read(cells: list[Any], given: str | None = None, delimiter: str | None = None) -> tuple[str, list[str], list[Any]]:
    """(problem, class names, targets) of a label column."""
    column = read_label_column(Table("a.csv", {"y": cells}), "y", given, delimiter)
    problem = find_problem(column, given, delimiter)
    found = targets(column, problem.kind, problem.delimiter)
    return problem.kind, class_names(column, found, problem.kind), found


def notes(cells: list[Any]) -> list[str]:
    return read_label_column(Table("a.csv", {"y": cells}), "y").notes


def reason(cells: list[Any], given: str | None = None) -> str:
    return find_problem(read_label_column(Table("a.csv", {"y": cells}), "y"), given).reason


@pytest.mark.parametrize("delimiter", [";", "||", "|", "\n", ",", "、", "，", "；", "/", "+", " & "])
def test_names_that_recombine_are_several_labels(delimiter: str) -> None:
    cells = ["food", delimiter.join(["food", "price"]), delimiter.join(["price", "staff"]), "staff"]
    assert read(cells) == (
        MULTI,
        ["food", "price", "staff"],
        [["food"], ["food", "price"], ["price", "staff"], ["staff"]],
    )
    assert read(cells, SINGLE)[0] == SINGLE
    assert len(read(cells, SINGLE)[1]) == 4


def test_a_delimiter_at_the_ends_is_no_name() -> None:
    assert read(["|a|b|", "|b|", "|a|"])[2] == [["a", "b"], ["b"], ["a"]]
    assert read(["a,b,", "b,", "a,"])[2] == [["a", "b"], ["b"], ["a"]]


def test_tags_are_several_labels() -> None:
    assert read(["<python><pandas>", "<c++>"])[:2] == (MULTI, ["c++", "pandas", "python"])
    assert read(["<b>", "<i>"])[1] == ["<b>", "<i>"]


def test_the_delimiter_is_said_with_the_flag_that_overrules() -> None:
    assert reason(["a,b", "a", "b"]) == '"y" holds names joined by "," that recombine (--problem_type overrides)'
    assert (
        reason(["a\nb", "a", "b"]) == '"y" holds names joined by line feeds that recombine (--problem_type overrides)'
    )
    assert reason(["food,price", "staff"], MULTI) == (
        'given by --problem_type; its names are joined by "," (--label_delimiter overrides)'
    )


@pytest.mark.parametrize(
    "cells",
    [
        ["Washington, DC", "Portland, OR", "Portland, ME", "Salem, OR", "Bangor, ME"],
        ["Business, Finance", "Sports", "Arts, Entertainment", "Entertainment"],
        ["Smith, John", "Smith, Anna", "Jones, John", "Jones, Anna"],
        ["Sports", "Sports/Tennis", "Sports/Golf", "Arts", "Arts/Music"],
        ["atheism/favor", "atheism/against", "climate/favor", "climate/against"],
        ["Toys & Games", "Movies & TV", "Books", "Home & Kitchen"],
        ["yes", "yes, with reservations", "no", "no, with reservations"],
        ["A+", "A", "B+", "B", "C++"],
        ["R&B", "Rock", "Q&A"],
        ["yes", "no", "yes/no"],
        ["4/5", "3/5", "5/5", "8/10", "10/10"],
        ["en/fr", "fr/en", "de/fr", "de/en"],
        ["very good", "good", "very bad", "bad"],
        ["non-toxic", "toxic", "semi-toxic"],
        ["Payday loan", "Payday loan, title loan, or personal loan", "Mortgage"],
    ],
)
def test_names_that_hold_a_delimiter_stay_whole(cells: list[str]) -> None:
    assert find_delimiter(cells) is None
    assert read(cells * 2)[:2] == (SINGLE, sorted(cells))


def test_problem_type_and_label_delimiter_split_what_does_not_recombine() -> None:
    assert read(["food,price", "staff"], MULTI)[2] == [["food", "price"], ["staff"]]
    assert read(["food|price", "staff"], MULTI)[2] == [["food", "price"], ["staff"]]
    assert read(["good / cheap", "bad"], MULTI)[2] == [["good / cheap"], ["bad"]]
    assert read(["good / cheap", "bad"], None, "/")[2] == [["cheap", "good"], ["bad"]]
    assert read(["python pandas", "pandas", ""], None, " ")[2] == [["pandas", "python"], ["pandas"], []]
    reason_given = find_problem(read_label_column(Table("a.csv", {"y": ["a", "b"]}), "y"), delimiter="|").reason
    assert reason_given == "--label_delimiter '|' is given, though no cell holds it"
    assert read(["1,2", "2"], None, ",")[:2] == (MULTI, ["1", "2"])
    assert read([["a, b"], ["c"]], None, ",")[2] == [["a", "b"], ["c"]]


def test_label_delimiter_makes_the_problem_multi_label_and_must_be_a_sign() -> None:
    assert DataArguments(label_delimiter="tab").label_delimiter == "\t"
    assert DataArguments(label_delimiter="||").label_delimiter == "||"
    with pytest.raises(ConfigError, match=r"^--label_delimiter must be a sign such as , or \|"):
        DataArguments(label_delimiter="and")
    with pytest.raises(ConfigError, match=r"^--label_delimiter is for multi_label_classification; --problem_type regr"):
        DataArguments(label_delimiter=",", problem_type="regression")


def test_numbers_joined_by_a_comma_are_labels_or_asked_about() -> None:
    assert read(["1,3", "2", "1,2,3", "3"])[:2] == (MULTI, ["1", "2", "3"])


def test_every_list_of_one_name_is_single_label_unless_another_split_says_otherwise() -> None:
    assert read([["bad"], ["good"]]) == (SINGLE, ["bad", "good"], ["bad", "good"])
    assert read([["bad"], ["good"]], SINGLE)[0] == SINGLE
    assert read([["bad"], ["good"]], MULTI)[2] == [["bad"], ["good"]]
    columns = [read_label_column(Table("a.csv", {"y": cells}), "y") for cells in ([["a"], ["b"]], [["a", "b"]])]
    assert find_problem(columns[0], others=columns).kind == MULTI
    with pytest.raises(DataError) as caught:
        read([["a"], ["a", "b"]], SINGLE)
    assert str(caught.value) == (
        "a.csv, row 2: column 'y' holds a list of 2 names; only multi_label_classification takes lists that do not hold "
        "exactly one."
    )


def test_lists_of_one_joined_string_are_several_labels() -> None:
    assert read([["a,b"], ["a"], ["b"]]) == (MULTI, ["a", "b"], [["a", "b"], ["a"], ["b"]])


@pytest.mark.parametrize(
    ("cells", "lists"),
    [
        (["['a', 'b']", "['a']", "[]"], [["a", "b"], ["a"], []]),
        (['["a", "b"]', '["b"]'], [["a", "b"], ["b"]]),
        (["['a' 'b']", "['a']"], [["a", "b"], ["a"]]),
        (["['a'\n 'b']", "['a']"], [["a", "b"], ["a"]]),
        (["(1, 2)", "(2,)"], [["1", "2"], ["2"]]),
        (["{'b', 'a'}", "{'a'}"], [["a", "b"], ["a"]]),
        (["[food, price]", "[food]"], [["food", "price"], ["food"]]),
        (['{"a": 1, "b": 1}', '{"a": 0, "b": 1}'], [["a", "b"], ["b"]]),
    ],
)
def test_lists_that_a_csv_turned_to_strings_are_read_and_it_is_said(cells: list[str], lists: list[list[str]]) -> None:
    assert read(cells)[::2] == (MULTI, lists)
    (note,) = notes(cells)
    assert note.startswith('labels: "y" holds strings that hold lists')
    assert note.endswith("(--label_column_name names another column)")


def test_one_name_in_a_list_in_a_string_is_that_name() -> None:
    assert read(["['a']", "['b']"]) == (SINGLE, ["a", "b"], ["a", "b"])
    assert read(["['a']", "['b']"], SINGLE)[1] == ["a", "b"]
    assert read(["['a', 'b']", "['b']"], SINGLE)[1] == ["['a', 'b']", "['b']"]
    assert read(["[SPAM]", "[HAM]"])[1] == ["[HAM]", "[SPAM]"]  # a way to write names, no list


@pytest.mark.parametrize(
    "cells",
    [
        [[0, 1, 0], [1, 1, 0]],
        [[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]],
        [[False, True, False], [True, True, False]],
        ["[0, 1, 0]", "[1, 1, 0]"],
        ["[0. 1. 0.]", "[1. 1. 0.]"],
        ["[False  True False]", "[ True  True False]"],
        ["0,1,0", "1,1,0"],
        ["0 1 0", "1 1 0"],
    ],
)
def test_vectors_of_zeros_and_ones_are_classes_by_place_and_it_is_said(cells: list[Any]) -> None:
    assert read(cells) == (MULTI, ["0", "1", "2"], [["1"], ["0", "1"]])
    assert "each place is a class, named 0 to 2 (--label_column_name names another column)" in notes(cells)[-1]


def test_one_hot_vectors_and_columns_are_single_label() -> None:
    assert read([[0, 1, 0], [1, 0, 0]]) == (SINGLE, ["0", "1", "2"], ["1", "0"])
    names = {"y": ["bad", "good"]}
    column = read_label_column(Table("a.csv", {"y": [[0], [1], [0]]}, class_names=names), "y")
    assert find_problem(column).kind == SINGLE
    assert targets(column, SINGLE) == ["bad", "good", "bad"]


def test_vectors_of_fractions_are_refused_with_the_mend() -> None:
    for cells in ([[0.1, 0.9], [1.0, 0.0]], ["[0.1, 0.9]", "[1.0, 0.0]"], ["[0.1 0.9]", "[1.  0.]"]):
        with pytest.raises(DataError) as caught:
            read(cells)
        assert str(caught.value) == (
            "a.csv, row 1: the list [0.1, 0.9] in column 'y' holds numbers with a point, as an embedding or probabilities do, "
            "and no label names; name the column of the labels with --label_column_name."
        )


def test_objects_of_zeros_and_ones_are_the_names_that_are_on() -> None:
    cells = [{"GOOD": 0.0, "BAD": 1.0}, {"GOOD": 1.0, "BAD": 0.0}]
    assert read(cells) == (SINGLE, ["BAD", "GOOD"], ["BAD", "GOOD"])
    assert read([{"a": 1, "b": 1}, {"a": 0, "b": 0}, {"a": 0, "b": True}])[2] == [["a", "b"], [], ["b"]]
    assert notes(cells)[0].startswith('labels: "y" holds objects of 0 and 1, whose names with 1 apply, such as')


def test_a_saved_model_splits_by_the_delimiter_that_gives_its_names() -> None:
    def encode(cells: list[Any], labels: list[str], problem: str, **options: Any) -> list[Any]:
        return encode_labels(Table("a.csv", {"y": cells}), "y", labels, problem, **options)

    assert encode(["a,b", "b", ""], ["a", "b"], MULTI) == [[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
    assert encode(["a, b;c", "c"], ["a, b", "c"], MULTI) == [[1.0, 1.0], [0.0, 1.0]]
    assert encode(["a b", "b"], ["a", "b"], MULTI, delimiter=" ") == [[1.0, 1.0], [0.0, 1.0]]
    assert encode([["a"], ["b"]], ["a", "b"], SINGLE) == [0, 1]
    assert encode(["3,5", "4,0"], ["3,5", "4,0"], SINGLE) == [0, 1]
    assert encode(["+1", "-1"], ["-1", "1"], SINGLE) == [1, 0]


def test_what_is_read_in_an_unusual_way_is_said_in_evaluating_too() -> None:
    frame = [{"text": "one", "label": "a,b"}, {"text": "two", "label": "b"}]
    found = load_labelled(frame, ["a", "b"], MULTI)[1]
    assert 'labels: names in "label" are joined by "," (--label_delimiter overrides)' in found
    frame = [{"text": "one", "label": "3,5"}, {"text": "two", "label": "4"}]
    split, found = load_labelled(frame, [], "regression")
    assert split["label"][:] == [3.5, 4.0]
    assert any("a decimal comma" in note for note in found)


def test_the_delimiter_found_on_train_holds_for_the_other_splits() -> None:
    frames = {
        "train": [{"text": f"text {n}", "label": label} for n, label in enumerate(["a,b", "a", "b", "b,c", "c"] * 2)],
        "test": [{"text": "other one", "label": "a,c"}, {"text": "other two", "label": "a"}],
    }
    rows = read_rows(DataArguments(), frames)
    assert (rows.problem, rows.labels) == (MULTI, ["a", "b", "c"])
    assert rows.rows["test"].labels == [[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


def test_rows_without_labels_stay_where_labels_are_joined_and_bad_rows_are_skipped() -> None:
    labels = ["a,b", "", "a", "b", None, "b,c", "c"] * 2
    frames = {"train": [{"text": f"text {n}", "label": label} for n, label in enumerate(labels)]}
    rows = read_rows(DataArguments(skip_bad_rows=True), frames)
    assert len(rows.rows["train"]) == 12
    assert rows.rows["train"].labels[1] == [0.0, 0.0, 0.0]


@settings(max_examples=300, deadline=None)
@given(
    cells=st.lists(st.text("ab01+-,;|/&%[](){}'\"<>. \n\u2212\uff11e", max_size=8), min_size=2, max_size=12),
    given_kind=st.sampled_from([None, SINGLE, MULTI, "regression"]),
)
def test_whatever_the_strings_are_they_are_read_or_refused(cells: list[str], given_kind: str | None) -> None:
    table = Table("a.csv", {"text": [f"text {n}" for n in range(len(cells))], "y": cells})
    faulty_labels(table, "y", given_kind)
    try:
        kind, names, found = read(cells, given_kind)
    except DataError:
        return
    assert len(found) == len(cells)
    assert encode_labels(table, "y", names, kind)
