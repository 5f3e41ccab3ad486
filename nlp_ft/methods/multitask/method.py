"""Steps of an `nlp-ft multitask` run."""

from __future__ import annotations

from collections.abc import Mapping

from nlp_ft.methods.multitask.arguments import MultitaskArguments
from nlp_ft.methods.multitask.data import read_tasks
from nlp_ft.methods.multitask.job import make_group
from nlp_ft.methods.multitask.report import report_tasks
from nlp_ft.training.fit import train
from nlp_ft.training.run import claim_directory
from nlp_ft.training.run_report import RunReport
from nlp_ft.training.settings import Settings


def run(*arguments: object, frames: Mapping[str, Mapping[str, object]] | None = None) -> RunReport:
    """Train one body with a head for each task, and save each task and the body.

    arguments: as `flags.parse(*ARGUMENTS)` returns them. frames: of each task, a data frame for train, validation or test.
    """
    settings = Settings.of("multitask", arguments, MultitaskArguments)
    claim_directory(settings.training, settings.explicit)
    group = make_group(read_tasks(settings, frames or {}), settings)
    return report_tasks(group, train(group.job))
