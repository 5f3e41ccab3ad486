"""The options of a prediction that can be checked before a model is loaded."""

from __future__ import annotations

from typing import TypedDict

from nlp_ft.errors import ConfigError


class PredictOptions(TypedDict, total=False):
    """Options of `Classifier.predict` that `stream` and `predict_file` pass on."""

    top_k: int | None
    return_logits: bool
    abstain_below: float | None
    long_documents: str


def check_options(
    *,
    top_k: int | None = None,
    abstain_below: float | None = None,
    long_documents: str | None = None,
    return_logits: bool = False,
) -> None:
    """Refuse options out of range. Raises: ConfigError."""
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k must be at least 1, got {top_k}.")
    if abstain_below is not None and not 0 <= abstain_below <= 1:
        raise ConfigError(f"abstain_below must be a probability, got {abstain_below}.")
    if long_documents not in (None, "window", "truncate"):
        raise ConfigError(f"long_documents must be window or truncate, got {long_documents!r}.")
    if not isinstance(return_logits, bool):
        raise ConfigError(f"return_logits must be True or False, got {return_logits!r}.")
