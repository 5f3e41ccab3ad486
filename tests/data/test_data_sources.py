"""Whatever a table comes in: encodings, delimiters, archives, folders, patterns, frames; bad rows; data beyond memory."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pytest
from datasets import Dataset
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_data_read import ODD_TEXTS, WRITERS, write_delimited, write_jsonl

from nlp_ft.config import DataArguments
from nlp_ft.data import load_data, read_table
from nlp_ft.data.readers import arrow_store as store_module
from nlp_ft.data.readers.arrow_store import Column, Store, as_column
from nlp_ft.errors import ConfigError, DataError, NlpFtError

ODD = {"text": ODD_TEXTS, "label": ["a", "b"] * (len(ODD_TEXTS) // 2)}


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(kind: type[NlpFtError] = DataError, **arguments: Any) -> str:
    with pytest.raises(kind) as caught:
        load_data(DataArguments(**{"train_file": None, **arguments}), seed=7)
    return str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_a_byte_order_mark_tells_the_encoding(name: str, encoding: str) -> None:
    WRITERS[name](Path(name), ODD)
    marks = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
    text = Path(name).read_bytes().decode()
    Path(name).write_bytes(marks.get(encoding, b"") + text.encode(encoding))
    assert read_table(name).columns == ODD


def test_a_utf_16_file_may_hold_line_feeds_in_the_halves_of_its_characters() -> None:
    columns = {"text": ["\u0a0a\u0a00 \u000a\u0d0a", "x"], "label": ["a", "b"]}
    write_delimited(Path("a.csv"), columns, ",")
    Path("a.csv").write_bytes(Path("a.csv").read_bytes().decode().encode("utf-16"))
    table = read_table("a.csv")
    assert table.columns == columns
    assert list(table.lines or []) == [2, 4]


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.jsonl", "rows.json"])
def test_gzipped_files_are_unpacked_and_damaged_ones_refused(name: str) -> None:
    WRITERS[name](Path(name), ODD)
    packed = gzip.compress(Path(name).read_bytes())
    Path(f"{name}.gz").write_bytes(packed)
    assert read_table(f"{name}.gz").columns == ODD
    for damage in (packed[:-12], b"no gzip at all"):
        Path(f"{name}.gz").write_bytes(damage)
        with pytest.raises(DataError, match=rf"^{name}\.gz cannot be unpacked: "):
            read_table(f"{name}.gz")


@pytest.mark.parametrize("delimiter", [",", ";", "|", "\t"])
def test_the_delimiter_is_found_and_said(delimiter: str) -> None:
    columns = {"text": ["one, two; three", "a | b\tc", 'say "hi", both', "plain"], "label": ["a", "b", "a", "b"]}
    write_delimited(Path("a.csv"), columns, delimiter)
    table = read_table("a.csv")
    assert table.columns == columns
    names = {",": [], ";": ["a semicolon"], "|": ["a bar"], "\t": ["a tab"]}
    assert table.notes == [f"a.csv: cells are delimited by {name} (found)" for name in names[delimiter]]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    delimiter=st.sampled_from(",;|\t^~"),
    rows=st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))] * 2), min_size=1
    ),
)
def test_a_delimiter_that_is_given_is_taken_whatever_the_cells_hold(
    delimiter: str, rows: list[tuple[str, str]]
) -> None:
    columns = {"text": [text for text, _ in rows], "label": [label for _, label in rows]}
    write_delimited(Path("a.csv"), columns, delimiter)
    assert read_table("a.csv", delimiter=delimiter).columns == columns


def test_a_delimiter_must_be_one_character() -> None:
    assert DataArguments(delimiter="tab").delimiter == DataArguments(delimiter="\\t").delimiter == "\t"
    with pytest.raises(NlpFtError, match=r"^--delimiter must be one character that is no quote"):
        DataArguments(delimiter=";;")


def test_a_folder_of_text_files_has_the_directories_as_labels() -> None:
    for label, name, text in (("pos", "2.txt", "fine\n"), ("pos", "1.txt", " NA "), ("neg", "a.TXT", "bad\r\nvery")):
        Path("reviews", label).mkdir(parents=True, exist_ok=True)
        Path("reviews", label, name).write_text(text, newline="")
    Path("reviews/neg/notes.md").write_text("not a text")
    assert read_table("reviews").columns == {
        "text": ["bad\r\nvery", " NA ", "fine\n"],
        "label": ["neg", "pos", "pos"],
        "file": ["neg/a.TXT", "pos/1.txt", "pos/2.txt"],
    }
    Path("reviews/stray.txt").write_text("x")
    with pytest.raises(
        DataError, match=r"^reviews/stray\.txt lies beside the classes; move it into the directory of its"
    ):
        read_table("reviews")


def test_a_pattern_and_a_list_of_files_are_one_table_that_knows_its_sources() -> None:
    write_delimited(Path("b.csv"), {"text": ["3"], "label": ["y"], "extra": ["e"]}, ",")
    write_delimited(Path("a.csv"), {"text": ["1", "2"], "label": ["x", "y"]}, ",")
    write_jsonl(Path("c.jsonl"), {"text": ["4"], "label": ["x"]})
    table = read_table("[ab].csv")
    assert table.columns == {
        "text": ["1", "2", "3"],
        "label": ["x", "y", "y"],
        "extra": [None, None, "e"],
        "source": ["a", "a", "b"],
    }
    assert [table.where(row) for row in range(3)] == ["a.csv:2", "a.csv:3", "b.csv:2"]
    assert read_table(["c.jsonl", "a.csv"]).columns["source"] == ["c", "a", "a"]
    with pytest.raises(
        DataError, match=r"^a\.csv has no column 'extra', as the other files have; its columns are text, l"
    ):
        table.column("extra", "--label_column_name")
    Path("[x].csv").write_text("text,label\nz,y\n")
    assert read_table("[x].csv").columns["text"] == ["z"]


def test_sources_of_like_names_are_called_by_their_directories() -> None:
    for name in ("nyt", "amazon"):
        Path(name).mkdir()
        write_delimited(Path(name, "train.csv"), {"text": [name], "label": ["x"]}, ",")
    assert read_table("*/train.csv").columns["source"] == ["amazon", "nyt"]


FRAMES = {
    "pandas": lambda columns: pd.DataFrame(columns),
    "an odd index": lambda columns: pd.DataFrame(columns, index=[f"row {n}" for n in range(len(columns["text"]))]),
    "arrow": pa.table,
    "datasets": Dataset.from_dict,
    "a selection": lambda columns: Dataset.from_dict(columns).select(range(len(columns["text"]))[::-1]).sort("label"),
    "dictionaries": lambda columns: [
        dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
    ],
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_are_read_like_files(kind: str) -> None:
    frame = FRAMES[kind](ODD)
    table = read_table(frame)
    assert sorted(table.texts("text", "")) == sorted(ODD_TEXTS)
    assert set(table.columns) == {"text", "label"}
    assert table.where(0) == f"{type(frame).__name__}, row 1"


def test_arrow_files_and_streams_are_read_with_their_types() -> None:
    table = pa.table({**ODD, "stars": list(range(len(ODD_TEXTS)))})
    with pa.OSFile("file.arrow", "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=5)
    with pa.OSFile("stream.arrow", "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    feather.write_feather(table, "rows.feather")
    for name in ("file.arrow", "stream.arrow", "rows.feather"):
        assert read_table(name).columns == {**ODD, "stars": list(range(len(ODD_TEXTS)))}
    Path("broken.arrow").write_bytes(b"ARROW1 and no more")
    with pytest.raises(DataError, match=r"^broken\.arrow cannot be read as Arrow: "):
        read_table("broken.arrow")


def test_polars_frames_are_read_where_polars_is_there() -> None:
    polars = pytest.importorskip("polars")
    assert read_table(polars.DataFrame(ODD)).columns == ODD


def test_frames_train_in_place_of_files() -> None:
    frame = pd.DataFrame({"text": [f"text {n}" for n in range(60)], "stars": [1 + n % 5 for n in range(60)]})
    data = load_data(DataArguments(), seed=7, frames={"train": frame, "test": frame.assign(text=frame.text + " too")})
    assert (data.labels, len(data.test)) == (["1", "2", "3", "4", "5"], 60)
    assert data.fingerprint["sources"]["train"] == "DataFrame"
    assert refusal(ConfigError) == "give --train_file or --dataset_name, one of the two; neither came."
    with pytest.raises(DataError, match=r"^set is a set; wanted a path, a pandas or polars frame"):
        read_table({"text"})


def test_a_missing_text_in_a_frame_is_refused_and_not_the_word_nan() -> None:
    frame = pd.DataFrame({"text": ["a", None, "c"], "label": [0, 1, 0]})
    with pytest.raises(DataError, match=r"^DataFrame, row 2: column 'text' .* is null or missing"):
        load_data(DataArguments(), frames={"train": frame})


def bad_csv(rows: int) -> None:
    lines = [f"text {n},{'ab'[n % 2]}" if n % 3 else f"short {n}" for n in range(rows)]
    Path("a.csv").write_text("text,label\n" + "\n".join(lines) + "\n")


def test_malformed_rows_of_one_kind_are_told_at_once_in_one_line() -> None:
    bad_csv(90)
    assert refusal(train_file="a.csv") == (
        "a.csv, lines 2, 5, 8 and 27 more: 1 cell where the header has 2 (text, label); put a text that holds a comma between "
        "double quotes, or complete the row. Mend them; or, in training or predict, leave them out "
        "with --skip_bad_rows."
    )


def test_skipped_rows_are_counted_and_kept_with_place_reason_and_content() -> None:
    bad_csv(90)
    data = load_data(DataArguments(train_file=["a.csv"], skip_bad_rows=True), seed=7)
    assert sum(data.fingerprint["rows"].values()) == 60
    assert data.fingerprint["left_out"]["rejected"] == {"train": 30}
    assert "train: 60 rows of a.csv; 30 rows left out (--skip_bad_rows)" in data.notes
    assert [bad.where for bad in data.rejected[:2]] == ["a.csv:2", "a.csv:5"]
    assert data.rejected[0].content == "short 0"
    assert data.rejected[0].reason.startswith("1 cell where the header has 2")


def test_every_kind_of_bad_row_is_skipped_and_the_rows_around_it_are_not() -> None:
    good = [f"text {n},{'ab'[n % 2]}".encode() for n in range(30)]
    bad = {
        4: b"caf\xe9,a",
        9: b'"two\nlines of \xff",a',
        14: b"nul\0,a",
        18: b'"closed" early,a',
        22: b",,",
        25: b"no label,",
        29: b'"never closed,a',
    }
    lines = [b"text,label", *good]
    for place, line in bad.items():
        lines.insert(place, line)
    Path("a.csv").write_bytes(b"\n".join(lines) + b"\n")
    data = load_data(DataArguments(train_file=["a.csv"], skip_bad_rows=True), seed=7)
    texts = {*data.train["text"], *data.validation["text"], *data.test["text"]}
    assert texts == {f"text {n}" for n in range(30)}
    reasons = [bad.reason.split(";")[0].split(" at ")[0] for bad in data.rejected]
    assert sorted(reasons) == sorted(
        [
            "byte 0xe9",
            "byte 0xff",
            "NUL",
            "in the row that starts here, text follows a closing quote",
            "3 cells where the header has 2 (text, label)",
            "no label in column 'label'.",
            "the row that starts here opens a quote and never closes it",
        ]
    )


def test_bad_lines_and_cells_of_json_are_skipped() -> None:
    rows = [json.dumps({"text": f"text {n}", "label": n % 2}) for n in range(30)]
    rows[3:3] = ["{not json", '{"text": 5, "label": 1}', '{"text": "x"}', '["x"]', '{"text": "x", "label": "one"}']
    Path("a.jsonl").write_text("\n".join(rows))
    data = load_data(DataArguments(train_file=["a.jsonl"], skip_bad_rows=True), seed=7)
    assert {place.where for place in data.rejected} == {f"a.jsonl:{line}" for line in range(4, 9)}
    assert sum(data.fingerprint["rows"].values()) == 30


def test_when_no_row_is_left_it_is_said() -> None:
    Path("a.csv").write_text("text,label\nx\ny\n")
    assert refusal(train_file=["a.csv"], skip_bad_rows=True) == "a.csv has a header (text, label) and no readable rows."
    Path("b.csv").write_text("text,label\nx,\ny,\n")
    assert refusal(train_file=["b.csv"], skip_bad_rows=True).startswith(
        "b.csv: no row is left; all are refused, as b.csv:2"
    )


def test_rows_beyond_the_memory_limit_lie_on_disk_and_read_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"text": [f"text {n} é" for n in range(500)], "label": ["a", "b"] * 250}
    write_delimited(Path("a.csv"), columns, ",")
    write_jsonl(Path("a.jsonl"), columns)
    wanted = load_data(DataArguments(train_file=["a.csv"]), seed=7)
    monkeypatch.setattr(store_module, "SPILL_BYTES", 2000)
    monkeypatch.setattr(store_module, "BATCH_ROWS", 64)
    spilled = []
    write = store_module._Spill.write
    monkeypatch.setattr(
        store_module._Spill, "write", lambda self, batches: (spilled.append(self), write(self, batches))
    )
    for name in ("a.csv", "a.jsonl"):
        spilled.clear()
        table = read_table(name)
        assert spilled
        assert not spilled[0]._path.exists()  # mapped, and gone with its last reader
        assert table.columns == columns
        assert list(table.take([499, 0, 63, 64]).columns["text"]) == [columns["text"][n] for n in (499, 0, 63, 64)]
        assert load_data(DataArguments(train_file=[name]), seed=7).fingerprint["sha256"] == wanted.fingerprint["sha256"]


CELLS = st.one_of(
    st.none(), st.text(), st.integers(-5, 5), st.floats(allow_nan=False), st.booleans(), st.lists(st.text())
)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.dictionaries(st.sampled_from("abc"), CELLS), min_size=1), batch=st.integers(1, 5), data=st.data()
)
def test_a_store_gives_back_every_cell_in_its_type(rows: list[dict[str, Any]], batch: int, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "BATCH_ROWS", batch)
        store = Store()
        for row in rows:
            store.add_object(row)
        columns = store.columns()
    for name, column in columns.items():
        cells = [row.get(name) for row in rows]
        assert repr(list(column)) == repr(cells)
        assert repr([column[n] for n in range(len(rows))]) == repr(cells)
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=1))
    taken = Store()
    taken.add_rows(columns, np.asarray(chosen))
    for name, column in taken.columns().items():
        assert repr(list(column)) == repr([rows[n].get(name) for n in chosen])


def test_a_column_is_a_sequence() -> None:
    column = as_column(["a", "b", "c"])
    assert (column[-1], column[1:], list(reversed(column))) == ("c", ["b", "c"], ["c", "b", "a"])
    with pytest.raises(IndexError):
        column[3]
    assert column == ["a", "b", "c"]
    assert Column([]) == []
