"""What the verbs of `nlp-ft` share: a parser that refuses in one line, and outputs that are never written over."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from nlp_ft.errors import ConfigError, did_you_mean


class Parser(argparse.ArgumentParser):
    """argparse whose refusals are ConfigError, one line each."""

    def error(self, message: str) -> NoReturn:
        """Refuse. Raises: ConfigError."""
        raise ConfigError(f"{self.prog}: {message.removeprefix('argument ')}.")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """The flags of this verb. Raises: ConfigError for one it does not know, and for a number below 1."""
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
    """Refuse an output that is there, has no directory to stand in, or another suffix. Raises: ConfigError."""
    if path is None:
        return
    where = f"{flag} {path}"
    if Path(path).exists():
        raise ConfigError(f"{where} is there already; name another. Nothing is written over.")
    if Path(path).suffix != suffix:
        raise ConfigError(f"{where}: its name must end in {suffix}, which is what is written.")
    if not Path(path).absolute().parent.is_dir():
        raise ConfigError(f"{where}: there is no directory {Path(path).parent}.")


def model_parser(verb: str, about: str | None) -> Parser:
    """A parser with the flags of the verbs that read a table with a model."""
    parser = Parser(prog=f"nlp-ft {verb}", description=about, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="a fine-tuned directory or a name on the Hub")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a Hub name (default main)")
    parser.add_argument("--batch_size", type=int, default=32, help="rows at a time (default 32)")
    parser.add_argument("--text_column_names", help="text column, or two for a pair; found where not given")
    parser.add_argument("--text_pair_column_name", help="second text of a pair")
    parser.add_argument("--text_column_delimiter", help="joins several text columns")
    parser.add_argument("--delimiter", help="what delimits the cells of a CSV file; found where not given")
    return parser
