"""Rows without a visible text: they stop a run, or are left out; predicting and checking go on with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_data_read import write_delimited

from nlp_ft.config import DataArguments
from nlp_ft.data import load_data, load_labelled, read_rows, texts_for_prediction
from nlp_ft.errors import DataError

TEXTS = [f"a text number {n}" for n in range(20)]
LABELS = ["a", "b"] * 10


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(blanks: dict[int, str], name: str = "a.csv") -> list[str]:
    texts = [blanks.get(row, text) for row, text in enumerate(TEXTS)]
    write_delimited(Path(name), {"text": texts, "label": LABELS}, ",")
    return [name]


def refusal(**arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        load_data(DataArguments(**arguments))
    return str(caught.value)


@pytest.mark.parametrize("blank", ["", "   ", "\n", "\u200b", "\u00a0"])
def test_a_blank_text_stops_the_run_with_its_line(blank: str) -> None:
    assert refusal(train_file=write({3: blank})) == (
        "a.csv:5: the text in column 'text' (--text_column_names) is blank; write it, or drop the row, as "
        "--skip_bad_rows does in training."
    )


def test_several_blank_texts_are_told_at_once_with_the_flag_that_leaves_them_out() -> None:
    message = refusal(train_file=write({3: "", 5: " ", 7: "", 9: "", 11: ""}))
    assert message.startswith(
        "a.csv, lines 5, 7, 9 and 2 more: the text in column 'text' (--text_column_names) is blank;"
    )
    assert "--skip_bad_rows" in message


@pytest.mark.parametrize("split", ["validation_file", "test_file"])
def test_blank_texts_of_every_split_stop_the_run(split: str) -> None:
    write_delimited(Path("b.csv"), {"text": ["new one", ""], "label": ["a", "b"]}, ",")
    assert refusal(train_file=write({}), **{split: ["b.csv"]}).startswith("b.csv:3: the text in column 'text'")


def test_skip_bad_rows_leaves_them_out_and_keeps_their_places() -> None:
    data = load_data(DataArguments(train_file=write({3: "", 5: " \t"}), skip_bad_rows=True))
    assert [bad.where for bad in data.rejected] == ["a.csv:5", "a.csv:7"]
    assert data.rejected[0].reason.endswith("is blank; write it, or drop the row, as --skip_bad_rows does in training.")
    assert sum(len(split) for split in (data.train, data.validation, data.test)) == 18
    assert data.fingerprint["left_out"]["rejected"] == {"train": 2}
    assert "train: 18 rows of a.csv; 2 rows left out (--skip_bad_rows)" in data.notes


def test_either_side_of_a_pair_may_be_blank() -> None:
    columns = {"premise": ["a", "", "c", "d"], "hypothesis": ["e", "f", " ", "h"], "label": ["x", "y", "x", "y"]}
    write_delimited(Path("a.csv"), columns, ",")
    rows = read_rows(DataArguments(train_file=["a.csv"], skip_bad_rows=True))
    assert [bad.where for bad in rows.tables["train"].rejected] == ["a.csv:3", "a.csv:4"]
    assert "column 'hypothesis' (--text_pair_column_name) is blank" in rows.tables["train"].rejected[1].reason


def test_of_joined_columns_all_must_be_blank() -> None:
    columns = {"title": ["a", "", "c", ""], "body": ["e", "f", " ", " "], "label": ["x", "y", "x", "y"]}
    write_delimited(Path("a.csv"), columns, ",")
    arguments = {"train_file": ["a.csv"], "text_column_names": "title,body", "text_column_delimiter": " "}
    assert refusal(**arguments).startswith("a.csv:5: the text in column 'title' and 'body'")


def test_blank_texts_are_checked_evaluated_and_predicted() -> None:
    (path,) = write({3: "", 5: " "})
    assert len(read_rows(DataArguments(train_file=[path]), keep_blank=True).rows["train"]) == 20
    assert len(load_labelled(path, ["a", "b"], "single_label_classification")[0]) == 20
    assert texts_for_prediction(path).texts[3] == ""
