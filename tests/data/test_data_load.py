"""`load_data` and its kin, end to end on small files."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from test_data_read import WRITERS, write_delimited

from nlp_ft.config import DataArguments
from nlp_ft.data import TextData, load_data, load_labelled, texts_for_prediction
from nlp_ft.errors import ConfigError, DataError, NlpFtError


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))


def write(name: str, rows: int = 100, labels: str = "ab", start: int = 0) -> str:
    columns = {
        "text": [f"text {n}" for n in range(start, start + rows)],
        "label": [labels[n % len(labels)] for n in range(rows)],
        "score": [str(n / 4) for n in range(rows)],
    }
    WRITERS[name](Path(name), columns)
    return name


def load(**arguments: Any) -> TextData:
    return load_data(DataArguments(**{"train_file": None, **arguments}), seed=7)


def refusal(kind: type[NlpFtError] = DataError, **arguments: Any) -> str:
    with pytest.raises(kind) as caught:
        load(**arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_one_file_becomes_three_splits_and_every_decision_is_said() -> None:
    data = load(train_file=write("rows.csv"))
    assert (data.problem_type, data.labels) == ("single_label_classification", ["a", "b"])
    assert data.notes == [
        'text column: "text" (by its name)',
        'label column: "label" (by its name; 2 distinct values in 100 rows)',
        'problem: single_label_classification, because "label" holds 2 distinct strings (--problem_type overrides)',
        "labels: a, b",
        "train: 100 rows of rows.csv",
        "validation: 10 rows split off train (stratified, equal texts together, by hash (seed 7))",
        "test: 10 rows split off train (stratified, equal texts together, by hash (seed 7))",
        "train: 80 rows left",
    ]
    assert sorted([*data.train["text"], *data.validation["text"], *data.test["text"]]) == sorted(
        f"text {n}" for n in range(100)
    )
    assert data.train.column_names == ["text", "label"]
    assert all(row["label"] == int(row["text"].split()[1]) % 2 for row in data.train.to_list())


def test_a_score_column_is_regressed_on_and_the_reason_is_said() -> None:
    data = load(train_file=write("rows.csv"), label_column_name="score")
    assert (data.problem_type, data.labels) == ("regression", [])
    assert 'label column: "score" (given by --label_column_name; 100 distinct values in 100 rows)' in data.notes
    assert 'problem: regression, because "score" holds numbers with fractions (--problem_type overrides)' in data.notes
    assert all(row["label"] == int(row["text"].split()[1]) / 4 for row in data.test.to_list())


def test_multi_label_targets_are_zeros_and_ones_in_the_order_of_the_names() -> None:
    write_delimited(Path("a.csv"), {"text": [f"t{n}" for n in range(40)], "label": ["b", "a;b", "c", ""] * 10}, ",")
    data = load(train_file="a.csv", problem_type="multi_label_classification")
    assert data.labels == ["a", "b", "c"]
    wanted = [[0.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    assert all(row["label"] == wanted[int(row["text"][1:]) % 4] for row in data.train.to_list())


def test_sentence_pairs_keep_both_texts() -> None:
    write_delimited(
        Path("a.tsv"),
        {"premise": [f"p{n}" for n in range(30)], "hypothesis": [f"h{n}" for n in range(30)], "label": ["x", "y"] * 15},
        "\t",
    )
    data = load(train_file="a.tsv")
    assert data.train.column_names == ["text", "text_pair", "label"]
    assert all(row["text"][1:] == row["text_pair"][1:] for row in data.train.to_list())


def test_given_files_are_taken_as_they_are_and_only_what_is_missing_is_split_off() -> None:
    for name, start in (("rows.csv", 0), ("rows.jsonl", 1000), ("rows.tsv", 2000)):
        write(name, start=start)
    data = load(train_file="rows.csv", validation_file="rows.jsonl", test_file="rows.tsv")
    assert data.fingerprint["rows"] == {"train": 100, "validation": 100, "test": 100}
    data = load(train_file="rows.csv", test_file="rows.tsv", validation_split_size=0.2)
    assert data.fingerprint["rows"] == {"train": 80, "test": 100, "validation": 20}
    assert data.fingerprint["sources"] == {"train": "rows.csv", "validation": "split off train", "test": "rows.tsv"}
    assert data.test["text"][0] == "text 2000"


def test_a_missing_split_that_nobody_wants_made_has_no_rows_and_no_notes() -> None:
    write("rows.csv")
    data = load_data(DataArguments(train_file=["rows.csv"], max_eval_samples=4), 7, split_off=("test",))
    assert data.fingerprint["rows"] == {"train": 90, "validation": 0, "test": 10}
    sources = {"train": "rows.csv", "validation": "none", "test": "split off train"}
    assert data.fingerprint["sources"] == sources
    assert data.validation.features == data.train.features
    assert not any("validation" in note for note in data.notes)
    assert data.test["text"] == load(train_file="rows.csv").test["text"]


def test_the_fingerprint_is_the_same_from_every_format_and_tells_contents_apart() -> None:
    prints = [load(train_file=write(name)).fingerprint for name in WRITERS]
    assert all(found["sha256"] == prints[0]["sha256"] for found in prints)
    assert prints[0]["classes"] == {
        "train": {"a": 40, "b": 40}, "validation": {"a": 5, "b": 5}, "test": {"a": 5, "b": 5}
    }  # fmt: skip
    assert len(set(prints[0]["sha256"].values())) == 3
    assert (
        prints[0]["sha256"]["train"] != load(train_file=write("rows.csv", labels="ac")).fingerprint["sha256"]["train"]
    )


def test_two_processes_find_the_same_splits() -> None:
    write("rows.csv", labels="abcde")
    code = (
        "import json; from nlp_ft.config import DataArguments; from nlp_ft.data import load_data;"
        "print(json.dumps(load_data(DataArguments(train_file='rows.csv', max_train_samples=30), seed=7).fingerprint))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert json.loads(found) == load(train_file="rows.csv", max_train_samples=30).fingerprint


def test_samples_are_drawn_from_every_class_and_said() -> None:
    data = load(train_file=write("rows.csv"), max_train_samples=20, max_eval_samples=4, max_predict_samples=1000)
    assert Counter(data.train["label"]) == {0: 10, 1: 10}
    assert data.fingerprint["rows"] == {"train": 20, "validation": 4, "test": 10}
    assert data.notes[-2:] == [
        "train: a sample of 20 of 80 rows (--max_train_samples, stratified, seed 7)",
        "validation: a sample of 4 of 10 rows (--max_eval_samples, stratified, seed 7)",
    ]


def test_texts_on_both_sides_are_counted() -> None:
    write("rows.csv")
    write_delimited(
        Path("test.csv"),
        {"text": ["  TEXT 3", "new", "old", "red"], "label": ["a", "b", "a", "b"], "score": ["1"] * 4},
        ",",
    )
    leak = "1 row of 4 in test has a text that is in train too (test.csv:2 = rows.csv:5)"
    assert refusal(train_file="rows.csv", test_file="test.csv") == (
        f"{leak}, so the test figures would flatter the model; take them out (nlp-ft data check ... --fix DIR writes clean "
        "files), or go on with --allow_leakage."
    )
    notes = load(train_file="rows.csv", test_file="test.csv", allow_leakage=True).notes
    assert f"warning: {leak}, so its figures flatter the model" in notes
    write_delimited(Path("valid.csv"), {"text": ["text 3"], "label": ["b"], "score": ["1"]}, ",")
    notes = load(train_file="rows.csv", validation_file="valid.csv").notes
    assert notes[6] == (
        "warning: 1 row of 1 in validation has a text that is in train too (valid.csv:2 = rows.csv:5), so its figures "
        "flatter the model"
    )


def test_a_label_seen_only_in_another_split_names_split_file_label_and_count() -> None:
    write("rows.csv")
    write("rows.jsonl", labels="abc", start=500)
    assert refusal(train_file="rows.csv", test_file="rows.jsonl") == (
        "rows.jsonl:3: label 'c' (33 rows) is unknown; the labels trained on are a, b; correct it, or add such rows to the "
        "training file."
    )


def test_a_split_without_a_column_of_train_is_refused() -> None:
    write("rows.csv")
    write_delimited(Path("test.csv"), {"texts": ["x"], "label": ["a"]}, ",")
    assert refusal(train_file="rows.csv", test_file="test.csv") == (
        "test.csv has no column 'text' (--text_column_names); its columns are texts, label. Did you mean 'texts'?"
    )


def test_a_text_that_is_no_string_is_refused_at_its_line() -> None:
    Path("a.jsonl").write_text('{"text": "x", "label": 0}\n{"text": 5, "label": 1}\n')
    assert refusal(train_file="a.jsonl") == (
        "a.jsonl:2: column 'text' (--text_column_names) holds 5, which is no string; texts are read as they are written, so "
        "put it between quotes, or name another column."
    )
    Path("a.jsonl").write_text('{"text": "x", "label": 0}\n{"label": 1}\n')
    assert refusal(train_file="a.jsonl") == (
        "a.jsonl:2: column 'text' (--text_column_names) is null or missing; write the text, or drop the row."
    )


def test_sizes_that_leave_nothing_to_train_on_are_refused() -> None:
    assert refusal(ConfigError, train_file=write("rows.csv"), validation_split_size=0.5, test_split_size=0.5) == (
        "--validation_split_size 0.5 and --test_split_size 0.5 leave nothing to train on; their sum must be below 1."
    )


def glue() -> DatasetDict:
    features = Features({"sentence": Value("string"), "label": ClassLabel(names=["pos", "neg"]), "idx": Value("int64")})

    def split(rows: int, start: int, labels: list[int]) -> Dataset:
        texts = [f"text {n}" for n in range(start, start + rows)]
        cells = {"sentence": texts, "label": [labels[n % len(labels)] for n in range(rows)], "idx": list(range(rows))}
        return Dataset.from_dict(cells, features=features)

    return DatasetDict({"train": split(60, 0, [0, 1]), "dev": split(10, 500, [1, 0]), "test": split(10, 900, [-1])})


def test_a_saved_dataset_keeps_its_class_names_and_a_hidden_test_is_left_out() -> None:
    glue().save_to_disk("glue")
    data = load(dataset_name="glue")
    assert data.labels == ["pos", "neg"]
    assert data.fingerprint["rows"] == {"train": 54, "validation": 10, "test": 6}
    assert data.notes[0] == 'test: glue[test] is left out, because no row of it has its label ("label")'
    assert "validation: 10 rows of glue[dev]" in data.notes
    assert data.validation[0] == {"text": "text 500", "label": 1}


def test_class_names_survive_in_parquet_files() -> None:
    glue()["train"].to_parquet("train.parquet")
    assert load(train_file="train.parquet").labels == ["pos", "neg"]


def test_a_directory_of_csv_files_is_a_dataset_and_its_texts_stay_as_they_are() -> None:
    odd = ["NA", "null", "None", "n/a", "nan"]
    Path("set").mkdir()
    write_delimited(
        Path("set/train.csv"), {"text": [*odd, *(f"t{n}" for n in range(35))], "label": ["a", "b"] * 20}, ","
    )
    data = load(dataset_name="set")
    assert set(odd) <= {*data.train["text"], *data.validation["text"], *data.test["text"]}
    assert data.fingerprint["rows"] == {"train": 32, "validation": 4, "test": 4}


def test_a_dataset_that_cannot_be_had_is_refused_in_one_line() -> None:
    glue().save_to_disk("glue")
    assert refusal(dataset_name="none/such").startswith("--dataset_name none/such cannot be loaded: ")
    assert refusal(dataset_name="hf://datasets/x") == (
        "--dataset_name hf://datasets/x is a URL; give the name of a dataset on the Hub, or a local directory."
    )
    assert refusal(dataset_name="glue", test_split_name="tst") == (
        "glue has no split 'tst' (--test_split_name); its splits are train, dev, test. Did you mean 'test'?"
    )
    assert refusal(ConfigError, dataset_name="glue", test_file="a.csv") == (
        "--validation_file and --test_file go with --train_file; with --dataset_name, name its splits."
    )


def test_texts_to_predict_need_no_label() -> None:
    write_delimited(Path("in.csv"), {"id": ["1", "2"], "review": ["NA", " x "]}, ",")
    found = texts_for_prediction("in.csv")
    assert (found.texts, found.pairs, found.table.columns["id"]) == (["NA", " x "], None, ["1", "2"])
    assert texts_for_prediction("in.csv", "review", "id").pairs == ["1", "2"]
    with pytest.raises(
        DataError, match=r"^in.csv has no column 'reviw' \(--text_column_names\); .* Did you mean 'review'\?$"
    ):
        texts_for_prediction("in.csv", "reviw")


def test_a_labelled_file_is_numbered_by_the_names_of_a_saved_model() -> None:
    write("rows.csv", rows=4)
    rows, notes = load_labelled("rows.csv", ["b", "a"], "single_label_classification")
    assert rows["label"][:] == [1, 0, 1, 0]
    assert notes[-1] == "4 rows of rows.csv"
    with pytest.raises(DataError, match="label 'b' \\(2 rows\\) is unknown; the labels trained on are a, c"):
        load_labelled("rows.csv", ["a", "c"], "single_label_classification")
