"""`nlp-ft predict` and `nlp-ft evaluate`: the answers of nlp_ft.load(), readable, and nothing written over."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from conftest import MakeCsv, RunCli
from tiny import save_classifier

import nlp_ft

ANSWERS = ["negative", "positive"]


@pytest.fixture(scope="module")
def classifier(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {"id2label": dict(enumerate(ANSWERS)), "label2id": {name: i for i, name in enumerate(ANSWERS)}}
    return save_classifier(tiny_bert, tmp_path_factory.mktemp("classifier"), num_labels=2, **names)


@pytest.fixture(scope="module")
def regressor(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tiny_bert, tmp_path_factory.mktemp("regressor"), num_labels=1, problem_type="regression")


def refusal(run_cli: RunCli, *argv: object) -> str:
    code, out, err = run_cli([str(token) for token in argv])
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    return err.removeprefix("nlp-ft: ").rstrip("\n")


def test_texts_are_answered_one_a_line_as_load_answers_them(classifier: Path, run_cli: RunCli) -> None:
    texts = ["a lovely film", "an awful, tedious story"]
    code, out, err = run_cli(["predict", "--model", classifier, "--text", *texts])
    wanted = nlp_ft.load(classifier).predict(texts)
    assert (code, err) == (0, "")
    assert out == "".join(f"{one.label}  {one.score:.4f}  {text}\n" for one, text in zip(wanted, texts, strict=True))


def test_a_text_may_begin_with_dashes(classifier: Path, run_cli: RunCli) -> None:
    code, out, _ = run_cli(["predict", "--model", classifier, "--text=--model", "--text=-x"])
    assert code == 0
    assert [line.split("  ")[2] for line in out.splitlines()] == ["--model", "-x"]


def test_a_regression_prints_the_number_alone(regressor: Path, run_cli: RunCli) -> None:
    code, out, _ = run_cli(["predict", "--model", regressor, "--text", "a film"])
    assert code == 0
    assert out == f"{nlp_ft.load(regressor).predict(['a film'])[0].label:.6g}  a film\n"


def test_a_file_keeps_its_columns_and_gains_prediction_and_scores(
    classifier: Path, tiny_csv: dict[str, Path], tmp_path: Path, run_cli: RunCli
) -> None:
    code, out, err = run_cli(
        [
            "predict",
            "--model",
            classifier,
            "--input",
            tiny_csv["test"],
            "--output",
            tmp_path / "o.csv",
            "--batch_size",
            3,
        ]
    )
    assert (code, out) == (0, "")
    assert re.fullmatch(rf"20 rows labelled, in {tmp_path}/o\.csv \([\d,]+ rows/s\)", err.splitlines()[-1])
    rows = list(csv.DictReader((tmp_path / "o.csv").open(encoding="utf-8")))
    wanted = nlp_ft.load(classifier).predict([row["text"] for row in rows])
    assert list(rows[0]) == ["text", "label", "prediction", "score_negative", "score_positive"]
    assert [row["prediction"] for row in rows] == [one.label for one in wanted]
    for row, one in zip(rows, wanted, strict=True):
        assert float(row["score_positive"]) == pytest.approx(one.scores["positive"], abs=2e-6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.csv"]


def test_options_reach_the_answers(classifier: Path, make_csv: MakeCsv, tmp_path: Path, run_cli: RunCli) -> None:
    path = make_csv([{"text": text} for text in ("a lovely film", "an awful film", "so " * 100)])
    options = ["--top_k", 1, "--abstain_below", 1, "--return_logits", "--long_documents", "window"]
    code, _, err = run_cli(
        ["predict", "--model", classifier, "--input", path, "--output", tmp_path / "o.jsonl", *options]
    )
    assert code == 0, err
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    wanted = nlp_ft.load(classifier).predict([row["text"] for row in rows], top_k=1, return_logits=True)
    for row, one in zip(rows, wanted, strict=True):
        assert row["prediction"] is None
        assert [row[f"score_{name}"] is not None for name in ANSWERS] == [name in one.scores for name in ANSWERS]
        assert (row["logit_negative"], row["logit_positive"]) == pytest.approx(one.logits, abs=1e-5)
    assert [row["windows"] for row in rows] == [1, 1, 2]
    code, out, _ = run_cli(["predict", "--model", classifier, "--text", "a film", "--abstain_below", 1])
    assert (code, out.split()[0]) == (0, "-")


def test_texts_of_a_file_reach_the_output_as_they_are(
    classifier: Path, make_csv: MakeCsv, tmp_path: Path, run_cli: RunCli
) -> None:
    texts = ["NA", "null", "123", 'a "quoted", text', "two\nlines", ""]
    path = make_csv([{"text": text, "prediction": "mine"} for text in texts])
    assert run_cli(["predict", "--model", classifier, "--input", path, "--output", tmp_path / "o.csv"])[0] == 0
    rows = list(csv.DictReader((tmp_path / "o.csv").open(encoding="utf-8", newline="")))
    assert [row["text"] for row in rows] == texts
    assert {row["prediction"] for row in rows} == {"mine"}
    assert {row["prediction_"] for row in rows} <= set(ANSWERS)


def test_evaluate_prints_metrics_classes_and_confusions_and_writes_them(
    classifier: Path, tiny_csv: dict[str, Path], tmp_path: Path, run_cli: RunCli
) -> None:
    argv = ["evaluate", "--model", classifier, "--input", tiny_csv["test"], "--output", tmp_path / "m.json"]
    code, out, _ = run_cli(argv)
    rows = list(csv.DictReader(tiny_csv["test"].open(encoding="utf-8")))
    found = nlp_ft.load(classifier).predict([row["text"] for row in rows])
    accuracy = sum(one.label == row["label"] for one, row in zip(found, rows, strict=True)) / len(rows)
    assert code == 0
    assert f"accuracy            {accuracy:.4f}" in out
    assert "reference \\ predicted" in out
    assert json.loads((tmp_path / "m.json").read_text())["accuracy"] == pytest.approx(accuracy)
    assert refusal(run_cli, *argv) == (
        f"nlp-ft evaluate: --output {tmp_path / 'm.json'} is there already; name another. Nothing is written over."
    )


def test_evaluate_of_a_regression(regressor: Path, make_csv: MakeCsv, run_cli: RunCli) -> None:
    path = make_csv([{"text": f"a film {word}", "label": i / 2} for i, word in enumerate(["warm", "cold", "poor"])])
    code, out, _ = run_cli(["evaluate", "--model", regressor, "--input", path])
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()} >= {"mse", "mae", "r2", "pearson", "spearman"}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("predict", "nlp-ft predict: the following arguments are required: --model."),
        ("predict --model m", "nlp-ft predict: give either --input or --text."),
        ("predict --model m --text a --input b.csv", "nlp-ft predict: give either --input or --text."),
        (
            "predict --model m --text a --output b.csv",
            "nlp-ft predict: --input and --output, the file to write, go together.",
        ),
        ("predict --model m --input a.csv", "nlp-ft predict: --input and --output, the file to write, go together."),
        ("predict --model m --txt a", "nlp-ft predict: unknown flag '--txt'. Did you mean '--text'?"),
        ("predict --model m b", "nlp-ft predict: unexpected argument 'b'."),
        ("predict --model m --text a --batch_size 0", "nlp-ft predict: --batch_size must be at least 1, got 0."),
        ("predict --model m --text a --batch_size x", "nlp-ft predict: --batch_size: invalid int value: 'x'."),
        (
            "predict --model m --input a.csv --output b.tsv",
            "b.tsv: its name must end in .csv, .jsonl or .parquet.",
        ),
        (
            "predict --model m --input a.csv --output no/b.csv",
            "no/b.csv: there is no directory no.",
        ),
        ("predict --model m --input a.csv --output b.csv", "no such file: a.csv."),
        ("evaluate --model m", "nlp-ft evaluate: the following arguments are required: --input."),
        (
            "evaluate --model ./m --input a.csv",
            "./m: no such directory, and no name on the Hub either (those are owner/name).",
        ),
    ],
)
def test_wrong_use_is_one_line(
    argv: str, message: str, run_cli: RunCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if message != "no such file: a.csv.":
        Path("a.csv").write_text("text,label\na,b\n")
    there = list(tmp_path.iterdir())
    assert refusal(run_cli, *argv.split()) == message
    assert list(tmp_path.iterdir()) == there


def test_an_output_is_not_written_over(
    classifier: Path, tiny_csv: dict[str, Path], tmp_path: Path, run_cli: RunCli
) -> None:
    output = tmp_path / "o.csv"
    output.write_text("mine")
    message = refusal(run_cli, "predict", "--model", classifier, "--input", tiny_csv["test"], "--output", output)
    assert message == f"{output} is there already; name another. Nothing is written over."
    assert output.read_text() == "mine"


def test_a_body_without_a_head_is_refused(tiny_bert: Path, run_cli: RunCli) -> None:
    assert refusal(run_cli, "predict", "--model", tiny_bert, "--text", "a").startswith(
        f"{tiny_bert} is no fine-tuned classifier: classifier.bias, classifier.weight is not in its weights"
    )


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_a_verb_answers_help_without_torch(verb: str, run_cold: RunCli) -> None:
    program = (
        "import sys\nfrom nlp_ft.cli.main import main\ntry:\n    main([sys.argv[1], '--help'])\n"
        "finally:\n    print({'torch', 'transformers', 'pandas'} & set(sys.modules))"
    )
    code, out, _ = run_cold(["-c", program, verb])
    assert code == 0
    assert out.splitlines()[-1] == "set()"
    assert out.startswith(f"usage: nlp-ft {verb}")
