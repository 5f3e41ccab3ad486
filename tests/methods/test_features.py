"""Frozen features: the head is scikit-learn's own, the classifier repeats it, and nothing of the encoder moves."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import MakeCsv, rows_of
from running import MULTI, REGRESSION, SINGLE, as_argv, plain_logits, problem_rows, run_method
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor

from nlp_ft.config.parser import parse
from nlp_ft.errors import ConfigError, DataError, ModelError, TrainingError
from nlp_ft.inference.encode import encode
from nlp_ft.methods import features
from nlp_ft.methods.features.compare_poolings import compare_poolings, describe
from nlp_ft.methods.features.fit import _UNUSED
from nlp_ft.methods.features.head import classifier_head, fit_head
from nlp_ft.models.heads import final_linear
from nlp_ft.models.pooling import POOLINGS, set_pooling
from nlp_ft.training.run_report import RunReport

REFUSES = {"lora": "the encoder is frozen here, and adapters would train it"}


def contract_argv(world: Any) -> list[str]:
    """How the test of all methods runs this one."""
    files = {f"{split}_file": getattr(world, split) for split in ("train", "validation", "test")}
    return as_argv(model_name_or_path=world.checkpoint, **files, pooling="mean")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NLP_FT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def features_tiny(output: Path, checkpoint: Path, files: dict[str, Path], *extra: object, **flags: Any) -> RunReport:
    chosen = {
        "model_name_or_path": checkpoint,
        "output_dir": output,
        **{f"{split}_file": path for split, path in files.items()},
        "use_cpu": True,
        **flags,
    }
    return features.run(*parse(*features.ARGUMENTS, argv=[*as_argv(**chosen), *map(str, extra)]))


def of_kind(kind: str, make_csv: MakeCsv) -> dict[str, Path]:
    sizes = {"train": 60, "validation": 20, "test": 20}
    return {s: make_csv(problem_rows(kind, n, seed), f"{s}.csv") for seed, (s, n) in enumerate(sizes.items())}


def texts_in(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as handle:
        return [row["text"] for row in csv.DictReader(handle)]


@pytest.mark.parametrize("kind", [SINGLE, MULTI, REGRESSION])
@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_plain_transformers_repeats_the_answers_that_came_from_the_cache(
    kind: str, head: str, tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path
) -> None:
    files = of_kind(kind, make_csv)
    report = features_tiny(tmp_path / "run", tiny_bert, files, "--head", head)
    again = plain_logits(tmp_path / "run", texts_in(files["test"]))
    np.testing.assert_allclose(report.test_logits, again, atol=1e-4)
    assert {"train_encode_seconds", "train_head_seconds", "eval_loss", "test_loss"} <= report.metrics.keys()
    assert json.loads((tmp_path / "run/run.json").read_text())["arguments"]["features"]["head"] == head


def test_a_second_run_reads_every_text_from_the_cache_and_ends_the_same(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = features_tiny(tmp_path / "first", tiny_bert, tiny_csv)
    monkeypatch.setattr("nlp_ft.inference.encode.layer_inputs", lambda *_: pytest.fail("the encoder ran again"))
    second = features_tiny(tmp_path / "second", tiny_bert, tiny_csv, "--seed", 7)  # another random head at the start
    assert first.test_logits.tobytes() == second.test_logits.tobytes()
    features_tiny(tmp_path / "third", tiny_bert, tiny_csv, "--head", "mlp")


def test_nothing_but_the_last_layer_differs_from_the_checkpoint(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    features_tiny(tmp_path / "run", tiny_bert, tiny_csv)
    before, after = load_file(tiny_bert / "model.safetensors"), load_file(tmp_path / "run/model.safetensors")
    assert {name.removeprefix("bert.") for name in after} - before.keys() == {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(value, after[f"bert.{name}"]) for name, value in before.items())


def test_a_cache_that_is_not_this_models_is_found_out(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nlp_ft.inference.encode.weights_key", lambda *_, **__: "the same for all")
    features_tiny(tmp_path / "run", tiny_bert, tiny_csv)
    with pytest.raises(
        TrainingError, match=r"^the features in .*rows do not belong to this model \(its logits differ by "
    ):
        features_tiny(tmp_path / "other", tiny_bert, tiny_csv, "--pooling", "mean")


def test_a_trained_classifier_is_fitted_anew_and_folds_share_one_pass(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features_tiny(tmp_path / "run", tiny_bert, tiny_csv)
    report = features_tiny(tmp_path / "again", tmp_path / "run", tiny_csv, "--num_folds", 3)
    assert report.metrics["cv_folds"] == 3
    assert "goes on training" not in capsys.readouterr().out


def test_flags_without_effect_are_named(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features_tiny(tmp_path / "run", tiny_bert, tiny_csv, "--learning_rate", 1, "--head_start", "random")
    assert (
        "without effect, as the encoder is frozen and the head is fitted in one step: --head_start, --learning_rate\n"
    ) in capsys.readouterr().out


def test_lora_has_no_flag_here(tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="use_peft"):
        features_tiny(tmp_path / "run", tiny_bert, tiny_csv, "--use_peft")


def test_class_weights_count(tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path) -> None:
    rows = [row for i, row in enumerate(rows_of(120, 0)) if row["label"] == "positive" or i % 8 == 0]
    files = {"train": make_csv(rows, "train.csv"), **{s: make_csv(rows_of(40, i), f"{s}.csv") for i, s in HELD}}
    plain = features_tiny(tmp_path / "plain", tiny_bert, files)
    even = features_tiny(tmp_path / "even", tiny_bert, files, "--class_weights", "balanced")
    negative = [report.test_logits[:, 0] - report.test_logits[:, 1] for report in (plain, even)]
    assert negative[1].mean() > negative[0].mean() + 0.5


MLP: Any = {"random_state": 0, "alpha": 10.0, "early_stopping": True}
HELD = ((1, "validation"), (2, "test"))


def encoded(family: str, outputs: int, head: str) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    """Model, its head, features and as many class numbers of 60 texts."""
    model, tokenizer = tiny.classifier(family, [str(i) for i in range(outputs)])
    texts = [row["text"] for row in rows_of(60, 3)]
    layers = classifier_head(model, head)
    rows = encode(model, tokenizer, texts, layer=layers.first)
    return model, layers, rows, np.argmax(standardised(layers.before_last(rows))[:, :outputs], axis=1)


def standardised(rows: np.ndarray) -> np.ndarray:
    spread = rows.std(axis=0)
    return (rows - rows.mean(axis=0)) / np.where(spread < 1e-6, 1, spread)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
@pytest.mark.parametrize("outputs", [2, 3])
def test_the_mlp_is_scikit_learns_own(family: str, outputs: int) -> None:
    model, head, rows, labels = encoded(family, outputs, "mlp")
    fit_head(head, rows, labels, SINGLE, None, seed=0)
    scaled = standardised(rows)
    own: Any = MLPClassifier(hidden_layer_sizes=(32,), activation="relu" if family == "distilbert" else "tanh", **MLP)
    wanted = own.fit(scaled, labels).predict_proba(scaled)
    found = torch.softmax(torch.from_numpy(head(rows)), dim=-1).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert final_linear(model)[1] is head.last


def test_the_mlp_of_a_regression_answers_in_the_targets_own_units() -> None:
    model, tokenizer = tiny.classifier("bert", [], problem_type=REGRESSION)
    texts = [row["text"] for row in rows_of(60, 3)]
    head = classifier_head(model, "mlp")
    rows = encode(model, tokenizer, texts, layer=head.first)
    targets = 100 + 5 * rows[:, 0].astype(np.float64)
    fit_head(head, rows, targets, REGRESSION, None, seed=0)
    scaled = standardised(rows)
    own: Any = MLPRegressor(hidden_layer_sizes=(32,), activation="tanh", **MLP)
    wanted = own.fit(scaled, (targets - targets.mean()) / targets.std()).predict(scaled) * targets.std()
    np.testing.assert_allclose(head(rows)[:, 0], wanted + targets.mean(), atol=1e-2)


def test_the_linear_head_is_the_logistic_fit_with_its_class_weights() -> None:
    _, head, rows, labels = encoded("bert", 3, "linear")
    report = fit_head(head, rows, labels, SINGLE, np.array([1.0, 5.0, 0.2]), seed=0)
    scaled = standardised(head.before_last(rows))
    penalty = report.get("penalty")
    assert isinstance(penalty, float)
    own = LogisticRegression(C=1 / penalty, max_iter=300, class_weight={0: 1.0, 1: 5.0, 2: 0.2})
    np.testing.assert_allclose(head(rows), own.fit(scaled, labels).decision_function(scaled), atol=5e-3)


def test_a_label_that_never_varies_answers_its_log_odds_and_the_others_are_fitted() -> None:
    _, head, rows, labels = encoded("bert", 3, "linear")
    cells = np.stack([labels == 0, labels == 1, np.ones(60)], axis=1).astype(float)
    report = fit_head(head, rows, cells, MULTI, None, seed=0)
    logits, scaled = head(rows), standardised(head.before_last(rows))
    np.testing.assert_allclose(logits[:, 2], np.log(60.5 / 0.5), atol=1e-5)
    penalties = report.get("penalty")
    assert isinstance(penalties, list)
    for i, penalty in enumerate(penalties):
        own = LogisticRegression(C=1 / penalty, max_iter=300).fit(scaled, cells[:, i])
        np.testing.assert_allclose(logits[:, i], own.decision_function(scaled), atol=5e-3)


def test_labels_that_no_head_can_be_fitted_on_are_refused() -> None:
    _, head, rows, _ = encoded("bert", 3, "linear")
    with pytest.raises(DataError, match=r"^no head can be fitted: class 2 has no training row\.$"):
        fit_head(head, rows, np.array([0, 1] * 30), SINGLE, None, seed=0)


def test_a_class_with_one_row_is_fitted_by_an_mlp_too() -> None:
    _, head, rows, _ = encoded("bert", 3, "mlp")
    report = fit_head(head, rows, np.array([0, 1] * 29 + [0, 2]), SINGLE, None, seed=0)
    assert report["held_out_score"] is None


@pytest.mark.parametrize(
    ("family", "form"),
    [
        ("gpt2", "one linear layer"),
        ("llama", "one linear layer"),
        ("modernbert", "of another form than one dense layer, tanh or ReLU, and the last"),
        ("deberta-v2", "of another form than one dense layer, tanh or ReLU, and the last"),
    ],
)
def test_an_mlp_is_refused_where_the_stock_head_has_no_place_for_it(family: str, form: str) -> None:
    model, _ = tiny.classifier(family)
    with pytest.raises(ConfigError) as caught:
        classifier_head(model, "mlp")
    assert str(caught.value) == f"--head mlp: the head of {type(model).__name__} is {form}; use --head linear."


def test_max_is_refused_with_the_reason(tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        features_tiny(tmp_path / "run", tiny_bert, tiny_csv, "--pooling", "max")
    assert str(caught.value) == (
        "--pooling max: no stock layers can take a maximum over tokens, so plain transformers could not load it. "
        "Use --pooling stock."
    )


def test_comparing_poolings_says_all_four_and_changes_no_answer(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = features_tiny(tmp_path / "plain", tiny_bert, tiny_csv, "--pooling", "mean")
    capsys.readouterr()
    report = features_tiny(tmp_path / "run", tiny_bert, tiny_csv, "--pooling", "mean", "--compare_poolings")
    said = capsys.readouterr().out
    assert "poolings of the last layer, accuracy on 60 held-out training rows: mean " in said
    assert "pooling in use: mean" in said
    np.testing.assert_allclose(plain.test_logits, report.test_logits, atol=1e-3)
    assert any(note.startswith("poolings of the last layer") for note in report.notes)


def test_the_pooling_that_holds_the_label_scores_best() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 1] * 100)
    parts = rng.normal(size=(4, 200, 6))
    parts[3, :, 0] += 6 * labels
    model, _ = tiny.classifier("bert", ["a", "b"])
    lines = compare_poolings(np.concatenate(parts, axis=1), labels, model, "auto", SINGLE, None)
    assert lines[0].endswith("max 1.000") or lines[0].endswith("max 0.995")
    assert lines[1].startswith("pooling in use: cls; max scores 0.")
    assert lines[1].endswith(
        "but no stock layers can take a maximum over tokens, so plain transformers could not load it"
    )


@pytest.mark.parametrize(
    ("scores", "rows", "last"),
    [
        ((0.9, 0.8, 0.7, 0.6), 1000, "pooling in use: mean, which scores best"),
        ((0.8, 0.81, 0.7, 0.6), 1000, "pooling in use: mean; cls scores 0.010 more, within two standard errors"),
        ((0.8, 0.9, 0.7, 0.6), 1000, "pooling in use: mean; cls scores 0.100 more: --pooling cls sets it"),
        ((0.8, 0.7, 0.9, 0.6), 1000, "pooling in use: mean; last scores 0.100 more, but it cannot"),
    ],
)
def test_the_verdict_names_what_was_taken_and_what_would_be_better(
    scores: tuple[float, ...], rows: int, last: str
) -> None:
    by_way = dict(zip(POOLINGS, scores, strict=True))
    lines = describe(by_way, rows, "mean", "auto", SINGLE, {"last": "it cannot"})
    assert lines[1] == last


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_cls_hands_the_first_token_on(family: str) -> None:
    model, tokenizer = tiny.classifier(family)
    set_pooling(model, "cls")
    rows = encode(model, tokenizer, tiny.TEXTS, poolings=True)
    read, first = rows[:, :32], rows[:, 64:96]
    wanted = np.maximum(first + 2, 0) if family == "distilbert" else np.tanh(0.5 * first)
    np.testing.assert_allclose(read, wanted, atol=1e-5)


def test_thresholds_without_labels_that_have_any_are_refused(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    files = {f"{split}_file": path for split, path in tiny_csv.items()}
    flags = {"model_name_or_path": tiny_bert, "output_dir": tmp_path / "run", "threshold_metric": "f1_macro", **files}
    with pytest.raises(ConfigError, match=r"^--threshold_metric: .*; this is a single_label_classification\.$"):
        run_method(features, **flags, use_cpu=True)


def test_features_names_every_flag_of_the_optimizer() -> None:
    assert {"optim", "lr_scheduler_type", "max_grad_norm", "warmup_steps", "weight_decay", "data_seed"} <= {*_UNUSED}
