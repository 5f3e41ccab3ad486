"""Formats: by the flag, by the extension, by the first bytes; fastText, TREC, Excel; JSON and frames that are no tables."""

from __future__ import annotations

import datetime
import gzip
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import RunCli

from nlp_ft.config import DataArguments
from nlp_ft.data import load_data, load_texts, open_texts, read_rows, read_table
from nlp_ft.errors import ConfigError, DataError

ROWS = {"text": ["good, film", "bad film"], "label": ["a", "b"]}
FORMATS = "csv, tsv, jsonl, json, parquet, arrow, xlsx, fasttext, trec, txt"


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, content: str | bytes) -> str:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return name


def refusal(source: Any, **reading: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_table(source, **reading)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def parquet_bytes() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(ROWS), sink)
    return sink.getvalue().to_pybytes()


def arrow_bytes() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table(ROWS)
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


CONTENTS: dict[str, str | bytes] = {
    "csv": 'text,label\n"good, film",a\nbad film,b\n',
    "tsv": "text\tlabel\ngood, film\ta\nbad film\tb\n",
    "jsonl": '{"text": "good, film", "label": "a"}\n{"text": "bad film", "label": "b"}\n',
    "json": '[{"text": "good, film", "label": "a"},\n {"text": "bad film", "label": "b"}]',
    "fasttext": "__label__a good, film\n__label__b bad film\n",
    "parquet": parquet_bytes(),
    "arrow": arrow_bytes(),
}


# ---- --file_format


@pytest.mark.parametrize("name", ["a", "a.txt", "a.data", "a.csv", "a.tsv", "a.jsonl", "a.xlsx"])
@pytest.mark.parametrize("file_format", CONTENTS)
def test_the_flag_names_the_format_whatever_the_extension_says(name: str, file_format: str) -> None:
    write(name, CONTENTS[file_format])
    assert read_table(name, file_format=file_format).columns == ROWS
    assert [block.table.columns for block in open_texts(name, file_format=file_format).blocks()] == [ROWS]


@pytest.mark.parametrize("file_format", ["csv", "tsv", "jsonl", "json", "fasttext"])
def test_packed_files_take_the_flag_too(file_format: str) -> None:
    content = CONTENTS[file_format]
    assert isinstance(content, str)
    write("a.data.gz", gzip.compress(content.encode()))
    assert read_table("a.data.gz", file_format=file_format).columns == ROWS


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a.txt", "its extension '.txt'"),
        ("a", "its name"),
        ("a.data", "its extension '.data'"),
        ("a.xls", "its extension '.xls'"),
    ],
)
@pytest.mark.parametrize("likely", ["csv", "tsv", "jsonl", "json"])
def test_without_the_flag_one_line_names_it_and_the_likely_format(name: str, said: str, likely: str) -> None:
    content = CONTENTS[likely]
    assert refusal(write(name, content)) == (
        f"{name}: {said} does not say the format; name it with --file_format ({FORMATS}); it looks like {likely}."
    )


def test_trec_and_texts_are_told_by_their_lines() -> None:
    assert refusal(write("a.label", "DESC:manner How did it end ?\nENTY:cremat What is it ?\n")).endswith(
        "looks like trec."
    )
    assert refusal(write("a.txt", "one text\nanother\n")).endswith("looks like txt.")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (parquet_bytes(), "a.csv is Parquet by its first bytes; read it with --file_format parquet."),
        (arrow_bytes(), "a.csv is Arrow by its first bytes; read it with --file_format arrow."),
        (b"\x1f\x8bxx", "a.csv is packed by gzip; give its name the ending .gz."),
        (b"PK\x03\x04xx", "a.csv is a zip archive; unpack it first."),
        (
            b"\xd0\xcf\x11\xe0xx",
            "a.csv is an old Excel file (.xls) or locked by a password; save it as .xlsx without one, or as CSV.",
        ),
        (CONTENTS["jsonl"], "a.csv holds JSON lines, by its first one; read it with --file_format jsonl."),
    ],
    ids=["Parquet", "Arrow", "gzip", "zip", "xls", "JSON"],
)
def test_an_extension_that_lies_is_told_with_the_flag(content: str | bytes, message: str) -> None:
    assert refusal(write("a.csv", content)) == message


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^--file_format must be one of .*, got 'xslx'\. Did you mean 'xlsx'\?$"):
        read_table("a.csv", file_format="xslx")


def test_texts_without_labels_are_read_a_line_each() -> None:
    write("a.list", "one, two\n\nthree\n")
    file = open_texts("a.list", file_format="txt")
    assert [file.texts(block) for block in file.blocks()] == [["one, two", "three"]]
    write("b.txt", CONTENTS["csv"])
    write("c.list", "".join(f"text {n}\n" for n in range(20)))
    assert len(load_texts(DataArguments(file_format="txt"), {"train": "c.list", "validation": "a.list"}).train) == 20
    assert list(load_texts(DataArguments(file_format="csv"), {"train": "b.txt", "validation": "b.txt"}).train["text"])


