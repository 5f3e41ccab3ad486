"""Train a classifier on a few rows a class, or on the labels alone (zero-shot).

With rows: contrastively as SetFit, with a frozen body, or in full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nlp_ft.config import arguments_of
from nlp_ft.methods.fewshot.arguments import FewshotArguments

if TYPE_CHECKING:
    from nlp_ft.training.run_report import RunReport

ARGUMENTS = arguments_of(FewshotArguments)


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Run `nlp-ft fewshot`; see `nlp_ft.methods.fewshot.method.run`."""
    from nlp_ft.methods.fewshot.method import run

    return run(*arguments, frames=frames)
