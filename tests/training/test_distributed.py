"""Two processes on the CPU: the same gradient, the same weights, the same rows in the same order as one process."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from running import SGD, as_argv, assert_same_weights, finetune_tiny, two_processes

from nlp_ft import load

pytestmark = pytest.mark.slow

# Updates on all 60 rows at once: the weights then say what the gradient was.
FLAGS: dict[str, Any] = {
    **SGD,
    "use_cpu": True,
    "max_steps": 2,
    "learning_rate": 0.5,
    "head_start": "random",
    "logging_steps": 1,
    "train_sampling_strategy": "sequential",
}


def argv_of(output_dir: Path, checkpoint: Path, files: dict[str, Path], **flags: Any) -> list[str]:
    named = {f"{split}_file": path for split, path in files.items()}
    return as_argv(**{"model_name_or_path": checkpoint, "output_dir": output_dir, **named, **FLAGS, **flags})


@pytest.fixture
def odd(tiny_csv: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Of the test rows 17, which two processes cannot share evenly."""
    path = tmp_path / "odd.csv"
    path.write_text("".join(tiny_csv["test"].read_text().splitlines(keepends=True)[:-3]))
    return {**tiny_csv, "test": path}


def assert_predicted_once_and_in_order(run: Path, path: Path) -> None:
    with path.open(newline="") as handle, (run / "test_predictions.csv").open(newline="") as made:
        wanted, got = list(csv.DictReader(handle)), list(csv.DictReader(made))
    assert [(row["text"], row["label"]) for row in got] == [(row["text"], row["label"]) for row in wanted]
    again = load(run, device="cpu").predict([row["text"] for row in wanted])
    for row, prediction in zip(got, again, strict=True):
        assert float(row["score_positive"]) == pytest.approx(prediction.scores["positive"], abs=2e-5)


@pytest.mark.parametrize(("starter", "accumulation"), [("torchrun", 2), ("server", 1)])
def test_two_processes_take_the_step_of_one(
    tiny_bert: Path, odd: dict[str, Path], tmp_path: Path, starter: str, accumulation: int
) -> None:
    sizes = {"per_device_train_batch_size": 30 // accumulation, "gradient_accumulation_steps": accumulation}
    argv = argv_of(tmp_path / "two", tiny_bert, odd, **sizes)
    if starter == "server":
        two_processes("finetune", argv)
    else:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        command += ["-m", "nlp_ft", "finetune", *argv]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
    two = json.loads((tmp_path / "two" / "run.json").read_text())
    one = finetune_tiny(tmp_path / "one", tiny_bert, odd, **{**FLAGS, "per_device_train_batch_size": 60})
    assert two["arguments"]["processes"] == 2
    assert_same_weights(tmp_path / "one", tmp_path / "two", tiny_bert)
    losses = [[e["loss"] for e in log if "loss" in e] for log in (one.log_history, two["log_history"])]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    for name in ("test_accuracy", "eval_loss", "test_loss"):
        assert two["metrics"][name] == pytest.approx(one.metrics[name], rel=1e-3)
    assert_predicted_once_and_in_order(tmp_path / "two", odd["test"])


def test_rows_of_like_length_come_back_in_order_from_two_processes(
    tiny_bert: Path, odd: dict[str, Path], tmp_path: Path
) -> None:
    two_processes("finetune", argv_of(tmp_path / "two", tiny_bert, odd, train_sampling_strategy="group_by_length"))
    assert_predicted_once_and_in_order(tmp_path / "two", odd["test"])