# ---- fastText and TREC


@pytest.mark.parametrize("name", ["a.txt", "a", "a.csv", "a.train", "a.ft.txt"])
def test_fasttext_is_recognised_by_its_lines_and_said(name: str) -> None:
    table = read_table(write(name, "__label__pos lovely, a film\n\n__label__neg  dull\n"))
    assert table.columns == {"text": ["lovely, a film", "dull"], "label": ["pos", "neg"]}
    assert table.where(1) == f"{name}:3"
    assert table.notes == [
        f"{name}: read as fastText lines (__label__x text), one a line; --file_format reads it otherwise"
    ]


def test_several_labels_of_fasttext_are_lists() -> None:
    write("a.txt", "__label__a __label__b one\n__label__a two\nthree __label__c\n" * 5)
    table = read_table("a.txt")
    assert list(table.columns["label"])[:3] == [["a", "b"], ["a"], ["c"]]
    assert list(table.columns["text"])[:3] == ["one", "two", "three"]
    data = read_rows(DataArguments(train_file=["a.txt"]))
    assert (data.problem, data.labels) == ("multi_label_classification", ["a", "b", "c"])


def test_a_line_of_fasttext_without_label_or_text_names_its_line() -> None:
    assert refusal(write("a.txt", "__label__a one\n" * 6 + "no label\n")) == (
        "a.txt:7: no label; a line of fastText is __label__x and the text (a file of texts alone is --file_format txt)."
    )
    assert refusal(write("a.txt", "__label__a one\n" * 6 + "__label__a\n")).startswith("a.txt:7: a label and no text;")


def test_trec_is_read_by_its_classes_and_subclasses() -> None:
    write("a.label", "DESC:manner How did it end : well ?\nENTY:cremat What is it ?\n" * 4)
    table = read_table("a.label", file_format="trec")
    assert {name: list(cells)[:2] for name, cells in table.columns.items()} == {
        "text": ["How did it end : well ?", "What is it ?"],
        "label": ["DESC", "ENTY"],
        "fine_label": ["DESC:manner", "ENTY:cremat"],
    }
    data = read_rows(DataArguments(train_file=["a.label"], file_format="trec", label_column_name="fine_label"))
    assert data.labels == ["DESC:manner", "ENTY:cremat"]
    assert read_rows(DataArguments(train_file=["a.label"], file_format="trec")).labels == ["DESC", "ENTY"]
    assert refusal(write("a.label", "no label\n"), file_format="trec") == (
        "a.label:1: no label of two parts; a line of TREC is LABEL:sub and the text."
    )


# ---- Excel


def workbook(rows: list[list[Any]], name: str = "a.xlsx", sheets: tuple[str, ...] = ("Sheet",)) -> str:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = sheets[0]
    for row in rows:
        book.active.append(row)
    for title in sheets[1:]:
        book.create_sheet(title)
    book.save(name)
    return name


def test_cells_of_excel_are_the_strings_that_csv_would_hold() -> None:
    day, moment = datetime.date(2024, 1, 5), datetime.datetime(2024, 1, 5, 13, 30)
    rows = [["text", "label", "when"], ["NA", 1, day], ["two\nlines", 2.5, moment], ["007", True, None], [12, "x", 3.0]]
    table = read_table(workbook(rows))
    assert table.columns == {
        "text": ["NA", "two\nlines", "007", "12"],
        "label": ["1", "2.5", "TRUE", "x"],
        "when": ["2024-01-05", "2024-01-05 13:30:00", "", "3"],
    }
    assert table.where(1) == "a.xlsx:3"


def test_empty_rows_and_columns_of_excel_are_passed_over_and_the_first_sheet_is_read() -> None:
    rows = [[], [None, "text", "label", None, None], [], [None, "x", "a"], [None, "y", "b", None, None]]
    table = read_table(workbook(rows, sheets=("data", "notes")))
    assert {name: cells for name, cells in table.columns.items() if name} == {"text": ["x", "y"], "label": ["a", "b"]}
    assert table.notes[0] == "a.xlsx: sheet 'data' is read, the first of 2 (data, notes)"
    assert table.where(0) == "a.xlsx:4"


def test_excel_trains_and_is_predicted() -> None:
    name = workbook([["text", "label"], *([f"text {n}", n % 2] for n in range(40))])
    data = load_data(DataArguments(train_file=[name]), seed=7)
    assert (data.labels, data.problem_type) == (["0", "1"], "single_label_classification")
    file = open_texts(name)
    assert [text for block in file.blocks() for text in file.texts(block)][:2] == ["text 0", "text 1"]


