"""A tiny fine-tuning run with flags as a user gives them, rows of every kind of label, and plain answers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import rows_of
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from nlp_ft.flags import parse
from nlp_ft.methods import finetune
from nlp_ft.report import RunReport

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"


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
    argv = [str(token) for name, value in chosen.items() for token in (f"--{name}", value)] + [*extra]
    return finetune.run(*parse(*finetune.ARGUMENTS, argv=argv))


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


def plain_logits(directory: Path, texts: list[str]) -> np.ndarray:
    """What a user without nlp_ft gets."""
    model = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    with torch.inference_mode():
        return model(**tokenizer(texts, padding=True, truncation=True, return_tensors="pt")).logits.numpy()
