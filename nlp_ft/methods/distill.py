"""Distil a fine-tuned classifier, the teacher, into a smaller student."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from nlp_ft.augment.arguments import AugmentArguments
from nlp_ft.config import (
    DataArguments,
    FitArguments,
    FreezeArguments,
    HubArguments,
    LongTextArguments,
    LoraArguments,
    ModelArguments,
)
from nlp_ft.errors import ConfigError

if TYPE_CHECKING:
    from nlp_ft.jobs import Settings
    from nlp_ft.report import RunReport

_MATCHES = ("hidden", "attention")


@dataclass(kw_only=True)
class DistillArguments:
    """Distillation: a teacher's answers beside the labels (Hinton et al. 2015, arXiv:1503.02531)."""

    lacks: ClassVar = {
        LongTextArguments: "long texts are cut here; finetune and transfer read them in windows",
    }

    teacher_name_or_path: str = field(
        metadata={"help": "Fine-tuned classifier to imitate, of any architecture; its labels must be the data's."}
    )
    student_layers: str | None = field(
        default=None,
        metadata={
            "help": "Layers of --model_name_or_path (often the teacher itself) that the student keeps: how many, evenly "
            "spaced, or which, counted from 0, such as 0,2,5. All where not given."
        },
    )
    temperature: float = field(
        default=2.0, metadata={"help": "Softens the answers of both; 1 leaves them as they are."}
    )
    alpha: float = field(
        default=0.5, metadata={"help": "Weight of the teacher's answers; 1 - alpha is that of the labels."}
    )
    unlabelled_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "Texts without labels, in the formats and columns of --train_file, to learn the teacher's answers on."
        },
    )
    match: list[str] | None = field(
        default=None,
        metadata={
            "help": "Also matches layers, evenly spaced over the teacher's: hidden (their outputs) and/or attention; both "
            "models must share the tokenizer."
        },
    )
    match_weight: float = field(default=1.0, metadata={"help": "Weight of each of them beside the other losses."})

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        from nlp_ft.student import check_layers

        check_layers(self.student_layers)
        if not 0 < self.temperature < math.inf:  # also catches nan
            raise ConfigError(f"--temperature must be positive and finite, got {self.temperature}.")
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"--alpha must be between 0 and 1, got {self.alpha}.")
        if not 0 < self.match_weight < math.inf:
            raise ConfigError(f"--match_weight must be positive and finite, got {self.match_weight}.")
        for kind in self.match or ():
            if kind not in _MATCHES:
                raise ConfigError(f"--match takes {' and '.join(_MATCHES)}, got '{kind}'.")
        if self.alpha == 0 and self.unlabelled_file:
            raise ConfigError(
                "--alpha 0 asks nothing of the teacher, and --unlabelled_file has nothing else to learn from."
            )


ARGUMENTS = (
    ModelArguments,
    DataArguments,
    AugmentArguments,
    LoraArguments,
    FreezeArguments,
    FitArguments,
    HubArguments,
    DistillArguments,
)


def run(*arguments: Any, frames: Mapping[str, Any] | None = None) -> RunReport:
    """Data, teacher, student, the teacher's answers to every training text, control where asked for, training, report.

    arguments: as `flags.parse(*ARGUMENTS)` returns them. frames: a data frame for train, validation or test, in place of its
    file. Raises: ConfigError for a teacher of other labels, and flags that do not go with a teacher; else as `training.fit`.
    """
    from nlp_ft import controls, jobs, training
    from nlp_ft.methods._distill_jobs import student_job, twin
    from nlp_ft.methods._distill_report import complete
    from nlp_ft.methods._distill_teacher import Teacher

    settings = jobs.Settings.of("distill", arguments)
    _check(settings)
    data = jobs.read(settings, frames)
    _check_problem(settings, data.problem_type)
    teacher = Teacher(settings.own.teacher_name_or_path, data, settings.training.device)
    against = [controls.as_control("teacher", "the teacher", teacher.answers(data.test), data)]
    job = student_job(data, settings, teacher)
    if settings.fit.with_control:
        against.append(controls.run_control(twin(job, settings), "labels", "the same student without a teacher"))
    report = training.finish(job, training.train(job), controls=against)
    return jobs.publish(complete(report, job.data, settings), settings)


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
