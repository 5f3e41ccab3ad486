"""Files in bulk: the input's own columns as they came, an answer a row, in every format; and streams without end."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from nlp_ft.data import open_texts, read_table
from nlp_ft.errors import ConfigError, DataError, RowError
from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.inference.files import FilePredictions, check_file, predict_file, predict_to_file, stream
from nlp_ft.inference.options import PredictOptions
from nlp_ft.inference.prediction import Prediction

ODD_TEXTS = [
    "NA", "null", "", "123", "007", "1.0", "true", "  spaces  ", "\t", "a,b", 'say "hi"', '"', "two\nlines",
    "two\r\nlines", "lone\rreturn", "\u2028\x85\x0b", "🙂 né", "\ufeff", "-", "a\\nb",
]  # fmt: skip


class Stub:
    """Answers by the bytes of a text, at once; `asked` holds every text it was asked for."""

    problem_type = "single_label_classification"

    def __init__(self, shift: int = 0) -> None:
        self.labels = ["bad", "good"]
        self.shift = shift
        self.asked: list[Any] = []

    inference_config = InferenceConfig()

    def check_options(self, **_: Any) -> None:
        """Take any option."""

    def logits(self, texts: Sequence[Any]) -> np.ndarray:
        found = np.array([(zlib.crc32(repr(text).encode()) + self.shift) % 1000 / 1000 for text in texts])
        return np.stack([-found, found], axis=1)

    def predict(self, texts: Sequence[Any], batch_size: int = 32, **options: Any) -> list[Prediction]:
        self.asked += texts
        scores = self.logits(texts)[:, 1].tolist()
        return [
            Prediction("good" if score > 0.5 else "bad", max(score, 1 - score), {"bad": 1 - score, "good": score})
            for score in scores
        ]


def write_csv(path: Path, columns: dict[str, list[Any]], delimiter: str = ",") -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([list(columns), *zip(*columns.values(), strict=True)])
    data = text.getvalue().encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def json_objects(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def write_jsonl(path: Path, columns: dict[str, list[Any]]) -> None:
    data = "".join(json.dumps(row) + "\n" for row in json_objects(columns)).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_json(path: Path, columns: dict[str, list[Any]]) -> None:
    path.write_text(json.dumps(json_objects(columns)))


def write_arrow(path: Path, columns: dict[str, list[Any]]) -> None:
    with pa.OSFile(str(path), "wb") as handle, pa.ipc.new_file(handle, pa.table(columns).schema) as writer:
        writer.write_table(pa.table(columns))


WRITERS: dict[str, Callable[[Path, dict[str, list[Any]]], None]] = {
    "in.csv": write_csv,
    "in.csv.gz": write_csv,
    "in.tsv": lambda path, columns: write_csv(path, columns, "\t"),
    "in.jsonl": write_jsonl,
    "in.jsonl.gz": write_jsonl,
    "in.json": write_json,
    "in.parquet": lambda path, columns: pq.write_table(pa.table(columns), path),
    "in.arrow": write_arrow,
}


def answered(source: Path, output: Path, rows: int = 7, stub: Any = None, **flags: Any) -> FilePredictions:
    stub = stub or Stub()
    return predict_to_file(check_file(source, output, block_rows=rows, **flags), stub, stub.predict)


def read(path: Path) -> dict[str, list[Any]]:
    return {name: list(cells) for name, cells in read_table(path).columns.items()}


@pytest.mark.parametrize("wanted", ["out.csv", "out.jsonl", "out.parquet"])
@pytest.mark.parametrize("given", WRITERS)
def test_every_format_keeps_its_columns_and_gains_the_answers(tmp_path: Path, given: str, wanted: str) -> None:
    columns: dict[str, list[Any]] = {"text": ODD_TEXTS, "score_good": [str(n) for n in range(len(ODD_TEXTS))]}
    WRITERS[given](tmp_path / given, columns)
    found = answered(tmp_path / given, tmp_path / wanted)
    assert (found.rows, found.resumed_from, found.output) == (len(ODD_TEXTS), 0, tmp_path / wanted)
    rows = read(tmp_path / wanted)
    assert list(rows) == ["text", "score_good", "prediction_", "score_bad_", "score_good_"]
    assert {name: rows[name] for name in columns} == columns
    ones = Stub().predict(ODD_TEXTS)
    assert rows["prediction_"] == [one.label for one in ones]
    assert [float(score) for score in rows["score_bad_"]] == [round(one.scores["bad"], 6) for one in ones]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([given, wanted])


def test_a_csv_in_blocks_is_the_csv_written_at_once(tmp_path: Path) -> None:
    write_csv(tmp_path / "in.csv", {"text": ODD_TEXTS})
    for rows in (1, 3, 1000):
        answered(tmp_path / "in.csv", tmp_path / f"{rows}.csv", rows)
    wanted = io.StringIO(newline="")
    csv.writer(wanted).writerow(["text", "prediction", "score_bad", "score_good"])
    for text, one in zip(ODD_TEXTS, Stub().predict(ODD_TEXTS), strict=True):
        csv.writer(wanted).writerow([text, one.label, f"{one.scores['bad']:.6f}", f"{one.scores['good']:.6f}"])
    assert {(tmp_path / f"{rows}.csv").read_bytes() for rows in (1, 3, 1000)} == {wanted.getvalue().encode()}


def test_json_lines_are_kept_character_for_character(tmp_path: Path) -> None:
    lines = ['{"text": "x", "n": 1.10, "big": 123456789012345678901234567890}', '{ "text":"\\u00e9","z":[1, {}] }']
    (tmp_path / "in.jsonl").write_text("\ufeff" + "\r\n\n".join(lines))
    answered(tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    made = (tmp_path / "out.jsonl").read_text().splitlines()
    assert [line.partition(', "prediction": ')[0] for line in made] == [line[:-1].rstrip() for line in lines]
    assert [list(json.loads(line))[-3:] for line in made] == [["prediction", "score_bad", "score_good"]] * 2


def test_a_key_met_late_is_a_column_and_is_not_taken_for_the_answer(tmp_path: Path) -> None:
    rows = [*({"text": f"t{n}"} for n in range(9)), {"text": "last", "prediction": "mine"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answered(tmp_path / "in.jsonl", tmp_path / "out.csv", 4)
    made = read(tmp_path / "out.csv")
    assert list(made) == ["text", "prediction", "prediction_", "score_bad_", "score_good_"]
    assert made["prediction"] == [""] * 9 + ["mine"]
    answered(tmp_path / "in.jsonl", tmp_path / "out.jsonl", 4)
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0]).keys() == {"text", *list(made)[2:]}


def test_a_parquet_schema_is_kept_with_its_metadata(tmp_path: Path) -> None:
    features = Features({"text": Value("large_string"), "label": ClassLabel(names=["a", "b"]), "n": Value("int8")})
    days = pa.array([datetime.date(2020, 1, n + 1) for n in range(9)])
    kinds = pa.array(["x", "y", None] * 3).dictionary_encode()
    table = Dataset.from_dict({"text": [*"abcdefghi"], "label": [0, 1, 0] * 3, "n": [*range(9)]}, features).data.table
    table = table.append_column("day", days).append_column("kind", kinds).append_column("list", pa.array([[1]] * 9))
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=5)
    answered(tmp_path / "in.parquet", tmp_path / "out.parquet", 4)
    was, made = pq.read_table(tmp_path / "in.parquet"), pq.read_table(tmp_path / "out.parquet")
    assert made.select(was.column_names).equals(was)
    assert made.schema.metadata == was.schema.metadata
    assert [str(field.type) for field in made.schema][-3:] == ["string", "double", "double"]
    assert str(Dataset.from_parquet(str(tmp_path / "out.parquet")).features["label"].names) == "['a', 'b']"  # type: ignore[union-attr]
    answered(tmp_path / "in.parquet", tmp_path / "out.csv", 4)
    assert read(tmp_path / "out.csv")["day"][:2] == ["2020-01-01", "2020-01-02"]
    assert read(tmp_path / "out.csv")["list"][0] == "[1]"


def test_json_values_become_the_parquet_type_that_holds_them_all(tmp_path: Path) -> None:
    columns = {
        "text": ["a", "b", "c"],
        "whole": [1, None, 2**60],
        "number": [1, 2.5, None],
        "flag": [True, None, False],
        "mixed": [1, "x", None],
        "exact": [2**60, 0.5, None],
        "deep": [{"a": [1]}, None, {}],
        "none": [None, None, None],
    }
    write_jsonl(tmp_path / "in.jsonl", columns)
    answered(tmp_path / "in.jsonl", tmp_path / "out.parquet", 2)
    made = pq.read_table(tmp_path / "out.parquet")
    assert [str(made.schema.field(name).type) for name in columns] == (
        ["string", "int64", "double", "bool", "string", "string", "string", "string"]
    )
    assert made["whole"].to_pylist() == columns["whole"]
    assert made["mixed"].to_pylist() == ["1", '"x"', None]
    assert made["exact"].to_pylist() == [str(2**60), "0.5", None]
    assert made["deep"].to_pylist() == ['{"a": [1]}', None, "{}"]


class Multi(Stub):
    problem_type = "multi_label_classification"

    def predict(self, texts: Sequence[Any], batch_size: int = 32, **options: Any) -> list[Prediction]:
        labels: list[Any] = [["bad", "good"], [], None]
        return [Prediction(labels[n % 3], 0.5, {"good": 0.25}, n, (1.0, 2.0)) for n in range(len(texts))]


class Number(Stub):
    problem_type = "regression"

    def __init__(self) -> None:
        super().__init__()
        self.labels = []

    def predict(self, texts: Sequence[Any], batch_size: int = 32, **options: Any) -> list[Prediction]:
        return [Prediction(1234567.89, 1234567.89, {}) for _ in texts]


def test_several_labels_no_label_and_scores_that_are_not_among_the_top(tmp_path: Path) -> None:
    write_csv(tmp_path / "in.csv", {"text": ["a", "b", "c"]})
    options = PredictOptions(return_logits=True, long_documents="window", top_k=1)
    for name in ("out.csv", "out.jsonl", "out.parquet"):
        predict_file(Multi(), tmp_path / "in.csv", tmp_path / name, options=options)
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "text,prediction,score_bad,score_good,logit_bad,logit_good,windows",
        "a,bad;good,,0.250000,1.000000,2.000000,0",
        "b,,,0.250000,1.000000,2.000000,1",
        "c,,,0.250000,1.000000,2.000000,2",
    ]
    assert pq.read_table(tmp_path / "out.parquet")["prediction"].to_pylist() == [["bad", "good"], [], None]
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0]) == {
        "text": "a", "prediction": ["bad", "good"], "score_bad": None, "score_good": 0.25,
        "logit_bad": 1.0, "logit_good": 2.0, "windows": 0,
    }  # fmt: skip


def test_a_regression_has_its_number_and_no_scores(tmp_path: Path) -> None:
    write_csv(tmp_path / "in.csv", {"text": ["a"]})
    for name in ("out.csv", "out.parquet"):
        predict_file(Number(), tmp_path / "in.csv", tmp_path / name)
    assert (tmp_path / "out.csv").read_bytes() == b"text,prediction\r\na,1.23457e+06\r\n"
    assert pq.read_table(tmp_path / "out.parquet").to_pylist() == [{"text": "a", "prediction": 1234570.0}]


def test_pairs_and_joined_columns_reach_the_model_as_such(tmp_path: Path) -> None:
    write_csv(tmp_path / "in.csv", {"premise": ["a", "b"], "hypothesis": ["c", "d"]})
    stub = Stub()
    answered(tmp_path / "in.csv", tmp_path / "pairs.csv", stub=stub)
    flags: dict[str, Any] = {"text_column_names": "hypothesis,premise", "text_column_delimiter": "|"}
    answered(tmp_path / "in.csv", tmp_path / "joined.csv", stub=stub, **flags)
    assert stub.asked == [("a", "c"), ("b", "d"), "c|a", "d|b"]


def test_a_pattern_is_read_as_one_table(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_csv(tmp_path / f"{name}.csv", {"text": [f"{name}{n}" for n in range(5)]})
    answered(tmp_path / "[ab].csv", tmp_path / "out.csv", 3)
    made = read(tmp_path / "out.csv")
    assert made["text"] == [f"{name}{n}" for name in "ab" for n in range(5)]
    assert made["source"] == ["a"] * 5 + ["b"] * 5


def test_rows_of_megabytes_make_small_blocks(tmp_path: Path) -> None:
    texts = ["x" * 2_500_000, "y", "z" * 2_500_000, *"abc"]
    for name in ("in.csv", "in.jsonl", "in.parquet"):
        WRITERS[name](tmp_path / name, {"text": texts})
        file = open_texts(tmp_path / name)
        assert max(len(block) for block in file.blocks()) < len(texts)
        answered(tmp_path / name, tmp_path / f"{name}.jsonl", 1000)
        assert read(tmp_path / f"{name}.jsonl")["text"] == texts


BAD = {
    "a.csv": 'text,label\nfine,a\nx\n"open,b\n',
    "b.csv": "text,label\n",
    "c.csv": "",
    "d.csv": "text,text\nx,y\n",
    "e.jsonl": '{"text": "x"}\n{"text": 1 2}\n3\n',
    "f.jsonl": '{"text": "x"}\n{"text": null}\n',
    "g.jsonl": "\n",
    "h.csv": "one,two\nabc,def\n",
    "i.csv": b"text,label\ncaf\xe9,b\n",
    "j.parquet": b"PAR1",
    "k.txt": "x",
    "l.csv.gz": b"no gzip",
}


@pytest.mark.parametrize("name", BAD)
def test_what_read_table_refuses_is_refused_in_its_words(tmp_path: Path, name: str) -> None:
    from nlp_ft.data import texts_for_prediction

    content = BAD[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError) as wanted:
        texts_for_prediction(tmp_path / name)
    with pytest.raises(DataError) as found:
        check_file(tmp_path / name, tmp_path / "out.csv")
    assert str(found.value) == str(wanted.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_bad_row_in_a_later_block_is_told_before_any_is_answered(tmp_path: Path) -> None:
    write_csv(tmp_path / "in.csv", {"text": ["x"] * 50, "label": ["a"] * 50})
    with (tmp_path / "in.csv").open("a") as handle:
        handle.write("short\n")
    stub = Stub()
    with pytest.raises(DataError, match=r"in\.csv:52: 1 cell where the header has 2 \(text, label\);"):
        answered(tmp_path / "in.csv", tmp_path / "out.csv", stub=stub)
    assert not stub.asked
    rows = [{"text": "x"}] * 20 + [{"other": 1}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError, match=r"in\.jsonl:21: column 'text' \(--text_column_names\) is null or missing;"):
        answered(tmp_path / "in.jsonl", tmp_path / "out.csv")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.txt", "out.txt: its name must end in .csv, .jsonl or .parquet."),
        ("none/out.csv", "none/out.csv: there is no directory none."),
        ("in.csv", "in.csv is there already; name another. Nothing is written over."),
        ("taken.csv", "taken.csv.part is there and no directory; the parts of taken.csv belong there."),
    ],
)
def test_an_output_that_cannot_be_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(Path("in.csv"), {"text": ["x"]})
    Path("taken.csv.part").write_text("mine")
    with pytest.raises(ConfigError) as caught:
        predict_file(Stub(), Path("in.csv"), Path(name))
    assert str(caught.value) == message


def test_notes_come_first_and_a_closing_line_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.csv").write_text("id;review\n1;x\n2;y\n")
    answered(tmp_path / "in.csv", tmp_path / "out.csv")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[:2] == [
        f"{tmp_path / 'in.csv'}: cells are delimited by a semicolon (found)",
        'text column: "review" (by its name)',
    ]
    assert lines[2].startswith(f"2 rows labelled, in {tmp_path / 'out.csv'} (")
    assert lines[2].endswith(" rows/s)")
    assert len(lines) == 3


# ---- streams


def test_a_stream_without_end_is_taken_as_it_is_wanted() -> None:
    taken: list[int] = []

    def texts() -> Iterator[str]:
        for n in count():
            taken.append(n)
            yield f"text {n}"

    found = stream(Stub().predict, texts(), 8)
    assert not taken
    assert [one.scores for one in islice(found, 20)] == [
        one.scores for one in Stub().predict([f"text {n}" for n in range(20)])
    ]
    assert len(taken) == 24


def test_an_error_in_a_stream_names_the_row_of_the_whole() -> None:
    def answer(texts: Sequence[object]) -> list[Prediction]:
        if "bad" in texts:
            raise RowError(texts.index("bad"), "is bad, as row 0.")
        return Stub().predict(texts)

    found = stream(answer, iter([*"abcdefgh", "bad", "i"]), 3)
    assert len(list(islice(found, 6))) == 6
    with pytest.raises(DataError, match=r"^row 8: is bad, as row 0\.$"):
        next(found)


def test_a_stream_of_nothing_is_empty() -> None:
    assert list(stream(Stub().predict, [], 4)) == []


@pytest.mark.parametrize("texts", ["text", b"x", None, {"a": 1}, 3])
def test_what_is_no_stream_is_refused_at_once(texts: Any) -> None:
    with pytest.raises(TypeError, match=r"^stream\(\) takes an iterable of texts"):
        stream(Stub().predict, texts, 4)


def test_a_chunk_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^chunk must be at least 1, got 0\.$"):
        stream(Stub().predict, ["x"], 0)
