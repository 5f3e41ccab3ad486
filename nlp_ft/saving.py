"""The one artefact: a directory that plain transformers loads, and the proof that it repeats what was trained."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from nlp_ft.errors import TrainingError
from nlp_ft.models import load_adapter_directory, merged, quiet

ROWS_COMPARED = 32
TOLERANCE = 1e-3  # of the largest logit (at least 1): merged adapters round differently, a lost layer is far off


@torch.inference_mode()
def logits_of(model: nn.Module, tokenizer: Any, texts: list[str], pairs: list[str] | None, max_length: int) -> Tensor:
    """Float32 logits (rows, classes) on the CPU, in evaluation mode, of texts cut to max_length tokens."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    batch = tokenizer(texts, pairs, truncation=True, max_length=max_length, padding=True, return_tensors="pt")
    logits = model(**{k: v.to(device) for k, v in batch.items()}).logits.float().cpu()
    model.train(was_training)
    return logits


def save_and_verify(
    model: Any, tokenizer: Any, directory: Path, rows: Dataset, max_length: int, adapter_only: bool = False
) -> None:
    """Save model and tokenizer; then load both anew from disk, as any user would, and compare logits on some rows.

    LoRA: merged weights at the root and the adapter in `adapter/`; with adapter_only, adapter, head and labels at the root.
    rows: a split with `text` (and `text_pair`), of which the first 32 are compared.

    Raises: TrainingError if a key is missing on reload or the logits differ by more than rounding.
    """
    texts = list(rows["text"][:ROWS_COMPARED])
    pairs = list(rows["text_pair"][:ROWS_COMPARED]) if "text_pair" in rows.column_names else None
    wanted = logits_of(model, tokenizer, texts, pairs, max_length)
    tokenizer = _with_limit(tokenizer, max_length)
    directory.mkdir(parents=True, exist_ok=True)
    if isinstance(model, PeftModel):
        _save_adapter(model, directory if adapter_only else directory / "adapter")
    if not (adapter_only and isinstance(model, PeftModel)):
        merged(model).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    verify(directory, wanted, texts, pairs, max_length)


def _with_limit(tokenizer: Any, max_length: int) -> Any:
    """The tokenizer that truncates where this model was trained to: pipelines and servers go by model_max_length."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = max_length
    return tokenizer


def _save_adapter(model: PeftModel, directory: Path) -> None:
    """Adapter, head and the classifier's configuration: peft's own files hold neither label count nor names."""
    model.save_pretrained(str(directory), save_embedding_layers=False)
    (directory / "README.md").unlink(missing_ok=True)  # peft's template, all of it to be filled in
    base = model.get_base_model()
    assert isinstance(base, PreTrainedModel)
    base.config.save_pretrained(directory)


def load_saved(directory: Path) -> PreTrainedModel:
    """A saved directory as plain transformers loads it; an adapter directory through its base.

    Raises: TrainingError if weights are missing or left over, which would mean a layer that is random or lost.
    """
    if (directory / "adapter_config.json").is_file():
        return load_adapter_directory(directory)
    with quiet():
        model, info = AutoModelForSequenceClassification.from_pretrained(
            directory, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if info[kind]:
            raise TrainingError(
                f"{directory}: reloading it finds {kind.replace('_', ' ')}: {sorted(map(str, info[kind]))[:3]}."
            )
    return model


def verify(directory: Path, wanted: Tensor, texts: list[str], pairs: list[str] | None, max_length: int) -> float:
    """Compare a fresh load's logits with those of the model in memory. Returns: the largest difference.

    Raises: TrainingError if it is more than TOLERANCE of the largest logit, or the labels did not survive.
    """
    model = load_saved(directory)
    tokenizer = AutoTokenizer.from_pretrained(directory, trust_remote_code=False)
    got = logits_of(model, tokenizer, texts, pairs, max_length)
    difference = (got - wanted).abs().max().item() if got.shape == wanted.shape else float("inf")
    bound = TOLERANCE * max(1.0, wanted.abs().max().item())
    if not difference <= bound:
        raise TrainingError(
            f"{directory}: the saved model does not repeat the trained one's logits (off by {difference:.3g}, {bound:.3g} "
            "allowed); do not use it, and report this."
        )
    saved = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    if len(saved.get("id2label", {})) != got.shape[1] and got.shape[1] > 1:
        raise TrainingError(f"{directory}: config.json does not name the {got.shape[1]} labels; do not use it.")
    return difference
