"""Arguments of `nlp-ft fewshot`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nlp_ft.config import AugmentArguments, LongTextArguments
from nlp_ft.errors import ConfigError

SLOT = "{label}"  # where a template takes the name of a label


@dataclass(kw_only=True)
class FewshotArguments:
    """Few-shot: the approach, the pairs, and the labels of a zero-shot run.

    Source: Tunstall et al. 2022, arXiv:2209.11055.
    """

    unsupported: ClassVar = {
        AugmentArguments: "pairs of rows, not changed rows, are what few-shot makes more of; finetune augments",
        LongTextArguments: "long texts are cut here; finetune and transfer read them in windows",
    }

    approach: Literal["auto", "contrastive", "frozen", "finetune"] = field(
        default="auto",
        metadata={
            "help": "contrastive: the body learns from pairs of rows whether they are of one class, then a linear head is "
            "fitted; frozen: the head alone; finetune: as nlp-ft finetune; auto: the three are compared by cross-validation "
            "on the training rows (or on a validation file of 50 rows or more), and the cheapest of the best is taken."
        },
    )
    shots: int | None = field(
        default=None,
        metadata={"help": "Draws this many training rows of each class, by --seed, and leaves the others out."},
    )
    num_iterations: int = field(
        default=20, metadata={"help": "Pairs a row: this many alike and as many that are not, as in SetFit."}
    )
    max_pairs: int = field(default=20_000, metadata={"help": "Pairs in all, however many rows there are."})
    labels: list[str] | None = field(
        default=None,
        metadata={
            "help": "Without training rows (zero-shot): the class names, as the test file has them; _ is read as a space."
        },
    )
    templates: list[str] | None = field(
        default=None,
        metadata={
            "help": "Sentences with {label} in them. Zero-shot: the head is made of them (default: 'This sentence is "
            "{label}.'). With training rows: each, with each label put in, is one more training row."
        },
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        for flag in ("shots", "num_iterations", "max_pairs"):
            value = getattr(self, flag)
            if value is not None and value < 1:
                raise ConfigError(f"--{flag} must be at least 1, got {value}.")
        for template in self.templates or ():
            if SLOT not in template:
                raise ConfigError(
                    f"--templates: {template!r} has no {SLOT}, which the label's name is put in place of."
                )
        if self.labels is not None and (len(self.labels) < 2 or len(set(self.labels)) < len(self.labels)):
            raise ConfigError(f"--labels must be two or more different names, got {', '.join(self.labels)}.")
