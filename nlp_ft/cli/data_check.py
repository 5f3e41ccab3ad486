"""`nlp-ft data check`: flags, progress and output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlp_ft.cli.arguments import Parser, add_reading_flags, require_free_path
from nlp_ft.config.files import check_files
from nlp_ft.errors import ConfigError

if TYPE_CHECKING:
    from nlp_ft.data.checks.run_checks import CountTokens

_ABOUT = (
    "Find problems in labelled texts: leakage, duplicates, label errors, damaged text. Changes nothing without --fix."
)


def main(argv: Sequence[str]) -> int:
    """Run `nlp-ft data ARGV`. Returns: the exit code. Raises: ConfigError, DataError."""
    command, *rest = argv or [""]
    if command != "check" and not {"-h", "--help"} & set(argv):
        raise ConfigError("nlp-ft data: there is one command, check, as in nlp-ft data check train.csv.")
    return _check(_parser().parse(rest if command == "check" else argv))


def _parser() -> Parser:
    parser = Parser(prog="nlp-ft data check", description=_ABOUT, allow_abbrev=False)
    parser.add_argument("train_file", nargs="*", help="the training rows: files, a pattern, or a folder by class")
    parser.add_argument("--dataset_name", help="a dataset on the Hub, or a local one, instead of files")
    parser.add_argument("--dataset_config_name", help="configuration of the dataset")
    parser.add_argument("--validation_file", nargs="+", help="validation rows, compared with the others")
    parser.add_argument("--test_file", nargs="+", help="test rows, compared with the others")
    parser.add_argument("--text_column_names", help="text column; two are a pair; detected if not given")
    parser.add_argument("--text_column_delimiter", help="joins several text columns")
    parser.add_argument("--text_pair_column_name", help="second text of a pair")
    parser.add_argument("--label_column_name", help="label column, or several of 0 and 1; detected if not given")
    parser.add_argument("--label_delimiter", help="what delimits several labels in a cell; detected if not given")
    parser.add_argument(
        "--merge_label_spellings", action="store_true", help="take labels that differ in spelling alone for one class"
    )
    parser.add_argument("--problem_type", help="kind of problem; detected if not given")
    add_reading_flags(parser)
    parser.add_argument("--skip_bad_rows", action="store_true", help="skip malformed rows and check the others")
    parser.add_argument("--group_column", help="rows with the same value in this column belong in one split")
    parser.add_argument("--model_name_or_path", help="count tokens with the tokenizer of this checkpoint")
    parser.add_argument("--max_seq_length", type=int, default=512, help="longest text in tokens (default 512)")
    parser.add_argument("--seed", type=int, default=42, help="random seed of folds and samples (default 42)")
    parser.add_argument("--limit", type=int, default=3, help="examples shown for each finding (default 3)")
    parser.add_argument("--json", metavar="FILE.json", help="write all findings as JSON")
    parser.add_argument("--html", metavar="FILE.html", help="write one self-contained page with charts")
    parser.add_argument("--fix", metavar="DIR", help="write cleaned files and changes.csv into this new directory")
    parser.add_argument(
        "--fail_on", choices=["error", "warning"], help="exit with 1 if a finding is at least this severe"
    )
    return parser


def _check(args: argparse.Namespace) -> int:
    require_free_path(args.json, "nlp-ft data check: --json", ".json")
    require_free_path(args.html, "nlp-ft data check: --html", ".html")
    check_files([*args.train_file, *(args.validation_file or ()), *(args.test_file or ())])
    from nlp_ft.config import DataArguments
    from nlp_ft.data import counted, read_rows, write_rejected
    from nlp_ft.data.checks.fix import apply
    from nlp_ft.data.checks.report import terminal
    from nlp_ft.data.checks.report.html import page
    from nlp_ft.data.checks.run_checks import check

    if args.fix is not None:
        apply.require_free(args.fix)
    names = (
        "train_file validation_file test_file text_column_names text_column_delimiter text_pair_column_name "
        "label_column_name label_delimiter merge_label_spellings problem_type delimiter column_names file_format encoding "
        "quoting skip_bad_rows group_column max_seq_length dataset_name dataset_config_name"
    )
    chosen: dict[str, Any] = {name: getattr(args, name) or None for name in names.split()}
    rows = read_rows(DataArguments(**chosen), keep_blank=True)
    for note in rows.notes:
        print(note, file=sys.stderr)
    tokens = None if args.model_name_or_path is None else token_counter(args.model_name_or_path)
    report, checked = check(
        rows, seed=args.seed, count_tokens=tokens, max_seq_length=args.max_seq_length, progress=_progress()
    )
    for path, content in ((args.json, report.to_json), (args.html, lambda: page(report))):
        if path is not None:
            Path(path).write_text(content(), encoding="utf-8")
            print(f"written: {path}", file=sys.stderr)
    terminal.show(report, args.limit)  # after the files: who reads it may have gone
    if args.fix is not None:
        fixed = apply.apply(apply.plan(checked, report.findings), rows.raw_tables(), rows.columns, args.fix)
        print("\n".join(fixed.lines()))
        if rejected := [row for table in rows.tables.values() for row in table.rejected]:
            path = Path(args.fix, "rejected_rows.csv")
            write_rejected(path, rejected)
            print(f"{counted(len(rejected), 'bad row')} left out of these files: {path}")
    failing = {"error": ("error",), "warning": ("error", "warning")}.get(args.fail_on, ())
    return 1 if report.worst in failing else 0


def _progress() -> Callable[[str], Callable[[int, int], None]] | None:
    """Return a callback that shows the running check and its progress.

    None without a terminal.
    """
    if not sys.stderr.isatty():
        return None

    def start(name: str) -> Callable[[int, int], None]:
        def advance(done: int, total: int) -> None:
            share = f" {done / total:4.0%}" if total else ""
            print(
                f"\r\x1b[Kchecking {name}{share}" if done < total else "\r\x1b[K",
                end="",
                file=sys.stderr,
                flush=True,
            )

        return advance

    return start


def token_counter(model_name_or_path: str) -> CountTokens:
    """Return a function that counts tokens with the tokenizer of a checkpoint.

    Raises: ModelError.
    """
    from nlp_ft.config import ModelArguments
    from nlp_ft.models.classifier import load_tokenizer

    tokenizer = load_tokenizer(ModelArguments(model_name_or_path=model_name_or_path))

    def count(texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]

    return count
