"""The run of `nlp-ft finetune`, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import TYPE_CHECKING

from nlp_ft.config import FreezeArguments
from nlp_ft.config.augmentation import AugmentArguments

if TYPE_CHECKING:
    from nlp_ft.data import TextData
    from nlp_ft.training.run_report import RunReport
    from nlp_ft.training.settings import Settings


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Read the data, fit one classifier, report on it, and push it if asked.

    --num_folds adds cross-validation before the fit, --with_control a plain run to compare with.

    arguments: as `flags.parse(*ARGUMENTS)` returns them; learning rate, epochs and batch size follow from model and data where
    the user did not set them. frames: a data frame for train, validation or test, in place of its file.
    """
    from nlp_ft.hub.push import push_if_asked
    from nlp_ft.training.job import cross_validated, read
    from nlp_ft.training.settings import Settings

    settings = Settings.of("finetune", arguments, NoneType)
    if settings.fit.with_control:
        _plain(settings)
    data = read(settings, frames)
    return push_if_asked(cross_validated(data, settings, _fit_one), settings)


def _fit_one(data: TextData, settings: Settings, scores: Mapping[str, float] | None) -> RunReport:
    from nlp_ft.training import controls
    from nlp_ft.training.fit import fit
    from nlp_ft.training.job import make_job

    control_runs = []
    if settings.fit.with_control and scores is not None:
        job = make_job(data, _plain(settings), silent=True)
        control_runs.append(controls.run_control(job, "plain", "the plain run"))
    return fit(make_job(data, settings, silent=scores is None), scores, control_runs)


def _plain(settings: Settings) -> Settings:
    """Return the settings of the control run.

    It trains all layers at one learning rate, without augmented rows. Raises: ConfigError if the run does so itself.
    """
    from nlp_ft.training.settings import control_settings

    return control_settings(settings, augment=AugmentArguments(), freeze=FreezeArguments())
