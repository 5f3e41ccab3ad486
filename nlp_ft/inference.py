"""`load()` a fine-tuned classifier and `predict()` with it: any text, any batch size, the same answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import DataCollatorWithPadding, PreTrainedModel

from nlp_ft.errors import ConfigError, DataError, ModelError
from nlp_ft.lora import load_adapter_directory
from nlp_ft.models import capacity
from nlp_ft.opening import check_directory, open_classifier
from nlp_ft.scores import MULTI, REGRESSION, SINGLE, predicted, probabilities
from nlp_ft.tokenizers import open_tokenizer, set_padding_side


@dataclass(frozen=True, slots=True)
class Prediction:
    """One text's answer.

    label: the class name; a list of names for a multi-label model; the number itself for a regression.
    score: probability of the label (multi-label: of its least probable name, or of no name at all), or the number.
    scores: probability of every class by name; empty for a regression.
    """

    label: str | list[str] | float
    score: float
    scores: dict[str, float]


class Classifier:
    """A fine-tuned model with its tokenizer and labels; made by `load()`.

    Attributes: model, tokenizer, problem_type, labels (class names in id order, [] for regression), max_seq_length (tokens).
    """

    def __init__(self, model: PreTrainedModel, tokenizer: Any, device: torch.device | str | None = None) -> None:
        config: Any = model.config
        self.problem_type: str = config.problem_type or (REGRESSION if config.num_labels == 1 else SINGLE)
        names = [str(config.id2label[i]) for i in range(config.num_labels)]
        self.labels = [] if self.problem_type == REGRESSION else names
        self.tokenizer = tokenizer
        self.max_seq_length = capacity(model, tokenizer)
        self._collate: Any = DataCollatorWithPadding(tokenizer)
        self.model: Any = model.eval()
        self.model.to(device or torch.accelerator.current_accelerator(check_available=True) or "cpu")

    def predict(self, texts: Sequence[Any], batch_size: int = 32) -> list[Prediction]:
        """Answers in the order of the texts; a pair is a tuple (text, pair). Texts longer than the model are cut.

        Raises: TypeError for a bare string or a row that is no text; ConfigError for a batch_size below 1; DataError for a
        blank text where the tokenizer has no token at all to stand for it.
        """
        logits = self.logits(texts, batch_size)
        if not len(logits):
            return []
        scores, chosen = probabilities(self.problem_type, logits), predicted(self.problem_type, logits)
        return [self._prediction(scores[i], chosen[i]) for i in range(len(logits))]

    @torch.inference_mode()
    def logits(self, texts: Sequence[Any], batch_size: int = 32) -> np.ndarray:
        """Float32 array (rows, classes); texts and errors as in `predict`. Rows of like length share a batch."""
        firsts, seconds = _checked(texts)
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}.")
        out = np.zeros((len(firsts), self.model.config.num_labels), dtype=np.float32)
        if not firsts:
            return out
        rows = self._tokens(firsts, seconds)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]), reverse=True)
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            batch = self._collate([rows[i] for i in places])
            out[places] = self.model(**batch.to(self.model.device)).logits.float().cpu().numpy()
        return out

    def _tokens(self, firsts: list[str], seconds: list[str] | None) -> list[dict[str, list[int]]]:
        """One dictionary a row, cut and not padded.

        A decoder's tokenizer may have no token for a blank text. The end token stands for it then, so that one blank cell
        does not stop a file: the answer is what the model says of no text, as an encoder's is, which reads its own two.
        """
        encoded = self.tokenizer(firsts, seconds, truncation=True, max_length=self.max_seq_length)
        rows = [{name: values[i] for name, values in encoded.items()} for i in range(len(firsts))]
        for i, row in enumerate(rows):
            if row["input_ids"]:
                continue
            if self.tokenizer.eos_token_id is None:
                raise DataError(
                    f"row {i}: {firsts[i]!r} has no tokens, and this tokenizer no end token to stand for them."
                )
            rows[i] = {"input_ids": [self.tokenizer.eos_token_id], "attention_mask": [1]}
        return rows

    def _prediction(self, scores: np.ndarray, chosen: Any) -> Prediction:
        if self.problem_type == REGRESSION:
            return Prediction(float(scores), float(scores), {})
        by_name = {name: float(score) for name, score in zip(self.labels, scores, strict=True)}
        if self.problem_type == MULTI:
            names = [name for name, on in zip(self.labels, chosen, strict=True) if on]
            score = min(by_name[name] for name in names) if names else 1 - max(by_name.values())
            return Prediction(names, score, by_name)
        label = self.labels[int(chosen)]
        return Prediction(label, by_name[label], by_name)


def _checked(texts: Sequence[Any]) -> tuple[list[str], list[str] | None]:
    """First and second texts. Raises: TypeError, naming the row."""
    if isinstance(texts, str):
        raise TypeError("predict() takes a sequence of texts; for one text use predict([text])[0].")
    if texts is None or isinstance(texts, bytes | Mapping) or hasattr(texts, "columns"):
        raise TypeError(f"predict() takes a sequence of texts, got {type(texts).__name__}.")
    rows = list(texts)
    if not rows or not isinstance(rows[0], tuple | list):
        for i, row in enumerate(rows):
            if not isinstance(row, str):
                raise TypeError(f"row {i}: wanted a str, got {type(row).__name__} {str(row)[:40]!r}.")
        return [str(row) for row in rows], None
    for i, row in enumerate(rows):
        if not (isinstance(row, tuple | list) and len(row) == 2 and all(isinstance(text, str) for text in row)):
            raise TypeError(
                f"row {i}: wanted a (text, pair) tuple like row 0, got {type(row).__name__} {str(row)[:40]!r}."
            )
    return [row[0] for row in rows], [row[1] for row in rows]


def load(name: str | Path, revision: str = "main", device: torch.device | str | None = None) -> Classifier:
    """Load a fine-tuned classifier from a directory, an adapter directory, or the Hub; by default onto the GPU, if any.

    Raises: ModelError if it is no checkpoint, has no tokenizer, or lacks its classification head: a head that is not in the
    files would be random, and transformers does not stop at it.
    """
    name = check_directory(str(name))
    if (Path(name) / "adapter_config.json").is_file():
        model = load_adapter_directory(Path(name))
    else:
        model, info = open_classifier(name, revision=revision)
        if absent := sorted(info["missing_keys"]):
            raise ModelError(
                f"{name} is no fine-tuned classifier: {', '.join(absent[:3])} is not in its weights, so its answers would be "
                "random; fine-tune it first (nlp-ft finetune)."
            )
    tokenizer = open_tokenizer(name, revision=revision, trust_remote_code=False)
    _agree_on_pad(name, model, tokenizer)
    return Classifier(model, tokenizer, device)


def _agree_on_pad(name: str, model: PreTrainedModel, tokenizer: Any) -> None:
    """Make the tokenizer pad with what the model's pooling takes for padding, on the side it expects.

    nlp_ft saves them so; a checkpoint from elsewhere may say nothing, or two things. Raises: ModelError if neither has one.
    """
    set_padding_side(tokenizer, model.config.model_type)
    text = model.config.get_text_config()
    if text.pad_token_id is None:
        if tokenizer.pad_token_id is None:
            raise ModelError(
                f"{name} has no pad token; set pad_token_id in its config.json and pad_token in its tokenizer."
            )
        text.pad_token_id = tokenizer.pad_token_id
    elif tokenizer.pad_token_id != text.pad_token_id:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(text.pad_token_id)
