"""Labels: the problem they pose, their order, and what is no label."""

from __future__ import annotations

from typing import Any

import pytest

from nlp_ft.data import Table, encode_labels
from nlp_ft.data.schema.encode_labels import class_names, targets
from nlp_ft.data.schema.label_cells import read_label_column
from nlp_ft.data.schema.problem_type import MULTI, REGRESSION, SINGLE, find_problem
from nlp_ft.errors import ConfigError, DataError


def read(
    cells: list[Any], given: str | None = None, names: list[str] | None = None
) -> tuple[str, list[str], list[Any]]:
    """(problem, class names, targets) of a label column in a file with lines 2, 3, ..."""
    table = Table("a.csv", {"y": cells}, range(2, len(cells) + 2), {"y": names} if names else {})
    column = read_label_column(table, "y")
    problem = find_problem(column, given).kind
    found = targets(column, problem)
    return problem, class_names(column, found, problem), found


def reason(cells: list[Any]) -> str:
    return find_problem(read_label_column(Table("a.csv", {"y": cells}), "y")).reason


def refusal(cells: list[Any], given: str | None = None, names: list[str] | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(cells, given, names)
    return str(caught.value)


@pytest.mark.parametrize(
    ("cells", "problem", "names"),
    [
        (["b", "a", "b", " a "], SINGLE, ["a", "b"]),
        (["10", "2", "0", "2", "10", "0"], SINGLE, ["0", "2", "10"]),
        ([10, 2, 0, 2, 10, 0], SINGLE, ["0", "2", "10"]),
        (["1.0", "2.0", "1", "2.0"], SINGLE, ["1", "2"]),
        ([2.0, 1, 2, 1.0], SINGLE, ["1", "2"]),
        (["007", "010", "007", "010"], SINGLE, ["007", "010"]),
        ([True, False, True], SINGLE, ["False", "True"]),
        (["True", "False", "True"], SINGLE, ["False", "True"]),
        (["-1", "1", "1"], SINGLE, ["-1", "1"]),
        ([-100, 1, 1], SINGLE, ["-100", "1"]),  # an id from 0 up, and so never the one that losses ignore
        (["0.5", "1", "2", "0.5"], REGRESSION, []),
        ([0.25, 1, 2, -3], REGRESSION, []),
        ([str(n) for n in range(40)], REGRESSION, []),
        ([n % 20 for n in range(40)], SINGLE, [str(n) for n in range(20)]),
        ([n % 21 for n in range(400)], REGRESSION, []),
        ([["b"], ["a", "b"], []], MULTI, ["a", "b"]),
        ([[10, 2], [2]], MULTI, ["2", "10"]),
        (["b", "a; b", "a", ""], MULTI, ["a", "b"]),
        (["a;b", "c;d", "a;d"], MULTI, ["a", "b", "c", "d"]),
        (["good; but slow", "bad", "bad", "good; but slow"], SINGLE, ["bad", "good; but slow"]),
        (["Arts; Crafts", "Crafts", "Sport"], SINGLE, ["Arts; Crafts", "Crafts", "Sport"]),
        (["none", "joy", "none"], SINGLE, ["joy", "none"]),
    ],
)
def test_the_problem_and_the_class_order_are_found_from_the_cells(
    cells: list[Any], problem: str, names: list[str]
) -> None:
    assert read(cells)[:2] == (problem, names)


def test_the_reason_for_a_problem_is_said() -> None:
    override = "(--problem_type overrides)"
    assert reason(["b", "a", "b"]) == f'"y" holds 2 distinct strings {override}'
    assert reason(["0", "1", "1"]) == f'"y" holds 2 distinct whole numbers in 3 rows {override}'
    assert reason([True, False]) == f'"y" holds 2 distinct booleans {override}'
    assert reason([0.5, 1.0]) == f'"y" holds numbers with fractions {override}'
    assert reason([1, 2, 3]) == f'"y" holds 3 distinct whole numbers in 3 rows, too many for classes {override}'
    assert reason(["a", "b", "a;b"]) == f'"y" holds names joined by ";" that recombine {override}'
    assert reason([["a"], ["b", "a"]]) == f'"y" holds lists {override}'
    assert reason([["a"], ["b"]]) == f'each row has exactly one of the labels of "y" {override}'


def test_problem_type_has_the_last_word() -> None:
    assert read(["0", "1", "2", "1"], REGRESSION)[2] == [0.0, 1.0, 2.0, 1.0]
    assert read(["1.10", "1.1", "2"], SINGLE)[1:] == (["1.1", "1.10", "2"], ["1.10", "1.1", "2"])
    assert read(["good; bad", "x"], MULTI)[1] == ["bad", "good", "x"]
    assert read(["a;b", "a", "b"], SINGLE)[1] == ["a", "a;b", "b"]
    assert read(["1;2", "", "1"], MULTI)[2] == [["1", "2"], [], ["1"]]
    with pytest.raises(ConfigError) as caught:
        read(["a", "b"], "binary")
    assert str(caught.value) == (
        "--problem_type must be single_label_classification, multi_label_classification or regression, got binary."
    )


def test_class_label_names_keep_their_order_and_unused_ones_stay() -> None:
    assert read([2, 0, 2], names=["zero", "one", "2"]) == (SINGLE, ["zero", "one", "2"], ["2", "zero", "2"])
    assert read([[1], [1, 0]], names=["b", "a"]) == (MULTI, ["b", "a"], [["a"], ["a", "b"]])
    assert refusal([0, 5], names=["b", "a"]) == "a.csv:3: class id 5 in column 'y', which has 2 class names."
    assert (
        refusal([0, -1, 1], names=["b", "a"])
        == "a.csv:3: no label in column 'y'; write it, or drop the row, as --skip_bad_rows does in training."
    )


@pytest.mark.parametrize("cells", [["a", None, "b", None], ["a", "", "b", "  "], [1.5, float("nan"), 2.5, None]])
def test_rows_without_a_label_are_counted_and_placed(cells: list[Any]) -> None:
    assert refusal(cells) == (
        "a.csv:3: no label in column 'y' in 2 rows (lines 3, 5); write them, or drop the rows, "
        "as --skip_bad_rows does in training."
    )


def test_words_for_null_among_numbers_are_no_classes() -> None:
    assert (
        refusal(["0", "1", "NA", "1"])
        == "a.csv:4: no label in column 'y'; write it, or drop the row, as --skip_bad_rows does in training."
    )
    assert (
        refusal(["0.5", "nan", "1.5"])
        == "a.csv:3: no label in column 'y'; write it, or drop the row, as --skip_bad_rows does in training."
    )
    assert refusal(["1"] * 3 + [""] * 7).startswith(
        "a.csv:5: no label in column 'y' in 7 rows (lines 5, 6, 7, 8, 9, ...)"
    )


def test_mixed_types_are_refused_at_the_first_row_that_differs() -> None:
    assert refusal([1, "1", 1.0]) == (
        "a.csv:3: column 'y' holds the string '1', but the number 1 at a.csv:2; write all labels in one type."
    )
    assert "holds the boolean True, but the number 1 at" in refusal([1, True])
    assert "holds the list ['a'], but the string 'a' at" in refusal(["a", ["a"]])
    assert refusal([{"a": "x"}]) == (
        "a.csv:2: {'a': 'x'} in column 'y' is no label (a string, number, boolean or list); name another column with "
        "--label_column_name."
    )
    assert refusal([[None]]) == "a.csv:2: the list [None] in column 'y' must hold label names."


def test_what_is_no_finite_number_is_no_target_of_a_regression() -> None:
    for cells, value in (
        (["0.5", "inf"], "inf"),
        (["1", "good"], "good"),
        ([1, 10**400], str(10**400)),
        ([True], "True"),
    ):
        assert refusal(cells, REGRESSION) == (
            f"a.csv:{len(cells) + 1}: label {value!r} in column 'y' is not a finite number, which regression needs."
        )
    assert refusal([[1], [2]], REGRESSION) == (
        "a.csv:2: column 'y' holds lists, which only multi_label_classification takes."
    )


def test_one_word_in_a_column_of_numbers_is_named() -> None:
    assert refusal([f"{n / 4}" for n in range(30)] + ["good"]) == (
        "a.csv:32: label 'good' in column 'y' is not a number, as most are; correct it, or insist with --problem_type."
    )


def test_a_column_of_texts_is_no_label() -> None:
    assert refusal([f"text {n}" for n in range(30)]) == (
        "a.csv: column 'y' holds 30 distinct strings in 30 rows, too many to be labels; name another with "
        "--label_column_name, or insist with --problem_type."
    )


def test_one_class_is_not_enough() -> None:
    assert refusal(["a", "a", "a"]) == (
        "a.csv: 3 rows with only the label 'a' (column 'y'); a classifier needs two or more."
    )
    assert refusal([1, 1], names=["b", "a"]).startswith("a.csv: 2 rows with only the label 'a'")
    assert refusal([[], []]).startswith("a.csv: 2 rows with no label at all")


def test_a_label_list_that_repeats_itself_is_refused() -> None:
    assert refusal([[0, 1], [0, 0, 0]]) == (
        "a.csv:3: column 'y' repeats a label in ['0', '0', '0']; list the names that apply (vectors of 0 and 1 are read where "
        "all have one length)."
    )
    assert refusal(["a;b", "b;;a", "a", "b"], MULTI).startswith("a.csv:3: an empty name among the labels 'b;;a'")


def test_labels_are_encoded_by_the_names_a_model_knows() -> None:
    def encode(cells: list[Any], labels: list[str], problem: str) -> list[Any]:
        return encode_labels(Table("a.csv", {"y": cells}, range(2, 99)), "y", labels, problem)

    assert encode(["pos", "neg", "pos"], ["pos", "neg"], SINGLE) == [0, 1, 0]
    assert encode(["1.0", "0.0"], ["0", "1"], SINGLE) == encode([1, 0], ["0", "1"], SINGLE) == [1, 0]
    assert encode(["b;a", "", "b"], ["a", "b", "c"], MULTI) == [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert encode(["-0.5", "2"], [], REGRESSION) == [-0.5, 2.0]
    with pytest.raises(DataError) as caught:
        encode(["pos", "mixed", "other", "mixed"], ["pos", "neg"], SINGLE)
    assert str(caught.value) == (
        "a.csv:3: label 'mixed' (2 rows) is unknown; so are other; the labels trained on are pos, neg; correct it, or add "
        "such rows to the training file."
    )
