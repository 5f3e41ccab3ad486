"""`nlp-ft predict`: labels for the texts of a file, a pipe or the command line."""

from __future__ import annotations

import argparse
import codecs
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nlp_ft.cli.arguments import model_parser
from nlp_ft.config.files import check_files
from nlp_ft.config.names import check_hub_model, check_model
from nlp_ft.config.validators import known_encoding
from nlp_ft.errors import ConfigError, DataError
from nlp_ft.inference.options import PredictOptions, check_options

if TYPE_CHECKING:
    from nlp_ft.data import Columns, Table
    from nlp_ft.inference.classifier import Classifier
    from nlp_ft.inference.files.pipes import PipedTexts
    from nlp_ft.inference.prediction import Prediction

_PIPE = "-"
_COLUMNS = ("text_column_names", "text_pair_column_name", "text_column_delimiter")
_READING = ("delimiter", "column_names", "file_format", "encoding", "quoting")
_OF_FILES = (*_COLUMNS, *_READING, "skip_bad_rows")


def predict(argv: Sequence[str]) -> None:
    """Label the texts of a file, of a pipe, or those given with --text."""
    parser = model_parser("predict", predict.__doc__)
    parser.add_argument(
        "--text", nargs="+", action="extend", help="texts instead of a file; one that begins with - is --text=TEXT"
    )
    parser.add_argument("--text_pair", nargs="+", action="extend", help="second texts, for a model of text pairs")
    parser.add_argument(
        "--input",
        help="CSV, TSV, JSONL or Parquet with the texts, of any size; - is standard input: JSON lines, or a text a line",
    )
    parser.add_argument(
        "--output",
        help="CSV, JSONL or Parquet to write: the input's columns, the prediction and a score per class; the same command "
        "resumes an interrupted run; - is standard output, as JSON lines",
    )
    parser.add_argument("--top_k", type=int, help="number of classes with a score per text")
    parser.add_argument("--all_scores", action="store_true", help="the score of every class, with --text")
    parser.add_argument("--abstain_below", type=float, help="withhold the label below this probability")
    parser.add_argument("--return_logits", action="store_true", help="add the raw logits")
    parser.add_argument(
        "--long_documents",
        choices=("window", "truncate"),
        help="texts longer than the model's limit: windows (default; if given, a column has their number) or "
        "truncation",
    )
    parser.add_argument("--skip_bad_rows", action="store_true", help="leave out rows that have no text, and count them")
    args = parser.parse(argv)
    _check(args)
    options = PredictOptions()
    for name in ("top_k", "abstain_below", "long_documents"):
        if (value := getattr(args, name)) is not None:  # 0 is a value, too
            options[name] = value
    if args.return_logits:
        options["return_logits"] = True
    if args.text is not None:
        _predict_texts(args, options)
    elif args.input == _PIPE:
        _predict_pipe(args, options)
    else:
        _predict_file(args, options)


def _check(args: argparse.Namespace) -> None:
    """Refuse what cannot be done, before anything is loaded. Raises: ConfigError, ModelError."""
    if (args.text is None) == (args.input is None):
        raise ConfigError("nlp-ft predict: give either --input or --text.")
    if (args.output is None) != (args.input is None):
        raise ConfigError("nlp-ft predict: --input and --output, the file to write, go together.")
    if args.text is not None:
        for name in (*_COLUMNS, *_READING, "skip_bad_rows"):
            if getattr(args, name):
                raise ConfigError(f"nlp-ft predict: --{name} goes with --input, not with --text.")
        if args.text_pair is not None and len(args.text_pair) != len(args.text):
            raise ConfigError(
                f"nlp-ft predict: {len(args.text)} --text and {len(args.text_pair)} --text_pair; wanted the same number."
            )
        if args.all_scores and args.top_k is not None:
            raise ConfigError("nlp-ft predict: --all_scores shows every class, --top_k some; give one of the two.")
    elif args.all_scores or args.text_pair is not None:
        flag, instead = (
            ("--all_scores", "a file has every score") if args.all_scores else ("--text_pair", "name a column")
        )
        raise ConfigError(f"nlp-ft predict: {flag} goes with --text; {instead}.")
    if args.encoding is not None:
        known_encoding(args.encoding)
    if args.input not in (None, _PIPE):
        check_files([args.input])
    check_options(top_k=args.top_k, abstain_below=args.abstain_below)
    check_model(args.model, args.revision)


def _load(args: argparse.Namespace, options: PredictOptions) -> Classifier:
    check_hub_model(args.model, args.revision)
    from nlp_ft.inference.load import load

    classifier = load(args.model, args.revision)
    classifier.check_options(**options)
    return classifier


def _predict_texts(args: argparse.Namespace, options: PredictOptions) -> None:
    """Print a line for each text of the command line."""
    classifier = _load(args, options)
    wants_pairs = classifier.inference_config.text_pair
    if wants_pairs is not None and wants_pairs != (args.text_pair is not None):
        raise ConfigError(
            f"nlp-ft predict: {args.model} was trained on "
            + (
                "pairs of texts; give each --text its --text_pair."
                if wants_pairs
                else "single texts; leave --text_pair out."
            )
        )
    texts = args.text if args.text_pair is None else list(zip(args.text, args.text_pair, strict=True))
    predictions = classifier.predict(texts, args.batch_size, **options)
    shown = args.text if args.text_pair is None else [" | ".join(pair) for pair in texts]
    with_scores = args.all_scores or args.top_k is not None
    print(_lines(shown, predictions, with_scores))


