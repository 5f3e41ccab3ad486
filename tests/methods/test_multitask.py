"""Multi-task: one body under several heads, a loss and its gradient by hand, shares of tasks, leaks, twins, directories."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from conftest import MakeCsv, RunCli, write_csv
from running import ONE_EPOCH, SGD, as_argv, assert_same_weights, plain_logits, problem_rows, run_method, two_processes
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel, TrainerState, TrainingArguments

from nlp_ft.config import DataArguments, ModelArguments
from nlp_ft.config.parser import parse
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.evaluation.probabilities import MULTI, REGRESSION, SINGLE
from nlp_ft.methods import multitask
from nlp_ft.methods.multitask.job import make_sampler
from nlp_ft.methods.multitask.report import gained, table
from nlp_ft.methods.multitask.sampler import TaskSampler, exponent_of
from nlp_ft.methods.multitask.trainer import MultiTask, MultiTaskLoss, MultiTaskTrainer, TaskKind, UncertaintyLoss
from nlp_ft.models.classifier import load_classifier, load_tokenizer
from nlp_ft.training.losses import ClassifierLoss
from nlp_ft.training.run_report import RunReport

pytestmark = pytest.mark.xdist_group("test_multitask")  # one process makes what its tests share
KINDS = {"mood": SINGLE, "topics": MULTI, "score": REGRESSION}
QUICK = {"learning_rate": 5e-3, "num_train_epochs": 2, "per_device_train_batch_size": 8, "head_start": "random"}


def contract_argv(world: Any) -> list[str]:
    """The flags that run this method on a tiny world: its own task, and a regression beside it."""
    found = {f"{split}_file": getattr(world, split) for split in ("train", "validation", "test")}
    files = {name: str(path) for name, path in found.items() if path is not None}
    numbered = enumerate(problem_rows(REGRESSION, 60, 77))
    rows = [{**row, "text": f"{row['text']} {n}", "group": f"group {n // 4}"} for n, row in numbered]
    beside = write_csv(Path(world.folder) / "beside.csv", rows)
    tasks = {"mood": files, "score": {"train_file": str(beside)}}
    return ["--model_name_or_path", str(world.learner), "--tasks", json.dumps(tasks), "--num_train_epochs", "2"]


def files_for(folder: Path, kinds: dict[str, str] = KINDS) -> dict[str, dict[str, str]]:
    """Three files for each task, none of whose texts is in another's."""
    found: dict[str, dict[str, str]] = {}
    for number, (name, kind) in enumerate(kinds.items()):
        sizes = {"train": 48 + 8 * number, "validation": 24, "test": 40}
        for place, (split, count) in enumerate(sizes.items()):
            rows = problem_rows(kind, count, 10 * number + place)
            path = write_csv(folder / f"{name}_{split}.csv", rows)
            found.setdefault(name, {})[f"{split}_file"] = str(path)
    return found


def arguments(output: Path, checkpoint: Path, tasks: Any, extra: Sequence[str] = (), **flags: Any) -> list[str]:
    chosen = {"model_name_or_path": checkpoint, "output_dir": output, "use_cpu": True, **QUICK, **flags}
    written = tasks if isinstance(tasks, str) else json.dumps(tasks)
    return [*as_argv(tasks=written, **chosen), *extra]


def run_tiny(
    output: Path, checkpoint: Path, tasks: Any, extra: Sequence[str] = (), frames: Any = None, **flags: Any
) -> RunReport:
    argv = arguments(output, checkpoint, tasks, extra, **flags)
    return multitask.run(*parse(*multitask.ARGUMENTS, argv=argv), frames=frames)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


def classifiers(family: str = "bert") -> tuple[list[Any], Any]:
    """Single-label (3), multi-label (4) and regression heads on one checkpoint, and its tokenizer."""
    args = ModelArguments(model_name_or_path=str(tiny.checkpoint(family)))
    tokenizer = load_tokenizer(args)
    torch.manual_seed(1)
    labels = {SINGLE: ["a", "b", "c"], MULTI: ["a", "b", "c", "d"], REGRESSION: []}
    return [load_classifier(args, tokenizer, kind, names)[0].eval() for kind, names in labels.items()], tokenizer


SHAPES = [TaskKind(SINGLE, 3), TaskKind(MULTI, 4), TaskKind(REGRESSION, 1)]
LOSSES = [ClassifierLoss(kind.problem_type) for kind in SHAPES]
TASKS = torch.tensor([0, 1, 2, 0, 2, 1])
LABELS = torch.tensor(
    [[0, 2, 0, 0, 0], [1, 1, 0, 0, 1], [2, 2.5, 0, 0, 0], [0, 1, 0, 0, 0], [2, -1, 0, 0, 0], [1, 0, 1, 1, 0]]
).float()


