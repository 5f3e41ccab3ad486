"""Tiny runs with flags as a user gives them, by one process or two, rows of every kind of label, and plain answers."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranks
import torch
from conftest import rows_of
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from nlp_ft.config.parser import parse
from nlp_ft.methods import finetune
from nlp_ft.training import fit as training
from nlp_ft.training.run_report import RunReport

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"

ONE_EPOCH: dict[str, Any] = {"num_train_epochs": 1, "learning_rate": 3e-3, "head_start": "random", "use_cpu": True}

# Updates that say what the gradient was; one process and two then differ by rounding alone.
SGD: dict[str, Any] = {
    "optim": "sgd",
    "optim_args": "momentum=0.0",
    "lr_scheduler_type": "constant",
    "warmup_steps": 0,
    "max_grad_norm": 0,
    "weight_decay": 0,
    "dropout": 0.0,
}


def as_argv(**flags: Any) -> list[str]:
    """Flags as a command line has them; a list gives several values, None leaves the flag out."""
    given = {name: value if isinstance(value, list) else [value] for name, value in flags.items() if value is not None}
    return [str(token) for name, values in given.items() for token in (f"--{name}", *values)]


def run_method(method: Any, **flags: Any) -> RunReport:
    """`nlp-ft METHOD` in this process."""
    return method.run(*parse(*method.ARGUMENTS, argv=as_argv(**flags)))


def cut_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop as Ctrl-C does, when the fit after so many is begun."""
    fit, fitted = training.fit, []

    def counted(*arguments: Any) -> Any:
        fitted.append(arguments)
        if len(fitted) > count:
            raise KeyboardInterrupt
        return fit(*arguments)

    monkeypatch.setattr(training, "fit", counted)


def finetune_tiny(
    output_dir: Path, checkpoint: Path, files: dict[str, Path], extra: Sequence[str] = (), **flags: Any
) -> RunReport:
    """`nlp-ft finetune` in this process, on the CPU, two epochs where nothing else is said; `extra`: tokens put last."""
    chosen = {
        "model_name_or_path": checkpoint,
        "output_dir": output_dir,
        **{f"{split}_file": path for split, path in files.items()},
        "use_cpu": True,
        "num_train_epochs": 2,
        **flags,
    }
    return finetune.run(*parse(*finetune.ARGUMENTS, argv=[*as_argv(**chosen), *extra]))


def two_processes(method: str, argv: Sequence[str], *, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """`nlp-ft method argv` by two processes that know of each other; it must end well."""
    done = ranks.run(["-m", "nlp_ft", method, *argv], timeout=timeout)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def assert_same_weights(one: Path, two: Path, start: Path, share: float = 1e-3, *, body_alone: bool = False) -> None:
    """Two runs from `start` ended alike: no weight apart by more than this share of the furthest way one has gone.

    body_alone: weights that `start` lacks are not compared.
    """
    first, second, before = (load_file(directory / "model.safetensors") for directory in (one, two, start))
    shared = {name: before.get(name, before.get(name.removeprefix("bert."))) for name in first}
    moved = max((first[name] - weight).abs().max().item() for name, weight in shared.items() if weight is not None)
    assert moved > 1e-4  # there is something to compare
    assert first.keys() == second.keys()
    compared = [name for name, weight in shared.items() if weight is not None or not body_alone]
    assert max((first[name] - second[name]).abs().max().item() for name in compared) < share * moved


def weights_hash(directory: Path) -> str:
    """sha256 of the saved weights."""
    return hashlib.sha256((directory / "model.safetensors").read_bytes()).hexdigest()


def problem_rows(kind: str, count: int, seed: int) -> list[dict[str, Any]]:
    """Rows of the tiny table with labels of another kind."""
    rows: list[dict[str, Any]] = []
    for row in rows_of(count, seed):
        good = row["label"] == "positive"
        second = "film" if any(word in row["text"] for word in ("film", "story", "cast", "scene", "script")) else "art"
        label: Any = row["label"]
        if kind == MULTI:
            label = f"{'good' if good else 'bad'};{second}"
        if kind == REGRESSION:
            label = (2.5 if good else -1.5) + len(row["text"]) / 100
        rows.append({"text": row["text"], "label": label})
    return rows


def long_rows(count: int, seed: int, kind: str = SINGLE) -> list[dict[str, Any]]:
    """Every third row is one sentence, the others are several of one label."""
    rows = problem_rows(kind, count * 6, seed)
    found = []
    for i in range(count):
        same = [row for row in rows if row["label"] == rows[i]["label"]] if kind != REGRESSION else rows[i::2]
        found.append({**rows[i], "text": " ".join(row["text"] for row in [rows[i], *same][: 1 + i % 3 * 3])})
    return found


def plain_logits(directory: Path, texts: list[str]) -> np.ndarray:
    """What a user without nlp_ft gets."""
    model, info = AutoModelForSequenceClassification.from_pretrained(directory, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    tokenizer = AutoTokenizer.from_pretrained(directory)
    with torch.inference_mode():
        return model.eval()(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits.numpy()
