"""The options of a prediction that can be checked before a model is loaded."""

from __future__ import annotations

from nlp_ft.errors import ConfigError


def check_options(top_k: int | None, abstain_below: float | None, long_documents: str) -> None:
    """Refuse options out of range. Raises: ConfigError."""
    if top_k is not None and top_k < 1:
        raise ConfigError(f"top_k must be at least 1, got {top_k}.")
    if abstain_below is not None and not 0 <= abstain_below <= 1:
        raise ConfigError(f"abstain_below must be a probability, got {abstain_below}.")
    if long_documents not in ("window", "truncate"):
        raise ConfigError(f"long_documents must be window or truncate, got {long_documents!r}.")
