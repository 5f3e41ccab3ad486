"""The arguments of the checkpoint and of LoRA."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nlp_ft.config.validators import at_least_one, share
from nlp_ft.errors import ConfigError


@dataclass(kw_only=True)
class ModelArguments:
    """Model: which checkpoint, and how its head starts."""

    model_name_or_path: str = field(
        metadata={
            "help": "Checkpoint to start from: a directory, or a name on the Hub such as distilbert-base-uncased."
        }
    )
    model_revision: str = field(default="main", metadata={"help": "Branch, tag or commit of a Hub checkpoint."})
    config_name: str | None = field(default=None, metadata={"help": "Configuration, where it is not the checkpoint's."})
    tokenizer_name: str | None = field(default=None, metadata={"help": "Tokenizer, where it is not the checkpoint's."})
    gguf_file: str | None = field(
        default=None, metadata={"help": "Name of the GGUF file inside the checkpoint (needs the gguf extra)."}
    )
    cache_dir: str | None = field(default=None, metadata={"help": "Where Hub downloads are kept."})
    attn_implementation: Literal["eager", "sdpa", "flash_attention_2"] | None = field(
        default=None, metadata={"help": "Attention code; the checkpoint's own default where not given."}
    )
    dropout: float | None = field(
        default=None,
        metadata={"help": "Sets every dropout of the checkpoint, its attention's and its head's included."},
    )
    pooling: Literal["auto", "stock", "mean", "cls", "last", "max"] = field(
        default="auto",
        metadata={
            "help": "What the head reads: stock (the architecture's own), mean (masked mean over tokens, written as stock "
            "layers so that plain transformers loads it), cls (the first token, past the head's dense layer), last (decoders' "
            "own), or auto, which picks the one that measured best. max is refused: no stock layers can hold it."
        },
    )
    head_start: Literal["probe", "random"] = field(
        default="probe",
        metadata={
            "help": "The last layer starts from a linear probe fitted on the frozen encoder (LP-FT), or at random."
        },
    )
    ignore_mismatched_sizes: bool = field(
        default=False,
        metadata={"help": "Accepts a checkpoint whose weights fit another shape elsewhere than in the head."},
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        share("dropout", self.dropout)


@dataclass(kw_only=True)
class LoraArguments:
    """LoRA: low-rank adapters in place of full fine-tuning; the head trains whole.

    Source: Hu et al. 2021, arXiv:2106.09685.
    """

    use_peft: bool = field(default=False, metadata={"help": "Train LoRA adapters and the head, not the whole model."})
    lora_r: int = field(default=16, metadata={"help": "Rank."})
    lora_alpha: int = field(default=32, metadata={"help": "Scale: updates are multiplied by alpha / r."})
    lora_dropout: float = field(default=0.05, metadata={"help": "Dropout before the adapters."})
    lora_target_modules: list[str] = field(
        default_factory=lambda: ["all-linear"], metadata={"help": "Layers that get adapters, or all-linear."}
    )
    use_dora: bool = field(default=False, metadata={"help": "DoRA (arXiv:2402.09353): magnitude and direction apart."})
    use_rslora: bool = field(
        default=False, metadata={"help": "rsLoRA (arXiv:2312.03732): alpha / sqrt(r); for r >= 32."}
    )
    save_adapter_only: bool = field(
        default=False, metadata={"help": "Save adapter and head alone, not the merged model (for large decoders)."}
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        at_least_one("lora_r", self.lora_r)
        at_least_one("lora_alpha", self.lora_alpha)
        share("lora_dropout", self.lora_dropout)
        for flag in ("use_dora", "use_rslora", "save_adapter_only"):
            if getattr(self, flag) and not self.use_peft:
                raise ConfigError(f"--{flag} needs --use_peft.")
