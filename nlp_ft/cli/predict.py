"""`nlp-ft predict`: labels for the texts of a file or of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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
        help="CSV, JSONL or Parquet to write: the input's columns, the prediction and a score per class; the same command "
        "resumes an interrupted run",
    )
    parser.add_argument("--top_k", type=int, help="number of classes with a score per text")
    parser.add_argument("--abstain_below", type=float, help="withhold the label below this probability")
    parser.add_argument("--return_logits", action="store_true", help="add the raw logits (files only)")
    parser.add_argument(
        "--long_documents",
        choices=("window", "truncate"),
        help="texts longer than the model's limit: windows (default; if given, a column has their number) or "
        "truncation",
    )
    args = parser.parse(argv)
    if (args.text is None) == (args.input is None):
        raise ConfigError("nlp-ft predict: give either --input or --text.")
    if (args.output is None) != (args.input is None):
        raise ConfigError("nlp-ft predict: --input and --output, the file to write, go together.")
    names = ("top_k", "abstain_below", "return_logits", "long_documents")
    options = {name: getattr(args, name) for name in names if getattr(args, name)}
    if args.text:
        from nlp_ft.inference.load import load

        predictions = load(args.model, args.revision).predict(args.text, args.batch_size, **options)
        print(_lines(args.text, predictions))
    else:
        _predict_file(args, options)


def _lines(texts: Sequence[str], predictions: Sequence[Prediction]) -> str:
    """Format one line per text: label, its score (none for a regression), text."""
    labels = [_label(prediction) for prediction in predictions]
    width = max(map(len, labels))
    scores = [f"  {prediction.score:.4f}" if prediction.scores else "" for prediction in predictions]
    return "\n".join(
        f"{label:<{width}}{score}  {text}" for label, score, text in zip(labels, scores, texts, strict=True)
    )


def _label(prediction: Prediction) -> str:
    """Format a label.

    A class name, names joined by `;`, a number, or `-` if it was withheld.
    """
    if prediction.label is None or isinstance(prediction.label, str):
        return prediction.label or "-"
    return ";".join(prediction.label) if isinstance(prediction.label, list) else f"{prediction.label:.6g}"


def _predict_file(args: argparse.Namespace, options: Mapping[str, object]) -> None:
    """Predict a file.

    It is checked before the model is loaded, so that an error in it comes at once.
    """
    from functools import partial

    from nlp_ft.inference.files import check_file, predict_to_file

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
    predict_to_file(task, classifier, answer, options)
