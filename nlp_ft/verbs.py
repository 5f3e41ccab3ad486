"""The verbs of `nlp-ft`: predict and evaluate, which work on a fine-tuned directory, and data. Heavy imports wait."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nlp_ft.argv import Parser, require_free_path
from nlp_ft.errors import ConfigError

if TYPE_CHECKING:
    from nlp_ft.inference import Prediction


def _parser(verb: str, about: str | None) -> Parser:
    parser = Parser(prog=f"nlp-ft {verb}", description=about, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="a fine-tuned directory or a name on the Hub")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a Hub name (default main)")
    parser.add_argument("--batch_size", type=int, default=32, help="rows at a time (default 32)")
    parser.add_argument("--text_column_names", help="text column, or two for a pair; found where not given")
    parser.add_argument("--text_pair_column_name", help="second text of a pair")
    parser.add_argument("--text_column_delimiter", help="joins several text columns")
    parser.add_argument("--delimiter", help="what delimits the cells of a CSV file; found where not given")
    return parser


def predict(argv: Sequence[str]) -> None:
    """Label the texts of a file, or those given with --text."""
    parser = _parser("predict", predict.__doc__)
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
        from nlp_ft.loading import load

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

    from nlp_ft.bulk import answer_file, check_file

    task = check_file(
        args.input,
        args.output,
        text_column_names=args.text_column_names,
        text_pair_column_name=args.text_pair_column_name,
        text_column_delimiter=args.text_column_delimiter,
        delimiter=args.delimiter,
    )
    from nlp_ft.loading import load

    classifier = load(args.model, args.revision)
    answer = partial(classifier.predict, batch_size=args.batch_size, **options)
    answer_file(task, classifier, answer, options)


def evaluate(argv: Sequence[str]) -> None:
    """Score a fine-tuned model on a labelled file."""
    parser = _parser("evaluate", evaluate.__doc__)
    parser.add_argument("--input", required=True, help="CSV, TSV, JSONL or Parquet with texts and labels")
    parser.add_argument("--label_column_name", help="label column; found where not given")
    parser.add_argument("--output", help="JSON to write the metrics to; they are printed in any case")
    args = parser.parse(argv)
    require_free_path(args.output, "nlp-ft evaluate: --output", ".json")
    from nlp_ft.calibration import expected_calibration_error
    from nlp_ft.data import load_labelled
    from nlp_ft.loading import load
    from nlp_ft.metrics import compute_metrics, confusion_matrix, per_class_table
    from nlp_ft.report import texts_of, write_json
    from nlp_ft.scores import probabilities
    from nlp_ft.tables import format_confusion, format_per_class

    classifier = load(args.model, args.revision)
    rows, notes = load_labelled(
        args.input,
        classifier.labels,
        classifier.problem_type,
        args.text_column_names,
        args.text_pair_column_name,
        args.label_column_name,
        args.text_column_delimiter,
        delimiter=args.delimiter,
    )
    for note in notes:
        print(note, file=sys.stderr)
    raw, labels = classifier.logits(texts_of(rows), args.batch_size), rows["label"][:]
    logits = classifier.answering.applied(classifier.problem_type, raw, classifier.labels)
    metrics = compute_metrics(classifier.problem_type, logits, labels, classifier.labels)
    if classifier.problem_type == "single_label_classification":
        metrics["ece"] = expected_calibration_error(probabilities(classifier.problem_type, logits), labels)
    print("\n".join(f"{name:<20}{value:.4f}" for name, value in metrics.items()))
    if classifier.labels:
        table = per_class_table(classifier.problem_type, logits, labels, classifier.labels)
        print(f"\n{format_per_class(table)}")
    if classifier.problem_type == "single_label_classification":
        print(f"\n{format_confusion(confusion_matrix(logits, labels, classifier.labels), classifier.labels)}")
    if args.output:
        write_json(Path(args.output), metrics)


def data(argv: Sequence[str]) -> int:
    """Check labelled texts: nlp-ft data check train.csv."""
    from nlp_ft.checks.command import main

    return main(argv)


def export(argv: Sequence[str]) -> int | None:
    """Write a fine-tuned model as ONNX or OpenVINO, with a table of parity and speed."""
    from nlp_ft.export.command import export as run

    return run(argv)


def push(argv: Sequence[str]) -> int | None:
    """Push a fine-tuned directory to the Hub, checked and in one commit."""
    from nlp_ft.push.command import push as run

    return run(argv)


def explain(argv: Sequence[str]) -> int | None:
    """Show which words speak for an answer."""
    from nlp_ft.explaining_command import explain_command

    return explain_command(argv)


VERBS: dict[str, Callable[[Sequence[str]], int | None]] = {
    "predict": predict,
    "evaluate": evaluate,
    "explain": explain,
    "export": export,
    "push": push,
    "data": data,
}
