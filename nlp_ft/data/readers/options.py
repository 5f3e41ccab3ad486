"""How files are read: the flags that say what neither name nor content of a file tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from nlp_ft.config.validators import column_names, known_encoding, one_delimiter, one_of

FORMATS = ("csv", "tsv", "jsonl", "json", "parquet", "arrow", "xlsx", "fasttext", "trec", "txt")
QUOTINGS = ("double", "none")


class Reading(TypedDict, total=False):
    """The flags as keyword arguments; None, or left out, is what the file tells by itself."""

    delimiter: str | None
    file_format: str | None
    encoding: str | None
    quoting: str | None
    column_names: str | None


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """The flags, checked.

    column_names: those of a CSV file without a header, between commas. quoting: `none` where quotes are characters like
    others; `double` where they certainly hold cells together. skip_bad_rows: whether what cannot be read is left out.
    """

    delimiter: str | None = None
    file_format: str | None = None
    encoding: str | None = None
    quoting: str | None = None
    column_names: str | None = None
    skip_bad_rows: bool = False

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        if self.delimiter is not None:
            object.__setattr__(self, "delimiter", one_delimiter(self.delimiter))
        if self.encoding is not None:
            object.__setattr__(self, "encoding", known_encoding(self.encoding))
        one_of("file_format", self.file_format, FORMATS)
        one_of("quoting", self.quoting, QUOTINGS)
        if self.column_names is not None:
            column_names(self.column_names)

    @property
    def header(self) -> list[str] | None:
        """The names of the columns, where the file has no header."""
        return None if self.column_names is None else column_names(self.column_names)


def reading_of(arguments: object) -> Reading:
    """The flags among some arguments; those that they lack are None."""
    values = {name: getattr(arguments, name, None) for name in Reading.__annotations__}
    return Reading(**values)
