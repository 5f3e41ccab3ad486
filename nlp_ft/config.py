"""The arguments every method shares. Flag names are run_classification.py's, LoRA's are TRL's; each is checked here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nlp_ft.errors import ConfigError

PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


def _share(flag: str, value: float | None) -> None:
    """Refuse a probability that is not in [0, 1); `not` also catches nan."""
    if value is not None and not 0 <= value < 1:
        raise ConfigError(f"--{flag} must be at least 0 and below 1, got {value}.")


def _at_least_one(flag: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise ConfigError(f"--{flag} must be at least 1, got {value}.")


def _delimiter(written: str) -> str:
    """One character; the word tab, and a backslash with t, are a tab. Raises: ConfigError."""
    character = {"tab": "\t", "\\t": "\t"}.get(written, written)
    if len(character) != 1 or character in '"\r\n':
        raise ConfigError(f"--delimiter must be one character that is no quote (or the word tab), got {written!r}.")
    return character


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
        _share("dropout", self.dropout)


@dataclass(kw_only=True)
class DataArguments:
    """Data: where the texts and labels are, and what kind of problem they pose."""

    train_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "Training rows: .csv, .tsv, .jsonl, .json (also .gz), .parquet, .arrow, a pattern such as 'data/*.csv', or "
            "a folder of text files by class; several are put together."
        },
    )
    validation_file: list[str] | None = field(
        default=None,
        metadata={"help": "Rows to choose the checkpoint by; split off the training rows where not given."},
    )
    test_file: list[str] | None = field(
        default=None, metadata={"help": "Rows for the final figures; split off the training rows where not given."}
    )
    delimiter: str | None = field(
        default=None, metadata={"help": "What delimits the cells of a CSV file. Found where not given."}
    )
    skip_bad_rows: bool = field(
        default=False,
        metadata={
            "help": "Leaves out rows that are malformed or lack text or label, counts them, and writes them to "
            "rejected_rows.csv; without it they are refused with their lines."
        },
    )
    dataset_name: str | None = field(default=None, metadata={"help": "A dataset on the Hub, instead of files."})
    dataset_config_name: str | None = field(default=None, metadata={"help": "Configuration of that dataset."})
    train_split_name: str | None = field(default=None, metadata={"help": "Its training split, where not 'train'."})
    validation_split_name: str | None = field(default=None, metadata={"help": "Its validation split."})
    test_split_name: str | None = field(default=None, metadata={"help": "Its test split."})
    text_column_names: str | None = field(
        default=None,
        metadata={
            "help": "Text column; two, comma-separated, are a sentence pair, more are joined. Found where not given."
        },
    )
    text_column_delimiter: str | None = field(
        default=None, metadata={"help": "Joins the text columns, two as well, with this between them."}
    )
    text_pair_column_name: str | None = field(default=None, metadata={"help": "Second text of a sentence pair."})
    label_column_name: str | None = field(
        default=None,
        metadata={
            "help": "Label column; several, comma-separated, hold 0 or 1 and are a class each. Found where not given."
        },
    )
    problem_type: Literal["single_label_classification", "multi_label_classification", "regression"] | None = field(
        default=None, metadata={"help": "Kind of problem. Found from the labels, and said aloud, where not given."}
    )
    validation_split_size: float = field(
        default=0.1, metadata={"help": "Share of the rows split off for validation where no validation file is given."}
    )
    test_split_size: float = field(default=0.1, metadata={"help": "Likewise for the test split."})
    group_column: str | None = field(
        default=None,
        metadata={"help": "Rows of equal value here stay on one side of every split (an author, a thread)."},
    )
    time_column: str | None = field(
        default=None,
        metadata={"help": "Splits by time instead: the newest rows are test, those before them validation."},
    )
    num_folds: int | None = field(
        default=None,
        metadata={
            "help": "Cross-validation first: this many runs, each tested on rows it did not see; all metrics' mean and spread."
        },
    )
    mixing: list[str] | None = field(
        default=None,
        metadata={
            "help": "Of several training files: proportional (all their rows, the default), equal, or a share for each, such "
            "as 2 1; rows are left out, never repeated."
        },
    )
    allow_leakage: bool = field(
        default=False, metadata={"help": "Goes on though test rows are among the training rows, too."}
    )
    max_seq_length: int | None = field(
        default=None, metadata={"help": "Tokens after which a text is cut; default: what the model holds, 512 at most."}
    )
    max_train_samples: int | None = field(
        default=None, metadata={"help": "Train on a seeded sample of this many rows."}
    )
    max_eval_samples: int | None = field(default=None, metadata={"help": "Likewise for validation."})
    max_predict_samples: int | None = field(default=None, metadata={"help": "Likewise for test."})
    preprocessing_num_workers: int | None = field(default=None, metadata={"help": "Processes that tokenize."})

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        if self.train_file is not None and self.dataset_name is not None:
            raise ConfigError("give --train_file or --dataset_name, one of the two; both came.")
        if self.num_folds is not None and self.num_folds < 2:
            raise ConfigError(f"--num_folds must be at least 2, got {self.num_folds}.")
        if self.num_folds is not None and self.time_column is not None:
            raise ConfigError("--num_folds draws rows at random, --time_column splits by time; give one of the two.")
        if self.delimiter is not None:
            self.delimiter = _delimiter(self.delimiter)
        for flag in ("validation_split_size", "test_split_size"):
            value = getattr(self, flag)
            if not 0 < value < 1:
                raise ConfigError(f"--{flag} must be between 0 and 1, got {value}.")
        for flag in ("max_seq_length", "max_train_samples", "max_eval_samples", "max_predict_samples"):
            _at_least_one(flag, getattr(self, flag))
        _at_least_one("preprocessing_num_workers", self.preprocessing_num_workers)


@dataclass(kw_only=True)
class LoraArguments:
    """LoRA: low-rank adapters (Hu et al. 2021, arXiv:2106.09685) in place of full fine-tuning; the head trains whole."""

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
        _at_least_one("lora_r", self.lora_r)
        _at_least_one("lora_alpha", self.lora_alpha)
        _share("lora_dropout", self.lora_dropout)
        for flag in ("use_dora", "use_rslora", "save_adapter_only"):
            if getattr(self, flag) and not self.use_peft:
                raise ConfigError(f"--{flag} needs --use_peft.")


@dataclass(kw_only=True)
class FreezeArguments:
    """Layers: which of them train, how fast, and from what; with LoRA it is their adapters."""

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
    """Fit: what the run does beyond TrainingArguments; shared by every method that fits a classifier."""

    class_weights: str | None = field(
        default=None,
        metadata={
            "help": 'balanced, or JSON such as \'{"spam": 5, "ham": 1}\'; scaled to a mean of 1 over training rows.'
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
        _at_least_one("early_stopping_patience", self.early_stopping_patience)