def batch_of(tokenizer: Any, rows: Sequence[int]) -> dict[str, torch.Tensor]:
    batch = tokenizer([tiny.TEXTS[row] for row in rows], padding=True, return_tensors="pt")
    return {**batch, "task": TASKS[list(rows)]}


def gradients(model: MultiTask, loss: MultiTaskLoss, tokenizer: Any, rows: Sequence[int], items: int | None) -> Any:
    model.zero_grad()
    loss(model(**batch_of(tokenizer, rows)), LABELS[list(rows)], items).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


# ---- the model


@pytest.mark.parametrize("family", ["bert", "roberta", "deberta-v2", "modernbert", "xlnet", "gpt2", "llama"])
def test_each_row_gets_the_logits_of_its_own_tasks_classifier(family: str) -> None:
    made, tokenizer = classifiers(family)
    model = MultiTask(made).eval()
    with torch.inference_mode():
        logits = model(**batch_of(tokenizer, range(6))).logits
        for row, task in enumerate(TASKS.tolist()):
            alone = made[task](**tokenizer([tiny.TEXTS[row]], return_tensors="pt")).logits[0]
            outputs = SHAPES[task].outputs
            assert torch.allclose(logits[row, :outputs], alone, atol=1e-5)
            assert (logits[row, outputs:] == 0).all()


def test_the_body_is_one_module_and_counts_once() -> None:
    made, _ = classifiers()
    alone = [sum(p.numel() for p in one.parameters()) for one in made]
    body = sum(p.numel() for p in made[0].bert.parameters())
    model = MultiTask(made)
    assert made[0].bert is made[1].bert is made[2].bert is model.body
    assert sum(p.numel() for p in model.parameters()) == sum(alone) - 2 * body
    pointers = [tensor.data_ptr() for tensor in model.state_dict().values()]
    assert len(pointers) == len(set(pointers))  # safetensors refuses shared tensors


def test_a_batch_of_one_task_leaves_the_heads_of_the_others_alone() -> None:
    made, tokenizer = classifiers()
    model, loss = MultiTask(made).train(), MultiTaskLoss(LOSSES, SHAPES, [1, 1, 1], [1, 1, 1])
    found = gradients(model, loss, tokenizer, [0, 3], None)
    assert found.keys() == {
        name for name, _ in model.named_parameters()
    }  # each process has a gradient of each parameter
    size = {
        number: sum(g.abs().sum() for n, g in found.items() if n.startswith(f"heads.{number}.")) for number in range(3)
    }
    assert size[0] > 0
    assert size[1] == size[2] == 0
    assert sum(g.abs().sum() for n, g in found.items() if n.startswith("body.")) > 0


def test_the_gradient_of_a_mixed_batch_is_the_sum_of_its_parts_in_any_cut() -> None:
    made, tokenizer = classifiers()
    model, loss = MultiTask(made), MultiTaskLoss(LOSSES, SHAPES, [1, 1, 4], [2, 1, 0.5])
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.train()
    whole = gradients(model, loss, tokenizer, range(6), 6)
    for cut in ([[0, 3], [1, 5], [2, 4]], [[0, 1, 2], [3, 4, 5]], [[0], [1, 2, 3, 4, 5]]):
        parts = [gradients(model, loss, tokenizer, rows, 6) for rows in cut]
        for name, wanted in whole.items():
            got = torch.stack([part[name] for part in parts]).sum(dim=0)
            assert torch.allclose(got, wanted, atol=1e-6), name
    assert max(g.abs().max() for g in whole.values()) > 1e-2


# ---- the loss


def test_the_loss_is_the_weighted_and_scaled_sum_by_hand() -> None:
    logits = torch.tensor([[2.0, 0.0, 1.0, 9.0], [1.0, -1.0, 0.0, 2.0], [1.5, 9.0, 9.0, 9.0]])
    labels = torch.tensor([[0, 2, 0, 0, 0], [1, 1, 0, 0, 1], [2, 2.5, 0, 0, 0]])
    loss = MultiTaskLoss(LOSSES, SHAPES, scales=[1, 1, 4], weights=[1, 3, 2])
    cross_entropy = np.log(np.exp(2) + np.exp(0) + np.exp(1)) - 1
    binary = np.mean(np.log1p(np.exp([-1.0, -1.0, 0.0, -2.0])))
    squared = (1.5 - 2.5) ** 2 / 4
    assert loss.row_losses(logits, labels).tolist() == pytest.approx([cross_entropy, 3 * binary, 2 * squared])
    total = loss({"logits": logits}, labels, num_items_in_batch=torch.tensor(12))
    assert total.item() == pytest.approx((cross_entropy + 3 * binary + 2 * squared) / 12)


