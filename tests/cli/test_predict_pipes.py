"""`nlp-ft predict` in pipes, with rows it cannot read, and with options it refuses: nothing is lost, nothing left behind."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, RunCli
from datasets import Dataset
from tiny import TEXTS, classifier, save_classifier, train

import nlp_ft
from nlp_ft.training.save import save_and_verify

ANSWERS = ["negative", "neutral", "positive"]
Piped = Callable[..., tuple[int, list[Any], str]]


@pytest.fixture(scope="module")
def model(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = {"id2label": dict(enumerate(ANSWERS)), "label2id": {name: i for i, name in enumerate(ANSWERS)}}
    return save_classifier(tiny_bert, tmp_path_factory.mktemp("classifier"), num_labels=3, **names)


@pytest.fixture(scope="module")
def pair_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pairs")
    network, tokenizer = classifier("bert", ANSWERS)
    train(network, tokenizer)
    save_and_verify(network, tokenizer, path, Dataset.from_dict({"text": TEXTS, "text_pair": TEXTS[::-1]}), 48)
    return path


@pytest.fixture
def piped(run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> Piped:
    """`piped(bytes of stdin, *argv)` -> (exit code, objects on stdout, stderr) of `nlp-ft predict`."""

    def run(stdin: bytes, *argv: object) -> tuple[int, list[Any], str]:
        out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with monkeypatch.context() as patch:
            patch.setattr("contextlib.redirect_stdout", lambda _: _Redirected(out))
            code, _, err = run_cli(["predict", *argv])
        return code, [json.loads(line) for line in out.buffer.getvalue().decode().splitlines()], err  # type: ignore[attr-defined]

    return run


class _Redirected:
    """sys.stdout is a stream with a buffer, as a pipe's is."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        self.before, sys.stdout = sys.stdout, self.stream

    def __exit__(self, *_: object) -> None:
        self.stream.flush()
        sys.stdout = self.before


def _wanted(model: Path, texts: list[str]) -> list[str]:
    return [str(one.label) for one in nlp_ft.load(model).predict(texts)]


def test_json_lines_come_out_with_their_members_and_the_answer(model: Path, piped: Piped) -> None:
    rows = [{"id": 7, "text": "a lovely film"}, {"text": "größer 🎉", "more": [1, {"a": None}]}, {"id": 9, "text": ""}]
    stdin = "\n\n".join(json.dumps(row) for row in rows).encode()
    code, answers, err = piped(stdin, "--model", model, "--input", "-", "--output", "-", "--batch_size", 2)
    assert code == 0
    assert [{name: answer[name] for name in row} for row, answer in zip(rows, answers, strict=True)] == rows
    assert [answer["prediction"] for answer in answers] == _wanted(model, [str(row["text"]) for row in rows])
    assert all(sum(answer[f"score_{name}"] for name in ANSWERS) == pytest.approx(1) for answer in answers)
    assert "rows labelled" not in err


@pytest.mark.parametrize(
    "stdin", [b"text", b"a lovely film\n\nso so\n", "良い映画\r\nnaïve".encode(), b"\xef\xbb\xbfone"]
)
def test_lines_that_are_no_objects_are_a_text_each(stdin: bytes, model: Path, piped: Piped) -> None:
    code, answers, err = piped(stdin, "--model", model, "--input", "-", "--output", "-")
    lines = stdin.decode("utf-8-sig").splitlines()
    assert (code, [answer["text"] for answer in answers]) == (0, lines)
    assert [answer["prediction"] for answer in answers] == _wanted(model, lines)
    assert "stdin: each line is read as a text" in err


def test_a_pipe_fills_a_file_and_a_file_a_pipe(model: Path, piped: Piped, tmp_path: Path) -> None:
    texts = ["a lovely film", "so, so", 'he said "no"']
    output = tmp_path / "out.csv"
    code, answers, err = piped("\n".join(texts).encode(), "--model", model, "--input", "-", "--output", output)
    assert (code, answers) == (0, [])
    assert "3 rows labelled" in err
    code, answers, _ = piped(b"", "--model", model, "--input", output, "--output", "-", "--text_column_names", "text")
    assert (code, [answer["text"] for answer in answers]) == (0, texts)
    assert [answer["prediction_"] for answer in answers] == [answer["prediction"] for answer in answers]