def test_cells_of_excel_without_a_value_are_told_by_their_names() -> None:
    name = workbook([["text", "label"], ["=A3", "a"], ["x", "b"], ["#N/A", "a"]])
    with pytest.raises(DataError) as caught:
        read_table(name)
    lines = str(caught.value).split("\n")
    assert lines[1:3] == [
        "a.xlsx:2: cell A2 holds a formula whose value is not saved; open and save the file in Excel, or save it as CSV.",
        "a.xlsx:4: cell A4 holds the error #N/A.",
    ]


def test_other_files_than_workbooks_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(write("a.xlsx", b"\xd0\xcf\x11\xe0....")) == (
        "a.xlsx is an old Excel file (.xls) or locked by a password; save it as .xlsx without one, or as CSV."
    )
    assert refusal(write("b.xlsx", "text,label\n")).startswith("b.xlsx cannot be read as Excel (.xlsx): ")
    assert refusal(workbook([["text", "label"]])) == "a.xlsx has a header (text, label) and no rows."
    assert refusal(workbook([])) == "a.xlsx is empty; the first row must name the columns, as in text, label."
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert refusal("a.xlsx") == "a.xlsx: reading Excel needs a package: pip install 'nlp_ft[excel]'."


def test_a_workbook_under_another_name_is_told_with_the_flag() -> None:
    Path("a.csv").write_bytes(Path(workbook([["text", "label"], ["x", "a"]])).read_bytes())
    assert refusal("a.csv") == "a.csv is an Excel workbook by its first bytes; read it with --file_format xlsx."
    assert read_table("a.csv", file_format="xlsx").columns == {"text": ["x"], "label": ["a"]}


# ---- JSON that is no table of objects

BY_COLUMN = (
    "a.json holds one object by column (text, label); wanted an array of objects, or one object a line (of a pandas frame: "
    'frame.to_json(path, orient="records")).'
)
TEXTS = [f"a text that no message shows {n}" for n in range(50)]
FRAME = pd.DataFrame({"text": TEXTS, "label": ["a", "b"] * 25})
SPLITS = (
    "a.json holds several splits in one object (train, test); write each as an array of objects into a file of its own, for "
    "--train_file, --validation_file and --test_file."
)
SHAPES: dict[str, tuple[object, str]] = {
    "a frame": (json.loads(str(FRAME.to_json())), BY_COLUMN),
    "lists": (FRAME.to_dict(orient="list"), BY_COLUMN),
    "splits": ({"train": [[text, "a"] for text in TEXTS], "test": []}, SPLITS),
    "splits of objects": ({"train": FRAME.to_dict(orient="records"), "test": []}, SPLITS),
    "split": (json.loads(str(FRAME.to_json(orient="split"))), BY_COLUMN.replace("text, label", "columns, index, data")),
    "rows under a name": (
        {"data": FRAME.to_dict(orient="records"), "version": 1},
        "a.json holds its rows under 'data' of one object; write that array alone.",
    ),
}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(("value", "message"), SHAPES.values(), ids=SHAPES)
def test_one_object_is_told_in_one_short_line(value: object, message: str, indent: int | None) -> None:
    assert refusal(write("a.json", json.dumps(value, indent=indent))) == message


def test_objects_over_several_lines_are_told_in_one_line() -> None:
    row = json.dumps({"text": TEXTS[0], "label": "a"}, indent=1)
    assert refusal(write("a.jsonl", f"{row}\n{row}\n")) == (
        "a.jsonl holds objects over several lines each; wanted one object a line, or an array of objects."
    )
    assert refusal(write("a.json", row)) == (
        "a.json holds one object over several lines (text, label); wanted an array of objects, or one object a line."
    )
    by_row = json.dumps({str(n): {"text": text, "label": "a"} for n, text in enumerate(TEXTS)}, indent=1)
    assert refusal(write("a.json", by_row)).startswith("a.json holds one object by column (0, 1, 2, 3, 4, ...); wanted")


def test_arrays_a_line_and_lines_of_one_kind_of_fault_are_told_once() -> None:
    message = refusal(write("a.jsonl", "".join(json.dumps([text, "a"]) + "\n" for text in TEXTS)))
    assert message.startswith("a.jsonl, lines 1, 2, 3 and 47 more; at the first: ['a text that no message show")
    message = refusal(write("a.jsonl", "text,label\n" + "x,y\n" * 50))
    assert message.startswith("a.jsonl, lines 1, 2, 3 and 48 more: not JSON: Expecting value (column 1). Mend them; ")


