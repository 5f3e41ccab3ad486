"""`inference.json`: the steps from a saved model's logits to its answers.

It lies beside the weights, where any value differs from its default.
The file is read by nlp_ft alone; transformers loads the directory as if it were not there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from nlp_ft.errors import ModelError
from nlp_ft.evaluation.probabilities import MULTI, SINGLE

FILE = "inference.json"
POOLINGS = ("mean", "max", "attention")


@dataclass(frozen=True)
class LongDocuments:
    """Reading of a text of more tokens than the model holds.

    It is read in windows, whose logits are pooled.

    stride: tokens that a window shares with the one before it (as tokenizers call it); a quarter of a window where None.
    pooling: mean or max of the logits, or attention: a mean weighted by the softmax of features times `query`
    (Yang et al. 2016, section 2.2, without their hidden layer); query: (features,), learned in training.
    """

    stride: int | None = None
    pooling: str = "mean"
    query: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check the values. Raises: ModelError."""
        if self.stride is not None and (type(self.stride) is not int or self.stride < 0):
            raise ModelError(f"{FILE}: stride must be a whole number of tokens, got {self.stride!r}.")
        if self.pooling not in POOLINGS:
            raise ModelError(f"{FILE}: pooling must be one of {', '.join(POOLINGS)}, got {self.pooling!r}.")
        if (self.pooling == "attention") != (self.query is not None):
            raise ModelError(f"{FILE}: attention over windows needs its query, and nothing else has one.")


@dataclass(frozen=True)
class InferenceConfig:
    """The content of `inference.json`.

    temperature: divides the logits before the softmax of a single-label model. thresholds: by label, the probability above
    which a multi-label model gives it. long_documents: how texts longer than the model are read. text_pair: whether the model
    was trained on pairs of texts; None: not known, as of a model from elsewhere.
    """

    temperature: float = 1.0
    thresholds: Mapping[str, float] | None = None
    long_documents: LongDocuments = LongDocuments()
    text_pair: bool | None = None

    def limits(self, labels: Sequence[str]) -> np.ndarray:
        """The thresholds in the order of the labels, (classes,)."""
        held = self.thresholds or {}
        return np.array([held.get(label, 0.5) for label in labels])

    def applied(self, problem_type: str, logits: np.ndarray, labels: Sequence[str]) -> np.ndarray:
        """Logits that need no settings to be read.

        They are divided by the temperature, and 0 at each label's threshold.
        """
        if problem_type == SINGLE:
            return logits / self.temperature
        if problem_type == MULTI and self.thresholds:
            limits = np.clip(self.limits(labels), 1e-9, 1 - 1e-9)
            return logits - np.log(limits / (1 - limits))
        return logits

    def write(self, directory: Path) -> None:
        """Write `inference.json`; an older file goes.

        Nothing is written where every value is the default.
        """
        path = directory / FILE
        if self == InferenceConfig():
            path.unlink(missing_ok=True)
            return
        path.write_text(json.dumps(asdict(self), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def read_inference_config(directory: Path, labels: Sequence[str]) -> InferenceConfig:
    """Read the `inference.json` of a directory; the defaults where there is none.

    Raises: ModelError for a file that says anything else, naming the key.
    """
    path = directory / FILE
    if not path.is_file():
        return InferenceConfig()
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: no JSON: {error}.") from None
    _only(path, held, InferenceConfig)
    temperature, thresholds = held.get("temperature", 1.0), held.get("thresholds")
    if not _is_number(temperature) or not 0 < temperature < math.inf:
        raise ModelError(f"{path}: temperature must be a number above 0, got {temperature!r}.")
    if thresholds is not None:
        _check_thresholds(path, thresholds, labels)
    text_pair = held.get("text_pair")
    if text_pair is not None and not isinstance(text_pair, bool):
        raise ModelError(f"{path}: text_pair must be true, false or null, got {text_pair!r}.")
    long = held.get("long_documents") or {}
    _only(path, long, LongDocuments)
    query = long.get("query")
    if query is not None and not (isinstance(query, list) and all(map(_is_number, query))):
        raise ModelError(f"{path}: query must be a list of numbers.")
    documents = LongDocuments(**{**long, "query": None if query is None else tuple(map(float, query))})
    return InferenceConfig(float(temperature), thresholds, documents, text_pair)


def _only(path: Path, held: object, kind: type) -> None:
    known = [field.name for field in fields(kind)]
    if not isinstance(held, dict):
        raise ModelError(f"{path}: wanted an object with {', '.join(known)}.")
    for key in held:
        if key not in known:
            raise ModelError(f"{path}: unknown key {key!r}; there are {', '.join(known)}.")


def _check_thresholds(path: Path, held: object, labels: Sequence[str]) -> None:
    if not isinstance(held, dict) or set(held) - set(labels):
        raise ModelError(f"{path}: thresholds must be by label, of {', '.join(labels)}.")
    for label, value in held.items():
        if not _is_number(value) or not 0 <= value <= 1:
            raise ModelError(f"{path}: the threshold of {label!r} must be between 0 and 1, got {value!r}.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
