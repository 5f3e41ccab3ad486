"""Few-shot: pairs and their loss by hand, a body that moves and a head that fits, a choice that never sees the test labels."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import BAD, FILLERS, GOOD, THINGS, MakeCsv, rows_of, write_csv
from datasets import Dataset
from running import SGD, as_argv, assert_same_weights, plain_logits, problem_rows, run_method, two_processes
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizer,
)

from nlp_ft.config.parser import parse
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE
from nlp_ft.methods import fewshot
from nlp_ft.methods.fewshot.arguments import FewshotArguments
from nlp_ft.methods.fewshot.select import Trial, _decision, title
from nlp_ft.methods.fewshot.trainer import Pairs, PairTrainer, centroid_weights, collate_pairs, cosine_loss
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings

QUICK: dict[str, Any] = {"approach": "contrastive", "num_iterations": 4, "learning_rate": 5e-3}

NO_EFFECT = "--{} has no effect on --approach {}; leave it out."
TWO_OF_THREE = (
    "--{} has no effect on two of the three approaches that --approach auto compares; give --approach finetune with it, or "
    "leave it out."
)
ZERO_SHOT = "--{} has no effect on zero-shot (--labels), where nothing is trained; leave it out."


def contract_argv(world: Any) -> list[str]:
    """The flags that run this method on a tiny world."""
    files = {f"{split}_file": getattr(world, split) for split in ("train", "validation", "test")}
    own = {"approach": "contrastive", "num_iterations": 3, "learning_rate": 5e-3}
    return as_argv(model_name_or_path=world.learner, **files, **own)


def argv_of(output_dir: Path, checkpoint: Path, **flags: Any) -> list[str]:
    return as_argv(**{"model_name_or_path": checkpoint, "output_dir": output_dir, "use_cpu": True, **flags})


def run_tiny(output_dir: Path, checkpoint: Path, extra: Sequence[str] = (), **flags: Any) -> RunReport:
    return fewshot.run(*parse(*fewshot.ARGUMENTS, argv=[*argv_of(output_dir, checkpoint, **flags), *extra]))


@pytest.fixture
def few(tmp_path: Path) -> dict[str, Any]:
    """8 rows a class to train on, 40 to test on."""
    sizes = {"train": 16, "test": 40}
    return {f"{s}_file": write_csv(tmp_path / f"{s}.csv", rows_of(n, k)) for k, (s, n) in enumerate(sizes.items())}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `learner`, with other random weights: over those of `learner` pairs get no more than 0.75 of the test rows right."""
    folder = tmp_path_factory.mktemp("reader")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*GOOD, *BAD, *THINGS, *FILLERS])]
    tokenizer = BertTokenizer(vocab={word: place for place, word in enumerate(words)}, model_max_length=64)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,
    )
    torch.manual_seed(0)
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tokens(labels: list[Any]) -> Dataset:
    ids = [[row, row + 1] for row in range(len(labels))]
    return Dataset.from_dict({"input_ids": ids, "attention_mask": [[1, 1]] * len(labels), "labels": labels})


def drawn(labels: list[Any], problem: str, count: int, seed: int = 0) -> list[tuple[int, int, float]]:
    pairs = Pairs(tokens(labels), problem, count, seed)
    return [pairs.draw(number) for number in range(count)]


def test_half_the_pairs_are_of_one_class_and_every_class_takes_part_alike() -> None:
    labels = [0] * 90 + [1] * 9 + [2] * 3
    found = drawn(labels, SINGLE, 1200)
    assert sum(target for _, _, target in found) == 600
    for first, second, target in found:
        assert (labels[first] == labels[second]) == (target == 1)
        assert first != second
    assert [sum(labels[first] == label for first, _, _ in found) for label in range(3)] == [400, 400, 400]
    seconds = [sum(labels[second] == label for _, second, target in found if not target) for label in range(3)]
    assert min(seconds) > 150  # 200 each on average, sd 12