def test_uncertainty_is_the_formula_of_kendall_by_hand() -> None:
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0]])
    labels = torch.tensor([[0, 1, 0, 0, 0], [2, 0, 0, 0, 0], [2, 1, 0, 0, 0]]).float()
    spread = nn.Parameter(torch.tensor([0.4, 5.0, -0.2]))
    loss = UncertaintyLoss(LOSSES, SHAPES, [1, 1, 1], spread)
    first = np.exp(-0.4) * np.log(3) + 0.2
    second, third = 0.5 * np.exp(0.2) * 1 - 0.1, 0.5 * np.exp(0.2) * 4 - 0.1
    total = loss({"logits": logits}, labels, num_items_in_batch=3)
    assert total.item() == pytest.approx((first + second + third) / 3)
    total.backward()
    assert spread.grad is not None
    wanted = [(0.5 - np.exp(-0.4) * np.log(3)) / 3, 0, (1 - 0.5 * np.exp(0.2) * 5) / 3]
    assert spread.grad.tolist() == pytest.approx(wanted)


def test_a_log_variance_is_at_rest_where_its_losses_say() -> None:
    spread = nn.Parameter(torch.tensor([np.log(2 * np.log(3)), 0.0, np.log(4.0)]))
    loss = UncertaintyLoss(LOSSES, SHAPES, [1, 1, 1], spread)
    labels = torch.tensor([[0, 1, 0, 0, 0], [2, 1, 0, 0, 0]]).float()
    loss({"logits": torch.tensor([[0.0, 0, 0, 0], [3.0, 0, 0, 0]])}, labels).backward()
    assert spread.grad is not None
    assert spread.grad.abs().max() < 1e-6


def test_log_variances_have_a_rate_of_their_own_and_no_decay(tmp_path: Path) -> None:
    made, _ = classifiers()
    model = MultiTask(made, uncertainty=True)
    args = TrainingArguments(str(tmp_path), use_cpu=True, learning_rate=1e-4, weight_decay=0.1, report_to=[])
    sampler = TaskSampler([1, 1, 1], exponent_of("uniform", 1, 1), 0)
    trainer = MultiTaskTrainer(
        model=model,
        args=args,
        scores=lambda _: {},
        sampler=sampler,
        width=4,
        data_collator=list,
        compute_loss_func=LOSSES[0],
    )
    groups = trainer.create_optimizer().param_groups
    own = [group for group in groups if any(p is model.log_variances for p in group["params"])]
    assert [(group["lr"], group["weight_decay"], len(group["params"])) for group in own] == [(1e-2, 0.0, 1)]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


# ---- how often a task is drawn


@pytest.mark.parametrize(
    ("sampling", "temperature", "epochs", "wanted"),
    [
        ("proportional", 2, 2, [[90, 10], [90, 10]]),
        ("uniform", 2, 2, [[50, 50], [50, 50]]),
        ("temperature", 1, 1, [[90, 10]]),
        ("temperature", 2, 1, [[75, 25]]),  # 3 to 1, the square roots
        ("annealed", 2, 3, [[90, 10], [79, 21], [61, 39]]),  # 9 ** .6 = 3.74 to 1, then 9 ** .2 = 1.55 to 1
        ("annealed", 2, 1, [[90, 10]]),
    ],
)
def test_shares_by_hand(sampling: str, temperature: float, epochs: int, wanted: list[list[int]]) -> None:
    sampler = TaskSampler([90, 10], exponent_of(sampling, temperature, epochs), 0)
    assert [sampler.counts(epoch) for epoch in range(epochs)] == wanted


def test_annealing_by_hand() -> None:
    exponent = exponent_of("annealed", 2, 5)
    assert [exponent(epoch) for epoch in range(5)] == pytest.approx([1, 0.8, 0.6, 0.4, 0.2])


def set_epoch(sampler: TaskSampler, epoch: int) -> None:
    sampler.clock.on_epoch_begin(None, TrainerState(epoch=epoch), None)


def epochs_of(sampler: TaskSampler, count: int) -> list[list[int]]:
    found = []
    for epoch in range(count):
        set_epoch(sampler, epoch)
        found.append(list(sampler))
    return found


def test_proportional_has_every_row_once_an_epoch_in_another_order() -> None:
    first, second = epochs_of(TaskSampler([30, 7], exponent_of("proportional", 2, 1), 5), 2)
    assert sorted(first) == sorted(second) == list(range(37))
    assert first != second
    assert [row >= 30 for row in first[-7:]] != [True] * 7  # mixed


