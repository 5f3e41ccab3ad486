"""`nlp-ft explain`: word attributions of a prediction.

They are shown in the terminal, or written as HTML or JSON.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nlp_ft.cli.arguments import Parser, require_free_path
from nlp_ft.config.names import check_hub_model, check_model
from nlp_ft.errors import ConfigError


def explain_command(argv: Sequence[str]) -> None:
    """Show the words that support or oppose a label, by integrated gradients."""
    parser = Parser(prog="nlp-ft explain", description=explain_command.__doc__, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="a fine-tuned directory or a name on the Hub")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a Hub name (default main)")
    parser.add_argument(
        "--text", nargs="+", action="extend", required=True, help="texts; one that begins with - is --text=TEXT"
    )
    parser.add_argument("--text_pair", nargs="+", action="extend", help="second texts, for a model of text pairs")
    parser.add_argument("--target", help="label to explain (default: the predicted label of each text)")
    parser.add_argument(
        "--steps", type=int, default=32, help="steps of the integral; more reduce its error (default 32)"
    )
    parser.add_argument("--batch_size", type=int, default=8, help="rows at a time (default 8)")
    parser.add_argument("--html", help="HTML file to write")
    parser.add_argument("--json", help="JSON file to write: a list with one object per text")
    args = parser.parse(argv)
    require_free_path(args.html, "nlp-ft explain: --html", ".html")
    require_free_path(args.json, "nlp-ft explain: --json", ".json")
    if args.text_pair is not None and len(args.text_pair) != len(args.text):
        raise ConfigError(
            f"nlp-ft explain: {len(args.text)} --text and {len(args.text_pair)} --text_pair; wanted the same number."
        )
    check_model(args.model, args.revision)
    check_hub_model(args.model, args.revision)
    from nlp_ft.inference.explain.explanation import page
    from nlp_ft.inference.load import load

    texts = args.text if args.text_pair is None else list(zip(args.text, args.text_pair, strict=True))
    classifier = load(args.model, args.revision)
    explanations = classifier.explain(texts, target=args.target, steps=args.steps, batch_size=args.batch_size)
    if args.html:
        Path(args.html).write_text(page(explanations), encoding="utf-8")
    if args.json:
        content = json.dumps([explanation.to_dict() for explanation in explanations], indent=2, ensure_ascii=False)
        Path(args.json).write_text(content + "\n", encoding="utf-8")
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ  # last: who reads it may have gone
    print("\n\n".join(explanation.to_terminal(colour) for explanation in explanations))
