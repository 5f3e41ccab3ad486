"""Checks that several groups of arguments share."""

from __future__ import annotations

import codecs
import io
from collections.abc import Sequence
from encodings.aliases import aliases

from nlp_ft.errors import ConfigError, did_you_mean


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


def one_of(flag: str, value: str | None, known: Sequence[str]) -> None:
    """Refuse what is none of the known values. Raises: ConfigError."""
    if value is not None and value not in known:
        raise ConfigError(f"--{flag} must be one of {', '.join(known)}, got {value!r}.{did_you_mean(value, known)}")


def known_encoding(name: str) -> str:
    """The codec of Python that has this name.

    Raises: ConfigError where there is none that makes text of bytes.
    """
    try:
        io.TextIOWrapper(io.BytesIO(), encoding=name)
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        known = {*aliases.values(), *aliases}
        raise ConfigError(
            f"--encoding {name}: Python knows no text encoding of this name.{did_you_mean(name.lower(), sorted(known))}"
        ) from None


def label_delimiter(written: str) -> str:
    """One sign or several; the words tab, space and newline are those.

    Raises: ConfigError.
    """
    names = {"tab": "\t", "\\t": "\t", "space": " ", "newline": "\n", "\\n": "\n"}
    delimiter = names.get(written, written)
    if not delimiter or any(character.isalnum() for character in delimiter):
        raise ConfigError(
            f"--label_delimiter must be a sign such as , or | (or the word tab, space, newline), got {written!r}."
        )
    return delimiter


def column_names(written: str) -> list[str]:
    """Names between commas. Raises: ConfigError for a name that is empty or stands twice."""
    names = [name.strip() for name in written.split(",")]
    if "" in names or len(set(names)) < len(names):
        raise ConfigError(
            f"--column_names must be different names with commas between, such as text,label; got {written!r}."
        )
    return names
