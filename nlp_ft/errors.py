"""The exception tree.

A user's mistake is one of these, one line long; anything else that escapes is a defect of ours.


NlpFtError
├── ConfigError(ValueError)    a flag, a YAML key, an output directory: exit code 2
├── DataError(ValueError)      a file, a column, a label: exit code 2
├── ModelError(ValueError)     a checkpoint or tokenizer that cannot serve: exit code 2
├── TrainingError(RuntimeError) the run itself went wrong (NaN, a save that does not repeat): exit code 1
└── PushError(RuntimeError)    the model stands where it stood, and is not on the Hub: exit code 1
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NlpFtError(Exception):
    """Base of every error this package raises on purpose.

    `exit_code` is what the command line returns.
    """

    exit_code = 1


class ConfigError(NlpFtError, ValueError):
    """A flag, a YAML key or an output directory is not usable."""

    exit_code = 2


class DataError(NlpFtError, ValueError):
    """A data file, a column or a label is not usable."""

    exit_code = 2


class RowError(DataError):
    """A row of the input is not usable; `row` is its number from 0, `reason` the rest."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row, self.reason = row, reason

    def at(self, where: str) -> DataError:
        """The same error of a row with a place of its own."""
        return DataError(f"{where}: {self.reason}")


class RowTypeError(TypeError):
    """A row of the input is no text; `row` is its number from 0, `reason` the rest."""

    def __init__(self, row: int, reason: str) -> None:
        super().__init__(f"row {row}: {reason}")
        self.row, self.reason = row, reason

    def at(self, where: str) -> TypeError:
        """The same error of a row with a place of its own."""
        return TypeError(f"{where}: {self.reason}")


class ModelError(NlpFtError, ValueError):
    """A checkpoint, an adapter or a tokenizer is not usable."""

    exit_code = 2


class TrainingError(NlpFtError, RuntimeError):
    """The run failed: a loss that is not finite, a save that does not repeat."""


class PushError(NlpFtError, RuntimeError):
    """A push to the Hub that did not come about; the local directory is as it was."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest known name, or an empty string.

    The leading space is part of it.
    """
    nearest = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""
