"""Numbers as labels, however they are written: one number is one class, and two meanings are asked about."""

from __future__ import annotations

from typing import Any

import pytest

from nlp_ft.data import Table
from nlp_ft.data.schema.encode_labels import class_names, targets
from nlp_ft.data.schema.label_cells import faulty_labels, read_label_column
from nlp_ft.data.schema.label_numbers import number_name, read_numbers
from nlp_ft.data.schema.problem_type import MULTI, REGRESSION, SINGLE, find_problem
from nlp_ft.errors import DataError


def read(cells: list[Any], given: str | None = None, delimiter: str | None = None) -> tuple[str, list[str], list[Any]]:
    """(problem, class names, targets) of a label column."""
    column = read_label_column(Table("a.csv", {"y": cells}), "y", given, delimiter)
    problem = find_problem(column, given, delimiter)
    found = targets(column, problem.kind, problem.delimiter)
    return problem.kind, class_names(column, found, problem.kind), found


def notes(cells: list[Any], given: str | None = None) -> list[str]:
    return read_label_column(Table("a.csv", {"y": cells}), "y", given).notes


def refusal(cells: list[Any], given: str | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read(cells, given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("one", ["+1", " 1", "1.0", "1.", "1e0", "+1.00", "１"])
@pytest.mark.parametrize("minus_one", ["-1", "-1.0", "\u22121", "\u20131"])
def test_one_number_is_one_class_however_it_is_written(one: str, minus_one: str) -> None:
    assert read(["1", one, "-1", minus_one]) == (SINGLE, ["-1", "1"], ["1", "1", "-1", "-1"])
    assert read(["1", one, "-1", minus_one], SINGLE)[1] == ["-1", "1"]


def test_numbers_that_fall_together_are_said() -> None:
    assert notes(["1", "+1", "-1"]) == ['labels: "+1" and "1" in "y" are one number']
    assert notes(["1", "\u22121"]) == [
        'labels: "\u22121" in "y" is read as the number -1 (another script\'s sign or digits)'
    ]
    assert notes(["1", "-1", "0.5"]) == []


def test_codes_with_leading_zeros_stay_strings() -> None:
    assert read(["01", "02", "01"])[1] == ["01", "02"]
    assert read(["1", "01", "1"])[1] == ["01", "1"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("1", "1"),
        ("+1", "1"),
        ("-0", "0"),
        ("10", "10"),
        ("1.50", "1.50"),
        ("+1.5", "1.5"),
        ("1e3", "1000"),
        ("inf", "inf"),
    ],
)
def test_the_name_of_a_number(text: str, name: str) -> None:
    assert number_name(text) == name


@pytest.mark.parametrize(
    ("cells", "numbers", "style"),
    [
        (["3,5", "4,0", "2,25"], [3.5, 4.0, 2.25], "a decimal comma"),
        (["0,125", "0,250", "10,000"], [0.125, 0.25, 10.0], "a decimal comma"),
        (["-3,5", "+4,5"], [-3.5, 4.5], "a decimal comma"),
        (["1,5", "2.5"], [1.5, 2.5], "a decimal comma"),
        (["1.234,50", "999,10", "1.234"], [1234.5, 999.1, 1234.0], "points between thousands"),
        (["1,234.5", "987", "2,500,000"], [1234.5, 987.0, 2500000.0], "commas between thousands"),
        (["1 234", "999,5"], [1234.0, 999.5], "spaces or apostrophes between thousands"),
        (["1'234.5", "2\u202f000"], [1234.5, 2000.0], "spaces or apostrophes between thousands"),
        (["85%", "12.5 %"], [85.0, 12.5], "a percent sign"),
        (["3,5%", "4 %"], [3.5, 4.0], "a percent sign"),
    ],
)
def test_other_ways_to_write_numbers_are_read_and_said_with_the_flag(
    cells: list[str], numbers: list[float], style: str
) -> None:
    assert read(cells, REGRESSION)[2] == numbers
    assert any(
        f"({style}; --problem_type single_label_classification keeps it as a name)" in note for note in notes(cells)
    )
    assert read(cells, SINGLE)[2] == cells


def test_the_note_names_the_cell_and_its_number() -> None:
    assert notes(["3,5", "4,0"]) == [
        'labels: "3,5" in "y" is read as the number 3.5 (a decimal comma; --problem_type single_label_classification keeps it '
        "as a name)"
    ]
    assert read(["3,5", "4,0"])[0] == REGRESSION


@pytest.mark.parametrize("cells", [["3,5", "4", "4,5", "5", "0,5"], ["0,1", "1,0", "1,1"]])
def test_a_decimal_comma_that_may_part_two_labels_is_asked_about(cells: list[str]) -> None:
    assert refusal(cells) == (
        f"a.csv, row 1: {cells[0]!r} in column 'y' may be a number with a decimal comma, or two labels; say which by "
        "--problem_type regression or --label_delimiter ,"
    )
    assert read(cells, REGRESSION)[2] == [float(cell.replace(",", ".")) for cell in cells]
    assert read(cells, None, ",")[0] == MULTI


@pytest.mark.parametrize("given", [None, REGRESSION])
def test_a_comma_that_may_be_decimal_or_between_thousands_stops(given: str | None) -> None:
    assert refusal(["1,234", "2,500"], given) == (
        "a.csv, row 1: '1,234' in column 'y' may have a decimal comma or one between thousands; write the numbers with a "
        "decimal point and nothing between thousands, or keep them as names with --problem_type single_label_classification."
    )


def test_a_percent_sign_in_some_rows_alone_stops() -> None:
    assert refusal(["85%", "12"]) == (
        "a.csv, row 2: column 'y' holds '12', and '85%' with a percent sign; write all of them one way."
    )


def test_what_is_no_number_in_any_way_to_write_is_none() -> None:
    for cell in ("a", "1,2,3", "1,2345.6", "1.2.3", "12,34.5", "--1", "1 2", "%", ""):
        assert read_numbers([cell]) is None, cell


def test_words_for_null_among_unusual_numbers_are_bad_rows() -> None:
    table = Table("a.csv", {"y": ["3,5", "NA", "4,0"]})
    assert list(faulty_labels(table, "y", None)) == [1]
    assert refusal(["3,5", "NA", "4,0"]).startswith("a.csv, row 2: no label in column 'y'")
