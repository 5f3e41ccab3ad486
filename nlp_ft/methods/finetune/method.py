"""The run of `nlp-ft finetune`, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING, Any

from nlp_ft.config import (
    FreezeArguments,
)
from nlp_ft.config.augmentation import AugmentArguments

if TYPE_CHECKING:
    from nlp_ft.data import TextData
    from nlp_ft.training.job import Settings
    from nlp_ft.training.run_report import RunReport


def run(*arguments: Any, frames: Mapping[str, Any] | None = None) -> RunReport:
    """Data and its check, cross-validation where it is asked for, checkpoint, head start, LoRA, training, report.

    arguments: as `flags.parse(*ARGUMENTS)` returns them; learning rate, epochs and batch size follow from model and data where
    they are not among the names given. frames: a data frame for train, validation or test, in place of its file.
    """
    from nlp_ft.hub.push import push_if_asked
    from nlp_ft.training.job import Settings, cross_validated, read

    settings = Settings.of("finetune", arguments, NoneType)
    if settings.fit.with_control:
        _plain(settings)
    data = read(settings, frames)
    return push_if_asked(cross_validated(data, settings, _fit_one), settings)


def _fit_one(data: TextData, settings: Settings, scores: Mapping[str, float] | None) -> RunReport:
    from nlp_ft.training import controls
    from nlp_ft.training.fit import fit
    from nlp_ft.training.job import make_job

    found = []
    if settings.fit.with_control and scores is not None:
        job = make_job(data, _plain(settings), silent=True)
        found.append(controls.run_control(job, "plain", "the plain run"))
    return fit(make_job(data, settings, silent=scores is None), scores, found)


def _plain(settings: Settings) -> Settings:
    """All layers, one learning rate, no made-up rows. Raises: ConfigError if the run is like that itself."""
    from nlp_ft.training.job import control_settings

    return control_settings(settings, augment=AugmentArguments(), freeze=FreezeArguments())
