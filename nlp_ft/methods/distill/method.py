"""The run of `nlp-ft distill`, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nlp_ft.errors import ConfigError
from nlp_ft.methods.distill.arguments import DistillArguments

if TYPE_CHECKING:
    from nlp_ft.training.job import Settings
    from nlp_ft.training.run_report import RunReport


def run(*arguments: Any, frames: Mapping[str, Any] | None = None) -> RunReport:
    """Data, teacher, student, the teacher's answers to every training text, control where asked for, training, report.

    arguments: as `flags.parse(*ARGUMENTS)` returns them. frames: a data frame for train, validation or test, in place of its
    file. Raises: ConfigError for a teacher of other labels, and flags that do not go with a teacher; else as `training.fit`.
    """
    from nlp_ft.hub.push import push_if_asked
    from nlp_ft.methods.distill.job import control_job, student_job
    from nlp_ft.methods.distill.report import complete
    from nlp_ft.methods.distill.teacher import Teacher
    from nlp_ft.training import controls
    from nlp_ft.training.fit import finish, train
    from nlp_ft.training.job import Settings, read

    settings = Settings.of("distill", arguments)
    _check(settings)
    data = read(settings, frames)
    _check_problem(settings, data.problem_type)
    teacher = Teacher(settings.own.teacher_name_or_path, data, settings.training.device)
    against = [controls.as_control("teacher", "the teacher", teacher.answers(data.test), data)]
    job = student_job(data, settings, teacher)
    if settings.fit.with_control:
        against.append(controls.run_control(control_job(job, settings), "labels", "the same student without a teacher"))
    report = finish(job, train(job), controls=against)
    return push_if_asked(complete(report, job.data, settings), settings)


def _check(settings: Settings) -> None:
    """Refuse what cannot be had with a teacher. Raises: ConfigError."""
    own: DistillArguments = settings.own
    if settings.augment.mixes:
        raise ConfigError(
            "--augment mixup: the teacher has not read the mixed rows; use operations that write new texts."
        )
    if settings.data.num_folds is not None:
        raise ConfigError(
            "--num_folds: the teacher may have been trained on the rows that a fold is tested on; leave it out."
        )
    if "attention" in (own.match or ()) and settings.model.attn_implementation not in (None, "eager"):
        raise ConfigError(
            f"--match attention needs --attn_implementation eager, got {settings.model.attn_implementation}; the others do "
            "not tell their probabilities."
        )
    if not own.match and "match_weight" in (settings.given or ()):
        raise ConfigError("--match_weight needs --match.")
    if settings.fit.with_control and own.alpha == 0 and not own.match:
        raise ConfigError("--with_control: with --alpha 0 and no --match there is no teacher to be measured.")


def _check_problem(settings: Settings, problem_type: str) -> None:
    if problem_type == "regression" and "temperature" in (settings.given or ()):
        raise ConfigError("--temperature softens the answers of classes; this problem is a regression.")
