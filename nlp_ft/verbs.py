"""The verbs of `nlp-ft` that work on a fine-tuned directory: predict, evaluate. Heavy imports wait until a verb runs."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from nlp_ft.errors import ConfigError, did_you_mean


class _Parser(argparse.ArgumentParser):
    """argparse whose refusals are ConfigError, one line each."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{self.prog}: {message}.")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        known = [option.lstrip("-") for action in self._actions for option in action.option_strings]
        args, rest = self.parse_known_args(argv)
        if rest:
            raise ConfigError(f"{self.prog}: unknown flag '{rest[0]}'.{did_you_mean(rest[0].lstrip('-'), known)}")
        return args


def _parser(verb: str, about: str | None) -> _Parser:
    parser = _Parser(prog=f"nlp-ft {verb}", description=about, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="a fine-tuned directory or a name on the Hub")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a Hub name")
    parser.add_argument("--batch_size", type=int, default=32, help="rows at a time (32)")
    parser.add_argument("--text_column_names", help="text column, or two for a pair; found where not given")
    parser.add_argument("--text_pair_column_name", help="second text of a pair")
    return parser


def predict(argv: Sequence[str]) -> None:
    """Label the texts of a file, or those given with --text."""
    parser = _parser("predict", predict.__doc__)
    parser.add_argument("--text", nargs="+", help="texts to label, instead of a file")
    parser.add_argument("--input", help="CSV, TSV, JSONL or Parquet with the texts")
    parser.add_argument("--output", help="CSV to write: the input's columns, prediction, and a score a class")
    args = parser.parse(argv)
    if (args.text is None) == (args.input is None):
        raise ConfigError("nlp-ft predict: give --input or --text, one of the two.")
    if args.input and not args.output:
        raise ConfigError("nlp-ft predict: --input needs --output, the CSV to write.")
    if args.output and Path(args.output).exists():
        raise ConfigError(f"nlp-ft predict: --output {args.output} exists; name another. Nothing is written over.")
    from nlp_ft.inference import load

    if args.text:
        for text, found in zip(args.text, load(args.model, args.revision).predict(args.text), strict=True):
            label = found.label if isinstance(found.label, str) else repr(found.label)
            print(f"{label}\t{found.score:.4f}\t{text}")
        return
    from nlp_ft.data import texts_for_prediction

    rows = texts_for_prediction(args.input, args.text_column_names, args.text_pair_column_name)
    for note in rows.notes:
        print(note, file=sys.stderr)
    classifier = load(args.model, args.revision)
    texts = rows.texts if rows.pairs is None else list(zip(rows.texts, rows.pairs, strict=True))
    _write_predictions(Path(args.output), rows.table.columns, classifier, texts, args.batch_size)
    print(f"{len(texts)} rows labelled, in {args.output}", file=sys.stderr)


def _write_predictions(
    path: Path, columns: dict[str, list[Any]], classifier: Any, texts: Sequence[Any], batch_size: int
) -> None:
    """The input's own columns first; the answers' columns get a `_` where the input has one of that name."""
    found = classifier.predict(texts, batch_size=batch_size)
    heads = ["prediction", *(f"score_{label}" for label in classifier.labels)]
    while set(heads) & set(columns):
        heads = [f"{head}_" for head in heads]
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow([*columns, *heads])
        for i, one in enumerate(found):
            label = ";".join(one.label) if isinstance(one.label, list) else one.label
            cells = ["" if columns[name][i] is None else columns[name][i] for name in columns]
            writer.writerow([*cells, label, *(f"{score:.6f}" for score in one.scores.values())])
    part.replace(path)


def evaluate(argv: Sequence[str]) -> None:
    """Score a fine-tuned model on a labelled file."""
    parser = _parser("evaluate", evaluate.__doc__)
    parser.add_argument("--input", required=True, help="CSV, TSV, JSONL or Parquet with texts and labels")
    parser.add_argument("--label_column_name", help="label column; found where not given")
    parser.add_argument("--output", help="JSON to write the metrics to; they are printed in any case")
    args = parser.parse(argv)
    if args.output and Path(args.output).exists():
        raise ConfigError(f"nlp-ft evaluate: --output {args.output} exists; name another. Nothing is written over.")
    from nlp_ft.data import load_labelled
    from nlp_ft.inference import load
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


VERBS: dict[str, Callable[[Sequence[str]], None]] = {"predict": predict, "evaluate": evaluate}
