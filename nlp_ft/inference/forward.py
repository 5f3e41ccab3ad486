"""Forward passes over texts: tokens, windows, batches, one row of logits a text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from nlp_ft.data.windows import truncated, windowed
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.evaluation.inference_config import LongDocuments
from nlp_ft.inference.inputs import Texts, texts_and_pairs
from nlp_ft.inference.pool_windows import pool_windows
from nlp_ft.models.heads import final_linear, pooled
from nlp_ft.models.layers import unwrapped

CHUNK = 64  # batches tokenized, and sorted by length, together


class Outputs(NamedTuple):
    """Raw logits (texts, classes), features (texts, width) or None, windows (texts,)."""

    logits: np.ndarray
    features: np.ndarray | None
    windows: np.ndarray


class ForwardPass:
    """Model and tokenizer, for logits and features of any texts.

    max_length: tokens of a window. long_documents: the reading of longer texts. last: the layer that yields the logits; found
    where None.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        long_documents: LongDocuments,
        last: nn.Linear | None = None,
    ) -> None:
        self.model, self.tokenizer, self._last = model, tokenizer, last
        self.max_length, self.long_documents = max_length, long_documents
        self._collate = DataCollatorWithPadding(tokenizer)

    def run(self, texts: Texts, batch_size: int, long_documents: str, *, with_features: bool = False) -> Outputs:
        """Run the model over all texts, chunk by chunk.

        long_documents: window or truncate. Raises: TypeError, DataError as `texts_and_pairs` and `windowed`; ConfigError for
        an option out of range.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}.")
        if long_documents not in ("window", "truncate"):
            raise ConfigError(f"long_documents must be window or truncate, got {long_documents!r}.")
        firsts, seconds = texts_and_pairs(texts)
        size = batch_size * CHUNK
        chunks = []
        for start in range(0, max(len(firsts), 1), size):
            rows = slice(start, start + size)
            pairs = None if seconds is None else seconds[rows]
            chunks.append(
                self._chunk(firsts[rows], pairs, batch_size, long_documents == "window", with_features, start)
            )
        if len(chunks) == 1:
            return chunks[0]
        logits, features, windows = zip(*chunks, strict=True)
        return Outputs(
            np.concatenate(logits), np.concatenate(features) if with_features else None, np.concatenate(windows)
        )

    def _chunk(
        self,
        firsts: Sequence[str],
        seconds: Sequence[str] | None,
        batch_size: int,
        in_windows: bool,
        with_features: bool,
        start: int,
    ) -> Outputs:
        """Outputs of texts that begin with number `start`, in windows or truncated."""
        if in_windows:
            rows, owners = windowed(self.tokenizer, firsts, seconds, self.max_length, self.long_documents.stride, start)
        else:
            rows, owners = truncated(self.tokenizer, firsts, seconds, self.max_length, start), np.arange(len(firsts))
        uses_attention = self.long_documents.pooling == "attention" and len(rows) > len(firsts)
        logits, features = self._forward(rows, batch_size, with_features=with_features or uses_attention)
        pooled_logits = pool_windows(logits, owners, len(firsts), self.long_documents, features)
        if with_features and features is not None:
            features = pool_windows(
                features, owners, len(firsts), self.long_documents if uses_attention else LongDocuments(), features
            )
        return Outputs(pooled_logits, features if with_features else None, np.bincount(owners, minlength=len(firsts)))

    @torch.inference_mode()
    def _forward(
        self, rows: list[dict[str, list[int]]], batch_size: int, *, with_features: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Logits (rows, classes) and features (rows, width) or None, float32.

        Rows of like length share a batch.
        """
        out = np.zeros((len(rows), self.model.config.num_labels), dtype=np.float32)
        features = np.zeros((len(rows), self._last_layer().in_features), dtype=np.float32) if with_features else None
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]), reverse=True)
        with self._last_layer_inputs(with_features) as inputs_seen:
            for start in range(0, len(order), batch_size):
                indices = order[start : start + batch_size]
                padded = self._collate([rows[i] for i in indices])
                batch = {name: tensor.to(self.model.device) for name, tensor in padded.items()}
                out[indices] = self.model(**batch).logits.float().cpu().numpy()
                if features is not None:
                    chosen = pooled(inputs_seen.pop(), batch["input_ids"], unwrapped(self.model))
                    features[indices] = chosen.float().cpu().numpy()
        return out, features

    def _last_layer(self) -> nn.Linear:
        if self._last is None:
            if not isinstance(self.model, nn.Module):
                raise ModelError("an exported model gives logits alone; load the directory it was exported from.")
            self._last = final_linear(unwrapped(self.model))[1]
        return self._last

    @contextmanager
    def _last_layer_inputs(self, is_on: bool) -> Iterator[list[torch.Tensor]]:
        """Context: a list to which each forward pass appends the last layer's inputs.

        is_on: whether anything is collected.
        """
        inputs_seen: list[torch.Tensor] = []
        if not is_on:
            yield inputs_seen
            return
        hook = self._last_layer().register_forward_pre_hook(lambda _, inputs: inputs_seen.append(inputs[0]))
        try:
            yield inputs_seen
        finally:
            hook.remove()
