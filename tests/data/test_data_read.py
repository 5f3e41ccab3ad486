"""Reading: every text comes back as its characters stand in the file, and what is not well formed names its place."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nlp_ft.data import Table, read_table
from nlp_ft.errors import DataError

ODD_TEXTS = [
    "NA", "null", "None", "nan", "", "123", "007", "1.0", "true", "=cmd()", "  spaces  ", "\t", "a,b", 'say "hi"', '"',
    "two\nlines", "two\r\nlines", "lone\rreturn", "\u2028\x85\x0b", "🙂 né", "\ufeff", "2020-01-01", "-", "a\\nb",
]  # fmt: skip


def write_delimited(path: Path, columns: dict[str, list[str]], delimiter: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([list(columns), *zip(*columns.values(), strict=True)])


def write_jsonl(path: Path, columns: dict[str, list[str]], ensure_ascii: bool = True) -> None:
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    path.write_text("".join(json.dumps(row, ensure_ascii=ensure_ascii) + "\n" for row in rows), encoding="utf-8")


def write_json_array(path: Path, columns: dict[str, list[str]]) -> None:
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n" + json.dumps(rows, indent=1), encoding="utf-8")


WRITERS: dict[str, Callable[[Path, dict[str, list[str]]], None]] = {
    "rows.csv": lambda path, columns: write_delimited(path, columns, ","),
    "rows.tsv": lambda path, columns: write_delimited(path, columns, "\t"),
    "rows.jsonl": write_jsonl,
    "plain.jsonl": lambda path, columns: write_jsonl(path, columns, ensure_ascii=False),
    "rows.json": write_json_array,
    "rows.PARQUET": lambda path, columns: pq.write_table(pa.table(columns), path),
}


def refusals(path: Path, content: str | bytes) -> list[str]:
    """The lines with which a file of this content is refused."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    return str(caught.value).replace(str(path), path.name).split("\n")


def refusal(path: Path, content: str | bytes) -> str:
    """The one line with which a file of this content is refused."""
    (message,) = refusals(path, content)
    return message


@pytest.mark.parametrize("name", WRITERS)
def test_odd_texts_come_back_as_they_were_written(tmp_path: Path, name: str) -> None:
    columns = {"text": ODD_TEXTS, "label": ["a", "b"] * (len(ODD_TEXTS) // 2)}
    WRITERS[name](tmp_path / name, columns)
    assert read_table(tmp_path / name).columns == columns


# NUL is no CSV; half a surrogate pair is no UTF-8.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(texts, texts), min_size=1))
def test_whatever_is_written_comes_back_character_for_character(
    tmp_path: Path, name: str, rows: list[tuple[str, str]]
) -> None:
    columns = {"text": [text for text, _ in rows], "other": [other for _, other in rows]}
    WRITERS[name](tmp_path / name, columns)
    assert read_table(tmp_path / name).columns == columns


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(texts, min_size=1))
def test_a_single_column_comes_back_too(tmp_path: Path, rows: list[str]) -> None:
    write_delimited(tmp_path / "rows.csv", {"text": rows}, ",")
    assert read_table(tmp_path / "rows.csv").columns == {"text": rows}


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    for name, content in (("a.csv", '"text",label\nx,y\n'), ("a.jsonl", '{"text": "x", "label": "y"}\n')):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content.encode())
        assert read_table(tmp_path / name).columns == {"text": ["x"], "label": ["y"]}


def test_a_cell_may_be_longer_than_the_csv_module_allows_and_its_limit_stays(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    write_delimited(tmp_path / "a.csv", {"text": ["x" * 1_000_000], "label": ["y"]}, ",")
    assert read_table(tmp_path / "a.csv").texts("text", "")[0] == "x" * 1_000_000
    assert csv.field_size_limit() == limit


def test_rows_know_their_line_behind_texts_of_many_lines_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text,label\n"1\n2\n3",a\n\nfour,b\n\n')
    table = read_table(tmp_path / "a.csv")
    assert (list(table.lines or []), len(table)) == ([2, 6], 2)
    assert Table("a.csv", table.columns, table.lines).where(1) == "a.csv:6"
    assert Table("a.parquet", {"text": ["x", "y"]}).where(1) == "a.parquet, row 2"


def test_json_values_keep_their_types_and_a_missing_key_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"b": 1, "a": 1.0}\n\n{"a": true, "c": ["x"]}\n{}\n')
    table = read_table(tmp_path / "a.jsonl")
    assert repr(table.columns) == "{'b': [1, None, None], 'a': [1.0, True, None], 'c': [None, ['x'], None]}"
    assert list(table.lines or []) == [1, 3, 4]


