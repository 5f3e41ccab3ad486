"""Fit a head on the features of a frozen encoder, which reads each text once: seconds in place of minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

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


@dataclass(kw_only=True)
class FeaturesArguments:
    """Features: what is fitted on them. They are kept in $NLP_FT_CACHE, else in ~/.cache/nlp_ft, by weights and by text."""

    lacks: ClassVar = {
        LoraArguments: "the encoder stays as it is here, and adapters would train it; finetune takes them",
        FreezeArguments: "the whole encoder is frozen here; finetune has the steps between",
        AugmentArguments: "each text is encoded once here, as it is; finetune augments",
        LongTextArguments: "long texts are cut here; finetune and transfer read them in windows",
    }

    head: Literal["linear", "mlp"] = field(
        default="linear",
        metadata={
            "help": "linear (logistic, its penalty by held-out rows; ridge for a regression), or mlp: the architecture's own "
            "dense layer and the last one."
        },
    )
    compare_poolings: bool = field(
        default=False,
        metadata={
            "help": "Scores mean, first token, last token and maximum on held-out training rows, in the same pass."
        },
    )


ARGUMENTS = (ModelArguments, DataArguments, FitArguments, HubArguments, FeaturesArguments)


def run(*arguments: Any, frames: Mapping[str, Any] | None = None) -> RunReport:
    """Data and its check, cross-validation where it is asked for, one pass of the encoder, the head, report.

    arguments: as `flags.parse(*ARGUMENTS)` returns them. frames: a data frame for train, validation or test, in place of its
    file.
    """
    from nlp_ft import jobs

    settings = jobs.Settings.of("features", arguments)
    data = jobs.read(settings, frames)
    return jobs.publish(jobs.cross_validated(data, settings, _fit_one), settings)


def _fit_one(data: TextData, settings: Settings, scores: Mapping[str, float] | None) -> RunReport:
    from nlp_ft import training
    from nlp_ft.methods import _features, _features_head

    job = _features.make_job(data, settings, brief=scores is None)
    head = _features_head.head_of(job.model, settings.own.head)
    features = _features.read(job, head, poolings=settings.own.compare_poolings)
    if settings.own.compare_poolings:
        _features.compare(job, features, settings.model.pooling)
    return training.finish(job, _features.fit(job, head, features), scores)
