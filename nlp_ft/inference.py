"""`load()` a fine-tuned classifier and `predict()` with it: any text, any batch size, the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from nlp_ft.errors import ConfigError, ModelError
from nlp_ft.metrics import MULTI, REGRESSION, SINGLE, predicted, probabilities
from nlp_ft.models import check_directory, load_adapter_directory, one_line, quiet, token_limit


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
        self.tokenizer = tokenizer
        self.problem_type = _problem_type(model)
        names = model.config.id2label or {}
        self.labels = [] if self.problem_type == REGRESSION else [str(names[i]) for i in range(model.config.num_labels)]
        self.max_seq_length = token_limit(model, tokenizer, None)
        self.model: Any = model.to(device or PartialState().device).eval()

    def predict(self, texts: Sequence[Any], batch_size: int = 32) -> list[Prediction]:
        """Answers in the order of the texts; a pair is a tuple (text, pair). Texts longer than the model are cut.

        Raises: TypeError for a bare string or a row that is no text; ConfigError for a batch_size below 1.
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
        if not firsts:
            return np.zeros((0, self.model.config.num_labels), dtype=np.float32)
        encoded = self.tokenizer(firsts, seconds, truncation=True, max_length=self.max_seq_length)
        lengths = [len(ids) for ids in encoded["input_ids"]]
        if 0 in lengths:
            row = lengths.index(0)
            raise TypeError(
                f"row {row}: {firsts[row]!r} has no tokens; this model's tokenizer adds none to a blank text."
            )
        order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
        out: np.ndarray | None = None
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = self.tokenizer.pad({k: [v[i] for i in rows] for k, v in encoded.items()}, return_tensors="pt")
            got = self.model(**batch.to(self.model.device)).logits.float().cpu().numpy()
            if out is None:
                out = np.empty((len(lengths), got.shape[1]), dtype=np.float32)
            out[rows] = got
        assert out is not None
        return out

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


def _problem_type(model: PreTrainedModel) -> str:
    return model.config.problem_type or (REGRESSION if model.config.num_labels == 1 else SINGLE)


def _checked(texts: Sequence[Any]) -> tuple[list[str], list[str] | None]:
    """First and second texts. Raises: TypeError, naming the row."""
    if isinstance(texts, str):
        raise TypeError("predict() takes a sequence of texts; for one text use predict([text])[0].")
    rows = list(texts)
    pairs = bool(rows) and isinstance(rows[0], tuple | list)
    for i, row in enumerate(rows):
        fits = (
            len(row) == 2 and all(isinstance(t, str) for t in row) if pairs and isinstance(row, tuple | list) else False
        )
        if not (fits if pairs else isinstance(row, str)):
            wanted = "a (text, pair) tuple like row 0" if pairs else "a str"
            raise TypeError(f"row {i}: wanted {wanted}, got {type(row).__name__} {str(row)[:40]!r}.")
    if pairs:
        return [row[0] for row in rows], [row[1] for row in rows]
    return rows, None


def load(name: str | Path, revision: str = "main", device: torch.device | str | None = None) -> Classifier:
    """Load a fine-tuned classifier from a directory, an adapter directory, or the Hub.

    Raises: ModelError if it is no checkpoint, has no tokenizer, or lacks its classification head: a head that is not in the
    files would be random, and transformers does not stop at it.
    """
    name = str(name)
    path = Path(name).expanduser()
    if (path / "adapter_config.json").is_file():
        model = load_adapter_directory(path)
    else:
        check_directory(name)
        with quiet(), one_line(name, "weights"):
            model, info = AutoModelForSequenceClassification.from_pretrained(
                path if path.is_dir() else name,
                revision=revision,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        if absent := sorted(info["missing_keys"]):
            raise ModelError(
                f"{name} is no fine-tuned classifier: {', '.join(absent[:3])} is not in its weights, so its answers would be "
                "random; fine-tune it first (nlp-ft finetune)."
            )
    with quiet(), one_line(name, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            path if path.is_dir() else name, revision=revision, trust_remote_code=False
        )
    return Classifier(model, tokenizer, device)
