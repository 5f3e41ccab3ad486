import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from running import finetune_tiny, weights_hash
from transformers import AutoModelForSequenceClassification, AutoTokenizer, DataCollatorWithPadding, TrainingArguments

from nlp_ft.errors import ConfigError, TrainingError
from nlp_ft.training.losses import ClassifierLoss
from nlp_ft.training.trainer import ClassifierTrainer

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


def model_of(checkpoint: Path, problem: str) -> Any:
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_pretrained(
        checkpoint,
        num_labels=1 if problem == REGRESSION else 3,
        problem_type=problem,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def rows_of(checkpoint: Path, problem: str, count: int = 16) -> Dataset:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    words = ["lovely", "awful", "film", "the", "story", "boring"]
    texts = [" ".join(words[(i + j) % 6] for j in range(1 + i % 7)) for i in range(count)]
    labels = {
        SINGLE: [i % 3 for i in range(count)],
        MULTI: [[float(i % 2), float(i % 3 == 0), 1.0] for i in range(count)],
        REGRESSION: [-100.0 if i == 3 else i / 4 for i in range(count)],  # -100 is a target here, no padding
    }
    encoded = dict(tokenizer(texts))
    return Dataset.from_dict({**encoded, "labels": labels[problem], "length": [len(x) for x in encoded["input_ids"]]})


def trainer_of(checkpoint: Path, problem: str, folder: Path, model: Any = None, **arguments: Any) -> ClassifierTrainer:
    chosen = {"use_cpu": True, "report_to": "none", "disable_tqdm": True, "max_grad_norm": 0.0, **arguments}
    return ClassifierTrainer(
        model=model or model_of(checkpoint, problem),
        args=TrainingArguments(output_dir=str(folder), **chosen),
        train_dataset=rows_of(checkpoint, problem),  # type: ignore[arg-type]
        data_collator=DataCollatorWithPadding(AutoTokenizer.from_pretrained(checkpoint)),
        processing_class=AutoTokenizer.from_pretrained(checkpoint),
        compute_loss_func=ClassifierLoss(problem),
    )


@pytest.mark.parametrize("problem", [SINGLE, MULTI, REGRESSION])
def test_one_batch_of_16_and_four_of_4_give_the_same_gradient(tiny_bert: Path, tmp_path: Path, problem: str) -> None:
    steps, losses = [], []
    for rows, accumulation in ((16, 1), (4, 4)):
        model = model_of(tiny_bert, problem)
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        trainer = trainer_of(
            tiny_bert,
            problem,
            tmp_path,
            model,
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=accumulation,
            max_steps=1,
            optim="sgd",  # a step is then rate x gradient; AdamW would hide a gradient four times too large
            learning_rate=1e-3,
            lr_scheduler_type="constant",
            logging_steps=1,
        )
        trainer.train()
        steps.append({n: p.detach() - before[n] for n, p in model.named_parameters()})
        losses.append(next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry))
    scale = max(step.abs().max().item() for step in steps[0].values())
    assert scale > 1e-6
    worst = max((steps[0][n] - steps[1][n]).abs().max().item() for n in steps[0])
    assert worst < 1e-3 * scale
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_loss_that_is_not_finite_stops_the_run_and_nothing_of_it_is_saved(tiny_bert: Path, tmp_path: Path) -> None:
    model = model_of(tiny_bert, SINGLE)
    with torch.no_grad():
        model.classifier.bias[0] = math.nan
    trainer = trainer_of(tiny_bert, SINGLE, tmp_path, model, max_steps=3, save_steps=1)
    with pytest.raises(TrainingError) as caught:
        trainer.train()
    assert str(caught.value) == (
        "the loss is nan at step 1; nothing of it was saved. Lower --learning_rate, or train in float32 (no --fp16); "
        "earlier checkpoints are untouched."
    )
    assert not list(tmp_path.glob("**/*.safetensors"))


def test_weights_that_are_not_finite_are_never_saved(tiny_bert: Path, tmp_path: Path) -> None:
    trainer = trainer_of(tiny_bert, SINGLE, tmp_path)
    with torch.no_grad():
        trainer.model.classifier.weight[0, 0] = math.inf  # type: ignore[union-attr]
    with pytest.raises(TrainingError, match=r"^classifier\.weight is not finite after step 0, and was not saved\."):
        trainer.save_model(str(tmp_path / "saved"))
    assert not (tmp_path / "saved").exists()


