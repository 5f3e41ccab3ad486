"""Steps of an `nlp-ft features` run."""

from __future__ import annotations

from collections.abc import Mapping

from nlp_ft.data import TextData
from nlp_ft.hub.push import push_if_asked
from nlp_ft.methods.features import fit
from nlp_ft.methods.features.arguments import FeaturesArguments
from nlp_ft.methods.features.head import classifier_head
from nlp_ft.models.layers import unwrapped
from nlp_ft.training.fit import finish
from nlp_ft.training.job import cross_validated, read
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Encode the data in one pass, fit the head and report; with --num_folds per fold.

    arguments: as `parse(*ARGUMENTS)` returns them. frames: data frames by split (train, validation, test), in place of files.
    """
    settings = Settings.of("features", arguments, FeaturesArguments)
    data = read(settings, frames)
    return push_if_asked(cross_validated(data, settings, _fit_one), settings)


def _fit_one(data: TextData, settings: Settings[FeaturesArguments], scores: Mapping[str, float] | None) -> RunReport:
    job = fit.make_job(data, settings, silent=scores is None)
    head = classifier_head(unwrapped(job.model), settings.method_arguments.head)
    features = fit.encode_splits(job, head, poolings=settings.method_arguments.compare_poolings)
    if settings.method_arguments.compare_poolings:
        fit.log_poolings(job, features, settings.model.pooling)
    return finish(job, fit.fit_and_score(job, head, features), scores)
