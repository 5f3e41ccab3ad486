"""The flags of augmentation; importing this imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from nlp_ft.errors import ConfigError, did_you_mean

ROW_OPERATIONS = ("swap", "delete", "synonym", "insert", "noise", "paraphrase")  # those that make new rows
OPERATIONS = (*ROW_OPERATIONS, "mixup")


@dataclass(kw_only=True)
class AugmentArguments:
    """Augment: more training rows out of few; validation and test stay as they are.

    The rows are made after splitting.
    """

    augment: list[str] | None = field(
        default=None,
        metadata={
            "help": "Any of swap, delete, synonym, insert (words; EDA), noise (typing errors), paraphrase (a checkpoint of "
            "yours) and mixup (rows mixed while training). Each new row is made by one of them, in turn."
        },
    )
    augment_rate: float = field(
        default=0.1, metadata={"help": "Share of the words (noise: characters) touched in a new row; one at least."}
    )
    augment_copies: int = field(default=1, metadata={"help": "New rows for each training row."})
    augment_model_name_or_path: str | None = field(
        default=None,
        metadata={
            "help": "Checkpoint that paraphrases (text to text); two, comma-separated, translate there and back."
        },
    )
    augment_prefix: list[str] | None = field(
        default=None,
        metadata={
            "help": "What that checkpoint wants in front of a text, such as 'paraphrase: '; one for each of two."
        },
    )
    mixup_alpha: float = field(
        default=0.2, metadata={"help": "Shares in mixup are drawn from Beta(alpha, alpha): near 0 mixes little."}
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        names = self.augment or []
        for name in names:
            if name not in OPERATIONS:
                hint = did_you_mean(name, OPERATIONS)
                raise ConfigError(f"--augment '{name}' is not known; it can be {', '.join(OPERATIONS)}.{hint}")
        if len(set(names)) < len(names):
            raise ConfigError(f"--augment names an operation twice: {' '.join(names)}.")
        if not 0 < self.augment_rate <= 0.5:
            raise ConfigError(f"--augment_rate must be above 0 and at most 0.5, got {self.augment_rate}.")
        if self.augment_copies < 1:
            raise ConfigError(f"--augment_copies must be at least 1, got {self.augment_copies}.")
        if not 0 < self.mixup_alpha < math.inf:
            raise ConfigError(f"--mixup_alpha must be positive and finite, got {self.mixup_alpha}.")
        self._check_models()

    def _check_models(self) -> None:
        if ("paraphrase" in self.row_operations) != (self.augment_model_name_or_path is not None):
            raise ConfigError(
                "--augment paraphrase and --augment_model_name_or_path go together; one of them came alone."
            )
        models = self.paraphrase_models
        if len(models) > 2 or not all(models):
            raise ConfigError(
                "--augment_model_name_or_path takes one checkpoint, or two that translate there and back, got "
                f"'{self.augment_model_name_or_path}'."
            )
        if self.augment_prefix and len(self.augment_prefix) != len(models):
            raise ConfigError(
                f"--augment_prefix gives {len(self.augment_prefix)} for {len(models)} checkpoints of "
                "--augment_model_name_or_path; give one for each."
            )

    @property
    def row_operations(self) -> list[str]:
        """Those of --augment that make new rows, in the order given."""
        return [name for name in self.augment or [] if name in ROW_OPERATIONS]

    @property
    def mixes(self) -> bool:
        """Whether --augment names mixup."""
        return "mixup" in (self.augment or [])

    @property
    def paraphrase_models(self) -> list[str]:
        """The checkpoints of --augment_model_name_or_path: none, one, or there and back."""
        names = self.augment_model_name_or_path
        return [] if names is None else [name.strip() for name in names.split(",")]
