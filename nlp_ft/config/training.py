"""Arguments of the fit beyond TrainingArguments.

Layers, calibration, controls, the Hub.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nlp_ft.config.validators import at_least_one
from nlp_ft.errors import ConfigError


@dataclass(kw_only=True)
class FreezeArguments:
    """Layers: their freezing, learning rates and start; of adapters with LoRA."""

    freeze_layers: str | None = field(
        default=None,
        metadata={
            "help": "Keeps the lowest layers as they are: a number of layers (and the embeddings), embeddings, or all but "
            "the head."
        },
    )
    gradual_unfreezing: float | None = field(
        default=None,
        metadata={
            "help": "Starts with the head alone and frees a layer at a time, the top one first (ULMFiT, Howard & Ruder 2018); "
            "this share of the updates passes until all train, such as 0.5."
        },
    )
    layerwise_lr_decay: float = field(
        default=1.0, metadata={"help": "Each layer's learning rate is this times that of the layer above it."}
    )
    reinit_layers: int = field(
        default=0, metadata={"help": "Starts this many top layers of the encoder at random (Zhang et al. 2021)."}
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        written = self.freeze_layers
        if written is not None and written not in ("all", "embeddings") and not written.isdecimal():
            raise ConfigError(f"--freeze_layers must be a number of layers, embeddings or all, got {written!r}.")
        share = self.gradual_unfreezing
        if share is not None and not 0 < share <= 1:
            raise ConfigError(f"--gradual_unfreezing must be above 0 and at most 1, got {share}.")
        if not 0 < self.layerwise_lr_decay <= 1:
            raise ConfigError(f"--layerwise_lr_decay must be above 0 and at most 1, got {self.layerwise_lr_decay}.")
        if self.reinit_layers < 0:
            raise ConfigError(f"--reinit_layers must be at least 0, got {self.reinit_layers}.")
        if written is not None and share is not None:
            raise ConfigError("--freeze_layers never trains what --gradual_unfreezing would free; give one of the two.")


@dataclass(kw_only=True)
class FitArguments:
    """Fit: options beyond TrainingArguments, of methods that fit a classifier."""

    class_weights: str | None = field(
        default=None,
        metadata={
            "help": 'balanced, or JSON such as \'{"spam": 5, "ham": 1}\'; scaled to a mean of 1 over training rows.'
        },
    )
    threshold_metric: Literal["f1_macro", "f1_micro", "subset_accuracy"] | None = field(
        default=None,
        metadata={
            "help": "Tunes the probability above which each label of a multi-label problem is given, on validation, for this; "
            ".5 for all where not given."
        },
    )
    early_stopping_patience: int | None = field(
        default=None, metadata={"help": "Stops after this many evaluations without a better --metric_for_best_model."}
    )
    early_stopping_threshold: float = field(default=0.0, metadata={"help": "What counts as better."})
    with_control: bool = field(
        default=False,
        metadata={
            "help": "Also runs what the method is to be measured against, where that costs as much as the run itself."
        },
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        at_least_one("early_stopping_patience", self.early_stopping_patience)


@dataclass(kw_only=True)
class HubArguments:
    """Hub: options of --push_to_hub, which sends the model of a reported run.

    Of those methods that end in one classifier.
    """

    hub_create_pr: bool = field(
        default=False, metadata={"help": "Opens a pull request, and does not commit to the branch."}
    )
    hub_license: str | None = field(
        default=None, metadata={"help": "Licence in the card, such as apache-2.0; none is named where not given."}
    )
    hub_timeout: float | None = field(
        default=None,
        metadata={"help": "Seconds for the Hub in all; default: half an hour, and one for each megabyte."},
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        if self.hub_timeout is not None and not self.hub_timeout > 0:
            raise ConfigError(f"--hub_timeout must be above 0, got {self.hub_timeout}.")