def test_each_row_of_a_class_and_each_two_of_them_come_up_equally_often() -> None:
    found = drawn([0] * 4 + [1] * 4, SINGLE, 4800)
    both: dict[frozenset[int], int] = {}
    for first, second, target in found:
        if target:
            both[frozenset((first, second))] = both.get(frozenset((first, second)), 0) + 1
    assert len(both) == 12  # six a class
    assert min(both.values()) > 150  # 200 each on average, sd 14
    assert max(both.values()) < 250


def test_a_pair_follows_from_seed_and_number_alone() -> None:
    labels = [0, 1] * 20
    whole, part = drawn(labels, SINGLE, 64), Pairs(tokens(labels), SINGLE, 1000, 0)
    assert [part.draw(number) for number in reversed(range(64))] == whole[::-1]
    assert drawn(labels, SINGLE, 64, seed=1) != whole
    with pytest.raises(IndexError):
        part.draw(1000)


def test_the_only_row_of_a_class_is_paired_with_itself() -> None:
    alike = [pair for pair in drawn([0, 0, 1], SINGLE, 8) if pair[2]]
    assert (2, 2, 1.0) in alike


def test_pairs_of_a_hundred_thousand_rows_are_not_held() -> None:
    labels = [row % 7 for row in range(100_000)]
    pairs = Pairs(tokens(labels), SINGLE, 4_000_000, 0)
    assert len(pairs) == 4_000_000
    assert labels[pairs.draw(3_999_998)[0]] == labels[pairs.draw(3_999_998)[1]]
    assert {labels[pairs.draw(number)[0]] for number in range(28)} == set(range(7))


def test_label_sets_are_alike_where_they_share_a_label() -> None:
    cells = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    labels = [[float(cell) for cell in row] for row in cells * 10]
    found = drawn(labels, MULTI, 600)
    for first, second, target in found:
        shared = np.logical_and(labels[first], labels[second]).any()
        assert target == float(shared)
    assert sum(target for _, _, target in found) == 300


def test_targets_are_as_alike_as_their_ranks_are_near() -> None:
    values = [0.0, 1.0, 2.0, 3.0, 1000.0]
    for first, second, target in drawn(values, REGRESSION, 200):
        assert first != second
        assert target == pytest.approx(1 - abs(first - second) / 4)


