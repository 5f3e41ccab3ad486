"""The one artefact: a directory that plain transformers loads, and the proof that it repeats what was trained."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel

from nlp_ft.errors import TrainingError
from nlp_ft.models.adapters import load_adapter_directory
from nlp_ft.models.checkpoint import open_classifier, quiet
from nlp_ft.models.compare import ROWS_COMPARED, logits_of, off_by
from nlp_ft.models.lora import merged, save_adapter
from nlp_ft.models.tokenizer import open_tokenizer, save_tokenizer

STAGE = "unverified"  # everything is written and checked in this subdirectory, and moved out of it once it is right


def save_and_verify(
    model: Any, tokenizer: Any, directory: Path, rows: Dataset, max_length: int, adapter_only: bool = False
) -> None:
    """Save model and tokenizer; load both anew from disk, as any user would; compare logits on some rows.

    LoRA: merged weights at the root (the model itself is merged by this) and the adapter in `adapter/`; with adapter_only,
    adapter, head and labels at the root. All of it is `staged`.

    rows: a split with `text` (and `text_pair`), of which the first 32 are compared.

    Raises: TrainingError if a weight is not finite, a key is missing on reload, the logits differ by more than rounding, or
    the labels did not survive.
    """
    model = extract_model_from_parallel(
        model, keep_fp32_wrapper=False
    )  # compare in float32, without Trainer's autocast
    check_finite(model)
    texts = list(rows["text"][:ROWS_COMPARED])
    pairs = list(rows["text_pair"][:ROWS_COMPARED]) if "text_pair" in rows.column_names else None
    wanted = logits_of(model, tokenizer, texts, pairs, max_length)
    with staged(directory) as stage:
        with quiet():
            labels = _write(model, tokenizer, stage, max_length, adapter_only)
        verify(stage, wanted, labels, texts, pairs, max_length)


@contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """Within: an empty subdirectory to write to and to check; then all of it moves to the root, weights last.

    What fails or is cut short within leaves nothing at the root that could be taken for a model.
    """
    stage = directory / STAGE
    shutil.rmtree(stage, ignore_errors=True)  # of a save that was cut short
    stage.mkdir(parents=True)
    yield stage
    mode = (stage / "config.json").stat().st_mode
    for file in stage.rglob("*.safetensors"):
        file.chmod(mode)  # they are made readable to their owner alone
    publish(stage, directory)


def check_finite(model: nn.Module) -> None:
    """Refuse weights that are not numbers. Raises: TrainingError."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise TrainingError(
                f"{name} is not finite, and nothing was saved; lower --learning_rate, or train in float32 (no --fp16)."
            )


def _write(model: Any, tokenizer: Any, stage: Path, max_length: int, adapter_only: bool) -> dict[int, str]:
    """Write what the directory is to hold. Returns: the model's label names."""
    has_adapter = save_adapter(model, stage if adapter_only else stage / "adapter")
    labels = dict(model.config.id2label)
    if not (has_adapter and adapter_only):
        merged(model).save_pretrained(stage)
    save_tokenizer(tokenizer, stage, max_length)
    return labels


def publish(stage: Path, directory: Path) -> None:
    """Move everything out of the stage, weights last: without them nothing loads."""
    for path in sorted(stage.iterdir(), key=lambda path: (path.suffix == ".safetensors", path.name)):
        target = directory / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    stage.rmdir()


def load_saved(directory: Path) -> PreTrainedModel:
    """A saved directory as plain transformers loads it; an adapter directory through its base.

    Raises: TrainingError if weights are missing or left over, which would mean a layer that is random or lost.
    """
    if (directory / "adapter_config.json").is_file():
        return load_adapter_directory(directory)
    model, info = open_classifier(str(directory))
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            names = ", ".join(sorted(map(str, info[kind]))[:3])
            raise TrainingError(f"{directory}: the saved model has {kind.replace('_', ' ')} ({names}); do not use it.")
    return model


def verify(
    directory: Path, wanted: Tensor, labels: dict[int, str], texts: list[str], pairs: list[str] | None, max_length: int
) -> float:
    """Compare a fresh load's logits and labels with those of the model in memory. Returns: the largest difference.

    Raises: TrainingError if it is more than TOLERANCE of the largest logit, or the labels did not survive.
    """
    model = load_saved(directory)
    tokenizer = open_tokenizer(str(directory), trust_remote_code=False)
    got = logits_of(model, tokenizer, texts, pairs, max_length)
    difference, bound = off_by(wanted, got)
    if not difference <= bound:
        raise TrainingError(
            f"{directory}: the saved model does not repeat the trained one's logits (off by {difference:.3g}, {bound:.3g} "
            "allowed); do not use it, and report this."
        )
    saved = json.loads((directory / "config.json").read_text(encoding="utf-8")).get("id2label", {})
    if len(labels) > 1 and {int(i): name for i, name in saved.items()} != labels:
        raise TrainingError(f"{directory}: config.json does not hold the {len(labels)} labels; do not use it.")
    return difference
