"""Fine-tune a checkpoint on labelled texts, in full or with LoRA, all its layers or some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from nlp_ft.data import TextData
    from nlp_ft.jobs import Settings
    from nlp_ft.report import RunReport

ARGUMENTS = (
    ModelArguments,
    DataArguments,
    LongTextArguments,
    AugmentArguments,
    LoraArguments,
    FreezeArguments,
    FitArguments,
    HubArguments,
)


def run(*arguments: Any, frames: Mapping[str, Any] | None = None) -> RunReport:
    """Data and its check, cross-validation where it is asked for, checkpoint, head start, LoRA, training, report.

    arguments: as `flags.parse(*ARGUMENTS)` returns them; learning rate, epochs and batch size follow from model and data where
    they are not among the names given. frames: a data frame for train, validation or test, in place of its file.
    """
    from nlp_ft import jobs

    settings = jobs.Settings.of("finetune", arguments)
    if settings.fit.with_control:
        _plain(settings)
    data = jobs.read(settings, frames)
    return jobs.publish(jobs.cross_validated(data, settings, _fit_one), settings)


def _fit_one(data: TextData, settings: Settings, scores: Mapping[str, float] | None) -> RunReport:
    from nlp_ft import controls, jobs, training

    found = []
    if settings.fit.with_control and scores is not None:
        job = jobs.make_job(data, _plain(settings), brief=True)
        found.append(controls.run_control(job, "plain", "the plain run"))
    return training.fit(jobs.make_job(data, settings, brief=scores is None), scores, found)


def _plain(settings: Settings) -> Settings:
    """All layers, one learning rate, no made-up rows. Raises: ConfigError if the run is like that itself."""
    from nlp_ft import jobs

    return jobs.twin(settings, augment=AugmentArguments(), freeze=FreezeArguments())
