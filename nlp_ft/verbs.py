"""The verbs of `nlp-ft`: predict and evaluate, which work on a fine-tuned directory, and data. Heavy imports wait."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
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
    parser.add_argument("--input", help="CSV, TSV, JSONL or Parquet with the texts")
    parser.add_argument("--output", help="CSV to write: the input's columns, prediction, and a score a class")
    args = parser.parse(argv)
    if (args.text is None) == (args.input is None):
        raise ConfigError("nlp-ft predict: give --input or --text, one of the two.")
    if (args.output is None) != (args.input is None):
        raise ConfigError("nlp-ft predict: --input and --output, the CSV to write, go together.")
    require_free_path(args.output, "nlp-ft predict: --output", ".csv")
    if args.text:
        from nlp_ft.loading import load

        found = load(args.model, args.revision).predict(args.text, args.batch_size)
        print(_lines(args.text, found))
    else:
        _predict_file(args)


def _lines(texts: Sequence[str], found: Sequence[Prediction]) -> str:
    """One text a line: label, its probability, the text; a regression's number alone is the answer."""
    labels = [_label(one) for one in found]
    width = max(map(len, labels))
    scores = [f"  {one.score:.4f}" if one.scores else "" for one in found]
    return "\n".join(f"{a:<{width}}{s}  {text}" for a, s, text in zip(labels, scores, texts, strict=True))


def _label(one: Prediction) -> str:
    """A label as a table has it: a class name, names joined by `;`, or a number."""
    if isinstance(one.label, list):
        return ";".join(one.label)
    return one.label if isinstance(one.label, str) else f"{one.label:.6g}"


def _predict_file(args: argparse.Namespace) -> None:
    """Read before the model is loaded, so that a mistake in the file is told at once."""
    from nlp_ft.data import texts_for_prediction

    rows = texts_for_prediction(
        args.input,
        args.text_column_names,
        args.text_pair_column_name,
        args.text_column_delimiter,
        delimiter=args.delimiter,
    )
    for note in rows.notes:
        print(note, file=sys.stderr)
    from nlp_ft.loading import load

    classifier = load(args.model, args.revision)
    texts = rows.texts if rows.pairs is None else list(zip(rows.texts, rows.pairs, strict=True))
    found = classifier.predict(texts, args.batch_size)
    _write_predictions(Path(args.output), rows.table.columns, classifier.labels, found)
    print(f"{len(texts)} rows labelled, in {args.output}", file=sys.stderr)


def _write_predictions(
    path: Path, columns: dict[str, Sequence[Any]], labels: Sequence[str], found: Sequence[Prediction]
) -> None:
    """The input's own columns first; the answers' columns get a `_` where the input has one of that name."""
    heads = ["prediction", *(f"score_{label}" for label in labels)]
    while set(heads) & set(columns):
        heads = [f"{head}_" for head in heads]
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow([*columns, *heads])
        for one, row in zip(found, zip(*columns.values(), strict=True), strict=True):
            cells = ["" if cell is None else cell for cell in row]
            writer.writerow([*cells, _label(one), *(f"{score:.6f}" for score in one.scores.values())])
    part.replace(path)


def evaluate(argv: Sequence[str]) -> None:
    """Score a fine-tuned model on a labelled file."""
    parser = _parser("evaluate", evaluate.__doc__)
    parser.add_argument("--input", required=True, help="CSV, TSV, JSONL or Parquet with texts and labels")
    parser.add_argument("--label_column_name", help="label column; found where not given")
    parser.add_argument("--output", help="JSON to write the metrics to; they are printed in any case")
    args = parser.parse(argv)
    require_free_path(args.output, "nlp-ft evaluate: --output", ".json")
    from nlp_ft.data import load_labelled
    from nlp_ft.loading import load
    from nlp_ft.metrics import compute_metrics, confusion_matrix, per_class_table
    from nlp_ft.report import texts_of, write_json
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
    logits = classifier.logits(texts_of(rows), args.batch_size)
    labels = rows["label"][:]
    metrics = compute_metrics(classifier.problem_type, logits, labels, classifier.labels)
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


VERBS: dict[str, Callable[[Sequence[str]], int | None]] = {"predict": predict, "evaluate": evaluate, "data": data}
