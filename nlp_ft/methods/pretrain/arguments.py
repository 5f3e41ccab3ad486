"""Arguments of `nlp-ft pretrain`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from nlp_ft.config import AugmentArguments, FreezeArguments, HubArguments, LongTextArguments
from nlp_ft.errors import ConfigError


@dataclass(kw_only=True)
class PretrainArguments:
    """Arguments of pre-training: the texts and the prediction task."""

    unsupported: ClassVar = {
        AugmentArguments: "the language model learns from the texts as they are; augment in the finetune that follows",
        FreezeArguments: "the whole body is pre-trained here, or adapters are (--use_peft)",
        HubArguments: "a pre-trained body is no classifier yet; finetune from it, and push that",
        LongTextArguments: "--group_texts reads all of every text here, in blocks of --max_seq_length tokens",
    }

    text_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "Texts without labels: .txt (a line a text), or any table that --train_file takes; several go together."
        },
    )
    paragraphs: bool = field(
        default=False, metadata={"help": "A text of a .txt file ends at a blank line, not at the end of its line."}
    )
    mlm_probability: float = field(default=0.15, metadata={"help": "Share of tokens to predict (encoders)."})
    whole_word_mask: bool = field(
        default=False, metadata={"help": "Hides whole words, not tokens (encoders); the share is then that of words."}
    )
    group_texts: bool = field(
        default=False,
        metadata={"help": "Puts texts together into blocks of --max_seq_length tokens, instead of a text a row."},
    )
    probe_file: str | None = field(
        default=None,
        metadata={
            "help": "Labelled rows, to which a linear probe of the frozen body is fitted, before and after; it is scored on "
            "--test_file, or on rows split off."
        },
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        if not 0 < self.mlm_probability < 1:
            raise ConfigError(f"--mlm_probability must be between 0 and 1, got {self.mlm_probability}.")
