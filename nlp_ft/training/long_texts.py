"""Long documents in training: all windows of a batch's documents through the model, and one row of logits a document."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
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

COUNTS = "windows"  # of the rows of a split, and what a batch tells the model: windows a document, (documents,)
_ATTENTION = "window_attention"
STEP = 30.0  # of the query: an optimizer's step at the rate of a fine-tuning would hardly move it


class WindowAttention(nn.Module):
    """The query of attention over windows; zeros at the start, which is the mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(width))

    def forward(self, features: Tensor) -> Tensor:
        """(windows,) scores of (windows, width) features."""
        return features.float() @ self.query * STEP


def add_attention(
    model: PreTrainedModel, args: LongTextArguments | None, training: TrainingArguments, splits: Mapping[str, Dataset]
) -> tuple[LongDocuments | None, list[str]]:
    """How documents are to be read; for attention the query becomes a part of the model's head, before adapters are added.

    Returns: None where texts are cut, else what `inference.json` is to say, with the query as it starts; and what to say.
    Raises: ConfigError where the query would be cut up among processes.
    """
    if args is None or args.long_documents == "truncate":
        return None, []
    how = LongDocuments(args.window_stride, "max" if args.window_pooling == "max" else "mean")
    if args.window_pooling != "attention":
        return how, []
    if not has_windows(splits) or max(splits["train"][COUNTS][:]) == 1:
        return how, ["attention over windows: no training text has two, so nothing can be learned; their mean is taken"]
    if is_sharded(training):
        raise ConfigError("--window_pooling attention does not go with FSDP or DeepSpeed; use mean or max.")
    width = final_linear(model)[1].in_features
    setattr(model, _ATTENTION, WindowAttention(width).to(model.device))
    return replace(how, pooling="attention", query=(0.0,) * width), []


def has_windows(splits: Mapping[str, Dataset]) -> bool:
    """Whether the rows of the splits hold windows, and not token ids."""
    return COUNTS in splits["train"].column_names


class WindowCollator:
    """Batches of documents: their windows one under the other, padded by `collate`, and how many each has."""

    def __init__(self, names: Sequence[str], collate: Callable[[list[dict[str, Any]]], Any]) -> None:
        self.names, self.collate = names, collate

    def __call__(self, rows: list[dict[str, Any]]) -> Any:
        """rows: of a split with windows. Returns: names (windows, tokens); labels and the like (documents, ...)."""
        names = [name for name in rows[0] if name in self.names]
        batch = self.collate(
            [{name: row[name][i] for name in names} for row in rows for i in range(len(row["input_ids"]))]
        )
        for name in rows[0].keys() - {*names}:
            batch[name] = torch.tensor([row[name] for row in rows])
        batch[COUNTS] = torch.tensor([len(row["input_ids"]) for row in rows])
        return batch


def read_windows(model: nn.Module, pooling: str, training: TrainingArguments) -> None:
    """Let the classifier, adapters and all, take batches of `WindowCollator`, and give a row of logits a document.

    As many windows go through it at a time as a batch may have rows. Where there are more in training, all but the last of
    these slices are run again on the way back (Chen et al. 2016, arXiv:1604.06174), and what they held is forgotten until
    then: memory is that of about one slice, for the price of one more pass forward.
    """
    plain = unwrapped(model)
    original, linear = plain.forward, final_linear(plain)[1]
    sizes = {True: training.per_device_train_batch_size, False: training.per_device_eval_batch_size}

    def slice_logits(inputs: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        if pooling != "attention":
            return original(**inputs).logits.float(), None
        caught: list[Tensor] = []
        hook = linear.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
        try:
            logits = original(**inputs).logits.float()
        finally:
            hook.remove()
        return logits, getattr(plain, _ATTENTION)(pooled(caught.pop(), inputs["input_ids"], plain))

    @functools.wraps(original)
    def forward(*args: Any, windows: Tensor | None = None, **inputs: Any) -> Any:
        if windows is None:
            return original(*args, **inputs)
        total, size = len(inputs["input_ids"]), sizes[plain.training]
        found = []
        for start in range(0, total, size):
            part = {
                name: value[start : start + size] if isinstance(value, Tensor) and value.ndim == 2 else value
                for name, value in inputs.items()
            }
            again = torch.is_grad_enabled() and start + size < total
            found.append(checkpoint(slice_logits, part, use_reentrant=False) if again else slice_logits(part))
        logits, scores = ([part[i] for part in found] for i in (0, 1))
        merged = pool(torch.cat(logits), windows.tolist(), pooling, None if scores[0] is None else torch.cat(scores))
        return SequenceClassifierOutput(logits=merged)  # type: ignore[arg-type]

    plain.forward = forward


def pool(logits: Tensor, counts: list[int], pooling: str, scores: Tensor | None = None) -> Tensor:
    """(documents, classes) out of (windows, classes); counts: windows a document; scores: (windows,), for attention."""
    parts = logits.split(counts)
    if scores is not None:
        weights = (part.softmax(dim=0) for part in scores.split(counts))
        return torch.stack([weight @ part for weight, part in zip(weights, parts, strict=True)])
    return torch.stack([part.amax(dim=0) if pooling == "max" else part.mean(dim=0) for part in parts])


def detach_attention(model: nn.Module, how: LongDocuments | None) -> LongDocuments:
    """Make the classifier a plain one again, in place. Returns: what `inference.json` is to say of long documents."""
    if how is None:
        return LongDocuments()
    plain = unwrapped(model)
    for name in ("forward", "_original_forward"):  # the latter by Accelerate, around it
        vars(plain).pop(name, None)
    if how.pooling != "attention":
        return how
    module = getattr(plain, _ATTENTION)
    active = getattr(module, "modules_to_save", None)  # peft keeps the trained one there
    query = (module if active is None else active["default"]).query
    delattr(plain, _ATTENTION)
    configs: Any = getattr(model, "peft_config", {})
    for config in configs.values():
        config.modules_to_save = [name for name in config.modules_to_save if name != _ATTENTION]
    return replace(how, query=tuple((query.detach().float().cpu() * STEP).tolist()))
