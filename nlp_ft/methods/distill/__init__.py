"""Distil a fine-tuned classifier, the teacher, into a smaller student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nlp_ft.config import arguments_of
from nlp_ft.methods.distill.arguments import DistillArguments

if TYPE_CHECKING:
    from nlp_ft.training.run_report import RunReport

ARGUMENTS = arguments_of(DistillArguments)


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Run `nlp-ft distill`; see `nlp_ft.methods.distill.method.run`."""
    from nlp_ft.methods.distill.method import run

    return run(*arguments, frames=frames)