@pytest.mark.parametrize("row", [{"text": "x", "label": ["a"]}, {"text": "x", "spans": [{"start": 1}]}, {"text": "x"}])
def test_one_row_of_json_lines_is_a_row(row: dict[str, object]) -> None:
    assert read_table(write("a.jsonl", json.dumps(row))).columns == {name: [cell] for name, cell in row.items()}


# ---- frames


def mixed(*cells: object) -> pd.DataFrame:
    return pd.DataFrame({"text": pd.Series(cells, dtype=object), "label": ["a", "b"] * (len(cells) // 2)})


@pytest.mark.parametrize(
    ("cell", "shown"),
    [(3.5, "3.5"), (7, "7"), (True, "True"), ({"a": 1}, "{'a': 1}"), (np.float32(1.5), "1.5"), (["x"], "['x']")],
)
def test_a_cell_of_another_kind_among_strings_names_its_row(cell: object, shown: str) -> None:
    with pytest.raises(DataError) as caught:
        load_data(DataArguments(), frames={"train": mixed(*["a fine day", cell] * 4)})
    assert str(caught.value).startswith(
        f"DataFrame, row 2: column 'text' (--text_column_names) holds {shown}, which is no string;"
    )


def test_a_mixed_label_names_its_row_and_a_mixed_column_that_is_not_used_is_no_matter() -> None:
    frame = mixed(*[f"text {n}" for n in range(8)]).assign(label=pd.Series(["a", 1.5] * 4, dtype=object))
    with pytest.raises(DataError, match=r"^DataFrame, row 2: column 'label' holds the number 1\.5, but the string 'a'"):
        load_data(DataArguments(), frames={"train": frame})
    odd = pd.Series(
        ["x", 1, datetime.date(2024, 1, 1), 2**70, None, 1.5, b"x", pd.Timestamp("2024-01-01")], dtype=object
    )
    frame = mixed(*[f"text {n}" for n in range(8)]).assign(odd=odd)
    assert read_rows(DataArguments(label_column_name="label"), {"train": frame}).labels == ["a", "b"]


def test_dictionaries_may_hold_numbers_of_numpy_and_dates() -> None:
    rows = [{"text": f"text {n}", "label": np.int64(n % 2), "when": datetime.date(2024, 1, 1 + n)} for n in range(8)]
    assert read_rows(DataArguments(label_column_name="label"), {"train": rows}).labels == ["0", "1"]


# ---- missing files


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["data", "check", "trian.csv"], "no such file: trian.csv. Did you mean 'train.csv'?"),
        (["data", "check", "Train.CSV"], "no such file: Train.CSV. Did you mean 'train.csv'?"),
        (["data", "check", "dta/x.csv"], "no such file: dta/x.csv; there is no directory dta either. Did you mean 'data'?"),
        (["data", "check", "*.tsv"], "no file matches *.tsv."),
        (["evaluate", "--model", "m", "--input", "trian.csv"], "no such file: trian.csv. Did you mean 'train.csv'?"),
        (["finetune", "--model_name_or_path", "m", "--output_dir", "o", "--train_file", "train.csv", "--test_file", "tset.csv"],
         "no such file: tset.csv. Did you mean 'test.csv'?"),
        (["pretrain", "--model_name_or_path", "m", "--output_dir", "o", "--text_file", "trian.csv"],
         "no such file: trian.csv. Did you mean 'train.csv'?"),
    ],
)  # fmt: skip
def test_a_missing_file_names_the_nearest_before_torch_is_imported(
    argv: list[str], message: str, run_cold: RunCli
) -> None:
    write("train.csv", "text,label\nx,a\n")
    write("test.csv", "text,label\nx,a\n")
    Path("data").mkdir()
    start = f"import os, sys; os.chdir({os.getcwd()!r})"
    code = f"{start}; from nlp_ft.cli.main import main; print(main({argv!r}), 'torch' in sys.modules)"
    assert run_cold(["-c", code]) == (0, "2 False\n", f"nlp-ft: {message}\n")


# ---- the commands


def test_the_flags_reach_the_check_of_data(run_cli: RunCli) -> None:
    rows = "".join(f'ein "schönes Stück {n}\t{"ab"[n % 2]}\n' for n in range(40))
    write("a.data", ("text\tlabel\n" + rows).encode("latin-1"))
    argv = ["data", "check", "a.data", "--file_format", "tsv", "--encoding", "latin-1", "--quoting", "none"]
    code, _, err = run_cli(argv)
    assert (code, "train: 40 rows of a.data" in err) == (0, True)
    code, _, err = run_cli([*argv[:-1], "nome"])
    assert (code, err) == (2, "nlp-ft: --quoting must be one of double, none, got 'nome'. Did you mean 'none'?\n")
