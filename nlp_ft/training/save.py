"""Saving, with a fresh load that is compared with the trained model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from accelerate.utils import extract_model_from_parallel
from datasets import Dataset
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from nlp_ft.errors import TrainingError
from nlp_ft.evaluation.inference_config import InferenceConfig
from nlp_ft.models.adapters import load_adapter_directory
from nlp_ft.models.checkpoint import open_classifier, quiet
from nlp_ft.models.compare import ROWS_COMPARED, compute_logits, largest_difference
from nlp_ft.models.lora import merged, save_adapter
from nlp_ft.models.tokenizer import open_tokenizer, save_tokenizer

STAGE = "unverified"  # everything is written and checked in this subdirectory, and moved out of it once it is right


def save_and_verify(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    directory: Path,
    rows: Dataset,
    max_length: int,
    adapter_only: bool = False,
    inference_config: InferenceConfig | None = None,
) -> None:
    """Save a classifier, its tokenizer and `inference.json`; verify logits and labels.

    LoRA: merged weights at the root (the model itself is merged by this) and the adapter in `adapter/`; with adapter_only,
    adapter, head and labels at the root.

    rows: a split with `text` (and `text_pair`), of which the first 32 are compared; whether they are pairs is saved, too.

    Raises: TrainingError if a weight is not finite, a key is missing on reload, the logits differ by more than rounding, or
    the labels did not survive.
    """
    plain = extract_model_from_parallel(model, keep_fp32_wrapper=False)  # float32, without Trainer's autocast
    labels = dict(plain.config.id2label)
    texts = list(rows["text"][:ROWS_COMPARED])
    pairs = list(rows["text_pair"][:ROWS_COMPARED]) if "text_pair" in rows.column_names else None

    config = replace(inference_config or InferenceConfig(), text_pair=pairs is not None)

    def load(stage: Path) -> PreTrainedModel:
        loaded = load_saved(stage)
        _check_labels(stage, labels)
        return loaded

    save_verified(
        directory,
        plain,
        tokenizer,
        write=lambda stage: _write(plain, tokenizer, stage, max_length, adapter_only, config),
        load=load,
        outputs=lambda module, reader: compute_logits(module, reader, texts, pairs, max_length),
        compared="model's logits",
    )


def save_verified(
    directory: Path,
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    *,
    write: Callable[[Path], object],
    load: Callable[[Path], nn.Module],
    outputs: Callable[[nn.Module, PreTrainedTokenizerBase], Tensor],
    compared: str,
) -> None:
    """Save weights, load them anew, compare, and only then publish them.

    write: into the directory it gets; it may merge adapters into the model. load: as a user would, from there; it refuses
    missing weights. outputs: what both models must give alike, by their own tokenizers. compared: `model's logits`, say.

    Raises: TrainingError if a weight is not finite, or the outputs differ by more than rounding.
    """
    check_finite(model)
    wanted = outputs(model, tokenizer)
    with staged(directory) as stage:
        with quiet():
            write(stage)
        loaded = load(stage)
        difference, bound = largest_difference(
            wanted, outputs(loaded, open_tokenizer(str(stage), trust_remote_code=False))
        )
        if not difference <= bound:
            name, _, quantity = compared.partition("'s ")
            raise TrainingError(
                f"{stage}: the saved {name} does not repeat the trained one's {quantity} (off by {difference:.3g}, {bound:.3g} "
                "allowed); do not use it, and report this."
            )


@contextmanager
def staged(directory: Path) -> Iterator[Path]:
    """Yield an empty subdirectory, and move its content to the root at the end.

    Weights move last.


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


def _write(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    stage: Path,
    max_length: int,
    adapter_only: bool,
    inference_config: InferenceConfig,
) -> None:
    """Write what the directory is to hold; its adapter/ can be copied away as it is."""
    adapter = stage if adapter_only else stage / "adapter"
    has_adapter = save_adapter(model, adapter)
    if not (has_adapter and adapter_only):
        merged(model).save_pretrained(stage)
    for directory in {stage, adapter} if has_adapter else {stage}:
        save_tokenizer(tokenizer, directory, max_length)
        inference_config.write(directory)


def publish(stage: Path, directory: Path) -> None:
    """Move everything out of the stage, weights last: without them nothing loads."""
    for path in sorted(stage.iterdir(), key=lambda path: (path.suffix == ".safetensors", path.name)):
        target = directory / path.name
        if target.is_dir():
            shutil.rmtree(target)
        path.replace(target)
    stage.rmdir()


def load_saved(directory: Path) -> PreTrainedModel:
    """Load a saved directory as plain transformers does; adapters on their base.

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


def _check_labels(directory: Path, labels: dict[int, str]) -> None:
    saved = json.loads((directory / "config.json").read_text(encoding="utf-8")).get("id2label", {})
    if len(labels) > 1 and {int(i): name for i, name in saved.items()} != labels:
        raise TrainingError(f"{directory}: config.json does not hold the {len(labels)} labels; do not use it.")
