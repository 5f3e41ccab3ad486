"""Cross-validation: each row tested once by a model that did not see it, and the spread is that of the folds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeCsv, rows_of
from running import ONE_EPOCH, cut_after, finetune_tiny
from transformers import TrainingArguments

from nlp_ft.config import DataArguments
from nlp_ft.data import load_data
from nlp_ft.errors import ConfigError
from nlp_ft.training import checkpointing
from nlp_ft.training.cross_validation import cross_validate, fold_data


def test_each_row_is_held_out_once_and_trained_on_by_the_other_folds(make_csv: MakeCsv) -> None:
    rows = [{**row, "who": f"w{n // 3}"} for n, row in enumerate(rows_of(120, 0))]
    data = load_data(DataArguments(train_file=[str(make_csv(rows))], group_column="who"), seed=1)
    pool = sorted([*data.train["text"], *data.validation["text"]])
    held_out: list[str] = []
    for fold in fold_data(data, 4, seed=1, validation_share=0.1):
        held_out += fold.test["text"]
        assert sorted([*fold.train["text"], *fold.validation["text"], *fold.test["text"]]) == pool
        groups = [set(split["group"]) for split in (fold.train, fold.validation, fold.test)]
        assert sum(map(len, groups)) == len(set().union(*groups))
        assert not set(fold.test["text"]) & set(data.test["text"])
    assert sorted(held_out) == pool


def test_a_validation_file_that_is_given_serves_every_fold(make_csv: MakeCsv) -> None:
    files: dict[str, Any] = {
        f"{name}_file": [str(make_csv(rows_of(n, n), f"{name}.csv"))] for name, n in (("train", 60), ("validation", 20))
    }
    data = load_data(DataArguments(**files), seed=1)
    for fold in fold_data(data, 3, seed=1, validation_share=0.1):
        assert fold.validation["text"] == data.validation["text"]


def test_a_run_with_folds_reports_mean_spread_and_every_out_of_fold_prediction(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path
) -> None:
    files = {"train": make_csv(rows_of(60, 0)), "test": make_csv(rows_of(20, 5), "test.csv")}
    flags: dict[str, Any] = {"num_train_epochs": 1, "learning_rate": 3e-3, "num_folds": 3}
    run = finetune_tiny(tmp_path / "run", tiny_bert, files, **flags)
    folds = [json.loads((tmp_path / f"run/folds/{n}/all_results.json").read_text()) for n in (1, 2, 3)]
    accuracies = [fold["test_accuracy"] for fold in folds]
    results = json.loads((tmp_path / "run/all_results.json").read_text())
    assert results["cv_folds"] == 3
    assert results["cv_accuracy"] == pytest.approx(np.mean(accuracies))
    assert results["cv_accuracy_std"] == pytest.approx(np.std(accuracies, ddof=1))
    assert "test_accuracy" in results
    assert run.metrics["cv_f1_macro"] == results["cv_f1_macro"]
    with (tmp_path / "run/out_of_fold_predictions.csv").open(encoding="utf-8", newline="") as handle:
        predictions = list(csv.DictReader(handle))
    with files["train"].open(encoding="utf-8", newline="") as handle:
        assert sorted(row["text"] for row in predictions) == sorted(row["text"] for row in csv.DictReader(handle))
    right = [row["label"] == row["prediction"] for row in predictions if row["fold"] == "2"]
    assert np.mean(right) == pytest.approx(accuracies[1])
    assert not list((tmp_path / "run/folds").rglob("*.safetensors"))
    assert (tmp_path / "run/model.safetensors").exists()


def test_a_run_whose_last_fit_was_cut_goes_on_without_the_folds_again(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nlp_ft.training import fit as training

    files = {"train": make_csv(rows_of(60, 0)), "test": make_csv(rows_of(20, 5), "test.csv")}
    flags: dict[str, Any] = {"num_train_epochs": 1, "learning_rate": 3e-3, "num_folds": 2}
    straight = finetune_tiny(tmp_path / "straight", tiny_bert, files, **flags)
    fit, fitted = training.fit, []

    def cut(job: training.Job, *others: Any) -> Any:
        fitted.append(str(job.training.output_dir))
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return fit(job, *others)

    monkeypatch.setattr(training, "fit", cut)
    with pytest.raises(KeyboardInterrupt):
        finetune_tiny(tmp_path / "run", tiny_bert, files, **flags)
    resumed = finetune_tiny(tmp_path / "run", tiny_bert, files, **flags, resume_from_checkpoint=True)
    assert [Path(path).name for path in fitted] == ["1", "2", "2", "run"]
    assert resumed.metrics["cv_accuracy"] == straight.metrics["cv_accuracy"]
    assert resumed.metrics["test_loss"] == straight.metrics["test_loss"]


def test_a_fold_of_other_settings_or_rows_is_refused(
    tiny_bert: Path,
    make_csv: MakeCsv,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = {"train": make_csv(rows_of(40, 0)), "test": make_csv(rows_of(20, 5), "test.csv")}
    flags: dict[str, Any] = {**ONE_EPOCH, "num_folds": 2}
    cut_after(1, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        finetune_tiny(tmp_path / "run", tiny_bert, table, **flags)
    cut_after(0, monkeypatch)
    flags["resume_from_checkpoint"] = True
    first = tmp_path / "run/folds/1"
    with pytest.raises(ConfigError) as caught:
        finetune_tiny(tmp_path / "run", tiny_bert, table, **{**flags, "learning_rate": 5e-3})
    assert str(caught.value) == (
        f"{first} is finished, and of another run: its learning_rate is 0.003, this one's is 0.005; name another "
        f"--output_dir, or remove {first}."
    )
    with pytest.raises(ConfigError, match=r"its warmup_steps is 0\.1, this one's is 3"):
        finetune_tiny(tmp_path / "run", tiny_bert, table, **flags, warmup_steps=3)
    others = {**table, "train": make_csv(rows_of(40, 1), "others.csv")}
    with pytest.raises(
        ConfigError, match=r"and of another run: it was made from other data \(\w+\) than this one; name"
    ):
        finetune_tiny(tmp_path / "run", tiny_bert, others, **flags)
    capsys.readouterr()
    with pytest.raises(KeyboardInterrupt):
        finetune_tiny(tmp_path / "run", tiny_bert, table, **flags)
    said = capsys.readouterr().out
    assert "fold 2 of 2" in said
    assert "fold 1 of 2" not in said  # it is taken as it is
    (first / checkpointing.ASKED).unlink()
    with pytest.raises(ConfigError, match="is finished, but does not say with which settings"):
        finetune_tiny(tmp_path / "run", tiny_bert, table, **flags)


def test_folds_are_compared_by_what_the_caller_names_too(make_csv: MakeCsv, tmp_path: Path) -> None:
    data = load_data(DataArguments(train_file=[str(make_csv(rows_of(40, 0)))]), seed=1)
    args = TrainingArguments(output_dir=str(tmp_path / "run"), use_cpu=True, seed=1)

    def fit_one(part: Any, own: TrainingArguments) -> Any:
        for name, text in {"run.json": "{}", "all_results.json": '{"test_accuracy": 1.0}'}.items():
            (Path(str(own.output_dir)) / name).write_text(text)
        (Path(str(own.output_dir)) / "test_predictions.csv").write_text("text\na\n")

    def refit(*_: Any) -> Any:
        pytest.fail("a finished fold was fitted again")

    cross_validate(data, 2, 0.1, args, fit_one, {"class_weights": None})
    cross_validate(data, 2, 0.1, args, refit, {"class_weights": None})
    with pytest.raises(ConfigError, match="its class_weights is None, this one's is balanced"):
        cross_validate(data, 2, 0.1, args, refit, {"class_weights": "balanced"})
