"""Push one directory to the Hub: staged, verified, uploaded in one commit."""

from __future__ import annotations

import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nlp_ft.errors import ConfigError, NlpFtError, PushError

if TYPE_CHECKING:
    from transformers import TrainingArguments

    from nlp_ft.training.job import Settings
    from nlp_ft.training.run_report import RunReport


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


def push_if_asked(report: RunReport, settings: Settings) -> RunReport:
    """Push the run's directory, where --push_to_hub asks for it; the last thing that a run does.

    Returns: the report. Raises: PushError, as `after_run`.
    """
    from accelerate import PartialState

    if PartialState().is_main_process:
        hub = settings.hub
        after_run(report.output_dir, settings.training, hub.hub_create_pr, hub.hub_license, hub.hub_timeout)
    return report


def send_directory(directory: Path, where: Destination) -> None:
    """Check, stage, prove, send, and say what was done.

    Raises: ConfigError for a name that is none, no token or no network; PushError for everything after that.
    """
    from huggingface_hub import get_token

    from nlp_ft.config.training_arguments import check_destination

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
    from nlp_ft.hub.push_request import Job
    from nlp_ft.hub.run_worker import send
    from nlp_ft.hub.staging import stage
    from nlp_ft.hub.verify import prove

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
