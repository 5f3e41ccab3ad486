"""The arguments of the data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nlp_ft.config.validators import at_least_one, column_names, known_encoding, label_delimiter, one_delimiter
from nlp_ft.errors import ConfigError


@dataclass(kw_only=True)
class DataArguments:
    """Data: where the texts and labels are, and what kind of problem they pose."""

    train_file: list[str] | None = field(
        default=None,
        metadata={
            "help": "Training rows: .csv, .tsv, .jsonl, .json (also .gz), .parquet, .arrow, .xlsx, others by --file_format; a "
            "pattern such as 'data/*.csv', or a folder of text files by class; several are put together."
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
    file_format: (
        Literal["csv", "tsv", "jsonl", "json", "parquet", "arrow", "xlsx", "fasttext", "trec", "txt"] | None
    ) = field(default=None, metadata={"help": "Format of the files, where their extension says none or another one."})
    encoding: str | None = field(
        default=None,
        metadata={
            "help": "Encoding of text files that are not UTF-8, by Python's name, such as cp1252 or gb18030; an error names "
            "the likely one."
        },
    )
    quoting: Literal["double", "none"] | None = field(
        default=None,
        metadata={
            "help": "Of CSV and TSV: none reads quotes as ordinary characters, as in GLUE's files; double holds cells together "
            "by them, as is done where not given."
        },
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
    column_names: str | None = field(
        default=None,
        metadata={"help": "Names of a CSV file's columns, in order, where it has no header, such as label,text."},
    )
    label_delimiter: str | None = field(
        default=None,
        metadata={
            "help": "What delimits several labels in a cell, such as , or |; makes the problem multi-label. Found where not "
            "given."
        },
    )
    merge_label_spellings: bool = field(
        default=False,
        metadata={
            "help": "Takes labels that differ in case, spaces, punctuation or Unicode form alone for one class, spelled as in "
            "most rows."
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
            self.delimiter = one_delimiter(self.delimiter)
        if self.encoding is not None:
            self.encoding = known_encoding(self.encoding)
        self._check_labels()
        for flag in ("validation_split_size", "test_split_size"):
            value = getattr(self, flag)
            if not 0 < value < 1:
                raise ConfigError(f"--{flag} must be between 0 and 1, got {value}.")
        samples = ("max_train_samples", "max_eval_samples", "max_predict_samples")
        for flag in ("max_seq_length", *samples, "preprocessing_num_workers"):
            at_least_one(flag, getattr(self, flag))

    def _check_labels(self) -> None:
        """Check the flags of labels and columns against each other. Raises: ConfigError."""
        if self.label_delimiter is not None:
            self.label_delimiter = label_delimiter(self.label_delimiter)
            if self.problem_type not in (None, "multi_label_classification"):
                raise ConfigError(
                    f"--label_delimiter is for multi_label_classification; --problem_type {self.problem_type} came."
                )
        if self.column_names is not None:
            column_names(self.column_names)


@dataclass(kw_only=True)
class LongTextArguments:
    """Long texts: the reading of texts of more than --max_seq_length tokens.

    Of those methods that can read windows.
    """

    long_documents: Literal["truncate", "window"] = field(
        default="truncate",
        metadata={"help": "What becomes of longer texts: truncate cuts them; window reads them whole, and pools."},
    )
    window_stride: int | None = field(
        default=None, metadata={"help": "Tokens that neighbouring windows share; default: a quarter of a window."}
    )
    window_pooling: Literal["mean", "max", "attention"] = field(
        default="mean", metadata={"help": "Mean or maximum of the windows' logits, or a mean by learned attention."}
    )
    max_windows: int = field(
        default=16, metadata={"help": "Windows of a training text, spread over it; in other splits all are read."}
    )

    def __post_init__(self) -> None:
        """Check the values. Raises: ConfigError."""
        at_least_one("max_windows", self.max_windows)
        defaults = {"window_stride": None, "window_pooling": "mean", "max_windows": 16}
        idle = [name for name, default in defaults.items() if getattr(self, name) != default]
        if idle and self.long_documents == "truncate":
            raise ConfigError(f"--{idle[0]} needs --long_documents window.")
        if self.window_stride is not None and self.window_stride < 0:
            raise ConfigError(f"--window_stride must be at least 0, got {self.window_stride}.")
