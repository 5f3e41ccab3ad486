"""Files without a header, and headers that stand where rows should."""

from __future__ import annotations

from pathlib import Path

import pytest

from nlp_ft.config import DataArguments
from nlp_ft.data import load_data, open_texts, read_rows, read_table, texts_for_prediction
from nlp_ft.errors import ConfigError, DataError

ROWS = "".join(f"{label},a film number {n}\n" for n, label in enumerate(["good", "bad"] * 10))


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(**arguments: object) -> str:
    with pytest.raises(DataError) as caught:
        read_rows(DataArguments(train_file=["a.csv"], **arguments))  # type: ignore[arg-type]
    return str(caught.value)


def test_a_file_without_a_header_is_refused_with_the_flag_and_read_with_it() -> None:
    Path("a.csv").write_text(ROWS)
    assert refusal() == (
        "a.csv: the first line (good, a film number 0) looks like a row: 'good' is also a label below it; if there is no "
        "header, name the columns, as in --column_names label,text, and if it is one, the label column with "
        "--label_column_name."
    )
    rows = read_rows(DataArguments(train_file=["a.csv"], column_names="label,text"))
    assert len(rows.rows["train"]) == 20
    assert rows.tables["train"].columns["text"][0] == "a film number 0"
    assert rows.tables["train"].where(0) == "a.csv:1"


def test_a_first_line_of_equal_numbers_is_refused_with_the_flag() -> None:
    Path("a.csv").write_text("a film,1,1\nanother,0,1\n")
    assert refusal() == (
        "a.csv:1: the first line holds '1' twice, so it looks like a row; if there is no header, name the columns with "
        "--column_names, such as --column_names text,label."
    )


def test_column_names_work_for_texts_to_predict_of_any_delimiter() -> None:
    Path("a.tsv").write_text("0\tsome text\n1\tsome other\n")
    assert list(texts_for_prediction("a.tsv", column_names="n,text").texts) == ["some text", "some other"]
    assert open_texts("a.tsv", column_names="n,text").rows == 2


def test_texts_to_predict_without_a_header_are_refused_with_the_flag() -> None:
    Path("a.csv").write_text(ROWS)
    with pytest.raises(DataError) as caught:
        texts_for_prediction("a.csv")
    assert str(caught.value).endswith(
        "name the columns, as in --column_names label,text, and if it is one, the text column with --text_column_names."
    )
    assert len(texts_for_prediction("a.csv", column_names="label,text").texts) == 20


def test_column_names_beside_a_header_are_refused_at_its_line() -> None:
    Path("a.csv").write_text("label,text\n" + ROWS)
    assert refusal(column_names="label, text") == "a.csv:1: the header stands here again; take the line out."


def test_column_names_of_another_number_are_refused() -> None:
    Path("a.csv").write_text(ROWS)
    assert "2 cells where" in refusal(column_names="id,label,text")
    for names in ("text,text", "text,,label", ""):
        with pytest.raises(ConfigError, match=r"^--column_names must be different names with commas between"):
            DataArguments(column_names=names)


def test_headers_in_the_middle_are_bad_rows() -> None:
    Path("a.csv").write_text("label,text\n" + ROWS + "label,text\n" + ROWS.replace("film", "play") + "label , text\n")
    assert refusal().startswith("a.csv, lines 22 and 43: the header stands here again; take the line out.")
    data = load_data(DataArguments(train_file=["a.csv"], skip_bad_rows=True))
    assert [bad.where for bad in data.rejected] == ["a.csv:22", "a.csv:43"]
    assert data.labels == ["bad", "good"]


def test_a_text_that_is_the_name_of_the_only_column_is_a_text() -> None:
    Path("a.csv").write_text("text\nhello there\ntext\n")
    assert list(read_table("a.csv").columns["text"]) == ["hello there", "text"]


@pytest.mark.parametrize("first", ["good film", "It was dull."])
def test_a_text_in_place_of_the_header_is_refused_with_the_flag(first: str) -> None:
    Path("a.csv").write_text(f"{first}\nbad film\na lovely story\n")
    with pytest.raises(DataError) as caught:
        open_texts("a.csv")
    assert str(caught.value) == (
        f"a.csv: the first line ({first!r}) looks like a text; if there is no header, name the columns, as in --column_names "
        "text, and if it is one, the text column with --text_column_names."
    )
    assert open_texts("a.csv", column_names="text").rows == 3
    assert open_texts("a.csv", first).rows == 2


@pytest.mark.parametrize("name", ["Customer feedback", "Review text", "What people wrote", "comment"])
def test_a_header_of_several_words_is_one(name: str) -> None:
    Path("a.csv").write_text(f"{name}\nthe cast is dreadful and the plot is boring\na lovely film with a warm story\n")
    assert open_texts("a.csv").rows == 2
