"""Two processes on the CPU: the same gradient, the same weights, the same rows in the same order as one process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.running import finetune_tiny

pytestmark = pytest.mark.slow

# One update on all 60 rows at once, by plain SGD without momentum: the weights then say what the gradient was.
FLAGS: dict[str, Any] = {
    "use_cpu": True,
    "max_steps": 2,
    "optim": "sgd",
    "optim_args": "momentum=0.0",
    "learning_rate": 0.5,
    "lr_scheduler_type": "constant",
    "dropout": 0.0,
    "max_grad_norm": 0,
    "weight_decay": 0,
    "head_start": "random",
    "logging_steps": 1,
    "train_sampling_strategy": "sequential",
}


def launch(output_dir: Path, checkpoint: Path, files: dict[str, Path], **flags: Any) -> dict[str, Any]:
    chosen = {
        "model_name_or_path": checkpoint,
        "output_dir": output_dir,
        **{f"{split}_file": path for split, path in files.items()},
        **FLAGS,
        **flags,
    }
    argv = [str(token) for name, value in chosen.items() for token in (f"--{name}", value)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*command, "-m", "nlp_ft", "finetune", *argv], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {"run": json.loads((output_dir / "run.json").read_text()), "out": done.stdout}


def weights(directory: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(directory / "model.safetensors")


@pytest.mark.parametrize("accumulation", [1, 2])
def test_two_processes_take_the_step_of_one(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path, accumulation: int
) -> None:
    two = launch(
        tmp_path / "two",
        tiny_bert,
        tiny_csv,
        per_device_train_batch_size=30 // accumulation,
        gradient_accumulation_steps=accumulation,
    )
    one = finetune_tiny(tmp_path / "one", tiny_bert, tiny_csv, **{**FLAGS, "per_device_train_batch_size": 60})
    assert two["run"]["arguments"]["processes"] == 2
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    start = weights(tiny_bert)
    moved = max((first[f"bert.{n}"] - w).abs().max().item() for n, w in start.items() if f"bert.{n}" in first)
    assert moved > 1e-4  # there is a step to compare
    assert max((first[n] - second[n]).abs().max().item() for n in first) < 1e-3 * moved
    losses = [[e["loss"] for e in log if "loss" in e] for log in (one.log_history, two["run"]["log_history"])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    for name in ("test_accuracy", "eval_loss", "test_loss"):
        assert two["run"]["metrics"][name] == pytest.approx(one.metrics[name], rel=1e-3)


def test_every_test_row_is_predicted_once_and_in_order_by_two_processes(
    tiny_bert: Path, tiny_csv: dict[str, Path], tmp_path: Path
) -> None:
    odd = tmp_path / "odd.csv"
    odd.write_text("".join(tiny_csv["test"].read_text().splitlines(keepends=True)[:-3]))  # 17 rows, 2 processes
    launch(tmp_path / "two", tiny_bert, {**tiny_csv, "test": odd}, train_sampling_strategy="group_by_length")
    import csv

    with odd.open(newline="") as handle, (tmp_path / "two" / "test_predictions.csv").open(newline="") as made:
        wanted, got = list(csv.DictReader(handle)), list(csv.DictReader(made))
    assert [(row["text"], row["label"]) for row in got] == [(row["text"], row["label"]) for row in wanted]
    from nlp_ft import load

    again = load(tmp_path / "two", device="cpu").predict([row["text"] for row in wanted])
    for row, prediction in zip(got, again, strict=True):
        assert float(row["score_positive"]) == pytest.approx(prediction.scores["positive"], abs=2e-5)
