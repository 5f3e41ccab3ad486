"""Arguments of `nlp-ft features`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nlp_ft.config import FreezeArguments, LongTextArguments, LoraArguments
from nlp_ft.config.augmentation import AugmentArguments


@dataclass(kw_only=True)
class FeaturesArguments:
    """Frozen features: the head to fit. The cache is $NLP_FT_CACHE or ~/.cache/nlp_ft, by weights and text."""

    unsupported: ClassVar = {
        LoraArguments: "the encoder is frozen here, and adapters would train it; use finetune",
        FreezeArguments: "the whole encoder is frozen here; finetune freezes a part",
        AugmentArguments: "each text is encoded once here, unchanged; use finetune",
        LongTextArguments: "long texts are truncated here; finetune and transfer read them in windows",
    }

    head: Literal["linear", "mlp"] = field(
        default="linear",
        metadata={
            "help": "linear (logistic regression with a penalty chosen on held-out rows; ridge for a regression), or mlp: the "
            "architecture's dense layer and the last layer."
        },
    )
    compare_poolings: bool = field(
        default=False,
        metadata={"help": "Scores mean, first-token, last-token and maximum pooling on held-out training rows."},
    )
