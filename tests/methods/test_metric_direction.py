"""--metric_for_best_model of which less is better: every method keeps the checkpoint where it is least."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests/methods"))

from test_contract import argv_of, cli, world_of

STEPS = ["--eval_strategy", "steps", "--eval_steps", "2", "--save_steps", "2", "--learning_rate", "0.02", "--use_cpu"]
MORE = {"fewshot": ["--approach", "finetune"], "transfer": ["--transfer_shots", "0"]}


def run(method: str, tmp_path: Path, start: Path, learner: Path, *flags: str, code: int = 0) -> str:
    world = world_of(tmp_path / "world", start, learner, "regression")
    argv = argv_of(method, world)
    for flag in ("--approach", "--num_iterations", "--transfer_shots"):  # of the contract: another approach
        if flag in argv:
            del argv[argv.index(flag) : argv.index(flag) + 2]
    return cli(method, [*argv, *MORE.get(method, []), *STEPS, *flags], tmp_path / "run", code)


@pytest.mark.parametrize("metric", ["rmse", "eval_mae"])
@pytest.mark.parametrize("method", ["finetune", "transfer", "fewshot", "distill"])
def test_the_checkpoint_of_the_least_error_is_kept(
    method: str, metric: str, tmp_path: Path, tiny_bert: Path, learner: Path
) -> None:
    run(method, tmp_path, tiny_bert, learner, "--metric_for_best_model", metric, "--num_train_epochs", "2")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    name = f"eval_{metric.removeprefix('eval_')}"
    values = [entry[name] for entry in record["log_history"] if name in entry]
    assert max(values) > min(values) * 1.002
    assert record["metrics"][name] == pytest.approx(min(values), rel=1e-4)
    assert record["arguments"]["training"]["greater_is_better"] is False


def test_training_goes_on_while_the_error_falls(tmp_path: Path, learner: Path) -> None:
    flags = ("--metric_for_best_model", "rmse", "--early_stopping_patience", "1", "--num_train_epochs", "3")
    run("finetune", tmp_path, learner, learner, *flags, "--learning_rate", "2e-3", "--head_start", "random")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    values = [entry["eval_rmse"] for entry in record["log_history"] if "eval_rmse" in entry]
    assert len(values) > 2
    assert values[1] < values[0]


def test_a_contradicting_direction_is_refused_in_one_line(tmp_path: Path, tiny_bert: Path, learner: Path) -> None:
    flags = ("--metric_for_best_model", "eval_rmse", "--greater_is_better", "true")
    assert run("finetune", tmp_path, tiny_bert, learner, *flags, code=2).splitlines()[-1] == (
        "nlp-ft: --greater_is_better True contradicts --metric_for_best_model rmse, of which less is better; leave it out."
    )
