"""Texts through a classifier: tokens, windows, batches of like length, and one row of logits (and features) a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import DataCollatorWithPadding

from nlp_ft.data.windows import truncated, windowed
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.evaluation.inference_config import LongDocuments
from nlp_ft.inference.inputs import texts_and_pairs
from nlp_ft.inference.pool_windows import pool_windows
from nlp_ft.models.heads import final_linear, pooled
from nlp_ft.models.layers import unwrapped

CHUNK = 64  # batches whose texts are tokenized, and sorted by length, together


class Read(NamedTuple):
    """Raw logits (texts, classes), features (texts, width) where they were to be kept, and windows (texts,)."""

    logits: np.ndarray
    features: np.ndarray | None
    windows: np.ndarray


class Reader:
    """A model and a tokenizer that read any texts.

    limit: tokens of a window. how: what becomes of longer texts. last: the layer that yields the logits; found where not
    given.
    """

    def __init__(
        self, model: Any, tokenizer: Any, limit: int, how: LongDocuments, last: nn.Linear | None = None
    ) -> None:
        self.model, self.tokenizer, self.limit, self.how, self._last = model, tokenizer, limit, how, last
        self._collate: Any = DataCollatorWithPadding(tokenizer)

    def read(self, texts: Any, batch_size: int, long_documents: str, *, keep: bool = False) -> Read:
        """Everything of all texts, a chunk after the other; keep: features, too.

        Raises: TypeError, DataError as `texts_and_pairs` and `windowed`; ConfigError for an option out of range.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}.")
        if long_documents not in ("window", "truncate"):
            raise ConfigError(f"long_documents must be window or truncate, got {long_documents!r}.")
        firsts, seconds = texts_and_pairs(texts)
        size = batch_size * CHUNK
        parts = []
        for start in range(0, max(len(firsts), 1), size):
            part = slice(start, start + size)
            pairs = None if seconds is None else seconds[part]
            parts.append(self._chunk(firsts[part], pairs, batch_size, long_documents == "window", keep, start))
        if len(parts) == 1:
            return parts[0]
        logits, features, windows = zip(*parts, strict=True)
        return Read(np.concatenate(logits), np.concatenate(features) if keep else None, np.concatenate(windows))

    def _chunk(
        self,
        firsts: Sequence[str],
        seconds: Sequence[str] | None,
        batch_size: int,
        whole: bool,
        keep: bool,
        start: int,
    ) -> Read:
        """Texts that begin with number `start`, read whole or cut."""
        if whole:
            rows, owners = windowed(self.tokenizer, firsts, seconds, self.limit, self.how.stride, start)
        else:
            rows, owners = truncated(self.tokenizer, firsts, seconds, self.limit, start), np.arange(len(firsts))
        attends = self.how.pooling == "attention" and len(rows) > len(firsts)
        logits, features = self._forward(rows, batch_size, keep=keep or attends)
        merged = pool_windows(logits, owners, len(firsts), self.how, features)
        if keep and features is not None:
            features = pool_windows(features, owners, len(firsts), self.how if attends else LongDocuments(), features)
        return Read(merged, features if keep else None, np.bincount(owners, minlength=len(firsts)))

    @torch.inference_mode()
    def _forward(
        self, rows: list[dict[str, list[int]]], batch_size: int, *, keep: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Logits (rows, classes) and, to keep, features (rows, width), float32; rows of like length share a batch."""
        out = np.zeros((len(rows), self.model.config.num_labels), dtype=np.float32)
        features = np.zeros((len(rows), self._last_layer().in_features), dtype=np.float32) if keep else None
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]), reverse=True)
        with self._caught(keep) as caught:
            for start in range(0, len(order), batch_size):
                indices = order[start : start + batch_size]
                batch = self._collate([rows[i] for i in indices]).to(self.model.device)
                out[indices] = self.model(**batch).logits.float().cpu().numpy()
                if features is not None:
                    found = pooled(caught.pop(), batch["input_ids"], unwrapped(self.model))
                    features[indices] = found.float().cpu().numpy()
        return out, features

    def _last_layer(self) -> nn.Linear:
        if self._last is None:
            if not isinstance(self.model, nn.Module):
                raise ModelError("an exported model gives logits alone; load the directory it was exported from.")
            self._last = final_linear(unwrapped(self.model))[1]
        return self._last

    @contextmanager
    def _caught(self, keep: bool) -> Iterator[list[torch.Tensor]]:
        """Within: a list to which each forward pass appends what the last layer reads."""
        caught: list[torch.Tensor] = []
        if not keep:
            yield caught
            return
        hook = self._last_layer().register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        try:
            yield caught
        finally:
            hook.remove()
