"""The verbs of `nlp-ft`: predict and evaluate, which work on a fine-tuned directory, and data. Heavy imports wait."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nlp_ft.cli.arguments import model_parser
from nlp_ft.errors import ConfigError

if TYPE_CHECKING:
    from nlp_ft.inference.prediction import Prediction


def predict(argv: Sequence[str]) -> None:
    """Label the texts of a file, or those given with --text."""
    parser = model_parser("predict", predict.__doc__)
    parser.add_argument(
        "--text", nargs="+", action="extend", help="texts instead of a file; one that begins with - is --text=TEXT"
    )
    parser.add_argument("--input", help="CSV, TSV, JSONL or Parquet with the texts, of any size")
    parser.add_argument(
        "--output",
        help="CSV, JSONL or Parquet to write: the input's columns, prediction, and a score a class; the same command goes on "
        "where a run was cut",
    )
    parser.add_argument("--top_k", type=int, help="keeps the scores of this many classes a text")
    parser.add_argument("--abstain_below", type=float, help="gives no label where its probability is less")
    parser.add_argument("--return_logits", action="store_true", help="adds the raw logits (files alone)")
    parser.add_argument(
        "--long_documents",
        choices=("window", "truncate"),
        help="texts of more tokens than the model holds: read in windows (the default; given, a column says in how many), or "
        "cut",
    )
    args = parser.parse(argv)
    if (args.text is None) == (args.input is None):
        raise ConfigError("nlp-ft predict: give --input or --text, one of the two.")
    if (args.output is None) != (args.input is None):
        raise ConfigError("nlp-ft predict: --input and --output, the file to write, go together.")
    names = ("top_k", "abstain_below", "return_logits", "long_documents")
    options = {name: getattr(args, name) for name in names if getattr(args, name)}
    if args.text:
        from nlp_ft.inference.load import load

        found = load(args.model, args.revision).predict(args.text, args.batch_size, **options)
        print(_lines(args.text, found))
    else:
        _predict_file(args, options)


def _lines(texts: Sequence[str], found: Sequence[Prediction]) -> str:
    """One text a line: label, its probability, the text; a regression's number alone is the answer."""
    labels = [_label(one) for one in found]
    width = max(map(len, labels))
    scores = [f"  {one.score:.4f}" if one.scores else "" for one in found]
    return "\n".join(f"{a:<{width}}{s}  {text}" for a, s, text in zip(labels, scores, texts, strict=True))


def _label(one: Prediction) -> str:
    """A label as a table has it: a class name, names joined by `;`, a number, or nothing where it was withheld."""
    if one.label is None or isinstance(one.label, str):
        return one.label or "-"
    return ";".join(one.label) if isinstance(one.label, list) else f"{one.label:.6g}"


def _predict_file(args: argparse.Namespace, options: Mapping[str, Any]) -> None:
    """Read through before the model is loaded, so that a mistake in the file is told at once."""
    from functools import partial

    from nlp_ft.inference.files import answer_file, check_file

    task = check_file(
        args.input,
        args.output,
        text_column_names=args.text_column_names,
        text_pair_column_name=args.text_pair_column_name,
        text_column_delimiter=args.text_column_delimiter,
        delimiter=args.delimiter,
    )
    from nlp_ft.inference.load import load

    classifier = load(args.model, args.revision)
    answer = partial(classifier.predict, batch_size=args.batch_size, **options)
    answer_file(task, classifier, answer, options)