HEAD = "text,label\nfine,a\n"
CSV_FAULTS = {
    "": "a.csv is empty; the first line must name the columns, as in text,label.",
    "\n\n": "a.csv is empty; the first line must name the columns, as in text,label.",
    "text,label\n": "a.csv has a header (text, label) and no rows.",
    "text,label,text\nx,y,z\n": "a.csv:1: the header names column 'text' twice (text, label, text); rename one.",
    HEAD + "x\n": "a.csv:3: 1 cell where the header has 2 (text, label); put a text that holds a comma between double "
    "quotes, or complete the row.",
    HEAD + "x,y,z\n": "a.csv:3: 3 cells where the header has 2 (text, label); put a text that holds a comma between "
    "double quotes, or complete the row.",
    HEAD + '"x,y\nz,b\n': 'a.csv:3: the row that starts here opens a quote and never closes it; close it, write "" '
    "for a quote in the text, or read quotes as ordinary characters with --quoting none.",
    HEAD
    + '"x" y,b\n': 'a.csv:3: in the row that starts here, text follows a closing quote; write "" for a quote inside '
    "a quoted text, or read quotes as ordinary characters with --quoting none.",
    HEAD + "x\ry,b\n": "a.csv:3: carriage return outside quotes; end lines with \\n or \\r\\n, and quote a text that "
    "holds one.",
    HEAD + "x\0y,b\n": "a.csv:3: NUL at byte offset 19; the file is damaged or not UTF-8 (UTF-16?), save it as UTF-8.",
    "text\nx\n\ny\n": 'a.csv:3: empty line between rows of one column; write "" for an empty text.',
}


@pytest.mark.parametrize(("content", "message"), CSV_FAULTS.items())
def test_a_malformed_csv_names_its_file_line_and_mend(tmp_path: Path, content: str, message: str) -> None:
    assert refusal(tmp_path / "a.csv", content) == message


JSON_FAULTS = {
    "\n \n": 'a.jsonl is empty; each line must be an object, as in {"text": "...", "label": "..."}.',
    "{}\n{'a': 1}\n": "a.jsonl:2: not JSON: Expecting property name enclosed in double quotes (column 2).",
    '{"a": 1\n': "a.jsonl:1: not JSON: Expecting ',' delimiter (column 8).",
    '{}\n"x"\n': 'a.jsonl:2: \'x\' is not an object; a row is written as {"text": "...", "label": "..."}.',
    '{"a": 1, "b": 2, "a": 3}\n': "a.jsonl:1: key 'a' is given twice.",
    '{}\n{"a": "\\ud83d"}\n': "a.jsonl:2: \\ud83d is half of a surrogate pair and no character; write the other half too.",
    "{}\n" + '{"a":' * 3000: "a.jsonl:2: nested too deeply to be a row of a table.",
    '[{"a": 1},\n{"a" 2}]\n': "a.jsonl:2: not JSON: Expecting ':' delimiter (column 6).",
    "[]\n": "a.jsonl holds an empty array; it needs objects with a text and a label.",
    "[{}, 3]\n": 'a.jsonl, row 2: 3 is not an object; a row is written as {"text": "...", "label": "..."}.',
}


@pytest.mark.parametrize(("content", "message"), JSON_FAULTS.items(), ids=range(len(JSON_FAULTS)))
def test_malformed_json_names_its_file_line_and_fault(tmp_path: Path, content: str, message: str) -> None:
    assert refusal(tmp_path / "a.jsonl", content) == message


def test_bytes_that_are_not_utf_8_are_refused_with_line_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    assert refusal(path, b"text,label\nfine,a\ncaf\xe9,b\n") == (
        "a.csv:3: byte 0xe9 at offset 21 is not UTF-8; it looks like Windows-1252, which --encoding cp1252 reads."
    )
    assert "at offset 14 " in refusal(path, b"\xef\xbb\xbftext,label\n\xe9,b\n")  # the byte order mark counts
    assert refusal(path, "text,label\n".encode("utf-16-le")) == (
        "a.csv looks like UTF-16 without a byte order mark; read it with --encoding utf-16-le."
    )


def test_a_damaged_or_empty_parquet_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.parquet", b"PAR1").startswith("a.parquet cannot be read as Parquet: ")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert refusal(tmp_path / "a.parquet", (tmp_path / "a.parquet").read_bytes()) == (
        "a.parquet has columns (text) and no rows."
    )
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], ["text", "text"]), tmp_path / "b.parquet")
    assert refusal(tmp_path / "a.parquet", (tmp_path / "b.parquet").read_bytes()) == (
        "a.parquet names column 'text' twice; rename one."
    )


def test_a_path_that_is_no_local_file_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reviews.csv").write_text("text,label\nx,a\n")
    Path("reviews.txt").write_text("x")
    os.mkfifo("pipe.csv")
    refusals = {
        "reveiws.csv": "no such file: reveiws.csv. Did you mean 'reviews.csv'?",
        "none/a.csv": "no such file: none/a.csv; there is no directory none either.",
        ".": ". is a directory without text files by class (such as ./positive/1.txt); name a file in it, or a pattern such "
        "as 'reviews/*.csv'.",
        "*.tsv": "no file matches *.tsv.",
        "pipe.csv": "pipe.csv is not a regular file.",
        "/dev/zero": "/dev/zero is not a regular file.",
        "reviews.txt": "reviews.txt: its extension '.txt' does not say the format; name it with --file_format (csv, tsv, "
        "jsonl, json, parquet, arrow, xlsx, fasttext, trec, txt); it looks like txt.",
        **{
            url: f"{url} is a URL; only local files are read, so download it first."
            for url in ("https://x.org/a.csv", "hf://datasets/a/b.csv", "s3://a/b.csv", "zip://a.csv::http://x/y.zip")
        },
    }
    for path, message in refusals.items():
        with pytest.raises(DataError) as caught:
            read_table(path)
        assert str(caught.value) == message


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.csv").write_text("text,label\nx,a\n")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.csv may not be read by this user\.$"):
        read_table(tmp_path / "a.csv")
