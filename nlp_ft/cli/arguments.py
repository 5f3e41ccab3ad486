"""Parser, common flags and check of output paths for the verbs of `nlp-ft`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from nlp_ft.errors import ConfigError, did_you_mean


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises ConfigError, one line each, in place of exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise the message as ConfigError."""
        raise ConfigError(f"{self.prog}: {message.removeprefix('argument ')}.")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse the flags of this verb.

        Raises: ConfigError for an unknown flag, an unexpected argument, and a count below 1.
        """
        known = [option.lstrip("-") for action in self._actions for option in action.option_strings]
        for token in argv:
            name = token.partition("=")[0]
            if name.startswith("--") and name[2:] not in known:
                hint = did_you_mean(name[2:], known).replace("'", "'--", 1)
                raise ConfigError(f"{self.prog}: unknown flag '{name}'.{hint}")
        args, rest = self.parse_known_args(argv)
        if rest:
            raise ConfigError(f"{self.prog}: unexpected argument '{rest[0]}'.")
        for name in ("batch_size", "max_seq_length", "limit"):
            if getattr(args, name, None) is not None and getattr(args, name) < 1:
                raise ConfigError(f"{self.prog}: --{name} must be at least 1, got {getattr(args, name)}.")
        return args


def require_free_path(path: str | None, flag: str, suffix: str) -> None:
    """Check that an output file can be created.

    Raises: ConfigError if it exists, its directory does not, or its suffix is another.
    """
    if path is None:
        return
    prefix = f"{flag} {path}"
    if Path(path).exists():
        raise ConfigError(f"{prefix} is there already; name another. Nothing is written over.")
    if Path(path).suffix != suffix:
        raise ConfigError(f"{prefix}: its name must end in {suffix}, the format that is written.")
    if not Path(path).absolute().parent.is_dir():
        raise ConfigError(f"{prefix}: there is no directory {Path(path).parent}.")


def model_parser(verb: str, about: str | None) -> Parser:
    """Return a parser with the flags of the verbs that apply a model to a table."""
    parser = Parser(prog=f"nlp-ft {verb}", description=about, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="a fine-tuned directory or a name on the Hub")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a Hub name (default main)")
    parser.add_argument("--batch_size", type=int, default=32, help="rows at a time (default 32)")
    parser.add_argument("--text_column_names", help="text column, or two for a pair; detected if not given")
    parser.add_argument("--text_pair_column_name", help="second text of a pair")
    parser.add_argument("--text_column_delimiter", help="joins several text columns")
    add_reading_flags(parser)
    return parser


def add_reading_flags(parser: Parser) -> None:
    """Add the flags that say how a file is read."""
    parser.add_argument("--delimiter", help="delimiter of a CSV file; detected if not given")
    parser.add_argument("--column_names", help="names of a CSV file's columns, in order, where it has no header")
    parser.add_argument(
        "--file_format",
        help="csv, tsv, jsonl, json, parquet, arrow, xlsx, fasttext, trec or txt, where the extension says none or another",
    )
    parser.add_argument("--encoding", help="encoding of a text file that is not UTF-8, such as cp1252 or gb18030")
    parser.add_argument(
        "--quoting", help="none: quotes are ordinary characters; double: they hold cells together (default)"
    )
