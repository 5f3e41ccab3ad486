"""The run of `nlp-ft features`, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nlp_ft.data import TextData
    from nlp_ft.training.job import Settings
    from nlp_ft.training.run_report import RunReport


def run(*arguments: Any, frames: Mapping[str, Any] | None = None) -> RunReport:
    """Data and its check, cross-validation where it is asked for, one pass of the encoder, the head, report.

    arguments: as `flags.parse(*ARGUMENTS)` returns them. frames: a data frame for train, validation or test, in place of its
    file.
    """
    from nlp_ft.hub.push import push_if_asked
    from nlp_ft.training.job import Settings, cross_validated, read

    settings = Settings.of("features", arguments)
    data = read(settings, frames)
    return push_if_asked(cross_validated(data, settings, _fit_one), settings)


def _fit_one(data: TextData, settings: Settings, scores: Mapping[str, float] | None) -> RunReport:
    from nlp_ft.methods.features import fit
    from nlp_ft.methods.features.head import head_of
    from nlp_ft.training.fit import finish

    job = fit.make_job(data, settings, silent=scores is None)
    head = head_of(job.model, settings.own.head)
    features = fit.read(job, head, poolings=settings.own.compare_poolings)
    if settings.own.compare_poolings:
        fit.compare(job, features, settings.model.pooling)
    return finish(job, fit.fit(job, head, features), scores)