def test_rows_of_a_task_are_seen_equally_often_whatever_its_share() -> None:
    rounds = epochs_of(TaskSampler([40, 8], exponent_of("uniform", 2, 1), 5), 5)  # 24 of each an epoch
    seen = np.bincount(np.concatenate(rounds), minlength=48)
    assert set(seen[:40]) == {3}  # 120 draws of 40 rows
    assert set(seen[40:]) == {15}
    once = np.bincount(rounds[0], minlength=48)
    assert set(once[:40]) == {0, 1}
    assert set(once[40:]) == {3}


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def drawn(seed: int, epoch: int) -> list[int]:
        sampler = TaskSampler([30, 7], exponent_of("temperature", 3, 1), seed)
        set_epoch(sampler, epoch)
        return list(sampler)

    assert drawn(1, 3) == drawn(1, 3) == epochs_of(TaskSampler([30, 7], exponent_of("temperature", 3, 1), 1), 4)[3]
    assert drawn(1, 3) != drawn(2, 3)


def test_rows_of_an_update_are_of_like_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 210).tolist()
    sampler = TaskSampler([150, 60], exponent_of("proportional", 1, 1), 0, lengths=lengths, per_update=8)
    rows = list(sampler)
    assert sorted(rows) == list(range(210))
    spans = [np.ptp([lengths[row] for row in rows[start : start + 8]]) for start in range(0, 208, 8)]
    assert max(spans) <= 12  # at random they would span about 78
    means = [np.mean([lengths[row] for row in rows[start : start + 8]]) for start in range(0, 208, 8)]
    assert means != sorted(means, reverse=True)