def test_a_run_that_diverges_ends_in_one_error_and_saves_no_model(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"not finite|is nan|is inf"):
        finetune_tiny(tmp_path / "run", tiny_bert, tiny_csv, optim="sgd", learning_rate=1e30, max_grad_norm=0)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert not (tmp_path / "run" / "run.json").exists()


def test_predictions_come_in_the_order_of_the_rows_though_batches_are_grouped_by_length(
    tiny_bert: Path, tmp_path: Path
) -> None:
    model = model_of(tiny_bert, SINGLE).eval()
    trainer = trainer_of(
        tiny_bert, SINGLE, tmp_path, model, train_sampling_strategy="group_by_length", per_device_eval_batch_size=4
    )
    rows = rows_of(tiny_bert, SINGLE, 23)
    got, metrics = trainer.predict_in_order(rows, "test")
    with torch.inference_mode():
        alone = [model(input_ids=torch.tensor([ids])).logits[0].numpy() for ids in rows["input_ids"]]
    assert np.abs(got - np.stack(alone)).max() < 1e-5
    assert np.abs(np.diff(got, axis=0)).max() > 1e-4  # the rows do differ, so that their order shows
    assert "test_loss" in metrics
    assert trainer.args.train_sampling_strategy == "group_by_length"


def test_two_runs_with_one_seed_are_equal_to_the_bit_and_another_seed_differs(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    runs = [
        finetune_tiny(tmp_path / name, tiny_bert, tiny_csv, seed=seed, head_start="random")
        for name, seed in (("a", 7), ("b", 7), ("c", 8))
    ]
    hashes = [weights_hash(run.output_dir) for run in runs]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]
    assert runs[0].metrics["test_accuracy"] == runs[1].metrics["test_accuracy"]


@pytest.mark.parametrize(
    "flags",
    [
        {"optim": "adamw_torch", "lr_scheduler_type": "cosine", "weight_decay": 0.1, "max_grad_norm": 0.5},
        {"lr_scheduler_type": "constant_with_warmup", "warmup_steps": 3, "dropout": 0.2},
        {"label_smoothing_factor": 0.1, "class_weights": "balanced", "gradient_accumulation_steps": 2},
    ],
    ids=["cosine", "constant", "smoothed"],
)
def test_a_run_learns_words_that_decide_the_label(
    learner: Path, tiny_csv: dict[str, Path], tmp_path: Path, flags: dict[str, Any]
) -> None:
    defaults = {"learning_rate": 5e-3, "num_train_epochs": 20, "per_device_train_batch_size": 8, "head_start": "random"}
    run = finetune_tiny(tmp_path / "run", learner, tiny_csv, **{**defaults, **flags})
    assert run.metrics["test_accuracy"] >= 0.9  # chance is 0.5


