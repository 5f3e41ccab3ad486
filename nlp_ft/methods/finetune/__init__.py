"""Fine-tune a checkpoint on labelled texts, in full or with LoRA.

All layers train, or some of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nlp_ft.config import arguments_of

if TYPE_CHECKING:
    from nlp_ft.training.run_report import RunReport

ARGUMENTS = arguments_of()


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Run `nlp-ft finetune`; see `nlp_ft.methods.finetune.method.run`."""
    from nlp_ft.methods.finetune.method import run

    return run(*arguments, frames=frames)