def test_a_table_is_piped_by_its_format(model: Path, piped: Piped, tmp_path: Path) -> None:
    stdin = b"id,text\n1,a lovely film\n2,so so\n"
    code, answers, err = piped(stdin, "--model", model, "--input", "-", "--output", "-")
    assert (code, answers) == (2, [])
    assert "stdin:1: 'id,text' looks like the header of a table; give --file_format csv, or pipe JSON lines." in err
    code, answers, _ = piped(stdin, "--model", model, "--input", "-", "--output", "-", "--file_format", "csv")
    assert (code, [answer["id"] for answer in answers]) == (0, ["1", "2"])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": 1', "no JSON object: Expecting ',' delimiter at character 11."),
        (b"[1]", "wanted a JSON object, got '[1]'."),
        (b'{"text": "\xff"}', "no UTF-8 (byte 0xff); convert the input first."),
        (b'{"other": 1}', "wanted a text in column 'text'"),
        (b'{"text": null}', "wanted a text in column 'text'"),
        (b'{"text": ["a"]}', "wanted a text in column 'text'"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_or_left_out(line: bytes, reason: str, model: Path, piped: Piped) -> None:
    stdin = b'{"text": "a"}\n' + line + b'\n{"text": "b"}\n'
    code, answers, err = piped(stdin, "--model", model, "--input", "-", "--output", "-")
    assert code == 2
    assert "stdin:2: " in err
    if "wanted a text" not in reason:
        assert f"stdin:2: {reason}" in err
    assert "Traceback" not in err
    code, answers, err = piped(stdin, "--model", model, "--input", "-", "--output", "-", "--skip_bad_rows")
    assert (code, [answer["text"] for answer in answers]) == (0, ["a", "b"])
    assert "1 rows were left out" in err or "1 row was left out" in err


def test_bad_rows_of_a_file_are_left_out_in_every_format(model: Path, tmp_path: Path, run_cli: RunCli) -> None:
    source = tmp_path / "n.jsonl"
    source.write_text('{"text":"a"}\n{"other":1}\n{"text":null}\nnone\n{"text":"b"}\n', encoding="utf-8")
    for suffix in ("jsonl", "csv", "parquet"):
        output = tmp_path / f"out.{suffix}"
        argv = ["predict", "--model", model, "--input", source, "--output", output]
        code, _, err = run_cli(argv)
        assert code == 2
        assert "3 " in err
        code, _, err = run_cli([*argv, "--skip_bad_rows"])
        assert code == 0, err
        assert "3 rows left out" in err
        assert "2 rows labelled" in err
        assert output.exists()
        assert not output.with_name(output.name + ".part").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--abstain_below", "80"], "abstain_below must be a probability, got 80.0."),
        (["--top_k", "0"], "top_k must be at least 1, got 0."),
        (["--all_scores"], "--all_scores goes with --text; a file has every score."),
        (["--text_pair", "a"], "--text_pair goes with --text; name a column."),
        (["--revision", "v9"], "is a directory, and has no revisions; leave it out."),
    ],
)
def test_a_refused_option_leaves_nothing_behind(
    flags: list[str], message: str, model: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("text\ngood\nbad\n")
    argv = ["predict", "--model", model, "--input", source, "--output", output]
    code, _, err = run_cli([*argv, *flags])
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]
    assert run_cli(argv)[0] == 0


def test_an_option_a_regression_refuses_leaves_nothing_behind(tiny_bert: Path, tmp_path: Path, run_cli: RunCli) -> None:
    model = save_classifier(tiny_bert, tmp_path / "regressor", num_labels=1, problem_type="regression")
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("text\ngood\n")
    argv = ["predict", "--model", model, "--input", source, "--output", output]
    code, _, err = run_cli([*argv, "--abstain_below", "0"])
    assert (code, "a regression gives a number and no probability" in err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "regressor"]
    with pytest.raises(nlp_ft.ConfigError):
        nlp_ft.load(model).predict_file(source, output, abstain_below=0.5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "regressor"]
    assert run_cli(argv)[0] == 0


def test_options_that_are_zero_are_heard(model: Path, run_cli: RunCli) -> None:
    code, out, _ = run_cli(["predict", "--model", model, "--text", "a", "--abstain_below", "0"])
    assert (code, out.split()[0] in ANSWERS) == (0, True)
    code, out, _ = run_cli(["predict", "--model", model, "--text", "a", "--abstain_below", "1"])
    assert (code, out.split()[0]) == (0, "-")


