"""Checks that several groups of arguments share."""

from __future__ import annotations

from nlp_ft.errors import ConfigError


def share(flag: str, value: float | None) -> None:
    """Refuse a probability that is not in [0, 1); `not` also catches nan."""
    if value is not None and not 0 <= value < 1:
        raise ConfigError(f"--{flag} must be at least 0 and below 1, got {value}.")


def at_least_one(flag: str, value: int | None) -> None:
    """Refuse what is below 1. Raises: ConfigError."""
    if value is not None and value < 1:
        raise ConfigError(f"--{flag} must be at least 1, got {value}.")


def one_delimiter(written: str) -> str:
    """One character; the word tab, and a backslash with t, are a tab.

    Raises: ConfigError.
    """
    character = {"tab": "\t", "\\t": "\t"}.get(written, written)
    if len(character) != 1 or character in '"\r\n':
        raise ConfigError(f"--delimiter must be one character that is no quote (or the word tab), got {written!r}.")
    return character
