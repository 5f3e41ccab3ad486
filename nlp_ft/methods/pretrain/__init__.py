"""Pre-train a checkpoint further on unlabelled texts of a domain or task.

The result is a body for any other method. Domain- and task-adaptive pre-training (Gururangan et al. 2020, arXiv:2004.10964):
encoders learn to fill in masked tokens, decoders to predict the next one. The effect is measured by
the loss on held-out texts, before and after, under the same masks, and with labelled rows (--probe_file) by a linear probe
on the frozen body, before and after.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nlp_ft.config import DataArguments, FitArguments, LoraArguments, ModelArguments
from nlp_ft.methods.pretrain.arguments import PretrainArguments

if TYPE_CHECKING:
    from nlp_ft.training.run_report import RunReport

ARGUMENTS = (ModelArguments, DataArguments, LoraArguments, FitArguments, PretrainArguments)


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Run `nlp-ft pretrain`; see `nlp_ft.methods.pretrain.method.run`."""
    from nlp_ft.methods.pretrain.method import run

    return run(*arguments, frames=frames)
