"""Arguments of `nlp-ft distill`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from nlp_ft.config import LongTextArguments
from nlp_ft.errors import ConfigError

_MATCHES = ("hidden", "attention")


@dataclass(kw_only=True)
class DistillArguments:
    """Distillation: train on a teacher's logits and the labels.

    Source: Hinton et al. 2015, arXiv:1503.02531.
    """

    unsupported: ClassVar = {
        LongTextArguments: "long texts are truncated here; finetune and transfer read them in windows",
    }

    teacher_name_or_path: str = field(
        metadata={"help": "Fine-tuned classifier of any architecture with the labels of the data."}
    )
    student_layers: str | None = field(
        default=None,
        metadata={
            "help": "Layers of --model_name_or_path (often the teacher itself) that the student keeps: a number of evenly "
            "spaced layers, or indices from 0 such as 0,2,5 (default: all)."
        },
    )
    temperature: float = field(
        default=2.0, metadata={"help": "Divides the logits of both models before the softmax; 1 leaves them unchanged."}
    )
    alpha: float = field(
        default=0.5,
        metadata={"help": "Weight of the loss against the teacher; the loss against the labels has 1 - alpha."},
    )
    unlabelled_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "Texts without labels, in the formats and columns of --train_file, with the teacher's logits as targets."
        },
    )
    match: list[str] | None = field(
        default=None,
        metadata={
            "help": "Also match layers, evenly spaced over the teacher's: hidden (outputs) and/or attention; both models "
            "must share the tokenizer."
        },
    )
    match_weight: float = field(default=1.0, metadata={"help": "Weight of each --match loss."})

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        from nlp_ft.models.student import check_layers

        check_layers(self.student_layers)
        if not 0 < self.temperature < math.inf:  # also catches nan
            raise ConfigError(f"--temperature must be positive and finite, got {self.temperature}.")
        if not 0 <= self.alpha <= 1:
            raise ConfigError(f"--alpha must be between 0 and 1, got {self.alpha}.")
        if not 0 < self.match_weight < math.inf:
            raise ConfigError(f"--match_weight must be positive and finite, got {self.match_weight}.")
        for kind in self.match or ():
            if kind not in _MATCHES:
                raise ConfigError(f"--match takes {' and '.join(_MATCHES)}, got '{kind}'.")
        if self.alpha == 0 and self.unlabelled_file:
            raise ConfigError(
                "--alpha 0 does not use the teacher's logits, and --unlabelled_file has no labels to train on."
            )
