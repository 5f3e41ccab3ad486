"""`nlp-ft push`: a fine-tuned directory to the Hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nlp_ft.cli.arguments import Parser
from nlp_ft.hub.push import Destination, send_directory


def push(argv: Sequence[str]) -> None:
    """Push a fine-tuned directory to the Hub, as one commit; private unless told otherwise."""
    parser = Parser(prog="nlp-ft push", description=push.__doc__, allow_abbrev=False)
    parser.add_argument("--model", required=True, help="a fine-tuned directory")
    parser.add_argument("--hub_model_id", required=True, help="its name on the Hub: owner/name")
    parser.add_argument(
        "--hub_private_repo",
        nargs="?",
        const="true",
        choices=["true", "false"],
        help="false: everybody may see it (default: private)",
    )
    parser.add_argument("--hub_revision", help="branch to push to (default main); made where it is missing")
    parser.add_argument("--hub_create_pr", action="store_true", help="a pull request instead of a commit on the branch")
    parser.add_argument("--hub_license", help="licence in the card, such as apache-2.0 (default: none is named)")
    parser.add_argument("--hub_timeout", type=float, help="seconds for the Hub in all (default 1800, and 1 a megabyte)")
    args = parser.parse(argv)
    private = None if args.hub_private_repo is None else args.hub_private_repo == "true"
    send_directory(
        Path(args.model),
        Destination(
            args.hub_model_id, private, args.hub_revision, args.hub_create_pr, args.hub_license, args.hub_timeout
        ),
    )
