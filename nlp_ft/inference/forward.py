"""Forward passes over texts: tokens, windows, batches, one row of logits a text."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase

from nlp_ft.data.encodings import Row, clear_state
from nlp_ft.data.windows import truncated, windowed
from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.evaluation.inference_config import InferenceConfig, LongDocuments
from nlp_ft.inference.hooked import RecordingModel, ReplacingModel
from nlp_ft.inference.inputs import Texts, texts_and_pairs
from nlp_ft.inference.pool_windows import pool_windows
from nlp_ft.models.heads import final_linear, pooled
from nlp_ft.models.layers import unwrapped, word_embeddings

CHUNK = 64  # batches tokenized, and sorted by length, together


class Outputs(NamedTuple):
    """Raw logits (texts, classes), features (texts, width) or None, windows (texts,).

    cut: number of tokens that no window has, (texts,).
    """

    logits: np.ndarray
    features: np.ndarray | None
    windows: np.ndarray
    cut: np.ndarray


class ForwardPass:
    """Model and tokenizer, for logits and features of any texts.

    Threads may share it: no call changes the model or the tokenizer. What needs a hook runs on a copy of the module tree over
    the same weights, made when first needed.

    max_length: tokens of a window. inference_config: the reading of longer texts, and of pairs. last: the layer that yields
    the logits; found where None.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        inference_config: InferenceConfig,
        last: nn.Linear | None = None,
    ) -> None:
        clear_state(tokenizer)
        self.model, self.tokenizer, self._last = model, tokenizer, last
        self.max_length, self.inference_config = max_length, inference_config
        self.long_documents = inference_config.long_documents
        self._collate = DataCollatorWithPadding(tokenizer)
        self._forget_copies()

    def _forget_copies(self) -> None:
        self._making_copies = threading.Lock()
        self._recording: RecordingModel | None = None
        self._replacing: ReplacingModel | None = None

    def __getstate__(self) -> dict[str, Any]:
        """State to pickle: all but the copies with hooks and their lock."""
        return {k: v for k, v in vars(self).items() if k not in ("_making_copies", "_recording", "_replacing")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore from a pickle."""
        vars(self).update(state)
        self._forget_copies()

    def texts(self, texts: Texts) -> tuple[list[str], list[str] | None]:
        """First and second texts, checked against what the model was trained on.

        Raises: TypeError, DataError as `texts_and_pairs`.
        """
        return texts_and_pairs(texts, self.inference_config.text_pair)

    def run(self, texts: Texts, batch_size: int, long_documents: str, *, with_features: bool = False) -> Outputs:
        """Run the model over all texts, chunk by chunk.

        long_documents: window or truncate. Raises: TypeError, DataError as `texts_and_pairs` and `windowed`; ConfigError for
        an option out of range.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}.")
        if long_documents not in ("window", "truncate"):
            raise ConfigError(f"long_documents must be window or truncate, got {long_documents!r}.")
        firsts, seconds = self.texts(texts)
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
        logits, features, windows, lost = zip(*chunks, strict=True)
        return Outputs(
            np.concatenate(logits),
            np.concatenate(features) if with_features else None,
            np.concatenate(windows),
            np.concatenate(lost),
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
            tokens = windowed(self.tokenizer, firsts, seconds, self.max_length, self.long_documents.stride, start)
        else:
            tokens = truncated(self.tokenizer, firsts, seconds, self.max_length, start)
        rows, owners, lost = tokens
        uses_attention = self.long_documents.pooling == "attention" and len(rows) > len(firsts)
        logits, features = self._forward(rows, batch_size, with_features=with_features or uses_attention)
        if not (finite := np.isfinite(logits).all(axis=1)).all():
            row = start + int(owners[int(np.argmin(finite))])
            raise ModelError(
                f"row {row}: the model's logits are not finite, so they are no answer; if it was loaded in half precision, "
                "load it with dtype=torch.float32, else its weights are damaged: train it again."
            )
        pooled_logits = pool_windows(logits, owners, len(firsts), self.long_documents, features)
        if with_features and features is not None:
            features = pool_windows(
                features, owners, len(firsts), self.long_documents if uses_attention else LongDocuments(), features
            )
        windows = np.bincount(owners, minlength=len(firsts))
        return Outputs(pooled_logits, features if with_features else None, windows, lost)

    @torch.inference_mode()
    def _forward(
        self, rows: Sequence[Row], batch_size: int, *, with_features: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Logits (rows, classes) and features (rows, width) or None, float32.

        Rows of like length share a batch.
        """
        recording = self._recorder() if with_features else None
        model = self.model if recording is None else recording.model
        out = np.zeros((len(rows), self.model.config.num_labels), dtype=np.float32)
        features = np.zeros((len(rows), self._last_layer().in_features), dtype=np.float32) if recording else None
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]), reverse=True)
        for start in range(0, len(order), batch_size):
            indices = order[start : start + batch_size]
            padded = self._collate([rows[i] for i in indices])
            batch = {name: tensor.to(self.model.device) for name, tensor in padded.items()}
            out[indices] = model(**batch).logits.float().cpu().numpy()
            if recording is not None and features is not None:
                chosen = pooled(recording.taken(), batch["input_ids"], unwrapped(self.model))
                features[indices] = chosen.float().cpu().numpy()
        return out, features

    def _last_layer(self) -> nn.Linear:
        if self._last is None:
            if not isinstance(self.model, nn.Module):
                raise ModelError("an exported model gives logits alone; load the directory it was exported from.")
            self._last = final_linear(unwrapped(self.model))[1]
        return self._last

    def _recorder(self) -> RecordingModel:
        """A copy of the model that keeps the inputs of the last layer."""
        layer = self._last_layer()
        with self._making_copies:
            if self._recording is None:
                self._recording = RecordingModel(self.model, layer)
            return self._recording

    def replacing_model(self) -> ReplacingModel:
        """A copy of the model whose embeddings can be replaced, for explanations."""
        with self._making_copies:
            if self._replacing is None:
                self._replacing = ReplacingModel(self.model, word_embeddings(unwrapped(self.model)))
            return self._replacing
