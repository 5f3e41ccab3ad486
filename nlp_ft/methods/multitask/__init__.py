"""Train one encoder for several tasks, with a head for each.

Every batch mixes rows of all tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nlp_ft.config import arguments_of
from nlp_ft.methods.multitask.arguments import MultitaskArguments

if TYPE_CHECKING:
    from nlp_ft.training.run_report import RunReport

ARGUMENTS = arguments_of(MultitaskArguments)


def run(*arguments: object, frames: Mapping[str, Mapping[str, object]] | None = None) -> RunReport:
    """Run `nlp-ft multitask`; see `nlp_ft.methods.multitask.method.run`."""
    from nlp_ft.methods.multitask.method import run

    return run(*arguments, frames=frames)
