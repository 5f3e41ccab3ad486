"""CSV as programs really write it: what is unusual is read and said aloud, what cannot be told apart names its flag."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlp_ft.config import DataArguments
from nlp_ft.data import load_data, read_table
from nlp_ft.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(content: str, name: str = "a.csv", encoding: str = "utf-8") -> str:
    Path(name).write_bytes(content.encode(encoding))
    return name


def refusal(content: str, name: str = "a.csv", **reading: str) -> str:
    with pytest.raises(DataError) as caught:
        read_table(write(content, name), **reading)  # type: ignore[arg-type]
    return str(caught.value)


# ---- columns without a name


@pytest.mark.parametrize(
    "content",
    ["v1,v2,,,\nx,a,,,\ny,b,,,\n", ",,v1,v2\n,,x,a\n,,y,b\n", "v1, ,v2,  \nx,,a,\ny, ,b, \n", "v1,v2,,\nx,a\ny,b,\n"],
    ids=["at the right", "at the left", "of spaces, and between", "rows that end early"],
)
def test_empty_columns_without_a_name_are_passed_over(content: str) -> None:
    table = read_table(write(content))
    assert table.columns == {"v1": ["x", "y"], "v2": ["a", "b"]}
    assert len(table.notes) == 1
    assert table.notes[0].endswith(" empty columns without a name passed over")


def test_columns_without_a_name_that_hold_something_are_told() -> None:
    table = read_table(write("v1,v2,,,\nx,a,,,\ny,b, more,,\nz,a,rest,,\n"))
    assert table.columns == {"v1": ["x", "y", "z"], "v2": ["a", "b", "a"]}
    assert table.notes == [
        "a.csv: 2 empty columns without a name passed over",
        "a.csv: column 3 has no name and is passed over, though 2 rows hold something there (first a.csv:3, ' more'); name it "
        "in the header to use it",
    ]


def test_one_column_without_a_name_stays_as_it_was_and_names_of_pandas_are_names() -> None:
    assert read_table(write(",text,label\n0,x,a\n")).columns == {"": ["0"], "text": ["x"], "label": ["a"]}
    columns = read_table(write("text,label,Unnamed: 2,Unnamed: 3\nx,a,,\n")).columns
    assert list(columns) == ["text", "label", "Unnamed: 2", "Unnamed: 3"]


def test_a_header_without_any_name_is_refused() -> None:
    assert refusal(",,\nx,a,b\n") == "a.csv:1: the header names no column; it must name them, as in text,label."


def test_delimiters_at_the_end_of_rows_hold_nothing() -> None:
    assert read_table(write("text,label\nx,a,\ny,b,,\n")).columns == {"text": ["x", "y"], "label": ["a", "b"]}
    assert "3 cells where the header has 2" in refusal("text,label\nx,a,b\n")


# ---- Excel


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [
        ("sep=;", ";"),
        ('"sep=;"', ";"),
        ("SEP=;", ";"),
        ("sep=\t", "\t"),
        ("sep=,", ","),
        ("sep=|", "|"),
        ("sep=^", "^"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_first_line_of_excel_names_the_delimiter(first: str, delimiter: str, encoding: str) -> None:
    rows = [first, delimiter.join(("text", "label")), delimiter.join(('"x; y"', "a")), delimiter.join(("z", "b"))]
    table = read_table(write("\r\n".join(rows), encoding=encoding))
    assert table.columns == {"text": ["x; y", "z"], "label": ["a", "b"]}
    assert table.where(0) == "a.csv:3"
    assert table.notes[0].endswith("(found: its first line says so)")


def test_the_flag_overrules_the_first_line_of_excel() -> None:
    table = read_table(write("sep=;\ntext,label\nx;y,a\n"), delimiter=",")
    assert table.columns == {"text": ["x;y"], "label": ["a"]}


# ---- spaces beside quotes


def test_a_space_before_a_quote_is_passed_over_and_said() -> None:
    table = read_table(write('label, text\nbad, "cold, and stale"\ngood,  "found ""it"" at once"\nbad, plain\n'))
    assert table.columns == {
        "label": ["bad", "good", "bad"],
        "text": ["cold, and stale", 'found "it" at once', "plain"],
    }
    assert table.notes == ["a.csv: spaces behind a delimiter are passed over, as quotes follow some of them (found)"]


def test_spaces_stay_where_no_quote_follows_them_or_they_are_inside_quotes() -> None:
    assert read_table(write('text,label\n x,a\n"y, ""z""",b\n')).columns["text"] == [" x", 'y, "z"']


def test_a_space_at_a_quote_that_spoils_a_row_is_named() -> None:
    assert (
        refusal('text,label\n"x" ,a\n')
        == "a.csv:2: in the row that starts here, a space follows a closing quote; take it out."
    )


# ---- quotes as characters

GLUE = 'text\tlabel\n"Hello, he said\t1\nno quote here\t0\nthe end" of it\t1\n'


