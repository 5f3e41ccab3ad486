"""`nlp-ft push`, and the push at the end of a run. Heavy imports wait."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nlp_ft.argv import Parser
from nlp_ft.errors import ConfigError, NlpFtError, PushError

if TYPE_CHECKING:
    from transformers import TrainingArguments

_SECONDS, _BYTES_A_SECOND = 1800.0, 1e6


@dataclass(frozen=True)
class Destination:
    """Where a model goes, and how: as the flags `--hub_model_id` and so on have it. timeout: seconds for the Hub in all."""

    repo: str
    private: bool | None = None
    revision: str | None = None
    create_pr: bool = False
    licence: str | None = None
    timeout: float | None = None

    def command(self, directory: Path) -> str:
        """The same push by itself."""
        parts = ["nlp-ft", "push", "--model", str(directory), "--hub_model_id", self.repo]
        if self.private is not None:
            parts += ["--hub_private_repo", str(self.private).lower()]
        for flag, value in (("hub_revision", self.revision), ("hub_license", self.licence)):
            parts += [f"--{flag}", value] if value else []
        return shlex.join([*parts, *(["--hub_create_pr"] if self.create_pr else [])])


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


def after_run(
    directory: Path,
    training: TrainingArguments,
    create_pr: bool = False,
    licence: str | None = None,
    timeout: float | None = None,
) -> None:
    """Push what a run has saved and reported, where `--push_to_hub` asks for it; on one process only.

    Raises: PushError, whose line says that the model is trained and how to push it by itself.
    """
    if not training.push_to_hub:
        return
    where = Destination(
        str(training.hub_model_id), training.hub_private_repo, training.hub_revision, create_pr, licence, timeout
    )
    try:
        send_directory(directory, where)
    except NlpFtError as error:
        raise PushError(
            f"trained, {error}" if isinstance(error, PushError) else _failed(error, directory, where)
        ) from None


def send_directory(directory: Path, where: Destination) -> None:
    """Check, stage, prove, send, and say what was done.

    Raises: ConfigError for a name that is none, no token or no network; PushError for everything after that.
    """
    from huggingface_hub import get_token

    from nlp_ft.training_flags import check_destination

    check_destination(where.repo)
    if where.timeout is not None and not where.timeout > 0:
        raise ConfigError(f"--hub_timeout must be above 0, got {where.timeout}.")
    if not directory.is_dir():
        raise ConfigError(f"--model {directory}: no such directory; a push takes one that was fine-tuned here.")
    with tempfile.TemporaryDirectory(prefix="nlp_ft_push_") as folder:
        try:
            _send(directory, Path(folder), where, get_token())
        except NlpFtError as error:
            raise PushError(_failed(error, directory, where).removeprefix("trained, ")) from None


def _failed(error: NlpFtError, directory: Path, where: Destination) -> str:
    line = str(error).rstrip(".")
    return f"trained, not pushed: {line}. The model is in {directory}, as it was; then: {where.command(directory)}"


def _send(directory: Path, folder: Path, where: Destination, token: str | None) -> None:
    from nlp_ft.push.job import Job
    from nlp_ft.push.process import send
    from nlp_ft.push.proof import prove
    from nlp_ft.push.staging import stage

    staged = stage(directory, folder, where.repo, token, where.licence)
    for note in staged.notes:
        _say(note)
    if staged.left:
        _say(f"stays here: {', '.join(staged.left)}")
    difference = prove(directory, staged)
    _say(
        f"{len(staged.files)} files, {staged.size / 1e6:.1f} MB, load in a fresh process and answer alike ({difference:.1g})"
    )
    seconds = where.timeout or _SECONDS + staged.size / _BYTES_A_SECOND
    job = Job(where.repo, str(folder), staged.files, where.private, where.revision, where.create_pr)
    found = send(job, seconds)
    for note in found["notes"]:
        _say(note)
    if not found["sent"] and not found["removed"]:
        _say(f"nothing to push: {where.repo} holds these very files ({found['url']})")
        return
    privacy = "" if where.private is False else ", private (--hub_private_repo false makes a public one)"
    _say(f"pushed {len(found['sent'])} files to {where.repo}{privacy}: {found['url']}")
    if found["removed"]:
        _say(f"removed there, of an earlier model: {', '.join(found['removed'])}")


def _say(line: str) -> None:
    print(f"push: {line}", flush=True)
