"""`nlp-ft push`: push a fine-tuned directory to the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nlp_ft.cli.arguments import Parser
from nlp_ft.hub.push import Destination, send_directory


def push(argv: Sequence[str]) -> None:
    """Push a fine-tuned directory to the Hub, as one commit; private by default."""
    parser = Parser(prog="nlp-ft push", description=push.__doc__, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="a fine-tuned directory")
    parser.add_argument("--hub_model_id", required=True, help="name on the Hub: owner/name")
    parser.add_argument(
        "--hub_private_repo",
        nargs="?",
        const="true",
        choices=["true", "false"],
        help="false: public (default: private)",
    )
    parser.add_argument("--hub_revision", help="branch to push to (default main); created if missing")
    parser.add_argument(
        "--hub_create_pr", action="store_true", help="open a pull request instead of a commit on the branch"
    )
    parser.add_argument("--hub_license", help="licence in the card, such as apache-2.0 (default: none)")
    parser.add_argument(
        "--hub_timeout", type=float, help="seconds for the whole push (default 1800, plus 1 per megabyte)"
    )
    args = parser.parse(argv)
    private = None if args.hub_private_repo is None else args.hub_private_repo == "true"
    send_directory(
        Path(args.model),
        Destination(
            args.hub_model_id, private, args.hub_revision, args.hub_create_pr, args.hub_license, args.hub_timeout
        ),
    )
