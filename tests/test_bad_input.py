"""Every bad input of a user: exit code 2, one line on stderr, and an output directory that is not there or not changed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import MakeCsv, RunCli, rows_of

Refused = Callable[..., str]


@pytest.fixture
def refused(
    run_cli: RunCli, tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Refused:
    """`refused(flag=value, ...)`: the message after `nlp-ft: ` with which `nlp-ft finetune` ends; None leaves a flag out."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str, **flags: object) -> str:
        chosen = {"model_name_or_path": tiny_bert, "output_dir": "out", "num_train_epochs": 1, "use_cpu": True}
        chosen |= {f"{split}_file": path for split, path in tiny_csv.items()} | flags
        written = [f"--{name}={value}" for name, value in chosen.items() if value is not None]
        before = listing(tmp_path)
        code, _, err = run_cli(["finetune", *written, *argv])
        assert code == 2
        assert err.count("\n") == 1, err
        assert listing(tmp_path) == before
        return err.removeprefix("nlp-ft: ").rstrip("\n")

    return run


def listing(folder: Path) -> dict[str, bytes | None]:
    """Every file below a folder with its content, every directory with None."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def write(path: str, text: str | bytes) -> str:
    Path(path).write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# ---- files


def test_no_such_file(refused: Refused) -> None:
    assert refused(train_file="no.csv") == "no such file: no.csv."


def test_no_such_text_column(refused: Refused, make_csv: MakeCsv) -> None:
    make_csv(rows_of(20, 0), "a.csv")
    assert refused(train_file="a.csv", text_column_names="review") == (
        "a.csv has no column 'review' (--text_column_names); its columns are text, label."
    )


def test_no_such_label_column(refused: Refused, make_csv: MakeCsv) -> None:
    make_csv(rows_of(20, 0), "a.csv")
    assert refused(train_file="a.csv", label_column_name="labl") == (
        "a.csv has no column 'labl' (--label_column_name); its columns are text, label. Did you mean 'label'?"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.csv is empty; the first line must name the columns, as in text,label."),
        ("text,label\n", "a.csv has a header (text, label) and no rows."),
    ],
)
def test_an_empty_file(refused: Refused, text: str, message: str) -> None:
    assert refused(train_file=write("a.csv", text)) == message


def test_one_class_only(refused: Refused, make_csv: MakeCsv) -> None:
    make_csv([{"text": f"text {i}", "label": "good"} for i in range(20)], "a.csv")
    assert refused(train_file="a.csv") == (
        "a.csv: 20 rows with only the label 'good' (column 'label'); a classifier needs two or more."
    )


@pytest.mark.parametrize("split", ["validation_file", "test_file"])
def test_a_label_seen_only_in_validation_or_test(refused: Refused, make_csv: MakeCsv, split: str) -> None:
    make_csv([*rows_of(6, 0), {"text": "so so", "label": "neutral"}], "a.csv")
    assert refused(**{split: "a.csv"}) == (
        "a.csv:8: label 'neutral' (1 row) is unknown; the labels trained on are negative, positive; correct it, or add such "
        "rows to the training file."
    )


def test_null_labels(refused: Refused, make_csv: MakeCsv) -> None:
    make_csv([*rows_of(6, 0), {"text": "so so", "label": ""}], "a.csv")
    assert (
        refused(train_file="a.csv")
        == "a.csv:8: no label in column 'label'; write it, or drop the row, as --skip_bad_rows does in training."
    )


def test_mixed_label_types(refused: Refused) -> None:
    lines = ['{"text": "a b", "label": "good"}', '{"text": "c d", "label": 1}'] * 5
    assert refused(train_file=write("a.jsonl", "\n".join(lines))) == (
        "a.jsonl:2: column 'label' holds the number 1, but the string 'good' at a.jsonl:1; write all labels in one type."
    )


@pytest.mark.parametrize(("row", "cells"), [("too short", "1 cell"), ("too,long,by one", "3 cells")])
def test_a_row_too_short_or_too_long_names_its_line(refused: Refused, row: str, cells: str) -> None:
    path = write("a.csv", f"text,label\nlovely,good\nawful,bad\n{row}\n")
    assert refused(train_file=path) == (
        f"a.csv:4: {cells} where the header has 2 (text, label); put a text that holds a comma between double quotes, or "
        "complete the row."
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "text,label\nsch\xf6n,good\n".encode("latin-1"),
            "a.csv:2: byte 0xf6 at offset 14 is not UTF-8; it looks like Windows-1252, which --encoding cp1252 reads.",
        ),
        (
            "text,label\na,b\nc,d".encode("utf-16") + b"\x00\xd8\n\x00",
            "a.csv:3: byte 0x00 at offset 38 is not UTF-16; mend it, or name another --encoding.",
        ),
    ],
)
def test_not_utf_8(refused: Refused, text: bytes, message: str) -> None:
    assert refused(train_file=write("a.csv", text)) == message


# ---- checkpoints


def test_a_checkpoint_without_a_tokenizer(refused: Refused, tiny_bert: Path) -> None:
    shutil.copytree(tiny_bert, "bare", ignore=shutil.ignore_patterns("tokenizer*", "vocab*"))
    assert refused(model_name_or_path="bare") == (
        "bare has no tokenizer (no tokenizer.json or vocabulary in it); --tokenizer_name can name another."
    )


def test_a_directory_that_is_no_checkpoint(refused: Refused) -> None:
    Path("notes").mkdir()
    write("notes/a.txt", "hello")
    assert refused(model_name_or_path="notes") == "notes is no checkpoint: it has no config.json; it holds a.txt."


def test_a_checkpoint_that_is_not_there(refused: Refused) -> None:
    assert refused(model_name_or_path="./nowhere") == (
        "./nowhere: no such directory, and no name on the Hub either (those are owner/name)."
    )


# ---- the output directory


@pytest.mark.parametrize("held", ["run.json", "model.safetensors", "notes.txt"])
def test_an_output_directory_that_holds_something(refused: Refused, held: str) -> None:
    Path("out").mkdir()
    write(f"out/{held}", "{}")
    assert refused() == (
        f"--output_dir out holds something already ({held}); name another, or continue an interrupted run with "
        "--resume_from_checkpoint True. Nothing is written over."
    )


def test_a_finished_run_cannot_be_resumed(refused: Refused) -> None:
    Path("out").mkdir()
    write("out/run.json", "{}")
    assert refused(resume_from_checkpoint=True) == (
        "--output_dir out holds a finished run; there is nothing to resume. Name another."
    )


def test_an_output_directory_that_is_a_file(refused: Refused) -> None:
    write("out", "")
    assert refused() == "--output_dir out is a file; wanted a new or empty directory."


# ---- flags and keys


def test_an_unknown_flag(refused: Refused) -> None:
    assert refused("--learning_rat", "1") == "unknown flag '--learning_rat'. Did you mean '--learning_rate'?"


def test_an_unknown_key(refused: Refused) -> None:
    write("a.yaml", "learning_rat: 1\n")
    assert refused("--config", "a.yaml") == "a.yaml: unknown key 'learning_rat'. Did you mean 'learning_rate'?"


def test_a_metric_that_nothing_measures(refused: Refused) -> None:
    message = refused(metric_for_best_model="f1_macros")
    assert message.startswith("--metric_for_best_model f1_macros is not measured here; it can be accuracy")
    assert message.endswith("Did you mean 'f1_macro'?")


def test_a_text_longer_than_the_model_may_hold(refused: Refused) -> None:
    assert refused(max_seq_length=1000) == "--max_seq_length 1000: this checkpoint holds 64 tokens."


def test_an_adapter_for_layers_that_are_not_there(refused: Refused) -> None:
    assert refused(use_peft=True, lora_target_modules="nothing") == (
        "--lora_target_modules nothing: no layer has this name; there are dense, key, query, value (or all-linear)."
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("heavy", """--class_weights takes 'balanced' or a JSON object such as '{"a": 2}', got 'heavy'."""),
        ('{"good": 2}', "--class_weights names the label 'good', which is not in the data (negative, positive)."),
        ('{"positive": -1}', "--class_weights: the weight of 'positive' must be a positive number, got -1."),
    ],
)
def test_class_weights_that_do_not_fit(refused: Refused, weights: str, message: str) -> None:
    assert refused(class_weights=weights) == message