@pytest.mark.parametrize(
    ("labels", "problem", "message"),
    [
        ([1, 1, 1], SINGLE, "pairs need rows of two classes; all training rows are of one."),
        (
            [[1.0, 0.0], [1.0, 1.0]],
            MULTI,
            "pairs need rows without a common label; all training rows share one, or have none.",
        ),
        ([2.0, 2.0], REGRESSION, "pairs need rows with different targets; all training rows have one."),
    ],
)
def test_rows_that_are_all_alike_make_no_pairs(labels: list[Any], problem: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        Pairs(tokens(labels), problem, 10, 0)
    assert str(caught.value) == message


def test_a_batch_of_pairs_holds_all_first_rows_before_all_second_ones() -> None:
    pairs = Pairs(tokens([0, 0, 1, 1]), SINGLE, 4, 0)
    batch = collate_pairs(
        lambda rows: {name: torch.tensor([row[name] for row in rows]) for name in rows[0]},
        [pairs[number] for number in range(4)],
    )
    assert batch["input_ids"].shape == (8, 2)
    assert batch["input_ids"][:, 0].tolist() == [
        place for side in (0, 1) for place in [pairs.draw(number)[side] for number in range(4)]
    ]
    assert batch["labels"].tolist() == [1, 0, 1, 0]


def test_the_cosine_loss_is_the_squared_error_by_hand() -> None:
    features = torch.tensor([[1.0, 0.0], [3.0, 4.0], [2.0, 0.0], [4.0, 3.0]])
    targets = torch.tensor([0.0, 1.0])  # cosines: 1 and (12 + 12) / 25
    assert cosine_loss(features, targets).item() == pytest.approx((1 + 0.04**2) / 2)
    assert cosine_loss(features, targets, 10).item() == pytest.approx((1 + 0.04**2) / 10)


def test_one_batch_of_pairs_and_its_parts_give_the_same_gradient() -> None:
    torch.manual_seed(0)
    weight = torch.randn(5, 5, requires_grad=True)
    rows, targets = torch.randn(16, 5), torch.tensor([1.0, 0.0] * 4)
    cosine_loss(rows @ weight, targets, 8).backward()
    assert weight.grad is not None
    whole, weight.grad = weight.grad, None
    for start in (0, 2, 4, 6):
        part = torch.cat([rows[start : start + 2], rows[8 + start : 10 + start]])
        cosine_loss(part @ weight, targets[start : start + 2], 8).backward()
    assert isinstance(weight.grad, torch.Tensor)
    assert torch.allclose(whole, weight.grad, atol=1e-6)


def test_centroid_weights_by_hand() -> None:
    features = np.array([[2.0, 0.0], [0.0, 4.0], [0.0, 3.0]])
    weight = centroid_weights(features, np.array([0, 0, 1]))
    scale = 20 / 3  # mean length 3
    assert weight[0] == pytest.approx(np.array([0.5**0.5, 0.5**0.5]) * scale)
    assert weight[1] == pytest.approx(np.array([0.0, 1.0]) * scale)


def test_the_body_moves_the_head_fits_and_plain_transformers_repeats_the_logits(
    learner: Path, few: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_tiny(tmp_path / "run", learner, **few, **QUICK)
    said = capsys.readouterr().out
    assert "pairs: 128 of 16 rows, 1 times, 16 a step and process, learning rate 0.005" in said
    assert "all 16 rows are trained on, and stand for it: nothing is chosen by them" in said
    assert run.metrics["eval_accuracy"] > 0.7  # its own training rows
    before, after = (
        AutoModel.from_pretrained(learner),
        AutoModelForSequenceClassification.from_pretrained(run.output_dir),
    )
    moved = dict(after.base_model.named_parameters())
    still = [name for name, p in before.named_parameters() if torch.equal(p, moved[name])]
    assert not [name for name in still if "position" not in name and "key.bias" not in name]
    texts = [row["text"] for row in rows_of(40, 1)]
    assert np.abs(plain_logits(run.output_dir, texts) - run.test_logits).max() < 1e-3
    assert "control_frozen_accuracy" in run.metrics
    assert "Contrastive fine-tuning" in run.verdict
    assert "frozen encoder + linear head" in run.verdict
    assert not (run.output_dir / "controls").exists()
    assert json.loads((run.output_dir / "run.json").read_text())["data"]["rows"]["train"] == 16


def test_training_on_pairs_brings_rows_of_one_class_together(reader: Path, few: dict[str, Any], tmp_path: Path) -> None:
    run = run_tiny(tmp_path / "run", reader, **few, **{**QUICK, "num_iterations": 40})

    def gap(directory: Path) -> float:
        model = AutoModelForSequenceClassification.from_pretrained(directory).eval()
        tokenizer = AutoTokenizer.from_pretrained(directory)
        caught: list[torch.Tensor] = []
        model.classifier.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        with torch.inference_mode():
            model(**tokenizer([row["text"] for row in rows_of(16, 0)], padding=True, return_tensors="pt"))
        unit = torch.nn.functional.normalize(caught[0])
        cosines = unit @ unit.T
        alike = torch.arange(16).remainder(2)[:, None] == torch.arange(16).remainder(2)[None]
        return (cosines[alike].mean() - cosines[~alike].mean()).item()

    assert gap(run.output_dir) > 0.8 > gap(reader) + 0.3
    assert run.metrics["test_accuracy"] > 0.8 > run.metrics["control_frozen_accuracy"]


@pytest.mark.parametrize("kind", [MULTI, REGRESSION])
@pytest.mark.parametrize("use_peft", [False, True])
def test_every_kind_of_problem_is_fitted_in_full_and_by_adapters(
    learner: Path, make_csv: MakeCsv, tmp_path: Path, kind: str, use_peft: bool
) -> None:
    files = {
        f"{s}_file": make_csv(problem_rows(kind, n, k), f"{s}.csv")
        for k, (s, n) in enumerate({"train": 40, "test": 40}.items())
    }
    run = run_tiny(tmp_path / "run", learner, **files, **QUICK, use_peft=use_peft)
    texts = [row["text"] for row in problem_rows(kind, 40, 1)]
    assert np.abs(plain_logits(run.output_dir, texts) - run.test_logits).max() < 1e-3
    assert (run.output_dir / "adapter").exists() == use_peft


@pytest.mark.slow
def test_two_processes_train_the_body_of_one(tiny_bert: Path, few: dict[str, Any], tmp_path: Path) -> None:
    flags: dict[str, Any] = {**few, **SGD, "approach": "contrastive", "max_steps": 2, "learning_rate": 0.5}
    run_tiny(tmp_path / "one", tiny_bert, **flags, per_device_train_batch_size=16)
    sizes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    two_processes("fewshot", argv_of(tmp_path / "two", tiny_bert, **flags, **sizes))
    assert_same_weights(tmp_path / "one", tmp_path / "two", tiny_bert, body_alone=True)


def test_a_frozen_body_stays_as_it_was(learner: Path, few: dict[str, Any], tmp_path: Path) -> None:
    run = run_tiny(tmp_path / "run", learner, **few, approach="frozen")
    before, after = (
        AutoModel.from_pretrained(learner),
        AutoModelForSequenceClassification.from_pretrained(run.output_dir),
    )
    held = dict(after.base_model.named_parameters())
    assert all(torch.equal(parameter, held[name]) for name, parameter in before.named_parameters())
    assert run.metrics["eval_accuracy"] > 0.7
    assert not any(name.startswith("control_") for name in run.metrics)


def test_the_choice_never_reads_the_test_labels(
    learner: Path, make_csv: MakeCsv, few: dict[str, Any], tmp_path: Path
) -> None:
    few["train_file"] = make_csv(rows_of(4, 0))  # two folds
    turned = tmp_path / "turned.csv"
    rows = rows_of(40, 1)
    write_csv(
        turned, [{**row, "label": {"positive": "negative", "negative": "positive"}[row["label"]]} for row in rows]
    )
    flags: dict[str, Any] = {"num_iterations": 4, "max_steps": 8}
    one = run_tiny(tmp_path / "one", learner, **few, **flags)
    other = run_tiny(tmp_path / "other", learner, **{**few, "test_file": turned}, **flags)
    chosen = [[note for note in run.notes if note.startswith("approach: ")] for run in (one, other)]
    assert chosen[0] == chosen[1] != []
    choice = {name: value for name, value in one.metrics.items() if name.startswith("choice_")}
    assert len(choice) == 6
    assert choice == {name: value for name, value in other.metrics.items() if name.startswith("choice_")}
    assert np.array_equal(one.test_logits, other.test_logits)
    assert not (one.output_dir / "choice").exists()


def trials(**parts: list[float]) -> dict[str, Trial]:
    return {name: Trial(np.zeros((16, 2)), scores) for name, scores in parts.items()}


def test_the_cheapest_of_those_that_cannot_be_told_apart_is_taken() -> None:
    noise = np.random.default_rng(0).normal(size=(3, 500))
    draws: dict[str, np.ndarray] = dict(zip(("frozen", "finetune", "contrastive"), noise * 0.1, strict=True))
    found = _decision(trials(frozen=[0.7], finetune=[0.8], contrastive=[0.75]), draws, "f1_macro", True)
    assert found[0] == "frozen"
    assert "cannot be told apart" in found[1]
    clear = {name: draw * 0.1 for name, draw in draws.items()}
    found = _decision(trials(frozen=[0.7], finetune=[0.8], contrastive=[0.81]), clear, "f1_macro", True)
    assert found[0] == "finetune"
    found = _decision(trials(frozen=[0.7], finetune=[0.8], contrastive=[0.95]), clear, "f1_macro", True)
    assert found == (
        "contrastive",
        "the best by f1_macro; those that cost less are more than two standard errors behind it",
    )
    found = _decision(trials(frozen=[0.7], finetune=[0.8], contrastive=[0.95]), clear, "rmse", False)
    assert found == ("frozen", "the best by rmse, and the cheapest")


def test_one_text_a_class_takes_the_cheapest_and_says_why(
    learner: Path, make_csv: MakeCsv, few: dict[str, Any], tmp_path: Path
) -> None:
    run = run_tiny(tmp_path / "run", learner, **{**few, "train_file": make_csv(rows_of(2, 0))})
    assert (
        "approach: frozen, the cheapest; a class has too few texts to hold one out and compare approaches on"
        in run.notes
    )


def test_shots_are_drawn_by_class_and_seed(
    learner: Path, make_csv: MakeCsv, few: dict[str, Any], tmp_path: Path
) -> None:
    many = make_csv([*rows_of(60, 0), *[row for row in rows_of(80, 5) if row["label"] == "positive"]], "many.csv")
    flags: dict[str, Any] = {**few, "train_file": many, "approach": "frozen", "shots": 5}
    runs = [run_tiny(tmp_path / str(n), learner, **flags, seed=seed) for n, seed in enumerate((1, 1, 2))]
    records = [json.loads((run.output_dir / "run.json").read_text())["data"] for run in runs]
    assert records[0]["classes"]["train"] == {"negative": 5, "positive": 5}
    assert "train: 5 rows a class, 10 of 100 in all (--shots, seed 1)" in runs[0].notes
    assert np.array_equal(runs[0].test_logits, runs[1].test_logits)
    assert not np.allclose(runs[0].test_logits, runs[2].test_logits)


def test_templates_are_training_rows_where_asked(learner: Path, few: dict[str, Any], tmp_path: Path) -> None:
    run = run_tiny(tmp_path / "run", learner, ("--templates", "a {label} film", "so {label}"), **few, approach="frozen")
    assert "train: 4 rows made of 2 templates (--templates)" in run.notes
    assert json.loads((run.output_dir / "run.json").read_text())["data"]["rows"]["train"] == 20


def test_zero_shot_picks_the_label_whose_template_is_nearest(
    learner: Path, few: dict[str, Any], tmp_path: Path
) -> None:
    words = ("--labels", "negative", "positive", "--templates", "a {label} film", "very {label}")
    run = run_tiny(tmp_path / "run", learner, words, test_file=few["test_file"])
    model = AutoModelForSequenceClassification.from_pretrained(run.output_dir).eval()
    tokenizer = AutoTokenizer.from_pretrained(run.output_dir)
    caught: list[torch.Tensor] = []
    model.classifier.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    texts = [template.format(label=label) for template in words[4:] for label in words[1:3]]
    with torch.inference_mode():
        for text in [*texts, *(row["text"] for row in rows_of(40, 1))]:
            model(**tokenizer(text, return_tensors="pt"))
    unit = torch.nn.functional.normalize(torch.cat(caught))
    centroids = torch.nn.functional.normalize(torch.stack([unit[[0, 2]].mean(0), unit[[1, 3]].mean(0)]))
    nearest = (unit[4:] @ centroids.T).argmax(dim=1)
    assert nearest.tolist() == run.test_logits.argmax(axis=1).tolist()
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert model.classifier.bias.abs().max() == 0
    assert "Zero-shot" in run.verdict


def test_zero_shot_prints_no_figure_of_its_own_sentences_and_no_warning_of_them(
    learner: Path, few: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--labels", "negative", "positive")
    run = run_tiny(tmp_path / "run", learner, words, test_file=few["test_file"])
    said = capsys.readouterr().out
    assert "zero-shot, test" in said
    assert "zero-shot, validation" not in said
    assert not [line for line in said.splitlines() if "warning" in line or "data check" in line]
    assert not [name for name in run.metrics if name.startswith("eval_")]
    assert json.loads((run.output_dir / "run.json").read_text())["data"]["rows"]["validation"] == 0
    card = (run.output_dir / "README.md").read_text()
    assert "fitted on the names of its labels with nlp_ft" in card
    assert "name: test.csv" in card
    run_tiny(tmp_path / "unmeasured", learner, words)
    said = capsys.readouterr().out
    assert "validation 1.000" not in said
    assert "warning" not in said
    assert (
        "Labels: negative, positive. Its training and quality were not recorded."
        in (tmp_path / "unmeasured" / "README.md").read_text()
    )


def test_rows_that_were_trained_on_are_no_validation_in_the_report(
    learner: Path, few: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_tiny(tmp_path / "run", learner, **few, approach="frozen")
    said = capsys.readouterr().out
    assert ", test " in said
    assert ", validation " not in said


def test_zero_shot_without_test_rows_saves_a_model_and_no_figure(learner: Path, tmp_path: Path) -> None:
    run = run_tiny(tmp_path / "run", learner, ("--labels", "1", "2", "3"))
    assert run.metrics == {}
    record = json.loads((run.output_dir / "run.json").read_text())
    assert record["verdict"] == "Nothing was measured: there is no --test_file, and no labelled row."
    assert record["metrics"] == {}
    model = AutoModelForSequenceClassification.from_pretrained(run.output_dir)
    assert sorted(model.config.id2label.values()) == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"train_file": None},
            "fewshot needs labelled rows (--train_file), or the class names alone (--labels) for zero-shot.",
        ),
        (
            {"num_folds": 3},
            "--num_folds: --approach auto cross-validates already; several --seed tell more than folds here.",
        ),
        (
            {"approach": "contrastive", "class_weights": "balanced"},
            "--class_weights has no effect on --approach contrastive; leave it out.",
        ),
        (
            {"approach": "frozen", "use_peft": True},
            "--use_peft: --approach frozen trains no body that adapters could change; leave it out.",
        ),
        (
            {"approach": "finetune", "early_stopping_patience": 2},
            "--early_stopping_patience needs a --validation_file; no other rows may stop the training.",
        ),
        ({"shots": 0}, "--shots must be at least 1, got 0."),
        (
            {"templates": "a film"},
            "--templates: 'a film' has no {label}, which the label's name is put in place of.",
        ),
        (
            {"labels": "good"},
            "--labels must be two or more different names, got good.",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    learner: Path, few: dict[str, Any], tmp_path: Path, flags: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        run_tiny(tmp_path / "run", learner, **{**few, **flags})
    assert str(caught.value) == message


def test_zero_shot_takes_no_training_rows(learner: Path, few: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        run_tiny(tmp_path / "run", learner, ("--labels", "a", "b"), **few)
    assert str(caught.value) == (
        "--labels is for zero-shot, without training rows; with them the labels are those of the rows."
    )


def test_shots_of_a_regression_are_refused(learner: Path, make_csv: MakeCsv, tmp_path: Path) -> None:
    files = {
        f"{s}_file": make_csv(problem_rows(REGRESSION, 40, k), f"{s}.csv") for k, s in enumerate(("train", "test"))
    }
    with pytest.raises(ConfigError) as caught:
        run_tiny(tmp_path / "run", learner, **files, **QUICK, shots=4)
    assert str(caught.value) == "--shots draws rows of each class, and a regression has none; use --max_train_samples."


@pytest.mark.parametrize("name", ["class_weights", "label_smoothing_factor", "head_start", "metric_for_best_model"])
def test_auto_refuses_what_two_of_its_three_approaches_ignore(tiny_bert: Path, tmp_path: Path, name: str) -> None:
    value = {"class_weights": "balanced", "label_smoothing_factor": 0.1, "head_start": "random"}.get(name, "accuracy")
    refused(tiny_bert, tmp_path, TWO_OF_THREE.format(name), **{name: value})


@pytest.mark.parametrize(
    ("approach", "flags"),
    [
        ("frozen", {"freeze_layers": 1}),
        ("frozen", {"reinit_layers": 1}),
        ("frozen", {"learning_rate": 1e-3}),
        ("frozen", {"num_train_epochs": 1}),
        ("frozen", {"num_iterations": 1}),
        ("frozen", {"max_pairs": 8}),
        ("frozen", {"max_steps": 8}),
        ("finetune", {"max_pairs": 8}),
        ("contrastive", {"train_sampling_strategy": "random"}),
    ],
)
def test_what_an_approach_ignores_is_refused(
    tiny_bert: Path, tmp_path: Path, approach: str, flags: dict[str, Any]
) -> None:
    refused(tiny_bert, tmp_path, NO_EFFECT.format(next(iter(flags)), approach), approach=approach, **flags)


@pytest.mark.parametrize("flags", [{"reinit_layers": 1}, {"learning_rate": 1e-3}, {"freeze_layers": "all"}])
def test_what_zero_shot_ignores_is_refused(tiny_bert: Path, tmp_path: Path, flags: dict[str, Any]) -> None:
    common = {"model_name_or_path": tiny_bert, "output_dir": tmp_path / "run", "use_cpu": True}
    with pytest.raises(ConfigError) as caught:
        run_method(fewshot, **common, labels=["a", "b"], **flags)
    assert str(caught.value) == ZERO_SHOT.format(next(iter(flags)))


def refused(checkpoint: Path, folder: Path, message: str, **flags: Any) -> None:
    common = {"model_name_or_path": checkpoint, "output_dir": folder / "run", "use_cpu": True}
    with pytest.raises(ConfigError) as caught:
        run_method(fewshot, **common, train_file="none.csv", **flags)
    assert str(caught.value) == message


def test_controls_are_trained_with_the_flags_that_a_frozen_body_ignores(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path
) -> None:
    flags = {f"{s}_file": make_csv(rows_of(n, n), f"{s}.csv") for s, n in {"train": 16, "test": 12}.items()}
    flags |= {"approach": "frozen", "with_control": True, "max_steps": 1, "max_pairs": 8, "use_cpu": True}
    found = run_method(fewshot, model_name_or_path=tiny_bert, output_dir=tmp_path / "run", **flags)
    assert {"control_finetune_accuracy", "control_contrastive_accuracy"} <= {*found.metrics}


def test_adapters_are_not_called_full_fine_tuning(tmp_path: Path) -> None:
    argv = ["--model_name_or_path", "a", "--output_dir", str(tmp_path), "--use_cpu", "true"]
    settings = Settings.of("fewshot", parse(*fewshot.ARGUMENTS, argv=argv), FewshotArguments)
    adapters = replace(settings, lora=replace(settings.lora, use_peft=True))
    assert title("finetune", settings) == "full fine-tuning"
    assert title("finetune", adapters) == "LoRA fine-tuning"
    assert title("frozen", adapters) == "frozen encoder + linear head"


def test_rows_too_few_to_split_do_not_leak_into_themselves(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = {f"{s}_file": make_csv(rows_of(n, n), f"{s}.csv") for s, n in {"train": 2, "test": 12}.items()}
    found = run_method(
        fewshot, model_name_or_path=tiny_bert, output_dir=tmp_path / "run", approach="frozen", use_cpu=True, **flags
    )
    out = capsys.readouterr().out
    assert "is in train too" not in out
    assert "flatters" not in out
    assert not [note for note in found.notes if "leak" in note]
    assert any("all 2 rows are trained on, and stand for it" in note for note in found.notes)


def test_pairs_are_drawn_by_the_seed_of_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    monkeypatch.setattr("nlp_ft.methods.fewshot.trainer.HeadTrainer.__init__", lambda self, **_: vars(self).update(_))
    monkeypatch.setattr("nlp_ft.methods.fewshot.trainer.Pairs", lambda rows, kind, pairs, seed: drawn.append(seed))
    for data_seed in (None, 7):
        args = SimpleNamespace(seed=1, data_seed=data_seed, train_sampling_strategy="")
        PairTrainer(pairs=4, args=args, rows=[], problem_type=SINGLE)
    assert drawn == [1, 7]
