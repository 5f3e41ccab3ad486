"""Fine-tune on a source domain, then on the target, and measure the gain.

The gain is over fine-tuning on the target alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nlp_ft.config import arguments_of
from nlp_ft.methods.transfer.arguments import TransferArguments

if TYPE_CHECKING:
    from nlp_ft.training.run_report import RunReport

ARGUMENTS = arguments_of(TransferArguments)


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Run `nlp-ft transfer`; see `nlp_ft.methods.transfer.method.run`."""
    from nlp_ft.methods.transfer.method import run

    return run(*arguments, frames=frames)
