"""Whole runs on a tiny checkpoint: every kind of problem ends in a directory that plain transformers loads."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import BAD, GOOD, MakeCsv, rows_of
from running import MULTI, REGRESSION, SINGLE, as_argv, finetune_tiny, plain_logits, problem_rows
from transformers import AutoModelForSequenceClassification, pipeline

import nlp_ft
from nlp_ft.training.run_report import RunReport

QUICK: dict[str, Any] = {"learning_rate": 3e-3, "num_train_epochs": 3, "per_device_train_batch_size": 8}
THOROUGH: dict[str, Any] = {
    "learning_rate": 5e-3,
    "num_train_epochs": 12,
    "per_device_train_batch_size": 8,
    "head_start": "random",
}


@pytest.fixture
def files_of(make_csv: MakeCsv) -> Any:
    def make(kind: str) -> dict[str, Path]:
        sizes = {"train": 80, "validation": 30, "test": 40}
        return {
            split: make_csv(problem_rows(kind, n, seed), f"{split}.csv")
            for seed, (split, n) in enumerate(sizes.items())
        }

    return make


def predictions_file(run: RunReport) -> list[dict[str, str]]:
    with (run.output_dir / "test_predictions.csv").open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@pytest.mark.parametrize("kind", [SINGLE, MULTI, REGRESSION])
@pytest.mark.parametrize("use_peft", [False, True])
def test_a_run_of_every_kind_learns_and_repeats_its_logits_in_plain_transformers(
    learner: Path, files_of: Any, tmp_path: Path, kind: str, use_peft: bool
) -> None:
    run = finetune_tiny(tmp_path / "run", learner, files_of(kind), **THOROUGH, use_peft=use_peft)
    # of the two label pairs of MULTI one is learned by every seed (.8); one answer for all rows reaches .57
    metric, bar = {SINGLE: ("accuracy", 0.9), MULTI: ("f1_micro", 0.7), REGRESSION: ("pearson", 0.9)}[kind]
    if not use_peft:  # adapters over a frozen encoder of random weights learn little
        assert run.metrics[f"test_{metric}"] >= bar
    rows = predictions_file(run)
    logits = plain_logits(run.output_dir, [row["text"] for row in rows])
    assert np.abs(logits - run.test_logits).max() < 1e-3
    config = json.loads((run.output_dir / "config.json").read_text())
    assert config["problem_type"] == kind
    names = {SINGLE: ["negative", "positive"], MULTI: ["art", "bad", "film", "good"], REGRESSION: ["LABEL_0"]}[kind]
    assert sorted(config["id2label"].values()) == names
    assert (run.output_dir / "adapter" / "adapter_model.safetensors").exists() == use_peft
    held = {path.name for path in run.output_dir.rglob("*")}
    assert not {name for name in held if name.endswith((".bin", ".pt", ".pth", ".pkl"))}


def test_the_report_is_whole_and_its_files_agree(tiny_bert: Path, files_of: Any, tmp_path: Path) -> None:
    run = finetune_tiny(tmp_path / "run", tiny_bert, files_of(SINGLE), **QUICK)
    results = json.loads((run.output_dir / "all_results.json").read_text())
    for name in (
        "accuracy",
        "balanced_accuracy",
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "f1_micro",
        "f1_weighted",
    ):
        assert {f"eval_{name}", f"test_{name}", f"baseline_majority_{name}", f"baseline_tfidf_{name}"} <= set(results)
    assert {"test_mcc", "test_auroc", "eval_loss", "test_loss", "train_runtime"} <= set(results)
    rows = predictions_file(run)
    assert list(rows[0]) == ["text", "label", "prediction", "score_negative", "score_positive"]
    right = np.mean([row["label"] == row["prediction"] for row in rows])
    assert results["test_accuracy"] == pytest.approx(right)
    record = json.loads((run.output_dir / "run.json").read_text())
    assert record["arguments"]["training"]["learning_rate"] == 3e-3
    assert record["seed"] == 42
    assert record["data"]["rows"] == {"train": 80, "validation": 30, "test": 40}
    assert {"torch", "transformers", "nlp_ft", "python"} <= set(record["versions"])
    assert "git" not in json.dumps(record).lower()
    card = (run.output_dir / "README.md").read_text()
    assert "model-index" in card
    assert f"{results['test_accuracy']:.3f}" in card


def test_the_card_is_valid_by_huggingface_hubs_own_class(tiny_bert: Path, files_of: Any, tmp_path: Path) -> None:
    from huggingface_hub import ModelCard

    run = finetune_tiny(tmp_path / "run", tiny_bert, files_of(SINGLE), **QUICK)
    data: Any = ModelCard.load(run.output_dir / "README.md").data
    assert data.pipeline_tag == "text-classification"
    found = {result.metric_type: result.metric_value for result in data.eval_results or []}
    assert found["accuracy"] == pytest.approx(run.metrics["test_accuracy"], abs=1e-4)


def test_pipeline_gives_the_label_names_of_the_predictions_file(learner: Path, files_of: Any, tmp_path: Path) -> None:
    run = finetune_tiny(tmp_path / "run", learner, files_of(SINGLE), **THOROUGH)
    classify = pipeline("text-classification", model=str(run.output_dir), device="cpu")
    rows = predictions_file(run)
    found = [classify(row["text"])[0] for row in rows]
    assert [one["label"] for one in found] == [row["prediction"] for row in rows]
    assert {one["label"] for one in found} == {"negative", "positive"}
    for one, row in zip(found, rows, strict=True):
        # a pipeline knows nothing of the temperature
        odds = np.log(one["score"] / (1 - one["score"])) / run.metrics["temperature"]
        assert 1 / (1 + np.exp(-odds)) == pytest.approx(float(row[f"score_{row['prediction']}"]), abs=1e-4)


def test_a_pair_reaches_the_model_as_a_pair(tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path) -> None:
    words = [*GOOD, *BAD]
    rows = [
        {"a": words[i % 20], "b": words[i % 20] if i % 2 else words[(i + 7) % 20], "label": ["other", "same"][i % 2]}
        for i in range(120)
    ]
    table = make_csv(rows)
    run = finetune_tiny(
        tmp_path / "run", tiny_bert, {"train": table}, **{**QUICK, "text_column_names": "a,b", "num_train_epochs": 2}
    )
    rows_out = predictions_file(run)
    assert list(rows_out[0])[:3] == ["text", "text_pair", "label"]
    found = nlp_ft.load(run.output_dir, device="cpu").predict([(r["text"], r["text_pair"]) for r in rows_out])
    for row, prediction in zip(rows_out, found, strict=True):
        assert float(row["score_same"]) == pytest.approx(prediction.scores["same"], abs=1e-4)
    classifier = nlp_ft.load(run.output_dir, device="cpu")
    pairs = [(r["text"], r["text_pair"]) for r in rows_out if r["text"] != r["text_pair"]]
    assert np.abs(classifier.logits(pairs) - classifier.logits([(b, a) for a, b in pairs])).max() > 1e-4


def test_missing_splits_are_split_off_and_said(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = make_csv(problem_rows(SINGLE, 100, 0))
    run = finetune_tiny(tmp_path / "run", tiny_bert, {"train": table})
    rows = json.loads((run.output_dir / "run.json").read_text())["data"]["rows"]
    assert sum(rows.values()) == 100
    assert "split off train (stratified, equal texts together, by hash (seed 42))" in capsys.readouterr().out


def test_a_run_without_gain_says_so(
    tiny_bert: Path, files_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finetune_tiny(
        tmp_path / "run", tiny_bert, files_of(SINGLE), head_start="random", learning_rate=1e-8, num_train_epochs=1
    )
    assert run.metrics["baseline_tfidf_accuracy"] > 0.9  # words decide the label: TF-IDF knows it at once
    assert run.verdict.startswith("Fine-tuning is worse than TF-IDF + logistic regression by")
    assert run.verdict in capsys.readouterr().out


def test_a_run_is_the_start_of_the_next_one_with_its_head_or_a_new_one(
    tiny_bert: Path, files_of: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = files_of(SINGLE)
    first = finetune_tiny(tmp_path / "one", tiny_bert, files, **QUICK)
    capsys.readouterr()
    second = finetune_tiny(tmp_path / "two", first.output_dir, files, learning_rate=1e-8, num_train_epochs=1)
    assert "its labels are these" in capsys.readouterr().out
    assert np.abs(second.test_logits - first.test_logits).max() < 1e-3  # it went on from where it was
    finetune_tiny(tmp_path / "three", first.output_dir, files_of(MULTI), num_train_epochs=1)
    assert "head: started anew" in capsys.readouterr().out


def test_the_head_starts_from_a_probe_unless_asked_otherwise(tiny_bert: Path, files_of: Any, tmp_path: Path) -> None:
    heads = {}
    for start in ("probe", "random"):
        flags = {"head_start": start, "learning_rate": 1e-9, "num_train_epochs": 1}
        run = finetune_tiny(tmp_path / start, tiny_bert, files_of(SINGLE), **flags)
        assert any("head: starts from a linear probe on 80 rows" in note for note in run.notes) == (start == "probe")
        heads[start] = AutoModelForSequenceClassification.from_pretrained(run.output_dir).classifier.bias.detach()
    assert heads["random"].abs().max() < 1e-6
    assert heads["probe"].abs().max() > 1e-4


def test_tokens_never_reach_a_file(
    tiny_bert: Path, files_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_CANARYcanaryCANARY")
    run = finetune_tiny(tmp_path / "run", tiny_bert, files_of(SINGLE), save_total_limit=3, num_train_epochs=1)
    for path in run.output_dir.rglob("*"):
        if path.is_file():
            assert b"CANARY" not in path.read_bytes(), path


def test_a_skipped_fp16_step_in_the_log_does_not_lose_the_report(
    tiny_bert: Path, files_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nlp_ft.training import fit

    write = fit.write_report

    def with_nan(report: RunReport, data: Any) -> None:
        report.log_history.append({"step": 1, "grad_norm": float("nan")})
        write(report, data)

    monkeypatch.setattr(fit, "write_report", with_nan)
    run = finetune_tiny(tmp_path / "run", tiny_bert, files_of(SINGLE), num_train_epochs=1)
    assert json.loads((run.output_dir / "run.json").read_text())["log_history"][-1] == {"step": 1, "grad_norm": None}


def test_rows_that_were_left_out_are_written_beside_the_model(tiny_bert: Path, tmp_path: Path) -> None:
    rows = "".join(f"{row['text']},{row['label']}\n" for row in rows_of(60, 0))
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}short\nno label,\n,good\n")
    run = finetune_tiny(
        tmp_path / "run", tiny_bert, {"train": tmp_path / "a.csv"}, num_train_epochs=1, skip_bad_rows=True
    )
    with (run.output_dir / "rejected_rows.csv").open(encoding="utf-8", newline="") as handle:
        rejected = list(csv.DictReader(handle))
    assert [row["place"].rpartition("/")[2] for row in rejected] == ["a.csv:62", "a.csv:63", "a.csv:64"]
    assert rejected[0]["content"] == "short"
    assert rejected[1]["reason"] == "no label in column 'label'."
    assert rejected[2]["reason"].startswith("the text in column 'text' (--text_column_names) is blank;")
    record = json.loads((run.output_dir / "run.json").read_text())
    assert record["data"]["left_out"]["rejected"] == {"train": 3}
    assert sum(record["data"]["rows"].values()) == 60


def test_each_source_of_the_test_rows_has_metrics_of_its_own(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = [{**row, "source": "ab"[n % 2 == 0]} for n, row in enumerate(rows_of(60, 0))]
    test = [{**row, "source": "a" if n < 15 else "b"} for n, row in enumerate(rows_of(40, 1))]
    files = {"train": make_csv(train, "train.csv"), "test": make_csv(test, "test.csv")}
    run = finetune_tiny(tmp_path / "run", tiny_bert, files, **QUICK)
    rows = predictions_file(run)
    for name, part in (("a", rows[:15]), ("b", rows[15:])):
        right = np.mean([row["label"] == row["prediction"] for row in part])
        assert run.metrics[f"test_accuracy@{name}"] == pytest.approx(right)
    out = capsys.readouterr().out
    assert "  its 15 rows of a" in out
    assert "data check: " in out


@pytest.mark.parametrize("operations", ["swap delete noise", "mixup", "noise mixup"])
def test_augmentation_grows_train_alone_and_the_baselines_stay(
    tiny_bert: Path, files_of: Any, tmp_path: Path, operations: str
) -> None:
    plain = finetune_tiny(tmp_path / "plain", tiny_bert, files_of(SINGLE), **QUICK)
    run = finetune_tiny(
        tmp_path / "run", tiny_bert, files_of(SINGLE), **QUICK, extra=["--augment", *operations.split()]
    )
    assert run.metrics["baseline_tfidf_accuracy"] == plain.metrics["baseline_tfidf_accuracy"]
    assert np.abs(run.test_logits - plain.test_logits).max() > 1e-3
    grown = [note for note in run.notes if note.startswith("augment: 80 new rows of 80 training rows")]
    assert len(grown) == (operations != "mixup")
    record = json.loads((run.output_dir / "run.json").read_text())
    assert record["arguments"]["augment"]["augment"] == operations.split()
    assert record["data"]["rows"] == {"train": 80, "validation": 30, "test": 40}
    again = finetune_tiny(
        tmp_path / "again", tiny_bert, files_of(SINGLE), **QUICK, extra=["--augment", *operations.split()]
    )
    assert np.array_equal(run.test_logits, again.test_logits)


def contract_argv(world: Any) -> list[str]:
    """How the test of all methods runs this one."""
    files = {f"{split}_file": getattr(world, split) for split in ("train", "validation", "test")}
    return as_argv(model_name_or_path=world.checkpoint, **files, num_train_epochs=1, learning_rate=3e-3)
