"""Transfer: the source is learnt, its body and head are carried, and the gain is measured on the same rows."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import MakeCsv, RunCli, rows_of, write_csv
from running import (
    MULTI,
    ONE_EPOCH,
    REGRESSION,
    SINGLE,
    as_argv,
    cut_after,
    finetune_tiny,
    long_rows,
    problem_rows,
    run_method,
)
from transformers import TrainingArguments

from nlp_ft import load
from nlp_ft.config import DataArguments, FitArguments
from nlp_ft.config.parser import parse
from nlp_ft.data import load_data
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.evaluation.metrics import SELECTION_METRIC
from nlp_ft.methods import transfer
from nlp_ft.methods.transfer.arguments import TransferArguments
from nlp_ft.methods.transfer.gain import _fit_and_predict
from nlp_ft.methods.transfer.method import _source_arguments, source_data
from nlp_ft.training.run_report import RunReport


def contract_argv(world: Any) -> list[str]:
    """How the test of all methods runs this one."""
    files = {f"{split}_file": getattr(world, split) for split in ("train", "validation", "test")}
    with world.train.open(encoding="utf-8", newline="") as handle:
        rows = [{"text": f"yes {row['text']}", "label": row["label"]} for row in csv.DictReader(handle)]
    files["source_file"] = write_csv(world.folder / "source.csv", rows)
    return as_argv(
        model_name_or_path=world.checkpoint, **files, num_train_epochs=1, learning_rate=3e-3, transfer_shots=16
    )


ONE_SOURCE: dict[str, Any] = {**ONE_EPOCH, "transfer_shots": 0}
QUICK = {"num_train_epochs": 12, "learning_rate": 5e-3, "head_start": "random", "per_device_train_batch_size": 8}


@pytest.fixture
def files(make_csv: MakeCsv) -> dict[str, Path]:
    """A source, and a target of other texts under the same labels."""
    sizes = {"source": 80, "train": 30, "validation": 30, "test": 40}
    return {name: make_csv(rows_of(n, seed), f"{name}.csv") for seed, (name, n) in enumerate(sizes.items())}


@pytest.fixture
def split_flags(files: dict[str, Path]) -> dict[str, Path]:
    return {f"{split}_file": files[split] for split in ("train", "validation", "test")}


def transfer_tiny(output: Path, checkpoint: Path, files: dict[str, Path], *extra: object, **flags: Any) -> RunReport:
    chosen = {
        "model_name_or_path": checkpoint,
        "output_dir": output,
        **{f"{split}_file": files[split] for split in ("train", "validation", "test")},
        "use_cpu": True,
        **QUICK,
        **flags,
    }
    return transfer.run(*parse(*transfer.ARGUMENTS, argv=[*as_argv(**chosen), *map(str, extra)]))


def test_the_source_helps_where_target_rows_are_few_and_the_table_says_so(
    learner: Path, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = transfer_tiny(tmp_path / "run", learner, files, "--source_file", files["source"], "--transfer_shots", 4, 8)
    assert run.metrics["transfer_0_source"] > 0.9
    for shots in (4, 8):
        assert run.metrics[f"transfer_{shots}_source"] > run.metrics[f"transfer_{shots}_target_only"] + 0.2
    out = capsys.readouterr().out
    table = out[out.index("test f1_macro by target rows") :].splitlines()
    assert [line.split()[0] for line in table[2:5]] == ["0", "4", "8"]
    gain = run.metrics["transfer_4_source"] - run.metrics["transfer_4_target_only"]
    assert f"({gain:+.3f} ± " in table[3]
    assert any("its labels are these" in note for note in run.notes)  # the head was carried
    assert (tmp_path / "run/sources/source/run.json").exists()
    assert (
        json.loads((tmp_path / "run/all_results.json").read_text())["transfer_4_source"]
        == run.metrics["transfer_4_source"]
    )


def test_the_target_alone_is_an_ordinary_run_on_the_same_rows(
    learner: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    run = transfer_tiny(
        tmp_path / "run", learner, files, "--source_file", files["source"], "--transfer_shots", 0, "--with_control"
    )
    alone = finetune_tiny(
        tmp_path / "alone", learner, {name: files[name] for name in ("train", "validation", "test")}, **QUICK
    )
    assert np.array_equal(run.baselines["target_only"].logits, alone.test_logits)
    assert np.abs(run.test_logits - alone.test_logits).max() > 1e-3
    assert run.metrics["control_target_only_auroc"] == alone.metrics["test_auroc"]
    assert (
        "over the target alone" in run.verdict
        or "than the target alone" in run.verdict
        or "beats the target alone" in run.verdict
    )


def test_of_several_sources_the_one_that_is_best_on_validation_is_taken(
    learner: Path, files: dict[str, Path], make_csv: MakeCsv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {"positive": "negative", "negative": "positive"}
    liar = make_csv([{"text": row["text"], "label": other[row["label"]]} for row in rows_of(80, 7)], "liar.csv")
    run = transfer_tiny(
        tmp_path / "run",
        learner,
        files,
        "--source_file",
        liar,
        files["source"],
        "--transfer_shots",
        4,
        num_train_epochs=8,
    )
    out = capsys.readouterr().out
    assert "sources, by f1_macro on validation, mean over 4 rows: source " in out
    assert run.settings["model"]["model_name_or_path"].endswith("sources/source")
    assert run.metrics["transfer_4_source"] > run.metrics["transfer_4_liar"]


def test_a_directory_is_a_source_and_another_kind_of_label_carries_the_body_alone(
    learner: Path, files: dict[str, Path], make_csv: MakeCsv, tmp_path: Path
) -> None:
    scored = make_csv(problem_rows(REGRESSION, 80, 9), "scored.csv")
    source = finetune_tiny(tmp_path / "scores", learner, {"train": scored}, **QUICK)
    run = transfer_tiny(
        tmp_path / "run", learner, files, "--source_name_or_path", source.output_dir, "--transfer_shots", 4
    )
    assert "transfer_0_scores" not in run.metrics
    assert any(note.startswith("head: started anew") for note in run.notes)
    assert np.isfinite(run.test_logits).all()


def test_a_source_that_holds_test_texts_is_refused(
    learner: Path, files: dict[str, Path], make_csv: MakeCsv, tmp_path: Path, run_cli: RunCli
) -> None:
    leaky = make_csv([*rows_of(40, 0), *rows_of(40, 3)[:2]], "leaky.csv")
    flags = ["--transfer_shots", 0, "--use_cpu", "--num_train_epochs", 1]
    argv = [
        "transfer",
        "--model_name_or_path",
        learner,
        "--output_dir",
        tmp_path / "run",
        "--source_file",
        leaky,
        *flags,
    ]
    splits = [token for split in ("train", "validation", "test") for token in (f"--{split}_file", files[split])]
    code, _, err = run_cli([*argv, *splits])
    assert code == 2
    assert "of the 40 test rows of the target are among its rows" in err
    assert err.rstrip().endswith("remove them from the source, or give --allow_leakage.")


def test_what_is_wrong_with_the_flags_is_said() -> None:
    with pytest.raises(
        ConfigError, match=r"^--source_file or --source_name_or_path is needed: what to transfer from\.$"
    ):
        TransferArguments()
    with pytest.raises(ConfigError, match=r"^--transfer_shots must be at least 0, got -1\.$"):
        TransferArguments(source_file=["a.csv"], transfer_shots=[-1])
    assert TransferArguments(source_file=["a.csv"], transfer_shots=[64, 16, 0, 16]).transfer_shots == [16, 64]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_with_folds_a_source_may_hold_no_row_of_the_target_at_all(
    tiny_bert: Path, make_csv: MakeCsv, split_flags: dict[str, Path], tmp_path: Path, split: str
) -> None:
    del split_flags["validation_file"]
    files: dict[str, Any] = {name: [str(path)] for name, path in split_flags.items()}
    target = load_data(DataArguments(**files), seed=42)
    shown = [{"text": text, "label": "positive"} for text in getattr(target, split)["text"][:3]]
    leaky = make_csv([*rows_of(20, 9), *shown], "leaky.csv")
    flags = {"model_name_or_path": tiny_bert, "source_file": leaky, **split_flags, **ONE_SOURCE}
    with pytest.raises(
        DataError, match=rf"\d of the \d+ {split} rows of the target .* each of them is tested on once;"
    ):
        run_method(transfer, output_dir=tmp_path / "run", num_folds=2, **flags)


def test_source_rows_of_the_targets_validation_are_told(
    tiny_bert: Path,
    make_csv: MakeCsv,
    split_flags: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    leaky = make_csv([*rows_of(20, 9), *rows_of(30, 2)[:3], *rows_of(30, 1)[:3]], "leaky.csv")
    cut_after(0, monkeypatch)
    flags = {"model_name_or_path": tiny_bert, "source_file": leaky, **split_flags, **ONE_SOURCE}
    with pytest.raises(KeyboardInterrupt):
        run_method(transfer, output_dir=tmp_path / "run", **flags)
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert " of the 30 validation rows of the target are among its rows, the first " in warnings[0]
    assert warnings[0].endswith("which biases both towards this source")


def test_what_says_which_rows_are_the_targets_does_not_hold_for_a_source() -> None:
    target = DataArguments(
        train_file=["a.csv", "b.csv"],
        test_file=["t.csv"],
        train_split_name="part",
        mixing=["2", "1"],
        group_column="who",
        num_folds=3,
        max_train_samples=5,
        max_eval_samples=6,
        max_predict_samples=7,
        max_seq_length=99,
        skip_bad_rows=True,
        text_column_names="title",
        text_pair_column_name="body",
        label_column_name="stars",
        problem_type="regression",
    )
    own = TransferArguments(source_file=["s.csv"])
    same: dict[str, Any] = {"text_column_names": "title", "text_pair_column_name": "body", "label_column_name": "stars"}
    plain: dict[str, Any] = {"train_file": ["s.csv"], "max_seq_length": 99, "skip_bad_rows": True}
    assert source_data(target, own, "s.csv") == DataArguments(**plain, **same, problem_type="regression")
    own = TransferArguments(source_file=["s.csv"], source_text_column_names="text", source_label_column_name="mood")
    other = DataArguments(**plain, text_column_names="text", label_column_name="mood")
    assert source_data(target, own, "s.csv") == other
    joined = DataArguments(train_file=["t.csv"], label_delimiter=",")
    assert source_data(joined, TransferArguments(source_file=["s.csv"]), "s.csv").label_delimiter == ","
    assert source_data(joined, own, "s.csv").label_delimiter is None


def test_a_source_is_not_held_to_what_was_meant_for_the_targets_kind_of_labels(tmp_path: Path) -> None:
    args = TrainingArguments(
        output_dir=str(tmp_path),
        label_smoothing_factor=0.1,
        metric_for_best_model="f1_macro",
        greater_is_better=True,
        use_cpu=True,
    )
    fit = FitArguments(threshold_metric="f1_macro", class_weights='{"good": 2}')
    settings: Any = SimpleNamespace(training=args, fit=fit)
    target: Any = SimpleNamespace(problem_type=MULTI, labels=["art", "good"])
    for problem, labels, wanted in (
        (MULTI, ["art", "good"], ("f1_macro", True, 0.1, fit)),
        (SINGLE, ["a", "b"], (*SELECTION_METRIC[SINGLE], 0.1, FitArguments())),
        (REGRESSION, [], (*SELECTION_METRIC[REGRESSION], 0.0, FitArguments())),
    ):
        source: Any = SimpleNamespace(problem_type=problem, labels=labels)
        own, held = _source_arguments(settings, source, target)
        assert (own.metric_for_best_model, own.greater_is_better, own.label_smoothing_factor, held) == wanted
    assert (args.metric_for_best_model, args.label_smoothing_factor) == ("f1_macro", 0.1)


def test_a_source_of_other_settings_or_rows_is_refused_and_the_same_is_taken(
    tiny_bert: Path,
    files: dict[str, Path],
    split_flags: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = {"model_name_or_path": tiny_bert, "output_dir": tmp_path / "run", **split_flags, **ONE_SOURCE}
    flags["source_file"] = files["source"]
    cut_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        run_method(transfer, **flags)
    cut_after(0, monkeypatch)
    flags["resume_from_checkpoint"] = True
    with pytest.raises(ConfigError, match=r"sources/source is finished, and of another run: its num_train_epochs is 1"):
        run_method(transfer, **{**flags, "num_train_epochs": 2})
    with pytest.raises(KeyboardInterrupt):  # of the target
        run_method(transfer, **{**flags, "freeze_layers": 1})  # which holds for the target alone
    assert "is finished and reused" in capsys.readouterr().out
    write_csv(files["source"], rows_of(40, 77))
    with pytest.raises(ConfigError, match=r"of another run: it was made from other data \(\w+\) than this one"):
        run_method(transfer, **flags)


def test_shots_are_answered_again_for_other_test_rows_and_another_start(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Any] = []

    def train(job: Any) -> Any:
        fitted.append(job)
        return SimpleNamespace(logits={"validation": np.zeros((1, 2)), "test": np.full((1, 2), len(fitted))})

    monkeypatch.setattr("nlp_ft.methods.transfer.gain.train", train)
    monkeypatch.setattr("nlp_ft.methods.transfer.gain.job_identity", lambda job: {"seed": 1})
    start = tmp_path / "start"
    shutil.copytree(tiny_bert, start)

    def job(test: str) -> Any:
        data = SimpleNamespace(fingerprint={"sha256": {"test": test}})
        settings = {"model": {"model_name_or_path": str(start)}}
        return SimpleNamespace(data=data, settings=settings, training=SimpleNamespace(output_dir=tmp_path / "run"))

    found = [_fit_and_predict(job(test), "16-source")["test"][0, 0] for test in ("one", "one", "other")]
    assert found == [1, 1, 2]
    (start / "model.safetensors").write_bytes(b"other weights")
    assert _fit_and_predict(job("one"), "16-source")["test"][0, 0] == 3


def test_windows_are_read_in_the_source_and_in_the_target(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path, run_cli: RunCli
) -> None:
    sizes = {"train": 40, "validation": 12, "test": 17, "source": 60}
    argv = ["transfer", "--model_name_or_path", tiny_bert, "--output_dir", tmp_path / "run", "--max_seq_length", 16]
    for seed, (split, count) in enumerate(sizes.items()):
        argv += [f"--{split}_file", make_csv(long_rows(count, seed), f"{split}.csv")]
    argv += ["--use_cpu", "--num_train_epochs", 1, "--transfer_shots", 0, "--allow_leakage", "--window_pooling", "max"]
    code, _, err = run_cli([*argv, "--long_documents", "window"])
    assert (code, err) == (0, "")
    for place in (tmp_path / "run", tmp_path / "run" / "sources" / "source"):
        assert load(place, device="cpu").inference_config.long_documents.pooling == "max"