def test_sgd_gets_momentum_and_a_rate_of_its_own_and_learns(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    flags = {"optim": "sgd", "per_device_train_batch_size": 8, "num_train_epochs": 40, "head_start": "random"}
    run = finetune_tiny(tmp_path / "run", tiny_bert, tiny_csv, **flags)
    assert run.settings["training"]["optim_args"] == "momentum=0.9"
    assert run.settings["training"]["learning_rate"] == 0.02
    losses = [entry["loss"] for entry in run.log_history if "loss" in entry]
    assert np.mean(losses[-3:]) < 0.5 * losses[0]


def test_sgd_with_momentum_follows_its_formula(tiny_bert: Path, tmp_path: Path) -> None:
    model = model_of(tiny_bert, SINGLE)
    trainer = trainer_of(
        tiny_bert, SINGLE, tmp_path, model, optim="sgd", optim_args="momentum=0.9", learning_rate=0.1, weight_decay=0.0
    )
    optimizer = trainer.create_optimizer()
    weight = model.classifier.weight
    value, velocity = weight.detach().clone(), torch.zeros_like(weight)
    for step in range(3):
        gradient = torch.full_like(weight, 0.5 + step)
        weight.grad = gradient.clone()
        optimizer.step()
        velocity = 0.9 * velocity + gradient  # Sutskever et al. 2013, as torch writes it
        value = value - 0.1 * velocity
    assert torch.allclose(weight, value, atol=1e-6)


def test_early_stopping_ends_before_the_last_epoch_and_keeps_the_best(
    learner: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    run = finetune_tiny(
        tmp_path / "run",
        learner,
        tiny_csv,
        num_train_epochs=30,
        learning_rate=5e-3,
        early_stopping_patience=2,
        head_start="random",
    )
    scores = [entry["eval_f1_macro"] for entry in run.log_history if "eval_f1_macro" in entry]
    assert len(scores) < 30
    assert run.metrics["eval_f1_macro"] == pytest.approx(max(scores))  # what is saved is the best, not the last


def test_an_unknown_metric_is_refused_before_training(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(
        ConfigError, match=r"--metric_for_best_model f1 is not measured here; it can be accuracy, .*loss"
    ):
        finetune_tiny(tmp_path / "run", tiny_bert, tiny_csv, metric_for_best_model="f1")
    assert not (tmp_path / "run").exists()


def test_an_output_directory_in_use_is_refused_and_left_alone(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError) as caught:
        finetune_tiny(tmp_path / "run", tiny_bert, tiny_csv)
    assert str(caught.value) == (
        f"--output_dir {tmp_path / 'run'} holds something already (mine.txt); name another, or continue an interrupted run "
        "with --resume_from_checkpoint True. Nothing is written over."
    )
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["mine.txt"]


def test_weighted_classes_move_the_decision(learner: Path, tmp_path: Path) -> None:
    model = model_of(learner, SINGLE)
    twin = copy.deepcopy(model)
    chances = []
    for weights, one in ((None, model), ([0.1, 0.1, 2.8], twin)):
        trainer = trainer_of(learner, SINGLE, tmp_path, one, max_steps=60, learning_rate=1e-3, save_strategy="no")
        trainer.compute_loss_func = ClassifierLoss(SINGLE, weights)
        trainer.train()
        logits, _ = trainer.predict_in_order(rows_of(learner, SINGLE), "test")
        chances.append(torch.softmax(torch.tensor(logits), dim=-1)[:, 2].mean().item())
    assert chances[1] > chances[0] + 0.2


def test_an_output_directory_that_cannot_be_made_is_refused_before_anything_is_read(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        finetune_tiny(tmp_path / "file" / "run", tiny_bert, {"train": tmp_path / "absent.csv"})
    assert str(caught.value) == (
        f"--output_dir {tmp_path / 'file' / 'run'}: {tmp_path / 'file'} is a file; wanted a new or empty directory."
    )


def test_processes_that_would_train_apart_are_refused(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nlp_ft.training.run import claim_directory

    arguments = TrainingArguments(output_dir=str(tmp_path / "run"), use_cpu=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError) as caught:
        claim_directory(arguments)
    assert str(caught.value) == (
        "2 processes were started, and each would train alone; on the CPU add --use_cpu to join them."
    )


def test_with_adapters_the_head_goes_at_a_tenth_of_their_rate_and_every_parameter_is_in_one_group(
    tiny_bert: Path, tmp_path: Path
) -> None:
    from nlp_ft.config import LoraArguments
    from nlp_ft.models.classifier import add_lora

    model = add_lora(model_of(tiny_bert, SINGLE), LoraArguments(use_peft=True))
    trainer = trainer_of(tiny_bert, SINGLE, tmp_path, model, learning_rate=1e-2, weight_decay=0.01)
    optimizer = trainer.create_optimizer()
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    trained = {name: id(p) for name, p in model.named_parameters() if p.requires_grad}
    assert set(rates) == set(trained.values())
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(trained)
    assert {rates[i] for name, i in trained.items() if "lora_" in name} == {1e-2}
    assert [rates[i] for name, i in trained.items() if "lora_" not in name] == pytest.approx([1e-3] * 4)  # two layers
    full = trainer_of(tiny_bert, SINGLE, tmp_path, learning_rate=1e-2).create_optimizer()
    assert {group["lr"] for group in full.param_groups} == {1e-2}