def test_every_score_is_shown_for_texts(model: Path, run_cli: RunCli) -> None:
    (wanted,) = nlp_ft.load(model).predict(["a"], return_logits=True)
    ranked = sorted(wanted.scores.items(), key=lambda item: -item[1])
    code, out, _ = run_cli(["predict", "--model", model, "--text", "a", "--all_scores", "--return_logits"])
    _, *lines, logits = out.splitlines()
    assert code == 0
    assert [line.split() for line in lines] == [[name, f"{score:.4f}"] for name, score in ranked]
    assert logits.split() == ["logits", *(f"{logit:.4f}" for logit in wanted.logits or ())]
    code, out, _ = run_cli(["predict", "--model", model, "--text", "a", "--top_k", "2"])
    assert [line.split()[0] for line in out.splitlines()[1:]] == [name for name, _ in ranked[:2]]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["--text", "a"], "was trained on pairs of texts; give each --text its --text_pair."),
        (["--text", "a", "b", "--text_pair", "c"], "2 --text and 1 --text_pair; wanted the same number."),
    ],
)
def test_a_model_of_pairs_is_given_pairs(
    texts: list[str], message: str, pair_model: Path, model: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    code, out, err = run_cli(["predict", "--model", pair_model, *texts])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    code, out, _ = run_cli(["predict", "--model", pair_model, "--text", "a", "--text_pair", "b"])
    (wanted,) = nlp_ft.load(pair_model).predict([("a", "b")])
    assert (code, out) == (0, f"{wanted.label}  {wanted.score:.4f}  a | b\n")
    source = tmp_path / "in.csv"
    source.write_text("text\na\n")
    code, _, err = run_cli(["predict", "--model", pair_model, "--input", source, "--output", tmp_path / "out.csv"])
    assert (code, "was trained on pairs of texts, and one text column was taken (text)" in err) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv"]


@pytest.mark.parametrize("name", ["runs/nope", "./nope", "{tmp}/modle", "{tmp}/model/"])
def test_a_mistyped_path_is_told_and_never_looked_up(
    name: str, tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("looked up on the Hub")

    monkeypatch.setattr("huggingface_hub.snapshot_download", never)
    (tmp_path / "models").mkdir()
    name = name.format(tmp=tmp_path)
    code, out, err = run_cli(["predict", "--model", name, "--text", "a"])
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{name}: no such directory" in err
    assert ("Did you mean" in err) == (str(tmp_path) in name)


def test_a_mistyped_model_or_logger_is_told_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,x\nb,y\n")
    code = (
        "import sys; from nlp_ft.cli.main import main; code = main(sys.argv[1:]); "
        "print('torch' in sys.modules, file=sys.stderr); sys.exit(code)"
    )
    train = ["finetune", "--train_file", str(tmp_path / "train.csv"), "--output_dir", str(tmp_path / "out")]
    for argv, message in (
        (["predict", "--model", "runs/nope", "--text", "a"], "runs/nope: no such directory"),
        ([*train, "--model_name_or_path", "runs/nope"], "runs/nope: no such directory"),
        ([*train, "--model_name_or_path", str(tmp_path), "--report_to", "wandbb"], "Did you mean 'wandb'?"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *argv], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        *lines, imported = done.stderr.splitlines()
        assert len(lines) == 1
        assert message in lines[0]
        assert imported == "False"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_console_shows_an_answer(encoding: str, model: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    argv = [sys.executable, "-m", "nlp_ft", "predict", "--model", str(model), "--text", "naïve 映画 🎉"]
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert "naïve 映画 🎉".encode(encoding, "backslashreplace") in done.stdout


@pytest.mark.parametrize("argv", [["predict", "--text", "a", "--model"], ["finetune", "--model_name_or_path"]])
def test_a_model_nobody_knows_is_told_with_the_nearest_name(
    argv: list[str], tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("reviews_model").mkdir()
    Path("x.csv").write_text("text,label\n")
    if argv[0] == "finetune":
        argv = ["finetune", "--train_file", "x.csv", "--output_dir", "out", *argv[1:]]
    for name, nearest in (("reviews_modle", "reviews_model"), ("distilbert-base-uncasd", "distilbert-base-uncased")):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        code, _, err = run_cli([*argv, name])
        assert (code, err) == (
            2,
            f"nlp-ft: {name}: no such directory, not in the cache of the Hub, and HF_HUB_OFFLINE forbids to ask the Hub. "
            f"Did you mean '{nearest}'?\n",
        )
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setattr("huggingface_hub.HfApi.repo_exists", lambda *_: False)
        code, _, err = run_cli([*argv, name])
        assert (code, err) == (
            2,
            f"nlp-ft: {name}: no such directory, and no such model on the Hub. Did you mean '{nearest}'?\n",
        )
        monkeypatch.setattr("huggingface_hub.HfApi.repo_exists", _unreachable)
        code, _, err = run_cli([*argv, name])
        assert (code, err.count("\n")) == (2, 1)
        assert f"cannot be reached. Did you mean '{nearest}'?" in err


def _unreachable(*_: object) -> None:
    raise ConnectionError("no network")
