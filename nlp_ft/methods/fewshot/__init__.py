"""Fit a few rows a class (contrastively as SetFit, frozen, or in full), or the labels alone, zero-shot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from nlp_ft.config import DataArguments, FitArguments, FreezeArguments, HubArguments, LoraArguments, ModelArguments
from nlp_ft.methods.fewshot.arguments import FewshotArguments

if TYPE_CHECKING:
    from nlp_ft.training.run_report import RunReport

ARGUMENTS = (
    ModelArguments,
    DataArguments,
    LoraArguments,
    FreezeArguments,
    FitArguments,
    HubArguments,
    FewshotArguments,
)


def run(*arguments: Any, frames: Mapping[str, Any] | None = None) -> RunReport:
    """Run `nlp-ft fewshot`; see `nlp_ft.methods.fewshot.method.run`."""
    from nlp_ft.methods.fewshot.method import run

    return run(*arguments, frames=frames)
