"""`nlp-ft evaluate`: metrics of a model on labelled rows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from nlp_ft.cli.arguments import model_parser, require_free_path
from nlp_ft.config.files import check_files
from nlp_ft.config.names import check_hub_model, check_model
from nlp_ft.config.validators import label_delimiter


def evaluate(argv: Sequence[str]) -> None:
    """Score a fine-tuned model on a labelled file."""
    parser = model_parser("evaluate", evaluate.__doc__)
    parser.add_argument("--input", required=True, help="CSV, TSV, JSONL or Parquet with texts and labels")
    parser.add_argument("--label_column_name", help="label column; detected if not given")
    parser.add_argument("--label_delimiter", help="what delimits several labels in a cell; detected if not given")
    parser.add_argument(
        "--merge_label_spellings",
        action="store_true",
        help="take a label that differs from a known one in spelling alone for it",
    )
    parser.add_argument("--output", help="JSON file for the metrics, which are printed too")
    args = parser.parse(argv)
    require_free_path(args.output, "nlp-ft evaluate: --output", ".json")
    check_files([args.input])
    check_model(args.model, args.revision)
    check_hub_model(args.model, args.revision)
    delimiter = None if args.label_delimiter is None else label_delimiter(args.label_delimiter)
    from nlp_ft.data import load_labelled, reading_of, texts_or_pairs
    from nlp_ft.evaluation.calibration import expected_calibration_error
    from nlp_ft.evaluation.metrics import compute_metrics, confusion_matrix, per_class_table
    from nlp_ft.evaluation.probabilities import probabilities
    from nlp_ft.evaluation.report.tables import format_confusion, format_per_class
    from nlp_ft.inference.load import load
    from nlp_ft.utils import write_json

    classifier = load(args.model, args.revision)
    rows, notes = load_labelled(
        args.input,
        classifier.labels,
        classifier.problem_type,
        args.text_column_names,
        args.text_pair_column_name,
        args.label_column_name,
        args.text_column_delimiter,
        **reading_of(args),
        label_delimiter=delimiter,
        merge_label_spellings=args.merge_label_spellings,
    )
    for note in notes:
        print(note, file=sys.stderr)
    raw, labels = classifier.logits(texts_or_pairs(rows), args.batch_size), rows["label"][:]
    logits = classifier.inference_config.applied(classifier.problem_type, raw, classifier.labels)
    metrics = compute_metrics(classifier.problem_type, logits, labels, classifier.labels)
    if classifier.problem_type == "single_label_classification":
        metrics["ece"] = expected_calibration_error(probabilities(classifier.problem_type, logits), labels)
    if args.output:  # before printing, whose reader may have gone
        write_json(Path(args.output), metrics)
    print("\n".join(f"{name:<20}{value:.4f}" for name, value in metrics.items()))
    if classifier.labels:
        table = per_class_table(classifier.problem_type, logits, labels, classifier.labels)
        print(f"\n{format_per_class(table)}")
    if classifier.problem_type == "single_label_classification":
        print(f"\n{format_confusion(confusion_matrix(logits, labels, classifier.labels), classifier.labels)}")
