"""Steps of an `nlp-ft finetune` run."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType

from nlp_ft.config import AugmentArguments, FreezeArguments
from nlp_ft.data import TextData
from nlp_ft.hub.push import push_if_asked
from nlp_ft.training import controls, fit
from nlp_ft.training.job import cross_validated, make_job, read
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings, control_settings


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Read the data, fit one classifier, report on it, and push it if asked.

    --num_folds adds cross-validation before the fit, --with_control a plain run to compare with.

    arguments: as `flags.parse(*ARGUMENTS)` returns them; learning rate, epochs and batch size follow from model and data where
    the user did not set them. frames: a data frame for train, validation or test, in place of its file.
    """
    settings = Settings.of("finetune", arguments, NoneType)
    if settings.fit.with_control:
        _plain(settings)
    data = read(settings, frames)
    return push_if_asked(cross_validated(data, settings, _fit_one), settings)


def _fit_one(data: TextData, settings: Settings, scores: Mapping[str, float] | None) -> RunReport:
    control_runs = []
    if settings.fit.with_control and scores is not None:
        job = make_job(data, _plain(settings), silent=True)
        control_runs.append(controls.run_control(job, "plain", "the plain run"))
    return fit.fit(make_job(data, settings, silent=scores is None), scores, control_runs)


def _plain(settings: Settings) -> Settings:
    """Return the settings of the control run.

    It trains all layers at one learning rate, without augmented rows. Raises: ConfigError if the run does so itself.
    """
    return control_settings(settings, augment=AugmentArguments(), freeze=FreezeArguments())
