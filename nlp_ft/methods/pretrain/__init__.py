"""Pre-train a checkpoint further on unlabelled texts of a domain or task.

The result is a body for any other method. Domain- and task-adaptive pre-training (Gururangan et al. 2020, arXiv:2004.10964):
encoders learn to fill in masked tokens, decoders to predict the next one. The effect is measured before and after, by the
loss on held-out texts under the same masks, and with labelled rows (--probe_file) by a linear probe on the frozen body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nlp_ft.config import arguments_of
from nlp_ft.methods.pretrain.arguments import PretrainArguments

if TYPE_CHECKING:
    from nlp_ft.training.run_report import RunReport

ARGUMENTS = arguments_of(PretrainArguments)


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Run `nlp-ft pretrain`; see `nlp_ft.methods.pretrain.method.run`."""
    from nlp_ft.methods.pretrain.method import run

    return run(*arguments, frames=frames)
