"""`nlp-ft explain`: what the words of a text add to its label, in the terminal, as a page, or as JSON."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nlp_ft.cli.arguments import Parser, require_free_path
from nlp_ft.errors import ConfigError


def explain_command(argv: Sequence[str]) -> None:
    """Show which words of a text speak for its label, and which against (integrated gradients)."""
    parser = Parser(prog="nlp-ft explain", description=explain_command.__doc__, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="a fine-tuned directory or a name on the Hub")
    parser.add_argument("--revision", default="main", help="branch, tag or commit of a Hub name (default main)")
    parser.add_argument(
        "--text", nargs="+", action="extend", required=True, help="texts; one that begins with - is --text=TEXT"
    )
    parser.add_argument("--text_pair", nargs="+", action="extend", help="the second text of each, for a model of pairs")
    parser.add_argument("--target", help="label to explain (default: the likeliest of each text)")
    parser.add_argument(
        "--steps", type=int, default=32, help="of the integral; more make its error smaller (default 32)"
    )
    parser.add_argument("--batch_size", type=int, default=8, help="rows at a time (default 8)")
    parser.add_argument("--html", help="HTML page to write")
    parser.add_argument("--json", help="JSON to write: a list, one object a text")
    args = parser.parse(argv)
    require_free_path(args.html, "nlp-ft explain: --html", ".html")
    require_free_path(args.json, "nlp-ft explain: --json", ".json")
    if args.text_pair is not None and len(args.text_pair) != len(args.text):
        raise ConfigError(
            f"nlp-ft explain: {len(args.text)} --text and {len(args.text_pair)} --text_pair; give as many."
        )
    from nlp_ft.inference.explain.explanation import page
    from nlp_ft.inference.explain.integrated_gradients import explain
    from nlp_ft.inference.load import load

    texts = args.text if args.text_pair is None else list(zip(args.text, args.text_pair, strict=True))
    classifier = load(args.model, args.revision)
    found = explain(classifier, texts, target=args.target, steps=args.steps, batch_size=args.batch_size)
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print("\n\n".join(one.to_terminal(colour) for one in found))
    if args.html:
        Path(args.html).write_text(page(found), encoding="utf-8")
    if args.json:
        said = json.dumps([one.to_dict() for one in found], indent=2, ensure_ascii=False)
        Path(args.json).write_text(said + "\n", encoding="utf-8")
