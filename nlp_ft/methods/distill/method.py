"""Steps of an `nlp-ft distill` run."""

from __future__ import annotations

from collections.abc import Mapping

from nlp_ft.errors import ConfigError
from nlp_ft.hub.push import push_if_asked
from nlp_ft.methods.distill.arguments import DistillArguments
from nlp_ft.methods.distill.job import control_job, student_job
from nlp_ft.methods.distill.report import comparison
from nlp_ft.methods.distill.teacher import Teacher
from nlp_ft.training import controls, fit
from nlp_ft.training.job import read
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Train a student on the teacher's logits and labels, and report.

    arguments: as `parse(*ARGUMENTS)` returns them. frames: data frames by split (train, validation, test), in place of files.
    Raises: ConfigError for a teacher with other labels, and flags that do not work with a teacher; else as `training.fit`.
    """
    settings = Settings.of("distill", arguments, DistillArguments)
    _check(settings)
    data = read(settings, frames)
    _check_problem(settings, data.problem_type)
    teacher = Teacher(settings.method_arguments.teacher_name_or_path, data, settings.training.device)
    baselines = [controls.as_control("teacher", "the teacher", teacher.logits(data.test), data)]
    job = student_job(data, settings, teacher)
    if settings.fit.with_control:
        baselines.append(
            controls.run_control(control_job(job, settings), "labels", "the same student without a teacher")
        )
    report = fit.finish(job, fit.train(job), controls=baselines, measure=comparison(job.data, settings))
    return push_if_asked(report, settings)


def _check(settings: Settings[DistillArguments]) -> None:
    """Check for flags that do not work with a teacher. Raises: ConfigError."""
    args = settings.method_arguments
    if settings.augment.mixes:
        raise ConfigError(
            "--augment mixup: the teacher has no logits for mixed rows; use operations that write new texts."
        )
    if settings.data.num_folds is not None:
        raise ConfigError(
            "--num_folds: the teacher may have been trained on the rows that a fold is tested on; leave it out."
        )
    if "attention" in (args.match or ()) and settings.model.attn_implementation not in (None, "eager"):
        raise ConfigError(
            f"--match attention needs --attn_implementation eager, got {settings.model.attn_implementation}; the others do "
            "not return attention probabilities."
        )
    if not args.match and "match_weight" in (settings.explicit or ()):
        raise ConfigError("--match_weight needs --match.")
    if settings.fit.with_control and args.alpha == 0 and not args.match:
        raise ConfigError("--with_control: with --alpha 0 and no --match the teacher has no effect to measure.")


def _check_problem(settings: Settings[DistillArguments], problem_type: str) -> None:
    if problem_type == "regression" and "temperature" in (settings.explicit or ()):
        raise ConfigError("--temperature applies to classes; this problem is a regression.")