# ---- whole runs


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    return files_for(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def learned(learner: Path, tasks: Any, tmp_path_factory: pytest.TempPathFactory) -> RunReport:
    output = tmp_path_factory.mktemp("learned") / "run"
    return run_tiny(output, learner, tasks, num_train_epochs=8, loss_weighting="uncertainty", sampling="annealed")


def texts_and_logits(directory: Path) -> tuple[list[str], np.ndarray]:
    with (directory / "test_predictions.csv").open(encoding="utf-8", newline="") as handle:
        texts = [row["text"] for row in csv.DictReader(handle)]
    return texts, plain_logits(directory, texts)


def test_tasks_of_three_kinds_learn_together(learned: RunReport) -> None:
    assert learned.metrics["test_mood_f1_macro"] > 0.9
    assert learned.metrics["test_topics_f1_micro"] > 0.7
    assert learned.metrics["test_score_r2"] > 0.9
    three = [learned.metrics[f"test_{name}"] for name in ("mood_f1_macro", "topics_f1_micro", "score_r2")]
    assert learned.metrics["test_mean"] == pytest.approx(np.mean(three))


def test_each_task_has_an_ordinary_directory_that_repeats_its_logits(learned: RunReport) -> None:
    start = 0
    for name, kind in KINDS.items():
        directory = learned.output_dir / name
        _, logits = texts_and_logits(directory)
        wanted = learned.test_logits[start : start + len(logits), : logits.shape[1]]
        start += len(logits)
        assert np.abs(logits - wanted).max() < 1e-3
        record = json.loads((directory / "run.json").read_text())
        assert record["metrics"]["test_loss"] > 0
        assert record["arguments"]["method"]["name"] == "multitask"
        assert json.loads((directory / "config.json").read_text())["problem_type"] == kind
        assert (directory / "README.md").is_file()
    assert start == len(learned.test_logits)


def test_all_directories_hold_one_body_and_it_stands_alone_too(learned: RunReport) -> None:
    held = {name: weights(learned.output_dir / name) for name in KINDS}
    body = weights(learned.output_dir / "body")
    for key, weight in body.items():
        assert all(torch.equal(one[f"bert.{key}"], weight) for one in held.values()), key
    _, info = AutoModel.from_pretrained(learned.output_dir / "body", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    config = json.loads((learned.output_dir / "body" / "config.json").read_text())
    assert config["architectures"] == ["BertModel"]
    assert config.get("problem_type") is None
    assert config.get("id2label", {"0": "LABEL_0", "1": "LABEL_1"}) == {"0": "LABEL_0", "1": "LABEL_1"}
    args = ModelArguments(model_name_or_path=str(learned.output_dir / "body"))
    model, _, trained_head = load_classifier(args, load_tokenizer(args), SINGLE, ["x", "y"])
    assert not trained_head
    assert torch.equal(model.state_dict()["bert.pooler.dense.weight"], body["pooler.dense.weight"])


def test_the_root_says_what_was_run_and_found(learned: RunReport) -> None:
    record = json.loads((learned.output_dir / "run.json").read_text())
    assert record["metrics"] == json.loads((learned.output_dir / "all_results.json").read_text())
    assert record["arguments"]["multitask"]["sampling"] == "annealed"
    assert {row["task"] for row in record["table"]} == set(KINDS)
    assert sum(record["rows_seen"].values()) == pytest.approx(8 * 168)
    assert record["tasks"]["score"]["rows"] == {"train": 64, "validation": 24, "test": 40}
    assert record["verdict"].startswith("What learning together bought: --with_control")
    assert not list(learned.output_dir.glob("checkpoint-*"))


def test_annealed_shares_are_said(learned: RunReport) -> None:
    assert "sampling: annealed; rows an epoch: mood 48 to 54, topics 56, score 64 to 58" in learned.notes


@pytest.mark.parametrize(
    ("family", "pooling"), [("bert", "mean"), ("roberta", "mean"), ("gpt2", "auto"), ("bert", "stock")]
)
def test_every_probe_is_fitted_to_the_one_body(tasks: Any, tmp_path: Path, family: str, pooling: str) -> None:
    lacking = (
        {"add_pooling_layer": False} if (family, pooling) == ("bert", "stock") else {}
    )  # its pooler starts at random
    checkpoint = tiny.make_checkpoint(family, tmp_path / "checkpoint", **lacking)
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    two = {name: tasks[name] for name in ("mood", "score")}
    flags = {"pooling": pooling, "head_start": "probe", "learning_rate": 1e-9, "max_steps": 1}
    run = run_tiny(tmp_path / "run", checkpoint, two, **flags)
    assert len([note for note in run.notes if "head: starts from a linear probe" in note]) == 2
    for place, name in enumerate(two):
        _, logits = texts_and_logits(run.output_dir / name)
        wanted = run.test_logits[40 * place : 40 * place + 40, : logits.shape[1]]
        assert np.abs(logits - wanted).max() < 1e-3
    assert (run.output_dir / "body" / "1_Pooling" / "config.json").read_text() == '{"pooling_mode_cls_token": true}'
    if lacking:
        poolers = [weights(run.output_dir / name)["bert.pooler.dense.weight"] for name in two]
        assert torch.equal(*poolers)


def test_adapters_end_merged_in_every_directory(learner: Path, tasks: Any, tmp_path: Path) -> None:
    two = {name: tasks[name] for name in ("mood", "score")}
    run = run_tiny(tmp_path / "run", learner, two, use_peft=True, num_train_epochs=1)
    held = [weights(run.output_dir / name) for name in (*two, "body")]
    assert not [key for one in held for key in one if "lora" in key or "base_layer" in key]
    query = "encoder.layer.0.attention.self.query.weight"
    assert torch.equal(held[0][f"bert.{query}"], held[1][f"bert.{query}"])
    assert not torch.equal(held[2][query], weights(learner)[query])  # what the adapters learned is in there
    for place, name in enumerate(two):
        _, logits = texts_and_logits(run.output_dir / name)
        wanted = run.test_logits[40 * place : 40 * place + 40, : logits.shape[1]]
        assert np.abs(logits - wanted).max() < 1e-3


def test_a_frozen_body_stays_as_it_was_and_every_head_trains(learner: Path, tasks: Any, tmp_path: Path) -> None:
    two = {name: tasks[name] for name in ("mood", "topics")}
    run = run_tiny(tmp_path / "run", learner, two, freeze_layers="all", num_train_epochs=1)
    body, start = weights(run.output_dir / "body"), weights(learner)
    assert all(torch.equal(body[key], start[key]) for key in start if "pooler" not in key)
    biases = [weights(run.output_dir / name)["classifier.bias"].abs().max() for name in two]
    assert min(biases) > 1e-4  # they started at zero


def test_the_twins_see_as_many_rows_and_stand_beside(
    learner: Path, tasks: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two = {name: tasks[name] for name in ("mood", "score")}
    run = run_tiny(tmp_path / "run", learner, two, with_control=True, sampling="uniform")
    out = capsys.readouterr().out
    assert "control: task mood alone, 2.333 epochs" in out  # 56 of 112 rows an epoch, of 48
    assert "control: task score alone, 1.75 epochs" in out
    record = json.loads((run.output_dir / "run.json").read_text())
    rows = {(row["task"], row["metric"]): row for row in record["table"]}
    assert rows.keys() == {("mood", "f1_macro"), ("mood", "accuracy"), ("score", "r2"), ("score", "pearson")}
    for (name, metric), row in rows.items():
        own = json.loads((run.output_dir / name / "all_results.json").read_text())
        assert row["alone"] == pytest.approx(own[f"control_single_task_{metric}"])
        assert row["multi-task"] == pytest.approx(own[f"test_{metric}"])
        assert row["difference"] == pytest.approx(row["multi-task"] - row["alone"])
        assert run.metrics[f"gain_{name}_{metric}_error"] == row["error"] > 0
    assert [line.partition(":")[0] for line in run.verdict.splitlines()] == ["mood", "score"]
    assert not list(run.output_dir.rglob("controls"))


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one(learner: Path, tasks: Any, tmp_path: Path) -> None:
    flags: dict[str, Any] = {
        **SGD,
        "max_steps": 3,
        "learning_rate": 0.1,
        "loss_weighting": "uncertainty",
        "sampling": "temperature",
    }
    sizes: dict[str, Any] = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    two_processes("multitask", arguments(tmp_path / "two", learner, tasks, **flags, **sizes))
    one = run_tiny(tmp_path / "one", learner, tasks, **{**flags, "per_device_train_batch_size": 16})
    for name in KINDS:
        assert_same_weights(tmp_path / "one" / name, tmp_path / "two" / name, learner)
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["arguments"]["processes"] == 2
    assert record["metrics"]["test_mean"] == pytest.approx(one.metrics["test_mean"], rel=1e-3)


# ---- what the tasks may say


def tasks_of(written: str, **common: Any) -> dict[str, DataArguments]:
    return multitask.MultitaskArguments(tasks=written).data_of(DataArguments(**common))


def refusal(written: Any, **flags: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        multitask.MultitaskArguments(tasks=written if isinstance(written, str) else json.dumps(written), **flags)
    return str(caught.value)


def test_what_stands_outside_holds_for_each_task_that_does_not_say_otherwise() -> None:
    found = tasks_of(
        '{"a": {"train_file": "a.csv", "max_seq_length": 64}, '
        '"b": {"train_file": ["b.csv", "c.csv"], "label_column_name": 2020, "mixing": null}}',
        max_seq_length=32,
        validation_split_size=0.2,
        mixing=["equal"],
    )
    assert (found["a"].max_seq_length, found["b"].max_seq_length) == (64, 32)
    assert (found["a"].train_file, found["b"].train_file) == (["a.csv"], ["b.csv", "c.csv"])
    assert (found["a"].mixing, found["b"].mixing) == (["equal"], None)
    assert {one.validation_split_size for one in found.values()} == {0.2}
    assert found["b"].label_column_name == "2020"


def test_tasks_stand_in_the_config_file_or_in_one_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    body = "a:\n  train_file: a.csv\n  problem_type: regression\nb: {train_file: b.csv}\n"
    Path("tasks.yaml").write_text(body)
    Path("run.yaml").write_text("max_seq_length: 16\ntasks:\n" + "".join(f"  {line}\n" for line in body.splitlines()))
    needed = ["--model_name_or_path", "m", "--output_dir", "o", "--use_cpu"]
    for argv in (["--config", "run.yaml"], ["--tasks", "tasks.yaml", "--max_seq_length", "16"]):
        _, data, *_, own, _, _ = parse(*multitask.ARGUMENTS, argv=[*needed, *argv])
        found = own.data_of(data)
        assert list(found) == ["a", "b"]
        assert (found["a"].problem_type, found["b"].max_seq_length) == ("regression", 16)


def test_an_unknown_key_names_the_file_the_task_and_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "a:\n  trian_file: a.csv\nb:\n  train_file: b.csv\n"
    Path("tasks.yaml").write_text(text)
    Path("run.yaml").write_text("tasks:\n" + "".join(f"  {line}\n" for line in text.splitlines()))
    told = "task a: unknown key 'trian_file'. Did you mean 'train_file'?"
    assert refusal("tasks.yaml") == f"tasks.yaml: {told}"
    with pytest.raises(ConfigError) as caught:
        parse(
            *multitask.ARGUMENTS,
            argv=["--config", "run.yaml", "--model_name_or_path", "m", "--output_dir", "o", "--use_cpu"],
        )
    assert str(caught.value) == f"run.yaml: --tasks: {told}"


A = {"train_file": "a.csv"}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"a": A}, "--tasks: wanted two tasks or more, got a; finetune trains one."),
        ({"a": A, "b": "b.csv"}, "--tasks: task b needs a mapping of data flags, such as train_file: a.csv."),
        (
            {"a": A, "b": {"max_train_samples": "all"}},
            "--tasks: task b: max_train_samples must be a whole number, got 'all'.",
        ),
        ({"a": A, "b": {"skip_bad_rows": 1}}, "--tasks: task b: skip_bad_rows must be true or false, got 1."),
        ({"a": A, "b": {"test_split_size": True}}, "--tasks: task b: test_split_size must be a number, got True."),
        ({"a": A, "b": {"label_column_name": ["x"]}}, "--tasks: task b: label_column_name must be text, got ['x']."),
        ({"a": A, "b": {"num_folds": 5}}, "--tasks: task b: num_folds is not for a single task."),
        (
            {"a": A, "b": {"problem_type": "ranking"}},
            "--tasks: task b: problem_type must be single_label_classification, multi_label_classification, regression, got "
            "'ranking'.",
        ),
        (
            {"a": A, "body": A},
            "--tasks: 'body' cannot name a task: wanted letters, digits, - and _ (it becomes a directory), and not body, "
            "controls or checkpoint-...",
        ),
        ('{"a": {}, "a": {}}', "--tasks: key 'a' stands there twice, in lines 1 and 1."),
        ("missing.yaml", "--tasks missing.yaml: no such file or directory."),
    ],
)
def test_a_fault_in_the_tasks_is_told(written: Any, message: str) -> None:
    assert refusal(written) == message


