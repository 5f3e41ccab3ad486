"""Long documents in training.

All windows of a document go through the model, and give one row of logits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel, TrainingArguments
from transformers.modeling_outputs import SequenceClassifierOutput

from nlp_ft.config import LongTextArguments
from nlp_ft.config.training_arguments import is_sharded
from nlp_ft.errors import ConfigError
from nlp_ft.evaluation.inference_config import LongDocuments
from nlp_ft.models.heads import final_linear, pooled
from nlp_ft.models.layers import unwrapped

COUNTS = "windows"  # column of a split and key of a batch: windows per document, (documents,)
_ATTENTION = "window_attention"
STEP = 30.0  # factor of the query: at the learning rate of a fine-tuning it would hardly change


class WindowAttention(nn.Module):
    """The query of attention over windows; initially zeros, which is the mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor) -> Tensor:
        """Return scores (windows,) of features (windows, width)."""
        return features.float() @ self.query * STEP


def add_attention(
    model: PreTrainedModel, args: LongTextArguments | None, training: TrainingArguments, splits: Mapping[str, Dataset]
) -> tuple[LongDocuments | None, list[str]]:
    """Choose the reading of long documents; for attention add its query to the model.

    The query is added before adapters are.

    Returns: None if texts are truncated, else the setting for `inference.json` with the initial query; and notes.
    Raises: ConfigError if the query would be sharded over processes.
    """
    if args is None or args.long_documents == "truncate":
        return None, []
    setting = LongDocuments(args.window_stride, "max" if args.window_pooling == "max" else "mean")
    if args.window_pooling != "attention":
        return setting, []
    if not has_windows(splits) or max(splits["train"][COUNTS][:]) == 1:
        return setting, ["attention over windows: no training text has two, so it cannot be trained; the mean is used"]
    if is_sharded(training):
        raise ConfigError("--window_pooling attention does not go with FSDP or DeepSpeed; use mean or max.")
    width = final_linear(model)[1].in_features
    setattr(model, _ATTENTION, WindowAttention(width).to(model.device))
    return replace(setting, pooling="attention", query=(0.0,) * width), []


def has_windows(splits: Mapping[str, Dataset]) -> bool:
    """Return whether the rows of the splits are windows, not token ids."""
    return COUNTS in splits["train"].column_names


class WindowCollator:
    """Collate documents in windows.

    The windows of all are stacked and padded by `collate`; the number of each is in `COUNTS`.
    """

    def __init__(
        self, names: Sequence[str], collate: Callable[[list[dict[str, Any]]], MutableMapping[str, Tensor]]
    ) -> None:
        self.names, self.collate = names, collate

    def __call__(self, rows: list[dict[str, Any]]) -> MutableMapping[str, Tensor]:
        """Return the batch of these rows, which are of a split with windows.

        Shapes: names (windows, tokens); labels and others (documents, ...).
        """
        names = [name for name in rows[0] if name in self.names]
        batch = self.collate(
            [{name: row[name][i] for name in names} for row in rows for i in range(len(row["input_ids"]))]
        )
        for name in rows[0].keys() - {*names}:
            batch[name] = torch.tensor([row[name] for row in rows])
        batch[COUNTS] = torch.tensor([len(row["input_ids"]) for row in rows])
        return batch


def read_windows(model: nn.Module, pooling: str, training: TrainingArguments) -> None:
    """Make the classifier accept batches of `WindowCollator`.

    It then returns one row of logits per document.

    Windows are processed in slices of as many rows as a batch has. In training all slices but the last use activation
    checkpointing (Chen et al. 2016, arXiv:1604.06174): memory is that of about one slice, for one more forward pass.
    """
    plain = unwrapped(model)
    original, linear = plain.forward, final_linear(plain)[1]
    sizes = {True: training.per_device_train_batch_size, False: training.per_device_eval_batch_size}

    def slice_logits(inputs: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        if pooling != "attention":
            return original(**inputs).logits.float(), None
        captured: list[Tensor] = []
        hook = linear.register_forward_pre_hook(lambda _, inputs: captured.append(inputs[0]))
        try:
            logits = original(**inputs).logits.float()
        finally:
            hook.remove()
        return logits, getattr(plain, _ATTENTION)(pooled(captured.pop(), inputs["input_ids"], plain))

    @functools.wraps(original)
    def forward(*args: Any, windows: Tensor | None = None, **inputs: Any) -> Any:
        if windows is None:
            return original(*args, **inputs)
        total, size = len(inputs["input_ids"]), sizes[plain.training]
        slices = []
        for start in range(0, total, size):
            part = {
                name: value[start : start + size] if isinstance(value, Tensor) and value.ndim == 2 else value
                for name, value in inputs.items()
            }
            recompute = torch.is_grad_enabled() and start + size < total
            slices.append(checkpoint(slice_logits, part, use_reentrant=False) if recompute else slice_logits(part))
        logits, scores = ([part[index] for part in slices] for index in (0, 1))
        merged = pool(torch.cat(logits), windows.tolist(), pooling, None if scores[0] is None else torch.cat(scores))
        return SequenceClassifierOutput(logits=merged)  # type: ignore[arg-type]

    plain.forward = forward


def pool(logits: Tensor, counts: list[int], pooling: str, scores: Tensor | None = None) -> Tensor:
    """Pool (windows, classes) to (documents, classes).

    counts: windows per document; scores: (windows,), for attention.
    """
    parts = logits.split(counts)
    if scores is not None:
        weights = (part.softmax(dim=0) for part in scores.split(counts))
        return torch.stack([weight @ part for weight, part in zip(weights, parts, strict=True)])
    return torch.stack([part.amax(dim=0) if pooling == "max" else part.mean(dim=0) for part in parts])


def detach_attention(model: nn.Module, setting: LongDocuments | None) -> LongDocuments:
    """Restore the plain classifier, in place.

    Returns: the setting of long documents for `inference.json`.
    """
    if setting is None:
        return LongDocuments()
    plain = unwrapped(model)
    for name in ("forward", "_original_forward"):  # the latter is set by Accelerate
        vars(plain).pop(name, None)
    if setting.pooling != "attention":
        return setting
    module = getattr(plain, _ATTENTION)
    active = getattr(module, "modules_to_save", None)  # peft keeps the trained module here
    query = (module if active is None else active["default"]).query
    delattr(plain, _ATTENTION)
    for config in getattr(model, "peft_config", {}).values():
        config.modules_to_save = [name for name in config.modules_to_save if name != _ATTENTION]
    return replace(setting, query=tuple((query.detach().float().cpu() * STEP).tolist()))
