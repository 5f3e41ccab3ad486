"""Cross-validation: each row tested once by a model that did not see it, and the spread is that of the folds."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeCsv, rows_of
from running import finetune_tiny

from nlp_ft.config import DataArguments
from nlp_ft.crossval import fold_data
from nlp_ft.data import load_data


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
    from nlp_ft import training

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