def test_a_value_that_cannot_be_names_its_task() -> None:
    with pytest.raises(ConfigError) as caught:
        tasks_of('{"a": {"train_file": "a.csv"}, "b": {"max_seq_length": 0}}')
    assert str(caught.value) == "--tasks: task b: --max_seq_length must be at least 1, got 0."


def test_weights_that_cannot_be_are_refused() -> None:
    both = {"a": A, "movies": A}
    assert refusal(both, task_weights='{"movie": 2}') == (
        "--task_weights names 'movie', which is no task (a, movies). Did you mean 'movies'?"
    )
    assert refusal(both, task_weights='{"a": 0}') == "--task_weights: the weight of a must be a positive number, got 0."
    assert refusal(both, task_weights='{"a": 2}', loss_weighting="uncertainty") == (
        "--loss_weighting uncertainty learns the weights, --task_weights fixes them; give one of the two."
    )
    assert refusal(both, sampling_temperature=0.5) == "--sampling_temperature must be at least 1 and finite, got 0.5."


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--augment", "mixup"], "--augment mixup mixes rows of one task; these are several. Leave it out here."),
        (
            ["--use_peft", "--save_adapter_only"],
            "--save_adapter_only: the adapters belong to all tasks, whose directories are saved merged. Leave it out.",
        ),
        (
            ["--num_folds", "3"],
            "--num_folds: there is no cross-validation of several tasks; nlp-ft finetune has it for one.",
        ),
        (
            ["--class_weights", '{"score": "balanced"}'],
            "--class_weights names 'score', which is no task with classes (mood); it takes balanced, or JSON by task such as "
            '\'{"a": "balanced", "b": {"spam": 5}}\'.',
        ),
        (
            ["--metric_for_best_model", "f1_macro"],
            "--metric_for_best_model f1_macro is not measured here; it can be mean, loss, mood_accuracy, "
            "mood_balanced_accuracy, mood_precision_macro, mood_recall_macro, mood_f1_macro, mood_f1_micro, "
            "mood_precision_weighted, mood_recall_weighted, mood_f1_weighted, mood_mcc, mood_auroc, mood_loss, score_mse, "
            "score_rmse, score_mae, score_r2, score_pearson, score_spearman or score_loss. Did you mean 'mood_f1_macro'?",
        ),
    ],
)
def test_what_does_not_go_with_several_tasks_is_refused(
    learner: Path, tasks: Any, tmp_path: Path, extra: list[str], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        run_tiny(tmp_path / "run", learner, {name: tasks[name] for name in ("mood", "score")}, extra)
    assert str(caught.value) == message


# ---- leaks from one task to the other


def test_a_test_text_that_another_task_trains_on_is_refused_unless_allowed(
    learner: Path, tasks: Any, tmp_path: Path, run_cli: RunCli
) -> None:
    rows = problem_rows(REGRESSION, 40, 90)
    known = problem_rows(SINGLE, 40, 2)  # the test texts of mood
    leaky = write_csv(tmp_path / "leaky.csv", [*rows, {"text": known[0]["text"].upper(), "label": 1.25}])
    both = {"mood": tasks["mood"], "score": {**tasks["score"], "train_file": str(leaky)}}
    with pytest.raises(DataError) as caught:
        run_tiny(tmp_path / "run", learner, both)
    assert str(caught.value) == (
        f"task mood: 1 row of 40 in test has a text that is in train of task score ({known[0]['text'][:40]!r}), so the test "
        "figures would flatter the model; take them out, or go on with --allow_leakage."
    )
    both["mood"] = {**tasks["mood"], "allow_leakage": True}
    code, out, err = run_cli(["multitask", *arguments(tmp_path / "two", learner, both, max_steps=1)])
    assert (code, err) == (0, "")
    assert "warning: task mood: 1 row of 40 in test has a text that is in train of task score" in out


def test_two_labels_of_the_same_rows_are_two_tasks(learner: Path, tmp_path: Path) -> None:
    frames = {}
    for place, split in enumerate(("train", "validation", "test")):
        rows = [{**row, "size": len(row["text"]) / 7} for row in problem_rows(SINGLE, 40, 50 + place)]
        frames[split] = rows
    both = {"mood": {"label_column_name": "label"}, "size": {"label_column_name": "size"}}
    run = run_tiny(tmp_path / "run", learner, both, frames={"mood": frames, "size": frames}, num_train_epochs=1)
    assert {"test_mood_accuracy", "test_size_r2"} <= run.metrics.keys()


# ---- what is said in the end


@pytest.mark.parametrize(
    ("difference", "error", "rows", "said"),
    [
        (
            0.05,
            0.02,
            100,
            "a: gained 0.050 (r2 0.800 against 0.750 alone; one standard error of the difference on 100 rows is 0.020).",
        ),
        (
            -0.05,
            0.02,
            100,
            "a: lost 0.050 (r2 0.800 against 0.850 alone; one standard error of the difference on 100 rows is 0.020).",
        ),
        (
            0.05,
            0.03,
            100,
            "a: nothing told from chance (r2 0.800 against 0.750 alone; one standard error of the difference on 100 rows is "
            "0.030).",
        ),
        (0.05, 0.02, 20, "a: too few test rows (20) to say what learning together bought."),
    ],
)
def test_a_gain_counts_from_two_standard_errors_on(difference: float, error: float, rows: int, said: str) -> None:
    row = {"task": "a", "metric": "r2", "rows": rows, "multi-task": 0.8, "alone": 0.8 - difference}
    assert gained({**row, "difference": difference, "error": error}) == said


def test_the_table_puts_the_twin_beside() -> None:
    row = {"task": "movies", "metric": "r2", "rows": 99, "multi-task": 0.8}
    assert table([row]) == "task    metric  multi-task\nmovies  r2           0.800"
    assert table([{**row, "alone": 0.75, "difference": 0.05, "error": 0.0123}]).splitlines() == [
        "task    metric  multi-task  alone      difference",
        "movies  r2           0.800  0.750  +0.050 ± 0.012",
    ]


def multitask_flags(make_csv: MakeCsv, kinds: dict[str, str]) -> dict[str, Any]:
    tasks = {
        name: {
            f"{split}_file": str(make_csv(problem_rows(kind, n, 10 * k + place), f"{name}_{split}.csv"))
            for place, (split, n) in enumerate({"train": 24, "validation": 12, "test": 12}.items())
        }
        for k, (name, kind) in enumerate(kinds.items())
    }
    return {"tasks": json.dumps(tasks), **ONE_EPOCH}


def test_thresholds_are_tuned_for_the_tasks_that_have_them(tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path) -> None:
    flags = multitask_flags(make_csv, {"topics": MULTI, "mood": SINGLE})
    flags |= {"model_name_or_path": tiny_bert, "threshold_metric": "f1_macro", "with_control": True}
    found = run_method(multitask, output_dir=tmp_path / "run", **flags)
    assert "gain_mood_f1_macro" in found.metrics
    runs = {name: json.loads((tmp_path / "run" / name / "run.json").read_text()) for name in ("topics", "mood")}
    metrics = {name: one["arguments"]["fit"]["threshold_metric"] for name, one in runs.items()}
    assert metrics == {"topics": "f1_macro", "mood": None}


def test_thresholds_without_labels_that_have_any_are_refused(
    tiny_bert: Path, make_csv: MakeCsv, tmp_path: Path
) -> None:
    flags = multitask_flags(make_csv, {"score": REGRESSION, "mood": SINGLE})
    flags |= {"model_name_or_path": tiny_bert, "output_dir": tmp_path / "run", "threshold_metric": "f1_macro"}
    with pytest.raises(ConfigError, match=r"^--threshold_metric: .*; none of these tasks is one\.$"):
        run_method(multitask, **flags)


def test_the_seed_of_the_order_is_its_own(tmp_path: Path) -> None:
    from datasets import Dataset

    tasks: list[Any] = [SimpleNamespace(name=n, splits={"train": range(12)}) for n in ("a", "b")]
    sampling: Any = SimpleNamespace(sampling="proportional", sampling_temperature=2.0)
    rows = Dataset.from_dict({"length": [3] * 24})

    def order(**seeds: Any) -> list[int]:
        args = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **seeds)
        return [*make_sampler(tasks, rows, args, sampling)[0]]

    assert order(seed=1, data_seed=5) == order(seed=2, data_seed=5) == order(seed=5)
    assert order(seed=5) != order(seed=1)
