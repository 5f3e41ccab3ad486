"""Push a directory to the Hub: stage, verify, upload in one commit."""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nlp_ft.errors import ConfigError, NlpFtError, PushError

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from nlp_ft.training.run_report import RunReport
    from nlp_ft.training.settings import Settings


_MIN_TIMEOUT, _MIN_BYTES_PER_SECOND = 1800.0, 1e6  # of the default timeout


@dataclass(frozen=True)
class Destination:
    """The destination of a push, named as the `--hub_*` flags.

    timeout: seconds for all requests together.
    """

    repo: str
    private: bool | None = None
    revision: str | None = None
    create_pr: bool = False
    licence: str | None = None
    timeout: float | None = None

    def command(self, directory: Path) -> str:
        """Return the command line of this push."""
        parts = ["nlp-ft", "push", "--model", str(directory), "--hub_model_id", self.repo]
        if self.private is not None:
            parts += ["--hub_private_repo", str(self.private).lower()]
        for flag, value in (("hub_revision", self.revision), ("hub_license", self.licence)):
            parts += [f"--{flag}", value] if value else []
        return shlex.join([*parts, *(["--hub_create_pr"] if self.create_pr else [])])


def after_run(
    directory: Path,
    training: TrainingArguments,
    create_pr: bool = False,
    licence: str | None = None,
    timeout: float | None = None,
) -> None:
    """Push the directory of a finished run if `--push_to_hub` is set.

    To be called on rank 0 only.
    Raises: PushError, which says that the model is trained and gives the command that pushes it.
    """
    if not training.push_to_hub:
        return
    destination = Destination(
        str(training.hub_model_id), training.hub_private_repo, training.hub_revision, create_pr, licence, timeout
    )
    try:
        send_directory(directory, destination)
    except NlpFtError as error:
        line = str(error) if isinstance(error, PushError) else _failed(error, directory, destination)
        raise PushError(f"trained, {line}") from None


def push_if_asked(report: RunReport, settings: Settings) -> RunReport:
    """Push the run's directory if --push_to_hub is set; the last step of a run.

    Returns: the report. Raises: PushError, as `after_run`.
    """
    from accelerate import PartialState

    if PartialState().is_main_process:
        hub = settings.hub
        after_run(report.output_dir, settings.training, hub.hub_create_pr, hub.hub_license, hub.hub_timeout)
    return report


def send_directory(directory: Path, destination: Destination) -> None:
    """Check, stage, verify and upload a directory, and print a line for each step.

    Raises: ConfigError for an invalid name or timeout and for a missing directory; PushError for everything after that.
    """
    from huggingface_hub import get_token

    from nlp_ft.config.training_arguments import check_destination

    check_destination(destination.repo)
    if destination.timeout is not None and not destination.timeout > 0:
        raise ConfigError(f"--hub_timeout must be above 0, got {destination.timeout}.")
    if not directory.is_dir():
        raise ConfigError(f"--model {directory}: no such directory; a push takes one that was fine-tuned here.")
    with tempfile.TemporaryDirectory(prefix="nlp_ft_push_") as folder:
        try:
            _send(directory, Path(folder), destination, get_token())
        except NlpFtError as error:
            raise PushError(_failed(error, directory, destination)) from None


def _failed(error: NlpFtError, directory: Path, destination: Destination) -> str:
    line = str(error).rstrip(".")
    return f"not pushed: {line}. The model in {directory} is unchanged; to push it: {destination.command(directory)}"


def _send(directory: Path, folder: Path, destination: Destination, token: str | None) -> None:
    from nlp_ft.hub.push_request import PushRequest
    from nlp_ft.hub.run_worker import send
    from nlp_ft.hub.staging import stage
    from nlp_ft.hub.verify import verify

    staged = stage(directory, folder, destination.repo, token, destination.licence)
    for note in staged.notes:
        _log(note)
    if staged.skipped:
        _log(f"not pushed: {', '.join(staged.skipped)}")
    difference = verify(directory, staged)
    _log(
        f"{len(staged.files)} files, {staged.size / 1e6:.1f} MB, load in a fresh process and give the same logits "
        f"({difference:.1g})"
    )
    seconds = destination.timeout or _MIN_TIMEOUT + staged.size / _MIN_BYTES_PER_SECOND
    request = PushRequest(
        destination.repo, str(folder), staged.files, destination.private, destination.revision, destination.create_pr
    )
    result = send(request, seconds)
    for note in result["notes"]:
        _log(note)
    if not result["sent"] and not result["removed"]:
        _log(f"nothing to push: {destination.repo} has the same files ({result['url']})")
        return
    privacy = "" if destination.private is False else ", private (--hub_private_repo false: public)"
    _log(f"pushed {len(result['sent'])} files to {destination.repo}{privacy}: {result['url']}")
    if result["removed"]:
        _log(f"removed from there, files of an earlier model: {', '.join(result['removed'])}")


def _log(line: str) -> None:
    print(f"push: {line}", flush=True)