def _lines(texts: Sequence[str], predictions: Sequence[Prediction], with_scores: bool) -> str:
    """Format one line per text: label, its score (none for a regression), text.

    Below it, if asked for, the scores of classes, likeliest first, and the logits.
    """
    labels = [_label(prediction) for prediction in predictions]
    width = max(map(len, labels))
    lines = []
    for text, label, prediction in zip(texts, labels, predictions, strict=True):
        score = f"  {prediction.score:.4f}" if prediction.scores else ""
        lines.append(f"{label:<{width}}{score}  {text}")
        if with_scores:
            ranked = sorted(prediction.scores.items(), key=lambda item: -item[1])
            wide = max((len(name) for name, _ in ranked), default=0)
            lines += [f"    {name:<{wide}}  {value:.4f}" for name, value in ranked]
        if prediction.logits is not None:
            lines.append("    logits  " + "  ".join(f"{logit:.4f}" for logit in prediction.logits))
    return "\n".join(lines)


def _label(prediction: Prediction) -> str:
    """Format a label: a class name, names joined by `;`, a number, or `-` if it was withheld."""
    if prediction.label is None or isinstance(prediction.label, str):
        return prediction.label or "-"
    return ";".join(prediction.label) if isinstance(prediction.label, list) else f"{prediction.label:.6g}"


def _predict_file(args: argparse.Namespace, options: PredictOptions) -> None:
    """Predict a file; it is checked before the model is loaded, so that an error in it comes at once."""
    from nlp_ft.data import open_texts
    from nlp_ft.inference.files import check_file, predict_to_file, predict_to_stream

    chosen = {name: getattr(args, name) for name in (*_COLUMNS, *_READING, "skip_bad_rows")}
    if args.output != _PIPE:
        task = check_file(args.input, args.output, **chosen)
        classifier = _load(args, options)
        predict_to_file(task, classifier, partial(classifier.predict, batch_size=args.batch_size, **options), options)
        return
    file = open_texts(args.input, **chosen)
    for note in file.notes:
        _log(note)
    classifier = _load(args, options)
    answer = partial(classifier.predict, batch_size=args.batch_size, **options)
    predict_to_stream(file, sys.stdout.buffer, classifier, answer, options, args.batch_size)


def _predict_pipe(args: argparse.Namespace, options: PredictOptions) -> None:
    """Predict standard input, into JSON lines as it comes, or into a file when it has ended."""
    from nlp_ft.data import find_columns
    from nlp_ft.inference.files import predict_to_stream
    from nlp_ft.inference.files.pipes import PipedTexts

    def find(table: Table) -> Columns:
        names = (args.text_column_names, args.text_pair_column_name, None)
        return find_columns(table, *names, labelled=False, delimiter=args.text_column_delimiter)

    stdin = sys.stdin.buffer if args.encoding is None else codecs.EncodedFile(sys.stdin.buffer, "utf-8", args.encoding)
    piped = PipedTexts(stdin, find, _log, args.skip_bad_rows)
    if args.output != _PIPE or _is_table(args):
        _predict_spooled(args, options, piped)
    else:
        classifier = _load(args, options)
        answer = partial(classifier.predict, batch_size=args.batch_size, **options)
        predict_to_stream(piped, sys.stdout.buffer, classifier, answer, options, args.batch_size)
    if piped.skipped:
        _log(f"{piped.skipped} rows were left out, which have no text (--skip_bad_rows)")


def _is_table(args: argparse.Namespace) -> bool:
    """Whether standard input is a table by the flags, not lines."""
    return any(getattr(args, name) for name in _READING if name != "encoding")


def _predict_spooled(args: argparse.Namespace, options: PredictOptions, piped: PipedTexts) -> None:
    """Write standard input to a temporary file, and predict that; flags of reading say what it is, if not lines."""
    with tempfile.TemporaryDirectory() as folder:
        if _is_table(args):
            spool = Path(folder, f"stdin.{args.file_format or 'csv'}")
            with spool.open("wb") as handle:
                shutil.copyfileobj(sys.stdin.buffer, handle)
        else:
            spool = Path(folder, "stdin.jsonl")
            with spool.open("w", encoding="utf-8") as lines:
                for block in piped.blocks(args.batch_size):
                    lines.writelines(f"{row}\n" for row in block.objects or [])
        try:
            encoding = args.encoding if _is_table(args) else None
            _predict_file(argparse.Namespace(**{**vars(args), "input": str(spool), "encoding": encoding}), options)
        except (ConfigError, DataError) as error:
            raise type(error)(str(error).replace(f"{folder}{os.sep}", "")) from None


def _log(line: str) -> None:
    print(line, file=sys.stderr)