def test_quotes_are_ordinary_characters_where_the_flag_says_so() -> None:
    columns = {"text": ['"Hello, he said', "no quote here", 'the end" of it'], "label": ["1", "0", "1"]}
    assert read_table(write(GLUE, "a.tsv"), quoting="none").columns == columns
    assert read_table(write(GLUE.replace("\t", "|"), "a.csv"), quoting="none").columns == columns


@pytest.mark.parametrize(
    "content", [GLUE, 'text\tlabel\n"never closed\t1\nx\t0\n', 'text\tlabel\n"one" and on\t1\nx\t0\n']
)
def test_quotes_that_do_not_fit_name_the_flag(content: str) -> None:
    assert "--quoting none" in refusal(content, "a.tsv")


def test_rows_that_a_quote_swallows_are_refused_and_not_read_as_one() -> None:
    content = 'text\tlabel\nfine\t1\n"Hello, he said\t1\nno quote here\t0\nthe end"\t1\n'
    assert refusal(content, "a.tsv") == (
        "a.tsv:3: a quote that opens here closes 2 lines below, and each of these lines looks like a row; if quotes are "
        "ordinary characters, read the file with --quoting none, if they hold cells together, --quoting double."
    )
    assert read_table("a.tsv", quoting="double").columns["text"] == [
        "fine",
        "Hello, he said\t1\nno quote here\t0\nthe end",
    ]
    assert len(read_table("a.tsv", quoting="none")) == 4


def test_an_unknown_way_of_quoting_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"^--quoting must be one of double, none, got 'nome'\. Did you mean 'none'\?$"
    ):
        read_table(write("text,label\nx,a\n"), quoting="nome")


# ---- line ends


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_lone_carriage_returns_end_lines(name: str) -> None:
    delimiter = "," if name == "a.csv" else "\t"
    rows = [delimiter.join(row) for row in (("text", "label"), ('"two\nlines"', "a"), ("x", "b"), ("y", "a"))]
    table = read_table(write("\r".join(rows) + "\r", name))
    assert table.columns == {"text": ["two\nlines", "x", "y"], "label": ["a", "b", "a"]}
    assert table.where(2) == f"{name}:4"
    assert table.notes == [f"{name}: lines end with a carriage return alone (found)"]


def test_carriage_returns_end_lines_of_json_and_texts_too() -> None:
    assert read_table(write('{"text": "x"}\r{"text": "y"}\r', "a.jsonl")).columns == {"text": ["x", "y"]}
    assert read_table(write("x\ry\r", "a.txt"), file_format="txt").columns == {"text": ["x", "y"]}


def test_doubled_carriage_returns_of_windows_end_lines_once() -> None:
    assert read_table(write("text,label\r\r\nx,a\r\r\ny,b\r\r\n")).columns == {"text": ["x", "y"], "label": ["a", "b"]}


# ---- delimiters


def test_a_tsv_with_another_delimiter_is_read_and_said() -> None:
    table = read_table(write("text;label\nx;a\ny;b\n", "a.tsv"))
    assert table.columns == {"text": ["x", "y"], "label": ["a", "b"]}
    assert table.notes == ["a.tsv: cells are delimited by a semicolon (found)"]
    assert read_table(write("text\nx, y\n", "a.tsv")).columns == {"text": ["x, y"]}


# ---- errors


def test_malformed_rows_and_rows_without_text_or_label_come_in_one_report() -> None:
    rows = ["text,label", *(f"text {n},{'ab'[n % 2]}" for n in range(20)), "no label,", "short", "also none,", "a,b,c"]
    with pytest.raises(DataError) as caught:
        load_data(DataArguments(train_file=[write("\n".join(rows) + "\n")]))
    assert str(caught.value).split("\n") == [
        "a.csv: 4 bad rows:",
        "a.csv:23: 1 cell where the header has 2 (text, label); put a text that holds a comma between double quotes, or "
        "complete the row.",
        "a.csv:25: 3 cells where the header has 2 (text, label); put a text that holds a comma between double quotes, or "
        "complete the row.",
        "a.csv, lines 22 and 24: no label in column 'label'.",
        "Mend them; or, in training or predict, leave them out with --skip_bad_rows.",
    ]


def test_bad_rows_of_several_files_come_in_one_report() -> None:
    good = "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(20))
    write(f"text,label\n{good}no label,\n", "train.csv")
    write("text,label\nother,\nmore,a\n", "test.csv")
    with pytest.raises(DataError) as caught:
        load_data(DataArguments(train_file=["train.csv"], test_file=["test.csv"]))
    assert str(caught.value).startswith("train.csv:22 and test.csv:2: no label in column 'label'. Mend them; ")


def test_malformed_rows_come_before_columns_that_cannot_be_found() -> None:
    with pytest.raises(DataError, match=r"^a\.csv, lines 3, 4, 5 and 7 more: 1 cell where"):
        load_data(DataArguments(train_file=[write("a,b\nx,y\n" + "z\n" * 10)]))
