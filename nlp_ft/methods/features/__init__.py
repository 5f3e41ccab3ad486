"""Fit a head on frozen encoder features; each text is encoded once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nlp_ft.config import arguments_of
from nlp_ft.methods.features.arguments import FeaturesArguments

if TYPE_CHECKING:
    from nlp_ft.training.run_report import RunReport

ARGUMENTS = arguments_of(FeaturesArguments)


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Run `nlp-ft features`; see `nlp_ft.methods.features.method.run`."""
    from nlp_ft.methods.features.method import run

    return run(*arguments, frames=frames)
