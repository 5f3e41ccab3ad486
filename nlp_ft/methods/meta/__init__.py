"""Meta-learn an initialisation that adapts to new tasks from a few rows.

Algorithms: MAML, FOMAML, ANIL, Reptile, prototypical networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nlp_ft.config import arguments_of
from nlp_ft.methods.meta.arguments import MetaArguments

if TYPE_CHECKING:
    from nlp_ft.training.run_report import RunReport

ARGUMENTS = arguments_of(MetaArguments)


def run(*arguments: object, frames: Mapping[str, object] | None = None) -> RunReport:
    """Run `nlp-ft meta`; see `nlp_ft.methods.meta.method.run`."""
    from nlp_ft.methods.meta.method import run

    return run(*arguments, frames=frames)
