"""Arguments of `nlp-ft features`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nlp_ft.config import AugmentArguments, FreezeArguments, LongTextArguments, LoraArguments


@dataclass(kw_only=True)
class FeaturesArguments:
    """Frozen features: the head to fit, on features cached in $NLP_FT_CACHE.

    The cache is in ~/.cache/nlp_ft where that is not set, by weights and text.
    """

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
