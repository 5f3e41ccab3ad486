"""Arguments of `nlp-ft features`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from nlp_ft.config import FreezeArguments, LongTextArguments, LoraArguments
from nlp_ft.config.augmentation import AugmentArguments


@dataclass(kw_only=True)
class FeaturesArguments:
    """Features: what is fitted on them. They are kept in $NLP_FT_CACHE, else in ~/.cache/nlp_ft, by weights and by text."""

    lacks: ClassVar = {
        LoraArguments: "the encoder stays as it is here, and adapters would train it; finetune takes them",
        FreezeArguments: "the whole encoder is frozen here; finetune has the steps between",
        AugmentArguments: "each text is encoded once here, as it is; finetune augments",
        LongTextArguments: "long texts are cut here; finetune and transfer read them in windows",
    }

    head: Literal["linear", "mlp"] = field(
        default="linear",
        metadata={
            "help": "linear (logistic, its penalty by held-out rows; ridge for a regression), or mlp: the architecture's own "
            "dense layer and the last one."
        },
    )
    compare_poolings: bool = field(
        default=False,
        metadata={
            "help": "Scores mean, first token, last token and maximum on held-out training rows, in the same pass."
        },
    )
